//! The demo's process: runs, prints the summary, and fails if a single document differs or if there was none.

use anyhow::Context;
use clap::Parser;
use comfy_table::{Table, presets};
use std::process::ExitCode;
use towpath_demo::{Args, embedded, stack};

fn main() -> ExitCode {
    let args = Args::parse();
    let result = if args.stack { stack::run(&args) } else { embedded_run(&args) };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("The demo could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn embedded_run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().context("starting tokio")?;
    let summary = runtime.block_on(embedded::run(args))?;
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).add_rows(summary.figures());
        println!("{table}\n{}", summary.verdict());
    }
    Ok(if summary.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
