//! MySQL: the primary and replicas. GTIDs on, row format, full images; the server's own defaults elsewhere.

use super::{PASSWORD, Site, TEMPLATE, copy_folder, prepare};
use crate::install::{Package, installed};
use crate::native::Unpacked;
use crate::ports::{Ports, fixed};
use crate::probe::Probe;
use crate::service::{Kind, Launch, Spec};
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The name of a server: the primary is number 0.
pub(crate) fn name(number: u16) -> String {
    if number == 0 { "mysql".to_owned() } else { format!("mysql-replica-{number}") }
}

/// Initialises a data folder with an empty root password, by the server unpacked in `root`. Its redo log is the
/// smallest
/// there is, for quick copies; a running server enlarges it as it needs.
pub(crate) fn initialize(root: &Path, data: &Path, log: &Path) -> Result<()> {
    let unpacked = Unpacked::at(root);
    let mut command = Command::new(unpacked.program());
    command.args(base_arguments(&unpacked, data)).args(["--initialize-insecure", "--innodb-redo-log-capacity=8M"]);
    prepare(command, None, log, "the initialisation of MySQL's data folder")?;
    // Each copy makes itself an id of its own at its first start.
    Ok(std::fs::remove_file(data.join("auto.cnf"))?)
}

/// Lays out server `number`; `options` are added to the command line last, so they win. A server without data begins
/// with a copy of `begin`, else of the empty data folder that was made at the installation.
pub(crate) fn lay_out(site: &Site, number: u16, options: &[String], begin: Option<&Path>) -> Result<Spec> {
    let name = name(number);
    let root = installed(&Package::Mysql)?;
    let unpacked = Unpacked::at(&root);
    let folder = site.folder(&name)?;
    let data = folder.join("data");
    let port = site.plan.pick(fixed::MYSQL + number, &name)?;
    let base = base_arguments(&unpacked, &data);
    if !data.join("mysql.ibd").exists() {
        copy_folder(begin.unwrap_or(&root.join(TEMPLATE)), &data)?;
    }
    let init = folder.join("init.sql");
    std::fs::write(&init, users())?;
    let mut args = base;
    args.extend([
        format!("--port={port}"),
        format!("--server-id={}", number + 1),
        format!("--report-port={port}"),
        format!("--init-file={}", init.display()),
    ]);
    args.extend(
        [
            "--bind-address=127.0.0.1",
            "--report-host=127.0.0.1",
            "--mysqlx=OFF",
            "--socket=mysql.sock", // in the data folder; a full path may be longer than a socket's name can be
            "--pid-file=mysqld.pid",
            "--secure-file-priv=",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--log-bin=binlog",
            "--binlog-row-image=FULL",
            "--max-allowed-packet=64M",
            "--innodb-buffer-pool-size=128M",
        ]
        .map(str::to_owned),
    );
    args.extend(options.iter().cloned());
    let launch = Launch { program: unpacked.program().to_path_buf(), args, env: vec![], user: None };
    let facts = BTreeMap::from([("ca_pem".to_owned(), data.join("ca.pem").display().to_string())]);
    let ports = Ports::from([("main".to_owned(), port)]);
    Ok(Spec { name, kind: Kind::Mysql, launch, folder, ports, probe: Probe::Mysql { port }, facts })
}

fn base_arguments(unpacked: &Unpacked, data: &Path) -> Vec<String> {
    let root = unpacked.root().display();
    let mut args = unpacked.arguments("usr/sbin/mysqld");
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

/// Run by the server at each start, outside the binary log, so that a fresh server's GTID set is empty.
fn users() -> String {
    format!(
        "SET sql_log_bin=0;\n\
         CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED WITH caching_sha2_password BY '';\n\
         GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n\
         CREATE USER IF NOT EXISTS 'towpath'@'%' IDENTIFIED WITH caching_sha2_password BY '{PASSWORD}';\n\
         GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'towpath'@'%';\n"
    )
}

/// Points a started replica at the primary and waits until both its threads run. Does nothing to one that replicates.
pub(crate) async fn replicate(primary: u16, replica: u16) -> Result<()> {
    let options = mysql_async::OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(replica).user(Some("root"));
    let mut connection = mysql_async::Conn::new(options).await?;
    if status(&mut connection).await?.is_none() {
        let change = format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={primary}, SOURCE_USER='towpath', \
             SOURCE_PASSWORD='{PASSWORD}', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1"
        );
        connection.query_drop(change).await?;
    }
    connection.query_drop("START REPLICA").await?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let state = status(&mut connection).await?.context("the replica forgot its source")?;
        if state.0 == "Yes" && state.1 == "Yes" {
            break;
        }
        if tokio::time::Instant::now() >= deadline {
            anyhow::bail!("the replica on port {replica} does not replicate after 30 s: {}", state.2);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(connection.disconnect().await?)
}

/// The two threads' states and their last errors; `None` when no source is set.
async fn status(connection: &mut mysql_async::Conn) -> Result<Option<(String, String, String)>> {
    let Some(row) = connection.query_first::<mysql_async::Row, _>("SHOW REPLICA STATUS").await? else {
        return Ok(None);
    };
    let text = |column: &str| row.get::<Option<String>, _>(column).flatten().unwrap_or_default();
    let errors = format!("{} {}", text("Last_IO_Error"), text("Last_SQL_Error"));
    Ok(Some((text("Replica_IO_Running"), text("Replica_SQL_Running"), errors)))
}
