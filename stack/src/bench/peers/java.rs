//! Starting a peer that is a Java program.

use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use super::watch::Process;
use crate::install::java;
use crate::process::MARKER;

/// A program of the libraries in `class_path`; its output goes to `log`, which lies in the stack's folder.
///
/// # Errors
/// There is no Java that fits, or it cannot be started.
pub fn start(class_path: &str, options: &[String], main: &[&str], folder: &Path, log: &Path) -> Result<Process> {
    let java = java::find(17..=99)?;
    let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let child = Command::new(java.program())
        .args(options)
        .args(["-cp", class_path])
        .args(main)
        .current_dir(folder)
        // The guard of the stack in whose folder the log lies ends this process too, should we be killed.
        .env(MARKER, log)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .with_context(|| format!("cannot start {}", java.program().display()))?;
    Ok(Process::Other(child, log.to_owned()))
}
