//! A value's text as records carry it: Canal's FlatMessage rules, but right where Canal is known to be wrong.
//!
//! Written once, straight into the record, already escaped as the content of a JSON string (without the quotes).
//! Must not allocate per value. Rules: every text is UTF-8; instants are UTC; ENUM and SET are member names; binary
//! bytes are ISO-8859-1 text; JSON is the server's own normal form; GEOMETRY is GeoJSON unless configured otherwise;
//! VECTOR is an array of numbers.

use super::decimal;
use super::escape::{escape_char, escape_utf8};
use super::read::{be_uint, le_uint};
use super::rows::PatchedJson;
use super::spatial::{self, GeometryText};
use super::{json, number, temporal};
use crate::cause::{Cause, Stop};
use crate::schema::charset::{self, Charset};
use crate::schema::{Column, ColumnType};

/// How values become text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Text {
    /// ENUM as its index, SET as its bits, GEOMETRY and VECTOR as their bytes, as Canal writes them.
    pub canal_quirks: bool,
    /// How GEOMETRY is written otherwise.
    pub geometry: GeometryText,
}

/// Writes a value's text with the default rules. See [`Text::write`].
///
/// # Errors
/// As [`Text::write`].
pub fn write_text(column: &Column, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
    Text::default().write(column, raw, out)
}

/// Why a value has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadValue {
    /// The bytes are not a value of the type; the text says what was expected.
    Expected(&'static str),
    /// The charset, or a part of the value, is not decoded.
    Undecoded(&'static str),
}

impl Text {
    /// Appends the value's text to `out`, escaped as the content of a JSON string.
    ///
    /// `raw` are the bytes of [`super::Field::Value`]; NULL and absent values have no text.
    ///
    /// # Errors
    /// `corrupt` if the bytes are no value of the column's type (for text: not valid in its charset), `undecoded` for
    /// a charset that is not decoded. `out` may then hold a part of the text.
    #[inline]
    pub fn write(&self, column: &Column, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        self.value(column, raw, out).map_err(|bad| stop(column, raw, bad))
    }

    /// As [`Text::write`], for a value of JSON that the binlog gives as changes of the one before.
    ///
    /// # Errors
    /// As [`Text::write`]; `corrupt` also if the document before cannot take the changes, `partial-row` if the row does
    /// not hold that document.
    pub fn write_patched(&self, column: &Column, patched: &PatchedJson<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
        let Some(base) = patched.base else {
            let name = &column.name;
            let detail = format!(
                "column `{name}`: a change within its JSON arrives without the document before it: set \
                 binlog_row_image=FULL, or remove PARTIAL_JSON from binlog_row_value_options"
            );
            return Err(Stop::new(Cause::PartialRow, detail));
        };
        json::write_patched(base, patched.diffs, out).map_err(|bad| stop(column, patched.diffs, bad))
    }

    fn value(&self, column: &Column, raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        match &column.kind {
            ColumnType::TinyInt
            | ColumnType::SmallInt
            | ColumnType::MediumInt
            | ColumnType::Int
            | ColumnType::BigInt => number::write_integer(raw, column.unsigned, out),
            ColumnType::Decimal { precision, scale } => decimal::write(raw, *precision, *scale, out)?,
            ColumnType::VarChar { .. } => write_string(column.collation, raw, None, out)?,
            ColumnType::Char { max_bytes } => write_string(column.collation, raw, Some(*max_bytes), out)?,
            ColumnType::Blob { .. } => write_string(column.collation, raw, None, out)?,
            ColumnType::DateTime { fsp } => temporal::write_datetime(raw, *fsp, out)?,
            ColumnType::Timestamp { fsp } => temporal::write_timestamp(raw, *fsp, out)?,
            ColumnType::Date => temporal::write_date(raw, out)?,
            ColumnType::Time { fsp } => temporal::write_time(raw, *fsp, out)?,
            ColumnType::Year => temporal::write_year(raw, out)?,
            ColumnType::Float => number::write_float(raw, out)?,
            ColumnType::Double => number::write_double(raw, out)?,
            ColumnType::Bit { .. } => number::write_u64(be_uint(raw), out),
            ColumnType::Enum { members } => self.write_enum(members, raw, out)?,
            ColumnType::Set { members } => self.write_set(members, raw, out)?,
            ColumnType::Json => json::write(raw, out)?,
            ColumnType::Geometry | ColumnType::Vector if self.canal_quirks => write_binary(raw, out),
            ColumnType::Geometry => spatial::write_geometry(self.geometry, raw, out)?,
            ColumnType::Vector => spatial::write_vector(raw, out)?,
            ColumnType::OldTime => temporal::write_old_time(raw, out)?,
            ColumnType::OldDateTime => temporal::write_old_datetime(raw, out)?,
            ColumnType::OldTimestamp => temporal::write_old_timestamp(raw, out)?,
        }
        Ok(())
    }

    fn write_enum(&self, members: &[String], raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let index = le_uint(raw);
        if self.canal_quirks {
            number::write_u64(index, out);
            return Ok(());
        }
        // Index 0 is the empty text that stands for an invalid value.
        let Some(place) = (index as usize).checked_sub(1) else { return Ok(()) };
        let member = members.get(place).ok_or(BadValue::Expected("the index of a member of the ENUM"))?;
        escape_utf8(member.as_bytes(), out)
    }

    fn write_set(&self, members: &[String], raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let mut bits = le_uint(raw);
        if self.canal_quirks {
            number::write_u64(bits, out);
            return Ok(());
        }
        let mut separator = false;
        while bits != 0 {
            let member = members.get(bits.trailing_zeros() as usize);
            let member = member.ok_or(BadValue::Expected("bits of members of the SET"))?;
            if separator {
                out.push(b',');
            }
            escape_utf8(member.as_bytes(), out)?;
            separator = true;
            bits &= bits - 1;
        }
        Ok(())
    }
}

/// Writes a character or binary value. `pad_to` is the declared length in bytes of a CHAR or BINARY: the binlog cuts
/// the trailing zeros of a BINARY, which belong to the value (the trailing blanks of a CHAR do not).
fn write_string(collation: Option<u16>, raw: &[u8], pad_to: Option<u32>, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let charset =
        Charset::of(collation.unwrap_or(charset::BINARY)).ok_or(BadValue::Undecoded("the charset of its collation"))?;
    if charset.is_utf8() {
        return escape_utf8(raw, out);
    }
    if charset.is_binary() {
        write_binary(raw, out);
        for _ in raw.len()..pad_to.unwrap_or(0) as usize {
            escape_char('\0', out);
        }
        return Ok(());
    }
    let mut result = Ok(());
    let decoded = charset.decode_with(raw, &mut |piece| {
        if result.is_ok() {
            result = escape_utf8(piece.as_bytes(), out);
        }
    });
    decoded.map_err(|_| BadValue::Expected("text in its charset")).and(result)
}

/// Bytes as ISO-8859-1.
fn write_binary(raw: &[u8], out: &mut Vec<u8>) {
    raw.iter().for_each(|&byte| escape_char(char::from(byte), out));
}

#[cold]
fn stop(column: &Column, raw: &[u8], bad: BadValue) -> Stop {
    let (name, length) = (&column.name, raw.len());
    match bad {
        BadValue::Expected(expected) => {
            Stop::new(Cause::Corrupt, format!("a value of {length} bytes in column `{name}` is not {expected}"))
        }
        BadValue::Undecoded(what) => Stop::new(Cause::Undecoded, format!("column `{name}`: {what} is not decoded yet")),
    }
}
