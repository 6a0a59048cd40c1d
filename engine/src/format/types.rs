//! Column types as FlatMessage names them (`mysqlType`), and the values behind the text.
//!
//! Must not convert to documents or expressions: it says what the text means, exactly, and no more.

use std::borrow::Cow;

/// What a column's text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeKind {
    /// TINYINT to BIGINT, signed.
    Int,
    /// TINYINT to BIGINT UNSIGNED.
    UInt,
    /// FLOAT.
    Float,
    /// DOUBLE (REAL).
    Double,
    /// DECIMAL: exact, kept as text.
    Decimal,
    /// BIT: an unsigned number.
    Bit,
    /// YEAR: four digits.
    Year,
    /// DATE: `yyyy-MM-dd`, possibly `0000-00-00` or with zero parts.
    Date,
    /// TIME: `[-]HH:mm:ss[.f…]`, possibly above 24 hours.
    Time,
    /// DATETIME: no zone.
    DateTime,
    /// TIMESTAMP: UTC.
    Timestamp,
    /// CHAR, VARCHAR, TEXT and its family.
    Text,
    /// BINARY, VARBINARY, BLOB and its family: each character is one byte (ISO-8859-1).
    Bytes,
    /// ENUM, with its members.
    Enum(Vec<String>),
    /// SET, with its members; the text lists the chosen ones, separated by commas.
    Set(Vec<String>),
    /// JSON text.
    Json,
    /// GEOMETRY and its kinds: GeoJSON, well-known text or hexadecimal digits, as the pipeline is configured; with
    /// Canal's quirks each character is one byte.
    Geometry,
    /// VECTOR: an array of numbers; with Canal's quirks each character is one byte.
    Vector,
    /// No type text, or one that is not known: text.
    Unknown,
}

/// A value with its type restored.
#[derive(Debug, Clone, PartialEq)]
pub enum TypedValue<'a> {
    /// NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer (UNSIGNED columns, BIT).
    UInt(u64),
    /// A finite number of FLOAT or DOUBLE.
    Float(f64),
    /// A decimal, digits kept as they were written.
    Decimal(&'a str),
    /// Text: strings, ENUM and SET, YEAR, GEOMETRY, VECTOR.
    Text(&'a str),
    /// DATE, TIME, DATETIME or TIMESTAMP in MySQL's text.
    Temporal(&'a str),
    /// JSON text.
    Json(&'a str),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
}

/// A text that its column's type cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a value of type {kind}")]
pub struct ValueError {
    /// The text, shortened.
    pub text: String,
    /// The type, named.
    pub kind: &'static str,
}

impl TypeKind {
    /// Reads a `mysqlType` text such as `bigint(20) unsigned`, `decimal(12,2)` or `enum('a','b')`.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let end = text.find(|c: char| c == '(' || c.is_ascii_whitespace()).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => {
                let rest = rest.to_ascii_lowercase();
                if rest.contains("unsigned") || rest.contains("zerofill") { Self::UInt } else { Self::Int }
            }
            "float" => Self::Float,
            "double" | "real" => Self::Double,
            "decimal" | "numeric" | "dec" | "fixed" => Self::Decimal,
            "bit" => Self::Bit,
            "year" => Self::Year,
            "date" => Self::Date,
            "time" => Self::Time,
            "datetime" => Self::DateTime,
            "timestamp" => Self::Timestamp,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Self::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            "enum" => Self::Enum(members(rest)),
            "set" => Self::Set(members(rest)),
            "json" => Self::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => Self::Geometry,
            "vector" => Self::Vector,
            _ => Self::Unknown,
        }
    }

    /// The type's name for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::UInt => "unsigned integer",
            Self::Float => "float",
            Self::Double => "double",
            Self::Decimal => "decimal",
            Self::Bit => "bit",
            Self::Year => "year",
            Self::Date => "date",
            Self::Time => "time",
            Self::DateTime => "datetime",
            Self::Timestamp => "timestamp",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Enum(_) => "enum",
            Self::Set(_) => "set",
            Self::Json => "json",
            Self::Geometry => "geometry",
            Self::Vector => "vector",
            Self::Unknown => "unknown type",
        }
    }

    /// The value behind the text of a column of this type.
    pub fn typed<'a>(&self, text: &'a str) -> Result<TypedValue<'a>, ValueError> {
        let fail = || ValueError { text: text.chars().take(80).collect(), kind: self.name() };
        Ok(match self {
            Self::Int => TypedValue::Int(text.parse().map_err(|_| fail())?),
            Self::UInt | Self::Bit => TypedValue::UInt(text.parse().map_err(|_| fail())?),
            Self::Float | Self::Double => {
                let number: f64 = text.parse().map_err(|_| fail())?;
                if !number.is_finite() {
                    return Err(fail());
                }
                TypedValue::Float(number)
            }
            Self::Decimal if is_decimal(text) => TypedValue::Decimal(text),
            Self::Decimal => return Err(fail()),
            Self::Date | Self::Time | Self::DateTime | Self::Timestamp if is_temporal(text) => {
                TypedValue::Temporal(text)
            }
            Self::Date | Self::Time | Self::DateTime | Self::Timestamp => return Err(fail()),
            Self::Json => TypedValue::Json(text),
            Self::Bytes => TypedValue::Bytes(bytes(text).ok_or_else(fail)?),
            Self::Year | Self::Text | Self::Enum(_) | Self::Set(_) | Self::Geometry | Self::Vector | Self::Unknown => {
                TypedValue::Text(text)
            }
        })
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|&byte| byte == b'.').count() <= 1
}

