//! What a fixed corpus reaches: every fault that scenarios can name, every marked branch of the engine.
//!
//! The corpus is every shipped scenario on three seeds, so the counts are the same on every machine. Must not judge how
//! often is often enough: once is.

use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;

use crate::worker::fault_kinds;
use crate::{batch, scenarios};

/// The seeds on which each scenario runs.
const SEEDS: (u64, Option<u64>) = (1, Some(3));

/// How often things happened, by name.
type Counts = BTreeMap<String, u64>;

/// `cargo sim coverage`. `false` if a run failed, or something was never reached: each is named.
///
/// # Errors
/// A scenario is wrong, or workers cannot be started.
pub fn coverage(worker: &Path) -> Result<bool> {
    let (mut calls, mut branches) = (Counts::new(), Counts::new());
    let mut faults: Counts = fault_kinds(worker)?.into_iter().map(|kind| (kind, 0)).collect();
    let mut missing = 0;
    for (name, _) in scenarios::shipped()? {
        let plan = scenarios::load(worker, &name)?;
        for (_, outcome, _) in batch::all(worker, SEEDS, None, &|_| Ok(plan.clone()))? {
            if let Some(violation) = &outcome.violation {
                eprintln!("{name}, seed {}: oracle {}: {}", outcome.seed, violation.oracle, violation.text);
                missing += 1;
            }
            add(&mut faults, outcome.faults);
            add(&mut calls, outcome.calls);
            add(&mut branches, outcome.branches);
        }
    }
    show("faults that began", &faults);
    show("calls of the engine", &calls);
    show("marked branches of the engine", &branches);
    missing += name_unreached("never began, in any scenario: the fault", &faults);
    missing += name_unreached("never reached, in any scenario: the engine's branch", &branches);
    Ok(missing == 0)
}

fn add(sum: &mut Counts, counts: Counts) {
    counts.into_iter().for_each(|(name, count)| *sum.entry(name).or_default() += count);
}

fn show(title: &str, counts: &Counts) {
    println!("{title}");
    counts.iter().for_each(|(name, count)| println!("  {name:<66} {count:>8}"));
}

/// Names what was counted no time, and says how many that are.
fn name_unreached(what: &str, counts: &Counts) -> usize {
    let unreached: Vec<&String> = counts.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name).collect();
    unreached.iter().for_each(|name| eprintln!("{what} \"{name}\""));
    unreached.len()
}
