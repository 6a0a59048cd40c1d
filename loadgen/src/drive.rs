//! Carries out planned traffic, open loop: what is due is begun, whatever is still unanswered.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use towpath_scenarios::load::{Devices, Played, Poll, Profile, Traffic, What};

use crate::kafka::Reader;
use crate::live::View;
use crate::meter::{Figure, Shared, Sort};
use crate::probes::Probes;
use crate::processes::{Used, Watch};
use crate::queries::{self, Cluster};
use crate::sampler::Sampler;
use crate::target::Target;
use crate::writes::{Acknowledger, Work, Writers, Written, lock};

/// Queries without an answer at once; one more is an error, not a wait: the loop stays open.
const IN_FLIGHT: usize = 4_096;
/// How long the last answers, commits and documents are waited for.
const LAST: Duration = Duration::from_secs(30);
/// What this generator is known to send on one core (docs/load.md); a profile that wants more is refused beforehand.
pub const MOST_QUERIES_PER_S: f64 = 20_000.0;
/// Likewise, of transactions.
pub const MOST_WRITES_PER_S: f64 = 5_000.0;
/// The most sessions that write: below the 151 that MySQL takes by default.
const MOST_SESSIONS: f64 = 100.0;

/// So many sessions as are wanted, within what a server takes.
pub fn sessions(wanted: f64) -> u32 {
    wanted.ceil().clamp(1.0, MOST_SESSIONS) as u32
}

/// What a run measured.
#[derive(Debug)]
pub struct Measured {
    /// Distributions, in total and by second.
    pub meter: Shared,
    /// What was committed, if anything was to be written.
    pub written: Option<Arc<Written>>,
    /// What devices heard, if any polled and orders came.
    pub played: Option<Played>,
    /// Numbers of orders that were heard wrongly.
    pub sound_samples: BTreeMap<&'static str, Vec<i64>>,
    /// What processes used.
    pub used: Vec<Used>,
    /// The same between the warm-up and the last write: from and to, seconds from the start.
    pub window: Option<(f64, f64, Vec<Used>)>,
    /// Why it ended early.
    pub ended_early: Option<String>,
    /// How long it ran, without the last waits.
    pub ran: Duration,
}

/// # Errors
/// The profile's peak is above what the generator is known to send.
pub fn check_reach(profile: &Profile) -> Result<()> {
    let (writes, queries) = profile.peak();
    for (what, asked, most) in [("transactions", writes, MOST_WRITES_PER_S), ("queries", queries, MOST_QUERIES_PER_S)] {
        anyhow::ensure!(
            asked <= most,
            "profile {} asks for up to {asked:.0} {what} a second; this generator sends {most:.0}: lower --scale, or \
             run several generators",
            profile.name
        );
    }
    Ok(())
}

/// A run that is ready to begin.
pub struct Run<'a> {
    profile: &'a Profile,
    traffic: Traffic,
    meter: Shared,
    sounds: Arc<Mutex<Devices<Instant>>>,
    probes: Probes,
    watch: Arc<Mutex<Watch>>,
    writers: Option<Writers>,
    polls: Option<Cluster>,
    lists: Option<Cluster>,
    reader: Option<Reader>,
    sampling: JoinHandle<()>,
    looking: Option<JoinHandle<()>>,
    told: watch::Receiver<Option<String>>,
    /// Moment 0.
    pub start: Instant,
}

