//! An epoch rises while its leader leads: another server or another history answers (protocol §4 steps 4 to 6).
//!
//! Anchor, repair and what is kept of the ring change in one write. Must not judge a server: see [`super::verify`].

use std::collections::BTreeMap;

use super::config::DeployerConfig;
use super::count::{Counter, Step, TransactionEnd, TransactionId};
use super::course::{Failure, Halt};
use super::encode::Highest;
use super::epoch;
use super::history::KnownPoint;
use super::leader::{Carried, Leader, describe};
use super::tail::TailMark;
use super::takeover::checkpoint_at;
use crate::binlog::{Decoder, Event, EventHeader};
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::gtid::{Gtid, GtidSet};
use crate::ports::source::{BinlogSource, DumpRequest, ServerIdentity};
use crate::position::{FilePosition, Position};
use crate::state::{Anchor, Checkpoint, EpochRecord, PreparedXa, RingEntry, SCHEME, Witness};
use crate::version::MAX_EPOCH;

/// A new epoch, decided.
#[derive(Debug, Clone)]
pub struct NewEpoch {
    /// The server it is counted on.
    pub server: ServerIdentity,
    /// Its anchor: what is carried and there.
    pub anchor: GtidSet,
    /// Where its repair starts; `None`: at the log's start.
    pub from: Option<KnownPoint>,
    /// See [`EpochRecord::in_order_from`].
    pub in_order_from: Option<FilePosition>,
    /// XA groups that are prepared at the anchor, by their places on this server.
    pub prepared: Vec<PreparedXa>,
    /// Why, for a person.
    pub reason: String,
}

/// Half of the epoch numbers: an alarm.
const HALF: u16 = MAX_EPOCH / 2;

impl Leader {
    /// Begins the epoch: anchor, checkpoint and pending repair in one guarded write.
    ///
    /// # Errors
    /// To be tried again if definitions cannot be read: the server may be gone meanwhile, then another one is asked.
    pub async fn rise(&mut self, new: NewEpoch) -> Result<(), Failure> {
        let step = if canary::on(Canary::EpochStays) { 0 } else { 1 };
        branch::reached(Branch::EpochRises);
        let number = self.state.epoch.number.saturating_add(step);
        if number > MAX_EPOCH {
            let stop = Stop::new(Cause::EpochSpace, format!("epoch {MAX_EPOCH} was the last one"));
            return Err(Halt::Stop(stop).into());
        }
        if number > HALF {
            tracing::error!(cause = Cause::EpochSpace.name(), number, "more than half of the epoch numbers are used");
        }
        let ends = match self.kept_tail() {
            // Kafka cannot be asked: nothing of the new epoch lies before where the old one's tail began.
            Some(from) => from,
            None => self.log_ends().await?,
        };
        self.roll_back(number, new.from.as_ref().map(|point| (point.epoch, point.offset))).await?;
        let now_ms = self.course.env.wall_ms();
        let (from, low_water) = match &new.from {
            Some(point) => (Some(Position::Gtid(point.set.clone())), point.low_water.clone()),
            None => (None, Vec::new()),
        };
        let mut repair = epoch::repair_from(number, &new.reason, (from, low_water), &self.state, now_ms);
        if canary::on(Canary::RepairFromTheEnd) {
            repair.low_water.clone_from(&ends);
        }
        let low_water =
            if repair.low_water.len() == ends.len() { repair.low_water.clone() } else { vec![0; ends.len()] };
        // The common point may be the last checkpoint, which is not in the ring.
        let last = match (&self.state.checkpoint, &new.from) {
            (Checkpoint { resume: Position::Gtid(set), witness: Some(witness), .. }, Some(point))
                if *set == point.set =>
            {
                Some(RingEntry {
                    epoch: self.state.epoch.number,
                    resume: self.state.checkpoint.resume.clone(),
                    offset: self.state.checkpoint.offset,
                    witness: witness.clone(),
                    low_water: self.state.checkpoint.low_water.clone(),
                    prepared: self.state.prepared.clone(),
                    at_ms: now_ms,
                })
            }
            _ => None,
        };
        // What is not wholly there cannot be a common point again, whatever turns up later.
        self.state.ring.retain(|entry| match (&entry.resume, &new.from) {
            (Position::Gtid(set), Some(point)) => set.is_subset(&point.set),
            _ => false,
        });
        let mut set = new.anchor.clone();
        if let (true, Position::Gtid(carried)) = (canary::on(Canary::WholeSetCarried), &self.carried.resume) {
            set.add(carried);
        }
        let anchor = Anchor { resume: Position::Gtid(set), file: None };
        self.state.checkpoint = checkpoint_at(&anchor, ends.clone(), low_water);
        last.into_iter().for_each(|entry| self.state.ring.add(entry));
        self.state.epoch = EpochRecord {
            number,
            scheme: SCHEME,
            server: new.server.server_uuid.clone(),
            anchor,
            reason: new.reason.clone(),
            began_ms: now_ms,
            in_order_from: new.in_order_from,
        };
        // What rows of earlier repairs have shown may be lost with their history. This repair starts where they did, so
        // it reads them all again; else what is lost stayed missing, and each look at the server raised another epoch.
        for earlier in &mut self.state.pending {
            (earlier.seen, earlier.seen_at_ms) = (None, 0);
        }
        if !canary::on(Canary::SkippedRepair) {
            self.state.pending.push(repair);
        }
        let at = describe(&self.state.checkpoint.resume, None);
        self.state.note(now_ms, format!("epoch {number} begins at {at}: {}", new.reason));
        self.state.prepared.clone_from(&new.prepared);
        let resume = self.state.checkpoint.resume.clone();
        self.carried = Carried { resume, offset: 0, prepared: new.prepared, last: None };
        self.tail = TailMark::new(ends);
        self.highest = None::<Highest>;
        self.apart = None;
        self.unsaved = false;
        tracing::error!(epoch = number, server = new.server.server_uuid, "a new epoch begins: {}", new.reason);
        self.save("rise").await?;
        self.course.meters.failovers.add(1);
        self.show();
        Ok(())
    }

