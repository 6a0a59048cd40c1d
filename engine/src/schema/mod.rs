//! Tables and columns as rows are decoded by: names, types, keys. Valid at one point of the binlog, not "now".
//!
//! Must not know how a definition was found (row metadata, information_schema, a statement).

pub mod catalog;
pub mod charset;
pub mod ddl;
mod sql;

use serde::{Deserialize, Serialize};

/// A table at some point of the binlog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The database's name.
    pub database: String,
    /// The table's name.
    pub table: String,
    /// The columns in table order (which is the order of a row's values).
    pub columns: Vec<Column>,
    /// Indexes into `columns` of the primary key, in key order; empty without one.
    pub primary_key: Vec<usize>,
}

impl TableSchema {
    /// The index of a column by its exact name.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// Integers, DECIMAL, FLOAT and DOUBLE: declared UNSIGNED.
    pub unsigned: bool,
    /// May hold NULL.
    pub nullable: bool,
    /// Character columns, ENUM and SET: the collation's id (63 = binary); `None` for others.
    pub collation: Option<u16>,
}

/// A column's type with what is needed to read and to name its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// TINYINT, 1 byte.
    TinyInt,
    /// SMALLINT, 2 bytes.
    SmallInt,
    /// MEDIUMINT, 3 bytes.
    MediumInt,
    /// INT, 4 bytes.
    Int,
    /// BIGINT, 8 bytes.
    BigInt,
    /// FLOAT, 4 bytes.
    Float,
    /// DOUBLE, 8 bytes.
    Double,
    /// DECIMAL(precision, scale).
    Decimal {
        /// Digits in all, up to 65.
        precision: u8,
        /// Digits after the point, up to 30.
        scale: u8,
    },
    /// BIT(bits).
    Bit {
        /// 1 to 64.
        bits: u8,
    },
    /// YEAR.
    Year,
    /// DATE.
    Date,
    /// TIME(fsp).
    Time {
        /// Fractional digits, 0 to 6.
        fsp: u8,
    },
    /// DATETIME(fsp); no zone.
    DateTime {
        /// Fractional digits, 0 to 6.
        fsp: u8,
    },
    /// TIMESTAMP(fsp); UTC.
    Timestamp {
        /// Fractional digits, 0 to 6.
        fsp: u8,
    },
    /// CHAR or BINARY (collation 63).
    Char {
        /// The most bytes a value takes.
        max_bytes: u32,
    },
    /// VARCHAR or VARBINARY (collation 63).
    VarChar {
        /// The most bytes a value takes.
        max_bytes: u32,
    },
    /// TINYTEXT, TEXT, MEDIUMTEXT, LONGTEXT, or the BLOBs (collation 63).
    Blob {
        /// Bytes of the length prefix, 1 to 4.
        length_bytes: u8,
    },
    /// ENUM; the values in order where known.
    Enum {
        /// The members in UTF-8; empty where the binlog does not name them.
        members: Vec<String>,
    },
    /// SET; the members in order where known.
    Set {
        /// The members in UTF-8; empty where the binlog does not name them.
        members: Vec<String>,
    },
    /// JSON.
    Json,
    /// GEOMETRY and its kinds.
    Geometry,
    /// VECTOR.
    Vector,
    /// TIME as stored before MySQL 5.6: no fraction, other bytes. Only rows tell; definitions say [`Self::Time`].
    OldTime,
    /// DATETIME as stored before MySQL 5.6. Only rows tell; definitions say [`Self::DateTime`].
    OldDateTime,
    /// TIMESTAMP as stored before MySQL 5.6. Only rows tell; definitions say [`Self::Timestamp`].
    OldTimestamp,
}

impl ColumnType {
    /// Whether `self` is how servers before MySQL 5.6 stored the type that a definition calls `known`.
    pub fn is_old_form_of(&self, known: &ColumnType) -> bool {
        matches!(
            (self, known),
            (ColumnType::OldTime, ColumnType::Time { fsp: 0 })
                | (ColumnType::OldDateTime, ColumnType::DateTime { fsp: 0 })
                | (ColumnType::OldTimestamp, ColumnType::Timestamp { fsp: 0 })
        )
    }
}
