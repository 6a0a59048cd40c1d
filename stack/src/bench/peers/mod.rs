//! `bench peers`: Towpath, Debezium and Canal carry the same binlog into the same broker, one after the other.
//!
//! All three are watched from outside in the same way: records are seen by the topics' ends, CPU and memory by the
//! kernel, and every row is counted in what Kafka holds afterwards. What could not run has a reason instead of figures.
//! The settings of each, and why they are fair, are in docs/performance.md.

mod canal;
mod debezium;
mod java;
mod rows;
mod watch;

use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use towpath_connectors::{KafkaConfig, KafkaLog};
use towpath_engine::ports::log::EventLog;

use super::filled::{self, DATABASE};
use super::load::Plan;
use super::round;
use crate::harness::config::Pipeline;
use crate::harness::towpath::Towpath;
use crate::install::Package;
use crate::{Stack, install};
use rows::Form;
use watch::Process;

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Row changes to write and carry
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Leave these out
    #[arg(long, value_parser = [TOWPATH, DEBEZIUM, CANAL])]
    without: Vec<String>,
}

const TOWPATH: &str = "towpath";
const DEBEZIUM: &str = "debezium";
const CANAL: &str = "canal";

/// Partitions of each topic.
const PARTITIONS: u32 = 4;
/// The tables of the workload.
const TABLES: [&str; 2] = ["order_main", "order_item"];

/// What one of them did.
#[derive(Debug, Clone, Serialize)]
struct Figures {
    version: String,
    rows_per_s: f64,
    cpu_s_per_million_rows: f64,
    peak_rss_mb: f64,
    /// From the start of its process.
    first_record_s: f64,
    records: i64,
}

/// What came of one: figures, or why there are none.
type Outcome = Result<Figures, String>;

/// What all of them run on.
struct Ground<'a> {
    stack: &'a Stack,
    log: Arc<KafkaLog>,
    plan: Plan,
    /// The GTID set before the first row.
    start: String,
}

/// Starts a stack of its own, measures, ends it. `binary` is the `towpath` to measure.
///
/// # Errors
/// When a service does not start; a peer that does not run is part of the result.
pub async fn run(arguments: &Arguments, binary: &Path, as_json: bool) -> Result<()> {
    let plan = Plan::for_rows(arguments.rows);
    let (stack, workload) = filled::start(Stack::builder().kafka(1).zookeeper(1), plan).await?;
    let config = KafkaConfig { brokers: stack.kafka()?.bootstrap(), ..KafkaConfig::default() };
    let log = Arc::new(KafkaLog::new(config)?);
    let ground = Ground { stack: &stack, log, plan, start: workload.start };
    let mut outcomes = Vec::new();
    for name in [TOWPATH, DEBEZIUM, CANAL] {
        if arguments.without.iter().any(|without| without == name) {
            outcomes.push((name, Err("left out".to_owned())));
            continue;
        }
        eprintln!("{name} …");
        let outcome = match name {
            TOWPATH => towpath(&ground, binary).await,
            DEBEZIUM => debezium::run(&ground).await,
            _ => canal::run(&ground).await,
        };
        outcomes.push((name, outcome.map_err(|error| format!("{error:#}"))));
    }
    drop(ground);
    stack.stop().await?;
    match as_json {
        true => println!("{}", json(plan.rows(), &workload.server, &outcomes)),
        false => println!("{}\n{}", table(&outcomes), plot(&outcomes)),
    }
    Ok(())
}

/// Towpath's deployer, with its defaults.
async fn towpath(ground: &Ground<'_>, binary: &Path) -> Result<Figures> {
    let pipeline = Pipeline {
        partitions: PARTITIONS,
        ..Pipeline::with_sinks(ground.stack, DATABASE, ground.start.clone(), Vec::new())?
    };
    let (config, admin) = pipeline.write(ground.stack.folder(), "peers")?;
    let log = ground.stack.folder().join("peers-towpath.log");
    ground.log.ensure_topic(&pipeline.name, PARTITIONS).await?;
    let process = Process::of(Towpath::start(binary, &config, "deployer", admin, &log, &[])?);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    ground.measure(process, &[pipeline.name.clone()], Form::Flat, version).await
}

