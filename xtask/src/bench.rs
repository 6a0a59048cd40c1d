//! `cargo xtask bench`: starts the benches; the measuring is done where the code lives.

use anyhow::Result;
use clap::Subcommand;

use crate::{command, prerequisites};

#[derive(Subcommand)]
pub enum What {
    /// Real binlog into real Kafka, and Kafka into real Elasticsearch
    Pipeline {
        /// Arguments passed on (--rows N, --one-transaction, --fencing MODE, --record MODE, --json)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The workload's binlog on one core: bare dump, mysqlbinlog, decoding, decoding into records
    Decode {
        /// Arguments passed on (--rows N, --rounds N, --json)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// On real processes: how long nobody leads after a kill, and how fresh documents are around an outage of Kafka
    Failover {
        /// Arguments passed on (--takeovers N, --outage SECONDS, --seed S, --json)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Towpath, Debezium and Canal: the same binlog into the same broker, one after the other
    Peers {
        /// Arguments passed on (--rows N, --without NAME, --json)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Criterion benches of the stages, without services
    Stages,
}

/// Runs the bench; `Ok(false)` if it failed.
pub fn run(what: What) -> Result<bool> {
    prerequisites::check_quietly()?;
    match what {
        What::Pipeline { arguments } => Ok(engine()? && stack_bench("pipeline", &arguments)?),
        What::Failover { arguments } => Ok(engine()? && stack_bench("failover", &arguments)?),
        What::Peers { arguments } => Ok(engine()? && stack_bench("peers", &arguments)?),
        What::Decode { arguments } => stack_bench("decode", &arguments),
        What::Stages => command::run(command::cargo().args(["bench", "-p", "towpath"])),
    }
}

/// The program that is measured.
fn engine() -> Result<bool> {
    let build = ["build", "--quiet", "-p", "towpath", "--bin", "towpath", "--features", "one-build"];
    command::run_quietly(command::cargo().args(build))
}

fn stack_bench(name: &str, arguments: &[String]) -> Result<bool> {
    let run = ["run", "--quiet", "-p", "towpath-stack", "--bin", "towpath-stack", "--features", "one-build", "--"];
    command::run_quietly(command::cargo().args(run).args(["bench", name]).args(arguments))
}
