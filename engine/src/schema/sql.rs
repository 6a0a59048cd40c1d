//! Columns' types as consumers of FlatMessage know them: MySQL's type text and the number of `java.sql.Types`.
//!
//! Must not read values beyond what the number depends on.

use std::fmt::Write;

use super::charset::{BINARY, max_char_bytes};
use super::{Column, ColumnType};

/// Numbers of `java.sql.Types`.
mod java {
    pub const BIT: i32 = -7;
    pub const TINYINT: i32 = -6;
    pub const BIGINT: i32 = -5;
    pub const CHAR: i32 = 1;
    pub const DECIMAL: i32 = 3;
    pub const INTEGER: i32 = 4;
    pub const SMALLINT: i32 = 5;
    pub const REAL: i32 = 7;
    pub const DOUBLE: i32 = 8;
    pub const VARCHAR: i32 = 12;
    pub const DATE: i32 = 91;
    pub const TIME: i32 = 92;
    pub const TIMESTAMP: i32 = 93;
    pub const OTHER: i32 = 1111;
    pub const BLOB: i32 = 2004;
    pub const CLOB: i32 = 2005;
}

impl Column {
    /// Whether the column holds bytes rather than text.
    pub fn is_binary(&self) -> bool {
        self.collation.unwrap_or(BINARY) == BINARY
    }

    /// The number of `java.sql.Types` that Canal gives this column, for a value or (`None`) for NULL. An unsigned
    /// integer above its type's signed range is given the next wider type.
    pub fn sql_type(&self, raw: Option<&[u8]>) -> i32 {
        let above = self.unsigned && raw.and_then(<[u8]>::last).is_some_and(|&highest| highest & 0x80 != 0);
        match &self.kind {
            ColumnType::TinyInt if above => java::SMALLINT,
            ColumnType::TinyInt => java::TINYINT,
            ColumnType::SmallInt if above => java::INTEGER,
            ColumnType::SmallInt => java::SMALLINT,
            ColumnType::MediumInt => java::INTEGER,
            ColumnType::Int if above => java::BIGINT,
            ColumnType::Int => java::INTEGER,
            ColumnType::BigInt if above => java::DECIMAL,
            ColumnType::BigInt => java::BIGINT,
            ColumnType::Float => java::REAL,
            ColumnType::Double => java::DOUBLE,
            ColumnType::Decimal { .. } => java::DECIMAL,
            ColumnType::Bit { .. } => java::BIT,
            ColumnType::Year => java::VARCHAR,
            ColumnType::Date => java::DATE,
            ColumnType::Time { .. } | ColumnType::OldTime => java::TIME,
            ColumnType::DateTime { .. } | ColumnType::OldDateTime => java::TIMESTAMP,
            ColumnType::Timestamp { .. } | ColumnType::OldTimestamp => java::TIMESTAMP,
            ColumnType::Char { .. } | ColumnType::VarChar { .. } if self.is_binary() => java::BLOB,
            ColumnType::Char { .. } => java::CHAR,
            ColumnType::VarChar { .. } => java::VARCHAR,
            ColumnType::Blob { .. } if self.is_binary() => java::BLOB,
            ColumnType::Blob { .. } => java::CLOB,
            ColumnType::Enum { .. } => java::INTEGER,
            ColumnType::Set { .. } if raw.is_none() => java::BLOB,
            ColumnType::Set { .. } => java::BIT,
            ColumnType::Json if raw.is_none() => java::OTHER,
            ColumnType::Json => java::VARCHAR,
            ColumnType::Geometry | ColumnType::Vector => java::BLOB,
        }
    }

    /// The type as MySQL 8 and later show it, for example `bigint unsigned`, `varchar(200)`, `enum('a','b')`.
    pub fn mysql_type(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_mysql_type(&mut text);
        text
    }

