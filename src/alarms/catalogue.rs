//! Which alarms there are: every named cause, and conditions that have no cause of their own.
//!
//! One place, so that webhook, metrics and docs/alarms.md say the same.

use std::fmt::Write as _;

use serde::Serialize;
use towpath_engine::cause::Cause;

/// How soon a person is needed. The words are those of Prometheus' world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Now: documents are not fresh, or soon will not be.
    Critical,
    /// Today: something needs a decision, and the pipeline goes on meanwhile.
    Warning,
    /// Nothing is to be done.
    Info,
}

impl Severity {
    /// The word in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One alarm as the catalogue knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// The stable name, in kebab case.
    pub name: &'static str,
    /// How soon a person is needed.
    pub severity: Severity,
    /// What holds.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// There is work, and Kafka acknowledges nothing.
pub const STALLED: Definition = Definition {
    name: "stalled",
    severity: Severity::Critical,
    meaning: "There is work and nothing is acknowledged, for longer than `kafka.stalled_after`.",
    remedy: "look at Kafka first (brokers, disk, min.insync.replicas), then at the deployer's log",
};

/// Documents are older than `alarms.lag`.
pub const LAGGING: Definition = Definition {
    name: "lagging",
    severity: Severity::Warning,
    meaning: "The oldest change that is not carried or indexed yet is older than `alarms.lag`.",
    remedy: "see which part lags: `/readyz` names it; more adapters, or a cluster that answers faster",
};

/// A repair was begun and is not finished.
pub const REPAIRS_PENDING: Definition = Definition {
    name: "repairs-pending",
    severity: Severity::Warning,
    meaning: "A repair after an epoch's rise is not finished: some documents may be stale.",
    remedy: "nothing while `towpath_repaired_rows_total` rises; else see the deployer's log",
};

/// Rows went to the dead letters.
pub const DEAD_LETTERS: Definition = Definition {
    name: "dead-letters",
    severity: Severity::Warning,
    meaning: "Rows that the index can never take went to the dead letters in the last five minutes.",
    remedy: "read them from the dead-letter topic, correct the mapping, send them again",
};

/// The COMMIT of an XA group will stop the pipeline.
pub const XA_UNREADABLE: Definition = Definition {
    name: "xa-unreadable",
    severity: Severity::Warning,
    meaning: "A prepared XA group is purged from the source: its COMMIT will stop the pipeline (`xa-purged`).",
    remedy: "roll the group back if nobody needs it; else be ready to repair the tables it changed",
};

/// What is sent on request, to see that a webhook works.
pub const TEST: Definition = Definition {
    name: "test",
    severity: Severity::Info,
    meaning: "Sent by `towpath alarms test`.",
    remedy: "nothing: the webhook works",
};

/// The conditions that have no cause of their own.
pub const CONDITIONS: &[Definition] = &[STALLED, LAGGING, REPAIRS_PENDING, DEAD_LETTERS, XA_UNREADABLE, TEST];

/// A cause as an alarm.
pub fn of(cause: Cause) -> Definition {
    let (name, meaning, remedy) = (cause.name(), cause.meaning(), cause.remedy());
    Definition { name, severity: severity(cause), meaning, remedy }
}

/// What stops rows or documents is critical: an outage too, once it has lasted.
fn severity(cause: Cause) -> Severity {
    match cause {
        Cause::Deposed => Severity::Info,
        Cause::SourceBehind | Cause::RowTooLarge => Severity::Warning,
        _ => Severity::Critical,
    }
}

/// All alarms, conditions first.
pub fn all() -> Vec<Definition> {
    CONDITIONS.iter().copied().chain(Cause::ALL.iter().map(|cause| of(*cause))).collect()
}

/// docs/alarms.md.
pub fn document() -> String {
    let mut out = String::from(
        "# Alarms\n\n\
         A condition that a person must hear of is an *alarm*. It is one line in the log when it begins and one when \
         it has passed,\n\
         the metric `towpath_alarm` while it holds, an entry under `alarms` in `/readyz`, and a notice to the webhook \
         if one is configured\n\
         ([configuration.md](configuration.md#alarms)). `towpath alarms list` prints this table, `towpath alarms test \
         --config FILE` sends a\n\
         notice that says so.\n\n\
         A cause that stops something is told at once. What may pass by itself (an outage, a lag) is told when it has \
         lasted `alarms.after`,\n\
         and is resolved when it has stayed away for as long.\n\n\
         A notice is a POST of JSON in the form of Alertmanager's webhooks, version 4, so that what takes those takes \
         these. What could not\n\
         be delivered is sent again, with pauses from one second to a minute, until it is taken; of each alarm only \
         the newest state is kept. A\n\
         process that ends for a cause waits up to five seconds for its last notice.\n\n\
         `deploy/prometheus/alerts.yml` holds rules for those who alert by Prometheus instead; they also see what a \
         process cannot tell of\n\
         itself: that it is gone, or that nobody leads.\n\n\
         This file is made from the catalogue in `src/alarms/catalogue.rs` by `TOWPATH_WRITE_DOCS=1 cargo test --test \
         docs`; a test fails\n\
         when the two differ.\n\n\
         | alarm | severity | meaning | what to do |\n|---|---|---|---|\n",
    );
    for Definition { name, severity, meaning, remedy } in all() {
        // A `String` takes every write.
        let _ = writeln!(out, "| `{name}` | {} | {meaning} | {remedy} |", severity.name());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_everything_says_what_to_do() {
        let all = all();
        let names: std::collections::BTreeSet<&str> = all.iter().map(|alarm| alarm.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|alarm| !alarm.meaning.is_empty() && !alarm.remedy.is_empty()));
    }
}
