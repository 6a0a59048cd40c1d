//! Cells as JSON: numbers as numbers, times as ISO-8601 in UTC, bytes as base64, JSON as itself.
//!
//! Appends to a byte buffer and allocates nothing on the common paths. Whatever a record claims, what is written is one
//! valid JSON value without a newline: the text of a bulk request depends on it.

use bytes::{BufMut, BytesMut};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::format::TypeKind;

/// A cell that cannot become a JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a value of its column's type ({kind})")]
pub struct BadCell {
    /// The text, shortened.
    pub text: String,
    /// The column's type.
    pub kind: &'static str,
}

impl BadCell {
    pub(super) fn new(kind: &TypeKind, text: &str) -> Self {
        Self { text: text.chars().take(80).collect(), kind: kind.name() }
    }
}

/// How cells are written.
#[derive(Debug, Clone)]
pub struct CellWriter {
    zone: TimeZone,
    /// The zone is UTC: DATETIME needs no arithmetic.
    utc: bool,
    /// Dates of no calendar (`0000-00-00`, `2026-02-00`) met so far; they are written as null.
    pub zero_dates: u64,
}

impl CellWriter {
    /// A writer that reads DATETIME values in `zone`.
    pub fn new(zone: TimeZone) -> Self {
        let utc = zone == TimeZone::UTC;
        Self { zone, utc, zero_dates: 0 }
    }

    /// Appends the JSON value of a cell.
    pub fn write(&mut self, out: &mut BytesMut, kind: &TypeKind, text: Option<&str>) -> Result<(), BadCell> {
        let Some(text) = text else {
            out.put_slice(b"null");
            return Ok(());
        };
        let fail = || BadCell::new(kind, text);
        match kind {
            TypeKind::Int | TypeKind::UInt | TypeKind::Bit | TypeKind::Year => integer(out, text).ok_or_else(fail)?,
            TypeKind::Float | TypeKind::Double | TypeKind::Decimal => number(out, text).ok_or_else(fail)?,
            TypeKind::Date => self.date(out, text).ok_or_else(fail)?,
            TypeKind::DateTime => self.date_time(out, text, !self.utc).ok_or_else(fail)?,
            TypeKind::Timestamp => self.date_time(out, text, false).ok_or_else(fail)?,
            TypeKind::Json => json(out, text).ok_or_else(fail)?,
            TypeKind::Bytes => base64(out, text).ok_or_else(fail)?,
            TypeKind::Geometry => geometry(out, text).ok_or_else(fail)?,
            TypeKind::Vector if text.starts_with('[') => json(out, text).ok_or_else(fail)?,
            TypeKind::Vector => base64(out, text).ok_or_else(fail)?,
            TypeKind::Set(_) => set(out, text),
            TypeKind::Text | TypeKind::Enum(_) | TypeKind::Time | TypeKind::Unknown => string(out, text),
        }
        Ok(())
    }

    fn zero(&mut self, out: &mut BytesMut) -> Option<()> {
        self.zero_dates += 1;
        out.put_slice(b"null");
        Some(())
    }

    fn date(&mut self, out: &mut BytesMut, text: &str) -> Option<()> {
        if !has_digits_at(text, b"dddd-dd-dd") || text.len() != 10 {
            return None;
        }
        if text.parse::<jiff::civil::Date>().is_err() || text.starts_with("0000") {
            return self.zero(out);
        }
        string(out, text);
        Some(())
    }

    /// `yyyy-MM-dd HH:mm:ss[.f…]` to `yyyy-MM-ddTHH:mm:ss[.f…]Z`, moved from the sink's zone if `zoned`.
    fn date_time(&mut self, out: &mut BytesMut, text: &str, zoned: bool) -> Option<()> {
        let civil = match civil(text)? {
            Some(civil) => civil,
            None => return self.zero(out),
        };
        out.put_u8(b'"');
        if zoned {
            let instant = self.zone.to_ambiguous_timestamp(civil).compatible().ok()?;
            let utc = TimeZone::UTC.to_datetime(instant);
            put_date_time(out, utc);
            // The fraction is the same in every zone; its digits are kept as the column has them.
            out.put_slice(&text.as_bytes()[19..]);
        } else {
            out.put_slice(&text.as_bytes()[..10]);
            out.put_u8(b'T');
            out.put_slice(&text.as_bytes()[11..]);
        }
        out.put_slice(b"Z\"");
        Some(())
    }
}

