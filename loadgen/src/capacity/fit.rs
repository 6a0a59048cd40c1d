//! What a part costs: CPU seconds a second as a constant plus so much a unit of what it is given, on cores that are
//! busy; and how much dearer all of it is on idle ones.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::processes::Used;
use crate::report::Report;

/// What a run gave to its parts, a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Units {
    /// Transactions.
    pub transactions: f64,
    /// Row changes.
    pub changes: f64,
    /// Polls.
    pub polls: f64,
    /// Order lists.
    pub lists: f64,
}

impl Units {
    /// On the straight line through `(at, self)` and `(other_at, other)`, the point at `wanted`.
    pub fn along(self, at: f64, (other_at, other): (f64, Self), wanted: f64) -> Self {
        let along = |a: f64, b: f64| a + (b - a) * (wanted - at) / (other_at - at);
        Self {
            transactions: along(self.transactions, other.transactions),
            changes: along(self.changes, other.changes),
            polls: along(self.polls, other.polls),
            lists: along(self.lists, other.lists),
        }
    }
}

/// What a run gave, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The cluster that devices polled.
    pub sounds_on: Option<String>,
    /// A second.
    pub units: Units,
    /// How long the processes were watched, seconds.
    pub seconds: f64,
    /// Of the machine that all share.
    pub cores: usize,
    /// What each has used in that time.
    pub processes: Vec<Used>,
}

impl Sample {
    /// Of a run: of its steady part, where that was told apart.
    pub fn of(report: &Report) -> Self {
        if let Some(steady) = &report.steady {
            return steady.clone();
        }
        let seconds = report.seconds.len().max(1) as f64;
        let (sounds_on, processes) = (report.sounds_on.clone(), report.processes.clone());
        Self { sounds_on, units: units(report), seconds, cores: report.cores, processes }
    }

    /// Cores that were busy in all.
    pub fn busy(&self) -> f64 {
        self.processes.iter().map(|used| used.cpu_s).sum::<f64>() / self.seconds
    }

    /// The share of the cores that was idle.
    fn idle(&self) -> f64 {
        (1.0 - self.busy() / self.cores as f64).clamp(0.0, 1.0)
    }
}

/// CPU of one part, in cores, where all cores are busy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PartCost {
    /// While nothing comes.
    pub idle: f64,
    /// For one transaction a second.
    pub transaction: f64,
    /// For one row change a second.
    pub change: f64,
    /// For one query a second.
    pub query: f64,
}

impl PartCost {
    /// Cores under a load.
    pub fn cores(&self, transactions: f64, changes: f64, queries: f64) -> f64 {
        self.idle + self.transaction * transactions + self.change * changes + self.query * queries
    }
}

/// What parts cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Costs {
    /// By the part's name: `mysql`, `kafka`, `deployer`, `adapter`, `es-hot`, `es-full`, `es-remind`.
    pub parts: BTreeMap<String, PartCost>,
    /// How much dearer everything is while all cores are idle, as a share: threads have to be woken one by one for what
    /// busy ones find waiting.
    pub waking: f64,
}

impl Costs {
    /// What costs are multiplied by where this share of the cores is idle.
    pub fn dearer(&self, idle: f64) -> f64 {
        1.0 + self.waking * idle
    }
}

/// Which unit a part's cost depends on, beside queries for clusters.
fn by_transaction(part: &str) -> bool {
    matches!(part, "mysql" | "generator")
}

/// Queries a second that a part answers, or sends.
fn queries(part: &str, sounds_on: Option<&str>, units: Units) -> f64 {
    if part == "generator" {
        return units.polls + units.lists;
    }
    let Some(cluster) = part.strip_prefix("es-") else { return 0.0 };
    let polls = if sounds_on == Some(cluster) { units.polls } else { 0.0 };
    // Lists go to HOT in every shipped profile.
    polls + if cluster == "hot" { units.lists } else { 0.0 }
}

