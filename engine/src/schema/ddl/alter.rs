//! ALTER TABLE: what its clauses do to columns, the primary key, the default charset and the name.
//!
//! Must not carry them out: the server does them all at once, and [`super::super::catalog`] as the server does.

use super::column::{ColumnSpec, Place, column, place};
use super::create::{key_clause, options};
use super::cursor::Cursor;
use super::data_type::{TextClause, charset_word};
use super::{Dialect, TableName, Unread, if_exists};

/// ALTER TABLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alter {
    /// The table.
    pub table: TableName,
    /// What happens to its columns and its primary key, in the order written.
    pub steps: Vec<Step>,
    /// Its default charset from now on, as far as it is named.
    pub text: TextClause,
    /// CONVERT TO: what all texts take. It is in `text` too, unless a clause says another default: a later one, on
    /// MariaDB any.
    pub convert: Option<TextClause>,
    /// Its new name.
    pub rename: Option<TableName>,
    /// Rows come or go with a partition, without rows events.
    pub moves_rows: bool,
}

/// One clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// ADD COLUMN.
    Add {
        /// The column.
        spec: ColumnSpec,
        /// Where.
        place: Place,
        /// Without effect if it is there.
        if_not_exists: bool,
    },
    /// MODIFY or CHANGE COLUMN.
    Change {
        /// Its name until now.
        old: String,
        /// The column.
        spec: ColumnSpec,
        /// Where.
        place: Place,
        /// Without effect if it is not there.
        if_exists: bool,
    },
    /// RENAME COLUMN.
    Rename {
        /// Its name until now.
        old: String,
        /// Its name from now on.
        new: String,
        /// Without effect if it is not there.
        if_exists: bool,
    },
    /// DROP COLUMN.
    Drop {
        /// Its name.
        name: String,
        /// Without effect if it is not there.
        if_exists: bool,
    },
    /// ADD PRIMARY KEY.
    AddPrimaryKey(Vec<String>),
    /// DROP PRIMARY KEY.
    DropPrimaryKey,
}

impl Alter {
    /// With these steps and nothing else.
    pub fn of(table: TableName, steps: Vec<Step>) -> Self {
        Self { table, steps, text: TextClause::default(), convert: None, rename: None, moves_rows: false }
    }
}

/// Clauses without effect on columns; options of the table among them.
const OTHER: &[&str] = &[
    "ALGORITHM",
    "ANALYZE",
    "AUTOEXTEND_SIZE",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHECK",
    "CHECKSUM",
    "COALESCE",
    "COMMENT",
    "COMPRESSION",
    "CONNECTION",
    "DATA",
    "DEFAULT",
    "DELAY_KEY_WRITE",
    "DISABLE",
    "ENABLE",
    "ENCRYPTED",
    "ENCRYPTION",
    "ENCRYPTION_KEY_ID",
    "ENGINE",
    "ENGINE_ATTRIBUTE",
    "FORCE",
    "IETF_QUOTES",
    "INDEX",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "LOCK",
    "MAX_ROWS",
    "MIN_ROWS",
    "NOWAIT",
    "OPTIMIZE",
    "ORDER",
    "PACK_KEYS",
    "PAGE_CHECKSUM",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "PASSWORD",
    "REBUILD",
    "REMOVE",
    "REORGANIZE",
    "REPAIR",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "SECONDARY_LOAD",
    "SECONDARY_UNLOAD",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "STORAGE",
    "TABLESPACE",
    "TABLE_CHECKSUM",
    "TRANSACTIONAL",
    "TYPE",
    "UNION",
    "UPGRADE",
    "WAIT",
    "WITH",
    "WITHOUT",
];

/// Reads what follows ALTER TABLE.
pub fn alter(at: &mut Cursor<'_>, dialect: &Dialect) -> Result<Alter, Unread> {
    if_exists(at);
    let mut alter = Alter::of(at.table()?, Vec::new());
    if at.accept("WAIT") {
        at.number()?;
    }
    at.accept("NOWAIT");
    while !at.is_empty() {
        let mut clause = at.clause();
        if !read(&mut alter, &mut clause, dialect)? {
            // What follows are columns to order by, or partitions.
            break;
        }
        if !at.sign(',') {
            break;
        }
    }
    Ok(alter)
}

