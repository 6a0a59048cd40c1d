//! Which partition a row goes to: Canal's hash, so that a topic that comes from Canal keeps its order.
//!
//! The hash is taken from the text Canal would write, whatever the records' rendering. Must not know records.

use serde::{Deserialize, Serialize};

use crate::binlog::text::Text;
use crate::binlog::{Field, GeometryText, PatchedJson};
use crate::cause::{Cause, Stop};
use crate::schema::{Column, ColumnType, TableSchema};

/// The text that is hashed, whatever the records hold.
const CANAL: Text = Text { canal_quirks: true, geometry: GeometryText::GeoJson };

/// How rows find their partition. The hash is Canal's in each case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionBy {
    /// By the primary key's columns.
    PrimaryKey,
    /// By these columns, which every captured table must have.
    Columns(Vec<String>),
    /// All rows of a table go to one partition.
    Table,
}

/// Routing of a pipeline: what to hash, and into how many partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// What is hashed.
    pub by: PartitionBy,
    /// How many partitions; 0 is taken as 1.
    pub partitions: u32,
    /// Row hashes begin with the database's hash (Canal's `canal.mq.database.hash`, true by default).
    pub database_hash: bool,
}

impl Router {
    /// Canal's defaults.
    pub fn new(by: PartitionBy, partitions: u32) -> Self {
        Self { by, partitions, database_hash: true }
    }

    /// Routing of one table. A named column that the table does not have counts as empty text, as in Canal.
    pub fn plan(&self, table: &TableSchema) -> RoutePlan {
        let columns = match &self.by {
            PartitionBy::PrimaryKey => table.primary_key.clone(),
            PartitionBy::Columns(names) => names.iter().filter_map(|name| table.column_index(name)).collect(),
            PartitionBy::Table => {
                let hash = java_hash(table.table.as_bytes());
                return RoutePlan { columns: Vec::new(), start: hash, partitions: self.partitions };
            }
        };
        let start = if self.database_hash { java_hash(table.database.as_bytes()) } else { 0 };
        RoutePlan { columns, start, partitions: self.partitions }
    }
}

/// Routing of one table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePlan {
    columns: Vec<usize>,
    start: i32,
    partitions: u32,
}

impl RoutePlan {
    /// The partition of a row image, one field a column. `scratch` is overwritten.
    ///
    /// # Errors
    /// `partial-row` if the image lacks a routing column; what decoding the value says.
    pub fn partition(&self, table: &TableSchema, image: &[Field<'_>], scratch: &mut Vec<u8>) -> Result<u32, Stop> {
        let mut hash = self.start;
        if self.partitions > 1 {
            for &index in &self.columns {
                let (Some(column), Some(field)) = (table.columns.get(index), image.get(index)) else {
                    return Err(lacking(table, index));
                };
                hash ^= match field {
                    Field::Absent => return Err(lacking(table, index)),
                    Field::Null => 0,
                    Field::Value(raw) => value_hash(column, raw, scratch)?,
                    Field::Patched(patched) => patched_hash(column, patched, scratch)?,
                };
            }
        }
        Ok(partition_of(hash, self.partitions))
    }

    /// Whether two images of a row have the same routing values, so that they have the same partition.
    pub fn same(&self, before: &[Field<'_>], after: &[Field<'_>]) -> bool {
        self.columns.iter().all(|&index| before.get(index) == after.get(index))
    }
}

#[cold]
fn lacking(table: &TableSchema, index: usize) -> Stop {
    let column = table.columns.get(index).map_or("?", |column| &column.name);
    let (database, table) = (&table.database, &table.table);
    let detail = format!(
        "a row of {database}.{table} arrives without its routing column {column:?}, so its partition is unknown: log \
         whole rows, or route by the primary key"
    );
    Stop::new(Cause::PartialRow, detail)
}

/// The hash of the text that Canal writes for a value.
fn value_hash(column: &Column, raw: &[u8], scratch: &mut Vec<u8>) -> Result<i32, Stop> {
    const BINARY: u16 = 63;
    let text = CANAL;
    scratch.clear();
    Ok(match &column.kind {
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. } => {
            if column.collation == Some(BINARY) { latin1_hash(raw) } else { java_hash(raw) }
        }
        ColumnType::Geometry | ColumnType::Vector => latin1_hash(raw),
        ColumnType::Json => {
            text.write(column, raw, scratch)?;
            escaped_hash(scratch)?
        }
        // Digits and punctuation: nothing that is escaped.
        _ => {
            text.write(column, raw, scratch)?;
            latin1_hash(scratch)
        }
    })
}

/// The hash of a JSON document that the binlog gives as changes of the one before.
fn patched_hash(column: &Column, patched: &PatchedJson<'_>, scratch: &mut Vec<u8>) -> Result<i32, Stop> {
    scratch.clear();
    CANAL.write_patched(column, patched, scratch)?;
    escaped_hash(scratch)
}

/// The writer escapes for JSON strings; the hash is that of the text itself.
fn escaped_hash(escaped: &[u8]) -> Result<i32, Stop> {
    let mut plain = String::new();
    let unescaped = crate::format::unescape(&String::from_utf8_lossy(escaped), &mut plain);
    unescaped.map_err(|at| Stop::new(Cause::Internal, format!("an escape of our own is bad at {at}")))?;
    Ok(java_hash(plain.as_bytes()))
}

/// Java's `String.hashCode` of UTF-8 text: over UTF-16 code units. Bytes that are not UTF-8 count as U+FFFD, as they do
/// in Java after decoding.
pub fn java_hash(text: &[u8]) -> i32 {
    if text.is_ascii() {
        return latin1_hash(text);
    }
    let step = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    String::from_utf8_lossy(text).encode_utf16().fold(0, step)
}

/// Java's `String.hashCode` of bytes taken as ISO-8859-1, which is how Canal decodes binary columns.
pub fn latin1_hash(bytes: &[u8]) -> i32 {
    bytes.iter().fold(0i32, |hash, &byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)))
}

/// Canal's way from a hash to a partition: `|(|hash| mod n)|`, where `|MIN|` stays `MIN` in Java.
pub fn partition_of(hash: i32, partitions: u32) -> u32 {
    match i32::try_from(partitions) {
        Ok(count) if count > 0 => (hash.wrapping_abs() % count).unsigned_abs(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // Computed with `"…".hashCode()` in Java.
        for (text, hash) in [
            ("", 0),
            ("a", 97),
            ("1", 49),
            ("hello world", 1_794_106_052),
            ("polygenelubricants", i32::MIN),
            ("é", 233),
            ("中文", 646_394),
            ("😀", 1_772_899),
        ] {
            assert_eq!(java_hash(text.as_bytes()), hash, "{text}");
        }
        assert_eq!(java_hash(b"\xff"), 0xfffd);
        assert_eq!(latin1_hash(b"\xff"), 0xff);
    }

    #[test]
    fn partitions_are_canals_even_for_the_lowest_hash() {
        assert_eq!(partition_of(i32::MIN, 3), 2); // |MIN| is MIN, MIN mod 3 is -2
        assert_eq!(partition_of(-7, 3), 1);
        assert_eq!(partition_of(7, 3), 1);
        assert_eq!(partition_of(7, 1), 0);
        assert_eq!(partition_of(7, 0), 0);
    }
}
