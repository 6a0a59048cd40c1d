//! What a crashed program left: stacks whose owner no longer runs are ended and their folders removed.

use crate::process::Identity;
use crate::stack::{Description, FILE};
use anyhow::{Context, Result};
use std::path::Path;

/// The file that names the owner of a test's stack.
pub(crate) const OWNER: &str = "owner.json";
/// The file that names the guard of a test's stack.
pub(crate) const GUARD: &str = "guard.json";

/// Ends the left-overs below `root`; returns the names of the services that were ended.
///
/// # Errors
/// When the system refuses to end one of them.
pub async fn end_below(root: &Path) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    let Ok(entries) = std::fs::read_dir(root) else { return Ok(ended) };
    for folder in entries.flatten().map(|entry| entry.path()) {
        // A stack being made has no owner's file yet under its final name: such a folder is never seen (see `claim`).
        let Some(owner) = owner(&folder) else { continue };
        if owner.alive() {
            continue;
        }
        ended.extend(end(&folder).await?);
        remove(&folder)?;
    }
    Ok(ended)
}

/// Kills every service of the stack in `folder`, by its recorded pids.
///
/// # Errors
/// When the system refuses.
pub async fn end(folder: &Path) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    // Processes are marked with the folder's true path.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    for entry in std::fs::read_dir(folder.join("pids")).into_iter().flatten().flatten() {
        let name = entry.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Some(identity) = read::<Identity>(&entry.path()) else { continue };
        let marker = folder.join(&name).display().to_string();
        if identity.group_alive(&marker) {
            identity.signal(&marker, nix::sys::signal::Signal::SIGKILL)?;
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
            while identity.group_alive(&marker) && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            ended.push(name);
        }
    }
    Ok(ended)
}

/// Makes the stack's folder with its owner's file in one step.
pub(crate) fn claim(folder: &Path) -> Result<()> {
    let parent = folder.parent().context("a stack's folder has a parent")?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let making = tempfile::Builder::new().prefix(".making-").tempdir_in(parent)?;
    std::fs::write(making.path().join(OWNER), serde_json::to_string(&Identity::own()?)?)?;
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(making.path(), mode)?;
    std::fs::rename(making.keep(), folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// Removes a stack's folder and the folders its links lead to.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(target) = entry.path().read_link() {
            // Gone already is as good.
            let _ = std::fs::remove_dir_all(target);
        }
    }
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The description of the stack in `folder`, if it has one.
#[must_use]
pub fn description(folder: &Path) -> Option<Description> {
    read(&folder.join(FILE))
}

fn owner(folder: &Path) -> Option<Identity> {
    read(&folder.join(OWNER))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}
