//! `bench decode`: how fast the workload's binlog becomes rows, and rows records, beside the bare dump and
//! `mysqlbinlog`; all in one run, each decoder on one core.
//!
//! Our decoders read the server's files from the page cache, in blocks, and verify every checksum. Must not know the
//! pipeline.

use anyhow::{Context, Result, bail, ensure};
use comfy_table::{CellAlignment, Table};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use towpath_engine::binlog::file::{FileEvent, FileReader};
use towpath_engine::binlog::{Decoder, Event, EventHeader, GeometryText, RowsEvent};
use towpath_engine::format::{EventContext, FlatConfig, FlatWriter, RecordBuffer, RecordFormat, RecordMode};
use towpath_engine::routing::{PartitionBy, Router};

use super::filled::{self, DATABASE};
use super::load::Plan;
use super::{dump, round};
use crate::Stack;
use crate::install::{Package, installed};
use crate::native::Unpacked;

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Row changes in the binlog
    #[arg(long, default_value_t = 3_500_000)]
    rows: u64,
    /// How often each is measured (mysqlbinlog once); the fastest counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// Starts a MySQL of its own, measures, ends it.
///
/// # Errors
/// When the server does not start, or something cannot be decoded.
pub async fn run(arguments: &Arguments, as_json: bool) -> Result<()> {
    let plan = Plan::for_rows(arguments.rows);
    let (stack, workload) = filled::start(Stack::builder(), plan).await?;
    let files = files(&stack.mysql()?.data_folder())?;
    eprintln!("dump …");
    let dumped = dump::fastest(&stack.mysql()?.url(), arguments.rounds).await?;
    stack.mysql()?.service().stop().await?;
    let mb = dumped.bytes as f64 / 1e6;
    eprintln!("decode …");
    let rows_only = fastest(arguments.rounds, || decode(&files, plan))?;
    let flat = fastest(arguments.rounds, || decode_flat(&files, plan))?;
    eprintln!("mysqlbinlog …");
    let theirs = mysqlbinlog(&files)?;
    let result = json!({
        "rows": plan.rows(),
        "binlog_mb": round(mb),
        "mysql": workload.server,
        "dump_mb_per_s": round(dumped.mb_per_s()),
        "mysqlbinlog_mb_per_s": round(mb / theirs),
        "decode_mb_per_s": round(mb / rows_only),
        "decode_flat_mb_per_s": round(mb / flat),
    });
    if as_json {
        println!("{result}");
    } else {
        println!("{}", table(plan, mb, [dumped.seconds, theirs, rows_only, flat]));
    }
    stack.stop().await
}

fn table(plan: Plan, mb: f64, seconds: [f64; 4]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["", "MB/s", "rows/s", "of the dump"]);
    let names = ["dump over TCP, thrown away", "mysqlbinlog -vv", "decode", "decode and FlatMessage"];
    for (name, taken) in names.into_iter().zip(seconds) {
        let rate = format!("{:.0}", mb / taken);
        let rows = format!("{:.0}", plan.rows() as f64 / taken);
        table.add_row([name.to_owned(), rate, rows, format!("{:.2}", seconds[0] / taken)]);
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn files(data: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(data).with_context(|| format!("cannot list {}", data.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.strip_prefix("binlog.").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Seconds of the fastest of several rounds.
fn fastest(rounds: u32, mut round: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..rounds.max(1) {
        let begun = Instant::now();
        round()?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Every event of a file, in order, its checksum verified.
fn for_each(path: &Path, mut each: impl FnMut(&FileEvent<'_>) -> Result<()>) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = FileReader::new();
    let mut block = vec![0; BLOCK];
    loop {
        let read = file.read(&mut block)?;
        reader.push(&block[..read]);
        while let Some(event) = reader.next_event()? {
            each(&event)?;
        }
        if read == 0 {
            reader.finish()?;
            return Ok(());
        }
    }
}

/// Gives every rows event of the workload's database to `each`.
fn for_each_rows(
    files: &[PathBuf],
    plan: Plan,
    mut each: impl FnMut(RowsEvent<'_>, &EventHeader) -> Result<u64>,
) -> Result<()> {
    let mut decoder = Decoder::new(|database, _| database == DATABASE);
    let mut rows = 0;
    for file in files {
        for_each(file, |found| {
            if let Event::Rows(event) = decoder.decode(found.raw)? {
                rows += each(event, &found.header)?;
            }
            Ok(())
        })?;
    }
    ensure!(rows == plan.rows(), "{rows} rows were decoded, {} were written", plan.rows());
    Ok(())
}

fn decode(files: &[PathBuf], plan: Plan) -> Result<()> {
    for_each_rows(files, plan, |mut event, _| {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut rows = 0;
        while event.read_row(&mut before, &mut after)? {
            rows += 1;
            std::hint::black_box((&before, &after));
        }
        Ok(rows)
    })
}

/// As the deployer writes them by default: the rows of an event that go to one of four partitions are one record.
fn decode_flat(files: &[PathBuf], plan: Plan) -> Result<()> {
    let mut writer = FlatWriter::new(FlatConfig {
        pipeline: DATABASE.to_owned(),
        router: Router::new(PartitionBy::Columns(vec!["order_id".to_owned()]), 4),
        mode: RecordMode::Event,
        canal_quirks: false,
        geometry: GeometryText::default(),
        max_record_bytes: 900_000,
    });
    let mut out = RecordBuffer::new();
    let mut offset = 0;
    for_each_rows(files, plan, |event, header| {
        offset += u64::from(header.size);
        let context = EventContext {
            epoch: 1,
            offset,
            term: 1,
            gtid: "3e11fa47-71ca-11e1-9e33-c80aa9429562:23",
            server: "3e11fa47-71ca-11e1-9e33-c80aa9429562",
            executed: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23",
            id: 1,
            es_ms: u64::from(header.timestamp) * 1000,
            ts_ms: 0,
        };
        out.clear();
        writer.write(event, &context, &mut out)?;
        Ok(out.iter().map(|record| u64::from(record.rows)).sum())
    })
}

/// Seconds of the server's own tool for the same files, its output thrown away.
fn mysqlbinlog(files: &[PathBuf]) -> Result<f64> {
    let unpacked = Unpacked::at(&installed(&Package::Mysql)?);
    let mut command = Command::new(unpacked.program());
    command.args(unpacked.arguments("usr/bin/mysqlbinlog"));
    command.args(["--no-defaults", "-vv"]).args(files).stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let status = command.status().context("cannot start mysqlbinlog")?;
    if !status.success() {
        bail!("mysqlbinlog ended with {status}");
    }
    Ok(begun.elapsed().as_secs_f64())
}
