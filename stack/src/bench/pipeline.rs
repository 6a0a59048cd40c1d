//! `bench pipeline`: the bare dump, binlog → Kafka, Kafka → Elasticsearch, on one workload and in one run.

use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::filled::{self, DATABASE};
use super::load::Plan;
use super::{dump, round};
use crate::Stack;
use crate::harness::config::{Pipeline, Sink};
use crate::harness::towpath::{Towpath, sum};

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Row changes to write and carry
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// transactions or versions
    #[arg(long, default_value = "transactions", value_parser = ["transactions", "versions"])]
    fencing: String,
    /// event or row
    #[arg(long, default_value = "event", value_parser = ["event", "row"])]
    record: String,
    /// Partitions of the topic
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Leave Elasticsearch out: only the dump and binlog → Kafka
    #[arg(long)]
    kafka_only: bool,
    /// The connection to MySQL, as `source.tls`; the bare dump is never encrypted
    #[arg(long, default_value = "preferred", value_parser = ["disabled", "preferred"])]
    tls: String,
    /// Carry everything once before it is measured: a broker that has just started compiles its own code meanwhile
    #[arg(long)]
    warm: bool,
    /// All rows in one transaction of MySQL's
    #[arg(long)]
    one_transaction: bool,
}

const PATIENCE: Duration = Duration::from_secs(900);
/// Between two looks at a process' metrics; the resolution of the times below.
const STEP: Duration = Duration::from_millis(20);

/// Starts a stack of its own, measures, ends it. `binary` is the `towpath` to measure.
///
/// # Errors
/// When a service does not start, or the pipeline does not carry everything.
pub async fn run(arguments: &Arguments, binary: &Path, as_json: bool) -> Result<()> {
    let plan = Plan { one_transaction: arguments.one_transaction, ..Plan::for_rows(arguments.rows) };
    let clusters: &[&str] = if arguments.kafka_only { &[] } else { &["full"] };
    let builder = Stack::builder().kafka(1).zookeeper(1).es(clusters);
    let (stack, workload) = filled::start(builder, plan).await?;
    let pipeline = pipeline(&stack, arguments, workload.start)?;
    eprintln!("dump …");
    let dumped = dump::fastest(&stack.mysql()?.url(), 2).await?;
    if arguments.warm {
        eprintln!("binlog → Kafka, not measured …");
        let warm = Pipeline { name: "warm".to_owned(), ..pipeline.clone() };
        carry(&warm, &stack, binary, DEPLOYER, plan.rows()).await?;
    }
    eprintln!("binlog → Kafka …");
    let kafka = carry(&pipeline, &stack, binary, DEPLOYER, plan.rows()).await?;
    let documents = plan.order_rows() as f64;
    let mut search = Value::Null;
    if !arguments.kafka_only {
        eprintln!("Kafka → Elasticsearch …");
        let carried = carry(&pipeline, &stack, binary, ADAPTER, plan.order_rows()).await?;
        search = json!({
            "documents_per_s": (documents / carried.seconds).round(),
            "cpu_s_per_million_rows": round(carried.cpu_s / documents * 1e6),
            "peak_rss_mb": round(carried.peak_rss as f64 / 1e6),
        });
    }
    let mb = dumped.bytes as f64 / 1e6;
    let rows = plan.rows() as f64;
    let result = json!({
        "rows": plan.rows(),
        "binlog_mb": round(mb),
        "fencing": arguments.fencing,
        "record": arguments.record,
        "partitions": arguments.partitions,
        "tls": arguments.tls,
        "warm": arguments.warm,
        "one_transaction": arguments.one_transaction,
        "mysql": workload.server,
        "dump": { "rows_per_s": (rows / dumped.seconds).round(), "mb_per_s": round(dumped.mb_per_s()) },
        "kafka": {
            "rows_per_s": (rows / kafka.seconds).round(),
            "mb_per_s": round(mb / kafka.seconds),
            "cpu_s_per_million_rows": round(kafka.cpu_s / rows * 1e6),
            "peak_rss_mb": round(kafka.peak_rss as f64 / 1e6),
        },
        "elasticsearch": search,
    });
    if as_json {
        println!("{result}")
    } else {
        println!("{}", table(&result))
    }
    stack.stop().await
}

