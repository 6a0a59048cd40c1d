//! From a table map to the table's schema: by the names in the binlog, or by a known schema that the map must match.
//!
//! Must not guess: what is neither in the map nor in a known schema stops with its cause, unless the caller asked for
//! columns named by their place.

use super::metadata::Metadata;
use super::table_map::{TableMap, WireColumn, wire};
use crate::cause::{Cause, Stop};
use crate::schema::charset::Charset;
use crate::schema::{Column, ColumnType, TableSchema};

/// The schema of a table map. `by_place` names columns `@1`, `@2`, … where nothing else names them.
///
/// # Errors
/// `schema-mismatch` if the binlog does not name the columns and no known schema fits, `undecoded` for a charset.
pub(crate) fn resolve(map: &TableMap, known: Option<&TableSchema>, by_place: bool) -> Result<TableSchema, Stop> {
    let schema = match &map.metadata.names {
        Some(names) => from_metadata(map, names)?,
        None if by_place && known.is_none() => {
            let names: Vec<String> = (1..=map.columns.len()).map(|place| format!("@{place}")).collect();
            from_metadata(map, &names)?
        }
        None => from_known(map, known)?,
    };
    for column in &schema.columns {
        if let Some(collation) = column.collation {
            Charset::require(collation, &schema, column)?;
        }
    }
    Ok(schema)
}

fn mismatch(map: &TableMap, what: std::fmt::Arguments<'_>) -> Stop {
    Stop::new(Cause::SchemaMismatch, format!("table `{}`.`{}`: {what}", map.database, map.table))
}

fn from_metadata(map: &TableMap, names: &[String]) -> Result<TableSchema, Stop> {
    let mut columns = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let wire = &map.columns[index];
        let collation = collation(wire, map.metadata.collations.get(index).copied().flatten());
        let members = members(map, index, collation)?.unwrap_or_default();
        columns.push(Column {
            name: name.clone(),
            kind: column_type(wire, members)
                .ok_or_else(|| mismatch(map, format_args!("column `{name}` has the unknown type {}", wire.kind)))?,
            unsigned: map.metadata.unsigned.get(index).copied().flatten().unwrap_or(false),
            nullable: wire.nullable,
            collation,
        });
    }
    Ok(TableSchema {
        database: map.database.clone(),
        table: map.table.clone(),
        columns,
        primary_key: map.metadata.primary_key.clone().unwrap_or_default(),
    })
}

fn from_known(map: &TableMap, known: Option<&TableSchema>) -> Result<TableSchema, Stop> {
    let known = known.ok_or_else(|| {
        mismatch(map, format_args!("the binlog does not name its columns and no definition is known for this event"))
    })?;
    if known.columns.len() != map.columns.len() {
        let (rows, table) = (map.columns.len(), known.columns.len());
        return Err(mismatch(map, format_args!("its rows have {rows} columns, its known definition has {table}")));
    }
    let mut columns = Vec::with_capacity(known.columns.len());
    for (index, column) in known.columns.iter().enumerate() {
        columns.push(checked(map, index, column)?);
    }
    Ok(TableSchema {
        database: map.database.clone(),
        table: map.table.clone(),
        columns,
        primary_key: known.primary_key.clone(),
    })
}

/// A column as the wire has it, named by the known definition, which must not contradict it.
fn checked(map: &TableMap, index: usize, known: &Column) -> Result<Column, Stop> {
    let wire = &map.columns[index];
    let Metadata { unsigned, collations, .. } = &map.metadata;
    let known_members = match &known.kind {
        ColumnType::Enum { members } | ColumnType::Set { members } => members.clone(),
        _ => Vec::new(),
    };
    let collation = collation(wire, collations.get(index).copied().flatten().or(known.collation));
    let members = members(map, index, collation)?.unwrap_or(known_members);
    let kind = column_type(wire, members);
    let differs = |what: &str| {
        mismatch(map, format_args!("column `{}` has another {what} in its rows than in its definition", known.name))
    };
    let kind = kind.filter(|kind| same_type(kind, &known.kind, wire)).ok_or_else(|| differs("type"))?;
    let unsigned = unsigned.get(index).copied().flatten();
    if unsigned.is_some_and(|unsigned| unsigned != known.unsigned) {
        return Err(differs("sign"));
    }
    if known.collation.is_some() && collation.is_some() && !same_charset(collation, known.collation) {
        return Err(differs("charset"));
    }
    Ok(Column { name: known.name.clone(), kind, unsigned: known.unsigned, nullable: wire.nullable, collation })
}

