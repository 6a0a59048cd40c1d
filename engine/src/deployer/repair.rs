//! Repairs: after an epoch's rise every key in the log after the common point is read again and emitted as a read row
//! (protocol §4 step 6). Whoever leads finishes this before streaming.
//!
//! The log is read piece by piece, so memory is bounded whatever its length; a key that comes again with another image
//! is read again. Must not choose where a repair starts: that stands in the pending list.

use tokio::time::{Instant, timeout_at};

use super::Fencing;
use super::course::Halt;
use super::leader::Leader;
use super::readback::{Batch, ReadBack};
use super::stream::StreamEnd;
use crate::branch::{self, Branch};
use crate::cause::{Cause, Stop};
use crate::format::{EventContext, RecordBuffer};
use crate::gtid::GtidSet;
use crate::ports::log::{ConsumedRecord, LogError, LogProducer, Record};
use crate::ports::source::{RowsRead, RowsWanted};
use crate::position::Position;
use crate::state::PendingRepair;

/// The most records of a piece.
const MOST: usize = 1_024;
/// The bytes of values that a piece is meant to have.
const PIECE_BYTES: usize = 2 << 20;

/// How many records are looked at in one piece: as many as stay near [`PIECE_BYTES`].
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// How many now.
    pub records: usize,
}

impl Piece {
    /// The first one.
    pub fn first() -> Self {
        Self { records: 64 }
    }

    /// Takes in what a piece has come to.
    pub fn came(&mut self, records: &[ConsumedRecord]) {
        let bytes: usize = records.iter().filter_map(|record| record.value.as_ref()).map(Vec::len).sum();
        self.records = if bytes > PIECE_BYTES { (self.records / 2).max(1) } else { (self.records * 2).min(MOST) };
    }
}

impl Leader {
    /// Whether a pending repair has not been read yet, and is not to be left out.
    pub fn must_repair(&self) -> bool {
        let Some(repair) = self.state.pending.iter().find(|repair| repair.seen.is_none()) else { return false };
        if self.fallback.is_direct() && !self.must_repair_directly() {
            return false;
        }
        if self.course.config.unrepaired {
            tracing::error!(
                cause = Cause::RepairPending.name(),
                "epoch {} needs a repair ({}); going on without it, as told: documents may be wrong",
                repair.epoch,
                repair.reason
            );
        }
        !self.course.config.unrepaired
    }

    /// Does what is pending. The position is the one that is carried; nothing may be in flight.
    pub async fn repair(&mut self, producer: &mut dyn LogProducer) -> Result<(), StreamEnd> {
        // A rise inherits the start of those before it, so the last one covers all.
        let Some(repair) = self.state.pending.iter().rfind(|repair| repair.seen.is_none()).cloned() else {
            return Ok(());
        };
        let Position::Gtid(kept) = self.carried.resume.clone() else {
            let detail = format!(
                "epoch {} needs a repair ({}), but the source has no GTIDs to prove what a row read includes",
                repair.epoch, repair.reason
            );
            return Err(Stop::new(Cause::RepairPending, detail).into());
        };
        branch::reached(Branch::Repair);
        tracing::warn!(epoch = repair.epoch, reason = repair.reason, "repairing");
        let mut seen = GtidSet::default();
        let mut back = ReadBack::new(&self.course.config);
        let mut keys = self.repair_journalled(producer, &kept, &mut back, &mut seen).await?;
        if self.fallback.is_direct() {
            self.repaired_directly();
            return Ok(());
        }
        let topic = self.course.ports.log.topic(&self.course.config.topic).await?;
        let marked = repair.topic_id == topic.id && repair.low_water.len() == topic.watermarks.len();
        let mut piece = Piece::first();
        for (partition, &(first, end)) in topic.watermarks.iter().enumerate() {
            let mut next = if marked { repair.low_water[partition].max(first) } else { first };
            while next < end {
                self.session.until_live().await.map_err(StreamEnd::Halt)?;
                if self.course.draining() {
                    return Err(StreamEnd::Halt(Halt::Drained));
                }
                let log = &self.course.ports.log;
                let (records, reached) =
                    log.read(&self.course.config.topic, partition as u32, next, end, piece.records).await?;
                if reached <= next {
                    let detail = format!("partition {partition} ends at {next}, below {end}");
                    return Err(LogError::Unavailable(detail).into());
                }
                next = reached;
                piece.came(&records);
                keys += self.repair_piece(&records, &kept, &mut back, producer, &mut seen).await?;
            }
        }
        self.course.meters.repaired_rows.add(keys);
        let now_ms = self.course.env.wall_ms();
        for pending in self.state.pending.iter_mut().filter(|pending| pending.seen.is_none()) {
            pending.seen = Some(seen.clone());
        }
        self.clear_repairs();
        self.state.note(now_ms, format!("epoch {} is repaired: {keys} keys read again", repair.epoch));
        self.save("repaired").await.map_err(StreamEnd::Halt)?;
        self.show();
        tracing::warn!(epoch = repair.epoch, keys, "repaired");
        Ok(())
    }

