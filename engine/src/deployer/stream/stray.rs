//! A transaction that comes out of order: after its events its rows are read (protocol §4 step 5).
//!
//! Must not decide which one that is: the encoder says so.

use std::sync::Arc;

use super::{Stream, StreamEnd};
use crate::cause::{Cause, Stop};
use crate::deployer::encode::Stray;
use crate::deployer::readback::ReadBack;
use crate::format::RecordView;
use crate::gtid::GtidSet;
use crate::ports::log::ConsumedRecord;
use crate::position::Position;

impl Stream<'_> {
    /// Reads the rows of a transaction that came out of order, at its end: its event alone would bury what was carried
    /// of the same rows. All of it is one transaction to the window, so the checkpoint does not pass before the rows.
    pub(super) async fn read_stray(&mut self, stray: Stray) -> Result<(), StreamEnd> {
        let Position::Gtid(boundary) = self.encoder.read().clone() else {
            return Err(Stop::new(Cause::Internal, "a transaction out of order without a GTID set").into());
        };
        let mut back = ReadBack::new(&self.course.config);
        for view in stray.records.iter() {
            back.gather(&consumed(&view), &boundary)?;
        }
        let mut reads = Vec::new();
        for batch in back.take() {
            let read = self.leader.read_batch(&batch, &boundary).await?;
            reads.push((batch, read));
        }
        let seen = reads.iter().fold(GtidSet::default(), |seen, (_, read)| seen.union(&read.may_show));
        self.settle_checkpoint().await?;
        self.leader.note_read(&stray.end.id.text(), seen).await.map_err(StreamEnd::Halt)?;
        tracing::warn!(gtid = stray.end.id.text(), "a transaction out of order: its rows are read again");
        for (batch, read) in reads {
            let buffer = self.outbox.buffer();
            self.leader.write_batch(&mut back, batch, &read, stray.end.offset, buffer)?;
            self.outbox.wrote(Arc::clone(&stray.witness));
        }
        self.outbox.end(stray.end);
        Ok(())
    }

    /// Waits for a checkpoint that is being written.
    async fn settle_checkpoint(&mut self) -> Result<(), StreamEnd> {
        let Some(checkpointing) = self.checkpointing.take() else { return Ok(()) };
        let (store, state, result) = checkpointing.await;
        self.leader.end_checkpoint(store, state, result).map_err(StreamEnd::Halt)
    }
}

/// A record as a reader of the log gets it.
fn consumed(view: &RecordView<'_>) -> ConsumedRecord {
    let headers = view.headers.as_slice().iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
    ConsumedRecord {
        partition: view.partition,
        offset: 0,
        key: view.key.map(<[u8]>::to_vec),
        value: Some(view.value.to_vec()),
        headers: headers.collect(),
        timestamp_ms: 0,
    }
}
