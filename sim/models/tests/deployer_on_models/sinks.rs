//! A world with a sink: documents of every row, adapters that write them, deployers that may write them directly.
//!
//! Must not judge the log: that is the harness'.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use towpath_engine::adapter::{Adapter, AdapterConfig, AdapterPorts, SinkConfig};
use towpath_engine::cause::Stop;
use towpath_engine::deployer::fallback::{DirectSinks, NODE, Order, Phase, Wish};
use towpath_engine::deployer::{Deployer, FallbackConfig, Fencing, StateEpochs};
use towpath_engine::metrics::Registry;
use towpath_engine::ports::index::SearchIndex;
use towpath_models::elasticsearch::{Elasticsearch, ElasticsearchConfig};
use towpath_models::mysql::MySql;

use super::harness::*;

/// How far a document may lag its row while the fallback path is at work.
pub const FRESH: Duration = Duration::from_secs(5);

/// A world with a sink: documents of every row, and adapters to write them.
pub struct Sinks {
    pub world: World,
    pub es: Elasticsearch,
    /// Its deployers are semi-synchronous replicas.
    pub semi_sync: bool,
}

/// An adapter that runs until it is dropped or stopped.
pub struct Indexing {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), Stop>>,
}

impl Indexing {
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap().unwrap();
    }
}

impl Sinks {
    pub fn new() -> Self {
        Self { world: World::new(), es: Elasticsearch::new(ElasticsearchConfig::default()), semi_sync: false }
    }

    pub fn adapter_config(fencing: Fencing) -> AdapterConfig {
        let mut config = AdapterConfig::new("orders", "orders");
        config.fencing = match fencing {
            Fencing::Transactions => towpath_engine::adapter::config::Fencing::Transactions,
            Fencing::Versions => towpath_engine::adapter::config::Fencing::Versions,
        };
        config.sinks.push(SinkConfig::new("hot", "hot", "orders.order_main", "orders"));
        config
    }

    pub fn indexes(&self) -> BTreeMap<String, Arc<dyn SearchIndex>> {
        BTreeMap::from([("hot".to_owned(), Arc::new(self.es.clone()) as Arc<dyn SearchIndex>)])
    }

    /// Starts an adapter, as a process beside the deployers.
    pub fn index(&self, fencing: Fencing) -> Indexing {
        let coordinator = Arc::new(self.world.zookeeper.factory("/towpath", "orders"));
        let ports = AdapterPorts {
            log: Arc::new(self.world.kafka.clone()),
            indexes: self.indexes(),
            epochs: Arc::new(StateEpochs::new(coordinator)),
        };
        let config = Self::adapter_config(fencing);
        let adapter = Adapter::new(config, ports, self.world.env.clone(), Registry::default()).unwrap();
        let (stop, stopped) = watch::channel(false);
        Indexing { stop, task: tokio::spawn(adapter.run(stopped)) }
    }

    /// Starts a deployer that may write documents directly.
    pub fn start(&self, instance: u32, fencing: Fencing, automatic: bool) -> Running {
        self.start_with(instance, fencing, FallbackConfig { automatic, ..FallbackConfig::default() })
    }

    /// The same, with all that can be told about it.
    pub fn start_with(&self, instance: u32, fencing: Fencing, fallback: FallbackConfig) -> Running {
        let mut config = self.world.config(instance, fencing);
        config.fallback = fallback;
        config.semi_sync = self.semi_sync;
        config.failover_after = Duration::from_secs(5);
        config.failover_min_interval = Duration::from_secs(1);
        let registry = Registry::default();
        let ports = self.world.ports();
        let (deployer, handle) = Deployer::new(config, ports, self.world.env.clone(), registry.clone());
        let sinks = DirectSinks { config: Self::adapter_config(fencing), indexes: self.indexes() };
        Running { task: tokio::spawn(deployer.with_direct(sinks).run()), handle, registry }
    }

