//! MySQL's binary JSON as text in the server's own normal form (`{"a": 1, "b": [1, 2]}`), escaped once more as the
//! content of a JSON string.
//!
//! Must not build a tree (only [`patch`] does, along the paths that change). Layout: MySQL's `json_binary.h`; text
//! form: what `SELECT` prints.

mod container;
mod patch;

use self::container::{Container, Value, bad};
pub(crate) use self::patch::write_patched;
use super::escape::escape_utf8_twice;
use super::number;
use super::read::Reader;
use super::text::BadValue;
use super::{decimal, temporal};

mod kind {
    pub const SMALL_OBJECT: u8 = 0;
    pub const LARGE_OBJECT: u8 = 1;
    pub const SMALL_ARRAY: u8 = 2;
    pub const LARGE_ARRAY: u8 = 3;
    pub const LITERAL: u8 = 4;
    pub const INT16: u8 = 5;
    pub const UINT16: u8 = 6;
    pub const INT32: u8 = 7;
    pub const UINT32: u8 = 8;
    pub const INT64: u8 = 9;
    pub const UINT64: u8 = 10;
    pub const DOUBLE: u8 = 11;
    pub const STRING: u8 = 12;
    pub const OPAQUE: u8 = 15;
}

/// The server allows 100 levels.
const MAX_DEPTH: u32 = 100;

/// Writes a document. No bytes at all are `null` (the server stores it so where NULL was forced into NOT NULL).
pub(crate) fn write(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let Some((&kind, rest)) = raw.split_first() else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    // Every value has an entry of its own and no two share bytes, so an honest document spends at most its length.
    let mut walk = Walk { out, budget: raw.len() };
    walk.value((kind, rest), 0)
}

struct Walk<'o> {
    out: &'o mut Vec<u8>,
    budget: usize,
}

