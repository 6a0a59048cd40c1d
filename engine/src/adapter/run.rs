//! The thin shell around [`Flow`]: one task per sink that moves effects to the ports and answers back.
//!
//! Must not decide: whatever needs thought is in `flow`. Time is taken once per turn and handed in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::config::{AdapterConfig, SinkConfig};
use super::flow::{Effect, Flow, Letter, start_at};
use super::letters::LetterWriter;
use super::shape::Shape;
use super::status::{AdapterStatus, SinkMetrics, SinkState, SinkStatus};
use super::track::Mark;
use super::{EpochView, meta, outcome};
use crate::branch::{self, Branch};
use crate::cause::{Cause, Stop};
use crate::env::{Env, Rng, backoff};
use crate::ports::index::{BulkOp, IndexError, ItemResult, SearchIndex};
use crate::ports::log::{Committed, ConsumerEvent, EventLog, LogConsumer, LogError};

/// Offsets are committed this often.
const COMMIT_EVERY: Duration = Duration::from_millis(250);
/// A log that was away is taken to be back when it has not said so for this long; sooner when something is read.
const AWAY_FOR: Duration = Duration::from_secs(5);
/// The longest wait between two looks at a log that is away: a member that does not look holds its group up.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The status is looked at this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// How long a drain waits for what is in flight. Then it is left to the next owner, who reads it again.
const DRAIN_AT_MOST: Duration = Duration::from_secs(25);

/// One sink's task and what it works on.
pub struct SinkTask {
    /// The adapter's configuration.
    pub config: Arc<AdapterConfig>,
    /// The sink's.
    pub sink: Arc<SinkConfig>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The sink's cluster.
    pub index: Arc<dyn SearchIndex>,
    /// The pipeline's state.
    pub epochs: Arc<dyn EpochView>,
    /// Wall clock and seed.
    pub env: Env,
    /// The sink's metrics.
    pub metrics: SinkMetrics,
    /// The status of all sinks.
    pub status: watch::Sender<AdapterStatus>,
    /// Becomes true when the sink is to drain.
    pub stop: watch::Receiver<bool>,
}

/// What a job of the sink came to.
enum Done {
    Bulk(usize, Result<Vec<ItemResult>, IndexError>),
    Letters(Vec<u64>, LetterWriter),
    Prepared(u16, Arc<Shape>, u32, Result<(), IndexError>),
    Epoch(Result<u16, String>),
}

/// How a session with the group ended.
enum End {
    Drained,
    Broken(Stop),
}

/// What lives as long as the sink.
struct Course {
    flow: Flow,
    jobs: JoinSet<Done>,
    /// `None` while it writes.
    letters: Option<LetterWriter>,
    letters_waiting: Vec<Letter>,
    /// What the shell itself waits for.
    trouble: Option<Stop>,
    prepare_trouble: Option<Stop>,
    rng: Rng,
    next_commit: Instant,
    next_publish: Instant,
    drain_by: Option<Instant>,
    shown: Option<SinkState>,
    /// Assigned, but not read from yet: the group or the log did not answer for them.
    unstarted: BTreeMap<u32, Option<Committed>>,
}

