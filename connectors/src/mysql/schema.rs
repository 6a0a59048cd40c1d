//! Table definitions from information_schema, bounded by positions before and after.
//!
//! information_schema shows only tables the user has a privilege on: a user without SELECT sees none. A column of a
//! type that the engine has no name for leaves its table out, with a warning, and so does an ENUM or SET whose members
//! the server does not tell; the engine then holds the table's rows, by a named cause.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use towpath_engine::ports::source::{Flavor, SchemaSnapshot, SourceError};
use towpath_engine::position::Position;
use towpath_engine::schema::{Column, ColumnType, TableSchema};

use super::MySqlSource;
use super::identify::{self, number, text};
use super::values::BINARY;

const TABLES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_COLLATION FROM \
    information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' \
    AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY 1, 2";

const COLUMNS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, \
    CHARACTER_OCTET_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, COLLATION_NAME \
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN (?) ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION";

const KEYS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS \
    WHERE INDEX_NAME = 'PRIMARY' AND TABLE_SCHEMA IN (?) ORDER BY TABLE_SCHEMA, TABLE_NAME, SEQ_IN_INDEX";

const COLLATIONS: &str = "SELECT COLLATION_NAME, ID FROM information_schema.COLLATIONS WHERE ID IS NOT NULL";

/// MariaDB from 10.10 on: one collation serves several character sets, and has an id with each.
const MARIADB_COLLATIONS: &str = "SELECT FULL_COLLATION_NAME, ID FROM \
    information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL";

const DATABASES: &str = "SELECT SCHEMA_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA";

type Name = (String, String);

