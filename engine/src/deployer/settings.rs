//! Whether a source is set up for capture: its settings, the user's privileges, the tables' keys.
//!
//! Findings are worded with the statement that mends them; `towpath check` prints them all, a start stops at the first.
//! Must not ask the source itself.

use super::config::{DeployerConfig, PartitionBy};
use crate::cause::{Cause, Stop};
use crate::ports::source::{Flavor, ServerIdentity};
use crate::schema::TableSchema;

/// All that is wrong with a source's settings and the user's privileges, the gravest first.
pub fn findings(server: &ServerIdentity, config: &DeployerConfig) -> Vec<Stop> {
    let mut found = Vec::new();
    let setting = |wrong: bool, detail: String| wrong.then(|| Stop::new(Cause::SourceSettings, detail));
    let who = format!("the source (server_id {}, {})", server.server_id, server.version);
    found.extend(setting(!server.log_bin, format!("{who} writes no binlog: start it with log_bin")));
    found.extend(setting(
        server.log_bin && server.binlog_format != "ROW",
        format!("{who} has binlog_format={}: SET PERSIST binlog_format=ROW", server.binlog_format),
    ));
    found.extend(partial_rows(server).filter(|_| config.whole_rows));
    if server.server_id == config.server_id {
        found.push(Stop::new(
            Cause::Config,
            format!("server_id {} is the source's own: choose one that no server or replica has", config.server_id),
        ));
    }
    let missing = missing_privileges(server);
    if !missing.is_empty() {
        let list = missing.join(", ");
        found.push(Stop::new(
            Cause::SourceDenied,
            format!("the source's user lacks {list}: GRANT {list} ON *.* TO {}", grantee(&server.grants)),
        ));
    }
    found
}

/// The cause not to run a sink on a source that logs rows without all their columns.
pub fn partial_rows(server: &ServerIdentity) -> Option<Stop> {
    // FULL_NODUP (MariaDB) leaves out of after images only what stands in the before images.
    let whole = !server.log_bin || matches!(server.row_image.as_str(), "FULL" | "FULL_NODUP");
    (!whole).then(|| {
        let (who, image) =
            (format!("the source (server_id {}, {})", server.server_id, server.version), &server.row_image);
        let detail = format!(
            "{who} has binlog_row_image={image}, but a sink needs whole rows: SET PERSIST binlog_row_image=FULL \
             (sessions that are open keep theirs)"
        );
        Stop::new(Cause::PartialRow, detail)
    })
}

/// The global privileges that reading a binlog takes and `grants` does not show. Roles are trusted: what they hold is
/// not printed.
fn missing_privileges(server: &ServerIdentity) -> Vec<&'static str> {
    let needed: &[(&'static str, &[&str])] = match server.flavor {
        Flavor::MySql => {
            &[("REPLICATION SLAVE", &["REPLICATION SLAVE"]), ("REPLICATION CLIENT", &["REPLICATION CLIENT", "SUPER"])]
        }
        Flavor::MariaDb => &[
            ("REPLICATION SLAVE", &["REPLICATION SLAVE"]),
            ("BINLOG MONITOR", &["BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"]),
        ],
    };
    let upper: Vec<String> = server.grants.iter().map(|grant| grant.to_uppercase()).collect();
    let role = upper.iter().any(|grant| grant.starts_with("GRANT ") && !grant.contains(" ON "));
    let global: Vec<&str> = upper
        .iter()
        .filter_map(|grant| grant.strip_prefix("GRANT ")?.split_once(" ON *.* TO ").map(|(privileges, _)| privileges))
        .flat_map(|privileges| privileges.split(',').map(str::trim))
        .collect();
    if role || global.iter().any(|privilege| privilege.starts_with("ALL")) {
        return Vec::new();
    }
    let lacks = |names: &[&str]| !names.iter().any(|name| global.contains(name));
    needed.iter().filter(|(_, names)| lacks(names)).map(|(name, _)| *name).collect()
}

fn grantee(grants: &[String]) -> String {
    let found = grants.iter().find_map(|grant| grant.rsplit_once(" TO "));
    found.map_or_else(|| "the user".to_owned(), |(_, who)| who.split(' ').next().unwrap_or(who).to_owned())
}

