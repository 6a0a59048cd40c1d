//! The parts of a table's FlatMessages that are the same for all its rows, rendered once per definition.
//!
//! Must not see a row.

use std::sync::Arc;

use super::json::quoted;
use crate::routing::{RoutePlan, Router};
use crate::schema::{Column, ColumnType, TableSchema};

/// A table's parts.
#[derive(Debug)]
pub(super) struct TableParts {
    pub table: Arc<TableSchema>,
    /// For rows that do not tell all columns, one entry for each column: whether they tell it. Only those have types.
    pub told: Option<Vec<bool>>,
    pub plan: RoutePlan,
    /// For each column `,"name":"`. The first of an object goes without its comma, a null without its quote.
    pub leads: Vec<Vec<u8>>,
    /// `],"database":"…","es":`
    pub database: Vec<u8>,
    /// `,"isDdl":false,"mysqlType":{…},"old":`
    pub types: Vec<u8>,
    /// `,"pkNames":[…],"sql":"","sqlType":`
    pub keys: Vec<u8>,
    /// `{"column":12,…}` as it is when no value departs from its column's number.
    pub sql_types: Vec<u8>,
    /// `,"table":"…","ts":`
    pub name: Vec<u8>,
    /// The columns whose `sqlType` depends on the value, with their usual number.
    pub varying: Vec<(usize, i32)>,
}

impl TableParts {
    pub fn new(table: &Arc<TableSchema>, told: Option<Vec<bool>>, router: &Router) -> Self {
        let tells = |index: usize| told.as_ref().is_none_or(|told| told.get(index) == Some(&true));
        let join = |open: &str, close: &str, each: &mut dyn FnMut(&mut Vec<u8>) -> bool| {
            let mut out = open.as_bytes().to_vec();
            loop {
                let before = out.len();
                if before > open.len() {
                    out.push(b',');
                }
                if !each(&mut out) {
                    out.truncate(before);
                    break;
                }
            }
            out.extend_from_slice(close.as_bytes());
            out
        };
        let mut columns = table.columns.iter().enumerate().filter(|&(index, _)| tells(index)).map(|(_, column)| column);
        let types = join(",\"isDdl\":false,\"mysqlType\":{", "},\"old\":", &mut |out| {
            let Some(column) = columns.next() else { return false };
            quoted(&column.name, out);
            out.push(b':');
            quoted(&column.mysql_type(), out);
            true
        });
        let keys = if table.primary_key.is_empty() {
            b",\"pkNames\":null,\"sql\":\"\",\"sqlType\":".to_vec()
        } else {
            let told_keys = table.primary_key.iter().filter(|&&index| tells(index));
            let mut keys = told_keys.filter_map(|&index| table.columns.get(index));
            join(",\"pkNames\":[", "],\"sql\":\"\",\"sqlType\":", &mut |out| {
                let Some(column) = keys.next() else { return false };
                quoted(&column.name, out);
                true
            })
        };
        let varying = table.columns.iter().enumerate().filter(|&(index, column)| varies(column) && tells(index));
        let varying: Vec<_> = varying.map(|(index, column)| (index, usual_sql_type(column))).collect();
        Self {
            plan: router.plan(table),
            leads: table.columns.iter().map(|column| around(",", &column.name, ":\"")).collect(),
            database: around("],\"database\":", &table.database, ",\"es\":"),
            types,
            keys,
            sql_types: render_sql_types(table, &tells, &[], &[]),
            name: around(",\"table\":", &table.table, ",\"ts\":"),
            varying,
            table: Arc::clone(table),
            told,
        }
    }

    /// The bytes of a record that do not come from its rows, but for numbers and GTIDs.
    pub fn fixed_len(&self) -> usize {
        self.database.len() + self.types.len() + self.keys.len() + self.name.len()
            // A number that departs from the usual one has at most three characters more.
            + self.sql_types.len() + 3 * self.varying.len()
    }

    /// Appends `sqlType` for a record whose last row has these numbers in the varying columns.
    pub fn write_sql_types(&self, numbers: &[i32], out: &mut Vec<u8>) {
        if self.varying.iter().zip(numbers).all(|((_, usual), number)| usual == number) {
            out.extend_from_slice(&self.sql_types);
        } else {
            let tells = |index: usize| self.told.as_ref().is_none_or(|told| told.get(index) == Some(&true));
            out.extend_from_slice(&render_sql_types(&self.table, &tells, &self.varying, numbers));
        }
    }
}

fn around(before: &str, name: &str, after: &str) -> Vec<u8> {
    let mut out = before.as_bytes().to_vec();
    quoted(name, &mut out);
    out.extend_from_slice(after.as_bytes());
    out
}

fn render_sql_types(
    table: &TableSchema,
    tells: &dyn Fn(usize) -> bool,
    varying: &[(usize, i32)],
    numbers: &[i32],
) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (index, column) in table.columns.iter().enumerate().filter(|&(index, _)| tells(index)) {
        let departing = varying.iter().position(|&(place, _)| place == index).and_then(|place| numbers.get(place));
        let number = departing.copied().unwrap_or_else(|| usual_sql_type(column));
        if out.len() > 1 {
            out.push(b',');
        }
        quoted(&column.name, &mut out);
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
    out.push(b'}');
    out
}

/// The number of a value that is neither NULL nor beyond the signed range.
fn usual_sql_type(column: &Column) -> i32 {
    column.sql_type(Some(&[0; 8]))
}

/// Whether Canal's number depends on the value: unsigned integers are promoted above the signed range, and NULL has
/// a table of its own that differs for SET and JSON.
fn varies(column: &Column) -> bool {
    match column.kind {
        ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::MediumInt | ColumnType::Int | ColumnType::BigInt => {
            column.unsigned
        }
        ColumnType::Set { .. } | ColumnType::Json => true,
        _ => false,
    }
}
