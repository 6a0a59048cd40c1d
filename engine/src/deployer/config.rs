//! What a deployer is told: plain values, checked once by [`DeployerConfig::validate`], never changed while it runs.
//!
//! Must not know where they come from: the binary maps its TOML file onto these.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use super::fallback::FallbackConfig;
pub use crate::binlog::GeometryText;
use crate::cause::{Cause, Stop};
pub use crate::format::RecordMode;
use crate::gtid::GtidSet;
use crate::ports::source::{DumpRequest, ServerIdentity};
use crate::position::{FilePosition, Position};
pub use crate::routing::PartitionBy;

/// Where the very first start begins. Never used again once a state exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The oldest transaction that the source still has.
    Oldest,
    /// The end of the binlog at the moment of the start.
    Now,
    /// After the transactions of this set.
    Gtid(GtidSet),
    /// From this byte on, which must be the start of a transaction.
    File(FilePosition),
}

impl FromStr for Start {
    type Err = String;

    /// `oldest`, `now`, `FILE:POSITION` or a GTID set.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "oldest" => return Ok(Self::Oldest),
            "now" => return Ok(Self::Now),
            "" => return Err("a start cannot be empty".to_owned()),
            _ => {}
        }
        if let Ok(set) = text.parse::<GtidSet>() {
            return Ok(Self::Gtid(set));
        }
        match text.trim().rsplit_once(':') {
            Some((file, position)) if !file.is_empty() => match position.parse() {
                Ok(position) => Ok(Self::File(FilePosition::new(file, position))),
                Err(_) => Err(format!("{text:?} is neither \"oldest\", \"now\", a GTID set nor FILE:POSITION")),
            },
            _ => Err(format!("{text:?} is neither \"oldest\", \"now\", a GTID set nor FILE:POSITION")),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oldest => f.write_str("oldest"),
            Self::Now => f.write_str("now"),
            Self::Gtid(set) => set.fmt(f),
            Self::File(at) => at.fmt(f),
        }
    }
}

/// How a deposed leader is kept from harm (protocol §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fencing {
    /// Kafka transactions: acknowledged = committed, readers use `read_committed`. The default.
    Transactions,
    /// Idempotent production and fence records; adapters drop what a deposed leader still delivers.
    Versions,
}

/// One deployer of one pipeline.
#[derive(Debug, Clone)]
pub struct DeployerConfig {
    /// The pipeline's name: part of the transactional id, of metric labels and of what is logged.
    pub pipeline: String,
    /// Which tables are captured: patterns `database.table` with `*` (any text) and `?` (one character).
    pub tables: TableFilter,
    /// Kafka's topic.
    pub topic: String,
    /// How many partitions the topic has. At least 1.
    pub partitions: u32,
    /// How rows find their partition.
    pub partition_by: PartitionBy,
    /// What one record holds.
    pub record: RecordMode,
    /// Canal's renderings also where they are known to be wrong (design §5).
    pub canal_quirks: bool,
    /// How GEOMETRY is written in records.
    pub geometry: GeometryText,
    /// Sinks make documents of the records: a source that does not log whole rows is refused. Without sinks its partial
    /// rows are carried as they are.
    pub whole_rows: bool,
    /// A record larger than this (key, value and headers, bytes) is split by rows; a single larger row is a dead
    /// letter.
    pub max_record_bytes: usize,
    /// The topic that takes a description of each row that no record can hold.
    pub dead_letter: String,
    /// How a deposed leader is fenced.
    pub fencing: Fencing,
    /// Where the first start begins; without it a first start stops with cause `no-start`.
    pub start: Option<Start>,
    /// The id under which the binlog is read; unique among the source's replicas.
    pub server_id: u32,
    /// Unique to this process among all that can lead the pipeline (for example host name and process id).
    pub instance: String,
    /// The least time between two checkpoints in the coordinator.
    pub checkpoint_interval: Duration,
    /// A Kafka transaction is committed at this age (transactional fencing).
    pub transaction_interval: Duration,
    /// A Kafka transaction is committed at this size (bytes of values), even when younger. Nothing is produced while a
    /// commit is under way, so small transactions leave the producer idle.
    pub transaction_bytes: usize,
    /// Bytes that may be produced and not yet acknowledged, or decoded and not yet produced. Reading stops above it.
    pub budget_bytes: usize,
    /// The source sends a heartbeat after this long without an event.
    pub heartbeat: Duration,
    /// Silence of the source beyond this is a dead connection. More than twice `heartbeat`.
    pub read_deadline: Duration,
    /// The leader is a semi-synchronous replica of the source, which acknowledges what Kafka has acknowledged.
    pub semi_sync: bool,
    /// The coordinator's session timeout, as its connector is configured. Once disconnected, everything in flight is
    /// thrown away after a sixth of it: a client notices silence after two thirds, so all ends before an expiry.
    pub session_timeout: Duration,
    /// How long an orderly end waits for the last acknowledgements.
    pub drain_timeout: Duration,
    /// First and longest wait between two attempts at a service that is unavailable.
    pub backoff: (Duration, Duration),
    /// Without progress for this long although there is work, the status and `/readyz` say `stalled`.
    pub stalled_after: Duration,
    /// How far back earlier checkpoints are kept for a repair (the ring).
    pub horizon: Duration,
    /// Without an answer of the source for this long, the next standby is asked; before that it is tried again.
    pub failover_after: Duration,
    /// How long another server that lacks what was carried, and is still a replica, is waited for.
    pub failover_catchup: Duration,
    /// The least time between two epochs: at most one failover in it.
    pub failover_min_interval: Duration,
    /// Go on although a repair is pending; it stays pending.
    pub unrepaired: bool,
    /// When documents are written directly, past Kafka.
    pub fallback: FallbackConfig,
}

