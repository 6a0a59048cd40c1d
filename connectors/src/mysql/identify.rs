//! Who a server is and how it is set.
//!
//! Variables are asked by `SHOW GLOBAL VARIABLES`, which leaves out what a server does not know instead of failing;
//! GTID sets by `SELECT`, because `SHOW` cuts them at 1,024 characters.

use std::collections::BTreeMap;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::source::{Flavor, ReplicaState, SemiSync, ServerIdentity, SourceError};
use towpath_engine::position::FilePosition;

use super::MySqlSource;

const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'server_uuid', 'server_id', \
    'log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata', 'gtid_mode', 'gtid_domain_id', 'read_only', \
    'super_read_only') OR Variable_name LIKE 'rpl_semi_sync_%'";

/// Asks for everything the engine wants to know.
pub(super) async fn identify(source: &MySqlSource, conn: &mut Conn) -> Result<ServerIdentity, SourceError> {
    let variables = variables(source, conn).await?;
    let value = |name: &str| variables.get(name).cloned().unwrap_or_default();
    let is_on = |name: &str| matches!(value(name).to_ascii_uppercase().as_str(), "ON" | "1");
    let flavor = flavor_of(&variables);
    let log_bin = is_on("log_bin");
    // Asked before what is executed: a transaction moves from there to here.
    let gtid_owned = if flavor == Flavor::MySql { owned(source, conn).await? } else { GtidSet::default() };
    let (gtid_executed, gtid_purged, mariadb_position) = positions(source, conn, flavor).await?;
    let (oldest, end) = if log_bin {
        let files = binlog_files(source, conn).await?;
        let oldest = files.first().map(|(name, _)| name.clone()).unwrap_or_default();
        (FilePosition::new(oldest, 4), end(source, conn, flavor).await?)
    } else {
        (FilePosition::new("", 4), FilePosition::new("", 4))
    };
    let uptime: Option<(String, String)> =
        source.with_deadline("SHOW STATUS", conn.query_first("SHOW GLOBAL STATUS LIKE 'Uptime'")).await?;
    let replica = if flavor == Flavor::MySql { replica_state(source, conn).await? } else { None };
    let grants: Vec<String> = source.with_deadline("SHOW GRANTS", conn.query("SHOW GRANTS")).await?;
    let server_uuid = match flavor {
        Flavor::MySql => value("server_uuid"),
        Flavor::MariaDb => format!("mariadb-{}-{}", value("server_id"), value("gtid_domain_id")),
    };
    Ok(ServerIdentity {
        flavor,
        version: value("version"),
        server_uuid,
        server_id: value("server_id").parse().unwrap_or_default(),
        log_bin,
        binlog_format: value("binlog_format").to_ascii_uppercase(),
        row_image: value("binlog_row_image").to_ascii_uppercase(),
        row_metadata: value("binlog_row_metadata").to_ascii_uppercase(),
        gtid_mode: flavor == Flavor::MariaDb || value("gtid_mode").eq_ignore_ascii_case("ON"),
        gtid_executed,
        gtid_owned,
        gtid_purged,
        mariadb_position,
        oldest,
        end,
        uptime_s: uptime.and_then(|(_, seconds)| seconds.parse().ok()).unwrap_or_default(),
        // MariaDB from 12 on answers with words here.
        read_only: is_on("super_read_only")
            || !matches!(value("read_only").to_ascii_uppercase().as_str(), "" | "OFF" | "0"),
        replica,
        semi_sync: semi_sync(&variables),
        grants,
    })
}

/// Which server this connection has reached: [`ServerIdentity::server_uuid`].
pub(super) async fn server_uuid(source: &MySqlSource, conn: &mut Conn, flavor: Flavor) -> Result<String, SourceError> {
    let select = match flavor {
        Flavor::MySql => "SELECT @@server_uuid",
        Flavor::MariaDb => "SELECT CONCAT('mariadb-', @@server_id, '-', @@gtid_domain_id)",
    };
    let found: Option<String> = source.with_deadline("the server's identity", conn.query_first(select)).await?;
    found.ok_or_else(|| SourceError::Refused("the server does not say which one it is".into()))
}

