//! Bad input as users meet it, on real services: each ends (or waits) with its named cause, its exit status and a
//! sentence that says what to do, and `towpath check` says so beforehand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use towpath_connectors::{KafkaConfig, KafkaLog, ZooKeeperConfig, ZooKeeperFactory};
use towpath_engine::ports::coordinator::{CoordinatorFactory, NodeWrite};
use towpath_engine::ports::log::EventLog;
use towpath_engine::state;
use towpath_stack::Stack;
use towpath_stack::harness::towpath::Towpath;
use towpath_stack::harness::wait_for;

/// No run of this test may take longer before it ends by itself.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    stack: Stack,
    folder: tempfile::TempDir,
}

/// A configuration in the making: the good one, with replacements.
struct Case<'w> {
    world: &'w World,
    name: String,
    text: String,
}

impl World {
    async fn sql(&self, statements: &[&str]) -> Result<()> {
        let mut conn = Conn::from_url(self.stack.mysql()?.root_url()).await?;
        for statement in statements {
            conn.query_drop(*statement).await.with_context(|| (*statement).to_owned())?;
        }
        Ok(conn.disconnect().await?)
    }

    /// A configuration that is in order: one pipeline without a sink.
    fn good(&self, name: &str) -> Result<Case<'_>> {
        // A shared stack keeps what earlier runs of this test left.
        let name = format!("{name}{}", std::process::id());
        let text = format!(
            "[pipeline.{name}]\nstart = \"now\"\nsource = {{ url = \"{}\", tables = [\"bad.t\"] }}\n\
             kafka = {{ brokers = \"{}\", topic = \"{name}\", partitions = 2 }}\n\
             zookeeper = {{ servers = \"{}/bad-input\", create = true, session_timeout = \"4s\" }}\n",
            self.stack.mysql()?.url(),
            self.stack.kafka()?.bootstrap(),
            self.stack.zookeeper()?.servers(),
        );
        Ok(Case { world: self, name, text })
    }

    async fn znode(&self, pipeline: &str, content: &[u8]) -> Result<()> {
        let factory = ZooKeeperFactory::new(ZooKeeperConfig {
            servers: self.stack.zookeeper()?.servers(),
            root: "/bad-input".to_owned(),
            pipeline: pipeline.to_owned(),
            create_root: true,
            ..ZooKeeperConfig::default()
        })?;
        let session = factory.connect().await?;
        let expected = session.read(state::NODE).await?.map(|(_, version)| version);
        session.write(None, &[NodeWrite { node: state::NODE, data: content, expected }]).await?;
        Ok(())
    }
}

/// How a run of the binary ended.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    text: String,
}

impl Ended {
    fn expect(&self, status: i32, parts: &[&str]) -> Result<()> {
        ensure!(self.status == Some(status), "status {:?} instead of {status}:\n{}", self.status, self.text);
        for part in parts {
            ensure!(self.text.contains(part), "{part:?} is not said in\n{}", self.text);
        }
        Ok(())
    }
}

