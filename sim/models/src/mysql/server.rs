//! The model server's state: tables, transactions and what they leave in the binlog.
//!
//! A plain state machine: no lock, no waiting, no time of its own. [`super::MySql`] puts it behind the port.

use super::binlog::{Binlog, BinlogSettings};
use super::encode::{self, GtidHead};
use super::gtid::Gtids;
use super::rows::{row_image, rows_head};
use super::table_map;
use super::value::{RowOp, TableName, Value, key_bytes};
use super::xa::Prepared;
use super::{Commit, MySqlConfig, SqlError};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use towpath_engine::position::FilePosition;
use towpath_engine::schema::TableSchema;

/// How many transactions a crash can take back.
const UNDO_LIMIT: usize = 4096;
/// `binlog_row_event_max_size`.
const ROW_EVENT_MAX: usize = 8192;

/// A table and its rows, by key.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub schema: TableSchema,
    pub id: u64,
    pub rows: BTreeMap<Vec<u8>, Vec<Value>>,
}

impl Table {
    /// The key of a row: its primary key, or all of it.
    fn key_of(&self, row: &[Value]) -> Vec<u8> {
        if self.schema.primary_key.is_empty() {
            return key_bytes(row);
        }
        let key: Vec<Value> = self.schema.primary_key.iter().filter_map(|&index| row.get(index).cloned()).collect();
        key_bytes(&key)
    }
}

/// A row as it was: its table, its key, its values (`None`: there was none).
pub(crate) type Before = (TableName, Vec<u8>, Option<Vec<Value>>);

/// What a transaction did, so that a replica can do it again.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    /// Row changes.
    Rows(Vec<RowOp>),
    /// A table made, altered or dropped: its definition and rows afterwards (`None`: it is gone), and the statement.
    Table(TableName, Option<Box<Table>>, String),
    /// XA PREPARE of a transaction of this name, with its row changes.
    XaPrepare(String, Vec<RowOp>),
    /// XA COMMIT … ONE PHASE.
    XaOnePhase(String, Vec<RowOp>),
    /// XA COMMIT of a prepared transaction.
    XaCommit(String),
    /// XA ROLLBACK of a prepared transaction.
    XaRollback(String),
    /// A statement without effect on tables, in this database.
    Statement(String, String),
    /// Events that the model does not write by itself.
    Raw(Vec<(u8, u16, Vec<u8>)>),
}

/// A logged transaction as its replicas get it.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    /// The server that committed it first.
    pub source: String,
    /// Its number there.
    pub number: u64,
    /// When it was committed there, microseconds.
    pub original_us: u64,
    /// What it did.
    pub deed: Deed,
}

/// What to do to take one transaction back.
#[derive(Debug, Clone)]
struct Undo {
    file: u64,
    start: u64,
    rows: Vec<Before>,
    executed: Gtids,
    sequence: u64,
    prepared: BTreeMap<String, Prepared>,
    /// The table that was made, altered or dropped, as it was (`None`: there was none).
    table: Option<(TableName, Option<Table>)>,
}

/// One row change, encoded.
pub(crate) struct Change {
    table: TableName,
    kind: u8,
    images: Vec<u8>,
}

/// Changes by statement.
pub(crate) fn statements(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    changes.chunk_by(|a, b| a.kind == b.kind && a.table == b.table)
}

/// The keys of the rows that an operation touches.
pub(crate) fn row_keys(server: &Server, op: &RowOp) -> Vec<(TableName, Vec<u8>)> {
    let Some(table) = server.tables.get(op.table()) else { return Vec::new() };
    let keys = match op {
        RowOp::Insert { row, .. } => vec![table.key_of(row)],
        RowOp::Update { key, row, .. } => vec![key_bytes(key), table.key_of(row)],
        RowOp::Delete { key, .. } => vec![key_bytes(key)],
    };
    keys.into_iter().map(|key| (op.table().clone(), key)).collect()
}

