//! Values as they lie in the row images of WRITE, UPDATE and DELETE_ROWS, and the events that carry them.
//!
//! Refuses values that the column could not hold (strict SQL mode), with the server's error in words.

use super::encode::put_length;
use super::temporal;
use super::value::Value;
use towpath_engine::schema::{Column, ColumnType};

/// Why a value cannot be stored.
pub(crate) type Refusal = String;

/// One row image: a bit for each NULL, then the values that are not NULL.
pub(crate) fn row_image(columns: &[Column], row: &[Value]) -> Result<Vec<u8>, Refusal> {
    if columns.len() != row.len() {
        return Err(format!("column count does not match: {} values for {} columns", row.len(), columns.len()));
    }
    let mut out = vec![0u8; columns.len().div_ceil(8)];
    for (index, (column, value)) in columns.iter().zip(row).enumerate() {
        if *value == Value::Null {
            if !column.nullable {
                return Err(format!("column '{}' cannot be null", column.name));
            }
            out[index / 8] |= 1 << (index % 8);
        } else {
            put_value(&mut out, column, value).map_err(|why| format!("column '{}': {why}", column.name))?;
        }
    }
    Ok(out)
}

/// The fixed part of a rows event (version 2) and its column bitmaps; `images` is 2 for updates.
pub(crate) fn rows_head(table_id: u64, last_of_statement: bool, columns: usize, images: usize) -> Vec<u8> {
    let mut out = table_id.to_le_bytes()[..6].to_vec();
    // 1 ends the statement; 0x10 is what 9.x sets on every rows event (foreign keys are checked by SQL).
    out.extend_from_slice(&(0x10 | u16::from(last_of_statement)).to_le_bytes());
    out.extend_from_slice(&2u16.to_le_bytes()); // no extra data: the length counts itself
    put_length(&mut out, columns as u64);
    for _ in 0..images {
        out.extend(std::iter::repeat_n(0xff_u8, columns.div_ceil(8)));
    }
    out
}

/// Appends one value that is not NULL, with its length where its kind has one.
pub(crate) fn put_value(out: &mut Vec<u8>, column: &Column, value: &Value) -> Result<(), Refusal> {
    match (&column.kind, value) {
        (ColumnType::TinyInt, _) => put_integer(out, column, value, 1),
        (ColumnType::SmallInt, _) => put_integer(out, column, value, 2),
        (ColumnType::MediumInt, _) => put_integer(out, column, value, 3),
        (ColumnType::Int, _) => put_integer(out, column, value, 4),
        (ColumnType::BigInt, _) => put_integer(out, column, value, 8),
        (ColumnType::Float, Value::Float(n)) => put(out, &n.to_le_bytes()),
        (ColumnType::Double, Value::Double(n)) => put(out, &n.to_le_bytes()),
        (ColumnType::Decimal { precision, scale }, Value::Decimal(text)) => {
            put_decimal(out, text, *precision, *scale, column.unsigned)
        }
        (ColumnType::Bit { bits }, Value::UInt(n)) => put_bit(out, *bits, *n),
        (ColumnType::Year, Value::Int(0)) => put(out, &[0]),
        (ColumnType::Year, Value::Int(year @ 1901..=2155)) => put(out, &[(year - 1900) as u8]),
        (ColumnType::Date, Value::Date { year, month, day }) => temporal::put_date(out, *year, *month, *day),
        (ColumnType::Time { fsp }, Value::Time { .. }) => temporal::put_time(out, value, *fsp),
        (ColumnType::DateTime { fsp }, Value::DateTime { .. }) => temporal::put_datetime(out, value, *fsp),
        (ColumnType::Timestamp { fsp }, Value::Timestamp { seconds, micros }) => {
            out.extend_from_slice(&seconds.to_be_bytes());
            temporal::put_fraction(out, i64::from(*micros), *fsp)
        }
        (ColumnType::Char { max_bytes }, _) => put_char(out, column, value, *max_bytes),
        (ColumnType::VarChar { max_bytes }, _) => put_varchar(out, column, value, *max_bytes),
        (ColumnType::Blob { length_bytes }, _) => put_blob(out, &text_bytes(column, value)?, *length_bytes),
        (ColumnType::Enum { members }, Value::Enum(number)) => put_enum(out, members.len(), *number),
        (ColumnType::Set { members }, Value::Set(mask)) => put_set(out, members.len(), *mask),
        (ColumnType::Json, Value::Json(document)) => put_blob(out, &super::json::encode(document), 4),
        (ColumnType::Geometry, Value::Bytes(bytes)) => put_blob(out, bytes, 4),
        (ColumnType::Vector, Value::Vector(numbers)) => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            put_blob(out, &bytes, 4)
        }
        (kind, value) => Err(format!("{value:?} is no value of {kind:?}")),
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Refusal> {
    out.extend_from_slice(bytes);
    Ok(())
}

fn put_integer(out: &mut Vec<u8>, column: &Column, value: &Value, bytes: u32) -> Result<(), Refusal> {
    let n = match value {
        Value::Int(n) => i128::from(*n),
        Value::UInt(n) => i128::from(*n),
        other => return Err(format!("{other:?} is no integer")),
    };
    let bits = bytes * 8;
    let (low, high) =
        if column.unsigned { (0, (1i128 << bits) - 1) } else { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) };
    if n < low || n > high {
        return Err(format!("out of range value {n}"));
    }
    put(out, &n.to_le_bytes()[..bytes as usize])
}

