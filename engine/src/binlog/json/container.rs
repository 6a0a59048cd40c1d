//! One object or array of MySQL's binary JSON: its members' keys and where their values lie.
//!
//! Must not look into the values. Layout: MySQL's `json_binary.h`.

use super::kind;
use crate::binlog::read::{Read, Reader, le_uint};
use crate::binlog::text::BadValue;

/// A value within a document: its type, and the bytes from its start on (they may go on behind it).
pub(super) type Value<'a> = (u8, &'a [u8]);

/// Count and size, then entries of keys (offset, length), entries of values (type, offset or the value itself), then
/// keys and values. Offsets count from the container's start.
pub(super) struct Container<'a> {
    /// Members have keys.
    pub object: bool,
    /// How many members.
    pub count: usize,
    width: usize,
    bytes: &'a [u8],
    keys: Reader<'a>,
    values: Reader<'a>,
}

impl<'a> Container<'a> {
    /// Reads the head of a value; `None` if it is a scalar.
    pub fn open((kind, bytes): Value<'a>) -> Result<Option<Self>, BadValue> {
        let (object, width) = match kind {
            kind::SMALL_OBJECT => (true, 2),
            kind::LARGE_OBJECT => (true, 4),
            kind::SMALL_ARRAY => (false, 2),
            kind::LARGE_ARRAY => (false, 4),
            _ => return Ok(None),
        };
        let mut head = Reader::new(bytes);
        let count = bad(head.uint(width, "a JSON container's count"))? as usize;
        let size = bad(head.uint(width, "a JSON container's size"))? as usize;
        let bytes = bytes.get(..size).ok_or(BadValue::Expected("a JSON container of its size"))?;
        let keys = bad(table(&mut head, if object { count } else { 0 }, width + 2, "JSON key entries"))?;
        let values = bad(table(&mut head, count, width + 1, "JSON value entries"))?;
        Ok(Some(Self { object, count, width, bytes, keys, values }))
    }

    /// The next member: its key (empty in an array) and its value. To be called `count` times.
    pub fn next(&mut self) -> Result<(&'a [u8], Value<'a>), BadValue> {
        let mut key: &[u8] = &[];
        if self.object {
            let (offset, length) = bad(self.keys.take(self.width + 2, "a JSON key entry"))?.split_at(self.width);
            key = slice(self.bytes, le_uint(offset) as usize, le_uint(length) as usize)?;
        }
        let entry = bad(self.values.take(self.width + 1, "a JSON value entry"))?;
        let (kind, place) = (entry[0], &entry[1..]);
        if is_inlined(kind, self.width) {
            return Ok((key, (kind, place)));
        }
        let value = self.bytes.get(le_uint(place) as usize..);
        Ok((key, (kind, value.ok_or(BadValue::Expected("a JSON value within its container"))?)))
    }
}

pub(super) fn bad<T>(read: Read<T>) -> Result<T, BadValue> {
    read.map_err(|bad| BadValue::Expected(bad.expected))
}

/// A table of `count` entries of `width` bytes.
fn table<'a>(head: &mut Reader<'a>, count: usize, width: usize, expected: &'static str) -> Read<Reader<'a>> {
    let length = count.checked_mul(width).ok_or(head.bad(expected))?;
    Ok(Reader::new(head.take(length, expected)?))
}

fn slice(bytes: &[u8], offset: usize, length: usize) -> Result<&[u8], BadValue> {
    offset
        .checked_add(length)
        .and_then(|end| bytes.get(offset..end))
        .ok_or(BadValue::Expected("a JSON key within its container"))
}

/// Whether an entry holds the value itself: what fits into the entry's place.
fn is_inlined(kind: u8, width: usize) -> bool {
    match kind {
        kind::LITERAL | kind::INT16 | kind::UINT16 => true,
        kind::INT32 | kind::UINT32 => width == 4,
        _ => false,
    }
}