/// One server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub config: MySqlConfig,
    pub tables: BTreeMap<TableName, Table>,
    pub binlog: Binlog,
    pub executed: Gtids,
    pub purged: Gtids,
    /// Prepared XA transactions by the global part of their ids.
    pub prepared: BTreeMap<String, Prepared>,
    next_table_id: u64,
    next_xid: u64,
    undo: VecDeque<Undo>,
    /// All transactions that replicas can still get, in the log's order.
    pub history: Vec<Logged>,
    /// Commit times never repeat, so that a GTID used again is told apart by its time.
    pub last_commit_us: u64,
    /// What the transaction being logged does, where it is more than its events.
    pub deed: Option<Deed>,
    /// What a definition that is about to be logged replaces.
    replaced: Option<(TableName, Option<Table>)>,
    /// Set while a transaction of another server is applied: its source, number and first commit's time.
    applying: Option<(String, u64, u64)>,
}

impl Server {
    pub fn new(config: MySqlConfig, wall_ms: u64) -> Self {
        let settings = BinlogSettings {
            version: config.version.clone(),
            server_id: config.server_id,
            checksum: config.checksum,
            max_size: config.max_binlog_size,
        };
        let executed = Gtids::default();
        let binlog = Binlog::new(settings, 1, &executed, seconds(wall_ms));
        Self {
            config,
            tables: BTreeMap::new(),
            binlog,
            purged: executed.clone(),
            executed,
            prepared: BTreeMap::new(),
            next_table_id: 90,
            next_xid: 10,
            undo: VecDeque::new(),
            history: Vec::new(),
            last_commit_us: 0,
            deed: None,
            replaced: None,
            applying: None,
        }
    }

    /// CREATE TABLE, with CREATE DATABASE before it where it is the first of its database.
    pub fn create_table(&mut self, schema: TableSchema, wall_ms: u64) -> Result<Commit, SqlError> {
        let name = TableName::of(&schema);
        if self.tables.contains_key(&name) {
            return Err(SqlError(format!("table '{}.{}' already exists", name.database, name.table)));
        }
        if !self.tables.keys().any(|other| other.database == name.database) {
            self.statement(&name.database, &format!("CREATE DATABASE `{}`", name.database), wall_ms);
        }
        let id = self.take_table_id();
        let sql = super::ddl::create_table(&schema);
        self.replace(&name, Some(Table { schema, id, rows: BTreeMap::new() }));
        Ok(self.definition(&name, &sql, wall_ms))
    }

    /// DROP TABLE.
    pub fn drop_table(&mut self, name: &TableName, wall_ms: u64) -> Result<Commit, SqlError> {
        self.tables.get(name).ok_or_else(|| no_table(name))?;
        self.replace(name, None);
        Ok(self.definition(name, &format!("DROP TABLE `{}` /* generated by server */", name.table), wall_ms))
    }

    /// Puts another definition, with its rows, in a table's place.
    fn replace(&mut self, name: &TableName, table: Option<Table>) {
        let before = match table {
            Some(table) => self.tables.insert(name.clone(), table),
            None => self.tables.remove(name),
        };
        self.replaced = Some((name.clone(), before));
    }

    /// Logs the statement that made a table what it is now.
    fn definition(&mut self, name: &TableName, sql: &str, wall_ms: u64) -> Commit {
        let table = self.tables.get(name).cloned().map(Box::new);
        self.deed = Some(Deed::Table(name.clone(), table, sql.to_owned()));
        self.statement(&name.database, sql, wall_ms)
    }

    /// A statement in the log by itself; the tables are the caller's business.
    pub fn statement(&mut self, database: &str, sql: &str, wall_ms: u64) -> Commit {
        let events = vec![(encode::QUERY_EVENT, 0, encode::query_body(10, database, sql))];
        self.deed.get_or_insert_with(|| Deed::Statement(database.to_owned(), sql.to_owned()));
        self.log(&events, true, wall_ms, Vec::new())
    }