/// A role with the metrics that tell how far it is: rows taken in, and bytes whose outcome is still open.
#[derive(Clone, Copy)]
struct Role {
    name: &'static str,
    rows: &'static str,
    open: &'static str,
}

const DEPLOYER: Role = Role { name: "deployer", rows: "towpath_rows_total", open: "towpath_in_flight_bytes" };
const ADAPTER: Role = Role { name: "adapter", rows: "towpath_sink_rows_total", open: "towpath_sink_buffered_bytes" };

struct Carried {
    seconds: f64,
    cpu_s: f64,
    peak_rss: u64,
}

/// Runs one role until all rows are through; timed from the last look at which there were none.
async fn carry(pipeline: &Pipeline, stack: &Stack, binary: &Path, role: Role, rows: u64) -> Result<Carried> {
    let (config, admin) = pipeline.write(stack.folder(), role.name)?;
    let log: PathBuf = stack.folder().join(format!("towpath-{}.log", role.name));
    let mut towpath = Towpath::start(binary, &config, role.name, admin, &log, &[])?;
    let deadline = Instant::now() + PATIENCE;
    let mut begun = Instant::now();
    let (mut seen, mut idle_cpu) = (0.0, 0.0);
    loop {
        if let Some(status) = towpath.ended()? {
            bail!("towpath {} ended with {status}; its log ends:\n{}", role.name, towpath.log_tail());
        }
        if Instant::now() >= deadline {
            bail!("{} carried {seen} of {rows} rows in {PATIENCE:?}; its log ends:\n{}", role.name, towpath.log_tail());
        }
        let open = match towpath.metrics().await {
            Ok(series) => {
                seen = sum(&series, role.rows);
                sum(&series, role.open)
            }
            // The admin server is not up yet.
            Err(_) => 1.0,
        };
        if seen == 0.0 {
            begun = Instant::now();
            idle_cpu = towpath.usage()?.cpu_s;
        }
        if seen >= rows as f64 && open == 0.0 {
            let seconds = begun.elapsed().as_secs_f64();
            let usage = towpath.usage()?;
            let status = towpath.stop(Duration::from_secs(30)).await.context("stopping")?;
            if !status.success() {
                bail!("towpath {} ended with {status}", role.name);
            }
            return Ok(Carried { seconds, cpu_s: usage.cpu_s - idle_cpu, peak_rss: usage.peak_rss });
        }
        tokio::time::sleep(STEP).await;
    }
}

fn pipeline(stack: &Stack, arguments: &Arguments, start: String) -> Result<Pipeline> {
    let sinks = match arguments.kafka_only {
        true => Vec::new(),
        false => vec![Sink {
            name: "full".to_owned(),
            elasticsearch: stack.es("full")?.url(),
            index: "full".to_owned(),
            table: format!("{DATABASE}.order_main"),
            when: None,
        }],
    };
    Ok(Pipeline {
        partitions: arguments.partitions,
        fencing: arguments.fencing.clone(),
        record: arguments.record.clone(),
        tls: arguments.tls.clone(),
        ..Pipeline::with_sinks(stack, DATABASE, start, sinks)?
    })
}

fn table(result: &Value) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["stage", "per second", "MB/s", "CPU s per million", "peak MB"]);
    let figure = |stage: &str, key: &str| match &result[stage][key] {
        Value::Null => Cell::new("–"),
        value => Cell::new(value),
    };
    for (stage, label, rate) in [
        ("dump", "dump, thrown away (rows)", "rows_per_s"),
        ("kafka", "binlog → Kafka (rows)", "rows_per_s"),
        ("elasticsearch", "Kafka → Elasticsearch (documents)", "documents_per_s"),
    ] {
        let figures = [rate, "mb_per_s", "cpu_s_per_million_rows", "peak_rss_mb"];
        let cells = figures.map(|key| figure(stage, key).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(label)).chain(cells));
    }
    table
}
