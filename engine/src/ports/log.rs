//! Port `EventLog`: one Kafka topic as its producer and its consumers see it, and the dead-letter topics beside it.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;

/// A topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// The topic's id where the client reports one; a topic made anew has another. Empty if unknown.
    pub id: String,
    /// First offset kept and next offset to be written, per partition (index = partition).
    pub watermarks: Vec<(i64, i64)>,
}

impl TopicInfo {
    /// The number of partitions.
    pub fn partitions(&self) -> u32 {
        self.watermarks.len() as u32
    }

    /// Whether `id`, noted earlier, may be this topic's: it differs only if both are known and unlike.
    pub fn may_be(&self, id: &str) -> bool {
        id.is_empty() || self.id.is_empty() || self.id == id
    }
}

/// How records are fenced against a deposed leader (protocol §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerMode {
    /// Transactional: acknowledged = committed. Opening fences every older producer of the same id.
    Transactional,
    /// Idempotent: acknowledged = delivered. Nothing is fenced by the log itself.
    Idempotent,
}

/// A record to be produced.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// The partition, always chosen by the engine.
    pub partition: u32,
    /// The key; `None` for Canal's records.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: &'a [u8],
    /// Headers, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Comes back in the [`Delivery`].
    pub tag: u64,
}

/// What became of one produced record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The record's tag.
    pub tag: u64,
    /// `Ok((partition, offset))`: all in-sync replicas have it. `Err`: failed or *unknown*; never retry one record.
    pub result: Result<(u32, i64), String>,
}

/// What the log can refuse or fail with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// No broker answers within the deadline. Retry.
    #[error("Kafka is unavailable: {0}")]
    Unavailable(String),
    /// A newer producer of this transactional id exists. Drop everything.
    #[error("a newer producer has taken over: {0}")]
    Fenced(String),
    /// The local queue is full: wait for deliveries.
    #[error("the producer's queue is full")]
    QueueFull,
    /// The record exceeds what broker or topic accept.
    #[error("the record is too large: {0}")]
    TooLarge(String),
    /// The topic does not exist and could not be created, or authorisation is missing.
    #[error("the topic cannot be used: {0}")]
    Topic(String),
    /// The outcome is unknown or the producer is beyond use: open a new one and rewind.
    #[error("the producer failed: {0}")]
    Failed(String),
    /// A consumer's offset lies outside the log.
    #[error("the offset is outside the log: {0}")]
    OutOfRange(String),
}

/// A topic and its neighbours on one cluster.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// The topic as it is; `Topic` error if it does not exist.
    async fn topic(&self, name: &str) -> Result<TopicInfo, LogError>;

    /// Creates the topic if it is absent, with `partitions` partitions; succeeds if it exists, whatever its count.
    async fn ensure_topic(&self, name: &str, partitions: u32) -> Result<TopicInfo, LogError>;

    /// [`EventLog::ensure_topic`] with one partition, for records that are needed for ever: where the topic is created,
    /// it is told to keep all of them.
    async fn ensure_history(&self, name: &str) -> Result<TopicInfo, LogError>;

    /// Opens a producer to `topic`. `Transactional` does InitProducerId under `transactional_id` and so fences older
    /// ones.
    async fn producer(
        &self,
        topic: &str,
        mode: ProducerMode,
        transactional_id: &str,
    ) -> Result<Box<dyn LogProducer>, LogError>;

    /// Joins consumer group `group` on `topic` (cooperative rebalance, read_committed, no auto-commit, no auto-reset).
    async fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn LogConsumer>, LogError>;

    /// How many members a consumer group has; a group that nobody knows has none.
    async fn members(&self, group: &str) -> Result<usize, LogError>;

    /// Reads one partition from `from` (or the first kept offset if lower) without a group, read_committed: at most
    /// `max` records below `to`; for looking at the tail. The second value is the next offset to read: it reaches `to`
    /// when only markers or aborted records are left before it.
    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: i64,
        to: i64,
        max: usize,
    ) -> Result<(Vec<ConsumedRecord>, i64), LogError>;
}

/// A producer. Dropping it closes it without waiting.
#[async_trait]
pub trait LogProducer: Send {
    /// Begins a transaction (`Transactional` only; else does nothing).
    async fn begin(&mut self) -> Result<(), LogError>;

    /// Puts a record into the queue. Does not wait, keeps order per partition. `QueueFull` = not taken.
    fn produce(&mut self, record: &Record<'_>) -> Result<(), LogError>;

    /// Waits until at least one delivery is known and appends all that are. Cancelling loses nothing.
    async fn deliveries(&mut self, out: &mut Vec<Delivery>) -> Result<(), LogError>;

    /// Flushes and commits. `Ok` = committed. `Fenced` = drop everything. `Failed` = *unknown*: it may be committed.
    async fn commit(&mut self) -> Result<(), LogError>;

    /// Aborts the open transaction; what was produced in it is never seen by readers of committed records.
    async fn abort(&mut self) -> Result<(), LogError>;

    /// Throws away everything queued and in flight; the producer is beyond use afterwards. What was thrown away is
    /// among the next `deliveries`, as failed; after them it says so itself.
    async fn purge(&mut self);
}

/// A consumed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its timestamp, milliseconds since the epoch.
    pub timestamp_ms: i64,
}

impl ConsumedRecord {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }
}

/// A group's committed place in one partition. Offset and text are written and read together, atomically: the text
/// (Kafka's commit metadata) holds what must never be newer or older than the offset, such as the highest fencing term
/// seen below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// The committer's text, at most some hundred bytes; empty if there is none.
    pub metadata: String,
}

/// What a consumer sees next.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// Partitions added, each with what the group committed there (`None`: it never did).
    /// Nothing is fetched from them before [`LogConsumer::start`].
    Assigned(BTreeMap<u32, Option<Committed>>),
    /// Partitions to be given up: finish or abandon what is in flight, commit, then call [`LogConsumer::release`].
    /// Until then the group waits, up to its own deadline.
    Revoked(Vec<u32>),
    /// Partitions already lost to another member (session expired): drop everything of theirs, commit nothing.
    Lost(Vec<u32>),
    /// Records, in order per partition.
    Records(Vec<ConsumedRecord>),
}

/// A member of a consumer group.
#[async_trait]
pub trait LogConsumer: Send {
    /// Waits for the next event, at most `max_wait`; `None` when there was nothing. Must be called often enough to stay
    /// in the group. Cancelling loses nothing.
    async fn next(&mut self, max_wait: Duration) -> Result<Option<ConsumerEvent>, LogError>;

    /// Starts fetching an assigned partition at `offset`.
    async fn start(&mut self, partition: u32, offset: i64) -> Result<(), LogError>;

    /// Stops fetching, keeping the assignment (backpressure).
    async fn pause(&mut self, partitions: &[u32]) -> Result<(), LogError>;

    /// Fetches again.
    async fn resume(&mut self, partitions: &[u32]) -> Result<(), LogError>;

    /// Commits next-to-read offsets with their texts. `Ok(false)` = refused for the member's generation: drop it, never
    /// retry.
    async fn commit(&mut self, offsets: &BTreeMap<u32, Committed>) -> Result<bool, LogError>;

    /// Ends the revocation announced by [`ConsumerEvent::Revoked`].
    async fn release(&mut self, partitions: &[u32]) -> Result<(), LogError>;

    /// First kept offset and high-water mark of a partition.
    async fn watermarks(&mut self, partition: u32) -> Result<(i64, i64), LogError>;

    /// Leaves the group.
    async fn close(&mut self);
}
