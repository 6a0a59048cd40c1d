//! As a semi-synchronous replica of real servers: a commit is confirmed once Kafka has it, and not before.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::task::JoinHandle;
use towpath_connectors::{KafkaConfig, KafkaLog};
use towpath_engine::ports::log::EventLog;
use towpath_stack::harness::towpath::Towpath;
use towpath_stack::harness::wait_for;
use towpath_stack::{Mysql, Stack};

/// Outcomes are judged, not clocks.
const PATIENCE: Duration = Duration::from_secs(90);
/// For so long nothing may happen.
const WHILE: Duration = Duration::from_secs(1);

/// One server, with the pipeline that reads it.
struct World<'s> {
    stack: &'s Stack,
    server: Mysql<'s>,
    /// The pipeline, its topic and the database.
    name: &'static str,
    /// What the names of its settings begin with.
    settings: &'static str,
}

impl World<'_> {
    async fn root(&self) -> Result<Conn> {
        Ok(Conn::from_url(self.server.root_url()).await?)
    }

    /// A counter of the server.
    async fn status(&self, root: &mut Conn, name: &str) -> Result<u64> {
        let name = format!("{}_{name}", self.settings);
        let row: Option<(String, u64)> = root.query_first(format!("SHOW GLOBAL STATUS LIKE '{name}'")).await?;
        Ok(row.with_context(|| format!("no status {name}"))?.1)
    }

    async fn until(&self, what: &str, name: &str, expected: u64) -> Result<()> {
        let mut root = self.root().await?;
        let mut last = 0;
        let waited = async {
            loop {
                last = self.status(&mut root, name).await?;
                if last == expected {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waited).await;
        waited.with_context(|| format!("in vain: {what}: {name} is {last}, not {expected}"))?
    }

    async fn set(&self, root: &mut Conn, setting: &str) -> Result<()> {
        Ok(root.query_drop(format!("SET GLOBAL {}_{setting}", self.settings)).await?)
    }

    fn config(&self) -> Result<std::path::PathBuf> {
        let (kafka, zookeeper) = (self.stack.kafka()?.bootstrap(), self.stack.zookeeper()?.servers());
        let (name, url) = (self.name, self.server.url());
        let text = format!(
            "[pipeline.{name}]\nstart = \"now\"\n\
             source = {{ url = \"{url}\", tables = [\"{name}.orders\"], tls = \"disabled\", semi_sync = true }}\n\
             kafka = {{ brokers = \"{kafka}\", topic = \"{name}\", partitions = 1 }}\n\
             zookeeper = {{ servers = \"{zookeeper}/{name}\", create = true, session_timeout = \"4s\" }}\n"
        );
        let config = self.stack.folder().join(format!("{name}.toml"));
        std::fs::write(&config, text)?;
        Ok(config)
    }

    async fn start(&self) -> Result<Towpath> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = self.stack.folder().join(format!("{}.log", self.name));
        let binary = Path::new(env!("CARGO_BIN_EXE_towpath"));
        let towpath =
            Towpath::start(binary, &self.config()?, "deployer", admin, &log, &["--admin", &admin.to_string()])?;
        towpath.wait_ready(PATIENCE).await?;
        // One that waits for its predecessor's session to end is ready too.
        let leads = || async { Ok((towpath.metric("towpath_leading").await? == 1.0).then_some(())) };
        wait_for("it leads", PATIENCE, leads).await.with_context(|| towpath.log_tail())?;
        self.until("it is a semi-synchronous replica", "clients", 1).await.with_context(|| towpath.log_tail())?;
        Ok(towpath)
    }

    /// The end of the topic.
    async fn log_end(&self) -> Result<i64> {
        let config = KafkaConfig { brokers: self.stack.kafka()?.bootstrap(), ..KafkaConfig::default() };
        Ok(KafkaLog::new(config)?.topic(self.name).await?.watermarks.iter().map(|(_, high)| high).sum())
    }

    /// Commits a row in a session of its own.
    async fn insert(&self, id: u32) -> Result<JoinHandle<Result<()>>> {
        let mut session = self.root().await?;
        let statement = format!("INSERT INTO {}.orders VALUES ({id}, 'x')", self.name);
        Ok(tokio::spawn(async move { Ok(session.query_drop(statement).await?) }))
    }

    /// The rows that another session sees.
    async fn visible(&self, root: &mut Conn) -> Result<u64> {
        Ok(root.query_first(format!("SELECT COUNT(*) FROM {}.orders", self.name)).await?.unwrap_or_default())
    }

    /// What `towpath check` says about semi-synchronous replication.
    fn check(&self) -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        let output = command.args(["check", "--json", "--config"]).arg(self.config()?).output()?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let findings = report["pipelines"][0]["parts"][0]["findings"].as_array().context("no findings")?.iter();
        let about =
            findings.filter_map(|finding| finding["message"].as_str()).filter(|text| text.contains("semi_sync"));
        Ok(about.collect::<Vec<_>>().join("\n"))
    }
}

async fn done(commit: JoinHandle<Result<()>>, towpath: &Towpath) -> Result<()> {
    let ended = tokio::time::timeout(PATIENCE, commit).await;
    ended.with_context(|| format!("the commit is not confirmed; the log ends:\n{}", towpath.log_tail()))??
}

