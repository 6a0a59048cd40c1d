//! A member of a consumer group: cooperative, and nothing is fetched, committed or given up behind the engine's back.
//!
//! librdkafka announces a rebalance and waits until the application answers with an (un)assign. Assignments are
//! answered at once with *nothing*; a partition is assigned when the engine starts it at an offset, so no record is
//! fetched before. A revocation is answered when the engine releases the partitions; until then the group waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;
use towpath_engine::ports::log::{Committed, ConsumedRecord, ConsumerEvent, LogConsumer, LogError};

use super::admin::Admin;
use super::{KafkaConfig, blocking, config, error, log_line, reader};

/// Records are handed up in portions of about this size.
const PORTION_BYTES: usize = 1 << 20;
const PORTION_RECORDS: usize = 5_000;
/// The longest sleep between two looks at the library's queue. Its wake-ups make this a safety net only: a look that
/// ends with a log line or a rebalance cannot be told from one that found nothing.
const LOOK: Duration = Duration::from_millis(100);

/// A rebalance as the library announced it.
#[derive(Debug, Clone)]
enum Rebalance {
    Assigned(Vec<u32>),
    Revoked(Vec<u32>),
    Lost(Vec<u32>),
}

#[derive(Default)]
struct Shared {
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// Partitions that the library fetches, by our own assign calls.
    assigned: Mutex<BTreeSet<u32>>,
    closing: AtomicBool,
    wake: Notify,
}

impl Shared {
    fn assigned(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rebalances(&self) -> std::sync::MutexGuard<'_, VecDeque<Rebalance>> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Member(Arc<Shared>);

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka's consumer reports");
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, client: &BaseConsumer<Self>, err: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let list: Vec<u32> = partitions.elements().iter().map(|element| element.partition() as u32).collect();
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tell(client.incremental_assign(&TopicPartitionList::new()));
            self.0.rebalances().push_back(Rebalance::Assigned(list));
            return;
        }
        let closing = self.0.closing.load(Ordering::Acquire);
        let lost = client.assignment_lost();
        if closing || lost {
            let topic = partitions.elements().first().map(|element| element.topic().to_string()).unwrap_or_default();
            tell(unassign(client, &self.0, &topic, &list));
        }
        if !closing {
            let rebalance = if lost { Rebalance::Lost(list) } else { Rebalance::Revoked(list) };
            self.0.rebalances().push_back(rebalance);
        }
    }
}

fn tell(result: Result<(), KafkaError>) {
    if let Err(err) = result {
        tracing::warn!(%err, "Kafka's client refuses an assignment");
    }
}

/// Ends fetching of those partitions that were started. Answers a revocation even if there are none.
fn unassign(client: &BaseConsumer<Member>, shared: &Shared, topic: &str, partitions: &[u32]) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    let mut assigned = shared.assigned();
    for partition in partitions {
        if assigned.remove(partition) {
            list.add_partition(topic, *partition as i32);
        }
    }
    drop(assigned);
    client.incremental_unassign(&list)
}

/// Joins the group.
pub(super) async fn join(
    config: Arc<KafkaConfig>,
    admin: Arc<Admin>,
    topic: &str,
    group: &str,
) -> Result<KafkaConsumer, LogError> {
    let shared = Arc::new(Shared::default());
    let mut client: BaseConsumer<Member> = config::consumer(&config, group)
        .create_with_context(Member(Arc::clone(&shared)))
        .map_err(|err| error::classify(&err))?;
    let woken = Arc::clone(&shared);
    client.set_nonempty_callback(move || woken.wake.notify_one());
    client.subscribe(&[topic]).map_err(|err| error::classify(&err))?;
    Ok(KafkaConsumer {
        client: Some(Arc::new(client)),
        shared,
        admin,
        config,
        topic: topic.to_string(),
        next_offsets: BTreeMap::new(),
        ready: Vec::new(),
        met: None,
        away: None,
    })
}

/// A member of a group on one topic.
pub(super) struct KafkaConsumer {
    /// `None` once closed.
    client: Option<Arc<BaseConsumer<Member>>>,
    shared: Arc<Shared>,
    admin: Arc<Admin>,
    config: Arc<KafkaConfig>,
    topic: String,
    /// Of the started partitions: what lies below was asked for before the start and is dropped.
    next_offsets: BTreeMap<u32, i64>,
    /// Taken from the library, to be handed up next.
    ready: Vec<ConsumedRecord>,
    /// An error met behind them, to be told after them: the library may say it only once.
    met: Option<LogError>,
    /// That no broker is there, as the library said it last.
    away: Option<LogError>,
}

