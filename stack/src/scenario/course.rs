//! The course of a run on real processes, noted while it lasts, as the picture that `towpath-picture` draws.

use std::time::Duration;
use tokio::time::Instant;
use towpath_picture::{Bar, Curve, Diagram, Mark, Run};
use towpath_scenarios::scenario::Scenario;

use super::outcome::Outcome;

/// What was noted. Times are since the beginning of the run.
#[derive(Debug, Default)]
pub struct Course {
    leaders: Vec<Bar>,
    faults: Vec<Bar>,
    marks: Vec<Mark>,
    /// Transactions written.
    written: Vec<(f64, f64)>,
}

/// Names a fault whose end is still to be noted.
#[derive(Debug, Clone, Copy)]
pub struct FaultId(usize);

impl Course {
    /// From time to time: who leads, and how many transactions are written.
    pub fn look(&mut self, now: Duration, leader: Option<&str>, transactions: u64) {
        let now = now.as_secs_f64();
        self.written.push((now, transactions as f64));
        let Some(leader) = leader else { return };
        match self.leaders.last_mut() {
            // A gap shorter than a second is a look that found nobody at home.
            Some(bar) if bar.host == leader && now - bar.to < 1.0 => bar.to = now,
            _ => self.leaders.push(Bar { what: String::new(), host: leader.to_owned(), from: now, to: now }),
        }
    }

    /// A fault begins on a lane.
    pub fn begins(&mut self, now: Duration, fault: &str, host: String) -> FaultId {
        let from = now.as_secs_f64();
        self.faults.push(Bar { what: fault.to_owned(), host, from, to: from });
        FaultId(self.faults.len() - 1)
    }

    /// It ends.
    pub fn ends(&mut self, now: Duration, FaultId(index): FaultId) {
        if let Some(bar) = self.faults.get_mut(index) {
            bar.to = now.as_secs_f64();
        }
    }

    /// A process has ended by itself.
    pub fn ended(&mut self, now: Duration, host: &str, what: String) {
        self.marks.push(Mark { what, host: host.to_owned(), second: now.as_secs_f64(), warning: true });
    }

    /// The page. `found` are orders of the sound: their commit, and the milliseconds until a search showed them.
    pub fn page(self, scenario: &Scenario, outcome: &Outcome, begun: Instant, found: &[(Instant, u64)]) -> String {
        let second = |at: &Instant| at.saturating_duration_since(begun).as_secs_f64();
        let mut waits: Vec<(f64, f64)> = found.iter().map(|(at, ms)| (second(at), *ms as f64 / 1000.0)).collect();
        waits.sort_by(|a, b| a.0.total_cmp(&b.0));
        let run = Run {
            title: format!("{}, seed {}, on real processes", outcome.scenario, outcome.seed),
            objection: outcome.objection(),
            summary: format!(
                "{} transactions, {} row changes, {} documents compared: {} lost, {} stale, {} doubled; {} takeovers.",
                outcome.transactions,
                outcome.changes,
                outcome.documents,
                outcome.lost,
                outcome.stale,
                outcome.doubled,
                outcome.takeovers.len()
            ),
            lanes: scenario.topology.hosts(),
            seconds: begun.elapsed().as_secs_f64(),
            faults: self.faults,
            leaders: self.leaders,
            marks: self.marks,
            diagrams: vec![
                Diagram {
                    axis: "transactions".to_owned(),
                    caption: "committed at the source".to_owned(),
                    curves: vec![Curve { colour: "grey", points: false, values: self.written }],
                },
                Diagram {
                    axis: "seconds".to_owned(),
                    caption: "from an order's commit to the first search that shows it, by the commit".to_owned(),
                    curves: vec![Curve { colour: "purple", points: true, values: waits }],
                },
            ],
            said: outcome.text(),
        };
        run.page()
    }
}
