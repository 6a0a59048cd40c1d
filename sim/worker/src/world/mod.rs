//! What stands in a run: models as service hosts, deployers and adapters of the engine as processes.
//!
//! Must not decide what happens: only what there is, and handles to it.

mod process;
mod sources;

pub use process::{Processes, Running};
pub use sources::Sources;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use towpath_engine::env::Env;
use towpath_engine::gtid::GtidSet;
use towpath_models::elasticsearch::{Elasticsearch, ElasticsearchConfig};
use towpath_models::kafka::{Kafka, KafkaConfig};
use towpath_models::mysql::MySql;
use towpath_models::zookeeper::ZooKeeper;
use towpath_scenarios::scenario::{Deletes, Topology};
use towpath_scenarios::workload::{ARCHIVE, DATABASE, Table};

use crate::wire::{Exchange, Points, serve};

/// The pipeline's name, and its topic's.
pub const NAME: &str = "orders";
/// The sink that keeps orders when they move to the archive.
pub const ARCHIVED_IN: &str = "full";
/// ZooKeeper's session timeout.
pub const SESSION: Duration = Duration::from_secs(6);
/// The moment at which every run begins, milliseconds since the epoch.
const BEGAN_MS: u64 = 1_795_420_000_000;

/// Things that are done on the services' own clock, by an operator or an application.
type Deed = Box<dyn FnOnce() + Send>;

#[derive(Clone, Default)]
struct Deeds {
    queue: Arc<Mutex<VecDeque<Deed>>>,
    more: Arc<Notify>,
}

impl Deeds {
    async fn work(self) {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(deed) => deed(),
                None => self.more.notified().await,
            }
        }
    }
}

/// The services and what leads to them.
pub struct World {
    /// The source and its standbys.
    pub sources: Sources,
    /// The log.
    pub kafka: Kafka,
    /// The coordinator.
    pub zookeeper: ZooKeeper,
    /// The sinks' cluster.
    pub elasticsearch: Elasticsearch,
    /// What frames name.
    pub exchange: Exchange,
    /// Where faults can begin.
    pub points: Points,
    /// The engine's processes.
    pub processes: Processes,
    clock: Arc<AtomicU64>,
    deeds: Deeds,
}

impl World {
    /// The services, with empty tables and an empty topic.
    ///
    /// # Errors
    /// The tables cannot be made.
    pub fn new(topology: &Topology, seed: u64) -> anyhow::Result<Self> {
        let clock = Arc::new(AtomicU64::new(0));
        let elapsed = Arc::clone(&clock);
        let env = Env::new(move || BEGAN_MS + elapsed.load(Ordering::Relaxed), seed);
        let sources = Sources::new(topology, &env);
        for table in Table::ALL {
            sources.written().create_table(table.schema(DATABASE))?;
        }
        if topology.archive {
            sources.written().create_table(Table::Orders.schema(ARCHIVE))?;
        }
        let kafka = Kafka::new(KafkaConfig::default());
        kafka.create_topic(NAME, topology.partitions);
        let zookeeper = ZooKeeper::new(SESSION);
        zookeeper.create_path("/towpath");
        zookeeper.drops_linger(true);
        let gc_deletes = if topology.deletes == Deletes::Hard { Duration::from_secs(60) } else { Duration::ZERO };
        let settings = ElasticsearchConfig { gc_deletes, ..ElasticsearchConfig::default() };
        let points = Points::default();
        let exchange = Exchange::default();
        Ok(Self {
            processes: Processes::new(topology.clone(), env, seed),
            sources,
            kafka,
            zookeeper,
            elasticsearch: Elasticsearch::new(settings),
            exchange,
            points,
            clock,
            deeds: Deeds::default(),
        })
    }

    /// Adds all hosts to the simulation.
    pub fn settle(&self, sim: &mut turmoil::Sim<'_>) {
        for service in ["kafka", "zookeeper", "elasticsearch"] {
            let exchange = self.exchange.clone();
            sim.host(service, move || serve(exchange.clone()));
        }
        for standby in (2..=self.sources.all().len()).map(|number| format!("mysql-{number}")) {
            let exchange = self.exchange.clone();
            sim.host(standby, move || serve(exchange.clone()));
        }
        let (exchange, deeds) = (self.exchange.clone(), self.deeds.clone());
        sim.host("mysql", move || {
            let (exchange, deeds) = (exchange.clone(), deeds.clone());
            async move {
                tokio::spawn(deeds.work());
                serve(exchange).await
            }
        });
        self.processes.settle(sim, self);
    }

    /// Sets the wall clock of all hosts.
    pub fn set_elapsed(&self, elapsed: Duration) {
        self.clock.store(elapsed.as_millis() as u64, Ordering::Relaxed);
    }

    /// A step of replication between the MySQL servers.
    pub fn replicate(&self) {
        self.sources.replicate();
    }

    /// Does something at the services, on their clock, within the next step.
    pub fn at_services(&self, deed: impl FnOnce() + Send + 'static) {
        self.deeds.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(Box::new(deed));
        self.deeds.more.notify_one();
    }

    /// The process whose candidate comes first in the election.
    pub fn leader(&self) -> Option<String> {
        self.zookeeper.first_candidate(&format!("/towpath/{NAME}"))
    }

    /// The server that is written.
    pub fn source(&self) -> &MySql {
        self.sources.written()
    }

    /// All that the source has executed.
    pub fn executed(&self) -> GtidSet {
        self.source().executed().to_string().parse().unwrap_or_default()
    }
}
