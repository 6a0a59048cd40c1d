//! Many seeds on all cores, what they came to, and the summary.

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::worker::{Outcome, ask, run, start};
use crate::{report, scenarios};

/// Failures are shown in full up to so many.
const SHOWN: usize = 3;

/// A run: its plan, its outcome, and how long its process took.
pub type Run = (String, Outcome, Duration);

/// Runs `plan_of(seed)` for seeds from `first` on, until `last` or until time is up; in order of their seeds.
///
/// # Errors
/// Workers cannot be started.
pub fn all(
    worker: &Path,
    (first, last): (u64, Option<u64>),
    until: Option<Instant>,
    plan_of: &(dyn Fn(u64) -> Result<String> + Sync),
) -> Result<Vec<Run>> {
    let (next, done) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let bar = match last {
        Some(last) => ProgressBar::new(last - first + 1),
        None => ProgressBar::new_spinner(),
    };
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {elapsed}")?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if last.is_some_and(|last| seed > last) || until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
            let plan = plan_of(seed)?;
            let began = Instant::now();
            let outcome = run(worker, &plan, seed)?;
            if let Ok(mut done) = done.lock() {
                done.push((plan, outcome, began.elapsed()));
            }
            bar.inc(1);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Ok(())))
    })?;
    bar.finish_and_clear();
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(_, outcome, _)| outcome.seed);
    Ok(done)
}

/// `cargo sim run`.
///
/// # Errors
/// Workers cannot be started.
pub fn of_scenario(worker: &Path, name: &str, plan: &str, seeds: RangeInclusive<u64>, json: bool) -> Result<bool> {
    let began = Instant::now();
    let plan_of = |_| Ok(plan.to_owned());
    let done = all(worker, (*seeds.start(), Some(*seeds.end())), None, &plan_of)?;
    summary(worker, name, &done, began.elapsed(), json)
}

/// `cargo sim swarm`.
///
/// # Errors
/// Workers cannot be started.
pub fn swarm(worker: &Path, minutes: Option<f64>, seeds: Option<u64>, first: Option<u64>, json: bool) -> Result<bool> {
    let began = Instant::now();
    let given = std::env::var("TOWPATH_SEED").ok().and_then(|text| text.parse().ok());
    let first = first.or(given).unwrap_or(1);
    let until = minutes.map(|minutes| began + Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let last = if until.is_none() { Some(first.saturating_add(seeds.unwrap_or(100).max(1) - 1)) } else { None };
    if !json {
        println!("seeds from {first}");
    }
    let plan_of = |seed| scenarios::load_for(worker, "swarm", seed);
    let done = all(worker, (first, last), until, &plan_of)?;
    summary(worker, "swarm", &done, began.elapsed(), json)
}

fn summary(worker: &Path, name: &str, done: &[Run], wall: Duration, json: bool) -> Result<bool> {
    ensure!(!done.is_empty(), "no seed was run");
    let failed: Vec<&Run> = done.iter().filter(|(_, outcome, _)| outcome.violation.is_some()).collect();
    if json {
        for (_, outcome, _) in done {
            println!("{}", serde_json::to_string(outcome)?);
        }
    } else {
        for (plan, outcome, _) in failed.iter().take(SHOWN) {
            report::failure(worker, name, plan, outcome)?;
        }
    }
    let simulated_ms: u64 = done.iter().map(|(_, outcome, _)| outcome.simulated_ms).sum();
    let (simulated_s, wall_s) = (simulated_ms as f64 / 1000.0, wall.as_secs_f64());
    if json {
        let summary = serde_json::json!({
            "seeds": done.len(), "failed": failed.len(), "simulated_s": simulated_s, "wall_s": wall_s,
        });
        println!("{summary}");
    } else {
        let per_minute = done.len() as f64 * 60.0 / wall_s;
        let rate = simulated_s / wall_s;
        println!(
            "{} seeds, {} failed; {simulated_s:.0} simulated seconds in {wall_s:.1} s ({per_minute:.0} seeds a minute, \
             {rate:.0} times real time)",
            done.len(),
            failed.len()
        );
        let (whole, idle) = speed(worker, done)?;
        println!(
            "a simulated second takes {whole:.2} ms of one core: {idle:.2} ms turmoil's, for stepping idle hosts, \
             {:.2} ms the engine's, the models' and the oracles'",
            whole - idle
        );
    }
    Ok(failed.is_empty())
}

/// Milliseconds of one core for a simulated second: of these runs, and of a few of them with nothing in their hosts.
fn speed(worker: &Path, done: &[Run]) -> Result<(f64, f64)> {
    let simulated = |runs: &[Run]| runs.iter().map(|(_, outcome, _)| outcome.simulated_ms).sum::<u64>() as f64 / 1000.0;
    let took: Duration = done.iter().map(|(.., took)| *took).sum();
    let few = &done[..done.len().min(5)];
    let began = Instant::now();
    for (plan, outcome, _) in few {
        ask(worker, &["idle", plan, &outcome.simulated_ms.to_string()])?;
    }
    let per_second = |took: Duration, runs: &[Run]| took.as_secs_f64() * 1000.0 / simulated(runs).max(0.001);
    Ok((per_second(took, done), per_second(began.elapsed(), few)))
}

/// `cargo sim meta`: each seed twice, in two processes, at trace level.
///
/// # Errors
/// Workers cannot be started.
pub fn meta(worker: &Path, first: u64, seeds: u64) -> Result<bool> {
    let mut bytes = 0;
    for seed in first..first.saturating_add(seeds) {
        let plan = scenarios::load_for(worker, "swarm", seed)?;
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| start(worker, &plan, seed, "trace"));
            (start(worker, &plan, seed, "trace"), one.join())
        });
        let two_ran = two.unwrap_or_else(|_| start(worker, &plan, seed, "trace"));
        let (one, two) = (one?.stdout, two_ran?.stdout);
        if one != two {
            let (one, two) = (String::from_utf8_lossy(&one), String::from_utf8_lossy(&two));
            let pairs = || one.lines().zip(two.lines()).enumerate();
            let hash = pairs().find(|(_, (one, two))| one != two && one.contains("state hash"));
            let differs = pairs().find(|(_, (one, two))| one != two);
            eprintln!("seed {seed}: two runs part at {differs:#?}; the first state that differs: {hash:#?}");
            return Ok(false);
        }
        ensure!(!one.is_empty(), "seed {seed} printed nothing: there is nothing to compare");
        bytes += one.len();
    }
    println!("{seeds} seeds from {first}, each run twice: equal bytes ({} MB of trace)", bytes / 1_000_000);
    Ok(true)
}
