//! What the services of a pipeline say: asked once each, with a deadline, all at the same time.

use std::sync::Arc;
use std::time::Duration;

use towpath_engine::cause::{Cause, Stop};
use towpath_engine::ports::coordinator::{CoordinatorError, CoordinatorFactory};
use towpath_engine::ports::index::{IndexError, SearchIndex};
use towpath_engine::ports::log::{EventLog, LogError};
use towpath_engine::ports::source::{BinlogSource, SchemaSnapshot, ServerIdentity, SourceError};
use towpath_engine::schema::TableSchema;
use towpath_engine::state::{self, PipelineState};

use super::report::Part;
use super::{sinks, source, standby};
use crate::config::Pipeline;
use crate::services::Services;

/// For how long each service is waited for.
const WITHIN: Duration = Duration::from_secs(15);

/// Adds to the plan's parts (source, kafka, zookeeper, then the sinks in order) what the services say.
pub async fn ask(pipeline: &Pipeline, services: &Services, parts: &mut [Part]) {
    let mut source_part = Part::new("");
    let mut kafka_part = Part::new("");
    let mut zookeeper_part = Part::new("");
    let coordinator = async { zookeeper(pipeline, services.coordinator.as_ref(), &mut zookeeper_part).await };
    let asked = async {
        tokio::join!(
            tables_of(pipeline, services.source.as_ref(), &mut source_part),
            kafka(pipeline, services.log.as_ref(), &mut kafka_part),
            coordinator,
            standbys(services),
        )
    };
    let (found, (), state, standbys) = asked.await;
    if let Some((server, _)) = &found {
        source::start(pipeline, (server, &standbys), state.as_ref(), &mut source_part);
        for (address, standby) in pipeline.source.standby.iter().zip(&standbys) {
            standby::judge(&pipeline.deployer, &address.to_string(), standby, server, &mut source_part);
        }
    }
    for (part, asked) in parts.iter_mut().zip([source_part, kafka_part, zookeeper_part]) {
        part.findings.extend(asked.findings);
    }
    let tables: Option<Vec<TableSchema>> = found.and_then(|(_, snapshot)| snapshot).map(|snapshot| snapshot.tables);
    for (sink, part) in pipeline.sinks.iter().zip(parts.iter_mut().skip(3)) {
        if let Some(tables) = &tables {
            sinks::columns(sink, tables, part);
        }
        if let Some(index) = services.indexes.get(&sink.config.name) {
            elasticsearch(&sink.config.concrete_index(), index.as_ref(), part).await;
        }
    }
}

/// What the source is, its settings, and the captured tables.
async fn tables_of(
    pipeline: &Pipeline,
    server: &dyn BinlogSource,
    part: &mut Part,
) -> Option<(ServerIdentity, Option<SchemaSnapshot>)> {
    let identity = match within(server.identify()).await {
        Some(Ok(identity)) => identity,
        Some(Err(error)) => {
            part.problem(of_source(&error), source::account(&error, pipeline));
            return None;
        }
        None => {
            part.problem(Stop::new(Cause::SourceUnavailable, silent("the source")), Vec::new());
            return None;
        }
    };
    source::identity(pipeline, &identity, part);
    let filter = &pipeline.deployer.tables;
    let accept = |database: &str, table: &str| filter.accepts(database, table);
    let snapshot = match within(server.table_schemas(&accept)).await {
        Some(Ok(snapshot)) => Some(snapshot),
        Some(Err(error)) => {
            part.problem(of_source(&error), Vec::new());
            None
        }
        None => {
            part.problem(Stop::new(Cause::SourceUnavailable, silent("the source")), Vec::new());
            None
        }
    };
    if let Some(snapshot) = &snapshot {
        source::tables(pipeline, &snapshot.tables, part);
    }
    Some((identity, snapshot))
}

/// What each standby says of itself.
async fn standbys(services: &Services) -> Vec<Result<ServerIdentity, SourceError>> {
    let ask = |server: Arc<dyn BinlogSource>| async move {
        let silent = || Err(SourceError::Unavailable(silent("it")));
        within(server.identify()).await.unwrap_or_else(silent)
    };
    futures_util::future::join_all(services.standby.iter().cloned().map(ask)).await
}

async fn within<T>(asked: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(WITHIN, asked).await.ok()
}

fn silent(who: &str) -> String {
    format!("{who} does not answer within {} s", WITHIN.as_secs())
}

fn of_source(error: &SourceError) -> Stop {
    let cause = match error {
        SourceError::Denied(_) => Cause::SourceDenied,
        _ => Cause::SourceUnavailable,
    };
    Stop::new(cause, error.to_string())
}

