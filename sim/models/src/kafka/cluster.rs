//! The cluster's state: topics, transactions and producers. No waiting here.

use super::group::Group;
use super::partition::{Entry, Hidden, Outcome, PartitionLog};
use super::{KafkaConfig, KafkaFault};
use crate::faults::Faults;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokio::time::Instant;
use towpath_engine::ports::log::{ConsumedRecord, Delivery, LogError, TopicInfo};

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub id: String,
    pub partitions: Vec<PartitionLog>,
}

/// A transactional id as the coordinator knows it.
#[derive(Debug, Default)]
pub(crate) struct TransactionalId {
    /// Rises with every InitProducerId.
    pub epoch: u64,
    /// The open transaction.
    pub open: Option<OpenTransaction>,
}

#[derive(Debug)]
pub(crate) struct OpenTransaction {
    pub number: u64,
    pub since: Instant,
    pub partitions: BTreeSet<(String, u32)>,
}

/// A producer's client side: its queue and what it has been told.
#[derive(Debug)]
pub(crate) struct ProducerState {
    pub topic: String,
    /// Transactional id and the epoch this producer got; `None` for an idempotent one.
    pub transactional: Option<(String, u64)>,
    /// Sent, but not yet at the broker.
    pub queue: VecDeque<(u64, ConsumedRecord)>,
    pub deliveries: VecDeque<Delivery>,
    /// `begin` was called and neither `commit` nor `abort` since.
    pub in_transaction: bool,
    /// A delivery failed: the transaction can only be aborted.
    pub spoiled: bool,
    pub fenced: bool,
    pub closed: bool,
}

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub config: KafkaConfig,
    pub up: bool,
    /// Records stay on the way until this ends.
    pub held: bool,
    /// Records of these producers stay on the way until this ends.
    pub held_producers: BTreeSet<u64>,
    pub faults: Faults<KafkaFault>,
    pub topics: BTreeMap<String, Topic>,
    pub hidden: Hidden,
    pub ids: BTreeMap<String, TransactionalId>,
    pub producers: BTreeMap<u64, ProducerState>,
    pub groups: BTreeMap<String, Group>,
    /// For topic ids, transactions, producers and members.
    pub next: u64,
}

