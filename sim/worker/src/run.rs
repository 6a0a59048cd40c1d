//! The course of one run: a safety phase with work and faults, then a liveness phase in which everything must come to
//! rest.
//!
//! Must not know what a fault or an oracle does.

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};
use towpath_scenarios::oracle::Violation;
use towpath_scenarios::scenario::{Fault, FaultKind, Scenario};

use crate::application::Application;
use crate::faults::{self, Active};
use crate::fingerprint::Fingerprint;
use crate::observe::{Observer, OfSource};
use crate::world::World;

/// A step of the simulation. What is lost by so long a one: races within it follow the order of the hosts.
const TICK: Duration = Duration::from_millis(10);
/// Searches are looked at this often.
const LOOK: Duration = Duration::from_secs(2);
/// Rest must be reached within this after the last fault, unless the scenario says less.
const REST_WITHIN: Duration = Duration::from_secs(240);
/// What is at rest stays so for this long: refreshes, and what is still on its way.
const QUIET: Duration = Duration::from_secs(4);

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Decides everything that the scenario leaves open.
    pub seed: u64,
    /// Counts the marked branches of the engine that were reached.
    pub branches: fn() -> BTreeMap<String, u32>,
}

/// What a run came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The first thing that an oracle found.
    pub violation: Option<Violation>,
    /// When it was found, or when rest was reached, from the start of the run, milliseconds.
    pub simulated_ms: u64,
    /// Transactions committed at the source.
    pub transactions: usize,
    /// Row changes in the log.
    pub rows: usize,
    /// Terms of leaders after the first.
    pub takeovers: usize,
    /// From the end of the last fault to rest, milliseconds.
    pub caught_up_ms: u64,
    /// How often each fault of the scenario began, and whether it had an effect.
    pub faults: BTreeMap<String, u32>,
    /// Calls that the processes sent, by name.
    pub calls: BTreeMap<String, u32>,
    /// How often each marked branch of the engine was reached.
    pub branches: BTreeMap<String, u32>,
    /// What the processes said at a violation.
    pub said: Vec<String>,
}

/// Runs a scenario once.
///
/// # Errors
/// The simulation itself broke: a panic in a process is one.
pub fn run(scenario: &Scenario, options: Options) -> Result<Outcome> {
    let world = World::new(&scenario.topology, options.seed)?;
    let mut sim = simulation(options.seed);
    world.settle(&mut sim);
    let mut course = Course {
        scenario,
        observer: Observer::new(scenario, &world),
        world,
        application: Application::new(scenario, options.seed)?,
        active: Vec::new(),
        begun: BTreeMap::new(),
        waiting: (0..scenario.faults.len()).filter(|&index| scenario.faults[index].at.is_some()).collect(),
        leaderless: Duration::ZERO,
        calm_since: Duration::ZERO,
        in_flight: 0,
        fingerprint: Fingerprint::default(),
    };
    for (index, fault) in scenario.faults.iter().enumerate() {
        if let Some(moment) = &fault.when {
            course.world.points.arm(index, &moment.call, moment.nth, moment.after);
        }
    }
    let violation = course.go(&mut sim)?;
    let now = sim.elapsed();
    let said = if violation.is_some() { course.world.processes.describe() } else { Vec::new() };
    Ok(Outcome {
        seed: options.seed,
        violation,
        simulated_ms: now.as_millis() as u64,
        transactions: course.observer.sum(OfSource::transactions),
        rows: course.observer.sum(OfSource::rows),
        takeovers: course.observer.sum(OfSource::takeovers),
        caught_up_ms: now.saturating_sub(course.calm_since).saturating_sub(QUIET).as_millis() as u64,
        faults: course.begun,
        calls: course.world.points.counts(),
        branches: (options.branches)(),
        said,
    })
}

/// Time, network and order of the hosts, from a seed.
fn simulation<'a>(seed: u64) -> turmoil::Sim<'a> {
    turmoil::Builder::new()
        .tick_duration(TICK)
        .epoch(UNIX_EPOCH + Duration::from_secs(1_795_420_000))
        .rng_seed(seed)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(12))
        .simulation_duration(Duration::from_secs(86_400))
        .tcp_capacity(100_000)
        .enable_random_order()
        .build()
}

/// Steps the hosts of a scenario with nothing in them for so long: what turmoil alone costs.
///
/// # Errors
/// The simulation itself broke.
pub fn idle(scenario: &Scenario, seed: u64, length: Duration) -> Result<()> {
    let mut sim = simulation(seed);
    for host in scenario.topology.hosts() {
        sim.host(host, std::future::pending::<turmoil::Result>);
    }
    while sim.elapsed() < length {
        sim.step().map_err(|error| anyhow!("the simulation broke: {error}"))?;
    }
    Ok(())
}

