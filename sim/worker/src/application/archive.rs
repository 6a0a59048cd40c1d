//! The archiver: orders that leave the database `orders` go to `archive`, on whichever server that lies, in a
//! transaction of its own before or after the one that deletes them, and are corrected there now and then.

use anyhow::Result;
use std::time::Duration;
use towpath_engine::env::Rng;
use towpath_models::mysql::{RowOp as ModelOp, TableName};
use towpath_models::orders;
use towpath_scenarios::workload::{ARCHIVE, Change, Row, RowOp, Table, Transaction, Value, order_columns};

use crate::observe::Observer;
use crate::world::World;

/// Corrections of archived orders: one in so many steps of an archiver that has any.
const CORRECTIONS: u64 = 150;

/// Rows on their way, and rows that are there.
pub struct Archiver {
    /// The place of the pipeline whose server holds the archive.
    place: usize,
    rng: Rng,
    due: Vec<(Duration, Row)>,
    archived: Vec<Row>,
}

impl Archiver {
    /// One with nothing to do.
    pub fn new(place: usize, seed: u64) -> Self {
        Self { place, rng: Rng::new(seed ^ 0x6172_6368), due: Vec::new(), archived: Vec::new() }
    }

    /// Half of the orders that a transaction deletes are archived before it is committed; the others are due later.
    ///
    /// # Errors
    /// The source refuses what it should take.
    pub fn before(
        &mut self,
        now: Duration,
        transaction: &Transaction,
        world: &World,
        observer: &mut Observer,
    ) -> Result<()> {
        for op in transaction.ops.iter().filter(|op| op.table == Table::Orders) {
            if let Change::Delete(row) = &op.change {
                if self.rng.below(2) == 0 {
                    self.insert(row.clone(), world, observer)?;
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
    pub fn work(&mut self, now: Duration, world: &World, observer: &mut Observer) -> Result<()> {
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|(at, _)| *at <= now);
        self.due = later;
        let due: Vec<(Duration, Row)> = due;
        for (_, row) in due {
            self.insert(row, world, observer)?;
        }
        if !self.archived.is_empty() && self.rng.below(CORRECTIONS) == 0 {
            let place = self.rng.below(self.archived.len() as u64) as usize;
            let before = self.archived[place].clone();
            let mut after = before.clone();
            after[order_columns::REMARK] = Value::Text(format!("corrected in the archive at {} ms", now.as_millis()));
            self.archived[place].clone_from(&after);
            self.commit(Change::Update { before, after }, world, observer)?;
        }
        Ok(())
    }

    /// Archives all that is on its way: the application stops.
    ///
    /// # Errors
    /// The source refuses what it should take.
    pub fn finish(&mut self, world: &World, observer: &mut Observer) -> Result<()> {
        self.work(Duration::MAX, world, observer)
    }

    fn insert(&mut self, row: Row, world: &World, observer: &mut Observer) -> Result<()> {
        self.archived.push(row.clone());
        self.commit(Change::Insert(row), world, observer)
    }

    fn commit(&self, change: Change, world: &World, observer: &mut Observer) -> Result<()> {
        let transaction = Transaction { ops: vec![RowOp { table: Table::Orders, change }] };
        let mut operations = orders::operations(&transaction);
        for operation in &mut operations {
            let (ModelOp::Insert { table, .. } | ModelOp::Update { table, .. } | ModelOp::Delete { table, .. }) =
                operation;
            *table = TableName::new(ARCHIVE, table.table.clone());
        }
        let commit = world.pipelines[self.place].source().commit(&operations)?;
        observer.of(self.place).committed(commit, operations.len());
        Ok(())
    }
}
