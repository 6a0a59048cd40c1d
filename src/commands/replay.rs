//! `towpath replay`: a range of what was carried, once more, into sinks or into the topic.
//!
//! Versions keep newer documents safe, so that it may run beside a leader; it writes no state and takes no lead.

use std::time::{Duration, Instant};

use serde_json::json;
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::fallback::DirectSinks;
use towpath_engine::deployer::replay::{Progress, Since, Target, start};
use towpath_engine::deployer::{Deployer, Fencing, Ports};
use towpath_engine::env::Env;
use towpath_engine::metrics::Registry;
use towpath_engine::ports::coordinator::Coordinator;
use towpath_engine::state::PipelineState;

use super::position::{connect, one, state};
use super::{own_server_id, time};
use crate::admin::board::wall_ms;
use crate::cli::{ReplayArgs, ReplayFrom};
use crate::config::{self, Pipeline, nearest};
use crate::exit::Failure;
use crate::output;
use crate::services::Services;

/// How often it says how far it is.
const TELL: Duration = Duration::from_secs(2);

/// Carries it out.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    super::block_on(carry_out(args))
}

async fn carry_out(args: &ReplayArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let pipeline = one(&config, args.pipeline.as_deref())?;
    let since = since(&args.from)?;
    known_sinks(pipeline, &args.to_sink)?;
    let services = Services::new(pipeline)?;
    let coordinator = connect(pipeline, &services).await?;
    let state = read(pipeline, coordinator.as_ref()).await?;
    let (from, offset) = start(&state, &since)?;
    let mut report = json!({
        "pipeline": pipeline.name,
        "reads_from": from,
        "from_offset": offset,
        "to_offset": state.checkpoint.offset,
        "epoch": state.epoch.number,
        "to": if args.to_kafka { vec!["kafka".to_owned()] } else { args.to_sink.clone() },
        "carried": !args.dry_run,
    });
    let mut text = format!(
        "pipeline {}: read from {from} (offset {offset}) to the checkpoint at offset {} of epoch {}",
        pipeline.name, state.checkpoint.offset, state.epoch.number
    );
    if args.dry_run {
        text += "; nothing is carried: --dry-run";
    } else {
        let done = carry(pipeline, args, &services, config.memory, &state, &since).await?;
        report["transactions"] = done.transactions.into();
        report["rows"] = done.rows.into();
        text += &format!("\n{} transactions with {} row changes carried again", done.transactions, done.rows);
        let now = read(pipeline, coordinator.as_ref()).await?;
        if args.to_kafka && pipeline.deployer.fencing == Fencing::Versions && now.leader.term != state.leader.term {
            let detail = "another deployer has taken the lead meanwhile, and adapters drop what came after that under \
                          the old term: replay again";
            return Err(Stop::new(Cause::LogUnavailable, detail).into());
        }
    }
    if args.json {
        output::line(report);
    } else {
        output::line(text);
    }
    Ok(())
}

async fn carry(
    pipeline: &Pipeline,
    args: &ReplayArgs,
    services: &Services,
    memory: u64,
    state: &PipelineState,
    since: &Since,
) -> Result<Progress, Failure> {
    let budget = usize::try_from(memory / 2).unwrap_or(usize::MAX);
    let target = if args.to_kafka {
        Target::Log
    } else {
        let mut config = pipeline.adapter(Vec::new(), budget);
        config.sinks.retain(|sink| args.to_sink.contains(&sink.name));
        Target::Sinks(DirectSinks { config, indexes: services.indexes.clone() })
    };
    let mut config = pipeline.deployer.clone();
    config.server_id = own_server_id();
    config.budget_bytes = budget;
    let ports = Ports {
        source: services.source.clone(),
        standby: Vec::new(),
        log: services.log.clone(),
        coordinator: services.coordinator.clone(),
        indexes: Vec::new(),
    };
    let env = Env::new(wall_ms, u64::from(std::process::id()) ^ wall_ms());
    // Nobody drains it: it ends at the checkpoint, or with the process.
    let (deployer, _handle) = Deployer::new(config, ports, env, Registry::default());
    let mut told = Instant::now();
    let tell = |progress: &Progress| {
        if told.elapsed() >= TELL && !args.json {
            told = Instant::now();
            let percent = progress.offset * 100 / progress.until.max(1);
            eprintln!("{percent} % of the bytes, {} row changes", progress.rows);
        }
    };
    Ok(deployer.replay(state, since, target, tell).await?)
}

fn since(from: &ReplayFrom) -> Result<Since, Failure> {
    match (&from.from_gtid, &from.from_time) {
        (Some(set), _) => set
            .parse()
            .map(Since::Gtids)
            .map_err(|error| Failure::Usage(format!("--from-gtid {set:?} is no GTID set: {error}"))),
        (None, text) => {
            let seconds = time::seconds("--from-time", text.as_deref().unwrap_or_default())?;
            Ok(Since::TimeMs(u64::try_from(seconds).unwrap_or(0) * 1000))
        }
    }
}

fn known_sinks(pipeline: &Pipeline, named: &[String]) -> Result<(), Failure> {
    let known: Vec<&str> = pipeline.sinks.iter().map(|sink| sink.config.name.as_str()).collect();
    match named.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let hint = nearest(name, known.iter().copied()).map(|near| format!("; did you mean {near}?"));
            Err(Failure::Usage(format!(
                "--to-sink {name}: pipeline {} has no such sink{}",
                pipeline.name,
                hint.unwrap_or_default()
            )))
        }
    }
}

async fn read(pipeline: &Pipeline, coordinator: &dyn Coordinator) -> Result<PipelineState, Failure> {
    let none = || Failure::Other(format!("pipeline {} has carried nothing yet: it has no state", pipeline.name));
    state(pipeline, coordinator).await?.ok_or_else(none)
}
