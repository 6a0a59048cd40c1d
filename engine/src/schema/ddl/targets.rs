//! Which tables a statement is about, told without understanding the rest of it.
//!
//! Names the table that a statement creates or alters and the names it gives, never what it only mentions: a statement
//! that cannot be read must not concern tables that it does not change.

use super::cursor::Cursor;
use super::token::tokens;
use super::{Dialect, TableName, if_exists};

/// The tables whose definition the statement may change; empty if it is not about tables.
pub fn targets(sql: &str, dialect: &Dialect) -> Vec<TableName> {
    let tokens = tokens(sql, dialect);
    let mut at = Cursor::new(&tokens);
    let (create, alter) = (at.is("CREATE"), at.is("ALTER"));
    if !at.accept_any(&["CREATE", "ALTER", "DROP", "RENAME"]) {
        return Vec::new();
    }
    while at.accept_any(&["OR", "REPLACE", "ONLINE", "OFFLINE", "IGNORE"]) {}
    if !at.accept_any(&["TABLE", "TABLES", "SEQUENCE"]) {
        return Vec::new();
    }
    if_exists(&mut at);
    let mut found = Vec::new();
    found.extend(at.table().ok());
    if create {
        return found;
    }
    // ALTER: names that RENAME gives. RENAME and DROP: every further name of the list.
    while !at.is_empty() {
        let mut clause = at.clause();
        if alter {
            let column_or_index = ["COLUMN", "INDEX", "KEY"];
            if clause.accept("RENAME") && !clause.is_any(&column_or_index) {
                if !clause.accept_any(&["TO", "AS"]) {
                    clause.sign('=');
                }
                found.extend(clause.table().ok());
            }
        } else {
            while !clause.is_empty() {
                match clause.table() {
                    Ok(name) => found.push(name),
                    Err(_) => drop(clause.take()),
                }
            }
        }
        at.sign(',');
    }
    found
}
