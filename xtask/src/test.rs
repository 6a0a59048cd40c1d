//! `cargo xtask test`: prerequisites, one build, the services' installation, then the tiers, each beside its budget.
//!
//! What belongs to which tier stands here, in one table. The tests themselves live in their packages.

use anyhow::Result;
use clap::ValueEnum;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::command::{self, Counts};
use crate::{one_build, prerequisites, tidy};

/// A part of the tests, with a time budget on two cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Tier {
    /// Style, unit and property tests, everything on models
    Fast,
    /// Connectors, conformance and bad input on the real services
    Services,
    /// The whole pipeline on the models, many times
    Sim,
    /// The whole pipeline on real processes, with kills
    Scenarios,
    /// Short runs under load
    Load,
    /// Scenarios of the simulation on real processes, then two minutes of random faults
    Real,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Tier::Fast => "fast",
            Tier::Services => "services",
            Tier::Sim => "sim",
            Tier::Scenarios => "scenarios",
            Tier::Load => "load",
            Tier::Real => "real",
        }
    }

    fn budget_min(self) -> u64 {
        match self {
            Tier::Fast | Tier::Load => 4,
            Tier::Services | Tier::Real => 15,
            Tier::Sim => 8,
            Tier::Scenarios => 9,
        }
    }

    fn needs_services(self) -> bool {
        matches!(self, Tier::Services | Tier::Scenarios | Tier::Load | Tier::Real)
    }
}

/// Every package with tests, in the one invocation whose features all test binaries share.
const PACKAGES: &[&str] = &[
    "towpath",
    "towpath-engine",
    "towpath-connectors",
    "towpath-load",
    "towpath-scenarios",
    "towpath-picture",
    "towpath-models",
    "towpath-protocol",
    "towpath-stack",
    "towpath-demo",
    "xtask",
];

/// Integration tests by tier; a folder's test target carries the folder's name. One that does not exist yet in this
/// checkout is an error of cargo, so the table cannot fall behind.
const FAST: &[&str] = &["binlog", "cli", "docs", "conformance", "cost", "versions", "page"];
const SERVICES: &[&str] = &[
    "conformance",
    "connectors",
    "decode_real",
    "decode_random",
    "ddl_real",
    "binlog_real",
    "gtid_real",
    "semi_sync_real",
    "bad_input",
    "run_real",
    "large_transaction",
    "lifecycle",
    "commands",
];
const SIM: &[&str] = &["deployer_on_models", "adapter", "embedded", "protocol_models", "fuzz_events"];
const SCENARIOS: &[&str] = &["ten_kills", "sabotage", "failover_real", "fallback_real"];
const LOAD: &[&str] = &["profiles"];
/// Scenarios on real processes, as far as time allows. The others are by hand: `cargo stack run SCENARIO`.
const ON_PROCESSES: &[&str] = &[
    "kafka-down",
    "deployer-crash",
    "gtid-failover",
    "lost-tail-failover",
    "failover-to-lagging-replica",
    "gtid-reuse-after-crash",
    "paused-zombie",
    "zookeeper-session-loss",
    "elasticsearch-429-storm",
];
/// What the tests of a tier share, started once.
const SERVICES_STACK: &[&str] = &["--mariadb", "--kafka-sasl", "--es", "hot"];

struct Stage {
    name: String,
    budget: Duration,
    took: Duration,
    passed: bool,
    counts: Counts,
}