impl Cluster {
    pub fn new(config: KafkaConfig) -> Self {
        Self {
            config,
            up: true,
            held: false,
            held_producers: BTreeSet::new(),
            faults: Faults::default(),
            topics: BTreeMap::new(),
            hidden: Hidden::default(),
            ids: BTreeMap::new(),
            producers: BTreeMap::new(),
            groups: BTreeMap::new(),
            next: 1,
        }
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// What every request meets first, once there are brokers.
    pub fn reach(&mut self) -> Result<(), LogError> {
        match self.faults.take(|fault| fault == KafkaFault::Unavailable) {
            Some(_) => Err(LogError::Unavailable("the request timed out".into())),
            None => Ok(()),
        }
    }

    pub fn topic(&self, name: &str) -> Result<&Topic, LogError> {
        self.topics.get(name).ok_or_else(|| unknown(name))
    }

    pub fn info(&self, name: &str) -> Result<TopicInfo, LogError> {
        let topic = self.topic(name)?;
        let watermarks = topic.partitions.iter().map(|log| (log.start, log.end())).collect();
        Ok(TopicInfo { id: topic.id.clone(), watermarks })
    }

    pub fn create(&mut self, name: &str, partitions: u32) {
        let id = format!("model-topic-{}", self.number());
        let partitions = (0..partitions).map(|_| PartitionLog::default()).collect();
        self.topics.insert(name.to_string(), Topic { id, partitions });
    }

    /// InitProducerId: a new epoch, the predecessor's open transaction aborted.
    pub fn init_transactions(&mut self, id: &str) -> u64 {
        let state = self.ids.entry(id.to_string()).or_default();
        state.epoch += 1;
        let epoch = state.epoch;
        self.end_transaction(id, Outcome::Aborted);
        epoch
    }

    /// Ends the open transaction with a marker in each of its partitions.
    pub fn end_transaction(&mut self, id: &str, outcome: Outcome) {
        let Some(open) = self.ids.get_mut(id).and_then(|state| state.open.take()) else { return };
        self.hidden.open.remove(&open.number);
        if outcome == Outcome::Aborted {
            self.hidden.aborted.insert(open.number);
        }
        for (topic, partition) in open.partitions {
            if let Some(log) = self.topics.get_mut(&topic).and_then(|t| t.partitions.get_mut(partition as usize)) {
                log.append(Entry::Marker);
            }
        }
    }

    /// Aborts transactions that were left open for too long, and fences who left them.
    pub fn expire_transactions(&mut self) {
        let timeout = self.config.transaction_timeout;
        let late = |state: &TransactionalId| state.open.as_ref().is_some_and(|open| open.since.elapsed() >= timeout);
        let ids: Vec<String> = self.ids.iter().filter(|(_, state)| late(state)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.init_transactions(&id);
        }
    }

    /// When the next open transaction will be aborted for its age.
    pub fn next_transaction_expiry(&self) -> Option<Instant> {
        let opened = self.ids.values().filter_map(|state| state.open.as_ref()).map(|open| open.since).min();
        opened.map(|since| since + self.config.transaction_timeout)
    }

    /// Whether a producer's epoch is the newest of its id.
    pub fn is_current(&self, producer: u64) -> bool {
        let Some(state) = self.producers.get(&producer) else { return false };
        match &state.transactional {
            Some((id, epoch)) => self.ids.get(id).is_some_and(|known| known.epoch == *epoch),
            None => true,
        }
    }

    /// Moves what producers have sent into the log, as long as nothing holds it up.
    pub fn deliver(&mut self) {
        if !self.up || self.held {
            return;
        }
        let moving = self.producers.iter().filter(|(_, producer)| !producer.queue.is_empty()).map(|(id, _)| *id);
        let busy: Vec<u64> = moving.filter(|id| !self.held_producers.contains(id)).collect();
        for producer in busy {
            while let Some((tag, record)) = self.producers.get_mut(&producer).and_then(|p| p.queue.pop_front()) {
                let result = self.write(producer, record);
                if let Some(state) = self.producers.get_mut(&producer) {
                    state.spoiled |= result.is_err();
                    state.deliveries.push_back(Delivery { tag, result });
                }
            }
        }
    }

    /// One record arrives at its leader.
    fn write(&mut self, producer: u64, record: ConsumedRecord) -> Result<(u32, i64), String> {
        let fault = self.faults.take(|f| matches!(f, KafkaFault::DeliveryFails | KafkaFault::DeliveryUnknown));
        if fault == Some(KafkaFault::DeliveryFails) {
            return Err("the message timed out".into());
        }
        if !self.is_current(producer) {
            if let Some(state) = self.producers.get_mut(&producer) {
                state.fenced = true;
            }
            return Err("there is a newer producer with the same transactional id".into());
        }
        let Some(state) = self.producers.get(&producer) else { return Err("the producer is gone".into()) };
        let (topic, partition) = (state.topic.clone(), record.partition);
        if self.topics.get(&topic).is_none_or(|t| (partition as usize) >= t.partitions.len()) {
            return Err(format!("unknown topic or partition {topic}-{partition}"));
        }
        let transaction = state.transactional.as_ref().map(|(id, _)| id.clone());
        let transaction = transaction.map(|id| self.open_transaction(&id, &topic, partition));
        let Some(log) = self.topics.get_mut(&topic).and_then(|t| t.partitions.get_mut(partition as usize)) else {
            return Err(format!("unknown topic or partition {topic}-{partition}"));
        };
        let offset = log.append(Entry::Record { record, transaction });
        match fault {
            Some(_) => Err("the answer was lost: the record may or may not be in the log".into()),
            None => Ok((partition, offset)),
        }
    }

    /// The open transaction of an id, opened if need be, with this partition in it.
    fn open_transaction(&mut self, id: &str, topic: &str, partition: u32) -> u64 {
        let fresh = self.number();
        let state = self.ids.entry(id.to_string()).or_default();
        let open = state.open.get_or_insert_with(|| OpenTransaction {
            number: fresh,
            since: Instant::now(),
            partitions: BTreeSet::new(),
        });
        open.partitions.insert((topic.to_string(), partition));
        let number = open.number;
        self.hidden.open.insert(number);
        number
    }
}

pub(crate) fn unknown(topic: &str) -> LogError {
    LogError::Topic(format!("unknown topic {topic}"))
}
