//! The adapter: from the log into Elasticsearch, one consumer group per sink (protocol §7).
//!
//! State machines without I/O, and a thin shell over the ports [`EventLog`] and [`SearchIndex`] that moves their
//! effects. Must not know ZooKeeper or MySQL: what it needs of the pipeline's state comes through [`EpochView`].

pub mod condition;
pub mod config;
pub mod document;
pub mod flow;
pub mod fold;
pub mod letters;
pub mod mapping;
pub mod meta;
pub mod outcome;
mod run;
pub mod semantics;
pub mod shape;
pub mod status;
#[cfg(test)]
mod testing;
pub mod track;
pub mod value;

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

pub use config::{AdapterConfig, SinkConfig, SourceConfig};
pub use status::{AdapterStatus, SinkMetrics, SinkState, SinkStatus};

use crate::cause::{Cause, Stop};
use crate::env::Env;
use crate::metrics::Registry;
use crate::ports::index::SearchIndex;
use crate::ports::log::EventLog;

/// The highest epoch that the pipeline's state knows: a document with a higher one means that the state was set back
/// (protocol §7, `epoch-regressed`).
#[async_trait]
pub trait EpochView: Send + Sync {
    /// Reads the state again and returns the current epoch; `Err` says why it cannot be read now (the caller retries).
    async fn read(&self) -> Result<u16, String>;
}

/// What an adapter works on.
#[derive(Clone)]
pub struct AdapterPorts {
    /// The cluster that holds the pipeline's topic and the dead-letter topics.
    pub log: Arc<dyn EventLog>,
    /// The cluster of each sink, by the sink's name.
    pub indexes: BTreeMap<String, Arc<dyn SearchIndex>>,
    /// The pipeline's state, as far as the adapter may know it.
    pub epochs: Arc<dyn EpochView>,
}

/// The adapter half of one pipeline.
pub struct Adapter {
    config: AdapterConfig,
    ports: AdapterPorts,
    env: Env,
    metrics: Registry,
    status: watch::Sender<AdapterStatus>,
}

impl Adapter {
    /// Checks the configuration, conditions included as far as `config.tables` allows; touches no service.
    pub fn new(config: AdapterConfig, ports: AdapterPorts, env: Env, metrics: Registry) -> Result<Self, Stop> {
        config::validate(&config)?;
        semantics::check(&config)?;
        for sink in &config.sinks {
            if !ports.indexes.contains_key(&sink.name) {
                return Err(Stop::new(Cause::Internal, format!("sink {} has no cluster", sink.name)));
            }
        }
        let starting = config.sinks.iter().map(|sink| (sink.name.clone(), SinkStatus::starting())).collect();
        Ok(Self { config, ports, env, metrics, status: watch::Sender::new(starting) })
    }

    /// The sinks' states, whenever one changes.
    pub fn status(&self) -> watch::Receiver<AdapterStatus> {
        self.status.subscribe()
    }

    /// Runs all sinks until `stop` becomes true (or its sender is dropped), then drains: bulks in flight are awaited,
    /// offsets committed, groups left. A sink that stops for a cause leaves the others running; its cause stands in
    /// the status and is returned at the end (the first, by the sinks' order). Returns early when every sink has
    /// stopped.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), Stop> {
        let config = Arc::new(self.config);
        let mut tasks = Vec::new();
        for sink in &config.sinks {
            let Some(index) = self.ports.indexes.get(&sink.name) else { continue };
            let task = run::SinkTask {
                config: Arc::clone(&config),
                sink: Arc::new(sink.clone()),
                log: Arc::clone(&self.ports.log),
                index: Arc::clone(index),
                epochs: Arc::clone(&self.ports.epochs),
                env: self.env.clone(),
                metrics: SinkMetrics::register(&self.metrics, &config.pipeline, &sink.name),
                status: self.status.clone(),
                stop: stop.clone(),
            };
            tasks.push(tokio::spawn(task.run()));
        }
        let mut result = Ok(());
        for task in tasks {
            let ended = task.await.unwrap_or_else(|error| Err(Stop::new(Cause::Internal, format!("a sink: {error}"))));
            result = result.and(ended);
        }
        result
    }
}
