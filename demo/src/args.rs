//! What can be said to the demo.

use clap::{Parser, ValueEnum};

/// The main job on an order workload: MySQL's binlog through Kafka into Elasticsearch, every document compared with its
/// row at the end.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo demo", version)]
pub struct Args {
    /// How many orders are written [default: 10000, with --stack 4000].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub orders: Option<u64>,
    /// Same seed, same orders.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object instead of a table; progress is not shown.
    #[arg(long)]
    pub json: bool,
    /// Leave everything running at the end and print the addresses (needs --stack).
    #[arg(long, requires = "stack")]
    pub keep: bool,
    /// Break the run on purpose: it must be caught, and the demo must fail.
    #[arg(long, value_enum)]
    pub sabotage: Option<Sabotage>,
    /// Use the real services (installed at first use) and kill the leading deployer halfway.
    #[arg(long)]
    pub stack: bool,
}

/// Ways to break a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// Some documents are never written.
    Drop,
    /// Some documents stay as they were first written.
    Stale,
    /// Some documents are written under a second id too.
    Double,
}
