//! TABLE_MAP events: the wire's column types, from which the width of every value follows.
//!
//! Must not know names: [`super::metadata`] reads the optional part, [`super::resolve`] makes the schema.
//! Layout: MySQL's `rows_event.h`, "Table_map_event".

use std::sync::Arc;

use super::metadata::Metadata;
use super::read::{Read, Reader, le_uint};
use super::rows::bit;
use crate::cause::Stop;
use crate::schema::TableSchema;

/// A column type's number on the wire (`enum_field_types`).
pub(crate) mod wire {
    pub const DECIMAL: u8 = 0;
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    pub const MARIADB_BLOB_COMPRESSED: u8 = 140;
    pub const MARIADB_VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

/// How many bytes a value of a column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnWidth {
    /// Always so many.
    Fixed(u16),
    /// A little-endian length of so many bytes (1 to 4), then the value.
    Prefixed(u8),
}

impl ColumnWidth {
    /// Takes a value's bytes. Inlined into the loop over a row's columns, where the time goes.
    #[inline(always)]
    pub fn take<'a>(self, reader: &mut Reader<'a>) -> Read<&'a [u8]> {
        match self {
            ColumnWidth::Fixed(len) => reader.take(usize::from(len), "a value of fixed length"),
            ColumnWidth::Prefixed(1) => {
                let len = reader.u8("a value's length of 1 byte")?;
                reader.take(usize::from(len), "a value as long as its length says")
            }
            ColumnWidth::Prefixed(bytes) => {
                let len = reader.uint(usize::from(bytes), "a value's length")?;
                reader.take(usize::try_from(len).unwrap_or(usize::MAX), "a value as long as its length says")
            }
        }
    }
}

/// A column as the wire describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WireColumn {
    /// Its type, ENUM and SET told apart from STRING.
    pub kind: u8,
    /// The type's metadata; for STRING the most bytes a value takes, for ENUM and SET the bytes of a value.
    pub meta: u16,
    /// May hold NULL.
    pub nullable: bool,
}

/// A table as one TABLE_MAP event describes it.
#[derive(Debug)]
pub(crate) struct TableMap {
    /// The event's body after the table id: two maps are the same if these bytes are.
    pub body: Box<[u8]>,
    pub database: String,
    pub table: String,
    pub columns: Vec<WireColumn>,
    pub widths: Vec<ColumnWidth>,
    pub metadata: Metadata,
    /// The schema, or why there is none; `None` if the filter does not accept the table.
    pub schema: Option<Result<Arc<TableSchema>, Stop>>,
}

impl TableMap {
    /// Whether rows of it can be read.
    pub fn is_known(&self) -> bool {
        !matches!(self.schema, Some(Err(_)))
    }
}

/// The names at a table map's start: all that a filtered table needs.
pub(crate) struct TableMapHead<'a> {
    pub database: &'a str,
    pub table: &'a str,
}

/// Reads the flags and names that follow the table id.
pub(crate) fn parse_head<'a>(reader: &mut Reader<'a>) -> Read<TableMapHead<'a>> {
    reader.u16("table map flags")?;
    let name = |reader: &mut Reader<'a>, expected| {
        let len = reader.u8(expected)?;
        let name = reader.str(usize::from(len), expected)?;
        if reader.u8(expected)? == 0 { Ok(name) } else { Err(reader.bad("a name that ends with 0")) }
    };
    let database = name(reader, "a database name")?;
    let table = name(reader, "a table name")?;
    Ok(TableMapHead { database, table })
}

/// Columns a table can have (the server's limit is 4096 for MySQL and MariaDB).
const MAX_COLUMNS: u64 = 4096;

/// Why a table map cannot be used.
pub(crate) enum MapError {
    Bad(super::read::Bad),
    /// A type that is not decoded: its number and the column's index.
    Type(u8, usize),
}

impl From<super::read::Bad> for MapError {
    fn from(bad: super::read::Bad) -> Self {
        MapError::Bad(bad)
    }
}

/// Reads columns and optional metadata. `reader` is after the names; `body` is what stands after the table id.
pub(crate) fn parse_columns<'a>(
    reader: &mut Reader<'a>,
    head: &TableMapHead<'a>,
    body: &[u8],
    mariadb: bool,
) -> Result<TableMap, MapError> {
    let start = *reader;
    let count = reader.packed("a count of columns")?;
    if count > MAX_COLUMNS {
        return Err(start.bad("at most 4096 columns").into());
    }
    let types = reader.take(count as usize, "a type for each column")?;
    let meta_len = reader.packed_len("a length of column metadata")?;
    let meta_start = reader.at();
    let mut metas = Reader::new(reader.take(meta_len, "column metadata")?);
    let mut columns = Vec::with_capacity(types.len());
    let mut widths = Vec::with_capacity(types.len());
    for (index, &kind) in types.iter().enumerate() {
        let read = wire_column(kind, &mut metas);
        let (column, width) = read
            .map_err(|bad| super::read::Bad { offset: bad.offset + meta_start, ..bad })?
            .ok_or(MapError::Type(kind, index))?;
        columns.push(column);
        widths.push(width);
    }
    let nullable = reader.take(types.len().div_ceil(8), "a bitmap of nullable columns")?;
    for (index, column) in columns.iter_mut().enumerate() {
        column.nullable = bit(nullable, index);
    }
    let metadata = Metadata::parse(reader, &columns, mariadb)?;
    Ok(TableMap {
        body: body.into(),
        database: head.database.to_owned(),
        table: head.table.to_owned(),
        columns,
        widths,
        metadata,
        schema: None,
    })
}