impl Ground<'_> {
    /// Watches a process that has just been started until all rows are in the topics, and ends it.
    async fn measure(&self, process: Process, topics: &[String], form: Form, version: String) -> Result<Figures> {
        let rows = self.plan.rows();
        let carried = watch::until_all_is_there(process, self.log.as_ref(), topics, form, rows).await?;
        let (rows, seconds) = (rows as f64, carried.seconds);
        Ok(Figures {
            version,
            rows_per_s: (rows / seconds).round(),
            cpu_s_per_million_rows: round(carried.cpu_s / rows * 1e6),
            peak_rss_mb: round(carried.peak_rss as f64 / 1e6),
            first_record_s: round(carried.first_record_s),
            records: carried.records,
        })
    }
}

/// Installs a peer into the cache folder; the path of its libraries, and the version of one of them.
fn brought(package: &Package, library: &str) -> Result<(std::path::PathBuf, String)> {
    let installed = install::install(std::slice::from_ref(package), false)?;
    let installed = installed.into_iter().next().context("nothing was installed")?;
    let version = installed.resolved.iter().find_map(|name| name.strip_prefix(library)?.strip_prefix('-'));
    Ok((installed.path.clone(), version.unwrap_or("unknown").to_owned()))
}

fn json(rows: u64, server: &str, outcomes: &[(&str, Outcome)]) -> serde_json::Value {
    let mut result = serde_json::json!({ "rows": rows, "mysql": server, "partitions": PARTITIONS });
    for (name, outcome) in outcomes {
        result[*name] = match outcome {
            Ok(figures) => serde_json::json!(figures),
            Err(_) => serde_json::Value::Null,
        };
        if let Err(reason) = outcome {
            result[format!("{name}_reason")] = serde_json::json!(reason);
        }
    }
    result
}

fn table(outcomes: &[(&str, Outcome)]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["", "version", "rows/s", "CPU s per million rows", "peak MB", "first record, s", "records"]);
    for (name, outcome) in outcomes {
        match outcome {
            Ok(figures) => {
                let numbers = [
                    format!("{:.0}", figures.rows_per_s),
                    format!("{:.2}", figures.cpu_s_per_million_rows),
                    format!("{:.0}", figures.peak_rss_mb),
                    format!("{:.1}", figures.first_record_s),
                    figures.records.to_string(),
                ];
                let cells = numbers.map(|number| Cell::new(number).set_alignment(CellAlignment::Right));
                table.add_row([Cell::new(name), Cell::new(&figures.version)].into_iter().chain(cells));
            }
            Err(reason) => {
                table.add_row([Cell::new(name), Cell::new(reason.lines().next().unwrap_or_default())]);
            }
        }
    }
    table
}

/// Rows a second as bars.
fn plot(outcomes: &[(&str, Outcome)]) -> String {
    const WIDTH: f64 = 60.0;
    let rates = outcomes.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().ok()?.rows_per_s)));
    let most = rates.clone().map(|(_, rate)| rate).fold(1.0, f64::max);
    let bar = |(name, rate): (&&str, f64)| {
        format!("{name:>9} {} {rate:.0} rows/s", "█".repeat(((rate / most * WIDTH).round() as usize).max(1)))
    };
    rates.map(bar).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_did_not_run_has_a_reason_and_no_figures() {
        let figures = |rows_per_s| Figures {
            version: "1".to_owned(),
            rows_per_s,
            cpu_s_per_million_rows: 2.5,
            peak_rss_mb: 100.0,
            first_record_s: 0.5,
            records: 7,
        };
        let outcomes =
            [(TOWPATH, Ok(figures(400_000.0))), (DEBEZIUM, Ok(figures(50_000.0))), (CANAL, Err("no Java".to_owned()))];
        let result = json(9, "9.7", &outcomes);
        assert_eq!((&result["canal"], &result["canal_reason"]), (&serde_json::Value::Null, &"no Java".into()));
        assert_eq!(result["debezium"]["rows_per_s"], 50_000.0);
        assert!(table(&outcomes).to_string().contains("no Java"));
        let bars: Vec<usize> = plot(&outcomes).lines().map(|line| line.matches('█').count()).collect();
        assert_eq!(bars, [60, 8]);
    }
}
