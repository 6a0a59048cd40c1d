//! Dead letters into their topic: the record as it was, and headers that say why and from where.
//!
//! Must not give up: the offset of the original does not move before the letter is acknowledged.

use std::sync::Arc;

use super::config::{AdapterConfig, SinkConfig};
use super::flow::Letter;
use crate::env::{Rng, backoff};
use crate::ports::log::{EventLog, LogError, LogProducer, ProducerMode, Record};

/// The sink that could not index the record.
pub const SINK: &str = "towpath-dead-sink";
/// The named cause: an error type of Elasticsearch, `unfit_row`, `unreadable` or `foreign`.
pub const CAUSE: &str = "towpath-dead-cause";
/// The sentence.
pub const REASON: &str = "towpath-dead-reason";
/// The topic of the original.
pub const TOPIC: &str = "towpath-dead-topic";
/// The partition of the original, decimal.
pub const PARTITION: &str = "towpath-dead-partition";
/// The offset of the original, decimal.
pub const OFFSET: &str = "towpath-dead-offset";
/// The document's id, where one could be made.
pub const DOCUMENT: &str = "towpath-dead-document";
/// The value was left out: the record does not fit into the topic. Topic, partition and offset say where it is.
pub const TRUNCATED: &str = "towpath-dead-truncated";

/// Bytes of a reason that are kept.
const MAX_REASON: usize = 2_000;

/// Writes the letters of one sink.
pub struct LetterWriter {
    log: Arc<dyn EventLog>,
    sender: Sender,
    producer: Option<(Box<dyn LogProducer>, u32)>,
    rng: Rng,
}

/// Who writes, as the headers say it.
struct Sender {
    config: Arc<AdapterConfig>,
    sink: Arc<SinkConfig>,
}

impl LetterWriter {
    /// A writer that has not opened its producer yet.
    pub fn new(log: Arc<dyn EventLog>, config: Arc<AdapterConfig>, sink: Arc<SinkConfig>, rng: Rng) -> Self {
        Self { log, sender: Sender { config, sink }, producer: None, rng }
    }

    /// Returns when all letters are acknowledged, however long it takes. A repetition can double a letter, never lose
    /// one.
    pub async fn write(&mut self, letters: &[Letter]) {
        let sink = Arc::clone(&self.sender.sink);
        let mut done = vec![false; letters.len()];
        let mut attempt = 0;
        while let Err(error) = self.attempt(letters, &mut done).await {
            tracing::warn!(sink = %sink.name, topic = %sink.dead_letter, %error, "dead letters wait");
            if let Some((mut producer, _)) = self.producer.take() {
                producer.purge().await;
            }
            tokio::time::sleep(backoff(attempt, sink.retry.base, sink.retry.cap, &mut self.rng)).await;
            attempt = attempt.saturating_add(1);
        }
    }

    async fn attempt(&mut self, letters: &[Letter], done: &mut [bool]) -> Result<(), LogError> {
        let (mut producer, partitions) = match self.producer.take() {
            Some(open) => open,
            None => {
                let topic = &self.sender.sink.dead_letter;
                let info = self.log.ensure_topic(topic, 1).await?;
                let group = self.sender.config.group(&self.sender.sink.name);
                (self.log.producer(topic, ProducerMode::Idempotent, &group).await?, info.partitions().max(1))
            }
        };
        let result = self.sender.produce(producer.as_mut(), partitions, letters, done).await;
        self.producer = Some((producer, partitions));
        result
    }
}

impl Sender {
    async fn produce(
        &self,
        producer: &mut dyn LogProducer,
        partitions: u32,
        letters: &[Letter],
        done: &mut [bool],
    ) -> Result<(), LogError> {
        let mut open = 0;
        for (tag, letter) in letters.iter().enumerate().filter(|(tag, _)| !done[*tag]).collect::<Vec<_>>() {
            loop {
                match self.put(producer, partitions, tag, letter) {
                    Ok(()) => break,
                    Err(LogError::QueueFull) if open > 0 => open -= settle(producer, done).await?,
                    Err(error) => return Err(error),
                }
            }
            open += 1;
        }
        while open > 0 {
            open -= settle(producer, done).await?;
        }
        Ok(())
    }

    fn put(
        &self,
        producer: &mut dyn LogProducer,
        partitions: u32,
        tag: usize,
        letter: &Letter,
    ) -> Result<(), LogError> {
        let record = &letter.record;
        let (partition, offset) = (record.partition.to_string(), record.offset.to_string());
        let mut reason = letter.reason.as_str();
        if reason.len() > MAX_REASON {
            let end = (0..=MAX_REASON).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
            reason = &reason[..end];
        }
        let mut headers: Vec<(&str, &[u8])> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        headers.extend([
            (SINK, self.sink.name.as_bytes()),
            (CAUSE, letter.cause.as_bytes()),
            (REASON, reason.as_bytes()),
            (TOPIC, self.config.topic.as_bytes()),
            (PARTITION, partition.as_bytes()),
            (OFFSET, offset.as_bytes()),
        ]);
        if let Some(document) = &letter.document {
            headers.push((DOCUMENT, document.as_bytes()));
        }
        let mut dead = Record {
            partition: record.partition % partitions,
            key: record.key.as_deref(),
            value: record.value.as_deref().unwrap_or_default(),
            headers: &headers,
            timestamp_ms: record.timestamp_ms,
            tag: tag as u64,
        };
        match producer.produce(&dead) {
            Err(LogError::TooLarge(_)) => {
                let mut headers = headers.clone();
                headers.push((TRUNCATED, b"1"));
                dead.value = &[];
                dead.headers = &headers;
                producer.produce(&dead)
            }
            other => other,
        }
    }
}

/// Waits for deliveries; returns how many there were. The first failure fails all that are still open.
async fn settle(producer: &mut dyn LogProducer, done: &mut [bool]) -> Result<usize, LogError> {
    let mut deliveries = Vec::new();
    producer.deliveries(&mut deliveries).await?;
    for delivery in &deliveries {
        match &delivery.result {
            Ok(_) => {
                if let Some(done) = usize::try_from(delivery.tag).ok().and_then(|tag| done.get_mut(tag)) {
                    *done = true;
                }
            }
            Err(error) => return Err(LogError::Failed(error.clone())),
        }
    }
    Ok(deliveries.len())
}