/// What a run gave, over all seconds in which its processes were watched.
pub fn units(report: &Report) -> Units {
    let load = &report.load;
    let mean = |count: u64| count as f64 / report.seconds.len().max(1) as f64;
    Units {
        transactions: mean(load.transactions),
        changes: mean(load.changes),
        polls: mean(load.polls),
        lists: mean(load.lists),
    }
}

/// The most that [`Costs::waking`] can be, and the steps in which it is looked for.
const MOST_WAKING: f64 = 4.0;
const WAKING_STEP: f64 = 0.05;
/// With fewer samples, it is taken for 0: noise would make it anything.
const LEAST_SAMPLES: usize = 4;

/// Fits every part by least squares with costs that are not negative, and one [`Costs::waking`] for all of them: the one
/// that leaves the smallest error. What was spent on compiling is left out, since it ends.
pub fn fit_samples(samples: &[Sample]) -> Costs {
    let steps = if samples.len() < LEAST_SAMPLES { 0 } else { (MOST_WAKING / WAKING_STEP).round() as u32 };
    let fits = (0..=steps).map(|step| fit_at(samples, f64::from(step) * WAKING_STEP));
    fits.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(costs, _)| costs).unwrap_or_default()
}

/// The fit with this [`Costs::waking`], and its error.
fn fit_at(samples: &[Sample], waking: f64) -> (Costs, f64) {
    let mut parts: BTreeMap<String, Vec<([f64; 3], f64)>> = BTreeMap::new();
    for sample in samples {
        let dearer = Costs { waking, ..Costs::default() }.dearer(sample.idle());
        for used in &sample.processes {
            let part = used.name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-').to_owned();
            let units = sample.units;
            let work = if by_transaction(&part) { units.transactions } else { units.changes };
            let row = [1.0, work, queries(&part, sample.sounds_on.as_deref(), units)].map(|unit| unit * dearer);
            parts.entry(part).or_default().push((row, (used.cpu_s - used.compile_s) / sample.seconds));
        }
    }
    let mut sum = 0.0;
    let parts = parts.into_iter().map(|(part, rows)| {
        let (solved, error) = non_negative(&rows);
        sum += error;
        let cost = cost(&part, solved);
        (part, cost)
    });
    let parts = parts.collect();
    (Costs { parts, waking }, sum)
}

/// Cores that all parts together keep busy, where no core is idle.
pub fn busy(costs: &Costs, sounds_on: Option<&str>, units: Units) -> f64 {
    let of_part = |(part, cost): (&String, &PartCost)| {
        cost.cores(units.transactions, units.changes, queries(part, sounds_on, units))
    };
    costs.parts.iter().map(of_part).sum()
}

fn cost(part: &str, [idle, work, query]: [f64; 3]) -> PartCost {
    let mut cost = PartCost { idle, query, ..PartCost::default() };
    if by_transaction(part) {
        cost.transaction = work;
    } else {
        cost.change = work;
    }
    cost
}

/// Least squares over the columns that turn out positive: of all sets of columns the one with the smallest error whose
/// solution has no negative number. Three columns make seven sets. Gives the error (the sum of squares) too.
fn non_negative(rows: &[([f64; 3], f64)]) -> ([f64; 3], f64) {
    let mut best = ([0.0; 3], f64::INFINITY);
    for set in 1_u8..8 {
        let columns: Vec<usize> = (0..3).filter(|column| set & (1 << column) != 0).collect();
        // One run cannot tell two costs apart.
        if columns.len() > rows.len() {
            continue;
        }
        let Some(solved) = least_squares(rows, &columns) else { continue };
        let error: f64 = rows.iter().map(|(row, cores)| (dot(row, &solved) - cores).powi(2)).sum();
        if solved.iter().all(|value| *value >= 0.0) && error < best.1 * 0.999 - 1e-12 {
            best = (solved, error);
        }
    }
    best
}

