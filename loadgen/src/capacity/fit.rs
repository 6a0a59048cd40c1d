//! What a part costs: CPU seconds a second as a constant plus so much a unit of what it is given; and, where it answers
//! queries, what it costs that they come one by one.

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
        Self { sounds_on, units: units(report), seconds, processes }
    }

    /// Cores that were busy in all.
    pub fn busy(&self) -> f64 {
        self.processes.iter().map(|used| used.cpu_s).sum::<f64>() / self.seconds
    }
}

/// CPU of one part, in cores.
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
    /// For queries beside that, the more the more of them come: each has to wake threads, until they overlap.
    pub single: f64,
}

/// What parts cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Costs {
    /// By the part's name: `mysql`, `kafka`, `deployer`, `adapter`, `es-hot`, `es-full`, `es-remind`.
    pub parts: BTreeMap<String, PartCost>,
    /// So many queries a second bring half of [`PartCost::single`]; 0: none of it was told apart.
    pub half: f64,
}

impl Costs {
    /// Cores of a part under a load.
    pub fn cores(&self, cost: &PartCost, transactions: f64, changes: f64, queries: f64) -> f64 {
        let alone = cost.idle + cost.transaction * transactions + cost.change * changes;
        alone + self.answering(cost, queries)
    }

    /// Cores of a part for queries alone.
    pub fn answering(&self, cost: &PartCost, queries: f64) -> f64 {
        cost.query * queries + cost.single * single(queries, self.half)
    }
}

/// How much of [`PartCost::single`] these queries a second bring, from 0 to 1.
fn single(queries: f64, half: f64) -> f64 {
    if queries > 0.0 && half > 0.0 { queries / (queries + half) } else { 0.0 }
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

/// Where [`Costs::half`] is looked for, in queries a second.
const HALVES: [f64; 9] = [0.0, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1_600.0, 3_200.0];
/// With fewer samples it is taken for 0: noise would make it anything.
const LEAST_SAMPLES: usize = 6;

/// Fits every part by least squares with costs that are not negative, and one [`Costs::half`] for all of them: the one
/// that leaves the smallest error. What was spent on compiling is left out, since it ends.
pub fn fit_samples(samples: &[Sample]) -> Costs {
    let halves = if samples.len() < LEAST_SAMPLES { &HALVES[..1] } else { &HALVES[..] };
    let fits = halves.iter().map(|half| fit_at(samples, *half));
    fits.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(costs, _)| costs).unwrap_or_default()
}

/// The fit with this [`Costs::half`], and its error.
fn fit_at(samples: &[Sample], half: f64) -> (Costs, f64) {
    let mut parts: BTreeMap<String, Vec<([f64; 4], f64)>> = BTreeMap::new();
    for sample in samples {
        for used in &sample.processes {
            let part = used.name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-').to_owned();
            let units = sample.units;
            let work = if by_transaction(&part) { units.transactions } else { units.changes };
            let asked = queries(&part, sample.sounds_on.as_deref(), units);
            let row = [1.0, work, asked, single(asked, half)];
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
    (Costs { parts, half }, sum)
}

/// Cores that all parts together keep busy.
pub fn busy(costs: &Costs, sounds_on: Option<&str>, units: Units) -> f64 {
    let of_part = |(part, cost): (&String, &PartCost)| {
        costs.cores(cost, units.transactions, units.changes, queries(part, sounds_on, units))
    };
    costs.parts.iter().map(of_part).sum()
}

fn cost(part: &str, [idle, work, query, single]: [f64; 4]) -> PartCost {
    let mut cost = PartCost { idle, query, single, ..PartCost::default() };
    if by_transaction(part) {
        cost.transaction = work;
    } else {
        cost.change = work;
    }
    cost
}

/// Least squares over the columns that turn out positive: of all sets of columns the one with the smallest error whose
/// solution has no negative number. Four columns make fifteen sets. Gives the error (the sum of squares) too.
fn non_negative(rows: &[([f64; 4], f64)]) -> ([f64; 4], f64) {
    let mut best = ([0.0; 4], f64::INFINITY);
    for set in 1_u8..16 {
        let columns: Vec<usize> = (0..4).filter(|column| set & (1 << column) != 0).collect();
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

fn dot(row: &[f64; 4], factors: &[f64; 4]) -> f64 {
    row.iter().zip(factors).map(|(a, b)| a * b).sum()
}

/// The normal equations of some columns, by elimination; none if they cannot be told apart.
fn least_squares(rows: &[([f64; 4], f64)], columns: &[usize]) -> Option<[f64; 4]> {
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
    let mut solved = [0.0; 4];
    columns.iter().enumerate().for_each(|(i, column)| solved[*column] = matrix[i][size] / matrix[i][i]);
    Some(solved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_costs_are_found_again() {
        let rows: Vec<([f64; 4], f64)> = [(10.0, 5.0), (50.0, 5.0), (20.0, 80.0), (90.0, 40.0)]
            .map(|(changes, queries)| ([1.0, changes, queries, 0.0], 0.2 + 0.003 * changes + 0.001 * queries))
            .into();
        let ([idle, change, query, _], _) = non_negative(&rows);
        assert!((idle - 0.2).abs() < 1e-6 && (change - 0.003).abs() < 1e-6 && (query - 0.001).abs() < 1e-6);
    }

    #[test]
    fn noise_never_makes_a_cost_negative_and_one_run_gives_one_cost() {
        let falling = [([1.0, 10.0, 0.0, 0.0], 0.5), ([1.0, 90.0, 0.0, 0.0], 0.4)];
        let ([idle, change, ..], _) = non_negative(&falling);
        assert!((idle - 0.45).abs() < 0.01 && change == 0.0);
        let (one, _) = non_negative(&[([1.0, 10.0, 0.0, 0.0], 0.5)]);
        assert_eq!(one.iter().filter(|cost| **cost > 0.0).count(), 1);
    }

    /// 0.4 cores idle, 0.2 ms a query, and up to 0.3 cores because they come one by one: half of it at 200 a second.
    #[test]
    fn what_single_queries_cost_is_told_from_what_all_do() {
        let sample = |queries: f64| {
            let cpu_s = 10.0 * (0.4 + 0.0002 * queries + 0.3 * queries / (queries + 200.0));
            let units = Units { polls: queries, ..Units::default() };
            let processes = vec![Used { name: "es-remind".to_owned(), cpu_s, compile_s: 0.0, peak_rss_mb: 1.0 }];
            Sample { sounds_on: Some("remind".to_owned()), units, seconds: 10.0, processes }
        };
        let low = [100.0, 300.0, 600.0, 1_000.0, 1_500.0, 2_000.0].map(sample);
        let costs = fit_samples(&low);
        assert_eq!(costs.half, 200.0);
        let predicted = busy(&costs, Some("remind"), Units { polls: 5_000.0, ..Units::default() });
        assert!((predicted - 1.6885).abs() < 0.001, "{predicted}: {costs:?}");
        assert_eq!(fit_samples(&low[..5]).half, 0.0, "too few to tell");
    }
}
