//! Judges of what was observed. Each in a file of its own; each states exactly what it allows.

pub mod checkpoint;
pub mod delivery;
pub mod documents;
pub mod freshness;
pub mod history;
pub mod identity;
pub mod order;
pub mod search;
pub mod sound;

use serde::{Deserialize, Serialize};

/// What an oracle found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The oracle's name: its file.
    pub oracle: String,
    /// What it saw.
    pub text: String,
}

impl Violation {
    /// By this oracle.
    pub fn new(oracle: &str, text: impl Into<String>) -> Self {
        Self { oracle: oracle.to_owned(), text: text.into() }
    }
}

/// A change of one row as the log holds it, committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChange {
    /// Its record's partition.
    pub partition: u32,
    /// Its record's offset in the partition.
    pub place: i64,
    /// The leader's term.
    pub term: u64,
    /// The epoch.
    pub epoch: u16,
    /// The row's offset in the epoch.
    pub offset: u64,
    /// The transaction; `None` for a row that was read rather than streamed.
    pub gtid: Option<String>,
    /// Where its source has the transaction: `FILE:START`.
    pub at: String,
    /// The table.
    pub table: String,
    /// The primary key.
    pub key: String,
    /// Insert, update or delete, and all columns' texts.
    pub content: String,
    /// The copy of a row that left the partition.
    pub copy: bool,
}

impl LogChange {
    /// What is compared where versions are: epoch, then offset.
    pub fn version(&self) -> (u16, u64) {
        (self.epoch, self.offset)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::LogChange;

    /// A change of row `key` with this version.
    pub fn change(key: &str, offset: u64, content: &str) -> LogChange {
        LogChange {
            partition: 0,
            place: offset as i64,
            term: 1,
            epoch: 1,
            offset,
            gtid: Some(format!("uuid:{offset}")),
            at: format!("binlog.000001:{offset}"),
            table: "order_main".into(),
            key: key.into(),
            content: content.into(),
            copy: false,
        }
    }
}
