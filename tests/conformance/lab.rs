//! What a behaviour's body may do to a service beside using its port: the little that operators and clients do.
//!
//! Must not offer anything that only the model or only the real service can do.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use serde_json::Value;
use towpath_engine::ports::coordinator::CoordinatorFactory;
use towpath_engine::ports::index::SearchIndex;
use towpath_engine::ports::log::EventLog;
use towpath_engine::ports::source::BinlogSource;

/// A body's future: `Err` says what differs from the behaviour.
pub type Check<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A MySQL server with row metadata FULL.
#[async_trait]
pub trait MySqlLab: Send + Sync {
    /// The server as the engine sees it.
    fn source(&self) -> &dyn BinlogSource;
    /// Creates a table of its own, `(id INT PRIMARY KEY, text VARCHAR(400) NULL)`, and returns its name.
    async fn table(&self) -> Result<String>;
    /// Inserts a row for each id by one statement in one transaction.
    async fn insert(&self, table: &str, ids: std::ops::Range<i64>, text: &str) -> Result<()>;
    /// Inserts a row in an XA transaction of this global id, up to XA PREPARE.
    async fn xa_prepare(&self, id: &str, table: &str, row: i64) -> Result<()>;
    /// XA COMMIT of a prepared transaction; XA ROLLBACK if not `commit`.
    async fn xa_finish(&self, id: &str, commit: bool) -> Result<()>;
    /// Commits wait for a semi-synchronous replica, of which there is none, but at most so long; `None`: they do not.
    async fn wait_for_a_replica(&self, at_most: Option<Duration>) -> Result<()>;
    /// Begins to commit a row, in a session of its own that waits for what it has to wait for.
    async fn begin_insert(&self, table: &str, id: i64) -> Result<()>;
    /// FLUSH BINARY LOGS.
    async fn rotate(&self) -> Result<()>;
    /// Purges all files but the one being written.
    async fn purge(&self) -> Result<()>;
    /// RESET BINARY LOGS AND GTIDS.
    async fn reset(&self) -> Result<()>;
    /// An orderly stop.
    async fn stop(&self) -> Result<()>;
    /// A start after [`MySqlLab::stop`]; returns when the server answers.
    async fn start(&self) -> Result<()>;
}

/// A Kafka cluster.
#[async_trait]
pub trait KafkaLab: Send + Sync {
    /// The cluster as the engine sees it.
    fn log(&self) -> &dyn EventLog;
    /// A name that nothing has.
    fn fresh(&self) -> String;
    /// Removes a partition's records below `offset`.
    async fn delete_before(&self, topic: &str, partition: u32, offset: i64) -> Result<()>;
    /// Deletes the topic and makes it anew.
    async fn recreate(&self, topic: &str, partitions: u32) -> Result<()>;
    /// Stops all brokers.
    async fn stop(&self) -> Result<()>;
    /// Starts them; returns when they answer.
    async fn start(&self) -> Result<()>;
}

/// An Elasticsearch cluster.
#[async_trait]
pub trait ElasticsearchLab: Send + Sync {
    /// The cluster as the engine sees it.
    fn index(&self) -> &dyn SearchIndex;
    /// A name that nothing has.
    fn fresh(&self) -> String;
    /// The body that creates an index without automatic refresh, which remembers deletes' versions for an hour, or
    /// forgets them as soon as it can.
    fn body(&self, remember_deletes: bool, mappings: Value) -> Value;
    /// Sets or removes `index.blocks.write`.
    async fn write_block(&self, index: &str, blocked: bool) -> Result<()>;
    /// Closes an index.
    async fn close(&self, index: &str) -> Result<()>;
    /// Stops the cluster, everything flushed to disk.
    async fn stop(&self) -> Result<()>;
    /// Starts it; returns when it answers.
    async fn start(&self) -> Result<()>;
}

/// A ZooKeeper ensemble with a root path for the suite.
#[async_trait]
pub trait ZooKeeperLab: Send + Sync {
    /// Sessions on a pipeline's folder.
    fn factory(&self, pipeline: &str) -> Box<dyn CoordinatorFactory>;
    /// Sessions below a root that does not exist.
    fn without_root(&self) -> Box<dyn CoordinatorFactory>;
    /// A name that nothing has.
    fn fresh(&self) -> String;
    /// Removes a node of a pipeline's folder, as an operator does.
    async fn delete(&self, pipeline: &str, node: &str) -> Result<()>;
    /// Stops the ensemble.
    async fn stop(&self) -> Result<()>;
    /// Starts it; returns when it answers.
    async fn start(&self) -> Result<()>;
}

/// One behaviour's body.
#[derive(Clone, Copy)]
pub enum Body {
    /// Of a MySQL server.
    MySql(for<'a> fn(&'a dyn MySqlLab) -> Check<'a>),
    /// Of a Kafka cluster.
    Kafka(for<'a> fn(&'a dyn KafkaLab) -> Check<'a>),
    /// Of an Elasticsearch cluster.
    Elasticsearch(for<'a> fn(&'a dyn ElasticsearchLab) -> Check<'a>),
    /// Of a ZooKeeper ensemble.
    ZooKeeper(for<'a> fn(&'a dyn ZooKeeperLab) -> Check<'a>),
    /// Of the model alone: it makes its own, and plans faults on it.
    Model(fn() -> Check<'static>),
    /// Of the real Elasticsearch alone, by its HTTP address: what no port offers.
    Http(for<'a> fn(&'a str) -> Check<'a>),
}

/// All services of one kind, models or real.
pub struct Labs {
    /// MySQL.
    pub mysql: Box<dyn MySqlLab>,
    /// Kafka.
    pub kafka: Box<dyn KafkaLab>,
    /// Elasticsearch.
    pub elasticsearch: Box<dyn ElasticsearchLab>,
    /// ZooKeeper.
    pub zookeeper: Box<dyn ZooKeeperLab>,
    /// The real Elasticsearch's address.
    pub http: Option<String>,
}

impl Body {
    /// Runs the body; `None` if it is not for these labs.
    pub fn run(self, labs: &Labs) -> Option<Check<'_>> {
        match self {
            Self::MySql(body) => Some(body(labs.mysql.as_ref())),
            Self::Kafka(body) => Some(body(labs.kafka.as_ref())),
            Self::Elasticsearch(body) => Some(body(labs.elasticsearch.as_ref())),
            Self::ZooKeeper(body) => Some(body(labs.zookeeper.as_ref())),
            Self::Model(body) => labs.http.is_none().then(body),
            Self::Http(body) => labs.http.as_deref().map(body),
        }
    }
}

/// `[(id, body)]` from `id => function` lines.
#[macro_export]
macro_rules! bodies {
    ($kind:ident: $($id:literal => $body:path,)+) => {
        /// This file's behaviours by id.
        pub const BODIES: &[(&str, $crate::lab::Body)] =
            &[$(($id, $crate::lab::Body::$kind(|lab| Box::pin($body(lab)))),)+];
    };
}
