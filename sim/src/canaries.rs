//! `cargo sim canaries`: each deliberately broken decision must be noticed, and nothing else must be.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::args::CanaryOptions;
use crate::building::root;
use crate::scenarios::load_for;
use crate::worker::{canaries as canary_list, run_broken};

/// A canary is left alone when its oracle has objected this often: so many seeds are kept.
const CATCHES: usize = 3;

/// Seeds that catch, by canary.
type Kept = BTreeMap<String, Vec<u64>>;

/// A decision, the oracle named for it beforehand, and the scenario that is to show it.
struct Canary {
    name: String,
    oracle: String,
    scenario: String,
}

/// What came of one canary.
#[derive(Default)]
struct Caught {
    /// Seeds tried.
    tried: u64,
    /// Seeds under which the named oracle objected.
    seeds: Vec<u64>,
    /// How often others objected first.
    others: BTreeMap<String, u64>,
}

impl Caught {
    /// The median number of seeds until the named oracle objects; `None` before it has done so often enough.
    fn median(&self, first: u64) -> Option<u64> {
        let before = std::iter::once(first.wrapping_sub(1)).chain(self.seeds.iter().copied());
        let mut gaps: Vec<u64> = self.seeds.iter().zip(before).map(|(seed, last)| seed.wrapping_sub(last)).collect();
        gaps.sort_unstable();
        (gaps.len() >= CATCHES).then(|| gaps[gaps.len() / 2])
    }
}

/// Runs every canary until its oracle has objected [`CATCHES`] times or its seeds are used up, and the same scenarios
/// and seeds with nothing broken, where nobody may object.
///
/// # Errors
/// The worker cannot be started, or the file of kept seeds cannot be read or written.
pub fn canaries(worker: &Path, options: &CanaryOptions) -> Result<bool> {
    let mut list = list(worker)?;
    list.retain(|canary| options.only.as_ref().is_none_or(|part| canary.name.contains(part)));
    ensure!(!list.is_empty(), "no canary of that name");
    if options.kept {
        return of_kept(worker, &list);
    }
    let (first, seeds) = (options.first, options.seeds);
    let caught = on_all_cores(list.len(), |index| hunt(worker, &list[index], first..first + seeds))?;
    let (mut good, mut kept, mut sober) = (true, read_kept()?, BTreeMap::<&str, u64>::new());
    for (canary, caught) in list.iter().zip(&caught) {
        let median = caught.median(first);
        let verdict = if median.is_some_and(|median| median <= 50) { "ok" } else { "NOT CAUGHT" };
        println!(
            "{:<24} {:<36} {:<10} median {:>3}, seeds {:?} of {}, others first {:?}: {verdict}",
            canary.name,
            canary.scenario,
            canary.oracle,
            median.map_or_else(|| "-".to_owned(), |median| median.to_string()),
            caught.seeds,
            caught.tried,
            caught.others,
        );
        good &= verdict == "ok";
        kept.insert(canary.name.clone(), caught.seeds.clone());
        let most = sober.entry(&canary.scenario).or_default();
        *most = caught.tried.max(*most);
    }
    let runs: Vec<(&str, u64)> =
        sober.iter().flat_map(|(scenario, count)| (first..first + count).map(|seed| (*scenario, seed))).collect();
    let alarms = on_all_cores(runs.len(), |index| objection(worker, "none", runs[index].0, runs[index].1))?;
    let alarms: Vec<_> = runs.iter().zip(alarms).filter_map(|(run, alarm)| Some((run, alarm?))).collect();
    println!("nothing broken: {} runs of {} scenarios, {} alarms", runs.len(), sober.len(), alarms.len());
    alarms.iter().for_each(|((scenario, seed), oracle)| println!("  {scenario} --seed {seed}: {oracle}"));
    if options.keep {
        std::fs::write(kept_file(), format!("{}\n", serde_json::to_string_pretty(&kept)?))?;
    }
    Ok(good && alarms.is_empty())
}

/// Each canary on its kept seeds, until one catches it.
fn of_kept(worker: &Path, list: &[Canary]) -> Result<bool> {
    let kept = read_kept()?;
    let by = on_all_cores(list.len(), |index| {
        let canary = &list[index];
        for &seed in kept.get(&canary.name).into_iter().flatten().take(CATCHES) {
            let found = objection(worker, &canary.name, &canary.scenario, seed)?;
            if found.as_ref() == Some(&canary.oracle) {
                return Ok(Some(seed));
            }
        }
        Ok(None)
    })?;
    for (canary, seed) in list.iter().zip(&by) {
        match seed {
            Some(seed) => {
                println!("{:<24} caught by {}, {} --seed {seed}", canary.name, canary.oracle, canary.scenario)
            }
            None => println!(
                "{:<24} NOT CAUGHT by {} on any kept seed: `cargo xtask canaries --only {} --keep` looks \
                for others",
                canary.name, canary.oracle, canary.name
            ),
        }
    }
    Ok(by.iter().all(Option::is_some))
}

fn list(worker: &Path) -> Result<Vec<Canary>> {
    let mut list = Vec::new();
    for line in canary_list(worker)?.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, oracle, scenario] = words[..] else { continue };
        list.push(Canary { name: name.into(), oracle: oracle.into(), scenario: scenario.into() });
    }
    Ok(list)
}

fn kept_file() -> PathBuf {
    root().join("sim/canaries/kept.json")
}

fn read_kept() -> Result<Kept> {
    let file = kept_file();
    if !file.exists() {
        return Ok(Kept::new());
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not as `--keep` writes it", file.display()))
}

/// Seed after seed, until the named oracle has objected often enough.
fn hunt(worker: &Path, canary: &Canary, seeds: std::ops::Range<u64>) -> Result<Caught> {
    let mut caught = Caught::default();
    for seed in seeds {
        caught.tried += 1;
        match objection(worker, &canary.name, &canary.scenario, seed)? {
            Some(oracle) if oracle == canary.oracle => caught.seeds.push(seed),
            Some(oracle) => *caught.others.entry(oracle).or_default() += 1,
            None => {}
        }
        if caught.seeds.len() == CATCHES {
            break;
        }
    }
    Ok(caught)
}

/// Which oracle objects.
fn objection(worker: &Path, canary: &str, scenario: &str, seed: u64) -> Result<Option<String>> {
    let outcome = run_broken(worker, canary, &load_for(worker, scenario, seed)?, seed)?;
    Ok(outcome.violation.map(|violation| violation.oracle))
}

/// `work(0)`, `work(1)`, …, on all cores; the results in order.
fn on_all_cores<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let worker = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            let result = work(index)?;
            if let Ok(mut done) = done.lock() {
                done.insert(index, result);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Ok(())))
    })?;
    let done = done.into_inner().ok().context("a worker thread panicked")?;
    ensure!(done.len() == count, "a worker thread panicked");
    Ok(done.into_values().collect())
}
