//! `towpath fallback on|off|auto|status`: what is asked of the fallback path, and what it has written.
//!
//! A wish is a node beside the state: the leader looks at it every other second. Writing it takes no leader's place.

use serde_json::{Value, json};
use towpath_engine::deployer::fallback::{NODE, Order, Wish};
use towpath_engine::ports::coordinator::{Coordinator, NodeWrite};
use towpath_engine::state::FallbackRun;

use super::position::{connect, one, state, unavailable};
use crate::admin::board::wall_ms;
use crate::cli::{FallbackArgs, FallbackCommand};
use crate::config::{self, Pipeline};
use crate::exit::Failure;
use crate::output;
use crate::services::Services;

/// Carries it out.
pub fn fallback(command: &FallbackCommand) -> Result<(), Failure> {
    let wish = match command {
        FallbackCommand::On(_) => Some(Wish::On),
        FallbackCommand::Off(_) => Some(Wish::Off),
        FallbackCommand::Auto(_) => Some(Wish::Auto),
        FallbackCommand::Status(_) => None,
    };
    super::block_on(carry_out(wish, command.args()))
}

async fn carry_out(wish: Option<Wish>, args: &FallbackArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let pipeline = one(&config, args.pipeline.as_deref())?;
    if pipeline.sinks.is_empty() {
        return Err(Failure::Usage(format!("pipeline {} has no sink: there are no documents to write", pipeline.name)));
    }
    let services = Services::new(pipeline)?;
    let coordinator = connect(pipeline, &services).await?;
    if let Some(wish) = wish {
        ask(pipeline, coordinator.as_ref(), wish, &args.reason).await?;
    }
    let value = read(pipeline, coordinator.as_ref()).await?;
    if args.json {
        output::line(value);
    } else {
        output::text(&text(pipeline, &value));
    }
    Ok(())
}

async fn ask(pipeline: &Pipeline, coordinator: &dyn Coordinator, wish: Wish, reason: &str) -> Result<(), Failure> {
    let failed = |error| Failure::from(unavailable(&pipeline.name, &error));
    let order = Order { wish, reason: reason.to_owned(), at_ms: wall_ms() };
    let data = serde_json::to_vec(&order).map_err(|error| Failure::Other(error.to_string()))?;
    let known = coordinator.read(NODE).await.map_err(failed)?;
    let expected = known.map(|(_, version)| version);
    coordinator.write(None, &[NodeWrite { node: NODE, data: &data, expected }]).await.map_err(failed)?;
    Ok(())
}

/// The wish as it stands, and the runs that the state names.
async fn read(pipeline: &Pipeline, coordinator: &dyn Coordinator) -> Result<Value, Failure> {
    let failed = |error| Failure::from(unavailable(&pipeline.name, &error));
    let order = coordinator.read(NODE).await.map_err(failed)?;
    let order = order.and_then(|(bytes, _)| serde_json::from_slice::<Order>(&bytes).ok());
    let runs = state(pipeline, coordinator).await?.map(|state| state.fallback).unwrap_or_default();
    Ok(json!({
        "pipeline": pipeline.name,
        "wish": order.as_ref().map(|order| order.wish).unwrap_or_default(),
        "asked": order.as_ref().map(|order| json!({ "reason": order.reason, "at_ms": order.at_ms })),
        "automatic": pipeline.deployer.fallback.automatic,
        "after_ms": pipeline.deployer.fallback.after.as_millis() as u64,
        "direct": runs.iter().any(|run| run.cursor.is_none()),
        "runs": runs.iter().map(run).collect::<Vec<_>>(),
    }))
}

fn run(run: &FallbackRun) -> Value {
    json!({
        "term": run.term,
        "sinks": run.sinks,
        "epoch": run.epoch,
        "from_offset": run.start,
        "to_offset": run.cursor,
        "began_ms": run.began_ms,
    })
}

fn text(pipeline: &Pipeline, value: &Value) -> String {
    let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let config = &pipeline.deployer.fallback;
    let automatic = if config.automatic { format!("after {:?} of silence", config.after) } else { "never".to_owned() };
    let mut out = format!("pipeline {}\n  asked for:      {}", pipeline.name, word("wish"));
    if let Some(reason) = value["asked"]["reason"].as_str().filter(|reason| !reason.is_empty()) {
        out += &format!(" ({reason})");
    }
    out += &format!("\n  by itself:      {automatic}\n  writes directly: {}\n", value["direct"]);
    for run in value["runs"].as_array().into_iter().flatten() {
        let until = if run["to_offset"].is_null() { "goes on".to_owned() } else { format!("to {}", run["to_offset"]) };
        out += &format!("  not in Kafka yet: epoch {}, offset {} {until}\n", run["epoch"], run["from_offset"]);
    }
    out
}
