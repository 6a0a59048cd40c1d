//! `cargo sim`: runs scenarios and swarms of seeds, replays one, shrinks what fails.
//!
//! One process a seed does the work (`towpath-sim-worker`); this one starts them, measures wall time and gathers what
//! they say. It links nothing that replaces the clock.

mod args;
mod batch;
mod building;
mod canaries;
mod coverage;
mod page;
mod report;
mod scenarios;
mod shrink;
mod worker;

use clap::Parser;
use std::process::ExitCode;

use args::{Args, Command};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<bool> {
    let args = Args::parse();
    let worker = building::worker()?;
    match args.command {
        Command::List => scenarios::list(&worker),
        Command::Run { scenario, seeds, json } => {
            let plan = scenarios::load(&worker, &scenario)?;
            batch::of_scenario(&worker, &scenario, &plan, seeds.range()?, json)
        }
        Command::Swarm { minutes, seeds, first, json } => batch::swarm(&worker, minutes, seeds, first, json),
        Command::Replay { scenario, seed, trace, html } => {
            let plan = scenarios::load_for(&worker, &scenario, seed)?;
            report::replay(&worker, &scenario, &plan, seed, trace, html.as_deref())
        }
        Command::Shrink { scenario, seed } => {
            let plan = scenarios::load_for(&worker, &scenario, seed)?;
            shrink::command(&worker, &plan, seed)
        }
        Command::Meta { seeds, first } => batch::meta(&worker, first, seeds),
        Command::Canaries(options) => canaries::canaries(&worker, &options),
        Command::Coverage => coverage::coverage(&worker),
    }
}
