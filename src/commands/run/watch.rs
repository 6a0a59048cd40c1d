//! The log's one line per change of state, with its cause. Reads what the parts publish; changes nothing.

use std::collections::BTreeMap;

use tokio::sync::watch::Receiver;
use towpath_engine::adapter::{AdapterStatus, SinkState};
use towpath_engine::deployer::{DeployerStatus, Role};

use crate::admin::board::describe;

/// Tells the changes of a deployer until it has ended.
pub async fn deployer(pipeline: String, mut status: Receiver<DeployerStatus>) {
    let mut told = DeployerStatus::default();
    loop {
        let now = status.borrow_and_update().clone();
        tell_deployer(&pipeline, &told, &now);
        if now.role == Role::Ended {
            return;
        }
        told = now;
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn tell_deployer(pipeline: &str, before: &DeployerStatus, now: &DeployerStatus) {
    if now.role != before.role {
        let (term, epoch, checkpoint) = (now.term, now.epoch, now.checkpoint.as_str());
        tracing::info!(pipeline, role = role(now.role), term, epoch, checkpoint, "deployer");
    }
    let cause = |status: &DeployerStatus| status.waiting.as_ref().map(|waiting| waiting.stop.cause);
    match (cause(before), &now.waiting) {
        (was, Some(waiting)) if was != Some(waiting.stop.cause) => {
            let (cause, remedy) = (waiting.stop.cause.name(), waiting.stop.cause.remedy());
            tracing::warn!(pipeline, cause, detail = waiting.stop.detail, remedy, "deployer waits and retries");
        }
        (Some(was), None) if now.role != Role::Ended => {
            tracing::info!(pipeline, cause = was.name(), "deployer goes on: the cause is gone");
        }
        _ => {}
    }
    match (before.stalled_since_ms, now.stalled_since_ms) {
        (None, Some(since)) => tracing::error!(pipeline, since, "stalled: there is work and nothing is acknowledged"),
        (Some(_), None) => tracing::info!(pipeline, "no longer stalled"),
        _ => {}
    }
    if now.pending_repairs != before.pending_repairs {
        tracing::warn!(pipeline, pending = now.pending_repairs, "repairs that wait");
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Joining => "joining",
        Role::Standby => "standby",
        Role::TakingOver => "taking-over",
        Role::Leader => "leader",
        Role::Ended => "ended",
    }
}

/// Tells the changes of an adapter's sinks until their sender is gone.
pub async fn adapter(pipeline: String, mut status: Receiver<AdapterStatus>) {
    let mut told: BTreeMap<String, SinkState> = BTreeMap::new();
    loop {
        let now = status.borrow_and_update().clone();
        for (sink, status) in now {
            let (word, stop) = describe(&status.state);
            let before = told.get(&sink);
            let same_cause =
                before.map(|state| describe(state).1.map(|stop| stop.cause)) == Some(stop.map(|stop| stop.cause));
            if !(before.is_some_and(|state| describe(state).0 == word) && same_cause) {
                tell_sink(&pipeline, &sink, word, &status.state);
            }
            told.insert(sink, status.state);
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn tell_sink(pipeline: &str, sink: &str, state: &str, of: &SinkState) {
    match describe(of).1 {
        None => tracing::info!(pipeline, sink, state, "sink"),
        Some(stop) => {
            let (cause, remedy, detail) = (stop.cause.name(), stop.cause.remedy(), stop.detail.as_str());
            if matches!(of, SinkState::Stopped(_)) {
                tracing::error!(pipeline, sink, state, cause, detail, remedy, "sink");
            } else {
                tracing::warn!(pipeline, sink, state, cause, detail, remedy, "sink");
            }
        }
    }
}
