//! What an adapter is told: sinks, their sources, conditions, documents, bulk sizes. Plain values with defaults.
//!
//! Must not read files or TOML: the binary maps its configuration onto these types and shows their errors.

use jiff::tz::{Offset, TimeZone};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cause::{Cause, Stop};
use crate::version::MAX_RANK;

/// The adapter half of one pipeline: one topic into any number of sinks.
#[derive(Debug, Clone)]
pub struct AdapterConfig {
    /// The pipeline's name. Part of the consumer groups' names (`towpath.<pipeline>.<sink>`) and of `_meta`.
    pub pipeline: String,
    /// The topic that the deployer produces to.
    pub topic: String,
    /// How late records of a deposed leader are kept out (protocol §3).
    pub fencing: Fencing,
    /// The sinks.
    pub sinks: Vec<SinkConfig>,
    /// Bytes that all sinks together may hold in memory: records read and documents not yet answered for.
    pub buffer_bytes: usize,
    /// Definitions of the captured tables where the binary knows them (from the source): used to check conditions and
    /// to create indices at the start. A table that is not listed is checked, and its index created, at its first
    /// record.
    pub tables: Vec<crate::schema::TableSchema>,
}

impl AdapterConfig {
    /// A configuration with defaults and no sink.
    pub fn new(pipeline: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            pipeline: pipeline.into(),
            topic: topic.into(),
            fencing: Fencing::Transactions,
            sinks: Vec::new(),
            buffer_bytes: 96 << 20,
            tables: Vec::new(),
        }
    }

    /// The consumer group of a sink.
    pub fn group(&self, sink: &str) -> String {
        format!("towpath.{}.{sink}", self.pipeline)
    }
}

/// How the log is protected against a deposed leader's late records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fencing {
    /// Kafka's transactions fence; readers see committed records only. The default.
    #[default]
    Transactions,
    /// The adapter keeps the highest term seen per partition and drops later records of a lower one.
    Versions,
}

/// One index (behind one alias) fed by one or more tables of the pipeline.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// The sink's name, unique in the pipeline: in metrics, in the group's name, in dead letters.
    pub name: String,
    /// The alias that queries use. The documents lie in `<index>-v1`.
    pub index: String,
    /// The tables that feed it.
    pub sources: Vec<SourceConfig>,
    /// A CEL condition over `row`; a row that does not match has no document. `None`: every row matches.
    pub when: Option<String>,
    /// The columns whose texts, joined by `_`, are the document's id. Empty: the primary key's columns in key order.
    pub id: Vec<String>,
    /// The column whose text is the routing value. `None`: Elasticsearch routes by id.
    pub routing: Option<String>,
    /// What a delete leaves behind.
    pub deletes: Deletes,
    /// Which columns become which fields.
    pub fields: FieldsConfig,
    /// The zone in which DATETIME values were meant. TIMESTAMP is UTC by nature.
    pub time_zone: TimeZone,
    /// Sizes of bulk requests.
    pub bulk: BulkConfig,
    /// How index and alias are created.
    pub create: CreateConfig,
    /// The topic to which goes what the index refuses for the document's own sake.
    pub dead_letter: String,
    /// When dead letters stop the sink.
    pub breaker: BreakerConfig,
    /// Waits between attempts.
    pub retry: RetryConfig,
}

impl SinkConfig {
    /// A sink with defaults: one table at rank 0, no condition, soft deletes, UTC, dead letters to
    /// `<topic>.dead-letter`.
    pub fn new(name: impl Into<String>, index: impl Into<String>, table: &str, topic: &str) -> Self {
        Self {
            name: name.into(),
            index: index.into(),
            sources: vec![SourceConfig::new(table)],
            when: None,
            id: Vec::new(),
            routing: None,
            deletes: Deletes::Soft,
            fields: FieldsConfig::default(),
            time_zone: TimeZone::UTC,
            bulk: BulkConfig::default(),
            create: CreateConfig::default(),
            dead_letter: format!("{topic}.dead-letter"),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
        }
    }

    /// The concrete index behind the alias.
    pub fn concrete_index(&self) -> String {
        format!("{}-v1", self.index)
    }

    /// The source that a table belongs to; the first that matches.
    pub fn source_of(&self, database: &str, table: &str) -> Option<&SourceConfig> {
        self.sources.iter().find(|source| source.table.matches(database, table))
    }
}

/// A table, or a pattern of tables, that feeds a sink.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Which tables.
    pub table: TablePattern,
    /// The place in the order in which rows move between the sources of one index (hot 0, cold 1): 0 to 3.
    pub rank: u8,
    /// Whether a row's DELETE deletes the document. `Keep` for a source whose rows move on to another one.
    pub on_delete: OnDelete,
}

