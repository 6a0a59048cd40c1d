//! Where in a source's history something is: file and position, GTID set, or MariaDB's per-domain list.
//!
//! Must not compare positions of different servers: that is the deployer's business, by witness.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::gtid::GtidSet;

/// A byte position in one server's binlog files. Orders by file *number*, then position.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FilePosition {
    /// The file's name, for example `binlog.000042`.
    pub file: String,
    /// Bytes from the file's start. 64 bits: files over 4 GiB exist although event headers hold 32.
    pub position: u64,
}

impl FilePosition {
    /// A position.
    pub fn new(file: impl Into<String>, position: u64) -> Self {
        Self { file: file.into(), position }
    }

    /// The number behind the file name's last dot (`999999` goes on to `1000000`, so text order is wrong).
    pub fn file_number(&self) -> Option<u64> {
        self.file.rsplit('.').next().and_then(|digits| digits.parse().ok())
    }
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.position)
    }
}

/// Where to start reading, in the terms the server understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// All transactions *not* in this set (MySQL auto-position).
    Gtid(GtidSet),
    /// MariaDB's `gtid_slave_pos`: one `domain-server-seq` per domain, separated by commas.
    MariaDb(String),
    /// From this byte on: must be the start of an event.
    File(FilePosition),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gtid(set) => set.fmt(f),
            Self::MariaDb(list) => f.write_str(list),
            Self::File(at) => at.fmt(f),
        }
    }
}
