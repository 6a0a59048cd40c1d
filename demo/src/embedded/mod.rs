//! The whole pipeline in this process: the production engine between the models of the four services.
//!
//! Two parts: a backlog, written as fast as it goes, which shows how many rows a second the pipeline carries; then a
//! day
//! at the shop, at a pace that leaves it idle in between, which shows how fresh the search is.

mod cluster;
mod freshness;
mod pipeline;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use towpath_models::orders;
use towpath_scenarios::oracle::documents::{Document, SINKS, Verdict, compare};
use towpath_scenarios::workload::{Change, DATABASE, Table, Transaction, Workload, WorkloadConfig};

use crate::{Args, Summary};
use freshness::Probes;
use pipeline::Pipeline;

/// How many orders, if nothing else is said: well below half a minute on two cores.
const ORDERS: u64 = 10_000;
/// The share of the orders that is written as a backlog.
const BACKLOG: f64 = 0.7;
/// Transactions a second at the shop.
const PACE: u64 = 1_500;
/// A verdict that is not good stands when the pipeline has been idle, and nothing was written, for so long.
const QUIET: Duration = Duration::from_secs(2);
/// Documents are compared when nothing was written for so long: that costs more than looking at a number.
const STILL: Duration = Duration::from_millis(30);
/// Nothing takes longer on any machine that can build this.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs the demo.
///
/// # Errors
/// The pipeline stopped for a cause, or did not come to rest. Differences are no error: they are in the summary.
pub async fn run(args: &Args) -> Result<Summary> {
    let pipeline = Pipeline::start(args.sabotage)?;
    let orders = args.orders.unwrap_or(ORDERS);
    let bar = if args.json { ProgressBar::hidden() } else { progress(orders) };
    let mut plan = Workload::new(WorkloadConfig::new(args.seed, orders));
    let rows_per_s = backlog(orders, &pipeline, &mut plan, &bar).await?;
    let probes = Probes::default();
    let search = tokio::spawn(probes.clone().search(pipeline.index.clone(), "remind"));
    day(&pipeline, &mut plan, &probes, &bar).await?;
    bar.set_message("waiting for the last documents");
    let verdict = settle(&pipeline, &bar).await?;
    search.abort();
    bar.finish_and_clear();
    let counts = plan.counts();
    pipeline.stop().await?;
    // One deployer: nobody takes over. `--stack` has two.
    Ok(Summary::new(verdict, counts, probes.freshness(), rows_per_s))
}

/// Writes the first orders as fast as it goes; returns the row changes a second up to the last document.
async fn backlog(orders: u64, pipeline: &Pipeline, plan: &mut Workload, bar: &ProgressBar) -> Result<u64> {
    let orders = ((orders as f64 * BACKLOG) as u64).max(1);
    let started = Instant::now();
    while plan.counts().orders < orders {
        let Some(transaction) = plan.next() else { break };
        commit(pipeline, &transaction, None)?;
        bar.set_position(plan.counts().orders);
        // The pipeline shares this machine's threads: let it run.
        tokio::task::yield_now().await;
    }
    bar.set_message("a backlog is written; waiting for its documents");
    let changes = plan.counts().changes;
    settle(pipeline, bar).await?;
    Ok((changes as f64 / started.elapsed().as_secs_f64()) as u64)
}

/// Writes the other orders at a shop's pace.
async fn day(pipeline: &Pipeline, plan: &mut Workload, probes: &Probes, bar: &ProgressBar) -> Result<()> {
    bar.set_message("orders at a shop's pace");
    let mut next = Instant::now();
    let mut count = 0;
    while let Some(transaction) = plan.next() {
        commit(pipeline, &transaction, Some(probes))?;
        count += 1;
        if count % (PACE / 100) == 0 {
            next += Duration::from_millis(10);
            tokio::time::sleep_until(next).await;
        }
        if count % PACE == 0 {
            pipeline.check()?;
        }
        bar.set_position(plan.counts().orders);
    }
    Ok(())
}

/// Commits a transaction, and takes note of the orders that must be found from now on.
fn commit(pipeline: &Pipeline, transaction: &Transaction, probes: Option<&Probes>) -> Result<()> {
    let at = Instant::now();
    pipeline.mysql.commit(&orders::operations(transaction)).context("the workload and the tables contradict")?;
    let Some(probes) = probes else { return Ok(()) };
    for op in transaction.ops.iter().filter(|op| op.table == Table::Orders) {
        match &op.change {
            // A new order rings.
            Change::Insert(_) => probes.committed(op.key(), at),
            Change::Update { .. } | Change::Delete(_) => probes.changed(op.key()),
        }
    }
    Ok(())
}

/// Waits until every document equals its row, or until nothing moves any more; gives the verdict.
async fn settle(pipeline: &Pipeline, bar: &ProgressBar) -> Result<Verdict> {
    let deadline = Instant::now() + PATIENCE;
    let mut written = u64::MAX;
    let mut since = Instant::now();
    loop {
        pipeline.check()?;
        let now = pipeline.written.load(Ordering::Relaxed);
        bar.set_message(format!("{now} writes answered by the index"));
        if now != written || !pipeline.is_idle() {
            (written, since) = (now, Instant::now());
        }
        if since.elapsed() > STILL {
            let verdict = judge(pipeline).await?;
            if verdict.good() || since.elapsed() >= QUIET {
                return Ok(verdict);
            }
        }
        if Instant::now() >= deadline {
            bail!("the pipeline did not come to rest within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All rows against all documents that searches through the aliases show.
async fn judge(pipeline: &Pipeline) -> Result<Verdict> {
    let mut found = BTreeMap::new();
    for sink in SINKS {
        // An index that does not exist yet shows nothing.
        let _ = pipeline.index.refresh(sink.name).await;
        let all = serde_json::json!({ "match_all": {} });
        let documents = pipeline.index.scan(sink.name, &all, None, usize::MAX).await.unwrap_or_default();
        let documents = documents.into_iter().map(|(id, source)| {
            let source = serde_json::from_slice(&source).context("a document is not JSON")?;
            Ok(Document { id, source })
        });
        found.insert(sink.name, documents.collect::<Result<Vec<_>>>()?);
    }
    let rows = pipeline.mysql.rows(DATABASE, Table::Orders.name());
    let rows = rows.iter().map(|row| orders::from_model(row)).collect::<Result<Vec<_>, _>>()?;
    Ok(compare(rows, &found))
}

fn progress(orders: u64) -> ProgressBar {
    let bar = ProgressBar::new(orders);
    // The template is a constant; if it were wrong, the plain style would do.
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} orders  {msg}") {
        bar.set_style(style);
    }
    bar
}
