//! One sink's course, as a state machine without I/O: records, answers and time go in, effects come out.
//!
//! Must not wait, send or commit by itself: the shell in `run` moves the effects. Whatever order answers come in, an
//! offset moves only over records whose outcome is final (Rule 1), and a partition is given up only when nothing of
//! it is in flight.

mod answers;
mod breaker;
mod lane;
mod rebalance;
#[cfg(test)]
mod tests;

use bytes::BytesMut;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

use super::config::{AdapterConfig, Deletes, Fencing, SinkConfig};
use super::document::BadRow;
use super::semantics::{Change, Operation, SinkPlan};
use super::shape::{Before, Image, Row, Shape};
use super::status::SinkMetrics;
use super::track::{Partition, Token};
use crate::cause::{Cause, Stop};
use crate::env::Rng;
use crate::format::{ChangeKind, ChangeRecord, Incoming, ReadKind, Reader, RowRef};
use crate::ports::index::BulkOp;
use crate::ports::log::{Committed, ConsumedRecord};
use breaker::Breaker;
use lane::Lane;
pub use rebalance::{StartAt, start_at};

/// What the shell is to do.
#[derive(Debug)]
pub enum Effect {
    /// Send this request, then call [`Flow::on_bulk`] with the lane.
    Send {
        /// The lane.
        lane: usize,
        /// The operations.
        operations: Vec<BulkOp>,
    },
    /// Produce these dead letters, then call [`Flow::on_letters`] with their numbers.
    Letters(Vec<Letter>),
    /// Make index and alias and note the epoch, then call [`Flow::on_prepared`]. Nothing is sent before.
    Prepare {
        /// The epoch to note.
        epoch: u16,
        /// The table of the record that asks for it.
        shape: Arc<Shape>,
    },
    /// Read the pipeline's state again, then call [`Flow::on_epoch`].
    ReadEpoch,
    /// Stop fetching these partitions.
    Pause(Vec<u32>),
    /// Fetch them again.
    Resume(Vec<u32>),
    /// Commit [`Flow::commits`], give these partitions up, then call [`Flow::on_released`].
    Release(Vec<u32>),
}

/// A dead letter: the record as it was, and why it could not be indexed.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its number, for [`Flow::on_letters`].
    pub number: u64,
    /// The record.
    pub record: Arc<ConsumedRecord>,
    /// The named cause: an error type of Elasticsearch, or one of ours.
    pub cause: String,
    /// The sentence.
    pub reason: String,
    /// The document's id, if one could be made.
    pub document: Option<String>,
}

/// The course of one sink.
pub struct Flow {
    sink: Arc<SinkConfig>,
    pipeline: String,
    index: String,
    fencing: Fencing,
    budget: usize,
    reader: Reader,
    plan: SinkPlan,
    buffer: BytesMut,
    scratch: Vec<Operation>,
    partitions: BTreeMap<u32, Partition>,
    revoking: BTreeSet<u32>,
    assignments: u64,
    lanes: Vec<Lane>,
    letters: BTreeMap<u64, Token>,
    letters_made: u64,
    breaker: Breaker,
    /// The epoch that is noted in `_meta`; `None` before the index is known to exist.
    ready: Option<u16>,
    preparing: bool,
    /// The highest epoch that operations carry, and the table of the record that brought it.
    wanted: Option<(u16, Arc<Shape>)>,
    /// A request under way holds operations of partitions that are gone.
    orphans: bool,
    /// The highest epoch that records or the pipeline's state tell of.
    known_epoch: u16,
    reading_epoch: bool,
    epoch_retry: Option<Instant>,
    paused: bool,
    draining: bool,
    stopped: Option<Stop>,
    indexed_commit_ms: u64,
    effects: Vec<Effect>,
    metrics: SinkMetrics,
    rng: Rng,
}