fn same_charset(one: Option<u16>, other: Option<u16>) -> bool {
    let charset = |collation: Option<u16>| collation.and_then(Charset::of);
    one == other || charset(one).is_some_and(|one| Some(one) == charset(other))
}

/// Whether a known type is the wire's. Lengths count where the wire has them: they decide how values are read.
fn same_type(wire_type: &ColumnType, known: &ColumnType, wire: &WireColumn) -> bool {
    use ColumnType::{Blob, Char, Enum, Geometry, Set, VarChar};
    match (wire_type, known) {
        (Char { max_bytes: a }, Char { max_bytes: b }) | (VarChar { max_bytes: a }, VarChar { max_bytes: b }) => a == b,
        // The wire has the value's width; a changed list of members within the same width cannot be seen here.
        (Enum { .. }, Enum { members }) => usize::from(wire.meta) == if members.len() > 255 { 2 } else { 1 },
        (Set { .. }, Set { members }) => usize::from(wire.meta) == set_width(members.len()),
        (Blob { length_bytes: a }, Blob { length_bytes: b }) => a == b,
        (Geometry, Geometry) => true,
        (old, known) => old == known || old.is_old_form_of(known),
    }
}

/// Bytes of a SET value: 1, 2, 3, 4 or 8.
fn set_width(members: usize) -> usize {
    match members.div_ceil(8) {
        0 => 1,
        few @ 1..=4 => few,
        _ => 8,
    }
}

fn collation(wire: &WireColumn, found: Option<u16>) -> Option<u16> {
    matches!(wire.kind, wire::STRING | wire::VARCHAR | wire::BLOB | wire::ENUM | wire::SET).then_some(found).flatten()
}

/// The members in UTF-8, where the map names them.
fn members(map: &TableMap, index: usize, collation: Option<u16>) -> Result<Option<Vec<String>>, Stop> {
    let Some(raw) = map.metadata.members.get(index).and_then(Option::as_ref) else { return Ok(None) };
    let charset = match collation {
        Some(collation) => Charset::of(collation),
        None => Some(Charset::UTF8),
    };
    let charset = charset.ok_or_else(|| {
        let id = collation.unwrap_or_default();
        Stop::new(
            Cause::Undecoded,
            format!("table `{}`.`{}`: members in the charset of collation {id}", map.database, map.table),
        )
    })?;
    let decode = |member: &Vec<u8>| {
        charset.decode(member).ok_or_else(|| {
            mismatch(map, format_args!("a member of column {} is not valid {}", index + 1, charset.name()))
        })
    };
    raw.iter().map(decode).collect::<Result<_, _>>().map(Some)
}

/// The type of a wire column; `None` for one that no value can be read of.
fn column_type(column: &WireColumn, members: Vec<String>) -> Option<ColumnType> {
    let meta = column.meta;
    let fsp = meta as u8;
    Some(match column.kind {
        wire::TINY => ColumnType::TinyInt,
        wire::SHORT => ColumnType::SmallInt,
        wire::INT24 => ColumnType::MediumInt,
        wire::LONG => ColumnType::Int,
        wire::LONGLONG => ColumnType::BigInt,
        wire::FLOAT => ColumnType::Float,
        wire::DOUBLE => ColumnType::Double,
        wire::NEWDECIMAL => {
            let [precision, scale] = meta.to_le_bytes();
            ColumnType::Decimal { precision, scale }
        }
        wire::BIT => ColumnType::Bit { bits: meta as u8 },
        wire::YEAR => ColumnType::Year,
        wire::DATE | wire::NEWDATE => ColumnType::Date,
        wire::TIME2 => ColumnType::Time { fsp },
        wire::DATETIME2 => ColumnType::DateTime { fsp },
        wire::TIMESTAMP2 => ColumnType::Timestamp { fsp },
        wire::TIME => ColumnType::OldTime,
        wire::DATETIME => ColumnType::OldDateTime,
        wire::TIMESTAMP => ColumnType::OldTimestamp,
        wire::STRING => ColumnType::Char { max_bytes: u32::from(meta) },
        wire::VARCHAR => ColumnType::VarChar { max_bytes: u32::from(meta) },
        wire::BLOB => ColumnType::Blob { length_bytes: meta as u8 },
        wire::ENUM => ColumnType::Enum { members },
        wire::SET => ColumnType::Set { members },
        wire::JSON => ColumnType::Json,
        wire::GEOMETRY => ColumnType::Geometry,
        wire::VECTOR => ColumnType::Vector,
        _ => return None,
    })
}
