//! From a column's clauses to the column: sizes in bytes and the collation, by the defaults of table and database.
//!
//! Must not guess a charset: where none is known, the statement is not understood.

use crate::schema::charset::{BINARY, max_char_bytes, names};
use crate::schema::ddl::{ColumnSpec, DataType, Dialect, TextClause};
use crate::schema::{Column, ColumnType};

/// A VARCHAR of more bytes becomes a TEXT, where the SQL mode is not strict.
const MAX_VARCHAR: u64 = 65_535;

/// The collation that a clause names, or the default.
pub fn collation(clause: &TextClause, default: Option<u16>, dialect: &Dialect) -> Result<Option<u16>, String> {
    let unknown = |what: &str, name: &str| format!("the {what} {name} is not known");
    let of_default = default.and_then(names::charset);
    if let Some(name) = &clause.collation {
        let charset = clause.charset.as_deref().or(of_default);
        let id = names::collation(name, charset, dialect.mariadb);
        return id.map(Some).ok_or_else(|| unknown("collation", name));
    }
    if let Some(name) = &clause.charset {
        let id = match (name.eq_ignore_ascii_case("utf8mb4"), dialect.utf8mb4_collation) {
            (true, Some(set)) if !clause.binary => Some(set),
            _ if clause.binary => names::default_collation(name, dialect.mariadb)
                .and_then(names::charset)
                .and_then(|charset| names::binary_collation(charset, dialect.mariadb)),
            _ => names::default_collation(name, dialect.mariadb),
        };
        return id.map(Some).ok_or_else(|| unknown("charset", name));
    }
    match (clause.binary, of_default) {
        (true, Some(charset)) => Ok(names::binary_collation(charset, dialect.mariadb)),
        (true, None) => Err("the table's default charset is not known".to_owned()),
        (false, _) => Ok(default),
    }
}

/// The column of a table with this default collation. `convert`: CONVERT TO this collation, whatever the column says.
pub fn column(
    spec: &ColumnSpec,
    default: Option<u16>,
    convert: Option<u16>,
    dialect: &Dialect,
) -> Result<Column, String> {
    let mut made = Column {
        name: spec.name.clone(),
        kind: ColumnType::Int,
        unsigned: spec.unsigned,
        nullable: spec.nullable.unwrap_or(true),
        collation: None,
    };
    if let DataType::Plain(kind) = &spec.data {
        made.kind = kind.clone();
        if matches!(kind, ColumnType::Timestamp { .. }) && !dialect.nullable_timestamps && spec.nullable.is_none() {
            made.nullable = false;
        }
        return Ok(made);
    }
    let own = collation(&spec.text, default, dialect)?
        .ok_or_else(|| format!("column `{}` has the database's default charset, which is not known", spec.name))?;
    let collation = match convert.filter(|_| own != BINARY) {
        // BINARY is an order, which the column takes along.
        Some(to) if spec.text.binary => {
            names::charset(to).and_then(|charset| names::binary_collation(charset, dialect.mariadb)).unwrap_or(to)
        }
        Some(to) => to,
        None => own,
    };
    made.collation = Some(collation);
    let bytes = |chars: u64| chars * u64::from(max_char_bytes(collation));
    made.kind = match &spec.data {
        DataType::Plain(kind) => kind.clone(),
        DataType::Char(chars) => ColumnType::Char { max_bytes: bytes(u64::from(*chars)) as u32 },
        DataType::VarChar(chars) => var_char(bytes(u64::from(*chars))),
        DataType::Text(length_bytes) => ColumnType::Blob { length_bytes: *length_bytes },
        DataType::TextOf(chars) => ColumnType::Blob { length_bytes: length_bytes(bytes(*chars)) },
        DataType::Enum(members) => ColumnType::Enum { members: kept(members, collation) },
        DataType::Set(members) => ColumnType::Set { members: kept(members, collation) },
    };
    Ok(made)
}

/// Members of an ENUM or SET as the server keeps them: without trailing spaces, but for those of bytes.
fn kept(members: &[String], collation: u16) -> Vec<String> {
    let spaces =
        |member: &String| if collation == BINARY { member.clone() } else { member.trim_end_matches(' ').to_owned() };
    members.iter().map(spaces).collect()
}

