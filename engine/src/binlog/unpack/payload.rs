//! TRANSACTION_PAYLOAD: the events of a transaction after its GTID, compressed as one piece.
//!
//! Must not hold more of them than was asked for. Layout: MySQL's `Transaction_payload_event`: fields of (type, length,
//! value) in packed integers, a field of type 0 last, then the payload.

use bytes::Bytes;
use zstd::stream::raw::{Decoder as Zstd, Operation};

use crate::binlog::file::MAX_EVENT;
use crate::binlog::header::{EventHeader, EventType, HEADER_LEN};
use crate::binlog::read::{Read, Reader};
use crate::cause::{Cause, Stop};
use crate::ports::source::EventBatch;

mod field {
    pub const END: u64 = 0;
    pub const SIZE: u64 = 1;
    pub const COMPRESSION: u64 = 2;
    pub const UNCOMPRESSED_SIZE: u64 = 3;
}

const ZSTD: u64 = 0;
const NONE: u64 = 255;

/// Bytes that each call of the decompressor may add.
const STEP: usize = 128 << 10;

/// A payload that is being unpacked.
pub(super) struct Payload {
    /// The wrapping event's end, which its events get: their own positions are places in the server's cache.
    log_pos: u32,
    packed: Bytes,
    zstd: Option<Zstd<'static>>,
    /// Bytes of `packed` taken.
    taken: usize,
    /// Bytes unpacked, and how many there must be in the end (0 if the server did not say).
    unpacked: u64,
    expected: u64,
    /// The decompressor may hold more without further input.
    full: bool,
    /// Unpacked, and not yet a whole event.
    tail: Vec<u8>,
}

fn corrupt(what: impl std::fmt::Display) -> Stop {
    Stop::new(Cause::Corrupt, format!("a {} event: {what}", EventType::TRANSACTION_PAYLOAD))
}

struct Head {
    compression: u64,
    expected: u64,
    start: usize,
}

fn parse_head(body: &[u8]) -> Read<Head> {
    let mut reader = Reader::new(body);
    let mut head = Head { compression: NONE, expected: 0, start: 0 };
    loop {
        let kind = reader.packed("a payload field's type")?;
        if kind == field::END {
            break;
        }
        let length = reader.packed_len("a payload field's length")?;
        let mut value = Reader::new(reader.take(length, "a payload field")?);
        match kind {
            // The payload goes to the event's end.
            field::SIZE => {}
            field::COMPRESSION => head.compression = value.packed("a compression's number")?,
            field::UNCOMPRESSED_SIZE => head.expected = value.packed("an uncompressed size")?,
            _ => {}
        }
    }
    head.start = reader.at();
    Ok(head)
}

impl Payload {
    /// Of a raw event.
    pub fn new(header: EventHeader, event: Bytes) -> Result<Self, Stop> {
        let head = parse_head(&event[HEADER_LEN..]).map_err(|bad| bad.in_event("a transaction payload", HEADER_LEN))?;
        let zstd = match head.compression {
            // Without it, what is unpacked would have no bound.
            ZSTD if head.expected == 0 => return Err(corrupt("zstd data without its uncompressed size")),
            ZSTD => Some(Zstd::new().map_err(|error| Stop::new(Cause::Internal, format!("zstd: {error}")))?),
            NONE => None,
            other => {
                return Err(Stop::new(
                    Cause::Undecoded,
                    format!("a transaction payload with the unknown compression {other}"),
                ));
            }
        };
        Ok(Self {
            log_pos: header.log_pos,
            packed: event.slice(HEADER_LEN + head.start..),
            zstd,
            taken: 0,
            unpacked: 0,
            expected: head.expected,
            full: false,
            tail: Vec::new(),
        })
    }

    /// The next events, at least one and about `size` bytes; `None` at the end.
    pub fn next_batch(&mut self, size: usize) -> Result<Option<EventBatch>, Stop> {
        let mut bytes = std::mem::take(&mut self.tail);
        let mut ends: Vec<u32> = Vec::new();
        let mut whole = 0;
        loop {
            while let Some(end) = self.event_end(&mut bytes, whole)? {
                whole = end;
                ends.push(u32::try_from(end).map_err(|_| corrupt("events of more than 4 GiB"))?);
            }
            if whole >= size {
                break;
            }
            if !self.unpack(&mut bytes)? {
                if whole < bytes.len() {
                    return Err(corrupt("it ends within an event"));
                }
                if self.expected > 0 && self.unpacked != self.expected {
                    let (unpacked, expected) = (self.unpacked, self.expected);
                    return Err(corrupt(format_args!("{unpacked} bytes unpacked, {expected} expected")));
                }
                break;
            }
        }
        self.tail = bytes.split_off(whole);
        Ok((!ends.is_empty()).then(|| EventBatch { bytes: bytes.into(), ends, checksummed: false }))
    }

    /// The end of the event that starts at `start`, if it is there in full. Sets its position.
    fn event_end(&self, bytes: &mut [u8], start: usize) -> Result<Option<usize>, Stop> {
        let Some(event) = bytes.get_mut(start..).filter(|event| event.len() >= HEADER_LEN) else { return Ok(None) };
        let header = EventHeader::parse(event)?;
        let size = header.size as usize;
        // A damaged size must not gather what a small payload can unpack to without end.
        let plausible = (HEADER_LEN..=MAX_EVENT as usize).contains(&size);
        if !plausible || header.event_type == EventType::TRANSACTION_PAYLOAD {
            return Err(corrupt(format_args!("an event of {size} bytes of type {} within it", header.event_type)));
        }
        if size > event.len() {
            return Ok(None);
        }
        event[13..17].copy_from_slice(&self.log_pos.to_le_bytes());
        Ok(Some(start + size))
    }

    /// Unpacks some more; `false` at the end.
    fn unpack(&mut self, bytes: &mut Vec<u8>) -> Result<bool, Stop> {
        let packed = &self.packed[self.taken..];
        if packed.is_empty() && !self.full {
            return Ok(false);
        }
        let before = bytes.len();
        let Some(zstd) = &mut self.zstd else {
            let piece = &packed[..packed.len().min(STEP)];
            bytes.extend_from_slice(piece);
            self.taken += piece.len();
            self.unpacked += piece.len() as u64;
            return Ok(true);
        };
        bytes.resize(before + STEP, 0);
        let status = zstd.run_on_buffers(packed, &mut bytes[before..]).map_err(corrupt)?;
        bytes.truncate(before + status.bytes_written);
        self.taken += status.bytes_read;
        self.unpacked += status.bytes_written as u64;
        self.full = status.bytes_written == STEP;
        if status.bytes_read == 0 && status.bytes_written == 0 {
            return Err(corrupt("its compressed data ends early"));
        }
        if self.expected > 0 && self.unpacked > self.expected {
            return Err(corrupt(format_args!("it holds more than the {} bytes it says", self.expected)));
        }
        Ok(true)
    }
}
