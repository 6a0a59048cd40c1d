//! `compare`: two sets of runs, and whether they differ by more than runs of one kind differ among themselves.

use anyhow::{Context, Result, ensure};
use comfy_table::Cell;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use towpath_load::noise::{Change, compare};
use towpath_load::report::{Report, text};

/// What `compare` can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Reports before: one or several runs of the same.
    #[arg(value_name = "BEFORE,…", value_delimiter = ',', required = true)]
    before: Vec<PathBuf>,
    /// Reports after.
    #[arg(value_name = "AFTER,…", value_delimiter = ',', required = true)]
    after: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Compared {
    figure: String,
    change: Change,
}

/// Compares; fails if a figure is worse by more than noise.
pub fn run(arguments: &Arguments, as_json: bool) -> Result<ExitCode> {
    let (before, after) = (read(&arguments.before)?, read(&arguments.after)?);
    let profile = &before[0].profile;
    for report in before.iter().chain(&after) {
        ensure!(report.profile == *profile, "{} and {profile} are different traffic", report.profile);
        ensure!(report.valid, "a run of {} is not valid", report.profile);
    }
    let names: BTreeSet<&String> = before.iter().chain(&after).flat_map(|report| report.figures.keys()).collect();
    let mut all = Vec::new();
    for name in names {
        let statistics: [(&str, fn(&towpath_load::report::Distribution) -> f64); 2] =
            [("p50", |figure| figure.p50), ("p99", |figure| figure.p99)];
        for (statistic, of) in statistics {
            let values = |reports: &[Report]| -> Vec<f64> {
                reports.iter().filter_map(|report| report.figures.get(name).map(of)).collect()
            };
            if let Some(change) = compare(&values(&before), &values(&after)) {
                all.push(Compared { figure: format!("{name}.{statistic}"), change });
            }
        }
    }
    let worse = all.iter().any(|compared| compared.change.worse);
    match as_json {
        true => println!("{}", serde_json::json!({ "compared": all, "valid": true, "passed": !worse })),
        false => println!("{}", table(&all)),
    }
    Ok(if worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(files: &[PathBuf]) -> Result<Vec<Report>> {
    let one = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report of `run --json`", file.display()))
    };
    files.iter().map(one).collect()
}

fn table(all: &[Compared]) -> String {
    let mut table = text::plain(&["milliseconds", "before", "after", "change", "noise", ""]);
    for Compared { figure, change } in all {
        let verdict = match (change.worse, change.better) {
            (true, _) => "WORSE",
            (_, true) => "better",
            _ => "no difference that can be told",
        };
        table.add_row([
            Cell::new(figure),
            text::right(&format!("{:.1}", change.before)),
            text::right(&format!("{:.1}", change.after)),
            text::right(&format!("{:+.0} %", change.share * 100.0)),
            text::right(&format!("±{:.0} %", change.noise * 100.0)),
            Cell::new(verdict),
        ]);
    }
    table.to_string()
}
