//! Behaviours that a test cannot make a real service show on demand: lost answers, expiry, records on their way.
//!
//! The models must have them all the same, since the engine must survive them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde_json::json;
use towpath_engine::env::Env;
use towpath_engine::ports::coordinator::{CoordinatorError, CoordinatorFactory, NodeWrite, SessionState};
use towpath_engine::ports::index::{BulkOp, IndexError, SearchIndex};
use towpath_engine::ports::log::{ConsumerEvent, Delivery, EventLog, LogError, ProducerMode, Record};
use towpath_engine::ports::source::{BinlogSource, DumpRequest, SourceError};
use towpath_engine::position::Position;
use towpath_engine::version::Version;
use towpath_models::elasticsearch::{Elasticsearch, ElasticsearchConfig, ElasticsearchFault};
use towpath_models::kafka::{Kafka, KafkaConfig, KafkaFault};
use towpath_models::mysql::{MySql, MySqlConfig, RowOp, Value};
use towpath_models::zookeeper::{ZooKeeper, ZooKeeperFault};

macro_rules! model_bodies {
    ($($id:literal => $body:path,)+) => {
        /// This file's behaviours by id.
        pub const BODIES: &[(&str, crate::lab::Body)] =
            &[$(($id, crate::lab::Body::Model(|| Box::pin($body()))),)+];
    };
}

model_bodies! {
    "kafka-lost-commit-answer-may-be-committed" => commit_unknown,
    "kafka-failed-delivery-leaves-a-gap" => gap,
    "kafka-lost-delivery-answer-is-in-the-log" => delivery_unknown,
    "kafka-late-record-of-a-zombie-arrives" => late_record,
    "kafka-late-record-of-a-fenced-one-does-not" => late_fenced,
    "kafka-open-transaction-times-out" => transaction_timeout,
    "kafka-zombie-member-commit-refused" => zombie_member,
    "zk-lost-answer-may-have-taken-effect" => lost_answer,
    "zk-expiry-frees-the-node-before-the-client-knows" => expiry,
    "zk-fresh-ensemble-counts-from-low" => fresh_ensemble,
    "es-timeout-may-have-been-applied" => timeout_applied,
    "es-late-bulk-arrives" => late_bulk,
    "es-429-per-item" => too_many,
    "mysql-crash-loses-tail-and-reuses-numbers" => lost_tail,
    "mysql-silence-ends-at-read-deadline" => silence,
    "mysql-user-without-replication-slave-denied" => denied,
    "mysql-other-server-other-bytes" => other_bytes,
}

fn record(value: &[u8], tag: u64) -> Record<'_> {
    Record { partition: 0, key: None, value, headers: &[], timestamp_ms: 0, tag }
}

fn kafka() -> Kafka {
    let config = KafkaConfig { session_timeout: Duration::from_millis(300), ..KafkaConfig::default() };
    let kafka = Kafka::new(KafkaConfig { transaction_timeout: Duration::from_millis(300), ..config });
    kafka.create_topic("t", 1);
    kafka
}

fn values(kafka: &Kafka) -> Vec<String> {
    let text = |value: Option<Vec<u8>>| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
    kafka.records("t").into_iter().map(|record| text(record.value)).collect()
}

async fn commit_unknown() -> Result<()> {
    for (fault, seen) in [(KafkaFault::CommitUnknownApplied, 1), (KafkaFault::CommitUnknownLost, 0)] {
        let kafka = kafka();
        let mut producer = kafka.producer("t", ProducerMode::Transactional, "id").await?;
        producer.begin().await?;
        producer.produce(&record(b"x", 0))?;
        kafka.fail_next(fault, 1);
        let result = producer.commit().await;
        ensure!(matches!(result, Err(LogError::Failed(_))), "{result:?}");
        ensure!(values(&kafka).len() == seen, "{fault:?}: {:?}", values(&kafka));
        kafka.producer("t", ProducerMode::Transactional, "id").await?;
        ensure!(values(&kafka).len() == seen, "the next producer changes what was committed");
    }
    Ok(())
}

