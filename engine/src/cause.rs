//! The catalogue of named causes: why a pipeline, a table or a sink stops or waits (Rule 4, no silence).
//!
//! One place, so that log, metric, `/readyz`, exit status and docs say the same. Must not decide anything.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! causes {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $name:literal, $exit:literal, $remedy:literal; )+) => {
        /// A named cause. The name is the stable identifier in logs, metrics, `/readyz` and docs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Cause { $( $(#[doc = $doc])+ $variant, )+ }

        impl Cause {
            /// Every cause, in the catalogue's order.
            pub const ALL: &'static [Cause] = &[ $( Cause::$variant, )+ ];

            /// The stable name, in kebab case.
            pub fn name(self) -> &'static str { match self { $( Cause::$variant => $name, )+ } }

            /// What an engineer on duty does about it.
            pub fn remedy(self) -> &'static str { match self { $( Cause::$variant => $remedy, )+ } }

            /// The meaning, as documented.
            pub fn meaning(self) -> &'static str {
                match self { $( Cause::$variant => concat!($($doc),+).trim_ascii(), )+ }
            }

            /// The exit status of a process that ends for this cause (docs/exit-codes.md).
            pub fn exit_code(self) -> u8 { match self { $( Cause::$variant => $exit, )+ } }
        }
    };
}

