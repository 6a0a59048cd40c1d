//! What people see: a failure with the command that shows it again, and one run's course.

use anyhow::{Result, ensure};
use std::io::Write;
use std::path::Path;

use crate::worker::{Outcome, ask, run, start};
use crate::{page, shrink};

/// A failing seed: the oracle, the shortest plan found, and the one command that reproduces it.
///
/// # Errors
/// Workers cannot be started.
pub fn failure(worker: &Path, name: &str, plan: &str, outcome: &Outcome) -> Result<()> {
    let Some(violation) = &outcome.violation else { return Ok(()) };
    println!("seed {} fails at {:.3} s", outcome.seed, outcome.simulated_ms as f64 / 1000.0);
    println!("  oracle {}: {}", violation.oracle, violation.text);
    outcome.said.iter().for_each(|line| println!("  {line}"));
    let (short, _) = shrink::shrink(worker, plan, outcome)?;
    let short: serde_json::Value = serde_json::from_str(&short)?;
    println!("  shortest plan found: {}", short["fault"]);
    println!("  again: cargo sim replay {name} --seed {}", outcome.seed);
    Ok(())
}

/// `cargo sim replay`.
///
/// # Errors
/// Workers cannot be started, or the page cannot be written.
pub fn replay(worker: &Path, name: &str, plan: &str, seed: u64, trace: bool, html: Option<&Path>) -> Result<bool> {
    let level = if trace { "trace,sample=off" } else { "info,sample=off" };
    let output = start(worker, plan, seed, level)?;
    std::io::stdout().write_all(&output.stdout)?;
    std::io::stderr().write_all(&output.stderr)?;
    if let Some(file) = html {
        let told = start(worker, plan, seed, "info")?;
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let outcome = run(worker, plan, seed)?;
        let hosts = serde_json::from_str(&ask(worker, &["hosts", plan])?)?;
        std::fs::write(file, page::page(name, hosts, &text, &outcome))?;
        println!("the run as a page: {}", file.display());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome: Option<Outcome> = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    ensure!(output.status.success() && outcome.is_some(), "the worker broke off");
    Ok(outcome.is_some_and(|outcome| outcome.violation.is_none()))
}