async fn gap() -> Result<()> {
    let kafka = kafka();
    let mut producer = kafka.producer("t", ProducerMode::Idempotent, "").await?;
    producer.produce(&record(b"1", 1))?;
    kafka.fail_next(KafkaFault::DeliveryFails, 2);
    for (tag, value) in [b"2", b"3", b"4", b"5"].into_iter().enumerate() {
        producer.produce(&record(value, tag as u64 + 2))?;
    }
    let mut out: Vec<Delivery> = Vec::new();
    producer.deliveries(&mut out).await?;
    let failed: Vec<u64> =
        out.iter().filter(|delivery| delivery.result.is_err()).map(|delivery| delivery.tag).collect();
    ensure!(failed == [2, 3] && values(&kafka) == ["1", "4", "5"], "{failed:?}, {:?}", values(&kafka));
    Ok(())
}

async fn delivery_unknown() -> Result<()> {
    let kafka = kafka();
    let mut producer = kafka.producer("t", ProducerMode::Idempotent, "").await?;
    kafka.fail_next(KafkaFault::DeliveryUnknown, 1);
    producer.produce(&record(b"1", 1))?;
    let mut out: Vec<Delivery> = Vec::new();
    producer.deliveries(&mut out).await?;
    ensure!(out[0].result.is_err() && values(&kafka) == ["1"], "{out:?}, {:?}", values(&kafka));
    Ok(())
}

async fn late_record() -> Result<()> {
    let kafka = kafka();
    let mut old = kafka.producer("t", ProducerMode::Idempotent, "").await?;
    kafka.hold_records(true);
    old.produce(&record(b"late", 1))?;
    old.purge().await;
    drop(old);
    ensure!(values(&kafka).is_empty(), "it has arrived already");
    kafka.hold_records(false);
    ensure!(values(&kafka) == ["late"], "{:?}", values(&kafka));
    Ok(())
}

async fn late_fenced() -> Result<()> {
    let kafka = kafka();
    let mut old = kafka.producer("t", ProducerMode::Transactional, "id").await?;
    old.begin().await?;
    kafka.hold_records(true);
    old.produce(&record(b"late", 1))?;
    let mut new = kafka.producer("t", ProducerMode::Transactional, "id").await?;
    kafka.hold_records(false);
    new.begin().await?;
    new.produce(&record(b"new", 1))?;
    new.commit().await?;
    ensure!(values(&kafka) == ["new"], "{:?}", values(&kafka));
    let refused = old.deliveries(&mut Vec::new()).await;
    ensure!(matches!(refused, Err(LogError::Fenced(_))), "{refused:?}");
    Ok(())
}

async fn transaction_timeout() -> Result<()> {
    let kafka = kafka();
    let mut producer = kafka.producer("t", ProducerMode::Transactional, "id").await?;
    producer.begin().await?;
    producer.produce(&record(b"forgotten", 1))?;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let result = producer.commit().await;
    ensure!(matches!(result, Err(LogError::Fenced(_))), "{result:?}");
    let (records, next) = kafka.read("t", 0, 0, 2, 10).await?;
    ensure!(records.is_empty() && next == 2, "{records:?} up to {next}");
    Ok(())
}

async fn zombie_member() -> Result<()> {
    let kafka = kafka();
    let mut zombie = kafka.consumer("t", "g").await?;
    let Some(ConsumerEvent::Assigned(_)) = zombie.next(Duration::from_millis(50)).await? else { bail!("no partition") };
    kafka.expire_members("g");
    let mut other = kafka.consumer("t", "g").await?;
    let Some(ConsumerEvent::Assigned(_)) = other.next(Duration::from_millis(50)).await? else { bail!("not given on") };
    let refused = zombie.commit(&Default::default()).await?;
    ensure!(!refused, "the zombie's commit is accepted");
    let next = zombie.next(Duration::from_millis(50)).await?;
    ensure!(matches!(&next, Some(ConsumerEvent::Lost(lost)) if lost == &[0]), "{next:?}");
    Ok(())
}

fn write<'a>(data: &'a [u8], expected: Option<i32>) -> [NodeWrite<'a>; 1] {
    [NodeWrite { node: "state", data, expected }]
}

fn zookeeper(timeout: Duration) -> ZooKeeper {
    let zookeeper = ZooKeeper::new(timeout);
    zookeeper.create_path("/towpath");
    zookeeper
}

