//! What a worker said of a run, as the picture that `towpath-picture` draws.

use towpath_picture::{Bar, Curve, Diagram, Mark, Run, service_of};

use crate::worker::Outcome;

/// Between two samples, seconds.
const SAMPLED_EVERY: f64 = 0.5;

/// The page, a lane for each host. `told` is what the worker said at level `info` with samples.
pub fn page(name: &str, hosts: Vec<String>, told: &str, outcome: &Outcome) -> String {
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
        lanes: hosts,
        seconds,
        leaders: samples.iter().flat_map(|of_source| leaders(of_source)).collect(),
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

/// The samples of each source, in the order in which they are told.
fn samples(told: &str) -> Vec<Vec<Sample>> {
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
    let mut sources: Vec<(String, Vec<Sample>)> = Vec::new();
    for (line, sample) in told.lines().filter_map(|line| Some((line, sample(line)?))) {
        let name = field(line, "name=").unwrap_or_default();
        match sources.iter_mut().find(|(known, _)| *known == name) {
            Some((_, samples)) => samples.push(sample),
            None => sources.push((name, vec![sample])),
        }
    }
    sources.into_iter().map(|(_, samples)| samples).collect()
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

/// How far sources, checkpoints and sinks are.
fn diagrams(sources: &[Vec<Sample>]) -> Vec<Diagram> {
    let further = if sources.len() > 1 { "; dashed: a further source" } else { "" };
    let mut transactions = curves(sources, ["grey", "grey dashed"], |sample| sample.source);
    transactions.extend(curves(sources, ["green", "green dashed"], |sample| sample.carried));
    vec![
        Diagram {
            axis: "transactions".to_owned(),
            caption: format!("grey: executed at the source, green: in the checkpoint{further}"),
            curves: transactions,
        },
        Diagram {
            axis: "records behind".to_owned(),
            caption: format!("the sink that is furthest behind{further}"),
            curves: curves(sources, ["purple", "purple dashed"], |sample| sample.lag),
        },
    ]
}

/// One curve for each source, in the first colour for the first and in the second for any other.
fn curves(sources: &[Vec<Sample>], colours: [&'static str; 2], of: fn(&Sample) -> f64) -> Vec<Curve> {
    let value = |sample: &Sample| (sample.second, of(sample));
    let curve = |(nth, samples): (usize, &Vec<Sample>)| {
        let colour = colours[nth.min(1)];
        Curve { colour, points: false, values: samples.iter().map(value).collect() }
    };
    sources.iter().enumerate().map(curve).collect()
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

/// The value of a field in a line of the trace.
fn field(line: &str, name: &str) -> Option<String> {
    let rest = &line[line.find(name)? + name.len()..];
    let end = rest.find([' ', '}']).unwrap_or(rest.len());
    Some(rest[..end].trim_matches('"').to_owned())
}
