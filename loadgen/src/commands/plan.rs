//! `plan`: what a target needs, from measured runs.

use anyhow::Result;
use comfy_table::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use towpath_load::capacity::{self, Plan, named};
use towpath_load::report::text;

/// What `plan` can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// A shipped target (billion-orders), or a file's path.
    #[arg(long)]
    target: String,
    /// Reports of `run --json` at different rates, or outputs of `find-max --json`; without: the newest searches on
    /// this machine.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    runs: Vec<PathBuf>,
}

/// Plans and tells.
pub fn run(arguments: &Arguments, as_json: bool) -> Result<ExitCode> {
    let target = named(&arguments.target)?;
    let kept = if arguments.runs.is_empty() { capacity::kept(&super::measured_folder()?)? } else { Vec::new() };
    let measured = capacity::measured(if kept.is_empty() { &arguments.runs } else { &kept })?;
    for path in &kept {
        eprintln!("costs from {}", path.display());
    }
    if let [only] = &kept[..] {
        eprintln!(
            "only {} was searched here: with all three kinds writes and queries are told apart better",
            name(only)
        );
    }
    let plan = capacity::plan(&arguments.target, &target, &measured.costs)?;
    match as_json {
        true => println!("{}", serde_json::json!({ "plan": plan, "measured": measured })),
        false => println!("{}\ncosts: {}", table(&plan), measured.source),
    }
    Ok(ExitCode::SUCCESS)
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn table(plan: &Plan) -> String {
    let mut table = text::plain(&["part", "busy cores", "machines", "of one machine", ""]);
    for need in &plan.needs {
        table.add_row([
            Cell::new(&need.part),
            text::right(&format!("{:.1}", need.cores)),
            text::right(&need.machines.to_string()),
            text::right(&format!("{:.2}", need.load_of_one)),
            Cell::new(&need.note),
        ]);
    }
    format!(
        "{}: at the peak {:.0} orders/s, {:.0} row changes/s, {:.0} queries/s, {:.0} MB/s into Kafka\n{table}\nbreaks \
         first: {}, which cannot be spread over machines",
        plan.target, plan.orders_per_s, plan.changes_per_s, plan.queries_per_s, plan.kafka_mb_per_s, plan.breaks_first
    )
}
