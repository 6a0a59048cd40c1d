//! Conditions: CEL over `row`, checked against a table's columns when they are loaded.
//!
//! A condition decides whether a row has a document. NULL is CEL's `null`: `row.remark == null` asks for it. Where an
//! operator has no answer for null (`row.amount > 10.0`, `row.name.startsWith('x')`), the condition is false, as in
//! SQL's WHERE; `row.status != 5` is true for null, as in CEL. Any other failure of an evaluation (an overflow, a
//! division by zero, a missing key of a JSON column) is an error of that row.
//!
//! Must not build a map of the row: only the columns that the expression reads are converted, when it reads them.

mod check;
#[cfg(test)]
mod tests;
mod types;

use cel::common::types::{CelBool, CelBytes, CelDouble, CelInt, CelList, CelNull, CelString, CelTimestamp, CelUInt};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, IdedExpr, Program, Value};
use jiff::tz::TimeZone;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::shape::{Row, Shape};
use super::value::{BadCell, civil};
use crate::cause::{Cause, Stop};
use crate::format::{Field, TypeKind};
use check::Checker;
use types::Ty;

/// A condition checked against one table.
pub struct Condition {
    expr: IdedExpr,
    constants: Vec<Box<dyn Val>>,
    /// The columns it reads, by index.
    columns: Vec<usize>,
    kinds: Vec<TypeKind>,
    names: Vec<String>,
    env: Arc<Env>,
    zone: TimeZone,
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// Parses a condition without a table: what can be said when the configuration is read.
pub fn parse(text: &str) -> Result<(), Stop> {
    program(text).map(|_| ())
}

fn program(text: &str) -> Result<Program, Stop> {
    Program::compile(text).map_err(|errors| {
        let errors = errors.to_string();
        let first = errors.lines().next().unwrap_or("it cannot be read");
        Stop::new(Cause::Config, format!("the condition `{text}` is not CEL: {first}"))
    })
}

impl Condition {
    /// Parses and checks a condition. `zone` is the one in which DATETIME values were meant.
    pub fn new(text: &str, shape: &Shape, zone: &TimeZone) -> Result<Self, Stop> {
        let refuse = |why: String| Stop::new(Cause::Config, format!("the condition `{text}` is refused: {why}"));
        let mut expr = program(text)?.expression().clone();
        let mut checker = Checker::new(shape);
        match checker.check(&mut expr).map_err(refuse)? {
            Ty::Bool => {}
            other => return Err(refuse(format!("its result is {other}, it must be a bool"))),
        }
        let constants = checker.constants.into_iter().map(Box::<dyn Val>::try_from).collect::<Result<_, _>>();
        Ok(Self {
            expr,
            constants: constants.map_err(|error| refuse(error.to_string()))?,
            columns: checker.columns,
            kinds: shape.columns.iter().map(|column| column.kind.clone()).collect(),
            names: shape.columns.iter().map(|column| column.name.clone()).collect(),
            env: Arc::new(Env::stdlib()),
            zone: zone.clone(),
        })
    }

    /// The indexes of the columns that it reads.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Whether the row matches; `Err` says why that cannot be told.
    pub fn matches(&self, row: &dyn Row) -> Result<bool, String> {
        let resolver = RowResolver { condition: self, row, null: AtomicBool::new(false), bad: Mutex::new(None) };
        let result = {
            let mut context = Context::with_env(Arc::clone(&self.env));
            context.set_variable_resolver(&resolver);
            let value = Value::resolve_val(&self.expr, &context);
            value
                .map(|value| value.downcast_ref::<CelBool>().map(|flag| *flag.inner()))
                .map_err(|error| error.to_string())
        };
        if let Some(bad) = resolver.bad.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(bad);
        }
        match result {
            Ok(Some(flag)) => Ok(flag),
            // Only a value from within JSON escapes the checker; null there counts as null anywhere.
            Ok(None) | Err(_) if resolver.null.load(Ordering::Relaxed) => Ok(false),
            Ok(None) => Err("its result is not a bool".into()),
            Err(error) => Err(error),
        }
    }

