//! The commands, one file or folder each. A command prints its own report and gives back why it failed, if it did.

mod alarms;
mod binlog;
mod check;
mod fallback;
mod position;
mod replay;
mod run;
mod schema;
mod time;

use std::future::Future;

use crate::cli::Command;
use crate::exit::Failure;

/// Carries a command out.
pub fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Alarms(command) => alarms::alarms(&command),
        Command::Binlog(args) => binlog::binlog(&args),
        Command::Check(args) => check::check(&args),
        Command::Run(args) => run::run(&args),
        Command::Position(command) => position::position(&command),
        Command::Schema(command) => schema::schema(&command),
        Command::Fallback(command) => fallback::fallback(&command),
        Command::Replay(args) => replay::replay(&args),
    }
}

/// Ids from here on are taken by commands that read a binlog: servers' own are small by habit.
const SERVER_ID_BASE: u32 = 3_000_000_000;

/// A server id that is nobody else's: a second reader under the same one would end the first one's stream.
fn own_server_id() -> u32 {
    SERVER_ID_BASE + std::process::id() % 1_000_000_000
}

/// Runs a command's work to its end on a runtime of its own.
fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(format!("the async runtime cannot start: {error}")))?;
    let outcome = runtime.block_on(work);
    // Blocking calls of client libraries end by their own deadlines; the process does not wait for them.
    runtime.shutdown_background();
    outcome
}
