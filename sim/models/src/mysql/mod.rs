//! A model of a MySQL 9 server: tables, transactions, and the binlog bytes they leave.
//!
//! What a client may do is a method of [`MySql`]; the engine sees it through its port,
//! [`towpath_engine::ports::source::BinlogSource`], which `MySql` implements. Everything a server can suffer (crash,
//! lost tail, purge, reset, restored volume, silence) is a method too; other servers can follow it (`replica.rs`).
//! It has no clock: the wall clock comes with
//! [`Env`], elapsed time from `tokio::time`.
//!
//! Stricter than the real one: a value that does not fit is refused, never rounded or cut; a second dump under the same
//! server_id ends the first at once. Not modelled: locks and isolation (transactions are serial), VECTOR's dimension
//! in the row metadata, character sets beyond utf8, ascii and latin1.

mod binlog;
mod ddl;
mod encode;
mod gtid;
mod json;
mod reads;
mod replica;
mod rows;
mod semi_sync;
mod server;
mod source;
mod stream;
mod table_map;
mod temporal;
#[cfg(test)]
mod tests;
mod value;
mod xa;

pub use ddl::column as column_sql;
pub use ddl::create_table as create_table_sql;
pub use gtid::Gtids;
pub use value::{RowOp, TableName, Value};

use crate::faults::{Faults, lock};
use replica::Channel;
use semi_sync::SemiSync;
use server::Server;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::time::Instant;
use towpath_engine::env::Env;
use towpath_engine::position::FilePosition;
use towpath_engine::schema::TableSchema;

