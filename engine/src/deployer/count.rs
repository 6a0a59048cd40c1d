//! Counts a stream: each event's offset by scheme 1, its place in the files, where transactions begin and end, and
//! their
//! witnesses. Pure.
//!
//! Must not look at rows.

use std::sync::Arc;

use super::tail::write_witness;
use super::xa::XaEnd;
use crate::binlog::{Event, EventHeader, MariaDbGtid, QueryKind, XaStatement};
use crate::cause::{Cause, Stop};
use crate::gtid::{Gtid, Tag, Uuid};
use crate::position::{FilePosition, Position};
use crate::state::Witness;
use crate::version::MAX_OFFSET;

/// A transaction's own identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionId {
    /// MySQL's GTID.
    Gtid(Gtid),
    /// MariaDB's.
    MariaDb {
        /// The domain.
        domain: u32,
        /// The server that wrote it first.
        server: u32,
        /// The number within the domain.
        sequence: u64,
    },
    /// None: only its place identifies it.
    Anonymous,
}

impl TransactionId {
    /// As text; empty for an anonymous one.
    pub fn text(&self) -> String {
        match self {
            Self::Gtid(gtid) => gtid.to_string(),
            Self::MariaDb { domain, server, sequence } => format!("{domain}-{server}-{sequence}"),
            Self::Anonymous => String::new(),
        }
    }
}

/// What is known of a transaction once it has ended. A few words, since thousands wait in the window.
#[derive(Debug, Clone)]
pub struct TransactionEnd {
    /// Its identity.
    pub id: TransactionId,
    /// The offset after its last byte.
    pub offset: u64,
    /// The file it lies in.
    pub file: Arc<str>,
    /// Its first byte in the file.
    pub start: u64,
    /// The place after its last byte in the file.
    pub end: u64,
    /// Counted bytes.
    pub length: u64,
    /// CRC32 of the counted bytes.
    pub crc32: u32,
    /// Commit time on the server where it began, µs; 0 if unknown.
    pub original_commit_us: u64,
    /// Commit time on the server being read, ms.
    pub commit_ms: u64,
    /// What it means for an XA group.
    pub xa: Option<Arc<XaEnd>>,
}

impl TransactionEnd {
    /// It as a witness.
    pub fn witness(&self) -> Witness {
        Witness {
            file: self.file.to_string(),
            start: self.start,
            gtid: self.id.text(),
            length: self.length,
            crc32: self.crc32,
            original_commit_us: self.original_commit_us,
        }
    }

    /// The place after it.
    pub fn file_end(&self) -> FilePosition {
        FilePosition::new(self.file.as_ref(), self.end)
    }
}

/// Moves a position past a transaction. `false` if the position cannot hold it (an anonymous transaction and a set).
pub fn carry(position: &mut Position, end: &TransactionEnd) -> bool {
    match (position, end.id) {
        (Position::Gtid(set), TransactionId::Gtid(gtid)) => {
            set.insert(gtid);
            true
        }
        (Position::MariaDb(list), TransactionId::MariaDb { domain, server, sequence }) => {
            *list = mariadb_with(list, domain, server, sequence);
            true
        }
        (Position::File(at), _) => {
            *at = end.file_end();
            true
        }
        _ => false,
    }
}

/// MariaDB's position with one domain moved on.
fn mariadb_with(list: &str, domain: u32, server: u32, sequence: u64) -> String {
    let new = format!("{domain}-{server}-{sequence}");
    let mut found = false;
    let mut parts: Vec<String> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let same = part.split('-').next().and_then(|text| text.parse::<u32>().ok()) == Some(domain);
        found |= same;
        parts.push(if same { new.clone() } else { part.to_owned() });
    }
    if !found {
        parts.push(new);
    }
    parts.join(",")
}

/// No binlog is longer, in bytes: a place beyond is damage, and would leave no room to count on.
const LONGEST_FILE: u64 = 1 << 56;

/// The place in a file that its last 32 bits tell, where none before `known` can be meant. Skipped transactions leave
/// gaps, so it is the next such place.
pub fn whole_place(known: u64, low: u32) -> u64 {
    const WRAP: u64 = 1 << 32;
    let place = (known & !(WRAP - 1)) | u64::from(low);
    if place < known { place.saturating_add(WRAP) } else { place }
}

/// What an event means for the flow of transactions.
#[derive(Debug)]
pub enum Step {
    /// Between transactions.
    Outside,
    /// The first event of a transaction.
    Begin,
    /// Within a transaction.
    Inside,
    /// The last event of a transaction.
    End(TransactionEnd),
}