/// A column that CONVERT TO takes to another collation: it holds as many characters as before.
///
/// # Errors
/// The members of an ENUM or SET would not keep their text.
pub fn converted(column: &Column, to: u16, dialect: &Dialect) -> Result<Column, String> {
    let Some(from) = column.collation.filter(|&from| from != BINARY) else { return Ok(column.clone()) };
    let chars = |bytes: u64| bytes / u64::from(max_char_bytes(from)) * u64::from(max_char_bytes(to));
    let kind = match &column.kind {
        ColumnType::Char { max_bytes } => ColumnType::Char { max_bytes: chars(u64::from(*max_bytes)) as u32 },
        ColumnType::VarChar { max_bytes } => match var_char(chars(u64::from(*max_bytes))) {
            // MySQL divides by the old charset's longest character once more, and chooses too small a TEXT.
            ColumnType::Blob { .. } if !dialect.mariadb && dialect.version >= 80_000 => {
                let bytes = chars(u64::from(*max_bytes)) / u64::from(max_char_bytes(from));
                ColumnType::Blob { length_bytes: length_bytes(bytes) }
            }
            other => other,
        },
        ColumnType::Blob { length_bytes: bytes } => {
            ColumnType::Blob { length_bytes: length_bytes(chars((1u64 << (8 * bytes.min(&4))) - 1)) }
        }
        ColumnType::Enum { members } | ColumnType::Set { members } if !keep_text(members, from, to) => {
            return Err(format!(
                "CONVERT TO leaves the members of `{}` in their old bytes, which the server then reads in the new \
                 charset; define the column anew on the server, naming its members",
                column.name
            ));
        }
        other => other.clone(),
    };
    Ok(Column { kind, collation: Some(to), ..column.clone() })
}

/// The TEXT or BLOB without a length that CHANGE or MODIFY gives a column beside CONVERT TO, as MySQL makes it: not
/// what the clause says, but what takes as much as the old column was wide. For columns of text it divides by the old
/// charset's longest character.
///
/// # Errors
/// How wide the old column was is not known.
pub fn refitted(old: &Column, to: Option<u16>) -> Result<ColumnType, String> {
    let longest = |collation: Option<u16>| collation.map_or(1, |collation| u64::from(max_char_bytes(collation)));
    let from = longest(old.collation);
    let chars = |member: &String| member.chars().count() as u64;
    let width = match &old.kind {
        ColumnType::Char { max_bytes } | ColumnType::VarChar { max_bytes } => u64::from(*max_bytes) / from,
        ColumnType::Enum { members } => members.iter().map(chars).max().unwrap_or(0),
        ColumnType::Set { members } => members.iter().map(|member| chars(member) + 1).sum::<u64>().saturating_sub(1),
        ColumnType::Blob { length_bytes } => (1u64 << (8 * length_bytes.min(&4))) - 1,
        ColumnType::Json | ColumnType::Geometry => u64::from(u32::MAX),
        ColumnType::Vector => return Err(format!("CONVERT TO beside a change of the VECTOR `{}`", old.name)),
        ColumnType::Decimal { precision, scale } => {
            u64::from(*precision) + u64::from(*scale > 0) + u64::from(!old.unsigned)
        }
        ColumnType::Bit { bits } => u64::from(*bits),
        // At most 26 characters, which is a TINYTEXT in every charset.
        _ => 0,
    };
    Ok(ColumnType::Blob { length_bytes: length_bytes(width / from * longest(to)) })
}

/// Whether members are the same text when their bytes are read in another charset, which is what both servers do.
fn keep_text(members: &[String], from: u16, to: u16) -> bool {
    let (Some(from), Some(to)) = (names::charset(from), names::charset(to)) else { return false };
    let unicode = |name: &str| matches!(name, "utf8mb3" | "utf8mb4");
    let has_ascii = |name: &str| !matches!(name, "ucs2" | "utf16" | "utf16le" | "utf32" | "swe7");
    from == to
        || (unicode(from) && unicode(to) && members.iter().flat_map(|member| member.chars()).all(|c| c <= '\u{ffff}'))
        || (has_ascii(from) && has_ascii(to) && members.iter().all(|member| member.is_ascii()))
}

fn var_char(bytes: u64) -> ColumnType {
    if bytes > MAX_VARCHAR {
        ColumnType::Blob { length_bytes: length_bytes(bytes) }
    } else {
        ColumnType::VarChar { max_bytes: bytes as u32 }
    }
}

/// Bytes of the length of the smallest TEXT that holds so many bytes.
fn length_bytes(bytes: u64) -> u8 {
    match bytes {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => 4,
    }
}
