//! The port `BinlogSource` on the model server.

use super::reads::rows_by_key;
use super::replica::Channel;
use super::stream::{ModelStream, cut};
use super::value::TableName;
use super::{Gtids, Inner, MySql, MySqlFault};
use crate::faults::lock;
use async_trait::async_trait;
use std::collections::VecDeque;
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::source::{
    BinlogSource, BinlogStream, DumpRequest, EventBatch, Flavor, ReplicaState, RowsRead, RowsWanted, SchemaSnapshot,
    ServerIdentity, SourceError,
};
use towpath_engine::position::{FilePosition, Position};

/// Events of a transaction that are handed over at once: few, so that readers meet more than one batch.
const TRANSACTION_BATCH: usize = 2;

/// The engine's set from the model's text. The model writes only valid text, so an error is a defect that shows as one.
fn engine_set(set: &Gtids) -> Result<GtidSet, SourceError> {
    set.to_string().parse().map_err(|error| SourceError::Refused(format!("the GTID set {set} does not parse: {error}")))
}

impl Inner {
    /// What every call meets first: no server, a refused user, silence.
    fn reach(&mut self) -> Result<(), SourceError> {
        if !self.up {
            return Err(SourceError::Unavailable("connection refused".into()));
        }
        if self.silent {
            return Err(SourceError::Unavailable("no answer within the deadline".into()));
        }
        match self.faults.take(|fault| matches!(fault, MySqlFault::Unavailable | MySqlFault::Denied)) {
            Some(MySqlFault::Denied) => Err(SourceError::Denied("access denied for user (using password: YES)".into())),
            Some(_) => Err(SourceError::Unavailable("the connection was reset".into())),
            None => Ok(()),
        }
    }

    fn may_dump(&self) -> Result<(), SourceError> {
        let granted = |grant: &String| grant.contains("REPLICATION SLAVE") || grant.contains("ALL PRIVILEGES");
        if !self.server.config.grants.iter().any(granted) {
            return Err(SourceError::Denied("the user needs the REPLICATION SLAVE privilege".into()));
        }
        if !self.server.config.log_bin {
            return Err(SourceError::Refused("binary log is not open (log_bin=OFF)".into()));
        }
        Ok(())
    }

    fn end(&self) -> FilePosition {
        let (file, position) = self.server.binlog.end();
        FilePosition::new(super::binlog::file_name(file), position)
    }

    /// Where a dump by set starts, and the set.
    fn start_by_set(&self, set: &GtidSet) -> Result<(u64, u64, Gtids), SourceError> {
        let server = &self.server;
        if !server.config.gtid_mode {
            return Err(SourceError::Refused("cannot use auto position: the source has gtid_mode=OFF".into()));
        }
        let wanted =
            Gtids::parse(&set.to_string()).ok_or_else(|| SourceError::Refused(format!("malformed GTID set {set}")))?;
        if !wanted.is_subset_for(&server.executed, &server.config.server_uuid) {
            return Err(SourceError::Ahead(format!(
                "1236: replica has more GTIDs ({wanted}) than the source has ({}), using the source's SERVER_UUID",
                server.executed
            )));
        }
        let purged = || SourceError::Purged(format!("1236: the source purged {}", server.purged));
        if !server.purged.is_subset(&wanted) {
            return Err(purged());
        }
        let file = server.binlog.file_for(&wanted).ok_or_else(purged)?;
        Ok((file.number, 4, wanted))
    }

    /// A file that is not there: purged, not yet written, or never one of this server's.
    fn no_file(&self, at: &FilePosition) -> SourceError {
        let files = &self.server.binlog.files;
        match (at.file_number(), files.front(), files.back()) {
            (Some(wanted), Some(oldest), _) if wanted < oldest.number => {
                SourceError::Purged(format!("{at}: the oldest file is {}", oldest.name()))
            }
            (Some(wanted), _, Some(newest)) if wanted > newest.number => {
                SourceError::Ahead(format!("{at}: the newest file is {}", newest.name()))
            }
            _ => SourceError::NoEvent(format!("1236: the source has no file {}", at.file)),
        }
    }

