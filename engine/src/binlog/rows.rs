//! Rows events: row images split into the raw bytes of their values, in place, without allocation per row or value.
//!
//! Must not interpret values: see [`super::text`]. Layout: MySQL's `rows_event.h`, "Rows_event".

use std::sync::Arc;

use super::read::{Bad, Read, Reader};
use super::table_map::{ColumnWidth, TableMap};
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
}

/// The rows of one event. Iterating gives each row; [`RowsEvent::read_row`] gives its values in the same pass.
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
    rows: Reader<'a>,
    /// Where the rows start in the event, for messages.
    base: usize,
}

/// Flag of a rows event: table ids lose their meaning after it.
const FLAG_STATEMENT_END: u16 = 1;

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
        (kind, version_2): (RowsKind, bool),
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
        Ok(Self { kind, table, end_of_statement, map, before_columns: first, after_columns: second, full, rows, base })
    }

    /// Whether every image holds every column (`binlog_row_image=FULL`).
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether a column is in the before images (`before`) or the after images of this event.
    pub fn has_column(&self, index: usize, before: bool) -> bool {
        bit(if before { self.before_columns } else { self.after_columns }, index)
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
            if self.kind.has_after() {
                self.image(self.after_columns).walk(&mut reader, |field| after.push(field))?;
            }
            self.progressed(&reader)
        };
        let result = read();
        self.rows = reader;
        result.map(|()| true).map_err(|bad| self.corrupt(bad))
    }

    fn image(&self, columns: &'a [u8]) -> Walker<'_> {
        Walker { widths: &self.map.widths, columns: (!self.full).then_some(columns) }
    }

    fn progressed(&self, reader: &Reader<'a>) -> Read<()> {
        // A row without a single byte would make the event's number of rows unknowable.
        if reader.at() == self.rows.at() { Err(reader.bad("a row of at least one byte")) } else { Ok(()) }
    }

    /// Makes the iterator and `read_row` end after an error, and words it.
    fn corrupt(&mut self, bad: Bad) -> Stop {
        self.rows.rest();
        let what = format!("a rows event of `{}`.`{}`", self.table.database, self.table.table);
        bad.in_event(&what, self.base)
    }

    fn next_row(&mut self) -> Read<Row<'a>> {
        let mut reader = self.rows;
        let mut image = |columns: &'a [u8]| -> Read<RowImage<'a>> {
            let start = reader;
            let from = reader.at();
            self.image(columns).walk(&mut reader, |_| {})?;
            let mut bytes = start;
            let bytes = bytes.take(reader.at() - from, "an image")?;
            Ok(RowImage { bytes, columns: (!self.full).then_some(columns), map: Arc::clone(&self.map) })
        };
        let before = if self.kind.has_before() { Some(image(self.before_columns)?) } else { None };
        let after = if self.kind.has_after() { Some(image(self.after_columns)?) } else { None };
        self.progressed(&reader)?;
        self.rows = reader;
        Ok(Row { before, after })
    }
}

impl<'a> Iterator for RowsEvent<'a> {
    type Item = Result<Row<'a>, Stop>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rows.is_empty() {
            return None;
        }
        Some(self.next_row().map_err(|bad| self.corrupt(bad)))
    }
}

/// One row of an event.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// The row before an update or delete.
    pub before: Option<RowImage<'a>>,
    /// The row after an insert or update.
    pub after: Option<RowImage<'a>>,
}

/// One image of a row, whole and within its event's bytes.
#[derive(Debug, Clone)]
pub struct RowImage<'a> {
    bytes: &'a [u8],
    /// The columns present; `None` if all are.
    columns: Option<&'a [u8]>,
    map: Arc<TableMap>,
}

impl<'a> RowImage<'a> {
    /// Fills `fields` with one entry for each column of the table.
    pub fn split(&self, fields: &mut Vec<Field<'a>>) {
        fields.clear();
        let walker = Walker { widths: &self.map.widths, columns: self.columns };
        // The iterator walked the same bytes by the same widths: this cannot fail; if it did, fields would be missing
        // and every reader by index would notice.
        let whole = walker.walk(&mut Reader::new(self.bytes), |field| fields.push(field));
        debug_assert!(whole.is_ok());
    }

    /// Whether the image holds every column.
    pub fn is_full(&self) -> bool {
        self.columns.is_none()
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
