//! Connecting to the source, always in this order (protocol §4): who is it, is it still fit, is it the epoch's server,
//! does the highest emitted transaction still lie there; only then the dump.
//!
//! Must not change the state.

use super::course::{Failure, Halt};
use super::encode::{Encoder, EncoderContext, Highest, Resume};
use super::epoch::{self, WitnessRead};
use super::leader::Leader;
use super::settings;
use super::tail::read_witness;
use crate::cause::Cause;
use crate::ports::source::{BinlogStream, DumpRequest, ServerIdentity, SourceError};
use crate::position::FilePosition;
use crate::state::Witness;

impl Leader {
    /// A stream from what is carried on, and the encoder for it.
    pub async fn connect(&mut self) -> Result<(Box<dyn BinlogStream>, Encoder), Halt> {
        let mut attempts = self.course.attempts("source");
        loop {
            match self.try_connect().await {
                Ok(connected) => {
                    attempts.succeeded();
                    return Ok(connected);
                }
                Err(failure) => attempts.again(failure, Some(&mut self.session)).await?,
            }
        }
    }

    async fn try_connect(&self) -> Result<(Box<dyn BinlogStream>, Encoder), Failure> {
        let source = &self.course.ports.source;
        let server = source.identify().await?;
        if let Some(stop) = settings::findings(&server, &self.course.config).into_iter().next() {
            return Err(Failure::Halt(Halt::Stop(stop)));
        }
        let halt = |stop| Failure::Halt(Halt::Stop(stop));
        epoch::same_server(&self.state, &self.carried.resume, &server).map_err(halt)?;
        self.check_witness(&server).await?;
        self.look_after_groups(&server);
        let config = &self.course.config;
        let request = DumpRequest {
            from: self.carried.resume.clone(),
            server_id: config.server_id,
            heartbeat: config.heartbeat,
            read_deadline: config.read_deadline,
        };
        let stream = source.dump(request).await?;
        let context = EncoderContext {
            term: self.term.unsigned_abs(),
            epoch: self.state.epoch.number,
            server: server.server_uuid.clone(),
            names_in_binlog: server.row_metadata == "FULL",
        };
        let from = Resume {
            position: self.carried.resume.clone(),
            offset: self.carried.offset,
            prepared: self.carried.prepared.clone(),
        };
        let shared = (self.course.env.clone(), self.course.meters.clone());
        tracing::info!(server = server.server_uuid, offset = self.carried.offset, "reading the binlog");
        Ok((stream, Encoder::new(config, context, &self.state, from, shared)))
    }

    /// The witness of the highest position that anybody has emitted under this epoch, not only of the checkpoint: what
    /// lies beyond the checkpoint may have been read by consumers already.
    fn highest_witness(&self) -> Option<Witness> {
        let carried = self.carried.last.as_ref().map(|last| (last.offset, last.witness()));
        let kept = || self.state.checkpoint.witness.clone().map(|witness| (self.state.checkpoint.offset, witness));
        let (offset, witness) = carried.or_else(kept).map_or((0, None), |(offset, witness)| (offset, Some(witness)));
        match &self.highest {
            // An event at the carried offset or above it belongs to a later transaction.
            Some(Highest { offset: highest, witness: text, gtid }) if *highest >= offset => {
                read_witness(text, gtid).or(witness)
            }
            _ => witness,
        }
    }

    /// Prepared XA groups are read again at their COMMIT. One that the source has purged stops nothing yet, since it may
    /// be rolled back; but it is told.
    fn look_after_groups(&self, server: &ServerIdentity) {
        let purged =
            |witness: &Witness| FilePosition::new(witness.file.clone(), 0).file_number() < server.oldest.file_number();
        let mut unreadable = 0;
        for group in self.carried.prepared.iter().filter(|group| purged(&group.witness)) {
            tracing::error!(
                xid = group.xid,
                gtid = group.witness.gtid,
                file = group.witness.file,
                cause = Cause::XaPurged.name(),
                "a prepared XA group was purged on the source: its XA COMMIT will stop the pipeline"
            );
            unreadable += 1;
        }
        self.course.meters.xa_unreadable.set(unreadable);
        self.course.meters.xa_prepared.set(self.carried.prepared.len() as i64);
    }

    async fn check_witness(&self, server: &ServerIdentity) -> Result<(), Failure> {
        let Some(witness) = self.highest_witness() else { return Ok(()) };
        let at = FilePosition::new(witness.file.clone(), witness.start);
        let read = match self.course.ports.source.read_transaction(&at).await {
            Ok(transaction) => WitnessRead::Bytes(transaction.events),
            Err(error @ (SourceError::NoEvent(_) | SourceError::Purged(_) | SourceError::Ahead(_))) => {
                WitnessRead::Gone(error.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        let last_known_ms = self.carried.last.as_ref().map_or(self.state.checkpoint.event_ms, |last| last.commit_ms);
        epoch::judge_witness(&witness, &read, server, last_known_ms, self.course.env.wall_ms())
            .map_err(|stop| Failure::Halt(Halt::Stop(stop)))
    }
}
