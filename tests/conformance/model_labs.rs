//! The models behind the lab's interface.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use serde_json::{Value as Json, json};
use towpath_engine::env::Env;
use towpath_engine::ports::coordinator::CoordinatorFactory;
use towpath_engine::ports::index::SearchIndex;
use towpath_engine::ports::log::EventLog;
use towpath_engine::ports::source::BinlogSource;
use towpath_engine::schema::{Column, ColumnType, TableSchema};
use towpath_models::elasticsearch::{Elasticsearch, ElasticsearchConfig};
use towpath_models::kafka::{Kafka, KafkaConfig};
use towpath_models::mysql::{MySql, MySqlConfig, RowOp, Value};
use towpath_models::zookeeper::ZooKeeper;

use crate::lab::{ElasticsearchLab, KafkaLab, Labs, MySqlLab, ZooKeeperLab};

static FRESH: AtomicU64 = AtomicU64::new(0);

fn fresh(kind: &str) -> String {
    format!("{kind}-{}", FRESH.fetch_add(1, Ordering::Relaxed))
}

/// All models.
pub fn labs() -> Labs {
    let zookeeper = ZooKeeper::new(Duration::from_secs(10));
    zookeeper.create_path("/conformance");
    let env = Env::new(|| 1_795_420_000_000, 1);
    Labs {
        mysql: Box::new(MySqlModel { server: MySql::new(MySqlConfig::default(), env) }),
        kafka: Box::new(KafkaModel { kafka: Kafka::new(KafkaConfig::default()) }),
        elasticsearch: Box::new(ElasticsearchModel {
            cluster: Elasticsearch::new(ElasticsearchConfig {
                refresh_interval: None,
                ..ElasticsearchConfig::default()
            }),
        }),
        zookeeper: Box::new(ZooKeeperModel { zookeeper }),
        http: None,
    }
}

/// The suite's table, as the real lab creates it by SQL.
pub fn table_schema(name: &str) -> TableSchema {
    let id = Column { name: "id".into(), kind: ColumnType::Int, unsigned: false, nullable: false, collation: None };
    let kind = ColumnType::VarChar { max_bytes: 1600 };
    let text = Column { name: "text".into(), kind, unsigned: false, nullable: true, collation: Some(255) };
    TableSchema { database: "lab".into(), table: name.into(), columns: vec![id, text], primary_key: vec![0] }
}

struct MySqlModel {
    server: MySql,
}

#[async_trait]
impl MySqlLab for MySqlModel {
    fn source(&self) -> &dyn BinlogSource {
        &self.server
    }

    async fn table(&self) -> Result<String> {
        let name = fresh("t").replace('-', "_");
        self.server.create_table(table_schema(&name))?;
        Ok(name)
    }

    async fn insert(&self, table: &str, ids: std::ops::Range<i64>, text: &str) -> Result<()> {
        let row = |id| RowOp::insert("lab", table, vec![Value::Int(id), Value::Text(text.into())]);
        self.server.commit(&ids.map(row).collect::<Vec<_>>())?;
        Ok(())
    }

    async fn xa_prepare(&self, id: &str, table: &str, row: i64) -> Result<()> {
        self.server.xa_prepare(id, &[RowOp::insert("lab", table, vec![Value::Int(row), Value::Text("xa".into())])])?;
        Ok(())
    }

    async fn xa_finish(&self, id: &str, commit: bool) -> Result<()> {
        if commit {
            self.server.xa_commit(id)?
        } else {
            self.server.xa_rollback(id)?
        };
        Ok(())
    }

    async fn wait_for_a_replica(&self, at_most: Option<Duration>) -> Result<()> {
        self.server.wait_for_replicas(at_most);
        Ok(())
    }

    async fn begin_insert(&self, table: &str, id: i64) -> Result<()> {
        // A model's session waits nowhere.
        self.insert(table, id..id + 1, "waits").await
    }

    async fn rotate(&self) -> Result<()> {
        self.server.rotate();
        Ok(())
    }

    async fn purge(&self) -> Result<()> {
        let files = self.server.binlog_files();
        self.server.purge_to(&files.last().context("no file")?.0)?;
        Ok(())
    }

    async fn reset(&self) -> Result<()> {
        self.server.reset();
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.server.stop();
        Ok(())
    }

    async fn start(&self) -> Result<()> {
        self.server.start();
        Ok(())
    }
}

struct KafkaModel {
    kafka: Kafka,
}

#[async_trait]
impl KafkaLab for KafkaModel {
    fn log(&self) -> &dyn EventLog {
        &self.kafka
    }

    fn fresh(&self) -> String {
        fresh("topic")
    }

    async fn delete_before(&self, topic: &str, partition: u32, offset: i64) -> Result<()> {
        self.kafka.truncate_before(topic, partition, offset);
        Ok(())
    }

    async fn recreate(&self, topic: &str, partitions: u32) -> Result<()> {
        self.kafka.recreate_topic(topic, partitions);
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.kafka.stop();
        Ok(())
    }

    async fn start(&self) -> Result<()> {
        self.kafka.start();
        Ok(())
    }
}

struct ElasticsearchModel {
    cluster: Elasticsearch,
}

#[async_trait]
impl ElasticsearchLab for ElasticsearchModel {
    fn index(&self) -> &dyn SearchIndex {
        &self.cluster
    }

    fn fresh(&self) -> String {
        fresh("index")
    }

    fn body(&self, remember_deletes: bool, mappings: Json) -> Json {
        // The model remembers per cluster; bodies run one after the other.
        let keep = if remember_deletes { Duration::from_secs(3600) } else { Duration::ZERO };
        self.cluster.configure(|config| config.gc_deletes = keep);
        json!({"settings": {"number_of_shards": 1}, "mappings": mappings})
    }

    async fn write_block(&self, index: &str, blocked: bool) -> Result<()> {
        self.cluster.set_write_block(index, blocked);
        Ok(())
    }

    async fn close(&self, index: &str) -> Result<()> {
        self.cluster.set_closed(index, true);
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.cluster.stop();
        Ok(())
    }

    async fn start(&self) -> Result<()> {
        self.cluster.restart();
        Ok(())
    }
}

struct ZooKeeperModel {
    zookeeper: ZooKeeper,
}

#[async_trait]
impl ZooKeeperLab for ZooKeeperModel {
    fn factory(&self, pipeline: &str) -> Box<dyn CoordinatorFactory> {
        Box::new(self.zookeeper.factory("/conformance", pipeline))
    }

    fn without_root(&self) -> Box<dyn CoordinatorFactory> {
        Box::new(self.zookeeper.factory("/absent", "pipeline"))
    }

    fn fresh(&self) -> String {
        fresh("pipeline")
    }

    async fn delete(&self, pipeline: &str, node: &str) -> Result<()> {
        self.zookeeper.delete_path(&format!("/conformance/{pipeline}/{node}"));
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.zookeeper.stop();
        Ok(())
    }

    async fn start(&self) -> Result<()> {
        self.zookeeper.start();
        Ok(())
    }
}
