//! What answers of Elasticsearch and of the pipeline's state do to the operations in flight.

use tokio::time::Instant;

use super::super::outcome::{Outcome, RequestOutcome, classify, classify_request};
use super::lane::Item;
use super::{Effect, Flow};
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::env::backoff;
use crate::ports::index::{IndexError, ItemResult};
use crate::version::Version;

impl Flow {
    /// The answer to a lane's request: one result per operation, or an error of the whole request.
    pub fn on_bulk(&mut self, lane: usize, answer: Result<Vec<ItemResult>, IndexError>, now: Instant) {
        let Some(flight) = self.lanes.get_mut(lane).and_then(|lane| lane.flight.as_mut()) else { return };
        let sent = std::mem::take(&mut flight.sent);
        let answer = match answer {
            Ok(results) if results.len() != sent.len() => {
                Err(IndexError::NotElasticsearch(format!("{} results for {} operations", results.len(), sent.len())))
            }
            other => other,
        };
        match answer {
            Ok(results) => self.on_results(lane, sent, &results, now),
            Err(error) => self.on_refusal(lane, sent, &error, now),
        }
        if self.orphans || self.draining || !self.revoking.is_empty() {
            self.drop_orphans();
        }
    }

    fn on_results(&mut self, lane: usize, sent: Vec<Item>, results: &[ItemResult], now: Instant) {
        let mut again = Vec::new();
        let mut trouble = None;
        for (item, result) in sent.into_iter().zip(results) {
            match classify(result, item.1.winner.source.is_none()) {
                Outcome::Applied => self.settle(&item, false),
                Outcome::Superseded { current } => self.on_conflict(lane, item, current),
                Outcome::DeadLetter { cause, reason } => again.extend(self.bury(item, &cause, &reason, now)),
                Outcome::Retry(stop) | Outcome::Blocked(stop) => {
                    branch::reached(Branch::ItemRetried);
                    self.metrics.retries.add(1);
                    // A block is what a person must see, beside whatever else is busy.
                    if trouble.as_ref().is_none_or(|known: &Stop| known.cause != Cause::SinkBlocked) {
                        trouble = Some(stop);
                    }
                    again.push(item);
                }
            }
        }
        let most = self.sink.bulk.operations;
        if let Some(flight) = self.lanes[lane].flight.as_mut() {
            flight.limit = (flight.limit * 2).min(most);
            flight.queue.extend(again);
        }
        self.back_off(lane, trouble, now);
    }

    fn on_refusal(&mut self, lane: usize, sent: Vec<Item>, error: &IndexError, now: Instant) {
        let mut trouble = None;
        let mut again = sent;
        match classify_request(error) {
            RequestOutcome::Retry(_) if canary::on(Canary::RequestLost) => {
                again.drain(..).for_each(|item| self.settle(&item, false));
            }
            RequestOutcome::Retry(stop) => {
                branch::reached(Branch::RequestRetried);
                self.metrics.retries.add(again.len() as u64);
                trouble = Some(stop);
            }
            RequestOutcome::Halve { cause, reason } if again.len() == 1 => {
                again = again.into_iter().filter_map(|item| self.bury(item, &cause, &reason, now)).collect();
            }
            RequestOutcome::Halve { .. } => {
                if let Some(flight) = self.lanes[lane].flight.as_mut() {
                    flight.limit = again.len() / 2;
                }
            }
        }
        if let Some(flight) = self.lanes[lane].flight.as_mut() {
            flight.put_back(again);
        }
        self.back_off(lane, trouble, now);
    }

    fn back_off(&mut self, lane: usize, trouble: Option<Stop>, now: Instant) {
        let retry = &self.sink.retry;
        let Some(flight) = self.lanes[lane].flight.as_mut() else { return };
        if trouble.is_some() {
            flight.not_before = Some(now + backoff(flight.attempt, retry.base, retry.cap, &mut self.rng));
            flight.attempt = flight.attempt.saturating_add(1);
        } else {
            flight.not_before = None;
            flight.attempt = 0;
        }
        flight.trouble = trouble;
        self.lanes[lane].land();
    }

