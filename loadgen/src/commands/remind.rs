//! `remind`: the same storm of polls on HOT and on a cluster of its own, side by side. The two clusters share no core.

use anyhow::{Context, Result};
use comfy_table::Cell;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use towpath_load::live::View;
use towpath_load::own::Services;
use towpath_load::report::{Report, html, text};

use super::{Tuning, status};

const PROFILE: &str = "prompt-sound-storm";

/// What `remind` can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    tuning: Tuning,
    /// Services and pipelines of one's own; nothing else can be asked yet, and it is not assumed.
    #[arg(long, required = true)]
    stack: bool,
    /// Write both reports as one page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs both and tells both.
pub async fn run(arguments: &Arguments, as_json: bool) -> Result<ExitCode> {
    let mut reports = Vec::new();
    let profile = arguments.tuning.profile(PROFILE)?;
    towpath_load::drive::check_reach(&profile)?;
    let mut services = Services::start().await?;
    let measured = async {
        let on = |cluster: &str| {
            let mut profile = profile.clone();
            profile.sounds.iter_mut().for_each(|sounds| cluster.clone_into(&mut sounds.cluster));
            profile
        };
        services.part_hot_from_remind()?;
        for cluster in ["hot", "remind"] {
            arguments.tuning.warm(&mut services, &on(cluster)).await?;
        }
        for cluster in ["hot", "remind"] {
            let profile = on(cluster);
            let seconds = profile.length.millis() / 1000;
            let view = View::new(&format!("sounds on {cluster}"), seconds, std::io::stderr().is_terminal());
            let report = services.run(&profile, arguments.tuning.seed, view).await;
            reports.push(report.with_context(|| format!("sounds on {cluster}"))?);
        }
        anyhow::Ok(())
    };
    let measured = measured.await;
    services.stop().await?;
    measured?;
    let both: Vec<&Report> = reports.iter().collect();
    if let Some(path) = &arguments.html {
        std::fs::write(path, html::page(&both)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    match as_json {
        true => println!("{}", serde_json::json!({ "hot": reports[0], "remind": reports[1] })),
        false => println!("{}", table(&both)),
    }
    Ok(status(&reports))
}

fn table(reports: &[&Report]) -> String {
    let mut table = text::plain(&["milliseconds", "sounds on hot: p50", "p99", "sounds on remind: p50", "p99"]);
    for name in reports.iter().flat_map(|report| report.figures.keys()).collect::<std::collections::BTreeSet<_>>() {
        let cells = reports.iter().flat_map(|report| {
            let figure = report.figures.get(name);
            let cell = |value: Option<f64>| text::right(&value.map_or("–".to_owned(), |ms| format!("{ms:.1}")));
            [cell(figure.map(|figure| figure.p50)), cell(figure.map(|figure| figure.p99))]
        });
        table.add_row([Cell::new(name.replace('_', " "))].into_iter().chain(cells));
    }
    let verdicts: Vec<String> = reports
        .iter()
        .map(|report| format!("{}: {} {}", html::label(report), text::verdict(report), report.reasons.join("; ")))
        .collect();
    format!("{table}\n{}", verdicts.join("\n"))
}
