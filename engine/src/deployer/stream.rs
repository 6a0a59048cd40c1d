//! The main loop: events in, records out, what is acknowledged carried, the checkpoint behind it.
//!
//! One task does all, in a fixed order per turn; what waits (source, deliveries, commit, checkpoint, session, timer) is
//! waited for together. Must not open a producer, choose a position or judge a server: see [`super::leader`].

mod acknowledged;
mod stray;
mod waits;

use futures_util::future::BoxFuture;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

use super::Fencing;
use super::count::TransactionEnd;
use super::course::{Course, Failure, Halt};
use super::election::Session;
use super::encode::Encoder;
use super::group::GroupReader;
use super::leader::Leader;
use super::outbox::{Next, Outbox};
use super::store::{Store, StoreError};
use super::tail::WITNESS;
use super::window::{Acknowledged, Window};
use crate::cause::{Cause, Stop};
use crate::format::headers::MAX_HEADERS;
use crate::ports::log::{Delivery, LogError, LogProducer, Record};
use crate::ports::source::{BinlogStream, EventBatch, SourceError};
use crate::state::PipelineState;
use waits::{batch, deliveries, group, lost, rewind, when};

/// How a stream ends.
#[derive(Debug)]
pub enum StreamEnd {
    /// Go back to the last acknowledged transaction with a new producer; the reason is shown meanwhile.
    Rewind(Stop),
    /// The candidacy ends.
    Halt(Halt),
}

impl From<Stop> for StreamEnd {
    fn from(stop: Stop) -> Self {
        Self::Halt(Halt::Stop(stop))
    }
}

impl From<LogError> for StreamEnd {
    fn from(error: LogError) -> Self {
        match Failure::from(error) {
            Failure::Retry(stop) => Self::Rewind(stop),
            Failure::Halt(halt) => Self::Halt(halt),
        }
    }
}

impl From<SourceError> for StreamEnd {
    fn from(error: SourceError) -> Self {
        match Failure::from(error) {
            Failure::Retry(stop) => Self::Rewind(stop),
            Failure::Halt(halt) => Self::Halt(halt),
        }
    }
}

type Commit = BoxFuture<'static, (Box<dyn LogProducer>, Result<(), LogError>)>;
type Checkpointing = BoxFuture<'static, (Store, PipelineState, Result<(), StoreError>)>;

/// What woke the loop.
enum Event {
    Session,
    Drain,
    Committed(Box<dyn LogProducer>, Result<(), LogError>),
    Checkpointed(Box<(Store, PipelineState)>, Result<(), StoreError>),
    Delivered(Result<(), LogError>),
    Batch(Result<EventBatch, SourceError>),
    Group(Result<EventBatch, SourceError>),
    Timer,
}

/// One stream: from the last acknowledged transaction until something makes it end.
pub struct Stream<'l> {
    leader: &'l mut Leader,
    course: Course,
    source: Option<Box<dyn BinlogStream>>,
    /// At home unless a commit has it.
    producer: Option<Box<dyn LogProducer>>,
    encoder: Encoder,
    outbox: Outbox,
    window: Window<TransactionEnd>,
    /// The batch being encoded, and the next event in it.
    batch: Option<(EventBatch, usize)>,
    /// An XA group whose events go before the batch's next one.
    group: Option<GroupReader>,
    commit: Option<(Commit, u64)>,
    checkpointing: Option<Checkpointing>,
    /// The log's open transaction: since when, and its bytes.
    open: Option<(Instant, usize)>,
    deliveries: Vec<Delivery>,
    /// Set once nothing more is read: how it ends when all that was read is acknowledged and in the checkpoint, and the
    /// moment from which on it ends without the last acknowledgements (a successor reads those transactions again).
    ending: Option<(Halt, Instant)>,
    /// The most bytes that were in flight at once.
    peak: usize,
    queue_full: bool,
    next_checkpoint: Instant,
    /// When the state was last written: it fails if anybody else has written it.
    looked_at: Instant,
}