    /// Whether two images of a row agree in every column that it reads: then so does the answer.
    pub fn same(&self, a: &dyn Row, b: &dyn Row) -> bool {
        self.columns.iter().all(|&column| a.cell(column) == b.cell(column))
    }
}

/// Gives the interpreter the cells it asks for.
struct RowResolver<'a> {
    condition: &'a Condition,
    row: &'a dyn Row,
    null: AtomicBool,
    bad: Mutex<Option<String>>,
}

impl VariableResolver for RowResolver<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(index) = variable.strip_prefix('$') {
            let constant = self.condition.constants.get(index.parse::<usize>().ok()?)?;
            return Some(CowVal::Borrowed(constant.as_ref()));
        }
        let column: usize = variable.strip_prefix('#')?.parse().ok()?;
        let text = match self.row.cell(column) {
            Field::Text(text) => text,
            Field::Null => return Some(self.null()),
            Field::Absent => return self.fail(column, "is missing from the row image".into()),
        };
        match cell_value(self.condition.kinds.get(column)?, text, &self.condition.zone) {
            Ok(Some(value)) => Some(value),
            Ok(None) => Some(self.null()),
            Err(bad) => self.fail(column, bad.to_string()),
        }
    }
}

impl RowResolver<'_> {
    fn null<'b>(&self) -> CowVal<'b, 'b> {
        self.null.store(true, Ordering::Relaxed);
        CowVal::Borrowed(&CelNull)
    }

    fn fail<'b>(&self, column: usize, why: String) -> Option<CowVal<'b, 'b>> {
        let name = self.condition.names.get(column).map_or("?", String::as_str);
        *self.bad.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("column {name} {why}"));
        None
    }
}

/// A cell as CEL sees it; `None` for dates of no calendar, which are null in documents too.
fn cell_value<'b>(kind: &TypeKind, text: &'b str, zone: &TimeZone) -> Result<Option<CowVal<'b, 'b>>, BadCell> {
    let bad = || BadCell::new(kind, text);
    Ok(Some(match kind {
        TypeKind::Int | TypeKind::Year => CowVal::owned(CelInt::from(text.parse::<i64>().map_err(|_| bad())?)),
        TypeKind::UInt | TypeKind::Bit => CowVal::owned(CelUInt::from(text.parse::<u64>().map_err(|_| bad())?)),
        TypeKind::Float | TypeKind::Double | TypeKind::Decimal => {
            CowVal::owned(CelDouble::from(text.parse::<f64>().map_err(|_| bad())?))
        }
        TypeKind::DateTime | TypeKind::Timestamp => {
            let Some(civil) = civil(text).ok_or_else(bad)? else { return Ok(None) };
            let zone = if matches!(kind, TypeKind::Timestamp) { &TimeZone::UTC } else { zone };
            let at = zone.to_ambiguous_timestamp(civil).compatible().map_err(|_| bad())?;
            let nanos = at.as_nanosecond();
            let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
            let at = chrono::DateTime::from_timestamp(seconds as i64, rest as u32).ok_or_else(bad)?;
            CowVal::owned(CelTimestamp::from(at.fixed_offset()))
        }
        TypeKind::Date if text.starts_with("0000") || text.contains("-00") => return Ok(None),
        TypeKind::Bytes => {
            let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
            CowVal::owned(CelBytes::from(bytes.ok_or_else(bad)?))
        }
        TypeKind::Set(_) => {
            let members = text.split(',').filter(|member| !member.is_empty());
            let members: Vec<Box<dyn Val + 'b>> =
                members.map(|member| Box::new(CelString::from(member)) as Box<dyn Val + 'b>).collect();
            CowVal::owned(CelList::from(members))
        }
        TypeKind::Json => {
            let json: serde_json::Value = serde_json::from_str(text).map_err(|_| bad())?;
            let value = cel::to_value(json).map_err(|_| bad())?;
            CowVal::Owned(Box::<dyn Val>::try_from(value).map_err(|_| bad())?)
        }
        TypeKind::Date | TypeKind::Time | TypeKind::Text | TypeKind::Enum(_) | TypeKind::Unknown => {
            CowVal::owned(CelString::from(text))
        }
        TypeKind::Geometry | TypeKind::Vector => CowVal::owned(CelString::from(text)),
    }))
}
