//! What the state says about tables' definitions where the binlog does not name columns: a reference to the schema
//! history, the tables whose rows are held, and what was decided about them by hand.
//!
//! Must hold values only.

use serde::{Deserialize, Serialize};

use super::{Checkpoint, PreparedXa};
use crate::cause::Cause;
use crate::schema::catalog::TableDefinition;

/// Definitions as of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaState {
    /// Where they are kept.
    pub history: HistoryRef,
    /// Tables whose rows are held, oldest first.
    pub quarantine: Vec<Quarantine>,
    /// Definitions given by hand that the stream has not passed yet.
    pub orders: Vec<SchemaOrder>,
    /// The histories of earlier epochs whose checkpoints are still kept, oldest first.
    pub earlier: Vec<EpochHistory>,
}

/// The history of an epoch, up to an offset in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochHistory {
    /// The epoch.
    pub epoch: u16,
    /// The offset that the history reaches to.
    pub offset: u64,
    /// Where it is kept.
    pub history: HistoryRef,
}

/// A place in the schema history's topic. Definitions of thousands of tables would not fit beside the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryRef {
    /// The topic's id as Kafka reported it; empty if it reports none.
    pub topic_id: String,
    /// The name of the snapshot that the changes build on.
    pub snapshot: String,
    /// The offset of the snapshot's first record.
    pub from: i64,
    /// The offset after the last change before the checkpoint.
    pub upto: i64,
    /// How many changes there are.
    pub changes: u64,
}

/// A table whose rows are held: they are not produced, and the place to read them again from is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The named cause.
    pub cause: Cause,
    /// What is wrong and where, for a person.
    pub detail: String,
    /// The epoch of the offset below.
    pub epoch: u16,
    /// The offset of the event with which it begins.
    pub offset: u64,
    /// The transaction with which it begins: its GTID, or its place without one.
    pub transaction: String,
    /// Since when, wall clock, ms.
    pub since_ms: u64,
    /// A checkpoint before it: from here on all rows of the table are read again.
    pub resume: Checkpoint,
    /// The definitions as of that checkpoint.
    pub history: HistoryRef,
    /// The XA groups that were prepared there.
    pub prepared: Vec<PreparedXa>,
}

/// A definition given by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaOrder {
    /// The transaction from which on the table is so; `None`: from the checkpoint on.
    pub transaction: Option<String>,
    /// The table.
    pub definition: TableDefinition,
    /// When it was given, wall clock, ms.
    pub at_ms: u64,
}
