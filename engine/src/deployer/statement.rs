//! What a logged statement does to captured tables: enough to stop rather than lose, not a parser.
//!
//! Errs on the side of naming a table: a statement that mentions a captured table's name counts as touching it. Must
//! not
//! follow definitions.

use super::config::TableFilter;

/// What a statement does to a captured table, named as `database.table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that changes rows or columns of a captured table.
    Nothing,
    /// Changes rows, which no rows event then carries.
    Rows(String),
    /// Empties the table.
    Truncate(String),
    /// Removes the table, or its whole database.
    Drop(String),
    /// May change columns, keys or the name.
    Definition(String),
}

/// Reads a statement that was logged with this default database.
pub fn effect(sql: &str, database: &str, filter: &TableFilter) -> Effect {
    let tokens = tokens(sql);
    let word = |at: usize| match tokens.get(at) {
        Some(Token::Word(word)) => word.to_ascii_uppercase(),
        _ => String::new(),
    };
    let first = word(0);
    let mut second = 1;
    while ["OR", "REPLACE", "ONLINE", "OFFLINE", "IGNORE", "UNDO"].contains(&word(second).as_str()) {
        second += 1;
    }
    let object = word(second);
    let touched = || touched(&tokens[1..], database, filter);
    match (first.as_str(), object.as_str()) {
        ("INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" | "CALL" | "DO" | "SELECT" | "MERGE", _) => {
            touched().map_or(Effect::Nothing, Effect::Rows)
        }
        ("TRUNCATE", _) => touched().map_or(Effect::Nothing, Effect::Truncate),
        ("DROP", "DATABASE" | "SCHEMA") => tokens
            .iter()
            .skip(second + 1)
            .filter_map(Token::name)
            .find(|name| filter.touches(name))
            .map_or(Effect::Nothing, |name| Effect::Drop(format!("{name}.*"))),
        ("DROP", "TABLE" | "TABLES") => touched().map_or(Effect::Nothing, Effect::Drop),
        ("CREATE" | "ALTER" | "RENAME", "TABLE" | "TABLES") => touched().map_or(Effect::Nothing, Effect::Definition),
        _ => Effect::Nothing,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Unquoted: a keyword or a name.
    Word(String),
    /// A quoted name.
    Quoted(String),
    Dot,
    /// Anything else.
    Other,
}

impl Token {
    fn name(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            _ => None,
        }
    }
}

/// The first captured table among all `a.b` and lone names.
fn touched(tokens: &[Token], database: &str, filter: &TableFilter) -> Option<String> {
    let mut at = 0;
    while at < tokens.len() {
        let Some(name) = tokens[at].name() else {
            at += 1;
            continue;
        };
        let pair = match tokens.get(at + 1..at + 3) {
            Some([Token::Dot, second]) => second.name(),
            _ => None,
        };
        let (found_database, table) = pair.map_or((database, name), |table| (name, table));
        if filter.accepts(found_database, table) && !(pair.is_none() && is_keyword(&tokens[at])) {
            return Some(format!("{found_database}.{table}"));
        }
        at += if pair.is_some() { 3 } else { 1 };
    }
    None
}

/// Words that stand in the statements looked at and are reserved, so that they name a table only when quoted.
fn is_keyword(token: &Token) -> bool {
    const WORDS: &[&str] = &[
        "ADD",
        "ALTER",
        "AND",
        "AS",
        "BY",
        "CASCADE",
        "CHANGE",
        "CHARACTER",
        "COLLATE",
        "COLUMN",
        "CONSTRAINT",
        "CREATE",
        "DATABASE",
        "DEFAULT",
        "DELETE",
        "DROP",
        "EXISTS",
        "FOREIGN",
        "FROM",
        "FOR",
        "IF",
        "IN",
        "INDEX",
        "INSERT",
        "INT",
        "INTO",
        "IGNORE",
        "KEY",
        "LIKE",
        "LIMIT",
        "NOT",
        "NULL",
        "ON",
        "OR",
        "ORDER",
        "PRIMARY",
        "REFERENCES",
        "RENAME",
        "REPLACE",
        "RESTRICT",
        "SELECT",
        "SET",
        "TABLE",
        "TO",
        "UNIQUE",
        "UNSIGNED",
        "UPDATE",
        "USING",
        "VALUES",
        "VARCHAR",
        "WHERE",
        "WITH",
    ];
    matches!(token, Token::Word(word) if WORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword)))
}

