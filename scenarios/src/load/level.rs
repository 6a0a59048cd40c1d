//! Service levels as people write them: `sound_delay.p99 < 2s`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;
use std::str::FromStr;

use crate::refusal::did_you_mean;

/// What is measured as a distribution of times.
pub const FIGURES: &[&str] = &[
    "sound_delay",
    "write_latency",
    "write_service",
    "acknowledge_latency",
    "query_latency",
    "query_service",
    "poll_latency",
    "poll_service",
    "list_latency",
    "list_service",
    "freshness_kafka",
    "freshness_acknowledged",
    "freshness_searchable",
];

/// What is a single number: `errors` is a share of all that was asked (0 to 1), `backlog_growth` seconds.
pub const SCALARS: &[&str] = &["errors", "backlog_growth"];

/// What a distribution can be asked for.
pub const STATISTICS: &[&str] = &["p50", "p90", "p99", "p999", "p9999", "max", "mean"];

/// How value and bound are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `>`
    Above,
}

/// One level.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// One of [`FIGURES`] or [`SCALARS`].
    pub figure: String,
    /// One of [`STATISTICS`]; none for a scalar.
    pub statistic: Option<String>,
    /// How.
    pub comparison: Comparison,
    /// Milliseconds for times, else the number itself.
    pub bound: f64,
    text: String,
}

impl Level {
    /// Whether a value (in the bound's unit) keeps it.
    pub fn holds(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Below => value < self.bound,
            Comparison::Above => value > self.bound,
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("level `{text}` is not like `sound_delay.p99 < 2s` or `errors < 1%`");
        let mut words = text.split_whitespace();
        let (Some(name), Some(sign), Some(bound), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let comparison = match sign {
            "<" => Comparison::Below,
            ">" => Comparison::Above,
            _ => return Err(wrong()),
        };
        let (figure, statistic) = name.split_once('.').map_or((name, None), |(name, part)| (name, Some(part)));
        match statistic {
            None if SCALARS.contains(&figure) => {}
            None if FIGURES.contains(&figure) => {
                return Err(format!("level `{text}`: say which of it, for example `{figure}.p99`"));
            }
            Some(statistic) if FIGURES.contains(&figure) => {
                if !STATISTICS.contains(&statistic) {
                    return Err(format!("level `{text}`: unknown `.{statistic}`; known: {}", STATISTICS.join(", ")));
                }
            }
            _ => {
                let known: Vec<&str> = FIGURES.iter().chain(SCALARS).copied().collect();
                return Err(format!("level `{text}`: nothing measures `{figure}`; {}", did_you_mean(figure, &known)));
            }
        }
        let digits = bound.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
        let number: f64 = digits.parse().map_err(|_| wrong())?;
        let factor = match (&bound[digits.len()..], statistic.is_some()) {
            ("ms", _) => 1.0,
            ("s", true) => 1000.0,
            ("s" | "", false) => 1.0,
            ("%", false) => 0.01,
            _ => return Err(wrong()),
        };
        let statistic = statistic.map(str::to_owned);
        Ok(Self { figure: figure.to_owned(), statistic, comparison, bound: number * factor, text: text.to_owned() })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
