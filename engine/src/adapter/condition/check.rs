//! The type checker of conditions: walks the parsed expression against a table's columns and refuses what CEL would
//! quietly answer with false (`cel` has no checker of its own).
//!
//! While it walks, it replaces what reads a column by a slot (`#3` for column 3) and lists of literals by a constant
//! made once (`$0`), so that an evaluation touches nothing but the columns named.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators};
use cel::{Context, IdedExpr, Value};

use super::super::shape::{Shape, nearest};
use super::types::Ty;

/// Functions with their argument types and result. The first argument is the target where they are called as methods.
const FUNCTIONS: &[(&str, &[Ty], Ty)] = &[
    ("contains", &[Ty::String, Ty::String], Ty::Bool),
    ("startsWith", &[Ty::String, Ty::String], Ty::Bool),
    ("endsWith", &[Ty::String, Ty::String], Ty::Bool),
    ("matches", &[Ty::String, Ty::String], Ty::Bool),
    ("timestamp", &[Ty::String], Ty::Timestamp),
    ("duration", &[Ty::String], Ty::Duration),
    ("getFullYear", &[Ty::Timestamp], Ty::Int),
    ("getMonth", &[Ty::Timestamp], Ty::Int),
    ("getDate", &[Ty::Timestamp], Ty::Int),
    ("getDayOfMonth", &[Ty::Timestamp], Ty::Int),
    ("getDayOfWeek", &[Ty::Timestamp], Ty::Int),
    ("getDayOfYear", &[Ty::Timestamp], Ty::Int),
    ("getHours", &[Ty::Timestamp], Ty::Int),
    ("getMinutes", &[Ty::Timestamp], Ty::Int),
    ("getSeconds", &[Ty::Timestamp], Ty::Int),
    ("getMilliseconds", &[Ty::Timestamp], Ty::Int),
];

/// Conversions: from any scalar to this.
const CONVERSIONS: &[(&str, Ty)] = &[
    ("int", Ty::Int),
    ("uint", Ty::UInt),
    ("double", Ty::Double),
    ("string", Ty::String),
    ("bool", Ty::Bool),
    ("bytes", Ty::Bytes),
];

/// The one variable of a condition.
const ROW: &str = "row";

/// A walk over one expression.
pub struct Checker<'a> {
    shape: &'a Shape,
    /// Variables of the macros (`all`, `exists`, …), innermost last.
    scope: Vec<(String, Ty)>,
    /// The constants that `$n` stands for.
    pub constants: Vec<Value>,
    /// The columns that are read, each once.
    pub columns: Vec<usize>,
}

type Checked = Result<Ty, String>;

impl<'a> Checker<'a> {
    /// A walk against a table.
    pub fn new(shape: &'a Shape) -> Self {
        Self { shape, scope: Vec::new(), constants: Vec::new(), columns: Vec::new() }
    }

