//! Canal's server with its way to Kafka.
//!
//! Of the published artifacts the launcher (`canal.deployer`) is missing, so that there is nothing to start: that is
//! asked each time, and the repository's answer is the reason in the result.

use anyhow::{Context, Result, bail};

use super::{Figures, Ground, brought};
use crate::install::Package;

/// Says why it does not run.
pub async fn run(_ground: &Ground<'_>) -> Result<Figures> {
    let (libraries, version) = brought(&Package::Canal, "canal.deployer").context("its launcher is not published")?;
    bail!(
        "canal.deployer {version} is published by now ({}), and this bench does not start it yet",
        libraries.display()
    )
}
