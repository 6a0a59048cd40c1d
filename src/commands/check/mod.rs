//! `towpath check`: explains what `run` would do, and names what is missing for it.
//!
//! Writes nothing but the pipeline's empty folder in ZooKeeper, which asking for its state takes.

mod plan;
mod report;
mod services;
mod sinks;
mod source;
mod standby;

use crate::cli::CheckArgs;
use crate::config::{self, Pipeline};
use crate::exit::Failure;
use crate::output;
use crate::services::Services;
use report::{PipelineReport, Report};

/// Carries it out.
pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let report = |pipeline: &Pipeline| PipelineReport { pipeline: pipeline.name.clone(), parts: plan::parts(pipeline) };
    let mut pipelines: Vec<PipelineReport> = config.pipelines.iter().map(report).collect();
    if !args.offline {
        super::block_on(async {
            for (pipeline, report) in config.pipelines.iter().zip(&mut pipelines) {
                services::ask(pipeline, &Services::new(pipeline)?, &mut report.parts).await;
            }
            Ok(())
        })?;
    }
    let report = Report { config: args.config.config.clone(), offline: args.offline, pipelines };
    if args.json {
        output::line(report.json());
    } else {
        output::text(&report.text());
    }
    match report.status() {
        0 => Ok(()),
        status => Err(Failure::Reported(status)),
    }
}
