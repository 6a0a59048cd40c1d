//! What one stream written directly runs on: the log within the process, and the sinks' tasks that read it.
//!
//! Must not decide when.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::direct_log::DirectLog;
use super::{DirectSinks, Journal};
use crate::adapter::config::Fencing as ReaderFencing;
use crate::adapter::{Adapter, AdapterPorts, AdapterStatus, EpochView, SinkState};
use crate::cause::{Cause, Stop};
use crate::deployer::Fencing;
use crate::deployer::course::Course;
use crate::deployer::leader::Leader;
use crate::metrics::Registry;

/// The part of the budget that the log may hold, and the part for the documents; the rest is the stream's.
const SHARE: usize = 4;

impl Leader {
    /// A log in Kafka's place, for one stream.
    pub(super) fn direct_log(&mut self, sinks: &DirectSinks) -> DirectLog {
        self.fallback.serial += 1;
        let config = &self.course.config;
        let journals = sinks.config.sinks.iter().filter_map(|sink| {
            let cluster = Arc::clone(sinks.indexes.get(&sink.name)?);
            let journal = Journal::new(cluster, &config.pipeline, &sink.name, (self.term, self.fallback.runs));
            Some((sinks.config.group(&sink.name), Some(journal)))
        });
        let budget = share(&self.course);
        let log = DirectLog::new(&config.topic, config.partitions, self.fallback.serial, budget, journals.collect());
        let mut config = (**config).clone();
        // Delivered is acknowledged: there are no transactions here.
        config.fencing = Fencing::Versions;
        self.course.config = Arc::new(config);
        self.course.ports.log = Arc::new(log.clone());
        log
    }

    /// The sinks' tasks for one stream.
    pub(super) fn direct_tasks(&self, sinks: &DirectSinks, log: &DirectLog) -> Result<Tasks, Stop> {
        Tasks::start(&self.course, self.state.epoch.number, sinks, log)
    }
}

/// Sinks' tasks that read a log within the process, as an adapter's read Kafka. They end when this is dropped.
pub struct Tasks {
    status: watch::Receiver<AdapterStatus>,
    task: JoinHandle<Result<(), Stop>>,
    _stop: watch::Sender<bool>,
}

impl Tasks {
    /// Starts them. `epoch`: what is written is of no higher one.
    pub fn start(course: &Course, epoch: u16, sinks: &DirectSinks, log: &DirectLog) -> Result<Self, Stop> {
        let mut config = sinks.config.clone();
        config.fencing = ReaderFencing::Versions;
        config.buffer_bytes = share(course).max(1 << 20);
        let ports =
            AdapterPorts { log: Arc::new(log.clone()), indexes: sinks.indexes.clone(), epochs: Arc::new(Own(epoch)) };
        // The adapters' own metrics tell of Kafka's path.
        let adapter = Adapter::new(config, ports, course.env.clone(), Registry::default())?;
        let (stop, stopped) = watch::channel(false);
        Ok(Self { status: adapter.status(), task: tokio::spawn(adapter.run(stopped)), _stop: stop })
    }

    /// Returns when a sink does not go on, with the reason: one has stopped, or has waited for its cluster for so long.
    pub async fn halted(&mut self, patience: Duration) -> Stop {
        tokio::select! {
            stop = stuck(self.status.clone(), patience) => stop,
            ended = &mut self.task => match ended {
                Ok(Err(stop)) => stop,
                _ => Stop::new(Cause::Internal, "the sinks ended before what was to be written"),
            },
        }
    }
}

/// Returns when a sink has waited for its cluster for so long, with what it waits for.
async fn stuck(mut status: watch::Receiver<AdapterStatus>, patience: Duration) -> Stop {
    let waits = |all: &AdapterStatus| {
        all.values().find_map(|sink| match &sink.state {
            SinkState::Retrying(stop) => Some(stop.clone()),
            _ => None,
        })
    };
    loop {
        let waiting = waits(&status.borrow_and_update());
        let Some(stop) = waiting else {
            if status.changed().await.is_err() {
                return std::future::pending().await;
            }
            continue;
        };
        let goes_on = status.wait_for(|all| waits(all).is_none());
        if tokio::time::timeout(patience, goes_on).await.is_err() {
            return stop;
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The bytes that the log may hold, and those for the documents.
pub fn share(course: &Course) -> usize {
    course.config.budget_bytes / SHARE
}

/// The writer's own epoch: nothing higher can be known.
struct Own(u16);

#[async_trait]
impl EpochView for Own {
    async fn read(&self) -> Result<u16, String> {
        Ok(self.0)
    }
}
