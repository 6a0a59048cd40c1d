//! Values of the binary protocol in the bytes that a row image of the binlog holds, and keys as parameters.
//!
//! One renderer then serves rows that were streamed and rows that were read. Layouts: MySQL's `my_time.cc`,
//! `decimal.cc`, `json_binary.h`. Must not talk to a server.

use mysql_async::Value;
use towpath_engine::schema::{Column, ColumnType};

use super::json;

/// The id of the collation `binary`.
pub(super) const BINARY: u16 = 63;

/// What is wrong with a value, in words.
type Refusal = String;

/// A key's text as a statement's parameter.
pub(super) fn parameter(column: &Column, text: &str) -> Result<Value, Refusal> {
    use ColumnType::{BigInt, Bit, Blob, Char, Double, Float, Int, MediumInt, SmallInt, TinyInt, VarChar, Year};
    let wrong = || format!("{text:?} is no value of the key column {}", column.name);
    Ok(match &column.kind {
        TinyInt | SmallInt | MediumInt | Int | BigInt | Bit { .. } | Year => match text.parse::<i64>() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::UInt(text.parse().map_err(|_| wrong())?),
        },
        // The column is widened for the comparison, so the parameter is too.
        Float => Value::Double(f64::from(text.parse::<f32>().map_err(|_| wrong())?)),
        Double => Value::Double(text.parse().map_err(|_| wrong())?),
        Char { .. } | VarChar { .. } | Blob { .. } if column.collation == Some(BINARY) => {
            let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).map_err(|_| wrong()));
            Value::Bytes(bytes.collect::<Result<_, _>>()?)
        }
        _ => Value::Bytes(text.as_bytes().to_vec()),
    })
}

/// A selected value as the row image holds it; `None` is NULL.
pub(super) fn raw(column: &Column, value: Value) -> Result<Option<Vec<u8>>, Refusal> {
    if value == Value::NULL {
        return Ok(None);
    }
    let wrong = || format!("column {} came as a value of another type", column.name);
    let bytes = |value: Value| match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(wrong()),
    };
    let text = |value: Value| String::from_utf8(bytes(value)?).map_err(|_| wrong());
    Ok(Some(match &column.kind {
        ColumnType::TinyInt => integer(&value, 1).ok_or_else(wrong)?,
        ColumnType::SmallInt => integer(&value, 2).ok_or_else(wrong)?,
        ColumnType::MediumInt => integer(&value, 3).ok_or_else(wrong)?,
        ColumnType::Int => integer(&value, 4).ok_or_else(wrong)?,
        ColumnType::BigInt | ColumnType::Enum { .. } | ColumnType::Set { .. } => {
            integer(&value, 8).ok_or_else(wrong)?
        }
        ColumnType::Year => match value {
            Value::Int(0) | Value::UInt(0) => vec![0],
            Value::Int(year) => vec![u8::try_from(year - 1900).map_err(|_| wrong())?],
            Value::UInt(year) => vec![u8::try_from(year.saturating_sub(1900)).map_err(|_| wrong())?],
            _ => return Err(wrong()),
        },
        ColumnType::Float => match value {
            Value::Float(number) => number.to_le_bytes().to_vec(),
            _ => return Err(wrong()),
        },
        ColumnType::Double => match value {
            Value::Double(number) => number.to_le_bytes().to_vec(),
            _ => return Err(wrong()),
        },
        ColumnType::Decimal { precision, scale } => decimal(&text(value)?, *precision, *scale).ok_or_else(wrong)?,
        ColumnType::Date => match value {
            Value::Date(year, month, day, ..) => {
                let packed = u32::from(day) | u32::from(month) << 5 | u32::from(year) << 9;
                packed.to_le_bytes()[..3].to_vec()
            }
            _ => return Err(wrong()),
        },
        ColumnType::DateTime { fsp } => datetime(&value, *fsp).ok_or_else(wrong)?,
        ColumnType::OldDateTime => datetime(&value, 0).ok_or_else(wrong)?,
        ColumnType::Time { fsp } => time(&value, *fsp).ok_or_else(wrong)?,
        ColumnType::OldTime => time(&value, 0).ok_or_else(wrong)?,
        ColumnType::Timestamp { fsp } => timestamp(&text(value)?, *fsp).ok_or_else(wrong)?,
        ColumnType::OldTimestamp => timestamp(&text(value)?, 0).ok_or_else(wrong)?,
        ColumnType::Json => json::encode(&text(value)?).map_err(|why| format!("column {}: {why}", column.name))?,
        ColumnType::Bit { .. }
        | ColumnType::Char { .. }
        | ColumnType::VarChar { .. }
        | ColumnType::Blob { .. }
        | ColumnType::Geometry
        | ColumnType::Vector => bytes(value)?,
    }))
}