async fn lost_answer() -> Result<()> {
    let zookeeper = zookeeper(Duration::from_secs(10));
    let session = zookeeper.factory("/towpath", "p").connect().await?;
    for (fault, nodes) in [(ZooKeeperFault::LostBefore, 0), (ZooKeeperFault::LostAfter, 1)] {
        zookeeper.fail_next(fault, 1);
        let result = session.join("me").await;
        ensure!(matches!(result, Err(CoordinatorError::Unknown(_))), "{result:?}");
        ensure!(session.candidates().await?.len() == nodes, "{fault:?}: {:?}", session.candidates().await?);
    }
    session.join("me").await?;
    ensure!(session.candidates().await?.len() == 1, "joining again makes a second node");
    zookeeper.fail_next(ZooKeeperFault::LostAfter, 1);
    let result = session.write(None, &write(b"one", None)).await;
    ensure!(matches!(result, Err(CoordinatorError::Unknown(_))), "{result:?}");
    ensure!(session.read("state").await?.is_some(), "the write did not take effect");
    Ok(())
}

async fn expiry() -> Result<()> {
    let zookeeper = zookeeper(Duration::from_millis(200));
    let factory = zookeeper.factory("/towpath", "p");
    let (old, new) = (factory.connect().await?, factory.connect().await?);
    let candidate = old.join("old").await?;
    let seen = new.candidates().await?;
    let id = *zookeeper.sessions().first().context("no session")?;
    zookeeper.disconnect(id);
    ensure!(*old.session().borrow() == SessionState::Disconnected, "it does not notice");
    tokio::time::timeout(Duration::from_secs(5), new.candidates_changed(&seen)).await.context("no expiry")??;
    ensure!(new.candidates().await?.is_empty(), "the node is still there");
    ensure!(*old.session().borrow() == SessionState::Disconnected, "it knows before it was told");
    zookeeper.reconnect(id);
    ensure!(*old.session().borrow() == SessionState::Expired, "{:?}", *old.session().borrow());
    let late = old.write(Some(&candidate), &write(b"zombie", None)).await;
    ensure!(matches!(late, Err(CoordinatorError::Expired)), "{late:?}");
    Ok(())
}

async fn fresh_ensemble() -> Result<()> {
    let zookeeper = zookeeper(Duration::from_secs(10));
    let factory = zookeeper.factory("/towpath", "p");
    let old = factory.connect().await?;
    for _ in 0..20 {
        let candidate = old.join("old").await?;
        old.resign(&candidate).await?;
    }
    let before = old.join("old").await?;
    zookeeper.replace_with_fresh();
    ensure!(*old.session().borrow() == SessionState::Expired, "the session lives on");
    let absent = factory.connect().await.err();
    ensure!(matches!(absent, Some(CoordinatorError::NoPath(_))), "{absent:?}");
    zookeeper.create_path("/towpath");
    let after = factory.connect().await?.join("new").await?;
    ensure!(after.czxid < before.czxid, "{after:?} after {before:?}");
    Ok(())
}

fn op(id: &str, version: i64, source: Option<&serde_json::Value>) -> Result<BulkOp> {
    let version = Version::from_number(version).context("no version")?;
    let source = source.map(|source| Bytes::from(source.to_string()));
    Ok(BulkOp { index: "i".into(), id: id.into(), routing: None, version, source })
}

async fn timeout_applied() -> Result<()> {
    let cluster = Elasticsearch::new(ElasticsearchConfig::default());
    cluster.fail_next(ElasticsearchFault::TimeoutApplied, 1);
    let result = cluster.bulk(&[op("a", 1, Some(&json!({})))?]).await;
    ensure!(matches!(result, Err(IndexError::Unavailable(_))), "{result:?}");
    ensure!(cluster.get("i", "a", None).await?.is_some(), "it was not applied");
    Ok(())
}