fn dot(row: &[f64; 3], factors: &[f64; 3]) -> f64 {
    row.iter().zip(factors).map(|(a, b)| a * b).sum()
}

/// The normal equations of some columns, by elimination; none if they cannot be told apart.
fn least_squares(rows: &[([f64; 3], f64)], columns: &[usize]) -> Option<[f64; 3]> {
    let size = columns.len();
    let mut matrix = vec![vec![0.0; size + 1]; size];
    for (i, a) in columns.iter().enumerate() {
        for (j, b) in columns.iter().enumerate() {
            matrix[i][j] = rows.iter().map(|(row, _)| row[*a] * row[*b]).sum();
        }
        matrix[i][size] = rows.iter().map(|(row, cores)| row[*a] * cores).sum();
    }
    for i in 0..size {
        let pivot = (i..size).max_by(|a, b| matrix[*a][i].abs().total_cmp(&matrix[*b][i].abs()))?;
        matrix.swap(i, pivot);
        if matrix[i][i].abs() < 1e-9 {
            return None;
        }
        for other in (0..size).filter(|other| *other != i) {
            let factor = matrix[other][i] / matrix[i][i];
            let row = matrix[i].clone();
            matrix[other].iter_mut().zip(&row).for_each(|(cell, value)| *cell -= factor * value);
        }
    }
    let mut solved = [0.0; 3];
    columns.iter().enumerate().for_each(|(i, column)| solved[*column] = matrix[i][size] / matrix[i][i]);
    Some(solved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_costs_are_found_again() {
        let rows: Vec<([f64; 3], f64)> = [(10.0, 5.0), (50.0, 5.0), (20.0, 80.0), (90.0, 40.0)]
            .map(|(changes, queries)| ([1.0, changes, queries], 0.2 + 0.003 * changes + 0.001 * queries))
            .into();
        let ([idle, change, query], _) = non_negative(&rows);
        assert!((idle - 0.2).abs() < 1e-6 && (change - 0.003).abs() < 1e-6 && (query - 0.001).abs() < 1e-6);
    }

    #[test]
    fn noise_never_makes_a_cost_negative_and_one_run_gives_one_cost() {
        let falling = [([1.0, 10.0, 0.0], 0.5), ([1.0, 90.0, 0.0], 0.4)];
        let ([idle, change, _], _) = non_negative(&falling);
        assert!((idle - 0.45).abs() < 0.01 && change == 0.0);
        let (one, _) = non_negative(&[([1.0, 10.0, 0.0], 0.5)]);
        assert_eq!(one.iter().filter(|cost| **cost > 0.0).count(), 1);
    }

    /// Two cores, of which more are busy the more is asked: 0.4 cores idle and 0.3 ms a query, 1.5 times dearer on idle
    /// cores.
    #[test]
    fn how_much_dearer_idle_cores_are_is_found_again() {
        let sample = |queries: f64| {
            let work = 0.4 + 0.0003 * queries;
            // busy = work * (1 + 1.5 * (1 - busy / 2))
            let busy = work * 2.5 / (1.0 + 1.5 * work / 2.0);
            let (cpu_s, compile_s) = (busy * 10.0, 0.0);
            let units = Units { polls: queries, ..Units::default() };
            let processes = vec![Used { name: "es-remind".to_owned(), cpu_s, compile_s, peak_rss_mb: 1.0 }];
            Sample { sounds_on: Some("remind".to_owned()), units, seconds: 10.0, cores: 2, processes }
        };
        let costs = fit_samples(&[100.0, 400.0, 900.0, 1_800.0].map(sample));
        let part = costs.parts["es-remind"];
        assert!((costs.waking - 1.5).abs() < 0.06, "{costs:?}");
        assert!((part.idle - 0.4).abs() < 0.02 && (part.query - 0.0003).abs() < 2e-5, "{costs:?}");
        assert_eq!(fit_samples(&[100.0, 900.0].map(sample)).waking, 0.0, "two samples cannot tell");
    }
}
