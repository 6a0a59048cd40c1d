//! One sink's reading of the log within the process: every record is in the sink's journal before it is handed out.
//!
//! Must not hand out a record whose journal entry is not acknowledged: a write that nobody knows of could not be
//! undone.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

use super::direct_log::{PARTITION, Shared};
use super::journal::Journal;
use crate::canary::{self, Canary};
use crate::ports::index::IndexError;
use crate::ports::log::{Committed, ConsumedRecord, ConsumerEvent, LogConsumer, LogError};

/// Records journalled in one request.
const COUNT: usize = 1_000;
/// About the bytes of one request.
const BYTES: usize = 2 << 20;

type Batch = Vec<(String, Arc<ConsumedRecord>)>;

/// A sink's consumer.
pub struct DirectConsumer {
    shared: Arc<Shared>,
    group: String,
    /// `None`: what is handed out has been in the log before, and needs none.
    journal: Option<Journal>,
    changed: watch::Receiver<u64>,
    assigned: bool,
    made: bool,
    /// The next offset to hand out; `None` before it is started.
    next: Option<i64>,
    paused: bool,
    /// A batch on its way into the journal: kept here, so that cancelling loses nothing.
    writing: Option<(Batch, BoxFuture<'static, Result<(), IndexError>>)>,
    /// Handed out and not in the journal: always empty, but for a canary.
    unwritten: Batch,
}

impl DirectConsumer {
    /// A consumer of a group.
    pub fn new(shared: Arc<Shared>, group: &str, journal: Option<Journal>) -> Self {
        let changed = shared.changes();
        Self {
            shared,
            group: group.to_owned(),
            journal,
            changed,
            assigned: false,
            made: false,
            next: None,
            paused: false,
            writing: None,
            unwritten: Batch::new(),
        }
    }

    fn start_writing(&mut self, next: i64) {
        let batch = self.shared.take(next, COUNT, BYTES);
        if batch.is_empty() {
            return;
        }
        let (journal, made) = (self.journal.clone(), self.made);
        let mut entries = batch.clone();
        if canary::on(Canary::JournalAfterWrite) {
            std::mem::swap(&mut entries, &mut self.unwritten);
        }
        let write = async move {
            let Some(journal) = journal else { return Ok(()) };
            if !made {
                journal.make().await?;
            }
            journal.write(&entries).await
        };
        self.writing = Some((batch, Box::pin(write)));
    }

    async fn records(&mut self) -> Result<Option<ConsumerEvent>, LogError> {
        loop {
            let Some(next) = self.next.filter(|_| !self.paused) else { return std::future::pending().await };
            self.changed.mark_unchanged();
            if self.writing.is_none() {
                self.start_writing(next);
            }
            if let Some((_, write)) = &mut self.writing {
                let result = write.await;
                let Some((batch, _)) = self.writing.take() else { continue };
                result.map_err(|error| LogError::Unavailable(error.to_string()))?;
                self.made = true;
                self.next = Some(next + batch.len() as i64);
                let records = batch
                    .into_iter()
                    .map(|(_, record)| ConsumedRecord { partition: PARTITION, ..Arc::unwrap_or_clone(record) });
                return Ok(Some(ConsumerEvent::Records(records.collect())));
            }
            if self.changed.changed().await.is_err() {
                return Err(LogError::Failed("the log within the process is gone".to_owned()));
            }
        }
    }
}

#[async_trait]
impl LogConsumer for DirectConsumer {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<ConsumerEvent>, LogError> {
        if !self.assigned {
            self.assigned = true;
            let committed = self.shared.committed(&self.group);
            return Ok(Some(ConsumerEvent::Assigned(BTreeMap::from([(PARTITION, committed)]))));
        }
        tokio::time::timeout(max_wait, self.records()).await.unwrap_or(Ok(None))
    }

    async fn start(&mut self, _partition: u32, offset: i64) -> Result<(), LogError> {
        self.next = Some(offset);
        self.writing = None;
        Ok(())
    }

    async fn pause(&mut self, _partitions: &[u32]) -> Result<(), LogError> {
        self.paused = true;
        Ok(())
    }

    async fn resume(&mut self, _partitions: &[u32]) -> Result<(), LogError> {
        self.paused = false;
        Ok(())
    }

    async fn commit(&mut self, offsets: &BTreeMap<u32, Committed>) -> Result<bool, LogError> {
        if let Some(committed) = offsets.get(&PARTITION) {
            self.shared.commit(&self.group, committed.clone());
        }
        Ok(true)
    }

    async fn release(&mut self, _partitions: &[u32]) -> Result<(), LogError> {
        self.next = None;
        Ok(())
    }

    async fn watermarks(&mut self, _partition: u32) -> Result<(i64, i64), LogError> {
        Ok(self.shared.marks())
    }

    async fn close(&mut self) {
        self.next = None;
    }
}
