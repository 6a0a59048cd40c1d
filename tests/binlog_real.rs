//! `towpath binlog --format count` agrees with the servers' own tools on every file they write, under each setting:
//! on MySQL with `mysqlbinlog`, events and rows; on MariaDB, whose tool is no part of the stack, events with SHOW
//! BINLOG EVENTS and rows with what the statements affected. Read from the live server, the rows are the same, from
//! each place where one can start.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use towpath_stack::{Mysql, Stack, paths};

/// Rows by table and operation.
type Rows = BTreeMap<(String, String), u64>;

/// Events by type, and rows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    events: BTreeMap<String, u64>,
    rows: Rows,
}

const MYSQL: &[&str] = &[
    "SET GLOBAL binlog_row_metadata = 'FULL'",
    "SET GLOBAL binlog_row_metadata = 'MINIMAL'",
    "SET GLOBAL binlog_row_image = 'MINIMAL'",
    "SET GLOBAL binlog_row_image = 'NOBLOB'",
    "SET GLOBAL binlog_row_image = 'FULL'",
    "SET GLOBAL binlog_transaction_compression = ON",
    "SET GLOBAL binlog_transaction_compression = OFF",
    "SET GLOBAL binlog_rows_query_log_events = ON",
    "SET GLOBAL binlog_checksum = NONE",
    "SET GLOBAL binlog_checksum = CRC32",
];

const MARIADB: &[&str] = &[
    "SET GLOBAL binlog_row_metadata = 'FULL'",
    "SET GLOBAL binlog_row_metadata = 'NO_LOG'",
    "SET GLOBAL binlog_row_image = 'MINIMAL'",
    "SET GLOBAL binlog_row_image = 'FULL'",
    "SET GLOBAL log_bin_compress = ON",
    "SET GLOBAL log_bin_compress_min_len = 10",
    "SET GLOBAL log_bin_compress = OFF",
    "SET GLOBAL binlog_checksum = NONE",
    "SET GLOBAL binlog_checksum = CRC32",
];

/// Statements, each with the rows it changes in the binlog: table and operation.
const STATEMENTS: &[(&str, Option<(&str, &str)>)] = &[
    ("CREATE DATABASE IF NOT EXISTS counted", None),
    ("CREATE TABLE IF NOT EXISTS counted.a (id INT PRIMARY KEY AUTO_INCREMENT, t TEXT, e ENUM('x','y'))", None),
    ("CREATE TABLE IF NOT EXISTS counted.b (id INT PRIMARY KEY AUTO_INCREMENT, n BIGINT UNSIGNED)", None),
    ("BEGIN", None),
    ("INSERT INTO counted.a (t, e) VALUES (REPEAT('text ', 900), 'x'), (NULL, 'y'), ('', NULL)", Some(("a", "insert"))),
    ("INSERT INTO counted.b (n) VALUES (1), (18446744073709551615)", Some(("b", "insert"))),
    ("SAVEPOINT s", None),
    ("UPDATE counted.a SET e = 'x', t = CONCAT(COALESCE(t, ''), '!')", Some(("a", "update"))),
    ("COMMIT", None),
    ("DELETE FROM counted.b WHERE id % 2 = 0", Some(("b", "delete"))),
    (
        "INSERT INTO counted.b (n) SELECT n + 1 FROM (SELECT * FROM counted.b) AS old WHERE n < 100",
        Some(("b", "insert")),
    ),
];

/// Runs the statements under each setting, a file each; returns the rows the server said it changed.
async fn write(conn_url: &str, settings: &[&str]) -> Result<Rows> {
    let mut changed = BTreeMap::new();
    for setting in settings {
        let mut admin = Conn::from_url(conn_url).await?;
        admin.query_drop(*setting).await.with_context(|| (*setting).to_owned())?;
        admin.query_drop("FLUSH BINARY LOGS").await?;
        admin.disconnect().await?;
        let mut conn = Conn::from_url(conn_url).await?;
        for (statement, rows) in STATEMENTS {
            conn.query_drop(*statement).await.with_context(|| (*statement).to_owned())?;
            if let Some((table, operation)) = rows {
                *changed.entry((format!("counted.{table}"), (*operation).to_owned())).or_default() +=
                    conn.affected_rows();
            }
        }
        conn.disconnect().await?;
    }
    Ok(changed)
}

/// What `towpath binlog` prints of a file, or with the options that name a server.
fn printed(format: &str, from: &[&str]) -> Result<Vec<u8>> {
    let program = env!("CARGO_BIN_EXE_towpath");
    let output = Command::new(program).args(["binlog", "--format", format, "--json"]).args(from).output()?;
    ensure!(output.status.success(), "{from:?}: {}", String::from_utf8_lossy(&output.stdout));
    Ok(output.stdout)
}

