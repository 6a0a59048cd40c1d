//! What the application does at the source: the order workload, large and poisoned rows, XA transactions, columns that
//! move, an archive.
//!
//! Must not know about faults: it writes to whichever server is written, and hears when that one refuses.

mod archive;
mod columns;
mod xa;

pub use columns::planned;

use anyhow::Result;
use std::time::Duration;
use towpath_engine::env::Rng;
use towpath_models::orders;
use towpath_scenarios::scenario::Scenario;
use towpath_scenarios::workload::{Transaction, Workload, WorkloadConfig, huge, poison};

use crate::observe::Observer;
use crate::world::World;

/// The application.
pub struct Application<'a> {
    scenario: &'a Scenario,
    workload: Workload,
    groups: xa::Groups,
    columns: columns::Columns,
    archiver: archive::Archiver,
    /// Transactions that are due, in parts of one.
    credit: f64,
    written: u32,
    /// The one large transaction or row is still to come.
    special: bool,
}

impl<'a> Application<'a> {
    /// One that does what the scenario says; the seed decides the rest.
    pub fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x776f_726b);
        let orders = u64::from(scenario.workload.orders);
        Self {
            scenario,
            workload: Workload::new(WorkloadConfig { live: 60, ..WorkloadConfig::new(rng.next_u64(), orders) }),
            groups: xa::Groups::new(scenario.workload.xa_per_second, seed),
            columns: columns::Columns::new(scenario.workload.columns_move_every.duration(), seed),
            archiver: archive::Archiver::new(seed),
            credit: 0.0,
            written: 0,
            special: true,
        }
    }

    /// Commits what is due at the source, once a step of this length.
    ///
    /// # Errors
    /// The source refuses what it should take.
    pub fn work(&mut self, now: Duration, step: Duration, world: &World, observer: &mut Observer) -> Result<()> {
        let work = &self.scenario.workload;
        self.columns.work(now, world.source())?;
        self.groups.work(now, step, world.source(), observer)?;
        self.archiver.work(now, world.source(), observer)?;
        let peak = work.peak_at.duration()..work.peak_at.duration() + work.peak_for.duration();
        let times = if peak.contains(&now) { f64::from(work.peak_times) } else { 1.0 };
        self.credit += f64::from(work.rate) * times * step.as_secs_f64();
        if self.special && now >= self.scenario.length.duration() / 2 {
            self.special = false;
            if work.huge_rows > 0 {
                self.commit(now, &huge(work.huge_rows), world, observer)?;
            }
            if work.poison_bytes > 0 {
                self.commit(now, &poison(work.poison_bytes), world, observer)?;
            }
        }
        while self.credit >= 1.0 && self.written < work.transactions {
            self.credit -= 1.0;
            let Some(transaction) = self.workload.next() else { break };
            self.commit(now, &transaction, world, observer)?;
        }
        Ok(())
    }

    /// The application stops: what it began elsewhere is brought to its end.
    ///
    /// # Errors
    /// The source refuses what it should take.
    pub fn finish(&mut self, world: &World, observer: &mut Observer) -> Result<()> {
        self.archiver.finish(world.source(), observer)
    }

    fn commit(
        &mut self,
        now: Duration,
        transaction: &Transaction,
        world: &World,
        observer: &mut Observer,
    ) -> Result<()> {
        self.written += 1;
        if self.scenario.topology.archive {
            self.archiver.before(now, transaction, world.source(), observer)?;
        }
        let operations = columns::arranged(orders::operations(transaction), world.source());
        match world.source().commit(&operations) {
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