/// How a model server is set.
#[derive(Debug, Clone)]
pub struct MySqlConfig {
    /// `@@server_uuid`.
    pub server_uuid: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@version`.
    pub version: String,
    /// `@@gtid_mode` is ON.
    pub gtid_mode: bool,
    /// `@@log_bin`; without it there is no dump.
    pub log_bin: bool,
    /// `@@binlog_format` as reported. Rows are written whatever it says: it is for refusals.
    pub binlog_format: String,
    /// `@@binlog_row_image` as reported. Full images are written whatever it says: it is for refusals.
    pub row_image: String,
    /// `@@binlog_row_metadata` is FULL (else MINIMAL).
    pub row_metadata_full: bool,
    /// `@@binlog_checksum` is CRC32 (else NONE).
    pub checksum: bool,
    /// `@@max_binlog_size`.
    pub max_binlog_size: u64,
    /// `@@read_only`.
    pub read_only: bool,
    /// SHOW GRANTS of the user. A dump needs REPLICATION SLAVE or ALL PRIVILEGES among them.
    pub grants: Vec<String>,
}

impl Default for MySqlConfig {
    fn default() -> Self {
        Self {
            server_uuid: "0a1b2c3d-0000-11f1-8000-000000000001".into(),
            server_id: 1,
            version: "9.7.4".into(),
            gtid_mode: true,
            log_bin: true,
            binlog_format: "ROW".into(),
            row_image: "FULL".into(),
            row_metadata_full: true,
            checksum: true,
            max_binlog_size: 1 << 30,
            read_only: false,
            grants: vec!["GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `towpath`@`%`".into()],
        }
    }
}

/// What the server says to a statement it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError(pub String);

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SqlError {}

/// A committed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// `uuid:number`.
    pub gtid: String,
    /// The first byte of its GTID event.
    pub at: FilePosition,
    /// The position behind its last event.
    pub end: u64,
    /// When it was committed, milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// Ways in which calls of the port can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MySqlFault {
    /// A call (not a running stream) finds no server.
    Unavailable,
    /// A call is refused for user or password.
    Denied,
    /// A running stream breaks.
    StreamBreaks,
    /// A running stream delivers an event whose checksum does not match.
    Checksum,
}

/// State behind the lock.
#[derive(Debug)]
pub(crate) struct Inner {
    pub server: Server,
    pub up: bool,
    /// Half-open: connections stand, nothing comes.
    pub silent: bool,
    pub faults: Faults<MySqlFault>,
    /// Running dumps: connection → the replica's server_id; none with an identity of its own.
    pub dumps: BTreeMap<u64, Option<u32>>,
    /// What semi-synchronous replicas have said, and which commits wait.
    pub semi_sync: SemiSync,
    pub next_connection: u64,
    pub started: Instant,
    /// The server that is followed.
    pub channel: Option<Channel>,
}

/// A handle to one model server; clones share it.
#[derive(Debug, Clone)]
pub struct MySql {
    inner: Arc<Mutex<Inner>>,
    changed: watch::Sender<u64>,
    env: Env,
}

/// A copy of a server's whole state, as a backup of its volume.
#[derive(Debug, Clone)]
pub struct Volume(Server);

impl MySql {
    /// Starts a server with an empty binlog.
    pub fn new(config: MySqlConfig, env: Env) -> Self {
        let inner = Inner {
            server: Server::new(config, env.wall_ms()),
            up: true,
            silent: false,
            faults: Faults::default(),
            dumps: BTreeMap::new(),
            semi_sync: SemiSync::default(),
            next_connection: 1,
            started: Instant::now(),
            channel: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)), changed: watch::Sender::new(0), env }
    }

    /// Changes the state and wakes whoever waits for a change.
    fn change<T>(&self, act: impl FnOnce(&mut Inner, u64) -> T) -> T {
        let result = {
            let mut inner = lock(&self.inner);
            let result = act(&mut inner, self.env.wall_ms());
            let Inner { semi_sync, server, .. } = &mut *inner;
            semi_sync.note(server);
            result
        };
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// Creates a table, in the log too (and its database where it is the first in it).
    pub fn create_table(&self, schema: TableSchema) -> Result<Commit, SqlError> {
        self.change(|inner, now| inner.server.create_table(schema, now))
    }

    /// Drops a table.
    pub fn drop_table(&self, database: &str, table: &str) -> Result<Commit, SqlError> {
        self.change(|inner, now| inner.server.drop_table(&TableName::new(database, table), now))
    }

    /// Replaces a table's definition; `sql` goes into the log, `change` turns each old row into a new one.
    pub fn alter_table(
        &self,
        schema: TableSchema,
        sql: &str,
        change: &dyn Fn(Vec<Value>) -> Vec<Value>,
    ) -> Result<Commit, SqlError> {
        self.change(|inner, now| inner.server.alter_table(schema, sql, change, now))
    }

    /// Writes a statement into the log that changes nothing else (a DDL of tables nobody knows, a statement event).
    pub fn statement(&self, database: &str, sql: &str) -> Commit {
        self.change(|inner, now| inner.server.statement(database, sql, now))
    }

    /// One transaction; consecutive operations of one kind on one table are one statement. Nothing happens on error.
    pub fn commit(&self, ops: &[RowOp]) -> Result<Commit, SqlError> {
        self.change(|inner, now| inner.server.commit(ops, now))
    }

    /// An XA transaction up to its PREPARE. `global` is its id's global part; its rows are held until the end.
    pub fn xa_prepare(&self, global: &str, ops: &[RowOp]) -> Result<Commit, SqlError> {
        self.change(|inner, now| inner.server.xa_prepare(global, ops, now))
    }

    /// XA COMMIT of a prepared transaction.
    pub fn xa_commit(&self, global: &str) -> Result<Commit, SqlError> {
        self.change(|inner, now| inner.server.xa_commit(global, now))
    }

    /// XA ROLLBACK of a prepared transaction.
    pub fn xa_rollback(&self, global: &str) -> Result<Commit, SqlError> {
        self.change(|inner, now| inner.server.xa_rollback(global, now))
    }

    /// An XA transaction that is committed in one phase.
    pub fn xa_one_phase(&self, global: &str, ops: &[RowOp]) -> Result<Commit, SqlError> {
        self.change(|inner, now| inner.server.xa_one_phase(global, ops, now))
    }

    /// A transaction of events given as (type, flags, body): for events that the model does not write by itself.
    pub fn commit_raw(&self, events: &[(u8, u16, Vec<u8>)]) -> Commit {
        self.change(|inner, now| inner.server.log(events, false, now, Vec::new()))
    }

    /// All rows of a table, in key order; empty if there is no such table.
    pub fn rows(&self, database: &str, table: &str) -> Vec<Vec<Value>> {
        let inner = lock(&self.inner);
        let table = inner.server.tables.get(&TableName::new(database, table));
        table.map(|table| table.rows.values().cloned().collect()).unwrap_or_default()
    }

    /// One row by its primary key's values.
    pub fn row(&self, database: &str, table: &str, key: &[Value]) -> Option<Vec<Value>> {
        let inner = lock(&self.inner);
        inner.server.tables.get(&TableName::new(database, table))?.rows.get(&value::key_bytes(key)).cloned()
    }

    /// A table's definition.
    pub fn schema(&self, database: &str, table: &str) -> Option<TableSchema> {
        let inner = lock(&self.inner);
        inner.server.tables.get(&TableName::new(database, table)).map(|table| table.schema.clone())
    }

    /// `@@server_uuid`.
    pub fn identity(&self) -> String {
        lock(&self.inner).server.config.server_uuid.clone()
    }

    /// `@@gtid_executed`.
    pub fn executed(&self) -> Gtids {
        lock(&self.inner).server.executed.clone()
    }

    /// The files that exist: name and whole content.
    pub fn binlog_files(&self) -> Vec<(String, Vec<u8>)> {
        let inner = lock(&self.inner);
        inner.server.binlog.files.iter().map(|file| (file.name(), file.bytes.clone())).collect()
    }

    /// FLUSH BINARY LOGS: the next event goes to a new file.
    pub fn rotate(&self) {
        self.change(|inner, now| {
            let executed = inner.server.executed.clone();
            inner.server.binlog.rotate(&executed, server::seconds(now));
        });
    }

    /// PURGE BINARY LOGS TO `file`.
    pub fn purge_to(&self, file: &str) -> Result<(), SqlError> {
        self.change(|inner, _| inner.server.purge_to(file))
    }

    /// RESET BINARY LOGS AND GTIDS: history starts again, numbers come again, the rows stay.
    pub fn reset(&self) {
        self.change(|inner, now| {
            inner.server.reset(now);
            inner.semi_sync.restarted(&inner.server);
            inner.dumps.clear();
        });
    }

    /// An orderly restart.
    pub fn restart(&self) {
        self.change(|inner, now| {
            let executed = inner.server.executed.clone();
            inner.server.binlog.restart(&executed, server::seconds(now), true);
            inner.restarted();
        });
    }

    /// A crash and restart that loses the last `lost` transactions, rows and log alike.
    pub fn crash(&self, lost: usize) {
        self.change(|inner, now| {
            inner.server.crash(lost, now);
            inner.restarted();
        });
    }

    /// A copy of the volume.
    pub fn volume(&self) -> Volume {
        Volume(lock(&self.inner).server.clone())
    }

    /// Puts a copy of the volume back and starts the server on it.
    pub fn restore(&self, volume: &Volume) {
        self.change(|inner, now| {
            let last_commit_us = inner.server.last_commit_us;
            inner.server = volume.0.clone();
            inner.server.last_commit_us = last_commit_us;
            inner.server.crash(0, now);
            inner.restarted();
        });
    }

    /// Stops the server: nobody reaches it until [`MySql::start`].
    pub fn stop(&self) {
        self.change(|inner, _| {
            inner.up = false;
            inner.dumps.clear();
        });
    }

    /// Starts it again.
    pub fn start(&self) {
        self.change(|inner, _| inner.up = true);
        self.restart();
    }

    /// Cuts all connections; new ones are accepted.
    pub fn kill_connections(&self) {
        self.change(|inner, _| inner.dumps.clear());
    }

    /// Silence: connections stand but nothing comes, as on a half-open connection. Ends with `false`.
    pub fn set_silent(&self, silent: bool) {
        self.change(|inner, _| inner.silent = silent);
    }

    /// Makes the next `times` calls fail so.
    pub fn fail_next(&self, fault: MySqlFault, times: u32) {
        self.change(|inner, _| inner.faults.plan(fault, times));
    }

    /// Forgets the planned faults that have not fired.
    pub fn clear_faults(&self) {
        self.change(|inner, _| inner.faults.clear());
    }

    /// How many planned faults have fired.
    pub fn faults_fired(&self) -> u64 {
        lock(&self.inner).faults.fired()
    }

    /// Changes settings of the running server (reported values, grants, row metadata).
    pub fn configure(&self, change: impl FnOnce(&mut MySqlConfig)) {
        self.change(|inner, _| change(&mut inner.server.config));
    }
}

impl Inner {
    /// Everything that this server has, applied or not.
    fn received(&self) -> Gtids {
        let mut known = self.server.executed.clone();
        let relay = self.channel.iter().flat_map(|channel| &channel.relay);
        relay.for_each(|logged| known.add(&logged.source, logged.number));
        known
    }

    fn restarted(&mut self) {
        self.semi_sync.restarted(&self.server);
        self.dumps.clear();
        self.up = true;
        self.started = Instant::now();
    }
}