/// Reads a clause; `false` if the rest of the statement belongs to it.
fn read(alter: &mut Alter, at: &mut Cursor<'_>, dialect: &Dialect) -> Result<bool, Unread> {
    let start = *at;
    match () {
        () if at.accept("ADD") => return add(alter, at, dialect),
        () if at.accept("DROP") => return remove(alter, at),
        () if at.accept("CHANGE") => {
            at.accept("COLUMN");
            let if_exists = if_exists(at);
            let old = at.column()?;
            let name = at.name()?;
            change(alter, old, name, if_exists, at, dialect)?;
        }
        () if at.accept("MODIFY") => {
            at.accept("COLUMN");
            let if_exists = if_exists(at);
            let name = at.column()?;
            change(alter, name.clone(), name, if_exists, at, dialect)?;
        }
        () if at.accept("RENAME") => rename(alter, at)?,
        () if at.accept_all(&["CONVERT", "TO"]) => {
            if !charset_word(at) {
                return Err(at.unread("`CHARACTER SET`"));
            }
            let name = at.name_or_text()?;
            let charset = (!name.eq_ignore_ascii_case("DEFAULT")).then_some(name);
            let collation = at.accept("COLLATE").then(|| at.name_or_text()).transpose()?;
            let text = TextClause { charset, collation, binary: false };
            if alter.text.is_empty() || !dialect.mariadb {
                alter.text = text.clone();
            }
            alter.convert = Some(text);
        }
        // Defaults and visibility: of columns, indexes and constraints.
        () if at.accept("ALTER") => {}
        () if at.is_any(&["EXCHANGE", "TRUNCATE", "CONVERT", "DISCARD", "IMPORT"]) => {
            alter.moves_rows = true;
            return Ok(false);
        }
        () if at.accept_all(&["PARTITION", "BY"]) => return Ok(false),
        () if at.is_any(OTHER) || at.is_any(&["CHARSET", "CHARACTER", "CHAR", "COLLATE"]) => {
            let text = options(at, dialect)?;
            if !text.is_empty() {
                alter.text = text;
            }
            return Ok(!start.is_any(&["ORDER", "REORGANIZE", "REBUILD", "OPTIMIZE", "ANALYZE", "CHECK", "REPAIR"]));
        }
        () => return Err(at.unread("a clause of ALTER TABLE")),
    }
    Ok(true)
}

fn add(alter: &mut Alter, at: &mut Cursor<'_>, dialect: &Dialect) -> Result<bool, Unread> {
    if at.is("PARTITION") {
        return Ok(false);
    }
    if at.accept_all(&["SYSTEM", "VERSIONING"]) {
        return Err(Unread("system versioning adds columns that the statement does not name".to_owned()));
    }
    let named = at.accept("COLUMN");
    if !named && let Some(key) = key_clause(at)? {
        if let Some(columns) = key {
            alter.steps.push(Step::AddPrimaryKey(columns));
        }
        return Ok(true);
    }
    let if_not_exists = if_exists(at);
    if let Some(mut inner) = at.parentheses()? {
        loop {
            let mut clause = inner.clause();
            match key_clause(&mut clause)? {
                Some(Some(columns)) => alter.steps.push(Step::AddPrimaryKey(columns)),
                Some(None) => {}
                None => {
                    let name = clause.name()?;
                    let spec = column(name, &mut clause, dialect)?;
                    alter.steps.push(Step::Add { spec, place: place(&mut clause)?, if_not_exists });
                }
            }
            if !inner.sign(',') {
                return Ok(true);
            }
        }
    }
    let name = at.column()?;
    let spec = column(name, at, dialect)?;
    alter.steps.push(Step::Add { spec, place: place(at)?, if_not_exists });
    end(at)
}

fn change(
    alter: &mut Alter,
    old: String,
    name: String,
    if_exists: bool,
    at: &mut Cursor<'_>,
    dialect: &Dialect,
) -> Result<(), Unread> {
    let spec = column(name, at, dialect)?;
    alter.steps.push(Step::Change { old, spec, place: place(at)?, if_exists });
    end(at).map(|_| ())
}

fn end(at: &Cursor<'_>) -> Result<bool, Unread> {
    if at.is_empty() { Ok(true) } else { Err(at.unread("the end of the clause")) }
}

fn remove(alter: &mut Alter, at: &mut Cursor<'_>) -> Result<bool, Unread> {
    match () {
        () if at.accept_all(&["PRIMARY", "KEY"]) => alter.steps.push(Step::DropPrimaryKey),
        () if at.is("PARTITION") => {
            alter.moves_rows = true;
            return Ok(false);
        }
        () if at.accept_any(&["INDEX", "KEY", "CONSTRAINT"]) => {
            if_exists(at);
            if at.name()?.eq_ignore_ascii_case("PRIMARY") {
                alter.steps.push(Step::DropPrimaryKey);
            }
        }
        () if at.accept_all(&["FOREIGN", "KEY"]) || at.accept("CHECK") => {}
        () if at.accept_all(&["SYSTEM", "VERSIONING"]) || at.accept_all(&["PERIOD", "FOR"]) => {
            return Err(Unread("the end of system versioning removes columns that are not named".to_owned()));
        }
        () => {
            at.accept("COLUMN");
            let if_exists = if_exists(at);
            let name = at.column()?;
            at.accept_any(&["RESTRICT", "CASCADE"]);
            alter.steps.push(Step::Drop { name, if_exists });
            return end(at);
        }
    }
    Ok(true)
}

fn rename(alter: &mut Alter, at: &mut Cursor<'_>) -> Result<(), Unread> {
    if at.accept("COLUMN") {
        let if_exists = if_exists(at);
        let old = at.column()?;
        if !at.accept("TO") {
            return Err(at.unread("`TO`"));
        }
        alter.steps.push(Step::Rename { old, new: at.name()?, if_exists });
        return Ok(());
    }
    if at.accept_any(&["INDEX", "KEY"]) {
        return Ok(());
    }
    if !at.accept_any(&["TO", "AS"]) {
        at.sign('=');
    }
    alter.rename = Some(at.table()?);
    Ok(())
}
