//! A range of what was carried, carried once more: read from the binlog, under the versions it had (protocol §2).
//!
//! Where an index holds something newer nothing changes; where it holds the same version, it gets what the mapping
//! makes of the row now. It begins at a kept point, since only there the offsets of an epoch are known, and ends at
//! the checkpoint: what lies behind that is the leader's. Must not write the state.

mod range;

use std::sync::Arc;

pub use range::{Since, start};

use super::Deployer;
use super::course::{Course, Failure, Halt};
use super::encode::{Encoder, EncoderContext, Resume};
use super::fallback::{DirectLog, DirectSinks, Tasks, share};
use super::group::GroupReader;
use super::outbox::{Next, Outbox};
use super::schema_history;
use super::tail::WITNESS;
use super::xa::prepared_at;
use crate::binlog::EventHeader;
use crate::cause::{Cause, Stop};
use crate::deployer::follow::Follower;
use crate::format::headers::{MAX_HEADERS, REPLAY};
use crate::ports::log::{Delivery, EventLog, LogError, LogProducer, ProducerMode, Record};
use crate::ports::source::{DumpRequest, ServerIdentity};
use crate::position::Position;
use crate::state::{EpochHistory, PipelineState};

/// Where the range goes.
pub enum Target {
    /// The topic, for whoever reads it.
    Log,
    /// These sinks, past the log.
    Sinks(DirectSinks),
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The offset that was read up to, and where the range ends: bytes of this epoch.
    pub offset: u64,
    /// See `offset`.
    pub until: u64,
    /// Transactions of the range.
    pub transactions: u64,
    /// Row changes of the range.
    pub rows: u64,
    /// Records of the range.
    pub records: u64,
}

/// Records that wait for their delivery.
const OPEN: u64 = 10_000;

impl Deployer {
    /// Carries a range again; `progress` is told now and then. Nobody needs to lead meanwhile.
    ///
    /// # Errors
    /// The range begins before what is kept, the source is another or has purged it, the leader's lead or the epoch
    /// changes before it is done, or a service fails: it can be begun again.
    pub async fn replay(
        self,
        state: &PipelineState,
        since: &Since,
        target: Target,
        mut progress: impl FnMut(&Progress),
    ) -> Result<Progress, Stop> {
        let course = self.course();
        let server = course.ports.source.identify().await.map_err(|error| plain(error.into()))?;
        let from = start(state, since)?;
        same_server(state, &server)?;
        let encoder = encoder(&course, state, &server, &from).await?;
        let (log, tasks) = open(&course, state, target)?;
        let producer = log.producer(&course.config.topic, ProducerMode::Idempotent, "").await;
        let mut replay = Replay {
            producer: producer.map_err(|error| plain(error.into()))?,
            course: &course,
            encoder,
            outbox: Outbox::default(),
            since,
            done: Progress { offset: from.1, until: state.checkpoint.offset, ..Progress::default() },
            produced: 0,
            delivered: 0,
            touched: false,
        };
        let carried = replay.run(course.config.dump(&server, from.0), &mut progress);
        match tasks {
            None => carried.await,
            // A sink that stops says why, and one whose cluster is away does too, since nobody watches it here.
            Some(mut tasks) => tokio::select! {
                done = carried => done,
                stop = tasks.halted(course.config.read_deadline) => Err(stop),
            },
        }
    }
}

/// Bytes of another server are other offsets.
fn same_server(state: &PipelineState, server: &ServerIdentity) -> Result<(), Stop> {
    if state.epoch.server == server.server_uuid {
        return Ok(());
    }
    let detail = format!(
        "the epoch counts the bytes of server {}, and {} answers: a leader has to go over to it first",
        state.epoch.server, server.server_uuid
    );
    Err(Stop::new(Cause::SourceUnavailable, detail))
}

async fn encoder(
    course: &Course,
    state: &PipelineState,
    server: &ServerIdentity,
    (position, offset): &(Position, u64),
) -> Result<Encoder, Stop> {
    let follower = match &state.schemas {
        None => None,
        Some(schemas) => {
            let kept = EpochHistory {
                epoch: state.epoch.number,
                offset: state.checkpoint.offset,
                history: schemas.history.clone(),
            };
            let (catalog, boundary) = schema_history::load(course, &kept, *offset).await.map_err(plain)?;
            let held = schemas.quarantine.iter().map(|held| (held.database.clone(), held.table.clone())).collect();
            Some(Follower::new(course.config.tables.clone(), catalog, boundary, schemas.orders.clone(), held))
        }
    };
    let context = EncoderContext {
        term: state.leader.term.unsigned_abs(),
        epoch: state.epoch.number,
        server: server.server_uuid.clone(),
        names_in_binlog: server.row_metadata == "FULL",
        in_order_from: None,
    };
    let prepared = prepared_at(state, &state.prepared, position);
    let from = Resume { position: position.clone(), offset: *offset, prepared };
    Ok(Encoder::new(&course.config, context, follower, from, (course.env.clone(), course.meters.clone())))
}

