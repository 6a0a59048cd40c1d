//! Whether two sets of measurements differ by more than measurements of one set do.

use serde::Serialize;

/// With a single run on both sides nothing is known of noise: this share is assumed.
const ASSUMED: f64 = 0.25;
/// Repeated runs that agree by luck do not make noise smaller than this.
const LEAST: f64 = 0.05;

/// From one set to the other; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// The median before.
    pub before: f64,
    /// The median after.
    pub after: f64,
    /// (after − before) ∕ before.
    pub share: f64,
    /// The largest deviation from its own median within either set, as a share; what is assumed, without repeats.
    pub noise: f64,
    /// More, by more than noise.
    pub worse: bool,
    /// Less, by more than noise.
    pub better: bool,
}

/// None if a side has no value, or there is nothing to be a share of.
pub fn compare(before: &[f64], after: &[f64]) -> Option<Change> {
    let (old, new) = (median(before)?, median(after)?);
    if old <= 0.0 {
        return None;
    }
    let spread = |values: &[f64], middle: f64| {
        values.iter().map(|value| ((value - middle) / middle.max(1e-9)).abs()).fold(0.0, f64::max)
    };
    let repeated = before.len() > 1 || after.len() > 1;
    let noise = if repeated { spread(before, old).max(spread(after, new)).max(LEAST) } else { ASSUMED };
    let share = (new - old) / old;
    Some(Change { before: old, after: new, share, noise, worse: share > noise, better: share < -noise })
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some((upper + lower) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_only_beyond_the_noise() {
        let noisy = compare(&[100.0, 130.0, 80.0], &[120.0, 118.0]).unwrap();
        assert!(!noisy.worse && !noisy.better && (noisy.noise - 0.3).abs() < 1e-9);
        let clear = compare(&[100.0, 102.0, 98.0], &[120.0, 118.0]).unwrap();
        assert!(clear.worse && (clear.share - 0.19).abs() < 1e-9);
        assert!(compare(&[100.0, 101.0], &[50.0]).unwrap().better);
        assert!(!compare(&[100.0], &[120.0]).unwrap().worse, "one run each: a quarter may be noise");
        assert_eq!(compare(&[], &[1.0]), None);
    }
}
