//! A row as a document: id, routing and source, written straight into a byte buffer by a plan made once per table.
//!
//! Must not decide whether a row has a document (that is the business of `semantics`), nor talk to an index.

use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

use super::config::SinkConfig;
use super::shape::{Row, Shape};
use super::value::{BadCell, CellWriter, string};
use crate::cause::{Cause, Stop};
use crate::format::{Field, TypeKind};

/// The field that marks a tombstone; the alias' filter hides documents that have it.
pub const TOMBSTONE_FIELD: &str = "_towpath_deleted";

/// The tombstone's time, and its name where a column of the table is called so and may be of another type.
const TIME_FIELDS: [&str; 2] = ["at", "_towpath_at"];

/// Elasticsearch's limit of an id, in bytes.
const MAX_ID_BYTES: usize = 512;

/// A row that cannot be a document, for its own sake: goes to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// A cell's text is not of its column's type.
    #[error("column {column}: {error}")]
    Cell {
        /// The column.
        column: String,
        /// Why.
        error: BadCell,
    },
    /// The row does not hold a column that the document needs.
    #[error("column {0} is missing from the row image")]
    Missing(String),
    /// A column of the id or the routing is NULL.
    #[error("column {0} is NULL, but the document's id or routing is made of it")]
    NullKey(String),
    /// The id is empty or too long.
    #[error("the id made of the row has {0} bytes; Elasticsearch takes 1 to {MAX_ID_BYTES}")]
    IdLength(usize),
    /// Epoch or offset exceed what a version can carry.
    #[error("epoch {epoch} and offset {offset} are no version")]
    Version {
        /// The record's epoch.
        epoch: u16,
        /// The row's offset.
        offset: u64,
    },
    /// The condition cannot be evaluated on the row.
    #[error("the condition cannot be evaluated: {0}")]
    Condition(String),
}

/// Where a document lies, and how it is named. Equal keys are the same document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// The document's id.
    pub id: String,
    /// Its routing value, if the sink routes by a column.
    pub routing: Option<String>,
}

/// How the rows of one table become documents of one sink.
#[derive(Debug, Clone)]
pub struct DocumentPlan {
    /// Column index, `"name":` as JSON with a comma before all but the first, and the meaning of its text.
    fields: Vec<(usize, Bytes, TypeKind)>,
    /// Column indexes of the id and whether its text must be escaped or turned into hex.
    id: Vec<(usize, IdPart)>,
    routing: Option<(usize, IdPart)>,
    shape: Arc<Shape>,
    writer: CellWriter,
    time_field: &'static str,
}

/// How a column's text enters an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdPart {
    /// As it is.
    Plain,
    /// `_` and `\` get a backslash before them, so that joined texts cannot be confused.
    Escaped,
    /// Bytes as hexadecimal digits.
    Hex,
}

impl DocumentPlan {
    /// Plans the documents of `shape`'s rows in a sink. Names that are not columns are refused, with the nearest one.
    pub fn new(sink: &SinkConfig, shape: Arc<Shape>) -> Result<Self, Stop> {
        let at = format!("sink {}, table {}", sink.name, shape.full_name());
        let column = |name: &str, what: &str| {
            shape.index_of(name).ok_or_else(|| {
                let hint = shape.nearest(name).map_or(String::new(), |near| format!("; did you mean {near}?"));
                Stop::new(
                    Cause::Config,
                    format!("{at}: {what} names the column \"{name}\", which the table has not{hint}"),
                )
            })
        };
        for name in &sink.fields.include {
            column(name, "fields.include")?;
        }
        for name in &sink.fields.exclude {
            column(name, "fields.exclude")?;
        }
        for name in sink.fields.rename.keys() {
            column(name, "fields.rename")?;
        }
        let id_columns = if sink.id.is_empty() {
            shape.primary_key.clone()
        } else {
            sink.id.iter().map(|name| column(name, "id")).collect::<Result<_, _>>()?
        };
        if id_columns.is_empty() {
            return Err(Stop::new(
                Cause::NoPrimaryKey,
                format!(
                    "{at}: the table has no primary key, so a document cannot be named; set `id` to its key columns"
                ),
            ));
        }
        let single = id_columns.len() == 1;
        let id = id_columns.into_iter().map(|index| (index, id_part(&shape.columns[index].kind, single))).collect();
        let routing = match &sink.routing {
            Some(name) => {
                let index = column(name, "routing")?;
                Some((index, id_part(&shape.columns[index].kind, true)))
            }
            None => None,
        };
        let fields = fields(sink, &shape, &at)?;
        let taken = shape.columns.iter().any(|column| field_name(sink, &column.name) == TIME_FIELDS[0]);
        let time_field = TIME_FIELDS[usize::from(taken)];
        Ok(Self { fields, id, routing, shape, writer: CellWriter::new(sink.time_zone.clone()), time_field })
    }

