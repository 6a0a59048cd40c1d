//! `cargo sim canaries`: each deliberately broken decision must be noticed, and nothing else must be.

use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::building::package;
use crate::scenarios::load_for;
use crate::worker::{ask, run_broken};

/// A decision, the oracle named for it beforehand, and the scenario that is to show it.
struct Canary {
    name: String,
    oracle: String,
    scenario: String,
}

/// Runs every canary (or those whose name contains `only`) on seeds from `first` on, and the same scenarios and seeds
/// with nothing broken.
///
/// # Errors
/// The worker does not compile or cannot be started.
pub fn canaries(worker: &Path, first: u64, seeds: u64, only: Option<&str>) -> Result<bool> {
    let broken = package("towpath-canaries")?;
    let mut list = Vec::new();
    for line in ask(&broken, &["list"])?.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, oracle, scenario] = words[..] else { continue };
        list.push(Canary { name: name.into(), oracle: oracle.into(), scenario: scenario.into() });
    }
    list.retain(|canary| only.is_none_or(|part| canary.name.contains(part)));
    ensure!(!list.is_empty(), "no canary of that name");
    let mut good = true;
    let scenarios: BTreeSet<&str> = list.iter().map(|canary| canary.scenario.as_str()).collect();
    for scenario in scenarios {
        let alarms = objections(worker, &broken, "none", scenario, (first, seeds))?;
        println!("nothing broken, {scenario:<36} alarms {} of {seeds}", alarms.len());
        alarms.iter().for_each(|(seed, oracle)| println!("  seed {seed}: {oracle}"));
        good &= alarms.is_empty();
    }
    for Canary { name, oracle, scenario } in &list {
        let found = objections(worker, &broken, name, scenario, (first, seeds))?;
        let by = |wanted: bool| found.values().filter(|by| (*by == oracle) == wanted).count();
        let (named, others) = (by(true), by(false));
        let seed = found.iter().find(|(_, by)| *by == oracle).map(|(seed, _)| seed.to_string());
        let (verdict, seed) = (if named > 0 { "ok" } else { "NOT CAUGHT" }, seed.unwrap_or_else(|| "-".into()));
        println!(
            "{name:<24} {scenario:<36} {oracle:<10} {named:>3} by it, {others:>3} by others \
             of {seeds}; first seed {seed}: {verdict}"
        );
        good &= named > 0;
    }
    Ok(good)
}

/// The seeds under which an oracle objects, and which one.
fn objections(
    worker: &Path,
    broken: &Path,
    canary: &str,
    scenario: &str,
    (first, seeds): (u64, u64),
) -> Result<BTreeMap<u64, String>> {
    let (next, found) = (AtomicU64::new(first), Mutex::new(BTreeMap::new()));
    let work = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first.saturating_add(seeds) {
                return Ok(());
            }
            let outcome = run_broken(broken, canary, &load_for(worker, scenario, seed)?, seed)?;
            // A panic is no oracle's doing, but with nothing broken it is an alarm.
            let violation = outcome.violation.filter(|violation| violation.oracle != "panic" || canary == "none");
            if let (Some(violation), Ok(mut found)) = (violation, found.lock()) {
                found.insert(seed, violation.oracle);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Ok(())))
    })?;
    found.into_inner().ok().context("a worker thread panicked")
}
