//! Semi-synchronous replication as a source sees it: what replicas have acknowledged, and commits that wait.
//!
//! A model's commit never waits by itself: who writes says by [`MySql::hold_commits`] that the acknowledgement of
//! another replica is missing.

use super::{Gtids, MySql};
use crate::faults::lock;
use towpath_engine::position::FilePosition;

/// What a source knows of its semi-synchronous replicas.
#[derive(Debug, Default)]
pub(crate) struct SemiSync {
    /// What a dump that asked for it has acknowledged, in order.
    pub acknowledged: Vec<FilePosition>,
    /// The executed set when commits began to wait. What came later is in the binlog and still owned.
    pub held: Option<Gtids>,
}

impl MySql {
    /// All acknowledgements of semi-synchronous replicas, in the order in which they came.
    pub fn acknowledged(&self) -> Vec<FilePosition> {
        lock(&self.inner).semi_sync.acknowledged.clone()
    }

    /// Commits wait after they were written to the binlog (`AFTER_SYNC`), for a replica that does not answer: dumps
    /// show them, `gtid_executed` does not. Ends with `false`.
    pub fn hold_commits(&self, hold: bool) {
        self.change(|inner, _| inner.semi_sync.held = hold.then(|| inner.server.executed.clone()));
    }
}
