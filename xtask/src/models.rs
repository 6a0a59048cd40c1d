//! `cargo xtask models`: the exhaustive models of the protocol, larger bounds than the tests use.

use anyhow::Result;

use crate::command;

/// Builds and starts the models' program with `arguments`; `Ok(false)` if a claim broke or a rule was not caught.
pub fn run(arguments: &[String]) -> Result<bool> {
    let mut cargo = command::cargo();
    command::run(cargo.args(["run", "-q", "-p", "towpath-protocol", "--"]).args(arguments))
}