impl<'a> Run<'a> {
    /// Connects to everything; the traffic begins half a second later.
    ///
    /// # Errors
    /// Something cannot be reached, or the profile needs an index that the target lacks.
    pub async fn prepare(
        profile: &'a Profile,
        seed: u64,
        target: &Target,
        first_order: i64,
        view: View,
    ) -> Result<Self> {
        check_reach(profile)?;
        let client = queries::client()?;
        let cluster = |name: &str| -> Result<Cluster> {
            let index = target.indexes.get(name).with_context(|| {
                let known: Vec<&str> = target.indexes.keys().map(String::as_str).collect();
                format!("profile {} asks `{name}`; the target has {}", profile.name, known.join(", "))
            })?;
            Ok(Cluster::new(&client, index))
        };
        let polls = profile.sounds.as_ref().map(|sounds| cluster(&sounds.cluster)).transpose()?;
        let lists = profile.lists.as_ref().map(|lists| cluster(&lists.cluster)).transpose()?;
        let full = target.indexes.get("full");
        let base = match full {
            Some(index) => Cluster::new(&client, index).count().await.unwrap_or(0) as i64,
            None => 0,
        };
        let start = Instant::now() + Duration::from_millis(500);
        let meter = Shared::new(start, profile.warm_up.duration());
        let probes = Probes::new(meter.clone(), target.topic.is_some(), full.is_some());
        let sounds = Arc::new(Mutex::new(Devices::default()));
        let work = Work {
            url: target.mysql.clone(),
            database: target.database.clone(),
            cold: target.cold_database(),
            meter: meter.clone(),
            sounds: Arc::clone(&sounds),
            probes: probes.clone(),
        };
        let writers = match &profile.orders {
            Some(orders) => {
                Some(Writers::connect(&work, sessions(f64::from(orders.connections) * profile.scale.max(1.0))).await?)
            }
            None => None,
        };
        let reader = match &target.topic {
            Some(topic) if writers.is_some() => Some(Reader::start(topic, probes.clone()).await?),
            _ => None,
        };
        let looking = full.filter(|_| writers.is_some()).cloned();
        let looking = looking.map(|index| tokio::spawn(probes.clone().look(client.clone(), index)));
        let watch = Arc::new(Mutex::new(Watch::new(&target.processes)));
        let (stop, told) = watch::channel(None);
        let sampler = Sampler {
            meter: meter.clone(),
            written: writers.as_ref().map(|writers| Arc::clone(&writers.written)),
            full: full.map(|index| Cluster::new(&client, index)),
            base,
            watch: Arc::clone(&watch),
            probes: probes.clone(),
            abort: profile.abort.clone(),
            warm_up: profile.warm_up.duration(),
            length: profile.length.duration(),
            view,
            stop,
        };
        // Connecting may have taken longer than half a second.
        let start = start.max(Instant::now());
        meter.begin(start);
        let sampling = tokio::spawn(sampler.run(start));
        let traffic = Traffic::new(profile, seed, first_order);
        Ok(Self {
            profile,
            traffic,
            meter,
            sounds,
            probes,
            watch,
            writers,
            polls,
            lists,
            reader,
            sampling,
            looking,
            told,
            start,
        })
    }

    /// The processes that are watched; those that come later can be added.
    pub fn watch(&self) -> Arc<Mutex<Watch>> {
        Arc::clone(&self.watch)
    }

    /// Carries it all out, and waits for the last answers.
    pub async fn run(mut self) -> Measured {
        let in_flight = Arc::new(AtomicUsize::new(0));
        let ended_early = self.dispatch(&in_flight).await;
        let ran = self.start.elapsed();
        let deadline = Instant::now() + LAST;
        while in_flight.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        let written = self.writers.as_ref().map(|writers| Arc::clone(&writers.written));
        if let Some(writers) = self.writers.take() {
            writers.finish(LAST).await;
        }
        while self.probes.oldest(Instant::now()) > Duration::ZERO && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
        self.sampling.abort();
        self.looking.iter().for_each(JoinHandle::abort);
        if let Some(reader) = self.reader.take() {
            reader.stop().await;
        }
        let (used, window) = {
            let mut watch = lock(&self.watch);
            watch.look();
            (watch.used(), watch.window())
        };
        let (sounds, heard) = (lock(&self.sounds), self.polls.is_some() && written.is_some());
        Measured {
            written,
            played: heard.then(|| sounds.sum()),
            sound_samples: if heard { sounds.samples() } else { BTreeMap::new() },
            used,
            window,
            ended_early,
            ran,
            meter: self.meter.clone(),
        }
    }

