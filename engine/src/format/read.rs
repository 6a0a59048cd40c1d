//! Reads records back: a consumed FlatMessage with its headers becomes rows with typed access.
//!
//! Must not know sinks, documents or conditions, nor skip anything quietly: what is not ours is named `Foreign`, what
//! is ours and malformed is an error that says what is wrong and where.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::headers::{ChangeHeaders, ControlHeaders, Headers};
use super::json::{Cursor, Unexpected, unescape};
use super::types::{TypeKind, TypedValue, ValueError};
use crate::ports::log::ConsumedRecord;

/// What a record is.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// Changes of rows.
    Change(ChangeRecord),
    /// A fence, or another word of the leader to the adapters.
    Control(ControlHeaders),
    /// Not written by Towpath; the text says why we think so.
    Foreign(String),
}

/// What happened to the rows of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// New rows; `data` is the after image.
    Insert,
    /// Changed rows; `data` is the after image, `old` the before values of changed columns.
    Update,
    /// Removed rows; `data` is the before image.
    Delete,
}

/// A record of ours that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record at partition {partition} offset {offset} cannot be read: {reason}")]
pub struct ReadError {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// What is wrong and where in it.
    pub reason: String,
}

/// A table as a record describes it. Shared by all records that describe it alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The columns, in table order where `mysqlType` names them.
    pub columns: Vec<ShapeColumn>,
    /// Indexes into `columns` of the primary key, in key order; empty without one.
    pub primary_key: Vec<usize>,
    /// The raw texts it was made from, to recognise it by.
    pub(super) types_raw: String,
    pub(super) keys_raw: String,
    /// `sqlType` as the first record of this shape had it.
    pub(super) sql_types_raw: String,
}

/// A column as a record describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeColumn {
    /// Its name.
    pub name: String,
    /// `mysqlType`'s text; empty if the record does not name it.
    pub type_text: String,
    /// The type behind it.
    pub kind: TypeKind,
}

impl Shape {
    /// The index of a column by its exact name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// One column's value in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// The image does not hold this column.
    Absent,
    /// NULL.
    Null,
    /// Its text.
    Text(&'a str),
}

impl<'a> Field<'a> {
    /// The text, if it is one.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Rows of one table, changed alike by one event.
#[derive(Debug, Clone)]
pub struct ChangeRecord {
    /// The record's headers.
    pub headers: ChangeHeaders,
    /// What happened.
    pub kind: ChangeKind,
    /// The table.
    pub shape: Arc<Shape>,
    /// When the change was made: the event's time, milliseconds since the epoch.
    pub es_ms: i64,
    /// When the record was built, milliseconds since the epoch.
    pub ts_ms: i64,
    /// All texts, one after the other.
    text: String,
    rows: Vec<RowCells>,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy)]
struct RowCells {
    index: u32,
    data: (u32, u32),
    old: (u32, u32),
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    column: u32,
    /// Start and end in the text; `NULL` for null.
    text: (u32, u32),
}

const NULL: (u32, u32) = (u32::MAX, u32::MAX);

impl ChangeRecord {
    /// How many rows; at least one.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds no row (never true of a record that was read).
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row at a place in the record.
    pub fn row(&self, place: usize) -> Option<RowRef<'_>> {
        self.rows.get(place).map(|cells| RowRef { record: self, cells })
    }

    /// The rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = RowRef<'_>> + '_ {
        self.rows.iter().map(|cells| RowRef { record: self, cells })
    }

    /// About how many bytes of memory it holds.
    pub fn memory(&self) -> usize {
        self.text.capacity() + self.cells.capacity() * size_of::<Cell>() + self.rows.capacity() * size_of::<RowCells>()
    }

    fn find(&self, (from, to): (u32, u32), column: usize) -> Field<'_> {
        let cells = &self.cells[from as usize..to as usize];
        // Nearly always all columns are there, in order.
        let cell = match cells.get(column) {
            Some(cell) if cell.column as usize == column => cell,
            _ => match cells.iter().find(|cell| cell.column as usize == column) {
                Some(cell) => cell,
                None => return Field::Absent,
            },
        };
        if cell.text == NULL {
            Field::Null
        } else {
            Field::Text(&self.text[cell.text.0 as usize..cell.text.1 as usize])
        }
    }
}

