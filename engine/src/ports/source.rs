//! Port `BinlogSource`: a MySQL or MariaDB server as a replica client sees it.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::gtid::GtidSet;
use crate::position::{FilePosition, Position};
use crate::schema::TableSchema;
use crate::schema::catalog::{Book, TableDefinition};

/// Which family of servers answers: their GTIDs and some events differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Oracle MySQL and Percona Server.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// Who a server is and how it is set, as asked at the moment of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerIdentity {
    /// MySQL or MariaDB.
    pub flavor: Flavor,
    /// `@@version`.
    pub version: String,
    /// `@@server_uuid`; MariaDB has none: `mariadb-<server_id>-<gtid_domain_id>`.
    pub server_uuid: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@log_bin`.
    pub log_bin: bool,
    /// `@@binlog_format`, upper case.
    pub binlog_format: String,
    /// `@@binlog_row_image`, upper case.
    pub row_image: String,
    /// `@@binlog_row_metadata`, upper case; empty where the server does not know it.
    pub row_metadata: String,
    /// `@@gtid_mode` is ON (MySQL), or GTIDs exist by nature (MariaDB).
    pub gtid_mode: bool,
    /// `@@gtid_executed`; empty for MariaDB.
    pub gtid_executed: GtidSet,
    /// `@@gtid_owned`: what sessions hold and have not finished. A transaction that waits for the acknowledgement of a
    /// semi-synchronous replica is here, although dumps show it already. Empty for MariaDB.
    pub gtid_owned: GtidSet,
    /// `@@gtid_purged`; empty for MariaDB.
    pub gtid_purged: GtidSet,
    /// `@@gtid_binlog_pos`; empty for MySQL.
    pub mariadb_position: String,
    /// The oldest binlog file that exists, at its first event (position 4).
    pub oldest: FilePosition,
    /// The end of the binlog now.
    pub end: FilePosition,
    /// Seconds since the server started.
    pub uptime_s: u64,
    /// `@@read_only` or `@@super_read_only`.
    pub read_only: bool,
    /// How it follows another server; `None` if no replication channel is set up (or the family is not asked).
    pub replica: Option<ReplicaState>,
    /// How it asks replicas for acknowledgements; `None` where it has no semi-synchronous replication.
    pub semi_sync: Option<SemiSync>,
    /// The privileges of the user as `SHOW GRANTS` prints them, one a line.
    pub grants: Vec<String>,
}

/// A source's semi-synchronous replication: how a commit waits for replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemiSync {
    /// It is switched on.
    pub enabled: bool,
    /// So many replicas must acknowledge a commit. MariaDB knows only one.
    pub replicas: u32,
    /// After so long without them the source goes on asynchronously.
    pub timeout: Duration,
    /// A commit waits before other sessions see it and a crash can lose it (`AFTER_SYNC`).
    pub lossless: bool,
}

/// A server that follows another one, all its channels taken together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaState {
    /// What it has received, applied or not (`Retrieved_Gtid_Set`).
    pub received: GtidSet,
    /// Some channel receives, or tries to.
    pub receiving: bool,
    /// Some channel applies what was received.
    pub applying: bool,
}

/// Rows of one table in one consistent snapshot, with the proof of what it includes (protocol §5).
#[derive(Debug, Clone)]
pub struct RowsRead {
    /// The server that answered.
    pub server_uuid: String,
    /// Every transaction of this set is in the rows.
    pub includes: GtidSet,
    /// The rows show nothing of a transaction outside this set.
    pub may_show: GtidSet,
    /// The table as it was in the snapshot; `None` if there is no such table.
    pub table: Option<TableSchema>,
    /// The rows found, in no order: one value a column of `table`, as a rows event holds it; `None` is NULL.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
}

/// Which rows are to be read.
#[derive(Debug, Clone, Copy)]
pub struct RowsWanted<'a> {
    /// The database.
    pub database: &'a str,
    /// The table.
    pub table: &'a str,
    /// The names of the key's columns.
    pub columns: &'a [String],
    /// The keys: one text a column, in the default rendering of [`crate::binlog::text`] (not Canal's).
    pub keys: &'a [Vec<String>],
}

/// A request to stream events.
#[derive(Debug, Clone)]
pub struct DumpRequest {
    /// Where to start.
    pub from: Position,
    /// The id we register as a replica with; must be unique among the source's replicas.
    pub server_id: u32,
    /// The server sends a heartbeat after this long without an event.
    pub heartbeat: Duration,
    /// Silence longer than this is a dead connection.
    pub read_deadline: Duration,
    /// A short look beside another dump: it must not end one that runs under the same id. (A server ends the older of
    /// two dumps of one replica.)
    pub beside: bool,
    /// Register as a semi-synchronous replica: commits on the source wait for [`BinlogStream::acknowledge`].
    pub semi_sync: bool,
    /// The server that is to answer (its [`ServerIdentity::server_uuid`]), asked on the stream's own connection:
    /// behind one address there may be several. `None`: whichever answers.
    pub server: Option<String>,
}

/// Whole binlog events, one after the other, as the server wrote them: the 19-byte header, then the body, *without*
/// the checksum (which the implementation has verified and cut; `event_size` in the header still counts it where
/// the server computed one, see [`EventBatch::checksummed`]).
///
/// Artificial events (the fake ROTATE at a start, heartbeats) are included: the decoder tells them apart.
#[derive(Debug, Clone, Default)]
pub struct EventBatch {
    /// The bytes of all events.
    pub bytes: Bytes,
    /// The end of each event in `bytes`; events are contiguous from 0.
    pub ends: Vec<u32>,
    /// Whether the server appended a CRC32 to these events.
    pub checksummed: bool,
}

impl EventBatch {
    /// The events, in order.
    pub fn events(&self) -> impl Iterator<Item = &[u8]> + '_ {
        let mut start = 0usize;
        self.ends.iter().map(move |&end| {
            let event = &self.bytes[start..end as usize];
            start = end as usize;
            event
        })
    }
}

/// One transaction's bytes, read by file and position: the witness (protocol §4 step 1).
#[derive(Debug, Clone)]
pub struct TransactionBytes {
    /// Its events from GTID (or BEGIN, without GTIDs) to commit, checksums cut.
    pub events: EventBatch,
}

/// The definitions of tables, with the positions that bound the moment of reading.
#[derive(Debug, Clone)]
pub struct SchemaSnapshot {
    /// The server's position before reading (executed set, or file and position).
    pub before: Position,
    /// The server's position after reading. The definitions are valid for events after it; for those between the two
    /// only if no statement in between changed the table.
    pub after: Position,
    /// The end of the binlog after reading.
    pub end: FilePosition,
    /// The tables found.
    pub tables: Vec<TableSchema>,
    /// The default collation of each of them, in their order.
    pub collations: Vec<Option<u16>>,
    /// The default collations of all databases.
    pub databases: BTreeMap<String, u16>,
    /// The server compares names in lower case (`lower_case_table_names=1`).
    pub fold_names: bool,
}

impl SchemaSnapshot {
    /// The definitions, with what later statements depend on.
    pub fn book(&self) -> Book {
        let tables = self.tables.iter().zip(&self.collations);
        let tables = tables.map(|(schema, &collation)| TableDefinition { schema: schema.clone(), collation }).collect();
        Book { databases: self.databases.clone(), tables }
    }
}

/// What a source can refuse or fail with. `Display` is one sentence for a person.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// No connection, or it broke, or was silent past its deadline. Retry.
    #[error("the source is unavailable: {0}")]
    Unavailable(String),
    /// The user or password is wrong, or a privilege is missing (the text names it).
    #[error("the source refuses the user: {0}")]
    Denied(String),
    /// The dump needs transactions the server no longer has (error 1236, "purged").
    #[error("the source no longer has the needed transactions: {0}")]
    Purged(String),
    /// The set asked from holds transactions the server never had (error 1236), or the position is beyond its end.
    #[error("the source never had the position asked from: {0}")]
    Ahead(String),
    /// The bytes at a position are not the start of an event, or the file does not exist.
    #[error("no event at the position asked for: {0}")]
    NoEvent(String),
    /// A checksum does not match.
    #[error("an event's checksum does not match: {0}")]
    Checksum(String),
    /// Another server answers than the one that was asked for. Retry, from the question who it is.
    #[error("another server answers: {0}")]
    OtherServer(String),
    /// Another replica with our server_id took over the connection, or a refusal we do not know.
    #[error("the source refuses: {0}")]
    Refused(String),
}

/// A MySQL or MariaDB server. Every method opens or uses its own connection and has its own deadline.
#[async_trait]
pub trait BinlogSource: Send + Sync {
    /// Asks who the server is. Never cached.
    async fn identify(&self) -> Result<ServerIdentity, SourceError>;

    /// Starts a stream. With `Position::Gtid` the server sends every transaction not in the set, in the order of its
    /// own binlog, and refuses (`Purged`, `Ahead`) if it cannot. With `Position::File` it sends from that event on.
    async fn dump(&self, request: DumpRequest) -> Result<Box<dyn BinlogStream>, SourceError>;

    /// Begins reading the one transaction that starts at `at` (its GTID event's first byte; without GTIDs its BEGIN's),
    /// whatever its size, and disturbs no dump. The stream gives its events and, after the last one, an empty batch.
    /// Reading the same place of the same history gives the same bytes.
    async fn open_transaction(&self, at: &FilePosition) -> Result<Box<dyn BinlogStream>, SourceError>;

    /// Reads the transaction that starts at `at` as a whole, up to [`MAX_TRANSACTION_BYTES`].
    async fn read_transaction(&self, at: &FilePosition) -> Result<TransactionBytes, SourceError> {
        collect(at, self.open_transaction(at).await?).await
    }

    /// Reads the definitions of all base tables whose `(database, table)` the filter accepts.
    async fn table_schemas(
        &self,
        accept: &(dyn for<'a> Fn(&'a str, &'a str) -> bool + Send + Sync),
    ) -> Result<SchemaSnapshot, SourceError>;

    /// Reads rows by key in one consistent snapshot. A key is found by the server's own comparison, so a row may come
    /// whose key's text is another one (`A` for `a`): the caller compares. Without GTIDs nothing can be proven:
    /// `Refused`. A key column that the table does not have is `Refused` too.
    async fn read_rows(&self, wanted: RowsWanted<'_>) -> Result<RowsRead, SourceError>;
}

/// A transaction that is wanted as a whole is held in memory; larger ones are refused by name.
pub const MAX_TRANSACTION_BYTES: usize = 512 << 20;

async fn collect(at: &FilePosition, mut stream: Box<dyn BinlogStream>) -> Result<TransactionBytes, SourceError> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let mut checksummed = false;
    loop {
        let batch = stream.next().await?;
        if batch.ends.is_empty() {
            return Ok(TransactionBytes { events: EventBatch { bytes: bytes.into(), ends, checksummed } });
        }
        if bytes.len() + batch.bytes.len() > MAX_TRANSACTION_BYTES {
            let what = format!("the transaction at {at} exceeds {MAX_TRANSACTION_BYTES} bytes");
            return Err(SourceError::Refused(what));
        }
        let base = bytes.len() as u32;
        bytes.extend_from_slice(&batch.bytes);
        ends.extend(batch.ends.iter().map(|end| base + end));
        checksummed = batch.checksummed;
    }
}

/// A running dump. Dropping it closes the connection.
#[async_trait]
pub trait BinlogStream: Send {
    /// Waits for at least one event; returns what has arrived, up to about a megabyte. Cancelling loses nothing.
    /// Silence past the read deadline, and the server's end of stream, are `Unavailable`.
    async fn next(&mut self) -> Result<EventBatch, SourceError>;

    /// All transactions that end at or before `to`, a place in the files of the server that is read, are safe: a source
    /// that waits for a semi-synchronous replica need not wait for this one. Places must not go back. Never waits;
    /// does nothing unless the request said [`DumpRequest::semi_sync`].
    fn acknowledge(&mut self, to: &FilePosition) {
        let _ = to;
    }
}