    fn start_by_place(&self, at: &FilePosition) -> Result<(u64, u64), SourceError> {
        let binlog = &self.server.binlog;
        // An empty name is the oldest file.
        let file = if at.file.is_empty() { binlog.files.front() } else { binlog.named(&at.file) };
        let file = file.ok_or_else(|| self.no_file(at))?;
        if at.position < 4 {
            return Err(SourceError::NoEvent(format!("1236: position < 4 ({at})")));
        }
        if at.position > file.end() {
            return Err(SourceError::Ahead(format!("1236: start from position > file size ({at})")));
        }
        if at.position < file.end() && file.event_at(at.position).is_none() {
            return Err(SourceError::NoEvent(format!("1236: bogus data in log event ({at})")));
        }
        Ok((file.number, at.position))
    }
}

#[async_trait]
impl BinlogSource for MySql {
    async fn identify(&self) -> Result<ServerIdentity, SourceError> {
        let mut inner = lock(&self.inner);
        inner.reach()?;
        let config = inner.server.config.clone();
        let all = engine_set(&inner.server.executed)?;
        let executed = engine_set(inner.semi_sync.committed(&inner.server))?;
        let oldest = inner.server.binlog.files.front().map(|file| file.name()).unwrap_or_default();
        Ok(ServerIdentity {
            flavor: Flavor::MySql,
            version: config.version,
            server_uuid: config.server_uuid,
            server_id: config.server_id,
            log_bin: config.log_bin,
            binlog_format: config.binlog_format,
            row_image: config.row_image,
            row_metadata: if config.row_metadata_full { "FULL".into() } else { "MINIMAL".into() },
            gtid_mode: config.gtid_mode,
            gtid_owned: all.subtract(&executed),
            gtid_executed: executed,
            gtid_purged: engine_set(&inner.server.purged)?,
            mariadb_position: String::new(),
            oldest: FilePosition::new(oldest, 4),
            end: inner.end(),
            uptime_s: inner.started.elapsed().as_secs(),
            read_only: config.read_only,
            replica: replica_state(inner.channel.as_ref())?,
            semi_sync: None,
            grants: config.grants,
        })
    }

    async fn dump(&self, request: DumpRequest) -> Result<Box<dyn BinlogStream>, SourceError> {
        let mut inner = lock(&self.inner);
        inner.reach()?;
        inner.may_dump()?;
        let uuid = &inner.server.config.server_uuid;
        if request.server.as_ref().is_some_and(|wanted| wanted != uuid) {
            return Err(SourceError::OtherServer(uuid.clone()));
        }
        let (file, position, exclude) = match &request.from {
            Position::Gtid(set) => inner.start_by_set(set).map(|(file, at, set)| (file, at, Some(set)))?,
            Position::File(at) => inner.start_by_place(at).map(|(file, at)| (file, at, None))?,
            Position::MariaDb(text) => {
                return Err(SourceError::Refused(format!("a MariaDB position ({text}) means nothing to MySQL")));
            }
        };
        let connection = inner.next_connection;
        inner.next_connection += 1;
        // A replica that comes back under the same server_id ends the dump it had.
        let replica = (!request.beside).then_some(request.server_id);
        inner.dumps.retain(|_, known| known.is_none() || *known != replica);
        inner.dumps.insert(connection, replica);
        drop(inner);
        self.changed.send_modify(|n| *n += 1);
        Ok(Box::new(ModelStream::new(
            std::sync::Arc::clone(&self.inner),
            self.changed.subscribe(),
            connection,
            &request,
            (file, position),
            exclude,
        )))
    }

    async fn open_transaction(&self, at: &FilePosition) -> Result<Box<dyn BinlogStream>, SourceError> {
        let mut inner = lock(&self.inner);
        inner.reach()?;
        inner.may_dump()?;
        let (number, mut position) = inner.start_by_place(at)?;
        let checksummed = inner.server.binlog.settings.checksum;
        let mut events = Vec::new();
        if let Some(file) = inner.server.binlog.file(number) {
            while let Some(event) = file.event_at(position) {
                let head = is_head(event);
                if events.is_empty() != head {
                    break;
                }
                if matches!(event[4], super::encode::ROTATE_EVENT | super::encode::STOP_EVENT) {
                    break;
                }
                events.push(cut(event, checksummed).to_vec());
                position += event.len() as u64;
            }
        }
        if events.is_empty() {
            return Err(SourceError::NoEvent(format!("no transaction starts at {at}")));
        }
        Ok(Box::new(TransactionStream { events: events.into(), checksummed }))
    }

