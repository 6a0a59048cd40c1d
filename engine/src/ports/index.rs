//! Port `SearchIndex`: one Elasticsearch (or OpenSearch) cluster as the adapter sees it.

use async_trait::async_trait;
use bytes::Bytes;

use crate::version::Version;

/// One versioned operation of a bulk request (`version_type=external_gte`: lower is refused with 409, equal
/// overwrites).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkOp {
    /// The concrete index or an alias with one write index.
    pub index: String,
    /// The document's id.
    pub id: String,
    /// The routing value, if any.
    pub routing: Option<String>,
    /// The version of the write or delete.
    pub version: Version,
    /// The document's source (one JSON object, no newline); `None` deletes.
    pub source: Option<Bytes>,
}

/// The answer to one operation, in the cluster's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemResult {
    /// The item's HTTP status.
    pub status: u16,
    /// `error.type`, if the item failed.
    pub error_type: Option<String>,
    /// `error.reason`, shortened.
    pub reason: Option<String>,
}

/// What a cluster can refuse or fail with as a whole.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// No connection, a timeout (the writes may have been applied), 429, 502, 503, 504 of the whole request. Retry.
    #[error("Elasticsearch is unavailable: {0}")]
    Unavailable(String),
    /// The whole request was refused with 400 or 413: halve it.
    #[error("Elasticsearch refuses the request ({status}): {reason}")]
    Rejected {
        /// 400 or 413.
        status: u16,
        /// Why.
        reason: String,
    },
    /// 401 or 403.
    #[error("Elasticsearch denies access ({status}): {reason}")]
    Denied {
        /// 401 or 403.
        status: u16,
        /// Why.
        reason: String,
    },
    /// The answer is not that of Elasticsearch (HTML of a proxy, another protocol).
    #[error("the answer is not Elasticsearch's: {0}")]
    NotElasticsearch(String),
    /// Anything else.
    #[error("Elasticsearch failed ({status}): {reason}")]
    Other {
        /// The HTTP status.
        status: u16,
        /// Why.
        reason: String,
    },
}

/// A document as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// `_version`.
    pub version: i64,
    /// `_source`.
    pub source: Bytes,
}

/// An alias of one index: queries go through it, so that tombstones stay hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasSpec {
    /// The alias' name.
    pub alias: String,
    /// The concrete index.
    pub index: String,
    /// The filter query, if any.
    pub filter: Option<serde_json::Value>,
}

/// One cluster. Every call has a deadline of its own.
#[async_trait]
pub trait SearchIndex: Send + Sync {
    /// Sends the operations in order in one request. `Ok` holds one result per operation, in order. After an error
    /// of the whole request nothing is known of its operations.
    async fn bulk(&self, operations: &[BulkOp]) -> Result<Vec<ItemResult>, IndexError>;

    /// One document by id, from the primary (realtime); `None` if absent.
    async fn get(&self, index: &str, id: &str, routing: Option<&str>) -> Result<Option<StoredDocument>, IndexError>;

    /// Creates the index with this body (`settings`, `mappings`) if it is absent. `Ok(true)` = created.
    async fn create_index(&self, index: &str, body: &serde_json::Value) -> Result<bool, IndexError>;

    /// The mapping's `_meta` object of an index; `None` if the index is absent, `Some(Null)` without `_meta`.
    async fn meta(&self, index: &str) -> Result<Option<serde_json::Value>, IndexError>;

    /// Replaces the mapping's `_meta`.
    async fn put_meta(&self, index: &str, meta: &serde_json::Value) -> Result<(), IndexError>;

    /// Creates or replaces the alias (atomically).
    async fn put_alias(&self, alias: &AliasSpec) -> Result<(), IndexError>;

    /// Refuses every later write to the index (`index.blocks.write`). After `Ok` none is under way.
    async fn block_writes(&self, index: &str) -> Result<(), IndexError> {
        Err(not_offered("block writes to", index))
    }

    /// Deletes the index; an absent one is as good as deleted.
    async fn delete_index(&self, index: &str) -> Result<(), IndexError> {
        Err(not_offered("delete", index))
    }

    /// Makes all acknowledged writes searchable.
    async fn refresh(&self, index: &str) -> Result<(), IndexError>;

    /// A page of documents that the query matches, through an index or alias, as (id, source), ordered by id after
    /// `after`.
    /// For checks and tools, not for the hot path.
    async fn scan(
        &self,
        index: &str,
        query: &serde_json::Value,
        after: Option<&str>,
        size: usize,
    ) -> Result<Vec<(String, Bytes)>, IndexError>;
}

/// What a port answers that stands before a cluster and does not pass a request on.
fn not_offered(what: &str, index: &str) -> IndexError {
    IndexError::Other { status: 501, reason: format!("this way to the cluster cannot {what} {index}") }
}