    /// An ALTER whose effect on the rows the caller gives: the new schema and what becomes of each row.
    pub fn alter_table(
        &mut self,
        schema: TableSchema,
        sql: &str,
        change: &dyn Fn(Vec<Value>) -> Vec<Value>,
        wall_ms: u64,
    ) -> Result<Commit, SqlError> {
        let name = TableName::of(&schema);
        self.check_definition(&name)?;
        let id = self.take_table_id();
        let table = self.tables.get(&name).ok_or_else(|| no_table(&name))?;
        let mut changed = Table { schema, id, rows: BTreeMap::new() };
        for row in table.rows.values() {
            let row = change(row.clone());
            changed.rows.insert(changed.key_of(&row), row);
        }
        self.replace(&name, Some(changed));
        Ok(self.definition(&name, sql, wall_ms))
    }

    fn take_table_id(&mut self) -> u64 {
        self.next_table_id += 1;
        self.next_table_id
    }

    /// One transaction. Nothing happens if one operation cannot be done.
    pub fn commit(&mut self, ops: &[RowOp], wall_ms: u64) -> Result<Commit, SqlError> {
        let (changes, undo) = self.apply_all(ops)?;
        let mut events = vec![(encode::QUERY_EVENT, encode::FLAG_SUPPRESS_USE, self.begin(&ops[0]))];
        for rows in statements(&changes) {
            self.put_statement(&mut events, rows);
        }
        self.next_xid += 1;
        events.push((encode::XID_EVENT, 0, self.next_xid.to_le_bytes().to_vec()));
        self.deed = Some(Deed::Rows(ops.to_vec()));
        Ok(self.log(&events, false, wall_ms, undo))
    }

    /// Does the operations, all or none; with them what takes them back.
    pub fn apply_all(&mut self, ops: &[RowOp]) -> Result<(Vec<Change>, Vec<Before>), SqlError> {
        if ops.is_empty() {
            return Err(SqlError("an empty transaction leaves no trace in the binlog".into()));
        }
        let mut undo = Vec::with_capacity(ops.len());
        let mut changes = Vec::with_capacity(ops.len());
        for op in ops {
            match self.check_locks(op).and_then(|()| self.apply(op, &mut undo)) {
                Ok(change) => changes.push(change),
                Err(error) => {
                    self.take_back(undo);
                    return Err(error);
                }
            }
        }
        Ok((changes, undo))
    }

    fn begin(&self, first: &RowOp) -> Vec<u8> {
        encode::query_body(10, &first.table().database, "BEGIN")
    }

    /// Does one operation and encodes it; `undo` gets what takes it back.
    fn apply(&mut self, op: &RowOp, undo: &mut Vec<Before>) -> Result<Change, SqlError> {
        let name = op.table();
        let table = self.tables.get_mut(name).ok_or_else(|| no_table(name))?;
        let columns = &table.schema.columns;
        let image = |row: &[Value]| row_image(columns, row).map_err(|why| SqlError(format!("{}: {why}", name.table)));
        let (kind, images) = match op {
            RowOp::Insert { row, .. } => {
                let images = image(row)?;
                let key = table.key_of(row);
                if table.rows.contains_key(&key) {
                    return Err(SqlError(format!("duplicate entry for the key of {}", name.table)));
                }
                table.rows.insert(key.clone(), row.clone());
                undo.push((name.clone(), key, None));
                (encode::WRITE_ROWS_EVENT, images)
            }
            RowOp::Update { key, row, .. } => {
                let (old_key, new_key) = (key_bytes(key), table.key_of(row));
                let before = table.rows.get(&old_key).cloned().ok_or_else(|| no_row(name))?;
                let mut images = image(&before)?;
                images.extend_from_slice(&image(row)?);
                if old_key != new_key {
                    if table.rows.contains_key(&new_key) {
                        return Err(SqlError(format!("duplicate entry for the key of {}", name.table)));
                    }
                    undo.push((name.clone(), new_key.clone(), None));
                    table.rows.remove(&old_key);
                }
                table.rows.insert(new_key, row.clone());
                undo.push((name.clone(), old_key, Some(before)));
                (encode::UPDATE_ROWS_EVENT, images)
            }
            RowOp::Delete { key, .. } => {
                let key = key_bytes(key);
                let before = table.rows.remove(&key).ok_or_else(|| no_row(name))?;
                let images = image(&before);
                undo.push((name.clone(), key, Some(before)));
                (encode::DELETE_ROWS_EVENT, images?)
            }
        };
        Ok(Change { table: name.clone(), kind, images })
    }

