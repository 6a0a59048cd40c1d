//! `--stack`: the same on the real services, done by the stack's package, which links their clients.
//!
//! Must not link a client library: embedded, the demo needs nothing but Rust.

use anyhow::{Context, Result};
use clap::ValueEnum;
use std::process::{Command, ExitCode};

use crate::Args;

/// Runs `cargo run -p towpath-stack -- demo …` with the same flags, and ends as it ends.
///
/// # Errors
/// Cargo cannot be started.
pub fn run(args: &Args) -> Result<ExitCode> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--package", "towpath-stack", "--bin", "towpath-stack", "--"])
        .args(flags(args))
        .status()
        .with_context(|| format!("cannot start {cargo} (the demo on real services is built by it)"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn flags(args: &Args) -> Vec<String> {
    let mut flags: Vec<String> = ["demo", "--orders"].map(str::to_owned).to_vec();
    flags.extend([args.orders.to_string(), "--seed".to_owned(), args.seed.to_string()]);
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
        assert_eq!(flags(&args).join(" "), "demo --orders 7 --seed 3 --json --keep --sabotage stale");
    }

    #[test]
    fn keep_without_services_of_its_own_is_refused() {
        assert!(Args::try_parse_from(["demo", "--keep"]).unwrap_err().to_string().contains("--stack"));
    }
}
