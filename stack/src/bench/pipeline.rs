//! `bench pipeline`: the bare dump, binlog → Kafka, Kafka → Elasticsearch, on one workload and in one run.

use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};
use mysql_async::{Conn, Opts};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use towpath_connectors::{MySqlSource, SourceConfig};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::source::{BinlogSource, DumpRequest};
use towpath_engine::position::Position;

use super::load::{self, Plan};
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
}

const NAME: &str = "orders";
const PATIENCE: Duration = Duration::from_secs(900);
/// Between two looks at a process' metrics; the resolution of the times below.
const STEP: Duration = Duration::from_millis(20);

/// Starts a stack of its own, measures, ends it. `binary` is the `towpath` to measure.
///
/// # Errors
/// When a service does not start, or the pipeline does not carry everything.
pub async fn run(arguments: &Arguments, binary: &Path, as_json: bool) -> Result<()> {
    let stack = Stack::builder()
        .mysql()
        .mysql_options(&[
            "--sync-binlog=0",
            "--innodb-flush-log-at-trx-commit=0",
            "--max-binlog-size=1G",
            "--binlog-row-metadata=FULL",
        ])
        .kafka(1)
        .zookeeper(1)
        .es(&["full"])
        .start()
        .await?;
    let plan = Plan::for_rows(arguments.rows);
    let start = fill(&stack, plan).await?;
    let pipeline = pipeline(&stack, arguments, start)?;
    let (dump_s, dump_bytes) = dump(&stack).await?;
    let report = |what: &str| eprintln!("{what} …");
    report("binlog → Kafka");
    let kafka = carry(&pipeline, &stack, binary, DEPLOYER, plan.rows()).await?;
    report("Kafka → Elasticsearch");
    let documents = plan.orders + plan.updates;
    let search = carry(&pipeline, &stack, binary, ADAPTER, plan.rows()).await?;
    let mb = dump_bytes as f64 / 1e6;
    let rows = plan.rows() as f64;
    let result = json!({
        "rows": plan.rows(),
        "binlog_mb": round(mb),
        "fencing": arguments.fencing,
        "record": arguments.record,
        "partitions": arguments.partitions,
        "dump": { "rows_per_s": (rows / dump_s).round(), "mb_per_s": round(mb / dump_s) },
        "kafka": {
            "rows_per_s": (rows / kafka.seconds).round(),
            "mb_per_s": round(mb / kafka.seconds),
            "cpu_s_per_million_rows": round(kafka.cpu_s / rows * 1e6),
            "peak_rss_mb": round(kafka.peak_rss as f64 / 1e6),
        },
        "elasticsearch": {
            "documents_per_s": (documents as f64 / search.seconds).round(),
            "cpu_s_per_million_rows": round(search.cpu_s / documents as f64 * 1e6),
            "peak_rss_mb": round(search.peak_rss as f64 / 1e6),
        },
    });
    if as_json {
        println!("{result}")
    } else {
        println!("{}", table(&result))
    }
    stack.stop().await
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Creates and fills the tables; gives the position between the two.
async fn fill(stack: &Stack, plan: Plan) -> Result<String> {
    let style = ProgressStyle::with_template("filling MySQL {bar:40} {pos}/{len} rows, {per_sec}, {eta} left")?;
    let bar = ProgressBar::new(plan.rows()).with_style(style);
    let mut conn = Conn::new(Opts::from_url(&stack.mysql()?.root_url())?).await?;
    let start = load::create(&mut conn, NAME).await?;
    load::load(&mut conn, plan, &|rows| bar.inc(rows)).await?;
    conn.disconnect().await?;
    bar.finish_and_clear();
    Ok(start)
}

/// Streams the whole binlog and throws it away: what the server and loopback give at most.
async fn dump(stack: &Stack) -> Result<(f64, u64)> {
    let source = MySqlSource::new(SourceConfig::from_url(&stack.mysql()?.url())?)?;
    let end = source.identify().await?.end;
    let begun = Instant::now();
    let mut stream = source
        .dump(DumpRequest {
            from: Position::Gtid(GtidSet::default()),
            server_id: 4_000_000_001,
            heartbeat: Duration::from_secs(1),
            read_deadline: Duration::from_secs(30),
        })
        .await?;
    let mut bytes = 0u64;
    let mut file = String::new();
    loop {
        let batch = stream.next().await?;
        bytes += batch.bytes.len() as u64;
        for event in batch.events() {
            let at =
                |from: usize| event.get(from..from + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            // ROTATE (type 4) names the next file behind its 8 bytes of position.
            if event.get(4) == Some(&4) {
                file = String::from_utf8_lossy(event.get(27..).unwrap_or_default()).into_owned();
            } else if file == end.file && u64::from(at(13)) >= end.position {
                return Ok((begun.elapsed().as_secs_f64(), bytes));
            }
        }
    }
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
    let sink = Sink {
        name: "full".to_owned(),
        elasticsearch: stack.es("full")?.url(),
        index: "full".to_owned(),
        table: format!("{NAME}.order_main"),
        when: None,
    };
    Ok(Pipeline {
        name: NAME.to_owned(),
        start,
        source: stack.mysql()?.url(),
        kafka: stack.kafka()?.bootstrap(),
        zookeeper: stack.zookeeper()?.servers(),
        sinks: vec![sink],
        partitions: arguments.partitions,
        fencing: arguments.fencing.clone(),
        record: arguments.record.clone(),
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
