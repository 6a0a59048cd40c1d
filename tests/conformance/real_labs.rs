//! The real services behind the lab's interface, on a stack of the suite's own: it restarts and resets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use towpath_connectors::{
    ElasticsearchConfig, ElasticsearchIndex, KafkaConfig, KafkaLog, MySqlSource, SourceConfig, ZooKeeperConfig,
    ZooKeeperFactory,
};
use towpath_engine::ports::coordinator::CoordinatorFactory;
use towpath_engine::ports::index::SearchIndex;
use towpath_engine::ports::log::EventLog;
use towpath_engine::ports::source::BinlogSource;
use towpath_stack::Stack;

use crate::lab::{ElasticsearchLab, KafkaLab, Labs, MySqlLab, ZooKeeperLab};

static FRESH: AtomicU64 = AtomicU64::new(0);
const WAIT: Duration = Duration::from_secs(60);

fn fresh(kind: &str) -> String {
    format!("conformance-{kind}-{}", FRESH.fetch_add(1, Ordering::Relaxed))
}

/// Starts the services.
pub async fn labs() -> Result<Labs> {
    let builder = Stack::builder().mysql().mysql_options(&["--binlog-row-metadata=FULL"]);
    let stack = Arc::new(builder.kafka(1).zookeeper(1).es(&["hot"]).start().await?);
    let url = stack.es("hot")?.url();
    let elasticsearch = ElasticsearchConfig { urls: vec![url.clone()], ..ElasticsearchConfig::default() };
    let kafka = KafkaConfig {
        brokers: stack.kafka()?.bootstrap(),
        request_timeout: Duration::from_secs(5),
        ..KafkaConfig::default()
    };
    let source = MySqlSource::new(SourceConfig::from_url(&stack.mysql()?.url())?)?;
    let mysql = RealMySql { source, stack: Arc::clone(&stack) };
    mysql.sql("CREATE DATABASE lab").await?;
    Ok(Labs {
        mysql: Box::new(mysql),
        kafka: Box::new(RealKafka { log: KafkaLog::new(kafka)?, stack: Arc::clone(&stack) }),
        elasticsearch: Box::new(RealElasticsearch {
            index: ElasticsearchIndex::new(elasticsearch)?,
            http: reqwest::Client::builder().no_proxy().build()?,
            url: url.clone(),
            stack: Arc::clone(&stack),
        }),
        zookeeper: Box::new(RealZooKeeper { stack }),
        http: Some(url),
    })
}

struct RealMySql {
    source: MySqlSource,
    stack: Arc<Stack>,
}

impl RealMySql {
    async fn sql(&self, statement: &str) -> Result<()> {
        let mut connection = mysql_async::Conn::from_url(self.stack.mysql()?.root_url()).await?;
        connection.query_drop(statement).await.with_context(|| statement.to_string())?;
        connection.disconnect().await?;
        Ok(())
    }
}

#[async_trait]
impl MySqlLab for RealMySql {
    fn source(&self) -> &dyn BinlogSource {
        &self.source
    }

    async fn table(&self) -> Result<String> {
        let name = fresh("t").replace('-', "_");
        let columns = "id INT NOT NULL PRIMARY KEY, text VARCHAR(400) NULL";
        self.sql(&format!("CREATE TABLE lab.{name} ({columns}) CHARACTER SET utf8mb4")).await?;
        Ok(name)
    }

    async fn insert(&self, table: &str, ids: std::ops::Range<i64>, text: &str) -> Result<()> {
        let rows: Vec<String> = ids.map(|id| format!("({id}, '{text}')")).collect();
        self.sql(&format!("INSERT INTO lab.{table} VALUES {}", rows.join(", "))).await
    }

    async fn xa_prepare(&self, id: &str, table: &str, row: i64) -> Result<()> {
        let mut connection = mysql_async::Conn::from_url(self.stack.mysql()?.root_url()).await?;
        let insert = format!("INSERT INTO lab.{table} VALUES ({row}, 'xa')");
        for statement in
            [&format!("XA START '{id}'"), &insert, &format!("XA END '{id}'"), &format!("XA PREPARE '{id}'")]
        {
            connection.query_drop(statement).await.with_context(|| statement.clone())?;
        }
        connection.disconnect().await?;
        Ok(())
    }

    async fn xa_finish(&self, id: &str, commit: bool) -> Result<()> {
        self.sql(&format!("XA {} '{id}'", if commit { "COMMIT" } else { "ROLLBACK" })).await
    }

    async fn wait_for_a_replica(&self, at_most: Option<Duration>) -> Result<()> {
        let Some(at_most) = at_most else {
            // Whoever waits goes on.
            return self.sql("SET GLOBAL rpl_semi_sync_source_enabled = OFF").await;
        };
        let installed = self.sql("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'").await;
        if let Err(error) = installed {
            // 1968, and 1125 of older servers: it is there.
            ensure!(format!("{error:#}").contains("already"), "{error:#}");
        }
        let timeout = at_most.as_millis().min(u128::from(u32::MAX));
        self.sql(&format!("SET GLOBAL rpl_semi_sync_source_timeout = {timeout}")).await?;
        self.sql("SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON").await?;
        self.sql("SET GLOBAL rpl_semi_sync_source_enabled = ON").await
    }

    async fn begin_insert(&self, table: &str, id: i64) -> Result<()> {
        let mut session = mysql_async::Conn::from_url(self.stack.mysql()?.root_url()).await?;
        let statement = format!("INSERT INTO lab.{table} VALUES ({id}, 'waits')");
        tokio::spawn(async move { session.query_drop(statement).await });
        Ok(())
    }

