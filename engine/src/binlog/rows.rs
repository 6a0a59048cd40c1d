//! Rows events: row images split into the raw bytes of their values, in place, without allocation per row or value.
//!
//! Must not interpret values: see [`super::text`]. Layout: MySQL's `rows_event.h`, "Rows_event".

use std::sync::Arc;

use super::read::{Bad, Read, Reader};
use super::table_map::{ColumnWidth, TableMap, wire};
use crate::cause::Stop;
use crate::schema::TableSchema;

/// What happened to the rows of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowsKind {
    /// Rows were inserted: after images only.
    Insert,
    /// Rows were updated: before and after images.
    Update,
    /// Rows were deleted: before images only.
    Delete,
}

impl RowsKind {
    fn has_before(self) -> bool {
        self != RowsKind::Insert
    }

    fn has_after(self) -> bool {
        self != RowsKind::Delete
    }
}

/// One value of a row image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// The image does not hold this column (`binlog_row_image` MINIMAL or NOBLOB). Not the same as NULL.
    Absent,
    /// NULL.
    Null,
    /// The value's bytes as the binlog holds them, without a length prefix.
    Value(&'a [u8]),
    /// A JSON document of an after image, told by what changed in it (`binlog_row_value_options=PARTIAL_JSON`).
    Patched(PatchedJson<'a>),
}

/// A JSON document as the one before it and the changes that lead to it. [`super::text::Text::write_patched`] writes
/// the whole document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchedJson<'a> {
    /// The document before; `None` if the before image does not hold it.
    pub(crate) base: Option<&'a [u8]>,
    /// The changes, in order.
    pub(crate) diffs: &'a [u8],
}

/// What a rows event does, and how its images are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowsLayout {
    pub kind: RowsKind,
    /// Extra row data may stand before the rows (all but MySQL 5.1 to 5.5's events).
    pub version_2: bool,
    /// After images begin with value options.
    pub partial_json: bool,
}

impl RowsLayout {
    pub const fn new(kind: RowsKind, version_2: bool) -> Self {
        Self { kind, version_2, partial_json: false }
    }

    pub const PARTIAL_UPDATE: Self = Self { kind: RowsKind::Update, version_2: true, partial_json: true };
}

/// The rows of one event; [`RowsEvent::read_row`] gives one after the other.
#[derive(Debug, Clone)]
pub struct RowsEvent<'a> {
    /// What happened to them.
    pub kind: RowsKind,
    /// The table as it was when the rows were written; its columns are in the order of the values.
    pub table: Arc<TableSchema>,
    /// The last rows event of its statement.
    pub end_of_statement: bool,
    map: Arc<TableMap>,
    before_columns: &'a [u8],
    after_columns: &'a [u8],
    full: bool,
    partial_json: bool,
    rows: Reader<'a>,
    /// Where the rows start in the event, for messages.
    base: usize,
}

/// Flag of a rows event: table ids lose their meaning after it.
const FLAG_STATEMENT_END: u16 = 1;

/// Value option of an after image: JSON documents may be told by their changes.
const VALUE_OPTION_PARTIAL_JSON: u64 = 1;

/// What stands before the rows.
pub(crate) struct RowsHead {
    pub table_id: u64,
    pub end_of_statement: bool,
}

/// Reads a rows event's table id and flags, which is all that a filtered event needs.
pub(crate) fn parse_head(reader: &mut Reader<'_>) -> Read<RowsHead> {
    let table_id = reader.uint(6, "a table id of 6 bytes")?;
    let flags = reader.u16("rows flags of 2 bytes")?;
    Ok(RowsHead { table_id, end_of_statement: flags & FLAG_STATEMENT_END != 0 })
}

impl<'a> RowsEvent<'a> {
    /// Reads what stands between the head and the rows. `reader` is at the head's end.
    pub(crate) fn parse(
        mut reader: Reader<'a>,
        RowsLayout { kind, version_2, partial_json }: RowsLayout,
        end_of_statement: bool,
        (map, table): (Arc<TableMap>, Arc<TableSchema>),
    ) -> Read<Self> {
        if version_2 {
            let length = usize::from(reader.u16("a length of extra row data")?);
            let rest = length.checked_sub(2).ok_or(reader.bad("a length of extra row data of at least 2"))?;
            reader.take(rest, "extra row data")?;
        }
        let start = reader;
        let columns = reader.packed("a count of columns")?;
        if columns != map.columns.len() as u64 {
            return Err(start.bad("the count of columns of the table map"));
        }
        let bitmap_len = map.columns.len().div_ceil(8);
        let first = reader.take(bitmap_len, "a bitmap of columns")?;
        let second =
            if kind == RowsKind::Update { reader.take(bitmap_len, "a bitmap of columns after")? } else { first };
        let full = all_set(first, map.columns.len()) && all_set(second, map.columns.len());
        let base = reader.at();
        let rows = Reader::new(reader.rest());
        let (before_columns, after_columns) = (first, second);
        Ok(Self { kind, table, end_of_statement, map, before_columns, after_columns, full, partial_json, rows, base })
    }

