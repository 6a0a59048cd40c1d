//! A small world: a topic, a cluster, adapters, and records written by hand.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use towpath_engine::adapter::{Adapter, AdapterConfig, AdapterPorts, AdapterStatus, EpochView, SinkConfig, SinkState};
use towpath_engine::cause::Stop;
use towpath_engine::env::Env;
use towpath_engine::metrics::Registry;
use towpath_engine::ports::index::SearchIndex;
use towpath_engine::ports::log::{EventLog, ProducerMode, Record};
use towpath_models::elasticsearch::{Elasticsearch, ElasticsearchConfig};
use towpath_models::kafka::{Kafka, KafkaConfig};

/// A change: type, `data` and `old` as JSON.
pub type Change = (&'static str, String, String);

/// A change of (order_id, status).
pub fn change(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Change {
    let image = |(id, status): (u64, u64)| format!(r#"{{"order_id":"{id}","status":"{status}","remark":"7"}}"#);
    match (before, after) {
        (None, Some(after)) => ("INSERT", image(after), "null".into()),
        (Some(before), Some(after)) => ("UPDATE", image(after), format!("[{}]", image(before))),
        (Some(before), None) => ("DELETE", image(before), "null".into()),
        (None, None) => panic!("a change has an image"),
    }
}

/// Where a record belongs.
#[derive(Clone, Copy)]
pub struct At {
    pub topic: &'static str,
    pub pipeline: &'static str,
    pub epoch: u16,
    pub version: u64,
    pub term: u64,
}

impl At {
    /// Epoch 1, term 1 of the pipeline `orders`.
    pub fn new(version: u64) -> Self {
        Self { topic: "orders", pipeline: "orders", epoch: 1, version, term: 1 }
    }
}

/// The state as it stands: epoch 1.
struct State;

#[async_trait::async_trait]
impl EpochView for State {
    async fn read(&self) -> Result<u16, String> {
        Ok(1)
    }
}

pub struct World {
    pub kafka: Kafka,
    pub es: Elasticsearch,
    metrics: Registry,
}

/// An adapter that runs.
pub struct Running {
    stop: watch::Sender<bool>,
    status: watch::Receiver<AdapterStatus>,
    task: JoinHandle<Result<(), Stop>>,
}

impl Running {
    /// Asks it to drain and waits for it.
    pub async fn stop(self) -> Result<(), Stop> {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }

    /// Waits for it to end by itself.
    pub async fn ended(self) -> Result<(), Stop> {
        tokio::time::timeout(Duration::from_secs(600), self.task).await.expect("it ends by itself").unwrap()
    }

    pub fn state(&self, sink: &str) -> SinkState {
        self.status.borrow()[sink].state.clone()
    }

    pub fn partitions(&self, sink: &str) -> Vec<u32> {
        self.status.borrow()[sink].partitions.clone()
    }
}

impl World {
    /// A cluster of each kind and the topic `orders`.
    pub fn new(partitions: u32) -> Self {
        let kafka = Kafka::new(KafkaConfig::default());
        kafka.create_topic("orders", partitions);
        Self { kafka, es: Elasticsearch::new(ElasticsearchConfig::default()), metrics: Registry::default() }
    }

    /// Starts an adapter: one sink `hot`, orders of status 1 and 2.
    pub fn start(&self, change: impl FnOnce(&mut AdapterConfig)) -> Running {
        let mut config = AdapterConfig::new("orders", "orders");
        let mut sink = SinkConfig::new("hot", "hot", "orders.order_main", "orders");
        sink.when = Some("row.status in [1, 2]".into());
        config.sinks.push(sink);
        change(&mut config);
        let of = |sink: &SinkConfig| (sink.name.clone(), Arc::new(self.es.clone()) as Arc<dyn SearchIndex>);
        let indexes: BTreeMap<_, _> = config.sinks.iter().map(of).collect();
        let ports = AdapterPorts { log: Arc::new(self.kafka.clone()), indexes, epochs: Arc::new(State) };
        let adapter = Adapter::new(config, ports, Env::new(|| 1_000_000, 7), self.metrics.clone()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let status = adapter.status();
        Running { stop, status, task: tokio::spawn(adapter.run(stopped)) }
    }

    /// Writes a change of `orders.order_main`.
    pub async fn produce(&self, partition: u32, at: At, (kind, data, old): &Change) {
        let value = format!(
            r#"{{"data":[{data}],"database":"orders","es":1000,"gtid":"","id":1,"isDdl":false,"mysqlType":{{"order_id":
            "bigint(20)","status":"tinyint(4)","remark":"varchar(32)"}},"old":{old},"pkNames":["order_id"],"sql":"",
            "sqlType":null,"table":"order_main","ts":1500,"type":"{kind}"}}"#
        );
        let offset = at.version.to_string();
        let more: [(&str, &[u8]); 2] = [("towpath-offset", offset.as_bytes()), ("towpath-rows", b"0")];
        self.write(partition, at, value.as_bytes(), &more).await;
    }

    /// Writes a fence.
    pub async fn fence(&self, partition: u32, at: At) {
        self.write(partition, at, b"{}", &[("towpath-control", b"fence")]).await;
    }

    async fn write(&self, partition: u32, at: At, value: &[u8], more: &[(&str, &[u8])]) {
        let (epoch, term) = (at.epoch.to_string(), at.term.to_string());
        let mut headers: Vec<(&str, &[u8])> = vec![
            ("towpath-epoch", epoch.as_bytes()),
            ("towpath-term", term.as_bytes()),
            ("towpath-pipeline", at.pipeline.as_bytes()),
        ];
        headers.extend(more);
        let mut producer = self.kafka.producer(at.topic, ProducerMode::Idempotent, "test").await.unwrap();
        let record = Record { partition, key: None, value, headers: &headers, timestamp_ms: 1500, tag: 1 };
        producer.produce(&record).unwrap();
        let mut deliveries = Vec::new();
        producer.deliveries(&mut deliveries).await.unwrap();
        assert!(deliveries[0].result.is_ok());
    }

    /// Waits for a condition, at most an hour of the paused clock.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        let deadline = Instant::now() + Duration::from_secs(3600);
        while !condition().await {
            assert!(Instant::now() < deadline, "never came: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets refreshes happen.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }

    /// (order_id, status) of what a query through the alias sees.
    pub async fn visible(&self, alias: &str) -> Vec<(u64, u64)> {
        let Ok(found) = self.es.scan(alias, &json!({"match_all": {}}), None, 10_000).await else { return Vec::new() };
        let mut orders: Vec<(u64, u64)> = found
            .iter()
            .map(|(id, source)| {
                let order: Value = serde_json::from_slice(source).unwrap();
                assert_eq!(order["order_id"].to_string(), *id);
                (order["order_id"].as_u64().unwrap(), order["status"].as_u64().unwrap())
            })
            .collect();
        orders.sort_unstable();
        orders
    }

    pub async fn meta(&self, index: &str) -> Value {
        self.es.meta(index).await.unwrap().unwrap()
    }

    /// Records of `orders` that the group has not committed.
    pub fn lag(&self, group: &str) -> i64 {
        self.lag_of("orders", group)
    }

    pub fn lag_of(&self, topic: &str, group: &str) -> i64 {
        let committed: BTreeMap<u32, i64> = self.kafka.committed(topic, group).into_iter().collect();
        let records = self.kafka.records(topic);
        let open = |record: &&towpath_engine::ports::log::ConsumedRecord| {
            record.offset >= committed.get(&record.partition).copied().unwrap_or(0)
        };
        records.iter().filter(open).count() as i64
    }

    /// The sum of a metric over its series.
    pub fn metric(&self, name: &str) -> i64 {
        self.metrics.snapshot()[name].series.values().map(|metric| metric.get()).sum()
    }
}
