//! Since when a condition holds, and when that is told. Pure: time comes in as milliseconds.
//!
//! A condition that stops something is told at once. Any other is told after it has held for a while, and resolved
//! after it has stayed away for a while, so that what comes and goes is one alarm and not a hundred.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalogue::Definition;

/// What one alarm is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Subject {
    /// The pipeline.
    pub pipeline: String,
    /// `deployer`, `adapter` or `sink`.
    pub part: &'static str,
    /// The sink; empty for other parts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sink: String,
}

/// What holds at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which alarm.
    pub alarm: Definition,
    /// Of what.
    pub subject: Subject,
    /// What is wrong and where, for a person.
    pub detail: String,
    /// It will not pass by itself.
    pub at_once: bool,
}

/// An alarm that is, or was, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What holds, as it was last seen.
    pub condition: Condition,
    /// Since when, ms since 1970.
    pub since_ms: u64,
    /// When it was last seen, if it has passed, ms since 1970.
    pub ended_ms: Option<u64>,
}

/// The name of an alarm and its subject: at most one alarm of each is told at a time.
pub type Key = (&'static str, Subject);

impl Condition {
    /// What tells it from others.
    pub fn key(&self) -> Key {
        (self.alarm.name, self.subject.clone())
    }
}

struct Seen {
    alarm: Alarm,
    told: bool,
    last_ms: u64,
}

/// The alarms of a process.
pub struct Alarms {
    after_ms: u64,
    seen: BTreeMap<Key, Seen>,
}

impl Alarms {
    /// `after_ms`: for how long a condition must hold, or stay away, before that is told.
    pub fn new(after_ms: u64) -> Self {
        Self { after_ms, seen: BTreeMap::new() }
    }

    /// Takes what holds now; gives what is to be told: alarms that began, and alarms that have passed.
    pub fn step(&mut self, now_ms: u64, conditions: Vec<Condition>) -> Vec<Alarm> {
        let mut told = Vec::new();
        for condition in conditions {
            let seen = self.seen.entry(condition.key()).or_insert_with(|| Seen {
                alarm: Alarm { condition: condition.clone(), since_ms: now_ms, ended_ms: None },
                told: false,
                last_ms: now_ms,
            });
            seen.alarm.condition = condition;
            seen.last_ms = now_ms;
            let lasted = now_ms.saturating_sub(seen.alarm.since_ms) >= self.after_ms;
            if !seen.told && (seen.alarm.condition.at_once || lasted) {
                seen.told = true;
                told.push(seen.alarm.clone());
            }
        }
        self.seen.retain(|_, seen| {
            let gone = seen.last_ms < now_ms;
            if gone && !seen.told {
                return false;
            }
            let passed = gone && now_ms.saturating_sub(seen.last_ms) >= self.after_ms;
            if passed {
                told.push(Alarm { ended_ms: Some(seen.last_ms), ..seen.alarm.clone() });
            }
            !passed
        });
        told
    }

    /// What was told and has not passed.
    pub fn firing(&self) -> Vec<Alarm> {
        self.seen.values().filter(|seen| seen.told).map(|seen| seen.alarm.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::catalogue::LAGGING;

    fn condition(at_once: bool) -> Condition {
        let subject = Subject { pipeline: "orders".into(), part: "sink", sink: "hot".into() };
        Condition { alarm: LAGGING, subject, detail: "61 s behind".into(), at_once }
    }

    #[test]
    fn what_passes_by_itself_is_told_when_it_lasts_and_resolved_when_it_stays_away() {
        let mut alarms = Alarms::new(30);
        assert!(alarms.step(100, vec![condition(false)]).is_empty());
        assert!(alarms.step(129, vec![condition(false)]).is_empty());
        let told = alarms.step(130, vec![condition(false)]);
        assert_eq!((told.len(), told[0].since_ms, told[0].ended_ms), (1, 100, None));
        assert!(alarms.step(140, vec![condition(false)]).is_empty(), "told once");
        // Away for a moment, and back: still the same alarm.
        assert!(alarms.step(150, vec![]).is_empty());
        assert!(alarms.step(160, vec![condition(false)]).is_empty());
        assert!(alarms.step(189, vec![]).is_empty());
        assert_eq!(alarms.firing().len(), 1);
        let told = alarms.step(190, vec![]);
        assert_eq!((told.len(), told[0].since_ms, told[0].ended_ms), (1, 100, Some(160)));
        assert!(alarms.firing().is_empty());
    }

    #[test]
    fn a_moment_is_no_alarm_and_a_stop_is_one_at_once() {
        let mut alarms = Alarms::new(30);
        assert!(alarms.step(100, vec![condition(false)]).is_empty());
        assert!(alarms.step(110, vec![]).is_empty());
        // It begins anew: the first moment does not count.
        assert!(alarms.step(135, vec![condition(false)]).is_empty());
        assert!(alarms.step(136, vec![]).is_empty());
        let told = alarms.step(200, vec![condition(true)]);
        assert_eq!((told.len(), told[0].since_ms), (1, 200));
    }
}
