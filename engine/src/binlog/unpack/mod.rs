//! Packed events laid open: MySQL's TRANSACTION_PAYLOAD (a transaction's events, compressed or not) and MariaDB's
//! compressed events become the plain events they hold, so that nothing after this knows of compression.
//!
//! [`Unpacking`] does it for every stream and witness of a source. Large payloads are decompressed piece by piece, as
//! the reader asks for batches. Must not decode rows, and must give the same bytes for the same events at every
//! reading: offsets count them (protocol §1).

mod mariadb;
mod payload;

use std::sync::Arc;

use async_trait::async_trait;

use self::payload::Payload;
use super::header::{EventHeader, EventType};
use crate::cause::Stop;
use crate::ports::source::{
    BinlogSource, BinlogStream, DumpRequest, EventBatch, RowsRead, RowsWanted, SchemaSnapshot, ServerIdentity,
    SourceError,
};
use crate::position::FilePosition;

/// Bytes of a batch of unpacked events, beyond which a batch ends; a single event may be larger.
const BATCH: usize = 1 << 20;

/// A source whose events are all plain.
pub struct Unpacking(Arc<dyn BinlogSource>);

impl Unpacking {
    /// Around a source.
    pub fn new(source: Arc<dyn BinlogSource>) -> Self {
        Self(source)
    }
}

#[async_trait]
impl BinlogSource for Unpacking {
    async fn identify(&self) -> Result<ServerIdentity, SourceError> {
        self.0.identify().await
    }

    async fn dump(&self, request: DumpRequest) -> Result<Box<dyn BinlogStream>, SourceError> {
        let inner = self.0.dump(request).await?;
        Ok(Box::new(UnpackedStream { inner, unpacker: Unpacker::default() }))
    }

    async fn open_transaction(&self, at: &FilePosition) -> Result<Box<dyn BinlogStream>, SourceError> {
        let inner = self.0.open_transaction(at).await?;
        Ok(Box::new(UnpackedStream { inner, unpacker: Unpacker::default() }))
    }

    async fn table_schemas(
        &self,
        accept: &(dyn for<'a> Fn(&'a str, &'a str) -> bool + Send + Sync),
    ) -> Result<SchemaSnapshot, SourceError> {
        self.0.table_schemas(accept).await
    }

    async fn read_rows(&self, wanted: RowsWanted<'_>) -> Result<RowsRead, SourceError> {
        self.0.read_rows(wanted).await
    }
}

struct UnpackedStream {
    inner: Box<dyn BinlogStream>,
    unpacker: Unpacker,
}

#[async_trait]
impl BinlogStream for UnpackedStream {
    async fn next(&mut self) -> Result<EventBatch, SourceError> {
        loop {
            if let Some(batch) = self.unpacker.next().map_err(broken)? {
                return Ok(batch);
            }
            self.unpacker.push(self.inner.next().await?);
        }
    }

    fn acknowledge(&mut self, to: &FilePosition) {
        self.inner.acknowledge(to);
    }
}

/// What cannot be unpacked was damaged on its way, as by a checksum that does not match: it is read again.
fn broken(stop: Stop) -> SourceError {
    SourceError::Checksum(stop.detail)
}

/// Unpacks batch after batch.
#[derive(Default)]
pub struct Unpacker {
    /// The batch being unpacked, and its next event.
    batch: Option<(EventBatch, usize)>,
    payload: Option<Payload>,
}

impl Unpacker {
    /// Takes a batch. The one before must have been taken out in full.
    pub fn push(&mut self, batch: EventBatch) {
        self.batch = Some((batch, 0));
    }

    /// The next plain events, about a megabyte of them; `None` when a batch is needed.
    ///
    /// # Errors
    /// `corrupt` if a packed event contradicts itself, `undecoded` for an unknown compression.
    #[expect(clippy::should_implement_trait, reason = "an iterator would lose the error's meaning: it ends there")]
    pub fn next(&mut self) -> Result<Option<EventBatch>, Stop> {
        loop {
            if let Some(payload) = &mut self.payload {
                if let Some(batch) = payload.next_batch(BATCH)? {
                    return Ok(Some(batch));
                }
                self.payload = None;
            }
            let Some((batch, at)) = self.batch.take() else { return Ok(None) };
            if at == 0 && !batch.events().any(is_packed) {
                return Ok(Some(batch));
            }
            if let Some(plain) = self.plain_part(batch, at)? {
                return Ok(Some(plain));
            }
        }
    }

    /// The events from `at` up to the next payload, or up to a batch's size; sets what remains.
    fn plain_part(&mut self, batch: EventBatch, mut at: usize) -> Result<Option<EventBatch>, Stop> {
        let mut plain = Builder::default();
        let mut start = if at == 0 { 0 } else { batch.ends[at - 1] as usize };
        let checksummed = batch.checksummed;
        while let Some(&end) = batch.ends.get(at) {
            let range = start..end as usize;
            let event = &batch.bytes[range.clone()];
            (at, start) = (at + 1, range.end);
            match event.get(4).copied().map(EventType) {
                Some(EventType::TRANSACTION_PAYLOAD) => {
                    self.payload = Some(Payload::new(EventHeader::parse(event)?, batch.bytes.slice(range))?);
                    break;
                }
                Some(kind) if mariadb::is_packed(kind) => mariadb::unpack(event, checksummed, &mut plain.bytes)?,
                _ => plain.bytes.extend_from_slice(event),
            }
            plain.end_event()?;
            if plain.bytes.len() >= BATCH {
                break;
            }
        }
        if at < batch.ends.len() {
            self.batch = Some((batch, at));
        }
        Ok((!plain.ends.is_empty()).then(|| plain.finish(checksummed)))
    }
}

/// Whether a raw event holds others in packed form.
pub fn is_packed(event: &[u8]) -> bool {
    let kind = event.get(4).copied().map(EventType);
    kind.is_some_and(|kind| kind == EventType::TRANSACTION_PAYLOAD || mariadb::is_packed(kind))
}

/// A batch that grows.
#[derive(Default)]
struct Builder {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Builder {
    fn end_event(&mut self) -> Result<(), Stop> {
        let end = u32::try_from(self.bytes.len())
            .map_err(|_| Stop::new(crate::cause::Cause::Undecoded, "a transaction of more than 4 GiB in one piece"))?;
        self.ends.push(end);
        Ok(())
    }

    fn finish(self, checksummed: bool) -> EventBatch {
        EventBatch { bytes: self.bytes.into(), ends: self.ends, checksummed }
    }
}

#[cfg(test)]
mod tests;
