//! Data types as statements write them, with all their synonyms.
//!
//! Must not know a table: how many bytes a text takes depends on its charset, which may be the table's.

use super::cursor::Cursor;
use super::token::Token;
use super::{Dialect, Unread};
use crate::schema::ColumnType;

/// A data type; sizes of texts in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataType {
    /// Not a text.
    Plain(ColumnType),
    /// CHAR(n); BINARY(n) in the charset `binary`.
    Char(u32),
    /// VARCHAR(n).
    VarChar(u32),
    /// TINYTEXT, TEXT, MEDIUMTEXT, LONGTEXT, by the bytes of their length.
    Text(u8),
    /// TEXT(n): the smallest that holds so many characters.
    TextOf(u64),
    /// ENUM.
    Enum(Vec<String>),
    /// SET.
    Set(Vec<String>),
}

/// What is said about a charset, of a column, a table or a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextClause {
    /// CHARACTER SET.
    pub charset: Option<String>,
    /// COLLATE.
    pub collation: Option<String>,
    /// BINARY: the charset's binary collation.
    pub binary: bool,
}

impl TextClause {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A charset by its name.
    pub fn charset(name: &str) -> Self {
        Self { charset: Some(name.to_owned()), ..Self::default() }
    }
}

/// A type with what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeClause {
    /// The type.
    pub data: DataType,
    /// The charset.
    pub text: TextClause,
    /// UNSIGNED, or ZEROFILL, which implies it.
    pub unsigned: bool,
    /// SERIAL: it is NOT NULL too.
    pub not_null: bool,
}

/// Reads a type and its attributes.
pub fn data_type(at: &mut Cursor<'_>, dialect: &Dialect) -> Result<TypeClause, Unread> {
    let start = *at;
    let Some(Token::Word(word)) = at.take() else { return Err(start.unread("a data type")) };
    let mut clause = TypeClause {
        data: DataType::Plain(ColumnType::Int),
        text: TextClause::default(),
        unsigned: false,
        not_null: false,
    };
    let word = word.to_ascii_uppercase();
    clause.data = match word.as_str() {
        "SERIAL" => {
            (clause.unsigned, clause.not_null) = (true, true);
            return Ok(TypeClause { data: DataType::Plain(ColumnType::BigInt), ..clause });
        }
        "BOOL" | "BOOLEAN" => DataType::Plain(ColumnType::TinyInt),
        "FLOAT" | "FLOAT4" | "FLOAT8" | "DOUBLE" | "REAL" => DataType::Plain(approximate(&word, at, dialect)?),
        "DECIMAL" | "DEC" | "NUMERIC" | "FIXED" => {
            let (precision, scale) = match sizes(at)?[..] {
                [] => (10, 0),
                [precision] => (precision, 0),
                [precision, scale, ..] => (precision, scale),
            };
            let precision = if precision == 0 { 10 } else { precision };
            DataType::Plain(ColumnType::Decimal { precision: small(precision, at)?, scale: small(scale, at)? })
        }
        "BIT" => DataType::Plain(ColumnType::Bit { bits: small(sizes(at)?.first().copied().unwrap_or(1), at)? }),
        "TIME" => DataType::Plain(ColumnType::Time { fsp: fraction(at)? }),
        "DATETIME" => DataType::Plain(ColumnType::DateTime { fsp: fraction(at)? }),
        "TIMESTAMP" => DataType::Plain(ColumnType::Timestamp { fsp: fraction(at)? }),
        "VECTOR" if !dialect.mariadb => {
            sizes(at)?;
            DataType::Plain(ColumnType::Vector)
        }
        "JSON" if dialect.mariadb => {
            // A collation, and not the word BINARY, which a column would take along where CONVERT TO changes it.
            clause.text.collation = Some("utf8mb4_bin".to_owned());
            DataType::Text(4)
        }
        "JSON" => DataType::Plain(ColumnType::Json),
        "ENUM" => DataType::Enum(members(at)?),
        "SET" => DataType::Set(members(at)?),
        word => match plain(word) {
            Some(kind) => {
                sizes(at)?;
                DataType::Plain(kind)
            }
            None => text(word, at, &mut clause.text)?.ok_or_else(|| start.unread("a data type"))?,
        },
    };
    attributes(at, &mut clause)?;
    Ok(clause)
}

