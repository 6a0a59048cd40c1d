//! On the real servers: random CREATE, ALTER and RENAME statements with writes in between, with names left out of the
//! binlog. After each statement the followed definitions must be what information_schema says, and each row must be
//! decoded as SELECT shows it.
//!
//! The seed comes from `TOWPATH_SEED` and is printed; a failing sequence is shortened before it is shown.

#![allow(clippy::unwrap_used, reason = "a difference is told by a panic, which is caught")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use towpath_connectors::mysql::{MySqlSource, SourceConfig};
use towpath_engine::binlog::{Decoder, Event, EventHeader, QueryKind};
use towpath_engine::deployer::TableFilter;
use towpath_engine::deployer::follow::{Follower, Place};
use towpath_engine::env::Env;
use towpath_engine::ports::source::{BinlogSource, DumpRequest, Flavor};
use towpath_engine::position::{FilePosition, Position};
use towpath_engine::schema::catalog::Catalog;
use towpath_engine::schema::{ColumnType, TableSchema};
use towpath_stack::Stack;

#[path = "ddl/generate.rs"]
mod generate;
#[path = "../engine/src/binlog/testdata/replay.rs"]
mod replay;
use generate::Generator;
use replay::Replay;

const DATABASE: &str = "ddl";
/// Sequences on each server.
const SEQUENCES: usize = 6;
/// Statements of one sequence.
const LENGTH: usize = 25;

/// What a sequence left: where, and what must be found there.
struct Written {
    start: FilePosition,
    end: FilePosition,
    /// What the catalog begins with.
    before: Catalog,
    /// Definitions at a position, in order.
    definitions: Vec<(u64, Vec<TableSchema>)>,
    /// Expected texts of the rows, one insert each, in order.
    rows: Vec<String>,
    /// Statements that the server carried out.
    statements: Vec<String>,
    refused: usize,
}

struct Server {
    source: MySqlSource,
    root_url: String,
    mariadb: bool,
}

impl Server {
    async fn new(root_url: String) -> Result<Self> {
        let source = MySqlSource::new(SourceConfig::from_url(&root_url)?)?;
        let mut conn = Conn::from_url(&root_url).await?;
        conn.query_drop("SET GLOBAL binlog_row_metadata = MINIMAL").await?;
        conn.disconnect().await?;
        let mariadb = source.identify().await?.flavor == Flavor::MariaDb;
        Ok(Self { source, root_url, mariadb })
    }

    async fn schemas(&self) -> Result<Vec<TableSchema>> {
        Ok(self.source.table_schemas(&|database, _| database == DATABASE).await?.tables)
    }

    /// Runs statements, each followed by a row in every table: those given, or what the generator thinks of.
    async fn write(&self, mut next: impl FnMut(usize, &[TableSchema]) -> Option<String>) -> Result<Written> {
        let mut conn = Conn::from_url(&self.root_url).await?;
        conn.query_drop("SET sql_mode = '', time_zone = '+00:00'").await?;
        conn.query_drop(format!("DROP DATABASE IF EXISTS {DATABASE}")).await?;
        conn.query_drop(format!("CREATE DATABASE {DATABASE} DEFAULT CHARACTER SET latin1")).await?;
        conn.query_drop(format!("USE {DATABASE}")).await?;
        conn.query_drop("FLUSH BINARY LOGS").await?;
        let snapshot = self.source.table_schemas(&|database, _| database == DATABASE).await?;
        let mut written = Written {
            start: snapshot.end.clone(),
            end: snapshot.end.clone(),
            before: Catalog::at(snapshot.book(), snapshot.fold_names),
            definitions: Vec::new(),
            rows: Vec::new(),
            statements: Vec::new(),
            refused: 0,
        };
        let mut tables = Vec::new();
        let mut id = 0;
        while let Some(sql) = next(written.statements.len() + written.refused, &tables) {
            if conn.query_drop(&sql).await.is_err() {
                written.refused += 1;
                continue;
            }
            written.statements.push(sql);
            tables = self.schemas().await?;
            written.definitions.push((self.source.identify().await?.end.position, tables.clone()));
            for table in tables.iter().filter(|table| table.column_index("id").is_some()) {
                id += 1;
                if let Some(expected) = insert(&mut conn, table, id).await? {
                    written.rows.push(expected);
                }
            }
        }
        written.end = self.source.identify().await?.end;
        conn.disconnect().await?;
        ensure!(written.start.file == written.end.file, "the binlog rotated during the test");
        Ok(written)
    }

    async fn events(&self, written: &Written) -> Result<Vec<Vec<u8>>> {
        let from = Position::File(FilePosition::new(written.start.file.clone(), 4));
        let (heartbeat, read_deadline) = (Duration::from_secs(1), Duration::from_secs(20));
        let (server_id, beside, semi_sync, server) = (990_002, false, false, None);
        let request = DumpRequest { from, server_id, heartbeat, read_deadline, beside, semi_sync, server };
        let mut stream = self.source.dump(request).await?;
        let mut events = Vec::new();
        loop {
            for raw in stream.next().await?.events() {
                let header = EventHeader::parse(raw)?;
                events.push(raw.to_vec());
                if !header.is_artificial() && u64::from(header.log_pos) >= written.end.position {
                    return Ok(events);
                }
            }
        }
    }

