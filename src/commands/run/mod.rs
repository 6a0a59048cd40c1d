//! `towpath run`: the pipelines of a configuration, until signals, causes or both have ended them.
//!
//! One pipeline's or sink's stop leaves the others running; when everything has ended, the process does, with the
//! status of the first cause.

mod pipeline;
mod signals;
mod watch;

use std::sync::Arc;

use tokio::task::JoinSet;
use towpath_engine::cause::Stop;
use towpath_engine::metrics::Registry;

use crate::admin::board::Board;
use crate::admin::{self, Admin};
use crate::alarms::watch::{Firing, Watch};
use crate::cli::RunArgs;
use crate::config::{self, Config, nearest};
use crate::exit::Failure;
use crate::logging;
use crate::services::instance;
use pipeline::{Part, Running};
use signals::Signals;

/// Carries it out.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let mut config = config::load(&args.config.config)?;
    select(&mut config, &args.pipelines)?;
    logging::start(&config.log).map_err(Failure::Other)?;
    super::block_on(drive(&config, args))
}

/// Keeps the named pipelines; all if none is named.
fn select(config: &mut Config, names: &[String]) -> Result<(), Failure> {
    for name in names {
        let known = || config.pipelines.iter().map(|pipeline| pipeline.name.as_str());
        if !known().any(|pipeline| pipeline == name) {
            let hint = nearest(name, known()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            return Err(Failure::Usage(format!("the configuration has no pipeline {name}{hint}")));
        }
    }
    config.pipelines.retain(|pipeline| names.is_empty() || names.contains(&pipeline.name));
    Ok(())
}

async fn drive(config: &Config, args: &RunArgs) -> Result<(), Failure> {
    let mut signals = Signals::install().map_err(Failure::Other)?;
    let registry = Registry::default();
    let board = Arc::new(Board::default());
    let firing = Arc::new(Firing::default());
    if let Some(address) = args.admin.or(config.admin) {
        let listener = admin::bind(address).await.map_err(Failure::Other)?;
        let admin = Admin { registry: registry.clone(), board: Arc::clone(&board), firing: Arc::clone(&firing) };
        tokio::spawn(admin::serve(listener, admin));
        tracing::info!(%address, "admin HTTP listens: /metrics, /healthz, /readyz");
    }
    let mut tasks: JoinSet<(Part, Result<(), Stop>)> = JoinSet::new();
    let mut running = Vec::new();
    let share = pipeline::share(config.memory, config.pipelines.len(), args.role);
    for pipeline in &config.pipelines {
        running.push(Running::start(pipeline, args, share, &registry, &board, &mut tasks).await?);
    }
    if tasks.is_empty() {
        return Err(Failure::Usage("nothing to run: no pipeline has a sink for --role adapter".to_owned()));
    }
    let mut alarms = Watch::new(&config.alarms, &registry, Arc::clone(&board), firing, instance());
    let mut stops: Vec<Stop> = Vec::new();
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            () = signals.next() => {
                if draining {
                    tracing::warn!("a second signal: ending at once, without handing over");
                    return Err(Failure::Reported(crate::exit::SIGNALLED));
                }
                draining = true;
                tracing::info!("draining: in-flight work is finished, positions are written, leads are handed over");
                running.iter().for_each(Running::drain);
            }
            () = alarms.run() => {}
            ended = tasks.join_next() => match ended {
                None => break,
                Some(ended) => stops.extend(note(ended, &board)),
            },
        }
    }
    if !stops.is_empty() {
        alarms.end().await;
    }
    match stops.into_iter().min_by_key(|stop| stop.cause) {
        None => {
            tracing::info!("drained");
            Ok(())
        }
        Some(stop) => Err(Failure::Stop(stop)),
    }
}

/// Shows how a part ended; its cause, if there is one.
fn note(ended: Result<(Part, Result<(), Stop>), tokio::task::JoinError>, board: &Board) -> Option<Stop> {
    let (part, stop) = match ended {
        Ok((part, Ok(()))) => {
            tracing::info!(pipeline = part.pipeline, part = part.name, "ended in order");
            return None;
        }
        Ok((part, Err(stop))) => (part, stop),
        Err(error) => {
            let stop = Stop::new(towpath_engine::cause::Cause::Internal, format!("a task died: {error}"));
            tracing::error!(cause = %stop.cause, detail = stop.detail, "a part of a pipeline died");
            return Some(stop);
        }
    };
    let (cause, remedy) = (stop.cause.name(), stop.cause.remedy());
    tracing::error!(pipeline = part.pipeline, part = part.name, cause, detail = stop.detail, remedy, "stopped");
    board.ended(&part.pipeline, part.name, &stop);
    Some(stop)
}
