//! Whether a server may go on (protocol §4 steps 1 to 5): is it the epoch's, does the highest emitted transaction
//! still lie there; another one: is it behind, short, or of another history; what an epoch that has to rise begins
//! with.
//!
//! Must not change the state, nor read rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::config::DeployerConfig;
use super::course::{Failure, Halt};
use super::encode::Highest;
use super::epoch::{self, WitnessRead};
use super::history::{self, Common, KnownPoint};
use super::leader::Leader;
use super::rise::{NewEpoch, commit_times, placed};
use super::settings;
use super::tail::read_witness;
use super::xa::prepared_at;
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::gtid::{Gtid, GtidSet};
use crate::ports::source::{BinlogSource, Flavor, ServerIdentity, SourceError};
use crate::position::{FilePosition, Position};
use crate::state::Witness;

/// What a server is found to be.
#[derive(Debug)]
pub enum Verdict {
    /// The epoch's, with its history.
    Same(Box<ServerIdentity>),
    /// Another one, or one with another history: an epoch has to rise.
    Rise(Box<NewEpoch>),
}

/// Which server is asked: the source, then its standbys in order.
#[derive(Debug, Default)]
pub struct Servers {
    /// 0 is the source, n its n-th standby.
    at: usize,
    /// Since when it does not answer.
    silent_since: Option<Instant>,
    /// Since when it is waited for although it lacks what was carried.
    behind_since: Option<Instant>,
    /// So many servers were waited for in vain.
    given_up: usize,
    /// The epoch's server was looked for long enough already.
    waited: bool,
    /// Places of servers that were found to share nothing with what was carried.
    foreign: BTreeSet<usize>,
}

impl Servers {
    /// It answered and may go on.
    pub fn answered(&mut self) {
        *self = Self { at: self.at, ..Self::default() };
    }

    /// An attempt failed: after a while the next of `count` servers is asked.
    pub fn failed(&mut self, stop: &Stop, count: usize, config: &DeployerConfig) {
        let (since, patience) = match stop.cause {
            Cause::SourceUnavailable => (&mut self.silent_since, config.failover_after),
            Cause::SourceBehind => (&mut self.behind_since, config.failover_catchup),
            _ => return,
        };
        let waited = stop.cause == Cause::SourceUnavailable && std::mem::take(&mut self.waited);
        if stop.cause == Cause::SourceBehind {
            branch::reached(Branch::ServerBehind);
        }
        if since.get_or_insert_with(Instant::now).elapsed() < patience && !waited {
            return;
        }
        if stop.cause == Cause::SourceBehind {
            self.given_up += 1;
        }
        (self.silent_since, self.behind_since) = (None, None);
        if count > 1 {
            branch::reached(Branch::ServerSilent);
            self.ask_next(stop, count);
        }
    }

    /// The server that is asked has another history. Whether one of the `count` servers is left that may have the
    /// right one, beside the epoch's own, which is silent: it is asked next.
    fn pass_over(&mut self, stop: &Stop, count: usize) -> bool {
        self.foreign.insert(self.at);
        if self.foreign.len() + 1 >= count {
            return false;
        }
        self.ask_next(stop, count);
        true
    }

    fn ask_next(&mut self, stop: &Stop, count: usize) {
        self.at = (self.at + 1) % count;
        tracing::error!(cause = stop.cause.name(), "{stop}; asking server {} of {count} now", self.at + 1);
    }
}

impl Leader {
    /// The server that is asked.
    pub fn source(&self) -> &Arc<dyn BinlogSource> {
        let ports = &self.course.ports;
        self.servers.at.checked_sub(1).and_then(|place| ports.standby.get(place)).unwrap_or(&ports.source)
    }