    /// Where the log's partitions end.
    async fn log_ends(&mut self) -> Result<Vec<i64>, Halt> {
        let mut attempts = self.course.attempts("rise");
        loop {
            match self.course.ports.log.topic(&self.course.config.topic).await {
                Ok(topic) => return Ok(topic.watermarks.iter().map(|&(_, end)| end).collect()),
                Err(error) => attempts.again(Failure::from(error), Some(&mut self.session)).await?,
            }
        }
    }

    /// How long the next epoch still has to wait for its turn.
    pub fn too_soon(&self) -> Option<std::time::Duration> {
        let epoch = &self.state.epoch;
        let since_ms = self.course.env.wall_ms().saturating_sub(epoch.began_ms);
        let least = self.course.config.failover_min_interval;
        // The first epoch is no failover.
        let left = least.checked_sub(std::time::Duration::from_millis(since_ms)).filter(|left| !left.is_zero());
        left.filter(|_| epoch.number > 1)
    }

    /// The place after the last transaction of `anchor` in the source's binlog, if any transaction outside of it is
    /// there. `known`: one of `anchor` that lies in the binlog with all that could be out of order after it.
    pub async fn in_order_from(
        &self,
        server: &ServerIdentity,
        anchor: &GtidSet,
        known: Option<&KnownPoint>,
    ) -> Result<Option<FilePosition>, Failure> {
        if server.gtid_executed.is_subset(anchor) {
            return Ok(None);
        }
        let mut from = known.map_or_else(GtidSet::default, |point| point.set.intersect(&server.gtid_executed));
        if let Some((gtid, _)) = known.and_then(|point| point.last) {
            from = from.subtract(&std::iter::once(gtid).collect());
        }
        // What is purged cannot be read; it was looked at before.
        from.add(&server.gtid_purged);
        let mut place = None;
        scan(self.source().as_ref(), &self.course.config, from, server, |end, gtid| {
            if anchor.contains(&gtid) {
                place = Some(end.file_end());
            }
            false
        })
        .await?;
        Ok(place)
    }
}

