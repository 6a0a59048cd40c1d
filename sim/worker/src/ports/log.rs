//! Port `EventLog` over the network.

use async_trait::async_trait;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use towpath_engine::ports::log::{
    ConsumedRecord, EventLog, LogConsumer, LogError, LogProducer, ProducerMode, TopicInfo,
};
use towpath_models::kafka::Kafka;

use super::consumer::RemoteConsumer;
use super::producer::RemoteProducer;
use crate::wire::{Link, Lost};

/// Calls wait for brokers this long, as the client library's do.
pub(super) const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts to reach the brokers.
pub(super) const RETRY: Duration = Duration::from_millis(200);

/// A cluster behind the network.
pub struct RemoteLog {
    link: Link,
    kafka: Kafka,
}

impl RemoteLog {
    /// The cluster, reached through `link`.
    pub fn new(link: Link, kafka: Kafka) -> Self {
        Self { link, kafka }
    }

    async fn call<T, F>(
        &self,
        name: &'static str,
        work: impl FnOnce(Kafka) -> F + Clone + Send + 'static,
    ) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LogError>> + Send + 'static,
    {
        let kafka = self.kafka.clone();
        request(&self.link, name, move || work(kafka)).await
    }
}

/// A request. The client library looks for a broker until the deadline.
pub(super) async fn request<T, F>(
    link: &Link,
    name: &'static str,
    work: impl FnOnce() -> F + Clone + Send + 'static,
) -> Result<T, LogError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, LogError>> + Send + 'static,
{
    let until = Instant::now() + REQUEST_WITHIN;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match link.call(name, left, work.clone()).await {
            Ok(answer) => return answer,
            Err(Lost::NotSent) if left > RETRY => sleep(RETRY).await,
            Err(lost) => return Err(unavailable(lost)),
        }
    }
}

pub(super) fn unavailable(lost: Lost) -> LogError {
    LogError::Unavailable(lost.to_string())
}

#[async_trait]
impl EventLog for RemoteLog {
    async fn topic(&self, name: &str) -> Result<TopicInfo, LogError> {
        let name = name.to_owned();
        self.call("log.topic", |kafka| async move { kafka.topic(&name).await }).await
    }

    async fn ensure_topic(&self, name: &str, partitions: u32) -> Result<TopicInfo, LogError> {
        let name = name.to_owned();
        self.call("log.ensure", move |kafka| async move { kafka.ensure_topic(&name, partitions).await }).await
    }

    async fn ensure_history(&self, name: &str) -> Result<TopicInfo, LogError> {
        let name = name.to_owned();
        self.call("log.ensure", move |kafka| async move { kafka.ensure_history(&name).await }).await
    }

    async fn producer(
        &self,
        topic: &str,
        mode: ProducerMode,
        transactional_id: &str,
    ) -> Result<Box<dyn LogProducer>, LogError> {
        let (topic, id) = (topic.to_owned(), transactional_id.to_owned());
        let served = self.call("log.open", move |kafka| async move { kafka.producer(&topic, mode, &id).await }).await?;
        Ok(Box::new(RemoteProducer::new(self.link.separate(), served, mode)))
    }

    async fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn LogConsumer>, LogError> {
        let (topic, group) = (topic.to_owned(), group.to_owned());
        let served = self.call("group.join", |kafka| async move { kafka.consumer(&topic, &group).await }).await?;
        Ok(Box::new(RemoteConsumer::new(self.link.separate(), served)))
    }

    async fn members(&self, group: &str) -> Result<usize, LogError> {
        let group = group.to_owned();
        self.call("log.members", |kafka| async move { kafka.members(&group).await }).await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: i64,
        to: i64,
        max: usize,
    ) -> Result<(Vec<ConsumedRecord>, i64), LogError> {
        let topic = topic.to_owned();
        self.call("log.tail", move |kafka| async move { kafka.read(&topic, partition, from, to, max).await }).await
    }
}