/// Types whose width in parentheses means nothing for their values.
fn plain(word: &str) -> Option<ColumnType> {
    Some(match word {
        "TINYINT" | "INT1" => ColumnType::TinyInt,
        "SMALLINT" | "INT2" => ColumnType::SmallInt,
        "MEDIUMINT" | "INT3" | "MIDDLEINT" => ColumnType::MediumInt,
        "INT" | "INTEGER" | "INT4" => ColumnType::Int,
        "BIGINT" | "INT8" => ColumnType::BigInt,
        "YEAR" => ColumnType::Year,
        "DATE" => ColumnType::Date,
        "GEOMETRY" | "POINT" | "LINESTRING" | "POLYGON" | "MULTIPOINT" | "MULTILINESTRING" | "MULTIPOLYGON"
        | "GEOMETRYCOLLECTION" | "GEOMCOLLECTION" => ColumnType::Geometry,
        _ => return None,
    })
}

/// FLOAT and its relations: FLOAT(p) above 24 bits is DOUBLE.
fn approximate(word: &str, at: &mut Cursor<'_>, dialect: &Dialect) -> Result<ColumnType, Unread> {
    if word == "DOUBLE" {
        at.accept("PRECISION");
    }
    let sizes = sizes(at)?;
    let single = match word {
        "FLOAT" => !matches!(sizes[..], [bits] if bits > 24),
        "FLOAT4" => true,
        "REAL" => dialect.real_as_float,
        _ => false,
    };
    Ok(if single { ColumnType::Float } else { ColumnType::Double })
}

/// Character and byte types; a binary one has the charset `binary`.
fn text(word: &str, at: &mut Cursor<'_>, clause: &mut TextClause) -> Result<Option<DataType>, Unread> {
    let binary = TextClause::charset("binary");
    let national = TextClause::charset("utf8mb3");
    let mut word = word;
    if word == "NATIONAL" {
        word = match () {
            () if at.accept_any(&["VARCHAR", "VARCHARACTER"]) => "NVARCHAR",
            () if at.accept_any(&["CHAR", "CHARACTER"]) => "NCHAR",
            () => return Err(at.unread("`CHAR` or `VARCHAR`")),
        };
    }
    let varying =
        matches!(word, "CHAR" | "CHARACTER" | "NCHAR") && at.accept_any(&["VARYING", "VARCHAR", "VARCHARACTER"]);
    if matches!(word, "NCHAR" | "NVARCHAR") {
        *clause = national;
        at.accept("VARYING");
    }
    Ok(Some(match word {
        "CHAR" | "CHARACTER" | "NCHAR" if varying => DataType::VarChar(length(at, None)?),
        "CHAR" | "CHARACTER" | "NCHAR" => DataType::Char(length(at, Some(1))?),
        "VARCHAR" | "VARCHARACTER" | "NVARCHAR" => DataType::VarChar(length(at, None)?),
        "BINARY" => {
            *clause = binary;
            DataType::Char(length(at, Some(1))?)
        }
        "VARBINARY" => {
            *clause = binary;
            DataType::VarChar(length(at, None)?)
        }
        "TINYTEXT" => DataType::Text(1),
        "MEDIUMTEXT" => DataType::Text(3),
        "LONGTEXT" => DataType::Text(4),
        "TEXT" | "BLOB" => {
            if word == "BLOB" {
                *clause = binary;
            }
            sizes(at)?.first().map_or(DataType::Text(2), |&size| match size {
                0 => DataType::Text(2),
                size => DataType::TextOf(size),
            })
        }
        "TINYBLOB" | "MEDIUMBLOB" | "LONGBLOB" => {
            *clause = binary;
            DataType::Text(match word {
                "TINYBLOB" => 1,
                "MEDIUMBLOB" => 3,
                _ => 4,
            })
        }
        "LONG" => {
            if at.accept("VARBINARY") {
                *clause = binary;
            } else if at.accept_any(&["CHAR", "CHARACTER"]) {
                at.accept("VARYING");
            } else {
                at.accept_any(&["VARCHAR", "VARCHARACTER"]);
            }
            DataType::Text(3)
        }
        _ => return Ok(None),
    }))
}

