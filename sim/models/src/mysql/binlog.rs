//! The model server's binlog files: appending, rotating, purging, and finding where a dump starts.

use super::encode::{self, HEADER, Stamp};
use super::gtid::Gtids;
use std::collections::VecDeque;

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct BinlogFile {
    /// Its number; the name is `binlog.` and six digits.
    pub number: u64,
    /// The whole file, magic number included.
    pub bytes: Vec<u8>,
    /// Where events start, ascending.
    pub starts: Vec<u64>,
    /// What was executed before the file began.
    pub previous: Gtids,
}

impl BinlogFile {
    /// The file's name.
    pub fn name(&self) -> String {
        file_name(self.number)
    }

    /// Its length.
    pub fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The event that starts at `position`, checksum included.
    pub fn event_at(&self, position: u64) -> Option<&[u8]> {
        self.starts.binary_search(&position).ok()?;
        let start = usize::try_from(position).ok()?;
        let size = self.bytes.get(start + 9..start + 13)?;
        let size = u32::from_le_bytes(size.try_into().ok()?) as usize;
        self.bytes.get(start..start + size)
    }

    fn push(&mut self, event: &[u8]) {
        self.starts.push(self.end());
        self.bytes.extend_from_slice(event);
    }
}

/// The name of the file with this number.
pub(crate) fn file_name(number: u64) -> String {
    format!("binlog.{number:06}")
}

/// Settings that decide the bytes.
#[derive(Debug, Clone)]
pub(crate) struct BinlogSettings {
    /// `@@version`.
    pub version: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@binlog_checksum` is CRC32.
    pub checksum: bool,
    /// `@@max_binlog_size`.
    pub max_size: u64,
}

/// All files that exist.
#[derive(Debug, Clone)]
pub(crate) struct Binlog {
    /// Oldest first; never empty.
    pub files: VecDeque<BinlogFile>,
    pub settings: BinlogSettings,
    /// The logical clock of the current file.
    pub sequence: u64,
}

impl Binlog {
    /// The first file.
    pub fn new(settings: BinlogSettings, first: u64, executed: &Gtids, timestamp: u32) -> Self {
        let mut binlog = Self { files: VecDeque::new(), settings, sequence: 0 };
        binlog.open(first, executed, timestamp, timestamp);
        binlog
    }

    fn stamp(&self, timestamp: u32) -> Stamp {
        Stamp { timestamp, server_id: self.settings.server_id, checksum: self.settings.checksum }
    }

    /// Begins a file: magic number, FORMAT_DESCRIPTION, PREVIOUS_GTIDS.
    fn open(&mut self, number: u64, executed: &Gtids, timestamp: u32, created: u32) {
        let mut file =
            BinlogFile { number, bytes: b"\xfebin".to_vec(), starts: Vec::new(), previous: executed.clone() };
        let stamp = self.stamp(timestamp);
        file.push(&encode::format_description(stamp, Some(4), &self.settings.version, created));
        let previous = encode::previous_gtids(stamp, file.end(), executed);
        file.push(&previous);
        self.sequence = 0;
        self.files.push_back(file);
    }

    /// The file that is written.
    pub fn current(&mut self) -> &mut BinlogFile {
        if self.files.is_empty() {
            // Unreachable by construction (`new` opens one, nothing removes the last); an empty file beats a panic.
            self.open(1, &Gtids::default(), 0, 0);
        }
        let last = self.files.len() - 1;
        &mut self.files[last]
    }

    /// Name and length of the file that is written.
    pub fn end(&self) -> (u64, u64) {
        self.files.back().map_or((1, 4), |file| (file.number, file.end()))
    }

    /// Appends one event made for this place.
    pub fn append(&mut self, timestamp: u32, kind: u8, flags: u16, body: &[u8]) {
        let stamp = self.stamp(timestamp);
        let start = self.end().1;
        let event = encode::event(stamp, kind, flags, Some(start), body);
        self.current().push(&event);
    }

    /// Appends a whole transaction: `head` first, with the length of the rest.
    pub fn append_transaction(
        &mut self,
        timestamp: u32,
        head: &mut encode::GtidHead<'_>,
        events: &[(u8, u16, Vec<u8>)],
    ) {
        let stamp = self.stamp(timestamp);
        let overhead = HEADER + if stamp.checksum { encode::CHECKSUM } else { 0 };
        head.sequence = self.sequence + 1;
        head.last_committed = self.sequence;
        head.rest_length = events.iter().map(|(_, _, body)| (body.len() + overhead) as u64).sum();
        self.sequence += 1;
        let gtid = encode::gtid(stamp, self.end().1, head);
        self.current().push(&gtid);
        for (kind, flags, body) in events {
            self.append(timestamp, *kind, *flags, body);
        }
    }

    /// Ends the file with ROTATE and begins the next (FLUSH BINARY LOGS, or the size is reached).
    pub fn rotate(&mut self, executed: &Gtids, timestamp: u32) {
        let next = self.end().0 + 1;
        self.append(timestamp, encode::ROTATE_EVENT, 0, &encode::rotate_body(4, &file_name(next)));
        self.open(next, executed, timestamp, 0);
    }

    /// A restart: an orderly one ends the file with STOP, a crash leaves it as it is.
    pub fn restart(&mut self, executed: &Gtids, timestamp: u32, orderly: bool) {
        if orderly {
            self.append(timestamp, encode::STOP_EVENT, 0, &[]);
        }
        let next = self.end().0 + 1;
        self.open(next, executed, timestamp, timestamp);
    }

    /// Whether the file has reached its size.
    pub fn is_full(&self) -> bool {
        self.end().1 >= self.settings.max_size
    }

    /// Cuts the log back to a place (a crash that loses what was not synced).
    pub fn truncate(&mut self, number: u64, position: u64) {
        while self.files.len() > 1 && self.end().0 > number {
            self.files.pop_back();
        }
        let file = self.current();
        file.bytes.truncate(usize::try_from(position).unwrap_or(usize::MAX));
        file.starts.retain(|&start| start < position);
    }

    /// The file with this number.
    pub fn file(&self, number: u64) -> Option<&BinlogFile> {
        self.files.iter().find(|file| file.number == number)
    }

    /// The file with this name.
    pub fn named(&self, name: &str) -> Option<&BinlogFile> {
        self.files.iter().find(|file| file.name() == name)
    }

    /// Where a dump by set begins: the newest file before which nothing was executed that is not in the set.
    pub fn file_for(&self, set: &Gtids) -> Option<&BinlogFile> {
        self.files.iter().rev().find(|file| file.previous.is_subset(set))
    }
}
