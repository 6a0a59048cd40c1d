//! The order workload: what a delivery platform does to its tables, planned from a seed as plain data.
//!
//! Must not know how it is executed: the model server and a real one get the same operations.

mod groups;
mod orders;
mod special;
mod state;
mod tables;
pub(crate) mod text;

pub use groups::{Group, Groups};
pub use orders::{Counts, Workload, WorkloadConfig};
pub use special::{huge, order, poison};
pub use state::State;
pub use tables::{ARCHIVE, DATABASE, Table, order_columns, status};

/// One value of a row, with its meaning.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// Any integer column.
    Int(i64),
    /// DECIMAL: hundredths (both DECIMAL columns have scale 2).
    Cents(i64),
    /// A character column.
    Text(String),
    /// JSON.
    Json(serde_json::Value),
    /// DATETIME(3), meant as UTC: milliseconds since the epoch.
    DateTime(i64),
    /// TIMESTAMP(3): milliseconds since the epoch.
    Timestamp(i64),
}

impl Value {
    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }
}

/// All values of a row, in the table's order. The first is the primary key.
pub type Row = Vec<Value>;

/// What happens to one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It comes.
    Insert(Row),
    /// It changes; the key may change too.
    Update {
        /// As it was.
        before: Row,
        /// As it is then.
        after: Row,
    },
    /// It goes.
    Delete(Row),
}

/// One row operation.
#[derive(Debug, Clone, PartialEq)]
pub struct RowOp {
    /// The table.
    pub table: Table,
    /// What happens.
    pub change: Change,
}

impl RowOp {
    /// The key the row has before the operation; for an insert, the new one.
    pub fn key(&self) -> i64 {
        match &self.change {
            Change::Insert(row) | Change::Update { before: row, .. } | Change::Delete(row) => key_of(row),
        }
    }
}

/// The primary key of a row: its first value.
pub fn key_of(row: &Row) -> i64 {
    row.first().and_then(Value::as_int).unwrap_or_default()
}

/// What is committed at once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transaction {
    /// The operations, in order. Neighbours of one table and kind are one statement.
    pub ops: Vec<RowOp>,
}

#[cfg(test)]
mod tests;