impl Walk<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), BadValue> {
        self.budget = self.budget.checked_sub(bytes).ok_or(BadValue::Expected("JSON whose values do not overlap"))?;
        Ok(())
    }

    fn value(&mut self, (kind, bytes): Value<'_>, depth: u32) -> Result<(), BadValue> {
        self.spend(1)?;
        if let Some(container) = Container::open((kind, bytes))? {
            return self.container(container, depth);
        }
        let mut reader = Reader::new(bytes);
        match kind {
            kind::LITERAL => {
                let text: &[u8] = match bad(reader.u8("a JSON literal"))? {
                    0 => b"null",
                    1 => b"true",
                    2 => b"false",
                    _ => return Err(BadValue::Expected("a JSON literal")),
                };
                self.out.extend_from_slice(text);
                Ok(())
            }
            kind::INT16 | kind::UINT16 => self.integer(&mut reader, 2, kind == kind::UINT16),
            kind::INT32 | kind::UINT32 => self.integer(&mut reader, 4, kind == kind::UINT32),
            kind::INT64 | kind::UINT64 => self.integer(&mut reader, 8, kind == kind::UINT64),
            kind::DOUBLE => self.double(bad(reader.take(8, "a JSON double of 8 bytes"))?),
            kind::STRING => {
                let length = variable_length(&mut reader)?;
                self.string(bad(reader.take(length, "a JSON string"))?)
            }
            kind::OPAQUE => self.opaque(&mut reader),
            _ => Err(BadValue::Expected("a JSON type")),
        }
    }

    fn integer(&mut self, reader: &mut Reader<'_>, len: usize, unsigned: bool) -> Result<(), BadValue> {
        number::write_integer(bad(reader.take(len, "a JSON integer"))?, unsigned, self.out);
        Ok(())
    }

    /// A double always shows that it is one: whole numbers get `.0`.
    fn double(&mut self, raw: &[u8]) -> Result<(), BadValue> {
        let start = self.out.len();
        number::write_double(raw, self.out)?;
        if !self.out[start..].iter().any(|byte| matches!(byte, b'.' | b'e')) {
            self.out.extend_from_slice(b".0");
        }
        Ok(())
    }

    fn container(&mut self, mut container: Container<'_>, depth: u32) -> Result<(), BadValue> {
        if depth >= MAX_DEPTH {
            return Err(BadValue::Expected("JSON of at most 100 levels"));
        }
        self.out.push(if container.object { b'{' } else { b'[' });
        for index in 0..container.count {
            let (key, value) = container.next()?;
            self.separate(index);
            if container.object {
                self.key(key)?;
            }
            self.value(value, depth + 1)?;
        }
        self.out.push(if container.object { b'}' } else { b']' });
        Ok(())
    }

    /// Stands before each member of a container.
    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.out.extend_from_slice(b", ");
        }
    }

    fn key(&mut self, key: &[u8]) -> Result<(), BadValue> {
        self.string(key)?;
        self.out.extend_from_slice(b": ");
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> Result<(), BadValue> {
        self.spend(text.len())?;
        self.quote();
        escape_utf8_twice(text, self.out)?;
        self.quote();
        Ok(())
    }

    fn quote(&mut self) {
        self.out.extend_from_slice(b"\\\"");
    }

    /// A value of an SQL type that JSON has not: its field type, a length, and its bytes.
    fn opaque(&mut self, reader: &mut Reader<'_>) -> Result<(), BadValue> {
        use super::table_map::wire;
        let field_type = bad(reader.u8("the type of an opaque JSON value"))?;
        let length = variable_length(reader)?;
        let raw = bad(reader.take(length, "an opaque JSON value"))?;
        self.spend(raw.len())?;
        match field_type {
            wire::NEWDECIMAL => match raw {
                [precision, scale, packed @ ..] => decimal::write(packed, *precision, *scale, self.out),
                _ => Err(BadValue::Expected("a DECIMAL in JSON")),
            },
            wire::DATE | wire::DATETIME | wire::TIMESTAMP | wire::TIME => self.temporal(field_type, raw),
            other => {
                self.quote();
                self.out.extend_from_slice(b"base64:type");
                number::write_u64(u64::from(other), self.out);
                self.out.push(b':');
                base64(raw, self.out);
                self.quote();
                Ok(())
            }
        }
    }

    /// Packed as in memory: the fraction in 24 bits, above it the value; negative for negative times.
    fn temporal(&mut self, field_type: u8, raw: &[u8]) -> Result<(), BadValue> {
        use super::table_map::wire;
        let bytes = <[u8; 8]>::try_from(raw).map_err(|_| BadValue::Expected("a date or time of 8 bytes in JSON"))?;
        let packed = i64::from_le_bytes(bytes);
        self.quote();
        if packed < 0 {
            self.out.push(b'-');
        }
        let size = packed.unsigned_abs();
        let (value, us) = (size >> 24, size & 0xff_ffff);
        match field_type {
            wire::DATE => temporal::write_packed_date(value, self.out),
            wire::TIME => temporal::write_packed_time(value, self.out),
            _ => temporal::write_packed_datetime(value, self.out),
        }
        if field_type != wire::DATE {
            temporal::write_microseconds(us, self.out)?;
        }
        self.quote();
        Ok(())
    }
}

/// A length in groups of 7 bits, lowest first, at most 5 bytes.
fn variable_length(reader: &mut Reader<'_>) -> Result<usize, BadValue> {
    let mut length = 0u64;
    for group in 0..5 {
        let byte = bad(reader.u8("a JSON length"))?;
        length |= u64::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return usize::try_from(length).map_err(|_| BadValue::Expected("a JSON length"));
        }
    }
    Err(BadValue::Expected("a JSON length of at most 5 bytes"))
}