causes! {
    /// The configuration contradicts itself or what the services say.
    Config = "config", 2, "correct the configuration; `towpath check` explains it";
    /// A first start needs `start` in the configuration.
    NoStart = "no-start", 2, "set `start` to \"oldest\", \"now\", a GTID set or FILE:POSITION";
    /// The source refuses the user, or the user lacks a privilege.
    SourceDenied = "source-denied", 3, "give the user the GRANTs that `towpath check` prints";
    /// A setting of the source (binlog off, format, row image, checksum) does not allow capture.
    SourceSettings = "source-settings", 3, "change the setting as `towpath check` prints it";
    /// The source cannot be reached or is silent past its deadline.
    SourceUnavailable = "source-unavailable", 4, "bring the source back; Towpath retries by itself";
    /// Transactions that are needed have been purged from the source.
    Purged = "purged", 5, "restore the purged binlogs, or set a position and repair";
    /// A prepared XA group that is committed cannot be read: purged, or prepared before reading began.
    XaPurged = "xa-purged", 5, "repair the tables the group changed, then `position set` past its XA COMMIT";
    /// The last emitted transaction reads differently on the same server: its history was rewritten.
    HistoryRewritten = "history-rewritten", 5, "`towpath position set` to a common point, then repair";
    /// Another server answers than the one of this epoch.
    OtherServer = "other-server", 5, "point the source at the epoch's server, or `towpath position set`";
    /// Another server answers that lacks what was carried, and is still a replica: it may catch up.
    SourceBehind = "source-behind", 4, "nothing: Towpath waits up to `failover.catchup`, then takes the next standby";
    /// No kept checkpoint can be found again in the server's history.
    NoCommonPoint = "no-common-point", 5, "`towpath position set` to a position that the server has; it repairs";
    /// The server holds transactions of two histories under the same GTIDs.
    Diverged = "diverged", 5, "rebuild that server from one history, or point the source at another one";
    /// Without GTIDs a position means nothing on another server.
    NoGtid = "no-gtid", 5, "resume on the same server, or `towpath position set` and repair";
    /// An epoch rise still needs its repair.
    RepairPending = "repair-pending", 6, "run with `--unrepaired` to go on without it; it stays pending";
    /// The state is new although the log or an index already holds an epoch.
    StateLost = "state-lost", 6, "`towpath position set` to a known position";
    /// The state znode cannot be read (checksum or syntax).
    StateGarbage = "state-garbage", 6, "`towpath position set --previous` takes the kept previous state";
    /// The state was written by a newer Towpath.
    StateNewer = "state-newer", 6, "run the newer version";
    /// ZooKeeper is unreachable, or the path is absent and may not be created.
    CoordinatorUnavailable = "coordinator-unavailable", 4, "bring ZooKeeper back; Towpath retries by itself";
    /// Kafka does not acknowledge.
    LogUnavailable = "log-unavailable", 4, "bring Kafka back; Towpath retries by itself and loses nothing";
    /// Documents are written directly; Kafka gets nothing meanwhile, and everything afterwards.
    Fallback = "fallback", 4, "bring Kafka back, or take back what was asked for; docs/fallback.md tells how";
    /// The topic is absent and cannot be created, or has fewer partitions than configured.
    TopicUnfit = "topic-unfit", 3, "create the topic with the configured number of partitions";
    /// The partition count differs from the one the log was written with.
    PartitionsChanged = "partitions-changed", 6, "drain the log, then restart";
    /// A sink's committed offset is below the log's start, out of range, or of another topic.
    LogTruncated = "log-truncated", 6, "repair the sink";
    /// A newer leader fenced this one.
    Deposed = "deposed", 0, "nothing: the successor goes on";
    /// A binlog event of an unknown type that is not flagged ignorable.
    UnknownEvent = "unknown-event", 7, "report the event's type; `position set` past it loses it";
    /// A kind of event or value that is not decoded.
    Undecoded = "undecoded", 7, "change the source's setting that the message names";
    /// An event's bytes contradict themselves or their checksum.
    Corrupt = "corrupt", 7, "check the source's disk and network: a pipeline reads the event again at its resume; \
        of a file, take a sound copy from its server";
    /// The source reports lost events (INCIDENT).
    Incident = "incident", 7, "find what the source lost, repair, then `position set` past it";
    /// A captured table was changed by a statement, not by rows.
    StatementEvent = "statement-event", 7, "set binlog_format=ROW for every session that writes";
    /// A table's rows contradict its schema, or its schema cannot be known.
    SchemaMismatch = "schema-mismatch", 7, "`towpath schema show`, or set binlog_row_metadata=FULL";
    /// A statement changed a captured table in a way that is not understood, and column names are not in the binlog.
    SchemaChanged = "schema-changed", 7, "`towpath schema show`, or set binlog_row_metadata=FULL";
    /// The topic of the schema history does not hold what the checkpoint refers to.
    SchemaHistoryLost = "schema-history-lost", 6, "restore the topic, or `towpath position set` and repair";
    /// A captured table has no primary key.
    NoPrimaryKey = "no-primary-key", 2, "add a primary key, name key columns, or leave the table out";
    /// A row arrives without all its columns.
    PartialRow = "partial-row", 7, "set binlog_row_image=FULL on the source";
    /// A single row exceeds what Kafka accepts.
    RowTooLarge = "row-too-large", 0, "raise max.message.bytes on the topic, then redrive the dead letter";
    /// The index's answer shows a version of an epoch that is not known.
    EpochRegressed = "epoch-regressed", 6, "`towpath position set`: it takes the highest epoch found plus one";
    /// An index cannot be written (block, closed, missing, denied).
    SinkBlocked = "sink-blocked", 4, "remove the block or restore the index; Towpath retries by itself";
    /// Elasticsearch is unreachable, answers what is not its protocol, or is overloaded.
    SinkUnavailable = "sink-unavailable", 4, "bring the cluster back; Towpath retries by itself";
    /// Dead letters exceed the breaker's rate.
    DeadLetterBreaker = "dead-letter-breaker", 6, "correct the mapping, redrive the dead letters, restart";
    /// The epoch number is used up, or past half of its range.
    EpochSpace = "epoch-space", 6, "reindex under a new pipeline name";
    /// A defect of Towpath: an invariant does not hold.
    Internal = "internal", 70, "report it with the log";
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why something stopped: the cause, and one sentence that says what is wrong and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The named cause.
    pub cause: Cause,
    /// What is wrong and where, for a person.
    pub detail: String,
}

impl Stop {
    /// A stop.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (what to do: {})", self.cause, self.detail, self.cause.remedy())
    }
}

impl std::error::Error for Stop {}
