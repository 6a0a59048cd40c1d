//! Reads an XA group's events again, in pieces, while the stream that met its COMMIT stands still.
//!
//! Must not look into events.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::xa::GroupNeed;
use crate::cause::{Cause, Stop};
use crate::ports::source::{BinlogSource, BinlogStream, EventBatch, SourceError};

type Opening = BoxFuture<'static, Result<Box<dyn BinlogStream>, SourceError>>;

/// A group being read.
pub struct GroupReader {
    what: String,
    /// The batch at hand, and its next event.
    batch: Option<(EventBatch, usize)>,
    opening: Option<Opening>,
    stream: Option<Box<dyn BinlogStream>>,
}

impl GroupReader {
    /// From what is at hand, else from the source.
    pub fn new(need: GroupNeed, source: &Arc<dyn BinlogSource>) -> Self {
        let what = format!("XA group {} at {}", need.xid, need.at);
        let (source, at) = (Arc::clone(source), need.at);
        let opening: Option<Opening> = match need.events {
            Some(_) => None,
            None => Some(Box::pin(async move { source.open_transaction(&at).await })),
        };
        Self { what, batch: need.events.map(|batch| (batch, 0)), opening, stream: None }
    }

    /// The next event, if it has been read.
    pub fn next_event(&mut self) -> Option<Bytes> {
        let (batch, next) = self.batch.as_mut()?;
        let end = *batch.ends.get(*next)?;
        let start = next.checked_sub(1).map_or(0, |before| batch.ends[before]);
        let raw = batch.bytes.slice(start as usize..end as usize);
        *next += 1;
        if *next == batch.ends.len() {
            self.batch = None;
        }
        Some(raw)
    }

    /// Whether the next event must be read first.
    pub fn waits(&self) -> bool {
        self.batch.is_none()
    }

    /// Reads more. Cancelling loses nothing.
    pub async fn read(&mut self) -> Result<EventBatch, SourceError> {
        loop {
            if let Some(stream) = &mut self.stream {
                return stream.next().await;
            }
            let Some(opening) = &mut self.opening else { return Ok(EventBatch::default()) };
            let opened = opening.await;
            self.opening = None;
            self.stream = Some(opened?);
        }
    }

    /// Takes what was read.
    pub fn take(&mut self, batch: EventBatch) -> Result<(), Stop> {
        if batch.ends.is_empty() {
            let detail = format!("the {} ends before its XA_PREPARE", self.what);
            return Err(Stop::new(Cause::HistoryRewritten, detail));
        }
        self.batch = Some((batch, 0));
        Ok(())
    }
}