impl KafkaConsumer {
    fn client(&self) -> Result<&Arc<BaseConsumer<Member>>, LogError> {
        self.client.as_ref().ok_or_else(|| LogError::Failed("the consumer is closed".into()))
    }

    fn list(&self, partitions: &[u32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions.iter().filter(|partition| self.next_offsets.contains_key(partition)) {
            list.add_partition(&self.topic, *partition as i32);
        }
        list
    }

    /// The oldest rebalance as an event. It leaves the queue only when the event is complete: cancelling loses nothing.
    async fn next_rebalance(&mut self) -> Result<Option<ConsumerEvent>, LogError> {
        let Some(rebalance) = self.shared.rebalances().front().cloned() else { return Ok(None) };
        let event = match rebalance {
            Rebalance::Assigned(partitions) => ConsumerEvent::Assigned(self.committed(partitions).await?),
            Rebalance::Revoked(partitions) => {
                self.forget(&partitions);
                ConsumerEvent::Revoked(partitions)
            }
            Rebalance::Lost(partitions) => {
                self.forget(&partitions);
                ConsumerEvent::Lost(partitions)
            }
        };
        self.shared.rebalances().pop_front();
        Ok(Some(event))
    }

    async fn committed(&self, partitions: Vec<u32>) -> Result<BTreeMap<u32, Option<Committed>>, LogError> {
        let (client, topic) = (Arc::clone(self.client()?), self.topic.clone());
        let limit = self.config.request_timeout;
        blocking(move || {
            let mut list = TopicPartitionList::new();
            for partition in &partitions {
                list.add_partition(&topic, *partition as i32);
            }
            let answer = client.committed_offsets(list, limit).map_err(|err| error::classify(&err))?;
            let mut committed: BTreeMap<u32, Option<Committed>> = BTreeMap::new();
            for element in answer.elements() {
                element.error().map_err(|err| error::classify(&err))?;
                let place = match element.offset() {
                    Offset::Offset(offset) => Some(Committed { offset, metadata: element.metadata().to_string() }),
                    _ => None,
                };
                committed.insert(element.partition() as u32, place);
            }
            Ok(committed)
        })
        .await
    }

    /// Takes what the library has ready, and answers its rebalances. Never waits.
    ///
    /// While no broker is there, the library says so again and again: all of it is taken at once and told as one error.
    /// Left in the queue, it would stand before the rebalance that comes when the brokers are back, and every other
    /// member of the group would wait for this one.
    fn look(&mut self) -> Result<(), LogError> {
        let client = Arc::clone(self.client()?);
        let mut bytes = 0;
        let mut misses = 0;
        while self.met.is_none() && bytes < PORTION_BYTES && self.ready.len() < PORTION_RECORDS && misses < 2 {
            match client.poll(Duration::ZERO) {
                None => misses += 1,
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition() as u32, message.offset());
                    // Records of partitions that were given up, or from before a new start, may still be queued.
                    if self.next_offsets.get(&partition).is_some_and(|next| offset >= *next) {
                        self.next_offsets.insert(partition, offset + 1);
                        bytes += message.payload_len() + message.key_len();
                        self.ready.push(reader::record(&message));
                    }
                }
                Some(Err(err)) => match self.judge(&err) {
                    Some(err @ LogError::Unavailable(_)) => self.away = Some(err),
                    other => self.met = other,
                },
            }
        }
        Ok(())
    }

    /// No record of these is handed up any more.
    fn forget(&mut self, partitions: &[u32]) {
        self.next_offsets.retain(|partition, _| !partitions.contains(partition));
        self.ready.retain(|record| !partitions.contains(&record.partition));
    }

    /// Errors that the library overcomes by itself are no events.
    fn judge(&self, err: &KafkaError) -> Option<LogError> {
        use rdkafka::error::RDKafkaErrorCode as Code;
        match error::code(err) {
            Some(Code::AllBrokersDown) => {
                Some(LogError::Unavailable(format!("{}: no broker can be reached", self.config.brokers)))
            }
            _ => match error::classify(err) {
                LogError::Unavailable(_) => None,
                LogError::OutOfRange(text) => Some(LogError::OutOfRange(format!("{}: {text}", self.topic))),
                // Said beside the rebalance that follows from it.
                _ if error::code(err)
                    .is_some_and(|code| code == Code::PollExceeded || error::is_stale_member(code)) =>
                {
                    None
                }
                // A damaged batch, for example: the library would go on behind it.
                other => Some(other),
            },
        }
    }
}