struct Open {
    id: TransactionId,
    /// The offset of its first byte.
    from: u64,
    /// An XA group: its bytes count at its COMMIT, so the offset stays.
    withheld: bool,
    start: u64,
    length: u64,
    hasher: crc32fast::Hasher,
    original_commit_us: u64,
    commit_us: u64,
    /// BEGIN was seen (or implied), so a statement does not end it.
    begun: bool,
    time_s: u32,
}

/// Counts the events of one stream, from a transaction's start on.
pub struct Counter {
    offset: u64,
    file: Arc<str>,
    position: u64,
    open: Option<Open>,
    /// Offset of the last event's first byte.
    event_offset: u64,
}

impl Counter {
    /// At a transaction's start whose first byte has this offset.
    pub fn new(offset: u64) -> Self {
        Self { offset, file: Arc::from(""), position: 0, open: None, event_offset: offset }
    }

    /// Takes the next event in the stream's order: its header, its counted bytes (header and body, without checksum)
    /// and what it says.
    pub fn step(&mut self, header: &EventHeader, raw: &[u8], event: &Event<'_>) -> Result<Step, Stop> {
        self.place(header, event)?;
        self.event_offset = self.offset;
        let begins = self.begins(header, event)?;
        if self.open.is_none() && matches!(event, Event::Rows(_) | Event::FilteredRows { .. }) {
            // Nothing is counted there: two such events would have the same offset.
            let detail = format!("rows outside a transaction at {}: reading began within one", self.describe());
            return Err(Stop::new(Cause::Corrupt, detail));
        }
        if header.counts()
            && let Some(open) = &mut self.open
        {
            open.length += raw.len() as u64;
            open.hasher.update(raw);
            open.time_s = header.timestamp;
            if !open.withheld {
                self.advance(raw)?;
            }
        }
        if self.ends(event) {
            return Ok(self.close().map_or(Step::Outside, Step::End));
        }
        Ok(match (begins, self.open.is_some()) {
            (true, _) => Step::Begin,
            (false, true) => Step::Inside,
            (false, false) => Step::Outside,
        })
    }

    /// Counts an event.
    fn advance(&mut self, raw: &[u8]) -> Result<(), Stop> {
        self.offset += raw.len() as u64;
        if self.offset > MAX_OFFSET {
            let detail = "the epoch's offsets are used up (281 TB): set the position anew";
            return Err(Stop::new(Cause::EpochSpace, detail));
        }
        Ok(())
    }

    /// The open transaction is an XA group: none of its bytes count here.
    pub fn withhold(&mut self) {
        if let Some(open) = &mut self.open {
            open.withheld = true;
            self.offset = open.from;
        }
    }

    /// A group's events follow, by [`Counter::insert`]. The open transaction counts from here on, if it did not.
    pub fn release(&mut self) {
        if let Some(open) = &mut self.open {
            open.withheld = false;
        }
    }

    /// Counts an event of an XA group at the place where the group takes effect.
    pub fn insert(&mut self, header: &EventHeader, raw: &[u8]) -> Result<(), Stop> {
        self.event_offset = self.offset;
        if header.counts() { self.advance(raw) } else { Ok(()) }
    }

    /// Follows the place in the files. Positions in headers have 32 bits: files may be larger.
    fn place(&mut self, header: &EventHeader, event: &Event<'_>) -> Result<(), Stop> {
        if let Event::Rotate { file, position } = event {
            if self.open.is_some() && !header.is_artificial() {
                return Err(self.torn());
            }
            if *self.file != **file {
                self.file = Arc::from(*file);
            }
            self.position = *position;
            return Ok(());
        }
        if let Event::FormatDescription(_) = event
            && self.open.is_some()
        {
            return Err(self.torn());
        }
        if let Event::Heartbeat { file, position } = event {
            // A gap of skipped transactions may be longer than 32 bits tell: heartbeats in it say the whole place.
            if *position > LONGEST_FILE {
                return Err(Stop::new(
                    Cause::Corrupt,
                    format!("a heartbeat tells of byte {position} of {}", self.file),
                ));
            }
            if self.open.is_none() && *self.file == **file && *position > u64::from(u32::MAX) {
                self.position = self.position.max(*position);
            }
            return Ok(());
        }
        if !header.is_artificial() && header.log_pos != 0 {
            self.position = whole_place(self.position, header.log_pos);
        }
        Ok(())
    }

    fn torn(&self) -> Stop {
        Stop::new(Cause::Corrupt, format!("the binlog goes on after {} within a transaction", self.file))
    }

