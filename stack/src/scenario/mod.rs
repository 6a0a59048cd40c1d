//! `cargo stack run SCENARIO`: a scenario of the simulation on real processes.
//!
//! The same file, workload and judgement of documents; faults are signals, links that are cut, services that are
//! killed, and SQL. What real processes cannot show is named as skipped.

mod action;
mod cast;
mod cost;
mod course;
mod expect;
mod groups;
mod link;
pub(crate) mod outcome;
mod perform;
mod tail;
mod watch;
mod work;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use towpath_picture::service_of;
use towpath_scenarios::oracle::documents::Verdict;
use towpath_scenarios::scenario::{Archive, FaultKind, Scenario, Span, parse};

use crate::harness::compare::settle;
use crate::harness::fleet::Role;
use crate::harness::freshness::Probes;
use crate::harness::orders::Orders;
use action::{Action, Who};
use cast::Cast;
pub(crate) use cast::Ground;
use cost::Costs;
use course::{Course, FaultId};
use expect::{Measured, expectations};
use outcome::{Outcome, Phases, Told};
use perform::{Beside, Undo};
use watch::Watch;
use work::Work;

/// What can be said to a run.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// What is run: see [`load`].
    pub scenario: Scenario,
    /// Same seed, same workload.
    pub seed: u64,
    /// Expectations that a clock decides fail the run too.
    pub clocks: bool,
    /// The run ends before its length once its faults are over and documents have caught up.
    pub brisk: bool,
    /// Where the run's picture goes.
    pub html: Option<PathBuf>,
}

const PATIENCE: Duration = Duration::from_secs(120);
/// Documents equal their rows at the latest so long after the last write; judged, not measured.
const SETTLE: Duration = Duration::from_secs(240);
/// A brisk run goes on so long after its last fault.
const AFTERMATH: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(100);
/// So many times as long as the tail that is to be lost took to be written: a busy machine writes more slowly.
const TAIL: f64 = 4.0;
const TAIL_AT_LEAST: Duration = Duration::from_secs(2);
/// Longer than the session's timeout in the harness' configuration: the ensemble has given the session up by then.
const SESSION_GONE: Duration = Duration::from_secs(8);

/// Reads a scenario: shipped, or a file.
///
/// # Errors
/// There is none, or it is wrong: the message says where.
pub fn load(named: &str) -> Result<Scenario> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let path = if Path::new(named).extension().is_some() {
        PathBuf::from(named)
    } else {
        shipped.join(format!("{named}.toml"))
    };
    if !path.is_file() {
        bail!("no scenario `{named}`: `cargo sim list` has all; a file ends in .toml");
    }
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let scenario = parse(&name, &std::fs::read_to_string(&path)?)?;
    let work = &scenario.workload;
    for (asked, key) in [
        (!scenario.topology.sources.is_empty(), "topology.source"),
        (scenario.topology.archive != Archive::None, "topology.archive"),
        (work.columns_move_every > Span::ZERO, "workload.columns_move_every"),
        (work.profile.is_some(), "workload.profile"),
    ] {
        if asked {
            bail!("scenario {name}: `{key}` is not written on real processes yet; type `cargo sim run {name}`");
        }
    }
    Ok(scenario)
}