/// Names, dots and the rest; comments and strings are passed over. What stands in `/*! … */` is executed, so it is
/// read.
fn tokens(sql: &str) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    let text = |from: usize, to: usize| String::from_utf8_lossy(&bytes[from..to]).into_owned();
    while at < bytes.len() {
        let rest = &bytes[at..];
        match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'#' => at = after(bytes, at, b"\n"),
            b'-' if rest.starts_with(b"-- ") || rest.starts_with(b"--\n") => at = after(bytes, at, b"\n"),
            b'/' if rest.starts_with(b"/*!") || rest.starts_with(b"/*M!") => {
                at += 3;
                while bytes.get(at).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'!') {
                    at += 1;
                }
            }
            b'*' if rest.starts_with(b"*/") => at += 2,
            b'/' if rest.starts_with(b"/*") => at = after(bytes, at + 2, b"*/"),
            b'\'' => {
                at = quoted(bytes, at).1;
                out.push(Token::Other);
            }
            b'`' | b'"' => {
                let (name, end) = quoted(bytes, at);
                at = end;
                out.push(Token::Quoted(name));
            }
            b'.' => {
                at += 1;
                out.push(Token::Dot);
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80 => {
                let start = at;
                while bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$') || *b >= 0x80)
                {
                    at += 1;
                }
                out.push(Token::Word(text(start, at)));
            }
            _ => {
                at += 1;
                out.push(Token::Other);
            }
        }
    }
    out
}

/// The place after the next `mark`, or the end.
fn after(bytes: &[u8], from: usize, mark: &[u8]) -> usize {
    let found = bytes[from..].windows(mark.len()).position(|window| window == mark);
    found.map_or(bytes.len(), |place| from + place + mark.len())
}

/// What stands between quotes, and the place after them. A doubled quote is one; a backslash escapes except in names.
fn quoted(bytes: &[u8], from: usize) -> (String, usize) {
    let quote = bytes[from];
    let mut text = Vec::new();
    let mut at = from + 1;
    while at < bytes.len() {
        if bytes[at] == b'\\' && quote != b'`' {
            at += 2;
        } else if bytes[at] == quote && bytes.get(at + 1) == Some(&quote) {
            text.push(quote);
            at += 2;
        } else if bytes[at] == quote {
            at += 1;
            break;
        } else {
            text.push(bytes[at]);
            at += 1;
        }
    }
    (String::from_utf8_lossy(&text).into_owned(), at.min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_and_what_they_touch() {
        let filter = TableFilter::new(["orders.*", "shop.line"]).unwrap();
        let rows = |name: &str| Effect::Rows(name.to_owned());
        let definition = |name: &str| Effect::Definition(name.to_owned());
        for (database, sql, expected) in [
            ("orders", "INSERT INTO order_main VALUES (1, 'x')", rows("orders.order_main")),
            ("other", "insert into `orders`.`order_main` select 1", rows("orders.order_main")),
            ("other", "UPDATE a, shop . line SET x = 'orders.y'", rows("shop.line")),
            ("other", "UPDATE a SET x = 'orders.y' /* shop.line */", Effect::Nothing),
            ("shop", "DELETE FROM box", Effect::Nothing),
            ("shop", "DELETE FROM line", rows("shop.line")),
            ("orders", "TRUNCATE TABLE t", Effect::Truncate("orders.t".into())),
            ("orders", "truncate t", Effect::Truncate("orders.t".into())),
            ("", "DROP TABLE IF EXISTS `orders`.`t`", Effect::Drop("orders.t".into())),
            ("", "DROP DATABASE IF EXISTS orders", Effect::Drop("orders.*".into())),
            ("", "DROP DATABASE other", Effect::Nothing),
            ("orders", "ALTER TABLE t ADD COLUMN c INT", definition("orders.t")),
            ("orders", "CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY)", definition("orders.t")),
            ("", "RENAME TABLE other.a TO orders.a", definition("orders.a")),
            ("", "/*!50003 ALTER TABLE shop.line ADD x INT */", definition("shop.line")),
            ("orders", "CREATE INDEX i ON t (c)", Effect::Nothing),
            ("orders", "CREATE TEMPORARY TABLE t (id INT)", Effect::Nothing),
            ("orders", "GRANT SELECT ON orders.* TO u", Effect::Nothing),
            ("orders", "-- hello\nFLUSH TABLES", Effect::Nothing),
            ("orders", "", Effect::Nothing),
            ("other", "INSERT INTO t VALUES ('it''s \\' orders.t')", Effect::Nothing),
        ] {
            assert_eq!(effect(sql, database, &filter), expected, "{sql}");
        }
    }

    #[test]
    fn broken_text_does_not_panic() {
        let filter = TableFilter::new(["orders.*"]).unwrap();
        for sql in ["'", "`", "INSERT INTO `a", "/*", "/*!", "INSERT \\", "DROP DATABASE", "a.", "\u{fffd}"] {
            effect(sql, "orders", &filter);
        }
    }
}