#[async_trait]
impl LogConsumer for KafkaConsumer {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<ConsumerEvent>, LogError> {
        let deadline = Instant::now() + max_wait;
        loop {
            if let Some(event) = self.next_rebalance().await? {
                return Ok(Some(event));
            }
            self.look()?;
            if !self.ready.is_empty() {
                self.away = None;
                return Ok(Some(ConsumerEvent::Records(std::mem::take(&mut self.ready))));
            }
            if !self.shared.rebalances().is_empty() {
                continue;
            }
            if let Some(err) = self.met.take().or_else(|| self.away.take()) {
                return Err(err);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Either a wake-up or the time to look again: both are what the loop does next.
            let _ = tokio::time::timeout(left.min(LOOK), self.shared.wake.notified()).await;
        }
    }

    async fn start(&mut self, partition: u32, offset: i64) -> Result<(), LogError> {
        let client = Arc::clone(self.client()?);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition as i32, Offset::Offset(offset))
            .map_err(|err| error::classify(&err))?;
        let known = self.shared.assigned().contains(&partition);
        if known {
            let limit = self.config.request_timeout;
            blocking(move || client.seek_partitions(list, limit).map(drop).map_err(|err| error::classify(&err)))
                .await?;
        } else {
            client.incremental_assign(&list).map_err(|err| error::classify(&err))?;
            self.shared.assigned().insert(partition);
        }
        // What is ready is from before this start.
        self.forget(&[partition]);
        self.next_offsets.insert(partition, offset);
        Ok(())
    }

    async fn pause(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.client()?.pause(&self.list(partitions)).map_err(|err| error::classify(&err))
    }

    async fn resume(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.client()?.resume(&self.list(partitions)).map_err(|err| error::classify(&err))
    }

    async fn commit(&mut self, offsets: &BTreeMap<u32, Committed>) -> Result<bool, LogError> {
        if offsets.is_empty() {
            return Ok(true);
        }
        let client = Arc::clone(self.client()?);
        let mut list = TopicPartitionList::new();
        for (partition, place) in offsets {
            let mut element = list.add_partition(&self.topic, *partition as i32);
            element.set_offset(Offset::Offset(place.offset)).map_err(|err| error::classify(&err))?;
            if !place.metadata.is_empty() {
                element.set_metadata(&place.metadata);
            }
        }
        let committing = blocking(move || match client.commit(&list, CommitMode::Sync) {
            Ok(()) => Ok(true),
            Err(err) if error::code(&err).is_some_and(error::is_stale_member) => Ok(false),
            Err(err) => Err(error::classify(&err)),
        });
        // The library's call has no deadline of its own. If it is given up here its request may still arrive, before
        // any later one of this member.
        let deadline = Instant::now() + self.config.request_timeout;
        let mut committing = std::pin::pin!(committing);
        loop {
            tokio::select! {
                biased;
                result = &mut committing => return result,
                () = tokio::time::sleep_until(deadline) => {
                    return Err(LogError::Unavailable("the group's coordinator does not answer to a commit".into()));
                }
                // A broker answers a connection's requests one by one: behind a join that waits for the other members
                // the commit waits too. Those may wait for our answer to a rebalance, which only a look gives.
                () = tokio::time::sleep(LOOK) => self.look()?,
            }
        }
    }

    async fn release(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.forget(partitions);
        let client = self.client()?;
        unassign(client, &self.shared, &self.topic, partitions).map_err(|err| error::classify(&err))
    }

    async fn watermarks(&mut self, partition: u32) -> Result<(i64, i64), LogError> {
        Arc::clone(&self.admin).watermarks(self.topic.clone(), partition).await
    }

    async fn close(&mut self) {
        let Some(client) = self.client.take() else { return };
        self.shared.closing.store(true, Ordering::Release);
        // Ending the client leaves the group, which waits for the coordinator.
        let closed = tokio::task::spawn_blocking(move || drop(client));
        if tokio::time::timeout(self.config.request_timeout, closed).await.is_err() {
            tracing::warn!(topic = self.topic, "the group's coordinator does not answer to the leaving");
        }
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        self.shared.closing.store(true, Ordering::Release);
        // Leaving the group waits for the coordinator: never on an async thread.
        let dropped = std::thread::Builder::new().name("kafka-leaving".into()).spawn(move || drop(client));
        if let Err(err) = dropped {
            tracing::warn!(%err, "no thread to leave the group in order");
        }
    }
}
