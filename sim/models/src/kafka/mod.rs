//! A model of a Kafka cluster: topics, transactions with fencing, consumer groups.
//!
//! The engine sees it through [`towpath_engine::ports::log::EventLog`], which [`Kafka`] implements. Control methods do
//! to it what happens to clusters: outage, retention, a topic made anew, lost answers, records that fail and leave
//! gaps. Requests wait for brokers that are away as long as the client library does, then fail.
//!
//! Stricter than the real one: a consumer that is dropped without `close` stays a member until its session ends; a
//! commit between a new generation and the member's next call is refused; a record on its way (see
//! [`Kafka::hold_records`]) arrives although its producer was purged.

mod cluster;
mod consumer;
mod group;
mod partition;
mod port;
mod producer;

use crate::faults::lock;
use cluster::Cluster;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use towpath_engine::ports::log::{ConsumedRecord, LogError};

/// How a model cluster is set.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `max.message.bytes` of every topic: key, value and headers of a record.
    pub max_message_bytes: usize,
    /// Records that a producer's queue takes while they cannot be sent.
    pub queue_records: usize,
    /// A transaction open for longer is aborted and its producer fenced.
    pub transaction_timeout: Duration,
    /// A group member not heard of for longer is thrown out.
    pub session_timeout: Duration,
    /// How long a request waits for the brokers.
    pub request_timeout: Duration,
    /// Whether clients may create topics.
    pub may_create_topics: bool,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            max_message_bytes: 1_048_576,
            queue_records: 100_000,
            transaction_timeout: Duration::from_secs(60),
            session_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            may_create_topics: true,
        }
    }
}

/// Ways in which calls can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaFault {
    /// A request finds no broker.
    Unavailable,
    /// InitProducerId takes effect (older producers are fenced) and its answer is lost.
    InitUnknown,
    /// A record does not arrive; those behind it do.
    DeliveryFails,
    /// A record arrives and its answer is lost.
    DeliveryUnknown,
    /// A commit takes effect and its answer is lost.
    CommitUnknownApplied,
    /// A commit does not arrive and nobody knows; the transaction stays open.
    CommitUnknownLost,
    /// The producer's queue is full.
    QueueFull,
    /// A group commit is refused for its generation.
    GroupCommitRefused,
}

/// A handle to one model cluster; clones share it.
#[derive(Debug, Clone)]
pub struct Kafka {
    state: Arc<Mutex<Cluster>>,
    changed: watch::Sender<u64>,
}

impl Kafka {
    /// A cluster without topics.
    pub fn new(config: KafkaConfig) -> Self {
        Self { state: Arc::new(Mutex::new(Cluster::new(config))), changed: watch::Sender::new(0) }
    }