/// Reads MySQL's date and time. `None`: not one; `Some(None)`: one of no calendar.
pub(super) fn civil(text: &str) -> Option<Option<DateTime>> {
    let bytes = text.as_bytes();
    let fraction = bytes.get(19..)?;
    if !has_digits_at(text, b"dddd-dd-dd dd:dd:dd") || !is_fraction(fraction) {
        return None;
    }
    let part = |from: usize, to: usize| bytes[from..to].iter().fold(0i16, |n, digit| n * 10 + i16::from(digit - b'0'));
    let mut nanos = 0i32;
    for place in 0..9 {
        nanos = nanos * 10 + fraction.get(place + 1).map_or(0, |digit| i32::from(digit - b'0'));
    }
    let year = part(0, 4);
    let (month, day) = (part(5, 7) as i8, part(8, 10) as i8);
    let (hour, minute, second) = (part(11, 13) as i8, part(14, 16) as i8, part(17, 19) as i8);
    if year == 0 {
        return Some(None);
    }
    Some(DateTime::new(year, month, day, hour, minute, second, nanos).ok())
}

fn is_fraction(fraction: &[u8]) -> bool {
    match fraction {
        [] => true,
        [b'.', digits @ ..] => (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn has_digits_at(text: &str, pattern: &[u8]) -> bool {
    text.len() >= pattern.len()
        && text
            .bytes()
            .zip(pattern)
            .all(|(byte, &want)| if want == b'd' { byte.is_ascii_digit() } else { byte == want })
}

fn put_date_time(out: &mut BytesMut, at: DateTime) {
    let mut two = |number: i8, before: u8| {
        if before != 0 {
            out.put_u8(before);
        }
        let number = number.unsigned_abs();
        out.put_slice(&[b'0' + number / 10, b'0' + number % 10]);
    };
    let year = at.year();
    two((year / 100) as i8, 0);
    two((year % 100) as i8, 0);
    two(at.month(), b'-');
    two(at.day(), b'-');
    two(at.hour(), b'T');
    two(at.minute(), b':');
    two(at.second(), b':');
}

/// A JSON string.
pub fn string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.put_slice(&bytes[start..index]);
        start = index + 1;
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.put_slice(b"\\u00");
                out.put_slice(&[HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]]);
            }
        }
    }
    out.put_slice(&bytes[start..]);
    out.put_u8(b'"');
}

/// An integer; leading zeros (ZEROFILL, YEAR 0000) are not JSON and are cut.
fn integer(out: &mut BytesMut, text: &str) -> Option<()> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    out.put_slice(sign.as_bytes());
    out.put_slice(if significant.is_empty() { b"0" } else { significant.as_bytes() });
    Some(())
}

/// A decimal or floating number: every digit is kept.
fn number(out: &mut BytesMut, text: &str) -> Option<()> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], &text[at..]),
        None => (text, ""),
    };
    if let Some(digits) = exponent.get(1..) {
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    }
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, f)| (whole, Some(f)));
    let mark = out.len();
    integer(
        out,
        if whole.is_empty() {
            "0"
        } else if whole == "-" {
            "-0"
        } else {
            whole
        },
    )?;
    if let Some(fraction) = fraction {
        if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            out.truncate(mark);
            return None;
        }
        out.put_u8(b'.');
        out.put_slice(fraction.as_bytes());
    }
    out.put_slice(exponent.as_bytes());
    Some(())
}

/// JSON as itself. Newlines can only stand between its tokens (inside strings they are escaped) and become spaces.
fn json(out: &mut BytesMut, text: &str) -> Option<()> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let text = text.trim();
    if text.bytes().any(|byte| byte == b'\n' || byte == b'\r') {
        out.extend(text.bytes().map(|byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte }));
    } else {
        out.put_slice(text.as_bytes());
    }
    Some(())
}

