//! The main job on the real services, as a user sees it: what a client commits in MySQL is found by a search within
//! about a second, a second process stands by and takes over, and signals end it as documented.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use towpath_stack::Stack;
use towpath_stack::harness::towpath::Towpath;
use towpath_stack::harness::wait_for;

/// Outcomes are judged, not clocks: times are printed.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    stack: Stack,
    folder: tempfile::TempDir,
    conn: Conn,
    http: reqwest::Client,
    /// The pipeline's name, also that of its database, topic and indices: its own in each run on a shared stack.
    name: String,
}

impl World {
    /// `kind` sets a test's database, topic and indices apart from the others'.
    async fn new(kind: &str) -> Result<Self> {
        let builder = Stack::builder().mysql().kafka(1).zookeeper(1).es(&["hot"]);
        let stack = Stack::attach_or_start(builder).await?;
        let mut conn = Conn::from_url(stack.mysql()?.root_url()).await?;
        let name = format!("{kind}{}", std::process::id());
        conn.query_drop(format!("CREATE DATABASE {name}")).await?;
        conn.query_drop(format!("USE {name}")).await?;
        let columns = "id BIGINT PRIMARY KEY, status TINYINT NOT NULL, remark VARCHAR(40)";
        conn.query_drop(format!("CREATE TABLE orders ({columns})")).await?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { stack, folder: tempfile::tempdir()?, conn, http, name })
    }

    fn config(&self) -> Result<PathBuf> {
        let path = self.folder.path().join("shop.toml");
        let (kafka, zookeeper) = (self.stack.kafka()?.bootstrap(), self.stack.zookeeper()?.servers());
        let (elasticsearch, name) = (self.stack.es("hot")?.url(), &self.name);
        let sink = |kind: &str, when: &str| {
            format!(
                "[[pipeline.{name}.sink]]\nname = \"{kind}\"\nelasticsearch = [\"{elasticsearch}\"]\n\
                 index = \"{name}-{kind}\"\ntable = \"{name}.orders\"\n{when}\n"
            )
        };
        let text = format!(
            "[pipeline.{name}]\nstart = \"now\"\nsource = {{ url = \"{}\", tables = [\"{name}.*\"] }}\n\
             kafka = {{ brokers = \"{kafka}\", topic = \"{name}\", partitions = 2 }}\n\
             zookeeper = {{ servers = \"{zookeeper}/run-real\", create = true, session_timeout = \"4s\" }}\n{}{}",
            self.stack.mysql()?.url(),
            sink("full", ""),
            sink("active", "when = \"row.status in [1, 2]\""),
        );
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn start(&self, name: &str) -> Result<Towpath> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = self.folder.path().join(format!("{name}.log"));
        let listen = admin.to_string();
        let binary = Path::new(env!("CARGO_BIN_EXE_towpath"));
        Towpath::start(binary, &self.config()?, "all", admin, &log, &["--admin", &listen])
    }

    /// What `towpath schema` prints as JSON.
    fn schema(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        let output =
            command.arg("schema").args(arguments).arg("--json").arg("--config").arg(self.config()?).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    async fn sql(&mut self, statement: &str) -> Result<()> {
        Ok(self.conn.query_drop(statement).await?)
    }

    /// An order in an XA transaction of its own, up to XA PREPARE.
    async fn prepare(&mut self, id: u64) -> Result<()> {
        let xid = format!("'{}','{id}'", self.name);
        self.sql(&format!("XA START {xid}")).await?;
        self.sql(&format!("INSERT INTO orders VALUES ({id}, 1, 'prepared')")).await?;
        self.sql(&format!("XA END {xid}")).await?;
        self.sql(&format!("XA PREPARE {xid}")).await
    }

    /// XA COMMIT or XA ROLLBACK of an order that was prepared.
    async fn finish(&mut self, word: &str, id: u64) -> Result<()> {
        let statement = format!("XA {word} '{}','{id}'", self.name);
        self.sql(&statement).await
    }

    /// The remark of the order as a query through the alias sees it; `None` if no order is found.
    async fn search(&self, kind: &str, id: u64) -> Result<Option<String>> {
        let url = format!("{}/{}-{kind}/_search?q=id:{id}", self.stack.es("hot")?.url(), self.name);
        let answer: Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
        Ok(answer["hits"]["hits"][0]["_source"]["remark"].as_str().map(str::to_owned))
    }

    /// Waits until the search sees this; how long that took.
    async fn found(&self, kind: &str, id: u64, remark: Option<&str>) -> Result<Duration> {
        let began = Instant::now();
        wait_for(&format!("{remark:?} as order {id} in {kind}"), PATIENCE, || async {
            let seen = self.search(kind, id).await?;
            Ok((seen.as_deref() == remark).then_some(()))
        })
        .await?;
        Ok(began.elapsed())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_found_within_about_a_second_through_failover_and_restart() {
    let mut world = World::new("shop").await.unwrap();
    let first = world.start("first").unwrap();
    first.wait_ready(PATIENCE).await.unwrap();

    rows_become_documents(&mut world).await.with_context(|| first.log_tail()).unwrap();
    admin_pages(&world, &first).await.unwrap();

    let second = world.start("second").unwrap();
    second.wait_ready(PATIENCE).await.unwrap();
    hand_over(&mut world, first, &second).await.unwrap();

    quick_exit(&world, second).await.unwrap();

    // What was committed while nobody ran is carried by the next start.
    world.sql("INSERT INTO orders VALUES (30, 1, 'in between')").await.unwrap();
    let third = world.start("third").unwrap();
    third.wait_ready(PATIENCE).await.unwrap();
    world.found("full", 30, Some("in between")).await.unwrap();
    assert_eq!(third.stop(PATIENCE).await.unwrap().code(), Some(0));
}

/// Prepared before, finished after a restart of the deployer, or while none runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_transactions_are_carried_at_their_commit_over_restarts() {
    let mut world = World::new("xa").await.unwrap();
    let first = world.start("first").unwrap();
    first.wait_ready(PATIENCE).await.unwrap();
    for id in [1, 2, 3, 4] {
        world.prepare(id).await.unwrap();
    }
    world.finish("ROLLBACK", 4).await.unwrap();
    world.sql("INSERT INTO orders VALUES (10, 1, 'between')").await.unwrap();
    world.found("full", 10, Some("between")).await.with_context(|| first.log_tail()).unwrap();
    assert_eq!(first.stop(PATIENCE).await.unwrap().code(), Some(0));

    world.finish("COMMIT", 1).await.unwrap();
    let second = world.start("second").unwrap();
    second.wait_ready(PATIENCE).await.unwrap();
    world.found("full", 1, Some("prepared")).await.with_context(|| second.log_tail()).unwrap();
    world.finish("ROLLBACK", 2).await.unwrap();
    world.finish("COMMIT", 3).await.unwrap();
    world.found("full", 3, Some("prepared")).await.with_context(|| second.log_tail()).unwrap();
    // A later change of the row is a later version.
    world.sql("UPDATE orders SET remark = 'after the commit' WHERE id = 3").await.unwrap();
    world.found("full", 3, Some("after the commit")).await.unwrap();
    for id in [2, 4] {
        assert_eq!(world.search("full", id).await.unwrap(), None, "order {id} was rolled back");
    }
    assert_eq!(second.stop(PATIENCE).await.unwrap().code(), Some(0));
}

/// A statement that leaves a table's columns unknown holds its rows; the command that resolves it brings them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_table_that_is_not_understood_are_held_until_it_is_resolved() {
    let mut world = World::new("held").await.unwrap();
    world.sql("ALTER TABLE orders ADD e ENUM('a','it''s') CHARACTER SET latin1").await.unwrap();
    let running = world.start("running").unwrap();
    running.wait_ready(PATIENCE).await.unwrap();
    // The bytes of the members are other text in UTF-16: they can be named by their numbers only.
    world.sql("ALTER TABLE orders CONVERT TO CHARACTER SET utf16").await.unwrap();
    world.sql("INSERT INTO orders VALUES (1, 1, 'held', 1)").await.unwrap();
    let held = wait_for("the table to be held", PATIENCE, || async {
        let shown = world.schema(&["show"])?;
        Ok(shown["pipelines"][0]["held"].get(0).cloned())
    });
    let held = held.await.with_context(|| running.log_tail()).unwrap();
    assert_eq!((held["database"].as_str(), held["table"].as_str()), (Some(world.name.as_str()), Some("orders")));
    assert!(held["detail"].as_str().unwrap().contains("members of `e`"), "{held}");
    assert_eq!(world.search("full", 1).await.unwrap(), None);

    let columns = "id BIGINT PRIMARY KEY, status TINYINT NOT NULL, remark VARCHAR(40), e ENUM('a','it''s')";
    let definition = world.folder.path().join("orders.sql");
    std::fs::write(&definition, format!("CREATE TABLE orders ({columns}) CHARACTER SET utf16;\n")).unwrap();
    let table = format!("{}.orders", world.name);
    let resolved = world.schema(&["resolve", "--table", &table, "--define", definition.to_str().unwrap()]).unwrap();
    assert_eq!(resolved["written"], true, "{resolved}");
    world.found("full", 1, Some("held")).await.with_context(|| running.log_tail()).unwrap();
    assert_eq!(world.schema(&["show"]).unwrap()["pipelines"][0]["held"], serde_json::json!([]));
    assert_eq!(running.stop(PATIENCE).await.unwrap().code(), Some(0));
}