fn ours(from: &[&str]) -> Result<Counts> {
    let value: Value = serde_json::from_slice(&printed("count", from)?)?;
    let mut counts = Counts::default();
    for (kind, count) in value["events"].as_object().context("events")? {
        counts.events.insert(kind.clone(), count["events"].as_u64().context("a count")?);
    }
    for (table, operations) in value["rows"].as_object().context("rows")? {
        for (operation, count) in operations.as_object().context("operations")? {
            match count.as_u64().context("a count")? {
                0 => {}
                count => drop(counts.rows.insert((table.clone(), operation.clone()), count)),
            }
        }
    }
    Ok(counts)
}

/// The live server gives the rows of the files: all of them, and from a set and from a place on those that came after.
fn live(url: &str, (gtid, place): &(String, String), all: &Rows, later: &Rows) -> Result<()> {
    for (start, expected) in [([].as_slice(), all), (&["--start-gtid", gtid], later), (&["--start", place], later)] {
        let from = [&["--server", url], start].concat();
        let rows = ours(&from)?.rows;
        ensure!(rows == *expected, "{from:?}: {rows:?}, changed by the statements {expected:?}");
        let lines = printed("rows", &from)?.iter().filter(|&&byte| byte == b'\n').count() as u64;
        ensure!(lines == expected.values().sum::<u64>(), "{from:?}: {lines} lines, {expected:?} rows");
    }
    println!("from the live server: {} rows, {} of them later", all.values().sum::<u64>(), later.values().sum::<u64>());
    Ok(())
}

