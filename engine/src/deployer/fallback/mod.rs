//! The fallback path: while Kafka is down a leader writes documents itself (protocol §8, docs/fallback.md).
//!
//! A leader either streams to Kafka or writes directly, never both. Written directly means: the same stream and the
//! same sinks' tasks as ever, with a log within the process in Kafka's place, and every record in a journal, which a
//! successor seals, before any document of it. Afterwards Kafka's path goes on where it was and carries all of it
//! again; versions make the repeats harmless, so adapters skip nothing. An epoch that rises meanwhile moves both paths
//! to its anchor.
//!
//! Must not judge servers or read rows: that is done as with Kafka, by the same code.

mod consumer;
mod direct_log;
mod indexers;
mod journal;
mod repair;
mod runs;
mod switch;
mod tasks;
#[cfg(test)]
mod tests;
mod wishes;

use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

use super::course::{Course, Failure, Halt};
use super::encode::Highest;
use super::leader::{Carried, Leader};
use super::stream::StreamEnd;
use super::tail::TailMark;
use crate::adapter::AdapterConfig;
use crate::cause::{Cause, Stop};
use crate::ports::index::SearchIndex;
use crate::ports::log::{EventLog, ProducerMode};
use crate::state::FallbackRun;

pub(super) use direct_log::DirectLog;
use indexers::Indexers;
pub use journal::Journal;
pub use switch::{Phase, Seen, Switch, Wish};
pub(super) use tasks::{Tasks, share};
pub use wishes::{NODE, Order, Wishes};

/// When documents are written directly without being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FallbackConfig {
    /// Whether they are at all.
    pub automatic: bool,
    /// So long Kafka acknowledges nothing although there is something, or cannot be opened.
    pub after: Duration,
    /// So long a sink's consumer group has no member; `None`: that alone is no reason.
    pub unindexed_after: Option<Duration>,
}

impl Default for FallbackConfig {
    fn default() -> Self {
        Self { automatic: false, after: Duration::from_secs(10), unindexed_after: None }
    }
}

/// Where documents are written directly.
#[derive(Clone)]
pub struct DirectSinks {
    /// The pipeline's sinks, as its adapters know them.
    pub config: AdapterConfig,
    /// The cluster of each, by the sink's name.
    pub indexes: BTreeMap<String, Arc<dyn SearchIndex>>,
}

/// How often Kafka is asked whether it is back.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A kept point to begin at is at least so much older than the outage: what was in the log and not indexed then is
/// written again.
const BEFORE_OUTAGE: Duration = Duration::from_secs(60);

/// What a leader knows of its fallback path.
pub struct Fallback {
    switch: Switch,
    wishes: Option<Wishes>,
    /// Whether anybody indexes; `None` without sinks.
    indexers: Option<Indexers>,
    /// Kafka's path while documents are written directly.
    kept: Option<Kept>,
    /// Since when Kafka acknowledges nothing although there is something, or cannot be opened.
    silent_since: Option<Instant>,
    /// The highest position that was written directly, by anybody, and its epoch.
    shown: Option<(u16, Highest)>,
    /// Runs so far.
    runs: u32,
    /// Logs within the process so far.
    serial: u32,
    /// The epoch whose repair has reached the documents.
    repaired: u16,
    /// Journals that nobody needs once the state is written.
    retired: Vec<FallbackRun>,
}

/// Kafka's path as it was left.
struct Kept {
    course: Course,
    epoch: u16,
    carried: Carried,
    tail: TailMark,
    highest: Option<Highest>,
    unsaved: bool,
    announced: u16,
}

