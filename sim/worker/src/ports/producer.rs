//! A producer: a local queue, a sender that moves it over the network in order, and what the brokers said.
//!
//! A chunk whose answer was lost is sent again under its number and is written once: that is what idempotence gives
//! within one producer. A commit is never sent twice.

use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use towpath_engine::ports::log::{Delivery, LogError, LogProducer, ProducerMode, Record};

use super::log::{REQUEST_WITHIN, RETRY};
use crate::wire::{Link, Lost};

/// Records that the local queue takes.
const QUEUE: usize = 20_000;
/// Records that one request carries.
const CHUNK: usize = 500;
/// How long the brokers' side waits for acknowledgements before it says what it has.
const SLICE: Duration = Duration::from_millis(50);

struct Owned {
    partition: u32,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    timestamp_ms: i64,
    tag: u64,
}

/// The brokers' side of a producer: what lives on although a connection breaks.
struct Served {
    inner: Box<dyn LogProducer>,
    /// The number of the last chunk written.
    applied: u64,
    /// Deliveries that the client has not confirmed, and the number of those before them.
    known: Vec<Delivery>,
    before: u64,
}

type Shared = Arc<tokio::sync::Mutex<Served>>;

#[derive(Default)]
struct Local {
    queue: VecDeque<Owned>,
    deliveries: VecDeque<Delivery>,
    /// Records sent or queued whose delivery is not known.
    open: usize,
    /// Deliveries that have come, in all.
    seen: u64,
    /// A transaction was begun and the brokers have not heard of it.
    to_begin: bool,
    in_transaction: bool,
    fatal: Option<LogError>,
}

struct Client {
    local: Mutex<Local>,
    /// There is something to send.
    to_send: Notify,
    /// Something became known.
    changed: Notify,
}

impl Client {
    fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A producer behind the network.
pub struct RemoteProducer {
    link: Link,
    served: Shared,
    client: Arc<Client>,
    mode: ProducerMode,
    sender: JoinHandle<()>,
}

impl RemoteProducer {
    pub fn new(link: Link, inner: Box<dyn LogProducer>, mode: ProducerMode) -> Self {
        let served = Arc::new(tokio::sync::Mutex::new(Served { inner, applied: 0, known: Vec::new(), before: 0 }));
        let client = Arc::new(Client { local: Mutex::default(), to_send: Notify::new(), changed: Notify::new() });
        let sender = tokio::spawn(send(link.clone(), Arc::clone(&served), Arc::clone(&client)));
        Self { link, served, client, mode, sender }
    }

    fn usable(&self) -> Result<(), LogError> {
        self.client.local().fatal.clone().map_or(Ok(()), Err)
    }

