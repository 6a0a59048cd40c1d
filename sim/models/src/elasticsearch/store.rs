//! The cluster's state: indexes with versioned documents, aliases, refresh. No waiting here.

use super::mapping::Mapping;
use super::{ElasticsearchConfig, ElasticsearchFault, Operation};
use crate::faults::Faults;
use bytes::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;
use towpath_engine::ports::index::{BulkOp, IndexError, ItemResult};

/// A document's place: shard and id.
pub(crate) type Key = (u32, String);

/// What stands at a place.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    /// A document.
    Live { version: u64, source: Bytes, document: Value },
    /// A deleted document whose version is still remembered.
    Tombstone { version: u64, since: Instant },
}

impl Slot {
    pub fn version(&self) -> u64 {
        match self {
            Self::Live { version, .. } | Self::Tombstone { version, .. } => *version,
        }
    }
}

/// One index.
#[derive(Debug)]
pub(crate) struct Index {
    pub mapping: Mapping,
    pub shards: u32,
    pub slots: BTreeMap<Key, Slot>,
    /// What searches see: as of the last refresh.
    pub searchable: BTreeMap<Key, (Bytes, Value)>,
    pub dirty: BTreeSet<Key>,
    /// Spares looking through all documents for deletes to forget.
    pub has_tombstones: bool,
    /// `index.blocks.write`.
    pub write_block: bool,
    pub closed: bool,
    pub refreshed: Instant,
}

impl Index {
    /// The shard of a routing value. Another hash than the real one: which documents share a shard is no promise.
    pub fn key(&self, id: &str, routing: Option<&str>) -> Key {
        let hash =
            routing.unwrap_or(id).bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        (hash % self.shards, id.to_string())
    }

    pub fn refresh(&mut self) {
        for key in std::mem::take(&mut self.dirty) {
            match self.slots.get(&key) {
                Some(Slot::Live { source, document, .. }) => {
                    self.searchable.insert(key, (source.clone(), document.clone()));
                }
                _ => {
                    self.searchable.remove(&key);
                }
            }
        }
        self.refreshed = Instant::now();
    }
}

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub config: ElasticsearchConfig,
    pub up: bool,
    /// Bulks stay on the way until this ends; their callers have long given up.
    pub held: Option<Vec<Vec<BulkOp>>>,
    pub faults: Faults<ElasticsearchFault>,
    pub indexes: BTreeMap<String, Index>,
    pub aliases: BTreeMap<String, (String, Option<Value>)>,
    pub history: Vec<Operation>,
}

impl Cluster {
    pub fn new(config: ElasticsearchConfig) -> Self {
        Self {
            config,
            up: true,
            held: None,
            faults: Faults::default(),
            indexes: BTreeMap::new(),
            aliases: BTreeMap::new(),
            history: Vec::new(),
        }
    }