impl SourceConfig {
    /// A source at rank 0 whose deletes delete.
    pub fn new(table: &str) -> Self {
        Self { table: TablePattern::new(table), rank: 0, on_delete: OnDelete::Delete }
    }
}

/// `database.table` or `table`; `*` stands for any characters but the dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    database: String,
    table: String,
}

impl TablePattern {
    /// A pattern; without a database it means every one.
    pub fn new(text: &str) -> Self {
        let (database, table) = text.split_once('.').unwrap_or(("*", text));
        Self { database: database.to_owned(), table: table.to_owned() }
    }

    /// Whether the table belongs to it. Names are compared as they are.
    pub fn matches(&self, database: &str, table: &str) -> bool {
        glob(self.database.as_bytes(), database.as_bytes()) && glob(self.table.as_bytes(), table.as_bytes())
    }
}

impl std::fmt::Display for TablePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

/// `*` matches any run of bytes. Linear in practice: one star is retried from its last place.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, star_t + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// What a row's DELETE does to its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDelete {
    /// The document is deleted.
    #[default]
    Delete,
    /// The document stays: the row has moved to another source of the same index.
    Keep,
}

/// What a deletion leaves in the index (protocol §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deletes {
    /// A tombstone document, hidden by the alias' filter: keeps the version for ever. The default.
    #[default]
    Soft,
    /// Nothing: Elasticsearch forgets the version after `index.gc_deletes`, so an abandoned write can bring it back.
    Hard,
}

/// Which columns become which fields. Names are the columns' own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldsConfig {
    /// Only these; empty means all.
    pub include: Vec<String>,
    /// All but these.
    pub exclude: Vec<String>,
    /// Field names by column name.
    pub rename: BTreeMap<String, String>,
}

/// How operations are gathered into bulk requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkConfig {
    /// A request is sent when its sources reach this many bytes.
    pub bytes: usize,
    /// A request is sent when it holds this many operations.
    pub operations: usize,
    /// A request is sent when its oldest operation has waited this long.
    pub linger: Duration,
    /// Requests in flight at once. A document always takes the same lane, so no two of them share a document.
    pub concurrency: usize,
}

impl Default for BulkConfig {
    fn default() -> Self {
        Self { bytes: 4 << 20, operations: 4_000, linger: Duration::from_millis(20), concurrency: 4 }
    }
}

/// How index and alias are created where they are absent. An existing index is used as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateConfig {
    /// `index.refresh_interval`: how soon a write is searchable.
    pub refresh_interval: Duration,
    /// Merged over the mapping generated from the columns: field name -> mapping (`{"type": "text"}`).
    pub mapping: BTreeMap<String, serde_json::Value>,
    /// Merged over the generated settings (`{"number_of_shards": 3}`).
    pub settings: serde_json::Map<String, serde_json::Value>,
}

impl Default for CreateConfig {
    fn default() -> Self {
        Self { refresh_interval: Duration::from_millis(500), mapping: BTreeMap::new(), settings: Default::default() }
    }
}

/// Stops a sink whose documents are refused in numbers: then the mapping is wrong, not the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerConfig {
    /// So many dead letters within `window` are borne; one more stops the sink.
    pub dead_letters: u32,
    /// The window.
    pub window: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { dead_letters: 1_000, window: Duration::from_secs(60) }
    }
}

/// Waits between attempts: doubling from `base` to `cap`, with jitter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryConfig {
    /// The first wait.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { base: Duration::from_millis(100), cap: Duration::from_secs(10) }
    }
}

/// A zone from its IANA name (`Asia/Shanghai`), an offset (`+08:00`) or `UTC`.
pub fn parse_time_zone(text: &str) -> Result<TimeZone, Stop> {
    if text.eq_ignore_ascii_case("utc") || text == "Z" {
        return Ok(TimeZone::UTC);
    }
    if let Some(offset) = parse_offset(text) {
        return Ok(TimeZone::fixed(offset));
    }
    TimeZone::get(text).map_err(|_| {
        Stop::new(
            Cause::Config,
            format!("time_zone: \"{text}\" is neither a zone's IANA name nor an offset like +08:00"),
        )
    })
}

