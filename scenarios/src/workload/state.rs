//! What the tables hold after some transactions: for those who execute operations elsewhere and compare.
//!
//! Must not be the only truth of a comparison where the source itself can be asked.

use std::collections::BTreeMap;

use super::{Change, Row, RowOp, Table, key_of};

/// Rows by table and key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    rows: BTreeMap<(Table, i64), Row>,
}

/// An operation that the state does not allow: the planner, or its executor, is wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{table} row {key}: {reason}")]
pub struct Contradiction {
    /// The table.
    pub table: &'static str,
    /// The row's key.
    pub key: i64,
    /// What does not fit.
    pub reason: &'static str,
}

impl State {
    /// Applies one operation.
    pub fn apply(&mut self, op: &RowOp) -> Result<(), Contradiction> {
        let fail = |reason| Err(Contradiction { table: op.table.name(), key: op.key(), reason });
        let (gone, came) = match &op.change {
            Change::Insert(row) => (None, Some(row)),
            Change::Update { before, after } => (Some(before), Some(after)),
            Change::Delete(row) => (Some(row), None),
        };
        if let Some(before) = gone {
            match self.rows.remove(&(op.table, key_of(before))) {
                Some(held) if held == *before => {}
                Some(_) => return fail("its before image is not what the table holds"),
                None => return fail("it does not exist"),
            }
        }
        if let Some(after) = came
            && self.rows.insert((op.table, key_of(after)), after.clone()).is_some()
        {
            return fail("its key exists already");
        }
        Ok(())
    }

    /// The rows of a table, by key.
    pub fn rows(&self, table: Table) -> impl Iterator<Item = &Row> + '_ {
        self.rows.range((table, i64::MIN)..=(table, i64::MAX)).map(|(_, row)| row)
    }
}
