//! What a worker said of a run, as the picture that `towpath-picture` draws.

use serde_json::Value;
use towpath_picture::{Bar, Curve, Diagram, Mark, Run, service_of};

use crate::worker::Outcome;

/// Between two samples, seconds.
const SAMPLED_EVERY: f64 = 0.5;

/// The page. `told` is what the worker said at level `info` with samples.
pub fn page(name: &str, plan: &str, told: &str, outcome: &Outcome) -> String {
    let plan: Value = serde_json::from_str(plan).unwrap_or_default();
    let seconds = outcome.simulated_ms as f64 / 1000.0;
    let samples = samples(told);
    let mut run = Run {
        title: format!("{name}, seed {}", outcome.seed),
        objection: outcome.violation.as_ref().map(|found| format!("oracle {}: {}", found.oracle, found.text)),
        summary: format!(
            "{seconds:.1} simulated seconds, {} transactions, {} rows in the log, {} takeovers, at rest {:.1} s after \
             the last fault.",
            outcome.transactions,
            outcome.rows,
            outcome.takeovers,
            outcome.caught_up_ms as f64 / 1000.0
        ),
        lanes: lanes(&plan),
        seconds,
        leaders: leaders(&samples),
        diagrams: diagrams(&samples),
        said: told.lines().filter(|line| !line.contains(" sample: ")).map(|line| line.to_owned() + "\n").collect(),
        ..Run::default()
    };
    events(&mut run, told);
    run.page()
}

/// Where everything stood at a moment.
struct Sample {
    second: f64,
    leader: String,
    /// Transactions: executed at the source, and carried by the checkpoint.
    source: f64,
    carried: f64,
    /// Records that the slowest sink has not taken in.
    lag: f64,
}

fn samples(told: &str) -> Vec<Sample> {
    let number = |line: &str, name: &str| field(line, name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let sample = |line: &str| {
        Some(Sample {
            second: second(line).filter(|_| line.contains(" sample: "))?,
            leader: field(line, "leader=").unwrap_or_default(),
            source: number(line, "source="),
            carried: number(line, "carried="),
            lag: number(line, "lag="),
        })
    };
    told.lines().filter_map(sample).collect()
}

/// While a process comes first in the election.
fn leaders(samples: &[Sample]) -> Vec<Bar> {
    let bar = |run: &[Sample]| {
        let (first, last) = (run.first()?, run.last()?);
        let to = last.second + SAMPLED_EVERY;
        Some(Bar { what: String::new(), host: first.leader.clone(), from: first.second, to })
    };
    samples.chunk_by(|a, b| a.leader == b.leader).filter_map(bar).collect()
}

/// How far source, checkpoint and sinks are.
fn diagrams(samples: &[Sample]) -> Vec<Diagram> {
    let curve = |colour, of: fn(&Sample) -> f64| Curve {
        colour,
        points: false,
        values: samples.iter().map(|sample| (sample.second, of(sample))).collect(),
    };
    vec![
        Diagram {
            axis: "transactions".to_owned(),
            caption: "grey: executed at the source, green: in the checkpoint".to_owned(),
            curves: vec![curve("grey", |sample| sample.source), curve("green", |sample| sample.carried)],
        },
        Diagram {
            axis: "records behind".to_owned(),
            caption: "the sink that is furthest behind".to_owned(),
            curves: vec![curve("purple", |sample| sample.lag)],
        },
    ]
}

/// Faults, and what processes said.
fn events(run: &mut Run, told: &str) {
    let mut open: Vec<(String, String, f64)> = Vec::new();
    for line in told.lines() {
        let Some(second) = second(line) else { continue };
        let (fault, host) = (field(line, "fault="), field(line, "host="));
        if let Some(what) = fault {
            let host = host.filter(|host| run.lanes.contains(host)).unwrap_or_else(|| service_of(&what).to_owned());
            if line.contains(": begins") {
                open.push((what, host, second));
            } else if let Some(index) = open.iter().position(|(kind, at, _)| *kind == what && *at == host) {
                let (what, host, from) = open.remove(index);
                run.faults.push(Bar { what, host, from, to: second });
            }
        } else if let Some(host) = run.lanes.iter().find(|host| line.contains(&format!("\"{host}\""))) {
            let warning = line.contains("WARN") || line.contains("ERROR");
            if warning || line.contains("joined the election") {
                run.marks.push(Mark { what: line.to_owned(), host: host.clone(), second, warning });
            }
        }
    }
    run.faults.extend(open.into_iter().map(|(what, host, from)| Bar { what, host, from, to: from }));
}

fn second(line: &str) -> Option<f64> {
    line.split_whitespace().next()?.parse().ok()
}

fn lanes(plan: &Value) -> Vec<String> {
    let count = |key: &str| plan["topology"][key].as_u64().unwrap_or(0);
    let standbys = (1..=count("standbys")).map(|n| format!("mysql-{}", n + 1));
    let services = ["kafka", "zookeeper", "elasticsearch"].map(str::to_owned);
    let deployers = (1..=count("deployers")).map(|n| format!("deployer-{n}"));
    let adapters = (1..=count("adapters")).map(|n| format!("adapter-{n}"));
    std::iter::once("mysql".to_owned()).chain(standbys).chain(services).chain(deployers).chain(adapters).collect()
}

/// The value of a field in a line of the trace.
fn field(line: &str, name: &str) -> Option<String> {
    let rest = &line[line.find(name)? + name.len()..];
    let end = rest.find([' ', '}']).unwrap_or(rest.len());
    Some(rest[..end].trim_matches('"').to_owned())
}
