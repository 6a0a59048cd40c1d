//! Character sets by collation id: their names, the most bytes a character takes, and decoding into UTF-8.
//!
//! Must not know columns' types. Ids are the servers' own (`information_schema.collations`).

mod decode;
mod multi_byte;
pub mod names;
mod single_byte;

use self::multi_byte::MultiByte;
use self::single_byte::Upper;
use super::{Column, TableSchema};
use crate::cause::{Cause, Stop};

/// The collation id of bytes without a charset.
pub const BINARY: u16 = 63;

/// A character set.
#[derive(Clone, Copy)]
pub struct Charset(Kind);

#[derive(Clone, Copy)]
enum Kind {
    /// `utf8mb4` and `utf8mb3`.
    Utf8,
    Ascii,
    /// No text: shown as ISO-8859-1.
    Binary,
    Latin1,
    /// ASCII with national letters in eleven places, and nothing above.
    Swe7,
    /// `utf16` and `ucs2`, big-endian.
    Utf16,
    Utf16Le,
    Utf32,
    Single(&'static str, &'static Upper),
    Multi(&'static MultiByte),
}

impl PartialEq for Charset {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Charset {}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes that are not text in their charset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// MariaDB's collations without padding have the id of the padding one plus this.
const MARIADB_NOPAD: std::ops::RangeInclusive<u16> = 1025..=2047;

impl Charset {
    /// The charset of `utf8mb4`.
    pub const UTF8: Charset = Charset(Kind::Utf8);

    /// The charset of a collation; `None` for an id that no server of ours knows.
    #[inline]
    pub fn of(collation: u16) -> Option<Self> {
        Some(Charset(match collation {
            45 | 46 | 224..=247 | 255..=323 | 33 | 76 | 83 | 192..=215 | 223 => Kind::Utf8,
            8 | 5 | 15 | 31 | 47 | 48 | 49 | 94 => Kind::Latin1,
            11 | 65 => Kind::Ascii,
            BINARY => Kind::Binary,
            other => return Self::of_rarer(other),
        }))
    }

    fn of_rarer(collation: u16) -> Option<Self> {
        use multi_byte as m;
        use single_byte as s;
        Some(Charset(match collation {
            1 | 84 => Kind::Multi(&m::BIG5_SET),
            2 | 9 | 21 | 27 | 77 => Kind::Single("latin2", &s::LATIN2),
            3 | 69 => Kind::Single("dec8", &s::DEC8),
            4 | 80 => Kind::Single("cp850", &s::CP850),
            6 | 72 => Kind::Single("hp8", &s::HP8),
            7 | 74 => Kind::Single("koi8r", &s::KOI8R),
            10 | 82 => Kind::Swe7,
            12 | 91 => Kind::Multi(&m::UJIS_SET),
            13 | 88 => Kind::Multi(&m::SJIS_SET),
            14 | 23 | 50 | 51 | 52 => Kind::Single("cp1251", &s::CP1251),
            16 | 71 => Kind::Single("hebrew", &s::HEBREW),
            18 | 89 => Kind::Single("tis620", &s::TIS620),
            19 | 85 => Kind::Multi(&m::EUCKR_SET),
            20 | 41 | 42 | 79 => Kind::Single("latin7", &s::LATIN7),
            22 | 75 => Kind::Single("koi8u", &s::KOI8U),
            24 | 86 => Kind::Multi(&m::GB2312_SET),
            25 | 70 => Kind::Single("greek", &s::GREEK),
            26 | 34 | 44 | 66 | 99 => Kind::Single("cp1250", &s::CP1250),
            28 | 87 => Kind::Multi(&m::GBK_SET),
            29 | 58 | 59 => Kind::Single("cp1257", &s::CP1257),
            30 | 78 => Kind::Single("latin5", &s::LATIN5),
            32 | 64 => Kind::Single("armscii8", &s::ARMSCII8),
            35 | 90 | 128..=151 | 159 | 54 | 55 | 101..=124 => Kind::Utf16,
            36 | 68 => Kind::Single("cp866", &s::CP866),
            37 | 73 => Kind::Single("keybcs2", &s::KEYBCS2),
            38 | 43 => Kind::Single("macce", &s::MACCE),
            39 | 53 => Kind::Single("macroman", &s::MACROMAN),
            40 | 81 => Kind::Single("cp852", &s::CP852),
            56 | 62 => Kind::Utf16Le,
            57 | 67 => Kind::Single("cp1256", &s::CP1256),
            60 | 61 | 160..=183 => Kind::Utf32,
            92 | 93 => Kind::Single("geostd8", &s::GEOSTD8),
            95 | 96 => Kind::Multi(&m::CP932_SET),
            97 | 98 => Kind::Multi(&m::EUCJPMS_SET),
            248..=250 => Kind::Multi(&m::GB18030_SET),
            // MariaDB: Croatian, Myanmar and Thai collations, and those of UCA 14.
            576..=578 | 608..=610 | 2048..=2559 => Kind::Utf8,
            640..=642 | 672..=674 | 2560..=3071 => Kind::Utf16,
            736..=738 | 3072..=3327 => Kind::Utf32,
            nopad if MARIADB_NOPAD.contains(&nopad) => return Self::of(nopad - 1024),
            _ => return None,
        }))
    }