    /// The expression's type; replaces columns by slots in it.
    pub fn check(&mut self, expr: &mut IdedExpr) -> Checked {
        if let Some(column) = self.column_of(expr)? {
            expr.expr = Expr::Ident(format!("#{column}"));
            if !self.columns.contains(&column) {
                self.columns.push(column);
            }
            return Ok(Ty::of_column(&self.shape.columns[column].kind));
        }
        match &mut expr.expr {
            Expr::Literal(literal) => Ok(literal_type(literal)),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let mut of: Option<Ty> = None;
                for element in &mut list.elements {
                    let ty = self.check(element)?;
                    of = Some(of.map_or(ty.clone(), |of| of.join(ty)));
                }
                let constant = list.optional_indices.is_empty()
                    && list.elements.iter().all(|element| matches!(element.expr, Expr::Literal(_)));
                if constant && let Ok(value) = Value::resolve(expr, &Context::default()) {
                    expr.expr = Expr::Ident(format!("${}", self.constants.len()));
                    self.constants.push(value);
                }
                Ok(Ty::List(Box::new(of.unwrap_or(Ty::Dyn))))
            }
            Expr::Map(map) => {
                let mut of: Option<(Ty, Ty)> = None;
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return Err("a map literal may only hold key: value pairs".into());
                    };
                    let (key, value) = (self.check(&mut entry.key)?, self.check(&mut entry.value)?);
                    of = Some(match of {
                        Some((keys, values)) => (keys.join(key), values.join(value)),
                        None => (key, value),
                    });
                }
                let (key, value) = of.unwrap_or((Ty::Dyn, Ty::Dyn));
                Ok(Ty::Map(Box::new(key), Box::new(value)))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) => Err("messages (Name{...}) are not known in conditions".into()),
            Expr::Unspecified => Err("the expression is empty".into()),
        }
    }

    /// The column that `row.name` or `row['name']` reads; an error if there is none of that name.
    fn column_of(&self, expr: &IdedExpr) -> Result<Option<usize>, String> {
        let is_row = |expr: &IdedExpr| {
            matches!(&expr.expr, Expr::Ident(name) if name == ROW) && !self.scope.iter().any(|(name, _)| name == ROW)
        };
        let name = match &expr.expr {
            Expr::Select(select) if is_row(&select.operand) => {
                if select.test {
                    return Err(format!(
                        "has(row.{0}) is always true, since a column is always there; write row.{0} != null",
                        select.field
                    ));
                }
                select.field.as_str()
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 && is_row(&call.args[0]) => {
                match &call.args[1].expr {
                    Expr::Literal(LiteralValue::String(name)) => name.inner(),
                    _ => return Err("row[...] takes a column's name as a literal string".into()),
                }
            }
            _ => return Ok(None),
        };
        match self.shape.index_of(name) {
            Some(column) => Ok(Some(column)),
            None => {
                let hint = self.shape.nearest(name).map_or(String::new(), |near| format!("; did you mean row.{near}?"));
                Err(format!("the table {} has no column \"{name}\"{hint}", self.shape.full_name()))
            }
        }
    }

    fn variable(&self, name: &str) -> Checked {
        if let Some((_, ty)) = self.scope.iter().rev().find(|(known, _)| known == name) {
            return Ok(ty.clone());
        }
        if name == ROW {
            return Err("row stands for the whole row: name a column, like row.status".into());
        }
        if self.shape.index_of(name).is_some() {
            return Err(format!("\"{name}\" is not known; did you mean row.{name}?"));
        }
        Err(format!("\"{name}\" is not known; a condition speaks of row.<column>"))
    }

    fn select(&mut self, select: &mut SelectExpr) -> Checked {
        let operand = self.check(&mut select.operand)?;
        match operand {
            Ty::Dyn => Ok(if select.test { Ty::Bool } else { Ty::Dyn }),
            Ty::Map(_, value) => Ok(if select.test { Ty::Bool } else { *value }),
            other => Err(format!("\".{}\" is taken of {other}, which has no fields", select.field)),
        }
    }

    fn call(&mut self, call: &mut CallExpr) -> Checked {
        let shown: Vec<String> = call.args.iter().map(show).collect();
        if call.target.is_none() && call.args.len() == 2 {
            let kind = call.func_name.clone();
            if let Some(symbol) = binary_symbol(&kind) {
                let left = self.check(&mut call.args[0])?;
                let right = self.check(&mut call.args[1])?;
                return binary(&kind, symbol, (&shown[0], left), (&shown[1], right), &call.args);
            }
        }
        match (call.func_name.as_str(), call.args.len()) {
            (operators::LOGICAL_NOT, 1) => {
                let ty = self.check(&mut call.args[0])?;
                expect_bool(&ty, &shown[0], "!")?;
                return Ok(Ty::Bool);
            }
            (operators::NEGATE, 1) => {
                let ty = self.check(&mut call.args[0])?;
                return match ty {
                    Ty::Int | Ty::Double | Ty::Dyn => Ok(ty),
                    other => Err(format!("-{} negates {other}", shown[0])),
                };
            }
            (operators::CONDITIONAL, 3) => {
                let ty = self.check(&mut call.args[0])?;
                expect_bool(&ty, &shown[0], "?")?;
                return Ok(self.check(&mut call.args[1])?.join(self.check(&mut call.args[2])?));
            }
            (operators::NOT_STRICTLY_FALSE, 1) => return self.check(&mut call.args[0]),
            _ => {}
        }
        self.function(call)
    }

    fn function(&mut self, call: &mut CallExpr) -> Checked {
        let mut args = Vec::new();
        for arg in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
            args.push((show(arg), self.check(arg)?));
        }
        let name = call.func_name.as_str();
        if let Some((_, result)) = CONVERSIONS.iter().find(|(known, _)| *known == name) {
            return match args.as_slice() {
                [(_, Ty::List(_) | Ty::Map(..) | Ty::Null)] => Err(format!("{name}() converts single values only")),
                [_] => Ok(result.clone()),
                _ => Err(format!("{name}() takes one argument")),
            };
        }
        if name == "size" {
            return match args.as_slice() {
                [(_, Ty::String | Ty::Bytes | Ty::List(_) | Ty::Map(..) | Ty::Dyn)] => Ok(Ty::Int),
                [(shown, other)] => Err(format!("size() of {shown}, which is {other}")),
                _ => Err("size() takes one argument".into()),
            };
        }
        let Some((_, expected, result)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            let known = FUNCTIONS.iter().map(|(known, ..)| *known).chain(CONVERSIONS.iter().map(|(known, _)| *known));
            let hint = nearest(name, known).map_or(String::new(), |near| format!("; did you mean {near}()?"));
            return Err(format!("{name}() is not a function of conditions{hint}"));
        };
        // Parts of a timestamp take the zone's name as a second argument.
        let zoned = *expected == [Ty::Timestamp] && args.len() == 2 && args[1].1 == Ty::String;
        if args.len() != expected.len() && !zoned {
            return Err(format!("{name}() takes {} argument(s), not {}", expected.len(), args.len()));
        }
        for ((shown, ty), expected) in args.iter().zip(*expected) {
            if ty != expected && *ty != Ty::Dyn {
                return Err(format!("{name}() wants {expected}, but {shown} is {ty}"));
            }
        }
        Ok(result.clone())
    }

    fn comprehension(&mut self, parts: &mut ComprehensionExpr) -> Checked {
        let element = match self.check(&mut parts.iter_range)? {
            Ty::List(of) => *of,
            Ty::Map(key, _) => *key,
            Ty::Dyn => Ty::Dyn,
            other => return Err(format!("{} is {other}: only lists and maps have elements", show(&parts.iter_range))),
        };
        // The accumulator of `map` and `filter` starts as an empty list and grows: its elements are known at run time.
        let accumulator = match self.check_unfolded(&mut parts.accu_init)? {
            Ty::List(_) => Ty::List(Box::new(Ty::Dyn)),
            other => other,
        };
        let depth = self.scope.len();
        self.scope.push((parts.accu_var.clone(), accumulator));
        let outer = self.scope.len();
        self.scope.push((parts.iter_var.clone(), element));
        if let Some(second) = &parts.iter_var2 {
            self.scope.push((second.clone(), Ty::Dyn));
        }
        let condition = self.check(&mut parts.loop_cond)?;
        expect_bool(&condition, "the loop's condition", "while")?;
        self.check_unfolded(&mut parts.loop_step)?;
        self.scope.truncate(outer);
        let result = self.check(&mut parts.result);
        self.scope.truncate(depth);
        result
    }

    /// As `check`, but leaves an empty list literal itself in place: the interpreter appends to it.
    fn check_unfolded(&mut self, expr: &mut IdedExpr) -> Checked {
        match &expr.expr {
            Expr::List(list) if list.elements.is_empty() => Ok(Ty::List(Box::new(Ty::Dyn))),
            _ => self.check(expr),
        }
    }
}