impl DeployerConfig {
    /// A request for the binlog of that server from there on, by which nothing is acknowledged.
    pub fn dump(&self, server: &ServerIdentity, from: Position) -> DumpRequest {
        DumpRequest {
            from,
            server_id: self.server_id,
            heartbeat: self.heartbeat,
            read_deadline: self.read_deadline,
            beside: false,
            semi_sync: false,
            server: Some(server.server_uuid.clone()),
        }
    }

    /// A configuration with the documented defaults for everything that has one.
    pub fn new(pipeline: impl Into<String>, topic: impl Into<String>, partitions: u32, server_id: u32) -> Self {
        let topic = topic.into();
        Self {
            pipeline: pipeline.into(),
            tables: TableFilter::default(),
            dead_letter: format!("{topic}.dead-letter"),
            topic,
            partitions,
            partition_by: PartitionBy::PrimaryKey,
            record: RecordMode::Event,
            canal_quirks: false,
            geometry: GeometryText::GeoJson,
            whole_rows: false,
            max_record_bytes: 900_000,
            fencing: Fencing::Transactions,
            start: None,
            server_id,
            instance: format!("server-id-{server_id}"),
            checkpoint_interval: Duration::from_secs(1),
            transaction_interval: Duration::from_millis(50),
            transaction_bytes: 32 << 20,
            budget_bytes: 64 << 20,
            heartbeat: Duration::from_secs(3),
            read_deadline: Duration::from_secs(10),
            semi_sync: false,
            session_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(15),
            backoff: (Duration::from_millis(100), Duration::from_secs(10)),
            stalled_after: Duration::from_secs(30),
            horizon: Duration::from_secs(3600),
            failover_after: Duration::from_secs(30),
            failover_catchup: Duration::from_secs(60),
            failover_min_interval: Duration::from_secs(60),
            unrepaired: false,
            fallback: FallbackConfig::default(),
        }
    }