    /// The operations on a document are final: the winner by its outcome, the folded ones with it.
    fn settle(&mut self, (_, chain): &Item, superseded: bool) {
        if superseded {
            branch::reached(Branch::Superseded);
            self.metrics.superseded.add(1);
        } else {
            self.metrics.applied.add(1);
        }
        self.metrics.folded.add(chain.folded.len() as u64);
        for entry in chain.entries() {
            if let Some(partition) = self.partitions.get_mut(&entry.origin.partition) {
                let commit_ms = partition.commit_ms_of(entry.origin).unwrap_or(0);
                self.indexed_commit_ms = self.indexed_commit_ms.max(commit_ms);
                partition.done(entry.origin);
            }
        }
    }

    /// A higher version is there. Of the same rank its epoch must be one that the pipeline has had.
    fn on_conflict(&mut self, lane: usize, item: Item, current: Option<Version>) {
        let ours = item.1.winner.version;
        if let Some(current) = current {
            // Also an INSERT that was folded into a later operation of its document.
            if current.rank() > ours.rank() && item.1.entries().any(|entry| entry.insert) {
                self.metrics.moved_back.add(1);
                tracing::debug!(
                    sink = %self.sink.name, document = %item.0.id, %current, %ours,
                    "moved-back: an inserted row meets a document of a source further on; it is not indexed"
                );
            }
            if current.rank() == ours.rank() && current.epoch() > self.known_epoch {
                if let Some(flight) = self.lanes[lane].flight.as_mut() {
                    flight.conflicts.push((item, current));
                }
                self.ask_epoch();
                return;
            }
        }
        self.settle(&item, true);
    }

    fn ask_epoch(&mut self) {
        if !self.reading_epoch && self.epoch_retry.is_none() {
            branch::reached(Branch::EpochAsked);
            self.reading_epoch = true;
            self.effects.push(Effect::ReadEpoch);
        }
    }

    /// The pipeline's state has been read, or could not be.
    pub fn on_epoch(&mut self, epoch: Result<u16, String>, now: Instant) {
        self.reading_epoch = false;
        match epoch {
            Ok(epoch) => self.known_epoch = self.known_epoch.max(epoch),
            Err(_) => {
                self.epoch_retry = Some(now + backoff(3, self.sink.retry.base, self.sink.retry.cap, &mut self.rng));
                return;
            }
        }
        let known = self.known_epoch;
        for lane in 0..self.lanes.len() {
            let Some(flight) = self.lanes[lane].flight.as_mut() else { continue };
            for (item, current) in std::mem::take(&mut flight.conflicts) {
                if current.epoch() > known {
                    let detail = format!(
                        "sink {}: document {} of {} has epoch {}, but the pipeline's state knows none above {known}; \
                         its changes would be refused without a word",
                        self.sink.name,
                        item.0.id,
                        self.index,
                        current.epoch()
                    );
                    self.stopped.get_or_insert(Stop::new(Cause::EpochRegressed, detail));
                } else {
                    self.settle(&item, true);
                }
            }
            self.lanes[lane].land();
        }
    }

    /// Asks for the state again when the wait after a failed reading is over.
    pub fn on_time(&mut self, now: Instant) {
        if self.epoch_retry.is_some_and(|at| now >= at) {
            self.epoch_retry = None;
            self.ask_epoch();
        }
    }

    /// Dead-letters the winner; what was folded into it is to be sent in its place.
    fn bury(&mut self, (key, chain): Item, cause: &str, reason: &str, now: Instant) -> Option<Item> {
        let (winner, rest) = chain.without_winner();
        self.dead_letter(winner.origin, cause, reason, Some(key.id.clone()), now);
        rest.map(|rest| (key, rest))
    }
}
