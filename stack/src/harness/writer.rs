//! Writes the order workload with several sessions, as fast as the gate lets it.
//!
//! Transactions of one order stay in one session and so in order; between orders the sessions race as real ones do.

use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use towpath_scenarios::workload::{Transaction, Workload};

use super::orders::Orders;

/// How many transactions wait in a session's queue.
const QUEUE: usize = 256;

/// A running writer.
#[derive(Debug)]
pub struct Writer {
    tasks: JoinSet<Result<()>>,
    progress: Arc<Progress>,
    gate: watch::Sender<u64>,
}

/// What has been written so far.
#[derive(Debug, Default)]
pub struct Progress {
    transactions: AtomicU64,
    changes: AtomicU64,
}

impl Progress {
    /// Transactions committed.
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Row changes committed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Starts writing to `database` of the server at `url` with `sessions` sessions; at most `gate` transactions
    /// until [`Writer::open`] allows more.
    pub async fn start(url: &str, database: &str, workload: Workload, sessions: usize, gate: u64) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let progress = Arc::new(Progress::default());
        let (gate, gate_seen) = watch::channel(gate);
        let mut queues = Vec::new();
        for _ in 0..sessions.max(1) {
            let (queue, work) = mpsc::channel(QUEUE);
            let orders = Orders::connect(url, database).await?;
            tasks.spawn(session(orders, work, Arc::clone(&progress)));
            queues.push(queue);
        }
        tasks.spawn(plan(workload, queues, gate_seen));
        Ok(Self { tasks, progress, gate })
    }

    /// What has been written so far.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Allows so many transactions in all.
    pub fn open(&self, transactions: u64) {
        self.gate.send_replace(transactions);
    }

    /// Waits for the end of the workload.
    pub async fn finish(mut self) -> Result<Arc<Progress>> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a writer's task")??;
        }
        Ok(self.progress)
    }
}

async fn plan(
    workload: Workload,
    queues: Vec<mpsc::Sender<Transaction>>,
    mut gate: watch::Receiver<u64>,
) -> Result<()> {
    for (number, transaction) in workload.enumerate() {
        gate.wait_for(|&open| open > number as u64).await.context("the gate is gone")?;
        let key = transaction.ops.first().map_or(0, order_of);
        let queue = key.unsigned_abs() as usize % queues.len();
        queues[queue].send(transaction).await.ok().context("a writer's session has ended")?;
    }
    Ok(())
}

/// The order that an operation belongs to: its own number, or that of the item's order.
fn order_of(op: &towpath_scenarios::workload::RowOp) -> i64 {
    use towpath_scenarios::workload::{Change, Table};
    let (Change::Insert(row) | Change::Update { before: row, .. } | Change::Delete(row)) = &op.change;
    let column = match op.table {
        Table::Orders => 0,
        Table::Items => 1,
    };
    row.get(column).and_then(towpath_scenarios::workload::Value::as_int).unwrap_or_default()
}

async fn session(mut orders: Orders, mut work: mpsc::Receiver<Transaction>, progress: Arc<Progress>) -> Result<()> {
    while let Some(transaction) = work.recv().await {
        orders.write(&transaction).await?;
        progress.transactions.fetch_add(1, Ordering::Relaxed);
        progress.changes.fetch_add(transaction.ops.len() as u64, Ordering::Relaxed);
    }
    orders.close().await
}
