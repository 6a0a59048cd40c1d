//! Semi-synchronous replication as a source sees it: what replicas have acknowledged, and commits that wait
//! (`AFTER_SYNC`): a transaction is in the binlog, and dumps show it, before a replica has it; only then is it
//! committed in the engine, where reads and `gtid_executed` show it. Until then `gtid_owned` names it.
//!
//! Who writes does not wait here: [`MySql::waiting_commits`] says how many sessions would.

use std::time::Duration;
use tokio::time::Instant;

use super::server::Server;
use super::{Gtids, Inner, MySql};
use crate::faults::lock;
use towpath_engine::position::FilePosition;

/// What a source knows of its semi-synchronous replicas.
#[derive(Debug, Default)]
pub(crate) struct SemiSync {
    /// What a dump that asked for it has acknowledged, in order.
    pub acknowledged: Vec<FilePosition>,
    /// Where commits wait for a replica: those that wait no longer. What else is executed is in the binlog and owned.
    committed: Option<Gtids>,
    /// Since when the oldest commit waits.
    since: Option<Instant>,
    /// Nobody answered in time: commits do not wait until a replica has everything.
    off: bool,
    /// `rpl_semi_sync_source_timeout`: commits that wait for longer go on without an acknowledgement, and so do all
    /// later ones until a replica has everything.
    timeout: Duration,
}

impl SemiSync {
    /// The transactions that are committed in the engine too.
    pub fn committed<'a>(&'a self, server: &'a Server) -> &'a Gtids {
        self.committed.as_ref().filter(|_| !self.is_off()).unwrap_or(&server.executed)
    }

    /// How many of the newest transactions wait.
    pub fn waiting(&self, server: &Server) -> usize {
        let committed = self.committed(server);
        server.history.iter().rev().take_while(|one| !committed.contains(&one.source, one.number)).count()
    }

    /// Whether nobody has answered in time.
    fn is_off(&self) -> bool {
        self.off || self.since.is_some_and(|since| since.elapsed() >= self.timeout)
    }

    /// Takes note of new commits.
    pub fn note(&mut self, server: &Server) {
        let Some(committed) = &self.committed else { return };
        self.off = self.is_off();
        if self.off || *committed == server.executed {
            self.since = None;
        } else {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// A replica has these: commits go on, in the log's order.
    fn acknowledge(&mut self, server: &Server, received: &Gtids) {
        self.off = self.is_off();
        let waiting = if self.off { server.history.len() } else { self.waiting(server) };
        let Some(committed) = &mut self.committed else { return };
        let newest = &server.history[server.history.len() - waiting..];
        for one in newest.iter().take_while(|one| received.contains(&one.source, one.number)) {
            committed.add(&one.source, one.number);
            // The next one in line has waited no longer than since now.
            self.since = None;
        }
        if *committed == server.executed {
            self.off = false;
        }
        self.note(server);
    }

    /// A crash or a restart: what waited is in the binlog, and recovery commits it.
    pub fn restarted(&mut self, server: &Server) {
        if let Some(committed) = &mut self.committed {
            committed.clone_from(&server.executed);
        }
        (self.since, self.off) = (None, false);
    }
}

impl MySql {
    /// All acknowledgements of semi-synchronous replicas, in the order in which they came.
    pub fn acknowledged(&self) -> Vec<FilePosition> {
        lock(&self.inner).semi_sync.acknowledged.clone()
    }

    /// Commits wait for a replica that does not answer, however long it takes. Ends with `false`.
    pub fn hold_commits(&self, hold: bool) {
        self.wait_for_replicas(hold.then_some(Duration::MAX));
    }

    /// Commits wait until a replica has them, see [`MySql::acknowledge`], but at most so long; `None`: they do not.
    pub fn wait_for_replicas(&self, timeout: Option<Duration>) {
        self.change(|inner, _| {
            let Inner { server, semi_sync, .. } = inner;
            semi_sync.committed = timeout.map(|_| server.executed.clone());
            semi_sync.timeout = timeout.unwrap_or_default();
            (semi_sync.since, semi_sync.off) = (None, false);
        });
    }

    /// A replica has received what it has, and says so.
    pub fn acknowledge(&self, replica: &MySql) {
        // The two servers are never locked together.
        let received = lock(&replica.inner).received();
        self.change(|inner, _| inner.semi_sync.acknowledge(&inner.server, &received));
    }

    /// How many sessions wait in their commits.
    pub fn waiting_commits(&self) -> usize {
        let inner = lock(&self.inner);
        inner.semi_sync.waiting(&inner.server)
    }
}