async fn rows_become_documents(world: &mut World) -> Result<()> {
    world.sql("INSERT INTO orders VALUES (1, 1, 'created'), (2, 9, 'done')").await?;
    let took = world.found("active", 1, Some("created")).await?;
    println!("an order is found {} ms after its commit", took.as_millis());
    world.found("full", 2, Some("done")).await?;
    ensure!(world.search("active", 2).await?.is_none(), "a row that does not match has a document");

    world.sql("UPDATE orders SET status = 9, remark = 'gone' WHERE id = 1").await?;
    world.found("full", 1, Some("gone")).await?;
    world.found("active", 1, None).await?;
    world.sql("UPDATE orders SET status = 2, remark = 'back' WHERE id = 1").await?;
    world.found("active", 1, Some("back")).await?;
    world.sql("DELETE FROM orders WHERE id = 1").await?;
    world.found("active", 1, None).await?;
    world.found("full", 1, None).await?;
    Ok(())
}

async fn admin_pages(world: &World, process: &Towpath) -> Result<()> {
    let get = async |path: &str| {
        let answer = world.http.get(format!("http://{}{path}", process.admin())).send().await?;
        let content_type =
            answer.headers().get("content-type").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok::<_, anyhow::Error>((answer.status().as_u16(), content_type.unwrap_or_default(), answer.text().await?))
    };
    let (status, content_type, body) = get("/metrics").await?;
    ensure!(
        (status, content_type.as_str()) == (200, "text/plain; version=0.0.4; charset=utf-8"),
        "{status} {content_type}"
    );
    let name = &world.name;
    for expected in [
        "# TYPE towpath_rows_total counter".to_owned(),
        format!("towpath_leading{{pipeline=\"{name}\"}} 1"),
        format!("towpath_ready{{pipeline=\"{name}\",part=\"sink\",sink=\"active\"}} 1"),
        "process_resident_memory_bytes ".to_owned(),
    ] {
        ensure!(body.contains(&expected), "{expected} is missing in\n{body}");
    }
    let present = |metric: &str| body.contains(&format!("# TYPE {metric} "));
    for (file, metrics) in [
        ("deploy/prometheus/alerts.yml", metrics_of("deploy/prometheus/alerts.yml", "expr: ")?),
        ("docs/metrics.md", metrics_of("docs/metrics.md", "| `")?),
    ] {
        ensure!(metrics.len() > 5, "{file} names {metrics:?}");
        let missing: Vec<_> = metrics.iter().filter(|metric| !present(metric)).collect();
        ensure!(missing.is_empty(), "{file} names metrics that are not there: {missing:?}");
    }
    let (status, _, body) = get("/healthz").await?;
    ensure!(status == 200 && body == "ok\n", "{status} {body}");
    ensure!(get("/nothing").await?.0 == 404);
    Ok(())
}