    /// TABLE_MAP and rows events of one statement, split near 8 KB; the last one ends the statement.
    pub fn put_statement(&self, events: &mut Vec<(u8, u16, Vec<u8>)>, rows: &[Change]) {
        let Some((first, table)) = rows.first().and_then(|row| Some((row, self.tables.get(&row.table)?))) else {
            return;
        };
        let columns = table.schema.columns.len();
        events.push((
            encode::TABLE_MAP_EVENT,
            0,
            table_map::body(table.id, &table.schema, self.config.row_metadata_full),
        ));
        let images = if first.kind == encode::UPDATE_ROWS_EVENT { 2 } else { 1 };
        let mut body = rows_head(table.id, false, columns, images);
        let empty = body.len();
        for row in rows {
            if body.len() > empty && body.len() + row.images.len() > ROW_EVENT_MAX {
                events.push((first.kind, 0, std::mem::replace(&mut body, rows_head(table.id, false, columns, images))));
            }
            body.extend_from_slice(&row.images);
        }
        body[6] |= 1; // STMT_END_F
        events.push((first.kind, 0, body));
    }

    /// Applies a transaction of another server under its own GTID: the same change, other bytes. A change that does not
    /// fit stops the applier, as it does a real one.
    pub fn apply_logged(&mut self, logged: &Logged, wall_ms: u64) -> Result<(), SqlError> {
        self.applying = Some((logged.source.clone(), logged.number, logged.original_us));
        let result = match &logged.deed {
            Deed::Rows(ops) => self.commit(ops, wall_ms).map(drop),
            Deed::Table(name, table, sql) => {
                let id = self.take_table_id();
                self.replace(name, table.as_ref().map(|table| Table { id, ..(**table).clone() }));
                self.definition(name, sql, wall_ms);
                Ok(())
            }
            Deed::XaPrepare(global, ops) => self.xa_prepare(global, ops, wall_ms).map(drop),
            Deed::XaOnePhase(global, ops) => self.xa_one_phase(global, ops, wall_ms).map(drop),
            Deed::XaCommit(global) => self.xa_commit(global, wall_ms).map(drop),
            Deed::XaRollback(global) => self.xa_rollback(global, wall_ms).map(drop),
            Deed::Statement(database, sql) => {
                self.statement(database, sql, wall_ms);
                Ok(())
            }
            Deed::Raw(events) => {
                self.log(events, false, wall_ms, Vec::new());
                Ok(())
            }
        };
        self.applying = None;
        result
    }

    /// Writes a transaction under the next GTID (or the one being applied) and rotates a full file.
    pub fn log(&mut self, events: &[(u8, u16, Vec<u8>)], statement: bool, wall_ms: u64, rows: Vec<Before>) -> Commit {
        let deed = self.deed.take().unwrap_or_else(|| Deed::Raw(events.to_vec()));
        let immediate_us = (wall_ms * 1000).max(self.last_commit_us + 1);
        self.last_commit_us = immediate_us;
        let own =
            || (self.config.server_uuid.clone(), self.executed.highest(&self.config.server_uuid) + 1, immediate_us);
        let (uuid, number, original_us) = self.applying.clone().unwrap_or_else(own);
        let (file, start) = self.binlog.end();
        self.undo.push_back(Undo {
            file,
            start,
            rows,
            executed: self.executed.clone(),
            sequence: self.binlog.sequence,
            prepared: self.prepared.clone(),
            table: self.replaced.take(),
        });
        if self.undo.len() > UNDO_LIMIT {
            self.undo.pop_front();
        }
        let mut head = GtidHead {
            uuid: self.config.gtid_mode.then_some(uuid.as_str()),
            number: if self.config.gtid_mode { number } else { 0 },
            last_committed: 0,
            sequence: 0,
            immediate_us,
            original_us,
            server_version: version_number(&self.config.version),
            rest_length: 0,
            statement,
        };
        self.binlog.append_transaction(seconds(wall_ms), &mut head, events);
        self.history.push(Logged { source: uuid.clone(), number, original_us, deed });
        if self.config.gtid_mode {
            self.executed.add(&uuid, number);
        }
        let end = self.binlog.end().1;
        if self.binlog.is_full() {
            self.binlog.rotate(&self.executed, seconds(wall_ms));
        }
        let file = super::binlog::file_name(file);
        Commit { gtid: format!("{uuid}:{number}"), at: FilePosition::new(file, start), end, wall_ms }
    }

