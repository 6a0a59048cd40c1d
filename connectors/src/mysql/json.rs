//! JSON text in MySQL's binary form, as row images hold it, so that read documents are rendered as streamed ones.
//!
//! Always the large layout (4-byte offsets): smaller is not needed, since nothing is stored. Numbers with a fraction
//! become decimals, which keep their digits. Layout: MySQL's `json_binary.h`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::values::decimal;

const LARGE_OBJECT: u8 = 1;
const LARGE_ARRAY: u8 = 3;
const LITERAL: u8 = 4;
const INT64: u8 = 9;
const UINT64: u8 = 10;
const DOUBLE: u8 = 11;
const STRING: u8 = 12;
const OPAQUE: u8 = 15;
/// `MYSQL_TYPE_NEWDECIMAL`, the type of an opaque decimal.
const NEWDECIMAL: u8 = 246;
/// Bytes of a value's entry: its type and where it lies.
const VALUE_ENTRY: usize = 5;
/// Bytes of a key's entry: where it lies and its length.
const KEY_ENTRY: usize = 6;

/// A document: its type and its bytes.
pub(super) fn encode(text: &str) -> Result<Vec<u8>, String> {
    let (kind, bytes) = value(text)?;
    let mut out = vec![kind];
    out.extend_from_slice(&bytes);
    Ok(out)
}

fn value(text: &str) -> Result<(u8, Vec<u8>), String> {
    let wrong = |error: serde_json::Error| format!("a JSON document cannot be read: {error}");
    let text = text.trim();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(wrong)?;
            (LARGE_OBJECT, container(members.into_iter().map(|(key, value)| (Some(key), value.get())).collect())?)
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
            (LARGE_ARRAY, container(elements.into_iter().map(|value| (None, value.get())).collect())?)
        }
        Some(b'"') => {
            let string: String = serde_json::from_str(text).map_err(wrong)?;
            (STRING, with_length(string.as_bytes()))
        }
        Some(b'n') => (LITERAL, vec![0]),
        Some(b't') => (LITERAL, vec![1]),
        Some(b'f') => (LITERAL, vec![2]),
        _ => number(text).ok_or_else(|| format!("{text:?} is no JSON value"))?,
    })
}

/// An object or an array. The server keeps members by the length of their key, then by its bytes.
fn container(mut members: Vec<(Option<String>, &str)>) -> Result<Vec<u8>, String> {
    members.sort_by(|(a, _), (b, _)| (a.as_ref().map(String::len), a).cmp(&(b.as_ref().map(String::len), b)));
    let keyed = members.iter().filter(|(key, _)| key.is_some()).count();
    let head = 8 + KEY_ENTRY * keyed + VALUE_ENTRY * members.len();
    let keys: Vec<u8> = members.iter().flat_map(|(key, _)| key.iter().flat_map(|key| key.bytes())).collect();
    let (mut key_entries, mut value_entries, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut key_at = head;
    for (key, text) in &members {
        if let Some(key) = key {
            let length = u16::try_from(key.len()).map_err(|_| "a JSON key of more than 65,535 bytes".to_owned())?;
            key_entries.extend_from_slice(&(key_at as u32).to_le_bytes());
            key_entries.extend_from_slice(&length.to_le_bytes());
            key_at += key.len();
        }
        let (kind, bytes) = value(text)?;
        value_entries.push(kind);
        if kind == LITERAL {
            value_entries.extend_from_slice(&[bytes[0], 0, 0, 0]);
        } else {
            value_entries.extend_from_slice(&((head + keys.len() + values.len()) as u32).to_le_bytes());
            values.extend_from_slice(&bytes);
        }
    }
    let size = head + keys.len() + values.len();
    let size = u32::try_from(size).map_err(|_| "a JSON document of more than 4 GiB".to_owned())?;
    let mut out = (members.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&size.to_le_bytes());
    for part in [key_entries, value_entries, keys, values] {
        out.extend_from_slice(&part);
    }
    Ok(out)
}

fn number(text: &str) -> Option<(u8, Vec<u8>)> {
    if let Ok(number) = text.parse::<i64>() {
        return Some((INT64, number.to_le_bytes().to_vec()));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some((UINT64, number.to_le_bytes().to_vec()));
    }
    let digits = text.trim_start_matches('-');
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain && part.len() <= 30 && whole.len() + part.len() <= 65 {
        let (precision, scale) = ((whole.len() + part.len()) as u8, part.len() as u8);
        let mut bytes = vec![precision, scale];
        bytes.extend_from_slice(&decimal(text, precision, scale)?);
        let mut out = vec![NEWDECIMAL];
        out.extend_from_slice(&with_length(&bytes));
        return Some((OPAQUE, out));
    }
    let number: f64 = text.parse().ok()?;
    Some((DOUBLE, number.to_le_bytes().to_vec()))
}

/// Bytes with their length before them, seven bits a byte, the lowest first.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(bytes.len() + 4), bytes.len());
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_engine::binlog::text::write_text;
    use towpath_engine::schema::{Column, ColumnType};

    fn round(text: &str) -> String {
        let column =
            Column { name: "c".into(), kind: ColumnType::Json, unsigned: false, nullable: true, collation: None };
        let mut out = Vec::new();
        write_text(&column, &encode(text).unwrap(), &mut out).unwrap();
        // The renderer escapes for a JSON string.
        serde_json::from_str(&format!("\"{}\"", String::from_utf8(out).unwrap())).unwrap()
    }

    #[test]
    fn the_servers_text_comes_out_again() {
        let long = format!("{{\"k\": \"{}\"}}", "x".repeat(70_000));
        for text in [
            "null",
            "true",
            "-5",
            "18446744073709551615",
            "1.50",
            "-0.000001",
            "1e300",
            "\"a\\\"b\\n\u{e9}\"",
            "[]",
            "{}",
            "[1, 2.5, -3, null, true, false, \"str\"]",
            "{\"a\": 1, \"bb\": {\"c\": [{}]}, \"ab\u{e9}\": null}",
            long.as_str(),
        ] {
            assert_eq!(round(text), text);
        }
        assert_eq!(round("{\"bb\": 1, \"a\": 2}"), "{\"a\": 2, \"bb\": 1}", "in the server's order");
        assert!(encode("{").is_err() && encode("x").is_err());
    }
}
