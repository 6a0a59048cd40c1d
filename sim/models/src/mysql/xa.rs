//! XA transactions of the model server: prepared, held with their rows locked, then committed or rolled back.
//!
//! Must not let a prepared row be seen or changed: the real server holds its locks until the end, over restarts.

use super::encode;
use super::server::{Deed, Server, row_keys};
use super::value::{RowOp, TableName};
use super::{Commit, SqlError};
use std::collections::BTreeSet;

/// A prepared transaction.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    ops: Vec<RowOp>,
    locks: BTreeSet<(TableName, Vec<u8>)>,
}

/// The id of an XA transaction that has only a global part, as the server prints it.
fn xid(global: &str) -> String {
    let hex: String = global.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("X'{hex}',X'',1")
}

fn statement(sql: String) -> (u8, u16, Vec<u8>) {
    (encode::QUERY_EVENT, encode::FLAG_SUPPRESS_USE, encode::query_body(10, "", &sql))
}

/// XA_PREPARE: a byte for one phase, the format, the lengths of both parts, the parts.
fn prepare_event(global: &str, one_phase: bool) -> (u8, u16, Vec<u8>) {
    let mut body = vec![u8::from(one_phase)];
    body.extend_from_slice(&1u32.to_le_bytes());
    body.extend_from_slice(&(global.len() as u32).to_le_bytes());
    body.extend_from_slice(&0u32.to_le_bytes());
    body.extend_from_slice(global.as_bytes());
    (encode::XA_PREPARE_EVENT, 0, body)
}

impl Server {
    /// XA START, the operations, XA END, XA PREPARE.
    pub fn xa_prepare(&mut self, global: &str, ops: &[RowOp], wall_ms: u64) -> Result<Commit, SqlError> {
        if self.prepared.contains_key(global) {
            return Err(SqlError("XAER_DUPID: the XID already exists".into()));
        }
        let (changes, undo) = self.apply_all(ops)?;
        let locks = undo.iter().map(|(table, key, _)| (table.clone(), key.clone())).collect();
        let events = self.group(global, &changes, false);
        self.take_back(undo);
        self.deed = Some(Deed::XaPrepare(global.to_owned(), ops.to_vec()));
        let commit = self.log(&events, false, wall_ms, Vec::new());
        self.prepared.insert(global.to_owned(), Prepared { ops: ops.to_vec(), locks });
        Ok(commit)
    }

    /// XA START, the operations, XA END, XA COMMIT … ONE PHASE.
    pub fn xa_one_phase(&mut self, global: &str, ops: &[RowOp], wall_ms: u64) -> Result<Commit, SqlError> {
        let (changes, undo) = self.apply_all(ops)?;
        let events = self.group(global, &changes, true);
        self.deed = Some(Deed::XaOnePhase(global.to_owned(), ops.to_vec()));
        Ok(self.log(&events, false, wall_ms, undo))
    }

    fn group(&self, global: &str, changes: &[super::server::Change], one_phase: bool) -> Vec<(u8, u16, Vec<u8>)> {
        let mut events = vec![statement(format!("XA START {}", xid(global)))];
        for rows in super::server::statements(changes) {
            self.put_statement(&mut events, rows);
        }
        events.push(statement(format!("XA END {}", xid(global))));
        events.push(prepare_event(global, one_phase));
        events
    }

    /// XA COMMIT of a prepared transaction.
    pub fn xa_commit(&mut self, global: &str, wall_ms: u64) -> Result<Commit, SqlError> {
        let Prepared { ops, .. } = self.prepared.get(global).cloned().ok_or_else(unknown)?;
        let before = self.prepared.clone();
        // Its own locks do not stand in its way.
        self.prepared.remove(global);
        let applied = self.apply_all(&ops);
        let after = std::mem::replace(&mut self.prepared, before);
        let (_, undo) = applied?;
        self.deed = Some(Deed::XaCommit(global.to_owned()));
        let commit = self.log(&[statement(format!("XA COMMIT {}", xid(global)))], false, wall_ms, undo);
        self.prepared = after;
        Ok(commit)
    }

    /// XA ROLLBACK of a prepared transaction.
    pub fn xa_rollback(&mut self, global: &str, wall_ms: u64) -> Result<Commit, SqlError> {
        if !self.prepared.contains_key(global) {
            return Err(unknown());
        }
        self.deed = Some(Deed::XaRollback(global.to_owned()));
        let commit = self.log(&[statement(format!("XA ROLLBACK {}", xid(global)))], false, wall_ms, Vec::new());
        self.prepared.remove(global);
        Ok(commit)
    }

    /// Refuses another definition of a table that a prepared transaction has written to.
    pub fn check_definition(&self, table: &TableName) -> Result<(), SqlError> {
        if self.prepared.values().any(|prepared| prepared.ops.iter().any(|op| op.table() == table)) {
            return Err(SqlError("lock wait timeout exceeded: a prepared XA transaction holds the definition".into()));
        }
        Ok(())
    }

    /// Refuses an operation on a row that a prepared transaction holds.
    pub fn check_locks(&self, op: &RowOp) -> Result<(), SqlError> {
        let keys = row_keys(self, op);
        let held = |prepared: &Prepared| keys.iter().any(|key| prepared.locks.contains(key));
        if self.prepared.values().any(held) {
            return Err(SqlError("lock wait timeout exceeded: a prepared XA transaction holds the row".into()));
        }
        Ok(())
    }
}

fn unknown() -> SqlError {
    SqlError("XAER_NOTA: unknown XID".into())
}
