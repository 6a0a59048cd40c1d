//! Port `EventLog` on Kafka, by `rdkafka` (librdkafka).
//!
//! librdkafka runs threads of its own; calls that wait are made on tokio's blocking pool, each with a deadline. Nothing
//! here polls in a circle: deliveries and records wake the waiting task by a notification.

mod admin;
mod config;
mod consumer;
mod error;
mod producer;
mod reader;
mod topic_id;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use towpath_engine::ports::log::{
    ConsumedRecord, EventLog, LogConsumer, LogError, LogProducer, ProducerMode, TopicInfo,
};

use crate::{ConfigError, Secret};
pub use config::REFUSED_PROPERTIES;

/// One cluster as both sides use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port,host:port`.
    pub brokers: String,
    /// `lz4`, `zstd`, `snappy`, `gzip` or `none`.
    pub compression: String,
    /// Passed to librdkafka as they are, but for [`REFUSED_PROPERTIES`]; values are never shown.
    pub properties: BTreeMap<String, Secret>,
    /// Deadline of each question to the cluster.
    pub request_timeout: Duration,
    /// Deadline of a transaction's commit or abort.
    pub commit_timeout: Duration,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            compression: "lz4".into(),
            properties: BTreeMap::new(),
            request_timeout: Duration::from_secs(10),
            commit_timeout: Duration::from_secs(30),
        }
    }
}

/// A Kafka cluster.
#[derive(Clone)]
pub struct KafkaLog {
    config: Arc<KafkaConfig>,
    admin: Arc<admin::Admin>,
}

impl KafkaLog {
    /// Checks the configuration; connects to nothing yet.
    pub fn new(config: KafkaConfig) -> Result<Self, ConfigError> {
        config::check(&config)?;
        let config = Arc::new(config);
        Ok(Self { admin: Arc::new(admin::Admin::new(Arc::clone(&config))?), config })
    }
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLog").field("brokers", &self.config.brokers).finish_non_exhaustive()
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn topic(&self, name: &str) -> Result<TopicInfo, LogError> {
        Arc::clone(&self.admin).topic(name.to_string()).await
    }

    async fn ensure_topic(&self, name: &str, partitions: u32) -> Result<TopicInfo, LogError> {
        admin::ensure(&self.admin, name, partitions, &[]).await
    }

    async fn ensure_history(&self, name: &str) -> Result<TopicInfo, LogError> {
        admin::ensure(&self.admin, name, 1, admin::KEPT).await
    }

    async fn producer(
        &self,
        topic: &str,
        mode: ProducerMode,
        transactional_id: &str,
    ) -> Result<Box<dyn LogProducer>, LogError> {
        // librdkafka finds out about an absent topic by timing records out, which ours never do.
        Arc::clone(&self.admin).partitions(topic.to_string()).await?;
        Ok(Box::new(producer::open(Arc::clone(&self.config), topic, mode, transactional_id).await?))
    }

    async fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn LogConsumer>, LogError> {
        Arc::clone(&self.admin).partitions(topic.to_string()).await?;
        Ok(Box::new(consumer::join(Arc::clone(&self.config), Arc::clone(&self.admin), topic, group).await?))
    }

    async fn members(&self, group: &str) -> Result<usize, LogError> {
        Arc::clone(&self.admin).members(group.to_string()).await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: i64,
        to: i64,
        max: usize,
    ) -> Result<(Vec<ConsumedRecord>, i64), LogError> {
        reader::read(Arc::clone(&self.config), reader::Range { topic: topic.to_string(), partition, from, to, max })
            .await
    }
}

/// Runs a waiting call of librdkafka off the async threads. If the caller goes away the call still ends by its
/// deadline.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(err) => Err(LogError::Failed(format!("a call to Kafka's client ended early: {err}"))),
    }
}

/// Where librdkafka's own lines go.
struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka's client reports");
    }
}

/// librdkafka repeats itself while brokers are away; what matters comes back as results, so its lines are for
/// debugging.
fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    match level {
        Emerg | Alert | Critical | Error => tracing::warn!(facility, message, "librdkafka"),
        Warning | Notice => tracing::info!(facility, message, "librdkafka"),
        Info | Debug => tracing::debug!(facility, message, "librdkafka"),
    }
}