    /// Changes the state, lets pending records arrive, and wakes whoever waits.
    fn change<T>(&self, act: impl FnOnce(&mut Cluster) -> T) -> T {
        let result = {
            let mut cluster = lock(&self.state);
            cluster.expire_transactions();
            let result = act(&mut cluster);
            cluster.deliver();
            result
        };
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// A request: what the client library asks of brokers, for which it waits.
    async fn ask<T>(&self, request: impl FnOnce(&mut Cluster) -> Result<T, LogError>) -> Result<T, LogError> {
        if !self.is_up_in_time().await {
            return Err(LogError::Unavailable("no broker can be reached".into()));
        }
        self.change(|cluster| {
            cluster.reach()?;
            request(cluster)
        })
    }

    /// Whether brokers answer before a request's deadline.
    async fn is_up_in_time(&self) -> bool {
        let mut changed = self.changed.subscribe();
        let deadline = Instant::now() + lock(&self.state).config.request_timeout;
        loop {
            changed.mark_unchanged();
            if lock(&self.state).up {
                return true;
            }
            if timeout_at(deadline, changed.changed()).await.is_err() {
                return false;
            }
        }
    }

    /// Creates a topic, as an operator does; one that exists is left alone.
    pub fn create_topic(&self, name: &str, partitions: u32) {
        self.change(|cluster| {
            if !cluster.topics.contains_key(name) {
                cluster.create(name, partitions);
            }
        });
    }

    /// Deletes the topic and makes it anew: another id, offsets from 0.
    pub fn recreate_topic(&self, name: &str, partitions: u32) {
        self.change(|cluster| cluster.create(name, partitions));
    }

    /// Deletes the topic.
    pub fn delete_topic(&self, name: &str) {
        self.change(|cluster| cluster.topics.remove(name));
    }

    /// Adds partitions up to `count`.
    pub fn add_partitions(&self, name: &str, count: u32) {
        self.change(|cluster| {
            if let Some(topic) = cluster.topics.get_mut(name) {
                topic.partitions.resize_with(topic.partitions.len().max(count as usize), Default::default);
            }
        });
    }

    /// Retention: records of the partition below `offset` go.
    pub fn truncate_before(&self, topic: &str, partition: u32, offset: i64) {
        self.change(|cluster| {
            let log = cluster.topics.get_mut(topic).and_then(|t| t.partitions.get_mut(partition as usize));
            if let Some(log) = log {
                log.truncate_before(offset);
            }
        });
    }

    /// All committed records kept in a topic, by partition and offset: what an oracle looks at.
    pub fn records(&self, topic: &str) -> Vec<ConsumedRecord> {
        let cluster = lock(&self.state);
        let logs = cluster.topics.get(topic).map(|topic| topic.partitions.as_slice()).unwrap_or_default();
        logs.iter().flat_map(|log| log.read(&cluster.hidden, log.start, i64::MAX, usize::MAX).0).collect()
    }

    /// Committed records that have come since the places in `next` (partition → offset), which move on.
    pub fn records_since(&self, topic: &str, next: &mut std::collections::BTreeMap<u32, i64>) -> Vec<ConsumedRecord> {
        let cluster = lock(&self.state);
        let logs = cluster.topics.get(topic).map(|topic| topic.partitions.as_slice()).unwrap_or_default();
        let mut all = Vec::new();
        for (partition, log) in (0u32..).zip(logs) {
            let place = next.entry(partition).or_insert(log.start);
            let (records, after) = log.read(&cluster.hidden, *place, i64::MAX, usize::MAX);
            *place = after;
            all.extend(records);
        }
        all
    }

    /// What a group has committed: (partition, offset).
    pub fn committed(&self, topic: &str, group: &str) -> Vec<(u32, i64)> {
        let cluster = lock(&self.state);
        let Some(group) = cluster.groups.get(group) else { return Vec::new() };
        let of_topic = group.committed.iter().filter(|((name, _), _)| name == topic);
        of_topic.map(|((_, partition), place)| (*partition, place.offset)).collect()
    }

    /// All brokers stop.
    pub fn stop(&self) {
        self.change(|cluster| cluster.up = false);
    }

    /// They start again; sessions that ran out meanwhile are counted from now.
    pub fn start(&self) {
        self.change(|cluster| {
            cluster.up = true;
            let now = Instant::now();
            cluster.groups.values_mut().flat_map(|g| g.members.values_mut()).for_each(|m| m.seen = now);
            cluster.ids.values_mut().filter_map(|id| id.open.as_mut()).for_each(|open| open.since = now);
        });
    }

    /// Records stay on their way until `false`: they arrive then, in order, whatever became of their producers.
    pub fn hold_records(&self, hold: bool) {
        self.change(|cluster| cluster.held = hold);
    }

    /// Records of the producers that are open now stay on their way; those of later producers pass them. `false` lets
    /// them go on.
    pub fn hold_producers(&self, hold: bool) {
        self.change(|cluster| {
            cluster.held_producers = if hold { cluster.producers.keys().copied().collect() } else { BTreeSet::new() };
        });
    }

    /// How many records are on their way.
    pub fn held_records(&self) -> usize {
        lock(&self.state).producers.values().map(|state| state.queue.len()).sum()
    }

    /// Throws all members out of a group, as when their sessions expire; they become zombies that do not know it yet.
    pub fn expire_members(&self, group: &str) {
        self.change(|cluster| {
            if let Some(group) = cluster.groups.get_mut(group) {
                let members: Vec<u64> = group.members.keys().copied().collect();
                members.into_iter().for_each(|member| group.leave(member));
            }
        });
    }

    /// Makes the next `times` calls fail so.
    pub fn fail_next(&self, fault: KafkaFault, times: u32) {
        self.change(|cluster| cluster.faults.plan(fault, times));
    }

    /// Forgets the planned faults that have not fired.
    pub fn clear_faults(&self) {
        self.change(|cluster| cluster.faults.clear());
    }

    /// How many planned faults have fired.
    pub fn faults_fired(&self) -> u64 {
        lock(&self.state).faults.fired()
    }

    /// Changes settings of the running cluster.
    pub fn configure(&self, change: impl FnOnce(&mut KafkaConfig)) {
        self.change(|cluster| change(&mut cluster.config));
    }
}
