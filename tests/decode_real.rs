//! On the real servers: every column type, written by SQL, decoded from the server's own binlog as the source delivers
//! it, must give what the server's SELECT gives, with column names from the binlog and from information_schema.
//!
//! With `TOWPATH_RECORD=FOLDER` the MySQL run also writes the recorded binlogs that the engine's fast test reads.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use towpath_connectors::mysql::{MySqlSource, SourceConfig};
use towpath_engine::binlog::unpack::Unpacking;
use towpath_engine::binlog::{Decoder, Event, EventHeader, EventType};
use towpath_engine::ports::source::{BinlogSource, DumpRequest};
use towpath_engine::position::{FilePosition, Position};
use towpath_stack::Stack;

#[path = "../engine/src/binlog/testdata/replay.rs"]
mod replay;
use replay::Replay;

const TYPES: &str = include_str!("../engine/src/binlog/testdata/types.sql");
const TYPES_MYSQL: &str = include_str!("../engine/src/binlog/testdata/types_mysql.sql");
const TYPES_MARIADB: &str = include_str!("../engine/src/binlog/testdata/types_mariadb.sql");
const PATCHES_MYSQL: &str = include_str!("../engine/src/binlog/testdata/patches_mysql.sql");
const VALUES: &str = include_str!("../engine/src/binlog/testdata/values.sql");
const VALUES_MYSQL: &str = include_str!("../engine/src/binlog/testdata/values_mysql.sql");
const CHARSETS: &str = include_str!("../engine/src/binlog/testdata/charsets.sql");
const CHARSETS_MYSQL: &str = include_str!("../engine/src/binlog/testdata/charsets_mysql.sql");
const TYPES_LARGE: &str = include_str!("../engine/src/binlog/testdata/types_large.sql");

/// One run: a server, its settings, and the statements.
#[derive(Clone, Copy)]
struct Run<'s> {
    root_url: &'s str,
    /// `binlog_row_metadata`.
    metadata: &'s str,
    /// Further global variables, set for this run and set back to their defaults.
    settings: &'s [(&'s str, &'s str)],
    /// Whether events must arrive compressed.
    packed: bool,
    /// Whether JSON must arrive as changes of the document before.
    patches: bool,
    /// Whether rows must arrive that do not tell all their columns.
    partial: bool,
    scripts: &'s [&'s str],
}

const DATABASE: &str = "types";
/// The setting under which MySQL logs changes within JSON instead of the documents.
const PATCHES: (&str, &str) = ("binlog_row_value_options", "PARTIAL_JSON");

