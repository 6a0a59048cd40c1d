//! The conditions of all pipelines of the process in one place: for `/readyz`, for the metrics, and for the log's one
//! line per change. Decides nothing.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;
use towpath_engine::adapter::{AdapterStatus, SinkState};
use towpath_engine::cause::Stop;
use towpath_engine::deployer::{DeployerStatus, Role};
use towpath_engine::metrics::Kind;

use super::exposition::{head, labels, series};

/// All pipelines of the process.
#[derive(Default)]
pub struct Board {
    pipelines: Mutex<Vec<Entry>>,
}

struct Entry {
    name: String,
    deployer: Option<watch::Receiver<DeployerStatus>>,
    adapter: Option<watch::Receiver<AdapterStatus>>,
    /// Why a part could not even be started, or ended: its name (`deployer`, `adapter`) and the cause.
    ended: Vec<(String, Stop)>,
}

/// Why something is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The cause's stable name.
    pub cause: &'static str,
    /// What is wrong and where.
    pub detail: String,
    /// What to do.
    pub remedy: &'static str,
}

impl From<&Stop> for Reason {
    fn from(stop: &Stop) -> Self {
        Self { cause: stop.cause.name(), detail: stop.detail.clone(), remedy: stop.cause.remedy() }
    }
}

/// `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether everything is.
    pub ready: bool,
    /// By pipeline.
    pub pipelines: Vec<PipelineReadiness>,
}

/// One pipeline in `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineReadiness {
    /// Its name.
    pub pipeline: String,
    /// Whether all of it that runs here is ready.
    pub ready: bool,
    /// The deployer, if it runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployer: Option<DeployerReadiness>,
    /// The sinks, if the adapter runs here.
    pub sinks: Vec<SinkReadiness>,
    /// Why a part ended as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// A deployer in `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct DeployerReadiness {
    /// Whether it leads and streams, or stands by.
    pub ready: bool,
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: i64,
    /// Its epoch.
    pub epoch: u16,
    /// The checkpoint.
    pub checkpoint: String,
    /// Milliseconds behind.
    pub lag_ms: u64,
    /// Since when it is stalled, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled_since_ms: Option<u64>,
    /// Repairs that wait.
    pub pending_repairs: usize,
    /// Why it is not ready.
    pub reasons: Vec<Reason>,
}

/// A sink in `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct SinkReadiness {
    /// Its name.
    pub sink: String,
    /// Whether it indexes, or waits for records.
    pub ready: bool,
    /// `starting`, `running`, `retrying`, `stopped`, `drained`.
    pub state: &'static str,
    /// The partitions it owns here.
    pub partitions: Vec<u32>,
    /// Milliseconds behind.
    pub lag_ms: u64,
    /// Why it is not ready.
    pub reasons: Vec<Reason>,
}

impl Board {
    /// Adds a pipeline with what of it runs in this process.
    pub fn add(
        &self,
        name: &str,
        deployer: Option<watch::Receiver<DeployerStatus>>,
        adapter: Option<watch::Receiver<AdapterStatus>>,
    ) {
        self.lock().push(Entry { name: name.to_owned(), deployer, adapter, ended: Vec::new() });
    }