/// What MySQL's plugin (under its older and its newer name), or MariaDB itself, says of semi-synchronous replication.
fn semi_sync(variables: &BTreeMap<String, String>) -> Option<SemiSync> {
    let value = |newer: &str, older: &str| {
        let named = |name: String| variables.get(&name);
        named(format!("rpl_semi_sync_source_{newer}")).or_else(|| named(format!("rpl_semi_sync_master_{older}")))
    };
    let enabled = value("enabled", "enabled")?.eq_ignore_ascii_case("ON");
    let replicas = value("wait_for_replica_count", "wait_for_slave_count").and_then(|text| text.parse().ok());
    let timeout = value("timeout", "timeout").and_then(|text| text.parse().ok());
    Some(SemiSync {
        enabled,
        replicas: replicas.unwrap_or(1),
        timeout: Duration::from_millis(timeout.unwrap_or_default()),
        lossless: value("wait_point", "wait_point").is_some_and(|text| text.eq_ignore_ascii_case("AFTER_SYNC")),
    })
}

/// MySQL or MariaDB, told by a variable that only MariaDB has (its version text can be set to anything).
pub(super) async fn flavor(source: &MySqlSource, conn: &mut Conn) -> Result<Flavor, SourceError> {
    Ok(flavor_of(&variables(source, conn).await?))
}

fn flavor_of(variables: &BTreeMap<String, String>) -> Flavor {
    if variables.contains_key("gtid_domain_id") { Flavor::MariaDb } else { Flavor::MySql }
}

async fn variables(source: &MySqlSource, conn: &mut Conn) -> Result<BTreeMap<String, String>, SourceError> {
    let rows: Vec<(String, String)> = source.with_deadline("SHOW VARIABLES", conn.query(VARIABLES)).await?;
    Ok(rows.into_iter().collect())
}

/// `@@gtid_executed`, `@@gtid_purged` (MySQL) and `@@gtid_binlog_pos` (MariaDB).
pub(super) async fn positions(
    source: &MySqlSource,
    conn: &mut Conn,
    flavor: Flavor,
) -> Result<(GtidSet, GtidSet, String), SourceError> {
    if flavor == Flavor::MariaDb {
        let position: Option<String> =
            source.with_deadline("@@gtid_binlog_pos", conn.query_first("SELECT @@GLOBAL.gtid_binlog_pos")).await?;
        return Ok((GtidSet::default(), GtidSet::default(), position.unwrap_or_default()));
    }
    let sets: Option<(String, String)> = source
        .with_deadline("@@gtid_executed", conn.query_first("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged"))
        .await?;
    let (executed, purged) = sets.unwrap_or_default();
    Ok((parse_set(&executed)?, parse_set(&purged)?, String::new()))
}

/// `@@gtid_owned` (MySQL), without the owners.
pub(super) async fn owned(source: &MySqlSource, conn: &mut Conn) -> Result<GtidSet, SourceError> {
    let owned: Option<String> =
        source.with_deadline("@@gtid_owned", conn.query_first("SELECT @@GLOBAL.gtid_owned")).await?;
    parse_set(&without_owners(&owned.unwrap_or_default()))
}

/// `uuid:5#77:6#78` without the thread numbers behind each `#`.
fn without_owners(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut owner = false;
    for c in text.chars() {
        owner = if c == '#' { true } else { owner && c.is_ascii_digit() };
        if !owner {
            out.push(c);
        }
    }
    out
}

fn parse_set(text: &str) -> Result<GtidSet, SourceError> {
    text.parse().map_err(|err| SourceError::Refused(format!("the source's GTID set cannot be read: {err}")))
}

