//! A short run of each shipped profile on real services: the traffic is carried out, and nothing is lost, stale,
//! doubled or heard twice. Belongs to the tier `load`.
//!
//! Must not judge times: how fast this machine is today proves nothing.

use anyhow::{Context, Result, ensure};
use towpath_load::live::View;
use towpath_load::own::Services;
use towpath_load::report::{Report, html};
use towpath_load::{profiles, report::text};

const SECONDS: u32 = 12;
const SCALE: f64 = 0.2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_shipped_profile_runs_and_loses_nothing() -> Result<()> {
    let seed = std::env::var("TOWPATH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed} (TOWPATH_SEED)");
    let mut services = Services::start().await?;
    let mut reports = Vec::new();
    for (name, _) in profiles::SHIPPED {
        let mut profile = profiles::named(name)?;
        profile.scale = SCALE;
        profile.squeeze(SECONDS);
        let report = services.run(&profile, seed, View::new(name, 0, false)).await.context(name)?;
        println!("{}", text::text(&report));
        reports.push(report);
    }
    services.stop().await?;
    reports.iter().try_for_each(judge)?;
    let all: Vec<&Report> = reports.iter().collect();
    ensure!(html::page(&all).contains("Side by side"));
    Ok(())
}

/// Everything of a report that no clock is part of.
fn judge(report: &Report) -> Result<()> {
    let name = &report.profile;
    ensure!(report.load.orders > 10 && report.load.queries() > 10, "{name} did nothing: {:?}", report.load);
    let found = report.documents.as_ref().with_context(|| format!("{name}: nothing was compared"))?;
    ensure!(found.rows > 0 && found.documents > 0, "{name}: {found:?}");
    ensure!(found.lost + found.stale + found.doubled == 0, "{name}: {found:?}");
    // A query may be late on a slow machine; a transaction that fails is wrong.
    let failed = report.error_samples.iter().find(|sample| sample.starts_with("MySQL"));
    ensure!(failed.is_none(), "{name}: {failed:?}");
    // Whether every order is heard before it is accepted is a question of this machine's speed.
    if let Some(sounds) = &report.sounds {
        ensure!(sounds.played > 10 && sounds.twice == 0, "{name}: {sounds:?} {:?}", report.sound_samples);
    }
    for figure in ["write_latency", "list_latency", "freshness_kafka", "freshness_acknowledged", "freshness_searchable"]
    {
        ensure!(report.figures.contains_key(figure), "{name}: {figure} was not measured");
    }
    for process in ["mysql", "kafka-1", "es-hot", "deployer", "adapter", "generator"] {
        let used = report.processes.iter().find(|used| used.name == process);
        ensure!(used.is_some_and(|used| used.peak_rss_mb > 1.0), "{name}: {process} was not watched");
    }
    ensure!((name == "backlog-drain") == report.drain.is_some(), "{name}: {:?}", report.drain);
    Ok(())
}
