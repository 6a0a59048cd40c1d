//! Records as they lie in Kafka: written from decoded rows, read back into rows with types.
//!
//! FlatMessage (design §5) is the format there is; others come behind the same trait. Must not deliver, route by
//! anything but the [`crate::routing::Router`] it is given, or know a sink.

pub mod buffer;
pub mod flat;
pub mod headers;
mod json;
mod parts;
pub mod read;
mod reads;
#[cfg(test)]
pub(crate) mod testing;
pub mod types;

pub use buffer::{ControlContext, DeadRow, RecordBuffer, RecordView, write_control};
pub use flat::{FlatConfig, FlatWriter};
pub use headers::{ChangeHeaders, ControlHeaders, ControlKind, Headers, ReadKind, RowRanges};
pub use read::{ChangeKind, ChangeRecord, Field, Incoming, ReadError, Reader, RowRef, Shape, ShapeColumn};
pub use reads::{Gone, IMAGE_INDEX, ImageField, READ_INDEX, READ_ROWS, write_gone};
pub use types::{TypeKind, TypedValue, ValueError};

pub(crate) use json::unescape;

use serde::{Deserialize, Serialize};

use crate::binlog::RowsEvent;
use crate::cause::Stop;

/// What one record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordMode {
    /// The rows of one binlog event that go to one partition.
    Event,
    /// One row, keyed by its primary key.
    Row,
}

/// What records of one event carry beside its rows.
#[derive(Debug, Clone)]
pub struct EventContext<'a> {
    /// The epoch.
    pub epoch: u16,
    /// The offset of the event's first byte in the epoch (protocol §1).
    pub offset: u64,
    /// The leader's term.
    pub term: u64,
    /// The transaction's own GTID as text; empty if it has none.
    pub gtid: &'a str,
    /// The identity of the server whose binlog is read; empty if unknown.
    pub server: &'a str,
    /// The executed set up to and with the transaction, for FlatMessage's `gtid`; empty without GTIDs.
    pub executed: &'a str,
    /// FlatMessage's `id`: a number that grows from batch to batch.
    pub id: u64,
    /// The event's time, milliseconds since the epoch.
    pub es_ms: u64,
    /// Wall clock, milliseconds since the epoch.
    pub ts_ms: u64,
}

/// A format of records: writes what one event changed.
pub trait RecordFormat: Send {
    /// Appends the records of one rows event to `out`, in the order in which they must be produced.
    ///
    /// Rows that no record can take are appended to [`RecordBuffer::dead`].
    ///
    /// # Errors
    /// What decoding a row says; `out` then holds no record of this event.
    fn write(&mut self, event: RowsEvent<'_>, context: &EventContext<'_>, out: &mut RecordBuffer) -> Result<(), Stop>;
}