/// How often an idle leader writes the state.
const LOOK: Duration = Duration::from_secs(5);
/// A commit is put off while more is at hand, up to this many intervals.
const COMMIT_PATIENCE: u32 = 4;
/// The wait for a queue that is full although nothing of this stream is outstanding.
const QUEUE_PAUSE: Duration = Duration::from_millis(10);
/// Records handed to the producer in one turn, so that a turn stays short.
const PUMP: usize = 10_000;
/// Events encoded in one turn.
const ENCODE: usize = 2_000;

impl<'l> Stream<'l> {
    /// A stream with everything it works with.
    pub fn new(
        leader: &'l mut Leader,
        source: Box<dyn BinlogStream>,
        producer: Box<dyn LogProducer>,
        encoder: Encoder,
    ) -> Self {
        let course = leader.course.clone();
        let rule = match course.config.fencing {
            Fencing::Transactions => Acknowledged::Committed,
            Fencing::Versions => Acknowledged::Delivered,
        };
        let window = Window::new(rule, leader.topic.partitions());
        let now = Instant::now();
        Self {
            leader,
            source: Some(source),
            producer: Some(producer),
            encoder,
            outbox: Outbox::default(),
            window,
            batch: None,
            group: None,
            commit: None,
            checkpointing: None,
            open: None,
            deliveries: Vec::new(),
            ending: None,
            peak: 0,
            queue_full: false,
            next_checkpoint: now + course.config.checkpoint_interval,
            looked_at: now,
            course,
        }
    }

    /// Runs until it ends. Whatever the reason, nothing is left queued in the producer and the store is back at home.
    pub async fn run(mut self) -> StreamEnd {
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        self.close(end).await
    }

    async fn turn(&mut self) -> Result<(), StreamEnd> {
        let session = self.leader.session.check();
        match session {
            Session::Over => return Err(lost("the session with the coordinator is over")),
            Session::Purge => {
                let detail = "the coordinator is silent: nothing may be in flight when the session can expire";
                return Err(StreamEnd::Rewind(Stop::new(Cause::CoordinatorUnavailable, detail)));
            }
            Session::Hold | Session::Live => {}
        }
        self.encode().await?;
        if session == Session::Live {
            self.pump().await?;
            self.start_commit();
            self.start_checkpoint();
        }
        self.report();
        if self.ending.is_none() && self.leader.direct_is_due() {
            return Err(rewind("documents are to be written directly".to_owned()));
        }
        if let Some((halt, until)) = self.ending.clone()
            && (self.at_rest() || Instant::now() >= until)
        {
            return Err(StreamEnd::Halt(halt));
        }
        let event = self.wait(session).await;
        self.take(event).await
    }

    /// Encodes what has arrived, as far as the budget allows.
    async fn encode(&mut self) -> Result<(), StreamEnd> {
        for _ in 0..ENCODE {
            if self.ending.is_some() || self.over_budget() {
                break;
            }
            if let Some(group) = &mut self.group {
                let Some(raw) = group.next_event() else { break };
                match self.encoder.group_event(&raw, &mut self.outbox) {
                    Ok(()) if self.encoder.group_is_complete() => self.group = None,
                    Ok(()) => {}
                    Err(stop) => self.end_with(Halt::Stop(stop)),
                }
                self.settle_kept().await?;
                continue;
            }
            let Some((batch, next)) = &mut self.batch else { break };
            let Some(&end) = batch.ends.get(*next) else {
                self.batch = None;
                break;
            };
            let start = next.checked_sub(1).map_or(0, |before| batch.ends[before]);
            let raw = batch.bytes.slice(start as usize..end as usize);
            match self.encoder.event(&raw, &mut self.outbox) {
                Ok(None) => *next += 1,
                Ok(Some(need)) => {
                    if need.events.is_none() {
                        self.course.meters.xa_read_again.add(1);
                    }
                    self.group = Some(GroupReader::new(need, self.leader.source()));
                }
                // What was committed before the event that stops the pipeline is still delivered.
                Err(stop) => self.end_with(Halt::Stop(stop)),
            }
            self.settle_kept().await?;
            if let Some(stray) = self.encoder.take_stray() {
                self.read_stray(stray).await?;
            }
        }
        if let Some((batch, next)) = &self.batch
            && *next >= batch.ends.len()
        {
            self.batch = None;
        }
        Ok(())
    }