    /// Looks for the epoch's server among all that are configured, for as long as a server may be silent: the first one
    /// that answers may be an old primary.
    pub async fn locate(&mut self) -> Result<(), Halt> {
        let (ports, config) = (self.course.ports.clone(), Arc::clone(&self.course.config));
        if ports.standby.is_empty() || self.servers.silent_since.is_some() {
            return Ok(());
        }
        let all: Vec<Arc<dyn BinlogSource>> = std::iter::once(ports.source).chain(ports.standby).collect();
        let since = Instant::now();
        let mut attempts = self.course.attempts("locate");
        loop {
            let ask = |(place, source): (usize, Arc<dyn BinlogSource>)| async move { (place, source.identify().await) };
            let mut answers: FuturesUnordered<_> = all.iter().cloned().enumerate().map(ask).collect();
            let until = Instant::now() + config.read_deadline;
            while let Ok(Some((place, answer))) = tokio::time::timeout_at(until, answers.next()).await {
                if answer.is_ok_and(|server| server.server_uuid == self.state.epoch.server) {
                    attempts.succeeded();
                    self.servers.at = place;
                    return Ok(());
                }
            }
            if since.elapsed() >= config.failover_after {
                self.servers.waited = true;
                return Ok(());
            }
            let detail = format!("server {} answers at none of {} addresses", self.state.epoch.server, all.len());
            let failure = Failure::Retry(Stop::new(Cause::SourceUnavailable, detail));
            attempts.again(failure, Some(&mut self.session)).await?;
        }
    }

    /// Asks the current server and judges what it says.
    pub async fn verify(&mut self) -> Result<Verdict, Failure> {
        let halt = |stop| Failure::Halt(Halt::Stop(stop));
        let server = self.source().identify().await?;
        if let Some(stop) = settings::findings(&server, &self.course.config).into_iter().next() {
            return Err(halt(stop));
        }
        let same = server.server_uuid == self.state.epoch.server;
        let Position::Gtid(carried) = self.carried.resume.clone() else {
            epoch::same_server(&self.state, &self.carried.resume, &server).map_err(halt)?;
            self.check_witnesses(&server).await?;
            return Ok(self.found_same(server));
        };
        if server.flavor != Flavor::MySql || !server.gtid_mode {
            let detail = format!("the position is a GTID set, but server {} has no MySQL GTIDs", server.server_uuid);
            return Err(halt(Stop::new(Cause::NoGtid, detail)));
        }
        if !same {
            self.wait_if_behind(&server, &carried)?;
            // The empty beginning of a history is a point of every history.
            if !carried.is_empty() && carried.intersect(&server.gtid_executed).is_empty() {
                let detail = format!("server {} has none of the transactions that were carried", server.server_uuid);
                return self.passed_over(Stop::new(Cause::NoCommonPoint, detail));
            }
            let reason = format!("server {} follows {}", server.server_uuid, self.state.epoch.server);
            return match self.rising(server, reason).await {
                Err(Failure::Halt(Halt::Stop(stop))) if stop.cause == Cause::NoCommonPoint => self.passed_over(stop),
                verdict => verdict,
            };
        }
        match self.same_history(&server, &carried).await {
            Ok(()) => Ok(self.found_same(server)),
            Err(Failure::Halt(Halt::Stop(stop))) if stop.cause == Cause::HistoryRewritten => {
                self.rising(server, stop.detail).await
            }
            Err(failure) => Err(failure),
        }
    }

    /// The epoch's server has all that was emitted: from here on the highest position vouches for the others.
    fn found_same(&mut self, server: ServerIdentity) -> Verdict {
        self.apart = None;
        Verdict::Same(Box::new(server))
    }

    /// The server that is asked has another history: the next one is asked, while there is one that may have the right
    /// one.
    fn passed_over(&mut self, stop: Stop) -> Result<Verdict, Failure> {
        let left = self.servers.pass_over(&stop, self.course.ports.standby.len() + 1);
        Err(if left { Failure::Retry(stop) } else { Failure::Halt(Halt::Stop(stop)) })
    }