/// The metrics that a file names in its lines with this mark.
fn metrics_of(file: &str, mark: &str) -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
    let lines =
        text.lines().filter_map(|line| line.trim_start().split_once(mark).filter(|(before, _)| before.is_empty()));
    // What a metric means may name others: in a table only the first cell counts.
    let cells = lines.map(|(_, rest)| rest.split(" | ").next().unwrap_or(rest));
    let words = cells.flat_map(|cell| cell.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
    Ok(words.filter(|word| word.starts_with("towpath_") || word.starts_with("process_")).map(str::to_owned).collect())
}

/// SIGTERM ends the leader in order, and the one that stood by goes on.
async fn hand_over(world: &mut World, first: Towpath, second: &Towpath) -> Result<()> {
    let (_, report) = second.readyz().await?;
    ensure!(report["pipelines"][0]["deployer"]["role"] == "standby", "{report}");
    let began = Instant::now();
    let status = first.stop(PATIENCE).await?;
    ensure!(status.code() == Some(0), "the first ended with {status}");
    world.sql("INSERT INTO orders VALUES (20, 1, 'after the handing over')").await?;
    wait_for("the second to lead", PATIENCE, || async {
        let (_, report) = second.readyz().await?;
        Ok((report["pipelines"][0]["deployer"]["role"] == "leader").then_some(()))
    })
    .await?;
    println!("the lead is handed over in {} ms", began.elapsed().as_millis());
    wait_for("the order in full", PATIENCE, || async {
        Ok((world.search("full", 20).await?.as_deref() == Some("after the handing over")).then_some(()))
    })
    .await
}

/// With Kafka frozen nothing can be finished: the first signal waits, the second ends it at once.
async fn quick_exit(world: &World, mut process: Towpath) -> Result<()> {
    let broker = world.stack.service("kafka-1")?;
    broker.pause()?;
    let outcome = async {
        for _ in 0..2 {
            let pid = process.pid().to_string();
            ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "no signal was sent");
            if process.ended()?.is_none() {
                // Signals of one kind that wait together are one: the second is sent after the first was taken.
                wait_for("the first signal's line in the log, or the end", PATIENCE, || async {
                    Ok(process.log_tail().contains("draining").then_some(()))
                })
                .await?;
            }
        }
        wait_for("the end", PATIENCE, || {
            let ended = process.ended();
            async { ended }
        })
        .await
    }
    .await;
    broker.resume()?;
    let status = outcome?;
    ensure!(status.code() == Some(130), "ended with {status}:\n{}", process.log_tail());
    Ok(())
}