    async fn rotate(&self) -> Result<()> {
        self.sql("FLUSH BINARY LOGS").await
    }

    async fn purge(&self) -> Result<()> {
        let file = self.source.identify().await?.end.file;
        self.sql(&format!("PURGE BINARY LOGS TO '{file}'")).await?;
        // A dump of an earlier behaviour may still be ending: its file stays until then.
        let deadline = Instant::now() + WAIT;
        while self.source.identify().await?.oldest.file != file {
            ensure!(Instant::now() < deadline, "the files before {file} stay");
            sleep(Duration::from_millis(200)).await;
            self.sql(&format!("PURGE BINARY LOGS TO '{file}'")).await?;
        }
        Ok(())
    }

    async fn reset(&self) -> Result<()> {
        self.sql("RESET BINARY LOGS AND GTIDS").await
    }

    async fn stop(&self) -> Result<()> {
        self.stack.mysql()?.service().stop().await
    }

    async fn start(&self) -> Result<()> {
        self.stack.mysql()?.service().start().await
    }
}

struct RealKafka {
    log: KafkaLog,
    stack: Arc<Stack>,
}

impl RealKafka {
    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(ClientConfig::new().set("bootstrap.servers", self.stack.kafka()?.bootstrap()).create()?)
    }
}

#[async_trait]
impl KafkaLab for RealKafka {
    fn log(&self) -> &dyn EventLog {
        &self.log
    }

    fn fresh(&self) -> String {
        fresh("topic")
    }

    async fn delete_before(&self, topic: &str, partition: u32, offset: i64) -> Result<()> {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition as i32, Offset::Offset(offset))?;
        self.admin()?.delete_records(&offsets, &AdminOptions::new()).await?;
        Ok(())
    }

    async fn recreate(&self, topic: &str, partitions: u32) -> Result<()> {
        let admin = self.admin()?;
        for result in admin.delete_topics(&[topic], &AdminOptions::new()).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
        }
        let deadline = Instant::now() + WAIT;
        while self.log.topic(topic).await.is_ok() {
            ensure!(Instant::now() < deadline, "{topic} stays");
            sleep(Duration::from_millis(100)).await;
        }
        self.log.ensure_topic(topic, partitions).await?;
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.stack.service("kafka-1")?.stop().await
    }

    async fn start(&self) -> Result<()> {
        self.stack.service("kafka-1")?.start().await
    }
}

struct RealElasticsearch {
    index: ElasticsearchIndex,
    http: reqwest::Client,
    url: String,
    stack: Arc<Stack>,
}

impl RealElasticsearch {
    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<()> {
        let request = self.http.request(method, format!("{}/{path}", self.url));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await?;
        let status = response.status();
        ensure!(status.is_success(), "{path}: {status} {}", response.text().await?);
        Ok(())
    }
}

#[async_trait]
impl ElasticsearchLab for RealElasticsearch {
    fn index(&self) -> &dyn SearchIndex {
        &self.index
    }

    fn fresh(&self) -> String {
        fresh("index")
    }

    fn body(&self, remember_deletes: bool, mappings: Value) -> Value {
        let keep = if remember_deletes { "1h" } else { "500ms" };
        let settings = json!({
            "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1", "gc_deletes": keep,
        });
        json!({"settings": {"index": settings}, "mappings": mappings})
    }

    async fn write_block(&self, index: &str, blocked: bool) -> Result<()> {
        let body = json!({"index.blocks.write": blocked});
        self.ask(reqwest::Method::PUT, &format!("{index}/_settings"), Some(body)).await
    }

    async fn close(&self, index: &str) -> Result<()> {
        self.ask(reqwest::Method::POST, &format!("{index}/_close"), None).await
    }

    async fn stop(&self) -> Result<()> {
        // Flushed, the restart replays nothing: a replayed delete would be remembered again.
        self.ask(reqwest::Method::POST, "_flush?force=true", None).await?;
        self.stack.es("hot")?.service().stop().await
    }

    async fn start(&self) -> Result<()> {
        self.stack.es("hot")?.service().start().await?;
        let health = "_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards=true&timeout=60s";
        self.ask(reqwest::Method::GET, health, None).await
    }
}

struct RealZooKeeper {
    stack: Arc<Stack>,
}

impl RealZooKeeper {
    fn config(&self, root: &str, pipeline: &str, create_root: bool) -> Result<Box<dyn CoordinatorFactory>> {
        let config = ZooKeeperConfig {
            servers: self.stack.zookeeper()?.servers(),
            root: root.into(),
            pipeline: pipeline.into(),
            create_root,
            ..ZooKeeperConfig::default()
        };
        Ok(Box::new(ZooKeeperFactory::new(config)?))
    }
}

#[async_trait]
impl ZooKeeperLab for RealZooKeeper {
    fn factory(&self, pipeline: &str) -> Box<dyn CoordinatorFactory> {
        self.config("/conformance", pipeline, true)
            .unwrap_or_else(|error| unreachable!("a good configuration: {error}"))
    }

    fn without_root(&self) -> Box<dyn CoordinatorFactory> {
        self.config("/absent", "pipeline", false).unwrap_or_else(|error| unreachable!("a good configuration: {error}"))
    }

    fn fresh(&self) -> String {
        fresh("pipeline")
    }

    async fn delete(&self, pipeline: &str, node: &str) -> Result<()> {
        let client = zookeeper_client::Client::connect(&self.stack.zookeeper()?.servers()).await?;
        client.delete(&format!("/conformance/{pipeline}/{node}"), None).await?;
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.stack.service("zookeeper-1")?.stop().await
    }

    async fn start(&self) -> Result<()> {
        self.stack.service("zookeeper-1")?.start().await
    }
}
