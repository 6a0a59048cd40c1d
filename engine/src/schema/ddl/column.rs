//! Column definitions: a name, a type, and attributes, of which few matter to rows.
//!
//! An attribute that is not known is refused: it could change how values are stored.

use super::cursor::Cursor;
use super::data_type::{DataType, TextClause, charset_word, data_type};
use super::token::Token;
use super::{Dialect, Unread};

/// A column as a statement defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data: DataType,
    /// Its charset, as far as it is named.
    pub text: TextClause,
    /// Declared UNSIGNED.
    pub unsigned: bool,
    /// NULL or NOT NULL, where it is said.
    pub nullable: Option<bool>,
    /// Declared PRIMARY KEY.
    pub primary: bool,
}

/// Where ALTER TABLE puts a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Place {
    /// Where it is; a new one at the end.
    #[default]
    Same,
    /// FIRST.
    First,
    /// AFTER a column.
    After(String),
}

/// Reads a definition after its name.
pub fn column(name: String, at: &mut Cursor<'_>, dialect: &Dialect) -> Result<ColumnSpec, Unread> {
    let clause = data_type(at, dialect)?;
    let mut spec = ColumnSpec {
        name,
        data: clause.data,
        text: clause.text,
        unsigned: clause.unsigned,
        nullable: clause.not_null.then_some(false),
        primary: false,
    };
    while !at.is_empty() && !at.is_any(&["FIRST", "AFTER"]) && !at.is_sign(',') {
        attribute(&mut spec, at)?;
    }
    Ok(spec)
}

/// Reads `FIRST` or `AFTER column`.
pub fn place(at: &mut Cursor<'_>) -> Result<Place, Unread> {
    Ok(match () {
        () if at.accept("FIRST") => Place::First,
        () if at.accept("AFTER") => Place::After(at.name()?),
        () => Place::Same,
    })
}

fn attribute(spec: &mut ColumnSpec, at: &mut Cursor<'_>) -> Result<(), Unread> {
    match () {
        () if at.accept_all(&["NOT", "NULL"]) => spec.nullable = Some(false),
        () if at.accept("NULL") => spec.nullable = Some(true),
        () if at.accept_all(&["PRIMARY", "KEY"]) || at.accept("PRIMARY") || at.accept("KEY") => spec.primary = true,
        () if at.accept("UNIQUE") => {
            at.accept("KEY");
        }
        () if at.accept("COLLATE") => spec.text.collation = Some(at.name_or_text()?),
        () if charset_word(at) => spec.text.charset = Some(at.name_or_text()?),
        () if at.accept_all(&["SERIAL", "DEFAULT", "VALUE"]) => spec.nullable = Some(false),
        () if at.accept("DEFAULT") => expression(at)?,
        () if at.accept_all(&["ON", "UPDATE"]) => expression(at)?,
        () if at.accept("COMMENT") => {
            at.take();
        }
        () if at.accept_all(&["GENERATED", "ALWAYS"]) || at.is("AS") => generated(at)?,
        () if at.accept("CONSTRAINT") => {
            if !at.is("CHECK") {
                at.name()?;
            }
        }
        () if at.accept("CHECK") => {
            at.parentheses()?;
        }
        () if at.accept("NOT") => {
            if !at.accept("ENFORCED") {
                return Err(at.unread("`ENFORCED`"));
            }
        }
        () if at.accept("REFERENCES") => references(at)?,
        () if at.accept_all(&["WITHOUT", "SYSTEM", "VERSIONING"])
            || at.accept_all(&["WITH", "SYSTEM", "VERSIONING"]) => {}
        () if at.accept_any(&[
            "AUTO_INCREMENT",
            "VISIBLE",
            "INVISIBLE",
            "VIRTUAL",
            "STORED",
            "PERSISTENT",
            "ENFORCED",
        ]) => {}
        () if at.accept_any(&[
            "COLUMN_FORMAT",
            "STORAGE",
            "ENGINE_ATTRIBUTE",
            "SECONDARY_ENGINE_ATTRIBUTE",
            "SRID",
            "REF_SYSTEM_ID",
        ]) =>
        {
            at.sign('=');
            at.take();
        }
        () => return Err(at.unread(&format!("an attribute of column `{}`", spec.name))),
    }
    Ok(())
}

/// Passes over a default: a literal, a function, or an expression in parentheses.
fn expression(at: &mut Cursor<'_>) -> Result<(), Unread> {
    if at.parentheses()?.is_some() {
        return Ok(());
    }
    if at.accept_all(&["NEXT", "VALUE", "FOR"]) {
        at.table()?;
        return Ok(());
    }
    while at.sign('-') || at.sign('+') || at.sign('.') {}
    match at.take() {
        Some(Token::Word(word)) => {
            if word.starts_with('_') && matches!(at.peek(), Some(Token::Text(_) | Token::Bytes(_))) {
                // A charset's introducer; the value and what is joined to it.
                while matches!(at.peek(), Some(Token::Text(_) | Token::Bytes(_))) {
                    at.take();
                }
            }
            at.parentheses()?;
        }
        Some(Token::Text(_)) => {
            while matches!(at.peek(), Some(Token::Text(_))) {
                at.take();
            }
        }
        Some(Token::Quoted(_)) => {
            at.parentheses()?;
        }
        Some(Token::Number(_) | Token::Bytes(_)) => {}
        _ => return Err(at.unread("a default value before this")),
    }
    Ok(())
}

/// `AS (expression)`, or MariaDB's `AS ROW START|END`.
fn generated(at: &mut Cursor<'_>) -> Result<(), Unread> {
    if !at.accept("AS") {
        return Err(at.unread("`AS`"));
    }
    if at.accept("ROW") {
        at.take();
    } else if at.parentheses()?.is_none() {
        return Err(at.unread("an expression in parentheses"));
    }
    Ok(())
}

/// `REFERENCES table (columns) [MATCH …] [ON DELETE|UPDATE …]`: no effect on columns.
fn references(at: &mut Cursor<'_>) -> Result<(), Unread> {
    at.table()?;
    at.parentheses()?;
    loop {
        match () {
            () if at.accept("MATCH") => {
                at.take();
            }
            () if at.accept_all(&["ON", "DELETE"]) || at.accept_all(&["ON", "UPDATE"]) => {
                if !(at.accept_all(&["SET", "NULL"])
                    || at.accept_all(&["SET", "DEFAULT"])
                    || at.accept_all(&["NO", "ACTION"]))
                {
                    at.take();
                }
            }
            () => return Ok(()),
        }
    }
}
