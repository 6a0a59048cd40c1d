//! The model against what was measured: fitted at the low rates of searches, does it predict their maxima?
//!
//! On one machine that all parts share, the maximum is the rate at which they keep its cores busy as far as they can
//! be: see [`FULL`].

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::fit::{Costs, Sample, busy, fit_samples};

/// A rate that was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tried {
    /// What the profile's rates were multiplied by.
    pub factor: f64,
    /// Whether the levels held and the backlog did not grow.
    pub held: bool,
    /// The generator kept its schedule.
    pub valid: bool,
    /// Tried after the search, for its costs: services had compiled their code by then.
    pub after: bool,
    /// What it gave and cost.
    pub sample: Sample,
}

/// A search, as `find-max --json` tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Search {
    /// What was raised.
    pub of: String,
    /// The highest factor that held.
    pub factor: Option<f64>,
    /// Nothing broke up to what the generator sends.
    pub open_ended: bool,
    /// Cores that all parts share.
    pub cores: usize,
    /// What was tried.
    pub trials: Vec<Tried>,
}

/// A maximum, predicted and measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// What was raised.
    pub of: String,
    /// The highest factor that the model was fitted on.
    pub fitted_up_to: f64,
    /// The factor at which the model has the cores full.
    pub predicted: f64,
    /// Between the highest factor that held and the lowest that broke (their geometric mean).
    pub measured: f64,
    /// Of the measured one.
    pub deviation: f64,
}

/// The share of the cores that is busy when levels break. What comes at random waits long before nothing is idle; that
/// this much is the limit was seen at three maxima on 2 cores (0.82 to 0.90 at what held, 0.94 to 0.97 just above).
const FULL: f64 = 0.93;

/// No factor is looked for beyond: costs that do not grow fill nothing.
const MOST: f64 = 1e6;

/// The maximum lies at least so far outside the fitted range.
const OUTSIDE: f64 = 2.0;

/// Fits one model on the low trials of all searches, and predicts each maximum.
///
/// # Errors
/// A search found no maximum, or tried less than two rates far enough below it.
pub fn check(searches: &[Search]) -> Result<(Vec<Checked>, Costs)> {
    let mut fitted = Vec::new();
    let mut ranges = Vec::new();
    for search in searches {
        let measured = measured(search)?;
        let low = |tried: &&Tried| tried.valid && tried.after && tried.factor * OUTSIDE <= measured;
        let mut low: Vec<&Tried> = search.trials.iter().filter(low).collect();
        low.sort_by(|a, b| a.factor.total_cmp(&b.factor));
        let [first, .., last] = low[..] else {
            let (of, found) = (&search.of, low.len());
            bail!("the search of {of} has {found} valid trials after it, at up to half of its maximum: repeat it");
        };
        fitted.extend(low.iter().map(|tried| tried.sample.clone()));
        ranges.push((search, measured, first, last));
    }
    let costs = fit_samples(&fitted);
    let checked = ranges.into_iter().map(|(search, measured, first, last)| {
        let predicted = predict(&costs, search.cores as f64, first, last);
        let deviation = predicted / measured - 1.0;
        Checked { of: search.of.clone(), fitted_up_to: last.factor, predicted, measured, deviation }
    });
    Ok((checked.collect(), costs))
}

fn measured(search: &Search) -> Result<f64> {
    let of = &search.of;
    let held = search.factor.ok_or_else(|| anyhow::anyhow!("the search of {of} found nothing that held"))?;
    ensure!(!search.open_ended, "the search of {of} has no maximum: nothing broke");
    let broke = search.trials.iter().filter(|tried| !tried.held && tried.factor > held).map(|tried| tried.factor);
    let broke = broke.fold(f64::INFINITY, f64::min);
    ensure!(broke.is_finite(), "the search of {of} has no maximum: nothing broke");
    Ok((held * broke).sqrt())
}

/// The factor at which the cores are full. What is given is a straight line through two trials.
fn predict(costs: &Costs, cores: f64, low: &Tried, high: &Tried) -> f64 {
    let at = |factor: f64| {
        let units = low.sample.units.along(low.factor, (high.factor, high.sample.units), factor);
        busy(costs, low.sample.sounds_on.as_deref(), units)
    };
    let (mut below, mut above) = (0.0, high.factor);
    while at(above) < cores * FULL && above < MOST {
        (below, above) = (above, above * 2.0);
    }
    for _ in 0..40 {
        let middle = f64::midpoint(below, above);
        if at(middle) < cores * FULL { below = middle } else { above = middle }
    }
    above
}

#[cfg(test)]
mod tests {
    use super::super::fit::Units;
    use super::*;
    use crate::processes::Used;

    /// Two cores; a query costs 1 ms at the cluster, a change 2 ms at the deployer.
    fn search(of: &str, held: f64, broke: f64) -> Search {
        let tried = |factor: f64| {
            let units = |writes: f64, queries: f64| Units {
                transactions: 10.0 * writes,
                changes: 20.0 * writes,
                polls: 30.0 * queries,
                lists: 0.0,
            };
            let units = if of == "writes" { units(factor, 1.0) } else { units(1.0, factor) };
            let used = |name: &str, cores: f64| {
                let (cpu_s, compile_s) = (cores * 10.0 + 1.0, 1.0);
                Used { name: name.to_owned(), cpu_s, compile_s, peak_rss_mb: 1.0 }
            };
            let processes =
                vec![used("deployer", 0.1 + 0.002 * units.changes), used("es-remind", 0.2 + 0.001 * units.polls)];
            let sample = Sample { sounds_on: Some("remind".to_owned()), units, seconds: 10.0, processes };
            Tried { factor, held: factor <= held, valid: true, after: factor * 2.0 <= held, sample }
        };
        let trials = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, held, broke].map(tried).into();
        Search { of: of.to_owned(), factor: Some(held), open_ended: false, cores: 2, trials }
    }

    #[test]
    fn a_maximum_is_predicted_from_rates_far_below_it() {
        // Of 1.86 cores writes have 1.86 - 0.3 - 0.03 of polls = 1.53, at 0.04 each: 38.25 times. Queries: 1.52 at
        // 0.03.
        let (checked, _) = check(&[search("writes", 37.0, 40.0), search("queries", 49.0, 52.0)]).unwrap();
        for (one, predicted, up_to) in [(&checked[0], 38.25, 16.0), (&checked[1], 50.67, 16.0)] {
            assert!((one.predicted - predicted).abs() < 0.05 && one.deviation.abs() < 0.02, "{one:?}");
            assert!(one.fitted_up_to == up_to && one.measured >= 2.0 * up_to, "{one:?}");
        }
    }

    #[test]
    fn what_cannot_be_checked_says_why() {
        let told = |change: fn(&mut Search)| {
            let mut search = search("writes", 33.0, 36.0);
            change(&mut search);
            check(&[search]).unwrap_err().to_string()
        };
        assert!(told(|search| search.factor = None).contains("nothing that held"));
        assert!(told(|search| search.open_ended = true).contains("nothing broke"));
        assert!(told(|search| search.trials.retain(|tried| !tried.after)).contains("0 valid trials after it"));
    }
}
