//! What a person decides about a table whose rows are held: its definition from then on, and whether the rows are read
//! again.
//!
//! Changes a state only; the next leader carries it out. Must not ask a service.

use super::config::Start;
use crate::position::Position;
use crate::schema::catalog::TableDefinition;
use crate::state::{EpochHistory, PipelineState, PositionOrder, Quarantine, SchemaOrder};

/// What happens with the rows that were held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// They are read again, with everything that was written since.
    Replay,
    /// They are given up: the table goes on at the checkpoint.
    Discard,
}

/// The table's entry; `None` if its rows are not held.
pub fn held<'a>(state: &'a PipelineState, database: &str, table: &str) -> Option<&'a Quarantine> {
    let quarantine = &state.schemas.as_ref()?.quarantine;
    quarantine.iter().find(|held| held.database == database && held.table == table)
}

/// Ends a table's quarantine: its definition is this one, from the transaction on with which it began. Returns what was
/// done, for the audit trail; `None` if the table's rows are not held.
///
/// Under the epoch in which it began the pipeline goes back to the checkpoint that was kept: what it produces again has
/// the versions that it had. Under a later one, versions of old transactions exist no more: a new epoch begins there.
pub fn resolve(state: &mut PipelineState, definition: TableDefinition, rows: Rows, at_ms: u64) -> Option<String> {
    let name = (definition.schema.database.clone(), definition.schema.table.clone());
    let entry = held(state, &name.0, &name.1)?.clone();
    let epoch = state.epoch.number;
    let schemas = state.schemas.as_mut()?;
    schemas.quarantine.retain(|held| (&held.database, &held.table) != (&name.0, &name.1));
    schemas
        .orders
        .retain(|order| order.definition.schema.table != name.1 || order.definition.schema.database != name.0);
    let transaction = (rows == Rows::Replay).then(|| entry.transaction.clone());
    schemas.orders.push(SchemaOrder { transaction, definition, at_ms });
    let table = format!("{}.{}", name.0, name.1);
    let what = match (rows, entry.epoch == epoch) {
        (Rows::Discard, _) => {
            format!("table {table}: its rows from transaction {} on are given up", entry.transaction)
        }
        (Rows::Replay, true) => {
            // Tables held later are found again on the way.
            schemas.quarantine.retain(|held| held.epoch != epoch || held.offset < entry.resume.offset);
            schemas.history = entry.history;
            state.ring.cut(epoch, entry.resume.offset);
            let from = entry.resume.offset;
            state.checkpoint = entry.resume;
            state.prepared = entry.prepared;
            format!("table {table}: its rows are read again from offset {from} of epoch {epoch} on")
        }
        (Rows::Replay, false) => {
            let to = match &entry.resume.resume {
                Position::Gtid(set) => Some(Start::Gtid(set.clone())),
                Position::File(at) => Some(Start::File(at.clone())),
                Position::MariaDb(_) => None,
            };
            let reason = format!("the rows of {table} are read again, held since epoch {}", entry.epoch);
            let definitions = EpochHistory { epoch: entry.epoch, offset: entry.resume.offset, history: entry.history };
            state.order = Some(PositionOrder { to, reason, at_ms, definitions: Some(definitions) });
            format!("table {table}: its rows are read again under a new epoch")
        }
    };
    state.note(at_ms, format!("{what}, by hand"));
    Some(what)
}
