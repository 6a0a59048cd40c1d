//! What the configuration alone says: what would be read, written and created, and which promises it weakens.

use towpath_engine::adapter::config::{Deletes, OnDelete};
use towpath_engine::deployer::{Fencing, PartitionBy, RecordMode};

use super::report::Part;
use crate::config::{Pipeline, Sink};

/// The parts of a pipeline with what can be said without asking a service.
pub fn parts(pipeline: &Pipeline) -> Vec<Part> {
    let mut parts = vec![source(pipeline), kafka(pipeline), zookeeper(pipeline)];
    parts.extend(pipeline.sinks.iter().map(sink));
    parts
}

fn source(pipeline: &Pipeline) -> Part {
    let (source, deployer) = (&pipeline.source, &pipeline.deployer);
    let mut part = Part::new("source");
    part.info(format!("reads {} as replica {}", source.server, deployer.server_id));
    part.info(format!("captures {}", deployer.tables.patterns().join(", ")));
    match &deployer.start {
        Some(start) => part.info(format!("a first start begins at {start}; later starts go on at the checkpoint")),
        None => part.warning("`start` is not set: a first start stops with the cause no-start", Vec::new()),
    }
    if deployer.semi_sync {
        part.info(
            "acknowledges to a semi-synchronous source what Kafka has acknowledged: commits there wait for Kafka",
        );
    }
    if !source.standby.is_empty() {
        let servers: Vec<String> = source.standby.iter().map(ToString::to_string).collect();
        let after = deployer.failover_after.as_secs();
        part.info(format!("goes over to {} after {after} s without an answer", servers.join(", then ")));
    }
    part
}

fn kafka(pipeline: &Pipeline) -> Part {
    let deployer = &pipeline.deployer;
    let mut part = Part::new("kafka");
    part.info(format!(
        "writes topic {} on {} with {} partitions",
        deployer.topic, pipeline.kafka.brokers, deployer.partitions
    ));
    let by = match &deployer.partition_by {
        PartitionBy::PrimaryKey => "its primary key".to_owned(),
        PartitionBy::Columns(columns) => columns.join(", "),
        PartitionBy::Table => "its table".to_owned(),
    };
    part.info(format!("a row's partition is chosen by {by}"));
    part.info(match deployer.record {
        RecordMode::Event => "one FlatMessage per event and partition",
        RecordMode::Row => "one FlatMessage per row, keyed by its primary key",
    });
    part.info(match deployer.fencing {
        Fencing::Transactions => {
            "a deposed leader is fenced by Kafka transactions: consumers must read committed records"
        }
        Fencing::Versions => {
            "a deposed leader is fenced by terms: consumers other than Towpath's may see its late records"
        }
    });
    if deployer.canal_quirks {
        part.warning("canal_quirks: values are Canal's also where Canal is known to be wrong", Vec::new());
    }
    if !pipeline.kafka.properties.is_empty() {
        let names: Vec<&str> = pipeline.kafka.properties.keys().map(String::as_str).collect();
        part.info(format!("client properties: {}", names.join(", ")));
    }
    part
}

fn zookeeper(pipeline: &Pipeline) -> Part {
    let mut part = Part::new("zookeeper");
    let zookeeper = &pipeline.zookeeper;
    part.info(format!("keeps its state in {}{}/{}", zookeeper.servers, zookeeper.root, pipeline.name));
    if zookeeper.create {
        part.info(format!("creates {} if it is absent", zookeeper.root));
    }
    part
}

fn sink(sink: &Sink) -> Part {
    let config = &sink.config;
    let mut part = Part::new(format!("sink {}", config.name));
    let urls = sink.elasticsearch.urls.join(", ");
    part.info(format!(
        "{} → {} behind alias {} on {urls}",
        sink.tables.join(", "),
        config.concrete_index(),
        config.index
    ));
    match &config.when {
        Some(when) => part.info(format!("holds rows for which {when}; a row that no longer matches leaves")),
        None => part.info("holds every row"),
    }
    let id = if config.id.is_empty() { "the primary key".to_owned() } else { config.id.join("_") };
    let routing = config.routing.as_ref().map(|column| format!(", routed by {column}")).unwrap_or_default();
    part.info(format!("a document's id is {id}{routing}"));
    match config.deletes {
        Deletes::Soft => part.info("deletes leave a tombstone that the alias hides"),
        Deletes::Hard => part.warning(
            "deletes = \"hard\" promises less: Elasticsearch forgets a delete after index.gc_deletes and at a restart; \
             a write that was held up longer can bring the document back until it is verified",
            Vec::new(),
        ),
    }
    for source in config.sources.iter().filter(|source| source.on_delete == OnDelete::Keep) {
        part.info(format!("a DELETE in {} keeps the document (rank {})", source.table, source.rank));
    }
    part.info(format!("dead letters go to topic {}", config.dead_letter));
    part
}
