//! `cargo xtask models`: explores the models of the protocol and prints what was shown.

use std::process::ExitCode;
use std::time::Instant;
use towpath_protocol::explore::{Bound, Outcome};
use towpath_protocol::models;
use towpath_protocol::report::Report;

const USAGE: &str = "usage: towpath-protocol [--small] [--model NAME] [--without RULE] [--trace] [--json]";

/// What the command line says.
struct Arguments {
    bound: Bound,
    model: Option<String>,
    without: Option<String>,
    trace: bool,
    json: bool,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut passed = true;
    let mut lines = Vec::new();
    for model in models() {
        if arguments.model.as_ref().is_some_and(|name| name != model.name) {
            continue;
        }
        if arguments.without.as_deref().is_some_and(|name| !model.planted.contains(&name)) {
            continue;
        }
        let begun = Instant::now();
        let report = model.run(arguments.bound, arguments.without.as_deref());
        passed &= report.passed();
        let seconds = begun.elapsed().as_secs_f64();
        lines.push(json(&report, seconds));
        if !arguments.json {
            print(&report, seconds, arguments.trace);
        }
    }
    if arguments.json {
        println!("{{\"passed\":{passed},\"models\":[{}]}}", lines.join(","));
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads the command line; a name that no model knows is refused with those that exist.
fn arguments() -> Result<Arguments, String> {
    let mut read = Arguments { bound: Bound::Large, model: None, without: None, trace: false, json: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--small" => read.bound = Bound::Small,
            "--trace" => read.trace = true,
            "--json" => read.json = true,
            "--model" => read.model = Some(words.next().ok_or("--model needs a name")?),
            "--without" => read.without = Some(words.next().ok_or("--without needs the name of a rule")?),
            _ => return Err(format!("unknown argument '{word}'")),
        }
    }
    let models = models();
    let names: Vec<&str> = models.iter().map(|model| model.name).collect();
    if let Some(name) = read.model.as_deref().filter(|name| !names.contains(name)) {
        return Err(format!("no model is called '{name}'; there are: {}", names.join(", ")));
    }
    let chosen = models.iter().filter(|model| read.model.as_deref().is_none_or(|name| name == model.name));
    let rules: Vec<&str> = chosen.flat_map(|model| model.planted.iter().copied()).collect();
    if let Some(name) = read.without.as_deref().filter(|name| !rules.contains(name)) {
        return Err(format!("no rule is called '{name}'; there are: {}", rules.join(", ")));
    }
    Ok(read)
}

fn print(report: &Report, seconds: f64, trace: bool) {
    println!(
        "{}: {} states, {} at rest, {} steps deep, {seconds:.1} s with the rules left out",
        report.model, report.whole.states, report.whole.rests, report.whole.depth
    );
    for claim in report.claims {
        let broken = report.whole.violation.as_ref().is_some_and(|violation| violation.claim == *claim);
        let verdict = match (broken, report.whole.truncated) {
            (true, _) => "BROKEN",
            (false, true) => "open  ",
            (false, false) => "holds ",
        };
        println!("  {verdict}  {claim}");
    }
    if report.whole.truncated {
        println!("  NOTHING SHOWN: more states than the search takes");
    }
    print_trace(&report.whole);
    for caught in &report.planted {
        let found = match &caught.outcome.violation {
            Some(violation) => format!("caught in {} steps: {}", violation.trace.len(), violation.claim),
            None => format!("not needed for these claims ({} states)", caught.outcome.states),
        };
        let verdict = if caught.as_expected() { "" } else { "UNEXPECTED: " };
        println!("  {:<28} {verdict}{found}", caught.name);
        if trace || !caught.as_expected() {
            println!("    instead: {}", caught.instead);
            print_trace(&caught.outcome);
        }
    }
    println!();
}

fn print_trace(outcome: &Outcome) {
    let Some(violation) = &outcome.violation else { return };
    for (number, step) in violation.trace.iter().enumerate() {
        println!("    {:>2}. {step}", number + 1);
    }
    println!("    then: {}\n    broken: {}", violation.end, violation.claim);
}

/// Names and claims are ours and contain nothing that JSON would have to escape.
fn json(report: &Report, seconds: f64) -> String {
    let planted = report.planted.iter().map(|caught| {
        let steps = caught.outcome.violation.as_ref().map(|violation| violation.trace.len().to_string());
        format!(
            "{{\"rule\":\"{}\",\"as_expected\":{},\"steps\":{}}}",
            caught.name,
            caught.as_expected(),
            steps.as_deref().unwrap_or("null")
        )
    });
    format!(
        "{{\"model\":\"{}\",\"passed\":{},\"states\":{},\"at_rest\":{},\"depth\":{},\"claims\":{},\"seconds\":{seconds:.1},\"planted\":[{}]}}",
        report.model,
        report.passed(),
        report.whole.states,
        report.whole.rests,
        report.whole.depth,
        report.claims.len(),
        planted.collect::<Vec<_>>().join(",")
    )
}
