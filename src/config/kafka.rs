//! `kafka`: brokers, topic, partitioning, and how records are written and fenced.

use std::collections::BTreeMap;
use std::time::Duration;

use towpath_engine::deployer::{DeployerConfig, Fencing, GeometryText, PartitionBy, RecordMode};

use super::reader::Section;
use super::text::Secret;
use super::zookeeper::host_ports;

/// The cluster as a client sees it. What concerns records stands in the pipeline's [`DeployerConfig`].
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port,host:port`.
    pub brokers: String,
    /// The records' compression.
    pub compression: Compression,
    /// Passed to the client library as they are; values can be secrets and are never shown.
    pub properties: BTreeMap<String, Secret>,
}

/// The records' compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Fast.
    Lz4,
    /// Small.
    Zstd,
    /// None.
    None,
}

impl Compression {
    /// The client library's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::None => "none",
        }
    }
}

/// Client properties that Towpath's promises rest on, with the key to use instead.
pub const REFUSED_PROPERTIES: &[(&str, &str)] = &[
    ("bootstrap.servers", "write `brokers`"),
    ("metadata.broker.list", "write `brokers`"),
    ("acks", "every record is acknowledged by all in-sync replicas"),
    ("request.required.acks", "every record is acknowledged by all in-sync replicas"),
    ("enable.idempotence", "always on"),
    ("max.in.flight", "kept so that order holds"),
    ("max.in.flight.requests.per.connection", "kept so that order holds"),
    ("retries", "delivery is retried by Towpath, from the last acknowledged transaction"),
    ("message.send.max.retries", "delivery is retried by Towpath, from the last acknowledged transaction"),
    ("message.timeout.ms", "a record never times out by itself"),
    ("delivery.timeout.ms", "a record never times out by itself"),
    ("enable.gapless.guarantee", "set by Towpath"),
    ("transactional.id", "derived from the pipeline's name and topic"),
    ("compression.type", "write `compression`"),
    ("compression.codec", "write `compression`"),
    ("partitioner", "partitions are chosen by `partition_by`"),
    ("group.id", "one group per sink, derived from pipeline and sink"),
    ("enable.auto.commit", "offsets are committed when outcomes are final"),
    ("enable.auto.offset.store", "offsets are committed when outcomes are final"),
    ("auto.offset.reset", "an offset out of range stops the sink"),
    ("isolation.level", "consumers read committed records only"),
    ("partition.assignment.strategy", "always cooperative"),
    ("enable.partition.eof", "set by Towpath"),
];

/// Reads the section: what concerns the client into [`Kafka`], the rest into `deployer`. Problems are noted there.
pub(super) fn read(section: Section<'_>, deployer: &mut DeployerConfig) -> Option<Kafka> {
    let brokers = section.string("brokers");
    if brokers.is_none() && !section.has("brokers") {
        section.missing("brokers", "for example brokers = \"k1:9092,k2:9092\"");
    }
    let brokers = brokers.and_then(|text| host_ports(&section, "brokers", &text.value, 9092));
    let topic = read_topic(&section);
    if let Some(topic) = &topic {
        deployer.topic.clone_from(topic);
    }
    read_records(&section, deployer);
    let codecs = [("lz4", Compression::Lz4), ("zstd", Compression::Zstd), ("none", Compression::None)];
    let compression = section.choice("compression", &codecs, Compression::Lz4);
    let properties = read_properties(&section);
    section.finish();
    topic?;
    Some(Kafka { brokers: brokers?, compression, properties })
}

fn read_records(section: &Section<'_>, deployer: &mut DeployerConfig) {
    deployer.partitions = section.integer("partitions", 1..=10_000, u64::from(DEFAULT_PARTITIONS)) as u32;
    deployer.partition_by = read_partition_by(section);
    let modes = [("event", RecordMode::Event), ("row", RecordMode::Row)];
    deployer.record = section.choice("record", &modes, deployer.record);
    let fencings = [("transactions", Fencing::Transactions), ("versions", Fencing::Versions)];
    deployer.fencing = section.choice("fencing", &fencings, deployer.fencing);
    deployer.canal_quirks = section.boolean("canal_quirks", deployer.canal_quirks);
    let geometries = [("geojson", GeometryText::GeoJson), ("wkt", GeometryText::Wkt), ("hex", GeometryText::Hex)];
    deployer.geometry = section.choice("geometry", &geometries, deployer.geometry);
    let allowed = Duration::from_millis(5)..=Duration::from_secs(10);
    deployer.transaction_interval = section.duration("transaction_interval", allowed, deployer.transaction_interval);
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
    deployer.stalled_after = section.duration("stalled_after", allowed, deployer.stalled_after);
    let size = section.size("max_record", 1_000..=(100 << 20), deployer.max_record_bytes as u64);
    deployer.max_record_bytes = size as usize;
}

/// With how many partitions a topic is created that does not exist, where `partitions` is not given.
pub const DEFAULT_PARTITIONS: u32 = 8;

fn read_topic(section: &Section<'_>) -> Option<String> {
    let Some(topic) = section.string("topic") else {
        if !section.has("topic") {
            section.missing("topic", "name the Kafka topic");
        }
        return None;
    };
    if let Err(why) = check_topic(&topic.value) {
        section.problem("topic", why);
        return None;
    }
    Some(topic.value)
}

/// Kafka's own rule for names of topics.
pub(super) fn check_topic(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.chars().all(legal) {
        return Err(format!("\"{name}\" is not a topic's name: 1 to 249 of letters, digits, `.`, `_`, `-`"));
    }
    Ok(())
}

/// `$pk$` (Canal's notation for the primary key), `$table$`, or columns.
fn read_partition_by(section: &Section<'_>) -> PartitionBy {
    let words: Vec<String> = section.strings("partition_by").into_iter().map(|text| text.value).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["$pk$"] => PartitionBy::PrimaryKey,
        ["$table$"] => PartitionBy::Table,
        columns => {
            if let Some(word) = columns.iter().find(|word| word.starts_with('$') || word.is_empty()) {
                section.problem("partition_by", format!("\"{word}\" is no column: use \"$pk$\" or \"$table$\" alone"));
            }
            PartitionBy::Columns(words)
        }
    }
}

fn read_properties(section: &Section<'_>) -> BTreeMap<String, Secret> {
    let Some(properties) = section.section("properties") else { return BTreeMap::new() };
    let mut out = BTreeMap::new();
    for (name, text) in properties.named_strings() {
        match REFUSED_PROPERTIES.iter().find(|(refused, _)| *refused == name) {
            Some((_, why)) => properties.problem(&name, format!("cannot be set here: {why}")),
            None => {
                out.insert(name, Secret::new(text.value));
            }
        }
    }
    out
}