    /// The id and routing that the row gives.
    pub fn key(&self, row: &dyn Row) -> Result<DocumentKey, BadRow> {
        let mut id = String::new();
        for (place, &(column, part)) in self.id.iter().enumerate() {
            if place > 0 {
                id.push('_');
            }
            self.push_part(&mut id, row, column, part)?;
        }
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(BadRow::IdLength(id.len()));
        }
        let routing = match self.routing {
            Some((column, part)) => {
                let mut text = String::new();
                self.push_part(&mut text, row, column, part)?;
                Some(text)
            }
            None => None,
        };
        Ok(DocumentKey { id, routing })
    }

    /// Whether two images of a row name the same document; compares texts without building keys.
    pub fn same_key(&self, a: &dyn Row, b: &dyn Row) -> bool {
        self.id.iter().chain(&self.routing).all(|&(column, _)| a.cell(column) == b.cell(column))
    }

    fn push_part(&self, out: &mut String, row: &dyn Row, column: usize, part: IdPart) -> Result<(), BadRow> {
        let name = || self.shape.columns[column].name.clone();
        let text = match row.cell(column) {
            Field::Text(text) => text,
            Field::Null => return Err(BadRow::NullKey(name())),
            Field::Absent => return Err(BadRow::Missing(name())),
        };
        match part {
            IdPart::Plain => out.push_str(text),
            IdPart::Escaped => {
                for c in text.chars() {
                    if c == '_' || c == '\\' {
                        out.push('\\');
                    }
                    out.push(c);
                }
            }
            IdPart::Hex => {
                for c in text.chars() {
                    let nibble = |n: u32| char::from_digit(n & 15, 16).unwrap_or('0');
                    out.push(nibble(u32::from(c) >> 4));
                    out.push(nibble(u32::from(c)));
                }
            }
        }
        Ok(())
    }

    /// The document's source. `out` is a growing buffer; the source is split off it.
    pub fn source(&mut self, out: &mut BytesMut, row: &dyn Row) -> Result<Bytes, BadRow> {
        out.put_u8(b'{');
        for (column, name, kind) in &self.fields {
            let text = match row.cell(*column) {
                Field::Text(text) => Some(text),
                Field::Null => None,
                Field::Absent => {
                    out.clear();
                    return Err(BadRow::Missing(self.shape.columns[*column].name.clone()));
                }
            };
            out.put_slice(name);
            if let Err(error) = self.writer.write(out, kind, text) {
                out.clear();
                return Err(BadRow::Cell { column: self.shape.columns[*column].name.clone(), error });
            }
        }
        out.put_u8(b'}');
        Ok(out.split().freeze())
    }

    /// The source of a tombstone of one of the table's rows.
    pub fn tombstone(&self, out: &mut BytesMut, commit_ms: i64) -> Bytes {
        tombstone(out, self.time_field, commit_ms)
    }

    /// Dates of no calendar met since the last call.
    pub fn take_zero_dates(&mut self) -> u64 {
        std::mem::take(&mut self.writer.zero_dates)
    }
}

/// The source of a tombstone: a mark and the commit time of the change, and nothing of the row.
fn tombstone(out: &mut BytesMut, time_field: &str, commit_ms: i64) -> Bytes {
    out.put_slice(b"{\"");
    out.put_slice(TOMBSTONE_FIELD.as_bytes());
    out.put_slice(b"\":true,\"");
    out.put_slice(time_field.as_bytes());
    out.put_slice(b"\":");
    match jiff::Timestamp::from_millisecond(commit_ms) {
        Ok(at) => string(out, &at.to_string()),
        Err(_) => out.put_slice(b"null"),
    }
    out.put_u8(b'}');
    out.split().freeze()
}

fn id_part(kind: &TypeKind, single: bool) -> IdPart {
    match kind {
        TypeKind::Bytes => IdPart::Hex,
        TypeKind::Text | TypeKind::Enum(_) | TypeKind::Set(_) | TypeKind::Json | TypeKind::Unknown if !single => {
            IdPart::Escaped
        }
        _ => IdPart::Plain,
    }
}

fn fields(sink: &SinkConfig, shape: &Shape, at: &str) -> Result<Vec<(usize, Bytes, TypeKind)>, Stop> {
    let mut fields = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for (index, column) in shape.columns.iter().enumerate() {
        let name = field_name(sink, &column.name);
        if !has_field(sink, &column.name) {
            continue;
        }
        if !names.insert(name) || name == TOMBSTONE_FIELD {
            return Err(Stop::new(
                Cause::Config,
                format!("{at}: two columns become the field \"{name}\", or it is ours"),
            ));
        }
        let mut text = BytesMut::new();
        if !fields.is_empty() {
            text.put_u8(b',');
        }
        string(&mut text, name);
        text.put_u8(b':');
        fields.push((index, text.freeze(), column.kind.clone()));
    }
    Ok(fields)
}

