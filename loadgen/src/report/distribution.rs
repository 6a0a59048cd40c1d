//! A distribution as a few numbers, and as steps for a plot.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// 90 in 100 are at most this.
    pub p90: f64,
    /// 99 in 100.
    pub p99: f64,
    /// 999 in 1,000.
    pub p999: f64,
    /// 9,999 in 10,000.
    pub p9999: f64,
    /// The largest.
    pub max: f64,
    /// For a plot: (up to so many milliseconds, how many), five steps a doubling, empty ones left out.
    pub steps: Vec<(f64, u64)>,
}

/// Three decimals: microseconds.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Distribution {
    /// Of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |micros: f64| round(micros / 1000.0);
        let at = |quantile: f64| ms(histogram.value_at_quantile(quantile) as f64);
        Self {
            count: histogram.len(),
            mean: ms(histogram.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: ms(histogram.max() as f64),
            steps: steps(histogram),
        }
    }
}

fn steps(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let mut steps: Vec<(f64, u64)> = Vec::new();
    for recorded in histogram.iter_recorded() {
        let micros = recorded.value_iterated_to().max(1) as f64;
        let upper = round(2_f64.powf((micros.log2() * 5.0).ceil() / 5.0) / 1000.0);
        match steps.last_mut() {
            Some((last, count)) if *last == upper => *count += recorded.count_since_last_iteration(),
            _ => steps.push((upper, recorded.count_since_last_iteration())),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_steps_add_up() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 1_000_000, 3).unwrap();
        (1..=1000).for_each(|ms| histogram.record(ms * 100).unwrap());
        let found = Distribution::of(&histogram);
        assert_eq!(found.count, 1000);
        assert!((found.p50 - 50.0).abs() < 0.2 && (found.p99 - 99.0).abs() < 0.2 && (found.max - 100.0).abs() < 0.2);
        assert_eq!(found.steps.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        assert!(found.steps.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
