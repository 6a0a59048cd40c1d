//! `--stack`: the same on the real services, done by the stack's package, which links their clients.
//!
//! Must not link a client library: embedded, the demo needs nothing but Rust.

use anyhow::{Context, Result};
use clap::ValueEnum;
use std::process::{Command, ExitCode};

use crate::Args;

/// What needs the services: built at its first use, by the cargo that built this.
const PACKAGES: [&str; 2] = ["towpath", "towpath-stack"];

/// Builds the production binary and the stack's, then runs `towpath-stack demo …` with the same flags and ends as it
/// ends.
///
/// # Errors
/// Cargo cannot be started.
pub fn run(args: &Args) -> Result<ExitCode> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let start = |words: &[&str], flags: Vec<String>| {
        let status = Command::new(cargo).args(words).args(flags).status();
        status.with_context(|| format!("cannot start {cargo} (it builds the demo on real services)"))
    };
    // Compiler, headers, Java: installed when root, else the one line to type.
    if !start(&["run", "--quiet", "--package", "xtask", "--", "prerequisites", "--quiet"], Vec::new())?.success() {
        anyhow::bail!("something that the real services need is missing: see the line above");
    }
    for package in PACKAGES {
        // Not quietly: the first time it takes minutes. (Cargo's progress goes to stderr.)
        let build = ["build", "--package", package, "--bin", package, "--features", "one-build"];
        let built = start(&build, Vec::new())?;
        if !built.success() {
            anyhow::bail!("{package} does not build; `cargo xtask test` says what is missing");
        }
    }
    let program = ["run", "--quiet", "--package", "towpath-stack", "--bin", "towpath-stack"];
    let stack = [&program[..], &["--features", "one-build", "--"]].concat();
    let code = start(&stack, flags(args))?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn flags(args: &Args) -> Vec<String> {
    let mut flags: Vec<String> = vec!["demo".into(), "--seed".into(), args.seed.to_string()];
    if let Some(orders) = args.orders {
        flags.extend(["--orders".to_owned(), orders.to_string()]);
    }
    for (set, flag) in [(args.json, "--json"), (args.keep, "--keep")] {
        if set {
            flags.push(flag.to_owned());
        }
    }
    if let Some(sabotage) = args.sabotage.and_then(|sabotage| sabotage.to_possible_value()) {
        flags.extend(["--sabotage".to_owned(), sabotage.get_name().to_owned()]);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn every_flag_is_handed_on() {
        let given = "demo --stack --orders 7 --seed 3 --json --keep --sabotage stale";
        let args = Args::try_parse_from(given.split(' ')).unwrap();
        assert_eq!(flags(&args).join(" "), "demo --seed 3 --orders 7 --json --keep --sabotage stale");
    }

    #[test]
    fn keep_without_services_of_its_own_is_refused() {
        assert!(Args::try_parse_from(["demo", "--keep"]).unwrap_err().to_string().contains("--stack"));
    }
}
