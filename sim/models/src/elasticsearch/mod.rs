//! A model of an Elasticsearch cluster: versioned documents, refresh, aliases, mappings.
//!
//! The engine sees it through [`towpath_engine::ports::index::SearchIndex`], which [`Elasticsearch`] implements.
//!
//! Stricter than the real one: a delete's version is forgotten at once unless `gc_deletes` says otherwise, and always
//! at a restart; nothing is searchable before a refresh. Not modelled: replicas, analysis, scoring.

mod mapping;
mod port;
mod query;
mod store;

use crate::faults::lock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Cluster, Slot};
use tokio::sync::watch;
use towpath_engine::ports::index::BulkOp;

/// How a model cluster is set.
#[derive(Debug, Clone)]
pub struct ElasticsearchConfig {
    /// `index.refresh_interval` of every index; `None` = only when asked.
    pub refresh_interval: Option<Duration>,
    /// `index.gc_deletes`: how long a delete's version is remembered. Zero = not at all.
    pub gc_deletes: Duration,
    /// `http.max_content_length`: a larger bulk is refused with 413.
    pub max_request_bytes: usize,
    /// `action.auto_create_index`.
    pub auto_create_index: bool,
    /// Deadline of a call that gets no answer.
    pub timeout: Duration,
}

impl Default for ElasticsearchConfig {
    fn default() -> Self {
        Self {
            refresh_interval: Some(Duration::from_secs(1)),
            gc_deletes: Duration::ZERO,
            max_request_bytes: 100 << 20,
            auto_create_index: true,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Ways in which calls can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElasticsearchFault {
    /// A request finds no node.
    Unavailable,
    /// A bulk is applied and its answer is lost.
    TimeoutApplied,
    /// A whole request is refused with 429.
    TooManyRequests,
    /// Every second operation of a bulk, from the first, is refused with 429 `es_rejected_execution_exception`.
    ItemsTooMany,
    /// An item fails with 429 `cluster_block_exception` (the disk's flood stage).
    FloodStage,
    /// A proxy answers with HTML.
    Html,
    /// A request is refused with 401.
    Unauthorized,
    /// A bulk is refused with 413.
    TooLarge,
    /// A bulk is refused with 400.
    BadRequest,
}

/// An accepted write, for oracles: the history that the cluster itself forgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The concrete index.
    pub index: String,
    /// The document's id.
    pub id: String,
    /// The version it was written or deleted with.
    pub version: u64,
    /// A delete.
    pub deleted: bool,
    /// What was written.
    pub source: Option<bytes::Bytes>,
}

/// A handle to one model cluster; clones share it.
#[derive(Debug, Clone)]
pub struct Elasticsearch {
    state: Arc<Mutex<Cluster>>,
    changed: watch::Sender<u64>,
}

impl Elasticsearch {
    /// A cluster without indexes.
    pub fn new(config: ElasticsearchConfig) -> Self {
        Self { state: Arc::new(Mutex::new(Cluster::new(config))), changed: watch::Sender::new(0) }
    }

    fn change<T>(&self, act: impl FnOnce(&mut Cluster) -> T) -> T {
        let result = {
            let mut cluster = lock(&self.state);
            cluster.tick();
            act(&mut cluster)
        };
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// All documents of an index as they are (not as searches see them): id, version, source.
    pub fn documents(&self, index: &str) -> Vec<(String, u64, bytes::Bytes)> {
        let cluster = lock(&self.state);
        let slots = cluster.indexes.get(cluster.resolve(index)).map(|index| &index.slots);
        let live = slots.into_iter().flatten().filter_map(|((_, id), slot)| match slot {
            Slot::Live { version, source, .. } => Some((id.clone(), *version, source.clone())),
            Slot::Tombstone { .. } => None,
        });
        live.collect()
    }

    /// The names of the indexes.
    pub fn indexes(&self) -> Vec<String> {
        lock(&self.state).indexes.keys().cloned().collect()
    }

    /// Every accepted write and delete, in order.
    pub fn history(&self) -> Vec<Operation> {
        lock(&self.state).history.clone()
    }

    /// The accepted writes and deletes from the `from`th on.
    pub fn history_since(&self, from: usize) -> Vec<Operation> {
        lock(&self.state).history.get(from..).unwrap_or_default().to_vec()
    }

    /// A restart: acknowledged documents stay, deletes' versions are forgotten, everything is refreshed.
    pub fn restart(&self) {
        self.change(|cluster| {
            cluster.up = true;
            for index in cluster.indexes.values_mut() {
                index.slots.retain(|_, slot| matches!(slot, Slot::Live { .. }));
                index.refresh();
            }
        });
    }

    /// The cluster cannot be reached until [`Elasticsearch::restart`].
    pub fn stop(&self) {
        self.change(|cluster| cluster.up = false);
    }

    /// Bulks stay on their way: their callers time out. With `false` they arrive, in order.
    pub fn hold_bulks(&self, hold: bool) {
        self.change(|cluster| {
            if hold {
                cluster.held.get_or_insert_default();
            } else {
                let late: Vec<BulkOp> = cluster.held.take().unwrap_or_default().into_iter().flatten().collect();
                late.iter().for_each(|op| {
                    cluster.apply(op);
                });
            }
        });
    }

    /// `index.blocks.write`.
    pub fn set_write_block(&self, index: &str, blocked: bool) {
        self.with_index(index, |index| index.write_block = blocked);
    }

    /// Closes or opens an index.
    pub fn set_closed(&self, index: &str, closed: bool) {
        self.with_index(index, |index| index.closed = closed);
    }

    fn with_index(&self, name: &str, act: impl FnOnce(&mut store::Index)) {
        self.change(|cluster| {
            let name = cluster.resolve(name).to_string();
            if let Some(index) = cluster.indexes.get_mut(&name) {
                act(index);
            }
        });
    }

    /// Deletes an index and the aliases of it.
    pub fn delete_index(&self, name: &str) {
        self.change(|cluster| {
            cluster.indexes.remove(name);
            cluster.aliases.retain(|_, (index, _)| index != name);
        });
    }

    /// Makes the next `times` calls fail so.
    pub fn fail_next(&self, fault: ElasticsearchFault, times: u32) {
        self.change(|cluster| cluster.faults.plan(fault, times));
    }

    /// Forgets the planned faults that have not fired.
    pub fn clear_faults(&self) {
        self.change(|cluster| cluster.faults.clear());
    }

    /// How many planned faults have fired.
    pub fn faults_fired(&self) -> u64 {
        lock(&self.state).faults.fired()
    }

    /// Changes settings of the running cluster.
    pub fn configure(&self, change: impl FnOnce(&mut ElasticsearchConfig)) {
        self.change(|cluster| change(&mut cluster.config));
    }
}
