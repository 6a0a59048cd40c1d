//! One deployer and one adapter of the production engine on models of the four services.
//!
//! Must not touch what flows: only starting, looking and stopping.

use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use towpath_engine::adapter::{Adapter, AdapterConfig, AdapterPorts, AdapterStatus, SinkConfig, SinkState};
use towpath_engine::cause::Stop;
use towpath_engine::deployer::{
    Deployer, DeployerConfig, DeployerHandle, EpochIndex, PartitionBy, Ports, Start, StateEpochs, TableFilter,
};
use towpath_engine::env::Env;
use towpath_engine::gtid::GtidSet;
use towpath_engine::metrics::Registry;
use towpath_engine::ports::index::SearchIndex;

use towpath_models::elasticsearch::{Elasticsearch, ElasticsearchConfig};
use towpath_models::kafka::{Kafka, KafkaConfig};
use towpath_models::mysql::{MySql, MySqlConfig};
use towpath_models::zookeeper::ZooKeeper;
use towpath_scenarios::oracle::documents::SINKS;
use towpath_scenarios::workload::{DATABASE, Table};

use super::cluster::Watched;
use crate::Sabotage;

/// The pipeline's name, its topic's too.
const NAME: &str = "orders";
const PARTITIONS: u32 = 4;
/// What Elasticsearch is told in the example's configuration too.
const REFRESH: Duration = Duration::from_millis(500);

/// A running pipeline.
pub struct Pipeline {
    /// The source.
    pub mysql: MySql,
    /// The cluster of all sinks, without sabotage.
    pub index: Arc<dyn SearchIndex>,
    /// Operations that the cluster has answered.
    pub written: Arc<AtomicU64>,
    deployer: DeployerHandle,
    adapter: watch::Receiver<AdapterStatus>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), Stop>>>,
}

impl Pipeline {
    /// Starts everything, with empty tables. Needs a tokio runtime.
    pub fn start(sabotage: Option<Sabotage>) -> Result<Self> {
        let env = Env::new(wall_ms, 1);
        let mysql = MySql::new(MySqlConfig::default(), env.clone());
        for table in Table::ALL {
            mysql.create_table(table.schema(DATABASE))?;
        }
        let kafka = Arc::new(Kafka::new(KafkaConfig::default()));
        kafka.create_topic(NAME, PARTITIONS);
        let zookeeper = ZooKeeper::new(Duration::from_secs(4));
        zookeeper.create_path("/towpath");
        let coordinator = Arc::new(zookeeper.factory("/towpath", NAME));
        let settings = ElasticsearchConfig { refresh_interval: Some(REFRESH), ..ElasticsearchConfig::default() };
        let index: Arc<dyn SearchIndex> = Arc::new(Elasticsearch::new(settings));
        let written = Arc::new(AtomicU64::new(0));
        let watched: Arc<dyn SearchIndex> = Arc::new(Watched::new(index.clone(), sabotage, written.clone()));

        let sinks = sinks();
        let ports = Ports {
            source: Arc::new(mysql.clone()),
            standby: Vec::new(),
            log: kafka.clone(),
            coordinator: coordinator.clone(),
            indexes: sinks
                .iter()
                .map(|sink| EpochIndex { cluster: watched.clone(), index: sink.concrete_index() })
                .collect(),
        };
        let (deployer, handle) = Deployer::new(deployer_config()?, ports, env.clone(), Registry::default());
        let mut config = AdapterConfig::new(NAME, NAME);
        config.tables = vec![Table::Orders.schema(DATABASE)];
        let indexes: BTreeMap<_, _> = sinks.iter().map(|sink| (sink.name.clone(), watched.clone())).collect();
        config.sinks = sinks;
        let ports = AdapterPorts { log: kafka, indexes, epochs: Arc::new(StateEpochs::new(coordinator)) };
        let adapter = Adapter::new(config, ports, env, Registry::default())?;
        let (stop, stopped) = watch::channel(false);
        let status = adapter.status();
        let tasks = vec![tokio::spawn(deployer.run()), tokio::spawn(adapter.run(stopped))];
        Ok(Self { mysql, index, written, deployer: handle, adapter: status, stop, tasks })
    }

    /// Fails with the cause if a part has stopped.
    pub fn check(&self) -> Result<()> {
        if let Some(stop) = &self.deployer.status().borrow().stop {
            bail!("the deployer has stopped: {stop}");
        }
        for (sink, status) in self.adapter.borrow().iter() {
            if let SinkState::Stopped(stop) = &status.state {
                bail!("sink {sink} has stopped: {stop}");
            }
        }
        Ok(())
    }

    /// Whether Kafka has acknowledged all that was committed, and no sink waits for an answer.
    pub fn is_idle(&self) -> bool {
        let acknowledged = self.deployer.status().borrow().acknowledged.parse::<GtidSet>();
        let all = self.mysql.executed().to_string().parse::<GtidSet>();
        let sinks = self.adapter.borrow();
        matches!((acknowledged, all), (Ok(acknowledged), Ok(all)) if acknowledged == all)
            && sinks.values().all(|sink| sink.waiting_commit_ms.is_none())
    }

    /// Drains both parts.
    pub async fn stop(self) -> Result<()> {
        self.deployer.drain();
        self.stop.send_replace(true);
        for task in self.tasks {
            match tokio::time::timeout(Duration::from_secs(30), task).await {
                Ok(ended) => ended??,
                Err(_) => bail!("a part did not drain within 30 s"),
            }
        }
        Ok(())
    }
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn deployer_config() -> Result<DeployerConfig> {
    let mut config = DeployerConfig::new(NAME, NAME, PARTITIONS, 1_001);
    config.tables = TableFilter::new([format!("{DATABASE}.*")])?;
    config.partition_by = PartitionBy::Columns(vec!["order_id".into()]);
    config.start = Some(Start::Oldest);
    Ok(config)
}

/// Each sink under its own name, fed by `order_main` on its own condition.
fn sinks() -> Vec<SinkConfig> {
    let table = format!("{DATABASE}.{}", Table::Orders.name());
    let sink = |rule: towpath_scenarios::oracle::documents::SinkRule| {
        let mut sink = SinkConfig::new(rule.name, rule.name, &table, NAME);
        sink.when = rule.when.map(str::to_owned);
        sink.create.refresh_interval = REFRESH;
        sink
    };
    SINKS.map(sink).into()
}
