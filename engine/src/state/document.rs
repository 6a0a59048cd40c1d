//! The state document's fields. Every field's meaning stands here once; readers elsewhere refer to it.
//!
//! Must hold values only: what follows from them is decided in [`crate::deployer`].

use serde::{Deserialize, Serialize};

use super::{EpochHistory, Ring, SchemaState};
use crate::gtid::GtidSet;
use crate::position::{FilePosition, Position};

/// The definition of "offset" that this code counts by (protocol §1, scheme 1). Another scheme is another epoch.
pub const SCHEME: u8 = 1;

/// The most entries of the audit trail that are kept.
pub const MAX_AUDIT: usize = 50;

/// All that is known about one pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineState {
    /// The pipeline's name, so that a document under a wrong path is noticed.
    pub pipeline: String,
    /// Who leads, as the last leader wrote it.
    pub leader: LeaderMark,
    /// Added to a candidate node's `czxid` to give its term: 0 at the very first start, the highest term found in the
    /// log where the state was restored or set by hand (a new ensemble counts from low again).
    pub term_base: i64,
    /// The topic that the offsets below mean.
    pub topic: String,
    /// The topic's id as Kafka reported it; empty if it reports none.
    pub topic_id: String,
    /// The number of partitions the log was written with.
    pub partitions: u32,
    /// The epoch everything is written under. Number 0: none has been decided, only `order` counts.
    pub epoch: EpochRecord,
    /// Where a deployer resumes.
    pub checkpoint: Checkpoint,
    /// Earlier checkpoints, oldest first.
    pub ring: Ring,
    /// Repairs that were begun and are not finished, oldest first.
    pub pending: Vec<PendingRepair>,
    /// XA groups that are prepared and not committed.
    pub prepared: Vec<PreparedXa>,
    /// Runs of the fallback path whose journals may still be needed, oldest first.
    pub fallback: Vec<FallbackRun>,
    /// Tables' definitions where the binlog does not name columns.
    pub schemas: Option<SchemaState>,
    /// A position set by hand that no leader has carried out yet.
    pub order: Option<PositionOrder>,
    /// What was done by hand, and epochs as they rose; oldest first, at most [`MAX_AUDIT`].
    pub audit: Vec<AuditEntry>,
}

/// Who leads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaderMark {
    /// The term: `term_base` + `czxid`.
    pub term: i64,
    /// The process' own name.
    pub instance: String,
    /// Since when, wall clock, ms.
    pub since_ms: u64,
    /// How many producers this leader has opened: each opening is followed by a guarded write that counts it.
    pub producers: u64,
}

/// Under which number and from where offsets are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// 1 to 8,191; 0 if none has been decided.
    pub number: u16,
    /// How offsets are counted ([`SCHEME`]).
    pub scheme: u8,
    /// The server's identity (`server_uuid`, or what MariaDB has instead) whose bytes are counted.
    pub server: String,
    /// Where offset 0 lies.
    pub anchor: Anchor,
    /// Why this epoch was begun, for a person.
    pub reason: String,
    /// When, wall clock, ms.
    pub began_ms: u64,
    /// Transactions that begin before this place in the server's files lie before some that were carried: their rows
    /// are read again when they are carried (protocol §4 step 5). `None`: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_order_from: Option<FilePosition>,
}

/// Where offset 0 of an epoch lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// What was carried there: the position to read the epoch from its start again.
    pub resume: Position,
    /// The place in the server's files, where it is known.
    pub file: Option<FilePosition>,
}

/// Where a deployer resumes: the end of the last transaction of the contiguous acknowledged prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// All that is carried: the position to resume from.
    pub resume: Position,
    /// Bytes from the epoch's anchor (scheme 1).
    pub offset: u64,
    /// The end of the last carried transaction in the server's files; `None` before the first one of the epoch.
    pub file: Option<FilePosition>,
    /// The commit time of the last carried transaction, ms; 0 before the first.
    pub event_ms: u64,
    /// The last carried transaction; `None` before the first one of the epoch.
    pub witness: Option<Witness>,
    /// Per partition: no record of this epoch before it lies above `offset`. The log's tail is read from here.
    pub tail_from: Vec<i64>,
    /// Per partition: no record of a transaction outside `resume` lies before it (protocol §2). As `tail_from`, but it
    /// stays while a repair is pending.
    pub low_water: Vec<i64>,
}

