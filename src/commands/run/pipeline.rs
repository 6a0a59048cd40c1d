//! One pipeline in this process: its deployer, its adapter, their tasks and their end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use towpath_engine::adapter::{Adapter, AdapterPorts};
use towpath_engine::cause::Stop;
use towpath_engine::deployer::fallback::DirectSinks;
use towpath_engine::deployer::{Deployer, DeployerHandle, Ports, settings};
use towpath_engine::env::Env;
use towpath_engine::metrics::Registry;
use towpath_engine::ports::source::SourceError;
use towpath_engine::schema::TableSchema;
use tracing::Instrument as _;

use super::watch as tell;
use crate::admin::board::{Board, wall_ms};
use crate::cli::{Role, RunArgs};
use crate::config::Pipeline;
use crate::services::{Services, StateEpochs, instance};

/// Which part of which pipeline a task is.
#[derive(Debug, Clone)]
pub struct Part {
    /// The pipeline.
    pub pipeline: String,
    /// `deployer` or `adapter`.
    pub name: &'static str,
}

/// The tasks of all parts, each with how it ended.
pub type Tasks = JoinSet<(Part, Result<(), Stop>)>;

/// A pipeline that was started.
pub struct Running {
    deployer: Option<DeployerHandle>,
    adapter: Option<watch::Sender<bool>>,
}

/// For how long the tables' definitions are waited for at the start.
const DEFINITIONS_WITHIN: Duration = Duration::from_secs(5);

/// The bytes that one part of one pipeline may hold. With both parts in a process each has half; of a part's share a
/// half is kept back for the client library's own queue, which holds the same records once more.
pub fn share(memory: u64, pipelines: usize, role: Role) -> usize {
    let parts = if role == Role::All { 2 } else { 1 };
    let share = memory / (pipelines.max(1) as u64 * parts * 2);
    usize::try_from(share).unwrap_or(usize::MAX).max(MIN_SHARE)
}

/// Below this the engine refuses to run.
const MIN_SHARE: usize = 1 << 20;

impl Running {
    /// Starts the parts that `args.role` names. An error is one of configuration: nothing of this pipeline runs then.
    pub async fn start(
        pipeline: &Pipeline,
        args: &RunArgs,
        share: usize,
        registry: &Registry,
        board: &Board,
        tasks: &mut Tasks,
    ) -> Result<Self, Stop> {
        let services = Services::new(pipeline)?;
        let env = Env::new(wall_ms, u64::from(std::process::id()) ^ wall_ms());
        let adapter = if args.role == Role::Deployer || pipeline.sinks.is_empty() {
            None
        } else {
            let tables = definitions(pipeline, &services).await?;
            let ports = AdapterPorts {
                log: Arc::clone(&services.log),
                indexes: services.indexes.clone(),
                epochs: Arc::new(StateEpochs::new(Arc::clone(&services.coordinator))),
            };
            Some(Adapter::new(pipeline.adapter(tables, share), ports, env.clone(), registry.clone())?)
        };
        let deployer = (args.role != Role::Adapter).then(|| {
            let mut config = pipeline.deployer.clone();
            config.instance = instance();
            config.budget_bytes = share;
            config.unrepaired = args.unrepaired;
            let ports = Ports {
                source: Arc::clone(&services.source),
                standby: services.standby.clone(),
                log: Arc::clone(&services.log),
                coordinator: Arc::clone(&services.coordinator),
                indexes: services.epoch_indexes(pipeline),
            };
            let (deployer, handle) = Deployer::new(config, ports, env.clone(), registry.clone());
            if pipeline.sinks.is_empty() {
                return (deployer, handle);
            }
            // Definitions come with the records.
            let sinks = DirectSinks { config: pipeline.adapter(Vec::new(), share), indexes: services.indexes.clone() };
            (deployer.with_direct(sinks), handle)
        });
        let deployer_status = deployer.as_ref().map(|(_, handle)| handle.status());
        let adapter_status = adapter.as_ref().map(Adapter::status);
        board.add(&pipeline.name, deployer_status, adapter_status);
        // The engine's own lines are told apart by it.
        let span = tracing::error_span!("pipeline", name = pipeline.name);
        let part = |name| Part { pipeline: pipeline.name.clone(), name };
        let deployer = deployer.map(|(deployer, handle)| {
            tokio::spawn(tell::deployer(pipeline.name.clone(), handle.status()));
            let part = part("deployer");
            tasks.spawn(async move { (part, deployer.run().await) }.instrument(span.clone()));
            handle
        });
        let adapter = adapter.map(|adapter| {
            tokio::spawn(tell::adapter(pipeline.name.clone(), adapter.status()));
            let (stop, stopped) = watch::channel(false);
            let part = part("adapter");
            tasks.spawn(async move { (part, adapter.run(stopped).await) }.instrument(span.clone()));
            stop
        });
        Ok(Self { deployer, adapter })
    }

    /// Asks both parts for an orderly end.
    pub fn drain(&self) {
        if let Some(deployer) = &self.deployer {
            deployer.drain();
        }
        if let Some(adapter) = &self.adapter {
            adapter.send_replace(true);
        }
    }
}

/// The captured tables as they are now, to check conditions before anything runs. An adapter may run where the source
/// cannot be reached: then conditions are checked at the first record of each table. A source that does not log whole
/// rows is refused here, before documents are missed.
async fn definitions(pipeline: &Pipeline, services: &Services) -> Result<Vec<TableSchema>, Stop> {
    let tables = &pipeline.deployer.tables;
    let accept = |database: &str, table: &str| tables.accepts(database, table);
    let asked = tokio::time::timeout(DEFINITIONS_WITHIN, async {
        let server = services.source.identify().await?;
        Ok::<_, SourceError>((server, services.source.table_schemas(&accept).await?))
    });
    let why = match asked.await {
        Ok(Ok((server, found))) => {
            return match settings::partial_rows(&server) {
                Some(stop) => Err(stop),
                None => Ok(found.tables),
            };
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {DEFINITIONS_WITHIN:?}"),
    };
    let pipeline = &pipeline.name;
    tracing::warn!(
        pipeline,
        why,
        "the tables' definitions cannot be read; conditions are checked at the first records"
    );
    Ok(Vec::new())
}
