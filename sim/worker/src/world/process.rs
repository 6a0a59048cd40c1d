//! The engine's processes: deployers and adapters, each on a host of its own, started again as a supervisor would.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use towpath_engine::adapter::config::{Deletes as SinkDeletes, Fencing as SinkFencing, OnDelete, SourceConfig};
use towpath_engine::adapter::{Adapter, AdapterConfig, AdapterPorts, AdapterStatus, SinkConfig};
use towpath_engine::deployer::fallback::DirectSinks;
use towpath_engine::deployer::{
    Deployer, DeployerConfig, DeployerStatus, EpochIndex, FallbackConfig, Fencing as LogFencing, Ports,
    Role as Election, Start, StateEpochs, TableFilter,
};
use towpath_engine::env::Env;
use towpath_engine::metrics::Registry;
use towpath_engine::ports::index::SearchIndex;
use towpath_engine::ports::source::BinlogSource;
use towpath_scenarios::oracle::documents::SinkRule;
use towpath_scenarios::scenario::{Archive, Deletes, Fencing, Topology};
use towpath_scenarios::workload::{ARCHIVE, DATABASE, Table};

use super::{ARCHIVED_IN, Pipeline, SESSION, World};
use crate::ports::{RemoteCoordinators, RemoteIndex, RemoteLog, RemoteSource};
use crate::wire::{Gate, Link, Network};

/// What can be seen of a process from outside.
#[derive(Clone, Default)]
pub struct Running {
    /// Pauses it.
    pub gate: Gate,
    /// Of a deployer.
    pub deployer: Option<watch::Receiver<DeployerStatus>>,
    /// Of an adapter: by pipeline.
    pub adapters: Vec<(String, watch::Receiver<AdapterStatus>)>,
    /// Tells it to end in order.
    pub stop: Option<Arc<dyn Fn() + Send + Sync>>,
    /// The cause for which it ended by itself.
    pub ended: Option<String>,
    /// What a deployer counts.
    pub registry: Registry,
}

/// All of them.
#[derive(Clone)]
pub struct Processes {
    topology: Topology,
    env: Env,
    seed: u64,
    running: Arc<Mutex<BTreeMap<String, Running>>>,
    /// The most that processes which run no more have held.
    peak: Arc<AtomicU64>,
}

impl Processes {
    pub(super) fn new(topology: Topology, env: Env, seed: u64) -> Self {
        Self { topology, env, seed, running: Arc::default(), peak: Arc::default() }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them, as it runs now.
    pub fn get(&self, name: &str) -> Option<Running> {
        self.running().get(name).cloned()
    }

    /// The causes for which processes have ended by themselves.
    pub fn ended(&self) -> Vec<String> {
        self.running().iter().filter_map(|(name, one)| Some(format!("{name}: {}", one.ended.as_ref()?))).collect()
    }

    /// Whether all deployers have ended for this cause, or the one that leads waits for it.
    pub fn deployers_stop_with(&self, cause: &str) -> bool {
        let running = self.running();
        let deployers = running.values().filter_map(|one| Some((one.deployer.as_ref()?.borrow(), one.ended.as_ref())));
        let (mut all, mut leader) = (true, false);
        for (status, ended) in deployers {
            all &= ended.is_some_and(|ended| ended.contains(cause));
            leader |= matches!(status.role, Election::TakingOver | Election::Leader)
                && status.causes().iter().any(|text| text.contains(cause));
        }
        all || leader
    }

    /// Whether one of these leads and waits for nothing.
    pub fn somebody_streams(&self, deployers: &[String]) -> bool {
        let running = self.running();
        let status = |name: &String| running.get(name).filter(|one| one.ended.is_none())?.deployer.as_ref();
        deployers.iter().filter_map(status).any(|status| {
            let status = status.borrow();
            status.role == Election::Leader && status.waiting.is_none()
        })
    }

    /// The most bytes that a deployer has held at once which were read and not delivered.
    pub fn in_flight_peak(&self) -> u64 {
        let now = self.running().values().map(in_flight_peak).max();
        now.unwrap_or_default().max(self.peak.load(Ordering::Relaxed))
    }

    /// What each says about itself, for a person.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, one) in self.running().iter() {
            if let Some(status) = &one.deployer {
                let status = status.borrow();
                lines.push(format!("{name}: {:?}, term {}, {}", status.role, status.term, status.causes().join("; ")));
            }
            for (pipeline, status) in &one.adapters {
                for (sink, status) in status.borrow().iter() {
                    let (state, partitions) = (&status.state, &status.partitions);
                    lines.push(format!("{name}: {pipeline} sink {sink} {state:?}, partitions {partitions:?}"));
                }
            }
        }
        lines
    }

    pub(super) fn settle(&self, sim: &mut turmoil::Sim<'_>, world: &World) {
        let deployers = world.pipelines.iter().flat_map(|pipeline| {
            let numbered = pipeline.plan.deployers.iter().zip(1..);
            numbered.map(move |(name, number)| (name.clone(), Role::Deploys(pipeline.clone(), number)))
        });
        let adapters = self.topology.adapters().map(|name| (name, Role::Adapts));
        for (name, role) in deployers.chain(adapters) {
            let start = Starter {
                processes: self.clone(),
                network: Network {
                    host: name.clone(),
                    exchange: world.exchange.clone(),
                    gate: Gate::default(),
                    points: world.points.clone(),
                },
                pipelines: Arc::clone(&world.pipelines),
                models: (world.kafka.clone(), world.zookeeper.clone(), world.elasticsearch.clone()),
            };
            sim.host(name.as_str(), move || {
                let (start, role) = (start.again(), role.clone());
                async move {
                    match role {
                        Role::Deploys(pipeline, number) => start.deploy(&pipeline, number).await,
                        Role::Adapts => start.adapt().await,
                    }
                    // A host that ends stops its clock: it waits for the end of the run instead.
                    std::future::pending::<turmoil::Result>().await
                }
            });
        }
    }
}

