//! Whether anybody indexes: each sink's consumer group is asked for its members every few seconds.
//!
//! A group without members is the sign of adapters that are gone; one whose members make no progress is not, for that
//! may be its cluster's fault, and then writing directly would not help. Must not switch anything.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::metrics::Metric;
use crate::ports::log::EventLog;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Follows the groups while it lives.
pub struct Indexers {
    gone_since: watch::Receiver<Option<Instant>>,
    task: JoinHandle<()>,
}

impl Indexers {
    /// Begins to follow. `gauge` tells how many groups have no member.
    pub fn new(log: Arc<dyn EventLog>, groups: Vec<String>, gauge: Metric) -> Self {
        let (sender, gone_since) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                // Without an answer what was last known stands.
                if let Some(alone) = without_members(log.as_ref(), &groups).await {
                    gauge.set(alone.len() as i64);
                    let changed = sender.send_if_modified(|since: &mut Option<Instant>| {
                        let before = since.is_some();
                        *since = if alone.is_empty() { None } else { since.or(Some(Instant::now())) };
                        since.is_some() != before
                    });
                    match alone.join(", ") {
                        _ if !changed => {}
                        none if none.is_empty() => tracing::info!("every sink has an adapter"),
                        groups => tracing::warn!(groups, "no adapter indexes for these consumer groups"),
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { gone_since, task }
    }

    /// For how long some sink has had no adapter, as far as this process knows.
    pub fn gone_for(&self) -> Option<Duration> {
        self.gone_since.borrow().map(|since| since.elapsed())
    }

    /// Since when, as it changes.
    pub fn follow(&self) -> watch::Receiver<Option<Instant>> {
        self.gone_since.clone()
    }
}

impl Drop for Indexers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The groups that have no member; `None`: not all of them could be asked.
async fn without_members(log: &dyn EventLog, groups: &[String]) -> Option<Vec<String>> {
    let mut alone = Vec::new();
    for group in groups {
        match log.members(group).await {
            Ok(0) => alone.push(group.clone()),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(group, "its members are not known: {error}");
                return None;
            }
        }
    }
    Some(alone)
}
