//! One worker process: started with a plan and a seed, its outcome read from its last line.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What an oracle found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// Which.
    pub oracle: String,
    /// What it saw.
    pub text: String,
}

/// What a run came to, as the worker says it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was found.
    pub violation: Option<Violation>,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Transactions committed at the source.
    pub transactions: u64,
    /// Row changes in the log.
    pub rows: u64,
    /// Changes of the lead.
    pub takeovers: u64,
    /// From the last fault to rest, milliseconds.
    pub caught_up_ms: u64,
    /// How often each fault began.
    pub faults: BTreeMap<String, u64>,
    /// Calls by name.
    pub calls: BTreeMap<String, u64>,
    /// How often each marked branch of the engine was reached.
    pub branches: BTreeMap<String, u64>,
    /// What processes said at a violation.
    pub said: Vec<String>,
}

/// Runs a plan (a scenario as JSON) under a seed.
///
/// # Errors
/// The worker could not be started, or said something that is no outcome.
pub fn run(worker: &Path, plan: &str, seed: u64) -> Result<Outcome> {
    outcome(seed, &start(worker, plan, seed, "off")?)
}

/// The same with a decision of the engine broken.
///
/// # Errors
/// As [`run`].
pub fn run_broken(worker: &Path, canary: &str, plan: &str, seed: u64) -> Result<Outcome> {
    let mut command = Command::new(worker);
    command.args([canary, "run", plan, &seed.to_string(), "off"]).stdin(Stdio::null());
    outcome(seed, &command.output().context("cannot start the worker")?)
}

fn outcome(seed: u64, output: &Output) -> Result<Outcome> {
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().last().filter(|_| output.status.success()) {
        Some(line) => serde_json::from_str(line).context("the worker's last line is no outcome"),
        None => Ok(broken(seed, output)),
    }
}

/// A run that broke off: a panic in the engine, a model or the simulator is a failure of the run.
fn broken(seed: u64, output: &Output) -> Outcome {
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let violation = Some(Violation { oracle: "panic".to_owned(), text });
    let (faults, calls, branches, said) = Default::default();
    Outcome {
        seed,
        violation,
        simulated_ms: 0,
        transactions: 0,
        rows: 0,
        takeovers: 0,
        caught_up_ms: 0,
        faults,
        calls,
        branches,
        said,
    }
}

/// Runs a plan and gives everything the worker printed.
///
/// # Errors
/// The worker could not be started.
pub fn start(worker: &Path, plan: &str, seed: u64, level: &str) -> Result<Output> {
    let mut command = Command::new(worker);
    command.args(["none", "run", plan, &seed.to_string(), level]).stdin(Stdio::null());
    command.output().context("cannot start the worker")
}

/// The decisions that can be broken: a line each, with the oracle that is to object and the scenario.
///
/// # Errors
/// The worker could not be started.
pub fn canaries(worker: &Path) -> Result<String> {
    let output = Command::new(worker).arg("list").stdin(Stdio::null()).output().context("cannot start the worker")?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The kinds of faults that a scenario can name.
///
/// # Errors
/// The worker could not be started.
pub fn fault_kinds(worker: &Path) -> Result<Vec<String>> {
    Ok(ask(worker, &["kinds"])?.lines().map(str::to_owned).collect())
}

/// Asks the worker for something, with nothing broken.
///
/// # Errors
/// It refuses; its words are the error.
pub fn ask(worker: &Path, args: &[&str]) -> Result<String> {
    let output =
        Command::new(worker).arg("none").args(args).stdin(Stdio::null()).output().context("cannot start the worker")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{}", text.trim_start_matches("Error: "));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
