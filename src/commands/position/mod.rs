//! `towpath position show|history|set`: the state of pipelines in ZooKeeper, and where they go on.
//!
//! Setting writes an *order* into the state; the next leader carries it out under a new epoch, with its repair pending.

mod history;

use serde_json::{Value, json};
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::{Start, epoch};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::coordinator::{Coordinator, CoordinatorError, NodeWrite};
use towpath_engine::ports::source::BinlogSource;
use towpath_engine::position::Position;
use towpath_engine::state::{
    self, Anchor, Checkpoint, EpochRecord, LeaderMark, PipelineState, PositionOrder, Ring, SCHEME,
};

use crate::admin::board::wall_ms;
use crate::cli::{PositionCommand, SetArgs, ShowArgs, Target};
use crate::commands::time;
use crate::config::{self, Config, Pipeline, nearest};
use crate::exit::Failure;
use crate::output;
use crate::services::Services;

/// Carries it out.
pub fn position(command: &PositionCommand) -> Result<(), Failure> {
    super::block_on(async {
        match command {
            PositionCommand::Show(args) => show(args).await,
            PositionCommand::History(args) => history::history(args).await,
            PositionCommand::Set(args) => set(args).await,
        }
    })
}

/// The named pipeline; all of them without a name.
pub(super) fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a Pipeline>, Failure> {
    match name {
        Some(_) => Ok(vec![one(config, name)?]),
        None => Ok(config.pipelines.iter().collect()),
    }
}

