//! Orders into MySQL: one transaction a step, on a session that all steps of an order share.

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use towpath_scenarios::load::{Devices, StepKind, Write};
use towpath_scenarios::workload::Table;
use towpath_stack::harness::orders::transaction_sql;

use crate::meter::{Figure, Shared, Sort};
use crate::probes::Probes;

/// A transaction that takes longer is an error.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often a transaction is tried again that the server gave up for a deadlock.
const RETRIES: u32 = 5;

/// What a session is given.
enum Job {
    Step(Box<Write>, Instant),
    Acknowledge(Vec<i64>, Instant),
}

/// What all sessions share.
#[derive(Debug, Clone)]
pub struct Work {
    /// Where to.
    pub url: String,
    /// The captured database.
    pub database: String,
    /// The cold one.
    pub cold: String,
    /// Measurements.
    pub meter: Shared,
    /// What devices have heard.
    pub sounds: Arc<std::sync::Mutex<Devices<Instant>>>,
    /// Who looks for new orders downstream.
    pub probes: Probes,
}

/// What was committed.
#[derive(Debug, Default)]
pub struct Written {
    /// Orders that came minus orders that were archived.
    pub live: AtomicI64,
    /// Orders that came.
    pub orders: AtomicU64,
    /// Transactions.
    pub transactions: AtomicU64,
    /// Row changes.
    pub changes: AtomicU64,
    /// Handed over and not answered.
    pub open: AtomicI64,
}

/// The sessions.
pub struct Writers {
    queues: Vec<mpsc::UnboundedSender<Job>>,
    tasks: JoinSet<()>,
    /// What was committed.
    pub written: Arc<Written>,
}

impl Writers {
    /// Opens so many sessions.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn connect(context: &Work, sessions: u32) -> Result<Self> {
        let written = Arc::new(Written::default());
        let mut writers = Self { queues: Vec::new(), tasks: JoinSet::new(), written };
        for _ in 0..sessions {
            let conn = connect(&context.url).await?;
            let (queue, jobs) = mpsc::unbounded_channel();
            writers.queues.push(queue);
            writers.tasks.spawn(work(conn, jobs, context.clone(), Arc::clone(&writers.written)));
        }
        Ok(writers)
    }

    /// A planned transaction, meant to begin at `due`.
    pub fn step(&self, write: Box<Write>, due: Instant) {
        self.give(write.order, Job::Step(write, due));
    }

    fn give(&self, key: i64, job: Job) {
        let place = key.unsigned_abs() as usize % self.queues.len().max(1);
        self.written.open.fetch_add(1, Ordering::Relaxed);
        // A session ends only after its queue.
        if self.queues.get(place).is_none_or(|queue| queue.send(job).is_err()) {
            self.written.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// For those who acknowledge what they heard.
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger { queues: self.queues.clone(), written: Arc::clone(&self.written) }
    }

    /// Waits until all that was handed over is done, or `patience` is over.
    pub async fn finish(mut self, patience: Duration) {
        self.queues.clear();
        let ends = async { while self.tasks.join_next().await.is_some() {} };
        // What is still open then is counted as such by the caller.
        drop(timeout(patience, ends).await);
        self.tasks.abort_all();
    }
}

/// Hands acknowledgements to the sessions.
#[derive(Clone)]
pub struct Acknowledger {
    queues: Vec<mpsc::UnboundedSender<Job>>,
    written: Arc<Written>,
}