async fn kafka(pipeline: &Pipeline, log: &dyn EventLog, part: &mut Part) {
    let (topic, wanted) = (&pipeline.deployer.topic, pipeline.deployer.partitions);
    let found = match within(log.topic(topic)).await {
        Some(found) => found,
        None => return part.problem(Stop::new(Cause::LogUnavailable, silent("Kafka")), Vec::new()),
    };
    match found {
        Ok(info) if info.partitions() == wanted => {
            let records: i64 = info.watermarks.iter().map(|(low, high)| high - low).sum();
            part.info(format!("topic {topic} exists: {wanted} partitions, about {records} records"));
        }
        Ok(info) if info.partitions() < wanted => {
            let detail = format!("topic {topic} has {} partitions, configured are {wanted}", info.partitions());
            let servers = &pipeline.kafka.brokers;
            let paste =
                format!("kafka-topics --alter --topic {topic} --partitions {wanted} --bootstrap-server {servers}");
            part.problem(Stop::new(Cause::TopicUnfit, detail), vec![paste]);
        }
        Ok(info) => {
            let has = info.partitions();
            let detail = format!("topic {topic} has {has} partitions, of which only the first {wanted} are used");
            part.warning(detail, vec![format!("partitions = {has}")]);
        }
        Err(LogError::Topic(why)) => {
            part.info(format!("topic {topic} will be created with {wanted} partitions ({why})"))
        }
        Err(error) => part.problem(Stop::new(Cause::LogUnavailable, error.to_string()), Vec::new()),
    }
}

async fn zookeeper(pipeline: &Pipeline, factory: &dyn CoordinatorFactory, part: &mut Part) -> Option<PipelineState> {
    let unavailable = |error: &CoordinatorError| Stop::new(Cause::CoordinatorUnavailable, error.to_string());
    let coordinator = match within(factory.connect()).await {
        Some(Ok(coordinator)) => coordinator,
        Some(Err(error)) => {
            let absent = matches!(error, CoordinatorError::NoPath(_));
            let paste = if absent { vec!["create = true".to_owned()] } else { Vec::new() };
            part.problem(unavailable(&error), paste);
            return None;
        }
        None => {
            part.problem(Stop::new(Cause::CoordinatorUnavailable, silent("ZooKeeper")), Vec::new());
            return None;
        }
    };
    match coordinator.candidates().await {
        Ok(candidates) => part.info(format!("deployers running now: {}", candidates.len())),
        Err(error) => part.problem(unavailable(&error), Vec::new()),
    }
    match coordinator.read(state::NODE).await {
        Ok(None) => {
            part.info("there is no state yet: the next start is the first");
            None
        }
        Ok(Some((bytes, _))) => match state::decode(&bytes) {
            Ok(state) => {
                describe(pipeline, &state, part);
                Some(state)
            }
            Err(stop) => {
                part.problem(
                    stop,
                    vec![format!("towpath position set --previous --pipeline {} --config …", pipeline.name)],
                );
                None
            }
        },
        Err(error) => {
            part.problem(unavailable(&error), Vec::new());
            None
        }
    }
}

fn describe(pipeline: &Pipeline, state: &PipelineState, part: &mut Part) {
    let place = state.checkpoint.file.as_ref().map(|file| format!(" at {file}")).unwrap_or_default();
    part.info(format!("the state has epoch {}, offset {}{place}", state.epoch.number, state.checkpoint.offset));
    if state.partitions != pipeline.deployer.partitions && state.partitions != 0 {
        let detail = format!(
            "the log was written with {} partitions, configured are {}",
            state.partitions, pipeline.deployer.partitions
        );
        part.problem(Stop::new(Cause::PartitionsChanged, detail), Vec::new());
    }
    if !state.pending.is_empty() {
        part.info(format!("{} repairs are pending since an epoch rose: a deployer finishes them", state.pending.len()));
    }
}

async fn elasticsearch(index: &str, cluster: &dyn SearchIndex, part: &mut Part) {
    let found = match within(cluster.meta(index)).await {
        Some(found) => found,
        None => return part.problem(Stop::new(Cause::SinkUnavailable, silent("Elasticsearch")), Vec::new()),
    };
    match found {
        Ok(None) => part.info(format!("index {index} and its alias will be created")),
        Ok(Some(_)) => part.info(format!("index {index} exists and is used as it is")),
        Err(error) => {
            let cause = match error {
                IndexError::Unavailable(_) | IndexError::NotElasticsearch(_) => Cause::SinkUnavailable,
                _ => Cause::SinkBlocked,
            };
            part.problem(Stop::new(cause, error.to_string()), Vec::new());
        }
    }
}