/// What is wrong with the captured tables as they are now.
pub fn table_findings(tables: &[TableSchema], config: &DeployerConfig) -> Vec<Stop> {
    let mut found = Vec::new();
    for pattern in config.tables.patterns() {
        let literal = !pattern.contains(['*', '?']);
        let exists = || tables.iter().any(|table| format!("{}.{}", table.database, table.table) == *pattern);
        if literal && !exists() {
            found.push(Stop::new(
                Cause::Config,
                format!("the source has no table {pattern}, or its user may not see it (GRANT SELECT ON {pattern})"),
            ));
        }
    }
    for table in tables {
        let name = format!("{}.{}", table.database, table.table);
        if table.primary_key.is_empty() {
            found.push(Stop::new(
                Cause::NoPrimaryKey,
                format!("table {name} has no primary key: its rows could not be told apart"),
            ));
        }
        if let PartitionBy::Columns(columns) = &config.partition_by {
            for column in columns.iter().filter(|column| table.column_index(column).is_none()) {
                found.push(Stop::new(
                    Cause::Config,
                    format!("`partition_by` names column {column}, which table {name} does not have"),
                ));
            }
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::config::TableFilter;
    use super::*;
    use crate::position::FilePosition;
    use crate::schema::{Column, ColumnType};

    /// A server on which nothing is wrong.
    pub fn server() -> ServerIdentity {
        ServerIdentity {
            flavor: Flavor::MySql,
            version: "9.7.0".into(),
            server_uuid: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into(),
            server_id: 1,
            log_bin: true,
            binlog_format: "ROW".into(),
            row_image: "FULL".into(),
            row_metadata: "FULL".into(),
            gtid_mode: true,
            gtid_executed: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-100".parse().unwrap(),
            gtid_owned: Default::default(),
            gtid_purged: Default::default(),
            mariadb_position: String::new(),
            oldest: FilePosition::new("b.000001", 4),
            end: FilePosition::new("b.000003", 900),
            uptime_s: 1000,
            read_only: false,
            replica: None,
            semi_sync: None,
            grants: vec!["GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `canal`@`%`".into()],
        }
    }

    pub fn config() -> DeployerConfig {
        let mut config = DeployerConfig::new("orders", "orders", 2, 7);
        config.tables = TableFilter::new(["orders.*"]).unwrap();
        config.whole_rows = true;
        config
    }

    #[test]
    fn each_setting_is_named_with_its_statement() {
        assert_eq!(findings(&server(), &config()), []);
        type Change = fn(&mut ServerIdentity);
        let changes: [(Change, Cause, &str); 7] = [
            (|s| s.log_bin = false, Cause::SourceSettings, "log_bin"),
            (|s| s.binlog_format = "MIXED".into(), Cause::SourceSettings, "SET PERSIST binlog_format=ROW"),
            (|s| s.row_image = "MINIMAL".into(), Cause::PartialRow, "SET PERSIST binlog_row_image=FULL"),
            (|s| s.server_id = 7, Cause::Config, "server_id 7"),
            (
                |s| s.grants = vec!["GRANT USAGE ON *.* TO `canal`@`%`".into()],
                Cause::SourceDenied,
                "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `canal`@`%`",
            ),
            (
                |s| s.grants = vec!["GRANT REPLICATION SLAVE ON *.* TO `canal`@`%` WITH GRANT OPTION".into()],
                Cause::SourceDenied,
                "GRANT REPLICATION CLIENT ON *.* TO `canal`@`%`",
            ),
            (
                |s| s.grants = vec!["GRANT REPLICATION SLAVE, REPLICATION CLIENT ON `orders`.* TO `c`@`%`".into()],
                Cause::SourceDenied,
                "lacks REPLICATION SLAVE",
            ),
        ];
        for (change, cause, words) in changes {
            let mut server = server();
            change(&mut server);
            let found = findings(&server, &config());
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].cause == cause && found[0].detail.contains(words), "{}", found[0]);
        }
    }

    #[test]
    fn partial_rows_are_refused_only_where_documents_are_made_of_them() {
        let mut server = server();
        server.row_image = "NOBLOB".into();
        let without_sinks = DeployerConfig { whole_rows: false, ..config() };
        assert_eq!(findings(&server, &without_sinks), []);
        assert_eq!(findings(&server, &config())[0].cause, Cause::PartialRow);
        server.row_image = "FULL_NODUP".into();
        assert_eq!(findings(&server, &config()), []);
    }

    #[test]
    fn all_privileges_and_roles_are_enough() {
        for grant in
            ["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION", "GRANT `reader`@`%` TO `c`@`%`"]
        {
            let mut server = server();
            server.grants = vec![grant.into()];
            assert_eq!(findings(&server, &config()), []);
        }
        let mut maria = server();
        maria.flavor = Flavor::MariaDb;
        maria.grants =
            vec!["GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `c`@`%` IDENTIFIED BY PASSWORD '*'".into()];
        assert_eq!(findings(&maria, &config()), []);
    }

    #[test]
    fn tables_without_key_or_column_or_existence_are_named() {
        let column = |name: &str| Column {
            name: name.into(),
            kind: ColumnType::Int,
            unsigned: false,
            nullable: false,
            collation: None,
        };
        let table = |name: &str, primary_key: Vec<usize>| TableSchema {
            database: "orders".into(),
            table: name.into(),
            columns: vec![column("id"), column("order_id")],
            primary_key,
        };
        let mut config = config();
        assert_eq!(table_findings(&[table("a", vec![0])], &config), []);
        let found = table_findings(&[table("a", vec![0]), table("b", vec![])], &config);
        assert!(found.len() == 1 && found[0].cause == Cause::NoPrimaryKey && found[0].detail.contains("orders.b"));
        config.partition_by = PartitionBy::Columns(vec!["order_id".into(), "nope".into()]);
        let found = table_findings(&[table("a", vec![0])], &config);
        assert!(found.len() == 1 && found[0].cause == Cause::Config && found[0].detail.contains("nope"), "{found:?}");
        config.partition_by = PartitionBy::PrimaryKey;
        config.tables = TableFilter::new(["orders.a", "orders.typo"]).unwrap();
        let found = table_findings(&[table("a", vec![0])], &config);
        assert!(found.len() == 1 && found[0].detail.contains("orders.typo"), "{found:?}");
    }
}
