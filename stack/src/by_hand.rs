//! The stack started by hand: one folder, fixed ports, detached processes, and the example's tables.

use crate::builder::StackBuilder;
use crate::leftovers;
use crate::service::Service;
use crate::stack::{FILE, Mysql, Stack};
use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use std::fs::File;
use std::path::Path;

/// The example's database, tables and user.
const EXAMPLE: &str = include_str!("../../examples/orders.sql");

/// Starts `builder`'s services in `folder`, on the fixed ports or, beside another stack, on free ones. When they all
/// run
/// already, this is that stack.
///
/// # Errors
/// When another stack runs there, a port is taken, or a service does not start.
pub async fn up(builder: StackBuilder, folder: &Path, free_ports: bool) -> Result<Stack> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join("up.lock"))?;
    if lock.try_lock().is_err() {
        bail!("another `cargo stack up` or `down` is at work in {}", folder.display());
    }
    if let Ok(running) = Stack::attach(&folder.join(FILE)) {
        let count = running.services().iter().filter(|service| service.is_running()).count();
        if count > 0 && count == running.services().len() {
            builder.require(&running).context("a stack with other services runs: type `cargo stack down` first")?;
            load_example(&running).await?;
            return Ok(running);
        }
    }
    // What a crash or an interrupted start left would hold the ports.
    let ended = leftovers::end(folder).await?;
    if !ended.is_empty() {
        eprintln!("ended what an earlier start left: {}", ended.join(", "));
    }
    let builder = if free_ports { builder.detached(folder) } else { builder.by_hand(folder) };
    let stack = builder.start().await?;
    load_example(&stack).await?;
    Ok(stack)
}

/// Stops what runs in `folder` and returns the names; with `purge` removes all data.
///
/// # Errors
/// When a service cannot be ended.
pub async fn down(folder: &Path, purge: bool) -> Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let lock = File::create(folder.join("up.lock"))?;
    if lock.try_lock().is_err() {
        bail!("another `cargo stack up` or `down` is at work in {}", folder.display());
    }
    let mut stopped = Vec::new();
    if let Ok(stack) = Stack::attach(&folder.join(FILE)) {
        let running = stack.services().iter().filter(|service| service.is_running());
        stopped.extend(running.map(|service| service.name().to_owned()));
        let stops = futures_util::future::join_all(stack.services().iter().map(Service::stop)).await;
        stops.into_iter().collect::<Result<Vec<()>>>()?;
    }
    stopped.extend(leftovers::end(folder).await?);
    if purge {
        leftovers::remove(folder)?;
    }
    Ok(stopped)
}

/// Loads the example's database into the stack's MySQL, if it has one.
///
/// # Errors
/// When a statement fails.
pub async fn load_example(stack: &Stack) -> Result<()> {
    let Ok(server) = stack.mysql() else { return Ok(()) };
    run_script(server, EXAMPLE).await.context("examples/orders.sql could not be loaded")
}

/// Runs a script as root: statements end with a semicolon at the end of a line; lines that begin with `--` are
/// comments.
///
/// # Errors
/// Of the first statement that fails, with its text.
pub async fn run_script(server: Mysql<'_>, script: &str) -> Result<()> {
    let mut connection = mysql_async::Conn::from_url(server.root_url()).await?;
    for statement in statements(script) {
        connection.query_drop(&statement).await.with_context(|| format!("this statement failed:\n{statement}"))?;
    }
    Ok(connection.disconnect().await?)
}

fn statements(script: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut current = String::new();
    for line in script.lines().filter(|line| !line.trim_start().starts_with("--") && !line.trim().is_empty()) {
        let line = line.trim_end();
        let (text, ends) = line.strip_suffix(';').map_or((line, false), |text| (text, true));
        current.push_str(text);
        if ends {
            all.push(std::mem::take(&mut current));
        } else {
            current.push('\n');
        }
    }
    if !current.trim().is_empty() {
        all.push(current.trim_end().to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn a_script_is_cut_at_line_ends() {
        let script = "-- first\nUSE a;\n\nCREATE TABLE t (\n  x INT, -- with; inside\n  y INT\n);\nSELECT 1";
        assert_eq!(statements(script), ["USE a", "CREATE TABLE t (\n  x INT, -- with; inside\n  y INT\n)", "SELECT 1"]);
    }
}