impl SinkTask {
    /// Runs until the sink has drained, or stops for a cause.
    pub async fn run(mut self) -> Result<(), Stop> {
        let mut rng = self.env.rng(&format!("sink {}", self.sink.name));
        let Some(ready) = self.prepare_at_start(&mut rng).await else {
            self.show(&SinkStatus { state: SinkState::Drained, ..SinkStatus::starting() });
            return Ok(());
        };
        let writer =
            LetterWriter::new(Arc::clone(&self.log), Arc::clone(&self.config), Arc::clone(&self.sink), rng.clone());
        let now = Instant::now();
        let mut course = Course {
            flow: Flow::new(&self.config, Arc::clone(&self.sink), ready, self.metrics.clone(), rng.clone()),
            jobs: JoinSet::new(),
            letters: Some(writer),
            letters_waiting: Vec::new(),
            trouble: None,
            prepare_trouble: None,
            rng,
            next_commit: now,
            next_publish: now,
            drain_by: None,
            shown: None,
            unstarted: BTreeMap::new(),
        };
        let mut attempt = 0u32;
        loop {
            match self.join(&mut course).await {
                End::Drained => break,
                End::Broken(stop) => {
                    tracing::warn!(sink = %self.sink.name, cause = %stop.cause, detail = %stop.detail, "joins again");
                    let owned = course.flow.progress().0;
                    course.flow.on_lost(&owned);
                    course.unstarted.clear();
                    // A session that ran well before it broke starts the waits anew.
                    attempt =
                        if course.trouble.is_none() && course.shown.is_some() { 0 } else { (attempt + 1).min(16) };
                    course.trouble = Some(stop);
                    self.publish(&mut course, true);
                    let wait = backoff(attempt, self.sink.retry.base, self.sink.retry.cap, &mut course.rng);
                    if self.stopped_within(wait).await {
                        break;
                    }
                }
            }
        }
        let result = match course.flow.stopped() {
            Some(stop) => Err(stop.clone()),
            None => Ok(()),
        };
        let state = result.clone().err().map_or(SinkState::Drained, SinkState::Stopped);
        self.show(&self.status_of(&course.flow, state));
        result
    }

