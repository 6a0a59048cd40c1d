//! A log within the process: what stands in Kafka's place while documents are written directly.
//!
//! The deployer's stream produces to it and the sinks' tasks consume from it, both as they do with Kafka; so mapping,
//! versions and retries are the very same code. A record is acknowledged when every sink has its outcome. It holds no
//! more than its budget. Must not outlive one stream, nor hold dead letters: the adapters meet the same record again
//! when Kafka is back, and write the letter then.

use async_trait::async_trait;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

use super::consumer::DirectConsumer;
use super::journal::{Journal, entry_id};
use crate::ports::log::{
    Committed, ConsumedRecord, Delivery, EventLog, LogConsumer, LogError, LogProducer, ProducerMode, Record, TopicInfo,
};

/// The one partition that the sinks see: all records in the order in which they were produced.
pub const PARTITION: u32 = 0;

/// A log in memory. Clones share it.
#[derive(Clone)]
pub struct DirectLog {
    shared: Arc<Shared>,
}

/// What producer and consumers share.
pub struct Shared {
    topic: String,
    /// Tells this log's entries from those of earlier ones in the same journal.
    serial: u32,
    budget: usize,
    partitions: u32,
    /// By group; `None` where what is written has been in the log before.
    journals: BTreeMap<String, Option<Journal>>,
    held: Mutex<Held>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Held {
    /// What not every sink has the outcome of, from `first` on. A record has the partition it would have in Kafka.
    records: VecDeque<Arc<ConsumedRecord>>,
    first: i64,
    bytes: usize,
    committed: BTreeMap<String, Option<Committed>>,
}

impl Held {
    fn next(&self) -> i64 {
        self.first + self.records.len() as i64
    }
}

fn size(record: &ConsumedRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    record.value.as_ref().map_or(0, Vec::len) + headers + 128
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing that is done under the lock can fail halfway.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First offset held and next to be written.
    pub fn marks(&self) -> (i64, i64) {
        let held = self.held();
        (held.first, held.next())
    }

    /// Records from `next` on, each with its id in a journal: at most `count` and about `bytes`.
    pub fn take(&self, next: i64, count: usize, bytes: usize) -> Vec<(String, Arc<ConsumedRecord>)> {
        let held = self.held();
        let skip = usize::try_from(next - held.first).unwrap_or(0);
        let mut left = bytes;
        let fits = |record: &&Arc<ConsumedRecord>| {
            let before = left;
            left = left.saturating_sub(size(record));
            before > 0
        };
        let found = held.records.iter().skip(skip).take(count).take_while(fits);
        found.map(|record| (entry_id(self.serial, record.offset), Arc::clone(record))).collect()
    }

    /// What a group has committed.
    pub fn committed(&self, group: &str) -> Option<Committed> {
        self.held().committed.get(group).cloned().flatten()
    }

    /// Takes a group's commit; what every group has passed is let go.
    pub fn commit(&self, group: &str, committed: Committed) {
        {
            let mut held = self.held();
            held.committed.insert(group.to_owned(), Some(committed));
            let first = held.first;
            let offset = |committed: &Option<Committed>| committed.as_ref().map_or(first, |place| place.offset);
            let passed = held.committed.values().map(offset).min().unwrap_or(first);
            while held.first < passed {
                let Some(record) = held.records.pop_front() else { break };
                held.first += 1;
                held.bytes = held.bytes.saturating_sub(size(&record));
            }
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Follows changes of what is held or committed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The journal of a group's sink; the outer `None`: nobody knows the group.
    pub fn journal(&self, group: &str) -> Option<Option<Journal>> {
        self.journals.get(group).cloned()
    }
}

impl DirectLog {
    /// An empty log in the place of `topic`. `journals`: by the sinks' groups, all of which must consume.
    pub fn new(
        topic: &str,
        partitions: u32,
        serial: u32,
        budget: usize,
        journals: BTreeMap<String, Option<Journal>>,
    ) -> Self {
        let committed = journals.keys().map(|group| (group.clone(), None)).collect();
        let held = Mutex::new(Held { committed, ..Held::default() });
        let (changed, _) = watch::channel(0);
        Self {
            shared: Arc::new(Shared { topic: topic.to_owned(), serial, budget, partitions, journals, held, changed }),
        }
    }

    fn info(&self, name: &str) -> TopicInfo {
        let marks = if name == self.shared.topic { self.shared.marks() } else { (0, 0) };
        TopicInfo { id: String::new(), watermarks: vec![marks; self.shared.partitions as usize] }
    }
}

#[async_trait]
impl EventLog for DirectLog {
    async fn topic(&self, name: &str) -> Result<TopicInfo, LogError> {
        if name == self.shared.topic { Ok(self.info(name)) } else { Err(elsewhere(name)) }
    }

    async fn ensure_history(&self, name: &str) -> Result<TopicInfo, LogError> {
        Err(elsewhere(name))
    }

    async fn ensure_topic(&self, name: &str, _partitions: u32) -> Result<TopicInfo, LogError> {
        Ok(self.info(name))
    }

    async fn producer(
        &self,
        topic: &str,
        _mode: ProducerMode,
        _transactional_id: &str,
    ) -> Result<Box<dyn LogProducer>, LogError> {
        let keeps = topic == self.shared.topic;
        let changed = self.shared.changes();
        Ok(Box::new(DirectProducer { shared: Arc::clone(&self.shared), keeps, changed, open: VecDeque::new() }))
    }

    async fn consumer(&self, _topic: &str, group: &str) -> Result<Box<dyn LogConsumer>, LogError> {
        match self.shared.journal(group) {
            Some(journal) => Ok(Box::new(DirectConsumer::new(Arc::clone(&self.shared), group, journal))),
            None => Err(LogError::Topic(format!("group {group} has no journal"))),
        }
    }

    async fn members(&self, group: &str) -> Result<usize, LogError> {
        Err(elsewhere(group))
    }

    async fn read(
        &self,
        _topic: &str,
        _partition: u32,
        _from: i64,
        to: i64,
        _max: usize,
    ) -> Result<(Vec<ConsumedRecord>, i64), LogError> {
        // Whoever repairs reads the journals.
        Ok((Vec::new(), to))
    }
}

/// What is kept in a topic of its own is in Kafka only, and waits for it.
fn elsewhere(topic: &str) -> LogError {
    LogError::Unavailable(format!("{topic} is in Kafka, which is left out now"))
}

struct DirectProducer {
    shared: Arc<Shared>,
    /// Dead letters are not kept.
    keeps: bool,
    changed: watch::Receiver<u64>,
    /// Offset, tag and partition of what is not acknowledged.
    open: VecDeque<(i64, u64, u32)>,
}

#[async_trait]
impl LogProducer for DirectProducer {
    async fn begin(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn produce(&mut self, record: &Record<'_>) -> Result<(), LogError> {
        if !self.keeps {
            self.open.push_back((-1, record.tag, record.partition));
            return Ok(());
        }
        let mut held = self.shared.held();
        let headers = record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        let kept = ConsumedRecord {
            partition: record.partition,
            offset: held.next(),
            key: record.key.map(<[u8]>::to_vec),
            value: Some(record.value.to_vec()),
            headers: headers.collect(),
            timestamp_ms: record.timestamp_ms,
        };
        let bytes = size(&kept);
        // One record larger than the budget goes alone.
        if !held.records.is_empty() && held.bytes + bytes > self.shared.budget {
            return Err(LogError::QueueFull);
        }
        self.open.push_back((kept.offset, record.tag, record.partition));
        held.bytes += bytes;
        held.records.push_back(Arc::new(kept));
        drop(held);
        self.shared.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn deliveries(&mut self, out: &mut Vec<Delivery>) -> Result<(), LogError> {
        loop {
            self.changed.mark_unchanged();
            let first = self.shared.marks().0;
            let before = out.len();
            while let Some(&(offset, tag, partition)) = self.open.front() {
                if self.keeps && offset >= first {
                    break;
                }
                self.open.pop_front();
                out.push(Delivery { tag, result: Ok((partition, offset)) });
            }
            if out.len() > before {
                return Ok(());
            }
            if self.changed.changed().await.is_err() {
                return Err(LogError::Failed("the log within the process is gone".to_owned()));
            }
        }
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    async fn purge(&mut self) {
        self.open.clear();
    }
}
