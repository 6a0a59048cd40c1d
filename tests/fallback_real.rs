//! Past a dead Kafka on the real services: documents follow their rows while no broker lives, and when it is back
//! everything is in it too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
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
        let builder = Stack::builder().mysql().mysql_options(&["--binlog-row-metadata=FULL"]);
        let stack = builder.kafka(1).zookeeper(1).es(&["hot"]).start().await?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { stack, http })
    }

    fn config(&self) -> Result<PathBuf> {
        let (kafka, zookeeper) = (self.stack.kafka()?.bootstrap(), self.stack.zookeeper()?.servers());
        let (source, elasticsearch) = (self.stack.mysql()?.url(), self.stack.es("hot")?.url());
        let text = format!(
            "[pipeline.{NAME}]\nstart = \"now\"\n\
             source = {{ url = \"{source}\", tables = [\"{NAME}.*\"] }}\n\
             fallback = {{ automatic = true, after = \"2s\" }}\n\
             kafka = {{ brokers = \"{kafka}\", topic = \"{NAME}\", partitions = 2 }}\n\
             zookeeper = {{ servers = \"{zookeeper}/fallback\", create = true, session_timeout = \"4s\" }}\n\
             [[pipeline.{NAME}.sink]]\nname = \"all\"\nelasticsearch = [\"{elasticsearch}\"]\n\
             index = \"all\"\ntable = \"{NAME}.orders\"\n"
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

    /// `towpath fallback …`, as JSON.
    fn fallback(&self, verb: &str) -> Result<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        let config = self.stack.folder().join("shop.toml");
        let output = command.args(["fallback", verb, "--json", "--config"]).arg(config).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The documents that a search through the alias finds: id, status, remark.
    async fn documents(&self) -> Result<Vec<(u64, u64, String)>> {
        let url = format!("{}/all/_search?size=1000&sort=id", self.stack.es("hot")?.url());
        let answer: Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
        let hits = answer["hits"]["hits"].as_array().context("no hits")?;
        let document = |hit: &Value| {
            let source = &hit["_source"];
            let remark = source["remark"].as_str().unwrap_or_default().to_owned();
            (source["id"].as_u64().unwrap_or(0), source["status"].as_u64().unwrap_or(0), remark)
        };
        Ok(hits.iter().map(document).collect())
    }

    /// The journals' indexes.
    async fn journals(&self) -> Result<String> {
        let url = format!("{}/_cat/indices/towpath-journal-*?h=index", self.stack.es("hot")?.url());
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?.trim().to_owned())
    }

    /// Waits until the documents equal the rows.
    async fn equal(&self, server: &mut Conn, what: &str) -> Result<()> {
        let rows: Vec<(u64, u64, String)> =
            server.query(format!("SELECT id, status, remark FROM {NAME}.orders ORDER BY id")).await?;
        wait_for(what, PATIENCE, || async { Ok((self.documents().await? == rows).then_some(())) })
            .await
            .with_context(|| format!("the rows are {rows:?}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_follow_their_rows_while_no_broker_lives() {
    let world = World::new().await.unwrap();
    let mut server = Conn::from_url(world.stack.mysql().unwrap().root_url()).await.unwrap();
    let columns = "id BIGINT PRIMARY KEY, status TINYINT NOT NULL, remark VARCHAR(40) NOT NULL";
    for statement in [
        format!("CREATE DATABASE {NAME}"),
        format!("CREATE TABLE {NAME}.orders ({columns})"),
        format!("INSERT INTO {NAME}.orders VALUES (1, 1, 'old'), (2, 1, 'old'), (3, 2, 'old')"),
    ] {
        server.query_drop(statement).await.unwrap();
    }
    let towpath = world.start().unwrap();
    towpath.wait_ready(PATIENCE).await.unwrap();
    let told = || towpath.log_tail();
    server.query_drop(format!("UPDATE {NAME}.orders SET remark = 'before'")).await.unwrap();
    server.query_drop(format!("INSERT INTO {NAME}.orders VALUES (4, 1, 'before')")).await.unwrap();
    world.equal(&mut server, "through Kafka").await.with_context(told).unwrap();

    world.stack.kafka().unwrap().brokers()[0].kill().await.unwrap();
    for (number, statement) in [
        format!("INSERT INTO {NAME}.orders VALUES (5, 1, 'during')"),
        format!("UPDATE {NAME}.orders SET status = 9 WHERE id = 1"),
        format!("DELETE FROM {NAME}.orders WHERE id = 2"),
        format!("UPDATE {NAME}.orders SET id = 30 WHERE id = 3"),
    ]
    .into_iter()
    .enumerate()
    {
        server.query_drop(statement).await.unwrap();
        world.equal(&mut server, &format!("change {number} without Kafka")).await.with_context(told).unwrap();
    }
    let status = world.fallback("status").unwrap();
    assert_eq!((&status["direct"], &status["wish"]), (&Value::Bool(true), &Value::from("auto")), "{status}");
    assert!(world.journals().await.unwrap().starts_with("towpath-journal-shop-all-"));
    let (_, shown) = towpath.readyz().await.unwrap();
    assert!(shown.to_string().contains("written directly"), "{shown}");

    world.stack.kafka().unwrap().brokers()[0].start().await.unwrap();
    server.query_drop(format!("INSERT INTO {NAME}.orders VALUES (6, 1, 'after')")).await.unwrap();
    world.equal(&mut server, "through Kafka again").await.with_context(told).unwrap();
    let over = wait_for("all is in Kafka", PATIENCE, || async {
        let done = world.fallback("status")?["runs"] == Value::Array(Vec::new()) && world.journals().await?.is_empty();
        Ok(done.then_some(()))
    });
    over.await.with_context(told).unwrap();
    // By hand, with Kafka up; and back.
    assert_eq!(world.fallback("on").unwrap()["wish"], "on");
    let direct = wait_for("told to write directly", PATIENCE, || async {
        Ok((world.fallback("status")?["direct"] == true).then_some(()))
    });
    direct.await.with_context(told).unwrap();
    server.query_drop(format!("INSERT INTO {NAME}.orders VALUES (7, 1, 'by hand')")).await.unwrap();
    world.equal(&mut server, "by hand").await.with_context(told).unwrap();
    world.fallback("auto").unwrap();
    server.query_drop(format!("INSERT INTO {NAME}.orders VALUES (8, 1, 'end')")).await.unwrap();
    world.equal(&mut server, "at the end").await.with_context(told).unwrap();
    towpath.wait_ready(PATIENCE).await.with_context(told).unwrap();
    assert_eq!(towpath.stop(PATIENCE).await.unwrap().code(), Some(0));
    world.stack.stop().await.unwrap();
}