    /// The concrete index behind a name.
    pub fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, |(index, _)| index.as_str())
    }

    /// What goes by itself: refreshes, and tombstones that are old enough to be forgotten.
    pub fn tick(&mut self) {
        let (interval, keep) = (self.config.refresh_interval, self.config.gc_deletes);
        for index in self.indexes.values_mut() {
            if interval.is_some_and(|interval| index.refreshed.elapsed() >= interval) {
                index.refresh();
            }
            if std::mem::take(&mut index.has_tombstones) {
                let old = |slot: &Slot| matches!(slot, Slot::Tombstone { since, .. } if since.elapsed() >= keep);
                index.slots.retain(|_, slot| !old(slot));
                index.has_tombstones = index.slots.values().any(|slot| matches!(slot, Slot::Tombstone { .. }));
            }
        }
    }

    /// One operation of a bulk.
    pub fn apply(&mut self, op: &BulkOp) -> ItemResult {
        let name = self.resolve(&op.index).to_string();
        if !self.indexes.contains_key(&name)
            && let Err(refused) = self.auto_create(&name)
        {
            return refused;
        }
        let Some(index) = self.indexes.get_mut(&name) else { return no_index(&name) };
        if index.closed {
            return failed(400, "index_closed_exception", "closed".into());
        }
        if index.write_block {
            let reason = format!("index [{name}] blocked by: [FORBIDDEN/8/index write (api)];");
            return failed(403, "cluster_block_exception", reason);
        }
        let key = index.key(&op.id, op.routing.as_deref());
        let version = op.version.number();
        let existing = index.slots.get(&key);
        if let Some(current) = existing.map(Slot::version).filter(|current| *current > version) {
            let reason = format!(
                "[{}]: version conflict, current version [{current}] is higher than the one provided [{version}]",
                op.id
            );
            return failed(409, "version_conflict_engine_exception", reason);
        }
        let live = matches!(existing, Some(Slot::Live { .. }));
        let status = match &op.source {
            Some(source) => {
                let document = match index.mapping.accept(source) {
                    Ok(document) => document,
                    Err(refused) => return failed(400, refused.kind, refused.reason),
                };
                index.slots.insert(key.clone(), Slot::Live { version, source: source.clone(), document });
                if live { 200 } else { 201 }
            }
            None => {
                if self.config.gc_deletes.is_zero() {
                    index.slots.remove(&key);
                } else {
                    index.slots.insert(key.clone(), Slot::Tombstone { version, since: Instant::now() });
                    index.has_tombstones = true;
                }
                if live { 200 } else { 404 }
            }
        };
        index.dirty.insert(key);
        let (id, source) = (op.id.clone(), op.source.clone());
        self.history.push(Operation { index: name, id, version, deleted: source.is_none(), source });
        ItemResult { status, error_type: None, reason: None }
    }

    /// Writing to an index that does not exist makes it, unless the cluster forbids it.
    fn auto_create(&mut self, name: &str) -> Result<(), ItemResult> {
        if !self.config.auto_create_index {
            return Err(no_index(name));
        }
        let created = self.create(name, &Value::Null);
        created.map(drop).map_err(|error| failed(400, "invalid_index_name_exception", error.to_string()))
    }

    /// Creates an index; `Ok(false)` if it exists.
    pub fn create(&mut self, name: &str, body: &Value) -> Result<bool, IndexError> {
        if self.indexes.contains_key(self.resolve(name)) {
            return Ok(false);
        }
        let bad_name = name.is_empty()
            || name != name.to_lowercase()
            || name.starts_with(['-', '_', '+'])
            || name.contains(['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':']);
        if bad_name {
            return Err(rejected(format!("invalid_index_name_exception: Invalid index name [{name}]")));
        }
        let mapping = Mapping::parse(body.get("mappings").unwrap_or(&Value::Null))
            .map_err(|refused| rejected(format!("{}: {}", refused.kind, refused.reason)))?;
        let setting = |key: &str| {
            let settings = body.get("settings")?;
            let nested = settings.get("index").and_then(|index| index.get(key));
            let value = settings.get(key).or(nested).or_else(|| settings.get(format!("index.{key}")))?;
            value.as_u64().or_else(|| value.as_str()?.parse().ok())
        };
        let shards = setting("number_of_shards").map_or(1, |n| n.clamp(1, 1024) as u32);
        let index = Index {
            mapping,
            shards,
            slots: BTreeMap::new(),
            searchable: BTreeMap::new(),
            dirty: BTreeSet::new(),
            has_tombstones: false,
            write_block: false,
            closed: false,
            refreshed: Instant::now(),
        };
        self.indexes.insert(name.to_string(), index);
        Ok(true)
    }

    /// An index that must exist and be open for a request of its own.
    pub fn open(&mut self, name: &str) -> Result<&mut Index, IndexError> {
        let resolved = self.resolve(name).to_string();
        match self.indexes.get_mut(&resolved) {
            None => Err(IndexError::Other {
                status: 404,
                reason: format!("index_not_found_exception: no such index [{name}]"),
            }),
            Some(index) if index.closed => Err(rejected(format!("index_closed_exception: closed [{name}]"))),
            Some(index) => Ok(index),
        }
    }
}

pub(crate) fn rejected(reason: String) -> IndexError {
    IndexError::Rejected { status: 400, reason }
}

pub(crate) fn failed(status: u16, kind: &str, reason: String) -> ItemResult {
    ItemResult { status, error_type: Some(kind.to_string()), reason: Some(reason) }
}

fn no_index(name: &str) -> ItemResult {
    failed(404, "index_not_found_exception", format!("no such index [{name}]"))
}