struct Course<'a> {
    scenario: &'a Scenario,
    world: World,
    observer: Observer,
    application: Application<'a>,
    active: Vec<Active>,
    begun: BTreeMap<String, u32>,
    /// Faults of the timeline that have not begun.
    waiting: Vec<usize>,
    leaderless: Duration,
    calm_since: Duration,
    /// The most that a deployer held until the last fault that ended.
    in_flight: u64,
    fingerprint: Fingerprint,
}

impl Course<'_> {
    fn go(&mut self, sim: &mut turmoil::Sim<'_>) -> Result<Option<Violation>> {
        let mut looked = Duration::ZERO;
        let length = self.scenario.length.duration();
        while sim.elapsed() < length {
            let now = sim.elapsed();
            self.timeline(sim, now);
            self.application.work(now, TICK, &self.world, &mut self.observer)?;
            if let Some(violation) = self.step(sim, &mut looked)? {
                return Ok(Some(violation));
            }
        }
        self.application.finish(&self.world, &mut self.observer)?;
        // A fault that began now would have no end.
        self.world.points.disarm();
        let now = sim.elapsed();
        for active in std::mem::take(&mut self.active) {
            self.end(sim, &active, now);
        }
        self.observer.calm();
        let fired = faults::fired(&self.world);
        faults::calm(&self.world);
        self.calm_since = sim.elapsed();
        self.rest(sim, &mut looked, fired)
    }

    /// One step of the simulation and a look at what came of it.
    fn step(&mut self, sim: &mut turmoil::Sim<'_>, looked: &mut Duration) -> Result<Option<Violation>> {
        self.world.set_elapsed(sim.elapsed());
        self.world.replicate();
        sim.step().map_err(|error| anyhow!("the simulation broke: {error}"))?;
        let now = sim.elapsed();
        crate::cli::tell_elapsed(now);
        self.observer.look_back();
        for arrival in self.world.points.arrivals() {
            self.begin(sim, arrival.fault, Some(arrival.host.clone()), now);
        }
        if now.as_millis() % 500 == 0 && tracing::enabled!(target: "sample", tracing::Level::INFO) {
            self.observer.sample(&self.world);
        }
        if now.as_millis() % 1_000 == 0 && tracing::enabled!(tracing::Level::DEBUG) {
            tracing::debug!("state hash {:016x}", self.fingerprint.look(&self.world));
        }
        if let Some(violation) = self.leaderless(now) {
            return Ok(Some(violation));
        }
        let mut verdict = self.observer.step(&self.world);
        if verdict.is_ok() && now >= *looked + LOOK {
            *looked = now;
            verdict = self.observer.look(&self.world);
            self.observer.search(&self.world, now);
        }
        Ok(verdict.err())
    }

    /// Begins and ends what the timeline says.
    fn timeline(&mut self, sim: &mut turmoil::Sim<'_>, now: Duration) {
        let (over, active) = std::mem::take(&mut self.active).into_iter().partition(|active| active.until <= now);
        self.active = active;
        let over: Vec<Active> = over;
        for active in &over {
            let host = self.shown_at(active.kind, active.source, &active.host);
            tracing::info!(fault = active.kind.name(), host, "ends");
            self.end(sim, active, now);
        }
        let due = |&index: &usize| self.scenario.faults[index].at.is_some_and(|at| at.duration() <= now);
        let (begins, waiting): (Vec<usize>, Vec<usize>) = self.waiting.iter().copied().partition(due);
        self.waiting = waiting;
        for index in begins {
            self.begin(sim, index, None, now);
        }
    }

    fn begin(&mut self, sim: &mut turmoil::Sim<'_>, index: usize, caller: Option<String>, now: Duration) {
        let fault = &self.scenario.faults[index];
        let source = self.world.place(fault.source.as_deref());
        let host = match fault.host.as_deref() {
            Some("leader") => self.world.leader(&self.world.pipelines[source]),
            Some(host) => Some(host.to_owned()),
            None => caller,
        };
        let shown_at = self.shown_at(fault.kind, source, host.as_deref().unwrap_or_default());
        tracing::info!(fault = fault.kind.name(), host = shown_at, "begins");
        match faults::begin(&self.world, sim, (index, fault), host, now) {
            Ok(active) => {
                *self.begun.entry(fault.kind.name().to_owned()).or_default() += 1;
                if fault.kind == FaultKind::LinkCut {
                    self.observer.of(source).link_is_cut(true, now);
                }
                self.active.extend(active);
            }
            Err(error) => tracing::info!("it does not begin: {error}"),
        }
    }

    /// Where a picture shows a fault: at the source's server, or at its host.
    fn shown_at<'a>(&'a self, kind: FaultKind, source: usize, host: &'a str) -> &'a str {
        let server = self.world.pipelines[source].plan.servers.first();
        server.filter(|_| kind.of_source()).map_or(host, String::as_str)
    }

    fn end(&mut self, sim: &mut turmoil::Sim<'_>, active: &Active, now: Duration) {
        self.in_flight = self.in_flight.max(self.world.processes.in_flight_peak());
        faults::end(&self.world, sim, active);
        if active.kind == FaultKind::LinkCut {
            self.observer.of(active.source).link_is_cut(false, now);
        }
    }

    /// No leader for longer than expected.
    fn leaderless(&mut self, now: Duration) -> Option<Violation> {
        let most = self.scenario.expect.leaderless_at_most?;
        if self.world.pipelines.iter().all(|pipeline| self.world.leader(pipeline).is_some()) {
            self.leaderless = now;
        }
        let text = || format!("a source had nobody who leads for longer than {most}");
        (now > self.leaderless + most.duration()).then(|| Violation::new("bounds", text()))
    }

    /// The liveness phase.
    fn rest(&mut self, sim: &mut turmoil::Sim<'_>, looked: &mut Duration, fired: u64) -> Result<Option<Violation>> {
        let bound = self.scenario.expect.caught_up_within.map_or(REST_WITHIN, |span| span.duration());
        let until = sim.elapsed() + bound;
        let mut quiet: Option<Duration> = None;
        loop {
            if let Some(violation) = self.step(sim, looked)? {
                return Ok(Some(violation));
            }
            let now = sim.elapsed();
            if now.as_millis() % 100 == 0 {
                quiet = if self.observer.is_quiet(&self.world) { quiet.or(Some(now)) } else { None };
            }
            if quiet.is_some_and(|since| now >= since + QUIET) {
                break;
            }
            let stop = self.scenario.expect.stops_with;
            if stop.is_some_and(|cause| self.world.processes.deployers_stop_with(cause.name())) {
                return Ok(self.expectations(fired));
            }
            if now > until + QUIET {
                let ended = self.world.processes.ended();
                let text = format!("no rest within {bound:?} after the last fault; ended by themselves: {ended:?}");
                return Ok(Some(Violation::new("bounds", text)));
            }
        }
        self.observer.search(&self.world, sim.elapsed());
        if let Some(violation) = self.step(sim, &mut Duration::from_secs(1 << 30))? {
            return Ok(Some(violation));
        }
        if let Err(violation) = self.observer.at_rest(&self.world) {
            return Ok(Some(violation));
        }
        Ok(self.expectations(fired))
    }

    fn expectations(&self, fired: u64) -> Option<Violation> {
        let expect = &self.scenario.expect;
        let begun: u32 = self.begun.values().sum();
        // A lost tail counts transactions; the others wait for calls.
        let of_calls = |fault: &&Fault| fault.times.is_some() && fault.kind != FaultKind::MySqlLosesTail;
        let within = self.scenario.faults.iter().any(|fault| of_calls(&fault));
        let rests = self.observer.is_quiet(&self.world);
        let sum = |of: fn(&OfSource) -> usize| self.observer.sum(of);
        let (takeovers, epochs, runs) = (sum(OfSource::takeovers), sum(OfSource::epochs), sum(OfSource::runs));
        let (changes, dead_letters) = (sum(OfSource::rows), sum(OfSource::dead_letters));
        let (sounds, in_flight) = (self.observer.sounds(), self.in_flight);
        let fewer = |count: usize, least: Option<u32>| least.is_some_and(|least| count < least as usize);
        let missed = if let Some(cause) = expect.stops_with.filter(|_| rests) {
            Some(format!("everything came to rest, a stop for `{}` was expected", cause.name()))
        } else if begun == 0 && !self.scenario.drawn && !self.scenario.faults.is_empty() {
            Some("no fault has begun: the run proves nothing".to_owned())
        } else if within && fired == 0 && !self.scenario.drawn {
            Some("no call has met a planned fault: the run proves nothing".to_owned())
        } else if fewer(takeovers, expect.takeovers_at_least) {
            Some(format!("{takeovers} takeovers, more were expected"))
        } else if fewer(epochs, expect.epochs_at_least) {
            Some(format!("{epochs} epochs after the first, more were expected"))
        } else if fewer(runs, expect.fallbacks_at_least) {
            Some(format!("documents were written directly {runs} times, more was expected"))
        } else if fewer(sounds, expect.sounds_at_least) {
            Some(format!("{sounds} orders were heard, more were expected"))
        } else if fewer(changes, expect.changes_at_least) {
            Some(format!("{changes} row changes in the log, more were expected"))
        } else if expect.dead_letters.is_some_and(|count| dead_letters != count as usize) {
            Some(format!("{dead_letters} rows are dead letters"))
        } else if expect.in_flight_at_most.is_some_and(|most| in_flight > most) {
            Some(format!("a deployer held {in_flight} bytes that were not delivered, more than was expected"))
        } else {
            None
        };
        missed.map(|text| Violation::new("bounds", text))
    }
}