use towpath_models::elasticsearch::Elasticsearch;
use towpath_models::kafka::Kafka;
use towpath_models::zookeeper::ZooKeeper;

/// What a process does.
#[derive(Clone)]
enum Role {
    /// A deployer of a pipeline, with its number there.
    Deploys(Pipeline, u32),
    /// An adapter of all pipelines.
    Adapts,
}

/// What one process is started from, again and again.
#[derive(Clone)]
struct Starter {
    processes: Processes,
    network: Network,
    pipelines: Arc<Vec<Pipeline>>,
    models: (Kafka, ZooKeeper, Elasticsearch),
}

impl Starter {
    /// For another start: a process that comes up stands still no more.
    fn again(&self) -> Self {
        let network = Network { gate: Gate::default(), ..self.network.clone() };
        Self { network, ..self.clone() }
    }

    fn name(&self) -> &str {
        &self.network.host
    }

    fn show(&self, running: Running) {
        let before = self.processes.running().insert(self.name().to_owned(), running);
        self.processes.peak.fetch_max(before.as_ref().map_or(0, in_flight_peak), Ordering::Relaxed);
    }

    fn coordinators(&self, pipeline: &Pipeline) -> RemoteCoordinators {
        let zookeeper = self.models.1.clone();
        let factory = zookeeper.factory("/towpath", pipeline.name());
        RemoteCoordinators::new(Link::new(&self.network, "zookeeper"), zookeeper, factory, SESSION)
    }

    fn index(&self) -> Arc<dyn SearchIndex> {
        Arc::new(RemoteIndex::new(Link::new(&self.network, "elasticsearch"), self.models.2.clone()))
    }

    fn log(&self) -> RemoteLog {
        RemoteLog::new(Link::new(&self.network, "kafka"), self.models.0.clone())
    }

    /// Each process draws its own waits.
    fn env(&self) -> Env {
        let wall = self.processes.env.clone();
        let own = self
            .name()
            .bytes()
            .fold(self.processes.seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Env::new(move || wall.wall_ms(), own)
    }

    /// The sinks of a pipeline. Rows move from one rank to the next: what goes from the first stays in one sink.
    fn sinks(&self, pipeline: &Pipeline) -> Vec<SinkConfig> {
        let topology = &self.processes.topology;
        let deletes = match topology.deletes {
            Deletes::Soft => SinkDeletes::Soft,
            Deletes::Hard => SinkDeletes::Hard,
        };
        let rank = pipeline.plan.rank;
        let moves = |sink: &SinkRule| topology.archive != Archive::None && sink.name == ARCHIVED_IN;
        let sink = |rule: &'static SinkRule| {
            let mut sink = SinkConfig::new(rule.name, rule.name, "", pipeline.name());
            sink.when = rule.when.map(str::to_owned);
            sink.deletes = deletes;
            sink.sources.clear();
            let of = |database: &str| SourceConfig::new(&format!("{database}.{}", Table::Orders.name()));
            if pipeline.plan.has_orders {
                let on_delete = if moves(rule) { OnDelete::Keep } else { OnDelete::Delete };
                sink.sources.push(SourceConfig { rank, on_delete, ..of(DATABASE) });
            }
            if pipeline.plan.has_archive && moves(rule) {
                sink.sources.push(SourceConfig { rank: 1, ..of(ARCHIVE) });
            }
            sink
        };
        pipeline.sinks().map(sink).collect()
    }

    fn adapter_config(&self, pipeline: &Pipeline) -> AdapterConfig {
        let mut config = AdapterConfig::new(pipeline.name(), pipeline.name());
        config.tables = Vec::new();
        if pipeline.plan.has_orders {
            config.tables.push(Table::Orders.schema(DATABASE));
        }
        if pipeline.plan.has_archive {
            config.tables.push(Table::Orders.schema(ARCHIVE));
        }
        config.sinks = self.sinks(pipeline);
        config.fencing = match self.processes.topology.fencing {
            Fencing::Transactions => SinkFencing::Transactions,
            Fencing::Versions => SinkFencing::Versions,
        };
        config
    }