    /// Contradictions within the configuration, the first one found.
    pub fn validate(&self) -> Result<(), Stop> {
        let problem = if self.partitions == 0 {
            "`partitions` must be at least 1".to_owned()
        } else if self.tables.is_empty() {
            "`tables` names no table: nothing would be captured".to_owned()
        } else if self.server_id == 0 {
            "`server_id` must not be 0: a replica with id 0 is refused by the source".to_owned()
        } else if self.read_deadline < self.heartbeat * 2 {
            format!(
                "`read_deadline` ({:?}) must be at least twice `heartbeat` ({:?})",
                self.read_deadline, self.heartbeat
            )
        } else if self.budget_bytes < 1 << 20 {
            format!("`budget` ({} bytes) must be at least 1 MiB", self.budget_bytes)
        } else if self.backoff.0.is_zero() || self.backoff.1 < self.backoff.0 {
            "`backoff` must rise from more than zero".to_owned()
        } else {
            return Ok(());
        };
        Err(Stop::new(Cause::Config, format!("pipeline {}: {problem}", self.pipeline)))
    }

    /// The id under which transactional producers of this pipeline fence each other.
    pub fn transactional_id(&self) -> String {
        format!("towpath.{}.{}", self.pipeline, self.topic)
    }
}

/// Which tables are captured. Names are compared exactly (MySQL's names are case-sensitive on most servers).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFilter {
    patterns: Vec<String>,
}

impl TableFilter {
    /// Patterns `database.table` with `*` and `?`; each must hold exactly one dot.
    pub fn new<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, Stop> {
        let patterns: Vec<String> = patterns.into_iter().map(Into::into).collect();
        for pattern in &patterns {
            let parts: Vec<&str> = pattern.split('.').collect();
            if parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
                return Err(Stop::new(Cause::Config, format!("{pattern:?} is not of the form `database.table`")));
            }
        }
        Ok(Self { patterns })
    }

    /// Whether no table can match.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns as given.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether the table is captured.
    pub fn accepts(&self, database: &str, table: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern.split_once('.') {
            Some((databases, tables)) => {
                glob(databases.as_bytes(), database.as_bytes()) && glob(tables.as_bytes(), table.as_bytes())
            }
            None => false,
        })
    }

    /// Whether some table of the database could be captured.
    pub fn touches(&self, database: &str) -> bool {
        self.patterns.iter().any(|pattern| {
            pattern.split_once('.').is_some_and(|(databases, _)| glob(databases.as_bytes(), database.as_bytes()))
        })
    }
}

/// Matches with one backtracking point, so linear in practice and never exponential.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_matches_whole_names_only() {
        let filter = TableFilter::new(["orders.*", "shop.line_?"]).unwrap();
        for (database, table, expected) in [
            ("orders", "order_main", true),
            ("orders2", "order_main", false),
            ("Orders", "order_main", false),
            ("shop", "line_1", true),
            ("shop", "line_12", false),
            ("shop", "line_", false),
        ] {
            assert_eq!(filter.accepts(database, table), expected, "{database}.{table}");
        }
        assert!(filter.touches("shop") && !filter.touches("mysql"));
        assert!(glob(b"a*b*c", b"a-b-b-c") && !glob(b"a*b*c", b"a-b-b"));
    }

    #[test]
    fn a_pattern_without_exactly_one_dot_is_refused() {
        for wrong in ["orders", "a.b.c", ".b", "a."] {
            assert_eq!(TableFilter::new([wrong]).unwrap_err().cause, Cause::Config, "{wrong}");
        }
    }

    #[test]
    fn start_reads_all_four_forms() {
        assert_eq!("oldest".parse(), Ok(Start::Oldest));
        assert_eq!("now".parse(), Ok(Start::Now));
        assert_eq!("binlog.000007:157".parse(), Ok(Start::File(FilePosition::new("binlog.000007", 157))));
        let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7";
        assert_eq!(set.parse::<Start>().unwrap().to_string(), set);
        assert!("yesterday".parse::<Start>().is_err() && "".parse::<Start>().is_err());
    }

    #[test]
    fn contradictions_are_named() {
        let mut config = DeployerConfig::new("orders", "orders", 4, 7);
        assert!(config.validate().unwrap_err().detail.contains("tables"));
        config.tables = TableFilter::new(["orders.*"]).unwrap();
        assert_eq!(config.validate(), Ok(()));
        config.read_deadline = config.heartbeat;
        assert!(config.validate().unwrap_err().detail.contains("read_deadline"));
    }
}