fn is_temporal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b"-: .".contains(&byte))
}

/// Each character is a byte; `None` if one is above U+00FF.
fn bytes(text: &str) -> Option<Cow<'_, [u8]>> {
    if text.is_ascii() {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
}

/// The members of `('a','it''s')`.
fn members(text: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut chars = text.trim().trim_start_matches('(').chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\'' {
            continue;
        }
        let mut member = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.peek() == Some(&'\'') => {
                    chars.next();
                    member.push('\'');
                }
                '\'' => break,
                c => member.push(c),
            }
        }
        members.push(member);
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_texts_of_all_servers_are_read() {
        for (text, kind) in [
            ("bigint(20) unsigned", TypeKind::UInt),
            ("bigint unsigned", TypeKind::UInt),
            ("int(10) unsigned zerofill", TypeKind::UInt),
            ("tinyint(1)", TypeKind::Int),
            ("decimal(12,2)", TypeKind::Decimal),
            ("datetime(3)", TypeKind::DateTime),
            ("varchar(32)", TypeKind::Text),
            ("VARBINARY(16)", TypeKind::Bytes),
            ("multipolygon", TypeKind::Geometry),
            ("vector(3)", TypeKind::Vector),
            ("enum('a','it''s','b,c')", TypeKind::Enum(vec!["a".into(), "it's".into(), "b,c".into()])),
            ("double(10,2) unsigned", TypeKind::Double),
            ("", TypeKind::Unknown),
        ] {
            assert_eq!(TypeKind::parse(text), kind, "{text}");
        }
    }

    #[test]
    fn values_keep_their_meaning() {
        assert_eq!(TypeKind::UInt.typed("18446744073709551615"), Ok(TypedValue::UInt(u64::MAX)));
        assert_eq!(TypeKind::Int.typed("-9223372036854775808"), Ok(TypedValue::Int(i64::MIN)));
        assert_eq!(TypeKind::Double.typed("1.0E10"), Ok(TypedValue::Float(1e10)));
        assert_eq!(TypeKind::Decimal.typed("-0.10"), Ok(TypedValue::Decimal("-0.10")));
        assert_eq!(TypeKind::Bytes.typed("a\u{ff}"), Ok(TypedValue::Bytes(Cow::Owned(vec![b'a', 0xff]))));
        assert_eq!(TypeKind::DateTime.typed("0000-00-00 00:00:00.000").map(|_| ()), Ok(()));
    }

    #[test]
    fn a_text_that_the_type_cannot_have_is_refused() {
        for (kind, text) in [
            (TypeKind::Int, "1.5"),
            (TypeKind::Int, ""),
            (TypeKind::UInt, "-1"),
            (TypeKind::Double, "NaN"),
            (TypeKind::Decimal, "1.2.3"),
            (TypeKind::Decimal, "."),
            (TypeKind::Date, "yesterday"),
            (TypeKind::Bytes, "\u{100}"),
            (TypeKind::Bit, "x"),
        ] {
            let error = kind.typed(text).unwrap_err();
            assert_eq!(error.kind, kind.name());
        }
    }
}
