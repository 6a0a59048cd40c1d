//! Looking at a part of one partition without a group: the tail that a leader left, dead letters, fences.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use towpath_engine::ports::log::{ConsumedRecord, LogError};

use super::{KafkaConfig, Logged, blocking, config, error};

/// What to read.
pub(super) struct Range {
    pub topic: String,
    pub partition: u32,
    pub from: i64,
    pub to: i64,
    pub max: usize,
}

/// Reads committed records; the second value is the next offset to read.
pub(super) async fn read(config: Arc<KafkaConfig>, range: Range) -> Result<(Vec<ConsumedRecord>, i64), LogError> {
    blocking(move || read_blocking(&config, &range)).await
}

fn read_blocking(config: &KafkaConfig, range: &Range) -> Result<(Vec<ConsumedRecord>, i64), LogError> {
    let deadline = Instant::now() + config.request_timeout;
    let classify = |err: KafkaError| error::classify(&err);
    let client: BaseConsumer<Logged> = config::groupless(config, true).create_with_context(Logged).map_err(classify)?;
    let partition = range.partition as i32;
    // Under read_committed the second mark is the last *stable* offset: behind it transactions are still open.
    let (low, stable) = client.fetch_watermarks(&range.topic, partition, config.request_timeout).map_err(classify)?;
    let start = range.from.max(low);
    let end = range.to.min(stable);
    if start >= end || range.max == 0 {
        return Ok((Vec::new(), start));
    }
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&range.topic, partition, Offset::Offset(start)).map_err(classify)?;
    client.assign(&assignment).map_err(classify)?;
    let mut records: Vec<ConsumedRecord> = Vec::new();
    while Instant::now() < deadline {
        match client.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) if message.offset() >= end => return Ok((records, end)),
            Some(Ok(message)) => {
                records.push(record(&message));
                let next = message.offset() + 1;
                if next >= end || records.len() >= range.max {
                    return Ok((records, next));
                }
            }
            // The end can only be met behind `stable`: only markers and aborted records were left before it.
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok((records, end)),
            // Whoever may read the topic need not have a right to the group that is only named.
            Some(Err(err)) if error::code(&err) == Some(Code::GroupAuthorizationFailed) => {}
            Some(Err(err)) => match error::classify(&err) {
                LogError::Unavailable(text) => tracing::debug!(text, "Kafka's client reports while reading"),
                other => return Err(other),
            },
        }
    }
    Err(LogError::Unavailable(format!(
        "reading {}/{} from {start} took over {} s",
        range.topic,
        range.partition,
        config.request_timeout.as_secs_f32()
    )))
}

/// A message, copied out of the library's memory.
pub(super) fn record(message: &BorrowedMessage<'_>) -> ConsumedRecord {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key.to_string(), header.value.unwrap_or_default().to_vec())).collect()
    });
    ConsumedRecord {
        partition: message.partition() as u32,
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
    }
}