    /// Whether every image holds every column (`binlog_row_image=FULL`).
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether the rows are known whole, before and after: an update's after image may leave out what has not changed
    /// (MariaDB's `FULL_NODUP`).
    pub fn is_whole(&self) -> bool {
        self.full || all_set(self.before_columns, self.map.columns.len())
    }

    /// Whether a column is in the before images (`before`) or the after images of this event.
    pub fn has_column(&self, index: usize, before: bool) -> bool {
        bit(if before { self.before_columns } else { self.after_columns }, index)
    }

    /// Whether the images of this event tell a column's value: after the change, or before a delete. What an update's
    /// after image leaves out has not changed, so the before image tells it where it has it.
    pub fn tells(&self, index: usize) -> bool {
        bit(self.after_columns, index) || bit(self.before_columns, index)
    }

    /// Splits the next row into its values, one for each column of the table; `before` stays empty for an insert,
    /// `after` for a delete. The fast way through an event: one pass, and the vectors are used again.
    /// Returns `false` at the end.
    ///
    /// # Errors
    /// `corrupt` if the bytes end within a row. The rows before it were whole.
    pub fn read_row(&mut self, before: &mut Vec<Field<'a>>, after: &mut Vec<Field<'a>>) -> Result<bool, Stop> {
        before.clear();
        after.clear();
        if self.rows.is_empty() {
            return Ok(false);
        }
        let mut reader = self.rows;
        let mut read = || {
            if self.kind.has_before() {
                self.image(self.before_columns).walk(&mut reader, |field| before.push(field))?;
            }
            if self.partial_json {
                self.partial_image(&mut reader, before, after)?;
            } else if self.kind.has_after() {
                self.image(self.after_columns).walk(&mut reader, |field| after.push(field))?;
            }
            self.progressed(&reader)
        };
        let result = read();
        self.rows = reader;
        result.map(|()| true).map_err(|bad| self.corrupt(bad))
    }

    /// An after image whose JSON documents may be told by their changes: options, a bit for each JSON column of the
    /// table whether it is, then the image.
    #[cold]
    fn partial_image(&self, reader: &mut Reader<'a>, before: &[Field<'a>], after: &mut Vec<Field<'a>>) -> Read<()> {
        let start = *reader;
        let partial = match reader.packed("value options")? {
            0 => false,
            VALUE_OPTION_PARTIAL_JSON => true,
            _ => return Err(start.bad("no value options but that of partial JSON")),
        };
        let documents = || self.map.columns.iter().enumerate().filter(|(_, column)| column.kind == wire::JSON);
        let bits = if partial { documents().count().div_ceil(8) } else { 0 };
        let bits = reader.take(bits, "a bit for each JSON column")?;
        self.image(self.after_columns).walk(reader, |field| after.push(field))?;
        for (place, (index, _)) in documents().enumerate() {
            let (true, Some(&Field::Value(diffs))) = (bit(bits, place), after.get(index)) else { continue };
            let base = match before.get(index) {
                Some(&Field::Value(base)) => Some(base),
                Some(Field::Null) => return Err(start.bad("a JSON document that its changes start from")),
                _ => None,
            };
            after[index] = match base {
                Some(base) if diffs.is_empty() => Field::Value(base),
                base => Field::Patched(PatchedJson { base, diffs }),
            };
        }
        Ok(())
    }

    fn image(&self, columns: &'a [u8]) -> Walker<'_> {
        Walker { widths: &self.map.widths, columns: (!self.full).then_some(columns) }
    }

    fn progressed(&self, reader: &Reader<'a>) -> Read<()> {
        // A row without a single byte would make the event's number of rows unknowable.
        if reader.at() == self.rows.at() { Err(reader.bad("a row of at least one byte")) } else { Ok(()) }
    }

    /// Makes [`RowsEvent::read_row`] end after an error, and words it.
    fn corrupt(&mut self, bad: Bad) -> Stop {
        self.rows.rest();
        let what = format!("a rows event of `{}`.`{}`", self.table.database, self.table.table);
        bad.in_event(&what, self.base)
    }
}

/// Walks one image.
struct Walker<'m> {
    widths: &'m [ColumnWidth],
    columns: Option<&'m [u8]>,
}

impl Walker<'_> {
    #[inline]
    fn walk<'a>(&self, reader: &mut Reader<'a>, mut emit: impl FnMut(Field<'a>)) -> Read<()> {
        let Some(present) = self.columns else {
            let nulls = reader.take(self.widths.len().div_ceil(8), "a bitmap of NULLs")?;
            for (index, width) in self.widths.iter().enumerate() {
                emit(if bit(nulls, index) { Field::Null } else { Field::Value(width.take(reader)?) });
            }
            return Ok(());
        };
        let count = (0..self.widths.len()).filter(|&index| bit(present, index)).count();
        let nulls = reader.take(count.div_ceil(8), "a bitmap of NULLs")?;
        let mut place = 0;
        for (index, width) in self.widths.iter().enumerate() {
            if !bit(present, index) {
                emit(Field::Absent);
                continue;
            }
            emit(if bit(nulls, place) { Field::Null } else { Field::Value(width.take(reader)?) });
            place += 1;
        }
        Ok(())
    }
}

#[inline]
pub(crate) fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

fn all_set(bitmap: &[u8], count: usize) -> bool {
    (0..count).all(|index| bit(bitmap, index))
}