fn put_bit(out: &mut Vec<u8>, bits: u8, n: u64) -> Result<(), Refusal> {
    if bits < 64 && n >> bits != 0 {
        return Err(format!("data too long: {n} in BIT({bits})"));
    }
    put(out, &n.to_be_bytes()[8 - usize::from(bits).div_ceil(8)..])
}

/// Bytes that hold 0 to 9 decimal digits.
const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// NEWDECIMAL: groups of nine digits in four bytes, left-over digits at both outer ends in as few bytes as they need,
/// big-endian; the first bit is flipped, and all bits of a negative number.
fn put_decimal(out: &mut Vec<u8>, text: &str, precision: u8, scale: u8, unsigned: bool) -> Result<(), Refusal> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let (whole_digits, scale) = (usize::from(precision) - usize::from(scale), usize::from(scale));
    let is_number = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let zero = whole.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    if !is_number || digits.is_empty() || whole.len() > whole_digits || fraction.len() > scale {
        return Err(format!("out of range value {text} in DECIMAL({precision},{scale})"));
    }
    if negative && !zero && unsigned {
        return Err(format!("out of range value {text} in an unsigned column"));
    }
    let whole = format!("{whole:0>whole_digits$}");
    let fraction = format!("{fraction:0<scale$}");
    let start = out.len();
    let (lead, groups) = whole.split_at(whole_digits % 9);
    put_digits(out, lead);
    for at in (0..groups.len()).step_by(9) {
        put_digits(out, &groups[at..at + 9]);
    }
    let (groups, trail) = fraction.split_at(scale - scale % 9);
    for at in (0..groups.len()).step_by(9) {
        put_digits(out, &groups[at..at + 9]);
    }
    put_digits(out, trail);
    if negative && !zero {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
    out[start] ^= 0x80;
    Ok(())
}

/// At most nine digits, big-endian, in the fewest bytes.
fn put_digits(out: &mut Vec<u8>, digits: &str) {
    let n = digits.bytes().fold(0u32, |n, byte| n * 10 + u32::from(byte - b'0'));
    out.extend_from_slice(&n.to_be_bytes()[4 - DIGIT_BYTES[digits.len()]..]);
}

/// The bytes of a text in the column's character set.
fn text_bytes(column: &Column, value: &Value) -> Result<Vec<u8>, Refusal> {
    match value {
        Value::Bytes(bytes) => Ok(bytes.clone()),
        // latin1's collations; MySQL's latin1 is cp1252, of which only the part shared with ISO 8859-1 is built here.
        Value::Text(text) if matches!(column.collation, Some(5 | 8 | 15 | 31 | 47 | 48 | 49 | 94)) => text
            .chars()
            .map(|c| u8::try_from(c as u32).ok().filter(|byte| !(0x80..0xa0).contains(byte)))
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| format!("incorrect string value {text:?}")),
        Value::Text(text) => Ok(text.clone().into_bytes()),
        other => Err(format!("{other:?} is no text")),
    }
}

/// CHAR loses its trailing spaces, BINARY its trailing zero bytes, as the server packs them.
fn put_char(out: &mut Vec<u8>, column: &Column, value: &Value, max_bytes: u32) -> Result<(), Refusal> {
    let bytes = text_bytes(column, value)?;
    let pad = if column.collation == Some(63) { 0 } else { b' ' };
    let kept = bytes.iter().rposition(|&byte| byte != pad).map_or(0, |last| last + 1);
    put_prefixed(out, &bytes[..kept], max_bytes)
}

fn put_varchar(out: &mut Vec<u8>, column: &Column, value: &Value, max_bytes: u32) -> Result<(), Refusal> {
    put_prefixed(out, &text_bytes(column, value)?, max_bytes)
}

/// One byte of length where the column's most bytes fit into one, else two.
fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8], max_bytes: u32) -> Result<(), Refusal> {
    if bytes.len() > max_bytes as usize {
        return Err(format!("data too long: {} bytes, at most {max_bytes}", bytes.len()));
    }
    if max_bytes > 255 {
        out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    } else {
        out.push(bytes.len() as u8);
    }
    put(out, bytes)
}

fn put_blob(out: &mut Vec<u8>, bytes: &[u8], length_bytes: u8) -> Result<(), Refusal> {
    let width = usize::from(length_bytes);
    if (bytes.len() as u64) >> (8 * width) != 0 {
        return Err(format!("data too long: {} bytes", bytes.len()));
    }
    out.extend_from_slice(&bytes.len().to_le_bytes()[..width]);
    put(out, bytes)
}

/// Bytes of an ENUM with so many members.
pub(crate) fn enum_bytes(members: usize) -> usize {
    if members > 255 { 2 } else { 1 }
}

/// Bytes of a SET with so many members: 1, 2, 3, 4 or 8.
pub(crate) fn set_bytes(members: usize) -> usize {
    match members.div_ceil(8) {
        0 | 1 => 1,
        n @ 2..=4 => n,
        _ => 8,
    }
}

fn put_enum(out: &mut Vec<u8>, members: usize, number: u16) -> Result<(), Refusal> {
    if usize::from(number) > members {
        return Err(format!("data truncated: member {number} of {members}"));
    }
    put(out, &number.to_le_bytes()[..enum_bytes(members)])
}

fn put_set(out: &mut Vec<u8>, members: usize, mask: u64) -> Result<(), Refusal> {
    if members < 64 && mask >> members != 0 {
        return Err(format!("data truncated: set {mask:#b} of {members} members"));
    }
    put(out, &mask.to_le_bytes()[..set_bytes(members)])
}
