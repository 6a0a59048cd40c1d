//! Conformance: one list of behaviours, shown by the models and by the real services with the same bodies.
//!
//! `behaviours.toml` is the list; the bodies use only the engine's ports and the small labs beside them. A deviation
//! fails the run, and then the model is corrected. The test of the models belongs to tier `fast`, the whole to
//! `services`.

mod elasticsearch;
mod http;
mod kafka;
mod lab;
mod model_labs;
mod model_only;
mod mysql;
mod mysql_commits;
mod real_labs;
mod zookeeper;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use lab::{Body, Labs};

/// No behaviour takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// The checked-in list.
#[derive(Deserialize)]
struct Listed {
    behaviour: Vec<Behaviour>,
}

/// One behaviour.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Behaviour {
    id: String,
    /// What the service does, in one sentence.
    says: String,
    /// Why the real service cannot be made to show it.
    real: Option<String>,
    /// Why the model does not show it.
    model: Option<String>,
}

fn listed() -> Result<Vec<Behaviour>> {
    Ok(toml::from_str::<Listed>(include_str!("behaviours.toml"))?.behaviour)
}

fn bodies() -> BTreeMap<&'static str, Body> {
    let files = [
        mysql::BODIES,
        mysql_commits::BODIES,
        kafka::BODIES,
        elasticsearch::BODIES,
        zookeeper::BODIES,
        http::BODIES,
        model_only::BODIES,
    ];
    files.into_iter().flatten().copied().collect()
}

#[test]
fn every_listed_behaviour_has_a_body_and_every_body_is_listed() -> Result<()> {
    let (listed, bodies) = (listed()?, bodies());
    let ids: Vec<&str> = listed.iter().map(|behaviour| behaviour.id.as_str()).collect();
    for behaviour in &listed {
        ensure!(ids.iter().filter(|id| **id == behaviour.id).count() == 1, "{} is listed twice", behaviour.id);
        let body = bodies.get(behaviour.id.as_str()).with_context(|| format!("{} has no body", behaviour.id))?;
        let (real, model) = (behaviour.real.is_none(), behaviour.model.is_none());
        let shown = match body {
            Body::Model(_) => !real && model,
            Body::Http(_) => real && !model,
            _ => real && model,
        };
        ensure!(shown, "{}: the list and the body disagree about who shows it", behaviour.id);
        ensure!(behaviour.says.len() > 20, "{} says nothing", behaviour.id);
    }
    for id in bodies.keys() {
        ensure!(ids.contains(id), "{id} is not listed");
    }
    ensure!(listed.len() >= 40, "only {} behaviours", listed.len());
    Ok(())
}

/// What came of each behaviour: `None` = not for these labs.
async fn run(labs: &Labs) -> Result<BTreeMap<&'static str, Option<Result<()>>>> {
    let only = std::env::var("CONFORMANCE_ONLY").unwrap_or_default();
    let mut results = BTreeMap::new();
    for (id, body) in bodies().into_iter().filter(|(id, _)| id.contains(&only)) {
        let result = match body.run(labs) {
            Some(check) => Some(tokio::time::timeout(LIMIT, check).await.context("no end").flatten()),
            None => None,
        };
        results.insert(id, result);
    }
    Ok(results)
}

type Results = BTreeMap<&'static str, Option<Result<()>>>;

fn cell(results: Option<&Results>, id: &str, why: Option<&String>) -> String {
    match results.map(|results| results.get(id)) {
        None => "not asked".into(),
        Some(None | Some(None)) => why.map_or_else(|| "not run".into(), |why| format!("no: {why}")),
        Some(Some(Some(Ok(())))) => "shown".into(),
        Some(Some(Some(Err(_)))) => "DEVIATES".into(),
    }
}

/// Prints the table, past the test harness that would keep it, and fails on any deviation.
fn report(model: &Results, real: Option<&Results>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{:<52} {:<10} real", "behaviour", "model")?;
    let mut deviations = Vec::new();
    for behaviour in listed()? {
        let id = behaviour.id.as_str();
        let (model_cell, real_cell) =
            (cell(Some(model), id, behaviour.model.as_ref()), cell(real, id, behaviour.real.as_ref()));
        writeln!(out, "{id:<52} {model_cell:<10} {real_cell}")?;
        for (side, results) in [("model", Some(model)), ("real", real)] {
            if let Some(Some(Some(Err(error)))) = results.map(|results| results.get(id)) {
                deviations.push(format!("{id} ({side}): {error:#}\n    expected: {}", behaviour.says));
            }
        }
    }
    let shown = |results: &Results| results.values().filter(|result| matches!(result, Some(Ok(())))).count();
    writeln!(out, "{} shown by the models, {} by the real services", shown(model), real.map_or(0, shown))?;
    ensure!(deviations.is_empty(), "{} deviations:\n{}", deviations.len(), deviations.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn models_show_every_behaviour() -> Result<()> {
    let results = run(&model_labs::labs()).await?;
    report(&results, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_services_show_every_behaviour() -> Result<()> {
    let model = run(&model_labs::labs()).await?;
    let real = run(&real_labs::labs().await?).await?;
    report(&model, Some(&real))
}
