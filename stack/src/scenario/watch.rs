//! Who led when, seen from outside through each deployer's metrics.

use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, timeout};

use crate::harness::fleet::{Fleet, Role};
use crate::harness::towpath::sum;

/// A process that does not answer within this is not asked further: it stands still, or ends.
const ANSWER: Duration = Duration::from_millis(500);

/// A change of the lead.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Takeover {
    /// Who leads from then on.
    pub leader: String,
    /// Since the start of the run, milliseconds.
    pub at_ms: u64,
    /// How long nobody led, milliseconds.
    pub leaderless_ms: u64,
}

/// What was seen of the lead so far.
#[derive(Debug)]
pub struct Watch {
    begun: Instant,
    leader: Option<(String, u64)>,
    last_led: Instant,
    /// Each change of the lead after the first leader.
    pub takeovers: Vec<Takeover>,
    /// The longest time without a leader.
    pub leaderless_at_most: Duration,
    epochs: Option<(u64, u64)>,
    seen: Option<String>,
    /// The most bytes that a deployer had read and not delivered.
    pub in_flight_peak: f64,
    /// Runs of the fallback path that were seen: the leader's term and its count.
    fallbacks: BTreeSet<(u64, u64)>,
}

impl Watch {
    /// Begins with a leader.
    pub fn new(begun: Instant, leader: &str) -> Self {
        Self {
            begun,
            leader: Some((leader.to_owned(), 0)),
            last_led: begun,
            takeovers: Vec::new(),
            leaderless_at_most: Duration::ZERO,
            epochs: None,
            seen: None,
            in_flight_peak: 0.0,
            fallbacks: BTreeSet::new(),
        }
    }

    /// Who was seen to lead at the last look; nobody between two leaders.
    pub fn seen(&self) -> Option<&str> {
        self.seen.as_deref()
    }

    /// Who led when it was looked last.
    pub fn leader(&self) -> Option<&str> {
        self.leader.as_ref().map(|(name, _)| name.as_str())
    }

    /// How often documents were begun to be written directly.
    pub fn fallbacks(&self) -> usize {
        self.fallbacks.len()
    }

    /// Epochs begun after the first that was seen.
    pub fn epochs(&self) -> u64 {
        self.epochs.map_or(0, |(first, last)| last - first)
    }

    /// Looks at all deployers but those that stand still.
    pub async fn look(&mut self, fleet: &Fleet, paused: &[String]) {
        let mut leading: Option<(u64, String)> = None;
        for name in fleet.names(Role::Deployer) {
            let Some(process) = fleet.process(&name).ok().filter(|_| !paused.contains(&name)) else { continue };
            let Ok(Ok(series)) = timeout(ANSWER, process.metrics()).await else { continue };
            self.in_flight_peak = self.in_flight_peak.max(sum(&series, "towpath_in_flight_peak_bytes"));
            if sum(&series, "towpath_leading") < 1.0 {
                continue;
            }
            let term = sum(&series, "towpath_term") as u64;
            let epoch = sum(&series, "towpath_epoch") as u64;
            if sum(&series, "towpath_fallback") == 1.0 {
                self.fallbacks.insert((term, sum(&series, "towpath_fallback_runs_total") as u64));
            }
            // A zombie that has just woken still believes; the higher term is the leader's.
            if leading.as_ref().is_none_or(|(other, _)| term > *other) {
                let (first, last) = self.epochs.unwrap_or((epoch, epoch));
                self.epochs = Some((first.min(epoch), last.max(epoch)));
                leading = Some((term, name));
            }
        }
        let now = Instant::now();
        let without = now - self.last_led;
        self.leaderless_at_most = self.leaderless_at_most.max(without);
        self.seen = leading.as_ref().map(|(_, name)| name.clone());
        let Some((term, name)) = leading else { return };
        match &mut self.leader {
            Some((leader, known)) if *leader == name && (*known == 0 || *known == term) => *known = term,
            // What stood still and woke up is no takeover.
            Some((_, known)) if term < *known => return,
            _ => {
                let (at_ms, leaderless_ms) = ((now - self.begun).as_millis() as u64, without.as_millis() as u64);
                self.takeovers.push(Takeover { leader: name.clone(), at_ms, leaderless_ms });
                self.leader = Some((name, term));
            }
        }
        self.last_led = now;
    }
}