async fn late_bulk() -> Result<()> {
    let config = ElasticsearchConfig { timeout: Duration::from_millis(50), ..ElasticsearchConfig::default() };
    let cluster = Elasticsearch::new(config);
    cluster.hold_bulks(true);
    let result = cluster.bulk(&[op("a", 1, Some(&json!({"late": true})))?]).await;
    ensure!(matches!(result, Err(IndexError::Unavailable(_))), "{result:?}");
    cluster.create_index("i", &json!({})).await?;
    ensure!(cluster.get("i", "a", None).await?.is_none(), "it has arrived already");
    cluster.hold_bulks(false);
    ensure!(cluster.get("i", "a", None).await?.is_some(), "it never arrives");
    Ok(())
}

async fn too_many() -> Result<()> {
    let cluster = Elasticsearch::new(ElasticsearchConfig::default());
    cluster.fail_next(ElasticsearchFault::ItemsTooMany, 1);
    let document = json!({});
    let results = cluster.bulk(&[op("a", 1, Some(&document))?, op("b", 1, Some(&document))?]).await?;
    ensure!(results[0].status == 429 && results[1].status == 201, "{results:?}");
    ensure!(results[0].error_type.as_deref() == Some("es_rejected_execution_exception"), "{results:?}");
    Ok(())
}

fn mysql(uuid: &str) -> Result<MySql> {
    let config = MySqlConfig { server_uuid: uuid.into(), ..MySqlConfig::default() };
    let server = MySql::new(config, Env::new(|| 1_795_420_000_000, 1));
    server.create_table(crate::model_labs::table_schema("t"))?;
    Ok(server)
}

fn row(id: i64, text: &str) -> RowOp {
    RowOp::insert("lab", "t", vec![Value::Int(id), Value::Text(text.into())])
}

const A: &str = "aaaaaaaa-0000-11f1-8000-000000000001";
const B: &str = "bbbbbbbb-0000-11f1-8000-000000000001";

async fn lost_tail() -> Result<()> {
    let server = mysql(A)?;
    server.commit(&[row(1, "kept")])?;
    let lost = server.commit(&[row(2, "lost")])?;
    let carried = server.identify().await?.gtid_executed;
    let bytes = server.read_transaction(&lost.at).await?.events.bytes;
    server.crash(1);
    ensure!(server.rows("lab", "t").len() == 1, "{:?}", server.rows("lab", "t"));
    let again = server.commit(&[row(3, "another")])?;
    ensure!(again.gtid == lost.gtid, "{} after {}", again.gtid, lost.gtid);
    server.commit(&[row(4, "and more")])?;
    let now = server.identify().await?.gtid_executed;
    ensure!(carried.is_subset(&now), "arithmetic sees the loss");
    let witness = server.read_transaction(&lost.at).await;
    ensure!(witness.as_ref().map(|read| read.events.bytes != bytes).unwrap_or(true), "the witness holds");
    Ok(())
}

fn request(server: &MySql, deadline: Duration) -> Result<DumpRequest> {
    Ok(DumpRequest {
        from: Position::Gtid(server.executed().to_string().parse()?),
        server_id: 9,
        heartbeat: Duration::from_millis(50),
        read_deadline: deadline,
        beside: false,
        semi_sync: false,
        server: None,
    })
}

async fn silence() -> Result<()> {
    let server = mysql(A)?;
    let mut stream = server.dump(request(&server, Duration::from_millis(200))?).await?;
    stream.next().await?;
    server.set_silent(true);
    let result = stream.next().await;
    ensure!(matches!(result, Err(SourceError::Unavailable(_))), "{:?}", result.map(|batch| batch.ends));
    Ok(())
}

async fn denied() -> Result<()> {
    let server = mysql(A)?;
    server.configure(|config| config.grants = vec!["GRANT SELECT ON *.* TO `reader`@`%`".into()]);
    let error = server.dump(request(&server, Duration::from_secs(1))?).await.err();
    ensure!(matches!(error, Some(SourceError::Denied(_))), "{error:?}");
    Ok(())
}

async fn other_bytes() -> Result<()> {
    let mut bytes = Vec::new();
    for uuid in [A, A, B] {
        let server = mysql(uuid)?;
        let commit = server.commit(&[row(1, "the same row")])?;
        bytes.push(server.read_transaction(&commit.at).await?.events.bytes);
    }
    ensure!(bytes[0] == bytes[1], "the model is not repeatable");
    ensure!(bytes[0] != bytes[2], "another server, the same bytes");
    Ok(())
}
