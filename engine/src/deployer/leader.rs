//! A leader: what it holds between streams, the checkpoint it writes, and its course from stream to stream.
//!
//! Must not read a log's tail or decide an epoch: see [`super::takeover`].

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use super::count::TransactionEnd;
use super::course::{Course, Failure, Halt, SessionWatch};
use super::encode::{DeadLetter, Highest};
use super::fallback::Fallback;
use super::schemas::Keeper;
use super::store::{Store, StoreError};
use super::stream::{Stream, StreamEnd};
use super::tail::TailMark;
use super::verify::Servers;
use super::{Fencing, Role};
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::format::{ControlContext, ControlKind, RecordBuffer, write_control};
use crate::ports::log::{LogError, LogProducer, ProducerMode, Record, TopicInfo};
use crate::position::{FilePosition, Position};
use crate::state::{Checkpoint, PipelineState, PreparedXa, RingEntry};

/// How far everything is acknowledged.
#[derive(Debug, Clone)]
pub struct Carried {
    /// The position to resume from.
    pub resume: Position,
    /// Its offset in the epoch.
    pub offset: u64,
    /// The last transaction carried by this leader; `None` before the first.
    pub last: Option<TransactionEnd>,
    /// XA groups that are prepared there.
    pub prepared: Vec<PreparedXa>,
}

/// A leader.
pub struct Leader {
    /// What all parts share.
    pub course: Course,
    /// The session.
    pub session: SessionWatch,
    /// The state's nodes; away while a checkpoint is written.
    pub store: Option<Store>,
    /// The state as it is, or is being, written.
    pub state: PipelineState,
    /// The term.
    pub term: i64,
    /// The topic at the takeover.
    pub topic: TopicInfo,
    /// How far everything is acknowledged.
    pub carried: Carried,
    /// From where a successor must read the log's tail.
    pub tail: TailMark,
    /// The highest position handed to the log by anybody under this epoch, if any.
    pub highest: Option<Highest>,
    /// A lower one that [`Leader::highest`] does not vouch for, until a server is found to have both: what is in the
    /// log and what was written directly by somebody who could not see the log.
    pub apart: Option<Highest>,
    /// Definitions, where the binlog does not name columns.
    pub schemas: Option<Keeper>,
    /// What is carried has moved since the last checkpoint.
    pub unsaved: bool,
    /// When the checkpoint was last written.
    pub saved_at: Instant,
    /// When something was last acknowledged, or nothing waited for it.
    pub moved_at: Instant,
    /// The highest epoch that this leader has made known in the indexes and the log.
    pub announced: u16,
    /// Which of the servers is asked, and what is waited for there.
    pub servers: Servers,
    /// The way past Kafka.
    pub fallback: Fallback,
}

impl Leader {
    /// Streams until the candidacy ends.
    pub async fn stream(mut self, first: Box<dyn LogProducer>) -> Halt {
        let mut producer = Some(first);
        let mut attempts = self.course.attempts("rewind");
        self.leads();
        loop {
            let before = self.carried.offset;
            let end = match self.one_stream(producer.take()).await {
                Ok(end) => end,
                Err(halt) => return halt,
            };
            let stop = match end {
                StreamEnd::Halt(halt) => return halt,
                StreamEnd::Rewind(stop) => stop,
            };
            branch::reached(Branch::Rewind);
            self.course.meters.rewinds.add(1);
            tracing::warn!(offset = self.carried.offset, "rewinding to the last acknowledged transaction: {stop}");
            if self.carried.offset > before {
                attempts.succeeded();
            }
            match stop.cause {
                Cause::LogUnavailable => self.fallback.silent(),
                _ => self.fallback.heard(),
            }
            if self.direct_is_due() {
                match self.direct().await {
                    Ok(()) => continue,
                    Err(halt) => return halt,
                }
            }
            if let Err(halt) = attempts.again(Failure::Retry(stop), Some(&mut self.session)).await {
                return halt;
            }
        }
    }

    /// Shows that this process leads.
    pub fn leads(&self) {
        self.course.status.update(|status| status.role = Role::Leader);
        self.course.meters.leading.set(1);
    }

    /// One stream to the log, from connecting to the source until it ends.
    pub async fn one_stream(&mut self, producer: Option<Box<dyn LogProducer>>) -> Result<StreamEnd, Halt> {
        let producer = match producer {
            Some(producer) => producer,
            None => self.open_producer().await?,
        };
        if let Some(keeper) = &mut self.schemas {
            keeper.rewind(self.carried.offset);
        }
        self.show_held();
        let mut producer = producer;
        let connected = Box::pin(self.connect(producer.as_mut())).await;
        let (source, encoder) = match connected {
            Ok(connected) => connected,
            Err(end) => {
                producer.purge().await;
                return match end {
                    StreamEnd::Halt(halt) => Err(halt),
                    rewind => Ok(rewind),
                };
            }
        };
        self.session.until_live().await?;
        self.course.status.update(|status| status.waiting = None);
        Ok(Stream::new(self, source, producer, encoder).run().await)
    }

