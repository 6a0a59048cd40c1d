//! One transaction's bytes by file and position: the witness of protocol §4.
//!
//! Must not decode rows. A transaction ends with its commit, or before the next one begins.

use std::hash::{BuildHasher, Hasher, RandomState};

use towpath_engine::ports::source::{SourceError, TransactionBytes};
use towpath_engine::position::FilePosition;

use super::events::{Gather, Raw, kind};
use super::{MySqlSource, dump};

/// A witness is held in memory as a whole; larger transactions are refused by name.
const MAX_BYTES: usize = 512 << 20;

/// Reads the transaction that starts at `at`.
pub(super) async fn read(source: &MySqlSource, at: &FilePosition) -> Result<TransactionBytes, SourceError> {
    let limit = source.config.query_timeout;
    let reading = async {
        let mut dump = dump::open_at(source, at, passing_server_id()).await?;
        let mut reader = Reader::new(at);
        loop {
            match dump.next_raw().await {
                Ok(Some(raw)) => {
                    if reader.on(&raw)? {
                        break;
                    }
                }
                Ok(None) => break,
                // At the first event these mean the place is wrong, not the event.
                Err(SourceError::Checksum(text)) if reader.gather.is_empty() => return Err(SourceError::NoEvent(text)),
                Err(SourceError::Unavailable(text)) if reader.gather.is_empty() && text.contains("contradicts") => {
                    return Err(SourceError::NoEvent(text));
                }
                Err(err) => return Err(err),
            }
        }
        reader.finish()
    };
    tokio::time::timeout(limit, reading)
        .await
        .unwrap_or_else(|_| Err(SourceError::Unavailable(format!("reading {at} took over {} s", limit.as_secs()))))
}

/// A server id that no standing replica has: a server ends the dump of a replica whose id connects again.
fn passing_server_id() -> u32 {
    let random = RandomState::new().build_hasher().finish() as u32;
    0x8000_0000 | (random >> 1)
}

/// Takes a stream's events until the transaction is complete.
struct Reader<'a> {
    at: &'a FilePosition,
    gather: Gather,
    complete: bool,
}

impl<'a> Reader<'a> {
    fn new(at: &'a FilePosition) -> Self {
        Self { at, gather: Gather::default(), complete: false }
    }

    /// Whether the transaction is at its end.
    fn on(&mut self, raw: &Raw) -> Result<bool, SourceError> {
        if self.gather.is_empty() {
            // Artificial events come first: their positions are 0 or, for the file's description, the file's start.
            if is_preamble(raw) {
                return Ok(false);
            }
            let start = raw.log_pos().wrapping_sub(raw.event_size());
            if start != self.at.position as u32 || !is_start(raw) {
                return Err(SourceError::NoEvent(format!("{} is not the start of a transaction", self.at)));
            }
        } else if is_start(raw) || matches!(raw.kind(), kind::ROTATE | kind::STOP | kind::FORMAT_DESCRIPTION) {
            return Ok(true);
        }
        if self.gather.len() + raw.event_size() as usize > MAX_BYTES {
            return Err(SourceError::Refused(format!("the transaction at {} exceeds {MAX_BYTES} bytes", self.at)));
        }
        if !self.gather.takes(raw) {
            return Err(SourceError::NoEvent(format!("the checksum setting changes within {}", self.at)));
        }
        self.gather.push(raw);
        let commits = matches!(raw.kind(), kind::XID | kind::XA_PREPARE | kind::TRANSACTION_PAYLOAD);
        self.complete = commits || (raw.kind() == kind::QUERY && !is_begin(raw));
        Ok(commits)
    }

    fn finish(mut self) -> Result<TransactionBytes, SourceError> {
        if self.gather.is_empty() {
            return Err(SourceError::NoEvent(format!("no transaction starts at {}", self.at)));
        }
        if !self.complete {
            return Err(SourceError::NoEvent(format!("the transaction at {} has no end", self.at)));
        }
        Ok(TransactionBytes { events: self.gather.take() })
    }
}

fn is_preamble(raw: &Raw) -> bool {
    matches!(
        raw.kind(),
        kind::ROTATE
            | kind::FORMAT_DESCRIPTION
            | kind::HEARTBEAT
            | kind::HEARTBEAT_V2
            | kind::PREVIOUS_GTIDS
            | kind::MARIADB_GTID_LIST
            | kind::MARIADB_BINLOG_CHECKPOINT
            | kind::MARIADB_START_ENCRYPTION
    )
}

fn is_start(raw: &Raw) -> bool {
    matches!(raw.kind(), kind::GTID | kind::ANONYMOUS_GTID | kind::GTID_TAGGED | kind::MARIADB_GTID)
}

/// A QUERY event whose statement is BEGIN (the statement is the end of the body): it commits nothing.
fn is_begin(raw: &Raw) -> bool {
    raw.kind() == kind::QUERY && raw.body().ends_with(b"\0BEGIN")
}
