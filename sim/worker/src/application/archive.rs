//! The archiver: orders that leave the database `orders` go to `archive`, in a transaction of its own before or after
//! the one that deletes them, and are corrected there now and then.

use anyhow::Result;
use std::time::Duration;
use towpath_engine::env::Rng;
use towpath_models::mysql::{MySql, RowOp as ModelOp, TableName};
use towpath_models::orders;
use towpath_scenarios::workload::{ARCHIVE, Change, Row, RowOp, Table, Transaction, Value, order_columns};

use crate::observe::Observer;

/// Corrections of archived orders: one in so many steps of an archiver that has any.
const CORRECTIONS: u64 = 150;

/// Rows on their way, and rows that are there.
pub struct Archiver {
    rng: Rng,
    due: Vec<(Duration, Row)>,
    archived: Vec<Row>,
}

impl Archiver {
    /// One with nothing to do.
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed ^ 0x6172_6368), due: Vec::new(), archived: Vec::new() }
    }

    /// Half of the orders that a transaction deletes are archived before it is committed; the others are due later.
    ///
    /// # Errors
    /// The source refuses what it should take.
    pub fn before(
        &mut self,
        now: Duration,
        transaction: &Transaction,
        source: &MySql,
        observer: &mut Observer,
    ) -> Result<()> {
        for op in transaction.ops.iter().filter(|op| op.table == Table::Orders) {
            if let Change::Delete(row) = &op.change {
                if self.rng.below(2) == 0 {
                    self.insert(row.clone(), source, observer)?;
                } else {
                    self.due.push((now + Duration::from_millis(20 + self.rng.below(4_000)), row.clone()));
                }
            }
        }
        Ok(())
    }

    /// Archives what is due.
    ///
    /// # Errors
    /// The source refuses what it should take.
    pub fn work(&mut self, now: Duration, source: &MySql, observer: &mut Observer) -> Result<()> {
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|(at, _)| *at <= now);
        self.due = later;
        let due: Vec<(Duration, Row)> = due;
        for (_, row) in due {
            self.insert(row, source, observer)?;
        }
        if !self.archived.is_empty() && self.rng.below(CORRECTIONS) == 0 {
            let place = self.rng.below(self.archived.len() as u64) as usize;
            let before = self.archived[place].clone();
            let mut after = before.clone();
            after[order_columns::REMARK] = Value::Text(format!("corrected in the archive at {} ms", now.as_millis()));
            self.archived[place].clone_from(&after);
            commit(Change::Update { before, after }, source, observer)?;
        }
        Ok(())
    }

    /// Archives all that is on its way: the application stops.
    ///
    /// # Errors
    /// The source refuses what it should take.
    pub fn finish(&mut self, source: &MySql, observer: &mut Observer) -> Result<()> {
        self.work(Duration::MAX, source, observer)
    }

    fn insert(&mut self, row: Row, source: &MySql, observer: &mut Observer) -> Result<()> {
        self.archived.push(row.clone());
        commit(Change::Insert(row), source, observer)
    }
}

fn commit(change: Change, source: &MySql, observer: &mut Observer) -> Result<()> {
    let transaction = Transaction { ops: vec![RowOp { table: Table::Orders, change }] };
    let mut operations = orders::operations(&transaction);
    for operation in &mut operations {
        let (ModelOp::Insert { table, .. } | ModelOp::Update { table, .. } | ModelOp::Delete { table, .. }) = operation;
        *table = TableName::new(ARCHIVE, table.table.clone());
    }
    let commit = source.commit(&operations)?;
    observer.committed(commit, operations.len());
    Ok(())
}
