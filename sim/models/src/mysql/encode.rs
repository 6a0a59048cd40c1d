//! Binlog events as MySQL 9 writes them: headers, checksums and every event that is not about rows.
//!
//! Written from the format's public definition (MySQL's "binary log event structure") and compared byte for byte
//! with a real 9.7 server's files (`fixtures/`). Shares no code with the engine's decoder.

use super::gtid::{Gtids, uuid_bytes};

pub(crate) const QUERY_EVENT: u8 = 2;
pub(crate) const STOP_EVENT: u8 = 3;
pub(crate) const ROTATE_EVENT: u8 = 4;
pub(crate) const FORMAT_DESCRIPTION_EVENT: u8 = 15;
pub(crate) const XID_EVENT: u8 = 16;
pub(crate) const TABLE_MAP_EVENT: u8 = 19;
pub(crate) const HEARTBEAT_EVENT: u8 = 27;
pub(crate) const WRITE_ROWS_EVENT: u8 = 30;
pub(crate) const UPDATE_ROWS_EVENT: u8 = 31;
pub(crate) const DELETE_ROWS_EVENT: u8 = 32;
pub(crate) const GTID_EVENT: u8 = 33;
pub(crate) const ANONYMOUS_GTID_EVENT: u8 = 34;
pub(crate) const PREVIOUS_GTIDS_EVENT: u8 = 35;
pub(crate) const XA_PREPARE_EVENT: u8 = 38;
pub(crate) const HEARTBEAT_EVENT_V2: u8 = 41;

/// Header flag: the event was made for the stream and lies in no file.
pub(crate) const FLAG_ARTIFICIAL: u16 = 0x20;
/// Header flag: a reader that does not know the event may pass over it.
pub(crate) const FLAG_IGNORABLE: u16 = 0x80;
/// Header flag: the statement does not depend on the current database (BEGIN).
pub(crate) const FLAG_SUPPRESS_USE: u16 = 0x8;

/// Bytes of the common header.
pub(crate) const HEADER: usize = 19;
/// Bytes of the CRC32 behind an event.
pub(crate) const CHECKSUM: usize = 4;

/// Lengths of the fixed part of each event type, from type 1, as 8.4 and 9.x announce them.
const POST_HEADER_LENGTHS: [u8; 42] = [
    0, 13, 0, 8, 0, 0, 0, 0, 4, 0, 4, 0, 0, 0, 99, 0, 4, 26, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 10, 10, 10, 42, 42, 0,
    18, 52, 0, 10, 40, 0, 0,
];

/// What the header of an event says beside its length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// Seconds since the Unix epoch.
    pub timestamp: u32,
    /// The server's id.
    pub server_id: u32,
    /// Whether a CRC32 follows.
    pub checksum: bool,
}

/// An event with its header. `start` is the position of its first byte; `None` writes 0 as end position (artificial).
pub(crate) fn event(stamp: Stamp, kind: u8, flags: u16, start: Option<u64>, body: &[u8]) -> Vec<u8> {
    let size = HEADER + body.len() + if stamp.checksum { CHECKSUM } else { 0 };
    let end = start.map_or(0, |start| start + size as u64);
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&stamp.timestamp.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&stamp.server_id.to_le_bytes());
    out.extend_from_slice(&(size as u32).to_le_bytes());
    // The end position has 32 bits and wraps in files over 4 GiB.
    out.extend_from_slice(&(end as u32).to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(body);
    seal(stamp.checksum, out)
}

/// Appends the checksum of everything before it.
fn seal(checksum: bool, mut out: Vec<u8>) -> Vec<u8> {
    if checksum {
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
    }
    out
}

/// FORMAT_DESCRIPTION. It has a checksum whatever the server's setting; its last byte says whether the others have.
/// `created` is the server's start (0 in a file that a rotation began).
pub(crate) fn format_description(stamp: Stamp, start: Option<u64>, version: &str, created: u32) -> Vec<u8> {
    let mut body = 4u16.to_le_bytes().to_vec();
    let mut name = [0u8; 50];
    for (slot, byte) in name.iter_mut().zip(version.bytes().take(49)) {
        *slot = byte;
    }
    body.extend_from_slice(&name);
    body.extend_from_slice(&created.to_le_bytes());
    body.push(HEADER as u8);
    body.extend_from_slice(&POST_HEADER_LENGTHS);
    body.push(u8::from(stamp.checksum));
    event(Stamp { checksum: true, ..stamp }, FORMAT_DESCRIPTION_EVENT, 0, start, &body)
}

/// The same FORMAT_DESCRIPTION as the dump sends it when it starts behind the file's head: end position 0, so that
/// no replica takes it for its own position.
pub(crate) fn without_end_position(event: &[u8]) -> Vec<u8> {
    let mut out = event[..event.len() - CHECKSUM].to_vec();
    out[13..17].fill(0);
    let created = HEADER + 2 + 50;
    out[created..created + 4].fill(0);
    seal(true, out)
}

/// The body of ROTATE: where to go on.
pub(crate) fn rotate_body(position: u64, file: &str) -> Vec<u8> {
    let mut body = position.to_le_bytes().to_vec();
    body.extend_from_slice(file.as_bytes());
    body
}

