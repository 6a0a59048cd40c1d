//! A bounds-checked reader over an event's bytes: what is not there is an error with offset and expectation.
//!
//! Must not allocate and must not know events.

use crate::cause::{Cause, Stop};

/// What was missing or contradictory, and where. Small and without allocation; [`Bad::in_event`] makes it a [`Stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad {
    /// Bytes from the start of what was read.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl Bad {
    /// The stop for a user. `base` is added to the offset: where the part that was read starts in the event.
    pub fn in_event(self, what: &str, base: usize) -> Stop {
        Stop::new(Cause::Corrupt, format!("{what}: at byte {} expected {}", base + self.offset, self.expected))
    }
}

/// Result of reading.
pub(crate) type Read<T> = Result<T, Bad>;

/// Reads forward through borrowed bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// An error at the present offset.
    pub fn bad(&self, expected: &'static str) -> Bad {
        Bad { offset: self.at, expected }
    }

    /// The next `len` bytes.
    #[inline(always)]
    pub fn take(&mut self, len: usize, expected: &'static str) -> Read<&'a [u8]> {
        match self.bytes[self.at..].split_at_checked(len) {
            Some((head, _)) => {
                self.at += len;
                Ok(head)
            }
            None => Err(self.bad(expected)),
        }
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    #[inline]
    fn array<const N: usize>(&mut self, expected: &'static str) -> Read<[u8; N]> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.bad(expected)),
        }
    }

    #[inline]
    pub fn u8(&mut self, expected: &'static str) -> Read<u8> {
        Ok(self.array::<1>(expected)?[0])
    }

    pub fn u16(&mut self, expected: &'static str) -> Read<u16> {
        Ok(u16::from_le_bytes(self.array(expected)?))
    }

    pub fn u32(&mut self, expected: &'static str) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array(expected)?))
    }

    pub fn u64(&mut self, expected: &'static str) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array(expected)?))
    }

    pub fn bytes16(&mut self, expected: &'static str) -> Read<[u8; 16]> {
        self.array(expected)
    }

    /// An unsigned little-endian integer of 1 to 8 bytes.
    pub fn uint(&mut self, len: usize, expected: &'static str) -> Read<u64> {
        Ok(le_uint(self.take(len, expected)?))
    }

    /// A length-encoded integer (protocol "packed integer"): 1, 3, 4 or 9 bytes.
    pub fn packed(&mut self, expected: &'static str) -> Read<u64> {
        let start = *self;
        match self.u8(expected)? {
            small @ 0..=250 => Ok(u64::from(small)),
            252 => self.uint(2, expected),
            253 => self.uint(3, expected),
            254 => self.u64(expected),
            _ => Err(start.bad(expected)),
        }
    }

    /// A packed integer that counts or measures bytes that must follow, so that no allocation exceeds the input.
    pub fn packed_len(&mut self, expected: &'static str) -> Read<usize> {
        let start = *self;
        let len = self.packed(expected)?;
        match usize::try_from(len) {
            Ok(len) if len <= self.left() => Ok(len),
            _ => Err(start.bad(expected)),
        }
    }

    /// The next `len` bytes as UTF-8.
    pub fn str(&mut self, len: usize, expected: &'static str) -> Read<&'a str> {
        let start = *self;
        std::str::from_utf8(self.take(len, expected)?).map_err(|_| start.bad(expected))
    }
}

/// An unsigned little-endian integer of at most 8 bytes; further bytes are ignored.
#[inline]
pub(crate) fn le_uint(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => bytes.iter().take(8).rev().fold(0, |value, &byte| (value << 8) | u64::from(byte)),
    }
}

/// A signed little-endian integer of at most 8 bytes; further bytes are ignored.
#[inline]
pub(crate) fn le_int(bytes: &[u8]) -> i64 {
    let shift = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    ((le_uint(bytes) << shift) as i64) >> shift
}

/// An unsigned big-endian integer of at most 8 bytes; leading bytes beyond 8 are shifted out.
#[inline]
pub(crate) fn be_uint(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => u64::from(a),
        [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
        _ => bytes.iter().fold(0, |value, &byte| (value << 8) | u64::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_integers_have_four_widths() {
        let mut reader = Reader::new(&[250, 252, 1, 1, 253, 1, 0, 1, 254, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(reader.packed("n"), Ok(250));
        assert_eq!(reader.packed("n"), Ok(257));
        assert_eq!(reader.packed("n"), Ok(65_537));
        assert_eq!(reader.packed("n"), Ok((1 << 56) + 1));
        assert!(reader.is_empty());
        assert_eq!(Reader::new(&[251]).packed("n"), Err(Bad { offset: 0, expected: "n" }));
        assert_eq!(Reader::new(&[255]).packed("n"), Err(Bad { offset: 0, expected: "n" }));
    }

    #[test]
    fn a_length_beyond_the_input_is_refused_at_its_own_offset() {
        let mut reader = Reader::new(&[7, 3, 1, 2]);
        reader.u8("x").unwrap();
        assert_eq!(reader.packed_len("a length"), Err(Bad { offset: 1, expected: "a length" }));
    }

    #[test]
    fn a_stop_names_place_and_expectation() {
        let bad = Reader::new(&[1]).take(2, "two bytes").unwrap_err();
        assert_eq!(bad.in_event("a Query event", 19).detail, "a Query event: at byte 19 expected two bytes");
    }
}
