//! Records of rows that were read and not streamed (protocol §5): a row as it is is written by
//! [`super::FlatWriter::write_reads`], an image that is gone here, from the texts that the log has of it.
//!
//! Must not read rows, nor decide which are gone.

use super::buffer::{Entry, NAMES, RecordBuffer};
use super::headers::ReadKind;
use super::json::quoted;
use super::read::Shape;
use super::{EventContext, RecordMode};

/// The index of an image that is gone in its record.
pub const IMAGE_INDEX: u32 = 0;
/// The index of the first row that was read in its record: above the images, so that a row wins over its own.
pub const READ_INDEX: u32 = 16;
/// The most rows that were read in one record: the indices stay below the 38 bytes of the shortest GTID event.
pub const READ_ROWS: usize = 16;

/// A column of an image as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageField {
    /// The log does not say.
    Absent,
    /// NULL.
    Null,
    /// Its text.
    Text(String),
}

/// An image that is gone.
#[derive(Debug, Clone)]
pub struct Gone<'a> {
    /// The table as the log's record described it.
    pub shape: &'a Shape,
    /// One field for each of the shape's columns.
    pub image: &'a [ImageField],
    /// What is said of it; not [`ReadKind::Row`].
    pub kind: ReadKind,
    /// The partition in which the log has it.
    pub partition: u32,
}

/// Appends the DELETE record of an image.
pub fn write_gone(
    gone: &Gone<'_>,
    context: &EventContext<'_>,
    (pipeline, mode): (&str, RecordMode),
    out: &mut RecordBuffer,
) {
    let none = 0..0;
    let mut headers: [std::ops::Range<usize>; NAMES.len()] = std::array::from_fn(|_| none.clone());
    headers[1] = out.number(u64::from(context.epoch));
    headers[2] = out.number(context.offset);
    headers[3] = out.number(u64::from(IMAGE_INDEX));
    headers[4] = out.number(context.term);
    headers[7] = out.text(pipeline);
    headers[8] = out.text(context.server);
    headers[9] = out.text(gone.kind.as_str());
    let key = (mode == RecordMode::Row).then(|| key(gone));
    let key = key.map(|key| out.text(&key));
    let start = out.bytes.len();
    out.text("{\"data\":[{");
    let mut first = true;
    for (column, field) in gone.shape.columns.iter().zip(gone.image) {
        if *field == ImageField::Absent {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.text(",");
        }
        quoted(&column.name, &mut out.bytes);
        out.text(":");
        match field {
            ImageField::Text(text) => quoted(text, &mut out.bytes),
            ImageField::Absent | ImageField::Null => drop(out.text("null")),
        }
    }
    out.text("}],\"database\":");
    quoted(&gone.shape.database, &mut out.bytes);
    out.text(",\"es\":");
    out.number(context.es_ms);
    out.text(",\"gtid\":\"\",\"id\":");
    out.number(context.id);
    out.text(",\"isDdl\":false,\"mysqlType\":");
    out.text(&gone.shape.types_raw);
    out.text(",\"old\":null,\"pkNames\":");
    out.text(&gone.shape.keys_raw);
    out.text(",\"sql\":\"\",\"sqlType\":");
    out.text(&gone.shape.sql_types_raw);
    out.text(",\"table\":");
    quoted(&gone.shape.table, &mut out.bytes);
    out.text(",\"ts\":");
    out.number(context.ts_ms);
    out.text(",\"type\":\"DELETE\"}");
    let value = start..out.bytes.len();
    out.entries.push(Entry { partition: gone.partition, rows: 1, key, value, headers });
}

/// The record's key where each row has a record: as the writer of streamed rows makes it.
fn key(gone: &Gone<'_>) -> String {
    let text = |&index: &usize| match gone.image.get(index) {
        Some(ImageField::Text(text)) => text.as_str(),
        _ => "",
    };
    if let [only] = gone.shape.primary_key.as_slice() {
        return text(only).to_owned();
    }
    let mut key = b"[".to_vec();
    for (place, index) in gone.shape.primary_key.iter().enumerate() {
        if place > 0 {
            key.push(b',');
        }
        quoted(text(index), &mut key);
    }
    key.push(b']');
    String::from_utf8_lossy(&key).into_owned()
}