/// Reads the definitions of the tables that `accept` takes.
pub(super) async fn read(
    source: &MySqlSource,
    conn: &mut Conn,
    accept: &(dyn for<'a> Fn(&'a str, &'a str) -> bool + Send + Sync),
) -> Result<SchemaSnapshot, SourceError> {
    let flavor = identify::flavor(source, conn).await?;
    let by_gtid = flavor == Flavor::MariaDb || by_gtid(source, conn).await?;
    if flavor == Flavor::MySql && conn.server_version() >= (8, 0, 30) {
        // Generated invisible primary keys are in every row; a setting can hide them here.
        source.execute(conn, "SET SESSION show_gipk_in_create_table_and_information_schema = ON").await?;
    }
    let before = position(source, conn, flavor, by_gtid).await?;
    let names: Vec<Row> = source.with_deadline("information_schema.TABLES", conn.query(TABLES)).await?;
    let defaults: BTreeMap<Name, String> =
        names.iter().map(|row| ((text(row, 0), text(row, 1)), text(row, 2))).collect();
    let mut tables: BTreeMap<Name, TableSchema> = defaults
        .keys()
        .filter(|(database, table)| accept(database, table))
        .cloned()
        .map(|name| {
            let (database, table) = name.clone();
            (name, TableSchema { database, table, columns: Vec::new(), primary_key: Vec::new() })
        })
        .collect();
    let collations = collations(source, conn, flavor).await?;
    let rows: Vec<Row> = source.with_deadline("information_schema.SCHEMATA", conn.query(DATABASES)).await?;
    let databases = rows.iter().filter_map(|row| Some((text(row, 0), *collations.get(&text(row, 1))?))).collect();
    let fold: Option<u8> = source
        .with_deadline("lower_case_table_names", conn.query_first("SELECT @@GLOBAL.lower_case_table_names"))
        .await?;
    if !tables.is_empty() {
        read_columns(source, conn, &collations, &mut tables).await?;
    }
    // None may be left of which all columns can be captured.
    if !tables.is_empty() {
        read_keys(source, conn, &mut tables).await?;
    }
    let after = position(source, conn, flavor, by_gtid).await?;
    let end = identify::end(source, conn, flavor).await?;
    let collations = tables.keys().map(|name| collations.get(defaults.get(name)?).copied()).collect();
    let tables = tables.into_values().collect();
    Ok(SchemaSnapshot { before, after, end, tables, collations, databases, fold_names: fold == Some(1) })
}

/// Whether a MySQL server's `gtid_mode` is ON.
pub(super) async fn by_gtid(source: &MySqlSource, conn: &mut Conn) -> Result<bool, SourceError> {
    let mode: Option<String> =
        source.with_deadline("@@gtid_mode", conn.query_first("SELECT @@GLOBAL.gtid_mode")).await?;
    Ok(mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ON")))
}

async fn position(
    source: &MySqlSource,
    conn: &mut Conn,
    flavor: Flavor,
    by_gtid: bool,
) -> Result<Position, SourceError> {
    if !by_gtid {
        return Ok(Position::File(identify::end(source, conn, flavor).await?));
    }
    let (executed, _, mariadb) = identify::positions(source, conn, flavor).await?;
    Ok(match flavor {
        Flavor::MySql => Position::Gtid(executed),
        Flavor::MariaDb => Position::MariaDb(mariadb),
    })
}

/// Collation ids by name.
async fn collations(
    source: &MySqlSource,
    conn: &mut Conn,
    flavor: Flavor,
) -> Result<BTreeMap<String, u16>, SourceError> {
    let mut ids = BTreeMap::new();
    let rows: Vec<Row> = source.with_deadline("information_schema.COLLATIONS", conn.query(COLLATIONS)).await?;
    ids.extend(rows.iter().map(|row| (text(row, 0), number(row, 1) as u16)));
    // Before 10.10 those columns do not exist, and the first list is complete.
    if flavor == Flavor::MariaDb {
        if let Ok(Ok(rows)) =
            tokio::time::timeout(source.config.query_timeout, conn.query::<Row, _>(MARIADB_COLLATIONS)).await
        {
            ids.extend(rows.iter().map(|row| (text(row, 0), number(row, 1) as u16)));
        }
    }
    Ok(ids)
}

/// The statement for the databases of these tables, their names quoted.
fn for_databases(statement: &str, tables: &BTreeMap<Name, TableSchema>) -> String {
    let mut databases: Vec<&str> = tables.keys().map(|(database, _)| database.as_str()).collect();
    databases.dedup();
    // Hexadecimal needs no escaping under any SQL mode.
    let list = databases.iter().map(|name| {
        let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("CONVERT(0x{hex} USING utf8)")
    });
    statement.replace('?', &list.collect::<Vec<_>>().join(", "))
}

async fn read_columns(
    source: &MySqlSource,
    conn: &mut Conn,
    collations: &BTreeMap<String, u16>,
    tables: &mut BTreeMap<Name, TableSchema>,
) -> Result<(), SourceError> {
    let statement = for_databases(COLUMNS, tables);
    let rows: Vec<Row> = source.with_deadline("information_schema.COLUMNS", conn.query(statement)).await?;
    for row in &rows {
        let name = (text(row, 0), text(row, 1));
        let Some(table) = tables.get_mut(&name) else { continue };
        let definition = Definition {
            data_type: text(row, 3).to_ascii_lowercase(),
            column_type: text(row, 4),
            max_bytes: number(row, 6) as u32,
            precision: number(row, 7) as u8,
            scale: number(row, 8) as u8,
            fsp: number(row, 9) as u8,
        };
        let Some(kind) = definition.kind() else {
            tracing::warn!(
                database = name.0,
                table = name.1,
                column = text(row, 2),
                r#type = definition.column_type,
                "a column has a type that cannot be captured"
            );
            tables.remove(&name);
            continue;
        };
        let collation = text(row, 10);
        if !tells_members(&kind, &collation) {
            tracing::warn!(
                database = name.0,
                table = name.1,
                column = text(row, 2),
                r#type = definition.column_type,
                collation,
                "the server does not tell the members of this column, so that its table cannot be captured; MODIFY the \
                 column on the server, naming its members"
            );
            tables.remove(&name);
            continue;
        }
        let collation = definition.is_text(&kind).then(|| collations.get(&collation).copied().unwrap_or(BINARY));
        table.columns.push(Column {
            name: text(row, 2),
            kind,
            unsigned: definition.is_unsigned(),
            nullable: text(row, 5).eq_ignore_ascii_case("YES"),
            collation,
        });
    }
    Ok(())
}

async fn read_keys(
    source: &MySqlSource,
    conn: &mut Conn,
    tables: &mut BTreeMap<Name, TableSchema>,
) -> Result<(), SourceError> {
    let statement = for_databases(KEYS, tables);
    let rows: Vec<Row> = source.with_deadline("information_schema.STATISTICS", conn.query(statement)).await?;
    for row in &rows {
        let Some(table) = tables.get_mut(&(text(row, 0), text(row, 1))) else { continue };
        if let Some(index) = table.column_index(&text(row, 2)) {
            table.primary_key.push(index);
        }
    }
    Ok(())
}

/// Whether the members shown can be the column's own. CONVERT TO a charset without ASCII leaves members in their old
/// bytes, which both servers then read in the new charset: what is no text is shown as nothing (MySQL) or as `?`
/// (MariaDB).
fn tells_members(kind: &ColumnType, collation: &str) -> bool {
    let (ColumnType::Enum { members } | ColumnType::Set { members }) = kind else { return true };
    let wide = ["ucs2_", "utf16_", "utf16le_", "utf32_"].iter().any(|charset| collation.starts_with(charset));
    !wide || members.iter().all(|member| !member.is_empty() && !member.contains(['?', '\0']))
}

/// A column as information_schema describes it.
struct Definition {
    data_type: String,
    column_type: String,
    max_bytes: u32,
    precision: u8,
    scale: u8,
    fsp: u8,
}

impl Definition {
    fn kind(&self) -> Option<ColumnType> {
        Some(match self.data_type.as_str() {
            "tinyint" => ColumnType::TinyInt,
            "smallint" => ColumnType::SmallInt,
            "mediumint" => ColumnType::MediumInt,
            "int" | "integer" => ColumnType::Int,
            "bigint" => ColumnType::BigInt,
            "float" => ColumnType::Float,
            "double" | "real" => ColumnType::Double,
            "decimal" | "numeric" => ColumnType::Decimal { precision: self.precision, scale: self.scale },
            "bit" => ColumnType::Bit { bits: self.precision },
            "year" => ColumnType::Year,
            "date" => ColumnType::Date,
            "time" => ColumnType::Time { fsp: self.fsp },
            "datetime" => ColumnType::DateTime { fsp: self.fsp },
            "timestamp" => ColumnType::Timestamp { fsp: self.fsp },
            "char" | "binary" => ColumnType::Char { max_bytes: self.max_bytes },
            "varchar" | "varbinary" => ColumnType::VarChar { max_bytes: self.max_bytes },
            "tinytext" | "tinyblob" => ColumnType::Blob { length_bytes: 1 },
            "text" | "blob" => ColumnType::Blob { length_bytes: 2 },
            "mediumtext" | "mediumblob" => ColumnType::Blob { length_bytes: 3 },
            "longtext" | "longblob" => ColumnType::Blob { length_bytes: 4 },
            "enum" => ColumnType::Enum { members: members(&self.column_type) },
            "set" => ColumnType::Set { members: members(&self.column_type) },
            "json" => ColumnType::Json,
            "vector" => ColumnType::Vector,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => ColumnType::Geometry,
            _ => return None,
        })
    }

    /// Whether the column has a collation (63 where it is binary).
    fn is_text(&self, kind: &ColumnType) -> bool {
        use ColumnType::{Blob, Char, Enum, Set, VarChar};
        matches!(kind, Char { .. } | VarChar { .. } | Blob { .. } | Enum { .. } | Set { .. })
    }

    fn is_unsigned(&self) -> bool {
        // Members of an ENUM can hold the word too.
        !matches!(self.data_type.as_str(), "enum" | "set")
            && self.column_type.split([' ', ')']).any(|word| word.eq_ignore_ascii_case("unsigned"))
    }
}

/// The members of `enum('a','b')` or `set(…)`: a quote is doubled, a few characters stand behind a backslash
/// (`append_unescaped` in the server).
fn members(column_type: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut rest = column_type.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\'' {
            continue;
        }
        let mut member = String::new();
        while let Some(c) = rest.next() {
            match c {
                '\'' if rest.peek() == Some(&'\'') => {
                    rest.next();
                    member.push('\'');
                }
                '\'' => break,
                '\\' => match rest.next() {
                    Some('0') => member.push('\0'),
                    Some('n') => member.push('\n'),
                    Some('r') => member.push('\r'),
                    Some(other) => member.push(other),
                    None => {}
                },
                other => member.push(other),
            }
        }
        members.push(member);
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(data_type: &str, column_type: &str) -> Definition {
        Definition {
            data_type: data_type.into(),
            column_type: column_type.into(),
            max_bytes: 0,
            precision: 12,
            scale: 2,
            fsp: 3,
        }
    }

    #[test]
    fn members_are_unquoted() {
        assert_eq!(members("enum('a','it''s',',','\\\\x','')"), ["a", "it's", ",", "\\x", ""]);
        assert_eq!(members("set('x','y\\nz')"), ["x", "y\nz"]);
    }

    #[test]
    fn members_that_are_not_told_are_noticed() {
        let told = |members: &[&str], collation: &str| {
            let members: Vec<String> = members.iter().map(|&member| member.to_owned()).collect();
            let both = [ColumnType::Enum { members: members.clone() }, ColumnType::Set { members }];
            both.map(|kind| tells_members(&kind, collation))
        };
        assert_eq!(told(&["", "\u{6974}\u{2773}", ""], "utf16_general_ci"), [false; 2]);
        assert_eq!(told(&["?", "\u{6974}\u{2773}"], "utf32_bin"), [false; 2]);
        assert_eq!(told(&["a", "\u{e9}"], "ucs2_bin"), [true; 2]);
        assert_eq!(told(&["", "?"], "latin1_swedish_ci"), [true; 2]);
        assert!(tells_members(&ColumnType::Int, ""));
    }

    #[test]
    fn unsigned_is_a_word_of_the_type_only() {
        assert!(definition("bigint", "bigint(20) unsigned zerofill").is_unsigned());
        assert!(definition("decimal", "decimal(12,2) unsigned").is_unsigned());
        assert!(!definition("bigint", "bigint").is_unsigned());
        assert!(!definition("enum", "enum('signed','an unsigned one')").is_unsigned());
    }

    #[test]
    fn types_get_their_numbers() {
        let decimal = definition("decimal", "decimal(12,2)").kind();
        assert_eq!(decimal, Some(ColumnType::Decimal { precision: 12, scale: 2 }));
        assert_eq!(definition("datetime", "datetime(3)").kind(), Some(ColumnType::DateTime { fsp: 3 }));
        assert_eq!(definition("inet6", "inet6").kind(), None);
    }
}