fn literal_type(literal: &LiteralValue) -> Ty {
    match literal {
        LiteralValue::Boolean(_) => Ty::Bool,
        LiteralValue::Bytes(_) => Ty::Bytes,
        LiteralValue::Double(_) => Ty::Double,
        LiteralValue::Int(_) => Ty::Int,
        LiteralValue::Null => Ty::Null,
        LiteralValue::String(_) => Ty::String,
        LiteralValue::UInt(_) => Ty::UInt,
    }
}

fn binary_symbol(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::LESS => "<",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::GREATER_EQUALS => ">=",
        operators::IN => "in",
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::ADD => "+",
        operators::SUBSTRACT => "-",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        operators::INDEX => "[]",
        _ => return None,
    })
}

fn binary(kind: &str, symbol: &str, left: (&str, Ty), right: (&str, Ty), args: &[IdedExpr]) -> Checked {
    let ((left_text, left), (right_text, right)) = (left, right);
    let refuse = |why: &str| {
        let hint = hint(&left, &right, left_text, symbol, args);
        Err(format!("{left_text} {symbol} {right_text}: {left_text} is {left}, {right_text} is {right}; {why}{hint}"))
    };
    match kind {
        operators::EQUALS | operators::NOT_EQUALS if left.comparable(&right) => Ok(Ty::Bool),
        operators::EQUALS | operators::NOT_EQUALS => refuse("the two can never be equal"),
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
            if left.ordered(&right) { Ok(Ty::Bool) } else { refuse("the two have no order") }
        }
        operators::IN => match &right {
            Ty::List(of) | Ty::Map(of, _) if left.comparable(of) => Ok(Ty::Bool),
            Ty::Dyn => Ok(Ty::Bool),
            Ty::List(_) | Ty::Map(..) => refuse("it can never be one of them"),
            _ => refuse("`in` wants a list"),
        },
        operators::LOGICAL_AND | operators::LOGICAL_OR => {
            expect_bool(&left, left_text, symbol)?;
            expect_bool(&right, right_text, symbol)?;
            Ok(Ty::Bool)
        }
        operators::INDEX => match (&left, &right) {
            (Ty::List(of), Ty::Int | Ty::UInt | Ty::Dyn) => Ok((**of).clone()),
            (Ty::Map(key, value), index) if key.comparable(index) => Ok((**value).clone()),
            (Ty::Dyn, _) => Ok(Ty::Dyn),
            _ => refuse("it cannot be indexed so"),
        },
        _ => match (&left, &right, kind) {
            (Ty::Dyn, _, _) | (_, Ty::Dyn, _) => Ok(Ty::Dyn),
            (Ty::Int, Ty::Int, _) => Ok(Ty::Int),
            (Ty::UInt, Ty::UInt, _) => Ok(Ty::UInt),
            (Ty::Double, Ty::Double, kind) if kind != operators::MODULO => Ok(Ty::Double),
            (Ty::String, Ty::String, operators::ADD) => Ok(Ty::String),
            (Ty::Bytes, Ty::Bytes, operators::ADD) => Ok(Ty::Bytes),
            (Ty::List(a), Ty::List(b), operators::ADD) => Ok(Ty::List(Box::new((**a).clone().join((**b).clone())))),
            (Ty::Timestamp, Ty::Duration, operators::ADD | operators::SUBSTRACT) => Ok(Ty::Timestamp),
            (Ty::Duration, Ty::Timestamp, operators::ADD) => Ok(Ty::Timestamp),
            (Ty::Timestamp, Ty::Timestamp, operators::SUBSTRACT) => Ok(Ty::Duration),
            (Ty::Duration, Ty::Duration, operators::ADD | operators::SUBSTRACT) => Ok(Ty::Duration),
            _ => refuse("CEL reckons with two of the same type only (2u is unsigned, 2.0 a double)"),
        },
    }
}

