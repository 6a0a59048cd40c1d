//! What a row costs, counted instead of timed: allocations, and instructions where valgrind is installed.
//!
//! Counts are the same on a busy and on a quiet machine, so they can be judged where a clock could not. Input: a binlog
//! of the order workload recorded from MySQL 9.7, repeated in memory. The instructions' baseline is
//! benches/instructions.json; docs/performance.md says how to renew it.

use std::path::{Path, PathBuf};
use std::process::Command;

use towpath_engine::binlog::{Decoder, Event, EventHeader, EventType, GeometryText};
use towpath_engine::format::{EventContext, FlatConfig, FlatWriter, RecordBuffer, RecordFormat, RecordMode};
use towpath_engine::routing::{PartitionBy, Router};

const ORDERS: &[u8] = include_bytes!("../engine/src/binlog/testdata/orders.binlog");
const BASELINE: &str = "benches/instructions.json";
/// Says to the test `instructions` that it runs under valgrind: a stage, and how often the binlog is repeated.
const WORKER: &str = "TOWPATH_COST_WORKER";
const STAGES: [&str; 2] = ["decode", "flat"];
/// More than this above the baseline is a regression; compilers differ by less.
const TOLERANCE: f64 = 1.15;

/// The recorded events, checksums cut.
fn events() -> Vec<&'static [u8]> {
    let mut events = Vec::new();
    let mut rest = &ORDERS[4..];
    while !rest.is_empty() {
        let header = EventHeader::parse(rest).expect("a recorded event");
        let (event, next) = rest.split_at(header.size as usize);
        if header.event_type != EventType::ROTATE {
            events.push(&event[..event.len() - 4]);
        }
        rest = next;
    }
    events
}