/// The pipeline that is named, or the only one.
pub(super) fn one<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a Pipeline, Failure> {
    let names = || config.pipelines.iter().map(|pipeline| pipeline.name.as_str());
    match (name, &config.pipelines[..]) {
        (None, [only]) => Ok(only),
        (None, _) => {
            let names: Vec<&str> = names().collect();
            Err(Failure::Usage(format!(
                "the configuration has several pipelines: name one of {} by --pipeline",
                names.join(", ")
            )))
        }
        (Some(name), pipelines) => pipelines.iter().find(|pipeline| pipeline.name == name).ok_or_else(|| {
            let hint = nearest(name, names()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Failure::Usage(format!("the configuration has no pipeline {name}{hint}"))
        }),
    }
}

pub(super) fn unavailable(pipeline: &str, error: &CoordinatorError) -> Stop {
    Stop::new(Cause::CoordinatorUnavailable, format!("pipeline {pipeline}: {error}"))
}

pub(super) async fn connect(pipeline: &Pipeline, services: &Services) -> Result<Box<dyn Coordinator>, Failure> {
    services.coordinator.connect().await.map_err(|error| unavailable(&pipeline.name, &error).into())
}

/// The pipeline's state; `None` before its first leader.
pub(super) async fn state(
    pipeline: &Pipeline,
    coordinator: &dyn Coordinator,
) -> Result<Option<PipelineState>, Failure> {
    let found = coordinator.read(state::NODE).await.map_err(|error| unavailable(&pipeline.name, &error))?;
    Ok(found.map(|(bytes, _)| state::decode(&bytes)).transpose()?)
}

async fn show(args: &ShowArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let mut shown = Vec::new();
    let mut garbage = None;
    for pipeline in chosen(&config, args.pipeline.as_deref())? {
        let services = Services::new(pipeline)?;
        let coordinator = connect(pipeline, &services).await?;
        let (value, stop) = read(pipeline, coordinator.as_ref()).await?;
        garbage = garbage.or(stop);
        if !args.json {
            output::text(&text(pipeline, &value));
        }
        shown.push(value);
    }
    if args.json {
        output::line(json!({ "pipelines": shown }));
    }
    match garbage {
        None => Ok(()),
        Some(stop) if args.json => Err(Failure::Reported(stop.cause.exit_code())),
        Some(stop) => Err(stop.into()),
    }
}

/// The state as JSON, and the stop that an unreadable one is.
async fn read(pipeline: &Pipeline, coordinator: &dyn Coordinator) -> Result<(Value, Option<Stop>), Failure> {
    let failed = |error| Failure::from(unavailable(&pipeline.name, &error));
    let candidates = coordinator.candidates().await.map_err(failed)?.len();
    let found = coordinator.read(state::NODE).await.map_err(failed)?;
    let previous = coordinator.read(state::PREVIOUS).await.map_err(failed)?;
    let kept = previous.and_then(|(bytes, _)| state::decode(&bytes).ok());
    let mut value = json!({ "pipeline": pipeline.name, "deployers": candidates, "state": null });
    let stop = match found.map(|(bytes, version)| (state::decode(&bytes), bytes, version)) {
        None => None,
        Some((Ok(state), _, version)) => {
            value["state"] = summary(&state);
            value["znode_version"] = version.into();
            None
        }
        Some((Err(stop), bytes, _)) => {
            value["garbage"] = String::from_utf8_lossy(&bytes).chars().take(400).collect::<String>().into();
            value["error"] =
                json!({ "cause": stop.cause.name(), "detail": stop.detail, "remedy": stop.cause.remedy() });
            Some(stop)
        }
    };
    value["previous"] = kept.as_ref().map_or(Value::Null, summary);
    Ok((value, stop))
}

fn summary(state: &PipelineState) -> Value {
    json!({
        "epoch": state.epoch.number,
        "epoch_reason": state.epoch.reason,
        "server": state.epoch.server,
        "resume": state.checkpoint.resume,
        "file": state.checkpoint.file.as_ref().map(ToString::to_string),
        "offset": state.checkpoint.offset,
        "event_ms": state.checkpoint.event_ms,
        "term": state.leader.term,
        "leader": state.leader.instance,
        "pending_repairs": state.pending,
        "order": state.order,
        "fallback_runs": state.fallback,
        "ring_entries": state.ring.entries().len(),
        "audit": state.audit,
    })
}

/// The state of one pipeline, for people.
fn text(pipeline: &Pipeline, value: &Value) -> String {
    let mut out = format!("pipeline {}\n  deployers running: {}\n", pipeline.name, value["deployers"]);
    let states = [("state", &value["state"]), ("kept previous state", &value["previous"])];
    for (name, state) in states {
        let Value::Object(fields) = state else {
            out += &format!("  {name}: none\n");
            continue;
        };
        out += &format!("  {name}\n");
        for (field, value) in fields {
            let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            if !empty {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                out += &format!("    {field:<16}  {value}\n");
            }
        }
    }
    if let Some(garbage) = value.get("garbage") {
        out += &format!("  unreadable content: {garbage}\n");
    }
    out
}

async fn set(args: &SetArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let pipeline = one(&config, args.pipeline.as_deref())?;
    let target = start(&args.target)?;
    let before = args.target.time.as_deref().map(|text| time::seconds("--time", text)).transpose()?;
    let services = Services::new(pipeline)?;
    let coordinator = connect(pipeline, &services).await?;
    let failed = |error| Failure::from(unavailable(&pipeline.name, &error));
    let leaders = coordinator.candidates().await.map_err(failed)?;
    if !leaders.is_empty() && !args.force {
        return Err(Failure::Other(format!(
            "{} deployers of pipeline {} run now and would go on from where they are: stop them first, or give \
             --force, which makes the leader drop its work and begin again at the new position",
            leaders.len(),
            pipeline.name
        )));
    }
    let current = coordinator.read(state::NODE).await.map_err(failed)?;
    let previous = coordinator.read(state::PREVIOUS).await.map_err(failed)?;
    let kept = if args.target.previous { previous.as_ref() } else { current.as_ref() };
    let base = base(pipeline, kept.map(|(bytes, _)| bytes.as_slice()), args)?;
    let target = match before {
        Some(seconds) => Some(history::before(&base, seconds)?),
        None => target,
    };
    if let Some(start) = target.as_ref().filter(|_| !args.force) {
        reachable(pipeline, services.source.as_ref(), start).await?;
    }
    let (state, what) = ordered(base, target, args);
    let mut report =
        json!({ "pipeline": pipeline.name, "what": what, "written": !args.dry_run, "state": summary(&state) });
    if !args.dry_run {
        write(coordinator.as_ref(), state, current, previous.map(|(_, version)| version))
            .await
            .map_err(|failed| Failure::from(failed.unwrap_or_else(|error| unavailable(&pipeline.name, &error))))?;
    }
    if args.json {
        report["dry_run"] = args.dry_run.into();
        output::line(report);
    } else {
        let dry = if args.dry_run { " (dry run: nothing written)" } else { "" };
        output::line(format_args!(
            "pipeline {}: {what}{dry}\nthe next leader begins a new epoch there; its repair is pending: \
             docs/operations.md, \"Setting a position\"",
            pipeline.name
        ));
    }
    Ok(())
}

/// The target as a start; `None` is the kept previous state's own checkpoint.
fn start(target: &Target) -> Result<Option<Start>, Failure> {
    if target.now {
        return Ok(Some(Start::Now));
    }
    let Some(text) = target.gtid.as_ref().or(target.file.as_ref()) else { return Ok(None) };
    let start: Start = text.parse().map_err(Failure::Usage)?;
    match (&start, target.gtid.is_some()) {
        (Start::Gtid(_), true) | (Start::File(_), false) => Ok(Some(start)),
        (_, true) => Err(Failure::Usage(format!("--gtid {text} is not a GTID set"))),
        (_, false) => Err(Failure::Usage(format!("--file {text} is not FILE:POSITION"))),
    }
}

/// The state that the order is written into.
fn base(pipeline: &Pipeline, kept: Option<&[u8]>, args: &SetArgs) -> Result<PipelineState, Failure> {
    match kept.map(state::decode) {
        Some(Ok(state)) => Ok(state),
        Some(Err(stop)) if args.target.previous => {
            Err(Stop::new(stop.cause, format!("the kept previous state: {}", stop.detail)).into())
        }
        // Garbage says nothing any more: with --force the epoch is found again in the log and the indices.
        Some(Err(_)) if args.force => Ok(blank(pipeline)),
        Some(Err(stop)) => Err(stop.into()),
        None if args.target.previous => {
            Err(Failure::Other(format!("pipeline {} has no kept previous state", pipeline.name)))
        }
        None => Ok(blank(pipeline)),
    }
}

/// A state in which no epoch has been decided: only the order in it counts.
fn blank(pipeline: &Pipeline) -> PipelineState {
    blank_state(&pipeline.name, &pipeline.deployer.topic, pipeline.deployer.partitions)
}

fn blank_state(pipeline: &str, topic: &str, partitions: u32) -> PipelineState {
    let nowhere = Position::Gtid(GtidSet::default());
    PipelineState {
        pipeline: pipeline.to_owned(),
        leader: LeaderMark::default(),
        term_base: 0,
        topic: topic.to_owned(),
        topic_id: String::new(),
        partitions,
        epoch: EpochRecord {
            number: 0,
            scheme: SCHEME,
            server: String::new(),
            anchor: Anchor { resume: nowhere.clone(), file: None },
            reason: String::new(),
            began_ms: 0,
            in_order_from: None,
        },
        checkpoint: Checkpoint {
            resume: nowhere,
            offset: 0,
            file: None,
            event_ms: 0,
            witness: None,
            tail_from: Vec::new(),
            low_water: Vec::new(),
        },
        ring: Ring::default(),
        pending: Vec::new(),
        prepared: Vec::new(),
        fallback: Vec::new(),
        schemas: None,
        order: None,
        audit: Vec::new(),
    }
}

/// Whether the source can go on there: it still has what follows, and has ever had what lies before.
async fn reachable(pipeline: &Pipeline, source: &dyn BinlogSource, start: &Start) -> Result<(), Failure> {
    let server = source.identify().await.map_err(|error| {
        let detail =
            format!("pipeline {}: {error}; --force writes the position without asking the source", pipeline.name);
        Failure::from(Stop::new(Cause::SourceUnavailable, detail))
    })?;
    epoch::anchor(start, &server)?;
    Ok(())
}

fn ordered(mut state: PipelineState, target: Option<Start>, args: &SetArgs) -> (PipelineState, String) {
    let what = match &target {
        Some(start) => format!("position set to {start}"),
        None => format!("the previous state is taken again (epoch {})", state.epoch.number),
    };
    let at_ms = wall_ms();
    let forced = if args.force { ", forced" } else { "" };
    state.order =
        Some(PositionOrder { to: target, reason: format!("{what} by hand{forced}"), at_ms, definitions: None });
    state.note(at_ms, format!("{what} by `towpath position set`{forced}"));
    (state, what)
}

/// Writes the state; what was there is kept as the previous one, but for garbage, which must not push a good one out.
pub(super) async fn write(
    coordinator: &dyn Coordinator,
    mut state: PipelineState,
    current: Option<(Vec<u8>, i32)>,
    previous: Option<i32>,
) -> Result<(), Result<Stop, CoordinatorError>> {
    let bytes = state::encode(&mut state).map_err(Ok)?;
    let expected = current.as_ref().map(|(_, version)| *version);
    let mut nodes = vec![NodeWrite { node: state::NODE, data: &bytes, expected }];
    if let Some((before, _)) = current.as_ref().filter(|(before, _)| state::decode(before).is_ok()) {
        nodes.push(NodeWrite { node: state::PREVIOUS, data: before, expected: previous });
    }
    coordinator.write(None, &nodes).await.map(|_| ()).map_err(Err)
}
