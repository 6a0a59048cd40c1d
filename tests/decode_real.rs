//! On the real servers: every column type, written by SQL, decoded from the server's own binlog as the source delivers
//! it, must give what the server's SELECT gives, with column names from the binlog and from information_schema.
//!
//! With `TOWPATH_RECORD=FOLDER` the MySQL run also writes the recorded binlogs that the engine's fast test reads.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use towpath_connectors::mysql::{MySqlSource, SourceConfig};
use towpath_engine::binlog::{Decoder, Event, EventHeader};
use towpath_engine::ports::source::{BinlogSource, DumpRequest};
use towpath_engine::position::{FilePosition, Position};
use towpath_stack::Stack;

#[path = "../engine/src/binlog/testdata/replay.rs"]
mod replay;
use replay::Replay;

const TYPES: &str = include_str!("../engine/src/binlog/testdata/types.sql");
const TYPES_MYSQL: &str = include_str!("../engine/src/binlog/testdata/types_mysql.sql");
const TYPES_MARIADB: &str = include_str!("../engine/src/binlog/testdata/types_mariadb.sql");
const TYPES_LARGE: &str = include_str!("../engine/src/binlog/testdata/types_large.sql");

/// One run: a server, a setting, and the statements.
struct Run<'s> {
    root_url: String,
    database: &'s str,
    metadata: &'s str,
    scripts: &'s [&'s str],
}

impl Run<'_> {
    /// Writes, decodes and compares; returns the number of values compared and the files that hold the events.
    async fn compare(&self) -> Result<(usize, FilePosition)> {
        let source = MySqlSource::new(SourceConfig::from_url(&self.root_url)?)?;
        let mut conn = Conn::from_url(&self.root_url).await?;
        conn.query_drop(format!("SET GLOBAL binlog_row_metadata = {}", self.metadata)).await?;
        conn.query_drop("FLUSH BINARY LOGS").await?;
        let start = source.identify().await?.end;
        self.write().await?;
        let end = source.identify().await?.end;
        ensure!(start.file == end.file, "the binlog rotated from {start} to {end} during the test");
        let database = self.database.to_owned();
        let accept = move |name: &str, _: &str| name == database;
        let mut decoder = Decoder::new(accept.clone());
        if self.metadata != "FULL" {
            // The statements change no definition after a table's first row: what it is now holds for all events.
            decoder.set_schemas(source.table_schemas(&accept).await?.tables);
        }
        let replay = replay_from(&source, &mut decoder, &start, &end).await?;
        let compared = replay.compare(&self.expected(&mut conn).await?);
        conn.disconnect().await?;
        Ok((compared, start))
    }

    async fn write(&self) -> Result<()> {
        let mut conn = Conn::from_url(&self.root_url).await?;
        let database = self.database;
        conn.query_drop(format!("DROP DATABASE IF EXISTS {database}")).await?;
        conn.query_drop(format!("CREATE DATABASE {database} DEFAULT CHARACTER SET utf8mb4")).await?;
        conn.query_drop(format!("USE {database}")).await?;
        for statement in self.scripts.iter().flat_map(|script| statements(script)) {
            conn.query_drop(&statement).await.with_context(|| statement.clone())?;
        }
        Ok(conn.disconnect().await?)
    }

    /// What SELECT says, in the form of `replay.rs`.
    async fn expected(&self, conn: &mut Conn) -> Result<String> {
        let database = self.database;
        conn.query_drop("SET time_zone = '+00:00', sql_mode = ''").await?;
        conn.query_drop(format!("USE {database}")).await?;
        let columns: Vec<(String, String, String, String)> = conn
            .query(format!(
                "SELECT table_name, column_name, data_type, column_type FROM information_schema.columns \
                 WHERE table_schema = '{database}' ORDER BY table_name, ordinal_position"
            ))
            .await?;
        let mut expected = String::new();
        for (table, column, data_type, column_type) in columns {
            let (kind, text) = text_of(&column, &data_type, &column_type);
            let rows: Vec<Row> =
                conn.query(format!("SELECT CAST(id AS CHAR), HEX({text}) FROM `{table}` ORDER BY id")).await?;
            for mut row in rows {
                let id: String = row.take(0).context("an id")?;
                let hex: Option<String> = row.take(1).context("a text")?;
                let hex = hex.unwrap_or_else(|| "NULL".into());
                expected.push_str(&format!("{table}\t{id}\t{column}\t{kind}\t{hex}\n"));
            }
        }
        Ok(expected)
    }
}