impl<'s> Run<'s> {
    /// Full row metadata, and nothing else set.
    fn plain(root_url: &'s str, scripts: &'s [&'s str]) -> Self {
        Self { root_url, metadata: "FULL", settings: &[], packed: false, patches: false, partial: false, scripts }
    }

    /// Writes, decodes and compares; returns the number of values compared and the place of the first event.
    async fn compare(&self) -> Result<(usize, FilePosition)> {
        let server: Arc<dyn BinlogSource> = Arc::new(MySqlSource::new(SourceConfig::from_url(self.root_url)?)?);
        let mut conn = Conn::from_url(self.root_url).await?;
        conn.query_drop(format!("SET GLOBAL binlog_row_metadata = {}", self.metadata)).await?;
        for (name, value) in self.settings {
            conn.query_drop(format!("SET GLOBAL {name} = {value}")).await?;
        }
        conn.query_drop("FLUSH BINARY LOGS").await?;
        let start = server.identify().await?.end;
        self.write().await?;
        let end = server.identify().await?.end;
        ensure!(start.file == end.file, "the binlog rotated from {start} to {end} during the test");
        for (name, _) in self.settings {
            conn.query_drop(format!("SET GLOBAL {name} = DEFAULT")).await?;
        }
        let accept = |database: &str, _: &str| database == DATABASE;
        let mut decoder = Decoder::new(accept);
        if self.metadata != "FULL" {
            // The statements change no definition after a table's first row: what it is now holds for all events.
            decoder.set_schemas(server.table_schemas(&accept).await?.tables);
        }
        let mut packed = 0;
        each_event(&*server, &start, &end, |raw| {
            packed += usize::from(is_packed(EventHeader::parse(raw)?.event_type));
            Ok(())
        })
        .await?;
        ensure!((packed > 0) == self.packed, "{packed} events arrived compressed");
        let (mut replay, mut patches) = (Replay::default(), 0);
        each_event(&Unpacking::new(server), &start, &end, |raw| {
            patches += usize::from(EventHeader::parse(raw)?.event_type == EventType::PARTIAL_UPDATE_ROWS);
            if let Event::Rows(event) = decoder.decode(raw)? {
                replay.apply(event);
            }
            Ok(())
        })
        .await?;
        ensure!((patches > 0) == self.patches, "{patches} events held changes within JSON");
        ensure!((replay.partial > 0) == self.partial, "{} events held partial rows", replay.partial);
        let compared = replay.compare(&self.expected(&mut conn).await?);
        conn.disconnect().await?;
        Ok((compared, start))
    }

    async fn write(&self) -> Result<()> {
        let mut conn = Conn::from_url(self.root_url).await?;
        conn.query_drop(format!("DROP DATABASE IF EXISTS {DATABASE}")).await?;
        conn.query_drop(format!("CREATE DATABASE {DATABASE} DEFAULT CHARACTER SET utf8mb4")).await?;
        conn.query_drop(format!("USE {DATABASE}")).await?;
        for statement in self.scripts.iter().flat_map(|script| statements(script)) {
            conn.query_drop(&statement).await.with_context(|| statement.clone())?;
        }
        Ok(conn.disconnect().await?)
    }

    /// What SELECT says, in the form of `replay.rs`.
    async fn expected(&self, conn: &mut Conn) -> Result<String> {
        conn.query_drop("SET time_zone = '+00:00', sql_mode = ''").await?;
        conn.query_drop(format!("USE {DATABASE}")).await?;
        let columns: Vec<(String, String, String, String)> = conn
            .query(format!(
                "SELECT table_name, column_name, data_type, column_type FROM information_schema.columns \
                 WHERE table_schema = '{DATABASE}' ORDER BY table_name, ordinal_position"
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
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => ('B', format!("`{column}`")),
        "vector" => ('V', format!("`{column}`")),
        "geometry" | "point" | "multipolygon" => {
            ('G', format!("ST_AsGeoJSON(`{column}`, 20, IF(ST_SRID(`{column}`) = 0, 0, 4))"))
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

fn is_packed(kind: EventType) -> bool {
    kind == EventType::TRANSACTION_PAYLOAD
        || (EventType::MARIADB_QUERY_COMPRESSED..=EventType::MARIADB_DELETE_ROWS_COMPRESSED).contains(&kind)
}

/// Reads all events between two positions of one file.
async fn each_event(
    source: &dyn BinlogSource,
    start: &FilePosition,
    end: &FilePosition,
    mut on: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut stream = source
        .dump(DumpRequest {
            from: Position::File(FilePosition::new(start.file.clone(), 4)),
            server_id: 990_001,
            heartbeat: Duration::from_secs(1),
            read_deadline: Duration::from_secs(20),
            beside: false,
            semi_sync: false,
            server: None,
        })
        .await?;
    let mut reached = false;
    loop {
        let batch = stream.next().await?;
        // The events of a compressed transaction all end where it ends: a full batch may have more of them behind it.
        for raw in batch.events() {
            on(raw)?;
            let header = EventHeader::parse(raw)?;
            reached |= !header.is_artificial() && u64::from(header.log_pos) >= end.position;
        }
        if reached && batch.bytes.len() < (1 << 20) {
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_values_are_what_select_says() -> Result<()> {
    let stack = Stack::builder().mysql().start().await?;
    let root_url = stack.mysql()?.root_url();
    let scripts = &[TYPES, TYPES_MYSQL, TYPES_LARGE, PATCHES_MYSQL, VALUES, VALUES_MYSQL, CHARSETS, CHARSETS_MYSQL];
    let plain = Run::plain(&root_url, scripts);
    for run in [
        Run { metadata: "MINIMAL", ..plain },
        plain,
        Run { settings: &[("binlog_transaction_compression", "ON")], packed: true, ..plain },
        Run { settings: &[("binlog_checksum", "NONE")], ..plain },
        Run { settings: &[PATCHES], patches: true, ..plain },
        Run { settings: &[PATCHES], patches: true, metadata: "MINIMAL", ..plain },
        Run { settings: &[("binlog_row_image", "MINIMAL")], partial: true, ..plain },
        Run { settings: &[("binlog_row_image", "NOBLOB")], partial: true, metadata: "MINIMAL", ..plain },
        Run { settings: &[PATCHES, ("binlog_transaction_compression", "ON")], packed: true, patches: true, ..plain },
    ] {
        let (compared, _) = run.compare().await.with_context(|| format!("{} {:?}", run.metadata, run.settings))?;
        println!("MySQL, {} {:?}: {compared} values equal", run.metadata, run.settings);
        ensure!(compared > 1200, "only {compared} values compared");
    }
    if let Ok(folder) = std::env::var("TOWPATH_RECORD") {
        record(&stack, plain, Path::new(&folder)).await?;
    }
    stack.stop().await?;
    Ok(())
}

/// Writes the engine's recorded binlogs, without the large values.
async fn record(stack: &Stack, run: Run<'_>, folder: &Path) -> Result<()> {
    let types = Run { scripts: &[TYPES, TYPES_MYSQL], ..run };
    let patches = Run { scripts: &[PATCHES_MYSQL], settings: &[PATCHES], patches: true, ..run };
    for (run, name, expected) in [
        (Run { metadata: "MINIMAL", ..types }, "types_minimal.binlog", "types_expected.tsv"),
        (types, "types_full.binlog", "types_expected.tsv"),
        (patches, "patches.binlog", "patches_expected.tsv"),
    ] {
        let (_, start) = run.compare().await?;
        let mut conn = Conn::from_url(run.root_url).await?;
        conn.query_drop("FLUSH BINARY LOGS").await?;
        std::fs::copy(stack.mysql()?.data_folder().join(&start.file), folder.join(name))?;
        std::fs::write(folder.join(expected), run.expected(&mut conn).await?)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_values_are_what_select_says() -> Result<()> {
    let stack = Stack::builder().mariadb().start().await?;
    let root_url = stack.mariadb()?.root_url();
    let scripts = &[TYPES, TYPES_MARIADB, VALUES, CHARSETS];
    let plain = Run::plain(&root_url, scripts);
    for run in [
        Run { metadata: "MINIMAL", ..plain },
        plain,
        Run { metadata: "NO_LOG", ..plain },
        Run { settings: &[("binlog_row_image", "MINIMAL")], partial: true, ..plain },
        Run { settings: &[("binlog_row_image", "NOBLOB")], partial: true, ..plain },
        Run { settings: &[("log_bin_compress", "ON"), ("log_bin_compress_min_len", "10")], packed: true, ..plain },
    ] {
        let (compared, _) = run.compare().await.with_context(|| format!("{} {:?}", run.metadata, run.settings))?;
        println!("MariaDB, {} {:?}: {compared} values equal", run.metadata, run.settings);
        ensure!(compared > 1000, "only {compared} values compared");
    }
    stack.stop().await?;
    Ok(())
}
