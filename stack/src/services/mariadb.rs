//! MariaDB: here for mysql_native_password, which MySQL 9 no longer has, and for MariaDB's own binary log.

use super::{PASSWORD, Site, TEMPLATE, copy_folder, prepare};
use crate::install::{Package, installed};
use crate::native::Unpacked;
use crate::ports::{Ports, fixed};
use crate::probe::Probe;
use crate::service::{Kind, Launch, Spec};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Files of MariaDB's own SQL that make its system tables, in this order (as mariadb-install-db feeds them).
const SYSTEM_TABLES: &[&str] = &[
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
    "mysql_sys_schema.sql",
];

/// Initialises a data folder by the server unpacked in `root`.
pub(crate) fn initialize(root: &Path, data: &Path, log: &Path) -> Result<()> {
    let unpacked = Unpacked::at(root);
    std::fs::create_dir_all(data)?;
    let sql = log.with_extension("sql");
    std::fs::write(&sql, system_tables(&unpacked)?)?;
    let mut command = Command::new(unpacked.program());
    command.args(base_arguments(&unpacked, data));
    command.args(["--bootstrap", "--log-warnings=0", "--enforce-storage-engine=", "--max-allowed-packet=8M"]);
    prepare(command, Some(&sql), log, "the initialisation of MariaDB's data folder")
}

/// Lays out the server; `options` are added to the command line last.
pub(crate) fn lay_out(site: &Site, options: &[String]) -> Result<Spec> {
    let name = "mariadb".to_owned();
    let root = installed(&Package::Mariadb)?;
    let unpacked = Unpacked::at(&root);
    let folder = site.folder(&name)?;
    let data = folder.join("data");
    let port = site.plan.pick(fixed::MARIADB, &name)?;
    let base = base_arguments(&unpacked, &data);
    if !data.join("mysql/global_priv.MAD").exists() {
        copy_folder(&root.join(TEMPLATE), &data)?;
    }
    let init = folder.join("init.sql");
    std::fs::write(&init, users())?;
    let mut args = base;
    args.extend([format!("--port={port}"), format!("--init-file={}", init.display())]);
    args.extend(
        [
            "--bind-address=127.0.0.1",
            "--socket=mysql.sock",
            "--pid-file=mariadbd.pid",
            "--server-id=101",
            "--log-bin=binlog",
            "--binlog-format=ROW",
            "--binlog-row-image=FULL",
            "--max-allowed-packet=64M",
        ]
        .map(str::to_owned),
    );
    args.extend(options.iter().cloned());
    let launch = Launch { program: unpacked.program().to_path_buf(), args, env: vec![], user: None };
    let ports = Ports::from([("main".to_owned(), port)]);
    let facts = BTreeMap::new();
    Ok(Spec { name, kind: Kind::Mariadb, launch, folder, ports, probe: Probe::Mysql { port }, facts })
}

fn base_arguments(unpacked: &Unpacked, data: &Path) -> Vec<String> {
    let root = unpacked.root().display();
    let mut args = unpacked.arguments("usr/sbin/mariadbd");
    args.extend([
        "--no-defaults".to_owned(),
        format!("--basedir={root}/usr"),
        format!("--lc-messages-dir={root}/usr/share/mysql"),
        format!("--plugin-dir={root}/usr/lib/mysql/plugin"),
        format!("--character-sets-dir={root}/usr/share/mysql/charsets"),
        format!("--datadir={}", data.display()),
    ]);
    if nix::unistd::geteuid().is_root() {
        args.push("--user=root".to_owned());
    }
    args
}

fn system_tables(unpacked: &Unpacked) -> Result<String> {
    let mut sql = "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_owned();
    for file in SYSTEM_TABLES {
        let path = unpacked.root().join("usr/share/mysql").join(file);
        sql += &std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        sql.push('\n');
    }
    Ok(sql)
}

fn users() -> String {
    format!(
        "SET sql_log_bin=0;\n\
         CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';\n\
         GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n\
         CREATE USER IF NOT EXISTS 'towpath'@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('{PASSWORD}');\n\
         GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT, BINLOG MONITOR ON *.* TO 'towpath'@'%';\n"
    )
}
