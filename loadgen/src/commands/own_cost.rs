//! `own-cost`: what the generator itself costs.

use anyhow::Result;
use std::process::ExitCode;
use std::time::Duration;
use towpath_load::own_cost::measure;

/// What `own-cost` can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// For how long.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// Measures and tells.
pub fn run(arguments: &Arguments, as_json: bool) -> Result<ExitCode> {
    let cost = measure(Duration::from_secs(arguments.seconds))?;
    match as_json {
        true => println!("{}", serde_json::to_string(&cost)?),
        false => println!(
            "{} polls from one thread against a responder that does nothing: {:.0}/s, {:.0} for a second of CPU",
            cost.queries, cost.queries_per_s, cost.queries_per_cpu_s
        ),
    }
    Ok(ExitCode::SUCCESS)
}
