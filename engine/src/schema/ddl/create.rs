//! CREATE TABLE: columns, primary key and default charset; and the default charset of databases.
//!
//! A definition that is not all in the statement (`… SELECT`) is refused: row-based logs never hold one.

use super::column::{ColumnSpec, column};
use super::cursor::Cursor;
use super::data_type::{TextClause, charset_word};
use super::{Ddl, Dialect, TableName, Unread, if_exists};

/// CREATE TABLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// The table.
    pub table: TableName,
    /// Without effect if the table is there.
    pub if_not_exists: bool,
    /// In place of the table that is there (MariaDB).
    pub or_replace: bool,
    /// Its definition.
    pub definition: Definition,
}

/// What a table is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    /// Columns, primary key, default charset.
    Columns {
        /// The columns, in order.
        columns: Vec<ColumnSpec>,
        /// The primary key's columns, unless a column declares itself to be it.
        primary_key: Vec<String>,
        /// The table's default charset, as far as it is named.
        text: TextClause,
    },
    /// LIKE another table.
    Like(TableName),
}

/// Reads what follows CREATE.
pub fn create(at: &mut Cursor<'_>, dialect: &Dialect) -> Result<Option<Ddl>, Unread> {
    let or_replace = at.accept_all(&["OR", "REPLACE"]);
    if at.accept_any(&["DATABASE", "SCHEMA"]) {
        return database(at, true).map(Some);
    }
    // TEMPORARY tables are not in a log of rows; views, indexes and the rest have no rows of their own.
    if !at.accept("TABLE") {
        return Ok(None);
    }
    let if_not_exists = if_exists(at);
    let table = at.table()?;
    let made = |definition| Ok(Some(Ddl::Create(Create { table, if_not_exists, or_replace, definition })));
    if at.accept("LIKE") {
        return made(Definition::Like(at.table()?));
    }
    let Some(mut body) = at.parentheses()? else { return Err(at.unread("columns in parentheses")) };
    if body.accept("LIKE") {
        return made(Definition::Like(body.table()?));
    }
    if body.is_any(&["SELECT", "WITH", "VALUES", "TABLE"]) {
        return Err(body.unread("a column"));
    }
    let (mut columns, mut primary_key) = (Vec::new(), Vec::new());
    loop {
        let mut clause = body.clause();
        if let Some(key) = key_clause(&mut clause)? {
            primary_key = key.unwrap_or(primary_key);
        } else {
            let name = clause.name()?;
            columns.push(column(name, &mut clause, dialect)?);
            if !clause.is_empty() {
                return Err(clause.unread("the end of the column"));
            }
        }
        if !body.sign(',') {
            break;
        }
    }
    let text = options(at, dialect)?;
    made(Definition::Columns { columns, primary_key, text })
}

/// Whether the clause is a key or a constraint (or MariaDB's PERIOD) rather than a column; the primary key's columns.
pub fn key_clause(at: &mut Cursor<'_>) -> Result<Option<Option<Vec<String>>>, Unread> {
    let start = *at;
    if at.accept("CONSTRAINT") {
        let unnamed = at.is_any(&["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]);
        if !unnamed {
            at.name()?;
        }
    }
    if at.accept_all(&["PRIMARY", "KEY"]) {
        // A name and USING may stand before the columns.
        while !at.is_empty() && !at.is_sign('(') {
            at.take();
        }
        return Ok(Some(Some(key_columns(at)?)));
    }
    let other = at.is_any(&["UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK"])
        || at.accept_all(&["PERIOD", "FOR"])
        || at.accept_all(&["VECTOR", "INDEX"])
        || at.accept_all(&["VECTOR", "KEY"]);
    if !other {
        if start.is("CONSTRAINT") {
            return Err(at.unread("a constraint"));
        }
        return Ok(None);
    }
    Ok(Some(None))
}

fn key_columns(at: &mut Cursor<'_>) -> Result<Vec<String>, Unread> {
    let Some(mut inner) = at.parentheses()? else { return Err(at.unread("columns in parentheses")) };
    let mut columns = Vec::new();
    loop {
        let mut part = inner.clause();
        columns.push(part.name()?);
        if !inner.sign(',') {
            return Ok(columns);
        }
    }
}

/// The default charset among a table's options.
pub fn options(at: &mut Cursor<'_>, dialect: &Dialect) -> Result<TextClause, Unread> {
    let mut text = TextClause::default();
    while !at.is_empty() {
        match () {
            // What follows is about partitions.
            () if at.accept_all(&["PARTITION", "BY"]) => break,
            () if at.accept_all(&["START", "TRANSACTION"]) => {}
            () if at.is_any(&["SELECT", "AS", "IGNORE", "REPLACE", "VALUES"]) || at.is_sign('(') => {
                return Err(at.unread("an option of the table"));
            }
            () if dialect.mariadb && at.accept_all(&["WITH", "SYSTEM"]) => {
                return Err(Unread("system versioning adds columns that the statement does not name".to_owned()));
            }
            () if at.accept_any(&["COMMENT", "UNION"]) => {
                at.sign('=');
                if at.parentheses()?.is_none() {
                    at.take();
                }
            }
            () if charset_word(at) => {
                at.sign('=');
                let name = at.name_or_text()?;
                text.charset = (!name.eq_ignore_ascii_case("DEFAULT")).then_some(name);
            }
            () if at.accept("COLLATE") => {
                at.sign('=');
                let name = at.name_or_text()?;
                text.collation = (!name.eq_ignore_ascii_case("DEFAULT")).then_some(name);
            }
            () => {
                at.take();
            }
        }
    }
    Ok(text)
}

/// Reads what follows CREATE or ALTER DATABASE.
pub fn database(at: &mut Cursor<'_>, create: bool) -> Result<Ddl, Unread> {
    if_exists(at);
    let options_follow = at.is_any(&["DEFAULT", "COLLATE", "ENCRYPTION", "COMMENT", "UPGRADE"])
        || (at.is("READ") && at.ahead(1).is_some_and(|token| token.is("ONLY")))
        || at.is("CHARSET")
        || (at.is_any(&["CHARACTER", "CHAR"]) && at.ahead(1).is_some_and(|token| token.is("SET")));
    let name = if create || !options_follow { Some(at.name()?) } else { None };
    let mut text = TextClause::default();
    while !at.is_empty() {
        if charset_word(at) {
            at.sign('=');
            text.charset = Some(at.name_or_text()?);
        } else if at.accept("COLLATE") {
            at.sign('=');
            text.collation = Some(at.name_or_text()?);
        } else {
            at.take();
        }
    }
    Ok(Ddl::Database { name, create, text })
}