/// One row of a record.
#[derive(Debug, Clone, Copy)]
pub struct RowRef<'a> {
    record: &'a ChangeRecord,
    cells: &'a RowCells,
}

impl<'a> RowRef<'a> {
    /// The row's index in its event.
    pub fn index(self) -> u32 {
        self.cells.index
    }

    /// The row's version offset: its event's first byte plus its index.
    pub fn offset(self) -> u64 {
        self.record.headers.offset + u64::from(self.cells.index)
    }

    /// A column in `data`: the after image, or the before image of a delete.
    pub fn data(self, column: usize) -> Field<'a> {
        self.record.find(self.cells.data, column)
    }

    /// A column in `old`: present only where an update changed it.
    pub fn old(self, column: usize) -> Field<'a> {
        self.record.find(self.cells.old, column)
    }

    /// A column before the change: `old` if it changed, else `data`. Means nothing for an insert.
    pub fn before(self, column: usize) -> Field<'a> {
        match self.old(column) {
            Field::Absent => self.data(column),
            field => field,
        }
    }

    /// The indexes of the columns that `old` holds.
    pub fn changed(self) -> impl Iterator<Item = usize> + 'a {
        let (from, to) = self.cells.old;
        self.record.cells[from as usize..to as usize].iter().map(|cell| cell.column as usize)
    }

    /// A field of this row with the column's type restored; `None` if it is absent.
    pub fn typed(self, column: usize, field: Field<'a>) -> Result<Option<TypedValue<'a>>, ValueError> {
        match field {
            Field::Absent => Ok(None),
            Field::Null => Ok(Some(TypedValue::Null)),
            Field::Text(text) => match self.record.shape.columns.get(column) {
                Some(shape) => shape.kind.typed(text).map(Some),
                None => Ok(None),
            },
        }
    }
}

/// Reads records. Keeps the tables' shapes, so that they are worked out once.
#[derive(Debug, Default)]
pub struct Reader {
    shapes: BTreeMap<(String, String), Arc<Shape>>,
}

/// The parts of a FlatMessage as they are found.
#[derive(Default)]
struct Parts<'a> {
    data: Option<()>,
    old: Option<Vec<(u32, u32)>>,
    database: String,
    table: String,
    kind: String,
    es: Option<i64>,
    ts: Option<i64>,
    ddl: bool,
    types: Option<&'a str>,
    sql_types: Option<&'a str>,
    keys: Option<&'a str>,
    /// Raw (still escaped) column names, in order of appearance in `data` and `old`.
    names: Vec<&'a str>,
    text: String,
    cells: Vec<Cell>,
    rows: Vec<(u32, u32)>,
}

impl Reader {
    /// A reader that knows no table yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one record.
    pub fn read(&mut self, record: &ConsumedRecord) -> Result<Incoming, ReadError> {
        let fail = |reason: String| ReadError { partition: record.partition, offset: record.offset, reason };
        let headers = match Headers::parse(record).map_err(|error| fail(error.to_string()))? {
            Headers::None => return Ok(Incoming::Foreign("it has no header of Towpath's".into())),
            Headers::Control(control) => return Ok(Incoming::Control(control)),
            Headers::Change(headers) => headers,
        };
        let value = record.value.as_deref().ok_or_else(|| fail("it has no value".into()))?;
        if value.len() >= u32::MAX as usize {
            return Err(fail("it is longer than 4 GiB".into()));
        }
        let text = std::str::from_utf8(value)
            .map_err(|error| fail(format!("it is not UTF-8 at byte {}", error.valid_up_to())))?;
        let parts = parse(text).map_err(|Unexpected { expected, at }| {
            fail(format!("{expected} is missing at byte {at}, where {:?} stands", neighbourhood(text, at)))
        })?;
        self.finish(headers, parts).map(Incoming::Change).map_err(fail)
    }