    /// Creates the index before anything is read, where the tables are known, so that queries find it. `None`: stopped.
    async fn prepare_at_start(&mut self, rng: &mut Rng) -> Option<Option<u16>> {
        let tables = self.config.tables.iter();
        let fed = tables.filter(|table| self.sink.source_of(&table.database, &table.table).is_some());
        let shapes: Vec<Shape> = fed.map(Shape::of_schema).collect();
        if shapes.is_empty() {
            return Some(None);
        }
        let shapes: Vec<&Shape> = shapes.iter().collect();
        for attempt in 0u32.. {
            // Without the state the epoch is noted with the first record that carries it.
            let epoch = self.epochs.read().await.unwrap_or(0);
            match meta::prepare(self.index.as_ref(), &self.sink, &shapes, &self.config.pipeline, epoch).await {
                Ok(()) => return Some(Some(epoch)),
                Err(error) => {
                    let state = SinkState::Retrying(self.cannot_prepare(&error));
                    self.show(&SinkStatus { state, ..SinkStatus::starting() });
                    if self.stopped_within(backoff(attempt, self.sink.retry.base, self.sink.retry.cap, rng)).await {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn cannot_prepare(&self, error: &IndexError) -> Stop {
        let cause = match outcome::classify_request(error) {
            outcome::RequestOutcome::Retry(stop) => stop.cause,
            outcome::RequestOutcome::Halve { .. } => Cause::SinkBlocked,
        };
        Stop::new(
            cause,
            format!("sink {}: the index {} cannot be made ready: {error}", self.sink.name, self.sink.index),
        )
    }

    /// Waits; `true` as soon as the sink is to stop.
    async fn stopped_within(&mut self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = asked_to_stop(&mut self.stop) => true,
            () = tokio::time::sleep(wait) => false,
        }
    }

    /// Joins the group and works until something ends it.
    async fn join(&mut self, course: &mut Course) -> End {
        if let Err(error) = self.log.topic(&self.config.topic).await {
            return if *self.stop.borrow() { End::Drained } else { End::Broken(self.log_stop(&error)) };
        }
        let group = self.config.group(&self.sink.name);
        let mut consumer = match self.log.consumer(&self.config.topic, &group).await {
            Ok(consumer) => consumer,
            Err(error) => return End::Broken(self.log_stop(&error)),
        };
        let end = self.session(course, consumer.as_mut()).await;
        consumer.close().await;
        end
    }

    fn log_stop(&self, error: &LogError) -> Stop {
        let cause = match error {
            LogError::Topic(_) => Cause::TopicUnfit,
            LogError::OutOfRange(_) => Cause::LogTruncated,
            _ => Cause::LogUnavailable,
        };
        Stop::new(cause, format!("sink {}, topic {}: {error}", self.sink.name, self.config.topic))
    }

    async fn session(&mut self, course: &mut Course, consumer: &mut dyn LogConsumer) -> End {
        let mut poll_from = Instant::now();
        let mut poll_attempt = 0;
        let mut quiet_from = poll_from;
        loop {
            let now = Instant::now();
            course.flow.on_time(now);
            for effect in course.flow.effects(now) {
                if let Err(stop) = self.act(course, consumer, effect).await {
                    return End::Broken(stop);
                }
            }
            self.write_letters(course);
            if now >= course.next_commit {
                course.next_commit = now + COMMIT_EVERY;
                self.commit(course, consumer).await;
                if let Err(stop) = self.start_assigned(course, consumer).await {
                    return End::Broken(stop);
                }
            }
            self.publish(course, false);
            if course.flow.stopped().is_some() && course.drain_by.is_none() {
                course.flow.on_drain();
                course.drain_by = Some(now + DRAIN_AT_MOST);
            }
            if let Some(by) = course.drain_by
                && (course.flow.is_drained() || now >= by)
            {
                self.commit(course, consumer).await;
                return End::Drained;
            }
            let draining = course.drain_by.is_some();
            let wake = course.flow.deadline().into_iter().chain(course.drain_by).min();
            let wake = wake.unwrap_or(course.next_commit).min(course.next_commit);
            tokio::select! {
                biased;
                () = asked_to_stop(&mut self.stop), if !draining => {
                    course.flow.on_drain();
                    course.drain_by = Some(now + DRAIN_AT_MOST);
                }
                Some(done) = course.jobs.join_next(), if !course.jobs.is_empty() => match done {
                    Ok(done) => self.on_done(course, done),
                    Err(error) => {
                        course.flow.stop(Stop::new(Cause::Internal, format!("a job of the sink ended: {error}")));
                    }
                },
                event = consumer.next(COMMIT_EVERY), if !draining && now >= poll_from => match event {
                    Ok(event) => {
                        // Nothing to read proves little: a log that is away says so only now and then.
                        if event.is_some() || now >= quiet_from {
                            (poll_attempt, course.trouble) = (0, None);
                        }
                        if let Some(event) = event && let Err(stop) = self.on_event(course, consumer, event).await {
                            return End::Broken(stop);
                        }
                    }
                    Err(LogError::Unavailable(why)) => {
                        course.trouble = Some(self.log_stop(&LogError::Unavailable(why)));
                        let (base, cap) = (self.sink.retry.base, self.sink.retry.cap.min(LOOK_AGAIN));
                        poll_from = now + backoff(poll_attempt, base, cap, &mut course.rng);
                        quiet_from = now + AWAY_FOR;
                        poll_attempt = (poll_attempt + 1).min(16);
                    }
                    Err(error @ LogError::OutOfRange(_)) => course.flow.stop(self.log_stop(&error)),
                    Err(error) => return End::Broken(self.log_stop(&error)),
                },
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    async fn on_event(
        &self,
        course: &mut Course,
        consumer: &mut dyn LogConsumer,
        event: ConsumerEvent,
    ) -> Result<(), Stop> {
        match event {
            ConsumerEvent::Records(records) => course.flow.on_records(records, Instant::now()),
            ConsumerEvent::Revoked(partitions) => {
                course.unstarted.retain(|partition, _| !partitions.contains(partition));
                course.flow.on_revoked(&partitions);
            }
            ConsumerEvent::Lost(partitions) => {
                course.unstarted.retain(|partition, _| !partitions.contains(partition));
                course.flow.on_lost(&partitions);
            }
            ConsumerEvent::Assigned(assigned) => {
                course.unstarted.extend(assigned);
                self.start_assigned(course, consumer).await?;
            }
        }
        Ok(())
    }

    /// Starts what is assigned. Where the log does not answer, or the group refuses the first commit because another
    /// rebalance has begun, it is tried again at the next turn of commits.
    async fn start_assigned(&self, course: &mut Course, consumer: &mut dyn LogConsumer) -> Result<(), Stop> {
        for (partition, committed) in course.unstarted.clone() {
            match self.start(course, consumer, partition, committed.as_ref()).await {
                Ok(true) => {
                    course.unstarted.remove(&partition);
                }
                Ok(false) => {}
                Err(LogError::Unavailable(why)) => {
                    course.trouble = Some(self.log_stop(&LogError::Unavailable(why)));
                    return Ok(());
                }
                Err(error) => return Err(self.log_stop(&error)),
            }
        }
        Ok(())
    }

    /// Starts one partition; `false`: not now.
    async fn start(
        &self,
        course: &mut Course,
        consumer: &mut dyn LogConsumer,
        partition: u32,
        committed: Option<&Committed>,
    ) -> Result<bool, LogError> {
        let topic_id = self.log.topic(&self.config.topic).await?.id;
        let marks = consumer.watermarks(partition).await?;
        let start = match start_at(partition, committed, marks, &topic_id) {
            Ok(start) => start,
            Err(stop) => {
                let detail = format!("sink {}, topic {}: {}", self.sink.name, self.config.topic, stop.detail);
                course.flow.stop(Stop::new(stop.cause, detail));
                return Ok(true);
            }
        };
        if start.commit {
            let metadata = Mark { term: 0, topic: &topic_id }.to_text();
            let first = BTreeMap::from([(partition, Committed { offset: start.offset, metadata })]);
            if !consumer.commit(&first).await? {
                return Ok(false);
            }
        }
        consumer.start(partition, start.offset).await?;
        tracing::info!(sink = %self.sink.name, partition, offset = start.offset, "partition assigned");
        course.flow.on_assigned(partition, start, &topic_id);
        Ok(true)
    }

    async fn act(&self, course: &mut Course, consumer: &mut dyn LogConsumer, effect: Effect) -> Result<(), Stop> {
        let fail = |error: LogError| self.log_stop(&error);
        match effect {
            Effect::Send { lane, operations } => {
                let index = Arc::clone(&self.index);
                course.jobs.spawn(async move { Done::Bulk(lane, bulk(index.as_ref(), &operations).await) });
            }
            Effect::Letters(letters) => course.letters_waiting.extend(letters),
            Effect::Prepare { epoch, shape } => self.prepare(course, epoch, shape, 0),
            Effect::ReadEpoch => {
                let epochs = Arc::clone(&self.epochs);
                course.jobs.spawn(async move { Done::Epoch(epochs.read().await) });
            }
            Effect::Pause(partitions) => consumer.pause(&partitions).await.map_err(fail)?,
            Effect::Resume(partitions) => consumer.resume(&partitions).await.map_err(fail)?,
            Effect::Release(partitions) => {
                self.commit(course, consumer).await;
                consumer.release(&partitions).await.map_err(fail)?;
                tracing::info!(sink = %self.sink.name, ?partitions, "partitions given up");
                course.flow.on_released(&partitions);
            }
        }
        Ok(())
    }

    fn prepare(&self, course: &mut Course, epoch: u16, shape: Arc<Shape>, attempt: u32) {
        let (index, sink, config) = (Arc::clone(&self.index), Arc::clone(&self.sink), Arc::clone(&self.config));
        let wait = backoff(attempt, sink.retry.base, sink.retry.cap, &mut course.rng);
        course.jobs.spawn(async move {
            if attempt > 0 {
                tokio::time::sleep(wait).await;
            }
            let result = meta::prepare(index.as_ref(), &sink, &[&shape], &config.pipeline, epoch).await;
            Done::Prepared(epoch, shape, attempt, result)
        });
    }

    fn write_letters(&self, course: &mut Course) {
        if course.letters_waiting.is_empty() {
            return;
        }
        let Some(mut writer) = course.letters.take() else { return };
        let letters = std::mem::take(&mut course.letters_waiting);
        course.jobs.spawn(async move {
            writer.write(&letters).await;
            Done::Letters(letters.iter().map(|letter| letter.number).collect(), writer)
        });
    }

    fn on_done(&self, course: &mut Course, done: Done) {
        let now = Instant::now();
        match done {
            Done::Bulk(lane, answer) => course.flow.on_bulk(lane, answer, now),
            Done::Letters(numbers, writer) => {
                course.letters = Some(writer);
                course.flow.on_letters(&numbers);
            }
            Done::Prepared(epoch, _, _, Ok(())) => {
                course.prepare_trouble = None;
                course.flow.on_prepared(epoch);
            }
            Done::Prepared(epoch, shape, attempt, Err(error)) => {
                course.prepare_trouble = Some(self.cannot_prepare(&error));
                if course.drain_by.is_none() {
                    self.prepare(course, epoch, shape, attempt.saturating_add(1));
                }
            }
            Done::Epoch(epoch) => course.flow.on_epoch(epoch, now),
        }
    }

    async fn commit(&self, course: &mut Course, consumer: &mut dyn LogConsumer) {
        let offsets = course.flow.commits();
        if offsets.is_empty() {
            return;
        }
        match consumer.commit(&offsets).await {
            Ok(true) => {}
            // The group is between generations. What is still ours in the next one is committed then, as it stands
            // then; for the rest its new owner begins at the last good commit.
            Ok(false) => {
                branch::reached(Branch::CommitRefused);
                tracing::info!(sink = %self.sink.name, "a commit of an old generation was refused");
                course.flow.commits_failed(&offsets);
            }
            Err(error) => {
                tracing::warn!(sink = %self.sink.name, %error, "offsets are committed again later");
                course.flow.commits_failed(&offsets);
            }
        }
    }

    fn status_of(&self, flow: &Flow, state: SinkState) -> SinkStatus {
        let (partitions, indexed_commit_ms, waiting_commit_ms) = flow.progress();
        SinkStatus { state, partitions, indexed_commit_ms, waiting_commit_ms }
    }

    fn publish(&self, course: &mut Course, at_once: bool) {
        let flow = &course.flow;
        let trouble = [flow.trouble(), course.prepare_trouble.as_ref(), course.trouble.as_ref()];
        let state = match (flow.stopped(), trouble.into_iter().flatten().next()) {
            (Some(stop), _) => SinkState::Stopped(stop.clone()),
            (None, Some(trouble)) => SinkState::Retrying(trouble.clone()),
            (None, None) => SinkState::Running,
        };
        let now = Instant::now();
        let same = course.shown.as_ref() == Some(&state);
        if !at_once && same && now < course.next_publish {
            return;
        }
        course.next_publish = now + PUBLISH_EVERY;
        self.metrics.buffered_bytes.set(flow.buffered() as i64);
        let status = self.status_of(flow, state.clone());
        if !same {
            match &state {
                // Whoever runs the adapter tells people, from the status.
                SinkState::Stopped(stop) => tracing::debug!(sink = %self.sink.name, %stop, "sink stopped"),
                SinkState::Retrying(stop) => tracing::debug!(sink = %self.sink.name, %stop, "sink waits"),
                _ => tracing::debug!(sink = %self.sink.name, "sink runs"),
            }
        }
        course.shown = Some(state);
        self.show(&status);
    }

    fn show(&self, status: &SinkStatus) {
        let number = match status.state {
            SinkState::Starting => 0,
            SinkState::Running => 1,
            SinkState::Retrying(_) => 2,
            SinkState::Stopped(_) => 3,
            SinkState::Drained => 4,
        };
        self.metrics.state.set(number);
        self.metrics.lag_ms.set(status.lag_ms(self.env.wall_ms()) as i64);
        self.metrics.indexed_commit_ms.set(status.indexed_commit_ms as i64);
        self.status.send_if_modified(|all| {
            let changed = all.get(&self.sink.name) != Some(status);
            if changed {
                all.insert(self.sink.name.clone(), status.clone());
            }
            changed
        });
    }
}

/// Returns when the value is true, or nobody is left who could make it so.
async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: whoever started us has ended.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One request. Where a conflict does not name the version that is there, it is asked for: without it a state that was
/// set back could not be told from an ordinary replay.
async fn bulk(index: &dyn SearchIndex, operations: &[BulkOp]) -> Result<Vec<ItemResult>, IndexError> {
    let mut results = index.bulk(operations).await?;
    for (operation, result) in operations.iter().zip(&mut results) {
        if let outcome::Outcome::Superseded { current: None } = outcome::classify(result, operation.source.is_none()) {
            let found = index.get(&operation.index, &operation.id, operation.routing.as_deref()).await?;
            if let Some(found) = found {
                result.reason = Some(format!("current version [{}], as read afterwards", found.version));
            }
        }
    }
    Ok(results)
}