    /// Writes a sequence and judges it; an error says what differs.
    async fn run(
        &self,
        next: impl FnMut(usize, &[TableSchema]) -> Option<String>,
    ) -> Result<(Written, Option<String>)> {
        let written = self.write(next).await?;
        let events = self.events(&written).await?;
        let failure = match catch_unwind(AssertUnwindSafe(|| judge(&events, &written))) {
            Ok(held) => (!held.is_empty()).then(|| held.join("; ")),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                Some(text.unwrap_or("a panic without words").to_owned())
            }
        };
        Ok((written, failure))
    }

    /// Drops statements as long as what is left still fails.
    async fn shorten(&self, mut statements: Vec<String>, mut failure: String) -> Result<(Vec<String>, String)> {
        let mut at = statements.len();
        while at > 0 {
            at -= 1;
            let mut fewer = statements.clone();
            fewer.remove(at);
            let (_, still) = self.run(|number, _| fewer.get(number).cloned()).await?;
            if let Some(still) = still {
                (statements, failure) = (fewer, still);
            }
        }
        Ok((statements, failure))
    }
}

/// One row, its columns by their defaults or NULL but for texts and numbers; what SELECT shows of it.
async fn insert(conn: &mut Conn, table: &TableSchema, id: u32) -> Result<Option<String>> {
    let name = format!("`{}`.`{}`", table.database, table.table);
    let (mut columns, mut values) = ("`id`".to_owned(), id.to_string());
    for column in table.columns.iter().filter(|column| column.name != "id") {
        let value = match &column.kind {
            ColumnType::Char { max_bytes: 0 } | ColumnType::VarChar { max_bytes: 0 } => continue,
            ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. } => "'x'",
            ColumnType::Enum { .. } | ColumnType::Set { .. } => "1",
            ColumnType::TinyInt | ColumnType::Int | ColumnType::BigInt | ColumnType::Decimal { .. } => "7",
            ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => "'2026-11-27 12:34:56.789'",
            _ => continue,
        };
        // Writing to a String cannot fail.
        let _ = write!(columns, ", `{}`", column.name.replace('`', "``"));
        let _ = write!(values, ", {value}");
    }
    // Generated columns take no value: then the key alone.
    let full = conn.query_drop(format!("INSERT INTO {name} ({columns}) VALUES ({values})")).await;
    if full.is_err() && conn.query_drop(format!("INSERT INTO {name} (`id`) VALUES ({id})")).await.is_err() {
        return Ok(None);
    }
    let mut expected = String::new();
    for column in &table.columns {
        let (kind, text) = text_of(&column.name, &column.kind, column.is_binary());
        let row: Option<Row> = conn.query_first(format!("SELECT HEX({text}) FROM {name} WHERE id = {id}")).await?;
        let hex: Option<String> = row.context("the row that was inserted")?.take(0).context("a text")?;
        let hex = hex.unwrap_or_else(|| "NULL".into());
        let _ = writeln!(expected, "{}\t{id}\t{}\t{kind}\t{hex}", table.table, column.name);
    }
    Ok(Some(expected))
}

/// The kind of comparison, and the expression whose bytes are compared (see replay.rs).
fn text_of(name: &str, kind: &ColumnType, binary: bool) -> (char, String) {
    let name = name.replace('`', "``");
    match kind {
        ColumnType::Geometry => ('B', format!("`{name}`")),
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. } if binary => {
            ('B', format!("`{name}`"))
        }
        // Without the zeros of ZEROFILL, which is how a client shows a number, not what it is.
        ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::MediumInt | ColumnType::Int | ColumnType::BigInt => {
            ('T', format!("CAST(`{name}` + 0 AS CHAR)"))
        }
        ColumnType::Float => ('F', format!("CAST(CAST(`{name}` AS DOUBLE) AS CHAR)")),
        ColumnType::Double => ('D', format!("CAST(`{name}` AS CHAR)")),
        ColumnType::Bit { .. } => ('T', format!("CAST(CAST(`{name}` AS UNSIGNED) AS CHAR)")),
        _ => ('T', format!("CAST(`{name}` AS CHAR CHARACTER SET utf8mb4)")),
    }
}

/// A deployer's beginning at a point of the binlog: what it decodes with, and what follows statements for it.
fn begin(catalog: Catalog, format: Option<&[u8]>) -> (Decoder, Follower) {
    let filter = TableFilter::new([format!("{DATABASE}.*")]).unwrap();
    let accepted = filter.clone();
    let mut decoder = Decoder::new(move |database, table| accepted.accepts(database, table));
    let mut follower = Follower::new(filter, catalog, None, Vec::new(), BTreeSet::new());
    if let Some(Event::FormatDescription(format)) = format.map(|raw| decoder.decode(raw).unwrap()) {
        follower.server(format.server_version);
    }
    follower.prepare(&mut decoder);
    (decoder, follower)
}

