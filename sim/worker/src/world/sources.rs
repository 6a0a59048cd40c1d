//! The MySQL servers: the one that is written, and those that follow it.
//!
//! Replication goes on by itself, step by step, unless a fault holds it. Must not decide which server is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use towpath_engine::env::Env;
use towpath_models::mysql::{MySql, MySqlConfig};
use towpath_scenarios::scenario::{RowMetadata, Topology};

/// Standbys look for news once in so many steps.
const EVERY: u32 = 5;
/// A commit waits for a standby's answer so long, then for none: the server's default.
const WAITS: Duration = Duration::from_secs(10);

/// The servers, in the order in which deployers know them.
#[derive(Clone)]
pub struct Sources {
    servers: Arc<Vec<MySql>>,
    written: Arc<AtomicUsize>,
    lagging: Arc<AtomicBool>,
    turned_back: Arc<AtomicBool>,
    /// The first server's transactions before the run: they made its tables.
    made: Arc<AtomicU64>,
    steps: Arc<AtomicU32>,
    /// Commits wait for a standby.
    semi_sync: bool,
}

impl Sources {
    /// A server and so many that follow it. Those of another rank are other servers.
    pub fn new(topology: &Topology, rank: u8, env: &Env) -> Self {
        let row_metadata_full = topology.row_metadata == RowMetadata::Full;
        let config = |number: u32| {
            let server_id = u32::from(rank) * 10 + number;
            let server_uuid = format!("0a1b2c3d-0000-11f1-8000-{server_id:012}");
            MySqlConfig { row_metadata_full, server_uuid, server_id, ..MySqlConfig::default() }
        };
        let first = MySql::new(config(1), env.clone());
        let standby = |number: u32| first.replica(config(number));
        let servers = std::iter::once(first.clone()).chain((2..topology.standbys + 2).map(standby)).collect();
        first.wait_for_replicas(topology.semi_sync.then_some(WAITS));
        Self {
            servers: Arc::new(servers),
            written: Arc::default(),
            lagging: Arc::default(),
            turned_back: Arc::default(),
            made: Arc::default(),
            steps: Arc::default(),
            semi_sync: topology.semi_sync,
        }
    }

    /// All of them.
    pub fn all(&self) -> &[MySql] {
        &self.servers
    }

    /// The one that is written.
    pub fn written(&self) -> &MySql {
        &self.servers[self.written.load(Ordering::Relaxed)]
    }

    /// A step of replication. A standby whose source is dead waits for another one.
    pub fn replicate(&self) {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        if step.is_multiple_of(EVERY) && !self.lagging.load(Ordering::Relaxed) {
            for server in self.servers.iter().skip(self.written.load(Ordering::Relaxed) + 1) {
                let Ok(count) = server.receive() else { continue };
                if self.semi_sync {
                    self.written().acknowledge(server);
                }
                if count > 0 {
                    let _ = server.apply(usize::MAX);
                }
            }
        }
    }

    /// Holds replication, or lets it go on.
    pub fn lag(&self, lagging: bool) {
        self.lagging.store(lagging, Ordering::Relaxed);
    }

    /// The written server dies for good; the next one is promoted and followed by those behind it. `false` if there is
    /// none.
    pub fn fail_over(&self) -> bool {
        let next = self.written.load(Ordering::Relaxed) + 1;
        let Some(server) = self.servers.get(next) else { return false };
        self.written().stop();
        server.promote();
        self.servers.iter().skip(next + 1).for_each(|other| other.follow(server));
        // The last one has nobody to wait for.
        server.wait_for_replicas((self.semi_sync && next + 1 < self.servers.len()).then_some(WAITS));
        self.written.store(next, Ordering::Relaxed);
        self.turn_back();
        true
    }

    /// Its tables are made: no fault takes that back.
    pub fn begin(&self) {
        self.made.store(own(self.written()), Ordering::Relaxed);
    }

    /// The written server crashes and comes up without its last transactions.
    pub fn lose_tail(&self, count: usize) {
        let first = self.written.load(Ordering::Relaxed) == 0;
        let made = if first { self.made.load(Ordering::Relaxed) } else { 0 };
        let most = own(self.written()).saturating_sub(made) as usize;
        self.written().crash(count.min(most));
        self.turn_back();
    }

    /// What was committed may be gone, or is read once more.
    pub fn turn_back(&self) {
        self.turned_back.store(true, Ordering::Relaxed);
    }

    /// Whether that happened since the last look.
    pub fn has_turned_back(&self) -> bool {
        self.turned_back.swap(false, Ordering::Relaxed)
    }
}

/// How many transactions a server has committed first of all.
fn own(server: &MySql) -> u64 {
    server.executed().highest(&server.identity())
}
