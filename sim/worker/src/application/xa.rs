//! XA transactions beside the workload, at the model server.
//!
//! Must not plan them: `scenarios` does.

use anyhow::Result;
use std::time::Duration;
use towpath_models::mysql::MySql;
use towpath_models::orders;
use towpath_scenarios::workload::{Groups, Transaction};

use super::columns::arranged;
use crate::observe::OfSource;

/// Prepares and ends what is due.
///
/// # Errors
/// The source refuses what it should take.
pub fn work(groups: &mut Groups, now: Duration, step: Duration, source: &MySql, observer: &mut OfSource) -> Result<()> {
    for _ in 0..groups.step(step) {
        let group = groups.draw(now);
        let transaction = Transaction { ops: group.rows.clone() };
        match source.xa_prepare(&group.name, &arranged(orders::operations(&transaction), source)) {
            Ok(_) => groups.prepared(group),
            // An order that it changes was lost with the source's tail, or is held by a group whose end was.
            Err(error) if observer.has_turned_back() => tracing::debug!("refused by the source: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    for group in groups.due(now) {
        let ended = if group.commits { source.xa_commit(&group.name) } else { source.xa_rollback(&group.name) };
        match ended {
            Ok(commit) if group.commits => {
                observer.committed(commit, group.rows.len());
                groups.committed(group);
            }
            Ok(_) => {}
            // The prepared transaction, or a row of it, was lost with the source's tail.
            Err(error) if observer.has_turned_back() => tracing::debug!("refused by the source: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