/// UNSIGNED and the charset, in any order.
fn attributes(at: &mut Cursor<'_>, clause: &mut TypeClause) -> Result<(), Unread> {
    loop {
        match () {
            () if at.accept_any(&["UNSIGNED", "ZEROFILL"]) => clause.unsigned = true,
            () if at.accept("SIGNED") => {}
            () if at.accept("BYTE") => clause.text.charset = Some("binary".to_owned()),
            () if at.accept("ASCII") => clause.text.charset = Some("latin1".to_owned()),
            () if at.accept("UNICODE") => clause.text.charset = Some("ucs2".to_owned()),
            () if at.accept("BINARY") => clause.text.binary = true,
            () if charset_word(at) => clause.text.charset = Some(at.name_or_text()?),
            () => return Ok(()),
        }
    }
}

/// Takes `CHARACTER SET` or one of its synonyms.
pub fn charset_word(at: &mut Cursor<'_>) -> bool {
    at.accept("CHARSET") || at.accept_all(&["CHARACTER", "SET"]) || at.accept_all(&["CHAR", "SET"])
}

/// `(a)` or `(a, b)`; nothing without parentheses.
fn sizes(at: &mut Cursor<'_>) -> Result<Vec<u64>, Unread> {
    let Some(mut inner) = at.parentheses()? else { return Ok(Vec::new()) };
    let mut sizes = Vec::new();
    while !inner.is_empty() {
        // POINT(…) and its like take no sizes; VECTOR takes one.
        sizes.push(inner.number()?);
        if !inner.sign(',') && !inner.is_empty() {
            return Err(inner.unread("`)`"));
        }
    }
    Ok(sizes)
}

fn length(at: &mut Cursor<'_>, default: Option<u32>) -> Result<u32, Unread> {
    let start = *at;
    match (sizes(at)?.first(), default) {
        (Some(&size), _) => u32::try_from(size).map_err(|_| start.unread("a length")),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(at.unread("a length in parentheses")),
    }
}

fn fraction(at: &mut Cursor<'_>) -> Result<u8, Unread> {
    let start = *at;
    match sizes(at)?.first().copied().unwrap_or(0) {
        digits @ 0..=6 => Ok(digits as u8),
        // TIMESTAMP(14) of MySQL 4: how many digits were shown.
        _ => Err(start.unread("0 to 6 fractional digits")),
    }
}

fn small(number: u64, at: &Cursor<'_>) -> Result<u8, Unread> {
    u8::try_from(number).map_err(|_| at.unread("a smaller number before this"))
}

/// Members of ENUM or SET. The server cuts the spaces at their ends.
fn members(at: &mut Cursor<'_>) -> Result<Vec<String>, Unread> {
    let start = *at;
    let Some(mut inner) = at.parentheses()? else { return Err(start.unread("members in parentheses")) };
    let mut members = Vec::new();
    while !inner.is_empty() {
        let introducer = match inner.peek() {
            Some(Token::Word(word)) if word.starts_with('_') => {
                inner.take();
                Some(word[1..].to_owned())
            }
            _ => None,
        };
        let member = match inner.take() {
            Some(Token::Text(text)) => text.clone(),
            Some(Token::Bytes(bytes)) => decoded(bytes, introducer.as_deref())
                .ok_or_else(|| Unread("a member in bytes that are not text in its charset".to_owned()))?,
            _ => return Err(start.unread("members as strings")),
        };
        if member.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Unread("a member is not text in the statement's charset".to_owned()));
        }
        members.push(member);
        if !inner.sign(',') && !inner.is_empty() {
            return Err(inner.unread("`,` between members"));
        }
    }
    Ok(members)
}

fn decoded(bytes: &[u8], charset: Option<&str>) -> Option<String> {
    use crate::schema::charset::{Charset, names};
    let collation = names::default_collation(charset.unwrap_or("utf8mb4"), false)?;
    Charset::of(collation)?.decode(bytes)
}
