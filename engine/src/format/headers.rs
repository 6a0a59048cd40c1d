//! Record headers: what FlatMessage cannot carry. All values are text, so that any console consumer can show them.
//!
//! Must not decide anything: who is fenced, skipped or repaired is the business of deployer and adapter.

use std::fmt;

use crate::gtid::Gtid;
use crate::ports::log::ConsumedRecord;
use crate::version::{MAX_EPOCH, MAX_OFFSET};

/// The epoch under which the record was written, decimal.
pub const EPOCH: &str = "towpath-epoch";
/// The offset of the event's first byte in its epoch (protocol §1), decimal.
pub const OFFSET: &str = "towpath-offset";
/// The indices of the record's rows in their event, as ranges: `0-24,27`. Aligned with `data`.
pub const ROWS: &str = "towpath-rows";
/// The transaction's GTID; absent where there is none.
pub const GTID: &str = "towpath-gtid";
/// The term of the leader that wrote the record, decimal.
pub const TERM: &str = "towpath-term";
/// On the copy that a changed routing key leaves in its old partition: the partition of the original, decimal.
pub const COPY: &str = "towpath-copy";
/// On control records only: the kind ([`ControlKind`]).
pub const CONTROL: &str = "towpath-control";
/// On rows that were read and not streamed (protocol §5): what the record says of them ([`ReadKind`]).
pub const READ: &str = "towpath-read";
/// The pipeline's name.
pub const PIPELINE: &str = "towpath-pipeline";
/// The identity of the server whose binlog the record comes from (`server_uuid`); optional.
pub const SERVER: &str = "towpath-server";

/// On records whose rows do not tell all columns (`binlog_row_image` is not FULL): `1`. A column that `data` leaves out
/// is unknown, not NULL; one that `old` leaves out may have changed all the same.
pub const PARTIAL: &str = "towpath-partial";

/// On records of a replay: `1`. An index may hold what the images do not tell of, since conditions may have changed.
pub const REPLAY: &str = "towpath-replay";

/// The most headers a record of ours carries, those of a replay and of a witness left out.
pub const MAX_HEADERS: usize = 11;

/// What a control record announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlKind {
    /// A new leader's first act in each partition (protocol §3): later records of a lower term are a zombie's.
    Fence,
    /// An epoch has begun: written before the first change under it.
    Epoch,
    /// A kind that this version does not know: to be passed over.
    Other(String),
}

impl ControlKind {
    /// The header's text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Fence => "fence",
            Self::Epoch => "epoch",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for ControlKind {
    fn from(name: &str) -> Self {
        match name {
            "fence" => Self::Fence,
            "epoch" => Self::Epoch,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What a record says of rows that were read. Their version offsets are the boundary's, plus the row's index: fewer
/// than
/// the bytes of the GTID event that follows, so that every later event is above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadKind {
    /// The row as it is (an INSERT record).
    Row,
    /// An image that the row had in the log and does not have (a DELETE record): what it alone named goes. Its
    /// version is
    /// below the one of [`ReadKind::Row`], which wins where both name one document.
    Image,
    /// The last images of a row that is not there (a DELETE record).
    Missing,
    /// The same, of a row that only lost transactions had inserted: gone also where deletes are not carried.
    Never,
}

impl ReadKind {
    /// The header's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Image => "image",
            Self::Missing => "missing",
            Self::Never => "never",
        }
    }

    /// Reads the header's text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Row, Self::Image, Self::Missing, Self::Never].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Row indices as ranges, both ends included, rising and disjoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowRanges(Vec<(u32, u32)>);

impl RowRanges {
    /// Appends the next index; `false` (and no change) if it does not rise.
    pub fn push(&mut self, row: u32) -> bool {
        match self.0.last_mut() {
            Some((_, last)) if row <= *last => false,
            Some((_, last)) if row == *last + 1 => {
                *last = row;
                true
            }
            _ => {
                self.0.push((row, row));
                true
            }
        }
    }

    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many rows.
    pub fn count(&self) -> usize {
        self.0.iter().map(|(first, last)| (last - first) as usize + 1).sum()
    }

    /// The indices, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|&(first, last)| first..=last)
    }

    /// Appends the header's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        for (index, &(first, last)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(digits.format(first).as_bytes());
            if last > first {
                out.push(b'-');
                out.extend_from_slice(digits.format(last).as_bytes());
            }
        }
    }

    /// Reads the header's text. `None` if it is not a rising, disjoint list of ranges.
    pub fn parse(text: &str) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut above = None;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (decimal::<u32>(first)?, decimal::<u32>(last)?);
            // The header counts rows of one event: a range of billions is not one, and would be expanded.
            if last < first || last >= MAX_ROW || above.is_some_and(|above| first <= above) {
                return None;
            }
            ranges.push((first, last));
            above = Some(last);
        }
        Some(Self(ranges))
    }
}

