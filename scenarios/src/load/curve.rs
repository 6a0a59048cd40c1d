//! Arrival curves: how many a second at which moment, and the moments that follow from it.

use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use towpath_engine::env::Rng;

use super::unit;
use crate::scenario::Span;

/// One leg of [`Curve::Stages`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The rate at its end.
    pub to: f64,
    /// How long it takes to get there.
    pub over: Span,
}

/// A rate over time; rates are arrivals a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "curve", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Curve {
    /// Always the same.
    Constant {
        /// The rate.
        rate: f64,
    },
    /// A straight line over the whole length.
    Ramp {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// Straight lines, one after the other; the last rate stays.
    Stages {
        /// At the start.
        from: f64,
        /// The legs.
        stages: Vec<Stage>,
    },
    /// A base with one peak.
    Spike {
        /// Outside the peak.
        rate: f64,
        /// Within it.
        peak: f64,
        /// Its begin.
        at: Span,
        /// How long it lasts.
        lasts: Span,
    },
    /// A wave around a mean.
    Sine {
        /// The mean.
        mean: f64,
        /// How far it swings, at most the mean.
        swing: f64,
        /// The length of one wave.
        period: Span,
    },
    /// A recorded curve: a CSV file of lines `second,rate`, one for each second from 0, beside the profile.
    Replay {
        /// The file.
        file: String,
        /// What it holds, read by whoever reads the profile.
        #[serde(skip)]
        rates: Vec<f64>,
    },
}

impl Curve {
    /// The rate at a moment of a run of `length_us`, which matters to ramps alone.
    pub fn rate(&self, at_us: u64, length_us: u64) -> f64 {
        let second = at_us as f64 / 1e6;
        match self {
            Self::Constant { rate } => *rate,
            Self::Ramp { from, to } => from + (to - from) * at_us as f64 / length_us.max(1) as f64,
            Self::Stages { from, stages } => staged(*from, stages, second),
            Self::Spike { rate, peak, at, lasts } => {
                let (begin, end) = (at.millis() * 1000, (at.millis() + lasts.millis()) * 1000);
                if (begin..end).contains(&at_us) { *peak } else { *rate }
            }
            Self::Sine { mean, swing, period } => {
                mean + swing * (TAU * second * 1000.0 / period.millis().max(1) as f64).sin()
            }
            Self::Replay { rates, .. } => rates.get(second as usize).or(rates.last()).copied().unwrap_or(0.0),
        }
    }

    /// The highest rate within `length_us`.
    pub fn peak(&self, length_us: u64) -> f64 {
        (0..=1000).map(|step| self.rate(length_us / 1000 * step, length_us)).fold(0.0, f64::max)
    }

    /// Why it is no curve.
    pub fn fault(&self) -> Option<String> {
        let rates: Vec<f64> = match self {
            Self::Constant { rate } => vec![*rate],
            Self::Ramp { from, to } => vec![*from, *to],
            Self::Stages { stages, .. } if stages.is_empty() => return Some("`stages` is empty".to_owned()),
            Self::Stages { from, stages } => {
                std::iter::once(*from).chain(stages.iter().map(|stage| stage.to)).collect()
            }
            Self::Spike { rate, peak, .. } => vec![*rate, *peak],
            Self::Sine { mean, swing, .. } if swing > mean => return Some("`swing` exceeds `mean`".to_owned()),
            Self::Sine { period, .. } if *period == Span::ZERO => return Some("`period` is nothing".to_owned()),
            Self::Sine { mean, swing, .. } => vec![*mean, *swing],
            Self::Replay { rates, .. } => rates.clone(),
        };
        let wrong = rates.iter().find(|rate| !rate.is_finite() || **rate < 0.0)?;
        Some(format!("{wrong} is no rate"))
    }
}

fn staged(from: f64, stages: &[Stage], second: f64) -> f64 {
    let (mut rate, mut begin) = (from, 0.0);
    for stage in stages {
        let over = stage.over.millis() as f64 / 1000.0;
        if second < begin + over {
            return rate + (stage.to - rate) * (second - begin) / over;
        }
        (rate, begin) = (stage.to, begin + over);
    }
    rate
}

/// The rates of a recorded curve.
///
/// # Errors
/// A line that is not `second,rate`, or a second that does not follow the one before: a gap would be traffic that
/// nobody planned.
pub fn replayed(text: &str) -> Result<Vec<f64>, String> {
    let mut rates = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (rates.is_empty() && line.starts_with("second")) {
            continue;
        }
        let number = index + 1;
        let parts = line
            .split_once(',')
            .and_then(|(second, rate)| Some((second.trim().parse::<usize>().ok()?, rate.trim().parse::<f64>().ok()?)));
        let (second, rate) = parts.ok_or(format!("line {number}: `{line}` is not `second,rate`"))?;
        if second != rates.len() {
            let expected = rates.len();
            return Err(format!("line {number}: second {expected} is expected, not {second}: the curve has a gap"));
        }
        rates.push(rate);
    }
    if rates.is_empty() { Err("it holds no second".to_owned()) } else { Ok(rates) }
}

/// The moments of arrival, microseconds from the start, until the length is over.
#[derive(Debug, Clone)]
pub struct Arrivals {
    curve: Curve,
    scale: f64,
    length_us: u64,
    rng: Rng,
    poisson: bool,
    /// Where the sum stands, and what is missing until the next arrival.
    at_us: f64,
    missing: f64,
}

/// The rate is taken as constant for so long.
const STEP_US: f64 = 1000.0;

impl Arrivals {
    /// Arrivals along a curve whose rates are multiplied by `scale`: evenly, or as a Poisson process of that rate.
    pub fn new(curve: Curve, scale: f64, length_us: u64, poisson: bool, seed: u64) -> Self {
        let mut arrivals = Self { curve, scale, length_us, rng: Rng::new(seed), poisson, at_us: 0.0, missing: 0.0 };
        arrivals.missing = arrivals.draw();
        arrivals
    }

    fn draw(&mut self) -> f64 {
        if self.poisson { -(1.0 - unit(&mut self.rng)).ln() } else { 1.0 }
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.at_us < self.length_us as f64 {
            let rate = self.curve.rate(self.at_us as u64, self.length_us) * self.scale / 1e6;
            let until = ((self.at_us / STEP_US).floor() + 1.0) * STEP_US;
            let sum = rate * (until - self.at_us);
            if sum >= self.missing {
                self.at_us += self.missing / rate;
                self.missing = self.draw();
                return (self.at_us < self.length_us as f64).then_some(self.at_us as u64);
            }
            self.missing -= sum;
            self.at_us = until;
        }
        None
    }
}
