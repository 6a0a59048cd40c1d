//! The port `SearchIndex` on the model cluster.

use super::store::{Cluster, Slot, failed};
use super::{Elasticsearch, ElasticsearchFault as Fault, query};
use crate::faults::lock;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use towpath_engine::ports::index::{AliasSpec, BulkOp, IndexError, ItemResult, SearchIndex, StoredDocument};

/// What every request meets first.
fn reach(cluster: &mut Cluster) -> Result<(), IndexError> {
    if !cluster.up {
        return Err(IndexError::Unavailable("connection refused".into()));
    }
    let whole =
        |fault| matches!(fault, Fault::Unavailable | Fault::TooManyRequests | Fault::Html | Fault::Unauthorized);
    match cluster.faults.take(whole) {
        None => Ok(()),
        Some(Fault::Html) => Err(IndexError::NotElasticsearch("<html><body>Bad gateway".into())),
        Some(Fault::Unauthorized) => {
            Err(IndexError::Denied { status: 401, reason: "security_exception: missing credentials".into() })
        }
        Some(Fault::TooManyRequests) => Err(IndexError::Unavailable("status 429: rejected execution".into())),
        Some(_) => Err(IndexError::Unavailable("the connection was reset".into())),
    }
}

/// Faults of a whole bulk, and its limits.
fn check_bulk(cluster: &mut Cluster, operations: &[BulkOp]) -> Result<(), IndexError> {
    reach(cluster)?;
    // About what the action lines take.
    let line = |op: &BulkOp| 120 + op.index.len() + op.id.len() + op.source.as_ref().map_or(0, Bytes::len);
    let size: usize = operations.iter().map(line).sum();
    let limit = cluster.config.max_request_bytes;
    let fault = cluster.faults.take(|fault| matches!(fault, Fault::TooLarge | Fault::BadRequest));
    if size > limit || fault == Some(Fault::TooLarge) {
        return Err(IndexError::Rejected { status: 413, reason: format!("{size} bytes, at most {limit}") });
    }
    if fault.is_some() {
        return Err(IndexError::Rejected { status: 400, reason: "illegal_argument_exception".into() });
    }
    Ok(())
}

fn apply_bulk(cluster: &mut Cluster, operations: &[BulkOp]) -> Result<Vec<ItemResult>, IndexError> {
    check_bulk(cluster, operations)?;
    let fault = cluster.faults.take(|f| matches!(f, Fault::ItemsTooMany | Fault::FloodStage | Fault::TimeoutApplied));
    let results = operations
        .iter()
        .enumerate()
        .map(|(number, op)| match fault {
            Some(Fault::ItemsTooMany) if number % 2 == 0 => {
                failed(429, "es_rejected_execution_exception", "rejected execution of coordinating operation".into())
            }
            Some(Fault::FloodStage) => failed(
                429,
                "cluster_block_exception",
                "blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]".into(),
            ),
            _ => cluster.apply(op),
        })
        .collect();
    if fault == Some(Fault::TimeoutApplied) {
        return Err(IndexError::Unavailable("no answer within the deadline".into()));
    }
    Ok(results)
}

#[async_trait]
impl SearchIndex for Elasticsearch {
    async fn bulk(&self, operations: &[BulkOp]) -> Result<Vec<ItemResult>, IndexError> {
        if operations.is_empty() {
            return Ok(Vec::new());
        }
        let timeout = lock(&self.state).config.timeout;
        let held = self.change(|cluster| match &mut cluster.held {
            Some(held) => {
                held.push(operations.to_vec());
                true
            }
            None => false,
        });
        if held {
            tokio::time::sleep(timeout).await;
            return Err(IndexError::Unavailable("no answer within the deadline".into()));
        }
        self.change(|cluster| apply_bulk(cluster, operations))
    }

    async fn get(&self, index: &str, id: &str, routing: Option<&str>) -> Result<Option<StoredDocument>, IndexError> {
        self.change(|cluster| {
            reach(cluster)?;
            let index = cluster.open(index)?;
            let key = index.key(id, routing);
            Ok(match index.slots.get(&key) {
                Some(Slot::Live { version, source, .. }) => {
                    Some(StoredDocument { version: *version as i64, source: source.clone() })
                }
                _ => None,
            })
        })
    }

    async fn create_index(&self, index: &str, body: &Value) -> Result<bool, IndexError> {
        self.change(|cluster| {
            reach(cluster)?;
            cluster.create(index, body)
        })
    }

    async fn meta(&self, index: &str) -> Result<Option<Value>, IndexError> {
        self.change(|cluster| {
            reach(cluster)?;
            let name = cluster.resolve(index).to_string();
            Ok(cluster.indexes.get(&name).map(|index| index.mapping.meta.clone()))
        })
    }

    async fn put_meta(&self, index: &str, meta: &Value) -> Result<(), IndexError> {
        self.change(|cluster| {
            reach(cluster)?;
            cluster.open(index)?.mapping.meta = meta.clone();
            Ok(())
        })
    }

    async fn put_alias(&self, alias: &AliasSpec) -> Result<(), IndexError> {
        self.change(|cluster| {
            reach(cluster)?;
            cluster.open(&alias.index)?;
            if cluster.indexes.contains_key(&alias.alias) {
                let reason = format!("invalid_alias_name_exception: an index exists with the name [{}]", alias.alias);
                return Err(IndexError::Rejected { status: 400, reason });
            }
            if let Some(filter) = &alias.filter {
                query::matches(filter, "", &Value::Null).map_err(super::store::rejected)?;
            }
            cluster.aliases.insert(alias.alias.clone(), (alias.index.clone(), alias.filter.clone()));
            Ok(())
        })
    }

    async fn block_writes(&self, index: &str) -> Result<(), IndexError> {
        self.change(|cluster| {
            reach(cluster)?;
            cluster.open(index)?.write_block = true;
            Ok(())
        })
    }

    async fn delete_index(&self, index: &str) -> Result<(), IndexError> {
        self.change(|cluster| {
            reach(cluster)?;
            cluster.indexes.remove(index);
            cluster.aliases.retain(|_, (of, _)| of != index);
            Ok(())
        })
    }

    async fn refresh(&self, index: &str) -> Result<(), IndexError> {
        self.change(|cluster| {
            reach(cluster)?;
            cluster.open(index)?.refresh();
            Ok(())
        })
    }

    async fn scan(
        &self,
        index: &str,
        query: &Value,
        after: Option<&str>,
        size: usize,
    ) -> Result<Vec<(String, Bytes)>, IndexError> {
        self.change(|cluster| {
            reach(cluster)?;
            let filter = cluster.aliases.get(index).and_then(|(_, filter)| filter.clone());
            let index = cluster.open(index)?;
            let mut found = Vec::new();
            for ((_, id), (source, document)) in &index.searchable {
                let visible = after.is_none_or(|after| id.as_str() > after)
                    && filter
                        .as_ref()
                        .map_or(Ok(true), |filter| query::matches(filter, id, document))
                        .map_err(super::store::rejected)?
                    && query::matches(query, id, document).map_err(super::store::rejected)?;
                if visible {
                    found.push((id.clone(), source.clone()));
                }
            }
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found.truncate(size);
            Ok(found)
        })
    }
}
