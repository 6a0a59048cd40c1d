//! Raw event bytes, put together again from what the client library splits, with each CRC32 verified.
//!
//! The library hands out header, body, checksum and the format description in force. The engine wants the server's own
//! bytes without the checksum. Must not look into any event's body, but for the checksum's place.

use bytes::{BufMut, Bytes, BytesMut};
use mysql_async::binlog::events::Event;
use towpath_engine::ports::source::{EventBatch, SourceError};

/// Bytes of the common header (MySQL internals, "Binary Log Event Structure", version 4).
pub(super) const HEADER: usize = 19;
/// A batch ends when it holds this much.
const BATCH_BYTES: usize = 1 << 20;
/// Set in the format description of a file that is being written; not counted in its checksum.
const IN_USE: u16 = 0x1;
const CRC32: u8 = 1;
const CHECKSUM: usize = 4;

/// Event types that the connector itself must tell apart (`Log_event_type`).
pub(super) mod kind {
    pub(in crate::mysql) const QUERY: u8 = 2;
    pub(in crate::mysql) const STOP: u8 = 3;
    pub(in crate::mysql) const ROTATE: u8 = 4;
    pub(in crate::mysql) const FORMAT_DESCRIPTION: u8 = 15;
    pub(in crate::mysql) const XID: u8 = 16;
    pub(in crate::mysql) const HEARTBEAT: u8 = 27;
    pub(in crate::mysql) const GTID: u8 = 33;
    pub(in crate::mysql) const ANONYMOUS_GTID: u8 = 34;
    pub(in crate::mysql) const PREVIOUS_GTIDS: u8 = 35;
    pub(in crate::mysql) const XA_PREPARE: u8 = 38;
    pub(in crate::mysql) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(in crate::mysql) const HEARTBEAT_V2: u8 = 41;
    pub(in crate::mysql) const GTID_TAGGED: u8 = 42;
    pub(in crate::mysql) const MARIADB_BINLOG_CHECKPOINT: u8 = 161;
    pub(in crate::mysql) const MARIADB_GTID: u8 = 162;
    pub(in crate::mysql) const MARIADB_GTID_LIST: u8 = 163;
    pub(in crate::mysql) const MARIADB_START_ENCRYPTION: u8 = 164;
}

/// An event ready to be appended.
pub(super) struct Raw {
    header: [u8; HEADER],
    event: Event,
    /// Bytes of the body that belong to the event.
    body: usize,
    /// The algorithm's number, which the library cuts from the end of a format description.
    algorithm: Option<u8>,
    checksummed: bool,
}

impl Raw {
    /// The event's type.
    pub(super) fn kind(&self) -> u8 {
        self.header[4]
    }

    /// The position behind the event, its low 32 bits; 0 in artificial events.
    pub(super) fn log_pos(&self) -> u32 {
        u32::from_le_bytes([self.header[13], self.header[14], self.header[15], self.header[16]])
    }

    /// The event's size in the server's file.
    pub(super) fn event_size(&self) -> u32 {
        u32::from_le_bytes([self.header[9], self.header[10], self.header[11], self.header[12]])
    }

    /// The body, without the checksum.
    pub(super) fn body(&self) -> &[u8] {
        &self.event.data()[..self.body]
    }

    fn len(&self) -> usize {
        HEADER + self.body + usize::from(self.algorithm.is_some())
    }
}

/// Follows a stream: whether a format description has been seen decides where checksums are looked for.
#[derive(Default)]
pub(super) struct Verifier {
    described: bool,
}