/// One transaction, so that it can be recognised, bytes and all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// The binlog file it lies in.
    pub file: String,
    /// Its first event's first byte in the file.
    pub start: u64,
    /// Its GTID as text; empty without GTIDs.
    pub gtid: String,
    /// Bytes of its events, checksums cut.
    pub length: u64,
    /// CRC32 (IEEE) of these bytes.
    pub crc32: u32,
    /// `original_commit_timestamp`, µs; 0 where the server writes none. Replicas keep it.
    pub original_commit_us: u64,
}

/// An earlier checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingEntry {
    /// The epoch that `offset` belongs to.
    pub epoch: u16,
    /// What was carried.
    pub resume: Position,
    /// Bytes from the anchor of that epoch.
    pub offset: u64,
    /// The last carried transaction.
    pub witness: Witness,
    /// Per partition: no record of a transaction outside `resume` lies before it.
    pub low_water: Vec<i64>,
    /// XA groups that were prepared there and not committed, by their places on that epoch's server.
    pub prepared: Vec<PreparedXa>,
    /// When it was taken, wall clock, ms.
    pub at_ms: u64,
}

/// A repair that an epoch rise needs: every key in the log at and after `low_water` is to be read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingRepair {
    /// The epoch whose rise needs it.
    pub epoch: u16,
    /// Why, for a person.
    pub reason: String,
    /// What is surely the same before and after; `None`: nothing is, repair all there is.
    pub from: Option<Position>,
    /// Per partition, where to begin in the log. Empty: from the log's start.
    pub low_water: Vec<i64>,
    /// The topic these offsets belong to.
    pub topic_id: String,
    /// When it was put here, wall clock, ms.
    pub at_ms: u64,
    /// Set once everything was read and is acknowledged: all that the rows may show. It stays pending until that is
    /// carried, because what was shown and is lost then would be known to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<GtidSet>,
    /// When the first row was read for it, wall clock, ms; 0 before. Set before that, so that it is known of a repair
    /// that was cut short.
    #[serde(default)]
    pub seen_at_ms: u64,
}

/// An XA group that is prepared and not committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedXa {
    /// The XA transaction's id in hexadecimal.
    pub xid: String,
    /// The group's place and identity.
    pub witness: Witness,
}

/// A run of the fallback path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FallbackRun {
    /// The term of the leader that wrote documents.
    pub term: i64,
    /// Tells its leader's runs apart.
    pub number: u32,
    /// The sinks that were written to; each has a journal named by pipeline, sink, term and number.
    pub sinks: Vec<String>,
    /// The epoch of the offsets.
    pub epoch: u16,
    /// What Kafka had acknowledged when it began.
    pub start: u64,
    /// The highest offset that was written directly; `None` while it is not over.
    pub cursor: Option<u64>,
    /// When it began, wall clock, ms.
    pub began_ms: u64,
}

/// A position set by hand: the next leader begins a new epoch there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionOrder {
    /// Where the new epoch begins; `None`: at the checkpoint of this document (a restored state).
    pub to: Option<crate::deployer::Start>,
    /// Why, in the words of whoever set it.
    pub reason: String,
    /// When, wall clock, ms.
    pub at_ms: u64,
    /// The definitions that hold there, if they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions: Option<EpochHistory>,
}

/// One entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// When, wall clock, ms.
    pub at_ms: u64,
    /// What was done, by whom, from where to where; one sentence.
    pub what: String,
}

impl PipelineState {
    /// Adds to the audit trail, dropping the oldest entry beyond [`MAX_AUDIT`].
    pub fn note(&mut self, at_ms: u64, what: impl Into<String>) {
        self.audit.push(AuditEntry { at_ms, what: what.into() });
        let excess = self.audit.len().saturating_sub(MAX_AUDIT);
        self.audit.drain(..excess);
    }
}