/// No geometry, which MariaDB's own functions show as NULL, as null; GeoJSON as itself; well-known text without its
/// spatial reference, which Elasticsearch does not read there, and hexadecimal digits as a string; bytes (of Canal's
/// quirks, where a byte order always is a control character) as base64.
fn geometry(out: &mut BytesMut, text: &str) -> Option<()> {
    if text.is_empty() {
        out.put_slice(b"null");
        return Some(());
    }
    if text.starts_with('{') {
        return json(out, text);
    }
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return base64(out, text);
    }
    let plain = text.strip_prefix("SRID=").and_then(|rest| rest.split_once(';'));
    string(out, plain.map_or(text, |(_, plain)| plain));
    Some(())
}

/// The members of a SET as an array of strings.
fn set(out: &mut BytesMut, text: &str) {
    out.put_u8(b'[');
    for (index, member) in text.split(',').filter(|member| !member.is_empty()).enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        string(out, member);
    }
    out.put_u8(b']');
}

/// Bytes (one per character) as base64 (RFC 4648, section 4, with padding).
fn base64(out: &mut BytesMut, text: &str) -> Option<()> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if !text.chars().all(|c| u32::from(c) < 256) {
        return None;
    }
    out.put_u8(b'"');
    let mut bytes = text.chars().map(|c| u32::from(c) as u8);
    while let Some(first) = bytes.next() {
        let (second, third) = (bytes.next(), bytes.next());
        let group = (u32::from(first) << 16) | (u32::from(second.unwrap_or(0)) << 8) | u32::from(third.unwrap_or(0));
        let digit = |shift: u32| DIGITS[(group >> shift & 63) as usize];
        let last = [
            digit(18),
            digit(12),
            if second.is_some() { digit(6) } else { b'=' },
            if third.is_some() { digit(0) } else { b'=' },
        ];
        out.put_slice(&last);
    }
    out.put_u8(b'"');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(zone: &str, kind: &TypeKind, text: &str) -> Result<String, BadCell> {
        let mut out = BytesMut::new();
        CellWriter::new(super::super::config::parse_time_zone(zone).unwrap()).write(&mut out, kind, Some(text))?;
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn values_by_type() {
        let rows: &[(&str, TypeKind, &str, &str)] = &[
            ("UTC", TypeKind::Int, "-42", "-42"),
            ("UTC", TypeKind::UInt, "18446744073709551615", "18446744073709551615"),
            ("UTC", TypeKind::UInt, "00042", "42"),
            ("UTC", TypeKind::Year, "0000", "0"),
            ("UTC", TypeKind::Decimal, "12345678901234567890.10", "12345678901234567890.10"),
            ("UTC", TypeKind::Decimal, "-0.00", "-0.00"),
            ("UTC", TypeKind::Double, "1.0E10", "1.0E10"),
            ("UTC", TypeKind::Date, "2026-11-23", "\"2026-11-23\""),
            ("UTC", TypeKind::Date, "0000-00-00", "null"),
            ("UTC", TypeKind::DateTime, "2026-11-23 07:00:00.123", "\"2026-11-23T07:00:00.123Z\""),
            ("Asia/Shanghai", TypeKind::DateTime, "2026-11-23 07:00:00.120", "\"2026-11-22T23:00:00.120Z\""),
            ("+08:00", TypeKind::DateTime, "2026-01-01 00:00:00", "\"2025-12-31T16:00:00Z\""),
            ("Asia/Shanghai", TypeKind::Timestamp, "2026-11-23 07:00:00", "\"2026-11-23T07:00:00Z\""),
            ("UTC", TypeKind::DateTime, "2026-00-10 07:00:00", "null"),
            ("UTC", TypeKind::Timestamp, "0000-00-00 00:00:00", "null"),
            ("UTC", TypeKind::Time, "-838:59:59", "\"-838:59:59\""),
            ("UTC", TypeKind::Json, "{\"a\":\n[1]}", "{\"a\": [1]}"),
            ("UTC", TypeKind::Bytes, "\u{ff}\u{0}", "\"/wA=\""),
            (
                "UTC",
                TypeKind::Geometry,
                r#"{"type":"Point","coordinates":[1,2]}"#,
                r#"{"type":"Point","coordinates":[1,2]}"#,
            ),
            ("UTC", TypeKind::Geometry, "SRID=4326;POINT(1 2)", "\"POINT(1 2)\""),
            ("UTC", TypeKind::Geometry, "E610000001", "\"E610000001\""),
            ("UTC", TypeKind::Geometry, "", "null"),
            ("UTC", TypeKind::Geometry, "\u{0}\u{1}\u{ff}", "\"AAH/\""),
            ("UTC", TypeKind::Vector, "[1,-0.5,1e-30]", "[1,-0.5,1e-30]"),
            ("UTC", TypeKind::Vector, "\u{0}\u{0}\u{80}?", "\"AACAPw==\""),
            ("UTC", TypeKind::Set(vec![]), "a,b", "[\"a\",\"b\"]"),
            ("UTC", TypeKind::Set(vec![]), "", "[]"),
            ("UTC", TypeKind::Text, "a\"\\\n\u{1}é", "\"a\\\"\\\\\\n\\u0001é\""),
        ];
        for (zone, kind, text, expected) in rows {
            assert_eq!(written(zone, kind, text).as_deref(), Ok(*expected), "{kind:?} {text}");
        }
    }

    #[test]
    fn daylight_saving_gaps_and_folds_have_one_answer() {
        // 02:30 does not exist on 2026-03-29 in Berlin (moved on by the gap); 02:30 on 2026-10-25 is twice (the first).
        let kind = TypeKind::DateTime;
        assert_eq!(written("Europe/Berlin", &kind, "2026-03-29 02:30:00").unwrap(), "\"2026-03-29T01:30:00Z\"");
        assert_eq!(written("Europe/Berlin", &kind, "2026-10-25 02:30:00").unwrap(), "\"2026-10-25T00:30:00Z\"");
    }

    #[test]
    fn what_is_no_value_is_refused_and_not_written_through() {
        for (kind, text) in [
            (TypeKind::Int, "1,\"x\":2"),
            (TypeKind::Int, ""),
            (TypeKind::Int, "1.5"),
            (TypeKind::Double, "NaN"),
            (TypeKind::Double, "1e"),
            (TypeKind::Decimal, "1."),
            (TypeKind::Date, "2026-11-23\n"),
            (TypeKind::DateTime, "2026-11-23 07:00"),
            (TypeKind::DateTime, "2026-11-23 07:00:00.x"),
            (TypeKind::Json, "{\"a\":}"),
            (TypeKind::Json, "1} {"),
            (TypeKind::Bytes, "\u{100}"),
            (TypeKind::Geometry, "{\"type\":"),
            (TypeKind::Geometry, "\u{1}\u{100}"),
            (TypeKind::Vector, "[1,"),
        ] {
            assert!(written("UTC", &kind, text).is_err(), "{kind:?} {text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_in_any_column_gives_valid_json_on_one_line_or_an_error(text in ".{0,40}", which in 0usize..14) {
            let kinds = [
                TypeKind::Int, TypeKind::UInt, TypeKind::Double, TypeKind::Decimal, TypeKind::Date, TypeKind::DateTime,
                TypeKind::Timestamp, TypeKind::Time, TypeKind::Json, TypeKind::Bytes, TypeKind::Set(vec![]),
                TypeKind::Text, TypeKind::Geometry, TypeKind::Vector,
            ];
            if let Ok(json) = written("Asia/Tokyo", &kinds[which], &text) {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok(), "{}", json);
                prop_assert!(!json.contains(['\n', '\r']));
            }
        }

        #[test]
        fn strings_and_bytes_survive(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let json = written("UTC", &TypeKind::Text, &text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            let latin: String = bytes.iter().map(|&byte| char::from(byte)).collect();
            let json = written("UTC", &TypeKind::Bytes, &latin).unwrap();
            prop_assert_eq!(json.len(), bytes.len().div_ceil(3) * 4 + 2);
        }
    }
}