/// HEARTBEAT: where the dump stands. Beyond 4 GiB MySQL sends version 2, type-length-value fields.
pub(crate) fn heartbeat(server_id: u32, checksum: bool, file: &str, position: u64) -> Vec<u8> {
    let stamp = Stamp { timestamp: 0, server_id, checksum };
    let (kind, end, body) = if u32::try_from(position).is_ok() {
        (HEARTBEAT_EVENT, position as u32, file.as_bytes().to_vec())
    } else {
        let mut body = vec![1, file.len() as u8];
        body.extend_from_slice(file.as_bytes());
        let mut number = Vec::new();
        put_length(&mut number, position);
        body.extend_from_slice(&[2, number.len() as u8]);
        body.extend_from_slice(&number);
        body.extend_from_slice(&[0, 0]);
        (HEARTBEAT_EVENT_V2, 0, body)
    };
    let mut out = event(Stamp { checksum: false, ..stamp }, kind, 0, None, &body);
    let size = (out.len() + if checksum { CHECKSUM } else { 0 }) as u32;
    out[9..13].copy_from_slice(&size.to_le_bytes());
    out[13..17].copy_from_slice(&end.to_le_bytes());
    seal(checksum, out)
}

/// PREVIOUS_GTIDS.
pub(crate) fn previous_gtids(stamp: Stamp, start: u64, set: &Gtids) -> Vec<u8> {
    event(stamp, PREVIOUS_GTIDS_EVENT, FLAG_IGNORABLE, Some(start), &set.encode())
}

/// What a GTID event says.
#[derive(Debug, Clone)]
pub(crate) struct GtidHead<'a> {
    /// The source's uuid; `None` writes ANONYMOUS_GTID (gtid_mode=OFF).
    pub uuid: Option<&'a str>,
    /// The transaction's number.
    pub number: u64,
    /// Logical clock: the last transaction that must be committed before this one, and its own number, in this file.
    pub last_committed: u64,
    /// See `last_committed`.
    pub sequence: u64,
    /// Commit on this server, microseconds since the Unix epoch.
    pub immediate_us: u64,
    /// Commit on the server that wrote it first.
    pub original_us: u64,
    /// The server's version as a number, for example 90704.
    pub server_version: u32,
    /// The events that follow, in bytes, with their checksums.
    pub rest_length: u64,
    /// A statement, not rows.
    pub statement: bool,
}

/// GTID, whose last fields tell the length of the whole transaction, itself included.
pub(crate) fn gtid(stamp: Stamp, start: u64, head: &GtidHead<'_>) -> Vec<u8> {
    let mut body = vec![u8::from(head.statement)];
    body.extend_from_slice(&head.uuid.map(uuid_bytes).unwrap_or_default());
    body.extend_from_slice(&head.number.to_le_bytes());
    body.push(2);
    body.extend_from_slice(&head.last_committed.to_le_bytes());
    body.extend_from_slice(&head.sequence.to_le_bytes());
    let replicated = head.original_us != head.immediate_us;
    let marked = head.immediate_us | if replicated { 1 << 55 } else { 0 };
    body.extend_from_slice(&marked.to_le_bytes()[..7]);
    if replicated {
        body.extend_from_slice(&head.original_us.to_le_bytes()[..7]);
    }
    // The length counts this event, whose own size depends on how many bytes the length takes.
    let fixed = HEADER + body.len() + 4 + if stamp.checksum { CHECKSUM } else { 0 };
    let mut length = Vec::new();
    for bytes in [1, 3, 4, 9] {
        length.clear();
        put_length(&mut length, (fixed + bytes) as u64 + head.rest_length);
        if length.len() == bytes {
            break;
        }
    }
    body.extend_from_slice(&length);
    body.extend_from_slice(&head.server_version.to_le_bytes());
    let kind = if head.uuid.is_some() { GTID_EVENT } else { ANONYMOUS_GTID_EVENT };
    event(stamp, kind, 0, Some(start), &body)
}

/// QUERY with the status variables of a session that uses utf8mb4 and times in UTC.
pub(crate) fn query_body(thread: u32, database: &str, sql: &str) -> Vec<u8> {
    let mut status = vec![0, 0, 0, 0, 0]; // Q_FLAGS2
    status.push(1); // Q_SQL_MODE
    status.extend_from_slice(&0x45a0_0020_u64.to_le_bytes());
    status.extend_from_slice(&[6, 3]); // Q_CATALOG_NZ
    status.extend_from_slice(b"std");
    status.extend_from_slice(&[4, 255, 0, 255, 0, 255, 0]); // Q_CHARSET: client, connection, server
    status.extend_from_slice(&[5, 6]); // Q_TIME_ZONE
    status.extend_from_slice(b"+00:00");
    status.extend_from_slice(&[18, 255, 0]); // Q_DEFAULT_COLLATION_FOR_UTF8MB4
    let mut body = thread.to_le_bytes().to_vec();
    body.extend_from_slice(&0u32.to_le_bytes());
    body.push(database.len() as u8);
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&(status.len() as u16).to_le_bytes());
    body.extend_from_slice(&status);
    body.extend_from_slice(database.as_bytes());
    body.push(0);
    body.extend_from_slice(sql.as_bytes());
    body
}

/// A length-encoded integer: one byte up to 250, else a mark and 2, 3 or 8 bytes.
pub(crate) fn put_length(out: &mut Vec<u8>, n: u64) {
    match n {
        0..=250 => out.push(n as u8),
        251..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&(n as u16).to_le_bytes());
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&n.to_le_bytes()[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&n.to_le_bytes());
        }
    }
}