/// Reads one column's metadata; `None` for a type that is not decoded.
fn wire_column(kind: u8, metas: &mut Reader<'_>) -> Read<Option<(WireColumn, ColumnWidth)>> {
    use ColumnWidth::{Fixed, Prefixed};
    let expected = "metadata of the column's type";
    let (kind, meta, width) = match kind {
        wire::TINY | wire::YEAR => (kind, 0, Fixed(1)),
        wire::SHORT => (kind, 0, Fixed(2)),
        wire::INT24 | wire::DATE | wire::NEWDATE | wire::TIME => (kind, 0, Fixed(3)),
        wire::LONG | wire::TIMESTAMP => (kind, 0, Fixed(4)),
        wire::LONGLONG | wire::DATETIME => (kind, 0, Fixed(8)),
        wire::NULL => (kind, 0, Fixed(0)),
        wire::FLOAT | wire::DOUBLE => {
            let size = metas.u8(expected)?;
            let right = if kind == wire::FLOAT { 4 } else { 8 };
            if size != right {
                return Err(metas.bad("4 bytes for FLOAT, 8 for DOUBLE"));
            }
            (kind, u16::from(size), Fixed(u16::from(size)))
        }
        wire::TIMESTAMP2 | wire::DATETIME2 | wire::TIME2 => {
            let fsp = metas.u8(expected)?;
            if fsp > 6 {
                return Err(metas.bad("at most 6 fractional digits"));
            }
            let base = match kind {
                wire::TIMESTAMP2 => 4,
                wire::DATETIME2 => 5,
                _ => 3,
            };
            (kind, u16::from(fsp), Fixed(base + u16::from(fsp).div_ceil(2)))
        }
        wire::NEWDECIMAL => {
            let precision = metas.u8(expected)?;
            let scale = metas.u8(expected)?;
            if precision == 0 || precision > 65 || scale > precision {
                return Err(metas.bad("a DECIMAL of 1 to 65 digits"));
            }
            let meta = u16::from_le_bytes([precision, scale]);
            (kind, meta, Fixed(super::decimal::packed_len(precision, scale) as u16))
        }
        wire::BIT => {
            let meta = metas.u16(expected)?;
            let [bits, bytes] = meta.to_le_bytes();
            if bits > 7 || bytes > 8 || meta == 0 || u16::from(bytes) * 8 + u16::from(bits) > 64 {
                return Err(metas.bad("a BIT of 1 to 64 bits"));
            }
            (kind, u16::from(bytes) * 8 + u16::from(bits), Fixed(u16::from(bytes) + u16::from(bits > 0)))
        }
        wire::VARCHAR | wire::VAR_STRING => {
            let max = metas.u16(expected)?;
            (wire::VARCHAR, max, Prefixed(if max > 255 { 2 } else { 1 }))
        }
        wire::BLOB | wire::GEOMETRY | wire::JSON | wire::VECTOR => {
            let bytes = metas.u8(expected)?;
            if !(1..=4).contains(&bytes) {
                return Err(metas.bad("a length prefix of 1 to 4 bytes"));
            }
            (kind, u16::from(bytes), Prefixed(bytes))
        }
        wire::STRING | wire::ENUM | wire::SET => return string_column(metas.take(2, expected)?, metas),
        _ => return Ok(None),
    };
    Ok(Some((WireColumn { kind, meta, nullable: false }, width)))
}

/// STRING carries CHAR, ENUM and SET: the first metadata byte is the real type, whose bits 4 and 5, inverted, also
/// hold bits 8 and 9 of a CHAR's length.
fn string_column(meta: &[u8], metas: &Reader<'_>) -> Read<Option<(WireColumn, ColumnWidth)>> {
    let (first, second) = (le_uint(&meta[..1]) as u8, le_uint(&meta[1..]) as u16);
    let column = |kind, meta| WireColumn { kind, meta, nullable: false };
    Ok(Some(match first {
        wire::ENUM if (1..=2).contains(&second) => (column(wire::ENUM, second), ColumnWidth::Fixed(second)),
        wire::SET if (1..=8).contains(&second) => (column(wire::SET, second), ColumnWidth::Fixed(second)),
        wire::ENUM | wire::SET => return Err(metas.bad("1 or 2 bytes for ENUM, 1 to 8 for SET")),
        _ if first | 0x30 == wire::STRING => {
            let max = second | (u16::from((first & 0x30) ^ 0x30) << 4);
            (column(wire::STRING, max), ColumnWidth::Prefixed(if max > 255 { 2 } else { 1 }))
        }
        _ => return Ok(None),
    }))
}