impl Case<'_> {
    fn but(mut self, from: &str, to: &str) -> Self {
        assert!(self.text.contains(from), "{from:?} is not in\n{}", self.text);
        self.text = self.text.replacen(from, to, 1);
        self
    }

    fn with_sink(mut self, elasticsearch: &str, more: &str) -> Self {
        let name = &self.name;
        self.text += &format!(
            "[[pipeline.{name}.sink]]\nname = \"all\"\nelasticsearch = [\"{elasticsearch}\"]\nindex = \"{name}\"\n\
             table = \"bad.t\"\n{more}\n"
        );
        self
    }

    fn file(&self) -> Result<PathBuf> {
        let path = self.world.folder.path().join(format!("{}.toml", self.name));
        std::fs::write(&path, &self.text)?;
        Ok(path)
    }

    fn towpath(&self, args: &[&str]) -> Result<Ended> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_towpath"))
            .args(args)
            .arg("--config")
            .arg(self.file()?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                let output = child.wait_with_output()?;
                bail!("{args:?} did not end within {PATIENCE:?}:\n{}", String::from_utf8_lossy(&output.stderr));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
        Ok(Ended { status: output.status.code(), text })
    }

    /// Runs the deployer until it ends by itself.
    fn deploy(&self) -> Result<Ended> {
        self.towpath(&["run", "--role", "deployer"])
    }

    fn check(&self) -> Result<Ended> {
        self.towpath(&["check"])
    }

    /// Starts the binary, with an admin server.
    fn start(&mut self, role: &str, more: &[&str]) -> Result<Towpath> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        self.text += &format!("[admin]\nlisten = \"{admin}\"\n");
        let log = self.world.folder.path().join(format!("{}.log", self.name));
        Towpath::start(Path::new(env!("CARGO_BIN_EXE_towpath")), &self.file()?, role, admin, &log, more)
    }

    /// Starts the binary and waits until `/readyz` names the cause; then asks for an orderly end.
    async fn waits_with(mut self, role: &str, more: &[&str], cause: &str) -> Result<String> {
        let process = self.start(role, more)?;
        let named = format!("\"cause\":\"{cause}\"");
        let seen = wait_for(&format!("{cause} in /readyz"), PATIENCE, || async {
            let (ready, report) = process.readyz().await?;
            let text = report.to_string();
            Ok((if cause.is_empty() { ready } else { !ready && text.contains(&named) }).then_some(text))
        })
        .await
        .with_context(|| process.log_tail())?;
        let metrics = process.metrics().await?;
        every_metric_is_documented(metrics.keys())?;
        ensure!(cause.is_empty() || metrics.keys().any(|series| series.contains(cause)), "no metric names {cause}");
        let status = process.stop(PATIENCE).await?;
        ensure!(status.code() == Some(0), "drained with {status}");
        Ok(seen)
    }
}

fn every_metric_is_documented<'a>(series: impl Iterator<Item = &'a String>) -> Result<()> {
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md"))?;
    for series in series {
        let name = series.split('{').next().unwrap_or(series);
        ensure!(document.contains(&format!("`{name}`")), "docs/metrics.md does not explain {name}");
    }
    Ok(())
}

/// The order of the cases is theirs in this list: settings of the one server are put back by each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_ends_with_its_cause_and_says_what_to_do() {
    let builder = Stack::builder().mysql().kafka(1).zookeeper(1);
    let stack = Stack::attach_or_start(builder).await.unwrap();
    let world = World { stack, folder: tempfile::tempdir().unwrap() };
    prepare(&world).await.unwrap();
    let mut failed = Vec::new();
    macro_rules! cases {
        ($($case:ident),+ $(,)?) => {$(
            let began = Instant::now();
            let outcome = $case(&world).await;
            let name = stringify!($case);
            let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
            println!("{name}: {verdict} in {:.1} s", began.elapsed().as_secs_f32());
            failed.extend(outcome.err().map(|error| format!("{name}: {error:#}")));
        )+};
    }
    cases!(
        first_start_without_start,
        unknown_table,
        condition_against_the_columns,
        wrong_password,
        no_replication_privilege,
        no_row_format,
        row_image_not_full,
        no_binlog,
        table_without_primary_key,
        topic_with_fewer_partitions,
        topic_absent_and_not_creatable,
        zookeeper_path_absent,
        elasticsearch_answers_html,
        elasticsearch_unreachable,
        start_already_purged,
        garbage_in_the_state,
        standby_that_is_no_replica,
        position_that_cannot_be_set,
    );
    drop_users(&world).await.unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

async fn prepare(world: &World) -> Result<()> {
    world
        .sql(&[
            "DROP DATABASE IF EXISTS bad",
            "CREATE DATABASE bad",
            "CREATE TABLE bad.t (id BIGINT PRIMARY KEY, status TINYINT NOT NULL, name VARCHAR(20))",
            "CREATE TABLE bad.keyless (id BIGINT, name VARCHAR(20))",
            "DROP USER IF EXISTS 'plain'@'%'",
            "CREATE USER 'plain'@'%' IDENTIFIED BY 'plain'",
            "GRANT SELECT ON bad.* TO 'plain'@'%'",
        ])
        .await
}