/// Follows the events as a deployer does, with a restart after every third statement: what is known of definitions is
/// all that goes on. Panics at the first difference; gives why tables are held.
fn judge(events: &[Vec<u8>], written: &Written) -> Vec<String> {
    let mut held = Vec::new();
    let (mut decoder, mut follower) = begin(written.before.clone(), None);
    let (mut format, mut statements) = (None, 0);
    let (mut definitions, mut rows) = (written.definitions.iter().peekable(), written.rows.iter());
    let mut offset = 0;
    for raw in events {
        let header = EventHeader::parse(raw).unwrap();
        let place = Place { offset, id: None, start: written.start.clone() };
        offset += raw.len() as u64;
        match decoder.decode(raw).unwrap() {
            Event::FormatDescription(description) => {
                follower.server(description.server_version);
                format = Some(raw.as_slice());
            }
            Event::Query(query) if query.kind() == QueryKind::Statement => {
                follower.statement(&query, &place, &mut decoder);
                statements += 1;
            }
            Event::TableMap(map) => {
                assert!(map.known, "rows of {} cannot be read: {:?}", map.table, decoder.problem(map.table_id));
            }
            Event::Rows(event) => {
                let mut replay = Replay::default();
                replay.apply(event);
                replay.compare(rows.next().expect("a row that was expected"));
            }
            _ => {}
        }
        let reached = |at: &u64| !header.is_artificial() && u64::from(header.log_pos) >= *at;
        while let Some((_, expected)) = definitions.next_if(|(at, _)| reached(at)) {
            let found: Vec<&TableSchema> =
                follower.catalog().definitions().map(|definition| &definition.schema).collect();
            let expected: Vec<&TableSchema> = expected.iter().collect();
            assert_eq!(found, expected, "definitions at {}", header.log_pos);
        }
        if let Some(followed) = follower.take() {
            held.extend(followed.found.iter().map(|found| found.stop.to_string()));
        }
        if statements == 3 {
            (decoder, follower) = begin(follower.catalog().clone(), format);
            statements = 0;
        }
    }
    assert!(definitions.next().is_none() && rows.next().is_none(), "not everything that was written was read");
    held
}

/// Members whose bytes CONVERT TO makes other text: the table is held, and left out where definitions are read.
async fn members_that_are_lost_hold_their_table(server: &Server) -> Result<()> {
    let statements = [
        "CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a','it''s'), s SET('x','y')) CHARACTER SET latin1",
        "ALTER TABLE t CONVERT TO CHARACTER SET utf16",
        "CREATE TABLE other (id INT PRIMARY KEY, e ENUM('a','é') CHARACTER SET utf16)",
    ];
    let (written, held) = server.run(|number, _| statements.get(number).map(|&sql| sql.to_owned())).await?;
    ensure!(written.refused == 0, "the server refused {} statements", written.refused);
    let held = held.context("the table is not held")?;
    ensure!(held.contains("CONVERT TO leaves the members of `e`"), "held for another reason: {held}");
    let (_, definitions) = written.definitions.last().context("definitions")?;
    let known: Vec<&str> = definitions.iter().map(|table| table.table.as_str()).collect();
    ensure!(known == ["other"], "definitions were read of {known:?}");
    Ok(())
}

async fn differ(name: &str, root_url: String, sequences: usize) -> Result<()> {
    let seed: u64 = std::env::var("TOWPATH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("{name}: TOWPATH_SEED={seed}");
    let server = Server::new(root_url).await?;
    let (mut statements, mut refused, mut rows) = (0, 0, 0);
    for number in 0..sequences {
        let mut generator = Generator::new(Env::new(|| 0, seed).rng(&format!("{name} {number}")), server.mariadb);
        let next = |count: usize, tables: &[TableSchema]| (count < LENGTH).then(|| generator.statement(tables));
        let (written, failure) = server.run(next).await?;
        if let Some(failure) = failure {
            let (short, failure) = server.shorten(written.statements, failure).await?;
            bail!("{name}, sequence {number}: {failure}\nafter\n  {};", short.join(";\n  "));
        }
        statements += written.statements.len();
        refused += written.refused;
        rows += written.rows.len();
    }
    println!("{name}: {statements} statements followed ({refused} refused by the server), {rows} rows equal");
    ensure!(statements > sequences * LENGTH / 2 && rows > statements, "too little was compared");
    members_that_are_lost_hold_their_table(&server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_definitions_are_followed() -> Result<()> {
    let stack = Stack::builder().mysql().start().await?;
    let result = differ("MySQL", stack.mysql()?.root_url(), SEQUENCES).await;
    stack.stop().await?;
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_definitions_are_followed() -> Result<()> {
    let stack = Stack::builder().mariadb().start().await?;
    let result = differ("MariaDB", stack.mariadb()?.root_url(), SEQUENCES).await;
    stack.stop().await?;
    result
}
