//! Rows events for tests: encodes a table map and rows of a few column types, and decodes them again.
//!
//! Tests only. Covers integers, VARCHAR/VARBINARY, BLOB/TEXT and JSON (whose value is given in MySQL's binary form).

use crate::binlog::{Decoder, Event, RowsEvent};
use crate::schema::{Column, ColumnType, TableSchema};

/// One value: `None` is NULL.
pub(crate) type Raw = Option<Vec<u8>>;

/// What happens to rows: after images, (before, after) pairs, or before images.
pub(crate) enum Rows {
    Insert(Vec<Vec<Raw>>),
    Update(Vec<(Vec<Raw>, Vec<Raw>)>),
    Delete(Vec<Vec<Raw>>),
}

pub(crate) fn column(name: &str, kind: ColumnType, unsigned: bool, collation: Option<u16>) -> Column {
    Column { name: name.into(), kind, unsigned, nullable: true, collation }
}

/// id BIGINT UNSIGNED PK, shop INT, name VARCHAR(50), raw VARBINARY(60), extra JSON.
pub(crate) fn table() -> TableSchema {
    TableSchema {
        database: "shop".into(),
        table: "items".into(),
        columns: vec![
            column("id", ColumnType::BigInt, true, None),
            column("shop", ColumnType::Int, false, None),
            column("name \"q\"", ColumnType::VarChar { max_bytes: 200 }, false, Some(255)),
            column("raw", ColumnType::VarChar { max_bytes: 60 }, false, Some(63)),
            column("extra", ColumnType::Json, false, None),
        ],
        primary_key: vec![0],
    }
}

/// A row of [`table`].
pub(crate) fn row(id: u64, shop: i32, name: Option<&str>, raw: Option<&[u8]>) -> Vec<Raw> {
    vec![
        Some(id.to_le_bytes().to_vec()),
        Some(shop.to_le_bytes().to_vec()),
        name.map(|name| name.as_bytes().to_vec()),
        raw.map(<[u8]>::to_vec),
        None,
    ]
}

/// Encodes and decodes the event, and hands it on.
pub(crate) fn with_event<T>(table: &TableSchema, rows: &Rows, use_it: impl FnOnce(RowsEvent<'_>) -> T) -> T {
    with_images(table, rows, [!0, !0], use_it)
}

/// As [`with_event`], where the images hold only the columns whose bits are set: those of the before images (or of the
/// only ones), and those of an update's after images.
pub(crate) fn with_images<T>(
    table: &TableSchema,
    rows: &Rows,
    held: [u8; 2],
    use_it: impl FnOnce(RowsEvent<'_>) -> T,
) -> T {
    let mut decoder = Decoder::new(|_, _| true);
    decoder.set_schemas([table.clone()]);
    let map = event(19, &table_map(table));
    assert!(matches!(decoder.decode(&map), Ok(Event::TableMap(_))));
    let (kind, images): (u8, Vec<&Vec<Raw>>) = match rows {
        Rows::Insert(rows) => (30, rows.iter().collect()),
        Rows::Update(rows) => (31, rows.iter().flat_map(|(before, after)| [before, after]).collect()),
        Rows::Delete(rows) => (32, rows.iter().collect()),
    };
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 2, 0, table.columns.len() as u8];
    let bitmaps = if kind == 31 { 2 } else { 1 };
    assert!(table.columns.len() <= 8, "bitmaps of one byte");
    body.extend(&held[..bitmaps]);
    for (place, image) in images.into_iter().enumerate() {
        put_image(table, image, held[place % bitmaps], &mut body);
    }
    let raw = event(kind, &body);
    match decoder.decode(&raw) {
        Ok(Event::Rows(event)) => use_it(event),
        other => panic!("not rows: {other:?}"),
    }
}

fn event(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut raw = vec![0; 19];
    raw[4] = kind;
    raw[9..13].copy_from_slice(&(19 + body.len() as u32).to_le_bytes());
    raw.extend_from_slice(body);
    raw
}

fn table_map(table: &TableSchema) -> Vec<u8> {
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0];
    for name in [&table.database, &table.table] {
        body.push(name.len() as u8);
        body.extend_from_slice(name.as_bytes());
        body.push(0);
    }
    body.push(table.columns.len() as u8);
    let mut metadata = Vec::new();
    for column in &table.columns {
        body.push(match column.kind {
            ColumnType::TinyInt => 1,
            ColumnType::Int => 3,
            ColumnType::BigInt => 8,
            ColumnType::VarChar { max_bytes } => {
                metadata.extend_from_slice(&(max_bytes as u16).to_le_bytes());
                15
            }
            ColumnType::Blob { length_bytes } => {
                metadata.push(length_bytes);
                252
            }
            ColumnType::Json => {
                metadata.push(4);
                245
            }
            ref other => panic!("{other:?} is not encoded here"),
        });
    }
    body.push(metadata.len() as u8);
    body.extend(metadata);
    body.extend(vec![0xff; table.columns.len().div_ceil(8)]);
    body
}

fn put_image(table: &TableSchema, image: &[Raw], held: u8, body: &mut Vec<u8>) {
    let held = || table.columns.iter().zip(image).enumerate().filter(|(index, _)| held >> index & 1 == 1);
    let nulls = held().enumerate().map(|(place, (_, (_, value)))| u8::from(value.is_none()) << place);
    body.extend(vec![nulls.sum::<u8>(); held().count().div_ceil(8)]);
    for (_, (column, value)) in held() {
        let Some(value) = value else { continue };
        let length = (value.len() as u32).to_le_bytes();
        let bytes = match column.kind {
            ColumnType::VarChar { max_bytes } if max_bytes < 256 => 1,
            ColumnType::VarChar { .. } => 2,
            ColumnType::Blob { length_bytes } => usize::from(length_bytes),
            ColumnType::Json => 4,
            _ => 0,
        };
        body.extend_from_slice(&length[..bytes]);
        body.extend_from_slice(value);
    }
}