impl Flow {
    /// A sink that owns nothing yet. `ready`: the epoch up to which index, alias and `_meta` are prepared already.
    pub fn new(
        config: &AdapterConfig,
        sink: Arc<SinkConfig>,
        ready: Option<u16>,
        metrics: SinkMetrics,
        rng: Rng,
    ) -> Self {
        Self {
            pipeline: config.pipeline.clone(),
            index: sink.concrete_index(),
            fencing: config.fencing,
            budget: (config.buffer_bytes / config.sinks.len().max(1)).max(1 << 16),
            reader: Reader::new(),
            plan: SinkPlan::new(Arc::clone(&sink)),
            buffer: BytesMut::with_capacity(1 << 18),
            scratch: Vec::new(),
            partitions: BTreeMap::new(),
            revoking: BTreeSet::new(),
            assignments: 0,
            lanes: std::iter::repeat_with(Lane::default).take(sink.bulk.concurrency.max(1)).collect(),
            letters: BTreeMap::new(),
            letters_made: 0,
            breaker: Breaker::new(sink.breaker.clone()),
            ready,
            preparing: false,
            wanted: None,
            orphans: false,
            known_epoch: ready.unwrap_or(0),
            reading_epoch: false,
            epoch_retry: None,
            paused: false,
            draining: false,
            stopped: None,
            indexed_commit_ms: 0,
            effects: Vec::new(),
            metrics,
            rng,
            sink,
        }
    }

    /// Takes the effects that have gathered, after giving every lane its turn.
    pub fn effects(&mut self, now: Instant) -> Vec<Effect> {
        self.pump(now);
        self.finish_revocations();
        self.press_back();
        std::mem::take(&mut self.effects)
    }

    /// Takes records in. Those of partitions that are not owned, or are being given up, are ignored.
    pub fn on_records(&mut self, records: Vec<ConsumedRecord>, now: Instant) {
        for record in records {
            let owned = self.partitions.contains_key(&record.partition) && !self.revoking.contains(&record.partition);
            if !owned || self.draining || self.stopped.is_some() {
                continue;
            }
            self.metrics.records.add(1);
            self.on_record(Arc::new(record), now);
        }
        self.metrics.buffered_bytes.set(self.buffered() as i64);
    }

    fn on_record(&mut self, record: Arc<ConsumedRecord>, now: Instant) {
        let change = match self.reader.read(&record) {
            Ok(Incoming::Change(change)) if self.is_ours(&change.headers.pipeline) => change,
            Ok(Incoming::Change(change)) => {
                let why = format!("it is a record of pipeline {}", change.headers.pipeline);
                return self.refuse_record(record, "foreign", &why, now);
            }
            Ok(Incoming::Control(control)) => {
                self.known_epoch = self.known_epoch.max(control.epoch);
                if let Some(partition) = self.partitions.get_mut(&record.partition) {
                    partition.admit(control.term);
                    partition.push(record, 0, 0);
                }
                return;
            }
            Ok(Incoming::Foreign(why)) => return self.refuse_record(record, "foreign", &why, now),
            Err(error) => return self.refuse_record(record, "unreadable", &error.reason, now),
        };
        let Some(partition) = self.partitions.get_mut(&record.partition) else { return };
        if !partition.admit(change.headers.term) && self.fencing == Fencing::Versions {
            self.metrics.fenced.add(1);
            partition.push(record, 0, 0);
            return;
        }
        if let Err(stop) = self.on_change(record, &change, now) {
            self.stopped.get_or_insert(stop);
        }
    }

    fn is_ours(&self, pipeline: &str) -> bool {
        pipeline.is_empty() || pipeline == self.pipeline
    }

    fn on_change(&mut self, record: Arc<ConsumedRecord>, change: &ChangeRecord, now: Instant) -> Result<(), Stop> {
        let commit_ms = commit_ms(change);
        let number = record.partition;
        self.known_epoch = self.known_epoch.max(change.headers.epoch);
        if change.headers.partial && self.sink.source_of(&change.shape.database, &change.shape.table).is_some() {
            let detail = format!(
                "sink {}: a row of {}.{} arrives without all its columns (partition {number}, offset {}): it would \
                 make a document with holes",
                self.sink.name, change.shape.database, change.shape.table, record.offset
            );
            return Err(Stop::new(Cause::PartialRow, detail));
        }
        let Some(plan) = self.plan.of(&change.shape)? else {
            if let Some(partition) = self.partitions.get_mut(&number) {
                partition.push(record, 0, commit_ms);
            }
            return Ok(());
        };
        self.metrics.rows.add(change.len() as u64);
        let mut bad: Vec<BadRow> = Vec::new();
        for row in change.rows() {
            if let Err(error) = operations(plan, change, row, commit_ms, &mut self.buffer, &mut self.scratch) {
                bad.push(error);
            }
        }
        self.metrics.zero_dates.add(plan.take_zero_dates());
        let Some(partition) = self.partitions.get_mut(&number) else { return Ok(()) };
        let token = partition.push(record, self.scratch.len() + bad.len(), commit_ms);
        let lanes = self.lanes.len() as u32;
        for operation in self.scratch.drain(..) {
            let mut hash = crc32fast::Hasher::new();
            hash.update(operation.key.id.as_bytes());
            let lane = (hash.finalize() % lanes) as usize;
            self.lanes[lane].push(operation, token, now);
        }
        for error in bad {
            self.dead_letter(token, "unfit_row", &error.to_string(), None, now);
        }
        if self.wanted.as_ref().is_none_or(|(epoch, _)| *epoch < change.headers.epoch) {
            self.wanted = Some((change.headers.epoch, Arc::new(Shape::of_record(&change.shape))));
        }
        Ok(())
    }