    /// The cluster of each sink: one for all.
    fn indexes(&self, pipeline: &Pipeline) -> BTreeMap<String, Arc<dyn SearchIndex>> {
        let index = self.index();
        pipeline.sinks().map(|sink| (sink.name.to_owned(), Arc::clone(&index))).collect()
    }

    async fn deploy(&self, pipeline: &Pipeline, number: u32) {
        let topology = &self.processes.topology;
        let name = pipeline.name();
        let mut config = DeployerConfig::new(name, name, topology.partitions, 100 + number);
        config.instance = self.name().to_owned();
        config.start = Some(Start::Oldest);
        config.session_timeout = SESSION;
        config.failover_after = Duration::from_secs(8);
        config.failover_catchup = Duration::from_secs(15);
        config.failover_min_interval = Duration::from_secs(10);
        config.max_record_bytes = topology.max_record_bytes as usize;
        config.backoff = (Duration::from_millis(100), Duration::from_secs(3));
        config.fencing = match topology.fencing {
            Fencing::Transactions => LogFencing::Transactions,
            Fencing::Versions => LogFencing::Versions,
        };
        config.tables = match TableFilter::new([format!("{DATABASE}.*"), format!("{ARCHIVE}.*")]) {
            Ok(tables) => tables,
            Err(error) => return self.show(Running { ended: Some(format!("{error:?}")), ..Running::default() }),
        };
        if let Some(after) = topology.fallback {
            config.fallback = FallbackConfig { automatic: true, after: after.duration(), ..FallbackConfig::default() };
        }
        let index = self.index();
        let servers = pipeline.sources.all().iter().zip(&pipeline.plan.servers);
        let mut sources = servers.map(|(server, host)| {
            Arc::new(RemoteSource::new(Link::new(&self.network, host), server.clone())) as Arc<dyn BinlogSource>
        });
        let Some(source) = sources.next() else { return };
        let ports = Ports {
            source,
            standby: sources.collect(),
            log: Arc::new(self.log()),
            coordinator: Arc::new(self.coordinators(pipeline)),
            indexes: self
                .sinks(pipeline)
                .iter()
                .map(|sink| EpochIndex { cluster: Arc::clone(&index), index: sink.concrete_index() })
                .collect(),
        };
        let registry = Registry::default();
        let (mut deployer, handle) = Deployer::new(config, ports, self.env(), registry.clone());
        if topology.fallback.is_some() {
            let (config, indexes) = (self.adapter_config(pipeline), self.indexes(pipeline));
            deployer = deployer.with_direct(DirectSinks { config, indexes });
        }
        let (status, gate) = (handle.status(), self.network.gate.clone());
        let stop = Some(Arc::new(move || handle.drain()) as Arc<dyn Fn() + Send + Sync>);
        let running = Running { gate, deployer: Some(status), stop, registry, ..Running::default() };
        self.show(running.clone());
        let result = deployer.run().await;
        self.show(Running { ended: Some(cause(result)), ..running });
    }

    /// One process for all pipelines: as `towpath run` with a configuration that has several.
    async fn adapt(&self) {
        let (stop, stopped) = watch::channel(false);
        let mut running = Running { gate: self.network.gate.clone(), ..Running::default() };
        // Nobody listens: it has ended.
        running.stop = Some(Arc::new(move || _ = stop.send(true)));
        let mut adapters = Vec::new();
        for pipeline in self.pipelines.iter() {
            let (config, indexes) = (self.adapter_config(pipeline), self.indexes(pipeline));
            let epochs = Arc::new(StateEpochs::new(Arc::new(self.coordinators(pipeline))));
            let ports = AdapterPorts { log: Arc::new(self.log()), indexes, epochs };
            match Adapter::new(config, ports, self.env(), Registry::default()) {
                Ok(adapter) => {
                    running.adapters.push((pipeline.name().to_owned(), adapter.status()));
                    adapters.push(adapter.run(stopped.clone()));
                }
                Err(stop) => return self.show(Running { ended: Some(stop.to_string()), ..running }),
            }
        }
        self.show(running.clone());
        let ended = futures_util::future::join_all(adapters).await.into_iter().map(cause).collect::<Vec<_>>();
        self.show(Running { ended: Some(ended.join("; ")), ..running });
    }
}

fn in_flight_peak(running: &Running) -> u64 {
    let families = running.registry.snapshot();
    let series = families.get("towpath_in_flight_peak_bytes").into_iter().flat_map(|family| family.series.values());
    series.map(|metric| metric.get()).max().unwrap_or_default().try_into().unwrap_or_default()
}

fn cause(result: Result<(), towpath_engine::cause::Stop>) -> String {
    result.err().map_or_else(|| "drained".to_owned(), |stop| stop.to_string())
}
