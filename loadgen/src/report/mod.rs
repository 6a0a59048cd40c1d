//! The report of one run: one value, shown as text, JSON or a page, and read again to compare runs and to plan.

mod distribution;
pub mod html;
mod svg;
pub mod text;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use towpath_scenarios::load::{Played, Profile};
use towpath_scenarios::oracle::documents::Verdict;

use crate::capacity::{Sample, Units};
use crate::drive::Measured;
use crate::judge::{self, Judged, LARGEST_SLIP_MS};
use crate::meter::{Figure, Meter, Second};
use crate::processes::Used;
pub use distribution::Distribution;

/// How much was done. Rates are those while orders come and lists are asked for, polls also of the seconds after.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Orders that came.
    pub orders: u64,
    /// Transactions committed, acknowledgements among them.
    pub transactions: u64,
    /// Row changes committed.
    pub changes: u64,
    /// Polls answered.
    pub polls: u64,
    /// Lists answered.
    pub lists: u64,
    /// See `orders`.
    pub orders_per_s: f64,
    /// See `transactions`.
    pub transactions_per_s: f64,
    /// See `changes`.
    pub changes_per_s: f64,
    /// Polls and lists.
    pub queries_per_s: f64,
}

impl Load {
    /// Polls and lists.
    pub fn queries(&self) -> u64 {
        self.polls + self.lists
    }

    /// What was sent, in words.
    pub fn sentence(&self) -> String {
        format!(
            "{} orders, {} transactions ({}/s), {} row changes ({}/s), {} queries ({}/s)",
            self.orders,
            self.transactions,
            self.transactions_per_s,
            self.changes,
            self.changes_per_s,
            self.queries(),
            self.queries_per_s,
        )
    }
}

/// How a backlog was worked off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// Orders that no search found when the outage ended.
    pub backlog: i64,
    /// Seconds from then until what remained was no more than what a second brings; none: it was not reached.
    pub drained_s: Option<f64>,
    /// Orders indexed a second meanwhile, those that kept coming included.
    pub orders_per_s: Option<f64>,
}

/// One second for the plots; times in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SecondRow {
    /// Transactions and queries that were meant to happen.
    pub planned: [u64; 2],
    /// Those answered.
    pub done: [u64; 2],
    /// Failed.
    pub errors: u64,
    /// Orders not found yet.
    pub backlog: Option<i64>,
    /// By figure: p50, p90, p99, largest.
    pub figures: BTreeMap<String, [f64; 4]>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The profile's name.
    pub profile: String,
    /// Same seed, same traffic.
    pub seed: u64,
    /// What rates and merchants were multiplied by.
    pub scale: f64,
    /// The profile's length, seconds.
    pub length_s: f64,
    /// The cluster that devices polled.
    pub sounds_on: Option<String>,
    /// Cores of the machine that the generator ran on.
    pub cores: usize,
    /// How much was done.
    pub load: Load,
    /// Failed transactions and queries after the warm-up.
    pub errors: u64,
    /// The first of them.
    pub error_samples: Vec<String>,
    /// What devices heard.
    pub sounds: Option<Played>,
    /// Numbers of orders heard wrongly.
    pub sound_samples: BTreeMap<String, Vec<i64>>,
    /// Documents against rows.
    pub documents: Option<Verdict>,
    /// Of an outage.
    pub drain: Option<Drain>,
    /// The backlog's slope over the run, orders a second.
    pub backlog_growth: Option<f64>,
    /// What every process used.
    pub processes: Vec<Used>,
    /// What was given and used between the warm-up and the last write; none if that was no whole second.
    #[serde(default)]
    pub steady: Option<Sample>,
    /// For the plots.
    pub seconds: Vec<SecondRow>,
    /// The levels.
    pub levels: Vec<Judged>,
    /// Why it is not valid, or has not passed.
    pub reasons: Vec<String>,
    /// The generator kept its schedule.
    pub valid: bool,
    /// Valid, every level held, nothing lost, stale, doubled, heard twice or never.
    pub passed: bool,
    /// Distributions by name, milliseconds.
    pub figures: BTreeMap<String, Distribution>,
}

/// What was found out after the traffic.
#[derive(Debug, Default)]
pub struct Findings {
    /// Documents against rows; an error's text if they could not be compared.
    pub documents: Option<Result<Verdict, String>>,
    /// Of an outage.
    pub drain: Option<Drain>,
}

