//! Writes the order workload in one session, as fast as the gate lets it.
//!
//! Every transaction is committed for itself; several share a round trip, so that the server and not loopback is the
//! limit.

use anyhow::{Context, Result, bail, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use towpath_scenarios::workload::{Transaction, Workload};

use super::orders::Orders;

/// Transactions in one round trip.
const BATCH: usize = 20;

/// A running writer.
#[derive(Debug)]
pub struct Writer {
    task: JoinHandle<Result<()>>,
    progress: Arc<Progress>,
    gate: watch::Sender<u64>,
}

/// Told of each transaction after its commit, with the moment at which the commit was asked for.
pub type Observer = Arc<dyn Fn(&Transaction, Instant) + Send + Sync>;

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
    /// Starts writing to `database` of the server at `url`: at most `gate` transactions until [`Writer::open`] allows
    /// more.
    pub async fn start(url: &str, database: &str, workload: Workload, gate: u64) -> Result<Self> {
        Self::start_observed(url, database, workload, gate, Arc::new(|_, _| {})).await
    }

    /// The same, with somebody who is told of each commit.
    pub async fn start_observed(
        url: &str,
        database: &str,
        workload: Workload,
        gate: u64,
        observer: Observer,
    ) -> Result<Self> {
        let orders = Orders::connect(url, database).await?;
        let progress = Arc::new(Progress::default());
        let (gate, seen) = watch::channel(gate);
        let task = tokio::spawn(write(orders, workload, seen, Arc::clone(&progress), observer));
        Ok(Self { task, progress, gate })
    }

    /// What has been written so far.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Allows so many transactions in all.
    pub fn open(&self, transactions: u64) {
        self.gate.send_replace(transactions);
    }

    /// Waits until so many transactions are written, however long that takes while there is progress. `look` is called
    /// meanwhile, with how many there are.
    ///
    /// # Errors
    /// None was written for `patience`, the writer has ended (then its own error), or that of `look`.
    pub async fn reach(
        &mut self,
        transactions: u64,
        patience: Duration,
        mut look: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let (mut seen, mut since) = (self.progress.transactions(), Instant::now());
        while seen < transactions {
            if self.task.is_finished() && self.progress.transactions() < transactions {
                (&mut self.task).await.context("the writer's task")??;
                bail!("the workload ended after {} transactions", self.progress.transactions());
            }
            sleep(Duration::from_millis(20)).await;
            look(seen)?;
            let written = self.progress.transactions();
            if written > seen {
                (seen, since) = (written, Instant::now());
            }
            ensure!(since.elapsed() < patience, "no transaction after {seen}, of {transactions}, for {patience:?}");
        }
        Ok(())
    }

    /// Waits for the end of the workload.
    pub async fn finish(self) -> Result<Arc<Progress>> {
        self.task.await.context("the writer's task")??;
        Ok(self.progress)
    }
}

async fn write(
    mut orders: Orders,
    workload: Workload,
    mut gate: watch::Receiver<u64>,
    progress: Arc<Progress>,
    observer: Observer,
) -> Result<()> {
    let mut batch: Vec<Transaction> = Vec::with_capacity(BATCH);
    for (number, transaction) in workload.enumerate() {
        batch.push(transaction);
        let closed = *gate.borrow() <= number as u64 + 1;
        if batch.len() == BATCH || closed {
            flush(&mut orders, &mut batch, &progress, &observer).await?;
            gate.wait_for(|&open| open > number as u64 + 1).await.context("the gate is gone")?;
        }
    }
    flush(&mut orders, &mut batch, &progress, &observer).await?;
    orders.close().await
}

async fn flush(
    orders: &mut Orders,
    batch: &mut Vec<Transaction>,
    progress: &Progress,
    observer: &Observer,
) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let asked = Instant::now();
    orders.write(batch).await?;
    batch.iter().for_each(|transaction| observer(transaction, asked));
    let changes: usize = batch.iter().map(|transaction| transaction.ops.len()).sum();
    progress.transactions.fetch_add(batch.len() as u64, Ordering::Relaxed);
    progress.changes.fetch_add(changes as u64, Ordering::Relaxed);
    batch.clear();
    Ok(())
}