/// With `--stop-never` a row is printed as it is written, and the counts when the user ends it.
async fn follow(url: &str, place: &str) -> Result<()> {
    let started = |format: &str| {
        Command::new(env!("CARGO_BIN_EXE_towpath"))
            .args(["binlog", "--server", url, "--start", place, "--stop-never", "--json", "--format", format])
            .stdout(Stdio::piped())
            .spawn()
    };
    let (mut rows, count) = (started("rows")?, started("count")?);
    let mut lines = BufReader::new(rows.stdout.take().context("its output")?).lines();
    let mut conn = Conn::from_url(url).await?;
    for n in [7_001, 7_002] {
        conn.query_drop(format!("INSERT INTO counted.b (n) VALUES ({n})")).await?;
        let seen = loop {
            let line = lines.next().context("it has ended")??;
            if line.contains(&n.to_string()) {
                break line;
            }
        };
        ensure!(seen.contains("\"op\":\"insert\""), "{seen}");
    }
    // Who reads by now also listens for signals.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let connections: Vec<Row> = conn.query("SHOW PROCESSLIST").await?;
        let reads = |row: &Row| row.get::<String, _>("Command").is_some_and(|what| what.starts_with("Binlog Dump"));
        if connections.iter().filter(|row| reads(row)).count() >= 2 {
            break;
        }
        ensure!(Instant::now() < deadline, "one of the two does not read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    conn.disconnect().await?;
    rows.kill()?;
    rows.wait()?;
    let pid = Pid::from_raw(count.id().cast_signed());
    kill(pid, Signal::SIGTERM)?;
    let output = count.wait_with_output()?;
    ensure!(output.status.success(), "ended by SIGTERM: {}", output.status);
    let counts: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(counts["rows"].is_object(), "no counts: {counts}");
    Ok(())
}

fn sum(mut one: Rows, other: &Rows) -> Rows {
    other.iter().for_each(|(place, count)| *one.entry(place.clone()).or_default() += count);
    one
}

/// Where the server is: its GTIDs, as `gtids` names them, and its file and position.
async fn now(conn_url: &str, gtids: &str, place: &str) -> Result<(String, String)> {
    let mut conn = Conn::from_url(conn_url).await?;
    let set: Option<String> = conn.query_first(format!("SELECT REPLACE(@@{gtids}, '\n', '')")).await?;
    let mut row: Row = conn.query_first(place).await?.context("a place")?;
    let (file, position): (Option<String>, Option<u64>) = (row.take(0), row.take(1));
    conn.disconnect().await?;
    Ok((set.context("a set")?, format!("{}:{}", file.context("a file")?, position.context("a position")?)))
}

/// What `mysqlbinlog -vv` prints, counted.
fn mysqlbinlog(file: &Path) -> Result<Counts> {
    let program = paths::cache_dir()?.join("bin/mysqlbinlog");
    let output = Command::new(program).args(["-vv", "--base64-output=DECODE-ROWS"]).arg(file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut counts = Counts::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((_, said)) = line.split_once(" end_log_pos ").filter(|_| line.starts_with('#')) {
            // The position, the checksum where there is one, then the event's name.
            let mut words =
                said.split(|c: char| c.is_whitespace() || c == ':' || c == '=').filter(|word| !word.is_empty());
            let name = words.by_ref().skip(1).find(|word| *word != "CRC32" && !word.starts_with("0x"));
            let name = match name.context("an event's name")? {
                "Start" => "Format_desc",
                "Previous-GTIDs" => "Previous_gtids",
                "GTID" => "Gtid",
                "Transaction_Payload" => "Transaction_payload",
                other => other,
            };
            *counts.events.entry(name.to_owned()).or_default() += 1;
        }
        for (words, operation) in [("INSERT INTO", "insert"), ("UPDATE", "update"), ("DELETE FROM", "delete")] {
            if let Some(table) = line.strip_prefix(&format!("### {words} `")) {
                let table = table.replace("`.`", ".").trim_end_matches('`').to_owned();
                *counts.rows.entry((table, operation.to_owned())).or_default() += 1;
            }
        }
    }
    Ok(counts)
}

async fn files(conn: &mut Conn) -> Result<Vec<String>> {
    let rows: Vec<Row> = conn.query("SHOW BINARY LOGS").await?;
    rows.into_iter().map(|mut row| row.take(0).context("a file's name")).collect()
}

/// The server's own list of a file's events.
async fn listed(conn: &mut Conn, file: &str) -> Result<BTreeMap<String, u64>> {
    let rows: Vec<Row> = conn.query(format!("SHOW BINLOG EVENTS IN '{file}'")).await?;
    let mut events = BTreeMap::new();
    for mut row in rows {
        let name: String = row.take("Event_type").context("an event's type")?;
        *events.entry(name).or_default() += 1;
    }
    Ok(events)
}

#[tokio::test(flavor = "multi_thread")]
async fn mysqls_files_count_as_mysqlbinlog_prints_them() -> Result<()> {
    let stack = Stack::builder().mysql().start().await?;
    let server: Mysql<'_> = stack.mysql()?;
    let (first, last) = MYSQL.split_at(MYSQL.len() / 2);
    let changed = write(&server.root_url(), first).await?;
    let between = now(&server.root_url(), "gtid_executed", "SHOW BINARY LOG STATUS").await?;
    let later = write(&server.root_url(), last).await?;
    let changed = sum(changed, &later);
    let mut conn = Conn::from_url(server.root_url()).await?;
    let (mut compared, mut rows) = (0, Rows::new());
    let files = files(&mut conn).await?;
    for name in &files {
        let path = server.data_folder().join(name);
        let (ours, theirs) = (ours(&[&path.to_string_lossy()])?, mysqlbinlog(&path)?);
        ensure!(ours == theirs, "{name}: towpath counts {ours:#?}, mysqlbinlog {theirs:#?}");
        compared += ours.events.values().sum::<u64>();
        for (place, count) in ours.rows {
            *rows.entry(place).or_insert(0) += count;
        }
    }
    ensure!(rows == changed, "rows in the files {rows:?}, changed by the statements {changed:?}");
    live(&server.root_url(), &between, &changed, &later)?;
    follow(&server.root_url(), &between.1).await?;
    println!("MySQL: {} files, {compared} events and {} rows agree", files.len(), rows.values().sum::<u64>());
    conn.disconnect().await?;
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadbs_files_count_as_the_server_lists_them() -> Result<()> {
    let stack = Stack::builder().mariadb().start().await?;
    let server: Mysql<'_> = stack.mariadb()?;
    let (first, last) = MARIADB.split_at(MARIADB.len() / 2);
    let changed = write(&server.root_url(), first).await?;
    let between = now(&server.root_url(), "gtid_binlog_pos", "SHOW MASTER STATUS").await?;
    let later = write(&server.root_url(), last).await?;
    let changed = sum(changed, &later);
    let mut conn = Conn::from_url(server.root_url()).await?;
    let (mut compared, mut rows) = (0, Rows::new());
    let files = files(&mut conn).await?;
    for name in &files {
        let ours = ours(&[&server.data_folder().join(name).to_string_lossy()])?;
        let (theirs, count) = (listed(&mut conn, name).await?, ours.events.values().sum::<u64>());
        // Names differ in places (the same number is `Gtid` here and there), so the numbers of each are compared.
        let sorted = |events: &BTreeMap<String, u64>| {
            let mut counts: Vec<u64> = events.values().copied().collect();
            counts.sort_unstable();
            counts
        };
        ensure!(
            sorted(&ours.events) == sorted(&theirs),
            "{name}: towpath counts {:#?}, the server {theirs:#?}",
            ours.events
        );
        compared += count;
        for (place, count) in ours.rows {
            *rows.entry(place).or_insert(0) += count;
        }
    }
    ensure!(rows == changed, "rows in the files {rows:?}, changed by the statements {changed:?}");
    live(&server.root_url(), &between, &changed, &later)?;
    follow(&server.root_url(), &between.1).await?;
    println!("MariaDB: {} files, {compared} events and {} rows agree", files.len(), rows.values().sum::<u64>());
    conn.disconnect().await?;
    stack.stop().await
}
