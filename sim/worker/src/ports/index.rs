//! Port `SearchIndex` over the network. A call without an answer may have been applied.

use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;
use towpath_engine::ports::index::{AliasSpec, BulkOp, IndexError, ItemResult, SearchIndex, StoredDocument};
use towpath_models::elasticsearch::Elasticsearch;

use crate::wire::{Link, Lost};

/// Deadline of every call.
const WITHIN: Duration = Duration::from_secs(10);

/// A cluster behind the network.
pub struct RemoteIndex {
    link: Link,
    cluster: Elasticsearch,
}

impl RemoteIndex {
    /// The cluster, reached through `link`.
    pub fn new(link: Link, cluster: Elasticsearch) -> Self {
        Self { link, cluster }
    }

    async fn call<T, F>(
        &self,
        name: &'static str,
        work: impl FnOnce(Elasticsearch) -> F + Send + 'static,
    ) -> Result<T, IndexError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, IndexError>> + Send + 'static,
    {
        let cluster = self.cluster.clone();
        let unavailable = |lost: Lost| IndexError::Unavailable(lost.to_string());
        self.link.call(name, WITHIN, move || work(cluster)).await.map_err(unavailable)?
    }
}

#[async_trait]
impl SearchIndex for RemoteIndex {
    async fn bulk(&self, operations: &[BulkOp]) -> Result<Vec<ItemResult>, IndexError> {
        let operations = operations.to_vec();
        self.call("index.bulk", |cluster| async move { cluster.bulk(&operations).await }).await
    }

    async fn get(&self, index: &str, id: &str, routing: Option<&str>) -> Result<Option<StoredDocument>, IndexError> {
        let (index, id, routing) = (index.to_owned(), id.to_owned(), routing.map(str::to_owned));
        self.call("index.get", |cluster| async move { cluster.get(&index, &id, routing.as_deref()).await }).await
    }

    async fn create_index(&self, index: &str, body: &serde_json::Value) -> Result<bool, IndexError> {
        let (index, body) = (index.to_owned(), body.clone());
        self.call("index.create", |cluster| async move { cluster.create_index(&index, &body).await }).await
    }

    async fn meta(&self, index: &str) -> Result<Option<serde_json::Value>, IndexError> {
        let index = index.to_owned();
        self.call("index.meta", |cluster| async move { cluster.meta(&index).await }).await
    }

    async fn put_meta(&self, index: &str, meta: &serde_json::Value) -> Result<(), IndexError> {
        let (index, meta) = (index.to_owned(), meta.clone());
        self.call("index.put_meta", |cluster| async move { cluster.put_meta(&index, &meta).await }).await
    }

    async fn put_alias(&self, alias: &AliasSpec) -> Result<(), IndexError> {
        let alias = alias.clone();
        self.call("index.alias", |cluster| async move { cluster.put_alias(&alias).await }).await
    }

    async fn block_writes(&self, index: &str) -> Result<(), IndexError> {
        let index = index.to_owned();
        self.call("index.block", |cluster| async move { cluster.block_writes(&index).await }).await
    }

    async fn delete_index(&self, index: &str) -> Result<(), IndexError> {
        let index = index.to_owned();
        // By its trait: the model has an operator's way of the same name.
        self.call("index.delete", |cluster| async move { SearchIndex::delete_index(&cluster, &index).await }).await
    }

    async fn refresh(&self, index: &str) -> Result<(), IndexError> {
        let index = index.to_owned();
        self.call("index.refresh", |cluster| async move { cluster.refresh(&index).await }).await
    }

    async fn scan(
        &self,
        index: &str,
        query: &serde_json::Value,
        after: Option<&str>,
        size: usize,
    ) -> Result<Vec<(String, Bytes)>, IndexError> {
        let (index, query, after) = (index.to_owned(), query.clone(), after.map(str::to_owned));
        let work =
            move |cluster: Elasticsearch| async move { cluster.scan(&index, &query, after.as_deref(), size).await };
        self.call("index.scan", work).await
    }
}
