//! XA transactions beside the workload, at whichever server is written to: prepared in one session, ended in whatever
//! session there is then.
//!
//! Must not plan them: `scenarios` does.

use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use towpath_scenarios::scenario::Scenario;
use towpath_scenarios::workload::Groups;

use super::work::{Ask, Shared, TICK, repeat};
use crate::harness::orders::Orders;

/// `XAER_DUPID`: an earlier attempt whose answer was lost has prepared it.
const PREPARED: u16 = 1440;
/// A group, or an order of it, was lost with its server's tail, or is held by a group that its end was lost of:
/// `XAER_NOTA`, `XA_RBROLLBACK`, `ER_LOCK_WAIT_TIMEOUT`, `XA_RBTIMEOUT`, `XA_RBDEADLOCK`.
const LOST: [u16; 5] = [1397, 1402, 1205, 1613, 1614];

/// As the simulation plans it.
pub async fn write(scenario: Scenario, seed: u64, shared: Arc<Shared>) -> Result<()> {
    let mut groups = Groups::new(scenario.workload.xa_per_second, seed);
    let (begun, length) = (Instant::now(), scenario.length.duration());
    let (mut session, mut before): (Option<Orders>, _) = (None, Duration::ZERO);
    while begun.elapsed() < length && !shared.stopped() {
        let now = begun.elapsed();
        for _ in 0..groups.step(now.saturating_sub(before)) {
            let group = groups.draw(now);
            match repeat(&mut session, &shared, Ask::Prepare(&group)).await {
                Ok(_) | Err((PREPARED, _)) => groups.prepared(group),
                Err((code, _)) if LOST.contains(&code) => {}
                Err((_, error)) => return Err(error).context("an XA transaction is refused"),
            }
        }
        for group in groups.due(now) {
            match repeat(&mut session, &shared, Ask::End(&group)).await {
                Ok(_) if group.commits => {
                    shared.transactions.fetch_add(1, Ordering::Relaxed);
                    shared.changes.fetch_add(group.rows.len() as u64, Ordering::Relaxed);
                    groups.committed(group);
                }
                Ok(_) => {}
                Err((code, _)) if LOST.contains(&code) => {}
                Err((_, error)) => return Err(error).context("the end of an XA transaction is refused"),
            }
        }
        before = now;
        sleep_until(begun + now + TICK).await;
    }
    Ok(())
}
