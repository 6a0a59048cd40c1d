//! What a sink shows of itself: its state with a cause, and its metrics. Decides nothing.

use std::collections::BTreeMap;

use crate::cause::Stop;
use crate::metrics::{Metric, Registry};

/// What a sink is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkState {
    /// Joining its group, creating its index.
    Starting,
    /// Indexing, or waiting for records.
    Running,
    /// Waiting for something outside to get better; goes on by itself. The cause is named.
    Retrying(Stop),
    /// Stopped for a cause that needs a person. Its offsets stay where they are.
    Stopped(Stop),
    /// Drained after a request to stop.
    Drained,
}

/// One sink as seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkStatus {
    /// What it is doing.
    pub state: SinkState,
    /// Partitions it owns now.
    pub partitions: Vec<u32>,
    /// Commit time of the newest change that Elasticsearch has answered for, in milliseconds; 0 before the first.
    pub indexed_commit_ms: u64,
    /// Commit time of the oldest change that is read but not final, if any.
    pub waiting_commit_ms: Option<u64>,
}

impl SinkStatus {
    /// The status before anything happened.
    pub fn starting() -> Self {
        Self { state: SinkState::Starting, partitions: Vec::new(), indexed_commit_ms: 0, waiting_commit_ms: None }
    }

    /// Lag in milliseconds as users feel it: how old the oldest change is that is not indexed yet; 0 when none waits.
    pub fn lag_ms(&self, now_ms: u64) -> u64 {
        self.waiting_commit_ms.map_or(0, |commit| now_ms.saturating_sub(commit))
    }
}

/// All sinks of an adapter, by name.
pub type AdapterStatus = BTreeMap<String, SinkStatus>;

/// The metrics of one sink.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    /// 0 starting, 1 running, 2 retrying, 3 stopped, 4 drained.
    pub state: Metric,
    /// See [`SinkStatus::lag_ms`].
    pub lag_ms: Metric,
    /// See [`SinkStatus::indexed_commit_ms`].
    pub indexed_commit_ms: Metric,
    /// Records read.
    pub records: Metric,
    /// Row changes read.
    pub rows: Metric,
    /// Operations by final outcome.
    pub applied: Metric,
    /// Operations by final outcome.
    pub superseded: Metric,
    /// Operations by final outcome.
    pub folded: Metric,
    /// Operations by final outcome.
    pub dead_letters: Metric,
    /// Item and request attempts that are to be repeated.
    pub retries: Metric,
    /// Bulk requests sent.
    pub bulks: Metric,
    /// Operations in bulk requests sent.
    pub bulk_operations: Metric,
    /// Bytes of sources in bulk requests sent.
    pub bulk_bytes: Metric,
    /// Bytes held in memory.
    pub buffered_bytes: Metric,
    /// Hot INSERTs that met a cold version.
    pub moved_back: Metric,
    /// Records of a deposed leader that were dropped.
    pub fenced: Metric,
    /// Dates that exist in no calendar, written as null.
    pub zero_dates: Metric,
}

impl SinkMetrics {
    /// Registers the metrics of one sink.
    pub fn register(registry: &Registry, pipeline: &str, sink: &str) -> Self {
        let labels = [("pipeline", pipeline), ("sink", sink)];
        let counter = |name, help| registry.counter(name, help, &labels);
        let gauge = |name, help| registry.gauge(name, help, &labels);
        let outcome = |outcome| {
            let labels = [("pipeline", pipeline), ("sink", sink), ("outcome", outcome)];
            registry.counter("towpath_sink_operations_total", "Operations by their final outcome", &labels)
        };
        Self {
            state: gauge("towpath_sink_state", "0 starting, 1 running, 2 retrying, 3 stopped, 4 drained"),
            lag_ms: gauge("towpath_sink_lag_ms", "Age of the oldest change that is not indexed yet, milliseconds"),
            indexed_commit_ms: gauge("towpath_sink_indexed_commit_ms", "Commit time of the newest indexed change"),
            records: counter("towpath_sink_records_total", "Records read"),
            rows: counter("towpath_sink_rows_total", "Row changes read"),
            applied: outcome("applied"),
            superseded: outcome("superseded"),
            folded: outcome("folded"),
            dead_letters: outcome("dead_letter"),
            retries: counter("towpath_sink_retries_total", "Operations sent again"),
            bulks: counter("towpath_sink_bulks_total", "Bulk requests sent"),
            bulk_operations: counter("towpath_sink_bulk_operations_total", "Operations in bulk requests sent"),
            bulk_bytes: counter("towpath_sink_bulk_bytes_total", "Bytes of sources in bulk requests sent"),
            buffered_bytes: gauge("towpath_sink_buffered_bytes", "Bytes held in memory"),
            moved_back: counter("towpath_sink_moved_back_total", "Hot INSERTs that met a cold version"),
            fenced: counter("towpath_sink_fenced_total", "Records of a deposed leader that were dropped"),
            zero_dates: counter("towpath_sink_zero_dates_total", "Dates of no calendar, written as null"),
        }
    }
}
