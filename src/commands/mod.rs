//! The commands, one file or folder each. A command prints its own report and gives back why it failed, if it did.

mod binlog;
mod check;
mod position;
mod run;
mod schema;

use crate::cli::Command;
use crate::exit::Failure;

/// Carries a command out.
pub fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Binlog(args) => binlog::binlog(&args),
        Command::Check(args) => check::check(&args),
        Command::Run(args) => run::run(&args),
        Command::Position(command) => position::position(&command),
        Command::Schema(command) => schema::schema(&command),
    }
}