/// Row indices are below this: an event holds at most 1 GiB, a row at least a byte.
const MAX_ROW: u32 = 1 << 30;

impl FromIterator<u32> for RowRanges {
    /// Indices must rise; those that do not are left out.
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Self {
        let mut ranges = Self::default();
        for row in rows {
            ranges.push(row);
        }
        ranges
    }
}

impl fmt::Display for RowRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// The headers of a record of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeHeaders {
    /// The epoch.
    pub epoch: u16,
    /// The offset of the event's first byte in its epoch.
    pub offset: u64,
    /// The rows' indices in their event; row `i` has version offset `offset + i`.
    pub rows: RowRanges,
    /// The transaction's GTID as text (MySQL's, or MariaDB's `domain-server-sequence`), if it has one.
    pub gtid: Option<String>,
    /// The writer's term.
    pub term: u64,
    /// Set on a copy left in an old partition: the partition of the original.
    pub copy: Option<u32>,
    /// Set on rows that were read and not streamed.
    pub read: Option<ReadKind>,
    /// The pipeline's name; empty if absent.
    pub pipeline: String,
    /// The rows do not tell all columns.
    pub partial: bool,
    /// See [`REPLAY`].
    pub replay: bool,
}

/// The headers of a control record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlHeaders {
    /// What it announces.
    pub kind: ControlKind,
    /// The epoch in which it was written.
    pub epoch: u16,
    /// The writer's term.
    pub term: u64,
    /// The pipeline's name; empty if absent.
    pub pipeline: String,
}

/// What the headers say a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Headers {
    /// Rows.
    Change(ChangeHeaders),
    /// A control record.
    Control(ControlHeaders),
    /// Not one header of ours: written by something else.
    None,
}

/// A header that is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header {name}: {reason}")]
pub struct HeaderError {
    /// Which header.
    pub name: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Headers {
    /// Reads a record's headers strictly: one of ours means that all that are required must be there and well formed.
    pub fn parse(record: &ConsumedRecord) -> Result<Self, HeaderError> {
        if !record.headers.iter().any(|(name, _)| name.starts_with("towpath-")) {
            return Ok(Self::None);
        }
        let epoch = required(record, EPOCH, |text| decimal::<u16>(text).filter(|&epoch| epoch <= MAX_EPOCH))?;
        let term = required(record, TERM, decimal::<u64>)?;
        let pipeline = optional(record, PIPELINE, |text| Some(text.to_owned()))?.unwrap_or_default();
        if let Some(kind) = optional(record, CONTROL, |text| Some(ControlKind::from(text)))? {
            return Ok(Self::Control(ControlHeaders { kind, epoch, term, pipeline }));
        }
        Ok(Self::Change(ChangeHeaders {
            epoch,
            offset: required(record, OFFSET, |text| decimal::<u64>(text).filter(|&offset| offset <= MAX_OFFSET))?,
            rows: required(record, ROWS, RowRanges::parse)?,
            gtid: optional(record, GTID, |text| is_gtid(text).then(|| text.to_owned()))?,
            term,
            copy: optional(record, COPY, decimal::<u32>)?,
            read: optional(record, READ, ReadKind::parse)?,
            pipeline,
            partial: optional(record, PARTIAL, |text| (text == "1").then_some(()))?.is_some(),
            replay: optional(record, REPLAY, |text| (text == "1").then_some(()))?.is_some(),
        }))
    }
}

fn optional<T>(
    record: &ConsumedRecord,
    name: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, HeaderError> {
    let mut values = record.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HeaderError { name, reason: "stands there twice".into() });
    }
    let parsed = std::str::from_utf8(value).ok().and_then(read);
    let malformed =
        || HeaderError { name, reason: format!("{:?} is not a value of it", String::from_utf8_lossy(value)) };
    parsed.map(Some).ok_or_else(malformed)
}

fn required<T>(
    record: &ConsumedRecord,
    name: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, HeaderError> {
    optional(record, name, read)?.ok_or_else(|| HeaderError { name, reason: "is missing".into() })
}

fn is_gtid(text: &str) -> bool {
    let mariadb = || {
        text.split('-').filter(|part| decimal::<u64>(part).is_some()).count() == 3
            && text.bytes().filter(|&byte| byte == b'-').count() == 2
    };
    text.parse::<Gtid>().is_ok() || mariadb()
}

/// Digits only: no sign, no space, which `parse` alone would partly take.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A record's headers ready for [`crate::ports::log::Record::headers`], without an allocation.
#[derive(Debug, Clone, Copy)]
pub struct HeaderFields<'a> {
    fields: [(&'a str, &'a [u8]); MAX_HEADERS],
    len: usize,
}

