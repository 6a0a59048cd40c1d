//! Connecting to the source, always in this order (protocol §4): the server is verified, an epoch that has to rise
//! rises,
//! what is pending is repaired; only then the dump, and with it open the server is verified once more.
//!
//! Must not judge a server: see [`super::verify`].

use super::course::{Failure, Halt};
use super::encode::{Encoder, EncoderContext, Resume};
use super::leader::Leader;
use super::stream::StreamEnd;
use super::verify::Verdict;
use crate::cause::{Cause, Stop};
use crate::ports::log::LogProducer;
use crate::ports::source::{BinlogStream, DumpRequest, ServerIdentity, SourceError};
use crate::position::FilePosition;
use crate::state::Witness;

/// A server that has been up for so long (seconds) is read from by a repair.
const SETTLED_S: u64 = 2;

impl Leader {
    /// A stream from what is carried on, and the encoder for it.
    pub async fn connect(
        &mut self,
        producer: &mut dyn LogProducer,
    ) -> Result<(Box<dyn BinlogStream>, Encoder), StreamEnd> {
        let mut attempts = self.course.attempts("source");
        self.locate().await.map_err(StreamEnd::Halt)?;
        loop {
            let server = self.verified().await.map_err(StreamEnd::Halt)?;
            if self.announced < self.state.epoch.number {
                self.begin_epoch(producer).await.map_err(StreamEnd::Halt)?;
            }
            if self.must_repair() {
                if server.uptime_s < SETTLED_S {
                    // Uptimes are whole seconds: a restart after the reads could not be told from the one before.
                    let detail = format!("server {} started a moment ago", server.server_uuid);
                    let failure = Failure::Retry(Stop::new(Cause::SourceUnavailable, detail));
                    attempts.again(failure, Some(&mut self.session)).await.map_err(StreamEnd::Halt)?;
                    continue;
                }
                self.repair(producer).await?;
                // It took a while: who answers now?
                continue;
            }
            match self.dump_confirmed(&server).await {
                Ok(Some(connected)) => {
                    attempts.succeeded();
                    return Ok(connected);
                }
                Ok(None) => {}
                Err(failure) => attempts.again(failure, Some(&mut self.session)).await.map_err(StreamEnd::Halt)?,
            }
        }
    }

    /// A dump of the server that was verified. Verifying and dumping are calls of their own: whoever answered may have
    /// crashed in between and have lost what the dump is asked to leave out. So it is verified once more with the dump
    /// open; a crash after that breaks the dump. `None`: it is not the server that was verified.
    async fn dump_confirmed(
        &mut self,
        server: &ServerIdentity,
    ) -> Result<Option<(Box<dyn BinlogStream>, Encoder)>, Failure> {
        let connected = self.dump(server).await?;
        let same = matches!(self.verify().await?, Verdict::Same(_));
        Ok(same.then_some(connected))
    }

    async fn dump(&self, server: &ServerIdentity) -> Result<(Box<dyn BinlogStream>, Encoder), Failure> {
        self.look_after_groups(server);
        let config = &self.course.config;
        // Written directly is not in Kafka: such a stream acknowledges nothing, so the source is not to ask it.
        let semi_sync = config.semi_sync && !self.fallback.is_direct();
        let request = DumpRequest { semi_sync, ..config.dump(server, self.carried.resume.clone()) };
        let stream = self.source().dump(request).await.map_err(|error| match error {
            // It was verified a moment ago: another server may have taken the address, or a purge may have run.
            SourceError::Ahead(why) | SourceError::Purged(why) | SourceError::NoEvent(why) => {
                Failure::from(SourceError::Unavailable(why))
            }
            error => Failure::from(error),
        })?;
        let context = EncoderContext {
            term: self.term.unsigned_abs(),
            epoch: self.state.epoch.number,
            server: server.server_uuid.clone(),
            names_in_binlog: server.row_metadata == "FULL",
            in_order_from: self.state.epoch.in_order_from.clone(),
        };
        let from = Resume {
            position: self.carried.resume.clone(),
            offset: self.carried.offset,
            prepared: self.carried.prepared.clone(),
        };
        let shared = (self.course.env.clone(), self.course.meters.clone());
        tracing::info!(server = server.server_uuid, offset = self.carried.offset, "reading the binlog");
        let keeper = self.schemas.as_ref().zip(self.state.schemas.as_ref());
        let follower = keeper.map(|(keeper, schemas)| keeper.follower(&self.course, schemas));
        Ok((stream, Encoder::new(config, context, follower, from, shared)))
    }

    /// Waits for a server that may go on. An epoch rises on the way if it has to.
    async fn verified(&mut self) -> Result<ServerIdentity, Halt> {
        let mut attempts = self.course.attempts("verify");
        loop {
            self.session.until_live().await?;
            let failure = match self.verify().await {
                Ok(Verdict::Same(server)) => {
                    attempts.succeeded();
                    self.servers.answered();
                    return Ok(*server);
                }
                Ok(Verdict::Rise(new)) => {
                    self.servers.answered();
                    match self.rise(*new).await {
                        Ok(()) => continue,
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            if let Failure::Retry(stop) = &failure {
                let count = self.course.ports.standby.len() + 1;
                self.servers.failed(stop, count, &self.course.config);
            }
            attempts.again(failure, Some(&mut self.session)).await?;
        }
    }

    /// Prepared XA groups are read again at their COMMIT. One that the source has purged stops nothing yet, since it
    /// may
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
}
