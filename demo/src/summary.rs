//! What a run came to: a table for people, one JSON object for programs, and whether it passed.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use towpath_scenarios::oracle::documents::Verdict;

/// Freshness of the sound's index: from the commit in MySQL to the first search that shows the order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// The median, milliseconds.
    pub p50: u64,
    /// The 99th percentile, milliseconds.
    pub p99: u64,
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
    /// Whether nothing differs and there was something to compare.
    pub fn passed(&self) -> bool {
        self.lost == 0 && self.stale == 0 && self.doubled == 0 && self.documents > 0 && self.orders > 0
    }

    /// From what the oracle says and what the run measured.
    pub fn new(verdict: Verdict, (orders, rows): (u64, u64), freshness_ms: Freshness, rows_per_s: u64) -> Self {
        Self {
            orders,
            rows,
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

    /// The table, and what differs below it.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let Freshness { p50, p99 } = self.freshness_ms;
        for (name, value) in [
            ("orders", self.orders.to_string()),
            ("rows", format!("{} changes committed", self.rows)),
            ("documents", format!("{} compared with their rows", self.documents)),
            ("lost", self.lost.to_string()),
            ("stale", self.stale.to_string()),
            ("doubled", self.doubled.to_string()),
            ("freshness", format!("p50 {p50} ms, p99 {p99} ms, from commit to search")),
            ("rows per second", self.rows_per_s.to_string()),
            ("takeovers", self.takeovers.to_string()),
        ] {
            table.add_row([name.to_owned(), value]);
        }
        if let Some(column) = table.column_mut(0) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = table.to_string();
        for difference in &self.differences {
            text.push_str("\n  differs: ");
            text.push_str(difference);
        }
        let verdict = if self.passed() {
            "Every document equals its row."
        } else if self.documents == 0 {
            "FAILED: there is no document to compare."
        } else {
            "FAILED: documents differ from their rows."
        };
        format!("{text}\n{verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(documents: u64, stale: u64) -> Summary {
        let verdict = Verdict { documents, stale, ..Verdict::default() };
        Summary::new(verdict, (10, 20), Freshness { p50: 1, p99: 2 }, 5)
    }

    #[test]
    fn one_difference_fails_and_so_does_nothing_at_all() {
        assert!(summary(10, 0).passed());
        assert!(!summary(10, 1).passed());
        assert!(!summary(0, 0).passed());
        assert!(summary(0, 0).table().contains("no document"));
    }

    #[test]
    fn json_has_the_documented_keys() {
        let json = serde_json::to_value(summary(10, 0)).unwrap();
        for key in ["orders", "rows", "documents", "lost", "stale", "doubled", "rows_per_s", "takeovers"] {
            assert!(json[key].is_u64(), "{key}");
        }
        assert_eq!(json["freshness_ms"], serde_json::json!({ "p50": 1, "p99": 2 }));
    }
}
