//! The commands, one file or folder each. A command prints its own report and gives back why it failed, if it did.

mod check;

use crate::cli::Command;
use crate::exit::Failure;

/// Carries a command out.
pub fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(args) => check::check(&args),
        Command::Run(args) => not_yet(&args.config.config),
        Command::Position(_) => Err(Failure::Other("this build has no coordinator".to_owned())),
    }
}

fn not_yet(config: &std::path::Path) -> Result<(), Failure> {
    crate::config::load(config)?;
    Err(Failure::Other("the configuration is in order, but this build has no connectors".to_owned()))
}
