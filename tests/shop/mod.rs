//! A shop's orders on real services: one `towpath` with both roles, small tables written by hand, what a search finds.
//!
//! Must not judge: which rows an index owes is the test's to say.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use towpath_stack::harness::towpath::Towpath;
use towpath_stack::{Stack, StackBuilder};

/// Outcomes are judged, not clocks.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// The pipeline, and the database.
pub const NAME: &str = "shop";

/// An order: id, status, remark.
pub type Order = (u64, u64, String);

/// The services.
pub struct Shop {
    pub stack: Stack,
    pub http: reqwest::Client,
}

impl Shop {
    /// Starts them; `mysql` says which servers there are.
    pub async fn new(mysql: StackBuilder) -> Result<Self> {
        let builder = mysql.mysql_options(&["--binlog-row-metadata=FULL"]);
        let stack = builder.kafka(1).zookeeper(1).es(&["hot"]).start().await?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { stack, http })
    }

    /// The server that is written to.
    pub async fn primary(&self) -> Result<Conn> {
        Ok(Conn::from_url(self.stack.mysql()?.root_url()).await?)
    }

    /// Creates the table, with these rows.
    pub async fn create(&self, server: &mut Conn, rows: &str) -> Result<()> {
        let columns = "id BIGINT PRIMARY KEY, status TINYINT NOT NULL, remark VARCHAR(40) NOT NULL";
        for statement in [
            format!("CREATE DATABASE {NAME}"),
            format!("CREATE TABLE {NAME}.orders ({columns})"),
            format!("INSERT INTO {NAME}.orders VALUES {rows}"),
        ] {
            server.query_drop(statement).await?;
        }
        Ok(())
    }

    /// Starts `towpath` with these lines about the pipeline, all but those that name Kafka and ZooKeeper.
    pub fn start(&self, source: &str, sinks: &str) -> Result<Towpath> {
        let (kafka, zookeeper) = (self.stack.kafka()?.bootstrap(), self.stack.zookeeper()?.servers());
        let text = format!(
            "[pipeline.{NAME}]\nstart = \"now\"\n{source}\n\
             kafka = {{ brokers = \"{kafka}\", topic = \"{NAME}\", partitions = 2 }}\n\
             zookeeper = {{ servers = \"{zookeeper}/{NAME}\", create = true, session_timeout = \"4s\" }}\n{sinks}"
        );
        let config = self.stack.folder().join("shop.toml");
        std::fs::write(&config, text)?;
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = self.stack.folder().join("towpath.log");
        let listen = admin.to_string();
        let binary = Path::new(env!("CARGO_BIN_EXE_towpath"));
        Towpath::start(binary, &config, "all", admin, &log, &["--admin", &listen])
    }

    /// The lines of a sink of the orders.
    pub fn sink(&self, index: &str) -> Result<String> {
        let elasticsearch = self.stack.es("hot")?.url();
        Ok(format!(
            "[[pipeline.{NAME}.sink]]\nname = \"{index}\"\nelasticsearch = [\"{elasticsearch}\"]\n\
             index = \"{index}\"\ntable = \"{NAME}.orders\"\n"
        ))
    }

    /// The rows, by id.
    pub async fn rows(&self, server: &mut Conn) -> Result<Vec<Order>> {
        Ok(server.query(format!("SELECT id, status, remark FROM {NAME}.orders ORDER BY id")).await?)
    }

    /// The documents that a search through the alias finds, by id.
    pub async fn documents(&self, index: &str) -> Result<Vec<Order>> {
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
}