    /// Opens a transaction if the event begins one.
    fn begins(&mut self, header: &EventHeader, event: &Event<'_>) -> Result<bool, Stop> {
        let (id, original_us, commit_us, begun) = match event {
            Event::Gtid(gtid) => {
                let tag = Tag::new(gtid.tag).ok_or_else(|| Stop::new(Cause::Corrupt, "a GTID's tag is malformed"))?;
                let id = TransactionId::Gtid(Gtid::tagged(Uuid(gtid.uuid), tag, gtid.number));
                (id, gtid.original_commit_us, gtid.immediate_commit_us, false)
            }
            Event::AnonymousGtid(gtid) => {
                (TransactionId::Anonymous, gtid.original_commit_us, gtid.immediate_commit_us, false)
            }
            Event::MariaDbGtid(MariaDbGtid { domain, server_id, sequence, .. }) => {
                let id = TransactionId::MariaDb { domain: *domain, server: *server_id, sequence: *sequence };
                // MariaDB writes no BEGIN: the GTID event stands for it, unless it announces one statement.
                let begun = !matches!(event, Event::MariaDbGtid(gtid) if gtid.is_standalone());
                (id, 0, 0, begun)
            }
            Event::Query(query) if query.kind() == QueryKind::Begin => match &mut self.open {
                Some(open) => {
                    open.begun = true;
                    return Ok(false);
                }
                // Servers before 5.7 without GTIDs.
                None => (TransactionId::Anonymous, 0, 0, true),
            },
            Event::Query(query) if self.open.is_none() && query.kind() == QueryKind::Statement => {
                (TransactionId::Anonymous, 0, 0, false)
            }
            _ => return Ok(false),
        };
        if self.open.is_some() {
            return Err(Stop::new(
                Cause::Corrupt,
                format!("a transaction begins within another at {}", self.describe()),
            ));
        }
        self.open = Some(Open {
            id,
            from: self.offset,
            withheld: false,
            start: self.position.saturating_sub(u64::from(header.size)),
            length: 0,
            hasher: crc32fast::Hasher::new(),
            original_commit_us: original_us,
            commit_us,
            begun,
            time_s: header.timestamp,
        });
        Ok(true)
    }

    fn ends(&self, event: &Event<'_>) -> bool {
        let Some(open) = &self.open else { return false };
        match event {
            Event::Xid(_) | Event::XaPrepare(_) => true,
            Event::Query(query) => match query.kind() {
                QueryKind::Xa => {
                    let statement = XaStatement::parse(&query.sql);
                    matches!(statement, Some(XaStatement::Commit(_) | XaStatement::Rollback(_)))
                }
                QueryKind::Commit | QueryKind::Rollback => true,
                QueryKind::Statement => !open.begun,
                QueryKind::Begin | QueryKind::Savepoint => false,
            },
            _ => false,
        }
    }

    fn close(&mut self) -> Option<TransactionEnd> {
        let open = self.open.take()?;
        let commit_us = if open.commit_us > 0 { open.commit_us } else { u64::from(open.time_s) * 1_000_000 };
        Some(TransactionEnd {
            id: open.id,
            offset: self.offset,
            file: Arc::clone(&self.file),
            start: open.start,
            end: self.position,
            length: open.length,
            crc32: open.hasher.finalize(),
            original_commit_us: open.original_commit_us,
            commit_ms: commit_us / 1000,
            xa: None,
        })
    }

    /// Offset of the last event's first byte.
    pub fn event_offset(&self) -> u64 {
        self.event_offset
    }

    /// The offset after the last counted byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The open transaction up to and with the last event.
    pub fn so_far(&self) -> Witness {
        let mut witness = Witness {
            file: self.file.to_string(),
            start: self.position,
            gtid: String::new(),
            length: 0,
            crc32: 0,
            original_commit_us: 0,
        };
        if let Some(open) = &self.open {
            (witness.start, witness.length) = (open.start, open.length);
            witness.crc32 = open.hasher.clone().finalize();
        }
        witness
    }

    /// The open transaction up to and with the last event, as the witness' header has it.
    pub fn so_far_text(&self) -> String {
        match &self.open {
            Some(open) => write_witness(&self.file, open.start, open.length, open.hasher.clone().finalize()),
            None => String::new(),
        }
    }

    /// Where the open transaction begins; without one, the place after the last event.
    pub fn open_start(&self) -> FilePosition {
        let position = self.open.as_ref().map_or(self.position, |open| open.start);
        FilePosition::new(self.file.as_ref(), position)
    }

    /// The open transaction's identity.
    pub fn open_id(&self) -> Option<TransactionId> {
        self.open.as_ref().map(|open| open.id)
    }

    /// The place after the last event.
    pub fn place_after(&self) -> FilePosition {
        FilePosition::new(self.file.as_ref(), self.position)
    }

    /// The place after the last event, for a person.
    pub fn describe(&self) -> String {
        format!("{}:{}", self.file, self.position)
    }
}

#[cfg(test)]
#[path = "count_tests.rs"]
mod tests;
