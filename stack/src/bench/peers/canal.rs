//! Canal's server with its way to Kafka, started by a launcher of ours (`CanalLauncher.java`): its own is not among the
//! published artifacts.
//!
//! It begins at a place in the binlog, since Canal 1.1.7 finds its place by `SHOW MASTER STATUS`, which MySQL refuses
//! from 8.4 on. FlatMessages, parallel parsing, lz4, a producer that lingers, larger batches.

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use towpath_engine::ports::log::EventLog;
use url::Url;

use super::rows::Form;
use super::{Figures, Ground, PARTITIONS, brought, java};
use crate::bench::filled::DATABASE;
use crate::install::Package;

const LAUNCHER: &str = include_str!("CanalLauncher.java");
const TOPIC: &str = "canal";

/// Runs it.
pub async fn run(ground: &Ground<'_>) -> Result<Figures> {
    let (libraries, version) = brought(&Package::Canal, "canal.server")?;
    let folder = ground.stack.folder().join("canal");
    std::fs::create_dir_all(&folder)?;
    let launcher = folder.join("CanalLauncher.java");
    std::fs::write(&launcher, LAUNCHER)?;
    ground.log.ensure_topic(TOPIC, PARTITIONS).await?;
    let mysql = ground.stack.mysql()?;
    let mut conn = Conn::from_url(mysql.root_url()).await?;
    let oldest: Option<(String, u64, String)> = conn.query_first("SHOW BINARY LOGS").await?;
    conn.disconnect().await?;
    let (oldest, ..) = oldest.context("MySQL has no binary log")?;
    let url = Url::parse(&mysql.url())?;
    let settings = [
        ("peer.port", mysql.port().to_string()),
        ("peer.user", url.username().to_owned()),
        ("peer.password", url.password().unwrap_or_default().to_owned()),
        ("peer.database", DATABASE.to_owned()),
        ("peer.filter", format!("{DATABASE}\\..*")),
        ("peer.position", format!("{{\"journalName\":\"{oldest}\",\"position\":4}}")),
        ("peer.topic", TOPIC.to_owned()),
        ("peer.partitions", PARTITIONS.to_string()),
        ("peer.hash", format!("{DATABASE}\\..*:order_id")),
        ("kafka.bootstrap.servers", ground.stack.kafka()?.bootstrap()),
        ("kafka.acks", "all".to_owned()),
        ("kafka.compression.type", "lz4".to_owned()),
        ("kafka.linger.ms", "5".to_owned()),
        ("kafka.batch.size", "1000000".to_owned()),
        ("kafka.buffer.memory", "67108864".to_owned()),
        ("kafka.max.request.size", "1048576".to_owned()),
        ("canal.mq.flatMessage", "true".to_owned()),
        ("canal.mq.canalBatchSize", "1024".to_owned()),
    ];
    let mut options = vec!["-Xms512m".to_owned(), "-Xmx2g".to_owned()];
    options.extend(settings.map(|(name, value)| format!("-D{name}={value}")));
    let log = ground.stack.folder().join("peers-canal.log");
    let main = launcher.display().to_string();
    let process = java::start(&format!("{}/*", libraries.display()), &options, &[&main], &folder, &log)?;
    ground.measure(process, &[TOPIC.to_owned()], Form::Flat, version).await
}