    pub fn take_back(&mut self, undo: Vec<Before>) {
        for (name, key, before) in undo.into_iter().rev() {
            if let Some(table) = self.tables.get_mut(&name) {
                match before {
                    Some(row) => table.rows.insert(key, row),
                    None => table.rows.remove(&key),
                };
            }
        }
    }

    /// A table's rows without what the newest `count` transactions did to them.
    pub fn table_before(&self, name: &TableName, count: usize) -> Option<Cow<'_, Table>> {
        let table = self.tables.get(name)?;
        if count == 0 {
            return Some(Cow::Borrowed(table));
        }
        let mut before = table.clone();
        for undo in self.undo.iter().rev().take(count) {
            if let Some((_, table)) = undo.table.as_ref().filter(|(of, _)| of == name) {
                before = table.clone()?;
            }
            for (_, key, row) in undo.rows.iter().rev().filter(|(of, ..)| of == name) {
                match row {
                    Some(row) => before.rows.insert(key.clone(), row.clone()),
                    None => before.rows.remove(key),
                };
            }
        }
        Some(Cow::Owned(before))
    }

    /// A crash that loses the last transactions (as `sync_binlog=0` can), then a restart. Their GTIDs come again.
    pub fn crash(&mut self, lost: usize, wall_ms: u64) {
        for _ in 0..lost {
            let Some(undo) = self.undo.pop_back() else { break };
            self.history.pop();
            self.take_back(undo.rows);
            match undo.table {
                Some((name, Some(table))) => drop(self.tables.insert(name, table)),
                Some((name, None)) => drop(self.tables.remove(&name)),
                None => {}
            }
            self.executed = undo.executed;
            self.prepared = undo.prepared;
            self.binlog.truncate(undo.file, undo.start);
            self.binlog.sequence = undo.sequence;
        }
        self.binlog.restart(&self.executed, seconds(wall_ms), false);
        self.undo.clear();
    }

    /// PURGE BINARY LOGS TO: files before `name` go. The file that is written always stays.
    pub fn purge_to(&mut self, name: &str) -> Result<(), SqlError> {
        if self.binlog.named(name).is_none() {
            return Err(SqlError(format!("target log not found in binlog index: {name}")));
        }
        while self.binlog.files.len() > 1 && self.binlog.files.front().is_some_and(|file| file.name() != name) {
            self.binlog.files.pop_front();
        }
        if let Some(first) = self.binlog.files.front() {
            self.purged = first.previous.clone();
        }
        self.history.retain(|logged| !self.purged.contains(&logged.source, logged.number));
        Ok(())
    }

    /// RESET BINARY LOGS AND GTIDS.
    pub fn reset(&mut self, wall_ms: u64) {
        self.executed = Gtids::default();
        self.purged = Gtids::default();
        self.undo.clear();
        self.history.clear();
        self.binlog = Binlog::new(self.binlog.settings.clone(), 1, &self.executed, seconds(wall_ms));
    }
}

pub(crate) fn seconds(wall_ms: u64) -> u32 {
    (wall_ms / 1000) as u32
}

fn no_table(name: &TableName) -> SqlError {
    SqlError(format!("table '{}.{}' doesn't exist", name.database, name.table))
}

fn no_row(name: &TableName) -> SqlError {
    SqlError(format!("{}.{} has no row with this key", name.database, name.table))
}

/// `9.7.4-2` is 90704.
fn version_number(version: &str) -> u32 {
    version
        .split(|c: char| !c.is_ascii_digit())
        .take(3)
        .fold(0, |number, part| number * 100 + part.parse::<u32>().unwrap_or(0))
}
