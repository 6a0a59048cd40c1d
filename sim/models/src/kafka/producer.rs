//! A producer of the model cluster.

use super::cluster::{Cluster, ProducerState};
use super::partition::Outcome;
use super::{Kafka, KafkaFault};
use crate::faults::lock;
use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};
use towpath_engine::ports::log::{ConsumedRecord, Delivery, LogError, LogProducer, Record};

/// One producer.
pub(crate) struct ModelProducer {
    kafka: Kafka,
    number: u64,
    purged: bool,
}

/// What a look at the state yields: an answer, or the need to wait.
type Answer<T> = Option<Result<T, LogError>>;

impl ModelProducer {
    pub fn new(kafka: Kafka, number: u64) -> Self {
        Self { kafka, number, purged: false }
    }

    fn usable(&self) -> Result<(), LogError> {
        if self.purged {
            return Err(LogError::Failed("the producer was purged".into()));
        }
        Ok(())
    }

    /// Ends the transaction: waits until the queue is empty and the brokers answer, then writes the outcome.
    async fn end(&mut self, outcome: Outcome) -> Result<(), LogError> {
        self.usable()?;
        let kafka = self.kafka.clone();
        let mut changed = kafka.changed.subscribe();
        let deadline = Instant::now() + lock(&kafka.state).config.request_timeout;
        loop {
            changed.mark_unchanged();
            // Looking wakes nobody: only an answer does, or two waiting producers would wake each other for ever.
            let answer = {
                let mut cluster = lock(&kafka.state);
                cluster.expire_transactions();
                cluster.deliver();
                try_end(&mut cluster, self.number, outcome)
            };
            if let Some(answer) = answer {
                kafka.changed.send_modify(|n| *n += 1);
                return answer;
            }
            if timeout_at(deadline, changed.changed()).await.is_err() {
                return Err(LogError::Failed("no answer in time: the outcome is unknown".into()));
            }
        }
    }
}

fn fenced() -> LogError {
    LogError::Fenced("there is a newer producer with the same transactional id".into())
}

/// The end of a transaction, once everything queued has arrived; `None` = wait.
fn try_end(cluster: &mut Cluster, producer: u64, outcome: Outcome) -> Answer<()> {
    if !cluster.up {
        return None;
    }
    let current = cluster.is_current(producer);
    let Some(state) = cluster.producers.get_mut(&producer) else {
        return Some(Err(LogError::Failed("the producer is closed".into())));
    };
    let Some((id, _)) = state.transactional.clone() else {
        // Idempotent: there is no transaction; a commit is a flush.
        return state.queue.is_empty().then_some(Ok(()));
    };
    if state.fenced || !current {
        return Some(Err(fenced()));
    }
    if !state.in_transaction {
        return Some(Err(LogError::Failed("no transaction is open".into())));
    }
    if outcome == Outcome::Committed && !state.queue.is_empty() {
        return None;
    }
    if outcome == Outcome::Committed && state.spoiled {
        return Some(Err(LogError::Failed("a record of the transaction failed: it can only be aborted".into())));
    }
    if outcome == Outcome::Aborted {
        state.queue.clear();
    }
    state.in_transaction = false;
    state.spoiled = false;
    let fault = cluster.faults.take(|f| matches!(f, KafkaFault::CommitUnknownApplied | KafkaFault::CommitUnknownLost));
    if fault != Some(KafkaFault::CommitUnknownLost) {
        cluster.end_transaction(&id, outcome);
    }
    Some(match fault {
        Some(_) => Err(LogError::Failed("the answer was lost: it may be committed".into())),
        None => Ok(()),
    })
}

#[async_trait]
impl LogProducer for ModelProducer {
    async fn begin(&mut self) -> Result<(), LogError> {
        self.usable()?;
        self.kafka.change(|cluster| {
            let Some(state) = cluster.producers.get_mut(&self.number) else {
                return Err(LogError::Failed("the producer is closed".into()));
            };
            if state.transactional.is_none() {
                return Ok(());
            }
            if state.fenced {
                return Err(fenced());
            }
            if state.in_transaction {
                return Err(LogError::Failed("a transaction is already open".into()));
            }
            state.in_transaction = true;
            Ok(())
        })
    }

    fn produce(&mut self, record: &Record<'_>) -> Result<(), LogError> {
        self.usable()?;
        self.kafka.change(|cluster| {
            let full = cluster.faults.take(|fault| fault == KafkaFault::QueueFull).is_some();
            let (limit, max_bytes) = (cluster.config.queue_records, cluster.config.max_message_bytes);
            let Some(state) = cluster.producers.get_mut(&self.number) else {
                return Err(LogError::Failed("the producer is closed".into()));
            };
            // Deliveries that nobody has taken count too, as they do in the client library.
            if full || state.queue.len() + state.deliveries.len() >= limit {
                return Err(LogError::QueueFull);
            }
            let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
            let size = record.key.map_or(0, <[u8]>::len) + record.value.len() + headers;
            if size > max_bytes {
                return Err(LogError::TooLarge(format!("{size} bytes, at most {max_bytes}")));
            }
            if state.transactional.is_some() && !state.in_transaction {
                return Err(LogError::Failed("no transaction is open".into()));
            }
            state.queue.push_back((record.tag, owned(record)));
            Ok(())
        })
    }

    async fn deliveries(&mut self, out: &mut Vec<Delivery>) -> Result<(), LogError> {
        self.usable()?;
        let mut changed = self.kafka.changed.subscribe();
        loop {
            changed.mark_unchanged();
            {
                let mut cluster = lock(&self.kafka.state);
                let Some(state) = cluster.producers.get_mut(&self.number) else {
                    return Err(LogError::Failed("the producer is closed".into()));
                };
                if state.fenced {
                    return Err(fenced());
                }
                if !state.deliveries.is_empty() {
                    out.extend(state.deliveries.drain(..));
                    return Ok(());
                }
            }
            if changed.changed().await.is_err() {
                return Err(LogError::Failed("the cluster is gone".into()));
            }
        }
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        self.end(Outcome::Committed).await
    }

    async fn abort(&mut self) -> Result<(), LogError> {
        self.end(Outcome::Aborted).await
    }

    async fn purge(&mut self) {
        self.purged = true;
        close(&self.kafka, self.number);
    }
}

/// What is on its way stays on its way: only what has not left the client can be taken back, and here all has.
fn close(kafka: &Kafka, number: u64) {
    kafka.change(|cluster| {
        let queue_left = |state: &mut ProducerState| {
            state.closed = true;
            state.deliveries.clear();
            !state.queue.is_empty()
        };
        if !cluster.producers.get_mut(&number).is_some_and(queue_left) {
            cluster.producers.remove(&number);
        }
        cluster.producers.retain(|_, state| !state.closed || !state.queue.is_empty());
    });
}

impl Drop for ModelProducer {
    fn drop(&mut self) {
        close(&self.kafka, self.number);
    }
}

fn owned(record: &Record<'_>) -> ConsumedRecord {
    ConsumedRecord {
        partition: record.partition,
        offset: 0,
        key: record.key.map(<[u8]>::to_vec),
        value: Some(record.value.to_vec()),
        headers: record.headers.iter().map(|(name, value)| (name.to_string(), value.to_vec())).collect(),
        timestamp_ms: record.timestamp_ms,
    }
}
