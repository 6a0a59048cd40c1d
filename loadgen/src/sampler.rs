//! Once a second: what processes use, how large the backlog is, and whether the run should end early.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, interval};
use towpath_scenarios::load::Level;

use crate::judge;
use crate::live::View;
use crate::meter::Shared;
use crate::probes::Probes;
use crate::processes::Watch;
use crate::queries::Cluster;
use crate::writes::{Written, lock};

/// After so many seconds in which nothing was answered although much was asked, servers count as gone.
const GONE_AFTER: usize = 15;

/// What the sampler works with.
pub(crate) struct Sampler {
    pub(crate) meter: Shared,
    pub(crate) written: Option<Arc<Written>>,
    pub(crate) full: Option<Cluster>,
    /// Documents before the run minus orders: what the backlog is counted from.
    pub(crate) base: i64,
    pub(crate) watch: Arc<Mutex<Watch>>,
    pub(crate) probes: Probes,
    pub(crate) abort: Vec<Level>,
    pub(crate) warm_up: Duration,
    /// Until when orders come and lists are asked for.
    pub(crate) length: Duration,
    pub(crate) view: View,
    pub(crate) stop: watch::Sender<Option<String>>,
}

impl Sampler {
    /// Samples until aborted.
    pub(crate) async fn run(self, start: Instant) {
        let mut ticks = interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            let now = Instant::now();
            lock(&self.watch).look();
            let backlog = self.backlog().await;
            if now < start {
                continue;
            }
            self.window(now.duration_since(start));
            let oldest = self.probes.oldest(now);
            let mut meter = self.meter.lock();
            meter.second(now).backlog = backlog;
            self.view.second(&meter, now.duration_since(start), backlog, oldest);
            if let Some(why) = gone(&meter.seconds) {
                self.stop.send_replace(Some(why));
            }
            if now.duration_since(start) > self.warm_up + Duration::from_secs(2) {
                for level in &self.abort {
                    if let Some(value) = judge::value(&meter, level)
                        && !level.holds(value)
                    {
                        self.stop.send_replace(Some(format!("`{level}` does not hold: it is {value:.3}")));
                    }
                }
            }
        }
    }

    /// What runs while everything is asked for is told apart from the warm-up and from the last waits.
    fn window(&self, at: Duration) {
        let mut watch = lock(&self.watch);
        if at >= self.warm_up {
            watch.open_window(at.as_secs_f64());
        }
        if at >= self.length {
            watch.close_window(at.as_secs_f64());
        }
    }

    /// Orders that a search does not find yet; negative while archived orders are still found.
    async fn backlog(&self) -> Option<i64> {
        let written = self.written.as_ref()?;
        let live = written.live.load(std::sync::atomic::Ordering::Relaxed);
        let count = self.full.as_ref()?.count().await.ok()?;
        Some(self.base + live - count as i64)
    }
}

fn gone(seconds: &[crate::meter::Second]) -> Option<String> {
    let last = seconds.len().checked_sub(GONE_AFTER)?;
    let recent = &seconds[last..];
    let sum = |of: fn(&crate::meter::Second) -> u64| recent.iter().map(of).sum::<u64>();
    let (done, planned) = (sum(|second| second.done.iter().sum()), sum(|second| second.planned.iter().sum()));
    let failed = sum(|second| second.errors);
    (done == 0 && planned > 0 && failed > 0).then(|| format!("nothing was answered for {GONE_AFTER} s"))
}
