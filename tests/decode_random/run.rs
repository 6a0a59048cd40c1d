//! One run on a server: settings, tables, statements, the dump of what they wrote, and the comparison.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use towpath_connectors::mysql::{MySqlSource, SourceConfig};
use towpath_engine::binlog::unpack::Unpacking;
use towpath_engine::binlog::{Decoder, Event, EventHeader};
use towpath_engine::ports::source::{BinlogSource, DumpRequest};
use towpath_engine::position::{FilePosition, Position};

use super::case::Case;
use super::compare::{self, Said};
use super::replay::Table;
use super::settings;
use super::types::Family;

const DATABASE: &str = "random";
/// A batch of less than this is the last that was there.
const FULL_BATCH: usize = 1 << 20;

/// A server under test.
pub struct Server {
    url: String,
    source: Arc<dyn BinlogSource>,
}

/// The statements that a run begins with, for one who reproduces it.
pub fn preparation(family: Family, values: &[usize]) -> Vec<String> {
    let settings = settings::of(family).iter().zip(values);
    settings.flat_map(|(setting, &value)| setting.values[value].1).map(|text| (*text).to_owned()).collect()
}

/// The session that writes; its zone is not UTC, which must not matter.
fn session() -> Vec<String> {
    vec![
        format!("CREATE DATABASE IF NOT EXISTS {DATABASE} DEFAULT CHARACTER SET utf8mb4"),
        format!("USE {DATABASE}"),
        "SET sql_mode = '', time_zone = '+03:00', sql_log_bin = 1".to_owned(),
    ]
}

impl Server {
    pub fn new(url: String) -> Result<Self> {
        let source: Arc<dyn BinlogSource> = Arc::new(MySqlSource::new(SourceConfig::from_url(&url)?)?);
        Ok(Self { url, source })
    }

    /// Writes the tables under these settings and compares. For each table the values compared of each
    /// column, or what differs.
    pub async fn run(&self, family: Family, values: &[usize], cases: &[Case]) -> Result<Vec<Result<Vec<usize>>>> {
        let mut admin = Conn::from_url(&self.url).await?;
        for statement in preparation(family, values) {
            admin.query_drop(&statement).await.with_context(|| statement.clone())?;
        }
        admin.query_drop("FLUSH BINARY LOGS").await?;
        admin.disconnect().await?;
        let start = self.source.identify().await?.end;
        let mut conn = Conn::from_url(&self.url).await?;
        for statement in session() {
            conn.query_drop(&statement).await.with_context(|| statement.clone())?;
        }
        for case in cases {
            for statement in case.statements() {
                let shown = || statement.chars().take(600).collect::<String>();
                conn.query_drop(&statement).await.with_context(shown)?;
            }
        }
        let end = self.source.identify().await?.end;
        let mut decoded = self.decode(&start, &end).await?;
        conn.query_drop("SET time_zone = '+00:00'").await?;
        let mut outcomes = Vec::new();
        for case in cases {
            let table = decoded.remove(&case.table).unwrap_or_else(|| Ok(Table::default()));
            let said = said(&mut conn, case).await?;
            outcomes.push(table.and_then(|table| compare::table(case, &table, &said)).context(case.table.clone()));
        }
        conn.disconnect().await?;
        Ok(outcomes)
    }

    /// The tables as the binlog between two places tells them; an error stands for the first event that failed.
    async fn decode(&self, start: &FilePosition, end: &FilePosition) -> Result<BTreeMap<String, Result<Table>>> {
        let accept = |database: &str, _: &str| database == DATABASE;
        let mut decoder = Decoder::new(accept);
        // No definition changes after a table's first row: what it is now holds for all events.
        decoder.set_schemas(self.source.table_schemas(&accept).await?.tables);
        let request = DumpRequest {
            from: Position::File(FilePosition::new(start.file.clone(), 4)),
            server_id: 990_002,
            heartbeat: Duration::from_secs(1),
            read_deadline: Duration::from_secs(30),
            beside: false,
            semi_sync: false,
            server: None,
        };
        let mut stream = Unpacking::new(Arc::clone(&self.source)).dump(request).await?;
        let mut tables: BTreeMap<String, Result<Table>> = BTreeMap::new();
        let (mut mapped, mut reached) = (String::new(), false);
        loop {
            let batch = stream.next().await?;
            for raw in batch.events() {
                let applied = match decoder.decode(raw) {
                    Ok(Event::TableMap(map)) => {
                        map.table.clone_into(&mut mapped);
                        Ok(())
                    }
                    Ok(Event::Rows(event)) => {
                        let table = event.table.table.clone();
                        match tables.entry(table).or_insert_with(|| Ok(Table::default())) {
                            Ok(table) => table.apply(event),
                            Err(_) => Ok(()),
                        }
                    }
                    Ok(_) => Ok(()),
                    Err(stop) => Err(anyhow!(stop)),
                };
                if let Err(error) = applied {
                    let table = tables.entry(mapped.clone()).or_insert_with(|| Ok(Table::default()));
                    if table.is_ok() {
                        *table = Err(error);
                    }
                }
                let header = EventHeader::parse(raw)?;
                reached |= !header.is_artificial() && u64::from(header.log_pos) >= end.position;
            }
            // The events of a compressed transaction all end where it ends: a full batch may have more of them behind.
            if reached && batch.bytes.len() < FULL_BATCH {
                return Ok(tables);
            }
        }
    }
}

async fn said(conn: &mut Conn, case: &Case) -> Result<Vec<Said>> {
    let rows: Vec<Row> = conn.query(case.question()).await.with_context(|| case.question())?;
    let mut said = Vec::with_capacity(rows.len());
    for mut row in rows {
        let id: String = row.take(0).context("an id")?;
        let columns: Option<Vec<Option<String>>> = (1..=case.columns.len()).map(|at| row.take(at)).collect();
        said.push((id, columns.context("as many columns as were asked for")?));
    }
    Ok(said)
}