async fn drop_users(world: &World) -> Result<()> {
    world.sql(&["DROP USER 'plain'@'%'", "DROP DATABASE bad"]).await
}

async fn first_start_without_start(world: &World) -> Result<()> {
    let case = world.good("nostart")?.but("start = \"now\"\n", "");
    case.deploy()?.expect(2, &["no-start", "set `start`"])?;
    case.check()?.expect(0, &["`start` is not set"])
}

async fn unknown_table(world: &World) -> Result<()> {
    let case = world.good("unknown")?.but("bad.t\"", "bad.tt\"");
    case.check()?.expect(2, &["bad.tt", "no such table"])
}

async fn condition_against_the_columns(world: &World) -> Result<()> {
    let missing = world.good("columns")?.with_sink("http://127.0.0.1:9", "when = \"row.state == 1\"");
    missing.check()?.expect(2, &["state", "status"])?;
    missing.towpath(&["run", "--role", "adapter"])?.expect(2, &["state", "[config]"])?;
    let other = world.good("types")?.with_sink("http://127.0.0.1:9", "when = \"row.status == '1'\"");
    other.check()?.expect(2, &["status"])?;
    other.towpath(&["run", "--role", "adapter"])?.expect(2, &["status", "[config]"])
}

async fn wrong_password(world: &World) -> Result<()> {
    let case = world.good("password")?.but(":towpath@", ":wr0ng-Secret@");
    let ended = case.deploy()?;
    ended.expect(3, &["source-denied"])?;
    ensure!(!ended.text.contains("wr0ng-Secret"), "the password shows in\n{}", ended.text);
    case.check()?.expect(3, &["source-denied", "GRANT REPLICATION SLAVE"])
}

async fn no_replication_privilege(world: &World) -> Result<()> {
    let case = world.good("privilege")?.but("towpath:towpath@", "plain:plain@");
    case.deploy()?.expect(3, &["source-denied", "REPLICATION"])?;
    case.check()?.expect(3, &["source-denied", "GRANT", "REPLICATION"])
}

async fn no_row_format(world: &World) -> Result<()> {
    world.sql(&["SET GLOBAL binlog_format = 'STATEMENT'"]).await?;
    let case = world.good("format")?;
    let seen = (case.deploy()?, case.check()?);
    world.sql(&["SET GLOBAL binlog_format = 'ROW'"]).await?;
    seen.0.expect(3, &["source-settings", "binlog_format=STATEMENT"])?;
    seen.1.expect(3, &["SET PERSIST binlog_format=ROW;"])
}

async fn row_image_not_full(world: &World) -> Result<()> {
    world.sql(&["SET GLOBAL binlog_row_image = 'MINIMAL'"]).await?;
    let case = world.good("image")?.with_sink("http://127.0.0.1:9", "");
    let seen = (case.check()?, case.towpath(&["run", "--role", "adapter"])?);
    world.sql(&["SET GLOBAL binlog_row_image = 'FULL'"]).await?;
    seen.0.expect(7, &["partial-row", "SET PERSIST binlog_row_image=FULL;"])?;
    seen.1.expect(7, &["partial-row", "binlog_row_image=MINIMAL"])
}

async fn no_binlog(world: &World) -> Result<()> {
    let without = Stack::builder().mysql().mysql_options(&["--skip-log-bin"]).start().await?;
    let mut conn = Conn::from_url(without.mysql()?.root_url()).await?;
    conn.query_drop("CREATE DATABASE bad").await?;
    conn.query_drop("CREATE TABLE bad.t (id BIGINT PRIMARY KEY)").await?;
    conn.disconnect().await?;
    let url = |stack: &Stack| Ok::<_, anyhow::Error>(stack.mysql()?.url());
    let case = world.good("nobinlog")?.but(&url(&world.stack)?, &url(&without)?);
    let seen = (case.deploy()?, case.check()?);
    without.stop().await?;
    seen.0.expect(3, &["source-settings", "log_bin"])?;
    seen.1.expect(3, &["source-settings", "log_bin"])
}

