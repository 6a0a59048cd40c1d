//! Failover on the real services: the primary is killed, a replica promoted, and Elasticsearch equals the new primary,
//! with a tail that died with the old one too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use towpath_stack::Stack;
use towpath_stack::harness::towpath::Towpath;
use towpath_stack::harness::wait_for;

/// Outcomes are judged, not clocks.
const PATIENCE: Duration = Duration::from_secs(90);
const NAME: &str = "shop";

struct World {
    stack: Stack,
    http: reqwest::Client,
}

impl World {
    async fn new() -> Result<Self> {
        let builder = Stack::builder().mysql().mysql_replicas(1).mysql_options(&["--binlog-row-metadata=FULL"]);
        let stack = builder.kafka(1).zookeeper(1).es(&["hot"]).start().await?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { stack, http })
    }

    async fn primary(&self) -> Result<Conn> {
        Ok(Conn::from_url(self.stack.mysql()?.root_url()).await?)
    }

    async fn replica(&self) -> Result<Conn> {
        Ok(Conn::from_url(self.stack.mysql_replica(1)?.root_url()).await?)
    }

    fn config(&self) -> Result<PathBuf> {
        let (kafka, zookeeper) = (self.stack.kafka()?.bootstrap(), self.stack.zookeeper()?.servers());
        let (source, standby) = (self.stack.mysql()?.url(), self.stack.mysql_replica(1)?.url());
        let elasticsearch = self.stack.es("hot")?.url();
        let text = format!(
            "[pipeline.{NAME}]\nstart = \"now\"\n\
             source = {{ url = \"{source}\", standby = [\"{standby}\"], tables = [\"{NAME}.*\"] }}\n\
             failover = {{ after = \"2s\", catchup = \"60s\" }}\n\
             kafka = {{ brokers = \"{kafka}\", topic = \"{NAME}\", partitions = 2 }}\n\
             zookeeper = {{ servers = \"{zookeeper}/failover\", create = true, session_timeout = \"4s\" }}\n\
             [[pipeline.{NAME}.sink]]\nname = \"all\"\nelasticsearch = [\"{elasticsearch}\"]\n\
             index = \"all\"\ntable = \"{NAME}.orders\"\n\
             [[pipeline.{NAME}.sink]]\nname = \"active\"\nelasticsearch = [\"{elasticsearch}\"]\n\
             index = \"active\"\ntable = \"{NAME}.orders\"\nwhen = \"row.status in [1, 2]\"\n"
        );
        let path = self.stack.folder().join("shop.toml");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn start(&self) -> Result<Towpath> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = self.stack.folder().join("towpath.log");
        let listen = admin.to_string();
        let binary = Path::new(env!("CARGO_BIN_EXE_towpath"));
        Towpath::start(binary, &self.config()?, "all", admin, &log, &["--admin", &listen])
    }

    /// The documents that a search through the alias finds: id, status, remark.
    async fn documents(&self, index: &str) -> Result<Vec<(u64, u64, String)>> {
        let url = format!("{}/{index}/_search?size=1000&sort=id", self.stack.es("hot")?.url());
        let answer: Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
        let hits = answer["hits"]["hits"].as_array().context("no hits")?;
        let document = |hit: &Value| {
            let source = &hit["_source"];
            let remark = source["remark"].as_str().unwrap_or_default().to_owned();
            (source["id"].as_u64().unwrap_or(0), source["status"].as_u64().unwrap_or(0), remark)
        };
        Ok(hits.iter().map(document).collect())
    }

    /// Waits until both indexes equal the rows of this server.
    async fn equal(&self, server: &mut Conn, what: &str) -> Result<()> {
        let rows: Vec<(u64, u64, String)> =
            server.query(format!("SELECT id, status, remark FROM {NAME}.orders ORDER BY id")).await?;
        let active: Vec<_> = rows.iter().filter(|row| matches!(row.1, 1 | 2)).cloned().collect();
        wait_for(what, PATIENCE, || async {
            let found = (self.documents("all").await?, self.documents("active").await?);
            Ok((found.0 == rows && found.1 == active).then_some(()))
        })
        .await
        .with_context(|| format!("the rows are {rows:?}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_equal_the_promoted_replica_also_where_a_tail_was_lost() {
    let world = World::new().await.unwrap();
    let mut primary = world.primary().await.unwrap();
    let mut replica = world.replica().await.unwrap();
    let columns = "id BIGINT PRIMARY KEY, status TINYINT NOT NULL, remark VARCHAR(40) NOT NULL";
    for statement in [
        format!("CREATE DATABASE {NAME}"),
        format!("CREATE TABLE {NAME}.orders ({columns})"),
        format!("INSERT INTO {NAME}.orders VALUES (1, 1, 'kept'), (2, 1, 'kept'), (3, 2, 'kept'), (4, 9, 'kept')"),
    ] {
        primary.query_drop(statement).await.unwrap();
    }
    let towpath = world.start().unwrap();
    towpath.wait_ready(PATIENCE).await.unwrap();
    let told = || towpath.log_tail();
    for statement in [
        format!("UPDATE {NAME}.orders SET remark = 'both'"),
        format!("INSERT INTO {NAME}.orders VALUES (5, 1, 'both')"),
    ] {
        primary.query_drop(statement).await.unwrap();
    }
    world.equal(&mut primary, "what both have").await.with_context(told).unwrap();
    let executed: Option<String> = primary.query_first("SELECT @@GLOBAL.gtid_executed").await.unwrap();
    let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{}', 60)", executed.unwrap());
    let timed_out: Option<u8> = replica.query_first(wait).await.unwrap();
    assert_eq!(timed_out, Some(0), "the replica does not follow");

    // From here on the replica gets nothing more: what is committed and carried now dies with the primary.
    replica.query_drop("STOP REPLICA").await.unwrap();
    for statement in [
        format!("UPDATE {NAME}.orders SET status = 9, remark = 'lost' WHERE id = 1"),
        format!("DELETE FROM {NAME}.orders WHERE id = 2"),
        format!("INSERT INTO {NAME}.orders VALUES (6, 1, 'lost')"),
        format!("UPDATE {NAME}.orders SET id = 7, remark = 'lost' WHERE id = 3"),
    ] {
        primary.query_drop(statement).await.unwrap();
    }
    world.equal(&mut primary, "the tail that will be lost").await.with_context(told).unwrap();
    world.stack.mysql().unwrap().service().kill().await.unwrap();
    for statement in [
        "RESET REPLICA ALL".to_owned(),
        "SET GLOBAL super_read_only = OFF".to_owned(),
        "SET GLOBAL read_only = OFF".to_owned(),
        format!("INSERT INTO {NAME}.orders VALUES (8, 1, 'new')"),
        format!("UPDATE {NAME}.orders SET remark = 'new' WHERE id = 4"),
    ] {
        replica.query_drop(statement).await.unwrap();
    }
    world.equal(&mut replica, "the promoted replica").await.with_context(told).unwrap();
    let (ready, status) = towpath.readyz().await.unwrap();
    assert!(ready, "{status}");
    assert_eq!(towpath.stop(PATIENCE).await.unwrap().code(), Some(0));
    world.stack.stop().await.unwrap();
}
