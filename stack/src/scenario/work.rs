//! The workload at its planned pace, into whichever server is written to; it outlives the server's absence.
//!
//! A transaction whose commit was not answered is written again: a key that exists then says that it had been applied.

use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use towpath_scenarios::scenario::Scenario;
use towpath_scenarios::workload::{Group, Transaction, Workload, WorkloadConfig, huge, poison};

use super::groups;
use crate::harness::orders::Orders;
use crate::harness::writer::Observer;

/// Between two attempts while the server is away.
const AGAIN: Duration = Duration::from_millis(200);
/// How finely the pace is kept.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// `ER_DUP_ENTRY`.
const DUPLICATE: u16 = 1062;

/// The running workload.
#[derive(Debug)]
pub struct Work {
    task: JoinHandle<Result<()>>,
    /// XA transactions, if there are any.
    groups: Option<JoinHandle<Result<()>>>,
    shared: Arc<Shared>,
}

/// What all who write know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    url: Mutex<String>,
    database: String,
    stopped: AtomicBool,
    /// Transactions committed so far.
    pub(super) transactions: AtomicU64,
    /// Row changes committed so far.
    pub(super) changes: AtomicU64,
}

impl Shared {
    /// Whether nothing more is to be written.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

impl Work {
    /// Starts; `url` is the server to begin with.
    pub fn start(scenario: &Scenario, seed: u64, url: String, database: &str, observer: Observer) -> Self {
        let shared = Shared { url: Mutex::new(url), database: database.to_owned(), ..Shared::default() };
        let shared = Arc::new(shared);
        let task = tokio::spawn(write(scenario.clone(), seed, Arc::clone(&shared), observer));
        let with_groups = scenario.workload.xa_per_second > 0;
        let groups = with_groups.then(|| tokio::spawn(groups::write(scenario.clone(), seed, Arc::clone(&shared))));
        Self { task, groups, shared }
    }

    /// From now on another server is written to.
    pub fn moves_to(&self, url: String) {
        *self.shared.url.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    /// Nothing more is written.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    /// Transactions and row changes committed so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.transactions.load(Ordering::Relaxed), self.shared.changes.load(Ordering::Relaxed))
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// The server refuses a transaction for another reason than its absence.
    pub async fn finish(&mut self) -> Result<()> {
        (&mut self.task).await.context("the workload's task")??;
        match &mut self.groups {
            Some(groups) => groups.await.context("the task of the XA transactions")?,
            None => Ok(()),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.task.abort();
        self.groups.iter().for_each(JoinHandle::abort);
    }
}

/// As the simulation plans it: so many transactions are due at a moment of the run.
async fn write(scenario: Scenario, seed: u64, shared: Arc<Shared>, observer: Observer) -> Result<()> {
    let work = &scenario.workload;
    let length = scenario.length.duration();
    let peak = work.peak_at.duration()..work.peak_at.duration() + work.peak_for.duration();
    let mut workload = Workload::new(WorkloadConfig::new(seed, u64::from(work.orders)));
    let mut session = None;
    let (begun, mut special, mut credit, mut written) = (Instant::now(), true, 0.0, 0);
    let mut before = Duration::ZERO;
    while begun.elapsed() < length && !shared.stopped() {
        let now = begun.elapsed();
        let times = if peak.contains(&now) { f64::from(work.peak_times) } else { 1.0 };
        credit += f64::from(work.rate) * times * (now - before).as_secs_f64();
        before = now;
        if special && now >= length / 2 {
            special = false;
            for transaction in [
                (work.huge_rows > 0).then(|| huge(work.huge_rows)),
                (work.poison_bytes > 0).then(|| poison(work.poison_bytes)),
            ] {
                if let Some(transaction) = transaction {
                    commit(&mut session, &shared, &transaction, &observer).await?;
                }
            }
        }
        while credit >= 1.0 && written < work.transactions && begun.elapsed() < length {
            credit -= 1.0;
            written += 1;
            let Some(transaction) = workload.next() else { return Ok(()) };
            commit(&mut session, &shared, &transaction, &observer).await?;
        }
        sleep_until(begun + before + TICK).await;
    }
    Ok(())
}

/// Commits one transaction, however long its server is away.
async fn commit(
    session: &mut Option<Orders>,
    shared: &Shared,
    transaction: &Transaction,
    observer: &Observer,
) -> Result<()> {
    match repeat(session, shared, Ask::Write(transaction)).await {
        Ok(asked) => observer(transaction, asked),
        Err((DUPLICATE, _)) => {}
        Err((_, error)) => return Err(error),
    }
    shared.transactions.fetch_add(1, Ordering::Relaxed);
    shared.changes.fetch_add(transaction.ops.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// What a server is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'a> {
    /// A transaction.
    Write(&'a Transaction),
    /// An XA transaction up to its PREPARE.
    Prepare(&'a Group),
    /// Its end.
    End(&'a Group),
}

/// Asks until the server has answered, however long it is away. Returns when it was asked for the last time.
///
/// # Errors
/// The server has understood and refuses: its code, and the error.
pub(super) async fn repeat(
    session: &mut Option<Orders>,
    shared: &Shared,
    ask: Ask<'_>,
) -> Result<Instant, (u16, anyhow::Error)> {
    loop {
        let orders = match session.as_mut() {
            Some(orders) => orders,
            None => {
                let url = shared.url.lock().unwrap_or_else(PoisonError::into_inner).clone();
                match Orders::connect(&url, &shared.database).await {
                    Ok(orders) => session.insert(orders),
                    Err(_) => {
                        sleep(AGAIN).await;
                        continue;
                    }
                }
            }
        };
        let asked = Instant::now();
        let answer = match ask {
            Ask::Write(transaction) => orders.write(std::slice::from_ref(transaction)).await,
            Ask::Prepare(group) => orders.prepare(group).await,
            Ask::End(group) => orders.end(group).await,
        };
        let Err(error) = answer else { return Ok(asked) };
        // What is left open in the session goes with it.
        *session = None;
        match refusal(&error) {
            None => sleep(AGAIN).await,
            Some(code) => return Err((code, error)),
        }
    }
}

/// The server's code when it has understood and refuses; none while it is away, shutting down or read-only.
fn refusal(error: &anyhow::Error) -> Option<u16> {
    // ER_SERVER_SHUTDOWN, ER_OPTION_PREVENTS_STATEMENT (read-only), ER_QUERY_INTERRUPTED, ER_LOCK_DEADLOCK.
    const PASSING: [u16; 4] = [1053, 1290, 1317, 1213];
    match error.downcast_ref::<mysql_async::Error>() {
        Some(mysql_async::Error::Server(refused)) if !PASSING.contains(&refused.code) => Some(refused.code),
        _ => None,
    }
}
