//! A producer: records in, deliveries out, transactions.
//!
//! Must not retry a record: what fails or is unknown is told, and the caller rewinds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use tokio::sync::Notify;
use towpath_engine::ports::log::{Delivery, LogError, LogProducer, ProducerMode, Record};

use super::{KafkaConfig, blocking, config, error, log_line};

/// How long the serving thread sleeps at most while nothing happens; also how long it outlives its producer.
const SERVE: Duration = Duration::from_millis(100);
/// How long the reports of what a purge threw away are waited for.
const PURGED: Duration = Duration::from_secs(1);
/// How long one look for the report of a purged record takes at most; the serving thread may get it instead.
const REPORT: Duration = Duration::from_millis(1);

type Client = BaseProducer<Reports>;

/// Opens a producer. `Transactional` takes over the id.
pub(super) async fn open(
    config: Arc<KafkaConfig>,
    topic: &str,
    mode: ProducerMode,
    transactional_id: &str,
) -> Result<KafkaProducer, LogError> {
    let topic = topic.to_string();
    let id = (mode == ProducerMode::Transactional).then(|| transactional_id.to_string());
    blocking(move || {
        let reports = Arc::new(Shared::default());
        let client: Client = config::producer(&config, id.as_deref())
            .create_with_context(Reports(Arc::clone(&reports)))
            .map_err(|err| error::classify(&err))?;
        let producer = KafkaProducer { client: Arc::new(client), reports, topic, mode, config, purged: false };
        producer.serve()?;
        if id.is_some() {
            let limit = producer.config.request_timeout;
            producer.client.init_transactions(limit).map_err(|err| transaction_error(&producer.client, &err, false))?;
        }
        Ok(producer)
    })
    .await
}

/// What the serving thread and the producer share.
#[derive(Default)]
struct Shared {
    deliveries: Mutex<Vec<Delivery>>,
    /// A delivery failed since the last `begin`.
    failed: AtomicBool,
    wake: Notify,
    stop: AtomicBool,
}

/// Receives the library's reports, on the serving thread.
struct Reports(Arc<Shared>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka's producer reports");
        // Whoever waits looks whether the error was fatal.
        self.0.wake.notify_one();
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let result = match result {
            // A duplicate that the broker recognised is stored, but the broker does not say where.
            Ok(message) if message.offset() < 0 => Err("delivered, but its offset is unknown".to_string()),
            Ok(message) => Ok((message.partition() as u32, message.offset())),
            Err((err, _)) => Err(err.to_string()),
        };
        if result.is_err() {
            self.0.failed.store(true, Ordering::Release);
        }
        let mut deliveries = self.0.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        deliveries.push(Delivery { tag: tag as u64, result });
        if deliveries.len() == 1 {
            self.0.wake.notify_one();
        }
    }
}

/// A producer to one topic.
pub(super) struct KafkaProducer {
    client: Arc<Client>,
    reports: Arc<Shared>,
    topic: String,
    mode: ProducerMode,
    config: Arc<KafkaConfig>,
    purged: bool,
}

impl KafkaProducer {
    /// Starts the thread that takes reports from the library. It sleeps in the library until there is one, and owns the
    /// client for as long as it runs, so that ending the client never blocks an async thread.
    fn serve(&self) -> Result<(), LogError> {
        let (client, reports) = (Arc::clone(&self.client), Arc::clone(&self.reports));
        let served = std::thread::Builder::new().name("kafka-reports".into()).spawn(move || {
            while !reports.stop.load(Ordering::Acquire) {
                client.poll(SERVE);
            }
        });
        served.map(drop).map_err(|err| LogError::Failed(format!("no thread for Kafka's reports: {err}")))
    }

    fn check_usable(&self) -> Result<(), LogError> {
        if self.purged {
            return Err(LogError::Failed("the producer was purged".into()));
        }
        match self.client.client().fatal_error() {
            None => Ok(()),
            Some((code, why)) if error::is_fenced(code) => Err(LogError::Fenced(why)),
            Some((code, why)) => Err(LogError::Failed(format!("{code}: {why}"))),
        }
    }