impl<'a> HeaderFields<'a> {
    /// No headers.
    pub fn new() -> Self {
        Self { fields: [("", &[]); MAX_HEADERS], len: 0 }
    }

    /// Appends one. More than [`MAX_HEADERS`] are a defect of the caller; the surplus is left out.
    pub fn push(&mut self, name: &'a str, value: &'a [u8]) {
        if let Some(field) = self.fields.get_mut(self.len) {
            *field = (name, value);
            self.len += 1;
        }
    }

    /// The headers, in order.
    pub fn as_slice(&self) -> &[(&'a str, &'a [u8])] {
        &self.fields[..self.len]
    }
}

impl Default for HeaderFields<'_> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(headers: &[(&str, &str)]) -> ConsumedRecord {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        ConsumedRecord { partition: 0, offset: 0, key: None, value: None, headers, timestamp_ms: 0 }
    }

    const WHOLE: &[(&str, &str)] = &[
        (EPOCH, "7"),
        (OFFSET, "4096"),
        (ROWS, "0-24,27"),
        (GTID, "3e11fa47-71ca-11e1-9e33-c80aa9429562:23"),
        (TERM, "12"),
        (COPY, "3"),
        (READ, "image"),
        (PIPELINE, "orders"),
        (PARTIAL, "1"),
    ];

    #[test]
    fn a_change_is_read_whole() {
        let Headers::Change(headers) = Headers::parse(&record(WHOLE)).unwrap() else { panic!("not a change") };
        assert_eq!((headers.epoch, headers.offset, headers.term, headers.copy), (7, 4096, 12, Some(3)));
        assert_eq!(headers.rows.count(), 26);
        assert_eq!(headers.read, Some(ReadKind::Image));
        assert_eq!(headers.rows.iter().last(), Some(27));
        assert!(headers.gtid.unwrap().ends_with(":23"));
        assert_eq!((headers.pipeline.as_str(), headers.partial), ("orders", true));
        let full: Vec<_> = WHOLE.iter().copied().filter(|(name, _)| *name != PARTIAL).collect();
        assert!(matches!(Headers::parse(&record(&full)), Ok(Headers::Change(full)) if !full.partial));
    }

    #[test]
    fn a_required_header_that_is_missing_is_named() {
        for name in [EPOCH, OFFSET, ROWS, TERM] {
            let without: Vec<_> = WHOLE.iter().copied().filter(|(other, _)| *other != name).collect();
            assert_eq!(Headers::parse(&record(&without)).unwrap_err().name, name);
        }
        assert_eq!(Headers::parse(&record(&[("other", "1")])).unwrap(), Headers::None);
    }

    #[test]
    fn malformed_values_are_refused() {
        for (name, value) in [
            (EPOCH, "8192"),
            (EPOCH, "-1"),
            (EPOCH, "+1"),
            (EPOCH, ""),
            (OFFSET, "281474976710656"),
            (TERM, "1e3"),
            (ROWS, ""),
            (ROWS, "3-2"),
            (ROWS, "1,1"),
            (ROWS, "2,1"),
            (ROWS, "0-4294967295"),
            (ROWS, "1-"),
            (GTID, "x:1"),
            (GTID, "0-1"),
            (GTID, "0-1-2-"),
            (COPY, "-"),
            (READ, "rows"),
            (PARTIAL, "0"),
        ] {
            let with: Vec<_> = WHOLE.iter().map(|&(n, v)| (n, if n == name { value } else { v })).collect();
            let error = Headers::parse(&record(&with)).unwrap_err();
            assert_eq!(error.name, name, "{value:?}");
        }
        let mut twice = WHOLE.to_vec();
        twice.push((EPOCH, "7"));
        assert!(Headers::parse(&record(&twice)).unwrap_err().reason.contains("twice"));
    }

    #[test]
    fn an_unknown_control_kind_is_passed_on() {
        let headers = Headers::parse(&record(&[(CONTROL, "tide"), (EPOCH, "1"), (TERM, "2")])).unwrap();
        let Headers::Control(control) = headers else { panic!("not a control record") };
        assert_eq!(control.kind, ControlKind::Other("tide".into()));
    }

    #[test]
    fn ranges_round_trip() {
        for rows in [vec![0], vec![0, 1, 2], vec![3, 5, 6, 9], (0..1000).step_by(2).collect()] {
            let ranges: RowRanges = rows.iter().copied().collect();
            assert_eq!(RowRanges::parse(&ranges.to_string()), Some(ranges.clone()));
            assert_eq!(ranges.iter().collect::<Vec<_>>(), rows);
        }
    }
}