    fn write_mysql_type(&self, out: &mut String) -> std::fmt::Result {
        let binary = self.is_binary();
        let chars = |bytes: u32| bytes / self.collation.map_or(1, max_char_bytes);
        match &self.kind {
            ColumnType::TinyInt => out.write_str("tinyint")?,
            ColumnType::SmallInt => out.write_str("smallint")?,
            ColumnType::MediumInt => out.write_str("mediumint")?,
            ColumnType::Int => out.write_str("int")?,
            ColumnType::BigInt => out.write_str("bigint")?,
            ColumnType::Float => out.write_str("float")?,
            ColumnType::Double => out.write_str("double")?,
            ColumnType::Decimal { precision, scale } => write!(out, "decimal({precision},{scale})")?,
            ColumnType::Bit { bits } => write!(out, "bit({bits})")?,
            ColumnType::Year => out.write_str("year")?,
            ColumnType::Date => out.write_str("date")?,
            ColumnType::Time { fsp } => with_fraction(out, "time", *fsp)?,
            ColumnType::DateTime { fsp } => with_fraction(out, "datetime", *fsp)?,
            ColumnType::Timestamp { fsp } => with_fraction(out, "timestamp", *fsp)?,
            ColumnType::OldTime => out.write_str("time")?,
            ColumnType::OldDateTime => out.write_str("datetime")?,
            ColumnType::OldTimestamp => out.write_str("timestamp")?,
            ColumnType::Char { max_bytes } if binary => write!(out, "binary({max_bytes})")?,
            ColumnType::Char { max_bytes } => write!(out, "char({})", chars(*max_bytes))?,
            ColumnType::VarChar { max_bytes } if binary => write!(out, "varbinary({max_bytes})")?,
            ColumnType::VarChar { max_bytes } => write!(out, "varchar({})", chars(*max_bytes))?,
            ColumnType::Blob { length_bytes } => {
                let size = match length_bytes {
                    1 => "tiny",
                    2 => "",
                    3 => "medium",
                    _ => "long",
                };
                write!(out, "{size}{}", if binary { "blob" } else { "text" })?;
            }
            ColumnType::Enum { members } => with_members(out, "enum", members)?,
            ColumnType::Set { members } => with_members(out, "set", members)?,
            ColumnType::Json => out.write_str("json")?,
            ColumnType::Geometry => out.write_str("geometry")?,
            ColumnType::Vector => out.write_str("vector")?,
        }
        if self.unsigned { out.write_str(" unsigned") } else { Ok(()) }
    }
}

fn with_fraction(out: &mut String, name: &str, fsp: u8) -> std::fmt::Result {
    if fsp == 0 { out.write_str(name) } else { write!(out, "{name}({fsp})") }
}

fn with_members(out: &mut String, name: &str, members: &[String]) -> std::fmt::Result {
    out.write_str(name)?;
    for (index, member) in members.iter().enumerate() {
        write!(out, "{}'{}'", if index == 0 { '(' } else { ',' }, member.replace('\'', "''"))?;
    }
    if members.is_empty() { Ok(()) } else { out.write_str(")") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnType, unsigned: bool, collation: Option<u16>) -> Column {
        Column { name: "c".into(), kind, unsigned, nullable: true, collation }
    }

    #[test]
    fn types_are_named_as_the_server_shows_them() {
        for (kind, unsigned, collation, text) in [
            (ColumnType::BigInt, true, None, "bigint unsigned"),
            (ColumnType::VarChar { max_bytes: 800 }, false, Some(255), "varchar(200)"),
            (ColumnType::VarChar { max_bytes: 200 }, false, Some(8), "varchar(200)"),
            (ColumnType::VarChar { max_bytes: 16 }, false, Some(BINARY), "varbinary(16)"),
            (ColumnType::Char { max_bytes: 30 }, false, Some(33), "char(10)"),
            (ColumnType::Decimal { precision: 12, scale: 2 }, false, None, "decimal(12,2)"),
            (ColumnType::DateTime { fsp: 3 }, false, None, "datetime(3)"),
            (ColumnType::Timestamp { fsp: 0 }, false, None, "timestamp"),
            (ColumnType::Blob { length_bytes: 4 }, false, Some(255), "longtext"),
            (ColumnType::Blob { length_bytes: 2 }, false, Some(BINARY), "blob"),
            (ColumnType::Enum { members: vec!["it's".into(), "b".into()] }, false, Some(255), "enum('it''s','b')"),
            (ColumnType::Bit { bits: 8 }, false, None, "bit(8)"),
        ] {
            assert_eq!(column(kind, unsigned, collation).mysql_type(), text);
        }
    }

    #[test]
    fn java_numbers_depend_on_the_value_where_canals_do() {
        let big = column(ColumnType::BigInt, true, None);
        assert_eq!(big.sql_type(Some(&1u64.to_le_bytes())), -5);
        assert_eq!(big.sql_type(Some(&u64::MAX.to_le_bytes())), 3);
        assert_eq!(big.sql_type(None), -5);
        assert_eq!(column(ColumnType::TinyInt, true, None).sql_type(Some(&[200])), 5);
        assert_eq!(column(ColumnType::TinyInt, false, None).sql_type(Some(&[200])), -6);
        assert_eq!(column(ColumnType::MediumInt, true, None).sql_type(Some(&[0, 0, 255])), 4);
        let set = column(ColumnType::Set { members: vec![] }, false, Some(255));
        assert_eq!((set.sql_type(Some(&[1])), set.sql_type(None)), (-7, 2004));
        assert_eq!(column(ColumnType::Json, false, None).sql_type(None), 1111);
        assert_eq!(column(ColumnType::Blob { length_bytes: 2 }, false, Some(255)).sql_type(None), 2005);
    }
}