    fn refuse_record(&mut self, record: Arc<ConsumedRecord>, cause: &str, why: &str, now: Instant) {
        let Some(partition) = self.partitions.get_mut(&record.partition) else { return };
        let commit_ms = u64::try_from(record.timestamp_ms).unwrap_or(0);
        let token = partition.push(record, 1, commit_ms);
        self.dead_letter(token, cause, why, None, now);
    }

    /// Makes a dead letter; its operation is final when it has been produced.
    fn dead_letter(&mut self, token: Token, cause: &str, reason: &str, document: Option<String>, now: Instant) {
        let Some(record) = self.partitions.get(&token.partition).and_then(|partition| partition.record(token)) else {
            return;
        };
        let record = Arc::clone(record);
        if self.breaker.count(now) {
            let detail = format!(
                "sink {}: more than {} dead letters within {} s; the last: {cause}: {reason}",
                self.sink.name,
                self.sink.breaker.dead_letters,
                self.sink.breaker.window.as_secs()
            );
            self.stopped.get_or_insert(Stop::new(Cause::DeadLetterBreaker, detail));
            return;
        }
        let number = self.letters_made;
        self.letters_made += 1;
        self.letters.insert(number, token);
        let letter = Letter { number, record, cause: cause.to_owned(), reason: reason.to_owned(), document };
        match self.effects.last_mut() {
            Some(Effect::Letters(letters)) => letters.push(letter),
            _ => self.effects.push(Effect::Letters(vec![letter])),
        }
    }

    /// Dead letters are in their topic.
    pub fn on_letters(&mut self, numbers: &[u64]) {
        for number in numbers {
            if let Some(token) = self.letters.remove(number) {
                self.metrics.dead_letters.add(1);
                self.done(token);
            }
        }
    }

    /// Index, alias and the note of the epoch are there.
    pub fn on_prepared(&mut self, epoch: u16) {
        self.preparing = false;
        self.ready = self.ready.max(Some(epoch));
    }

    fn done(&mut self, token: Token) {
        if let Some(partition) = self.partitions.get_mut(&token.partition) {
            partition.done(token);
        }
    }

    /// Asks for index, alias and `_meta` where operations carry an epoch that is not noted there yet.
    fn prepare(&mut self) {
        let Some((epoch, shape)) = &self.wanted else { return };
        if !self.preparing && self.ready.is_none_or(|ready| ready < *epoch) && self.stopped.is_none() && !self.draining
        {
            self.preparing = true;
            self.effects.push(Effect::Prepare { epoch: *epoch, shape: Arc::clone(shape) });
        }
    }

    /// Whether requests may be sent now.
    fn may_send(&self) -> bool {
        let prepared = match (&self.wanted, self.ready) {
            (Some((epoch, _)), Some(ready)) => ready >= *epoch,
            _ => false,
        };
        prepared && self.stopped.is_none() && !(self.draining && self.sink.deletes == Deletes::Soft)
    }

    fn pump(&mut self, now: Instant) {
        self.prepare();
        if !self.may_send() {
            return;
        }
        // Giving something up waits for what is in flight: nothing is gained by gathering longer.
        let flush = self.draining || !self.revoking.is_empty();
        for lane in 0..self.lanes.len() {
            let Some(operations) = self.lanes[lane].request(&self.sink.bulk, &self.index, now, flush) else { continue };
            self.metrics.bulks.add(1);
            self.metrics.bulk_operations.add(operations.len() as u64);
            let bytes: usize = operations.iter().map(|op| op.source.as_ref().map_or(0, |source| source.len())).sum();
            self.metrics.bulk_bytes.add(bytes as u64);
            self.effects.push(Effect::Send { lane, operations });
        }
    }