    /// Reads the keys of some records again and emits their rows; how many keys there were. What the rows may show is
    /// added to `seen`.
    pub async fn repair_piece(
        &mut self,
        records: &[ConsumedRecord],
        kept: &GtidSet,
        back: &mut ReadBack,
        producer: &mut dyn LogProducer,
        seen: &mut GtidSet,
    ) -> Result<u64, StreamEnd> {
        for record in records {
            back.gather(record, kept)?;
        }
        let (mut keys, mut buffer) = (0, RecordBuffer::new());
        let batches = back.take();
        if !batches.is_empty() {
            self.mark_read().await.map_err(StreamEnd::Halt)?;
        }
        for batch in batches {
            keys += batch.keys.len() as u64;
            let read = self.read_batch(&batch, kept).await?;
            seen.add(&read.may_show);
            self.write_batch(back, batch, &read, self.carried.offset, &mut buffer)?;
        }
        self.deliver(producer, &buffer).await?;
        Ok(keys)
    }

    /// Notes in the state, before anything is read, that rows are: a repair may not come to its end, and a restart of
    /// the server after this may have lost what it has shown by then.
    async fn mark_read(&mut self) -> Result<(), Halt> {
        let now_ms = self.course.env.wall_ms();
        let mut marked = false;
        for repair in &mut self.state.pending {
            if repair.seen.is_none() && repair.seen_at_ms == 0 {
                (repair.seen_at_ms, marked) = (now_ms, true);
            }
        }
        if marked { self.save("reading").await } else { Ok(()) }
    }

    /// Puts a read onto the pending list before it is emitted: until what it shows is carried, a server that loses that
    /// has to be repaired from here.
    pub async fn note_read(&mut self, gtid: &str, seen: GtidSet) -> Result<(), Halt> {
        let now_ms = self.course.env.wall_ms();
        self.state.pending.push(PendingRepair {
            epoch: self.state.epoch.number,
            reason: format!("rows of {gtid}, which came out of order, were read"),
            from: Some(self.state.checkpoint.resume.clone()),
            low_water: self.state.checkpoint.low_water.clone(),
            topic_id: self.state.topic_id.clone(),
            at_ms: now_ms,
            seen: Some(seen),
            seen_at_ms: now_ms,
        });
        self.save("read").await
    }

    /// Takes off the list what is read, acknowledged, and has shown nothing that is not carried.
    pub fn clear_repairs(&mut self) {
        let Position::Gtid(carried) = &self.carried.resume else { return };
        self.state.pending.retain(|repair| !repair.seen.as_ref().is_some_and(|seen| seen.is_subset(carried)));
    }

    /// Reads a batch's rows, which must include all of `boundary`, on the epoch's server.
    pub async fn read_batch(&mut self, batch: &Batch, boundary: &GtidSet) -> Result<RowsRead, StreamEnd> {
        let Batch { database, table, columns, keys, .. } = batch;
        let read = self.source().read_rows(RowsWanted { database, table, columns, keys }).await?;
        let again = |why: String| Err(StreamEnd::Rewind(Stop::new(Cause::SourceUnavailable, why)));
        if read.server_uuid != self.state.epoch.server {
            return again(format!("rows were read on {}, another server than the epoch's", read.server_uuid));
        }
        let lacking = boundary.subtract(&read.includes);
        if !lacking.is_empty() {
            return again(format!("rows that were read do not include {lacking} yet"));
        }
        Ok(read)
    }

    /// Appends the records of a batch that was read at the boundary with this offset.
    pub fn write_batch(
        &self,
        back: &mut ReadBack,
        batch: Batch,
        read: &RowsRead,
        offset: u64,
        out: &mut RecordBuffer,
    ) -> Result<(), Stop> {
        let ms = self.course.env.wall_ms();
        let context = EventContext {
            epoch: self.state.epoch.number,
            offset,
            term: self.term.unsigned_abs(),
            gtid: "",
            server: &self.state.epoch.server,
            executed: "",
            id: 0,
            es_ms: ms,
            ts_ms: ms,
        };
        back.write(batch, read, &context, out)
    }

    /// Produces records and waits until all are acknowledged.
    pub async fn deliver(&mut self, producer: &mut dyn LogProducer, buffer: &RecordBuffer) -> Result<(), StreamEnd> {
        if buffer.is_empty() {
            return Ok(());
        }
        self.session.until_live().await.map_err(StreamEnd::Halt)?;
        let until = Instant::now() + super::leader::DELIVERED_WITHIN;
        let (mut known, mut out) = (0, Vec::new());
        producer.begin().await?;
        for (tag, view) in buffer.iter().enumerate() {
            let record = Record {
                partition: view.partition,
                key: view.key,
                value: view.value,
                headers: view.headers.as_slice(),
                timestamp_ms: self.course.env.wall_ms() as i64,
                tag: tag as u64,
            };
            loop {
                match producer.produce(&record) {
                    Ok(()) => break,
                    Err(LogError::QueueFull) => known += wait(producer, &mut out, until).await?,
                    Err(error) => return Err(error.into()),
                }
            }
            self.course.meters.records.add(1);
        }
        if self.course.config.fencing == Fencing::Transactions {
            producer.commit().await?;
        }
        while known < buffer.len() {
            known += wait(producer, &mut out, until).await?;
        }
        Ok(())
    }
}

/// Waits for deliveries; how many came. A failed one is an error.
async fn wait(
    producer: &mut dyn LogProducer,
    out: &mut Vec<crate::ports::log::Delivery>,
    until: Instant,
) -> Result<usize, LogError> {
    match timeout_at(until, producer.deliveries(out)).await {
        Ok(result) => result?,
        Err(_) => return Err(LogError::Unavailable("no acknowledgement in time".to_owned())),
    }
    let count = out.len();
    for delivery in out.drain(..) {
        delivery.result.map_err(LogError::Failed)?;
    }
    Ok(count)
}