fn parse_offset(text: &str) -> Option<Offset> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..=18).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// Checks what can be checked without tables: names, sizes, ranks. Conditions and columns are checked against tables by
/// the sink plan.
pub fn validate(config: &AdapterConfig) -> Result<(), Stop> {
    let fail = |detail: String| Err(Stop::new(Cause::Config, detail));
    let mut names = BTreeSet::new();
    for sink in &config.sinks {
        let at = format!("pipeline {}, sink {}", config.pipeline, sink.name);
        if sink.name.is_empty() || !names.insert(sink.name.as_str()) {
            return fail(format!("{at}: a sink needs a name of its own"));
        }
        if sink.index.is_empty() || sink.index != sink.index.to_lowercase() || sink.index.contains([' ', ',', '*', '/'])
        {
            return fail(format!("{at}: index = \"{}\" is not a name Elasticsearch accepts (lower case)", sink.index));
        }
        if sink.sources.is_empty() {
            return fail(format!("{at}: no table feeds it"));
        }
        if let Some(source) = sink.sources.iter().find(|source| source.rank > MAX_RANK) {
            return fail(format!("{at}: rank = {} of {} is above {MAX_RANK}", source.rank, source.table));
        }
        if sink.dead_letter.is_empty() || sink.dead_letter == config.topic {
            return fail(format!("{at}: dead_letter needs a topic other than the pipeline's own"));
        }
        if sink.bulk.bytes == 0 || sink.bulk.operations == 0 || sink.bulk.concurrency == 0 {
            return fail(format!("{at}: bulk sizes and concurrency must be above 0"));
        }
    }
    if config.buffer_bytes < (1 << 20) {
        return fail(format!("pipeline {}: buffer_bytes must be at least 1 MiB", config.pipeline));
    }
    Ok(())
}

/// Checks all pipelines of a configuration together: an index written by several pipelines needs a rank of its own for
/// each, since versions of two binlogs cannot be compared (protocol §1). `cluster` tells apart the clusters of sinks
/// (pipeline and sink name -> anything equal for the same cluster).
pub fn validate_ranks(configs: &[&AdapterConfig], cluster: impl Fn(&str, &str) -> String) -> Result<(), Stop> {
    let mut writers: BTreeMap<(String, &str, u8), &str> = BTreeMap::new();
    for config in configs {
        for sink in &config.sinks {
            let place = cluster(&config.pipeline, &sink.name);
            for source in &sink.sources {
                let other = writers.insert((place.clone(), &sink.index, source.rank), &config.pipeline);
                if let Some(other) = other.filter(|other| *other != config.pipeline) {
                    return Err(Stop::new(
                        Cause::Config,
                        format!(
                            "pipelines {other} and {} both write index {} at rank {}: give each source the rank at \
                             which rows reach it (hot 0, cold 1)",
                            config.pipeline, sink.index, source.rank
                        ),
                    ));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AdapterConfig {
        let mut config = AdapterConfig::new("orders", "orders");
        config.sinks.push(SinkConfig::new("hot", "hot", "orders.order_main", "orders"));
        config
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(TablePattern::new("orders.order_*").matches("orders", "order_main"));
        assert!(TablePattern::new("order_main").matches("any", "order_main"));
        assert!(TablePattern::new("*.a*c*").matches("x", "abcbcb"));
        assert!(!TablePattern::new("orders.order_*").matches("orders", "xorder_main"));
        assert!(!TablePattern::new("orders.order").matches("orders", "order_main"));
    }

    #[test]
    fn zones_by_name_and_by_offset() {
        assert!(parse_time_zone("Asia/Shanghai").is_ok());
        assert!(parse_time_zone("-03:30").is_ok());
        assert_eq!(parse_time_zone("UTC").unwrap(), TimeZone::UTC);
        let stop = parse_time_zone("Asia/Shanghia").unwrap_err();
        assert_eq!(stop.cause, Cause::Config);
        assert!(stop.detail.contains("Asia/Shanghia"));
        assert!(parse_time_zone("+8").is_err());
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        assert!(validate(&config()).is_ok());
        type Change = fn(&mut AdapterConfig);
        let broken: [(&str, Change); 6] = [
            ("name of its own", |c| c.sinks.push(c.sinks[0].clone())),
            ("lower case", |c| c.sinks[0].index = "Hot".into()),
            ("no table", |c| c.sinks[0].sources.clear()),
            ("above 3", |c| c.sinks[0].sources[0].rank = 4),
            ("other than", |c| c.sinks[0].dead_letter = "orders".into()),
            ("above 0", |c| c.sinks[0].bulk.concurrency = 0),
        ];
        for (expected, change) in broken {
            let mut config = config();
            change(&mut config);
            let stop = validate(&config).unwrap_err();
            assert!(stop.detail.contains(expected), "{stop}");
        }
    }

    #[test]
    fn two_pipelines_on_one_index_need_different_ranks() {
        let hot = config();
        let mut cold = config();
        cold.pipeline = "archive".into();
        let same = |_: &str, _: &str| "es".to_owned();
        assert!(validate_ranks(&[&hot, &cold], same).unwrap_err().detail.contains("rank 0"));
        assert!(validate_ranks(&[&hot, &cold], |pipeline, _| pipeline.to_owned()).is_ok(), "two clusters");
        cold.sinks[0].sources[0].rank = 1;
        assert!(validate_ranks(&[&hot, &cold], same).is_ok());
    }
}
