//! Verdicts: levels against figures, documents against rows, and whether the generator kept its own schedule.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use towpath_scenarios::load::{FIGURES, Level};
use towpath_scenarios::oracle::documents::{SINKS, Verdict};
use towpath_scenarios::workload::{Table, key_of};
use towpath_stack::harness::compare::documents;
use towpath_stack::harness::orders::Orders;

use crate::meter::{Figure, Meter, Second};
use crate::target::Target;

/// A generator that begins more than one in a hundred things later than this did not offer the planned load.
pub const LARGEST_SLIP_MS: f64 = 100.0;
/// So many rows are compared with their documents at most: the comparison holds them all in memory.
const MOST_ROWS: usize = 1_000_000;

/// A level with what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// As the profile says it.
    pub level: String,
    /// In milliseconds, a share, or orders a second; none: nothing was measured, which does not hold.
    pub value: Option<f64>,
    /// Whether it holds.
    pub held: bool,
}

/// All levels at the end of a run.
pub fn levels(meter: &Meter, levels: &[Level]) -> Vec<Judged> {
    let judge = |level: &Level| {
        let value = value(meter, level);
        Judged { level: level.to_string(), value, held: value.is_some_and(|value| level.holds(value)) }
    };
    levels.iter().map(judge).collect()
}

/// What a level is about, so far; none while nothing was measured.
pub fn value(meter: &Meter, level: &Level) -> Option<f64> {
    match (level.figure.as_str(), &level.statistic) {
        ("errors", _) => Some(meter.error_share()),
        ("backlog_growth", _) => backlog_growth(&meter.seconds),
        (figure, Some(statistic)) => {
            let histogram = meter.total(&parts(figure))?;
            let micros = match statistic.as_str() {
                "p50" => histogram.value_at_quantile(0.5) as f64,
                "p90" => histogram.value_at_quantile(0.9) as f64,
                "p99" => histogram.value_at_quantile(0.99) as f64,
                "p999" => histogram.value_at_quantile(0.999) as f64,
                "p9999" => histogram.value_at_quantile(0.9999) as f64,
                "max" => histogram.max() as f64,
                _ => histogram.mean(),
            };
            Some(micros / 1000.0)
        }
        _ => None,
    }
}

/// The histograms that a figure's name stands for: `query_…` is polls and lists together.
pub fn parts(figure: &str) -> Vec<Figure> {
    match figure {
        "query_latency" => vec![Figure::PollLatency, Figure::ListLatency],
        "query_service" => vec![Figure::PollService, Figure::ListService],
        name => Figure::ALL.into_iter().filter(|figure| figure.name() == name).collect(),
    }
}

/// The slope of the backlog in orders a second, by least squares over the seconds with a count.
pub fn backlog_growth(seconds: &[Second]) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        seconds.iter().enumerate().filter_map(|(second, found)| Some((second as f64, found.backlog? as f64))).collect();
    if points.len() < 3 {
        return None;
    }
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    Some(above / below)
}

/// Looks until every document equals its row, or `patience` is over; `None` if there are too many rows to compare.
///
/// # Errors
/// MySQL or a cluster does not answer.
pub async fn documents_equal_rows(target: &Target, patience: Duration) -> Result<Option<Verdict>> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let mut session = Orders::connect(&target.mysql, &target.database).await?;
    let deadline = Instant::now() + patience;
    loop {
        let verdict = look(&client, &mut session, target).await;
        match verdict {
            Ok(Some(verdict)) if !verdict.good() && Instant::now() < deadline => {}
            Err(_) if Instant::now() < deadline => {}
            done => {
                session.close().await?;
                return done;
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}

async fn look(client: &reqwest::Client, session: &mut Orders, target: &Target) -> Result<Option<Verdict>> {
    let mut found = BTreeMap::new();
    for (name, index) in &target.indexes {
        found.insert(name.as_str(), documents(client, &index.url, &index.alias).await?);
    }
    let rows = session.rows(Table::Orders).await?;
    if rows.len() > MOST_ROWS {
        return Ok(None);
    }
    let rows: BTreeMap<i64, _> = rows.into_iter().map(|row| (key_of(&row), row)).collect();
    let mut verdict = Verdict { rows: rows.len() as u64, ..Verdict::default() };
    for sink in SINKS {
        if let Some(documents) = found.get(sink.name) {
            verdict.add_sink(sink, &rows, documents);
        }
    }
    Ok(Some(verdict))
}

/// The names of all figures that were measured, in the order in which they are reported.
pub fn measured(meter: &Meter) -> impl Iterator<Item = &'static str> + '_ {
    let names = FIGURES.iter().copied().chain([Figure::Slip.name()]);
    names.filter(|name| meter.total(&parts(name)).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{Shared, Sort};

    #[test]
    fn a_growing_backlog_has_a_slope_and_a_level_one_has_none() {
        let seconds = |of: fn(i64) -> i64| -> Vec<Second> {
            (0..20).map(|n| Second { backlog: Some(of(n)), ..Second::default() }).collect()
        };
        assert!((backlog_growth(&seconds(|n| 7 * n + 3)).unwrap() - 7.0).abs() < 1e-9);
        assert!(backlog_growth(&seconds(|n| 40 + n % 2)).unwrap().abs() < 0.1);
        assert_eq!(backlog_growth(&seconds(|n| n)[..2]), None);
    }

    #[tokio::test]
    async fn what_was_not_measured_does_not_hold() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let meter = Shared::new(start, Duration::ZERO);
        let figures = [Figure::ListLatency, Figure::ListService];
        meter.answered(Sort::Query, figures, [start, start, start + second / 2]);
        let of: Vec<Level> = ["list_latency.p99 < 1s", "query_latency.max < 400ms", "sound_delay.p99 < 1s"]
            .map(|text| text.parse().unwrap())
            .into();
        let held: Vec<bool> = levels(&meter.lock(), &of).iter().map(|judged| judged.held).collect();
        assert_eq!(held, [true, false, false]);
    }
}
