//! Sees records on their way: reads the topic as any other consumer would, committed records only.

use anyhow::{Context, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::probes::Probes;
use crate::target::Topic;

const PATIENCE: Duration = Duration::from_secs(20);

/// What is read of a record (Canal's FlatMessage).
#[derive(Deserialize)]
struct Flat {
    table: String,
    #[serde(rename = "type")]
    kind: String,
    data: Option<Vec<Row>>,
}

#[derive(Deserialize)]
struct Row {
    order_id: Option<String>,
}

/// Reads in a thread of its own until stopped.
pub struct Reader {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Begins at the topic's present end.
    ///
    /// # Errors
    /// The brokers or the topic cannot be reached.
    pub async fn start(topic: &Topic, probes: Probes) -> Result<Self> {
        let (brokers, name) = (topic.brokers.clone(), topic.name.clone());
        let consumer = tokio::task::spawn_blocking(move || open(&brokers, &name)).await??;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let task = tokio::task::spawn_blocking(move || {
            while !told.load(Ordering::Relaxed) {
                // An error of the client's is silence on this figure, and the client goes on by itself.
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                    read(message.payload().unwrap_or_default(), &probes);
                }
            }
        });
        Ok(Self { stop, task })
    }

    /// Ends the thread.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.task.await);
    }
}

fn open(brokers: &str, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "towpath-load")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "20")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).with_context(|| format!("topic {topic}"))?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        // The end is asked for here: a consumer that finds it by itself does so only after it was given the partition.
        let (_, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?;
        assignment.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

fn read(payload: &[u8], probes: &Probes) {
    let Ok(flat) = serde_json::from_slice::<Flat>(payload) else { return };
    if flat.kind != "INSERT" || flat.table != "order_main" {
        return;
    }
    let now = Instant::now();
    let orders = flat.data.iter().flatten().filter_map(|row| row.order_id.as_deref()?.parse::<i64>().ok());
    orders.for_each(|order| probes.in_kafka(order, now));
}
