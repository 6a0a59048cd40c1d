//! `towpath check`: explains what `run` would do, and names what is missing for it. Changes nothing anywhere.

mod plan;
mod report;

use crate::cli::CheckArgs;
use crate::config;
use crate::exit::Failure;
use report::{PipelineReport, Report};

/// Carries it out.
pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let report = |pipeline: &config::Pipeline| PipelineReport { pipeline: pipeline.name.clone(), parts: plan::parts(pipeline) };
    let pipelines = config.pipelines.iter().map(report).collect();
    let report = Report { config: args.config.config.clone(), offline: args.offline, pipelines };
    if args.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    match report.status() {
        0 => Ok(()),
        status => Err(Failure::Reported(status)),
    }
}