fn integer(value: &Value, bytes: usize) -> Option<Vec<u8>> {
    let wide = match value {
        Value::Int(number) => number.to_le_bytes(),
        Value::UInt(number) => number.to_le_bytes(),
        _ => return None,
    };
    Some(wide[..bytes].to_vec())
}

/// Microseconds in as many bytes as the fraction's digits need: pairs of digits, big-endian.
fn fraction(micros: i64, fsp: u8) -> (i64, usize) {
    match fsp {
        0 => (0, 0),
        1 | 2 => (micros / 10_000, 1),
        3 | 4 => (micros / 100, 2),
        _ => (micros, 3),
    }
}

fn datetime(value: &Value, fsp: u8) -> Option<Vec<u8>> {
    let &Value::Date(year, month, day, hour, minute, second, micros) = value else { return None };
    let date = (i64::from(year) * 13 + i64::from(month)) << 5 | i64::from(day);
    let clock = i64::from(hour) << 12 | i64::from(minute) << 6 | i64::from(second);
    let packed = (date << 17 | clock) + 0x80_0000_0000;
    let (part, bytes) = fraction(i64::from(micros), fsp);
    let mut out = packed.to_be_bytes()[3..].to_vec();
    out.extend_from_slice(&part.to_be_bytes()[8 - bytes..]);
    Some(out)
}

/// One number of whole seconds and fraction, negative as a whole, offset so that it sorts.
fn time(value: &Value, fsp: u8) -> Option<Vec<u8>> {
    let &Value::Time(negative, days, hours, minutes, seconds, micros) = value else { return None };
    let hours = i64::from(days) * 24 + i64::from(hours);
    let clock = hours << 12 | i64::from(minutes) << 6 | i64::from(seconds);
    let (part, bytes) = fraction(i64::from(micros), fsp);
    let bits = 8 * bytes;
    let packed = clock << bits | part;
    let signed = if negative { -packed } else { packed };
    let out = (signed + (0x80_0000 << bits)).to_be_bytes();
    Some(out[8 - 3 - bytes..].to_vec())
}

/// From UNIX_TIMESTAMP's text.
fn timestamp(text: &str, fsp: u8) -> Option<Vec<u8>> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u32 = whole.parse().ok()?;
    let micros: i64 = format!("{digits:0<6}").get(..6)?.parse().ok()?;
    let (part, bytes) = fraction(micros, fsp);
    let mut out = seconds.to_be_bytes().to_vec();
    out.extend_from_slice(&part.to_be_bytes()[8 - bytes..]);
    Some(out)
}

