//! What a deployer says about itself, for `/readyz`, `towpath status` and tests. Decides nothing.

use serde::Serialize;
use tokio::sync::watch;

use super::fallback::Phase;
use crate::cause::{Cause, Stop};

/// Whether this process leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Not yet a candidate (the coordinator is not reached).
    #[default]
    Joining,
    /// A candidate that waits for its turn.
    Standby,
    /// The leader, not yet producing (fencing, reading the log's tail, connecting to the source).
    TakingOver,
    /// The leader, streaming.
    Leader,
    /// Ended: drained, or stopped for the cause.
    Ended,
}

/// One deployer's condition at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DeployerStatus {
    /// Whether this process leads.
    pub role: Role,
    /// The term it leads with; 0 while it does not.
    pub term: i64,
    /// The epoch it produces under; 0 before it is decided.
    pub epoch: u16,
    /// The position the checkpoint in the coordinator has reached, for a person.
    pub checkpoint: String,
    /// The GTID set or position that Kafka has acknowledged, for a person (at or ahead of `checkpoint`).
    pub acknowledged: String,
    /// Bytes of binlog in this epoch that Kafka has acknowledged.
    pub offset: u64,
    /// Now minus the commit time of the last acknowledged transaction, ms; 0 while nothing waits.
    pub lag_ms: u64,
    /// What it waits for, and since when (wall clock, ms), while a service is unavailable or refuses.
    pub waiting: Option<Waiting>,
    /// Set while nothing moves although there is work, for longer than `stalled_after`: since when (wall clock, ms).
    pub stalled_since_ms: Option<u64>,
    /// Repairs that were begun and are not finished.
    pub pending_repairs: usize,
    /// Tables whose rows are held, each with its cause.
    pub held: Vec<Stop>,
    /// Which way changes take to the documents.
    pub fallback: Phase,
    /// Since when, wall clock, ms, if it is not the normal one.
    pub fallback_since_ms: Option<u64>,
    /// Why it ended, if it did not end in an orderly way.
    pub stop: Option<Stop>,
}

/// An attempt that is being repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The named cause and the last error.
    pub stop: Stop,
    /// Since when, wall clock, ms.
    pub since_ms: u64,
    /// Attempts so far.
    pub attempts: u32,
}

impl DeployerStatus {
    /// Whether the process does what it should: it leads and streams, or stands by, and nothing is wrong.
    pub fn ready(&self) -> bool {
        let right = matches!(self.role, Role::Leader | Role::Standby) && self.fallback != Phase::Direct;
        right && self.stop.is_none() && self.stalled_since_ms.is_none()
    }

    /// Whether documents are written directly, as a cause.
    pub fn past_kafka(&self) -> Option<Stop> {
        let since = self.fallback_since_ms.filter(|_| self.fallback == Phase::Direct)?;
        Some(Stop::new(Cause::Fallback, format!("documents are written directly since {since} ms, Kafka gets nothing")))
    }

    /// The causes for which it is not ready, for a person, the gravest first.
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = self.stop.iter().map(Stop::to_string).collect();
        causes.extend(self.held.iter().map(|held| format!("rows are held: {held}")));
        if let Some(waiting) = &self.waiting {
            causes.push(format!("waiting since {} ms: {}", waiting.since_ms, waiting.stop));
        }
        causes.extend(self.past_kafka().map(|stop| stop.to_string()));
        if let Some(since) = self.stalled_since_ms {
            causes.push(format!("stalled since {since} ms: there is work and Kafka acknowledges nothing"));
        }
        causes
    }
}

/// The writing end of a status.
#[derive(Debug, Clone)]
pub struct StatusCell(watch::Sender<DeployerStatus>);

impl StatusCell {
    /// A cell, and the end to read it from.
    pub fn new() -> (Self, watch::Receiver<DeployerStatus>) {
        let (sender, receiver) = watch::channel(DeployerStatus::default());
        (Self(sender), receiver)
    }

    /// Changes the status; readers see whole values only.
    pub fn update(&self, change: impl FnOnce(&mut DeployerStatus)) {
        self.0.send_modify(change);
    }

    /// The status as it is.
    pub fn get(&self) -> DeployerStatus {
        self.0.borrow().clone()
    }
}
