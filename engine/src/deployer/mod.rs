//! The deployer: reads the binlog, produces to the log, keeps the position, and is one of several candidates to do so.
//!
//! Cores without I/O, with a thin shell around the ports. Must not know a client library.

mod candidacy;
pub mod config;
mod connect;
pub mod count;
mod course;
pub mod election;
mod encode;
pub mod epoch;
mod epochs;
pub mod fallback;
pub mod follow;
mod group;
pub mod history;
mod leader;
pub mod meta;
mod meters;
mod outbox;
mod readback;
mod repair;
pub mod replay;
pub mod resolve;
mod rise;
mod schema_history;
mod schemas;
pub mod settings;
pub mod statement;
pub mod status;
pub mod store;
mod stream;
pub mod tail;
mod takeover;
mod verify;
pub mod window;
mod xa;

use std::sync::Arc;
use tokio::sync::watch;

use crate::binlog::unpack::Unpacking;
use crate::cause::Stop;
use crate::env::Env;
use crate::metrics::Registry;
use crate::ports::coordinator::CoordinatorFactory;
use crate::ports::index::SearchIndex;
use crate::ports::log::EventLog;
use crate::ports::source::BinlogSource;

use course::Course;
use fallback::DirectSinks;
use meters::Meters;

pub use config::{DeployerConfig, FallbackConfig, Fencing, GeometryText, PartitionBy, RecordMode, Start, TableFilter};
pub use epochs::StateEpochs;
pub use status::{DeployerStatus, Role, StatusCell, Waiting};

/// An index that holds documents of this pipeline: the highest epoch is kept in its mapping's `_meta` (protocol §2).
#[derive(Clone)]
pub struct EpochIndex {
    /// The cluster.
    pub cluster: Arc<dyn SearchIndex>,
    /// The concrete index (`remind-v1`).
    pub index: String,
}

/// The services a deployer works with.
#[derive(Clone)]
pub struct Ports {
    /// MySQL or MariaDB.
    pub source: Arc<dyn BinlogSource>,
    /// Servers to go over to when `source` does not answer, in order; may be empty.
    pub standby: Vec<Arc<dyn BinlogSource>>,
    /// Kafka.
    pub log: Arc<dyn EventLog>,
    /// ZooKeeper.
    pub coordinator: Arc<dyn CoordinatorFactory>,
    /// Where documents of this pipeline lie; may be empty if the adapters' indexes are not known here.
    pub indexes: Vec<EpochIndex>,
}

/// One deployer. Made by [`Deployer::new`], driven by [`Deployer::run`].
pub struct Deployer {
    config: DeployerConfig,
    ports: Ports,
    env: Env,
    registry: Registry,
    status: StatusCell,
    drain: watch::Receiver<bool>,
    direct: Option<Arc<DirectSinks>>,
}

/// The outside of a running deployer. Cheap to clone.
#[derive(Clone)]
pub struct DeployerHandle {
    status: watch::Receiver<DeployerStatus>,
    drain: Arc<watch::Sender<bool>>,
}

impl DeployerHandle {
    /// The status, as it changes.
    pub fn status(&self) -> watch::Receiver<DeployerStatus> {
        self.status.clone()
    }

    /// Asks for an orderly end: stop reading, flush, commit, last checkpoint, give the lead away. [`Deployer::run`]
    /// then
    /// returns `Ok`.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }
}

impl Deployer {
    /// A deployer and its handle. Nothing runs before [`Deployer::run`].
    pub fn new(config: DeployerConfig, ports: Ports, env: Env, registry: Registry) -> (Self, DeployerHandle) {
        let (status, receiver) = StatusCell::new();
        let (sender, drain) = watch::channel(false);
        let handle = DeployerHandle { status: receiver, drain: Arc::new(sender) };
        (Self { config, ports, env, registry, status, drain, direct: None }, handle)
    }

    /// Lets it write documents directly while Kafka is down, as its configuration or a person asks for.
    pub fn with_direct(mut self, sinks: DirectSinks) -> Self {
        self.direct = Some(Arc::new(sinks));
        self
    }

    /// Runs until drained (`Ok`) or until a named cause stops the pipeline. Services that are unavailable are retried
    /// for
    /// ever; a lost lead is joined again.
    pub async fn run(self) -> Result<(), Stop> {
        let status = self.status.clone();
        let result = match self.config.validate() {
            Err(stop) => Err(stop),
            Ok(()) => candidacy::run(&self.course()).await,
        };
        if let Err(stop) = &result {
            tracing::debug!(cause = stop.cause.name(), "stopped: {stop}");
        }
        status.update(|status| {
            status.role = Role::Ended;
            status.waiting = None;
            status.stop = result.as_ref().err().cloned();
        });
        result
    }

    /// What its parts share, with meters registered.
    fn course(self) -> Course {
        let Self { config, ports, env, registry, status, drain, direct } = self;
        // Compressed transactions arrive as the events they hold: all offsets count those.
        let unpacking = |source| Arc::new(Unpacking::new(source)) as Arc<dyn BinlogSource>;
        let standby = ports.standby.into_iter().map(unpacking).collect();
        let ports = Ports { source: unpacking(ports.source), standby, ..ports };
        let meters = Meters::new(&registry, &config.pipeline);
        Course { config: Arc::new(config), ports, direct, env, status, meters, drain }
    }
}
