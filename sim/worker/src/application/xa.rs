//! XA transactions beside the workload: prepared, held for a while, then committed or rolled back. Some are left
//! prepared when the run ends: nobody may show their rows.
//!
//! Their orders are their own: a prepared transaction holds its rows, and the workload knows nothing of locks.

use anyhow::Result;
use std::time::Duration;
use towpath_engine::env::Rng;
use towpath_models::mysql::MySql;
use towpath_models::orders;
use towpath_scenarios::workload::{Change, RowOp, Transaction, Value, order, order_columns};

use super::columns::arranged;
use crate::observe::OfSource;

/// The first of their orders.
const FIRST: i64 = 700_000_000;

/// One prepared transaction.
struct Group {
    name: String,
    rows: Vec<RowOp>,
    /// When the application ends it.
    until: Duration,
    commits: bool,
}

/// All that is under way.
pub struct Groups {
    per_second: u32,
    rng: Rng,
    credit: f64,
    next: i64,
    open: Vec<Group>,
    /// Orders that exist and that no group holds.
    free: Vec<RowOp>,
}

impl Groups {
    /// So many begin every second.
    pub fn new(per_second: u32, seed: u64) -> Self {
        let rng = Rng::new(seed ^ 0x0078_6120_6772_6f75);
        Self { per_second, rng, credit: 0.0, next: FIRST, open: Vec::new(), free: Vec::new() }
    }

    /// Prepares and ends what is due.
    ///
    /// # Errors
    /// The source refuses what it should take.
    pub fn work(&mut self, now: Duration, step: Duration, source: &MySql, observer: &mut OfSource) -> Result<()> {
        self.credit += f64::from(self.per_second) * step.as_secs_f64();
        while self.credit >= 1.0 {
            self.credit -= 1.0;
            self.prepare(now, source, observer)?;
        }
        let (due, open) = std::mem::take(&mut self.open).into_iter().partition(|group| group.until <= now);
        self.open = open;
        let due: Vec<Group> = due;
        for group in due {
            let ended = if group.commits { source.xa_commit(&group.name) } else { source.xa_rollback(&group.name) };
            match ended {
                Ok(commit) if group.commits => {
                    observer.committed(commit, group.rows.len());
                    self.free.extend(group.rows);
                }
                Ok(_) => {}
                // The prepared transaction, or a row of it, was lost with the source's tail.
                Err(error) if observer.has_turned_back() => tracing::debug!("refused by the source: {error}"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn prepare(&mut self, now: Duration, source: &MySql, observer: &OfSource) -> Result<()> {
        let name = format!("g{}", self.next);
        let mut rows = Vec::new();
        for _ in 0..=self.rng.below(4) {
            rows.push(order(self.next, format!("order {} of {name}", self.next), Value::Null));
            self.next += 1;
        }
        // Now and then an order of an earlier group changes with them.
        if !self.free.is_empty() && self.rng.below(2) == 0 {
            let place = self.rng.below(self.free.len() as u64) as usize;
            rows.push(changed(self.free.swap_remove(place), &name));
        }
        let group = Group {
            until: now + Duration::from_millis(50 + self.rng.below(6_000)),
            commits: self.rng.below(5) > 0,
            name,
            rows,
        };
        let transaction = Transaction { ops: group.rows.clone() };
        match source.xa_prepare(&group.name, &arranged(orders::operations(&transaction), source)) {
            Ok(_) => self.open.push(group),
            Err(error) if observer.has_turned_back() => tracing::debug!("refused by the source: {error}"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// The same order, written by another transaction.
fn changed(known: RowOp, by: &str) -> RowOp {
    let before = match known.change {
        Change::Insert(row) | Change::Update { after: row, .. } | Change::Delete(row) => row,
    };
    let mut after = before.clone();
    after[order_columns::REMARK] = Value::Text(format!("changed by {by}"));
    RowOp { table: known.table, change: Change::Update { before, after } }
}
