//! MySQL's binary JSON, as it lies in row images.
//!
//! One type byte, then the value; objects and arrays begin with a table of offsets, in 16-bit ("small") or 32-bit
//! ("large") numbers, and hold small scalars inside that table. Object keys are sorted by length, then bytes.

use serde_json::Value;

const SMALL_OBJECT: u8 = 0x00;
const LARGE_OBJECT: u8 = 0x01;
const SMALL_ARRAY: u8 = 0x02;
const LARGE_ARRAY: u8 = 0x03;
const LITERAL: u8 = 0x04;
const INT16: u8 = 0x05;
const INT32: u8 = 0x07;
const INT64: u8 = 0x09;
const UINT64: u8 = 0x0a;
const DOUBLE: u8 = 0x0b;
const STRING: u8 = 0x0c;

/// The binary form of a document.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let (kind, body) = element(value);
    let mut out = vec![kind];
    out.extend_from_slice(&body);
    out
}

/// Type and body of one element.
fn element(value: &Value) -> (u8, Vec<u8>) {
    match value {
        Value::Null => (LITERAL, vec![0]),
        Value::Bool(true) => (LITERAL, vec![1]),
        Value::Bool(false) => (LITERAL, vec![2]),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            // The server's parser takes whole numbers of more than 32 bits without a sign for unsigned ones.
            (Some(n), ..) if n <= i64::from(u32::MAX) => integer(n),
            (_, Some(n), _) => (UINT64, n.to_le_bytes().to_vec()),
            (_, None, n) => (DOUBLE, n.unwrap_or(0.0).to_le_bytes().to_vec()),
        },
        Value::String(text) => {
            let mut out = Vec::with_capacity(text.len() + 2);
            put_varlen(&mut out, text.len());
            out.extend_from_slice(text.as_bytes());
            (STRING, out)
        }
        Value::Array(items) => {
            let items: Vec<(Option<&str>, &Value)> = items.iter().map(|item| (None, item)).collect();
            container(&items, SMALL_ARRAY, LARGE_ARRAY)
        }
        Value::Object(map) => {
            let mut items: Vec<(Option<&str>, &Value)> =
                map.iter().map(|(key, item)| (Some(key.as_str()), item)).collect();
            items.sort_by(|a, b| {
                let (a, b) = (a.0.unwrap_or_default(), b.0.unwrap_or_default());
                (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes()))
            });
            container(&items, SMALL_OBJECT, LARGE_OBJECT)
        }
    }
}

fn integer(n: i64) -> (u8, Vec<u8>) {
    if let Ok(n) = i16::try_from(n) {
        (INT16, n.to_le_bytes().to_vec())
    } else if let Ok(n) = i32::try_from(n) {
        (INT32, n.to_le_bytes().to_vec())
    } else {
        (INT64, n.to_le_bytes().to_vec())
    }
}

/// An object or array: small if it fits into 64 KiB, else large.
fn container(items: &[(Option<&str>, &Value)], small: u8, large: u8) -> (u8, Vec<u8>) {
    match layout(items, 2) {
        Some(body) => (small, body),
        // A 32-bit layout always fits: a row is at most 1 GiB.
        None => (large, layout(items, 4).unwrap_or_default()),
    }
}

/// Count, size, key entries, value entries, keys, values, with offsets of `width` bytes; `None` if they do not fit.
fn layout(items: &[(Option<&str>, &Value)], width: usize) -> Option<Vec<u8>> {
    let limit = if width == 2 { usize::from(u16::MAX) } else { u32::MAX as usize };
    let has_keys = items.first().is_some_and(|(key, _)| key.is_some());
    let key_entries = if has_keys { items.len() * (width + 2) } else { 0 };
    let mut offset = 2 * width + key_entries + items.len() * (1 + width);
    let (mut keys, mut key_table, mut values, mut value_table) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for key in items.iter().filter_map(|(key, _)| *key) {
        put_number(&mut key_table, offset, width);
        put_number(&mut key_table, key.len(), 2);
        keys.extend_from_slice(key.as_bytes());
        offset += key.len();
    }
    for (_, item) in items {
        let (kind, body) = element(item);
        value_table.push(kind);
        let inline = matches!(kind, LITERAL | INT16) || (width == 4 && kind == INT32);
        if inline {
            let mut padded = body;
            if padded.len() < width {
                // A negative 16-bit number in a 32-bit slot is sign-extended, as the server stores it.
                let fill = if kind == INT16 && padded.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
                padded.resize(width, fill);
            }
            value_table.extend_from_slice(&padded);
        } else {
            put_number(&mut value_table, offset, width);
            offset += body.len();
            values.extend_from_slice(&body);
        }
        if offset > limit {
            return None;
        }
    }
    let mut out = Vec::with_capacity(offset);
    put_number(&mut out, items.len(), width);
    put_number(&mut out, offset, width);
    for part in [key_table, value_table, keys, values] {
        out.extend_from_slice(&part);
    }
    (offset <= limit && items.len() <= limit).then_some(out)
}

fn put_number(out: &mut Vec<u8>, n: usize, width: usize) {
    out.extend_from_slice(&n.to_le_bytes()[..width]);
}

/// Seven bits a byte, the low ones first; the high bit says that more follow.
fn put_varlen(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