    /// The charset of a column, or the stop that names what is not decoded.
    ///
    /// # Errors
    /// `undecoded`.
    pub fn require(collation: u16, table: &TableSchema, column: &Column) -> Result<Self, Stop> {
        Self::of(collation).ok_or_else(|| {
            let (database, table, column) = (&table.database, &table.table, &column.name);
            Stop::new(
                Cause::Undecoded,
                format!(
                    "column `{database}`.`{table}`.`{column}` has the unknown collation {collation}; \
                     give it one of a charset that Towpath decodes, or leave the table out of `tables`"
                ),
            )
        })
    }

    /// The name for messages.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Utf8 => "utf8mb4",
            Kind::Ascii => "ascii",
            Kind::Binary => "binary",
            Kind::Latin1 => "latin1",
            Kind::Swe7 => "swe7",
            Kind::Utf16 => "utf16",
            Kind::Utf16Le => "utf16le",
            Kind::Utf32 => "utf32",
            Kind::Single(name, _) => name,
            Kind::Multi(set) => set.name,
        }
    }

    /// Whether values are bytes, not text.
    pub fn is_binary(self) -> bool {
        matches!(self.0, Kind::Binary)
    }

    /// Whether text is UTF-8 as it stands, if it is valid.
    #[inline]
    pub fn is_utf8(self) -> bool {
        matches!(self.0, Kind::Utf8)
    }

    /// Decodes into UTF-8; `None` if the bytes are not valid in this charset.
    pub fn decode(self, bytes: &[u8]) -> Option<String> {
        let mut text = String::with_capacity(bytes.len());
        self.decode_with(bytes, &mut |piece| text.push_str(piece)).ok()?;
        Some(text)
    }
}

