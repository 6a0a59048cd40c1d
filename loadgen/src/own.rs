//! A stack of one's own: the services, one deployer and one adapter, started for the run and ended with it.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use towpath_scenarios::load::{Outage, Profile};
use towpath_scenarios::oracle::documents::Verdict;
use towpath_stack::Stack;
use towpath_stack::harness::config::Pipeline;
use towpath_stack::harness::fleet::{Fleet, Role};
use towpath_stack::harness::orders::Orders;

use crate::drive::{Measured, Run};
use crate::judge;
use crate::live::View;
use crate::meter::Second;
use crate::processes::Watch;
use crate::report::{Drain, Findings, Report};
use crate::target::{Index, Target, Topic};
use crate::writes::lock;

const PATIENCE: Duration = Duration::from_secs(120);
const ADAPTER: &str = "adapter";

/// Services that are up, for one or several runs.
pub struct Services {
    stack: Stack,
    binary: PathBuf,
    runs: u32,
}

/// One pipeline on them.
pub struct Own {
    fleet: Fleet,
    /// Its servers and names.
    pub target: Target,
}

impl Services {
    /// Starts MySQL, Kafka, ZooKeeper and three clusters.
    ///
    /// # Errors
    /// A service does not start, or there is no `towpath` to run.
    pub async fn start() -> Result<Self> {
        let binary = towpath_binary()?;
        let stack = Stack::builder().mysql().kafka(1).zookeeper(1).es(&["hot", "full", "remind"]).start().await?;
        Ok(Self { stack, binary, runs: 0 })
    }

    /// Gives HOT and Remind cores that they do not share: a third of the machine's each, at least one. Clusters of
    /// their own have machines of their own; on one machine what saturates one would slow down the other.
    ///
    /// # Errors
    /// The machine has one core, or the system refuses.
    pub fn part_hot_from_remind(&self) -> Result<()> {
        let cores = std::thread::available_parallelism()?.get();
        ensure!(cores > 1, "HOT and Remind need a core each, and this machine has one");
        let each = (cores / 3).max(1);
        self.stack.es("hot")?.service().bind(&(0..each).collect::<Vec<_>>())?;
        self.stack.es("remind")?.service().bind(&(each..2 * each).collect::<Vec<_>>())
    }

    /// Ends them.
    ///
    /// # Errors
    /// One cannot be ended.
    pub async fn stop(self) -> Result<()> {
        self.stack.stop().await
    }

    /// Runs a profile on a fresh pipeline and database.
    ///
    /// # Errors
    /// The pipeline does not start, or a connection cannot be made; what fails later is part of the report.
    pub async fn run(&mut self, profile: &Profile, seed: u64, view: View) -> Result<Report> {
        self.runs += 1;
        view.say("starting a deployer and an adapter");
        let mut own = self.pipeline(&format!("load{}", self.runs)).await?;
        let run = Run::prepare(profile, seed, &own.target, 1, view.clone()).await;
        let run = run.map_err(|error| error.context(own.fleet.log_tails()))?;
        let (watch, start) = (run.watch(), run.start);
        let (measured, outage) = match &profile.outage {
            Some(outage) => tokio::join!(run.run(), own.outage(outage, start, watch)),
            None => (run.run().await, Ok(())),
        };
        outage.context("the outage")?;
        view.say("comparing documents with rows");
        let findings = Findings {
            documents: documents(&own.target, &measured).await,
            drain: profile.outage.as_ref().map(|outage| drained(outage, &measured.meter.lock().seconds)),
        };
        let mut report = Report::of(profile, seed, &measured, findings);
        if let Err(error) = own.fleet.all_alive() {
            report.reasons.push(format!("{error:#}"));
            report.passed = false;
        }
        view.end();
        own.fleet.stop(PATIENCE).await.context("stopping the pipeline")?;
        Ok(report)
    }