    /// Notes that a part of a pipeline ended for a cause.
    pub fn ended(&self, pipeline: &str, part: &str, stop: &Stop) {
        if let Some(entry) = self.lock().iter_mut().find(|entry| entry.name == pipeline) {
            entry.ended.push((part.to_owned(), stop.clone()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `/readyz` says now.
    pub fn readiness(&self) -> Readiness {
        let pipelines: Vec<PipelineReadiness> = self.lock().iter().map(pipeline).collect();
        Readiness { ready: !pipelines.is_empty() && pipelines.iter().all(|pipeline| pipeline.ready), pipelines }
    }

    /// Readiness and causes as metrics.
    pub fn exposition(&self) -> String {
        let readiness = self.readiness();
        let mut out = String::new();
        head(&mut out, "towpath_ready", Kind::Gauge, "1 if this part of the pipeline does its work");
        for pipeline in &readiness.pipelines {
            let name = pipeline.pipeline.as_str();
            if let Some(deployer) = &pipeline.deployer {
                let labels = labels(&[("pipeline", name), ("part", "deployer")]);
                series(&mut out, "towpath_ready", &labels, u8::from(deployer.ready));
            }
            for sink in &pipeline.sinks {
                let labels = labels(&[("pipeline", name), ("part", "sink"), ("sink", &sink.sink)]);
                series(&mut out, "towpath_ready", &labels, u8::from(sink.ready));
            }
        }
        head(&mut out, "towpath_cause", Kind::Gauge, "1 while this cause stops or holds up this part of the pipeline");
        for pipeline in &readiness.pipelines {
            let name = pipeline.pipeline.as_str();
            let parts = pipeline.deployer.iter().map(|deployer| ("deployer", "", &deployer.reasons));
            let parts = parts.chain(pipeline.sinks.iter().map(|sink| ("sink", sink.sink.as_str(), &sink.reasons)));
            for (part, sink, reasons) in parts {
                let mut causes: Vec<&str> = reasons.iter().map(|reason| reason.cause).collect();
                causes.sort_unstable();
                causes.dedup();
                for cause in causes {
                    let labels = labels(&[("pipeline", name), ("part", part), ("sink", sink), ("cause", cause)]);
                    series(&mut out, "towpath_cause", &labels, 1);
                }
            }
        }
        out
    }
}

fn pipeline(entry: &Entry) -> PipelineReadiness {
    let ended =
        |part: &str| entry.ended.iter().filter(|(name, _)| name == part).map(|(_, stop)| Reason::from(stop)).collect();
    let deployer = entry.deployer.as_ref().map(|status| deployer(&status.borrow(), ended("deployer")));
    let sinks: Vec<SinkReadiness> = entry.adapter.as_ref().map_or_else(Vec::new, |status| sinks(&status.borrow()));
    let reasons: Vec<Reason> = ended("adapter");
    let ready = reasons.is_empty()
        && deployer.as_ref().is_none_or(|deployer| deployer.ready)
        && sinks.iter().all(|sink| sink.ready);
    PipelineReadiness { pipeline: entry.name.clone(), ready, deployer, sinks, reasons }
}

fn deployer(status: &DeployerStatus, ended: Vec<Reason>) -> DeployerReadiness {
    let mut reasons: Vec<Reason> = status.stop.iter().map(Reason::from).collect();
    reasons.extend(
        ended.into_iter().filter(|reason| status.stop.as_ref().is_none_or(|stop| stop.detail != reason.detail)),
    );
    reasons.extend(status.waiting.iter().map(|waiting| Reason::from(&waiting.stop)));
    reasons.extend(status.held.iter().map(Reason::from));
    reasons.extend(status.past_kafka().iter().map(Reason::from));
    DeployerReadiness {
        ready: status.ready() && reasons.is_empty(),
        role: status.role,
        term: status.term,
        epoch: status.epoch,
        checkpoint: status.checkpoint.clone(),
        lag_ms: status.lag_ms,
        stalled_since_ms: status.stalled_since_ms,
        pending_repairs: status.pending_repairs,
        reasons,
    }
}

fn sinks(status: &AdapterStatus) -> Vec<SinkReadiness> {
    let now = wall_ms();
    let sink = |(name, sink): (&String, &towpath_engine::adapter::SinkStatus)| {
        let (state, stop) = describe(&sink.state);
        SinkReadiness {
            sink: name.clone(),
            ready: matches!(sink.state, SinkState::Running),
            state,
            partitions: sink.partitions.clone(),
            lag_ms: sink.lag_ms(now),
            reasons: stop.map(Reason::from).into_iter().collect(),
        }
    };
    status.iter().map(sink).collect()
}

/// A sink's state in one word, and its cause.
pub fn describe(state: &SinkState) -> (&'static str, Option<&Stop>) {
    match state {
        SinkState::Starting => ("starting", None),
        SinkState::Running => ("running", None),
        SinkState::Retrying(stop) => ("retrying", Some(stop)),
        SinkState::Stopped(stop) => ("stopped", Some(stop)),
        SinkState::Drained => ("drained", None),
    }
}

/// Milliseconds since 1970, UTC.
pub fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use towpath_engine::adapter::SinkStatus;
    use towpath_engine::cause::Cause;

    fn sink(state: SinkState) -> SinkStatus {
        SinkStatus { state, ..SinkStatus::starting() }
    }

    #[test]
    fn one_stopped_sink_makes_the_process_unready_and_names_its_cause() {
        let board = Board::default();
        assert!(!board.readiness().ready, "a process without a pipeline does nothing");
        let leader = DeployerStatus { role: Role::Leader, ..DeployerStatus::default() };
        let (deployer, _) = watch::channel(leader);
        let running = BTreeMap::from([("hot".to_owned(), sink(SinkState::Running))]);
        let (adapter, _) = watch::channel(running);
        board.add("orders", Some(deployer.subscribe()), Some(adapter.subscribe()));
        assert!(board.readiness().ready);

        let stop = Stop::new(Cause::LogTruncated, "sink full: offset 7 is gone");
        adapter.send_modify(|sinks| {
            sinks.insert("full".to_owned(), sink(SinkState::Stopped(stop)));
        });
        let report = board.readiness();
        assert!(!report.ready && report.pipelines[0].deployer.as_ref().unwrap().ready);
        let reason = &report.pipelines[0].sinks[0].reasons[0];
        assert_eq!((reason.cause, reason.detail.as_str()), ("log-truncated", "sink full: offset 7 is gone"));
        let metrics = board.exposition();
        assert!(metrics.contains("towpath_ready{pipeline=\"orders\",part=\"deployer\"} 1"), "{metrics}");
        assert!(metrics.contains("part=\"sink\",sink=\"full\",cause=\"log-truncated\"} 1"), "{metrics}");
    }

    #[test]
    fn a_deployer_that_ended_or_waits_is_not_ready() {
        let board = Board::default();
        let (deployer, _) = watch::channel(DeployerStatus { role: Role::Standby, ..DeployerStatus::default() });
        board.add("orders", Some(deployer.subscribe()), None);
        assert!(board.readiness().ready);
        board.ended("orders", "deployer", &Stop::new(Cause::Purged, "gone"));
        let report = board.readiness();
        assert!(!report.ready);
        assert_eq!(report.pipelines[0].deployer.as_ref().unwrap().reasons[0].cause, "purged");
    }
}
