//! What a scenario on real processes came to, for people and for machines.

use comfy_table::{Table, presets};
use serde::Serialize;
use towpath_scenarios::scenario::Scenario;
use towpath_scenarios::summary::Freshness;

use super::watch::Takeover;

/// A fault that happened, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// As the scenario names it.
    pub fault: String,
    /// When it begins, milliseconds since the start; none if it waits for a call.
    pub at_ms: Option<u64>,
    /// What it met, or why it was skipped.
    pub what: String,
}

/// An expectation and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Expectation {
    /// As the scenario names it.
    pub name: &'static str,
    /// What the scenario says.
    pub expected: String,
    /// What the run showed.
    pub measured: String,
    /// Whether it holds.
    pub met: bool,
    /// Whether a clock decides it: then it is told, and fails nothing unless that is asked for.
    pub of_clocks: bool,
}

/// Freshness of the sound's index by the moment of the commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Phases {
    /// Before the first fault.
    pub before: Freshness,
    /// From the first fault's begin to the last one's end.
    pub during: Freshness,
    /// After that.
    pub after: Freshness,
}

/// What a process cost in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Cores kept busy, on average.
    pub cores: f64,
    /// The most memory resident at a look, megabytes.
    pub rss_mb_most: u64,
}

/// What a process of the pipeline cost, by the phases of [`Phases`]; none where it was not seen to run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessCost {
    /// Its name.
    pub process: String,
    /// Before the first fault.
    pub before: Option<Cost>,
    /// While faults went on.
    pub during: Option<Cost>,
    /// After the last.
    pub after: Option<Cost>,
}

/// The whole.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The scenario.
    pub scenario: String,
    /// The workload's seed.
    pub seed: u64,
    /// Transactions written.
    pub transactions: u64,
    /// Row changes written.
    pub changes: u64,
    /// Documents compared.
    pub documents: u64,
    /// Documents that are not there.
    pub lost: u64,
    /// Documents that differ from their rows.
    pub stale: u64,
    /// Documents without a row.
    pub doubled: u64,
    /// Faults that began.
    pub faults_fired: Vec<Told>,
    /// Faults that real processes cannot show, each with the reason.
    pub faults_skipped: Vec<Told>,
    /// Changes of the lead.
    pub takeovers: Vec<Takeover>,
    /// From the last fault's end until all that was committed before it is found; none if nothing was missing to look
    /// for, or it was not found.
    pub catch_up_ms: Option<u64>,
    /// See [`Phases`].
    pub freshness_ms: Phases,
    /// What the pipeline's processes cost.
    pub processes: Vec<ProcessCost>,
    /// What the scenario expects.
    pub expectations: Vec<Expectation>,
    /// Processes that ended by themselves.
    pub ended: Vec<String>,
    /// The first differences.
    pub differences: Vec<String>,
    /// The verdict.
    pub passed: bool,
}

impl Outcome {
    /// Decides: nothing lost, stale or doubled, something compared, something failed, and what is expected holds.
    #[must_use]
    pub fn judged(mut self, scenario: &Scenario, clocks: bool) -> Self {
        let stops = scenario.expect.stops_with.is_some();
        let right = self.lost == 0 && self.stale == 0 && self.doubled == 0 && self.documents > 0;
        let fired = scenario.faults.is_empty() || !self.faults_fired.is_empty();
        let met = self.expectations.iter().all(|expectation| expectation.met || expectation.of_clocks && !clocks);
        self.passed = (right || stops) && fired && met;
        self
    }

