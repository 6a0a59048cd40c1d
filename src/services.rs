//! From configuration to ports: the connectors of a pipeline. Connects to nothing by itself.
//!
//! The only place of the binary that knows `towpath-connectors`.

use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_connectors as connectors;
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::EpochIndex;
pub use towpath_engine::deployer::StateEpochs;
use towpath_engine::ports::coordinator::CoordinatorFactory;
use towpath_engine::ports::index::SearchIndex;
use towpath_engine::ports::log::EventLog;
use towpath_engine::ports::source::BinlogSource;

use crate::config::{Pipeline, Secret, Server, Sink, SourceTls};

/// The services of one pipeline.
#[derive(Clone)]
pub struct Services {
    /// MySQL or MariaDB.
    pub source: Arc<dyn BinlogSource>,
    /// The servers that may take its place, in order.
    pub standby: Vec<Arc<dyn BinlogSource>>,
    /// Kafka.
    pub log: Arc<dyn EventLog>,
    /// ZooKeeper.
    pub coordinator: Arc<dyn CoordinatorFactory>,
    /// The clusters of the sinks, by the sinks' names.
    pub indexes: BTreeMap<String, Arc<dyn SearchIndex>>,
}

impl Services {
    /// Makes the connectors of a pipeline.
    pub fn new(pipeline: &Pipeline) -> Result<Self, Stop> {
        let wrong =
            |error: connectors::ConfigError| Stop::new(Cause::Config, format!("pipeline {}: {error}", pipeline.name));
        let connect = |server: &Server| connectors::MySqlSource::new(source(pipeline, server)).map_err(wrong);
        let mut standby: Vec<Arc<dyn BinlogSource>> = Vec::new();
        for server in &pipeline.source.standby {
            standby.push(Arc::new(connect(server)?));
        }
        let log = connectors::KafkaLog::new(kafka(pipeline)).map_err(wrong)?;
        let coordinator = connectors::ZooKeeperFactory::new(zookeeper(pipeline)).map_err(wrong)?;
        let mut indexes: BTreeMap<String, Arc<dyn SearchIndex>> = BTreeMap::new();
        for sink in &pipeline.sinks {
            let index = connectors::ElasticsearchIndex::new(elasticsearch(sink)).map_err(wrong)?;
            indexes.insert(sink.config.name.clone(), Arc::new(index));
        }
        let source = Arc::new(connect(&pipeline.source.server)?);
        Ok(Self { source, standby, log: Arc::new(log), coordinator: Arc::new(coordinator), indexes })
    }

    /// Where documents of the pipeline lie, for the highest epoch that is kept there.
    pub fn epoch_indexes(&self, pipeline: &Pipeline) -> Vec<EpochIndex> {
        let of = |sink: &Sink| {
            let cluster = self.indexes.get(&sink.config.name)?;
            Some(EpochIndex { cluster: Arc::clone(cluster), index: sink.config.concrete_index() })
        };
        pipeline.sinks.iter().filter_map(of).collect()
    }
}

/// One server by its URL. An empty password in it is replaced by `password`, if there is one.
pub fn server(url: &str, password: Option<String>) -> Result<Arc<dyn BinlogSource>, Stop> {
    let wrong = |error: connectors::ConfigError| Stop::new(Cause::Config, format!("--server: {error}"));
    let mut config = connectors::SourceConfig::from_url(url).map_err(wrong)?;
    if let Some(password) = password.filter(|_| config.password == connectors::Secret::default()) {
        config.password = connectors::Secret::new(password);
    }
    Ok(Arc::new(connectors::MySqlSource::new(config).map_err(wrong)?))
}

fn hidden(secret: &Secret) -> connectors::Secret {
    connectors::Secret::new(secret.reveal())
}

fn source(pipeline: &Pipeline, server: &Server) -> connectors::SourceConfig {
    let source = &pipeline.source;
    connectors::SourceConfig {
        host: server.host.clone(),
        port: server.port,
        user: server.user.clone(),
        password: hidden(&server.password),
        tls: match source.tls {
            SourceTls::Disabled => connectors::TlsMode::Disabled,
            SourceTls::Preferred => connectors::TlsMode::Preferred,
            SourceTls::Required => connectors::TlsMode::Required,
            SourceTls::VerifyCa => connectors::TlsMode::VerifyCa,
            SourceTls::VerifyIdentity => connectors::TlsMode::VerifyIdentity,
        },
        ca: source.ca.clone(),
        identity: source.identity.clone(),
        identity_password: source.identity_password.as_ref().map(hidden).unwrap_or_default(),
        ..connectors::SourceConfig::default()
    }
}

fn kafka(pipeline: &Pipeline) -> connectors::KafkaConfig {
    let kafka = &pipeline.kafka;
    connectors::KafkaConfig {
        brokers: kafka.brokers.clone(),
        compression: kafka.compression.name().to_owned(),
        properties: kafka.properties.iter().map(|(name, value)| (name.clone(), hidden(value))).collect(),
        ..connectors::KafkaConfig::default()
    }
}

fn zookeeper(pipeline: &Pipeline) -> connectors::ZooKeeperConfig {
    let zookeeper = &pipeline.zookeeper;
    connectors::ZooKeeperConfig {
        servers: zookeeper.servers.clone(),
        root: zookeeper.root.clone(),
        pipeline: pipeline.name.clone(),
        session_timeout: zookeeper.session_timeout,
        create_root: zookeeper.create,
        digest: zookeeper.account.as_ref().map(|(user, password)| (user.clone(), hidden(password))),
    }
}

fn elasticsearch(sink: &Sink) -> connectors::ElasticsearchConfig {
    let cluster = &sink.elasticsearch;
    connectors::ElasticsearchConfig {
        urls: cluster.urls.clone(),
        user: cluster.user.clone(),
        password: cluster.password.as_ref().map(hidden).unwrap_or_default(),
        api_key: cluster.api_key.as_ref().map(hidden),
        ca: cluster.ca.clone(),
        timeout: cluster.timeout,
    }
}

/// A name for this process among all that can lead: the machine's name and the process id.
pub fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "host" } else { host }, std::process::id())
}