    /// Whether the epoch's own server still has what was carried, shown and emitted, byte for byte.
    async fn same_history(&self, server: &ServerIdentity, carried: &GtidSet) -> Result<(), Failure> {
        let halt = |stop| Failure::Halt(Halt::Stop(stop));
        epoch::same_server(&self.state, &self.carried.resume, server).map_err(halt)?;
        let now_ms = self.course.env.wall_ms();
        let up_since_ms = now_ms.saturating_sub(server.uptime_s.saturating_mul(1000));
        for repair in &self.state.pending {
            // What was only shown has no witness: a restart since then may have lost it and used its numbers again.
            let restarted = repair.seen_at_ms > 0 && up_since_ms.saturating_add(1000) > repair.seen_at_ms;
            let (lost, shown) = match &repair.seen {
                Some(seen) => {
                    let lost = !seen.subtract(&server.gtid_executed).subtract(&server.gtid_owned).is_empty();
                    (lost || restarted && !seen.is_subset(carried), seen.subtract(carried).to_string())
                }
                // A repair that was cut short: nobody knows what it has shown.
                None => (restarted, "transactions that are not known".to_owned()),
            };
            if lost {
                let detail = format!("rows that were read show {shown}, which may be lost");
                return Err(halt(Stop::new(Cause::HistoryRewritten, detail)));
            }
        }
        if self.highest_witness().is_none() && self.state.epoch.number > 1 {
            return self.same_points(server).await;
        }
        self.check_witnesses(server).await
    }

    /// Nothing was carried under this epoch yet: the kept points are what the server can be recognised by.
    async fn same_points(&self, server: &ServerIdentity) -> Result<(), Failure> {
        let points = history::points(&self.state);
        let times = self.times(server, &points).await?;
        match history::common(&points, server, &times) {
            Ok(Common::Shared(_)) => Ok(()),
            // What the points were purged of was verified when the epoch began.
            Err(stop) if stop.cause == Cause::Purged => Ok(()),
            Ok(Common::Reused(point)) => {
                let detail = format!("transactions after {} have other commit times now", point.set);
                Err(Failure::Halt(Halt::Stop(Stop::new(Cause::HistoryRewritten, detail))))
            }
            Err(stop) => Err(Failure::Halt(Halt::Stop(stop))),
        }
    }

    async fn times(&self, server: &ServerIdentity, points: &[KnownPoint]) -> Result<BTreeMap<Gtid, u64>, Failure> {
        let wanted = history::wanted(points, server);
        commit_times(self.source().as_ref(), &self.course.config, server, &wanted).await
    }

    /// A replica whose applier lags looks like a server that has lost its tail; its rows are old, and what is missing
    /// will come.
    fn wait_if_behind(&self, server: &ServerIdentity, carried: &GtidSet) -> Result<(), Failure> {
        let mut needed = carried.clone();
        // What consumers may have read is in no checkpoint yet where the answer to its commit was lost.
        let emitted = self.highest.iter().chain(&self.apart);
        needed.add(&emitted.filter_map(|highest| highest.gtid.parse::<Gtid>().ok()).collect());
        self.state.pending.iter().filter_map(|repair| repair.seen.as_ref()).for_each(|seen| needed.add(seen));
        let missing = needed.subtract(&server.gtid_executed);
        let follows = server.read_only
            || server.replica.as_ref().is_some_and(|replica| {
                replica.receiving || replica.applying || !replica.received.intersect(&missing).is_empty()
            });
        if missing.is_empty() || !follows {
            return Ok(());
        }
        let detail = format!("server {} is a replica that does not have {missing} yet", server.server_uuid);
        if self.servers.given_up > self.course.ports.standby.len() {
            tracing::error!(
                cause = Cause::SourceBehind.name(),
                "{detail}; going on with it, no other server is better"
            );
            return Ok(());
        }
        Err(Failure::Retry(Stop::new(Cause::SourceBehind, detail)))
    }