/// RFC 4648 §4, with padding; a line break (as an escape of the JSON string) after each 76 characters, as the server
/// does.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const GROUPS_A_LINE: usize = 76 / 4;
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (group, chunk) in bytes.chunks(3).enumerate() {
        if group > 0 && group % GROUPS_A_LINE == 0 {
            out.extend_from_slice(b"\\\\n");
        }
        let word = chunk.iter().chain([&0, &0]).take(3).fold(0u32, |word, &byte| (word << 8) | u32::from(byte));
        for place in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { symbol } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &[u8]) -> String {
        let mut out = Vec::new();
        write(raw, &mut out).unwrap();
        serde_json::from_str(&format!("\"{}\"", String::from_utf8(out).unwrap())).unwrap()
    }

    #[test]
    fn scalars() {
        assert_eq!(text(&[]), "null");
        assert_eq!(text(&[4, 1]), "true");
        assert_eq!(text(&[5, 0xfe, 0xff]), "-2");
        assert_eq!(text(&[10, 255, 255, 255, 255, 255, 255, 255, 255]), "18446744073709551615");
        let mut double = vec![11];
        double.extend(1.0f64.to_le_bytes());
        assert_eq!(text(&double), "1.0");
        assert_eq!(text(&[12, 3, b'a', b'"', b'\\']), r#""a\"\\""#);
        assert_eq!(text(&[12, 2, b'\n', 1]), r#""\n\u0001""#);
    }

    #[test]
    fn an_object_with_an_array() {
        // {"a": 1, "bc": [true, "x"]}
        let array = [2, 0, 12, 0, 4, 1, 0, 12, 10, 0, 1, b'x'];
        let mut object = vec![0, 2, 0, 33, 0, 18, 0, 1, 0, 19, 0, 2, 0, 5, 1, 0, 2, 21, 0, b'a', b'b', b'c'];
        object.extend(array);
        // Size counts from the count on.
        object[3] = (object.len() - 1) as u8;
        assert_eq!(text(&object), r#"{"a": 1, "bc": [true, "x"]}"#);
    }

    #[test]
    fn opaque_values() {
        assert_eq!(text(&[15, 253, 3, b'a', b'b', b'c']), r#""base64:type253:YWJj""#);
        assert_eq!(text(&[15, 16, 1, 5]), r#""base64:type16:BQ==""#);
        let long = [&[15, 15, 60][..], &[0; 60]].concat();
        let lines = format!("\"base64:type15:{}\\n{}\"", "A".repeat(76), "AAAA");
        assert_eq!(text(&long), lines);
        assert_eq!(text(&[&[15, 15, 57][..], &[0; 57]].concat()), format!("\"base64:type15:{}\"", "A".repeat(76)));
        assert_eq!(text(&[15, 246, 4, 3, 2, 0x81, 0x32]), "1.50");
        let packed = ((((2024u64 * 13 + 2) << 5 | 29) << 17) | (23 << 12) | (59 << 6) | 58) << 24 | 5;
        let mut datetime = vec![15, 12, 8];
        datetime.extend(packed.to_le_bytes());
        assert_eq!(text(&datetime), "\"2024-02-29 23:59:58.000005\"");
        let mut time = vec![15, 11, 8];
        time.extend((-(((1i64 << 12) | (2 << 6) | 3) << 24)).to_le_bytes());
        assert_eq!(text(&time), "\"-01:02:03.000000\"");
    }

    #[test]
    fn a_document_that_shares_its_values_cannot_grow_without_bound() {
        // Arrays of two entries that both point to the same next array: 2^16 values within 164 bytes.
        let levels = 16u16;
        let mut raw = vec![2];
        for level in 0..levels {
            let size = 10 * (levels - level) + 4;
            raw.extend([2u16, size].map(u16::to_le_bytes).concat());
            raw.extend([2, 10, 0, 2, 10, 0]);
        }
        raw.extend([0, 0, 4, 0]);
        let mut out = Vec::new();
        assert!(write(&raw, &mut out).is_err());
        assert!(out.len() <= 8 * raw.len(), "{} bytes from {}", out.len(), raw.len());
    }

    #[test]
    fn an_offset_beyond_the_container_is_refused() {
        assert!(write(&[2, 1, 0, 7, 0, 12, 200, 0], &mut Vec::new()).is_err());
        assert!(write(&[0, 255, 255, 8, 0], &mut Vec::new()).is_err());
        assert!(write(&[99], &mut Vec::new()).is_err());
    }
}
