//! Whether another server, or the same one after a crash, has the history that was carried: the common point through
//! the ring, by GTID and original commit time (protocol §4 steps 1 and 3). Pure.
//!
//! A GTID alone proves nothing: a server that lost transactions gives their numbers again. The original commit time is
//! kept by replicas. Must not ask a server: what it says comes in.

use std::collections::BTreeMap;

use crate::cause::{Cause, Stop};
use crate::gtid::{Gtid, GtidSet, Tag, Uuid};
use crate::ports::source::ServerIdentity;
use crate::position::Position;
use crate::state::{PipelineState, RingEntry, Witness};

/// An earlier checkpoint, or the newest one, as far as it can be looked for elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPoint {
    /// Its epoch.
    pub epoch: u16,
    /// Its offset in that epoch.
    pub offset: u64,
    /// What was carried.
    pub set: GtidSet,
    /// The last carried transaction, and its original commit time, µs; `None` if it cannot be recognised by that.
    pub last: Option<(Gtid, u64)>,
    /// Its transactions were purged, or there were none, when it was taken: nothing can have rewritten them.
    pub certain: bool,
    /// Per partition, from where on a repair from here reads the log.
    pub low_water: Vec<i64>,
}

/// How the server's history relates to what was carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Common {
    /// All that was carried and is there is the same; what is not there is lost. The repair starts at this point;
    /// `None`: nothing was kept yet, so at the log's start.
    Shared(Option<KnownPoint>),
    /// After this point the server used the same GTIDs for other transactions: it goes on from here.
    Reused(KnownPoint),
}

/// The kept points, oldest first, the checkpoint last.
pub fn points(state: &PipelineState) -> Vec<KnownPoint> {
    let point = |(epoch, offset), resume: &Position, witness: Option<&Witness>, low_water: &[i64]| {
        let Position::Gtid(set) = resume else { return None };
        let known = witness.filter(|witness| witness.original_commit_us > 0);
        let last = known.and_then(|witness| Some((witness.gtid.parse().ok()?, witness.original_commit_us)));
        let certain = witness.is_some_and(|witness| witness.gtid.is_empty());
        Some(KnownPoint { epoch, offset, set: set.clone(), last, certain, low_water: low_water.to_vec() })
    };
    let entries = state.ring.entries().iter();
    let kept =
        |entry: &RingEntry| point((entry.epoch, entry.offset), &entry.resume, Some(&entry.witness), &entry.low_water);
    let mut points: Vec<KnownPoint> = entries.filter_map(kept).collect();
    let checkpoint = &state.checkpoint;
    if checkpoint.witness.is_some() {
        let at = (state.epoch.number, checkpoint.offset);
        points.extend(point(at, &checkpoint.resume, checkpoint.witness.as_ref(), &checkpoint.low_water));
    }
    points
}

/// The transaction by which a server that has executed `set` can be recognised later: its own newest, if it is still in
/// the binlog; else any source's newest that is.
pub fn newest(set: &GtidSet, server: &ServerIdentity) -> Option<Gtid> {
    let own: Option<Uuid> = server.server_uuid.parse().ok();
    let present = set.intersect(&server.gtid_executed).subtract(&server.gtid_purged);
    let last = |(source, tag, spans): (Uuid, Tag, &[(u64, u64)])| {
        spans.last().map(|&(_, number)| Gtid::tagged(source, tag, number))
    };
    let mut all: Vec<Gtid> = present.sources().filter_map(last).collect();
    all.sort_by_key(|gtid| Some(gtid.source) != own);
    all.first().copied()
}

/// The transactions whose commit times have to be asked for.
pub fn wanted(points: &[KnownPoint], server: &ServerIdentity) -> GtidSet {
    let present = server.gtid_executed.subtract(&server.gtid_purged);
    points.iter().filter_map(|point| point.last).map(|(gtid, _)| gtid).filter(|gtid| present.contains(gtid)).collect()
}

/// Finds the common point. `times`: the original commit times of [`wanted`] on that server, µs.
///
/// # Errors
/// `diverged` if the server holds both histories of a GTID's twins, `purged` or `no-common-point` if no kept point can
/// be found again.
pub fn common(points: &[KnownPoint], server: &ServerIdentity, times: &BTreeMap<Gtid, u64>) -> Result<Common, Stop> {
    let mut usable: Option<&KnownPoint> = None;
    let mut other: Option<Gtid> = None;
    for point in points {
        let whole = point.set.is_subset(&server.gtid_executed);
        if point.certain && other.is_none() && whole {
            usable = Some(point);
        }
        let Some((gtid, time)) = point.last else { continue };
        match times.get(&gtid) {
            Some(&found) if found != time => {
                other.get_or_insert(gtid);
            }
            Some(_) if other.is_some() => {
                let twin = other.map(|gtid| gtid.to_string()).unwrap_or_default();
                return Err(Stop::new(
                    Cause::Diverged,
                    format!("server {} has {gtid} as it was carried, but another {twin}", server.server_uuid),
                ));
            }
            Some(_) if whole => usable = Some(point),
            Some(_) | None => {}
        }
    }
    match (usable, other) {
        (Some(point), None) => Ok(Common::Shared(Some(point.clone()))),
        (Some(point), Some(_)) => Ok(Common::Reused(point.clone())),
        (None, None) if points.is_empty() => Ok(Common::Shared(None)),
        (None, _) => Err(none_found(points, server)),
    }
}

fn none_found(points: &[KnownPoint], server: &ServerIdentity) -> Stop {
    let name = |point: &KnownPoint| point.last.map(|(gtid, _)| gtid);
    let purged = points.iter().filter_map(name).find(|gtid| server.gtid_purged.contains(gtid));
    let uuid = &server.server_uuid;
    match purged {
        Some(gtid) => Stop::new(
            Cause::Purged,
            format!(
                "server {uuid} has purged {gtid} and all later checkpoints\u{2019} transactions it could be known by"
            ),
        ),
        None => Stop::new(
            Cause::NoCommonPoint,
            format!("none of the {} kept checkpoints is in the history of server {uuid}", points.len()),
        ),
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
