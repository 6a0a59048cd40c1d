//! The port of the search cluster with an eye on it: counts what is written, and breaks it where that is asked for.
//!
//! Must not change anything unless sabotage is asked for.

use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use towpath_engine::ports::index::{AliasSpec, BulkOp, IndexError, ItemResult, SearchIndex, StoredDocument};

use crate::Sabotage;

/// One document in so many is sabotaged.
const VICTIMS: u64 = 7;

/// A cluster that is watched.
pub struct Watched {
    inner: Arc<dyn SearchIndex>,
    sabotage: Option<Sabotage>,
    written: Arc<AtomicU64>,
    /// What the victims of [`Sabotage::Stale`] were first, by index and id.
    first: Mutex<BTreeMap<(String, String), Bytes>>,
}

impl Watched {
    /// Watches `inner`; `written` counts operations that it has answered.
    pub fn new(inner: Arc<dyn SearchIndex>, sabotage: Option<Sabotage>, written: Arc<AtomicU64>) -> Self {
        Self { inner, sabotage, written, first: Mutex::default() }
    }

    /// The operation as it is sent on; `None` if it is not.
    fn broken(&self, op: &BulkOp) -> Option<BulkOp> {
        let mut sent = op.clone();
        match (self.sabotage, &op.source) {
            (Some(Sabotage::Drop), _) => return None,
            (Some(Sabotage::Stale), Some(source)) if !is_tombstone(source) => {
                let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
                let first = first.entry((op.index.clone(), op.id.clone())).or_insert_with(|| source.clone());
                sent.source = Some(first.clone());
            }
            (Some(Sabotage::Double), Some(source)) if !is_tombstone(source) => sent.id.push_str("-again"),
            _ => {}
        }
        Some(sent)
    }

    /// What a sabotaged request sends, and the place of each operation's own answer in it.
    fn plan(&self, operations: &[BulkOp]) -> (Vec<BulkOp>, Vec<Option<usize>>) {
        let mut sent = Vec::with_capacity(operations.len());
        let mut places = Vec::with_capacity(operations.len());
        for op in operations {
            let victim = op.id.parse::<u64>().is_ok_and(|id| id % VICTIMS == 3);
            if !victim || self.sabotage == Some(Sabotage::Double) {
                places.push(Some(sent.len()));
                sent.push(op.clone());
            }
            if victim && let Some(broken) = self.broken(op) {
                if self.sabotage != Some(Sabotage::Double) {
                    places.push(Some(sent.len()));
                }
                sent.push(broken);
            } else if victim && self.sabotage != Some(Sabotage::Double) {
                places.push(None);
            }
        }
        (sent, places)
    }
}

fn is_tombstone(source: &Bytes) -> bool {
    source.starts_with(b"{\"_towpath")
}

#[async_trait]
impl SearchIndex for Watched {
    async fn bulk(&self, operations: &[BulkOp]) -> Result<Vec<ItemResult>, IndexError> {
        let results = if self.sabotage.is_none() {
            self.inner.bulk(operations).await?
        } else {
            let (sent, places) = self.plan(operations);
            let answers = if sent.is_empty() { Vec::new() } else { self.inner.bulk(&sent).await? };
            let pretended = || ItemResult { status: 201, error_type: None, reason: None };
            let answer = |place: Option<usize>| place.and_then(|place| answers.get(place).cloned());
            places.into_iter().map(|place| answer(place).unwrap_or_else(pretended)).collect()
        };
        self.written.fetch_add(results.len() as u64, Ordering::Relaxed);
        Ok(results)
    }

    async fn get(&self, index: &str, id: &str, routing: Option<&str>) -> Result<Option<StoredDocument>, IndexError> {
        self.inner.get(index, id, routing).await
    }

    async fn create_index(&self, index: &str, body: &Value) -> Result<bool, IndexError> {
        self.inner.create_index(index, body).await
    }

    async fn meta(&self, index: &str) -> Result<Option<Value>, IndexError> {
        self.inner.meta(index).await
    }

    async fn put_meta(&self, index: &str, meta: &Value) -> Result<(), IndexError> {
        self.inner.put_meta(index, meta).await
    }

    async fn put_alias(&self, alias: &AliasSpec) -> Result<(), IndexError> {
        self.inner.put_alias(alias).await
    }

    async fn block_writes(&self, index: &str) -> Result<(), IndexError> {
        self.inner.block_writes(index).await
    }

    async fn delete_index(&self, index: &str) -> Result<(), IndexError> {
        self.inner.delete_index(index).await
    }

    async fn refresh(&self, index: &str) -> Result<(), IndexError> {
        self.inner.refresh(index).await
    }

    async fn scan(
        &self,
        index: &str,
        query: &Value,
        after: Option<&str>,
        size: usize,
    ) -> Result<Vec<(String, Bytes)>, IndexError> {
        self.inner.scan(index, query, after, size).await
    }
}
