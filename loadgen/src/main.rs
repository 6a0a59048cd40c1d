//! `cargo load`: commands and their output; the work is the library's.
//!
//! Exit status: 0 passed, 1 failed (a level broken, data lost, an error), 2 wrong usage, 3 invalid (the generator was
//! late, so nothing is known).

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use towpath_engine::causes::with_causes;

mod commands;

/// Order writes and prompt-sound queries at peak, against real services.
#[derive(Parser)]
#[command(name = "cargo load", version)]
struct Cli {
    /// Print JSON on the standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a profile: a shipped one by its name, another by its path.
    Run(commands::run::Arguments),
    /// Find the highest rate at which the levels hold and the backlog does not grow.
    FindMax(commands::find_max::Arguments),
    /// Say what a target needs of each part, from measured runs.
    Plan(commands::plan::Arguments),
    /// Check the model of `plan` against maxima that `find-max` has measured.
    CheckModel(commands::check_model::Arguments),
    /// Compare runs: is one worse than the other by more than noise?
    Compare(commands::compare::Arguments),
    /// Run the storm of polls on HOT and on Remind, and compare.
    Remind(commands::remind::Arguments),
    /// Measure what the generator itself costs, against a responder that does nothing.
    OwnCost(commands::own_cost::Arguments),
    /// List the shipped profiles.
    Profiles,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Run(arguments) => commands::run::run(&arguments, cli.json).await,
        Command::FindMax(arguments) => commands::find_max::run(&arguments, cli.json).await,
        Command::Plan(arguments) => commands::plan::run(&arguments, cli.json),
        Command::CheckModel(arguments) => commands::check_model::run(&arguments, cli.json),
        Command::Compare(arguments) => commands::compare::run(&arguments, cli.json),
        Command::Remind(arguments) => commands::remind::run(&arguments, cli.json).await,
        Command::OwnCost(arguments) => commands::own_cost::run(&arguments, cli.json),
        Command::Profiles => commands::profiles(cli.json),
    }
}