    /// Begins everything at its time. Returns why it ended before its end.
    async fn dispatch(&mut self, in_flight: &Arc<AtomicUsize>) -> Option<String> {
        let acknowledger = self.writers.as_ref().map(Writers::acknowledger);
        let page = self.profile.sounds.as_ref().map_or(0, |sounds| sounds.page);
        let mut begun = 0_u64;
        while let Some(planned) = self.traffic.next() {
            let due = self.start + Duration::from_micros(planned.at_us);
            if due > Instant::now() {
                tokio::select! {
                    () = sleep_until(due) => {}
                    Ok(()) = self.told.changed() => {}
                }
            } else {
                begun += 1;
                if begun.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
            }
            if let Some(why) = self.told.borrow().clone() {
                return Some(why);
            }
            let now = Instant::now();
            match planned.what {
                What::Write(write) => {
                    self.meter.begun(Sort::Write, due, now);
                    if let Some(writers) = &self.writers {
                        writers.step(write, due);
                    }
                }
                What::Poll { merchant } => {
                    self.meter.begun(Sort::Query, due, now);
                    if let (Some(cluster), Some(slot)) = (&self.polls, self.slot(in_flight, due)) {
                        let (cluster, meter) = (cluster.clone(), self.meter.clone());
                        let (sounds, acknowledger) = (Arc::clone(&self.sounds), acknowledger.clone());
                        tokio::spawn(async move {
                            poll(&cluster, &meter, &sounds, acknowledger.as_ref(), merchant, page, due).await;
                            drop(slot);
                        });
                    }
                }
                What::List { merchant } => {
                    self.meter.begun(Sort::Query, due, now);
                    if let (Some(cluster), Some(slot)) = (&self.lists, self.slot(in_flight, due)) {
                        let (cluster, meter) = (cluster.clone(), self.meter.clone());
                        tokio::spawn(async move {
                            list(&cluster, &meter, merchant, due).await;
                            drop(slot);
                        });
                    }
                }
            }
        }
        // The last planned thing may lie before the end.
        let end = self.start + self.profile.length.duration();
        sleep_until(end.max(Instant::now())).await;
        None
    }

    fn slot(&self, in_flight: &Arc<AtomicUsize>, due: Instant) -> Option<Slot> {
        if in_flight.fetch_add(1, Ordering::Relaxed) >= IN_FLIGHT {
            in_flight.fetch_sub(1, Ordering::Relaxed);
            self.meter.failed(due, || format!("{IN_FLIGHT} queries wait for an answer"));
            return None;
        }
        Some(Slot(Arc::clone(in_flight)))
    }
}

/// A query that has no answer yet.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn list(cluster: &Cluster, meter: &Shared, merchant: u32, due: Instant) {
    let sent = Instant::now();
    match cluster.list(merchant).await {
        Ok(_) => {
            let figures = [Figure::ListLatency, Figure::ListService];
            meter.answered(Sort::Query, figures, [due, sent, Instant::now()]);
        }
        Err(error) => meter.failed(due, || format!("list: {error:#}")),
    }
}

async fn poll(
    cluster: &Cluster,
    meter: &Shared,
    sounds: &Mutex<Devices<Instant>>,
    acknowledger: Option<&Acknowledger>,
    merchant: u32,
    page: u32,
    due: Instant,
) {
    let sent = Instant::now();
    let orders = match cluster.poll(merchant, page).await {
        Ok(orders) => orders,
        Err(error) => return meter.failed(due, || format!("poll: {error:#}")),
    };
    let answered = Instant::now();
    meter.answered(Sort::Query, [Figure::PollLatency, Figure::PollService], [due, sent, answered]);
    let poll = Poll { merchant, sent, answered, whole: orders.len() < page as usize };
    let heard = lock(sounds).polled(poll, &orders);
    heard.committed.iter().for_each(|since| meter.took(Figure::SoundDelay, *since, answered));
    if let Some(acknowledger) = acknowledger.filter(|_| !heard.fresh.is_empty()) {
        acknowledger.acknowledge(merchant, heard.fresh, answered);
    }
}