impl Fallback {
    /// For a new leader, in the normal state whatever this process showed when it led before. Without `wishes` nobody
    /// can ask for anything.
    pub fn new(course: &Course, wishes: Option<Wishes>) -> Self {
        let FallbackConfig { automatic, .. } = course.config.fallback;
        let config = FallbackConfig { automatic: automatic && course.direct.is_some(), ..course.config.fallback };
        let indexers = course.direct.as_ref().map(|direct| {
            let groups = direct.config.sinks.iter().map(|sink| direct.config.group(&sink.name)).collect();
            Indexers::new(Arc::clone(&course.ports.log), groups, course.meters.sinks_unindexed.clone())
        });
        show(course, Phase::Normal);
        Self {
            switch: Switch::new(config),
            wishes,
            indexers,
            kept: None,
            silent_since: None,
            shown: None,
            runs: 0,
            serial: 0,
            repaired: 0,
            retired: Vec::new(),
        }
    }

    /// Documents are being written directly.
    pub fn is_direct(&self) -> bool {
        self.kept.is_some()
    }

    /// When to look next, at the latest at `wake`: somebody may want documents to be written directly.
    pub fn wake(&self, wake: Instant) -> Instant {
        if self.wishes.is_some() { wake.min(Instant::now() + ASK_EVERY) } else { wake }
    }

    /// Kafka acknowledges nothing, or cannot be opened.
    pub fn silent(&mut self) {
        self.silent_since(Instant::now());
    }

    /// A question asked then has had no answer.
    pub fn silent_since(&mut self, asked: Instant) {
        self.silent_since.get_or_insert(asked);
    }

    /// How long an answer of Kafka's is waited for where documents can be written without it; `None`: as long as the
    /// client waits.
    pub fn patience(&self) -> Option<Duration> {
        (self.wish() != Wish::Off).then(|| self.switch.patience()).flatten()
    }

    /// Kafka has something to acknowledge, if so it is; [`Fallback::heard`] when it does.
    pub fn silent_if(&mut self, working: bool) {
        if working {
            self.silent();
        }
    }

    /// Kafka moves, or there is nothing for it.
    pub fn heard(&mut self) {
        self.silent_since = None;
    }

    /// Whether documents are to be written directly now. `carried`: how far Kafka's path has come, if it is known.
    pub fn due(&mut self, course: &Course, epoch: u16, carried: Option<u64>) -> bool {
        if course.direct.is_none() || self.is_direct() {
            return false;
        }
        let shown = self.shown.as_ref().filter(|(of, _)| *of == epoch).map(|(_, highest)| highest.offset);
        let behind = shown.is_some_and(|shown| carried.is_none_or(|carried| carried <= shown));
        let (silent, unindexed) = (self.silent_since.map(|since| since.elapsed()), self.unindexed());
        let seen = Seen { wish: self.wish(), silent, unindexed, answers: false, behind };
        let before = self.switch.phase();
        let phase = self.switch.on(&seen);
        if phase != before {
            show(course, phase);
        }
        phase == Phase::Direct
    }

    fn unindexed(&self) -> Option<Duration> {
        self.indexers.as_ref().and_then(Indexers::gone_for)
    }

    fn wish(&self) -> Wish {
        self.wishes.as_ref().map_or(Wish::Auto, Wishes::now)
    }
}

/// Shows a change of the state.
fn show(course: &Course, phase: Phase) {
    let now_ms = course.env.wall_ms();
    match phase {
        _ if course.status.get().fallback == phase => {}
        Phase::Direct => tracing::error!("fallback: Kafka is left out, documents are written directly"),
        Phase::CatchingUp => tracing::warn!("fallback: through Kafka again, which has to catch up"),
        Phase::Normal => tracing::warn!("fallback: over, Kafka has caught up"),
    }
    course.meters.fallback.set(match phase {
        Phase::Normal => 0,
        Phase::Direct => 1,
        Phase::CatchingUp => 2,
    });
    course.status.update(|status| {
        status.fallback = phase;
        status.fallback_since_ms = (phase != Phase::Normal).then_some(now_ms);
    });
}

impl Leader {
    /// Whether documents are to be written directly now.
    pub fn direct_is_due(&mut self) -> bool {
        let carried = Some(self.carried.offset);
        self.fallback.due(&self.course, self.state.epoch.number, carried)
    }

