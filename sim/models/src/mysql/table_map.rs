//! TABLE_MAP: a table's name, its columns' types, and the optional metadata (MINIMAL or FULL) behind them.

use super::encode::put_length;
use super::rows::{enum_bytes, set_bytes};
use towpath_engine::schema::{Column, ColumnType, TableSchema};

/// The body of TABLE_MAP. `full` is `binlog_row_metadata=FULL`.
pub(crate) fn body(table_id: u64, schema: &TableSchema, full: bool) -> Vec<u8> {
    let mut out = table_id.to_le_bytes()[..6].to_vec();
    out.extend_from_slice(&1u16.to_le_bytes());
    for name in [&schema.database, &schema.table] {
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
        out.push(0);
    }
    put_length(&mut out, schema.columns.len() as u64);
    let mut metadata = Vec::new();
    for column in &schema.columns {
        let (kind, meta) = type_and_metadata(&column.kind);
        out.push(kind);
        metadata.extend_from_slice(&meta);
    }
    put_length(&mut out, metadata.len() as u64);
    out.extend_from_slice(&metadata);
    let mut nullable = vec![0u8; schema.columns.len().div_ceil(8)];
    for (index, column) in schema.columns.iter().enumerate() {
        nullable[index / 8] |= u8::from(column.nullable) << (index % 8);
    }
    out.extend_from_slice(&nullable);
    put_optional(&mut out, schema, full);
    out
}

/// The type's number in the binlog and its metadata bytes.
fn type_and_metadata(kind: &ColumnType) -> (u8, Vec<u8>) {
    match kind {
        ColumnType::TinyInt => (1, vec![]),
        ColumnType::SmallInt => (2, vec![]),
        ColumnType::MediumInt => (9, vec![]),
        ColumnType::Int => (3, vec![]),
        ColumnType::BigInt => (8, vec![]),
        ColumnType::Float => (4, vec![4]),
        ColumnType::Double => (5, vec![8]),
        ColumnType::Decimal { precision, scale } => (246, vec![*precision, *scale]),
        ColumnType::Bit { bits } => (16, vec![bits % 8, bits / 8]),
        ColumnType::Year => (13, vec![]),
        ColumnType::Date => (10, vec![]),
        ColumnType::Time { fsp } => (19, vec![*fsp]),
        ColumnType::DateTime { fsp } => (18, vec![*fsp]),
        ColumnType::Timestamp { fsp } => (17, vec![*fsp]),
        ColumnType::OldTimestamp => (7, vec![]),
        ColumnType::OldTime => (11, vec![]),
        ColumnType::OldDateTime => (12, vec![]),
        // The length has ten bits; its two highest lie, inverted, in the byte that names the real type.
        ColumnType::Char { max_bytes } => (254, vec![0xfe ^ ((max_bytes & 0x300) >> 4) as u8, *max_bytes as u8]),
        ColumnType::VarChar { max_bytes } => (15, (*max_bytes as u16).to_le_bytes().to_vec()),
        ColumnType::Blob { length_bytes } => (252, vec![*length_bytes]),
        ColumnType::Enum { members } => (254, vec![247, enum_bytes(members.len()) as u8]),
        ColumnType::Set { members } => (254, vec![248, set_bytes(members.len()) as u8]),
        ColumnType::Json => (245, vec![4]),
        ColumnType::Geometry => (255, vec![4]),
        ColumnType::Vector => (242, vec![4]),
    }
}

fn put_optional(out: &mut Vec<u8>, schema: &TableSchema, full: bool) {
    let columns = &schema.columns;
    let signs: Vec<bool> = columns.iter().filter(|c| is_numeric(&c.kind)).map(is_unsigned).collect();
    if !signs.is_empty() {
        put_field(out, 1, &bits_from_the_left(&signs));
    }
    let is_text =
        |c: &&Column| matches!(c.kind, ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. });
    put_collations(out, &columns.iter().filter(is_text).collect::<Vec<_>>(), 2, 3);
    let geometries = columns.iter().filter(|c| c.kind == ColumnType::Geometry).count();
    if geometries > 0 {
        put_field(out, 7, &vec![0; geometries]);
    }
    if full {
        put_full(out, schema);
    }
}

fn put_full(out: &mut Vec<u8>, schema: &TableSchema) {
    let columns = &schema.columns;
    let mut names = Vec::new();
    for column in columns {
        put_text(&mut names, &column.name);
    }
    put_field(out, 4, &names);
    let is_member = |c: &&Column| matches!(c.kind, ColumnType::Enum { .. } | ColumnType::Set { .. });
    put_collations(out, &columns.iter().filter(is_member).collect::<Vec<_>>(), 10, 11);
    for (tag, of_set) in [(5, true), (6, false)] {
        let mut members = Vec::new();
        for column in columns {
            match &column.kind {
                ColumnType::Set { members: names } if of_set => put_members(&mut members, names),
                ColumnType::Enum { members: names } if !of_set => put_members(&mut members, names),
                _ => {}
            }
        }
        if !members.is_empty() {
            put_field(out, tag, &members);
        }
    }
    if !schema.primary_key.is_empty() {
        let mut key = Vec::new();
        for &column in &schema.primary_key {
            put_length(&mut key, column as u64);
        }
        put_field(out, 8, &key);
    }
    put_field(out, 12, &bits_from_the_left(&vec![true; columns.len()]));
}

/// Collations of some columns: either the commonest and the exceptions, or one after the other, whichever is shorter.
fn put_collations(out: &mut Vec<u8>, columns: &[&Column], default_tag: u8, each_tag: u8) {
    let ids: Vec<u64> = columns.iter().map(|column| u64::from(column.collation.unwrap_or(63))).collect();
    let count = |id: u64| ids.iter().filter(|&&other| other == id).count();
    // Among equally common ones the lowest id, as an ordered map yields it.
    let mut candidates = ids.clone();
    candidates.sort_unstable();
    let Some(common) = candidates.into_iter().reduce(|best, id| if count(id) > count(best) { id } else { best }) else {
        return;
    };
    let exceptions: Vec<(usize, u64)> = ids.iter().copied().enumerate().filter(|&(_, id)| id != common).collect();
    let mut body = Vec::new();
    if exceptions.len() * 2 < ids.len() {
        put_length(&mut body, common);
        for (index, id) in exceptions {
            put_length(&mut body, index as u64);
            put_length(&mut body, id);
        }
        put_field(out, default_tag, &body);
    } else {
        ids.iter().for_each(|&id| put_length(&mut body, id));
        put_field(out, each_tag, &body);
    }
}

fn put_field(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    put_length(out, body.len() as u64);
    out.extend_from_slice(body);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_members(out: &mut Vec<u8>, names: &[String]) {
    put_length(out, names.len() as u64);
    names.iter().for_each(|name| put_text(out, name));
}

fn is_numeric(kind: &ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::TinyInt
            | ColumnType::SmallInt
            | ColumnType::MediumInt
            | ColumnType::Int
            | ColumnType::BigInt
            | ColumnType::Float
            | ColumnType::Double
            | ColumnType::Decimal { .. }
            | ColumnType::Year
    )
}

/// YEAR counts as unsigned without being declared so.
fn is_unsigned(column: &Column) -> bool {
    column.unsigned || column.kind == ColumnType::Year
}

/// Bits packed from each byte's highest downwards, as the optional metadata has them.
fn bits_from_the_left(bits: &[bool]) -> Vec<u8> {
    let mut out = vec![0u8; bits.len().div_ceil(8)];
    for (index, &bit) in bits.iter().enumerate() {
        out[index / 8] |= u8::from(bit) << (7 - index % 8);
    }
    out
}
