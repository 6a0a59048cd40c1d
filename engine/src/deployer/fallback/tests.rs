//! The log within the process and its consumers, on a cluster that takes entries or does not.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::direct_log::{DirectLog, PARTITION};
use super::journal::Journal;
use crate::ports::index::{AliasSpec, BulkOp, IndexError, ItemResult, SearchIndex, StoredDocument};
use crate::ports::log::{
    Committed, ConsumerEvent, Delivery, EventLog, LogConsumer, LogError, LogProducer, ProducerMode, Record,
};

/// Takes journal entries, or refuses each.
#[derive(Default)]
struct Cluster {
    sealed: AtomicBool,
    entries: Mutex<Vec<String>>,
}

#[async_trait]
impl SearchIndex for Cluster {
    async fn bulk(&self, operations: &[BulkOp]) -> Result<Vec<ItemResult>, IndexError> {
        if self.sealed.load(Ordering::Relaxed) {
            let refused = ItemResult { status: 403, error_type: Some("cluster_block_exception".into()), reason: None };
            return Ok(vec![refused; operations.len()]);
        }
        self.entries.lock().unwrap().extend(operations.iter().map(|op| op.id.clone()));
        Ok(vec![ItemResult { status: 201, error_type: None, reason: None }; operations.len()])
    }

    async fn get(&self, _: &str, _: &str, _: Option<&str>) -> Result<Option<StoredDocument>, IndexError> {
        Ok(None)
    }

    async fn create_index(&self, _: &str, _: &serde_json::Value) -> Result<bool, IndexError> {
        Ok(true)
    }

    async fn meta(&self, _: &str) -> Result<Option<serde_json::Value>, IndexError> {
        Ok(None)
    }

    async fn put_meta(&self, _: &str, _: &serde_json::Value) -> Result<(), IndexError> {
        Ok(())
    }

    async fn put_alias(&self, _: &AliasSpec) -> Result<(), IndexError> {
        Ok(())
    }

    async fn refresh(&self, _: &str) -> Result<(), IndexError> {
        Ok(())
    }

    async fn scan(
        &self,
        _: &str,
        _: &serde_json::Value,
        _: Option<&str>,
        _: usize,
    ) -> Result<Vec<(String, Bytes)>, IndexError> {
        Ok(Vec::new())
    }
}

/// A log with the groups `a` and `b`.
fn log(budget: usize) -> (DirectLog, Arc<Cluster>) {
    let cluster = Arc::new(Cluster::default());
    let journal = |sink: &str| Some(Journal::new(Arc::clone(&cluster) as Arc<dyn SearchIndex>, "p", sink, (7, 1)));
    let journals = BTreeMap::from([("a".to_owned(), journal("a")), ("b".to_owned(), journal("b"))]);
    (DirectLog::new("orders", 3, 1, budget, journals), cluster)
}

async fn producer(log: &DirectLog, topic: &str) -> Box<dyn LogProducer> {
    log.producer(topic, ProducerMode::Idempotent, "").await.unwrap()
}

fn record(tag: u64, value: &[u8]) -> Record<'_> {
    Record { partition: 2, key: None, value, headers: &[("towpath-epoch", b"1")], timestamp_ms: 5, tag }
}

async fn started(log: &DirectLog, group: &str) -> Box<dyn LogConsumer> {
    let mut consumer = log.consumer("orders", group).await.unwrap();
    assert!(matches!(next(consumer.as_mut()).await, Ok(Some(ConsumerEvent::Assigned(_)))));
    consumer.start(PARTITION, 0).await.unwrap();
    consumer
}

async fn next(consumer: &mut dyn LogConsumer) -> Result<Option<ConsumerEvent>, LogError> {
    consumer.next(Duration::from_secs(1)).await
}

async fn commit(consumer: &mut dyn LogConsumer, offset: i64) {
    let committed = Committed { offset, metadata: String::new() };
    assert!(consumer.commit(&BTreeMap::from([(PARTITION, committed)])).await.unwrap());
}

/// The tags that are acknowledged within a second.
async fn acknowledged(producer: &mut dyn LogProducer) -> Vec<u64> {
    let mut out: Vec<Delivery> = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(1), producer.deliveries(&mut out)).await;
    out.into_iter().map(|delivery| delivery.tag).collect()
}

#[tokio::test(start_paused = true)]
async fn a_record_is_acknowledged_when_every_sink_has_its_outcome() {
    let (log, _) = log(1 << 20);
    let mut producer = producer(&log, "orders").await;
    let (mut a, mut b) = (started(&log, "a").await, started(&log, "b").await);
    for tag in 10..13 {
        producer.produce(&record(tag, b"{}")).unwrap();
    }
    commit(a.as_mut(), 3).await;
    assert!(acknowledged(producer.as_mut()).await.is_empty(), "b has not committed");
    commit(b.as_mut(), 2).await;
    assert_eq!(acknowledged(producer.as_mut()).await, [10, 11]);
    commit(b.as_mut(), 3).await;
    assert_eq!(acknowledged(producer.as_mut()).await, [12]);
}

#[tokio::test(start_paused = true)]
async fn it_holds_no_more_than_its_budget() {
    let (log, _) = log(1_000);
    let mut producer = producer(&log, "orders").await;
    let (mut a, mut b) = (started(&log, "a").await, started(&log, "b").await);
    let large = vec![b'x'; 5_000];
    producer.produce(&record(1, &large)).expect("one record goes, whatever its size");
    assert!(matches!(producer.produce(&record(2, b"{}")), Err(LogError::QueueFull)));
    commit(a.as_mut(), 1).await;
    assert!(matches!(producer.produce(&record(2, b"{}")), Err(LogError::QueueFull)));
    commit(b.as_mut(), 1).await;
    producer.produce(&record(2, b"{}")).expect("the first is let go");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_out_that_is_not_in_the_journal() {
    let (log, cluster) = log(1 << 20);
    let mut producer = producer(&log, "orders").await;
    let mut a = started(&log, "a").await;
    cluster.sealed.store(true, Ordering::Relaxed);
    producer.produce(&record(1, b"{}")).unwrap();
    let refused = next(a.as_mut()).await;
    assert!(matches!(&refused, Err(LogError::Unavailable(why)) if why.contains("cluster_block")), "{refused:?}");
    cluster.sealed.store(false, Ordering::Relaxed);
    let Ok(Some(ConsumerEvent::Records(records))) = next(a.as_mut()).await else { panic!("no records") };
    assert_eq!((records.len(), records[0].partition, records[0].offset), (1, PARTITION, 0));
    assert_eq!(*cluster.entries.lock().unwrap(), ["0000000001-00000000000000000000"]);
}

/// The adapters meet the same record again, and write the letter then.
#[tokio::test(start_paused = true)]
async fn dead_letters_are_taken_and_not_kept() {
    let (log, _) = log(1 << 20);
    let mut letters = producer(&log, "orders.dead-letter").await;
    letters.produce(&record(4, b"{}")).unwrap();
    assert_eq!(acknowledged(letters.as_mut()).await, [4]);
    assert_eq!(log.topic("orders").await.unwrap().watermarks[0], (0, 0));
}