    /// Writes documents directly until that is over; then Kafka's path stands where it was, or at the anchor of an
    /// epoch that has risen.
    pub fn direct(&mut self) -> BoxFuture<'_, Result<(), Halt>> {
        Box::pin(async move {
            let Some(sinks) = self.course.direct.clone() else {
                return Err(Stop::new(Cause::Internal, "no sinks to write to directly").into());
            };
            self.name_run(&sinks).await?;
            self.course.meters.fallback_runs.add(1);
            show(&self.course, Phase::Direct);
            self.set_aside();
            let result = self.write_directly(&sinks).await;
            self.restore();
            result
        })
    }

    fn set_aside(&mut self) {
        let carried = self.direct_start();
        self.fallback.kept = Some(Kept {
            course: self.course.clone(),
            epoch: self.state.epoch.number,
            carried: std::mem::replace(&mut self.carried, carried),
            tail: self.tail.clone(),
            highest: self.highest.take(),
            unsaved: std::mem::take(&mut self.unsaved),
            announced: self.announced,
        });
        // What was emitted beyond the start was emitted from this server's bytes: verified before anything is read.
        self.highest = self.fallback.kept.as_ref().and_then(|kept| kept.highest.clone());
    }

    /// Where documents are written from: a kept point before the outage, since the last records of the log may not
    /// have been indexed; without one, what Kafka has acknowledged.
    fn direct_start(&self) -> Carried {
        let silent = self.fallback.silent_since.map_or(Duration::ZERO, |since| since.elapsed());
        let silent = silent.max(self.fallback.unindexed().unwrap_or_default());
        let before_ms = self.course.env.wall_ms().saturating_sub((silent + BEFORE_OUTAGE).as_millis() as u64);
        let epoch = self.state.epoch.number;
        let mut points = self
            .state
            .ring
            .entries()
            .iter()
            .filter(|entry| entry.epoch == epoch && entry.offset <= self.carried.offset);
        let oldest = points.clone().next();
        let point = points.rfind(|entry| entry.at_ms <= before_ms).or(oldest);
        match point {
            // Definitions as they were are not kept with a point.
            Some(point) if self.state.schemas.is_none() => {
                let prepared = point.prepared.clone();
                Carried { resume: point.resume.clone(), offset: point.offset, last: None, prepared }
            }
            _ => self.carried.clone(),
        }
    }

    async fn write_directly(&mut self, sinks: &Arc<DirectSinks>) -> Result<(), Halt> {
        let mut attempts = self.course.attempts("direct");
        loop {
            let before = self.carried.offset;
            let log = self.direct_log(sinks);
            let tasks = self.direct_tasks(sinks, &log)?;
            let Some(course) = self.fallback.kept.as_ref().map(|kept| kept.course.clone()) else { return Ok(()) };
            let wishes = self.fallback.wishes.as_ref().map(Wishes::follow);
            let over = over(course, wishes, self.fallback.indexers.as_ref().map(Indexers::follow));
            let end = tokio::select! {
                biased;
                seen = over => Err(seen),
                end = self.direct_stream(&log) => Ok(end),
            };
            // What is on its way may still arrive: it is in the journal, and of no lower version than what it meets.
            drop(tasks);
            if let Some(highest) = &self.highest {
                self.fallback.shown = Some((self.state.epoch.number, highest.clone()));
            }
            let stop = match end {
                Err(seen) => {
                    if self.fallback.switch.on(&seen) != Phase::Direct {
                        return Ok(());
                    }
                    continue;
                }
                Ok(StreamEnd::Halt(Halt::Stop(stop))) if self.began_early() => {
                    tracing::warn!("fallback: what was kept from before the outage cannot be read again: {stop}");
                    self.begin_at_kafka();
                    continue;
                }
                Ok(StreamEnd::Halt(halt)) => return Err(halt),
                Ok(StreamEnd::Rewind(stop)) => stop,
            };
            if self.carried.offset > before {
                attempts.succeeded();
            }
            attempts.again(Failure::Retry(stop), Some(&mut self.session)).await?;
        }
    }

    async fn direct_stream(&mut self, log: &DirectLog) -> StreamEnd {
        let producer = match log.producer(&self.course.config.topic, ProducerMode::Idempotent, "").await {
            Ok(producer) => producer,
            Err(error) => return error.into(),
        };
        match self.one_stream(Some(producer)).await {
            Ok(end) => end,
            Err(halt) => StreamEnd::Halt(halt),
        }
    }

    /// Still before what Kafka has acknowledged, of the same epoch.
    fn began_early(&self) -> bool {
        let same = |kept: &&Kept| kept.epoch == self.state.epoch.number;
        self.fallback.kept.as_ref().filter(same).is_some_and(|kept| self.carried.offset < kept.carried.offset)
    }

    fn begin_at_kafka(&mut self) {
        if let Some(kept) = &self.fallback.kept {
            self.carried = kept.carried.clone();
        }
    }

    fn restore(&mut self) {
        let Some(kept) = self.fallback.kept.take() else { return };
        let epoch = self.state.epoch.number;
        if let Some(highest) = &self.highest {
            self.fallback.shown = Some((epoch, highest.clone()));
        }
        let direct = self.highest.take();
        self.course = kept.course;
        self.announced = kept.announced;
        if kept.epoch == epoch {
            self.carried = kept.carried;
            self.tail = kept.tail;
            self.unsaved = kept.unsaved;
            (self.highest, _) = in_order(kept.highest, direct);
        } else {
            // Both paths return to the one new anchor.
            let checkpoint = &self.state.checkpoint;
            self.carried = Carried {
                resume: checkpoint.resume.clone(),
                offset: checkpoint.offset,
                last: None,
                prepared: self.state.prepared.clone(),
            };
            self.tail = TailMark::new(checkpoint.tail_from.clone());
            self.unsaved = false;
            self.highest = direct;
        }
        if let Some(highest) = &self.highest {
            self.tail.hold(highest.offset, Vec::new());
        }
        self.end_run();
        self.moved_at = Instant::now();
        self.fallback.heard();
        show(&self.course, self.fallback.switch.phase());
    }

    /// Per partition, from where the log's tail must be read: known without asking Kafka.
    pub fn kept_tail(&self) -> Option<Vec<i64>> {
        self.fallback.kept.as_ref().map(|kept| kept.tail.offsets().to_vec())
    }
}