    /// When to ask for effects again if nothing else happens.
    pub fn deadline(&self) -> Option<Instant> {
        let sending = self.may_send();
        let lanes = self.lanes.iter().filter(|_| sending).filter_map(|lane| lane.deadline(&self.sink.bulk));
        lanes.chain(self.epoch_retry).min()
    }

    /// Stops and starts fetching by the bytes held.
    fn press_back(&mut self) {
        let buffered = self.buffered();
        let owned: Vec<u32> =
            self.partitions.keys().copied().filter(|number| !self.revoking.contains(number)).collect();
        if !self.paused && buffered > self.budget {
            self.paused = true;
            self.effects.push(Effect::Pause(owned));
        } else if self.paused && buffered < self.budget / 2 {
            self.paused = false;
            self.effects.push(Effect::Resume(owned));
        }
    }

    /// Bytes held: records that are not final, and documents made of them.
    pub fn buffered(&self) -> usize {
        let records: usize = self.partitions.values().map(|partition| partition.bytes).sum();
        let documents: usize = self.lanes.iter().map(Lane::gathered_bytes).sum();
        records + documents
    }

    /// Offsets that may be committed now, each handed out once.
    pub fn commits(&mut self) -> BTreeMap<u32, Committed> {
        let all = self.partitions.iter_mut();
        all.filter_map(|(number, partition)| Some((*number, partition.to_commit()?))).collect()
    }

    /// The commit did not succeed: its offsets will be handed out again.
    pub fn commits_failed(&mut self, offsets: &BTreeMap<u32, Committed>) {
        for number in offsets.keys() {
            if let Some(partition) = self.partitions.get_mut(number) {
                partition.commit_failed();
            }
        }
    }

    /// The sink must stop: nothing more is sent. The first cause stays.
    pub fn stop(&mut self, stop: Stop) {
        self.stopped.get_or_insert(stop);
    }

    /// The cause for which the sink must stop.
    pub fn stopped(&self) -> Option<&Stop> {
        self.stopped.as_ref()
    }

    /// What the sink waits for, if it does not get on.
    pub fn trouble(&self) -> Option<&Stop> {
        self.lanes.iter().filter_map(|lane| lane.flight.as_ref()).find_map(|flight| flight.trouble.as_ref())
    }

    /// Owned partitions, newest indexed commit time, oldest waiting commit time.
    pub fn progress(&self) -> (Vec<u32>, u64, Option<u64>) {
        let waiting = self.partitions.values().filter_map(Partition::oldest_commit_ms).min();
        (self.partitions.keys().copied().collect(), self.indexed_commit_ms, waiting)
    }
}

/// The commit time of a record's change in milliseconds. The event knows it to the second; the record was built after
/// it and mostly at once, so the later end of the second is cut at the moment of building.
fn commit_ms(change: &ChangeRecord) -> u64 {
    u64::try_from(change.ts_ms.min(change.es_ms.saturating_add(999))).unwrap_or(0)
}

fn operations(
    plan: &mut super::semantics::TablePlan,
    change: &ChangeRecord,
    row: RowRef<'_>,
    commit_ms: u64,
    buffer: &mut BytesMut,
    out: &mut Vec<Operation>,
) -> Result<(), BadRow> {
    let (image, before) = (Image(row), Before(row));
    let (before, after): (Option<&dyn Row>, Option<&dyn Row>) = match change.kind {
        ChangeKind::Insert => (None, Some(&image)),
        ChangeKind::Update => (Some(&before), Some(&image)),
        ChangeKind::Delete => (Some(&image), None),
    };
    let read = change.headers.read;
    let change = Change {
        before,
        after,
        epoch: change.headers.epoch,
        offset: row.offset(),
        commit_ms: i64::try_from(commit_ms).unwrap_or(i64::MAX),
        blind: read.is_some() || change.headers.replay,
        undone: matches!(read, Some(ReadKind::Image | ReadKind::Never)),
    };
    plan.operations(&change, buffer, out)
}
