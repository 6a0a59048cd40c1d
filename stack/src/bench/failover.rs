//! `cargo xtask bench failover`: how long nobody leads after a leader's SIGKILL and after its SIGTERM, and how fresh
//! documents are before, during and after an outage of Kafka, with the fallback path and without. On real processes,
//! as scenarios.

use anyhow::Result;
use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;
use std::path::Path;
use towpath_scenarios::scenario::{Fault, FaultKind, Scenario, Span, Topology, Work};
use towpath_scenarios::summary::nearest_rank;

use crate::scenario::outcome::{Outcome, Phases, ProcessCost};
use crate::scenario::{self, Ground, carry_out};

/// What can be said to it.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// How many leaders are killed.
    #[arg(long, default_value_t = 20)]
    takeovers: u32,
    /// How long Kafka is away, seconds.
    #[arg(long, default_value_t = 60)]
    outage: u32,
    /// Of the workload.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// From one kill to the next: the killed one is back and waits for its turn by then.
const EVERY_MS: u64 = 14_000;
const AWAY_MS: u64 = 4_000;
/// Before the first fault, and after the last.
const CALM_MS: u64 = 15_000;

#[derive(Debug, Serialize)]
struct Report {
    takeover_ms: Takeovers,
    takeover_after_sigterm_ms: Takeovers,
    outage: Outage,
    outage_with_fallback: Outage,
    lost: u64,
    stale: u64,
    doubled: u64,
    faults_fired: usize,
}

/// Times without a leader, milliseconds.
#[derive(Debug, Serialize)]
struct Takeovers {
    count: usize,
    p50: u64,
    p95: u64,
    max: u64,
}

/// What an outage of Kafka came to.
#[derive(Debug, Serialize)]
struct Outage {
    freshness_ms: Phases,
    catch_up_ms: Option<u64>,
    /// Row changes written while Kafka was away, by the time it took to catch up; none if nothing had to.
    catch_up_changes_per_s: Option<u64>,
    /// What deployers and adapters cost before, during and after.
    processes: Vec<ProcessCost>,
}

/// Runs it and prints the table.
///
/// # Errors
/// A service or a process does not start.
pub async fn run(arguments: &Arguments, binary: &Path, as_json: bool) -> Result<bool> {
    let of = |scenario| scenario::Arguments { scenario, seed: arguments.seed, clocks: false, brisk: false, html: None };
    let mut outcomes = Vec::new();
    let mut ground = Ground::start(1).await?;
    let outage = u64::from(arguments.outage) * 1000;
    let killed = leaders("leaders-killed", FaultKind::Crash, arguments.takeovers);
    let stopped = leaders("leaders-stopped", FaultKind::Stop, arguments.takeovers);
    let without = away(outage, None);
    let with = away(outage, Some(Span::from_millis(3_000)));
    for scenario in [killed, stopped, without, with] {
        outcomes.push(carry_out(&mut ground, &of(scenario), binary, as_json).await?);
    }
    ground.stop().await?;
    let [kills, stops, without, with] = &outcomes[..] else { return Ok(false) };
    let report = Report {
        takeover_ms: takeovers(kills),
        takeover_after_sigterm_ms: takeovers(stops),
        outage: outage_of(without, outage),
        outage_with_fallback: outage_of(with, outage),
        lost: outcomes.iter().map(|outcome| outcome.lost).sum(),
        stale: outcomes.iter().map(|outcome| outcome.stale).sum(),
        doubled: outcomes.iter().map(|outcome| outcome.doubled).sum(),
        faults_fired: outcomes.iter().map(|outcome| outcome.faults_fired.len()).sum(),
    };
    if as_json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.text());
    }
    Ok(outcomes.iter().all(|outcome| outcome.passed))
}

fn scenario(name: &str, length_ms: u64, faults: Vec<Fault>, fallback: Option<Span>) -> Scenario {
    let topology = Topology { fallback, ..Topology::default() };
    let workload = Work { rate: 50, ..Work::default() };
    let bare = Scenario::new(name.to_owned(), "a measurement", Span::from_millis(length_ms));
    Scenario { topology, workload, faults, ..bare }
}

/// The leader dies or is stopped, again and again.
fn leaders(name: &str, kind: FaultKind, count: u32) -> Scenario {
    let end = |nth: u64| Fault {
        at: Some(Span::from_millis(CALM_MS + nth * EVERY_MS)),
        lasts: Some(Span::from_millis(AWAY_MS)),
        host: Some("leader".to_owned()),
        ..Fault::new(kind)
    };
    let faults = (0..u64::from(count)).map(end).collect();
    scenario(name, CALM_MS + u64::from(count) * EVERY_MS + CALM_MS, faults, None)
}

fn away(outage_ms: u64, fallback: Option<Span>) -> Scenario {
    let fault = Fault {
        at: Some(Span::from_millis(CALM_MS)),
        lasts: Some(Span::from_millis(outage_ms)),
        ..Fault::new(FaultKind::KafkaDown)
    };
    let name = if fallback.is_some() { "kafka-away-fallback" } else { "kafka-away" };
    scenario(name, away_for(outage_ms), vec![fault], fallback)
}

/// How long a run with an outage takes: four times as long afterwards as before, for a broker that is slow to start and
/// for the backlog.
fn away_for(outage_ms: u64) -> u64 {
    CALM_MS + outage_ms + 4 * CALM_MS
}

fn takeovers(outcome: &Outcome) -> Takeovers {
    let mut times: Vec<u64> = outcome.takeovers.iter().map(|takeover| takeover.leaderless_ms).collect();
    times.sort_unstable();
    let at = |percent| nearest_rank(&times, percent).unwrap_or_default();
    Takeovers { count: times.len(), p50: at(50), p95: at(95), max: at(100) }
}

fn outage_of(outcome: &Outcome, outage_ms: u64) -> Outage {
    let meanwhile = outcome.changes * outage_ms / away_for(outage_ms);
    Outage {
        freshness_ms: outcome.freshness_ms,
        catch_up_ms: outcome.catch_up_ms,
        processes: outcome.processes.clone(),
        catch_up_changes_per_s: outcome.catch_up_ms.and_then(|ms| (meanwhile * 1000).checked_div(ms)),
    }
}

impl Report {
    fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["", "p50", "p95 / p99", "max"]);
        for (signal, takeovers) in [("SIGKILL", &self.takeover_ms), ("SIGTERM", &self.takeover_after_sigterm_ms)] {
            let Takeovers { count, p50, p95, max } = takeovers;
            let name = format!("nobody leads after {signal}, {count} times, ms");
            table.add_row([name, p50.to_string(), p95.to_string(), max.to_string()]);
        }
        for (name, outage) in [("", &self.outage), (" with fallback", &self.outage_with_fallback)] {
            let Phases { before, during, after } = outage.freshness_ms;
            for (phase, freshness) in [("before", before), ("during", during), ("after", after)] {
                let text = |ms: Option<u64>| ms.map_or("–".to_owned(), |ms| ms.to_string());
                let name = format!("freshness {phase} Kafka's outage{name}, ms");
                table.add_row([name, text(freshness.p50), text(freshness.p99), String::new()]);
            }
            let (ms, rate) = (outage.catch_up_ms.unwrap_or(0), outage.catch_up_changes_per_s.unwrap_or(0));
            table.add_row([format!("caught up{name}"), format!("{ms} ms"), format!("{rate} changes/s"), String::new()]);
        }
        format!(
            "{table}\nlost {}, stale {}, doubled {}; {} faults",
            self.lost, self.stale, self.doubled, self.faults_fired
        )
    }
}