    async fn table_schemas(
        &self,
        accept: &(dyn for<'a> Fn(&'a str, &'a str) -> bool + Send + Sync),
    ) -> Result<SchemaSnapshot, SourceError> {
        let mut inner = lock(&self.inner);
        inner.reach()?;
        let position = if inner.server.config.gtid_mode {
            Position::Gtid(engine_set(inner.semi_sync.committed(&inner.server))?)
        } else {
            Position::File(inner.end())
        };
        let tables = inner.server.tables.values().filter(|t| accept(&t.schema.database, &t.schema.table));
        let tables: Vec<_> = tables.map(|table| table.schema.clone()).collect();
        let databases = inner.server.tables.keys().map(|name| (name.database.clone(), DEFAULT_COLLATION)).collect();
        Ok(SchemaSnapshot {
            before: position.clone(),
            after: position,
            end: inner.end(),
            collations: vec![Some(DEFAULT_COLLATION); tables.len()],
            tables,
            databases,
            fold_names: false,
        })
    }

    async fn read_rows(&self, wanted: RowsWanted<'_>) -> Result<RowsRead, SourceError> {
        let mut inner = lock(&self.inner);
        inner.reach()?;
        let server = &inner.server;
        if !server.config.gtid_mode {
            return Err(SourceError::Refused("gtid_mode is not ON: what a row read includes cannot be proven".into()));
        }
        let name = TableName::new(wanted.database, wanted.table);
        let table = server.table_before(&name, inner.semi_sync.waiting(server));
        let table = table.as_deref();
        let rows = rows_by_key(table, wanted.columns, wanted.keys).map_err(SourceError::Refused)?;
        Ok(RowsRead {
            server_uuid: server.config.server_uuid.clone(),
            includes: engine_set(inner.semi_sync.committed(server))?,
            // With what is owned: what waits may be committed before the rows are read.
            may_show: engine_set(&server.executed)?,
            table: table.map(|table| table.schema.clone()),
            rows,
        })
    }
}

/// How the server follows another one.
fn replica_state(channel: Option<&Channel>) -> Result<Option<ReplicaState>, SourceError> {
    let Some(channel) = channel else { return Ok(None) };
    let received = engine_set(&channel.received)?;
    Ok(Some(ReplicaState { received, receiving: channel.receiving, applying: channel.applying }))
}

/// A transaction's events, a few at a time.
struct TransactionStream {
    events: VecDeque<Vec<u8>>,
    checksummed: bool,
}

#[async_trait]
impl BinlogStream for TransactionStream {
    async fn next(&mut self) -> Result<EventBatch, SourceError> {
        let some = self.events.len().min(TRANSACTION_BATCH);
        let events: Vec<Vec<u8>> = self.events.drain(..some).collect();
        Ok(batch(&events, self.checksummed))
    }
}

/// `utf8mb4_0900_ai_ci`: nothing in the model has another default.
const DEFAULT_COLLATION: u16 = 255;

/// Whether an event begins a transaction.
fn is_head(event: &[u8]) -> bool {
    matches!(event[4], super::encode::GTID_EVENT | super::encode::ANONYMOUS_GTID_EVENT)
}

/// Events, checksums already cut, as one batch.
pub(crate) fn batch(events: &[Vec<u8>], checksummed: bool) -> EventBatch {
    let mut ends = Vec::with_capacity(events.len());
    let mut bytes = Vec::with_capacity(events.iter().map(Vec::len).sum());
    for event in events {
        bytes.extend_from_slice(event);
        ends.push(bytes.len() as u32);
    }
    EventBatch { bytes: bytes.into(), ends, checksummed }
}