/// How a MySQL server follows others: one row a channel. MySQL 8.0.22 renamed the statement and its columns, and 8.4
/// refuses the old one.
async fn replica_state(source: &MySqlSource, conn: &mut Conn) -> Result<Option<ReplicaState>, SourceError> {
    let renamed = conn.server_version() >= (8, 0, 22);
    let (statement, word) = if renamed { ("SHOW REPLICA STATUS", "Replica") } else { ("SHOW SLAVE STATUS", "Slave") };
    let rows: Vec<Row> = source.with_deadline(statement, conn.query(statement)).await?;
    let (io, sql) = (format!("{word}_IO_Running"), format!("{word}_SQL_Running"));
    let column = |row: &Row, name: &str| row.columns_ref().iter().position(|column| column.name_str() == name);
    let named = |row: &Row, name: &str| column(row, name).map(|index| text(row, index)).unwrap_or_default();
    let mut state: Option<ReplicaState> = None;
    for row in &rows {
        let channel = state.get_or_insert_default();
        channel.received.add(&parse_set(&named(row, "Retrieved_Gtid_Set"))?);
        channel.receiving |= matches!(named(row, &io).as_str(), "Yes" | "Connecting");
        channel.applying |= named(row, &sql) == "Yes";
    }
    Ok(state)
}

/// The binlog files and their sizes, oldest first.
pub(super) async fn binlog_files(source: &MySqlSource, conn: &mut Conn) -> Result<Vec<(String, u64)>, SourceError> {
    let rows: Vec<Row> = source.with_deadline("SHOW BINARY LOGS", conn.query("SHOW BINARY LOGS")).await?;
    Ok(rows.iter().map(|row| (text(row, 0), number(row, 1))).collect())
}

/// The end of the binlog. MySQL 8.2 renamed the statement and 8.4 refuses the old one; MariaDB knows only the old one.
pub(super) async fn end(source: &MySqlSource, conn: &mut Conn, flavor: Flavor) -> Result<FilePosition, SourceError> {
    let renamed = flavor == Flavor::MySql && conn.server_version() >= (8, 2, 0);
    let statement = if renamed { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row: Option<Row> = source.with_deadline(statement, conn.query_first(statement)).await?;
    let row = row.ok_or_else(|| SourceError::Refused("the source writes no binlog: start it with --log-bin".into()))?;
    Ok(FilePosition::new(text(&row, 0), number(&row, 1)))
}

/// A column of a text answer; empty where NULL or absent.
pub(super) fn text(row: &Row, index: usize) -> String {
    match row.as_ref(index) {
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::UInt(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// A numeric column of a text answer; 0 where NULL or absent.
pub(super) fn number(row: &Row, index: usize) -> u64 {
    text(row, index).parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_cut_off() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert_eq!(without_owners(&format!("{uuid}:5#77:6#78,{uuid}:tag:1#3")), format!("{uuid}:5:6,{uuid}:tag:1"));
        assert_eq!(without_owners(""), "");
    }

    #[test]
    fn semi_synchronous_replication_is_told_under_both_names() {
        let read = |pairs: &[(&str, &str)]| {
            semi_sync(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(read(&[("rpl_semi_sync_replica_enabled", "ON")]), None);
        let expected = SemiSync { enabled: true, replicas: 2, timeout: Duration::from_secs(10), lossless: true };
        let newer = [
            ("rpl_semi_sync_source_enabled", "ON"),
            ("rpl_semi_sync_source_timeout", "10000"),
            ("rpl_semi_sync_source_wait_for_replica_count", "2"),
            ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
        ];
        assert_eq!(read(&newer), Some(expected.clone()));
        let older = [
            ("rpl_semi_sync_master_enabled", "ON"),
            ("rpl_semi_sync_master_timeout", "10000"),
            ("rpl_semi_sync_master_wait_for_slave_count", "2"),
            ("rpl_semi_sync_master_wait_point", "AFTER_SYNC"),
        ];
        assert_eq!(read(&older), Some(expected));
        // MariaDB waits for one.
        let maria =
            read(&[("rpl_semi_sync_master_enabled", "OFF"), ("rpl_semi_sync_master_wait_point", "AFTER_COMMIT")]);
        assert!(maria.is_some_and(|found| !found.enabled && found.replicas == 1 && !found.lossless));
    }
}
