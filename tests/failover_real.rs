//! Failover on the real services: the primary is killed, a replica promoted, and Elasticsearch equals the new primary,
//! with a tail that died with the old one too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use towpath_stack::Stack;
use towpath_stack::harness::towpath::Towpath;
use towpath_stack::harness::wait_for;

mod shop;
use shop::{NAME, PATIENCE, Shop};

struct World(Shop);

impl World {
    async fn replica(&self) -> Result<Conn> {
        Ok(Conn::from_url(self.0.stack.mysql_replica(1)?.root_url()).await?)
    }

    fn start(&self) -> Result<Towpath> {
        let (source, standby) = (self.0.stack.mysql()?.url(), self.0.stack.mysql_replica(1)?.url());
        let source = format!(
            "source = {{ url = \"{source}\", standby = [\"{standby}\"], tables = [\"{NAME}.*\"] }}\n\
             failover = {{ after = \"2s\", catchup = \"60s\" }}"
        );
        let sinks = format!("{}{}when = \"row.status in [1, 2]\"\n", self.0.sink("all")?, self.0.sink("active")?);
        self.0.start(&source, &sinks)
    }

    /// Waits until both indexes equal the rows of this server.
    async fn equal(&self, server: &mut Conn, what: &str) -> Result<()> {
        let rows = self.0.rows(server).await?;
        let active: Vec<_> = rows.iter().filter(|row| matches!(row.1, 1 | 2)).cloned().collect();
        wait_for(what, PATIENCE, || async {
            let found = (self.0.documents("all").await?, self.0.documents("active").await?);
            Ok((found.0 == rows && found.1 == active).then_some(()))
        })
        .await
        .with_context(|| format!("the rows are {rows:?}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_equal_the_promoted_replica_also_where_a_tail_was_lost() {
    let world = World(Shop::new(Stack::builder().mysql().mysql_replicas(1)).await.unwrap());
    let mut primary = world.0.primary().await.unwrap();
    let mut replica = world.replica().await.unwrap();
    let rows = "(1, 1, 'kept'), (2, 1, 'kept'), (3, 2, 'kept'), (4, 9, 'kept')";
    world.0.create(&mut primary, rows).await.unwrap();
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
    world.0.stack.mysql().unwrap().service().kill().await.unwrap();
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
    world.0.stack.stop().await.unwrap();
}
