//! `cargo xtask test`: prerequisites, one build, the services' installation, then the tiers, each beside its budget.
//!
//! What belongs to which tier stands here, in one table. The tests themselves live in their packages.

use anyhow::Result;
use clap::ValueEnum;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::command::{self, Counts};
use crate::{prerequisites, tidy};

/// A part of the tests, with a time budget on two cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Tier {
    /// Style, lints, unit and property tests, everything on models
    Fast,
    /// Connectors, conformance and bad input on the real services
    Services,
    /// The whole pipeline on the models, many times
    Sim,
    /// The whole pipeline on real processes, with kills
    Scenarios,
    /// Short runs of benches and load
    Load,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Tier::Fast => "fast",
            Tier::Services => "services",
            Tier::Sim => "sim",
            Tier::Scenarios => "scenarios",
            Tier::Load => "load",
        }
    }

    fn budget_min(self) -> u64 {
        match self {
            Tier::Fast | Tier::Load => 5,
            Tier::Services | Tier::Scenarios => 15,
            Tier::Sim => 10,
        }
    }

    fn needs_services(self) -> bool {
        matches!(self, Tier::Services | Tier::Scenarios | Tier::Load)
    }
}

/// Every package with tests, in the one invocation whose features all test binaries share.
const PACKAGES: &[&str] = &[
    "towpath",
    "towpath-engine",
    "towpath-connectors",
    "towpath-scenarios",
    "towpath-models",
    "towpath-stack",
    "towpath-demo",
    "xtask",
];

/// Integration tests that need the real services: (package, test target, further arguments).
const SERVICES: &[(&str, &str)] = &[("towpath", "decode_real"), ("towpath", "bad_input")];
/// Integration tests that run the whole pipeline on the models.
const SIM: &[(&str, &str)] = &[];
/// Integration tests that run the whole pipeline on real processes.
const SCENARIOS: &[(&str, &str)] = &[];

struct Stage {
    name: String,
    budget: Duration,
    took: Duration,
    passed: bool,
    counts: Counts,
}

/// Runs the tiers (all if none is named) and prints the table; `Ok(false)` if anything failed.
pub fn run(tiers: &[Tier]) -> Result<bool> {
    let tiers: Vec<Tier> = if tiers.is_empty() { Tier::value_variants().to_vec() } else { tiers.to_vec() };
    let mut stages = Vec::new();
    prerequisites::check()?;
    let mut go_on = stage(&mut stages, "build", 10, || Ok((build()?, Counts::default())))?;
    if go_on && tiers.iter().any(|tier| tier.needs_services()) {
        go_on = stage(&mut stages, "installs", 8, || Ok((stack(&["install"])?, Counts::default())))?;
    }
    if go_on {
        for tier in tiers {
            stage(&mut stages, tier.name(), tier.budget_min(), || run_tier(tier))?;
        }
    }
    Ok(report(&stages))
}

fn stage(
    stages: &mut Vec<Stage>,
    name: &str,
    budget_min: u64,
    body: impl FnOnce() -> Result<(bool, Counts)>,
) -> Result<bool> {
    println!("\n== {name} (budget {budget_min} min)");
    let begun = Instant::now();
    let (passed, counts) = body()?;
    let budget = Duration::from_secs(budget_min * 60);
    stages.push(Stage { name: name.to_owned(), budget, took: begun.elapsed(), passed, counts });
    Ok(passed)
}

fn report(stages: &[Stage]) -> bool {
    println!("\n{:<10} {:>9} {:>9} {:>8} {:>8}  result", "tier", "time", "budget", "passed", "failed");
    let clock = |d: Duration| format!("{}:{:02}", d.as_secs() / 60, d.as_secs() % 60);
    let mut total = Counts::default();
    for stage in stages {
        total.passed += stage.counts.passed;
        total.failed += stage.counts.failed + u64::from(!stage.passed && stage.counts.failed == 0);
        let late = if stage.took > stage.budget { ", over budget" } else { "" };
        println!(
            "{:<10} {:>9} {:>9} {:>8} {:>8}  {}{late}",
            stage.name,
            clock(stage.took),
            clock(stage.budget),
            stage.counts.passed,
            stage.counts.failed,
            if stage.passed { "ok" } else { "FAILED" },
        );
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    stages.iter().all(|stage| stage.passed)
}

fn packages(command: &mut Command) -> &mut Command {
    for package in PACKAGES {
        command.args(["-p", package]);
    }
    command
}

fn build() -> Result<bool> {
    command::run(packages(command::cargo().args(["test", "--no-run"])))
}

fn stack(arguments: &[&str]) -> Result<bool> {
    command::run(
        command::cargo()
            .args(["run", "--quiet", "-p", "towpath-stack", "--bin", "towpath-stack", "--"])
            .args(arguments),
    )
}

fn run_tier(tier: Tier) -> Result<(bool, Counts)> {
    match tier {
        Tier::Fast => fast(),
        Tier::Services => targets(SERVICES),
        Tier::Sim => targets(SIM),
        Tier::Scenarios => targets(SCENARIOS),
        Tier::Load => Ok((true, Counts::default())),
    }
}

fn fast() -> Result<(bool, Counts)> {
    let tidy = tidy::run()?;
    let (passed, counts) = command::run_counting(packages(command::cargo().args(["test", "--lib", "--bins"])))?;
    Ok((tidy && passed, counts))
}

fn targets(targets: &[(&str, &str)]) -> Result<(bool, Counts)> {
    let mut all = (true, Counts::default());
    let mut command = command::cargo();
    packages(command.arg("test"));
    for (_, target) in targets {
        command.args(["--test", target]);
    }
    if !targets.is_empty() {
        all = command::run_counting(&mut command)?;
    }
    Ok(all)
}
