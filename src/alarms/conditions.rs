//! What holds at this moment, from what the parts say of themselves and from the metrics that have no other voice.

use std::collections::BTreeMap;
use std::time::Duration;

use towpath_engine::cause::Cause;
use towpath_engine::metrics::{Family, Registry};

use super::catalogue::{self, DEAD_LETTERS, Definition, LAGGING, REPAIRS_PENDING, STALLED, XA_UNREADABLE};
use super::state::{Condition, Subject};
use crate::admin::board::{PipelineReadiness, Readiness, Reason};
use crate::admin::exposition::labels;

/// For how long a dead letter is an alarm.
const LETTERS_FOR_MS: u64 = 5 * 60 * 1000;

/// The metrics at one moment.
type Families = BTreeMap<&'static str, Family>;

/// Looks; remembers only what it needs to see that a counter rose.
pub struct Conditions {
    lag: Duration,
    registry: Registry,
    /// Of each sink: the dead letters that were counted, and when they last rose.
    letters: BTreeMap<Subject, (i64, Option<u64>)>,
}

impl Conditions {
    /// `lag`: above it a part is `lagging`.
    pub fn new(lag: Duration, registry: Registry) -> Self {
        Self { lag, registry, letters: BTreeMap::new() }
    }

    /// What holds now.
    pub fn look(&mut self, readiness: &Readiness, now_ms: u64) -> Vec<Condition> {
        let mut found = Vec::new();
        let families = self.registry.snapshot();
        for pipeline in &readiness.pipelines {
            self.deployer(pipeline, &families, &mut found);
            self.sinks(pipeline, &families, now_ms, &mut found);
            let subject = subject(pipeline, "adapter", "");
            found.extend(pipeline.reasons.iter().filter_map(|reason| caused(reason, &subject)));
        }
        found
    }

    fn deployer(&self, pipeline: &PipelineReadiness, families: &Families, found: &mut Vec<Condition>) {
        let Some(deployer) = &pipeline.deployer else { return };
        let subject = subject(pipeline, "deployer", "");
        found.extend(deployer.reasons.iter().filter_map(|reason| caused(reason, &subject)));
        if deployer.stalled_since_ms.is_some() {
            // It has lasted `stalled_after` already.
            found.push(Condition { at_once: true, ..passing(STALLED, &subject, STALLED.meaning.to_owned()) });
        }
        self.lagging(deployer.lag_ms, &subject, found);
        if deployer.pending_repairs > 0 {
            let detail = format!("{} repairs are not finished", deployer.pending_repairs);
            found.push(passing(REPAIRS_PENDING, &subject, detail));
        }
        let unreadable = metric(families, "towpath_xa_unreadable", &[("pipeline", &pipeline.pipeline)]);
        if unreadable > 0 {
            let detail = format!("{unreadable} prepared XA groups are purged from the source");
            found.push(passing(XA_UNREADABLE, &subject, detail));
        }
    }

    fn sinks(&mut self, pipeline: &PipelineReadiness, families: &Families, now_ms: u64, found: &mut Vec<Condition>) {
        for sink in &pipeline.sinks {
            let subject = subject(pipeline, "sink", &sink.sink);
            found.extend(sink.reasons.iter().filter_map(|reason| caused(reason, &subject)));
            self.lagging(sink.lag_ms, &subject, found);
            let of =
                [("pipeline", pipeline.pipeline.as_str()), ("sink", sink.sink.as_str()), ("outcome", "dead_letter")];
            let count = metric(families, "towpath_sink_operations_total", &of);
            let (counted, rose_ms) = self.letters.entry(subject.clone()).or_insert((0, None));
            if count > *counted {
                (*counted, *rose_ms) = (count, Some(now_ms));
            }
            if rose_ms.is_some_and(|rose| now_ms.saturating_sub(rose) < LETTERS_FOR_MS) {
                let detail = format!("{count} rows went to the dead letters since the start");
                found.push(Condition { at_once: true, ..passing(DEAD_LETTERS, &subject, detail) });
            }
        }
    }