    /// What somebody asks for.
    pub fn ask(&self, wish: Wish) {
        let order = Order { wish, reason: "a test".into(), at_ms: 1 };
        self.world.zookeeper.set_node("/towpath/orders/fallback", &serde_json::to_vec(&order).unwrap());
        assert_eq!(NODE, "fallback");
    }

    /// (id, number) of every row.
    pub fn rows(&self) -> BTreeMap<i64, i64> {
        self.world.mysql.rows("orders", "order_main").iter().map(|row| ints(row)).collect()
    }

    /// (id, number) of every document, tombstones left out.
    pub fn documents(&self) -> BTreeMap<i64, i64> {
        let number = |document: &Json| Some((document["id"].as_i64()?, document["number"].as_i64()?));
        let parsed = self.es.documents("hot-v1");
        parsed.iter().filter_map(|(.., source)| number(&serde_json::from_slice(source).unwrap())).collect()
    }

    /// Waits until every document equals its row.
    pub async fn until_fresh(&self, within: Duration, what: &str) {
        let started = Instant::now();
        while self.documents() != self.rows() {
            assert!(
                started.elapsed() < within,
                "{what}: documents {:?} differ from rows {:?}; state {:?}",
                self.documents(),
                self.rows(),
                self.world.state()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Changes rows one after another: each document must follow.
    pub async fn change_and_watch(&mut self, ids: std::ops::Range<i64>, within: Duration) {
        for id in ids {
            self.world.insert(id);
            self.world.update(id % 5);
            if id % 4 == 0 {
                self.world.delete(id);
            }
            self.until_fresh(within, "written directly").await;
        }
    }

    pub fn journals(&self) -> Vec<String> {
        self.es.indexes().into_iter().filter(|name| name.starts_with("towpath-journal")).collect()
    }

    /// After an outage: all is in the log and in the documents, and no run is left in the state.
    pub async fn until_normal(&mut self, running: &Running, fencing: Fencing) {
        running.until("it is over", |status| status.fallback == Phase::Normal).await;
        self.world.until_settled().await;
        self.until_fresh(Duration::from_secs(120), "after the outage").await;
        self.world.judge(fencing);
        // One more change moves the checkpoint past all that was written directly.
        self.world.update(1);
        self.world.until("no run is left", |world| world.state().unwrap().fallback.is_empty()).await;
        self.until_fresh(Duration::from_secs(60), "at the end").await;
    }

    /// [`Sinks::until_normal`], then everything ends in order.
    pub async fn end_normal(&mut self, running: Running, indexing: Indexing, fencing: Fencing) {
        self.until_normal(&running, fencing).await;
        running.drain().await;
        indexing.stop().await;
    }
}

fn ints(row: &[towpath_models::mysql::Value]) -> (i64, i64) {
    match (&row[0], &row[1]) {
        (towpath_models::mysql::Value::Int(id), towpath_models::mysql::Value::Int(number)) => (*id, *number),
        other => panic!("not a row of this test: {other:?}"),
    }
}

/// Ten rows are carried and indexed; then Kafka goes, and documents are written directly.
pub async fn in_an_outage(fencing: Fencing, replicas: u32) -> (Sinks, Vec<MySql>, Running, Indexing) {
    let mut sinks = Sinks::new();
    let replicas = (0..replicas).map(|number| sinks.world.add_replica(number + 2)).collect();
    let running = sinks.start(1, fencing, true);
    let indexing = sinks.index(fencing);
    for id in 0..10 {
        sinks.world.insert(id);
        sleep(Duration::from_millis(500)).await;
    }
    sinks.world.until_checkpointed().await;
    sinks.until_fresh(Duration::from_secs(60), "before the outage").await;
    sinks.world.kafka.stop();
    sinks.world.update(1);
    running.until("it writes directly", |status| status.fallback == Phase::Direct).await;
    sinks.until_fresh(FRESH * 4, "the first direct writes").await;
    (sinks, replicas, running, indexing)
}
