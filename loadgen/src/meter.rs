//! Histograms of what was measured, in total and second by second.
//!
//! Times are microseconds. What was meant to happen during the warm-up counts in its second and not in the total.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longer times count as this long.
const LONGEST_US: u64 = 600_000_000;

/// What is measured as a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// Commit to the first poll that returns the order.
    SoundDelay,
    /// A transaction, from the moment it was meant to begin.
    WriteLatency,
    /// The same from the moment it was sent.
    WriteService,
    /// From the poll's answer to the commit of what was heard.
    AcknowledgeLatency,
    /// A poll from the moment it was meant to be sent.
    PollLatency,
    /// The same from the moment it was sent.
    PollService,
    /// An order list, from the moment it was meant to be asked for.
    ListLatency,
    /// The same from the moment it was sent.
    ListService,
    /// Commit to the record in Kafka, committed.
    Kafka,
    /// Commit to the document in the cluster's answer by id.
    Acknowledged,
    /// Commit to the first search that finds it.
    Searchable,
    /// How late the generator itself was.
    Slip,
}

impl Figure {
    /// All.
    pub const ALL: [Self; 12] = [
        Self::SoundDelay,
        Self::WriteLatency,
        Self::WriteService,
        Self::AcknowledgeLatency,
        Self::PollLatency,
        Self::PollService,
        Self::ListLatency,
        Self::ListService,
        Self::Kafka,
        Self::Acknowledged,
        Self::Searchable,
        Self::Slip,
    ];

    /// Its name in levels and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SoundDelay => "sound_delay",
            Self::WriteLatency => "write_latency",
            Self::WriteService => "write_service",
            Self::AcknowledgeLatency => "acknowledge_latency",
            Self::PollLatency => "poll_latency",
            Self::PollService => "poll_service",
            Self::ListLatency => "list_latency",
            Self::ListService => "list_service",
            Self::Kafka => "freshness_kafka",
            Self::Acknowledged => "freshness_acknowledged",
            Self::Searchable => "freshness_searchable",
            Self::Slip => "schedule_slip",
        }
    }
}

/// One second of a run, by the intended time.
#[derive(Debug, Clone, Default)]
pub struct Second {
    /// Transactions meant to happen, queries meant to be asked.
    pub planned: [u64; 2],
    /// Those that were answered, by the second of the answer.
    pub done: [u64; 2],
    /// Orders that came.
    pub created: u64,
    /// Those that failed.
    pub errors: u64,
    /// Orders that are in the database and not yet found by a search.
    pub backlog: Option<i64>,
    /// What was measured.
    pub figures: BTreeMap<Figure, Histogram<u32>>,
}

/// What was measured so far.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    counted_from_us: u64,
    /// Totals.
    pub totals: BTreeMap<Figure, Histogram<u64>>,
    /// Seconds from the start.
    pub seconds: Vec<Second>,
    /// The first errors, for a person.
    pub samples: Vec<String>,
    /// Asked and failed, after the warm-up.
    pub asked: u64,
    /// Of these failed.
    pub failed: u64,
}

/// Which of the two counts something falls in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A transaction.
    Write = 0,
    /// A poll or a list.
    Query = 1,
}

const SAMPLES: usize = 5;

/// A meter that several tasks write.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<Meter>>);

impl Shared {
    /// Nothing measured; `start` is moment 0.
    pub fn new(start: Instant, warm_up: Duration) -> Self {
        Self(Arc::new(Mutex::new(Meter {
            start,
            counted_from_us: warm_up.as_micros() as u64,
            totals: BTreeMap::new(),
            seconds: Vec::new(),
            samples: Vec::new(),
            asked: 0,
            failed: 0,
        })))
    }