async fn table_without_primary_key(world: &World) -> Result<()> {
    let case = world.good("keyless")?.but("bad.t\"", "bad.keyless\"");
    case.check()?.expect(2, &["no-primary-key", "ALTER TABLE bad.keyless ADD PRIMARY KEY"])?;
    case.deploy()?.expect(2, &["no-primary-key", "bad.keyless"])
}

async fn topic_with_fewer_partitions(world: &World) -> Result<()> {
    let brokers = world.stack.kafka()?.bootstrap();
    let log = KafkaLog::new(KafkaConfig { brokers, ..KafkaConfig::default() })?;
    let case = world.good("fewer")?;
    log.ensure_topic(&case.name, 1).await?;
    case.check()?.expect(3, &["topic-unfit", "has 1 partitions, configured are 2"])?;
    case.deploy()?.expect(3, &["topic-unfit", "has 1 partitions, configured are 2"])
}

async fn topic_absent_and_not_creatable(world: &World) -> Result<()> {
    let brokers = world.stack.kafka()?.bootstrap();
    let log = KafkaLog::new(KafkaConfig { brokers, ..KafkaConfig::default() })?;
    // Kafka refuses a name that differs from another's by `.` and `_` only.
    log.ensure_topic("col.lides", 2).await?;
    let case = world.good("uncreatable")?;
    let topic = format!("topic = \"{}\"", case.name);
    let case = case.but(&topic, "topic = \"col_lides\"");
    case.deploy()?.expect(3, &["topic-unfit", "col_lides"])
}

async fn zookeeper_path_absent(world: &World) -> Result<()> {
    let case = world.good("zkpath")?.but("/bad-input\", create = true", "/bad-input-absent\"");
    case.check()?.expect(4, &["coordinator-unavailable", "/bad-input-absent", "create = true"])?;
    case.deploy()?.expect(4, &["coordinator-unavailable", "/bad-input-absent"])
}

/// A proxy's error page instead of Elasticsearch.
fn html_server() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let body = "<html><body><h1>Welcome to the proxy</h1></body></html>";
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    Ok(url)
}

async fn elasticsearch_answers_html(world: &World) -> Result<()> {
    let url = html_server()?;
    let case = world.good("html")?.with_sink(&url, "");
    case.check()?.expect(4, &["sink-unavailable", "not Elasticsearch"])?;
    let seen = case.waits_with("all", &[], "sink-unavailable").await?;
    ensure!(seen.contains("not Elasticsearch") && seen.contains("remedy"), "{seen}");
    Ok(())
}

async fn elasticsearch_unreachable(world: &World) -> Result<()> {
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let case = world.good("unreachable")?.with_sink(&format!("http://{closed}"), "");
    case.check()?.expect(4, &["sink-unavailable"])?;
    case.waits_with("all", &[], "sink-unavailable").await.map(|_| ())
}

async fn start_already_purged(world: &World) -> Result<()> {
    let mut conn = Conn::from_url(world.stack.mysql()?.root_url()).await?;
    let oldest: (String, u64) = {
        let rows: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await?;
        let row = rows.first().context("no binlog")?;
        (row.get(0).context("no name")?, row.get(1).context("no size")?)
    };
    conn.query_drop("INSERT INTO bad.t VALUES (1, 1, 'purged')").await?;
    conn.query_drop("FLUSH BINARY LOGS").await?;
    let end: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOG STATUS").await?;
    let last: String = end.first().and_then(|row| row.get(0)).context("no end")?;
    conn.query_drop(format!("PURGE BINARY LOGS TO '{last}'")).await?;
    let uuid: Option<String> = conn.query_first("SELECT @@server_uuid").await?;
    conn.disconnect().await?;
    let file = world.good("purgedfile")?.but("\"now\"", &format!("\"{}:4\"", oldest.0));
    file.check()?.expect(5, &["purged"])?;
    file.deploy()?.expect(5, &["purged", &oldest.0])?;
    let set = format!("\"{}:1\"", uuid.context("no server_uuid")?);
    world.good("purgedset")?.but("\"now\"", &set).deploy()?.expect(5, &["purged"])
}

