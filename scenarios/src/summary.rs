//! What a run of the demo came to, embedded or on real services: the same figures, the same verdict.
//!
//! Must not print: who runs it knows where to.

use serde::Serialize;

use crate::oracle::documents::Verdict;
use crate::workload::Counts;

/// Freshness of the sound's index: from an order's commit in MySQL to the first search that shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// The median, milliseconds; none if no order was looked for and found.
    pub p50: Option<u64>,
    /// The 99th percentile, milliseconds; none as above.
    pub p99: Option<u64>,
}

impl Freshness {
    /// Of these waits, milliseconds.
    pub fn of(mut waits: Vec<u64>) -> Self {
        waits.sort_unstable();
        Self { p50: nearest_rank(&waits, 50), p99: nearest_rank(&waits, 99) }
    }
}

/// A percentile of values that rise, by the nearest rank: so many of a hundred are not longer. `None` of none.
pub fn nearest_rank(rising: &[u64], percent: usize) -> Option<u64> {
    let place = (rising.len() * percent).div_ceil(100);
    rising.get(place.saturating_sub(1)).copied()
}

/// The summary.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Orders written.
    pub orders: u64,
    /// Row changes committed, of all tables.
    pub rows: u64,
    /// Documents compared, in all sinks.
    pub documents: u64,
    /// See [`Verdict::lost`].
    pub lost: u64,
    /// See [`Verdict::stale`].
    pub stale: u64,
    /// See [`Verdict::doubled`].
    pub doubled: u64,
    /// See [`Freshness`].
    pub freshness_ms: Freshness,
    /// Row changes a second through the whole pipeline, while it had more to do than it could.
    pub rows_per_s: u64,
    /// How often another deployer took the lead over.
    pub takeovers: u64,
    /// The first differences.
    pub differences: Vec<String>,
}

impl Summary {
    /// From what was planned, what the oracle says and what the run measured; no takeovers.
    pub fn new(verdict: Verdict, counts: Counts, freshness_ms: Freshness, rows_per_s: u64) -> Self {
        Self {
            orders: counts.orders,
            rows: counts.changes,
            documents: verdict.documents,
            lost: verdict.lost,
            stale: verdict.stale,
            doubled: verdict.doubled,
            freshness_ms,
            rows_per_s,
            takeovers: 0,
            differences: verdict.samples,
        }
    }

    /// Whether nothing differs and there was something to compare.
    pub fn passed(&self) -> bool {
        self.lost == 0 && self.stale == 0 && self.doubled == 0 && self.documents > 0 && self.orders > 0
    }

    /// The figures for people: name and text.
    pub fn figures(&self) -> Vec<[String; 2]> {
        let freshness = match self.freshness_ms {
            Freshness { p50: Some(p50), p99: Some(p99) } => {
                format!("p50 {p50} ms, p99 {p99} ms, from commit to search")
            }
            _ => "not measured: too few orders to look for one".to_owned(),
        };
        let figure = |name: &str, text: String| [name.to_owned(), text];
        vec![
            figure("orders", self.orders.to_string()),
            figure("rows", format!("{} changes committed", self.rows)),
            figure("documents", format!("{} compared with their rows", self.documents)),
            figure("lost", self.lost.to_string()),
            figure("stale", self.stale.to_string()),
            figure("doubled", self.doubled.to_string()),
            figure("freshness", freshness),
            figure("rows per second", self.rows_per_s.to_string()),
            figure("takeovers", self.takeovers.to_string()),
        ]
    }

    /// The differences and the verdict, a line each.
    pub fn verdict(&self) -> String {
        let mut text: String = self.differences.iter().map(|difference| format!("differs: {difference}\n")).collect();
        text.push_str(if self.passed() {
            "Every document equals its row."
        } else if self.documents == 0 {
            "FAILED: there is no document to compare."
        } else {
            "FAILED: documents differ from their rows."
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(documents: u64, stale: u64) -> Summary {
        let verdict = Verdict { documents, stale, ..Verdict::default() };
        let counts = Counts { orders: 10, changes: 20, transactions: 15 };
        Summary::new(verdict, counts, Freshness { p50: Some(1), p99: Some(2) }, 5)
    }

    #[test]
    fn one_difference_fails_and_so_does_nothing_at_all() {
        assert!(summary(10, 0).passed() && summary(10, 0).verdict().contains("Every document"));
        assert!(!summary(10, 1).passed() && summary(10, 1).verdict().contains("FAILED"));
        assert!(!summary(0, 0).passed() && summary(0, 0).verdict().contains("no document"));
    }

    #[test]
    fn json_has_the_documented_keys() {
        let json = serde_json::to_value(summary(10, 0)).unwrap();
        for key in ["orders", "rows", "documents", "lost", "stale", "doubled", "rows_per_s", "takeovers"] {
            assert!(json[key].is_u64(), "{key}");
        }
        assert_eq!(json["freshness_ms"], serde_json::json!({ "p50": 1, "p99": 2 }));
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        assert_eq!(Freshness::of(Vec::new()), Freshness { p50: None, p99: None }, "nothing measured is not zero");
        assert_eq!(Freshness::of(vec![7]), Freshness { p50: Some(7), p99: Some(7) });
        assert_eq!(Freshness::of((1..=200).rev().collect()), Freshness { p50: Some(100), p99: Some(198) });
    }
}
