//! Builds the worker: a package of its own, because what it links replaces the clock of its process, and because only
//! its engine counts branches and can be broken.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The flag without which runs would not be repeatable, and a target folder of its own for what is built with it.
const CONFIG: [&str; 2] = ["build.rustflags=[\"--cfg\",\"tokio_unstable\"]", "build.target-dir=\"target/sim\""];

/// The workspace.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// Builds the worker if need be, and says where it is.
///
/// # Errors
/// It does not compile.
pub fn worker() -> Result<PathBuf> {
    package("towpath-canaries")
}

/// Builds a package's binary of the same name.
///
/// # Errors
/// It does not compile.
pub fn package(name: &str) -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(["build", "--quiet", "--package", name, "--bin", name]);
    CONFIG.iter().for_each(|setting| {
        command.args(["--config", setting]);
    });
    // It would replace the flag silently.
    let status = command.env_remove("RUSTFLAGS").stdin(Stdio::null()).status().context("cannot start cargo")?;
    ensure!(status.success(), "the worker does not compile");
    Ok(root().join("target/sim/debug").join(name))
}