/// The most bytes a character of this collation's charset takes: a CHAR(n) takes up to n times as many.
pub fn max_char_bytes(collation: u16) -> u32 {
    match collation {
        33 | 76 | 83 | 192..=215 | 223 | 576..=578 | 2048..=2303 => 3,
        35 | 90 | 128..=151 | 159 | 640..=642 | 2560..=2815 => 2,
        nopad if MARIADB_NOPAD.contains(&nopad) => max_char_bytes(nopad - 1024),
        other => match Charset::of(other).map(|charset| charset.0) {
            Some(Kind::Utf8 | Kind::Utf16 | Kind::Utf16Le | Kind::Utf32) => 4,
            Some(Kind::Multi(set)) => match set.name {
                "gb18030" => 4,
                "ujis" | "eucjpms" => 3,
                _ => 2,
            },
            _ => 1,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_is_windows_1252() {
        assert_eq!(named(8).decode(&[0x80, 0x81, 0xe9, b'a']).unwrap(), "\u{20ac}\u{81}\u{e9}a");
    }

    #[test]
    fn invalid_text_is_told() {
        assert_eq!(named(255).decode(&[0xff]), None);
        assert_eq!(named(11).decode(&[0x80]), None);
        assert_eq!(named(255).decode("\u{1f514}".as_bytes()).unwrap(), "\u{1f514}");
    }

    #[test]
    fn a_charset_that_is_not_known_is_told_with_its_column() {
        let column = Column {
            name: "c".into(),
            kind: super::super::ColumnType::VarChar { max_bytes: 20 },
            unsigned: false,
            nullable: true,
            collation: Some(999),
        };
        let table =
            TableSchema { database: "d".into(), table: "t".into(), columns: vec![column.clone()], primary_key: vec![] };
        let stop = Charset::require(999, &table, &column).unwrap_err();
        assert_eq!(stop.cause, Cause::Undecoded);
        assert!(stop.detail.contains("`d`.`t`.`c`") && stop.detail.contains("999"), "{}", stop.detail);
    }

    #[test]
    fn asian_charsets_with_the_servers_exceptions() {
        for (collation, bytes, text) in [
            (28, &[0xc4, 0xe3, b'a', 0xba, 0xc3][..], "\u{4f60}a\u{597d}"),
            (248, &[0x81, 0x30, 0x81, 0x30, 0xa6, 0xd9], "\u{80}\u{e78d}"),
            (24, &[0xa1, 0xaa, 0xc4, 0xe3], "\u{2015}\u{4f60}"),
            (13, &[0x81, 0x5f, 0xb1, 0x82, 0xa0], "\\\u{ff71}\u{3042}"),
            (95, &[0x81, 0x5f], "\u{ff3c}"),
            (12, &[0xf5, 0xa1, 0x8f, 0xf5, 0xa2, 0xa4, 0xa2], "\u{e000}\u{e3ad}\u{3042}"),
            (97, &[0x8f, 0xf3, 0xf3, 0x8e, 0xb1], "\u{2170}\u{ff71}"),
            (1, &[0xa1, 0x45, 0xa4, 0xa4], "\u{2022}\u{4e2d}"),
            (19, &[0xb0, 0xa1], "\u{ac00}"),
        ] {
            assert_eq!(named(collation).decode(bytes).as_deref(), Some(text), "{:?}", named(collation));
        }
        assert_eq!(named(28).decode(&[0xc4]), None, "half a character");
        let long: Vec<u8> = [0xa4, 0xa2, b'x', 0xa1, 0xc0].repeat(1000);
        assert_eq!(named(12).decode(&long).unwrap(), "\u{3042}x\\".repeat(1000));
    }

    #[test]
    fn unicode_charsets_of_two_and_four_bytes() {
        assert_eq!(named(54).decode(&[0x4e, 0x2d, 0xd8, 0x3d, 0xdd, 0x14]).unwrap(), "\u{4e2d}\u{1f514}");
        assert_eq!(named(56).decode(&[0x2d, 0x4e]).unwrap(), "\u{4e2d}");
        assert_eq!(named(60).decode(&[0, 1, 0xf5, 0x14]).unwrap(), "\u{1f514}");
        assert_eq!(named(54).decode(&[0xd8, 0x3d]), None);
        assert_eq!(named(54).decode(&[0x4e]), None);
        assert_eq!(named(60).decode(&[0, 0x11, 0, 0]), None);
    }

    #[test]
    fn single_byte_charsets() {
        assert_eq!(named(7).decode(&[0xf0, b'!']).unwrap(), "\u{41f}!");
        assert_eq!(named(14).decode(&[0xcf]).unwrap(), "\u{41f}");
        assert_eq!(named(14).decode(&[0x98]), None);
        assert_eq!(named(10).decode(&[b'[', b'a']).unwrap(), "\u{c4}a");
        assert_eq!(named(10).decode(&[0x80]), None);
    }

    #[test]
    fn characters_have_their_most_bytes() {
        let collations = [255, 33, 8, 28, 12, 248, 35, 54, 1070, 1057, 2304, 2049, 3072];
        assert_eq!(collations.map(max_char_bytes), [4, 3, 1, 2, 3, 4, 2, 4, 4, 3, 4, 3, 4]);
    }

    fn named(collation: u16) -> Charset {
        Charset::of(collation).unwrap()
    }
}