/// Whether a column becomes a field.
pub(super) fn has_field(sink: &SinkConfig, column: &str) -> bool {
    let config = &sink.fields;
    (config.include.is_empty() || config.include.iter().any(|name| name == column))
        && !config.exclude.iter().any(|name| name == column)
}

/// The field that a column becomes.
pub(super) fn field_name<'a>(sink: &'a SinkConfig, column: &'a str) -> &'a str {
    sink.fields.rename.get(column).map_or(column, String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::testing::{TestRow, orders_shape, row};

    fn sink() -> SinkConfig {
        SinkConfig::new("hot", "hot", "orders.order_main", "orders")
    }

    fn source(sink: &SinkConfig, row: &TestRow) -> String {
        let mut plan = DocumentPlan::new(sink, Arc::new(orders_shape())).unwrap();
        String::from_utf8(plan.source(&mut BytesMut::new(), row).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_row_becomes_a_document_with_types() {
        let row = row(&[("order_id", "7"), ("status", "2"), ("amount", "19.90"), ("remark", "a\"b")]);
        let expected = r#"{"order_id":7,"status":2,"amount":19.90,"remark":"a\"b","address":null,"created_at":null}"#;
        assert_eq!(source(&sink(), &row), expected);
    }

    #[test]
    fn fields_are_chosen_and_renamed() {
        let mut sink = sink();
        sink.fields.include = vec!["order_id".into(), "status".into(), "amount".into()];
        sink.fields.exclude = vec!["amount".into()];
        sink.fields.rename.insert("status".into(), "state".into());
        assert_eq!(source(&sink, &row(&[("order_id", "7"), ("status", "2")])), r#"{"order_id":7,"state":2}"#);
        sink.fields.rename.insert("status".into(), "order_id".into());
        assert!(DocumentPlan::new(&sink, Arc::new(orders_shape())).unwrap_err().detail.contains("order_id"));
    }

    #[test]
    fn a_name_that_is_no_column_is_refused_with_the_nearest() {
        let mut sink = sink();
        sink.routing = Some("oder_id".into());
        let stop = DocumentPlan::new(&sink, Arc::new(orders_shape())).unwrap_err();
        assert!(stop.detail.contains("did you mean order_id?"), "{stop}");
    }

    #[test]
    fn a_table_without_primary_key_needs_id_columns() {
        let mut shape = orders_shape();
        shape.primary_key.clear();
        let mut sink = sink();
        let stop = DocumentPlan::new(&sink, Arc::new(shape.clone())).unwrap_err();
        assert_eq!(stop.cause, Cause::NoPrimaryKey);
        sink.id = vec!["order_id".into()];
        assert!(DocumentPlan::new(&sink, Arc::new(shape)).is_ok());
    }

    #[test]
    fn joined_ids_cannot_be_confused() {
        let mut sink = sink();
        sink.id = vec!["remark".into(), "status".into(), "address".into()];
        let plan = DocumentPlan::new(&sink, Arc::new(orders_shape())).unwrap();
        let key = |a: &str, b: &str| plan.key(&row(&[("remark", a), ("status", "1"), ("address", b)])).unwrap().id;
        assert_eq!(key("x", "y"), "x_1_y");
        assert_ne!(key("x_1", "y"), key("x", "1_y"));
        assert_ne!(key("x\\", "_1_y"), key("x\\_1", "y"));
    }

    #[test]
    fn ids_that_elasticsearch_refuses_are_refused_here() {
        let mut sink = sink();
        sink.id = vec!["remark".into()];
        let plan = DocumentPlan::new(&sink, Arc::new(orders_shape())).unwrap();
        assert_eq!(plan.key(&row(&[("remark", "")])), Err(BadRow::IdLength(0)));
        assert_eq!(plan.key(&row(&[("remark", &"x".repeat(513))])), Err(BadRow::IdLength(513)));
        assert_eq!(plan.key(&row(&[])), Err(BadRow::NullKey("remark".into())));
    }

    #[test]
    fn a_bad_cell_names_its_column_and_leaves_the_buffer_clean() {
        let mut plan = DocumentPlan::new(&sink(), Arc::new(orders_shape())).unwrap();
        let mut out = BytesMut::new();
        let error = plan.source(&mut out, &row(&[("order_id", "7"), ("amount", "x")])).unwrap_err();
        assert!(error.to_string().starts_with("column amount"), "{error}");
        assert!(plan.source(&mut out, &row(&[("order_id", "7")])).unwrap().starts_with(b"{\"order_id\":7,"));
    }

    #[test]
    fn a_tombstone_holds_a_mark_and_a_time() {
        let bytes = tombstone(&mut BytesMut::new(), "at", 1_763_881_200_123);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value[TOMBSTONE_FIELD], true);
        assert_eq!(value["at"], "2025-11-23T07:00:00.123Z");
    }
}
