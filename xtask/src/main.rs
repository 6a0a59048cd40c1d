//! `cargo xtask`: the verbs that people and CI share.
//!
//! Small on purpose: it checks prerequisites and starts other packages. No test, bench or check of behaviour lives
//! here.

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod bench;
mod command;
mod models;
mod one_build;
mod prerequisites;
mod shown;
mod test;
mod tidy;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The verbs that people and CI share")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check prerequisites, build, install the services, and run the tests, each tier beside its budget
    Test {
        /// Only these tiers (repeatable); all of them without it
        #[arg(long = "tier", value_enum)]
        tiers: Vec<test::Tier>,
    },
    /// Measure; every figure of a table comes from one run
    Bench {
        #[command(subcommand)]
        what: bench::What,
    },
    /// Explore the models of the protocol (docs/protocol-models.md); `--small`, `--model NAME`, `--without RULE`,
    /// `--trace`, `--json` are passed on
    Models {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Break decisions of the engine, one at a time: an oracle must object to each (docs/simulation.md)
    Canaries {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check style: heads, lengths, banned words, links in the documentation
    Tidy,
    /// Run every command that README and docs promise
    Shown {
        /// Only list them
        #[arg(long)]
        list: bool,
    },
    /// Check compiler, headers, Java and Maven; install what is missing when root
    Prerequisites {
        /// Say something only if something is missing
        #[arg(long)]
        quiet: bool,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    match Arguments::parse().verb {
        Verb::Test { tiers } => test::run(&tiers),
        Verb::Bench { what } => bench::run(what),
        Verb::Models { arguments } => models::run(&arguments),
        Verb::Canaries { arguments } => command::run(command::cargo().args(["sim", "canaries"]).args(&arguments)),
        Verb::Tidy => tidy::run(),
        Verb::Shown { list } => shown::run(list),
        Verb::Prerequisites { quiet: true } => prerequisites::check_quietly().map(|()| true),
        Verb::Prerequisites { quiet: false } => prerequisites::check().map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    /// The features with which a package and all it depends on are built.
    fn features(package: &str) -> String {
        let mut tree = super::command::cargo();
        let output = tree.args(["tree", "--offline", "-p", package, "-e", "features"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn only_the_simulators_worker_contains_canaries() {
        let canary = "towpath-engine feature \"canary\"";
        assert!(features("towpath-canaries").contains(canary), "it would not be found where it is either");
        for package in ["towpath", "towpath-demo", "towpath-stack", "towpath-sim-worker"] {
            let features = features(package);
            assert!(features.contains("towpath-engine") && !features.contains(canary), "{package} is built with it");
        }
    }
}