/// Groups of nine digits in four bytes, the outer ones in as few as they need, big-endian; the first bit is flipped,
/// and all bits of a negative number.
pub(super) fn decimal(text: &str, precision: u8, scale: u8) -> Option<Vec<u8>> {
    const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let (scale, width) = (usize::from(scale), usize::from(precision.checked_sub(scale)?));
    let whole = format!("{:0>width$}", whole.trim_start_matches('0'));
    let part = format!("{part:0<scale$}");
    let all_digits = whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit());
    if whole.len() != width || part.len() != scale || !all_digits {
        return None;
    }
    let mut out = Vec::new();
    let mut group = |digits: &str| {
        let number = digits.bytes().fold(0u32, |number, digit| number * 10 + u32::from(digit - b'0'));
        out.extend_from_slice(&number.to_be_bytes()[4 - BYTES[digits.len()]..]);
    };
    group(&whole[..width % 9]);
    (width % 9..width).step_by(9).for_each(|at| group(&whole[at..at + 9]));
    (0..scale - scale % 9).step_by(9).for_each(|at| group(&part[at..at + 9]));
    group(&part[scale - scale % 9..]);
    if negative {
        out.iter_mut().for_each(|byte| *byte = !*byte);
    }
    *out.first_mut()? ^= 0x80;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_engine::binlog::text::write_text;

    fn text_of(kind: ColumnType, unsigned: bool, value: Value) -> String {
        let collation = matches!(kind, ColumnType::VarChar { .. }).then_some(255);
        let column = Column { name: "c".into(), kind, unsigned, nullable: true, collation };
        let raw = raw(&column, value).unwrap().expect("not NULL");
        let mut out = Vec::new();
        write_text(&column, &raw, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    /// The engine's renderer reads what is encoded here.
    #[test]
    fn values_come_out_as_their_text() {
        use ColumnType::*;
        let decimal = |precision, scale| Decimal { precision, scale };
        let cases = [
            (TinyInt, Value::Int(-7), "-7"),
            (BigInt, Value::Int(i64::MIN), "-9223372036854775808"),
            (Year, Value::Int(2026), "2026"),
            (Year, Value::Int(0), "0000"),
            (Float, Value::Float(0.1), "0.1"),
            (Double, Value::Double(-1e300), "-1e300"),
            (decimal(12, 2), bytes("-1234567890.05"), "-1234567890.05"),
            (decimal(65, 30), bytes("0.000000000000000000000000000001"), "0.000000000000000000000000000001"),
            (decimal(10, 0), bytes("99"), "99"),
            (Date, Value::Date(2026, 11, 27, 0, 0, 0, 0), "2026-11-27"),
            (Date, Value::Date(0, 0, 0, 0, 0, 0, 0), "0000-00-00"),
            (DateTime { fsp: 3 }, Value::Date(2026, 11, 27, 23, 59, 58, 123_000), "2026-11-27 23:59:58.123"),
            (DateTime { fsp: 0 }, Value::Date(0, 0, 0, 0, 0, 0, 0), "0000-00-00 00:00:00"),
            (Time { fsp: 6 }, Value::Time(true, 34, 22, 59, 59, 1), "-838:59:59.000001"),
            (Time { fsp: 3 }, Value::Time(true, 0, 0, 0, 0, 100_000), "-00:00:00.100"),
            (Time { fsp: 0 }, Value::Time(false, 0, 12, 34, 56, 0), "12:34:56"),
            (Timestamp { fsp: 2 }, bytes("1795395723.12"), "2026-11-23 01:02:03.12"),
            (Timestamp { fsp: 0 }, bytes("0"), "0000-00-00 00:00:00"),
            (Bit { bits: 20 }, Value::Bytes(vec![1, 0, 2]), "65538"),
            (VarChar { max_bytes: 40 }, bytes("é"), "é"),
            (Set { members: vec!["a".into(), "b".into()] }, Value::UInt(3), "a,b"),
            (Enum { members: vec!["a".into(), "b".into()] }, Value::Int(2), "b"),
        ];
        for (kind, value, expected) in cases {
            let what = format!("{kind:?} {value:?}");
            assert_eq!(text_of(kind, false, value), expected, "{what}");
        }
        assert_eq!(text_of(BigInt, true, Value::UInt(u64::MAX)), "18446744073709551615");
    }

    #[test]
    fn what_is_no_value_of_the_type_is_refused() {
        let column = |kind| Column { name: "c".into(), kind, unsigned: false, nullable: true, collation: None };
        assert!(raw(&column(ColumnType::Int), bytes("1")).unwrap_err().contains("column c"));
        assert!(raw(&column(ColumnType::Decimal { precision: 3, scale: 1 }), bytes("1234")).is_err());
        assert_eq!(raw(&column(ColumnType::Int), Value::NULL), Ok(None));
        assert!(parameter(&column(ColumnType::Int), "x").is_err());
        assert_eq!(parameter(&column(ColumnType::BigInt), "18446744073709551615"), Ok(Value::UInt(u64::MAX)));
    }
}
