//! The deployer's metrics. Names follow Canal's where Canal has the same meaning (`canal_instance_traffic_delay`, …).
//!
//! Must not hold anything that a decision is taken by.

use crate::metrics::{Metric, Registry};

/// Handles to one pipeline's numbers.
#[derive(Debug, Clone)]
pub struct Meters {
    /// Now minus the commit time of the last acknowledged transaction, ms; 0 when the stream is idle.
    pub delay_ms: Metric,
    /// Transactions read, captured or not.
    pub transactions: Metric,
    /// Rows produced.
    pub rows: Metric,
    /// Records produced.
    pub records: Metric,
    /// Bytes of values produced.
    pub record_bytes: Metric,
    /// Bytes of binlog read.
    pub binlog_bytes: Metric,
    /// Events passed over that are of no known type or hold nothing.
    pub events_skipped: Metric,
    /// Age of the checkpoint while something waits to be written to it, ms; else 0.
    pub checkpoint_age_ms: Metric,
    /// Checkpoints written.
    pub checkpoints: Metric,
    /// Transactions committed to the log.
    pub commits: Metric,
    /// Rewinds to the last acknowledged transaction.
    pub rewinds: Metric,
    /// Times this process took the lead.
    pub takeovers: Metric,
    /// 1 while leading.
    pub leading: Metric,
    /// The term led with; 0 while standing by.
    pub term: Metric,
    /// The epoch.
    pub epoch: Metric,
    /// Bytes decoded or produced and not acknowledged.
    pub in_flight_bytes: Metric,
    /// The most bytes that were in flight at once in the running stream.
    pub in_flight_peak_bytes: Metric,
    /// 1 while nothing moves although there is work.
    pub stalled: Metric,
    /// Rows too large for a record.
    pub rows_too_large: Metric,
    /// Captured tables that were dropped.
    pub tables_dropped: Metric,
    /// Captured tables whose rows are held.
    pub tables_held: Metric,
    /// Repairs begun and not finished.
    pub pending_repairs: Metric,
    /// XA groups that are prepared and neither committed nor rolled back.
    pub xa_prepared: Metric,
    /// XA groups that were read again at their COMMIT.
    pub xa_read_again: Metric,
    /// XA groups that wait and whose bytes the source has purged.
    pub xa_unreadable: Metric,
    /// 0 normal, 1 documents are written directly, 2 Kafka catches up.
    pub fallback: Metric,
    /// Times documents were begun to be written directly.
    pub fallback_runs: Metric,
    /// Sinks whose consumer group has no member.
    pub sinks_unindexed: Metric,
    /// Rows read again by repairs.
    pub repaired_rows: Metric,
    /// Epochs begun because another server or another history answered.
    pub failovers: Metric,
}

impl Meters {
    /// Registers them under the pipeline's label.
    pub fn new(registry: &Registry, pipeline: &str) -> Self {
        let labels = [("pipeline", pipeline)];
        let counter = |name, help| registry.counter(name, help, &labels);
        let gauge = |name, help| registry.gauge(name, help, &labels);
        Self {
            delay_ms: gauge(
                "towpath_instance_traffic_delay_ms",
                "Now minus the commit time of the last transaction that Kafka acknowledged, in milliseconds",
            ),
            transactions: counter("towpath_transactions_total", "Transactions read from the binlog"),
            rows: counter("towpath_rows_total", "Rows produced to Kafka"),
            records: counter("towpath_records_total", "Records produced to Kafka"),
            record_bytes: counter("towpath_record_bytes_total", "Bytes of record values produced to Kafka"),
            binlog_bytes: counter("towpath_received_binlog_bytes_total", "Bytes of binlog events received"),
            events_skipped: counter(
                "towpath_skipped_events_total",
                "Binlog events passed over: of an unknown type flagged ignorable, or padding",
            ),
            checkpoint_age_ms: gauge(
                "towpath_checkpoint_age_ms",
                "Milliseconds since the last checkpoint, while something waits to be written to it",
            ),
            checkpoints: counter("towpath_checkpoints_total", "Checkpoints written to ZooKeeper"),
            commits: counter("towpath_commits_total", "Kafka transactions committed"),
            rewinds: counter("towpath_rewinds_total", "Rewinds to the last acknowledged transaction"),
            takeovers: counter("towpath_takeovers_total", "Times this process took the lead"),
            leading: gauge("towpath_leading", "1 while this process leads the pipeline"),
            term: gauge("towpath_term", "The term this process leads with, 0 while it does not lead"),
            epoch: gauge("towpath_epoch", "The epoch that versions are written under"),
            in_flight_bytes: gauge("towpath_in_flight_bytes", "Bytes decoded or produced and not yet acknowledged"),
            in_flight_peak_bytes: gauge(
                "towpath_in_flight_peak_bytes",
                "The most bytes decoded or produced and not yet acknowledged, since the binlog was last connected to",
            ),
            stalled: gauge("towpath_stalled", "1 while nothing moves although there is work"),
            rows_too_large: counter("towpath_rows_too_large_total", "Rows that exceed the largest record"),
            tables_dropped: counter("towpath_tables_dropped_total", "Captured tables dropped on the source"),
            fallback: gauge(
                "towpath_fallback",
                "0: through Kafka; 1: documents are written directly; 2: through Kafka again, which catches up",
            ),
            fallback_runs: counter("towpath_fallback_runs_total", "Times documents were begun to be written directly"),
            sinks_unindexed: gauge(
                "towpath_sinks_unindexed",
                "Sinks whose consumer group has no member, as a leader that can reach their clusters sees it",
            ),
            repaired_rows: counter("towpath_repaired_rows_total", "Keys whose rows were read again by repairs"),
            failovers: counter(
                "towpath_failovers_total",
                "Epochs begun because another server, or another history of the same one, answered",
            ),
            tables_held: gauge("towpath_tables_held", "Captured tables whose rows are held (`towpath schema show`)"),
            pending_repairs: gauge("towpath_pending_repairs", "Repairs begun and not finished"),
            xa_prepared: gauge("towpath_xa_prepared", "XA groups prepared, and neither committed nor rolled back"),
            xa_read_again: counter("towpath_xa_read_again_total", "XA groups read again at their COMMIT"),
            xa_unreadable: gauge("towpath_xa_unreadable", "XA groups that wait although the source has purged them"),
        }
    }
}