/// What was probably meant.
fn hint(left: &Ty, right: &Ty, left_text: &str, symbol: &str, args: &[IdedExpr]) -> String {
    match (left, right, args.get(1).map(|arg| &arg.expr)) {
        (left, Ty::String, Some(Expr::Literal(LiteralValue::String(text))))
            if left.is_number() && text.inner().parse::<f64>().is_ok() =>
        {
            format!("; write {left_text} {symbol} {}", text.inner())
        }
        (Ty::Int | Ty::UInt, Ty::Bool, Some(Expr::Literal(LiteralValue::Boolean(flag)))) => {
            format!("; write {left_text} {symbol} {}", i32::from(*flag.inner()))
        }
        (Ty::Timestamp, Ty::String, _) => "; write timestamp('2026-11-23T07:00:00Z')".into(),
        (Ty::String, Ty::Int | Ty::UInt | Ty::Double, _) => "; write the number in quotes".into(),
        _ => String::new(),
    }
}

fn expect_bool(ty: &Ty, shown: &str, symbol: &str) -> Result<(), String> {
    match ty {
        Ty::Bool | Ty::Dyn => Ok(()),
        other => Err(format!("{symbol} wants a bool, but {shown} is {other}; compare it with something")),
    }
}

/// A short text of an expression, for messages.
fn show(expr: &IdedExpr) -> String {
    match &expr.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) => format!("{}.{}", show(&select.operand), select.field),
        Expr::Literal(LiteralValue::String(text)) => format!("'{}'", text.inner()),
        Expr::Literal(LiteralValue::Int(number)) => number.inner().to_string(),
        Expr::Literal(LiteralValue::UInt(number)) => format!("{}u", number.inner()),
        Expr::Literal(LiteralValue::Double(number)) => number.inner().to_string(),
        Expr::Literal(LiteralValue::Boolean(flag)) => flag.inner().to_string(),
        Expr::Literal(LiteralValue::Null) => "null".into(),
        Expr::Literal(LiteralValue::Bytes(_)) => "b'…'".into(),
        Expr::List(list) => {
            let elements: Vec<String> = list.elements.iter().take(4).map(show).collect();
            format!("[{}{}]", elements.join(", "), if list.elements.len() > 4 { ", …" } else { "" })
        }
        Expr::Call(call) => match (binary_symbol(&call.func_name), call.args.as_slice()) {
            (Some("[]"), [list, index]) => format!("{}[{}]", show(list), show(index)),
            (Some(symbol), [left, right]) => format!("({} {symbol} {})", show(left), show(right)),
            _ => format!("{}(…)", call.func_name.trim_matches('_')),
        },
        _ => "(…)".into(),
    }
}
