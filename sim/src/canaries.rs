//! `cargo sim canaries`: each deliberately broken decision must be noticed, and nothing else must be.

use anyhow::Result;
use std::path::Path;

use crate::building::package;
use crate::scenarios::load_for;
use crate::worker::{ask, run_broken};

/// The most seeds that may pass, in the middle of cases, before a canary is noticed.
const MEDIAN_AT_MOST: usize = 50;

/// Runs every canary on the swarm's seeds from `first` on, and the same seeds with nothing broken.
///
/// # Errors
/// The worker does not compile or cannot be started.
pub fn canaries(worker: &Path, first: u64, seeds: u64) -> Result<bool> {
    let broken = package("towpath-canaries")?;
    let list = ask(&broken, &["list"])?;
    let mut good = true;
    let all = std::iter::once("none -").chain(list.lines());
    for line in all {
        let (name, oracle) = line.split_once(' ').unwrap_or((line, ""));
        let mut waits = Vec::new();
        let (mut waited, mut named, mut others) = (0usize, 0u64, 0u64);
        for seed in first..first.saturating_add(seeds) {
            let outcome = run_broken(&broken, name, &load_for(worker, "swarm", seed)?, seed)?;
            waited += 1;
            // A panic is no oracle's doing.
            match outcome.violation.filter(|violation| violation.oracle != "panic") {
                Some(violation) if violation.oracle == oracle => named += 1,
                Some(_) => others += 1,
                None => continue,
            }
            waits.push(std::mem::take(&mut waited));
        }
        waits.sort_unstable();
        let median = waits.get(waits.len() / 2).copied();
        let passed = if name == "none" { waits.is_empty() } else { named > 0 && median <= Some(MEDIAN_AT_MOST) };
        let median = median.map_or_else(|| "never".to_owned(), |median| median.to_string());
        let verdict = if passed { "ok" } else { "FAILED" };
        println!(
            "{name:<26} oracle {oracle:<12} seeds to catch (median) {median:<6} by it {named}, by others {others}, \
             of {seeds}: {verdict}"
        );
        good &= passed;
    }
    Ok(good)
}