/// The same without the format description, which makes a decoder forget its tables: what comes again and again.
fn repeated(events: &[&'static [u8]]) -> Vec<&'static [u8]> {
    let described =
        |raw: &&[u8]| EventHeader::parse(raw).expect("an event").event_type == EventType::FORMAT_DESCRIPTION;
    events.iter().copied().filter(|raw| !described(raw)).collect()
}

/// Decodes all rows of the events; how many there were.
fn decode(events: &[&[u8]], decoder: &mut Decoder) -> u64 {
    let mut rows = 0;
    for raw in events {
        let Event::Rows(mut event) = decoder.decode(raw).expect("a recorded event") else { continue };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        while event.read_row(&mut before, &mut after).expect("a recorded row") {
            rows += 1;
            std::hint::black_box((&before, &after));
        }
    }
    rows
}

fn writer() -> FlatWriter {
    FlatWriter::new(FlatConfig {
        pipeline: "orders".to_owned(),
        router: Router::new(PartitionBy::PrimaryKey, 4),
        mode: RecordMode::Event,
        canal_quirks: false,
        geometry: GeometryText::default(),
        max_record_bytes: 900_000,
    })
}

/// Decodes all rows into records; rows, and rows events.
fn flat(events: &[&[u8]], decoder: &mut Decoder, writer: &mut FlatWriter, out: &mut RecordBuffer) -> (u64, u64) {
    let (mut rows, mut rows_events) = (0, 0);
    for raw in events {
        let Event::Rows(event) = decoder.decode(raw).expect("a recorded event") else { continue };
        let context = EventContext {
            epoch: 1,
            offset: 4096,
            term: 1,
            gtid: "3e11fa47-71ca-11e1-9e33-c80aa9429562:23",
            server: "3e11fa47-71ca-11e1-9e33-c80aa9429562",
            executed: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23",
            id: 1,
            es_ms: 0,
            ts_ms: 0,
        };
        out.clear();
        writer.write(event, &context, out).expect("a recorded row");
        rows += out.iter().map(|record| u64::from(record.rows)).sum::<u64>();
        rows_events += 1;
    }
    (rows, rows_events)
}

/// A row allocates nothing: what is allocated depends on the number of events, whatever rows they hold.
#[test]
fn rows_become_records_without_an_allocation() {
    let events = events();
    let mut decoder = Decoder::new(|_, _| true);
    let (mut writer, mut out) = (writer(), RecordBuffer::new());
    let (rows, rows_events) = flat(&events, &mut decoder, &mut writer, &mut out);
    assert!(rows > 4 * rows_events, "{rows} rows in {rows_events} events: too few to tell rows from events");
    let events = repeated(&events);
    let counted = allocation_counter::measure(|| {
        flat(&events, &mut decoder, &mut writer, &mut out);
    });
    println!("{rows} rows in {rows_events} events: {} allocations", counted.count_total);
    // For each event the two lists that a row is split into, and what its query and GTID events say.
    assert!(counted.count_total <= 4 * rows_events, "{} allocations for {rows} rows", counted.count_total);
}

/// The instructions of one row stay near the baseline.
#[test]
fn a_row_takes_no_more_instructions_than_the_baseline_says() {
    if let Ok(work) = std::env::var(WORKER) {
        let (stage, copies) = work.split_once(' ').expect("a stage and a number");
        return work_off(stage, copies.parse().expect("a number"));
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("SKIPPED: valgrind is not installed, so that no instructions are counted (apt-get install valgrind)");
        return;
    }
    if cfg!(debug_assertions) {
        eprintln!("SKIPPED: instructions of an unoptimised build say nothing");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(BASELINE);
    let counted: serde_json::Map<_, _> =
        STAGES.iter().map(|stage| ((*stage).to_owned(), per_row(stage).into())).collect();
    println!("instructions per row: {counted:?}");
    if std::env::var_os("TOWPATH_RENEW_BASELINE").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&counted).expect("numbers") + "\n").expect("a baseline");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let baseline: serde_json::Value = serde_json::from_str(&text).expect("a baseline in JSON");
    for stage in STAGES {
        let (now, then) = (counted[stage].as_f64().unwrap_or_default(), baseline[stage].as_f64().unwrap_or_default());
        assert!(now > 0.0 && now <= then * TOLERANCE, "{stage}: {now} instructions per row, the baseline is {then}");
    }
}

/// Instructions that a row takes when all is warm: the difference of two runs, so that neither start nor end counts.
fn per_row(stage: &str) -> f64 {
    const FEW: u64 = 2;
    const MANY: u64 = 12;
    let rows = decode(&events(), &mut Decoder::new(|_, _| true));
    let (few, many) = (instructions(stage, FEW), instructions(stage, MANY));
    ((many - few) as f64 / ((MANY - FEW) * rows) as f64).round()
}

/// Runs this very test as a worker under callgrind and reads the count.
fn instructions(stage: &str, copies: u64) -> u64 {
    let out: PathBuf = std::env::temp_dir().join(format!("towpath-cost-{}-{stage}-{copies}", std::process::id()));
    let this = std::env::current_exe().expect("a path of this program");
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .args(["--exact", "a_row_takes_no_more_instructions_than_the_baseline_says", "--test-threads=1"])
        .env(WORKER, format!("{stage} {copies}"))
        .output()
        .expect("valgrind runs");
    // Nobody reads the profile; a worker that died early wrote none, and is reported below.
    std::fs::remove_file(&out).ok();
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind counted nothing ({}):\n{said}", output.status))
}

fn work_off(stage: &str, copies: u64) {
    let events = events();
    let mut decoder = Decoder::new(|_, _| true);
    let (mut writer, mut out) = (writer(), RecordBuffer::new());
    decode(&events, &mut decoder);
    let events = repeated(&events);
    for _ in 0..copies {
        match stage {
            "decode" => drop(std::hint::black_box(decode(&events, &mut decoder))),
            _ => drop(std::hint::black_box(flat(&events, &mut decoder, &mut writer, &mut out))),
        }
    }
}