    fn finish(&mut self, headers: ChangeHeaders, mut parts: Parts<'_>) -> Result<ChangeRecord, String> {
        let kind = match parts.kind.as_str() {
            "INSERT" => ChangeKind::Insert,
            "UPDATE" => ChangeKind::Update,
            "DELETE" => ChangeKind::Delete,
            other => return Err(format!("its type is {other:?}, not INSERT, UPDATE or DELETE")),
        };
        if parts.ddl || parts.data.is_none() || parts.rows.is_empty() {
            return Err("it has no rows although its headers announce some".into());
        }
        if parts.rows.len() != headers.rows.count() {
            return Err(format!("it has {} rows, its headers announce {}", parts.rows.len(), headers.rows.count()));
        }
        let old = match (kind, parts.old.take()) {
            (ChangeKind::Update, Some(old)) if old.len() == parts.rows.len() => old,
            (ChangeKind::Update, old) => {
                return Err(format!(
                    "it has {} rows but {} before images",
                    parts.rows.len(),
                    old.map_or(0, |o| o.len())
                ));
            }
            (_, None) => vec![(0, 0); parts.rows.len()],
            (_, Some(_)) => return Err("only an UPDATE has before images".into()),
        };
        let shape = self.shape(&mut parts)?;
        let rows = headers.rows.iter().zip(&parts.rows).zip(old);
        let rows = rows.map(|((index, &data), old)| RowCells { index, data, old }).collect();
        Ok(ChangeRecord {
            headers,
            kind,
            shape,
            es_ms: parts.es.ok_or("`es` is missing")?,
            ts_ms: parts.ts.ok_or("`ts` is missing")?,
            text: parts.text,
            rows,
            cells: parts.cells,
        })
    }

    /// The shape the record describes; renumbers the cells where columns do not appear in the shape's order.
    fn shape(&mut self, parts: &mut Parts<'_>) -> Result<Arc<Shape>, String> {
        let (types, keys) = (parts.types.unwrap_or("null"), parts.keys.unwrap_or("null"));
        let id = (std::mem::take(&mut parts.database), std::mem::take(&mut parts.table));
        if id.0.is_empty() || id.1.is_empty() {
            return Err("`database` or `table` is missing".into());
        }
        let mut names = Vec::with_capacity(parts.names.len());
        for raw in &parts.names {
            names.push(plain(raw)?);
        }
        let known = self.shapes.get(&id).filter(|shape| shape.types_raw == types && shape.keys_raw == keys);
        if let Some(shape) = known
            && names.iter().all(|name| shape.column(name).is_some())
        {
            let shape = Arc::clone(shape);
            renumber(parts, &names, &shape);
            return Ok(shape);
        }
        let shape = Arc::new(describe(id.clone(), (types, parts.sql_types.unwrap_or("null")), keys, &names)?);
        self.shapes.insert(id, Arc::clone(&shape));
        renumber(parts, &names, &shape);
        Ok(shape)
    }
}

fn renumber(parts: &mut Parts<'_>, names: &[String], shape: &Shape) {
    if names.iter().zip(&shape.columns).all(|(name, column)| *name == column.name) {
        return;
    }
    let places: Vec<u32> = names.iter().map(|name| shape.column(name).unwrap_or_default() as u32).collect();
    for cell in &mut parts.cells {
        cell.column = places[cell.column as usize];
    }
}