/// The kind of comparison, and the expression whose bytes are compared.
fn text_of(column: &str, data_type: &str, column_type: &str) -> (char, String) {
    match data_type {
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry" | "point" | "vector" => {
            ('B', format!("`{column}`"))
        }
        // Shown with six digits only.
        "float" => ('F', format!("CAST(CAST(`{column}` AS DOUBLE) AS CHAR)")),
        "double" if column_type.contains('(') => ('D', format!("CAST(CAST(`{column}` AS DOUBLE) AS CHAR)")),
        "bit" => ('T', format!("CAST(CAST(`{column}` AS UNSIGNED) AS CHAR)")),
        _ => ('T', format!("CAST(`{column}` AS CHAR CHARACTER SET utf8mb4)")),
    }
}

fn statements(script: &str) -> Vec<String> {
    let lines = script.lines().filter(|line| !line.starts_with("--") && !line.is_empty());
    let (mut all, mut current) = (Vec::new(), String::new());
    for line in lines {
        current.push_str(line);
        current.push('\n');
        if line.ends_with(';') {
            all.push(std::mem::take(&mut current));
        }
    }
    all
}

/// Reads and decodes all events between two positions of one file.
async fn replay_from(
    source: &MySqlSource,
    decoder: &mut Decoder,
    start: &FilePosition,
    end: &FilePosition,
) -> Result<Replay> {
    let mut stream = source
        .dump(DumpRequest {
            from: Position::File(FilePosition::new(start.file.clone(), 4)),
            server_id: 990_001,
            heartbeat: Duration::from_secs(1),
            read_deadline: Duration::from_secs(20),
        })
        .await?;
    let mut replay = Replay::default();
    loop {
        let batch = stream.next().await?;
        for raw in batch.events() {
            let header = EventHeader::parse(raw)?;
            if let Event::Rows(event) = decoder.decode(raw)? {
                replay.apply(event);
            }
            if !header.is_artificial() && u64::from(header.log_pos) >= end.position {
                return Ok(replay);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_values_are_what_select_says() -> Result<()> {
    let stack = Stack::builder().mysql().start().await?;
    let root_url = stack.mysql()?.root_url();
    let run = |database, metadata, scripts| Run { root_url: root_url.clone(), database, metadata, scripts };
    for metadata in ["MINIMAL", "FULL"] {
        let (compared, _) = run("types", metadata, &[TYPES, TYPES_MYSQL, TYPES_LARGE]).compare().await?;
        println!("MySQL, binlog_row_metadata={metadata}: {compared} values equal");
        ensure!(compared > 480, "only {compared} values compared");
    }
    if let Ok(folder) = std::env::var("TOWPATH_RECORD") {
        record(&stack, &run, Path::new(&folder)).await?;
    }
    stack.stop().await?;
    Ok(())
}

/// Writes the engine's recorded binlogs, without the large values.
async fn record<'r>(
    stack: &Stack,
    run: &impl Fn(&'r str, &'r str, &'r [&'r str]) -> Run<'r>,
    folder: &Path,
) -> Result<()> {
    for (metadata, name) in [("MINIMAL", "types_minimal.binlog"), ("FULL", "types_full.binlog")] {
        let run = run("types", metadata, &[TYPES, TYPES_MYSQL]);
        let (_, start) = run.compare().await?;
        let mut conn = Conn::from_url(&run.root_url).await?;
        conn.query_drop("FLUSH BINARY LOGS").await?;
        std::fs::copy(stack.mysql()?.data_folder().join(&start.file), folder.join(name))?;
        std::fs::write(folder.join("types_expected.tsv"), run.expected(&mut conn).await?)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_values_are_what_select_says() -> Result<()> {
    let stack = Stack::builder().mariadb().start().await?;
    let root_url = stack.mariadb()?.root_url();
    for metadata in ["MINIMAL", "FULL", "NO_LOG"] {
        let run = Run { root_url: root_url.clone(), database: "types", metadata, scripts: &[TYPES, TYPES_MARIADB] };
        let (compared, _) = run.compare().await?;
        println!("MariaDB, binlog_row_metadata={metadata}: {compared} values equal");
        ensure!(compared > 400, "only {compared} values compared");
    }
    stack.stop().await?;
    Ok(())
}
