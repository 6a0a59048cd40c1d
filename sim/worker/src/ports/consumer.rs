//! A member of a consumer group. What was fetched and whose answer was lost is handed out again.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;
use towpath_engine::ports::log::{Committed, ConsumerEvent, LogConsumer, LogError};

use super::CALL_WITHIN;
use super::log::{request, unavailable};
use crate::wire::{Link, Lost};

/// The brokers' side looks up from waiting for records this often, so that other calls of the member come through.
const SLICE: Duration = Duration::from_millis(50);

struct Served {
    inner: Box<dyn LogConsumer>,
    /// The last event handed out and its number: repeated if its answer was lost.
    last: Option<(u64, ConsumerEvent)>,
}

type Shared = Arc<Mutex<Served>>;
type Event = Result<Result<Option<ConsumerEvent>, LogError>, Lost>;

/// A member behind the network.
pub struct RemoteConsumer {
    link: Link,
    served: Shared,
    /// The number of the next event.
    number: u64,
    /// A fetch that goes on although its caller was cancelled.
    fetching: Option<oneshot::Receiver<Event>>,
}

impl RemoteConsumer {
    pub fn new(link: Link, inner: Box<dyn LogConsumer>) -> Self {
        let served = Arc::new(Mutex::new(Served { inner, last: None }));
        Self { link, served, number: 1, fetching: None }
    }

    fn fetch(&self, max_wait: Duration) -> oneshot::Receiver<Event> {
        let (link, served, number) = (self.link.clone(), Arc::clone(&self.served), self.number);
        let (done, event) = oneshot::channel();
        tokio::spawn(async move {
            let work = move || next(served, number, max_wait);
            let _ = done.send(link.call("group.next", max_wait + CALL_WITHIN, work).await);
        });
        event
    }

    async fn call<T, F>(
        &self,
        name: &'static str,
        work: impl FnOnce(Shared) -> F + Clone + Send + 'static,
    ) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LogError>> + Send + 'static,
    {
        let served = Arc::clone(&self.served);
        request(&self.link, name, move || work(served)).await
    }
}

async fn next(served: Shared, number: u64, max_wait: Duration) -> Result<Option<ConsumerEvent>, LogError> {
    let until = Instant::now() + max_wait;
    loop {
        let mut served = served.lock().await;
        if let Some((_, event)) = served.last.as_ref().filter(|(last, _)| *last == number) {
            return Ok(Some(copy(event)));
        }
        let left = until.saturating_duration_since(Instant::now());
        if let Some(event) = served.inner.next(left.min(SLICE)).await? {
            served.last = Some((number, copy(&event)));
            return Ok(Some(event));
        }
        if left <= SLICE {
            return Ok(None);
        }
    }
}

fn copy(event: &ConsumerEvent) -> ConsumerEvent {
    match event {
        ConsumerEvent::Assigned(partitions) => ConsumerEvent::Assigned(partitions.clone()),
        ConsumerEvent::Revoked(partitions) => ConsumerEvent::Revoked(partitions.clone()),
        ConsumerEvent::Lost(partitions) => ConsumerEvent::Lost(partitions.clone()),
        ConsumerEvent::Records(records) => ConsumerEvent::Records(records.clone()),
    }
}

#[async_trait]
impl LogConsumer for RemoteConsumer {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<ConsumerEvent>, LogError> {
        if self.fetching.is_none() {
            self.fetching = Some(self.fetch(max_wait));
        }
        let Some(fetching) = &mut self.fetching else { return Ok(None) };
        let event = fetching.await;
        self.fetching = None;
        match event {
            Ok(Ok(event)) => {
                let event = event?;
                self.number += u64::from(event.is_some());
                Ok(event)
            }
            // Each attempt to connect that fails is told, as the client library does.
            Ok(Err(lost)) => Err(unavailable(lost)),
            // The process stops.
            Err(_) => Ok(None),
        }
    }

    async fn start(&mut self, partition: u32, offset: i64) -> Result<(), LogError> {
        let work = move |served: Shared| async move { served.lock().await.inner.start(partition, offset).await };
        self.call("group.start", work).await
    }

    async fn pause(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        let partitions = partitions.to_vec();
        self.call("group.pause", |served| async move { served.lock().await.inner.pause(&partitions).await }).await
    }

    async fn resume(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        let partitions = partitions.to_vec();
        self.call("group.resume", |served| async move { served.lock().await.inner.resume(&partitions).await }).await
    }

    async fn commit(&mut self, offsets: &BTreeMap<u32, Committed>) -> Result<bool, LogError> {
        let offsets = offsets.clone();
        self.call("group.commit", |served| async move { served.lock().await.inner.commit(&offsets).await }).await
    }

    async fn release(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        let partitions = partitions.to_vec();
        self.call("group.release", |served| async move { served.lock().await.inner.release(&partitions).await }).await
    }

    async fn watermarks(&mut self, partition: u32) -> Result<(i64, i64), LogError> {
        let work = move |served: Shared| async move { served.lock().await.inner.watermarks(partition).await };
        self.call("group.watermarks", work).await
    }

    async fn close(&mut self) {
        let work = |served: Shared| async move {
            served.lock().await.inner.close().await;
            Ok(())
        };
        // Without an answer the member goes when its session ends.
        let _ = self.call("group.leave", work).await;
    }
}
