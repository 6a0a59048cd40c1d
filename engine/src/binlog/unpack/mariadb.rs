//! MariaDB's compressed events (`log_bin_compress=ON`): one event's statement or rows as zlib data.
//!
//! Must not unpack COMPRESSED columns: those are values. Layout: MariaDB's `log_event.cc`, `query_event_uncompress` and
//! `row_log_event_uncompress`.

use flate2::{Decompress, FlushDecompress, Status};

use crate::binlog::header::{EventHeader, EventType, HEADER_LEN};
use crate::binlog::read::{Bad, Read, Reader, be_uint};
use crate::cause::{Cause, Stop};

/// Bytes of a checksum, which an event's size counts.
const CHECKSUM: usize = 4;
/// Bytes of a query event before its status variables.
const QUERY_HEAD: usize = 13;
/// The most zlib makes of one byte (RFC 1951: 258 bytes from 2 bits), which bounds what a damaged length can ask for.
const GROWTH: usize = 1032;

/// Whether a type is one of them.
pub(super) fn is_packed(kind: EventType) -> bool {
    (EventType::MARIADB_QUERY_COMPRESSED..=EventType::MARIADB_DELETE_ROWS_COMPRESSED).contains(&kind)
}

/// Appends the plain event.
pub(super) fn unpack(event: &[u8], checksummed: bool, out: &mut Vec<u8>) -> Result<(), Stop> {
    let header = EventHeader::parse(event)?;
    let start = out.len();
    let body = &event[HEADER_LEN..];
    let bad = |bad: Bad| bad.in_event(&format!("a {} event", header.event_type), HEADER_LEN);
    let (plain, kept) = match header.event_type {
        EventType::MARIADB_QUERY_COMPRESSED => (EventType::QUERY, query_head(body).map_err(bad)?),
        kind => {
            let plain = match kind {
                EventType::MARIADB_WRITE_ROWS_COMPRESSED_V1 => EventType::WRITE_ROWS_V1,
                EventType::MARIADB_UPDATE_ROWS_COMPRESSED_V1 => EventType::UPDATE_ROWS_V1,
                EventType::MARIADB_DELETE_ROWS_COMPRESSED_V1 => EventType::DELETE_ROWS_V1,
                EventType::MARIADB_WRITE_ROWS_COMPRESSED => EventType::WRITE_ROWS,
                EventType::MARIADB_UPDATE_ROWS_COMPRESSED => EventType::UPDATE_ROWS,
                _ => EventType::DELETE_ROWS,
            };
            (plain, rows_head(body, plain).map_err(bad)?)
        }
    };
    out.extend_from_slice(&event[..HEADER_LEN + kept]);
    inflate(&body[kept..], out).map_err(|what| {
        Stop::new(Cause::Corrupt, format!("a {} event: at byte {}: {what}", header.event_type, HEADER_LEN + kept))
    })?;
    let size = out.len() - start + if checksummed { CHECKSUM } else { 0 };
    let size = u32::try_from(size).map_err(|_| Stop::new(Cause::Undecoded, "an event of more than 4 GiB"))?;
    out[start + 4] = plain.0;
    out[start + 9..start + 13].copy_from_slice(&size.to_le_bytes());
    Ok(())
}

/// Bytes before a statement: head, status variables, database and its 0.
fn query_head(body: &[u8]) -> Read<usize> {
    let mut reader = Reader::new(body);
    let head = reader.take(QUERY_HEAD, "a query event's head")?;
    let (database, status) = (usize::from(head[8]), usize::from(u16::from_le_bytes([head[11], head[12]])));
    reader.take(status + database + 1, "status variables and a database")?;
    Ok(reader.at())
}

/// Bytes before the rows: table id and flags, extra data, count of columns, and the bitmaps of columns.
fn rows_head(body: &[u8], plain: EventType) -> Read<usize> {
    let mut reader = Reader::new(body);
    reader.take(8, "a table id and flags")?;
    if plain >= EventType::WRITE_ROWS {
        let length = reader.u16("a length of extra row data")?;
        reader.take(usize::from(length.saturating_sub(2)), "extra row data")?;
    }
    let start = reader;
    let columns = reader.packed("a count of columns")?;
    let bitmap = usize::try_from(columns.div_ceil(8)).ok().filter(|&bytes| bytes <= body.len());
    let bitmap = bitmap.ok_or(start.bad("a count of columns"))?;
    let both = matches!(plain, EventType::UPDATE_ROWS | EventType::UPDATE_ROWS_V1);
    reader.take(if both { 2 * bitmap } else { bitmap }, "bitmaps of columns")?;
    Ok(reader.at())
}

/// A byte of flags (highest bit set, algorithm in three bits, bytes of the length in three), the length big-endian,
/// then the data.
fn inflate(packed: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let (&flags, rest) = packed.split_first().ok_or("a compression's flags")?;
    if flags & 0x80 == 0 || flags & 0x70 != 0 {
        return Err("zlib data expected");
    }
    let (length, data) = rest.split_at_checked(usize::from(flags & 7)).ok_or("a length expected")?;
    let length = be_uint(length) as usize;
    if length > data.len().saturating_mul(GROWTH) {
        return Err("a length that its data can have expected");
    }
    let start = out.len();
    out.resize(start + length, 0);
    let mut zlib = Decompress::new(true);
    let status = zlib.decompress(data, &mut out[start..], FlushDecompress::Finish);
    match status {
        Ok(Status::StreamEnd) if zlib.total_out() == length as u64 => Ok(()),
        _ => Err("zlib data of its length expected"),
    }
}
