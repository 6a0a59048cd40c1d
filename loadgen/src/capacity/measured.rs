//! Where costs come from: runs and searches that were measured.

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::path::{Path, PathBuf};

use super::check::{Search, Tried};
use super::fit::{Costs, Sample, fit_samples};
use crate::report::Report;

/// What parts cost, and how that is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// In words.
    pub source: String,
    /// By part.
    pub costs: Costs,
}

/// Costs fitted over files: reports of `run --json`, and searches of `find-max --json` with the trials after
/// them.
///
/// # Errors
/// A file cannot be read or is neither, or nothing in them is valid.
pub fn measured(files: &[PathBuf]) -> Result<Measured> {
    let mut samples = Vec::new();
    for file in files {
        samples.extend(samples_of(file)?);
    }
    ensure!(!samples.is_empty(), "nothing to plan from: name at least one run's --json");
    let source = format!("{} measured runs", samples.len());
    Ok(Measured { source, costs: fit_samples(&samples) })
}

fn samples_of(file: &Path) -> Result<Vec<Sample>> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let value: serde_json::Value = serde_json::from_str(&text).with_context(|| format!("{name} is no JSON"))?;
    if value.get("trials").is_some() {
        let search: Search =
            serde_json::from_value(value).with_context(|| format!("{name} is no output of `find-max --json`"))?;
        // Before, services still compiled their code, or put off a part of their work.
        let counts = |tried: &Tried| tried.after && tried.valid;
        return Ok(search.trials.into_iter().filter(counts).map(|tried| tried.sample).collect());
    }
    let report: Report = serde_json::from_value(value)
        .with_context(|| format!("{name} is no report of `run --json` and no output of `find-max --json`"))?;
    if !report.valid {
        bail!("{name}: a run of {} is not valid: its costs are not those of its load", report.profile);
    }
    Ok(vec![Sample::of(&report)])
}