impl Verifier {
    /// Verifies the checksum. `None`: an event from within a compressed payload, which the library unpacks behind our
    /// back although the payload itself has been handed up.
    pub(super) fn verify(&mut self, event: Event) -> Result<Option<Raw>, SourceError> {
        let footer = event.footer();
        if !footer.get_checksum_enabled() {
            return Ok(None);
        }
        let header = header_bytes(&event);
        let kind = header[4];
        let algorithm = match footer.get_checksum_alg() {
            Ok(algorithm) => algorithm.map(|algorithm| algorithm as u8),
            Err(unknown) => return Err(SourceError::Checksum(format!("unknown checksum algorithm: {unknown}"))),
        };
        if kind == kind::FORMAT_DESCRIPTION {
            self.described = true;
            let raw = Raw { header, body: event.data().len(), event, algorithm, checksummed: algorithm == Some(CRC32) };
            return check(raw).map(Some);
        }
        let len = event.data().len();
        if !self.described {
            // Before the first format description the library cannot know: the fake ROTATE may carry a checksum. If the
            // last four bytes are the right one, they are it.
            let (body, tail) = event.data().split_at(len.saturating_sub(CHECKSUM));
            let checksummed = tail == crc(&header, body, None).to_le_bytes();
            let body = if checksummed { body.len() } else { len };
            return Ok(Some(Raw { header, event, body, algorithm: None, checksummed }));
        }
        check(Raw { header, event, body: len, algorithm: None, checksummed: algorithm == Some(CRC32) }).map(Some)
    }
}

fn check(raw: Raw) -> Result<Raw, SourceError> {
    if !raw.checksummed {
        return Ok(raw);
    }
    let computed = crc(&raw.header, raw.body(), raw.algorithm);
    match raw.event.checksum().map(u32::from_le_bytes) {
        Some(sent) if sent == computed => Ok(raw),
        Some(sent) => Err(SourceError::Checksum(format!(
            "event of type {} that ends at {}: computed {computed:08x}, sent {sent:08x}",
            raw.kind(),
            raw.log_pos()
        ))),
        None => Err(SourceError::Checksum(format!("event of type {} has no checksum", raw.kind()))),
    }
}

fn crc(header: &[u8; HEADER], body: &[u8], algorithm: Option<u8>) -> u32 {
    let mut header = *header;
    if header[4] == kind::FORMAT_DESCRIPTION {
        let flags = u16::from_le_bytes([header[17], header[18]]) & !IN_USE;
        header[17..].copy_from_slice(&flags.to_le_bytes());
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header);
    hasher.update(body);
    if let Some(algorithm) = algorithm {
        hasher.update(&[algorithm]);
    }
    hasher.finalize()
}

fn header_bytes(event: &Event) -> [u8; HEADER] {
    let header = event.header();
    let mut bytes = [0; HEADER];
    bytes[0..4].copy_from_slice(&header.timestamp().to_le_bytes());
    bytes[4] = header.event_type_raw();
    bytes[5..9].copy_from_slice(&header.server_id().to_le_bytes());
    bytes[9..13].copy_from_slice(&header.event_size().to_le_bytes());
    bytes[13..17].copy_from_slice(&header.log_pos().to_le_bytes());
    bytes[17..19].copy_from_slice(&header.flags_raw().to_le_bytes());
    bytes
}

/// Gathers events into one batch.
#[derive(Default)]
pub(super) struct Gather {
    bytes: BytesMut,
    /// The last batch's size: the next one's is likely to be near. Batches live as long as the engine needs them, so a
    /// megabyte for each heartbeat would be waste.
    likely: usize,
    ends: Vec<u32>,
    checksummed: bool,
}