    /// Opens a producer. A guarded write follows before anything is produced: without it a deposed leader that lost a
    /// commit's answer would fence its successor and go on.
    async fn open_producer(&mut self) -> Result<Box<dyn LogProducer>, Halt> {
        let mut attempts = self.course.attempts("producer");
        loop {
            self.session.until_live().await?;
            match open(&self.course).await {
                Ok(producer) => {
                    attempts.succeeded();
                    self.state.leader.producers += 1;
                    self.save("guard").await?;
                    return Ok(producer);
                }
                Err(error) => {
                    self.fallback.silent();
                    let failure = Failure::from(error);
                    if matches!(failure, Failure::Retry(_)) && self.direct_is_due() {
                        self.direct().await?;
                        continue;
                    }
                    attempts.again(failure, Some(&mut self.session)).await?;
                }
            }
        }
    }

    /// Writes the state now, guarded, however often it takes.
    pub async fn save(&mut self, concern: &str) -> Result<(), Halt> {
        let mut attempts = self.course.attempts(concern);
        let Some(store) = &mut self.store else {
            return Err(Halt::Stop(Stop::new(Cause::Internal, "the state was written twice at a time")));
        };
        loop {
            self.session.until_live().await?;
            match store.write(&mut self.state).await {
                Ok(()) => break,
                Err(error) => attempts.again(error.into(), Some(&mut self.session)).await?,
            }
        }
        attempts.succeeded();
        Ok(())
    }

    /// The state with a checkpoint at what is carried, and the store to write it with. `acknowledged`: per partition
    /// the
    /// place after the last record of what is carried.
    pub fn begin_checkpoint(&mut self, acknowledged: &[i64]) -> Option<(Store, PipelineState)> {
        if self.fallback.is_direct() {
            return None;
        }
        self.carried.last.as_ref()?;
        let store = self.store.take()?;
        self.clear_repairs();
        self.clear_runs();
        let last = self.carried.last.as_ref()?;
        let tail_from = self.tail.advance(self.carried.offset, acknowledged).to_vec();
        // While a repair is pending, what it has to read again lies after the old mark.
        let low_water =
            if self.state.pending.is_empty() { tail_from.clone() } else { self.state.checkpoint.low_water.clone() };
        self.state.checkpoint = Checkpoint {
            resume: self.carried.resume.clone(),
            offset: self.carried.offset,
            file: Some(last.file_end()),
            event_ms: last.commit_ms,
            witness: Some(last.witness()),
            tail_from,
            low_water: low_water.clone(),
        };
        self.state.prepared.clone_from(&self.carried.prepared);
        if let (Some(keeper), Some(schemas)) = (&mut self.schemas, &mut self.state.schemas) {
            keeper.settle(self.carried.offset, schemas);
        }
        let entry = RingEntry {
            epoch: self.state.epoch.number,
            resume: self.carried.resume.clone(),
            offset: self.carried.offset,
            witness: last.witness(),
            low_water,
            prepared: self.carried.prepared.clone(),
            at_ms: self.course.env.wall_ms(),
        };
        self.state.ring.push(entry, self.course.config.horizon);
        self.unsaved = false;
        Some((store, self.state.clone()))
    }

    /// The state as it is, and the store to write it with.
    pub fn begin_look(&mut self) -> Option<(Store, PipelineState)> {
        if self.fallback.is_direct() {
            return None;
        }
        Some((self.store.take()?, self.state.clone()))
    }

    /// Takes the store back, and what became of the write.
    pub fn end_checkpoint(
        &mut self,
        store: Store,
        state: PipelineState,
        result: Result<(), StoreError>,
    ) -> Result<(), Halt> {
        self.store = Some(store);
        match result {
            Ok(()) => {
                self.saved_at = Instant::now();
                self.state = state;
                self.course.meters.checkpoints.add(1);
                self.delete_retired();
                self.show();
                Ok(())
            }
            Err(error) => match Failure::from(error) {
                Failure::Halt(halt) => Err(halt),
                Failure::Retry(stop) => {
                    tracing::warn!("the checkpoint was not written: {stop}");
                    self.unsaved = true;
                    Ok(())
                }
            },
        }
    }

    /// Copies of what was produced beyond the carried position may lie anywhere in the log from now on.
    pub fn note_rewind(&mut self, acknowledged: &[i64]) {
        self.tail.advance(self.carried.offset, acknowledged);
        if let Some(highest) = &self.highest {
            self.tail.hold(highest.offset, Vec::new());
        }
    }

