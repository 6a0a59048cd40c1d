//! Partitions come and go: where to start, what to wait for before one is given up, and the drain at the end.

use super::super::config::Deletes;
use super::super::track::{Mark, Partition, Token};
use super::{Effect, Flow};
use crate::branch::{self, Branch};
use crate::cause::{Cause, Stop};
use crate::ports::log::Committed;

/// Where an assigned partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartAt {
    /// The first offset to read.
    pub offset: i64,
    /// The highest term below it.
    pub term: u64,
    /// The group has no offset here: commit this one before anything is read, so that a later start cannot begin
    /// anywhere else.
    pub commit: bool,
}

/// Decides where to start, from what the group committed, the log's first and next offset, and the topic's id.
/// An offset that the log does not hold any more, or of a topic that was made anew, is a gap: never skipped.
pub fn start_at(
    partition: u32,
    committed: Option<&Committed>,
    (first, next): (i64, i64),
    topic_id: &str,
) -> Result<StartAt, Stop> {
    let Some(committed) = committed else { return Ok(StartAt { offset: first, term: 0, commit: true }) };
    let gap = |why: String| Err(Stop::new(Cause::LogTruncated, format!("partition {partition}: {why}")));
    let mark = Mark::parse(&committed.metadata);
    let other = mark.filter(|mark| !mark.topic.is_empty() && !topic_id.is_empty() && mark.topic != topic_id);
    if let Some(mark) = other {
        return gap(format!("the offset {} is of the topic {}, which is now {topic_id}", committed.offset, mark.topic));
    }
    if committed.offset < first {
        return gap(format!("the log starts at {first}, the next record to index was {}", committed.offset));
    }
    if committed.offset > next {
        return gap(format!("the log ends at {next}, the next record to index was {}", committed.offset));
    }
    Ok(StartAt { offset: committed.offset, term: mark.map_or(0, |mark| mark.term), commit: false })
}

impl Flow {
    /// A partition is ours, to be read from `start` on.
    pub fn on_assigned(&mut self, partition: u32, start: StartAt, topic_id: &str) {
        self.assignments += 1;
        let assigned = Partition::new(partition, self.assignments, start.offset, start.term, topic_id.to_owned());
        self.partitions.insert(partition, assigned);
        self.revoking.remove(&partition);
        if self.paused {
            self.effects.push(Effect::Pause(vec![partition]));
        }
    }

    /// Partitions are to be given up. What is not sent is dropped: the next owner reads it again. What is in flight is
    /// awaited. (With hard deletes everything is seen through: an abandoned request can bring a document back.)
    pub fn on_revoked(&mut self, partitions: &[u32]) {
        branch::reached(Branch::Revoked);
        self.revoking.extend(partitions);
        self.drop_orphans();
    }

    /// Partitions are already another member's: everything of theirs is dropped, nothing committed.
    pub fn on_lost(&mut self, partitions: &[u32]) {
        self.forget(partitions);
    }

    /// The partitions of an [`Effect::Release`] are given up.
    pub fn on_released(&mut self, partitions: &[u32]) {
        self.forget(partitions);
    }

    fn forget(&mut self, partitions: &[u32]) {
        for number in partitions {
            self.partitions.remove(number);
            self.revoking.remove(number);
        }
        let live = &self.partitions;
        self.letters.retain(|_, token| live.get(&token.partition).is_some_and(|p| p.assignment == token.assignment));
        self.drop_orphans();
    }

    /// No more records: what is in flight is awaited, the rest dropped (hard deletes: seen through).
    pub fn on_drain(&mut self) {
        self.draining = true;
        self.drop_orphans();
    }

    /// Whether nothing is in flight any more. Only after [`Self::on_drain`].
    pub fn is_drained(&self) -> bool {
        let seen_through = self.sink.deletes == Deletes::Soft || self.stopped.is_some();
        let sending = self.lanes.iter().any(|lane| if seen_through { lane.is_sending() } else { !lane.is_empty() });
        !sending && self.letters.is_empty()
    }

    /// Drops operations that nobody of this sink answers for any more, unless they are in flight.
    pub(super) fn drop_orphans(&mut self) {
        let soft = self.sink.deletes == Deletes::Soft;
        let (partitions, revoking, draining) = (&self.partitions, &self.revoking, self.draining);
        let keep = |token: &Token| {
            let owned = partitions.get(&token.partition).is_some_and(|p| p.assignment == token.assignment);
            owned && !(soft && (draining || revoking.contains(&token.partition)))
        };
        for lane in &mut self.lanes {
            lane.retain(keep);
        }
        self.orphans = self.lanes.iter().any(|lane| lane.is_sending_of(|token| !keep(token)));
    }

    /// Gives up the partitions of which nothing is in flight any more.
    pub(super) fn finish_revocations(&mut self) {
        let soft = self.sink.deletes == Deletes::Soft;
        let mut free = Vec::new();
        for &number in &self.revoking {
            let Some(partition) = self.partitions.get(&number) else {
                free.push(number);
                continue;
            };
            let of = |token: &Token| token.partition == number && token.assignment == partition.assignment;
            let sending = self.lanes.iter().any(|lane| lane.is_sending_of(of));
            let letters = self.letters.values().any(of);
            if !sending && !letters && (soft || partition.is_idle()) {
                free.push(number);
            }
        }
        if !free.is_empty() {
            self.revoking.retain(|number| !free.contains(number));
            self.effects.push(Effect::Release(free));
        }
    }
}