impl Report {
    /// Of a run that is over.
    pub fn of(profile: &Profile, seed: u64, measured: &Measured, findings: Findings) -> Self {
        let meter = measured.meter.lock();
        let mut report = Self {
            profile: profile.name.clone(),
            seed,
            scale: profile.scale,
            length_s: profile.length.millis() as f64 / 1000.0,
            sounds_on: profile.sounds.as_ref().map(|sounds| sounds.cluster.clone()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: load(&meter, measured, profile),
            errors: meter.failed,
            error_samples: meter.samples.clone(),
            sounds: measured.played,
            sound_samples: measured
                .sound_samples
                .iter()
                .map(|(what, some)| ((*what).to_owned(), some.clone()))
                .collect(),
            documents: None,
            drain: findings.drain,
            backlog_growth: judge::backlog_growth(during(&meter.seconds, profile)),
            processes: measured.used.clone(),
            steady: None,
            seconds: meter.seconds.iter().map(row).collect(),
            levels: judge::levels(&meter, &profile.levels),
            reasons: Vec::new(),
            valid: true,
            passed: false,
            figures: figures(&meter),
        };
        report.steady = steady(&meter, measured, &report);
        match findings.documents {
            Some(Ok(documents)) => report.documents = Some(documents),
            Some(Err(why)) => report.reasons.push(format!("documents could not be compared: {why}")),
            None => {}
        }
        report.judge(measured.ended_early.as_deref());
        report
    }

    fn judge(&mut self, ended_early: Option<&str>) {
        let mut reasons = std::mem::take(&mut self.reasons);
        if let Some(why) = ended_early {
            reasons.push(format!("ended early: {why}"));
        }
        for judged in self.levels.iter().filter(|judged| !judged.held) {
            let value = judged.value.map_or("it was not measured".to_owned(), |value| format!("it is {value:.3}"));
            reasons.push(format!("level `{}` does not hold: {value}", judged.level));
        }
        if let Some(found) = &self.documents
            && (found.lost + found.stale + found.doubled > 0 || found.rows == 0)
        {
            let Verdict { rows, lost, stale, doubled, .. } = found;
            reasons.push(format!("of {rows} rows {lost} are lost, {stale} stale, {doubled} doubled"));
        }
        if let Some(sounds) = self.sounds.filter(|sounds| sounds.twice + sounds.never > 0) {
            reasons.push(format!("{} sounds played twice, {} never", sounds.twice, sounds.never));
        }
        if self.figures.is_empty() {
            reasons.push("nothing was measured".to_owned());
        }
        self.passed = reasons.is_empty();
        if let Some(slip) = self.figures.get("schedule_slip").filter(|slip| slip.p99 > LARGEST_SLIP_MS) {
            self.valid = false;
            self.passed = false;
            reasons.push(format!(
                "the generator itself was late: p99 of its schedule is {:.0} ms, more than {LARGEST_SLIP_MS:.0} ms; \
                 the figures are not those of the planned load",
                slip.p99
            ));
        }
        self.reasons = reasons;
    }
}

/// The seconds between the warm-up and the last write.
fn during<'a>(seconds: &'a [Second], profile: &Profile) -> &'a [Second] {
    let place = |ms: u64| ((ms / 1000) as usize).min(seconds.len());
    &seconds[place(profile.warm_up.millis())..place(profile.length.millis())]
}

/// How often something was answered in these seconds.
fn answered(seconds: &[Second], figure: Figure) -> u64 {
    seconds.iter().filter_map(|second| second.figures.get(&figure)).map(hdrhistogram::Histogram::len).sum()
}

fn load(meter: &Meter, measured: &Measured, profile: &Profile) -> Load {
    let written = |of: fn(&crate::writes::Written) -> u64| measured.written.as_deref().map_or(0, of);
    let ran = measured.ran.as_secs_f64().max(0.001);
    let length = ran.min(profile.length.millis() as f64 / 1000.0);
    let per_s = |count: u64, seconds: f64| count as f64 / seconds;
    let tenths = |rate: f64| (rate * 10.0).round() / 10.0;
    let orders = written(|written| written.orders.load(Ordering::Relaxed));
    let transactions = written(|written| written.transactions.load(Ordering::Relaxed));
    let changes = written(|written| written.changes.load(Ordering::Relaxed));
    let (polls, lists) = (answered(&meter.seconds, Figure::PollService), answered(&meter.seconds, Figure::ListService));
    Load {
        orders,
        transactions,
        changes,
        polls,
        lists,
        orders_per_s: tenths(per_s(orders, length)),
        transactions_per_s: tenths(per_s(transactions, length)),
        changes_per_s: tenths(per_s(changes, length)),
        queries_per_s: tenths(per_s(polls, ran) + per_s(lists, length)),
    }
}

/// What was given and used within the window in which processes were watched for it.
fn steady(meter: &Meter, measured: &Measured, report: &Report) -> Option<Sample> {
    let (from, to, processes) = measured.window.clone()?;
    let place = |at: f64| (at.floor() as usize).min(meter.seconds.len());
    let window = &meter.seconds[place(from)..place(to)];
    if window.is_empty() {
        return None;
    }
    let per_s = |count: u64| count as f64 / window.len() as f64;
    let written = |seconds: &[Second]| seconds.iter().map(|second| second.done[0]).sum::<u64>();
    // How many row changes there are is known of the whole run; so of its transactions.
    let share = |count: u64| count as f64 / written(&meter.seconds).max(1) as f64;
    let transactions = per_s(written(window));
    let units = Units {
        transactions: transactions * share(report.load.transactions),
        changes: transactions * share(report.load.changes),
        polls: per_s(answered(window, Figure::PollService)),
        lists: per_s(answered(window, Figure::ListService)),
    };
    Some(Sample { sounds_on: report.sounds_on.clone(), units, seconds: to - from, processes })
}

fn figures(meter: &Meter) -> BTreeMap<String, Distribution> {
    let total = |name: &'static str| Some((name.to_owned(), Distribution::of(&meter.total(&judge::parts(name))?)));
    judge::measured(meter).filter_map(total).collect()
}

fn row(second: &Second) -> SecondRow {
    let of = |(figure, histogram): (&Figure, &hdrhistogram::Histogram<u32>)| {
        let ms = |quantile| distribution::round(histogram.value_at_quantile(quantile) as f64 / 1000.0);
        (figure.name().to_owned(), [ms(0.5), ms(0.9), ms(0.99), ms(1.0)])
    };
    SecondRow {
        planned: second.planned,
        done: second.done,
        errors: second.errors,
        backlog: second.backlog,
        figures: second.figures.iter().map(of).collect(),
    }
}
