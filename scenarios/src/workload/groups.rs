//! XA transactions beside the workload: prepared, held for a while, then committed or rolled back. Some are left
//! prepared when the run ends: nobody may show their rows.
//!
//! Their orders are their own: a prepared transaction holds its rows, and the workload knows nothing of locks. Must not
//! know how they are executed.

use std::time::Duration;
use towpath_engine::env::Rng;

use super::{Change, RowOp, Value, order, order_columns};

/// The first of their orders.
const FIRST: i64 = 700_000_000;

/// One XA transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The global part of its id.
    pub name: String,
    /// What it does.
    pub rows: Vec<RowOp>,
    /// Whether it is committed; else it is rolled back.
    pub commits: bool,
    /// When the application ends it.
    until: Duration,
}

/// All that is under way.
#[derive(Debug)]
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

    /// Time passes. How many are to be prepared now: so often [`Groups::draw`] is to be called.
    pub fn step(&mut self, passed: Duration) -> u32 {
        self.credit += f64::from(self.per_second) * passed.as_secs_f64();
        let whole = self.credit.floor();
        self.credit -= whole;
        whole as u32
    }

    /// One to prepare.
    pub fn draw(&mut self, now: Duration) -> Group {
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
        let until = now + Duration::from_millis(50 + self.rng.below(6_000));
        Group { until, commits: self.rng.below(5) > 0, name, rows }
    }

    /// It is prepared.
    pub fn prepared(&mut self, group: Group) {
        self.open.push(group);
    }

    /// Those to end now.
    pub fn due(&mut self, now: Duration) -> Vec<Group> {
        let (due, open) = std::mem::take(&mut self.open).into_iter().partition(|group| group.until <= now);
        self.open = open;
        due
    }

    /// It is committed: its orders exist.
    pub fn committed(&mut self, group: Group) {
        self.free.extend(group.rows);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_at_their_rate_and_end_and_only_committed_orders_change() {
        let mut groups = Groups::new(3, 7);
        let (mut begun, mut ended, mut changes) = (0, 0, 0);
        let mut exist = std::collections::BTreeSet::new();
        for tick in 0..6_000_u64 {
            let now = Duration::from_millis(tick * 10);
            for _ in 0..groups.step(Duration::from_millis(10)) {
                let group = groups.draw(now);
                for row in &group.rows {
                    match &row.change {
                        Change::Update { before, .. } => {
                            changes += 1;
                            assert!(exist.contains(&before[0].as_int().unwrap()), "{row:?} changes what is not there");
                        }
                        other => assert!(matches!(other, Change::Insert(_)), "{other:?}"),
                    }
                }
                begun += 1;
                groups.prepared(group);
            }
            for group in groups.due(now) {
                ended += 1;
                if group.commits {
                    let keys = group.rows.iter().filter_map(|row| match &row.change {
                        Change::Insert(row) | Change::Update { after: row, .. } | Change::Delete(row) => {
                            row[0].as_int()
                        }
                    });
                    exist.extend(keys);
                    groups.committed(group);
                }
            }
        }
        assert!((175..=180).contains(&begun) && begun - ended < 25 && changes > 20, "{begun} {ended} {changes}");
    }
}
