//! What the application does at the sources: the order workload or a profile's traffic, large and poisoned rows, XA
//! transactions, columns that move, an archive.
//!
//! Must not know about faults: it writes to whichever server is written, and hears when that one refuses.

mod archive;
mod columns;
mod traffic;
mod xa;

pub use columns::planned;

use anyhow::Result;
use std::time::Duration;
use towpath_engine::env::Rng;
use towpath_models::orders;
use towpath_scenarios::scenario::{Pipeline, Scenario};
use towpath_scenarios::workload::{Groups, Transaction, Workload, WorkloadConfig, huge, poison};

use crate::observe::Observer;
use crate::world::World;

/// The first order of each further source is so far from those of the one before: no two have an order in common.
const APART: i64 = 10_000_000;

/// An application's connections to its source.
const SESSIONS: usize = 8;

/// What one source's customers and clerks do.
struct Shop {
    /// The place of its pipeline.
    place: usize,
    workload: Workload,
    /// Transactions that are due, in parts of one.
    credit: f64,
    written: u32,
}

/// The application.
pub struct Application<'a> {
    scenario: &'a Scenario,
    shops: Vec<Shop>,
    /// Instead of shops: what a load profile plans, at the first source.
    traffic: Option<traffic::Traffic>,
    groups: Groups,
    columns: columns::Columns,
    archiver: Option<archive::Archiver>,
    /// The one large transaction or row is still to come.
    special: bool,
}

impl<'a> Application<'a> {
    /// One that does what the scenario says; the seed decides the rest.
    ///
    /// # Errors
    /// The profile that the scenario names cannot be.
    pub fn new(scenario: &'a Scenario, seed: u64) -> Result<Self> {
        let profile = scenario.profile().map_err(anyhow::Error::msg)?;
        let mut rng = Rng::new(seed ^ 0x776f_726b);
        let orders = u64::from(scenario.workload.orders);
        let pipelines = scenario.topology.pipelines();
        let archive = pipelines.iter().position(|pipeline| pipeline.has_archive);
        let shop = |(place, _)| {
            let first_order = 1 + place as i64 * APART;
            let config = WorkloadConfig { live: 60, first_order, ..WorkloadConfig::new(rng.next_u64(), orders) };
            Shop { place, workload: Workload::new(config), credit: 0.0, written: 0 }
        };
        let written = |pipeline: &Pipeline| pipeline.has_orders && profile.is_none();
        let shops = pipelines.iter().enumerate().filter(|(_, pipeline)| written(pipeline)).map(shop).collect();
        Ok(Self {
            scenario,
            shops,
            traffic: profile.as_ref().map(|profile| traffic::Traffic::new(profile, seed)),
            groups: Groups::new(scenario.workload.xa_per_second, seed),
            columns: columns::Columns::new(scenario.workload.columns_move_every.duration(), seed),
            archiver: archive.map(|place| archive::Archiver::new(place, seed)),
            special: true,
        })
    }

    /// Commits what is due at the sources, once a step of this length.
    ///
    /// # Errors
    /// A source refuses what it should take.
    pub fn work(&mut self, now: Duration, step: Duration, world: &World, observer: &mut Observer) -> Result<()> {
        let work = &self.scenario.workload;
        if let Some(first) = world.pipelines.first() {
            self.columns.work(now, first.source())?;
            xa::work(&mut self.groups, now, step, first.source(), observer.of(0))?;
        }
        if let Some(archiver) = &mut self.archiver {
            archiver.work(now, world, observer)?;
        }
        let peak = work.peak_at.duration()..work.peak_at.duration() + work.peak_for.duration();
        let times = if peak.contains(&now) { f64::from(work.peak_times) } else { 1.0 };
        if self.special && now >= self.scenario.length.duration() / 2 {
            self.special = false;
            if work.huge_rows > 0 {
                self.commit(now, 0, &huge(work.huge_rows), world, observer)?;
            }
            if work.poison_bytes > 0 {
                self.commit(now, 0, &poison(work.poison_bytes), world, observer)?;
            }
        }
        let planned = self.traffic.as_mut().map(|traffic| traffic.due(now, world, observer)).transpose()?;
        for transaction in planned.into_iter().flatten() {
            self.commit(now, 0, &transaction, world, observer)?;
        }
        let due = f64::from(work.rate) * times * step.as_secs_f64();
        for index in 0..self.shops.len() {
            self.shops[index].credit += due;
            let source = world.pipelines[self.shops[index].place].source();
            if source.waiting_commits() >= SESSIONS {
                // All of them stand in a commit that waits for a standby.
                continue;
            }
            while let Some((place, transaction)) = self.shops[index].next(work.transactions) {
                self.commit(now, place, &transaction, world, observer)?;
            }
        }
        Ok(())
    }

    /// The application stops: what it began elsewhere is brought to its end.
    ///
    /// # Errors
    /// A source refuses what it should take.
    pub fn finish(&mut self, world: &World, observer: &mut Observer) -> Result<()> {
        self.archiver.iter_mut().try_for_each(|archiver| archiver.finish(world, observer))
    }

    fn commit(
        &mut self,
        now: Duration,
        place: usize,
        transaction: &Transaction,
        world: &World,
        observer: &mut Observer,
    ) -> Result<()> {
        if let Some(archiver) = &mut self.archiver {
            archiver.before(now, transaction, world, observer)?;
        }
        let source = world.pipelines[place].source();
        let observer = observer.of(place);
        let operations = columns::arranged(orders::operations(transaction), source);
        match source.commit(&operations) {
            Ok(commit) => {
                observer.expect_shown(&commit.gtid, transaction, now);
                observer.committed(commit, transaction.ops.len());
            }
            // The application hears that a row it wrote is not there any more.
            Err(error) if observer.has_turned_back() => tracing::debug!("refused by the source: {error}"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl Shop {
    /// The next transaction that is due, and where; at most so many in all.
    fn next(&mut self, most: u32) -> Option<(usize, Transaction)> {
        if self.credit < 1.0 || self.written >= most {
            return None;
        }
        self.credit -= 1.0;
        self.written += 1;
        self.workload.next().map(|transaction| (self.place, transaction))
    }
}
