//! A member of a consumer group on the model cluster.

use super::cluster::Cluster;
use super::{Kafka, KafkaFault};
use crate::faults::lock;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use towpath_engine::ports::log::{Committed, ConsumerEvent, LogConsumer, LogError};

/// Records handed out by one call.
const MAX_RECORDS: usize = 500;

/// How often a member says that no broker can be reached.
const TELLS_EVERY: Duration = Duration::from_secs(1);

/// Where the member reads.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    next: Option<i64>,
    paused: bool,
}

/// A member.
pub(crate) struct ModelConsumer {
    kafka: Kafka,
    topic: String,
    group: String,
    member: u64,
    places: BTreeMap<u32, Place>,
    /// Where the next fetch begins, so that no partition starves.
    turn: u32,
    /// When it last said that no broker can be reached.
    told: Option<Instant>,
    /// It has left, and joins no more whatever call of it still arrives.
    closed: bool,
}

impl ModelConsumer {
    pub fn new(kafka: Kafka, topic: &str, group: &str, member: u64) -> Self {
        Self {
            kafka,
            topic: topic.into(),
            group: group.into(),
            member,
            places: BTreeMap::new(),
            turn: 0,
            told: None,
            closed: false,
        }
    }

    /// The next event, if there is one now.
    fn poll(&mut self, cluster: &mut Cluster) -> Result<Option<ConsumerEvent>, LogError> {
        if self.closed {
            return Ok(None);
        }
        if !cluster.up {
            // As the client library does with each attempt to connect that has failed.
            let quiet = self.told.is_some_and(|told| told.elapsed() < TELLS_EVERY);
            if quiet {
                return Ok(None);
            }
            self.told = Some(Instant::now());
            return Err(LogError::Unavailable("no broker can be reached".into()));
        }
        if cluster.faults.take(|fault| fault == KafkaFault::Unavailable).is_some() {
            return Ok(None);
        }
        let timeout = cluster.config.session_timeout;
        let partitions = cluster.topic(&self.topic)?.partitions.len() as u32;
        let Some(group) = cluster.groups.get_mut(&self.group) else { return Ok(None) };
        if let Some(member) = group.members.get_mut(&self.member) {
            member.seen = Instant::now();
        }
        group.expire(timeout);
        let Some(member) = group.members.get_mut(&self.member) else {
            // Thrown out while it was away: everything is lost, and it joins again as somebody else.
            let lost: Vec<u32> = std::mem::take(&mut self.places).into_keys().collect();
            self.member = cluster.number();
            if let Some(group) = cluster.groups.get_mut(&self.group) {
                group.join(self.member, partitions);
            }
            return Ok(Some(ConsumerEvent::Lost(lost)));
        };
        member.generation = group.generation;
        if !member.to_revoke.is_empty() {
            let revoked: Vec<u32> = std::mem::take(&mut member.to_revoke).into_iter().collect();
            member.revoking.extend(revoked.iter().copied());
            // Fetching ends here; what the engine has in flight is its own business until `release`.
            revoked.iter().for_each(|partition| {
                self.places.remove(partition);
            });
            return Ok(Some(ConsumerEvent::Revoked(revoked)));
        }
        if !member.assigned.is_empty() {
            let assigned = std::mem::take(&mut member.assigned);
            member.owned.extend(assigned.iter().copied());
            let committed = assigned
                .into_iter()
                .map(|partition| (partition, group.committed.get(&(self.topic.clone(), partition)).cloned()))
                .collect::<BTreeMap<u32, Option<Committed>>>();
            self.places.extend(committed.keys().map(|partition| (*partition, Place::default())));
            return Ok(Some(ConsumerEvent::Assigned(committed)));
        }
        self.fetch(cluster)
    }

    fn fetch(&mut self, cluster: &Cluster) -> Result<Option<ConsumerEvent>, LogError> {
        let topic = cluster.topic(&self.topic)?;
        let mut order: Vec<u32> = self.places.keys().copied().collect();
        order.sort_by_key(|partition| (*partition < self.turn, *partition));
        let mut records = Vec::new();
        for partition in order {
            let Some(place) = self.places.get_mut(&partition) else { continue };
            let (Some(next), false) = (place.next, place.paused) else { continue };
            let Some(log) = topic.partitions.get(partition as usize) else { continue };
            if next < log.start || next > log.end() {
                return Err(LogError::OutOfRange(format!(
                    "{}-{partition} holds {} to {}, not {next}",
                    self.topic,
                    log.start,
                    log.end()
                )));
            }
            let (found, next) = log.read(&cluster.hidden, next, i64::MAX, MAX_RECORDS - records.len());
            place.next = Some(next);
            records.extend(found);
            self.turn = partition + 1;
            if records.len() >= MAX_RECORDS {
                break;
            }
        }
        Ok((!records.is_empty()).then_some(ConsumerEvent::Records(records)))
    }