impl Acknowledger {
    /// A device has rung for these orders.
    pub fn acknowledge(&self, merchant: u32, orders: Vec<i64>, heard: Instant) {
        let Some(queue) = self.queues.get(merchant as usize % self.queues.len().max(1)) else { return };
        if queue.send(Job::Acknowledge(orders, heard)).is_ok() {
            self.written.open.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn connect(url: &str) -> Result<Conn> {
    let mut conn = Conn::new(Opts::from_url(url)?).await.context("connecting to MySQL")?;
    conn.query_drop("SET time_zone = '+00:00'").await?;
    Ok(conn)
}

async fn work(conn: Conn, mut jobs: mpsc::UnboundedReceiver<Job>, context: Work, written: Arc<Written>) {
    let mut conn = Some(conn);
    while let Some(job) = jobs.recv().await {
        let sql = match &job {
            Job::Step(write, _) => step_sql(&context, write),
            Job::Acknowledge(orders, _) => acknowledge_sql(&context, orders),
        };
        let sent = Instant::now();
        let mut outcome = execute(&mut conn, &context.url, &sql).await;
        for _ in 0..RETRIES {
            // Nothing of it was done, and the server says what to do: try again, as every application does.
            if !outcome.as_ref().is_err_and(is_deadlock) {
                break;
            }
            outcome = execute(&mut conn, &context.url, &sql).await;
        }
        match outcome {
            Ok(()) => committed(&context, &written, job, sent),
            Err(error) => {
                let (Job::Step(_, due) | Job::Acknowledge(_, due)) = job;
                context.meter.failed(due, || format!("MySQL: {error:#}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
        written.open.fetch_sub(1, Ordering::Relaxed);
    }
    if let Some(conn) = conn {
        // Everything is committed; how the session ends changes nothing.
        drop(conn.disconnect().await);
    }
}

/// ER_LOCK_DEADLOCK: the whole transaction is rolled back.
fn is_deadlock(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<mysql_async::Error>();
    matches!(code, Some(mysql_async::Error::Server(server)) if server.code == 1213)
}

/// Connects anew where the last transaction failed: a session in an unknown state is of no use.
async fn execute(conn: &mut Option<Conn>, url: &str, sql: &str) -> Result<()> {
    let run = async {
        let mut open = match conn.take() {
            Some(open) => open,
            None => connect(url).await?,
        };
        open.query_drop(sql).await?;
        Ok::<Conn, anyhow::Error>(open)
    };
    *conn = Some(timeout(DEADLINE, run).await.context("no answer in time")??);
    Ok(())
}

fn committed(context: &Work, written: &Written, job: Job, sent: Instant) {
    let done = Instant::now();
    written.transactions.fetch_add(1, Ordering::Relaxed);
    match job {
        Job::Step(write, due) => {
            let figures = [Figure::WriteLatency, Figure::WriteService];
            context.meter.answered(Sort::Write, figures, [due, sent, done]);
            written.changes.fetch_add(write.transaction.ops.len() as u64, Ordering::Relaxed);
            match write.kind {
                StepKind::Created => {
                    written.orders.fetch_add(1, Ordering::Relaxed);
                    written.live.fetch_add(1, Ordering::Relaxed);
                    context.meter.lock().second(done).created += 1;
                    context.probes.committed(write.order, done);
                    let heard = lock(&context.sounds).committed(write.order, done);
                    if heard.is_some() {
                        context.meter.took(Figure::SoundDelay, done, done);
                    }
                }
                StepKind::Archived => {
                    written.live.fetch_sub(1, Ordering::Relaxed);
                    context.probes.archived(write.order);
                }
                _ => {}
            }
        }
        Job::Acknowledge(orders, due) => {
            context.meter.took(Figure::AcknowledgeLatency, due, done);
            written.changes.fetch_add(orders.len() as u64, Ordering::Relaxed);
        }
    }
}

/// A poisoned lock holds what it held: each change of it is one step.
pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn step_sql(context: &Work, write: &Write) -> String {
    let mut sql = String::with_capacity(1024);
    transaction_sql(&mut sql, &context.database, &write.transaction);
    if write.kind == StepKind::Archived {
        // The cold database is captured by nobody; the move is one transaction. It locks at once as it needs to lock in
        // the end: a shared lock that has to become an exclusive one is a deadlock with whoever waits in between.
        let copy = |table: Table| {
            let (cold, hot, name, order) = (&context.cold, &context.database, table.name(), write.order);
            format!(
                ";INSERT IGNORE INTO `{cold}`.`{name}` SELECT * FROM `{hot}`.`{name}` WHERE order_id = {order} FOR UPDATE"
            )
        };
        sql.insert_str("BEGIN".len(), &Table::ALL.map(copy).concat());
    }
    sql
}

fn acknowledge_sql(context: &Work, orders: &[i64]) -> String {
    let list: Vec<String> = orders.iter().map(i64::to_string).collect();
    let list = list.join(",");
    format!(
        "UPDATE `{}`.order_main SET prompt_flag = 0 WHERE order_id IN ({list}) AND prompt_flag = 1",
        context.database
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadlock_is_told_from_other_errors() {
        let error = |code| {
            let server = mysql_async::ServerError { code, message: "x".to_owned(), state: "40001".to_owned() };
            anyhow::Error::from(mysql_async::Error::Server(server))
        };
        assert!(is_deadlock(&error(1213)) && !is_deadlock(&error(1062)));
        assert!(!is_deadlock(&anyhow::anyhow!("no answer in time")));
    }
}
