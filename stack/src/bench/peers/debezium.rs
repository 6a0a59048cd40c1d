//! Debezium's MySQL connector on a standalone Kafka Connect.
//!
//! Its defaults, but for what a person who wants throughput sets: larger batches and queue, a producer that lingers,
//! lz4, JSON without schemas, and the heap that its queue needs.

use anyhow::{Context, Result};
use std::net::TcpListener;
use towpath_engine::ports::log::EventLog;
use url::Url;

use super::rows::Form;
use super::{Figures, Ground, PARTITIONS, TABLES, brought, java};
use crate::bench::filled::DATABASE;
use crate::install::Package;

/// The first part of its topics' names.
const PREFIX: &str = "debezium";

/// Runs it.
pub async fn run(ground: &Ground<'_>) -> Result<Figures> {
    let (libraries, version) = brought(&Package::Debezium, "debezium-connector-mysql")?;
    let folder = ground.stack.folder().join("debezium");
    std::fs::create_dir_all(&folder)?;
    let topics: Vec<String> = TABLES.iter().map(|table| format!("{PREFIX}.{DATABASE}.{table}")).collect();
    for topic in &topics {
        ground.log.ensure_topic(topic, PARTITIONS).await?;
    }
    let brokers = ground.stack.kafka()?.bootstrap();
    let rest = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let worker = format!(
        "bootstrap.servers={brokers}\nlisteners=http://{rest}\noffset.storage.file.filename={}\n\
         key.converter=org.apache.kafka.connect.json.JsonConverter\nkey.converter.schemas.enable=false\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=false\n\
         plugin.discovery=service_load\nproducer.compression.type=lz4\nproducer.linger.ms=5\n\
         producer.batch.size=1000000\nproducer.buffer.memory=67108864\nproducer.acks=all\n",
        folder.join("offsets").display()
    );
    let url = Url::parse(&ground.stack.mysql()?.url())?;
    let connector = format!(
        "name=peer\nconnector.class=io.debezium.connector.mysql.MySqlConnector\ntasks.max=1\n\
         database.hostname=127.0.0.1\ndatabase.port={}\ndatabase.user={}\ndatabase.password={}\n\
         database.server.id=77001\ndatabase.ssl.mode=disabled\ndriver.allowPublicKeyRetrieval=true\n\
         topic.prefix={PREFIX}\ntable.include.list={}\nsnapshot.mode=never\ninclude.schema.changes=false\n\
         schema.history.internal=io.debezium.storage.kafka.history.KafkaSchemaHistory\n\
         schema.history.internal.kafka.bootstrap.servers={brokers}\nschema.history.internal.kafka.topic={PREFIX}.history\n\
         max.batch.size=8192\nmax.queue.size=32768\npoll.interval.ms=50\n",
        url.port().context("MySQL's URL has no port")?,
        url.username(),
        url.password().unwrap_or_default(),
        TABLES.map(|table| format!("{DATABASE}.{table}")).join(",")
    );
    let (worker_file, connector_file) = (folder.join("worker.properties"), folder.join("connector.properties"));
    std::fs::write(&worker_file, worker)?;
    std::fs::write(&connector_file, connector)?;
    let options = ["-Xms512m".to_owned(), "-Xmx2g".to_owned()];
    let (worker, connector) = (worker_file.display().to_string(), connector_file.display().to_string());
    let main = ["org.apache.kafka.connect.cli.ConnectStandalone", &worker, &connector];
    let log = ground.stack.folder().join("peers-debezium.log");
    let process = java::start(&format!("{}/*", libraries.display()), &options, &main, &folder, &log)?;
    ground.measure(process, &topics, Form::Envelope, version).await
}
