//! Past a dead Kafka on the real services: documents follow their rows while no broker lives, and when it is back
//! everything is in it too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use anyhow::{Context, Result, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use towpath_stack::Stack;
use towpath_stack::harness::towpath::Towpath;
use towpath_stack::harness::wait_for;

mod shop;
use shop::{NAME, PATIENCE, Shop};

struct World(Shop);

impl World {
    fn start(&self) -> Result<Towpath> {
        let source = self.0.stack.mysql()?.url();
        let source = format!(
            "source = {{ url = \"{source}\", tables = [\"{NAME}.*\"] }}\n\
             fallback = {{ automatic = true, after = \"2s\" }}"
        );
        self.0.start(&source, &self.0.sink("all")?)
    }

    /// `towpath fallback …`, as JSON.
    fn fallback(&self, verb: &str) -> Result<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        let config = self.0.stack.folder().join("shop.toml");
        let output = command.args(["fallback", verb, "--json", "--config"]).arg(config).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The journals' indexes.
    async fn journals(&self) -> Result<String> {
        let url = format!("{}/_cat/indices/towpath-journal-*?h=index", self.0.stack.es("hot")?.url());
        Ok(self.0.http.get(url).send().await?.error_for_status()?.text().await?.trim().to_owned())
    }

    /// Waits until the documents equal the rows.
    async fn equal(&self, server: &mut Conn, what: &str) -> Result<()> {
        let rows = self.0.rows(server).await?;
        wait_for(what, PATIENCE, || async { Ok((self.0.documents("all").await? == rows).then_some(())) })
            .await
            .with_context(|| format!("the rows are {rows:?}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_follow_their_rows_while_no_broker_lives() {
    let world = World(Shop::new(Stack::builder().mysql()).await.unwrap());
    let mut server = world.0.primary().await.unwrap();
    world.0.create(&mut server, "(1, 1, 'old'), (2, 1, 'old'), (3, 2, 'old')").await.unwrap();
    let towpath = world.start().unwrap();
    towpath.wait_ready(PATIENCE).await.unwrap();
    let told = || towpath.log_tail();
    server.query_drop(format!("UPDATE {NAME}.orders SET remark = 'before'")).await.unwrap();
    server.query_drop(format!("INSERT INTO {NAME}.orders VALUES (4, 1, 'before')")).await.unwrap();
    world.equal(&mut server, "through Kafka").await.with_context(told).unwrap();

    world.0.stack.kafka().unwrap().brokers()[0].kill().await.unwrap();
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

    world.0.stack.kafka().unwrap().brokers()[0].start().await.unwrap();
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
    world.0.stack.stop().await.unwrap();
}