impl Gather {
    /// Whether nothing has been gathered.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether the batch is large enough to hand up.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
    }

    /// Whether the event can join this batch: a batch is checksummed as a whole or not, and ends fit in 32 bits.
    pub(super) fn takes(&self, raw: &Raw) -> bool {
        let fits = self.bytes.len().saturating_add(raw.len()) <= u32::MAX as usize;
        self.is_empty() || (self.checksummed == raw.checksummed && fits)
    }

    /// Appends an event that [`Gather::takes`] accepts.
    pub(super) fn push(&mut self, raw: &Raw) {
        if self.is_empty() {
            self.checksummed = raw.checksummed;
            self.bytes.reserve(self.likely.clamp(4_096, BATCH_BYTES + (BATCH_BYTES >> 4)).max(raw.len()));
        }
        self.bytes.put_slice(&raw.header);
        self.bytes.put_slice(raw.body());
        if let Some(algorithm) = raw.algorithm {
            self.bytes.put_u8(algorithm);
        }
        // An event's size is a u32 and `takes` keeps the sum within one.
        self.ends.push(self.bytes.len() as u32);
    }

    /// The batch so far; the next one starts empty.
    pub(super) fn take(&mut self) -> EventBatch {
        let bytes: Bytes = self.bytes.split().freeze();
        self.likely = bytes.len();
        EventBatch { bytes, ends: std::mem::take(&mut self.ends), checksummed: self.checksummed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_async::binlog::BinlogVersion;
    use mysql_async::binlog::events::FormatDescriptionEvent;

    /// An event as a server with CRC32 sends it.
    fn wire(kind: u8, body: &[u8], corrupt: bool) -> Vec<u8> {
        let mut header = [0u8; HEADER];
        header[4] = kind;
        let size = (HEADER + body.len() + CHECKSUM) as u32;
        header[9..13].copy_from_slice(&size.to_le_bytes());
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(body);
        let sum = crc(&header, body, None) ^ u32::from(corrupt);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn description(checksums: bool) -> FormatDescriptionEvent<'static> {
        use mysql_async::binlog::BinlogChecksumAlg::{BINLOG_CHECKSUM_ALG_CRC32, BINLOG_CHECKSUM_ALG_OFF};
        use mysql_async::binlog::events::BinlogEventFooter;
        let algorithm = if checksums { BINLOG_CHECKSUM_ALG_CRC32 } else { BINLOG_CHECKSUM_ALG_OFF };
        FormatDescriptionEvent::new(BinlogVersion::Version4).with_footer(BinlogEventFooter::new(algorithm))
    }

    fn read(checksums: bool, wire: &[u8]) -> Event {
        Event::read(&description(checksums), wire).unwrap()
    }

    #[test]
    fn bytes_come_back_without_the_checksum() {
        let sent = wire(kind::QUERY, b"BEGIN of something", false);
        let mut verifier = Verifier { described: true };
        let raw = verifier.verify(read(true, &sent)).unwrap().unwrap();
        let mut gather = Gather::default();
        gather.push(&raw);
        gather.push(&raw);
        let batch = gather.take();
        assert!(batch.checksummed && gather.is_empty());
        let expected = &sent[..sent.len() - CHECKSUM];
        assert_eq!(batch.events().collect::<Vec<_>>(), [expected, expected]);
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let sent = wire(kind::XID, &7u64.to_le_bytes(), true);
        let refused = Verifier { described: true }.verify(read(true, &sent));
        assert!(matches!(refused, Err(SourceError::Checksum(text)) if text.contains("type 16")));
    }

    #[test]
    fn before_the_first_description_the_checksum_is_recognised() {
        let mut verifier = Verifier::default();
        let with = wire(kind::ROTATE, b"\x04\0\0\0\0\0\0\0binlog.000001", false);
        let raw = verifier.verify(read(false, &with)).unwrap().unwrap();
        assert!(raw.checksummed && raw.body().ends_with(b"binlog.000001"));
        let mut without = with[..with.len() - CHECKSUM].to_vec();
        let size = without.len() as u32;
        without[9..13].copy_from_slice(&size.to_le_bytes());
        let raw = verifier.verify(read(false, &without)).unwrap().unwrap();
        assert!(!raw.checksummed && raw.body().ends_with(b"binlog.000001"));
    }

    #[test]
    fn a_batch_is_checksummed_as_a_whole_or_not() {
        let event = wire(kind::QUERY, b"x", false);
        let summed = Verifier { described: true }.verify(read(true, &event)).unwrap().unwrap();
        let plain = Verifier { described: true }.verify(read(false, &event)).unwrap().unwrap();
        let mut gather = Gather::default();
        assert!(gather.takes(&plain));
        gather.push(&plain);
        assert!(gather.takes(&plain) && !gather.takes(&summed));
    }
}