    /// Shows what was written.
    pub fn show(&self) {
        let now_ms = self.course.env.wall_ms();
        let checkpoint = &self.state.checkpoint;
        let lag_ms = self.carried.last.as_ref().map_or(0, |last| now_ms.saturating_sub(last.commit_ms));
        self.course.meters.epoch.set(i64::from(self.state.epoch.number));
        self.course.meters.term.set(self.term);
        self.course.meters.pending_repairs.set(self.state.pending.len() as i64);
        self.course.status.update(|status| {
            status.term = self.term;
            status.epoch = self.state.epoch.number;
            status.checkpoint = describe(&checkpoint.resume, checkpoint.file.as_ref());
            status.acknowledged = describe(&self.carried.resume, None);
            status.offset = self.carried.offset;
            status.lag_ms = lag_ms;
            status.pending_repairs = self.state.pending.len();
        });
    }

    /// Puts a description of each row that no record can hold into the dead-letter topic, and waits until it is there:
    /// the checkpoint must not pass a row of which nothing is kept.
    pub async fn dead_letters(&mut self, letters: &[DeadLetter]) -> Result<(), StreamEnd> {
        let config = Arc::clone(&self.course.config);
        self.course.ports.log.ensure_topic(&config.dead_letter, 1).await?;
        let id = format!("{}.dead", config.transactional_id());
        let mut producer = self.course.ports.log.producer(&config.dead_letter, ProducerMode::Idempotent, &id).await?;
        for letter in letters.iter().filter(|_| !canary::on(Canary::DroppedDeadLetter)) {
            branch::reached(Branch::RowTooLarge);
            let row = &letter.row;
            tracing::error!(
                table = format!("{}.{}", row.database, row.table),
                key = row.key,
                gtid = letter.gtid,
                bytes = row.bytes,
                "{}: the row goes to the dead letters",
                Cause::RowTooLarge
            );
            let value = serde_json::json!({
                "cause": Cause::RowTooLarge.name(),
                "pipeline": config.pipeline, "topic": config.topic, "partition": row.partition,
                "database": row.database, "table": row.table, "key": row.key,
                "epoch": self.state.epoch.number, "offset": row.offset, "row": row.row,
                "gtid": letter.gtid, "transaction": &*letter.witness, "bytes": row.bytes,
            })
            .to_string();
            let record = Record {
                partition: 0,
                key: None,
                value: value.as_bytes(),
                headers: &[],
                timestamp_ms: self.course.env.wall_ms() as i64,
                tag: 0,
            };
            producer.produce(&record)?;
            await_deliveries(producer.as_mut(), 1).await?;
            self.course.meters.rows_too_large.add(1);
        }
        Ok(())
    }
}

/// A position for a person.
pub fn describe(position: &Position, file: Option<&FilePosition>) -> String {
    match (position, file) {
        (Position::Gtid(_) | Position::MariaDb(_), Some(file)) => format!("{position} ({file})"),
        _ => position.to_string(),
    }
}

/// Opens a producer in the configured mode; under transactions this fences every older one.
pub async fn open(course: &Course) -> Result<Box<dyn LogProducer>, LogError> {
    let mode = match course.config.fencing {
        Fencing::Transactions if canary::on(Canary::SkippedFencing) => ProducerMode::Idempotent,
        Fencing::Transactions => ProducerMode::Transactional,
        Fencing::Versions => ProducerMode::Idempotent,
    };
    course.ports.log.producer(&course.config.topic, mode, &course.config.transactional_id()).await
}

/// Writes a control record into every partition and waits until all are acknowledged.
pub async fn announce(
    course: &Course,
    producer: &mut dyn LogProducer,
    partitions: u32,
    kind: &ControlKind,
    (epoch, term, server): (u16, i64, &str),
) -> Result<(), LogError> {
    let mut buffer = RecordBuffer::new();
    let ts_ms = course.env.wall_ms();
    let term = term.unsigned_abs();
    let context = ControlContext { epoch, term, pipeline: &course.config.pipeline, server, ts_ms };
    for partition in 0..partitions {
        write_control(kind, &context, partition, &mut buffer);
    }
    producer.begin().await?;
    for (tag, view) in buffer.iter().enumerate() {
        producer.produce(&Record {
            partition: view.partition,
            key: view.key,
            value: view.value,
            headers: view.headers.as_slice(),
            timestamp_ms: ts_ms as i64,
            tag: tag as u64,
        })?;
    }
    if course.config.fencing == Fencing::Transactions {
        producer.commit().await?;
    }
    await_deliveries(producer, partitions as usize).await
}

/// How long the few records that are waited for one by one may take.
pub const DELIVERED_WITHIN: Duration = Duration::from_secs(20);

/// Waits for so many deliveries; a failed one is an error.
async fn await_deliveries(producer: &mut dyn LogProducer, count: usize) -> Result<(), LogError> {
    let (mut known, mut out) = (0, Vec::new());
    let until = Instant::now() + DELIVERED_WITHIN;
    while known < count {
        match tokio::time::timeout_at(until, producer.deliveries(&mut out)).await {
            Ok(result) => result?,
            Err(_) => return Err(LogError::Unavailable(format!("no acknowledgement within {DELIVERED_WITHIN:?}"))),
        }
        for delivery in out.drain(..) {
            delivery.result.map_err(LogError::Failed)?;
            known += 1;
        }
    }
    Ok(())
}