    /// Why the run failed, in a sentence; none if it passed.
    pub fn objection(&self) -> Option<String> {
        if self.passed {
            return None;
        }
        let missed = self.expectations.iter().filter(|expectation| !expectation.met);
        let missed: Vec<String> =
            missed.map(|it| format!("{}: expected {}, measured {}", it.name, it.expected, it.measured)).collect();
        let counts = format!("{} lost, {} stale, {} doubled", self.lost, self.stale, self.doubled);
        Some([vec![counts], missed].concat().join("; "))
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let mut row = |name: &str, text: String| {
            table.add_row([name.to_owned(), text]);
        };
        row("written", format!("{} transactions, {} row changes", self.transactions, self.changes));
        row("documents", format!("{} compared with their rows", self.documents));
        row("lost, stale, doubled", format!("{}, {}, {}", self.lost, self.stale, self.doubled));
        for takeover in &self.takeovers {
            let (at, without) = (takeover.at_ms as f64 / 1000.0, takeover.leaderless_ms as f64 / 1000.0);
            row("takeover", format!("{} at {at:.1} s, nobody led for {without:.1} s", takeover.leader));
        }
        let text = |freshness: Freshness| match (freshness.p50, freshness.p99) {
            (Some(p50), Some(p99)) => format!("{p50} / {p99}"),
            _ => "–".to_owned(),
        };
        let Phases { before, during, after } = self.freshness_ms;
        let phases = format!("{} before, {} during, {} after", text(before), text(during), text(after));
        row("freshness p50 / p99 ms", phases);
        row("caught up", self.catch_up_ms.map_or("–".to_owned(), |ms| format!("after {:.1} s", ms as f64 / 1000.0)));
        for ProcessCost { process, before, during, after } in &self.processes {
            let text = |cost: &Option<Cost>| match cost {
                Some(Cost { cores, rss_mb_most }) => format!("{cores:.3} / {rss_mb_most}"),
                None => "–".to_owned(),
            };
            let phases = format!("{} before, {} during, {} after", text(before), text(during), text(after));
            row(&format!("{process}, cores / MB"), phases);
        }
        for Told { fault, what, .. } in &self.faults_fired {
            row("fault", format!("{fault}: {what}"));
        }
        for Told { fault, what, .. } in &self.faults_skipped {
            row("fault skipped", format!("{fault}: {what}"));
        }
        for Expectation { name, expected, measured, met, .. } in &self.expectations {
            let verdict = if *met { "holds" } else { "MISSED" };
            row(name, format!("{verdict}: expected {expected}, measured {measured}"));
        }
        let mut text = table.to_string();
        for line in self.ended.iter().map(|name| format!("ended by itself: {name}")) {
            text.push_str(&format!("\n{line}"));
        }
        for difference in &self.differences {
            text.push_str(&format!("\ndiffers: {difference}"));
        }
        text.push_str(if self.passed { "\nPASSED" } else { "\nFAILED" });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_scenarios::scenario::parse;

    fn outcome(stale: u64, fired: bool) -> Outcome {
        let told = Told { fault: "kafka-down".to_owned(), at_ms: None, what: String::new() };
        Outcome {
            scenario: "x".to_owned(),
            seed: 1,
            transactions: 1,
            changes: 1,
            documents: 1,
            lost: 0,
            stale,
            doubled: 0,
            faults_fired: if fired { vec![told] } else { Vec::new() },
            faults_skipped: Vec::new(),
            takeovers: Vec::new(),
            catch_up_ms: None,
            freshness_ms: Phases::default(),
            processes: Vec::new(),
            expectations: Vec::new(),
            ended: Vec::new(),
            differences: Vec::new(),
            passed: false,
        }
    }

    #[test]
    fn a_difference_fails_and_so_does_a_run_without_its_faults() {
        let text = "learn = \"x\"\n[[fault]]\nkind = \"kafka-down\"\nat = \"5s\"\nfor = \"9s\"";
        let scenario = parse("x", text).unwrap();
        assert!(outcome(0, true).judged(&scenario, false).passed);
        assert!(!outcome(1, true).judged(&scenario, false).passed);
        assert!(!outcome(0, false).judged(&scenario, false).passed);
    }

    #[test]
    fn a_clock_is_told_and_decides_only_when_asked() {
        let scenario = parse("x", "learn = \"x\"").unwrap();
        let mut late = outcome(0, false);
        late.expectations.push(Expectation {
            name: "caught_up_within",
            expected: "1s".to_owned(),
            measured: "2s".to_owned(),
            met: false,
            of_clocks: true,
        });
        assert!(late.clone().judged(&scenario, false).passed);
        assert!(!late.judged(&scenario, true).passed);
    }
}