    /// What the epoch that has to rise begins with.
    async fn rising(&mut self, server: ServerIdentity, reason: String) -> Result<Verdict, Failure> {
        let halt = |stop| Failure::Halt(Halt::Stop(stop));
        if let Some(left) = self.too_soon() {
            let detail = format!("{reason}; the next epoch may begin in {} s", left.as_secs().max(1));
            return Err(Failure::Retry(Stop::new(Cause::OtherServer, detail)));
        }
        let points = history::points(&self.state);
        let times = self.times(&server, &points).await?;
        let (from, reason) = match history::common(&points, &server, &times).map_err(halt)? {
            Common::Shared(from) if server.server_uuid != self.state.epoch.server => (from, reason),
            Common::Shared(from) => (from, format!("history was rewritten: {reason}")),
            Common::Reused(point) => {
                (Some(point), format!("{reason}; its GTIDs stand for other transactions after the common point"))
            }
        };
        // Not all that was carried and is there: between the common point and the tail a GTID may stand for another
        // transaction, which would never be sent. What is sent again is a repeat under the new epoch.
        let mut anchor = match (&from, &self.state.epoch.anchor.resume) {
            (Some(point), _) => point.set.clone(),
            (None, Position::Gtid(set)) => set.intersect(&server.gtid_executed),
            (None, _) => GtidSet::default(),
        };
        let groups = prepared_at(&self.state, &self.carried.prepared, &Position::Gtid(anchor.clone()));
        let prepared = placed(self.source().as_ref(), &self.course.config, &server, &groups).await?;
        let purged = server.gtid_purged.subtract(&anchor);
        if !purged.is_empty() {
            // Files are purged from the oldest on: what is purged lies before anything carried that is still there.
            if anchor.is_subset(&server.gtid_purged) {
                let detail = format!("server {} has purged {purged}, which was not carried", server.server_uuid);
                return Err(halt(Stop::new(Cause::Purged, detail)));
            }
            tracing::error!(
                count = purged.count() as u64,
                "server {} had transactions of its own, which are purged and cannot be carried: {purged}; verify \
                 the documents",
                server.server_uuid
            );
            anchor.add(&purged);
        }
        let in_order_from = if server.server_uuid == self.state.epoch.server {
            None
        } else {
            self.in_order_from(&server, &anchor, from.as_ref()).await?
        };
        Ok(Verdict::Rise(Box::new(NewEpoch { server, anchor, from, in_order_from, prepared, reason })))
    }

    /// The witness of the highest position that anybody has emitted under this epoch, not only of the checkpoint: what
    /// lies beyond the checkpoint may have been read by consumers already.
    fn highest_witness(&self) -> Option<Witness> {
        let carried = self.carried.last.as_ref().map(|last| (last.offset, last.witness()));
        let kept = || self.state.checkpoint.witness.clone().map(|witness| (self.state.checkpoint.offset, witness));
        let (offset, witness) = carried.or_else(kept).map_or((0, None), |(offset, witness)| (offset, Some(witness)));
        match &self.highest {
            // An event at the carried offset or above it belongs to a later transaction.
            Some(Highest { offset: highest, witness: text, gtid }) if *highest >= offset => {
                read_witness(text, gtid).or(witness)
            }
            _ => witness,
        }
    }

    async fn check_witnesses(&self, server: &ServerIdentity) -> Result<(), Failure> {
        if canary::on(Canary::SkippedWitness) {
            return Ok(());
        }
        // Below the carried offset all is of one history: whoever carried it had seen the log.
        let apart = self.apart.as_ref().filter(|apart| apart.offset >= self.carried.offset);
        let apart = apart.and_then(|apart| read_witness(&apart.witness, &apart.gtid));
        for witness in self.highest_witness().into_iter().chain(apart) {
            self.check_witness(&witness, server).await?;
        }
        Ok(())
    }

    async fn check_witness(&self, witness: &Witness, server: &ServerIdentity) -> Result<(), Failure> {
        let at = FilePosition::new(witness.file.clone(), witness.start);
        let read = match self.source().read_transaction(&at).await {
            Ok(transaction) => WitnessRead::Bytes(transaction.events),
            Err(error @ (SourceError::NoEvent(_) | SourceError::Purged(_) | SourceError::Ahead(_))) => {
                WitnessRead::Gone(error.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        let last_known_ms = self.carried.last.as_ref().map_or(self.state.checkpoint.event_ms, |last| last.commit_ms);
        epoch::judge_witness(witness, &read, server, last_known_ms, self.course.env.wall_ms())
            .map_err(|stop| Failure::Halt(Halt::Stop(stop)))
    }
}
