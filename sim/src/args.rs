//! What can be asked for on the command line.

use anyhow::{Context, Result, ensure};
use clap::{Args as Group, Parser, Subcommand};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Simulates whole deployments under faults, each run repeatable from its seed.
#[derive(Debug, Parser)]
#[command(name = "cargo sim")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a scenario under one seed or many.
    Run {
        /// A shipped scenario's name, or a file.
        scenario: String,
        /// Which seeds.
        #[command(flatten)]
        seeds: Seeds,
        /// One line of JSON a seed, then a summary.
        #[arg(long)]
        json: bool,
    },
    /// Runs scenarios drawn from fresh seeds.
    Swarm {
        /// For so long.
        #[arg(long, conflicts_with = "seeds")]
        minutes: Option<f64>,
        /// So many seeds.
        #[arg(long)]
        seeds: Option<u64>,
        /// The first seed; without it TOWPATH_SEED, or 1.
        #[arg(long)]
        first: Option<u64>,
        /// One line of JSON a seed, then a summary.
        #[arg(long)]
        json: bool,
    },
    /// Runs one seed again and shows its course.
    Replay {
        /// A scenario, or `swarm` for the one drawn from the seed.
        scenario: String,
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Everything the engine says; equal bytes each time.
        #[arg(long)]
        trace: bool,
        /// Writes the run as one page.
        #[arg(long)]
        html: Option<PathBuf>,
    },
    /// Takes away from a failing plan what it does not need to fail.
    Shrink {
        /// A scenario, or `swarm` for the one drawn from the seed.
        scenario: String,
        /// The seed.
        #[arg(long)]
        seed: u64,
    },
    /// Lists the shipped scenarios.
    List,
    /// Runs seeds twice and compares the traces byte by byte.
    Meta {
        /// How many.
        #[arg(long, default_value_t = 20)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        first: u64,
    },
    /// Breaks decisions of the engine, one at a time, and counts the seeds until an oracle objects.
    Canaries(CanaryOptions),
    /// Runs every shipped scenario on three seeds and says how often each fault began and each marked branch of the
    /// engine was reached; one that never is fails.
    Coverage,
}

/// Which canaries, on which seeds.
#[derive(Debug, Group)]
pub struct CanaryOptions {
    /// Only those whose name contains this.
    #[arg(long)]
    pub only: Option<String>,
    /// At most so many seeds for each.
    #[arg(long, default_value_t = 50)]
    pub seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub first: u64,
    /// Only the seeds that are kept because they catch: quick.
    #[arg(long, conflicts_with_all = ["seeds", "first", "keep"])]
    pub kept: bool,
    /// Keeps the seeds that catch, in `sim/canaries/kept.json`.
    #[arg(long)]
    pub keep: bool,
}

/// Which seeds.
#[derive(Debug, Group)]
#[group(multiple = false)]
pub struct Seeds {
    /// One seed.
    #[arg(long)]
    seed: Option<u64>,
    /// From A to B, both included: `1..200`.
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
}

impl Seeds {
    /// The range; seed 1 if nothing was said.
    ///
    /// # Errors
    /// It is no range, or an empty one.
    pub fn range(&self) -> Result<RangeInclusive<u64>> {
        let Some(text) = &self.seeds else {
            let seed = self.seed.unwrap_or(1);
            return Ok(seed..=seed);
        };
        let (first, last) = text.split_once("..").with_context(|| format!("`{text}` is no range like 1..200"))?;
        let number = |text: &str| text.parse::<u64>().with_context(|| format!("`{text}` is no seed"));
        let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
        ensure!(first <= last, "`{text}` is empty");
        Ok(first..=last)
    }
}
