//! One transaction's events by file and position: witnesses and XA groups (protocol §4).
//!
//! Must not decode rows, nor hold more than a batch. A transaction ends with its commit, or before the next one begins.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use async_trait::async_trait;
use towpath_engine::ports::source::{BinlogStream, EventBatch, SourceError};
use towpath_engine::position::FilePosition;

use super::events::{Gather, Raw, kind};
use super::{MySqlSource, dump};

/// Begins reading the transaction that starts at `at`.
pub(super) async fn open(source: &MySqlSource, at: &FilePosition) -> Result<TransactionStream, SourceError> {
    let limit = source.config.query_timeout;
    let opening = dump::open_at(source, at, passing_server_id());
    let dump = tokio::time::timeout(limit, opening).await.map_err(|_| slow(at, limit))??;
    let mut stream = TransactionStream { dump, at: at.clone(), gather: Gather::default(), state: State::Before, limit };
    // Refusals come in place of the first event: wait for it, so that the caller sees them here.
    let first = async {
        while stream.state == State::Before {
            stream.step().await?;
        }
        Ok(())
    };
    tokio::time::timeout(limit, first).await.map_err(|_| slow(at, limit))??;
    Ok(stream)
}

fn slow(at: &FilePosition, limit: Duration) -> SourceError {
    SourceError::Unavailable(format!("reading {at} took over {} s", limit.as_secs()))
}

/// A server id that no standing replica has: a server ends the dump of a replica whose id connects again.
fn passing_server_id() -> u32 {
    let random = RandomState::new().build_hasher().finish() as u32;
    0x8000_0000 | (random >> 1)
}

/// How far a transaction has been read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its first event has not come.
    Before,
    /// It goes on.
    Within,
    /// It may end here: only what follows tells.
    MayEnd,
    /// It has ended.
    Ended,
}

/// A transaction's events, batch by batch.
pub(super) struct TransactionStream {
    dump: dump::Dump,
    at: FilePosition,
    gather: Gather,
    state: State,
    limit: Duration,
}

impl TransactionStream {
    /// Takes the next event in. Cancelling loses nothing.
    async fn step(&mut self) -> Result<(), SourceError> {
        match self.dump.next_raw().await {
            Ok(Some(raw)) => self.on(&raw),
            Ok(None) => match self.state {
                State::MayEnd | State::Ended => {
                    self.state = State::Ended;
                    Ok(())
                }
                State::Before => Err(SourceError::NoEvent(format!("no transaction starts at {}", self.at))),
                State::Within => Err(SourceError::NoEvent(format!("the transaction at {} has no end", self.at))),
            },
            // At the first event these mean the place is wrong, not the event.
            Err(SourceError::Checksum(text)) if self.state == State::Before => Err(SourceError::NoEvent(text)),
            Err(SourceError::Unavailable(text)) if self.state == State::Before && text.contains("contradicts") => {
                Err(SourceError::NoEvent(text))
            }
            Err(err) => Err(err),
        }
    }

    fn on(&mut self, raw: &Raw) -> Result<(), SourceError> {
        if self.state == State::Before {
            // Artificial events come first: their positions are 0 or, for the file's description, the file's start.
            if is_preamble(raw) {
                return Ok(());
            }
            let start = raw.log_pos().wrapping_sub(raw.event_size());
            if start != self.at.position as u32 || !is_start(raw) {
                return Err(SourceError::NoEvent(format!("{} is not the start of a transaction", self.at)));
            }
        } else if is_start(raw) || matches!(raw.kind(), kind::ROTATE | kind::STOP | kind::FORMAT_DESCRIPTION) {
            if self.state == State::Within {
                return Err(SourceError::NoEvent(format!("the transaction at {} has no end", self.at)));
            }
            self.state = State::Ended;
            return Ok(());
        }
        if !self.gather.takes(raw) {
            return Err(SourceError::NoEvent(format!("the checksum setting changes within {}", self.at)));
        }
        self.gather.push(raw);
        self.state = match raw.kind() {
            kind::XID | kind::XA_PREPARE | kind::TRANSACTION_PAYLOAD => State::Ended,
            kind::QUERY if !is_begin(raw) => State::MayEnd,
            _ => State::Within,
        };
        Ok(())
    }
}

#[async_trait]
impl BinlogStream for TransactionStream {
    async fn next(&mut self) -> Result<EventBatch, SourceError> {
        let until = tokio::time::Instant::now() + self.limit;
        while self.state != State::Ended && !self.gather.is_full() {
            let limit = self.limit;
            match tokio::time::timeout_at(until, self.step()).await {
                Ok(stepped) => stepped?,
                Err(_) => return Err(slow(&self.at, limit)),
            }
        }
        Ok(self.gather.take())
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
