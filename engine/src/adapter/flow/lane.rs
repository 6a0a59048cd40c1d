//! A lane: the operations of some documents, gathered, sent in one request at a time, and sent again until final.
//!
//! A document always takes the same lane, so no two requests in flight share a document. Must not decide outcomes.

use std::collections::VecDeque;
use tokio::time::Instant;

use super::super::config::BulkConfig;
use super::super::document::DocumentKey;
use super::super::fold::{Batch, Chain};
use super::super::semantics::Operation;
use super::super::track::Token;
use crate::cause::Stop;
use crate::ports::index::BulkOp;
use crate::version::Version;

/// A document and the operations on it.
pub type Item = (DocumentKey, Chain<Token>);

/// See the module.
#[derive(Debug, Default)]
pub struct Lane {
    gathering: Batch<Token>,
    /// When the oldest gathered operation came.
    since: Option<Instant>,
    /// Taken from `gathering`, not final yet.
    pub flight: Option<Flight>,
}

/// Operations on their way.
#[derive(Debug)]
pub struct Flight {
    /// To be sent, or to be sent again.
    pub queue: VecDeque<Item>,
    /// In the request under way.
    pub sent: Vec<Item>,
    /// Refused for a version whose epoch is not known: waiting for the pipeline's state.
    pub conflicts: Vec<(Item, Version)>,
    /// Attempts that ended in trouble, in a row.
    pub attempt: u32,
    /// Not sent before.
    pub not_before: Option<Instant>,
    /// Operations in one request: halved when a request is refused as a whole.
    pub limit: usize,
    /// What the last answer complained of.
    pub trouble: Option<Stop>,
}

impl Lane {
    /// Adds an operation.
    pub fn push(&mut self, operation: Operation, origin: Token, now: Instant) {
        self.gathering.push(operation, origin);
        self.since.get_or_insert(now);
    }

    /// Bytes of the documents that are gathered.
    pub fn gathered_bytes(&self) -> usize {
        self.gathering.bytes()
    }

    /// Whether nothing is gathered or on its way.
    pub fn is_empty(&self) -> bool {
        self.gathering.is_empty() && self.flight.is_none()
    }

    /// Whether a request is under way.
    pub fn is_sending(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| !flight.sent.is_empty())
    }

    /// Whether a request under way holds an operation that `of` names.
    pub fn is_sending_of(&self, of: impl Fn(&Token) -> bool) -> bool {
        let mut sent = self.flight.iter().flat_map(|flight| &flight.sent);
        sent.any(|(_, chain)| chain.entries().any(|entry| of(&entry.origin)))
    }

    /// The next request, if one is due. `flush`: do not wait for more.
    pub fn request(&mut self, config: &BulkConfig, index: &str, now: Instant, flush: bool) -> Option<Vec<BulkOp>> {
        if self.flight.is_none() {
            let full = self.gathering.bytes() >= config.bytes || self.gathering.len() >= config.operations;
            let waited = self.since.is_some_and(|since| now >= since + config.linger);
            if self.gathering.is_empty() || !(full || waited || flush) {
                return None;
            }
            self.since = None;
            self.flight = Some(Flight::new(self.gathering.take(), config.operations));
        }
        let flight = self.flight.as_mut()?;
        let early = flight.not_before.is_some_and(|at| now < at);
        if early || !flight.sent.is_empty() || flight.queue.is_empty() {
            return None;
        }
        Some(flight.fill(config.bytes, index))
    }

    /// When `request` should be asked again if nothing else happens.
    pub fn deadline(&self, config: &BulkConfig) -> Option<Instant> {
        match &self.flight {
            None => self.since.map(|since| since + config.linger),
            Some(flight) if flight.sent.is_empty() && !flight.queue.is_empty() => flight.not_before,
            Some(_) => None,
        }
    }

    /// Drops what is not under way and not accepted by `keep`.
    pub fn retain(&mut self, keep: impl Fn(&Token) -> bool + Copy) {
        self.gathering.retain(keep);
        if self.gathering.is_empty() {
            self.since = None;
        }
        if let Some(flight) = &mut self.flight {
            let queue = std::mem::take(&mut flight.queue);
            flight.queue = queue.into_iter().filter_map(|(key, chain)| Some((key, chain.retain(keep)?))).collect();
            let conflicts = std::mem::take(&mut flight.conflicts).into_iter();
            flight.conflicts =
                conflicts.filter_map(|((key, chain), at)| Some(((key, chain.retain(keep)?), at))).collect();
        }
        self.land();
    }

    /// Forgets the flight if all of it is final.
    pub fn land(&mut self) {
        let done = |flight: &Flight| flight.queue.is_empty() && flight.sent.is_empty() && flight.conflicts.is_empty();
        if self.flight.as_ref().is_some_and(done) {
            self.flight = None;
        }
    }
}

impl Flight {
    fn new(items: Vec<Item>, limit: usize) -> Self {
        Self {
            queue: items.into(),
            sent: Vec::new(),
            conflicts: Vec::new(),
            attempt: 0,
            not_before: None,
            limit,
            trouble: None,
        }
    }

    /// Moves items from the queue into a request.
    fn fill(&mut self, max_bytes: usize, index: &str) -> Vec<BulkOp> {
        let mut operations = Vec::with_capacity(self.limit.min(self.queue.len()));
        let mut bytes = 0;
        while operations.len() < self.limit && (operations.is_empty() || bytes < max_bytes) {
            let Some((key, chain)) = self.queue.pop_front() else { break };
            bytes += chain.winner.source.as_ref().map_or(0, |source| source.len()) + 128;
            operations.push(BulkOp {
                index: index.to_owned(),
                id: key.id.clone(),
                routing: key.routing.clone(),
                version: chain.winner.version,
                source: chain.winner.source.clone(),
            });
            self.sent.push((key, chain));
        }
        operations
    }

    /// Puts items back at the head of the queue, in their order.
    pub fn put_back(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.queue.push_front(item);
        }
    }
}
