//! What a worker is asked: one run, in one process, and its outcome as a line of JSON.
//!
//! Everything it prints is decided by its arguments: the wall clock belongs to whoever started it.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use towpath_scenarios::refusal::did_you_mean;
use towpath_scenarios::scenario::{FaultKind, Scenario, check, parse, swarm, take_profile};

use crate::run::{Options, Outcome, idle, run};

/// How far the run is, milliseconds.
static ELAPSED_MS: AtomicU64 = AtomicU64::new(0);

/// Tells the trace how far the run is.
pub fn tell_elapsed(elapsed: Duration) {
    ELAPSED_MS.store(elapsed.as_millis() as u64, Ordering::Relaxed);
}

/// Simulated time, for the trace's lines.
struct SimTime;

impl tracing_subscriber::fmt::time::FormatTime for SimTime {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        // Between the steps of the hosts, where faults begin, turmoil tells no time.
        let between = || Duration::from_millis(ELAPSED_MS.load(Ordering::Relaxed));
        let elapsed = turmoil::sim_elapsed().unwrap_or_else(between);
        write!(w, "{:>9.3}", elapsed.as_secs_f64())
    }
}

/// Does what the arguments ask, once in a process. `branches` counts the marked branches of the engine that were
/// reached.
///
/// # Errors
/// They ask for nothing known, the plan is wrong, or the simulation broke.
pub fn serve(args: &[&str], branches: fn() -> BTreeMap<String, u32>) -> Result<()> {
    ensure!(cfg!(tokio_unstable), "the worker was built without tokio_unstable: start it by `cargo sim`");
    match args {
        ["check", name, text] => {
            let (file, text) = (text, std::fs::read_to_string(text).with_context(|| format!("cannot read {text}"))?);
            let mut scenario = parse(name, &text)?;
            take_profile(&mut scenario, &text, &|profile| profile_of(file, profile))?;
            print(&serde_json::to_string(&scenario)?)
        }
        ["kinds"] => FaultKind::ALL.iter().try_for_each(|kind| print(kind.name())),
        ["draw", seed] => print(&serde_json::to_string(&swarm::draw(seed.parse()?))?),
        ["hosts", plan] => {
            let scenario: Scenario = serde_json::from_str(plan).context("the plan is no scenario")?;
            print(&serde_json::to_string(&scenario.topology.hosts())?)
        }
        ["run", plan, seed, level] => one(plan, seed.parse()?, level, branches),
        ["idle", plan, ms] => {
            let scenario: Scenario = serde_json::from_str(plan).context("the plan is no scenario")?;
            idle(&scenario, 1, Duration::from_millis(ms.parse()?))?;
            print("idle")
        }
        _ => bail!(
            "usage: check NAME FILE | kinds | draw SEED | hosts PLAN | run PLAN SEED LEVEL | idle PLAN MS (a plan is a \
             scenario as JSON)"
        ),
    }
}

/// The text of a profile: a shipped one by its name, or a file beside the scenario's.
fn profile_of(scenario: &str, profile: &str) -> Result<String, String> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../loadgen/profiles");
    if profile.ends_with(".toml") {
        let file = Path::new(scenario).with_file_name(profile);
        return std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()));
    }
    std::fs::read_to_string(shipped.join(format!("{profile}.toml"))).map_err(|_| {
        let names = std::fs::read_dir(&shipped).into_iter().flatten().flatten();
        let stem = |entry: std::fs::DirEntry| Some(entry.path().file_stem()?.to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter_map(stem).collect();
        names.sort();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        format!("no profile `{profile}`; {}", did_you_mean(profile, &known))
    })
}

fn one(plan: &str, seed: u64, level: &str, branches: fn() -> BTreeMap<String, u32>) -> Result<()> {
    let scenario: Scenario = serde_json::from_str(plan).context("the plan is no scenario")?;
    check(&scenario)?;
    mad_turmoil::rand::set_rng(rand::SeedableRng::seed_from_u64(seed));
    let _clocks = mad_turmoil::time::SimClocksGuard::init();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_timer(SimTime)
        .with_ansi(false)
        .with_writer(std::io::stdout)
        .init();
    let outcome: Outcome = run(&scenario, Options { seed, branches })?;
    print(&serde_json::to_string(&outcome)?)
}

fn print(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
