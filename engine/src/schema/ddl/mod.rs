//! Statements that define tables, as MySQL and MariaDB log them: what they say about columns, keys and names.
//!
//! Reads whatever decides how rows look and which table is meant, passes over the rest, and refuses what it does not
//! know: a statement that was misread would give wrong names to right values. Must not know any table: see
//! [`super::catalog`].

mod alter;
mod column;
mod create;
mod cursor;
mod data_type;
mod targets;
#[cfg(test)]
mod tests;
mod token;

pub use alter::{Alter, Step};
pub use column::{ColumnSpec, Place};
pub use create::{Create, Definition};
pub use data_type::{DataType, TextClause};
pub use targets::targets;

use self::cursor::Cursor;

/// A statement's SQL mode and the server that ran it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// MariaDB rather than MySQL.
    pub mariadb: bool,
    /// The server's version, `90700` for 9.7.0: which comments it executes.
    pub version: u32,
    /// Double quotes stand around names (`ANSI_QUOTES`).
    pub ansi_quotes: bool,
    /// A backslash is a character (`NO_BACKSLASH_ESCAPES`).
    pub no_backslash_escapes: bool,
    /// REAL is FLOAT (`REAL_AS_FLOAT`).
    pub real_as_float: bool,
    /// A TIMESTAMP may be NULL unless it is said otherwise (`explicit_defaults_for_timestamp`).
    pub nullable_timestamps: bool,
    /// `DEFAULT CHARACTER SET` where nothing says another (`collation_server`), where the statement carries it.
    pub server_collation: Option<u16>,
    /// The collation of `CHARACTER SET utf8mb4` (`default_collation_for_utf8mb4`), where the statement carries it.
    pub utf8mb4_collation: Option<u16>,
}

/// Bits of `sql_mode` (`MODE_…` in the servers' sources).
mod mode {
    pub const REAL_AS_FLOAT: u64 = 0x1;
    pub const ANSI_QUOTES: u64 = 0x4;
    pub const NO_BACKSLASH_ESCAPES: u64 = 0x10_0000;
}

impl Dialect {
    /// MySQL of this version with no particular mode.
    pub fn mysql(version: u32) -> Self {
        Self {
            mariadb: false,
            version,
            ansi_quotes: false,
            no_backslash_escapes: false,
            real_as_float: false,
            nullable_timestamps: true,
            server_collation: None,
            utf8mb4_collation: None,
        }
    }

    /// MariaDB of this version with no particular mode.
    pub fn mariadb(version: u32) -> Self {
        Self { mariadb: true, ..Self::mysql(version) }
    }

    /// With the bits of an `sql_mode`.
    pub fn with_mode(self, sql_mode: u64) -> Self {
        Self {
            ansi_quotes: sql_mode & mode::ANSI_QUOTES != 0,
            no_backslash_escapes: sql_mode & mode::NO_BACKSLASH_ESCAPES != 0,
            real_as_float: sql_mode & mode::REAL_AS_FLOAT != 0,
            ..self
        }
    }
}

/// A table as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The database, unless it is the session's.
    pub database: Option<String>,
    /// The table.
    pub table: String,
}

/// What a statement does to definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ddl {
    /// CREATE TABLE.
    Create(Create),
    /// ALTER TABLE, DROP INDEX of a primary key.
    Alter(Alter),
    /// RENAME TABLE: pairs, one after the other.
    Rename(Vec<(TableName, TableName)>),
    /// DROP TABLE.
    Drop(Vec<TableName>),
    /// CREATE or ALTER DATABASE; without a name the session's.
    Database {
        /// Its name.
        name: Option<String>,
        /// CREATE, as opposed to ALTER.
        create: bool,
        /// Its default charset, as far as it is named.
        text: TextClause,
    },
    /// DROP DATABASE.
    DropDatabase(String),
}

/// Why a statement cannot be read: what was expected and what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unread(pub String);

/// Reads a statement. `None`: it changes no definition.
pub fn parse(sql: &str, dialect: &Dialect) -> Result<Option<Ddl>, Unread> {
    let tokens = token::tokens(sql, dialect);
    let mut at = Cursor::new(&tokens);
    // MariaDB: SET STATEMENT variable = value, … FOR statement.
    if at.accept_all(&["SET", "STATEMENT"]) {
        while !at.is_empty() && !at.accept("FOR") {
            at.take();
        }
    }
    let ddl = match () {
        () if at.accept("CREATE") => create::create(&mut at, dialect)?,
        () if at.accept("ALTER") => {
            at.accept_any(&["ONLINE", "OFFLINE"]);
            at.accept("IGNORE");
            match () {
                () if at.accept("TABLE") => Some(Ddl::Alter(alter::alter(&mut at, dialect)?)),
                () if at.accept_any(&["DATABASE", "SCHEMA"]) => Some(create::database(&mut at, false)?),
                () => None,
            }
        }
        () if at.accept("RENAME") => at.accept_any(&["TABLE", "TABLES"]).then(|| rename(&mut at)).transpose()?,
        () if at.accept("DROP") => drop_something(&mut at)?,
        () => None,
    };
    Ok(ddl)
}

fn drop_something(at: &mut Cursor<'_>) -> Result<Option<Ddl>, Unread> {
    if at.accept_any(&["DATABASE", "SCHEMA"]) {
        if_exists(at);
        return Ok(Some(Ddl::DropDatabase(at.name()?)));
    }
    if at.accept("INDEX") {
        if_exists(at);
        let index = at.name()?;
        if !at.accept("ON") {
            return Err(at.unread("`ON`"));
        }
        let table = at.table()?;
        let primary = index.eq_ignore_ascii_case("PRIMARY");
        return Ok(primary.then(|| Ddl::Alter(Alter::of(table, vec![Step::DropPrimaryKey]))));
    }
    // A temporary table hides none of those that are followed.
    if !at.accept_any(&["TABLE", "TABLES"]) {
        return Ok(None);
    }
    if_exists(at);
    let mut tables = vec![at.table()?];
    while at.sign(',') {
        tables.push(at.table()?);
    }
    Ok(Some(Ddl::Drop(tables)))
}

fn rename(at: &mut Cursor<'_>) -> Result<Ddl, Unread> {
    if_exists(at);
    let mut pairs = Vec::new();
    loop {
        let from = at.table()?;
        // MariaDB: how long to wait for locks.
        if at.accept("WAIT") {
            at.number()?;
        }
        at.accept("NOWAIT");
        if !at.accept("TO") {
            return Err(at.unread("`TO`"));
        }
        pairs.push((from, at.table()?));
        if !at.sign(',') {
            return Ok(Ddl::Rename(pairs));
        }
    }
}

/// Takes `IF EXISTS` or `IF NOT EXISTS`.
fn if_exists(at: &mut Cursor<'_>) -> bool {
    at.accept_all(&["IF", "EXISTS"]) || at.accept_all(&["IF", "NOT", "EXISTS"])
}
