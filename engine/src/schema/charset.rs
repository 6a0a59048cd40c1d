//! Character sets by collation id: their names, the most bytes a character takes, and decoding into UTF-8.
//!
//! Must not know columns' types. Ids are the servers' own (`information_schema.collations`).

use std::borrow::Cow;

use super::{Column, TableSchema};
use crate::cause::{Cause, Stop};

/// The collation id of bytes without a charset.
pub const BINARY: u16 = 63;

/// A character set whose text is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// `utf8mb4` and `utf8mb3`.
    Utf8,
    /// `ascii`.
    Ascii,
    /// `latin1`, which in MySQL is Windows-1252 with the five unassigned bytes as control characters.
    Latin1,
    /// `binary`: no text; shown as ISO-8859-1.
    Binary,
}

impl Charset {
    /// The charset of a collation; `None` if it is not decoded.
    #[inline]
    pub fn of(collation: u16) -> Option<Self> {
        Some(match collation {
            45 | 46 | 224..=247 | 255..=323 | 33 | 76 | 83 | 192..=215 | 223 => Charset::Utf8,
            5 | 8 | 15 | 31 | 47 | 48 | 49 | 94 => Charset::Latin1,
            11 | 65 => Charset::Ascii,
            BINARY => Charset::Binary,
            // MariaDB: Croatian, Myanmar and no-pad collations of utf8mb3 and utf8mb4, and UCA 14.
            576..=578 | 608..=610 | 2048..=2559 => Charset::Utf8,
            1057 | 1107 | 1216..=1239 | 1247 | 1069 | 1070 | 1248..=1271 => Charset::Utf8,
            1032 | 1071 => Charset::Latin1,
            1035 | 1089 => Charset::Ascii,
            _ => return None,
        })
    }

    /// The charset of a column, or the stop that names what is not decoded.
    ///
    /// # Errors
    /// `undecoded`.
    pub fn require(collation: u16, table: &TableSchema, column: &Column) -> Result<Self, Stop> {
        Self::of(collation).ok_or_else(|| {
            let (database, table, column, charset) =
                (&table.database, &table.table, &column.name, charset_name(collation));
            Stop::new(
                Cause::Undecoded,
                format!("column `{database}`.`{table}`.`{column}`: the charset {charset} is not decoded yet"),
            )
        })
    }

    /// The name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Charset::Utf8 => "utf8",
            Charset::Ascii => "ascii",
            Charset::Latin1 => "latin1",
            Charset::Binary => "binary",
        }
    }

    /// Decodes into UTF-8; `None` if the bytes are not valid in this charset.
    pub fn decode(self, bytes: &[u8]) -> Option<String> {
        match self {
            Charset::Utf8 => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Charset::Ascii => bytes.is_ascii().then(|| bytes.iter().map(|&byte| char::from(byte)).collect()),
            Charset::Latin1 => Some(bytes.iter().map(|&byte| latin1(byte)).collect()),
            Charset::Binary => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        }
    }
}

/// Windows-1252's assignment of 0x80 to 0x9f; the five bytes it leaves open stay what they are in ISO-8859-1.
const LATIN1_80_9F: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}', '\u{2030}',
    '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}',
    '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}',
    '\u{17e}', '\u{178}',
];

/// The character of a byte in MySQL's latin1.
#[inline]
pub fn latin1(byte: u8) -> char {
    match byte {
        0x80..=0x9f => LATIN1_80_9F[usize::from(byte - 0x80)],
        other => char::from(other),
    }
}

/// The charset's name of a collation, for messages.
fn charset_name(collation: u16) -> Cow<'static, str> {
    Cow::Borrowed(match collation {
        1 | 84 => "big5",
        12 | 91 => "ujis",
        13 | 88 => "sjis",
        19 | 85 => "euckr",
        24 | 86 => "gb2312",
        28 | 87 => "gbk",
        35 | 90 | 128..=151 | 159 => "ucs2",
        54 | 55 | 101..=124 => "utf16",
        56 | 62 => "utf16le",
        60 | 61 | 160..=183 => "utf32",
        95 | 96 => "cp932",
        97 | 98 => "eucjpms",
        248..=250 => "gb18030",
        other => return Cow::Owned(format!("of collation id {other}")),
    })
}

/// The most bytes a character of this collation's charset takes: a CHAR(n) takes up to n times as many.
pub fn max_char_bytes(collation: u16) -> u32 {
    match collation {
        1 | 84 | 13 | 88 | 19 | 85 | 24 | 86 | 28 | 87 | 35 | 90 | 128..=151 | 159 | 95 | 96 => 2,
        12 | 91 | 97 | 98 | 33 | 76 | 83 | 192..=215 | 223 | 576..=578 | 1057 | 1107 | 1216..=1247 | 2048..=2303 => 3,
        54..=56 | 60..=62 | 101..=124 | 160..=183 | 45 | 46 | 224..=250 | 255..=323 => 4,
        608..=610 | 1069 | 1070 | 1248..=1271 | 2304..=2559 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_is_windows_1252() {
        assert_eq!(Charset::Latin1.decode(&[0x80, 0x81, 0xe9, b'a']).unwrap(), "\u{20ac}\u{81}\u{e9}a");
    }

    #[test]
    fn invalid_text_is_told() {
        assert_eq!(Charset::Utf8.decode(&[0xff]), None);
        assert_eq!(Charset::Ascii.decode(&[0x80]), None);
        assert_eq!(Charset::Utf8.decode("\u{1f514}".as_bytes()).unwrap(), "\u{1f514}");
    }

    #[test]
    fn a_charset_that_is_not_decoded_is_named() {
        let column = Column {
            name: "c".into(),
            kind: super::super::ColumnType::VarChar { max_bytes: 20 },
            unsigned: false,
            nullable: true,
            collation: Some(28),
        };
        let table =
            TableSchema { database: "d".into(), table: "t".into(), columns: vec![column.clone()], primary_key: vec![] };
        let stop = Charset::require(28, &table, &column).unwrap_err();
        assert_eq!(stop.cause, Cause::Undecoded);
        assert!(stop.detail.contains("`d`.`t`.`c`") && stop.detail.contains("gbk"), "{}", stop.detail);
    }
}
