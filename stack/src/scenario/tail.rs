//! A MySQL that crashes and comes back without its last transactions, as after a loss of what the disk had not written.
//!
//! Its files are copied while it stands still, which is what a crash at that moment leaves; later it is killed and
//! starts from the copy.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::process::Command;
use tokio::time::Instant;

use crate::harness::freshness::Probes;
use crate::{Service, Stack};

/// Copies the files as they are. Returns where the copy is.
///
/// # Errors
/// They cannot be copied.
pub async fn keep(mysql: &Service) -> Result<PathBuf> {
    let kept = mysql.spec().folder.join("data-kept");
    mysql.pause()?;
    let copied = copy(&data(mysql), &kept).await;
    mysql.resume()?;
    copied.map(|()| kept)
}

/// Kills the server and starts it from the copy, which was made at `since`.
///
/// # Errors
/// It does not start again.
pub async fn lose(stack: Arc<Stack>, mysql: String, kept: PathBuf, since: Instant, probes: Probes) -> Result<()> {
    let mysql = stack.service(&mysql)?;
    mysql.kill().await?;
    probes.forget_since(since);
    std::fs::remove_dir_all(data(mysql)).context("cannot remove the server's files")?;
    std::fs::rename(&kept, data(mysql)).context("cannot put the copy in their place")?;
    mysql.start().await
}

fn data(mysql: &Service) -> PathBuf {
    mysql.spec().folder.join("data")
}

async fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(to); // what an earlier fault has left
    // With owners and modes, which the server insists on.
    let status = Command::new("cp").arg("-a").args([from, to]).status().await.context("cannot run cp")?;
    if !status.success() {
        bail!("cp -a {} {} failed", from.display(), to.display());
    }
    Ok(())
}