/// Runs the tiers (all if none is named) and prints the table; `Ok(false)` if anything failed.
pub fn run(tiers: &[Tier]) -> Result<bool> {
    let tiers = if tiers.is_empty() { Tier::value_variants() } else { tiers };
    let mut stages = Vec::new();
    prerequisites::check()?;
    let mut go_on = stage(&mut stages, "build", 10, || Ok((build()?, Counts::default())))?;
    if go_on && tiers.iter().any(|tier| tier.needs_services()) {
        go_on = stage(&mut stages, "installs", 4, || Ok((install()?, Counts::default())))?;
    }
    if go_on {
        for &tier in tiers {
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
    for stage in stages {
        for line in &stage.counts.reasons {
            println!("{:<10} {line}", stage.name);
        }
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    stages.iter().all(|stage| stage.passed)
}

/// Names every package with tests.
pub fn packages(command: &mut Command) -> &mut Command {
    for package in PACKAGES {
        command.args(["-p", package]);
    }
    command
}

/// The one selection of packages and features that all test binaries share.
fn selection(command: &mut Command) -> &mut Command {
    packages(command).args(["--features", &one_build::features()])
}

fn build() -> Result<bool> {
    command::run(selection(command::cargo().args(["test", "--no-run"])))
}

/// The stack's program as the build left it.
fn stack_program() -> Command {
    let mut command = Command::new(command::root().join("target/debug/towpath-stack"));
    command.current_dir(command::root());
    command
}

fn install() -> Result<bool> {
    command::run(stack_program().arg("install"))
}

fn run_tier(tier: Tier) -> Result<(bool, Counts)> {
    match tier {
        Tier::Fast => fast(),
        Tier::Services => on_stack(SERVICES_STACK, SERVICES),
        Tier::Sim => simulation(),
        Tier::Scenarios => scenarios(),
        Tier::Load => load(),
        Tier::Real => real(),
    }
}

fn fast() -> Result<(bool, Counts)> {
    let tidy = tidy::run()? && formatting()?;
    let mut tests = targets(command::cargo(), FAST);
    // Of the conformance suite the models' half: the real services' half belongs to their tier.
    tests.args(["--lib", "--bins", "--", "--skip", "real_services"]);
    let (passed, mut counts) = command::run_counting(&mut tests)?;
    if !tidy {
        counts.reasons.push("style: see the lines above the tests (cargo xtask tidy, cargo fmt)".to_owned());
    }
    Ok((tidy && passed, counts))
}

/// Formatting; a toolchain may come without the program. (`cargo clippy --workspace --all-targets` is by hand: it
/// checks every dependency once more.)
fn formatting() -> Result<bool> {
    if !prerequisites::answers("cargo", &["fmt", "--version"]) {
        println!("formatting: skipped, this toolchain has no rustfmt: rustup component add rustfmt");
        return Ok(true);
    }
    command::run(command::cargo().args(["fmt", "--all", "--check"]))
}

/// Fresh seeds of the swarm in each run of the tests.
const SWARM_SEEDS: &str = "300";

/// Tests on the models, then the simulator: equal bytes first, for a seed that cannot be repeated proves nothing; then
/// all scenarios on three seeds each, each canary on a kept seed that catches it, and fresh seeds of the swarm from the
/// commit's own number on. (`cargo sim swarm --minutes` and `cargo xtask canaries` go on from there, by hand.)
fn simulation() -> Result<(bool, Counts)> {
    let mut tests = targets(command::cargo(), SIM);
    let (passed, mut counts) = command::run_counting(tests.env("TOWPATH_SEED", seed().to_string()))?;
    let mut all = passed;
    println!("fresh seeds of the swarm: {SWARM_SEEDS} from {} on", seed());
    let stages: [&[&str]; 4] = [
        &["sim", "meta"],
        &["sim", "coverage"],
        &["sim", "canaries", "--kept"],
        &["sim", "swarm", "--seeds", SWARM_SEEDS],
    ];
    for arguments in stages {
        let good = command::run(command::cargo().args(arguments).env("TOWPATH_SEED", seed().to_string()))?;
        if !good {
            counts.reasons.push(format!("cargo {}, see above", arguments.join(" ")));
        }
        all &= good;
    }
    Ok((all, counts))
}

/// Ten kills, a sabotaged demo, failover and fallback, then the demo on real services: all judge every document
/// against its row.
fn scenarios() -> Result<(bool, Counts)> {
    let mut kills = targets(command::cargo(), SCENARIOS);
    kills.env("TOWPATH_SEED", seed().to_string()).args(["--", "--show-output"]);
    // Fewer orders than the test's own 50,000 keep the tier within its budget: more by hand, or by this variable.
    if std::env::var_os("TOWPATH_ORDERS").is_none() {
        kills.env("TOWPATH_ORDERS", "10000");
    }
    let (passed, mut counts) = command::run_counting(&mut kills)?;
    let demo = command::run(stack_program().args(["demo", "--orders", "3000", "--json"]))?;
    if !demo {
        counts.reasons.push("the demo on the stack, see above".to_owned());
    }
    Ok((passed && demo, counts))
}

/// A short run of each shipped profile on real services: it fails if a document differs from its row.
fn load() -> Result<(bool, Counts)> {
    let mut tests = targets(command::cargo(), LOAD);
    command::run_counting(tests.env("TOWPATH_SEED", seed().to_string()).args(["--", "--show-output"]))
}

/// The scenarios, one after the other, then random faults. What clocks say is told, and decides nothing.
fn real() -> Result<(bool, Counts)> {
    let (mut all, mut counts) = (true, Counts::default());
    let seed = seed().to_string();
    let scenarios: Vec<&str> = ["run", "--brisk", "--json"].iter().chain(ON_PROCESSES).copied().collect();
    for arguments in [scenarios.as_slice(), &["soak", "--minutes", "2", "--seed", &seed, "--json"]] {
        let good = command::run(stack_program().args(arguments))?;
        if !good {
            counts.reasons.push(format!("cargo stack {}, see above", arguments.join(" ")));
        }
        all &= good;
    }
    Ok((all, counts))
}

/// Runs test targets beside services that they share.
fn on_stack(services: &[&str], names: &[&str]) -> Result<(bool, Counts)> {
    let cargo = command::cargo();
    let mut command = stack_program();
    command.arg("run").args(services).arg("--").arg(cargo.get_program()).env_remove("RUSTFLAGS");
    command.env("TOWPATH_SEED", seed().to_string());
    // One test after the other: what they do to the services they share must not meet.
    command::run_counting(targets(command, names).args(["--", "--test-threads=1"]))
}

fn targets(mut command: Command, names: &[&str]) -> Command {
    selection(command.args(["test", "--no-fail-fast"]));
    for name in names {
        command.args(["--test", name]);
    }
    command
}

/// From the commit, so that an unrelated change turns nothing red by chance in a rerun.
fn seed() -> u32 {
    let head = Command::new("git").args(["rev-parse", "--short=7", "HEAD"]).current_dir(command::root()).output();
    let text = head.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    u32::from_str_radix(&text, 16).unwrap_or(1)
}