/// Runs scenarios, one after the other, on services of their own and prints what each came to (one line of JSON each);
/// exit status 1 if one fails.
///
/// # Errors
/// A service or a process does not start, or the workload is refused.
pub async fn run(all: &[Arguments], binary: &Path, as_json: bool) -> Result<ExitCode> {
    let brokers = all.iter().map(|one| one.scenario.topology.brokers).max().unwrap_or(1);
    let mut ground = Ground::start(brokers).await?;
    let mut failed = Vec::new();
    for arguments in all {
        let outcome = carry_out(&mut ground, arguments, binary, as_json).await?;
        if as_json {
            println!("{}", serde_json::to_string(&outcome)?);
        } else {
            println!("{}", outcome.text());
        }
        if !outcome.passed {
            failed.push(outcome.scenario);
        }
    }
    ground.stop().await?;
    if all.len() > 1 {
        eprintln!(
            "{} scenarios, {} failed{}{}",
            all.len(),
            failed.len(),
            if failed.is_empty() { "" } else { ": " },
            failed.join(", ")
        );
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a scenario, with a MySQL of its own.
///
/// # Errors
/// As [`run`].
pub(crate) async fn carry_out(
    ground: &mut Ground,
    arguments: &Arguments,
    binary: &Path,
    quiet: bool,
) -> Result<Outcome> {
    let scenario = &arguments.scenario;
    let bar = if quiet { ProgressBar::hidden() } else { progress(scenario) };
    bar.set_message("starting MySQL and the pipeline's processes");
    let mut cast = Cast::start(ground, scenario, binary).await?;
    let outcome = play(&mut cast, arguments, &bar).await;
    let outcome = outcome.map_err(|error| error.context(cast.fleet.log_tails()))?;
    bar.finish_and_clear();
    if !outcome.passed {
        eprintln!("The logs end:\n{}", cast.fleet.log_tails());
    }
    cast.stop().await?;
    Ok(outcome)
}

/// A fault with its place on the timeline.
struct Planned {
    index: usize,
    action: Action,
    begin: Duration,
    lasts: Duration,
}

fn plan(scenario: &Scenario) -> (Vec<Planned>, Vec<Told>) {
    let (mut planned, mut skipped) = (Vec::new(), Vec::new());
    for (index, fault) in scenario.faults.iter().enumerate() {
        let at_ms = fault.at.map(|at| at.millis());
        match action::of(fault) {
            Ok(action) => {
                let mut begin = Duration::from_millis(at_ms.unwrap_or(0));
                let lasts = match fault.kind {
                    FaultKind::SessionExpired => SESSION_GONE,
                    FaultKind::MySqlLosesTail => {
                        // What is to be lost is written before the moment of the loss, and some of it is carried.
                        let tail = f64::from(fault.times.unwrap_or(1)) / f64::from(scenario.workload.rate.max(1));
                        let kept = begin.saturating_sub(Duration::from_secs_f64(TAIL * tail).max(TAIL_AT_LEAST));
                        let lasts = begin - kept;
                        begin = kept;
                        lasts
                    }
                    _ => fault.lasts.map_or(Duration::ZERO, |span| span.duration()),
                };
                planned.push(Planned { index, action, begin, lasts });
            }
            Err(why) => {
                skipped.push(Told { fault: fault.kind.name().to_owned(), at_ms, what: why.to_owned() });
            }
        }
    }
    planned.sort_by_key(|fault| fault.begin);
    (planned, skipped)
}

/// Takes the faults that begin by now. One whose services still start, after an earlier fault, waits until they stand:
/// how long that takes is the machine's business.
fn take_due(planned: &mut Vec<Planned>, now: Duration, starts: impl Fn(&'static str) -> bool) -> Vec<Planned> {
    let due = |fault: &mut Planned| fault.begin <= now && !fault.action.services().is_some_and(&starts);
    planned.extract_if(.., due).collect()
}

async fn play(cast: &mut Cast, arguments: &Arguments, bar: &ProgressBar) -> Result<Outcome> {
    let scenario = &arguments.scenario;
    let (planned, skipped) = plan(scenario);
    bar.set_message("waiting for a leader");
    let leader = cast.fleet.wait_leader(PATIENCE).await?;
    for name in cast.fleet.names(Role::Adapter) {
        cast.fleet.process(&name)?.wait_ready(PATIENCE).await?;
    }
    let probes = Probes::default();
    let remind = cast.pipeline.sinks.iter().find(|sink| sink.name == "remind").context("there is no sink remind")?;
    let search = tokio::spawn(probes.clone().search(remind.elasticsearch.clone(), remind.index.clone()));
    let begun = Instant::now();
    let mut work =
        Work::start(scenario, arguments.seed, cast.mysql()?.root_url(), &cast.pipeline.database, probes.observer());
    let mut stage = Stage {
        watch: Watch::new(begun, &leader),
        begun,
        paused: Vec::new(),
        beside: Beside::new(),
        open: Vec::new(),
        fired: Vec::new(),
        skipped,
        ended: Vec::new(),
        last_end: None,
        course: Course::default(),
        costs: Costs::default(),
        in_flight: 0.0,
        probes: probes.clone(),
    };
    let stopped = stage.run(cast, scenario, planned, &work, bar, arguments.brisk).await?;
    if stopped.is_none() {
        bar.set_message("the workload's last transactions");
        tokio::time::timeout(PATIENCE, work.finish()).await.context("the workload does not come to its end")??;
    }
    let (transactions, changes) = work.counts();
    bar.set_message("waiting for rest, comparing every document with its row");
    let verdict = match &stopped {
        Some(_) => Verdict::default(),
        None => stage.rest(cast).await?,
    };
    search.abort();
    let last_end = stage.last_end.unwrap_or(begun);
    let missing = probes.oldest_missing().is_some_and(|oldest| oldest <= last_end);
    let catch_up_ms = (!missing).then(|| probes.caught_up(last_end)).flatten();
    let first = stage.fired.iter().filter_map(|told| told.at_ms).min().map(|ms| begun + Duration::from_millis(ms));
    let first = first.unwrap_or(last_end);
    let found = probes.found();
    let during = found.iter().filter(|(commit, _)| *commit >= first && *commit < last_end);
    let slowest_ms = during.map(|(_, ms)| *ms).max();
    let measured = Measured { changes, catch_up_ms, slowest_ms, stopped };
    let outcome = Outcome {
        scenario: scenario.name.clone(),
        seed: arguments.seed,
        transactions,
        changes,
        documents: verdict.documents,
        lost: verdict.lost,
        stale: verdict.stale,
        doubled: verdict.doubled,
        expectations: expectations(scenario, &stage, cast, &measured).await,
        faults_fired: stage.fired,
        faults_skipped: stage.skipped,
        takeovers: stage.watch.takeovers,
        catch_up_ms,
        freshness_ms: Phases {
            before: probes.freshness(|commit| commit < first),
            during: probes.freshness(|commit| commit >= first && commit < last_end),
            after: probes.freshness(|commit| commit >= last_end),
        },
        processes: stage.costs.told(first, last_end),
        ended: stage.ended,
        differences: verdict.samples,
        passed: false,
    };
    let outcome = outcome.judged(scenario, arguments.clocks);
    if let Some(file) = &arguments.html {
        let page = stage.course.page(scenario, &outcome, begun, &found);
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(outcome)
}

/// What goes on while the run lasts.
struct Stage {
    watch: Watch,
    begun: Instant,
    paused: Vec<String>,
    beside: Beside,
    open: Vec<(Duration, Undo, FaultId)>,
    fired: Vec<Told>,
    skipped: Vec<Told>,
    ended: Vec<String>,
    last_end: Option<Instant>,
    course: Course,
    costs: Costs,
    /// The most bytes that a deployer had read and not delivered, until the last fault that ended.
    in_flight: f64,
    probes: Probes,
}

impl Stage {
    /// Until the safety phase is over and every fault has ended; with the cause if deployers stop as is expected.
    async fn run(
        &mut self,
        cast: &mut Cast,
        scenario: &Scenario,
        mut planned: Vec<Planned>,
        work: &Work,
        bar: &ProgressBar,
        brisk: bool,
    ) -> Result<Option<String>> {
        let length = scenario.length.duration();
        let patience = length + scenario.expect.stops_with.map_or(Duration::ZERO, |_| PATIENCE);
        loop {
            let now = self.begun.elapsed();
            for fault in take_due(&mut planned, now, |kind| self.beside.iter().any(|starting| starting.kind == kind)) {
                self.begin(cast, scenario, fault, work).await?;
            }
            self.undo(cast, now).await?;
            self.look(cast).await?;
            let (transactions, _) = work.counts();
            self.course.look(self.begun.elapsed(), self.watch.seen(), transactions);
            self.costs.look(&cast.fleet);
            bar.set_position(now.as_secs().min(length.as_secs()));
            let leader = self.watch.leader().unwrap_or("nobody");
            bar.set_message(format!("{transactions} transactions, {leader} leads, {} faults now", self.open.len()));
            if let Some(cause) = scenario.expect.stops_with {
                if self.stops_with(cast, cause.name()).await {
                    return Ok(Some(cause.name().to_owned()));
                }
            }
            if self.open.is_empty() && planned.is_empty() {
                let goes_on = scenario.expect.stops_with.is_none();
                let settled = brisk && goes_on && self.beside.is_empty() && self.aftermath_is_over();
                if settled {
                    work.stop();
                }
                if settled || now >= patience {
                    return Ok(None);
                }
            }
            sleep(TICK).await;
        }
    }

    /// Whether some time has gone since the last fault, and what was written then is shown.
    fn aftermath_is_over(&self) -> bool {
        let last = self.last_end.unwrap_or(self.begun);
        last.elapsed() >= AFTERMATH && self.probes.oldest_missing().is_none_or(|oldest| oldest > last)
    }

    async fn begin(&mut self, cast: &mut Cast, scenario: &Scenario, fault: Planned, work: &Work) -> Result<()> {
        let kind = scenario.faults[fault.index].kind.name();
        // Whoever leads at this moment, not whoever led when it was looked last.
        self.watch.look(&cast.fleet, &self.paused).await;
        let leader = self.watch.leader().map(str::to_owned);
        let host = match (fault.action.who(), &leader, &scenario.faults[fault.index].host) {
            (Some(Who::Leader), Some(leader), _) => leader.clone(),
            (Some(Who::Named(name)), ..) | (None, _, Some(name)) => name.clone(),
            (Some(Who::Leader), None, _) | (None, _, None) => service_of(kind).to_owned(),
        };
        if scenario.drawn && fault.action.who().is_some() && cast.fleet.process(&host).is_err() {
            // Drawn faults meet by chance: this one finds nobody.
            let at_ms = Some(fault.begin.as_millis() as u64);
            self.skipped.push(Told { fault: kind.to_owned(), at_ms, what: format!("{host} does not run then") });
            return Ok(());
        }
        let begun =
            perform::begin(cast, &fault.action, leader.as_deref(), &mut self.paused, work, &mut self.beside).await;
        let (what, undo) = begun.with_context(|| format!("the fault {kind}"))?;
        let at_ms = Some(self.begun.elapsed().as_millis() as u64);
        self.fired.push(Told { fault: kind.to_owned(), at_ms, what });
        self.last_end = Some(Instant::now());
        let now = self.begun.elapsed();
        let id = self.course.begins(now, kind, host);
        self.open.push((now + fault.lasts, undo, id));
        Ok(())
    }

    async fn undo(&mut self, cast: &mut Cast, now: Duration) -> Result<()> {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|(end, ..)| *end <= now);
        self.open = later;
        for (_, undo, id) in due {
            self.in_flight = self.watch.in_flight_peak;
            perform::end(cast, undo, &mut self.paused, &mut self.beside, &self.probes).await?;
            self.course.ends(self.begun.elapsed(), id);
            self.last_end = Some(Instant::now());
        }
        Ok(())
    }

    /// Looks at the lead, at what goes on beside, and at processes that have ended, which are started again.
    async fn look(&mut self, cast: &mut Cast) -> Result<()> {
        self.watch.look(&cast.fleet, &self.paused).await;
        let (done, going): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.beside).into_iter().partition(|starting| starting.task.is_finished());
        self.beside = going;
        for starting in done {
            starting.task.await.context("work beside the run")??;
            self.last_end = Some(Instant::now());
        }
        for (name, code, tail) in cast.fleet.ended()? {
            let code = code.map_or("a signal".to_owned(), |code| format!("status {code}"));
            let last = tail.lines().last().unwrap_or_default().to_owned();
            self.course.ended(self.begun.elapsed(), &name, format!("ended with {code}: {last}"));
            self.ended.push(format!("{name} with {code}: {last}"));
            // As a service manager would.
            cast.start_process(&name)?;
        }
        Ok(())
    }

    /// Whether every deployer that answers says that it has stopped for this cause.
    async fn stops_with(&self, cast: &Cast, cause: &str) -> bool {
        let mut said = false;
        for name in cast.fleet.names(Role::Deployer) {
            let Ok(process) = cast.fleet.process(&name) else { continue };
            if let Ok((ready, body)) = process.readyz().await {
                said |= !ready && body.to_string().contains(&format!("\"{cause}\""));
            }
        }
        said || self.ended.iter().any(|line| line.contains(cause))
    }

    /// The liveness phase: all that is beside done, then documents equal to rows.
    async fn rest(&mut self, cast: &mut Cast) -> Result<Verdict> {
        let deadline = Instant::now() + PATIENCE;
        while !self.beside.is_empty() {
            if Instant::now() >= deadline {
                bail!("a service that was killed does not come back");
            }
            self.look(cast).await?;
            sleep(TICK).await;
        }
        let mut session = Orders::connect(&cast.mysql()?.root_url(), &cast.pipeline.database).await?;
        let sinks = cast.pipeline.sinks.clone();
        let mut settling = std::pin::pin!(settle(&mut session, &sinks, SETTLE));
        let verdict = loop {
            tokio::select! {
                verdict = &mut settling => break verdict?,
                () = sleep(TICK) => self.look(cast).await?,
            }
        };
        Ok(verdict)
    }
}

fn progress(scenario: &Scenario) -> ProgressBar {
    let bar = ProgressBar::new(scenario.length.duration().as_secs());
    bar.enable_steady_tick(TICK);
    // The template is a constant; if it were wrong, the plain style would do.
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} s  {msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_waits_for_services_that_still_start_and_holds_up_no_other() {
        let fault = |index, second, action| Planned {
            index,
            action,
            begin: Duration::from_secs(second),
            lasts: Duration::from_secs(1),
        };
        let mut planned = vec![
            fault(0, 1, Action::ServicesDown("kafka")),
            fault(1, 2, Action::Sql(&["FLUSH BINARY LOGS"])),
            fault(2, 3, Action::ServicesDown("kafka")),
            fault(3, 9, Action::Kill(Who::Leader)),
        ];
        let mut at = |second, starting: &[&str]| -> Vec<usize> {
            let due = take_due(&mut planned, Duration::from_secs(second), |kind| starting.contains(&kind));
            due.iter().map(|fault| fault.index).collect()
        };
        assert_eq!(at(1, &["mysql"]), [0]);
        assert_eq!(at(5, &["kafka"]), [1], "the broker starts; the server stands");
        assert_eq!(at(6, &["kafka", "mysql"]), [0; 0]);
        assert_eq!(at(7, &[]), [2]);
        assert_eq!(at(9, &["kafka"]), [3], "a process of the pipeline needs nobody to stand");
    }
}
