//! What an event says, borrowed from its bytes.
//!
//! Must not decide what to do about it: the deployer does.

use std::borrow::Cow;

use super::gtid::{Gtid, MariaDbGtid, PreviousGtids};
use super::header::EventType;
use super::query_status::QueryStatus;
use super::read::{Read, Reader};
use super::rows::RowsEvent;
use super::xa::XaPrepare;

/// A decoded event. Values that are text in the server are `str`; row values stay raw bytes (see [`super::text`]).
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// The format of the events that follow.
    FormatDescription(FormatDescription<'a>),
    /// The stream goes on in this file at this position. Artificial at a dump's start (see the header's flag).
    Rotate {
        /// The next file's name.
        file: &'a str,
        /// Position of its first event to come.
        position: u64,
    },
    /// A transaction begins (MySQL, with GTID; `tag` is empty unless tagged).
    Gtid(Gtid<'a>),
    /// A transaction begins (MySQL, `gtid_mode=OFF`): `number` is 0.
    AnonymousGtid(Gtid<'a>),
    /// A transaction (or a stand-alone statement) begins (MariaDB).
    MariaDbGtid(MariaDbGtid),
    /// All GTIDs of earlier files (MySQL), at a file's start.
    PreviousGtids(PreviousGtids<'a>),
    /// The last GTID of each domain of earlier files (MariaDB), at a file's start.
    MariaDbGtidList(Vec<MariaDbGtid>),
    /// A statement: BEGIN, COMMIT, DDL, or DML written as a statement.
    Query(Query<'a>),
    /// A transaction of transactional tables commits.
    Xid(u64),
    /// A group of rows of an XA transaction ends: prepared, or committed in one phase.
    XaPrepare(XaPrepare),
    /// A table's id, valid for the rows events that follow up to the statement's end.
    TableMap(TableMapEvent<'a>),
    /// Rows of a captured table.
    Rows(RowsEvent<'a>),
    /// Rows of a table that the filter does not accept; not looked into.
    FilteredRows {
        /// What happened to them.
        kind: super::rows::RowsKind,
    },
    /// The statement behind the rows that follow, where the server logs it.
    RowsQuery(Cow<'a, str>),
    /// The server is alive and has sent all up to this place.
    Heartbeat {
        /// The file it is in.
        file: &'a str,
        /// The position it has sent up to.
        position: u64,
    },
    /// The server was shut down in an orderly way; the file ends.
    Stop,
    /// Nothing that concerns row changes: known and without effect, or unknown and flagged ignorable.
    Ignored(EventType),
}

/// A FORMAT_DESCRIPTION event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatDescription<'a> {
    /// The binlog's format version, 4 since MySQL 5.0.
    pub version: u16,
    /// The server's version text, for example `9.7.0` or `10.11.6-MariaDB-log`.
    pub server_version: &'a str,
}

impl<'a> FormatDescription<'a> {
    /// Reads the event's body up to the server's version; lengths of later events' heads are not needed.
    pub(crate) fn parse(body: &'a [u8]) -> Read<Self> {
        let mut reader = Reader::new(body);
        let start = reader;
        let version = reader.u16("a binlog version of 2 bytes")?;
        if version != 4 {
            return Err(start.bad("binlog version 4"));
        }
        let text = reader.take(50, "a server version of 50 bytes")?;
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let server_version = std::str::from_utf8(&text[..end]).map_err(|_| start.bad("a server version in UTF-8"))?;
        Ok(Self { version, server_version })
    }
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    /// The session's default database, may be empty.
    pub database: &'a str,
    /// The statement, read in the session's charset; what is no text in it is replaced.
    pub sql: Cow<'a, str>,
    /// The error the statement ended with on the server, 0 for none.
    pub error: u16,
    /// Seconds it ran.
    pub execution_s: u32,
    /// Under which settings.
    pub status: QueryStatus,
}

impl Query<'_> {
    /// What the statement is for the flow of transactions.
    pub fn kind(&self) -> QueryKind {
        let sql = self.sql.trim_ascii();
        let is = |word: &str| sql.eq_ignore_ascii_case(word);
        let starts = |word: &str| {
            sql.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
                && sql.as_bytes().get(word.len()).is_none_or(|next| next.is_ascii_whitespace())
        };
        if is("BEGIN") {
            QueryKind::Begin
        } else if is("COMMIT") {
            QueryKind::Commit
        } else if is("ROLLBACK") {
            QueryKind::Rollback
        } else if starts("SAVEPOINT") || starts("ROLLBACK TO") {
            QueryKind::Savepoint
        } else if starts("XA") {
            QueryKind::Xa
        } else {
            QueryKind::Statement
        }
    }
}

/// What a statement is for the flow of transactions. The server writes the marks itself, in these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKind {
    /// A transaction's rows begin.
    Begin,
    /// A transaction of non-transactional tables ends.
    Commit,
    /// The transaction is undone, but for what non-transactional tables keep.
    Rollback,
    /// SAVEPOINT or ROLLBACK TO: within a transaction, no effect on rows that are in the log.
    Savepoint,
    /// An XA statement: see [`super::XaStatement`].
    Xa,
    /// Anything else: DDL, or DML written as a statement.
    Statement,
}

/// A TABLE_MAP event. The decoder keeps what rows need; this is for those who print or count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMapEvent<'a> {
    /// The id that rows events name.
    pub table_id: u64,
    /// The database.
    pub database: &'a str,
    /// The table.
    pub table: &'a str,
    /// The filter accepts it.
    pub captured: bool,
    /// Its columns are known (or nobody asks): its rows can be read.
    pub known: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart_by_their_words() {
        let kind = |sql: &'static str| {
            Query { database: "", sql: sql.into(), error: 0, execution_s: 0, status: QueryStatus::default() }.kind()
        };
        assert_eq!(kind("BEGIN"), QueryKind::Begin);
        assert_eq!(kind("COMMIT"), QueryKind::Commit);
        assert_eq!(kind("rollback"), QueryKind::Rollback);
        assert_eq!(kind("ROLLBACK TO `s`"), QueryKind::Savepoint);
        assert_eq!(kind("SAVEPOINT `s`"), QueryKind::Savepoint);
        assert_eq!(kind("XA START X'31',X'',1"), QueryKind::Xa);
        assert_eq!(kind("XANADU"), QueryKind::Statement);
        assert_eq!(kind("CREATE TABLE begin (a INT)"), QueryKind::Statement);
        assert_eq!(kind("é"), QueryKind::Statement);
    }
}