/// All that holds for both kinds of servers.
async fn confirmed_once_kafka_has_it(world: &World<'_>) -> Result<()> {
    let mut root = world.root().await?;
    let name = world.name;
    for statement in [
        format!("CREATE DATABASE {name}"),
        format!("CREATE TABLE {name}.orders (id INT PRIMARY KEY, remark VARCHAR(40) NOT NULL)"),
        format!("CREATE TABLE {name}.elsewhere (id INT PRIMARY KEY, content LONGBLOB NOT NULL)"),
    ] {
        root.query_drop(statement).await?;
    }
    let off = world.check()?;
    ensure!(off.contains("switched off"), "check says {off}");
    world.set(&mut root, "timeout = 600000").await?;
    world.set(&mut root, "wait_point = 'AFTER_SYNC'").await?;
    world.set(&mut root, "enabled = ON").await?;
    let on = world.check()?;
    ensure!(on.contains("the 1 that the source waits for") && on.contains("by Towpath alone"), "check says {on}");
    let towpath = world.start().await?;

    // Each commit is answered, and when it is, Kafka has it.
    let begun = Instant::now();
    for id in 1..=20 {
        let before = world.log_end().await?;
        done(world.insert(id).await?, &towpath).await?;
        ensure!(world.log_end().await? > before, "commit {id} was confirmed before Kafka had it");
    }
    println!("{name}: 20 commits one after the other, each looked up in Kafka: {:?}", begun.elapsed());
    let commits = 50;
    let begun = Instant::now();
    for id in 101..101 + commits {
        root.query_drop(format!("INSERT INTO {name}.orders VALUES ({id}, 'y')")).await?;
    }
    println!("{name}: a commit takes {:?} on average", begun.elapsed() / commits);
    let answered = world.status(&mut root, "yes_tx").await?;
    ensure!(answered == 70, "{answered} of 70 commits were answered");

    // Larger than a frame of the protocol, of a table that is not captured.
    let size = 17 << 20;
    root.query_drop(format!("INSERT INTO {name}.elsewhere VALUES (1, REPEAT('z', {size}))")).await?;
    root.query_drop(format!("CREATE TABLE {name}.third (id INT PRIMARY KEY)")).await?;

    // Kafka stands still: nothing is confirmed, and nobody else sees it.
    let answered = world.status(&mut root, "yes_tx").await?;
    world.stack.kafka()?.brokers()[0].pause()?;
    let commit = world.insert(1_000).await?;
    world.until("the commit waits", "wait_sessions", 1).await?;
    tokio::time::sleep(WHILE).await;
    ensure!(!commit.is_finished(), "confirmed without Kafka");
    ensure!(world.visible(&mut root).await? == 70, "seen without Kafka");
    world.stack.kafka()?.brokers()[0].resume()?;
    done(commit, &towpath).await?;
    ensure!(world.visible(&mut root).await? == 71);
    ensure!(world.status(&mut root, "yes_tx").await? == answered + 1);
    ensure!(world.status(&mut root, "no_tx").await? == 0, "the source went on asynchronously");
    ensure!(towpath.stop(PATIENCE).await?.success());
    Ok(())
}

/// The source waits for another replica too. What Kafka has is then not executed there when Towpath comes back.
async fn comes_back_while_a_commit_waits(world: &World<'_>) -> Result<()> {
    let mut root = world.root().await?;
    let mut towpath = world.start().await?;
    done(world.insert(2_000).await?, &towpath).await?;
    world.set(&mut root, "wait_for_replica_count = 2").await?;
    let before = world.log_end().await?;
    let commit = world.insert(2_001).await?;
    let carried =
        wait_for("it is in Kafka", PATIENCE, || async { Ok((world.log_end().await? > before).then_some(())) });
    carried.await?;
    // The checkpoint has it: from there the next process goes on.
    let waiting: Option<String> = root.query_first("SELECT @@GLOBAL.gtid_owned").await?;
    let number = waiting.context("nothing waits")?.split([':', '#']).nth(1).unwrap_or_default().to_owned();
    let kept = wait_for("it is in the checkpoint", PATIENCE, || async {
        let (_, status) = towpath.readyz().await?;
        Ok(status.to_string().contains(&format!("-{number}")).then_some(()))
    });
    kept.await.with_context(|| towpath.log_tail())?;
    towpath.kill()?;
    let again = world.start().await?;
    ensure!(again.metric("towpath_epoch").await? == 1.0, "what waits was taken for lost: {}", again.log_tail());
    ensure!(!commit.is_finished(), "one replica is missing");
    world.set(&mut root, "wait_for_replica_count = 1").await?;
    done(world.insert(2_002).await?, &again).await?;
    done(commit, &again).await?;
    ensure!(again.metric("towpath_epoch").await? == 1.0);
    ensure!(again.stop(PATIENCE).await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_wait_for_kafka() {
    let metadata = "--binlog-row-metadata=FULL";
    let builder = Stack::builder()
        .mysql()
        .mysql_options(&[metadata, "--plugin-load-add=semisync_source.so"])
        .mariadb()
        .mariadb_options(&[metadata]);
    let stack = builder.kafka(1).zookeeper(1).start().await.unwrap();
    let mysql =
        World { stack: &stack, server: stack.mysql().unwrap(), name: "semi_mysql", settings: "rpl_semi_sync_source" };
    confirmed_once_kafka_has_it(&mysql).await.unwrap();
    comes_back_while_a_commit_waits(&mysql).await.unwrap();
    let mariadb = World {
        stack: &stack,
        server: stack.mariadb().unwrap(),
        name: "semi_mariadb",
        settings: "rpl_semi_sync_master",
    };
    confirmed_once_kafka_has_it(&mariadb).await.unwrap();
    stack.stop().await.unwrap();
}
