//! The simulator's worker as a program, with what only this build contains: decisions of the engine that can be broken,
//! and the count of its marked branches.
//!
//! Its first argument chooses the decision: `none` breaks nothing. `list` names all. Started by `cargo sim`, not by
//! people.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::process::ExitCode;
use towpath_engine::branch::{self, Branch};
use towpath_engine::canary::{Canary, choose};
use towpath_sim_worker::cli::serve;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        // As the programs for people do: without a backtrace, whatever the environment asks for.
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    match args {
        ["list"] => {
            Canary::ALL.iter().for_each(|(_, name, oracle, scenario)| println!("{name} {oracle} {scenario}"));
            Ok(())
        }
        ["none", rest @ ..] => serve(rest, branches),
        [name, rest @ ..] => {
            let (canary, ..) = Canary::ALL.iter().find(|(_, known, ..)| known == name).context("no such canary")?;
            choose(*canary);
            serve(rest, branches)
        }
        [] => bail!("usage: list | CANARY … (`none` breaks nothing)"),
    }
}

/// How often each marked branch was reached.
fn branches() -> BTreeMap<String, u32> {
    let told = |branch: Branch| Branch::ALL.iter().find(|(known, _)| *known == branch).map(|(_, text)| *text);
    branch::counts().filter_map(|(branch, count)| Some((told(branch)?.to_owned(), count))).collect()
}