/// The original commit times (µs) of these transactions on a source that has them in its binlog.
pub async fn commit_times(
    source: &dyn BinlogSource,
    config: &DeployerConfig,
    server: &ServerIdentity,
    wanted: &GtidSet,
) -> Result<BTreeMap<Gtid, u64>, Failure> {
    let found = find(source, config, server, wanted).await?;
    Ok(found.into_iter().map(|(gtid, witness)| (gtid, witness.original_commit_us)).collect())
}

/// XA groups by their places on this server. One that it has purged keeps its old place: its COMMIT stops with the
/// cause.
pub async fn placed(
    source: &dyn BinlogSource,
    config: &DeployerConfig,
    server: &ServerIdentity,
    groups: &[PreparedXa],
) -> Result<Vec<PreparedXa>, Failure> {
    let present = server.gtid_executed.subtract(&server.gtid_purged);
    let gtid = |group: &PreparedXa| group.witness.gtid.parse::<Gtid>().ok();
    let wanted: GtidSet = groups.iter().filter_map(gtid).filter(|gtid| present.contains(gtid)).collect();
    let found = find(source, config, server, &wanted).await?;
    let place = |group: &PreparedXa| {
        let witness = gtid(group).and_then(|gtid| found.get(&gtid)).unwrap_or(&group.witness);
        PreparedXa { xid: group.xid.clone(), witness: witness.clone() }
    };
    Ok(groups.iter().map(place).collect())
}

/// These transactions as a source has them in its binlog.
async fn find(
    source: &dyn BinlogSource,
    config: &DeployerConfig,
    server: &ServerIdentity,
    wanted: &GtidSet,
) -> Result<BTreeMap<Gtid, Witness>, Failure> {
    let mut found = BTreeMap::new();
    let mut left = wanted.count();
    if left == 0 {
        return Ok(found);
    }
    let from = server.gtid_executed.subtract(wanted);
    scan(source, config, from, server, |end, gtid| {
        if wanted.contains(&gtid) && found.insert(gtid, end.witness()).is_none() {
            left -= 1;
        }
        left == 0
    })
    .await?;
    Ok(found)
}

/// Reads the transactions outside `from` up to the end that the server said, or until `see` has seen enough.
async fn scan(
    source: &dyn BinlogSource,
    config: &DeployerConfig,
    from: GtidSet,
    server: &ServerIdentity,
    mut see: impl FnMut(&TransactionEnd, Gtid) -> bool,
) -> Result<(), Failure> {
    let heartbeat = config.heartbeat.min(SCAN_HEARTBEAT);
    let request = DumpRequest { heartbeat, beside: true, ..config.dump(server, Position::Gtid(from)) };
    let end = &server.end;
    let mut stream = source.dump(request).await?;
    let mut decoder = Decoder::new(|_, _| false);
    let mut counter = Counter::new(0);
    let halt = |stop| Failure::Halt(Halt::Stop(stop));
    loop {
        let batch = stream.next().await?;
        for raw in batch.events() {
            let header = EventHeader::parse(raw).map_err(halt)?;
            let event = decoder.decode(raw).map_err(halt)?;
            let step = counter.step(&header, raw, &event).map_err(halt)?;
            if let Step::End(transaction) = step
                && let TransactionId::Gtid(gtid) = transaction.id
                && see(&transaction, gtid)
            {
                return Ok(());
            }
            let at = match &event {
                Event::Heartbeat { file, position } => FilePosition::new(*file, *position),
                _ => counter.place_after(),
            };
            if (at.file_number(), at.position) >= (end.file_number(), end.position) {
                return Ok(());
            }
        }
    }
}

/// At the end of what is there the server says so by a heartbeat.
const SCAN_HEARTBEAT: std::time::Duration = std::time::Duration::from_millis(200);