    /// The meter itself.
    pub fn lock(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets moment 0 anew, before anything was measured.
    pub fn begin(&self, start: Instant) {
        self.lock().start = start;
    }

    /// Something took from one moment to the other.
    pub fn took(&self, figure: Figure, from: Instant, to: Instant) {
        self.lock().took(figure, from, to);
    }

    /// Something was answered: latency from the intended moment, service time from when it was sent.
    pub fn answered(&self, sort: Sort, [latency, service]: [Figure; 2], [due, sent, done]: [Instant; 3]) {
        let mut meter = self.lock();
        meter.took(latency, due, done);
        meter.took(service, sent, done);
        meter.second(done).done[sort as usize] += 1;
        meter.asked += u64::from(meter.counted(due));
    }

    /// Something failed.
    pub fn failed(&self, due: Instant, why: impl FnOnce() -> String) {
        let mut meter = self.lock();
        meter.second(due).errors += 1;
        if meter.counted(due) {
            (meter.asked, meter.failed) = (meter.asked + 1, meter.failed + 1);
        }
        if meter.samples.len() < SAMPLES {
            meter.samples.push(why());
        }
    }

    /// Something was meant to happen, and was begun so late.
    pub fn begun(&self, sort: Sort, due: Instant, now: Instant) {
        let mut meter = self.lock();
        meter.second(due).planned[sort as usize] += 1;
        meter.took(Figure::Slip, due, now);
    }
}

impl Meter {
    fn at_us(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.start).as_micros() as u64
    }

    fn counted(&self, due: Instant) -> bool {
        self.at_us(due) >= self.counted_from_us
    }

    /// The second of a moment.
    pub fn second(&mut self, moment: Instant) -> &mut Second {
        let index = (self.at_us(moment) / 1_000_000) as usize;
        if self.seconds.len() <= index {
            self.seconds.resize_with(index + 1, Second::default);
        }
        &mut self.seconds[index]
    }

    fn took(&mut self, figure: Figure, from: Instant, to: Instant) {
        let micros = (to.saturating_duration_since(from).as_micros() as u64).clamp(1, LONGEST_US);
        if self.counted(from)
            && let Some(total) = entry(&mut self.totals, figure, || Histogram::new_with_bounds(1, LONGEST_US, 3))
        {
            total.saturating_record(micros);
        }
        let figures = &mut self.second(from).figures;
        if let Some(second) = entry(figures, figure, || Histogram::new_with_bounds(1, LONGEST_US, 2)) {
            second.saturating_record(micros);
        }
    }

    /// The total of one or several figures together.
    pub fn total(&self, figures: &[Figure]) -> Option<Histogram<u64>> {
        let mut parts = figures.iter().filter_map(|figure| self.totals.get(figure));
        let mut total = parts.next()?.clone();
        // Equal bounds: adding cannot fail.
        for part in parts {
            let _ = total.add(part);
        }
        Some(total)
    }

    /// The share that failed.
    pub fn error_share(&self) -> f64 {
        if self.asked == 0 { 0.0 } else { self.failed as f64 / self.asked as f64 }
    }
}

/// The histogram of a figure, made at its first use; the bounds are constants, so making it cannot fail.
fn entry<T: hdrhistogram::Counter, E>(
    map: &mut BTreeMap<Figure, Histogram<T>>,
    figure: Figure,
    make: impl FnOnce() -> Result<Histogram<T>, E>,
) -> Option<&mut Histogram<T>> {
    if let std::collections::btree_map::Entry::Vacant(vacant) = map.entry(figure) {
        vacant.insert(make().ok()?);
    }
    map.get_mut(&figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn latency_counts_from_the_intended_moment_and_the_warm_up_does_not_count() {
        let start = Instant::now();
        let meter = Shared::new(start, Duration::from_secs(1));
        let at = |ms: u64| start + Duration::from_millis(ms);
        let figures = [Figure::ListLatency, Figure::ListService];
        meter.answered(Sort::Query, figures, [at(500), at(500), at(900)]);
        meter.answered(Sort::Query, figures, [at(1_500), at(1_900), at(2_000)]);
        meter.failed(at(2_500), || "no".to_owned());
        let meter = meter.lock();
        let p50 = |figure| meter.totals[&figure].value_at_quantile(0.5);
        assert!(p50(Figure::ListLatency).abs_diff(500_000) < 1_000);
        assert!(p50(Figure::ListService).abs_diff(100_000) < 1_000);
        assert_eq!((meter.asked, meter.failed, meter.seconds.len()), (2, 1, 3));
        assert_eq!(meter.seconds[0].figures[&Figure::ListLatency].len(), 1);
    }
}
