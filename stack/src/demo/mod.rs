//! `cargo demo --stack`: the order workload through real services, with the leading deployer killed halfway.
//!
//! Two deployers and an adapter run as the processes that users run. A backlog shows how many rows a second go through;
//! then the leader gets SIGKILL with work open, and the second one takes over; then orders come at a shop's pace, which
//! shows how fresh a search is. At the end every row (by SELECT) is compared with every document (by search).

mod sabotage;

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use towpath_scenarios::oracle::documents::Verdict;
use towpath_scenarios::summary::Summary;
use towpath_scenarios::workload::{Workload, WorkloadConfig};

use crate::harness::compare::{look, settle};
use crate::harness::config::{Pipeline, Sink};
use crate::harness::fleet::{Fleet, Role};
use crate::harness::freshness::Probes;
use crate::harness::orders::Orders;
use crate::harness::writer::Writer;
use crate::{Details, Stack, by_hand, paths};
pub use sabotage::Sabotage;

/// What can be said to the demo.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// How many orders are written.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    orders: u64,
    /// Same seed, same orders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave everything running at the end and print the addresses.
    #[arg(long)]
    keep: bool,
    /// Break a document on purpose at the end (repeatable): it must be caught, and the demo must fail.
    #[arg(long, value_enum)]
    sabotage: Vec<Sabotage>,
}

/// The pipeline's name, and the database's, the topic's and the path's.
const NAME: &str = "demo";
/// The share of the transactions that is written as a backlog.
const BACKLOG: f64 = 0.5;
/// The share that follows at once, so that the leader is killed with work open.
const RUSH: f64 = 0.1;
/// Transactions a second at the shop.
const PACE: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(120);
const SETTLE: Duration = Duration::from_secs(300);

