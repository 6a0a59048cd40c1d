//! The port `EventLog` on the model cluster.

use super::consumer::ModelConsumer;
use super::group::Group;
use super::producer::ModelProducer;
use super::{Kafka, KafkaFault};
use async_trait::async_trait;
use std::collections::VecDeque;
use towpath_engine::ports::log::{
    ConsumedRecord, EventLog, LogConsumer, LogError, LogProducer, ProducerMode, TopicInfo,
};

#[async_trait]
impl EventLog for Kafka {
    async fn topic(&self, name: &str) -> Result<TopicInfo, LogError> {
        self.ask(|cluster| cluster.info(name)).await
    }

    async fn ensure_topic(&self, name: &str, partitions: u32) -> Result<TopicInfo, LogError> {
        self.ask(|cluster| {
            if !cluster.topics.contains_key(name) {
                if !cluster.config.may_create_topics {
                    return Err(LogError::Topic(format!("{name} is absent and the cluster refuses to create it")));
                }
                cluster.create(name, partitions);
            }
            cluster.info(name)
        })
        .await
    }

    async fn ensure_history(&self, name: &str) -> Result<TopicInfo, LogError> {
        // The model forgets no record by its age.
        self.ensure_topic(name, 1).await
    }

    async fn producer(
        &self,
        topic: &str,
        mode: ProducerMode,
        transactional_id: &str,
    ) -> Result<Box<dyn LogProducer>, LogError> {
        let producer = self
            .ask(|cluster| {
                cluster.topic(topic)?;
                let transactional = match mode {
                    ProducerMode::Transactional => {
                        Some((transactional_id.to_string(), cluster.init_transactions(transactional_id)))
                    }
                    ProducerMode::Idempotent => None,
                };
                if cluster.faults.take(|fault| fault == KafkaFault::InitUnknown).is_some() {
                    return Err(LogError::Unavailable("the answer to InitProducerId was lost".into()));
                }
                let producer = cluster.number();
                cluster.producers.insert(
                    producer,
                    super::cluster::ProducerState {
                        topic: topic.to_string(),
                        transactional,
                        queue: VecDeque::new(),
                        deliveries: VecDeque::new(),
                        in_transaction: false,
                        spoiled: false,
                        fenced: false,
                        closed: false,
                    },
                );
                Ok(producer)
            })
            .await?;
        Ok(Box::new(ModelProducer::new(self.clone(), producer)))
    }

    async fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn LogConsumer>, LogError> {
        let member = self
            .ask(|cluster| {
                let partitions = cluster.topic(topic)?.partitions.len() as u32;
                let member = cluster.number();
                let group = cluster.groups.entry(group.to_string()).or_insert_with(|| Group::new(partitions));
                group.join(member, partitions);
                Ok::<_, LogError>(member)
            })
            .await?;
        Ok(Box::new(ModelConsumer::new(self.clone(), topic, group, member)))
    }

    async fn members(&self, group: &str) -> Result<usize, LogError> {
        self.ask(|cluster| {
            let timeout = cluster.config.session_timeout;
            let Some(group) = cluster.groups.get_mut(group) else { return Ok(0) };
            group.expire(timeout);
            Ok(group.members.len())
        })
        .await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: i64,
        to: i64,
        max: usize,
    ) -> Result<(Vec<ConsumedRecord>, i64), LogError> {
        self.ask(|cluster| {
            let log = cluster
                .topic(topic)?
                .partitions
                .get(partition as usize)
                .ok_or_else(|| LogError::Topic(format!("{topic} has no partition {partition}")))?;
            if from > log.end() {
                return Err(LogError::OutOfRange(format!("{topic}-{partition} ends at {}, not {from}", log.end())));
            }
            Ok(log.read(&cluster.hidden, from.max(log.start), to, max))
        })
        .await
    }
}
