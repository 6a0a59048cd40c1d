//! What all parts of a running deployer share: configuration, ports, status, the wish to end, the session, and how an
//! attempt at an unavailable service is repeated.
//!
//! Must not know what is attempted.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::election::{Session, SessionGuard};
use super::fallback::DirectSinks;
use super::meters::Meters;
use super::{DeployerConfig, Ports, StatusCell, Waiting};
use crate::cause::{Cause, Stop};
use crate::env::{Env, Rng, backoff};
use crate::ports::coordinator::{CoordinatorError, SessionState};
use crate::ports::index::IndexError;
use crate::ports::log::LogError;
use crate::ports::source::SourceError;

/// Why a candidacy ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// An orderly end was asked for.
    Drained,
    /// The lead is lost: drop everything and rejoin.
    Lost(String),
    /// A named cause stops the pipeline.
    Stop(Stop),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// What an attempt's failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Again, after a wait; the cause is shown meanwhile.
    Retry(Stop),
    /// No further attempt.
    Halt(Halt),
}

impl From<Halt> for Failure {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let text = error.to_string();
        let stop = |cause| Self::Halt(Halt::Stop(Stop::new(cause, text.clone())));
        match error {
            SourceError::Unavailable(_) | SourceError::Refused(_) => {
                Self::Retry(Stop::new(Cause::SourceUnavailable, text))
            }
            SourceError::OtherServer(_) => Self::Retry(Stop::new(Cause::OtherServer, text)),
            // The network may have damaged it: the next attempt reads the event again.
            SourceError::Checksum(_) => Self::Retry(Stop::new(Cause::Corrupt, text)),
            SourceError::Denied(_) => stop(Cause::SourceDenied),
            SourceError::Purged(_) => stop(Cause::Purged),
            SourceError::Ahead(_) | SourceError::NoEvent(_) => stop(Cause::HistoryRewritten),
        }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let text = error.to_string();
        match error {
            LogError::Unavailable(_) | LogError::QueueFull | LogError::Failed(_) => {
                Self::Retry(Stop::new(Cause::LogUnavailable, text))
            }
            LogError::Fenced(_) => Self::Halt(Halt::Lost(text)),
            LogError::TooLarge(_) | LogError::Topic(_) => Self::Halt(Halt::Stop(Stop::new(Cause::TopicUnfit, text))),
            LogError::OutOfRange(_) => Self::Halt(Halt::Stop(Stop::new(Cause::LogTruncated, text))),
        }
    }
}

impl From<CoordinatorError> for Failure {
    fn from(error: CoordinatorError) -> Self {
        let text = error.to_string();
        let stop = Stop::new(Cause::CoordinatorUnavailable, text.clone());
        match error {
            CoordinatorError::Unknown(_) => Self::Retry(stop),
            CoordinatorError::Expired | CoordinatorError::NotCandidate | CoordinatorError::Conflict => {
                Self::Halt(Halt::Lost(text))
            }
            CoordinatorError::NoPath(_) | CoordinatorError::Denied(_) => Self::Halt(Halt::Stop(stop)),
            CoordinatorError::TooLarge(_) => Self::Halt(Halt::Stop(Stop::new(Cause::Config, text))),
        }
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        Self::Retry(Stop::new(Cause::SinkUnavailable, error.to_string()))
    }
}

impl From<super::store::StoreError> for Failure {
    fn from(error: super::store::StoreError) -> Self {
        match error {
            super::store::StoreError::Retry(why) => Self::Retry(Stop::new(Cause::CoordinatorUnavailable, why)),
            super::store::StoreError::Lost(why) => Self::Halt(Halt::Lost(why)),
            super::store::StoreError::Stop(stop) => Self::Halt(Halt::Stop(stop)),
        }
    }
}

/// What all parts share.
#[derive(Clone)]
pub struct Course {
    /// The configuration.
    pub config: Arc<DeployerConfig>,
    /// The services.
    pub ports: Ports,
    /// Where documents are written directly; `None`: nowhere.
    pub direct: Option<Arc<DirectSinks>>,
    /// Wall clock and seed.
    pub env: Env,
    /// The status.
    pub status: StatusCell,
    /// The metrics.
    pub meters: Meters,
    /// Set when an orderly end is asked for.
    pub drain: watch::Receiver<bool>,
}