/// Columns as `mysqlType` lists them, then those that only rows name.
fn describe(
    id: (String, String),
    (types, sql_types): (&str, &str),
    keys: &str,
    names: &[String],
) -> Result<Shape, String> {
    let bad = |what: &str| format!("`{what}` is malformed");
    let mut columns: Vec<ShapeColumn> = Vec::new();
    let mut cursor = Cursor::new(types);
    if !cursor.null() {
        let walked = cursor.members(|cursor, name| {
            let mut column = ShapeColumn { name: name.into(), type_text: String::new(), kind: TypeKind::Unknown };
            cursor.string(&mut column.type_text, "a type's text")?;
            column.kind = TypeKind::parse(&column.type_text);
            columns.push(column);
            Ok(())
        });
        walked.map_err(|_| bad("mysqlType"))?;
    }
    for column in &mut columns {
        column.name = plain(&column.name)?;
    }
    for name in names {
        if !columns.iter().any(|column| column.name == *name) {
            columns.push(ShapeColumn { name: name.clone(), type_text: String::new(), kind: TypeKind::Unknown });
        }
    }
    let mut key_names = Vec::new();
    let mut cursor = Cursor::new(keys);
    if !cursor.null() {
        let walked = cursor.elements(|cursor| {
            let mut name = String::new();
            cursor.string(&mut name, "a column's name")?;
            key_names.push(name);
            Ok(())
        });
        walked.map_err(|_| bad("pkNames"))?;
    }
    let place = |name: &String| {
        let found = columns.iter().position(|column| column.name == *name);
        found.ok_or_else(|| format!("`pkNames` names {name:?}, which is not a column of it"))
    };
    let primary_key = key_names.iter().map(place).collect::<Result<_, _>>()?;
    let (database, table) = id;
    let (types_raw, keys_raw, sql_types_raw) = (types.into(), keys.into(), sql_types.into());
    Ok(Shape { database, table, columns, primary_key, types_raw, keys_raw, sql_types_raw })
}

/// A raw name without its escapes.
fn plain(raw: &str) -> Result<String, String> {
    let mut name = String::new();
    unescape(raw, &mut name).map_err(|_| format!("the column name {raw:?} holds a malformed escape"))?;
    Ok(name)
}

fn parse(text: &str) -> Result<Parts<'_>, Unexpected> {
    let mut parts = Parts::default();
    // Texts of values are shorter than the record; one growth at most.
    parts.text.reserve(text.len() / 2);
    let mut cursor = Cursor::new(text);
    cursor.members(|cursor, key| {
        match key {
            "data" => parts.data = rows(cursor, &mut parts, false)?.map(|rows| parts.rows = rows),
            "old" => parts.old = rows(cursor, &mut parts, true)?,
            "database" => cursor.string(&mut parts.database, "the database's name")?,
            "table" => cursor.string(&mut parts.table, "the table's name")?,
            "type" => cursor.string(&mut parts.kind, "the type's text")?,
            "es" => parts.es = Some(cursor.integer("`es` in milliseconds")?),
            "ts" => parts.ts = Some(cursor.integer("`ts` in milliseconds")?),
            "isDdl" => parts.ddl = cursor.boolean("true or false")?,
            "mysqlType" => parts.types = Some(cursor.skip()?),
            "sqlType" => parts.sql_types = Some(cursor.skip()?),
            "pkNames" => parts.keys = Some(cursor.skip()?),
            _ => {
                cursor.skip()?;
            }
        }
        Ok(())
    })?;
    cursor.end()?;
    Ok(parts)
}

/// An array of objects of texts or nulls, or null. Returns each object's range of cells.
fn rows<'a>(
    cursor: &mut Cursor<'a>,
    parts: &mut Parts<'a>,
    sparse: bool,
) -> Result<Option<Vec<(u32, u32)>>, Unexpected> {
    if cursor.null() {
        return Ok(None);
    }
    let mut found = Vec::new();
    cursor.elements(|cursor| {
        let from = parts.cells.len() as u32;
        if sparse && cursor.null() {
            found.push((from, from));
            return Ok(());
        }
        let mut place = 0usize;
        cursor.members(|cursor, name| {
            let column = match parts.names.get(place) {
                Some(expected) if *expected == name => place,
                _ => parts.names.iter().position(|known| *known == name).unwrap_or_else(|| {
                    parts.names.push(name);
                    parts.names.len() - 1
                }),
            };
            place = column + 1;
            let text = if cursor.null() {
                NULL
            } else {
                let start = parts.text.len() as u32;
                cursor.string(&mut parts.text, "a text or null")?;
                (start, parts.text.len() as u32)
            };
            parts.cells.push(Cell { column: column as u32, text });
            Ok(())
        })?;
        found.push((from, parts.cells.len() as u32));
        Ok(())
    })?;
    Ok(Some(found))
}

/// A few characters from a place on.
fn neighbourhood(text: &str, at: usize) -> String {
    let at = (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text[at..].chars().take(30).collect()
}

#[cfg(test)]
mod tests;