    /// The end of a transaction at the brokers.
    async fn end(&mut self, commit: bool) -> Result<(), LogError> {
        let begin = {
            let mut local = self.client.local();
            local.in_transaction = false;
            std::mem::take(&mut local.to_begin)
        };
        let served = Arc::clone(&self.served);
        let work = move || async move {
            let mut served = served.lock().await;
            if begin {
                served.inner.begin().await?;
            }
            if commit { served.inner.commit().await } else { served.inner.abort().await }
        };
        let name = if commit { "log.commit" } else { "log.abort" };
        let unknown = |lost: Lost| LogError::Failed(format!("the outcome is unknown: {lost}"));
        self.link.call(name, REQUEST_WITHIN, work).await.map_err(unknown)?
    }
}

/// Moves the queue to the brokers and their acknowledgements back, one request at a time.
async fn send(link: Link, served: Shared, client: Arc<Client>) {
    let mut number = 0;
    loop {
        let idle = {
            let local = client.local();
            local.queue.is_empty() && local.open == 0
        };
        if idle {
            client.to_send.notified().await;
            continue;
        }
        let (begin, chunk) = {
            let mut local = client.local();
            let count = local.queue.len().min(CHUNK);
            let chunk: Vec<Owned> = local.queue.drain(..count).collect();
            (!chunk.is_empty() && std::mem::take(&mut local.to_begin), Arc::new(chunk))
        };
        if !chunk.is_empty() {
            number += 1;
        }
        loop {
            let (served, chunk, seen) = (Arc::clone(&served), Arc::clone(&chunk), client.local().seen);
            let work = move || async move { served.lock().await.exchange(number, begin, &chunk, seen).await };
            match link.call("log.produce", REQUEST_WITHIN, work).await {
                Ok(Ok(known)) => {
                    let mut local = client.local();
                    local.seen += known.len() as u64;
                    local.open = local.open.saturating_sub(known.len());
                    local.deliveries.extend(known);
                    drop(local);
                    client.changed.notify_waiters();
                    break;
                }
                Ok(Err(error)) => {
                    client.local().fatal = Some(error);
                    client.changed.notify_waiters();
                    return;
                }
                // The same chunk again, under the same number.
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

impl Served {
    /// Writes a chunk once, whatever how often it comes, and says which deliveries the client has not seen.
    async fn exchange(
        &mut self,
        number: u64,
        begin: bool,
        chunk: &[Owned],
        seen: u64,
    ) -> Result<Vec<Delivery>, LogError> {
        let confirmed = (seen.saturating_sub(self.before) as usize).min(self.known.len());
        self.known.drain(..confirmed);
        self.before += confirmed as u64;
        if number > self.applied {
            self.applied = number;
            if begin {
                self.inner.begin().await?;
            }
            for record in chunk {
                let headers: Vec<(&str, &[u8])> =
                    record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
                self.inner.produce(&Record {
                    partition: record.partition,
                    key: record.key.as_deref(),
                    value: &record.value,
                    headers: &headers,
                    timestamp_ms: record.timestamp_ms,
                    tag: record.tag,
                })?;
            }
        }
        if self.known.is_empty() {
            let mut known = Vec::new();
            if let Ok(result) = timeout(SLICE, self.inner.deliveries(&mut known)).await {
                result?;
            }
            self.known = known;
        }
        Ok(self.known.clone())
    }
}

#[async_trait]
impl LogProducer for RemoteProducer {
    async fn begin(&mut self) -> Result<(), LogError> {
        self.usable()?;
        if self.mode == ProducerMode::Transactional {
            let mut local = self.client.local();
            if local.in_transaction {
                return Err(LogError::Failed("a transaction is already open".into()));
            }
            (local.in_transaction, local.to_begin) = (true, true);
        }
        Ok(())
    }

    fn produce(&mut self, record: &Record<'_>) -> Result<(), LogError> {
        self.usable()?;
        let mut local = self.client.local();
        if self.mode == ProducerMode::Transactional && !local.in_transaction {
            return Err(LogError::Failed("no transaction is open".into()));
        }
        if local.open + local.deliveries.len() >= QUEUE {
            return Err(LogError::QueueFull);
        }
        local.open += 1;
        local.queue.push_back(Owned {
            partition: record.partition,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
            timestamp_ms: record.timestamp_ms,
            tag: record.tag,
        });
        drop(local);
        // One permit is kept for the sender, which may be between two looks.
        self.client.to_send.notify_one();
        Ok(())
    }

    async fn deliveries(&mut self, out: &mut Vec<Delivery>) -> Result<(), LogError> {
        loop {
            let changed = self.client.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut local = self.client.local();
                if !local.deliveries.is_empty() {
                    out.extend(local.deliveries.drain(..));
                    return Ok(());
                }
                if let Some(fatal) = &local.fatal {
                    return Err(fatal.clone());
                }
            }
            changed.await;
        }
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        let until = Instant::now() + REQUEST_WITHIN;
        loop {
            let changed = self.client.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            self.usable()?;
            if self.client.local().open == 0 {
                break;
            }
            if timeout_at(until, changed).await.is_err() {
                return Err(LogError::Failed("records were not acknowledged before the commit's deadline".into()));
            }
        }
        self.end(true).await
    }

    async fn abort(&mut self) -> Result<(), LogError> {
        self.usable()?;
        {
            let mut local = self.client.local();
            let left = local.queue.len();
            local.queue.clear();
            local.open = local.open.saturating_sub(left);
        }
        self.end(false).await
    }

    async fn purge(&mut self) {
        self.sender.abort();
        let mut local = self.client.local();
        local.queue.clear();
        local.fatal = Some(LogError::Failed("the producer was purged".into()));
    }
}

impl Drop for RemoteProducer {
    fn drop(&mut self) {
        self.sender.abort();
    }
}
