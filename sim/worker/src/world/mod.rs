//! What stands in a run: models as service hosts, deployers and adapters of the engine as processes.
//!
//! Must not decide what happens: only what there is, and handles to it.

mod process;
mod sources;

pub use process::{Processes, Running};
pub use sources::Sources;

use std::collections::{BTreeMap, VecDeque};
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
use towpath_scenarios::oracle::documents::{SINKS, SinkRule};
use towpath_scenarios::scenario::{Deletes, Pipeline as Plan, Span, Topology};
use towpath_scenarios::workload::{ARCHIVE, DATABASE, Table};

use crate::wire::{Exchange, Points, serve};

/// The sink that keeps orders when they move to the archive.
pub const ARCHIVED_IN: &str = "full";
/// ZooKeeper's session timeout.
pub const SESSION: Duration = Duration::from_secs(6);
/// A message on a slow link strays by so much, as between all hosts.
const STRAY: Duration = Duration::from_millis(12);
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

/// One pipeline: its name, hosts and rank, and the servers it reads.
#[derive(Clone)]
pub struct Pipeline {
    /// What stands, as the scenario says it.
    pub plan: Plan,
    /// The source and its standbys.
    pub sources: Sources,
}

impl Pipeline {
    /// Its name, and its topic's.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// The server that is written.
    pub fn source(&self) -> &MySql {
        self.sources.written()
    }

    /// All that the source has executed.
    pub fn executed(&self) -> GtidSet {
        self.source().executed().to_string().parse().unwrap_or_default()
    }

    /// The sinks it feeds: an archive stays out of those that hold active orders alone.
    pub fn sinks(&self) -> impl Iterator<Item = &'static SinkRule> + use<> {
        let all = self.plan.has_orders;
        SINKS.iter().filter(move |sink| all || sink.name == ARCHIVED_IN)
    }

    /// The consumer group of one of its sinks.
    pub fn group(&self, sink: &str) -> String {
        format!("towpath.{}.{sink}", self.name())
    }

    /// Where its state lies in ZooKeeper.
    pub fn folder(&self) -> String {
        format!("/towpath/{}", self.name())
    }

    /// Records that a sink's group has not committed.
    pub fn lag(&self, kafka: &Kafka, sink: &str) -> i64 {
        let mut next: BTreeMap<u32, i64> = kafka.committed(self.name(), &self.group(sink)).into_iter().collect();
        kafka.records_since(self.name(), &mut next).len() as i64
    }
}

/// The services and what leads to them.
pub struct World {
    /// The pipelines, by rank.
    pub pipelines: Arc<Vec<Pipeline>>,
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
    hosts: Vec<String>,
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
        let kafka = Kafka::new(KafkaConfig::default());
        let mut pipelines = Vec::new();
        for plan in topology.pipelines() {
            let sources = Sources::new(topology, plan.rank, &env);
            for table in Table::ALL.iter().filter(|_| plan.has_orders) {
                sources.written().create_table(table.schema(DATABASE))?;
            }
            if plan.has_archive {
                sources.written().create_table(Table::Orders.schema(ARCHIVE))?;
            }
            sources.begin();
            kafka.create_topic(&plan.name, topology.partitions);
            pipelines.push(Pipeline { plan, sources });
        }
        let zookeeper = ZooKeeper::new(SESSION);
        zookeeper.create_path("/towpath");
        zookeeper.drops_linger(true);
        let gc_deletes = if topology.deletes == Deletes::Hard { Duration::from_secs(60) } else { Duration::ZERO };
        let settings = ElasticsearchConfig { gc_deletes, ..ElasticsearchConfig::default() };
        let points = Points::default();
        let exchange = Exchange::default();
        Ok(Self {
            processes: Processes::new(topology.clone(), env, seed),
            pipelines: Arc::new(pipelines),
            kafka,
            zookeeper,
            elasticsearch: Elasticsearch::new(settings),
            exchange,
            points,
            hosts: topology.hosts(),
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
        let servers = || self.pipelines.iter().flat_map(|pipeline| &pipeline.plan.servers);
        for server in servers().skip(1) {
            let exchange = self.exchange.clone();
            sim.host(server.as_str(), move || serve(exchange.clone()));
        }
        // One server's host does what is done at the services.
        for server in servers().take(1) {
            let (exchange, deeds) = (self.exchange.clone(), self.deeds.clone());
            sim.host(server.as_str(), move || {
                let (exchange, deeds) = (exchange.clone(), deeds.clone());
                async move {
                    tokio::spawn(deeds.work());
                    serve(exchange).await
                }
            });
        }
        self.processes.settle(sim, self);
        for pipeline in self.pipelines.iter().filter(|pipeline| pipeline.plan.link > Span::ZERO) {
            let link = pipeline.plan.link.duration();
            self.across(pipeline, |host, other| {
                sim.set_link_latency(host, other, link);
                sim.set_link_max_message_latency(host, other, link + STRAY);
            });
        }
    }

    /// Every pair of a host of this pipeline and one of elsewhere.
    pub fn across(&self, pipeline: &Pipeline, mut pair: impl FnMut(&str, &str)) {
        for host in pipeline.plan.hosts() {
            for other in self.hosts.iter().filter(|other| pipeline.plan.hosts().all(|own| own != *other)) {
                pair(host, other);
            }
        }
    }

    /// Sets the wall clock of all hosts.
    pub fn set_elapsed(&self, elapsed: Duration) {
        self.clock.store(elapsed.as_millis() as u64, Ordering::Relaxed);
    }

    /// A step of replication between the MySQL servers.
    pub fn replicate(&self) {
        self.pipelines.iter().for_each(|pipeline| pipeline.sources.replicate());
    }

    /// Does something at the services, on their clock, within the next step.
    pub fn at_services(&self, deed: impl FnOnce() + Send + 'static) {
        self.deeds.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(Box::new(deed));
        self.deeds.more.notify_one();
    }

    /// The process whose candidate comes first in the election of a pipeline.
    pub fn leader(&self, pipeline: &Pipeline) -> Option<String> {
        self.zookeeper.first_candidate(&pipeline.folder())
    }

    /// The pipeline of this name; without a name, or where no other stands, the first. Its place.
    pub fn place(&self, name: Option<&str>) -> usize {
        self.pipelines.iter().position(|pipeline| name == Some(pipeline.name())).unwrap_or(0)
    }
}