impl Course {
    /// Whether an orderly end was asked for.
    pub fn draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// Returns when an orderly end is asked for.
    pub async fn drained(&self) {
        let mut drain = self.drain.clone();
        // A handle that is gone can never ask.
        if drain.wait_for(|&asked| asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A count of attempts at one thing, with its own jitter.
    pub fn attempts(&self, concern: &str) -> Attempts {
        Attempts { course: self.clone(), rng: self.env.rng(concern), count: 0, since_ms: 0 }
    }
}

/// Repeats an attempt: shows what is waited for, waits with capped backoff, ends when there is no point in going on.
pub struct Attempts {
    course: Course,
    rng: Rng,
    count: u32,
    since_ms: u64,
}

impl Attempts {
    /// Takes the failure of an attempt. `Ok`: try again now. Waits at least some milliseconds.
    pub async fn again(&mut self, failure: Failure, session: Option<&mut SessionWatch>) -> Result<(), Halt> {
        let stop = match failure {
            Failure::Halt(halt) => return Err(halt),
            Failure::Retry(stop) => stop,
        };
        let now_ms = self.course.env.wall_ms();
        if self.count == 0 {
            self.since_ms = now_ms;
            tracing::debug!(cause = stop.cause.name(), "{stop}");
        }
        let (base, cap) = self.course.config.backoff;
        let wait = backoff(self.count, base, cap, &mut self.rng);
        self.count += 1;
        let stalled = now_ms.saturating_sub(self.since_ms) >= self.course.config.stalled_after.as_millis() as u64;
        let waiting = Waiting { stop, since_ms: self.since_ms, attempts: self.count };
        self.course.meters.stalled.set(i64::from(stalled));
        self.course.status.update(|status| {
            status.stalled_since_ms = stalled.then_some(waiting.since_ms);
            status.waiting = Some(waiting);
        });
        let until = Instant::now() + wait;
        let over = async {
            match session {
                Some(session) => session.until_over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.course.drained() => Err(Halt::Drained),
            () = over => Err(Halt::Lost("the session with the coordinator is over".to_owned())),
            () = sleep_until(until) => Ok(()),
        }
    }

    /// Takes a success: nothing is waited for any more.
    pub fn succeeded(&mut self) {
        if self.count > 0 {
            tracing::debug!(attempts = self.count, "available again");
            self.course.meters.stalled.set(0);
            self.course.status.update(|status| {
                status.waiting = None;
                status.stalled_since_ms = None;
            });
        }
        self.count = 0;
    }
}

/// The session as a leader follows it.
pub struct SessionWatch {
    receiver: watch::Receiver<SessionState>,
    guard: SessionGuard,
    origin: Instant,
}

impl SessionWatch {
    /// Follows a session.
    pub fn new(receiver: watch::Receiver<SessionState>, timeout: Duration) -> Self {
        Self { receiver, guard: SessionGuard::new(timeout), origin: Instant::now() }
    }

    /// What the session allows now.
    pub fn check(&mut self) -> Session {
        let state = match self.receiver.has_changed() {
            // The other end is gone: nobody keeps the session.
            Err(_) => SessionState::Expired,
            Ok(_) => *self.receiver.borrow_and_update(),
        };
        self.guard.on(state, self.origin.elapsed())
    }

    /// Returns when [`SessionWatch::check`] may say something else than it did last.
    pub async fn changed(&mut self) {
        let purge_at = self.guard.purge_at().map(|at| self.origin + at);
        let later = async {
            match purge_at {
                Some(at) if at > Instant::now() => sleep_until(at).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = self.receiver.changed() => {
                if result.is_err() {
                    // `check` reports it; a closed channel is always ready, so yield a little instead of spinning.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            () = later => {}
        }
    }

    /// Returns when the session is over.
    pub async fn until_over(&mut self) {
        while self.check() != Session::Over {
            self.changed().await;
        }
    }

    /// Waits until effects may be started. `Err` if the session is over.
    pub async fn until_live(&mut self) -> Result<(), Halt> {
        loop {
            match self.check() {
                Session::Live => return Ok(()),
                Session::Over => return Err(Halt::Lost("the session with the coordinator is over".to_owned())),
                Session::Hold | Session::Purge => self.changed().await,
            }
        }
    }
}