    /// What was encoded leaves things to be kept before anything passes them: definitions, and dead rows.
    async fn settle_kept(&mut self) -> Result<(), StreamEnd> {
        if let Some(followed) = self.encoder.take_followed() {
            self.leader.keep(followed).await?;
        }
        let dead = self.encoder.take_dead();
        if !dead.is_empty() {
            self.leader.dead_letters(&dead).await?;
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.outbox.bytes()
            + self.encoder.group_bytes()
            + self.window.outstanding_bytes()
            + self.window.len() * std::mem::size_of::<TransactionEnd>()
    }

    fn over_budget(&mut self) -> bool {
        let bytes = self.in_flight();
        self.peak = self.peak.max(bytes);
        bytes >= self.course.config.budget_bytes
    }

    /// Reads nothing more, and ends so when what was read has gone its way.
    fn end_with(&mut self, halt: Halt) {
        if self.ending.is_none() {
            self.ending = Some((halt, Instant::now() + self.course.config.drain_timeout));
        }
        self.source = None;
        self.batch = None;
        self.group = None;
    }

    /// Hands records to the producer, in order, until it or the log's transaction is full.
    async fn pump(&mut self) -> Result<(), StreamEnd> {
        let transactional = self.course.config.fencing == Fencing::Transactions;
        if self.queue_full {
            return Ok(());
        }
        let Some(producer) = &mut self.producer else { return Ok(()) };
        for _ in 0..PUMP {
            match self.outbox.peek() {
                None => break,
                Some(Next::End(end)) => self.window.end(end),
                Some(Next::Record(view, witness)) => {
                    if transactional && self.open.is_none() {
                        producer.begin().await?;
                        self.open = Some((Instant::now(), 0));
                    }
                    if self.open.is_some_and(|(_, bytes)| bytes >= self.course.config.transaction_bytes) {
                        break;
                    }
                    let mut headers: [(&str, &[u8]); MAX_HEADERS + 1] = [("", &[]); MAX_HEADERS + 1];
                    let own = view.headers.as_slice();
                    headers[..own.len()].copy_from_slice(own);
                    headers[own.len()] = (WITNESS, witness.as_bytes());
                    let record = Record {
                        partition: view.partition,
                        key: view.key,
                        value: view.value,
                        headers: &headers[..=own.len()],
                        timestamp_ms: self.course.env.wall_ms() as i64,
                        tag: self.window.next_tag(),
                    };
                    match producer.produce(&record) {
                        Ok(()) => {}
                        Err(LogError::QueueFull) => {
                            self.queue_full = true;
                            break;
                        }
                        Err(error) => return Err(error.into()),
                    }
                    let bytes = view.value.len() + view.key.map_or(0, <[u8]>::len);
                    self.window.record(bytes);
                    if let Some((_, open)) = &mut self.open {
                        *open += bytes;
                    }
                    self.course.meters.records.add(1);
                    self.course.meters.rows.add(u64::from(view.rows));
                    self.course.meters.record_bytes.add(view.value.len() as u64);
                }
            }
            self.outbox.advance();
        }
        self.carry();
        Ok(())
    }

    /// Commits when the log's transaction is full, or old and nothing more is at hand.
    fn start_commit(&mut self) {
        let Some((since, bytes)) = self.open else { return };
        if self.producer.is_none() {
            return;
        }
        let (age, interval) = (since.elapsed(), self.course.config.transaction_interval);
        let idle = self.batch.is_none() && self.outbox.is_empty();
        let due = bytes >= self.course.config.transaction_bytes
            || (age >= interval && idle)
            || age >= interval * COMMIT_PATIENCE
            || self.queue_full
            || self.ending.is_some() && self.outbox.is_empty();
        if due && let Some(mut producer) = self.producer.take() {
            let mark = self.window.next_tag();
            let commit = Box::pin(async move {
                let result = producer.commit().await;
                (producer, result)
            });
            self.commit = Some((commit, mark));
            self.open = None;
        }
    }

    /// Writes the checkpoint if what is carried has moved and the interval has passed. An idle leader writes the state
    /// as it is now and then, and loses the lead if it is not its own any more: somebody may have set a position, or
    /// decided about a table whose rows are held.
    fn start_checkpoint(&mut self) {
        let last = self.ending.is_some() && self.commit.is_none() && self.open.is_none();
        let due =
            last && self.window.outstanding() == 0 && self.outbox.is_empty() || Instant::now() >= self.next_checkpoint;
        let idle = self.ending.is_none() && self.looked_at.elapsed() >= LOOK;
        if self.checkpointing.is_some() || !(idle || due && self.leader.unsaved) {
            return;
        }
        self.looked_at = Instant::now();
        let begun = if self.leader.unsaved {
            let acknowledged = self.window.acknowledged_offsets().to_vec();
            self.leader.begin_checkpoint(&acknowledged)
        } else {
            self.leader.begin_look()
        };
        if let Some((mut store, mut state)) = begun {
            self.checkpointing = Some(Box::pin(async move {
                let result = store.write(&mut state).await;
                (store, state, result)
            }));
            self.next_checkpoint = Instant::now() + self.course.config.checkpoint_interval;
        }
    }

    /// Whether nothing is left to wait for.
    fn at_rest(&mut self) -> bool {
        self.outbox.is_empty()
            && self.commit.is_none()
            && self.checkpointing.is_none()
            && self.open.is_none()
            && self.window.outstanding() == 0
            && !self.leader.unsaved
    }

    async fn wait(&mut self, session: Session) -> Event {
        let over_budget = self.over_budget();
        let hungry = self.ending.is_none() && !over_budget;
        let reading = self.batch.is_none() && hungry;
        let grouping = hungry && self.group.as_ref().is_some_and(GroupReader::waits);
        let delivering = self.window.outstanding() > 0;
        let draining = matches!(self.ending, Some((Halt::Drained, _)));
        let pumping = session == Session::Live && !self.queue_full && self.producer.is_some();
        let more = pumping && !self.outbox.is_empty() || self.batch.is_some() && hungry && !grouping;
        let wake = if more { Instant::now() } else { self.next_wake(session) };
        tokio::select! {
            biased;
            () = self.leader.session.changed() => Event::Session,
            () = self.course.drained(), if !draining => Event::Drain,
            (producer, result) = when(self.commit.as_mut().map(|(commit, _)| commit)) => {
                        Event::Committed(producer, result)
                    }
            (store, state, result) = when(self.checkpointing.as_mut()) => {
                Event::Checkpointed(Box::new((store, state)), result)
            }
            result = deliveries(self.producer.as_mut(), &mut self.deliveries), if delivering => {
                        Event::Delivered(result)
                    }
            result = group(self.group.as_mut()), if grouping => Event::Group(result),
            result = batch(self.source.as_mut()), if reading => Event::Batch(result),
            () = sleep_until(wake) => Event::Timer,
        }
    }

    fn next_wake(&self, session: Session) -> Instant {
        let mut wake = Instant::now() + self.course.config.stalled_after / 4;
        if let Some((_, until)) = self.ending {
            wake = wake.min(until);
        }
        if session != Session::Live {
            return wake.max(Instant::now() + Duration::from_millis(1));
        }
        if let Some((since, _)) = self.open {
            let interval = self.course.config.transaction_interval;
            let soft = since + interval;
            wake = wake.min(if soft > Instant::now() { soft } else { since + interval * COMMIT_PATIENCE });
        }
        if self.queue_full && self.window.outstanding() == 0 {
            wake = wake.min(Instant::now() + QUEUE_PAUSE);
        }
        if self.checkpointing.is_none() {
            if self.leader.unsaved {
                wake = wake.min(self.next_checkpoint);
            }
            if self.ending.is_none() {
                wake = wake.min(self.looked_at + LOOK);
            }
        }
        wake = self.leader.fallback.wake(wake);
        // Never at once: what is due now was started, or waits for something else that wakes the loop.
        wake.max(Instant::now() + Duration::from_millis(1))
    }

    async fn take(&mut self, event: Event) -> Result<(), StreamEnd> {
        match event {
            Event::Session => {}
            // Full of what is not ours: look again, at the timer's pace.
            Event::Timer if self.window.outstanding() == 0 => self.queue_full = false,
            Event::Timer => {}
            Event::Drain => {
                self.outbox.clear();
                self.ending = None;
                self.end_with(Halt::Drained);
            }
            Event::Committed(producer, result) => self.committed(producer, result).await?,
            Event::Checkpointed(home, result) => {
                let (store, state) = *home;
                self.checkpointing = None;
                self.leader.end_checkpoint(store, state, result).map_err(StreamEnd::Halt)?;
            }
            Event::Delivered(result) => {
                result?;
                self.delivered()?;
            }
            Event::Group(result) => match result {
                Ok(batch) => {
                    if let Some(group) = &mut self.group
                        && let Err(stop) = group.take(batch)
                    {
                        self.end_with(Halt::Stop(stop));
                    }
                }
                Err(SourceError::Purged(text)) => self.end_with(Halt::Stop(Stop::new(Cause::XaPurged, text))),
                Err(error) => return Err(error.into()),
            },
            Event::Batch(result) => {
                self.encoder.begin_batch();
                self.batch = Some((result?, 0));
            }
        }
        Ok(())
    }

    /// Whether something was read that is not acknowledged: also by an earlier stream that had to rewind.
    fn working(&self) -> bool {
        let carried = self.leader.carried.offset;
        !self.window.is_empty() || self.leader.highest.as_ref().is_some_and(|highest| highest.offset >= carried)
    }

    fn report(&mut self) {
        if let Some(highest) = self.encoder.highest()
            && self.leader.highest.as_ref().is_none_or(|known| known.offset < highest.offset)
        {
            self.leader.highest = Some(highest.clone());
        }
        self.leader.fallback.silent_if(self.working());
        let meters = &self.course.meters;
        meters.in_flight_bytes.set(self.in_flight() as i64);
        meters.in_flight_peak_bytes.set(self.peak as i64);
        let age = if self.leader.unsaved { self.leader.saved_at.elapsed().as_millis() as i64 } else { 0 };
        meters.checkpoint_age_ms.set(age);
        let working = self.working();
        let delay = match &self.leader.carried.last {
            Some(last) if working => self.course.env.wall_ms().saturating_sub(last.commit_ms),
            _ => 0,
        };
        meters.delay_ms.set(delay as i64);
        let stalled = working && self.leader.moved_at.elapsed() >= self.course.config.stalled_after;
        if stalled != (meters.stalled.get() == 1) {
            meters.stalled.set(i64::from(stalled));
            let since = self.course.env.wall_ms().saturating_sub(self.leader.moved_at.elapsed().as_millis() as u64);
            if stalled {
                tracing::debug!(
                    topic = self.course.config.topic,
                    "stalled: there is work and Kafka acknowledges nothing"
                );
            } else {
                tracing::debug!(topic = self.course.config.topic, "moving again");
            }
            self.course.status.update(|status| status.stalled_since_ms = stalled.then_some(since));
        }
    }

    /// Ends the stream: nothing stays queued, and a checkpoint that is being written is waited for, since only then is
    /// it known what the state holds.
    async fn close(mut self, end: StreamEnd) -> StreamEnd {
        // A commit that is under way is given up with its producer: its outcome is unknown, and the next producer of
        // this id settles it.
        self.commit = None;
        if let Some(mut producer) = self.producer.take() {
            producer.purge().await;
        }
        if let Some(checkpointing) = self.checkpointing.take() {
            let (store, state, result) = checkpointing.await;
            if let Err(halt) = self.leader.end_checkpoint(store, state, result)
                && matches!(end, StreamEnd::Rewind(_))
            {
                return StreamEnd::Halt(halt);
            }
        }
        let acknowledged = self.window.acknowledged_offsets().to_vec();
        self.leader.note_rewind(&acknowledged);
        end
    }
}
