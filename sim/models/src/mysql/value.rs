//! Values of rows and operations on them, as a client of the model server writes them.
//!
//! Must not know how they are encoded.

use towpath_engine::schema::TableSchema;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A signed integer (any integer column it fits into; YEAR as four digits).
    Int(i64),
    /// An unsigned integer (any integer column it fits into; also BIT).
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL as text: optional minus, digits, optional point and digits.
    Decimal(String),
    /// Text of a character column (utf8mb4, utf8mb3, ascii or latin1).
    Text(String),
    /// Raw bytes: binary columns, geometry (SRID and WKB), or text already in the column's character set.
    Bytes(Vec<u8>),
    /// DATE; all zero is MySQL's zero date.
    Date {
        /// 0 to 9999.
        year: u16,
        /// 0 to 12.
        month: u8,
        /// 0 to 31.
        day: u8,
    },
    /// TIME.
    Time {
        /// Below zero.
        negative: bool,
        /// 0 to 838.
        hours: u16,
        /// 0 to 59.
        minutes: u8,
        /// 0 to 59.
        seconds: u8,
        /// 0 to 999,999.
        micros: u32,
    },
    /// DATETIME; all zero is MySQL's zero date.
    DateTime {
        /// 0 to 9999.
        year: u16,
        /// 0 to 12.
        month: u8,
        /// 0 to 31.
        day: u8,
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
        /// 0 to 59.
        second: u8,
        /// 0 to 999,999.
        micros: u32,
    },
    /// TIMESTAMP: seconds since the Unix epoch, UTC; 0 is MySQL's zero timestamp.
    Timestamp {
        /// Seconds.
        seconds: u32,
        /// 0 to 999,999.
        micros: u32,
    },
    /// ENUM: the member's number from 1; 0 is the empty member that a failed insert leaves.
    Enum(u16),
    /// SET: bit 0 is the first member.
    Set(u64),
    /// JSON.
    Json(serde_json::Value),
    /// VECTOR.
    Vector(Vec<f32>),
}

/// The name of a table with its database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
}

impl TableName {
    /// A name.
    pub fn new(database: impl Into<String>, table: impl Into<String>) -> Self {
        Self { database: database.into(), table: table.into() }
    }

    /// The name of a schema's table.
    pub fn of(schema: &TableSchema) -> Self {
        Self::new(schema.database.clone(), schema.table.clone())
    }
}

/// One change of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum RowOp {
    /// A new row.
    Insert {
        /// Where.
        table: TableName,
        /// All its values, in table order.
        row: Vec<Value>,
    },
    /// A row that exists gets new values.
    Update {
        /// Where.
        table: TableName,
        /// Its primary key's values now, in key order (the whole row where the table has none).
        key: Vec<Value>,
        /// All its new values, in table order; the key may change.
        row: Vec<Value>,
    },
    /// A row that exists goes.
    Delete {
        /// Where.
        table: TableName,
        /// Its primary key's values, in key order (the whole row where the table has none).
        key: Vec<Value>,
    },
}

impl RowOp {
    /// INSERT.
    pub fn insert(database: &str, table: &str, row: Vec<Value>) -> Self {
        Self::Insert { table: TableName::new(database, table), row }
    }

    /// UPDATE of the row with this key.
    pub fn update(database: &str, table: &str, key: Vec<Value>, row: Vec<Value>) -> Self {
        Self::Update { table: TableName::new(database, table), key, row }
    }

    /// DELETE of the row with this key.
    pub fn delete(database: &str, table: &str, key: Vec<Value>) -> Self {
        Self::Delete { table: TableName::new(database, table), key }
    }

    /// The table it changes.
    pub fn table(&self) -> &TableName {
        match self {
            Self::Insert { table, .. } | Self::Update { table, .. } | Self::Delete { table, .. } => table,
        }
    }
}

/// Bytes under which a row with this key is kept: equal for equal keys, in order for numbers.
pub(crate) fn key_bytes(key: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() * 9);
    for value in key {
        match value {
            // Signed and unsigned share one order, so that `Int(1)` and `UInt(1)` name one row.
            Value::Int(n) => out.extend_from_slice(&(i128::from(*n) + (1 << 64)).to_be_bytes()[7..]),
            Value::UInt(n) => out.extend_from_slice(&(i128::from(*n) + (1 << 64)).to_be_bytes()[7..]),
            Value::Text(text) => terminated(&mut out, text.as_bytes()),
            Value::Bytes(bytes) => terminated(&mut out, bytes),
            other => terminated(&mut out, format!("{other:?}").as_bytes()),
        }
    }
    out
}

/// Zero bytes are escaped and the text ends with two of them, so that ("a", "b") and ("ab", "") differ.
fn terminated(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_by_number_and_do_not_run_together() {
        let int = |n| key_bytes(&[Value::Int(n)]);
        assert!(int(-2) < int(-1) && int(-1) < int(0) && int(9) < int(10));
        assert!(int(i64::MAX) < key_bytes(&[Value::UInt(u64::MAX)]));
        assert_eq!(int(7), key_bytes(&[Value::UInt(7)]));
        let text = |a: &str, b: &str| key_bytes(&[Value::Text(a.into()), Value::Text(b.into())]);
        assert_ne!(text("a", "b"), text("ab", ""));
        assert_ne!(text("a\0", "b"), text("a", "\0b"));
    }
}