/// Runs the demo; `binary` is the `towpath` to run. Fails (exit status 1) if a document differs or if there was none.
///
/// # Errors
/// A service or a process does not start, ends by itself, or does not do what it must within its time.
pub async fn run(arguments: &Arguments, binary: &Path, as_json: bool) -> Result<ExitCode> {
    let bar = if as_json { ProgressBar::hidden() } else { progress() };
    bar.set_message("starting MySQL, Kafka, ZooKeeper and three Elasticsearch clusters");
    let builder = Stack::builder().mysql().kafka(1).zookeeper(1).es(&["hot", "full", "remind"]);
    let builder = if arguments.keep { builder.detached(&kept_folder().await?) } else { builder };
    let stack = builder.start().await?;
    let mut session = Orders::connect(&stack.mysql()?.root_url(), NAME).await?;
    session.create().await?;
    let pipeline = Pipeline::of_orders(&stack, NAME, session.executed().await?)?;
    let sinks = pipeline.sinks.clone();
    let mut fleet = Fleet::new(pipeline, binary, stack.folder());
    let mut run = Run { arguments, stack: &stack, fleet: &mut fleet, session: &mut session, sinks: &sinks, bar: &bar };
    let summary = run.whole().await;
    let summary = summary.map_err(|error| error.context(fleet.log_tails()))?;
    bar.finish_and_clear();
    session.close().await?;
    tell(&summary, as_json)?;
    if arguments.keep {
        keep(fleet, &stack, as_json).await?;
    } else {
        fleet.stop(PATIENCE).await.context("stopping in order")?;
        stack.stop().await?;
    }
    Ok(if summary.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder of a stack that is kept. What an earlier run left in it is ended and removed: its orders would be in the
/// way.
async fn kept_folder() -> Result<PathBuf> {
    let folder = paths::by_hand_dir()?.with_file_name("demo");
    if folder.join("stack.json").exists() {
        by_hand::down(&folder, true).await?;
    }
    Ok(folder)
}

/// What a run works with.
struct Run<'a> {
    arguments: &'a Arguments,
    stack: &'a Stack,
    fleet: &'a mut Fleet,
    session: &'a mut Orders,
    sinks: &'a [Sink],
    bar: &'a ProgressBar,
}

impl Run<'_> {
    async fn whole(&mut self) -> Result<Summary> {
        for (name, role) in [("deployer-a", Role::Deployer), ("deployer-b", Role::Deployer), ("adapter", Role::Adapter)]
        {
            self.fleet.start(name, role)?;
        }
        self.bar.set_message("waiting for a leader");
        self.fleet.wait_leader(PATIENCE).await?;

        let config = WorkloadConfig::new(self.arguments.seed, self.arguments.orders);
        let mut plan = Workload::new(config);
        let transactions = plan.by_ref().count() as u64;
        let counts = plan.counts();
        self.bar.set_length(transactions);
        let share = |part: f64| (transactions as f64 * part) as u64;

        let probes = Probes::default();
        let url = self.stack.mysql()?.root_url();
        let observer = probes.observer();
        let workload = Workload::new(config);
        let mut writer = Writer::start_observed(&url, NAME, workload, 0, observer).await?;
        let rows_per_s = self.backlog(&mut writer, share(BACKLOG)).await?;
        self.kill_leader(&mut writer, share(BACKLOG + RUSH)).await?;
        self.day(&mut writer, transactions, &probes).await?;
        writer.open(u64::MAX);
        writer.finish().await?;
        let mut summary =
            Summary::new(self.verdict(transactions).await?, counts, probes.freshness(|_| true), rows_per_s);
        summary.takeovers = 1;
        Ok(summary)
    }

    /// Writes the first transactions as fast as it goes; returns the row changes a second up to the last document.
    async fn backlog(&mut self, writer: &mut Writer, transactions: u64) -> Result<u64> {
        self.bar.set_message("a backlog, as fast as it goes");
        let begun = Instant::now();
        self.write(writer, transactions).await?;
        let changes = writer.progress().changes();
        self.bar.set_message("waiting for the backlog's documents");
        settle(self.session, self.sinks, SETTLE).await?;
        Ok((changes as f64 / begun.elapsed().as_secs_f64()) as u64)
    }

    /// SIGKILL to the leading deployer while it has work open; returns when the other one leads.
    async fn kill_leader(&mut self, writer: &mut Writer, transactions: u64) -> Result<()> {
        let victim = self.fleet.wait_leader(PATIENCE).await?;
        let term = self.fleet.process(&victim)?.metric("towpath_term").await?;
        writer.open(transactions);
        let open = self.fleet.kill_with_open_work(&victim, PATIENCE).await?;
        let killed = Instant::now();
        self.bar.println(format!("{victim} (term {term}) killed with {open} bytes on their way"));
        self.bar.set_message("waiting for the other deployer to take over");
        let leader = self.fleet.wait_leader(PATIENCE).await?;
        let term = self.fleet.process(&leader)?.metric("towpath_term").await?;
        let took = killed.elapsed().as_secs_f64();
        self.bar.println(format!("{leader} has taken over (term {term}) after {took:.1} s"));
        self.write(writer, transactions).await?;
        self.bar.set_message("waiting for the documents after the takeover");
        settle(self.session, self.sinks, SETTLE).await.map(|_| ())
    }

    /// Writes the other transactions at a shop's pace, and looks for new orders in the index of the prompt sound.
    async fn day(&mut self, writer: &mut Writer, transactions: u64, probes: &Probes) -> Result<()> {
        self.bar.set_message("orders at a shop's pace");
        let sink = self.sinks.iter().find(|sink| sink.name == "remind").context("there is no sink remind")?;
        let search = tokio::spawn(probes.clone().search(sink.elasticsearch.clone(), sink.index.clone()));
        let mut next = Instant::now();
        let mut open = writer.progress().transactions();
        while open < transactions {
            open += PACE / 50;
            writer.open(open);
            next += Duration::from_millis(20);
            tokio::time::sleep_until(next).await;
            self.bar.set_position(writer.progress().transactions());
            self.fleet.all_alive()?;
        }
        self.write(writer, transactions).await?;
        // The last orders may still be on their way to the search.
        sleep(Duration::from_secs(1)).await;
        search.abort();
        Ok(())
    }

    /// Opens the gate so far and waits until that is written.
    async fn write(&mut self, writer: &mut Writer, transactions: u64) -> Result<()> {
        writer.open(transactions);
        let look = |written| {
            self.bar.set_position(written);
            self.fleet.all_alive()
        };
        writer.reach(transactions, PATIENCE, look).await.context("writing orders; is MySQL alive?")?;
        self.bar.set_position(transactions);
        Ok(())
    }

    async fn verdict(&mut self, transactions: u64) -> Result<Verdict> {
        self.bar.set_position(transactions);
        self.bar.set_message("comparing every document with its row");
        let verdict = settle(self.session, self.sinks, SETTLE).await?;
        if self.arguments.sabotage.is_empty() {
            return Ok(verdict);
        }
        for sabotage in &self.arguments.sabotage {
            sabotage.commit(self.sinks).await?;
        }
        look(self.session, self.sinks).await
    }
}

fn tell(summary: &Summary, as_json: bool) -> Result<()> {
    if as_json {
        println!("{}", serde_json::to_string(summary)?);
    } else {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).add_rows(summary.figures());
        println!("{table}\n{}", summary.verdict());
    }
    Ok(())
}

/// Leaves all processes running and says where they are; to the error output, so that `--json` stays one object.
async fn keep(fleet: Fleet, stack: &Stack, as_json: bool) -> Result<()> {
    let details = Details::of(stack).await?;
    let left = fleet.leave();
    if as_json {
        eprintln!("{}", serde_json::to_string(&details)?);
    } else {
        eprintln!("\n{}", details.to_text()?.trim_end());
    }
    let pids: Vec<String> = left.iter().map(|(_, pid, _)| pid.to_string()).collect();
    for (name, pid, admin) in left {
        eprintln!("{name}: process {pid}, http://{admin}/readyz and /metrics");
    }
    let folder = stack.folder().display();
    eprintln!("To end it all: kill {} && cargo stack down --purge --data {folder}", pids.join(" "));
    Ok(())
}

fn progress() -> ProgressBar {
    let bar = ProgressBar::new(0);
    bar.enable_steady_tick(Duration::from_millis(100));
    // The template is a constant; if it were wrong, the plain style would do.
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} transactions  {msg}") {
        bar.set_style(style);
    }
    bar
}
