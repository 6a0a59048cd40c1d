//! `check-model`: does the capacity model, fitted at low rates, predict maxima that were measured?

use anyhow::{Context, Result};
use comfy_table::Cell;
use std::path::PathBuf;
use std::process::ExitCode;
use towpath_load::capacity::{Checked, Search, check};
use towpath_load::report::text;

/// What `check-model` can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Outputs of `find-max --json`: one model is fitted on all of their trials at up to half of the maximum.
    #[arg(value_name = "FILE", num_args = 1.., required = true)]
    searches: Vec<PathBuf>,
    /// The largest deviation that passes, of the measured maximum.
    #[arg(long, default_value_t = 0.25)]
    within: f64,
}

/// Checks and tells; fails if one deviates further.
pub fn run(arguments: &Arguments, as_json: bool) -> Result<ExitCode> {
    let read = |file: &PathBuf| -> Result<Search> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no output of `find-max --json`", file.display()))
    };
    let searches = arguments.searches.iter().map(read).collect::<Result<Vec<_>>>()?;
    let (checked, costs) = check(&searches)?;
    let passed = checked.iter().all(|one| one.deviation.abs() <= arguments.within);
    match as_json {
        true => println!("{}", serde_json::json!({ "maxima": checked, "costs": costs, "passed": passed })),
        false => println!("{}", table(&checked)),
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(checked: &[Checked]) -> String {
    let mut table = text::plain(&["raised", "fitted up to", "predicted", "measured", "deviation"]);
    for one in checked {
        let numbers =
            [one.fitted_up_to, one.predicted, one.measured].map(|factor| text::right(&format!("× {factor:.2}")));
        let deviation = text::right(&format!("{:+.0} %", one.deviation * 100.0));
        table.add_row([Cell::new(&one.of)].into_iter().chain(numbers).chain([deviation]));
    }
    table.to_string()
}