    fn take(&self, out: &mut Vec<Delivery>) -> bool {
        let mut deliveries = self.reports.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let any = !deliveries.is_empty();
        out.append(&mut deliveries);
        any
    }
}

#[async_trait]
impl LogProducer for KafkaProducer {
    async fn begin(&mut self) -> Result<(), LogError> {
        self.check_usable()?;
        self.reports.failed.store(false, Ordering::Release);
        if self.mode == ProducerMode::Idempotent {
            return Ok(());
        }
        // Local only: the coordinator hears of a transaction with its first record.
        self.client.begin_transaction().map_err(|err| transaction_error(&self.client, &err, true))
    }

    fn produce(&mut self, record: &Record<'_>) -> Result<(), LogError> {
        if self.purged {
            return Err(LogError::Failed("the producer was purged".into()));
        }
        let tag = usize::try_from(record.tag)
            .map_err(|_| LogError::Failed(format!("tag {} exceeds a pointer", record.tag)))?;
        let mut message: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(&self.topic, tag)
            .partition(record.partition as i32)
            .payload(record.value)
            .timestamp(record.timestamp_ms);
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (key, value) in record.headers {
                headers = headers.insert(Header { key, value: Some(*value) });
            }
            message = message.headers(headers);
        }
        if let Some(key) = record.key {
            message = message.key(key);
        }
        self.client.send(message).map_err(|(err, _)| match error::code(&err) {
            Some(Code::Fatal | Code::Fenced) => transaction_error(&self.client, &err, true),
            _ => error::classify(&err),
        })
    }

    async fn deliveries(&mut self, out: &mut Vec<Delivery>) -> Result<(), LogError> {
        loop {
            if self.take(out) {
                return Ok(());
            }
            self.check_usable()?;
            self.reports.wake.notified().await;
        }
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        self.check_usable()?;
        let (client, limit) = (Arc::clone(&self.client), self.config.commit_timeout);
        if self.mode == ProducerMode::Transactional {
            return blocking(move || {
                client.commit_transaction(limit).map_err(|err| transaction_error(&client, &err, true))
            })
            .await;
        }
        let reports = Arc::clone(&self.reports);
        blocking(move || {
            client.flush(limit).map_err(|err| LogError::Failed(format!("records were not acknowledged: {err}")))?;
            match reports.failed.load(Ordering::Acquire) {
                true => Err(LogError::Failed("a record was not delivered".into())),
                false => Ok(()),
            }
        })
        .await
    }

    async fn abort(&mut self) -> Result<(), LogError> {
        self.check_usable()?;
        if self.mode == ProducerMode::Idempotent {
            return Ok(());
        }
        let (client, limit) = (Arc::clone(&self.client), self.config.commit_timeout);
        blocking(move || client.abort_transaction(limit).map_err(|err| transaction_error(&client, &err, true))).await
    }

    async fn purge(&mut self) {
        self.purged = true;
        let client = Arc::clone(&self.client);
        let purged = blocking(move || {
            client.purge(PurgeConfig::default().queue().inflight());
            // The library reports what it threw away through its queue, after this call has returned: without waiting,
            // the next look at the deliveries may see the end of the producer before the fate of its records.
            let asked = Instant::now();
            while client.in_flight_count() > 0 {
                if asked.elapsed() > PURGED {
                    return Err(LogError::Unavailable("records are still in flight".into()));
                }
                client.poll(REPORT);
            }
            Ok(())
        });
        if let Err(err) = purged.await {
            tracing::warn!(%err, "the producer's queue could not be purged");
        }
        self.reports.wake.notify_one();
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        // What is still queued must not go out after its producer is gone.
        self.client.purge(PurgeConfig::default().queue().inflight().non_blocking());
        self.reports.stop.store(true, Ordering::Release);
    }
}

/// An error of a transactional call. `open`: a transaction may be open, so a timeout leaves its outcome unknown.
fn transaction_error(client: &Client, err: &KafkaError, open: bool) -> LogError {
    if let Some((code, why)) = client.client().fatal_error() {
        return if error::is_fenced(code) { LogError::Fenced(why) } else { LogError::Failed(format!("{code}: {why}")) };
    }
    match error::classify(err) {
        LogError::Unavailable(text) if open => LogError::Failed(text),
        other => other,
    }
}
