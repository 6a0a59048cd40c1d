//! Makes a failing plan short: takes away faults, one at a time, then work, as long as the same oracle objects.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;

use crate::worker::{Outcome, run};

/// At most so many runs.
const RUNS: usize = 60;

/// The shortest plan found under which the same oracle objects, and how many runs it took.
///
/// # Errors
/// Workers cannot be started.
pub fn shrink(worker: &Path, plan: &str, failing: &Outcome) -> Result<(String, usize)> {
    let oracle = failing.violation.as_ref().map(|violation| violation.oracle.clone());
    let mut best: Value = serde_json::from_str(plan).context("the plan is no JSON")?;
    let mut runs = 0;
    let mut fails = |plan: &Value| -> Result<bool> {
        runs += 1;
        let outcome = run(worker, &plan.to_string(), failing.seed)?;
        Ok(outcome.violation.map(|violation| violation.oracle) == oracle)
    };
    let mut tried = 0;
    let mut index = 0;
    while tried < RUNS && best["fault"].as_array().is_some_and(|faults| index < faults.len()) {
        let mut shorter = best.clone();
        if let Some(faults) = shorter["fault"].as_array_mut() {
            faults.remove(index);
        }
        tried += 1;
        if fails(&shorter)? {
            best = shorter;
        } else {
            index += 1;
        }
    }
    for (table, key, value) in [("workload", "huge_rows", 0), ("topology", "adapters", 1), ("workload", "rate", 5)] {
        let mut shorter = best.clone();
        shorter[table][key] = Value::from(value);
        if shorter != best && fails(&shorter)? {
            best = shorter;
        }
    }
    Ok((best.to_string(), runs))
}

/// `cargo sim shrink`.
///
/// # Errors
/// The plan does not fail.
pub fn command(worker: &Path, plan: &str, seed: u64) -> Result<bool> {
    let outcome = run(worker, plan, seed)?;
    let Some(violation) = &outcome.violation else { bail!("seed {seed} does not fail: there is nothing to shrink") };
    println!("{}: {}", violation.oracle, violation.text);
    let (short, runs) = shrink(worker, plan, &outcome)?;
    println!("after {runs} runs:\n{}", serde_json::to_string_pretty(&serde_json::from_str::<Value>(&short)?)?);
    Ok(true)
}