    fn set(&mut self, partitions: &[u32], paused: bool) {
        for partition in partitions {
            if let Some(place) = self.places.get_mut(partition) {
                place.paused = paused;
            }
        }
    }
}

#[async_trait]
impl LogConsumer for ModelConsumer {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<ConsumerEvent>, LogError> {
        let kafka = self.kafka.clone();
        let mut changed = kafka.changed.subscribe();
        let deadline = Instant::now() + max_wait;
        loop {
            changed.mark_unchanged();
            let (event, wake) = {
                let mut cluster = lock(&kafka.state);
                cluster.expire_transactions();
                let before = cluster.groups.get(&self.group).map(|group| group.generation);
                let event = self.poll(&mut cluster);
                let after = cluster.groups.get(&self.group).map(|group| group.generation);
                let timeout = cluster.config.session_timeout;
                let expiry = cluster.groups.get(&self.group).and_then(|group| group.next_expiry(timeout));
                let wake =
                    [expiry, cluster.next_transaction_expiry()].into_iter().flatten().fold(deadline, Instant::min);
                if before != after {
                    // Others must hear of the new generation.
                    kafka.changed.send_modify(|n| *n += 1);
                }
                (event, wake)
            };
            if let Some(event) = event? {
                return Ok(Some(event));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            // A heartbeat of its own: waiting here keeps the member in the group.
            let beat = Instant::now() + lock(&kafka.state).config.session_timeout / 3;
            let _ = timeout_at(wake.min(beat).max(Instant::now() + Duration::from_millis(1)), changed.changed()).await;
        }
    }

    async fn start(&mut self, partition: u32, offset: i64) -> Result<(), LogError> {
        // One that is read already is sought, which the brokers are asked for.
        if self.places.get(&partition).is_some_and(|place| place.next.is_some()) {
            self.kafka.ask(|_| Ok(())).await?;
        }
        match self.places.get_mut(&partition) {
            Some(place) => place.next = Some(offset),
            None => return Err(LogError::Failed(format!("partition {partition} is not assigned to this consumer"))),
        }
        Ok(())
    }

    async fn pause(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.set(partitions, true);
        Ok(())
    }

    async fn resume(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.set(partitions, false);
        Ok(())
    }

    async fn commit(&mut self, offsets: &BTreeMap<u32, Committed>) -> Result<bool, LogError> {
        let (group, topic, member) = (&self.group, &self.topic, self.member);
        let commit = |cluster: &mut Cluster| {
            if cluster.faults.take(|fault| fault == KafkaFault::GroupCommitRefused).is_some() {
                return Ok(false);
            }
            let timeout = cluster.config.session_timeout;
            let Some(group) = cluster.groups.get_mut(group) else { return Ok(false) };
            group.expire(timeout);
            let current = group.members.get(&member).is_some_and(|m| m.generation == group.generation);
            if current {
                for (partition, place) in offsets {
                    group.committed.insert((topic.clone(), *partition), place.clone());
                }
            }
            Ok(current)
        };
        self.kafka.ask(commit).await
    }

    async fn release(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.kafka.change(|cluster| {
            if let Some(group) = cluster.groups.get_mut(&self.group) {
                group.release(self.member, partitions);
            }
        });
        Ok(())
    }

    async fn watermarks(&mut self, partition: u32) -> Result<(i64, i64), LogError> {
        let topic = &self.topic;
        let marks = |cluster: &mut Cluster| {
            let log = cluster.topic(topic)?.partitions.get(partition as usize);
            let log = log.ok_or_else(|| LogError::Topic(format!("{topic} has no partition {partition}")))?;
            Ok((log.start, log.end()))
        };
        self.kafka.ask(marks).await
    }

    async fn close(&mut self) {
        self.places.clear();
        self.closed = true;
        if !self.kafka.is_up_in_time().await {
            // Nobody hears that it leaves: it stays a member until its session ends.
            return;
        }
        self.kafka.change(|cluster| {
            if let Some(group) = cluster.groups.get_mut(&self.group) {
                group.leave(self.member);
            }
        });
    }
}