/// A server of its own, which somebody took for a replica.
async fn standby_that_is_no_replica(world: &World) -> Result<()> {
    let other = Stack::builder().mysql().start().await?;
    let mut conn = Conn::from_url(other.mysql()?.root_url()).await?;
    conn.query_drop("CREATE DATABASE other").await?;
    conn.disconnect().await?;
    let url = other.mysql()?.url();
    let case = world.good("stranger")?.but("tables =", &format!("standby = [\"{url}\"], tables ="));
    case.check()?.expect(2, &["[config]", "no replica of it", "no-common-point"])?;
    other.stop().await?;
    case.check()?.expect(0, &["standby mysql://", "unavailable"])?;
    let itself = format!("standby = [\"{}\"], tables =", world.stack.mysql()?.url());
    let case = world.good("itself")?.but("tables =", &itself);
    case.check()?.expect(2, &["[config]", "is the source itself"])
}

/// One that the server never had, and any while a deployer runs.
async fn position_that_cannot_be_set(world: &World) -> Result<()> {
    let mut case = world.good("position")?;
    let mut conn = Conn::from_url(world.stack.mysql()?.root_url()).await?;
    let executed: Option<String> = conn.query_first("SELECT REPLACE(@@gtid_executed, '\\n', '')").await?;
    conn.disconnect().await?;
    let never = "9e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
    let set = format!("{},{never}", executed.context("no gtid_executed")?);
    case.towpath(&["position", "set", "--gtid", &set])?.expect(2, &[never, "which the source never had"])?;
    let process = case.start("deployer", &[])?;
    process.wait_ready(PATIENCE).await?;
    case.towpath(&["position", "set", "--now"])?.expect(1, &["1 deployers", "stop them first", "--force"])?;
    case.towpath(&["position", "show", "--json"])?.expect(0, &["\"epoch\":1", "\"order\":null"])?;
    case.towpath(&["position", "set", "--now", "--force"])?.expect(0, &["new epoch"])?;
    wait_for("the new epoch", PATIENCE, || async {
        let shown = case.towpath(&["position", "show", "--json"])?;
        Ok(shown.text.contains("\"epoch\":2").then_some(()))
    })
    .await
    .with_context(|| process.log_tail())?;
    process.stop(PATIENCE).await.map(drop)
}

async fn garbage_in_the_state(world: &World) -> Result<()> {
    // Two orderly runs leave a state and a previous one.
    for _ in 0..2 {
        world.good("garbage")?.waits_with("deployer", &[], "").await?;
        world.sql(&["INSERT INTO bad.t VALUES (FLOOR(RAND() * 1e12), 1, 'x')"]).await?;
    }
    world.good("garbage")?.towpath(&["position", "show", "--json"])?.expect(0, &["\"epoch\":1"])?;
    let case = world.good("garbage")?;
    world.znode(&case.name, b"{\"not\": \"ours\"}").await?;
    case.deploy()?.expect(6, &["state-garbage", "position set --previous"])?;
    case.check()?.expect(6, &["state-garbage", "position set --previous"])?;
    case.towpath(&["position", "show"])?.expect(6, &["not", "ours", "kept previous state"])?;
    case.towpath(&["position", "set", "--previous", "--dry-run"])?.expect(0, &["nothing written"])?;
    case.deploy()?.expect(6, &["state-garbage"])?;
    case.towpath(&["position", "set", "--previous"])?.expect(0, &["previous state is taken again"])?;
    world.good("garbage")?.waits_with("deployer", &[], "").await?;
    case.towpath(&["position", "show", "--json"])?.expect(0, &["\"epoch\":2"])
}