    fn lagging(&self, lag_ms: u64, subject: &Subject, found: &mut Vec<Condition>) {
        if u128::from(lag_ms) > self.lag.as_millis() {
            found.push(passing(LAGGING, subject, format!("{} s behind", lag_ms / 1000)));
        }
    }
}

fn metric(families: &Families, name: &str, of: &[(&str, &str)]) -> i64 {
    let series = families.get(name).and_then(|family| family.series.get(&labels(of)));
    series.map_or(0, |metric| metric.get())
}

fn subject(pipeline: &PipelineReadiness, part: &'static str, sink: &str) -> Subject {
    Subject { pipeline: pipeline.pipeline.clone(), part, sink: sink.to_owned() }
}

fn passing(alarm: Definition, subject: &Subject, detail: String) -> Condition {
    Condition { alarm, subject: subject.clone(), detail, at_once: false }
}

/// A cause as a condition. One whose exit status is that of an outage passes by itself; `deposed` is no trouble.
fn caused(reason: &Reason, subject: &Subject) -> Option<Condition> {
    let cause = Cause::ALL.iter().copied().find(|cause| cause.name() == reason.cause)?;
    if cause == Cause::Deposed {
        return None;
    }
    let at_once = cause.exit_code() != Cause::SourceUnavailable.exit_code();
    Some(Condition { at_once, ..passing(catalogue::of(cause), subject, reason.detail.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::board::Board;
    use tokio::sync::watch;
    use towpath_engine::adapter::{SinkState, SinkStatus};
    use towpath_engine::cause::Stop;
    use towpath_engine::deployer::{DeployerStatus, Role};

    fn names(found: &[Condition]) -> Vec<(&str, &str, bool)> {
        found.iter().map(|one| (one.alarm.name, one.subject.part, one.at_once)).collect()
    }

    #[test]
    fn causes_stalls_lags_and_dead_letters_are_conditions() {
        let registry = Registry::default();
        let mut conditions = Conditions::new(Duration::from_secs(60), registry.clone());
        let board = Board::default();
        let leader = DeployerStatus { role: Role::Leader, ..DeployerStatus::default() };
        let (deployer, _) = watch::channel(leader);
        let running = SinkStatus { state: SinkState::Running, ..SinkStatus::starting() };
        let (adapter, _) = watch::channel(BTreeMap::from([("hot".to_owned(), running)]));
        board.add("orders", Some(deployer.subscribe()), Some(adapter.subscribe()));
        assert_eq!(conditions.look(&board.readiness(), 1), []);

        deployer.send_modify(|status| {
            status.stalled_since_ms = Some(5);
            status.lag_ms = 60_001;
            status.pending_repairs = 2;
            status.held = vec![Stop::new(Cause::SchemaChanged, "orders.t")];
        });
        adapter.send_modify(|sinks| {
            if let Some(sink) = sinks.get_mut("hot") {
                sink.state = SinkState::Retrying(Stop::new(Cause::SinkUnavailable, "no answer"));
            }
        });
        let of = [("pipeline", "orders"), ("sink", "hot"), ("outcome", "dead_letter")];
        let letters = registry.counter("towpath_sink_operations_total", "", &of);
        letters.add(3);
        let found = conditions.look(&board.readiness(), 1000);
        let expected = [
            ("schema-changed", "deployer", true),
            ("stalled", "deployer", true),
            ("lagging", "deployer", false),
            ("repairs-pending", "deployer", false),
            ("sink-unavailable", "sink", false),
            ("dead-letters", "sink", true),
        ];
        assert_eq!(names(&found), expected);
        // Old letters are no news.
        deployer.send_modify(|status| *status = DeployerStatus { role: Role::Leader, ..DeployerStatus::default() });
        let later = conditions.look(&board.readiness(), 1000 + LETTERS_FOR_MS);
        assert_eq!(names(&later), [("sink-unavailable", "sink", false)]);
        letters.add(1);
        assert_eq!(conditions.look(&board.readiness(), 2000 + LETTERS_FOR_MS).len(), 2);
    }
}
