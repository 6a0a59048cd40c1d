//! Questions about topics, and their creation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use towpath_engine::ports::log::{LogError, TopicInfo};

use super::{KafkaConfig, Logged, blocking, config, error, topic_id};
use crate::ConfigError;

impl ConsumerContext for Logged {}

/// A client that consumes nothing: for metadata and watermarks.
pub(super) struct Admin {
    client: BaseConsumer<Logged>,
    config: Arc<KafkaConfig>,
}

impl Admin {
    /// Makes the client; it connects at the first question.
    pub(super) fn new(config: Arc<KafkaConfig>) -> Result<Self, ConfigError> {
        let client = config::groupless(&config, false)
            .create_with_context(Logged)
            .map_err(|err| ConfigError(format!("kafka: {err}")))?;
        Ok(Self { client, config })
    }

    /// The number of partitions; `Topic` if the topic does not exist.
    pub(super) async fn partitions(self: Arc<Self>, topic: String) -> Result<u32, LogError> {
        blocking(move || self.count(&topic)).await
    }

    /// The topic as it is now.
    pub(super) async fn topic(self: Arc<Self>, name: String) -> Result<TopicInfo, LogError> {
        blocking(move || {
            let partitions = self.count(&name)?;
            let watermarks = (0..partitions).map(|partition| self.marks(&name, partition)).collect::<Result<_, _>>()?;
            let id = topic_id::ask(self.client.client().native_ptr(), &name, self.config.request_timeout)?;
            Ok(TopicInfo { id, watermarks })
        })
        .await
    }

    /// First kept offset and high-water mark.
    pub(super) async fn watermarks(self: Arc<Self>, topic: String, partition: u32) -> Result<(i64, i64), LogError> {
        blocking(move || self.marks(&topic, partition)).await
    }

    /// How many members a consumer group has; a group that is unknown has none.
    pub(super) async fn members(self: Arc<Self>, group: String) -> Result<usize, LogError> {
        blocking(move || {
            self.serve();
            let found = self.client.fetch_group_list(Some(&group), self.config.request_timeout);
            let found = found.map_err(|err| self.named(&err))?;
            let of_that_name = found.groups().iter().filter(|known| known.name() == group);
            Ok(of_that_name.map(|known| known.members().len()).sum())
        })
        .await
    }

    fn count(&self, topic: &str) -> Result<u32, LogError> {
        self.serve();
        let deadline = Instant::now() + self.config.request_timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let metadata = self.client.fetch_metadata(Some(topic), left).map_err(|err| self.named(&err))?;
            let Some(found) = metadata.topics().first() else {
                return Err(LogError::Topic(format!("Kafka does not answer for topic \"{topic}\"")));
            };
            let code = found.error().map(Code::from);
            match code {
                None if found.partitions().iter().all(|partition| partition.leader() >= 0) => {
                    return Ok(found.partitions().len() as u32);
                }
                // A topic that was just made has no leaders for a moment.
                None | Some(Code::LeaderNotAvailable) if left > Duration::from_millis(50) => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                None => return Err(LogError::Unavailable(format!("topic \"{topic}\" has partitions without leader"))),
                Some(Code::UnknownTopicOrPartition) => {
                    return Err(LogError::Topic(format!("topic \"{topic}\" does not exist")));
                }
                Some(code) => return Err(error::by_code(code, format!("topic \"{topic}\": {code}"))),
            }
        }
    }

    fn marks(&self, topic: &str, partition: u32) -> Result<(i64, i64), LogError> {
        self.serve();
        self.client
            .fetch_watermarks(topic, partition as i32, self.config.request_timeout)
            .map_err(|err| self.named(&err))
    }

    /// Takes what the library has to say, mostly log lines: nobody else reads this client's queue.
    fn serve(&self) {
        for _ in 0..100 {
            drop(self.client.poll(Duration::ZERO));
        }
    }

    fn named(&self, err: &KafkaError) -> LogError {
        match error::classify(err) {
            LogError::Unavailable(text) => LogError::Unavailable(format!("{}: {text}", self.config.brokers)),
            other => other,
        }
    }
}

/// Records of such a topic are never deleted.
pub(super) const KEPT: &[(&str, &str)] =
    &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];

/// Creates the topic with these settings if it is absent, with the brokers' default replication.
pub(super) async fn ensure(
    admin: &Arc<Admin>,
    name: &str,
    partitions: u32,
    settings: &[(&str, &str)],
) -> Result<TopicInfo, LogError> {
    match Arc::clone(admin).topic(name.to_string()).await {
        Err(LogError::Topic(_)) => {}
        known => return known,
    }
    create(&admin.config, name, partitions, settings).await?;
    // Brokers learn of a new topic one after the other.
    let deadline = tokio::time::Instant::now() + admin.config.request_timeout;
    loop {
        match Arc::clone(admin).topic(name.to_string()).await {
            Err(LogError::Topic(_) | LogError::Unavailable(_)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answer => return answer,
        }
    }
}

async fn create(
    config: &Arc<KafkaConfig>,
    name: &str,
    partitions: u32,
    settings: &[(&str, &str)],
) -> Result<(), LogError> {
    let client: AdminClient<Logged> =
        config::groupless(config, false).create_with_context(Logged).map_err(|err| error::classify(&err))?;
    let options = AdminOptions::new()
        .request_timeout(Some(config.request_timeout))
        .operation_timeout(Some(config.request_timeout));
    // -1: the brokers' default.replication.factor.
    let topic = NewTopic::new(name, partitions as i32, TopicReplication::Fixed(-1));
    let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let answer = client.create_topics([&topic], &options).await;
    // Ending the client waits for its thread.
    tokio::task::spawn_blocking(move || drop(client));
    let results = answer.map_err(|err| error::classify(&err))?;
    match results.into_iter().next() {
        Some(Ok(_) | Err((_, Code::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => match error::by_code(code, format!("topic \"{name}\" cannot be created: {code}")) {
            LogError::Unavailable(text) => Err(LogError::Unavailable(text)),
            other => Err(LogError::Topic(other.to_string())),
        },
        None => Err(LogError::Failed(format!("Kafka does not say whether topic \"{name}\" was created"))),
    }
}