    /// The services.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// A fresh database with a deployer and an adapter, all called `name`.
    ///
    /// # Errors
    /// A process does not start.
    pub async fn pipeline(&self, name: &str) -> Result<Own> {
        let stack = &self.stack;
        let mysql = stack.mysql()?.root_url();
        let mut session = Orders::connect(&mysql, name).await?;
        session.create().await?;
        let pipeline = Pipeline::of_orders(stack, name, session.executed().await?)?;
        session.close().await?;
        let index = |sink: &towpath_stack::harness::config::Sink| {
            (sink.name.clone(), Index { url: sink.elasticsearch.clone(), alias: sink.index.clone() })
        };
        let mut target = Target {
            mysql,
            database: name.to_owned(),
            indexes: pipeline.sinks.iter().map(index).collect(),
            topic: Some(Topic { brokers: stack.kafka()?.bootstrap(), name: name.to_owned() }),
            processes: Vec::new(),
        };
        let mut cold = Orders::connect(&target.mysql, &target.cold_database()).await?;
        cold.create().await?;
        cold.close().await?;
        let mut fleet = Fleet::new(pipeline, &self.binary, stack.folder());
        fleet.start("deployer", Role::Deployer)?;
        fleet.start(ADAPTER, Role::Adapter)?;
        fleet.wait_leader(PATIENCE).await?;
        fleet.process(ADAPTER)?.wait_ready(PATIENCE).await?;
        let pid = |service: &towpath_stack::Service| Some((service.name().to_owned(), service.pid()?.cast_unsigned()));
        target.processes = stack.services().iter().filter_map(pid).collect();
        for name in ["deployer", ADAPTER] {
            target.processes.push((name.to_owned(), fleet.process(name)?.pid()));
        }
        Ok(Own { fleet, target })
    }
}

impl Own {
    /// Kills the adapter at its time and starts another one.
    async fn outage(&mut self, outage: &Outage, start: Instant, watch: Arc<Mutex<Watch>>) -> Result<()> {
        sleep_until(start + outage.at.duration()).await;
        self.fleet.kill(ADAPTER)?;
        sleep_until(start + outage.at.duration() + outage.lasts.duration()).await;
        self.fleet.start(ADAPTER, Role::Adapter)?;
        lock(&watch).add(ADAPTER, self.fleet.process(ADAPTER)?.pid());
        Ok(())
    }
}

/// Compares, if anything was written.
pub async fn documents(target: &Target, measured: &Measured) -> Option<Result<Verdict, String>> {
    measured.written.as_ref()?;
    match judge::documents_equal_rows(target, PATIENCE).await {
        Ok(verdict) => Some(Ok(verdict?)),
        Err(error) => Some(Err(format!("{error:#}"))),
    }
}

/// From the seconds' backlog: how large it was when the outage ended, and when it was down to what a second brings.
fn drained(outage: &Outage, seconds: &[Second]) -> Drain {
    let from = ((outage.at.millis() + outage.lasts.millis()) / 1000) as usize;
    let backlog_at = |second: usize| seconds.get(second).and_then(|second| second.backlog);
    let backlog = backlog_at(from).unwrap_or(0);
    let a_second = seconds.get(from).map_or(1, |second| second.done[0].max(1)) as i64;
    let until = (from + 1..seconds.len()).find(|second| backlog_at(*second).is_some_and(|left| left <= a_second));
    let orders_per_s = until.map(|until| {
        let came: u64 = seconds[from..until].iter().map(|second| second.created).sum();
        (backlog as f64 + came as f64 - backlog_at(until).unwrap_or(0) as f64) / (until - from) as f64
    });
    Drain { backlog, drained_s: until.map(|until| (until - from) as f64), orders_per_s }
}

/// The `towpath` beside this program, or (for a test in `deps`) one folder above; built if it is missing.
fn towpath_binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let places = [
        own.with_file_name("towpath"),
        own.parent().map(|folder| folder.with_file_name("towpath")).unwrap_or_default(),
    ];
    if let Some(found) = places.iter().find(|path| path.is_file()) {
        return Ok(found.clone());
    }
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    // Not quietly: the first time it takes minutes.
    let build = ["build", "-p", "towpath", "--bin", "towpath", "--features", "one-build"];
    let built = std::process::Command::new(cargo).args(build).status();
    ensure!(built.is_ok_and(|status| status.success()), "towpath does not build: type `cargo build -p towpath`");
    let [beside, _] = places;
    ensure!(beside.is_file(), "{} is missing: type `cargo build -p towpath`", beside.display());
    Ok(beside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_scenarios::scenario::Span;

    #[test]
    fn a_backlog_is_drained_when_no_more_than_a_second_s_worth_is_left() {
        let outage = Outage { at: Span::from_millis(1_000), lasts: Span::from_millis(2_000) };
        let second = |backlog| Second { backlog: Some(backlog), done: [100, 0], created: 20, ..Second::default() };
        let seconds: Vec<Second> = [0, 0, 300, 600, 400, 200, 60, 20].map(second).into();
        let drain = drained(&outage, &seconds);
        assert_eq!((drain.backlog, drain.drained_s), (600, Some(3.0)));
        assert_eq!(drain.orders_per_s, Some(200.0));
        assert_eq!(drained(&outage, &seconds[..5]).drained_s, None);
    }
}