/// The higher of two positions of one epoch, and the other if there are two.
pub fn in_order(one: Option<Highest>, other: Option<Highest>) -> (Option<Highest>, Option<Highest>) {
    match (one, other) {
        (Some(one), Some(other)) if other.offset > one.offset => (Some(other), Some(one)),
        (Some(one), other) => (Some(one), other),
        (None, other) => (other, None),
    }
}

/// Returns when writing directly may be over, with what is known then.
async fn over(
    course: Course,
    mut wishes: Option<watch::Receiver<Wish>>,
    indexers: Option<watch::Receiver<Option<Instant>>>,
) -> Seen {
    loop {
        let wish = wishes.as_mut().map_or(Wish::Auto, |wishes| *wishes.borrow_and_update());
        let answers = match wish {
            Wish::On => false,
            Wish::Off => return Seen { wish, ..Seen::default() },
            Wish::Auto => {
                let asked = course.ports.log.topic(&course.config.topic);
                let answer = tokio::time::timeout(course.config.read_deadline, asked).await;
                matches!(answer, Ok(Ok(_)))
            }
        };
        let FallbackConfig { automatic, unindexed_after, .. } = course.config.fallback;
        let gone_since = indexers.as_ref().and_then(|since| *since.borrow()).filter(|_| unindexed_after.is_some());
        if wish == Wish::Auto && (!automatic || answers && gone_since.is_none()) {
            return Seen { wish, answers, ..Seen::default() };
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