/// The log that is produced to; with the sinks' tasks that read it, where it stands in Kafka's place.
fn open(course: &Course, state: &PipelineState, target: Target) -> Result<(Arc<dyn EventLog>, Option<Tasks>), Stop> {
    let Target::Sinks(sinks) = target else { return Ok((Arc::clone(&course.ports.log), None)) };
    // What is written has been in the log before: it needs no journal.
    let groups = sinks.config.sinks.iter().map(|sink| (sinks.config.group(&sink.name), None)).collect();
    let log = DirectLog::new(&course.config.topic, course.config.partitions, 0, share(course), groups);
    let tasks = Tasks::start(course, state.epoch.number, &sinks, &log)?;
    Ok((Arc::new(log), Some(tasks)))
}

/// A replay under way.
struct Replay<'a> {
    course: &'a Course,
    producer: Box<dyn LogProducer>,
    encoder: Encoder,
    outbox: Outbox,
    since: &'a Since,
    done: Progress,
    produced: u64,
    delivered: u64,
    /// A record of the open transaction is of the range.
    touched: bool,
}

impl Replay<'_> {
    async fn run(&mut self, request: DumpRequest, progress: &mut impl FnMut(&Progress)) -> Result<Progress, Stop> {
        if self.done.offset < self.done.until {
            let mut stream = self.course.ports.source.dump(request).await.map_err(|error| plain(error.into()))?;
            while self.done.offset < self.done.until {
                let batch = stream.next().await.map_err(|error| plain(error.into()))?;
                self.encoder.begin_batch();
                for raw in batch.events() {
                    self.event(raw).await?;
                    if self.done.offset >= self.done.until {
                        break;
                    }
                }
                progress(&self.done);
            }
        }
        while self.delivered < self.produced {
            self.hear().await?;
        }
        Ok(self.done)
    }

    async fn event(&mut self, raw: &[u8]) -> Result<(), Stop> {
        let event_ms = u64::from(EventHeader::parse(raw)?.timestamp) * 1000;
        while let Some(need) = self.encoder.event(raw, &mut self.outbox)? {
            let mut group = GroupReader::new(need, &self.course.ports.source);
            while !self.encoder.group_is_complete() {
                match group.next_event() {
                    Some(raw) => self.encoder.group_event(&raw, &mut self.outbox)?,
                    None => {
                        let batch = group.read().await.map_err(|error| plain(error.into()))?;
                        group.take(batch)?;
                    }
                }
            }
        }
        // What no record could take then can none take now: it is among the dead letters.
        self.encoder.take_dead();
        self.encoder.take_followed();
        self.pass_on(event_ms).await
    }

    /// Hands on what is of the range.
    async fn pass_on(&mut self, event_ms: u64) -> Result<(), Stop> {
        loop {
            match self.outbox.peek() {
                None => return Ok(()),
                Some(Next::End(end)) => {
                    self.done.offset = end.offset;
                    self.done.transactions += u64::from(std::mem::take(&mut self.touched));
                }
                Some(Next::Record(view, witness)) => {
                    let own = view.headers.as_slice();
                    if self.since.takes(own, event_ms) {
                        let mut headers: [(&str, &[u8]); MAX_HEADERS + 2] = [("", &[]); MAX_HEADERS + 2];
                        headers[..own.len()].copy_from_slice(own);
                        headers[own.len()] = (WITNESS, witness.as_bytes());
                        headers[own.len() + 1] = (REPLAY, b"1");
                        let record = Record {
                            partition: view.partition,
                            key: view.key,
                            value: view.value,
                            headers: &headers[..own.len() + 2],
                            timestamp_ms: self.course.env.wall_ms() as i64,
                            tag: self.produced,
                        };
                        let full = self.produced - self.delivered >= OPEN;
                        match if full { Err(LogError::QueueFull) } else { self.producer.produce(&record) } {
                            Ok(()) => {}
                            Err(LogError::QueueFull) => {
                                self.hear().await?;
                                continue;
                            }
                            Err(error) => return Err(plain(error.into())),
                        }
                        self.produced += 1;
                        self.touched = true;
                        self.done.records += 1;
                        self.done.rows += u64::from(view.rows);
                    }
                }
            }
            self.outbox.advance();
        }
    }

    async fn hear(&mut self) -> Result<(), Stop> {
        let mut deliveries: Vec<Delivery> = Vec::new();
        self.producer.deliveries(&mut deliveries).await.map_err(|error| plain(error.into()))?;
        for delivery in deliveries {
            delivery
                .result
                .map_err(|why| Stop::new(Cause::LogUnavailable, format!("a record was not taken: {why}")))?;
            self.delivered += 1;
        }
        Ok(())
    }
}

/// One attempt: what could be tried again is told all the same, for the user to begin again.
fn plain(failure: Failure) -> Stop {
    match failure {
        Failure::Retry(stop) | Failure::Halt(Halt::Stop(stop)) => stop,
        Failure::Halt(Halt::Lost(why)) => Stop::new(Cause::Internal, why),
        Failure::Halt(Halt::Drained) => Stop::new(Cause::Internal, "drained"),
    }
}
