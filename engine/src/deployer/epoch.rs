//! Where and under which number a new leader goes on: the decisions of protocol §4 that need no repair. Pure.
//!
//! What contradicts the state is *detected* here and stops the pipeline with its cause; a rise puts its repair on the
//! pending list. Must not ask a service: all facts come in.

use super::config::{DeployerConfig, Start};
use super::tail::LogTail;
use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::gtid::GtidSet;
use crate::ports::log::TopicInfo;
use crate::ports::source::{EventBatch, Flavor, ServerIdentity};
use crate::position::{FilePosition, Position};
use crate::state::{PendingRepair, PipelineState, SCHEME, Witness};
use crate::version::MAX_EPOCH;

/// How a leader goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// There was never a state: begin epoch 1 there.
    First(Start),
    /// Go on under the state's epoch at its checkpoint.
    Resume,
    /// Begin a new epoch.
    Rise(Rise),
}

/// What `term_base` is a multiple of: more than the `czxid`s of one ensemble, for 65,536 elections of its leader. The
/// highest term found is not enough: a deployer of a lost ensemble may have won a higher one and written nothing yet,
/// and adapters would drop all that comes behind its late fence. 8,191 epochs of it fit into a term.
const TERM_STEP: i64 = 1 << 48;

/// A new epoch, because the state was restored or set by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rise {
    /// Its number: the highest found anywhere, plus one.
    pub number: u16,
    /// Where it begins; `None`: at the state's checkpoint.
    pub to: Option<Start>,
    /// Added to `czxid`s from now on, so that terms go on rising.
    pub term_base: i64,
    /// Why, for a person.
    pub reason: String,
}

/// Decides from the state, the log's tail and the highest epoch in any index' `_meta`.
pub fn plan(
    state: Option<&PipelineState>,
    tail: &LogTail,
    meta_epoch: u16,
    topic: &TopicInfo,
    config: &DeployerConfig,
) -> Result<Plan, Stop> {
    let elsewhere = tail.epoch.max(meta_epoch);
    let Some(state) = state else {
        if elsewhere > 0 && !canary::on(Canary::StateForgotten) {
            let whose = if tail.epoch >= meta_epoch { "the log" } else { "an index" };
            return Err(Stop::new(
                Cause::StateLost,
                format!("pipeline {} has no state, but {whose} holds its epoch {elsewhere}", config.pipeline),
            ));
        }
        let none = || Stop::new(Cause::NoStart, format!("pipeline {} starts for the first time", config.pipeline));
        return config.start.clone().map(Plan::First).ok_or_else(none);
    };
    if state.pipeline != config.pipeline {
        return Err(Stop::new(
            Cause::Config,
            format!("the coordinator's path holds the state of pipeline {}, not {}", state.pipeline, config.pipeline),
        ));
    }
    if let Some(order) = &state.order {
        return rise(state, tail, elsewhere, order.to.clone(), order.reason.clone());
    }
    if state.epoch.number == 0 {
        return Err(Stop::new(Cause::StateGarbage, "the state holds neither an epoch nor a position set by hand"));
    }
    // A state older than the log or an index was restored from a copy; an epoch that starts low is silent loss.
    if elsewhere > state.epoch.number {
        let reason = format!("the state has epoch {}, but {elsewhere} was found elsewhere", state.epoch.number);
        return rise(state, tail, elsewhere, None, reason);
    }
    if state.epoch.scheme != SCHEME {
        let reason = format!("offsets were counted by scheme {}, now by {SCHEME}", state.epoch.scheme);
        return rise(state, tail, elsewhere, None, reason);
    }
    if state.topic != config.topic || !topic.may_be(&state.topic_id) {
        return Err(Stop::new(
            Cause::LogTruncated,
            format!(
                "topic {} (id {}) is not the one the state was written with ({}, id {}): what was not read there is gone; \
                 `towpath position set` goes on in the new one",
                config.topic, topic.id, state.topic, state.topic_id
            ),
        ));
    }
    if state.partitions != config.partitions {
        return Err(Stop::new(
            Cause::PartitionsChanged,
            format!("the log was written with {} partitions, configured are {}", state.partitions, config.partitions),
        ));
    }
    Ok(Plan::Resume)
}

fn rise(
    state: &PipelineState,
    tail: &LogTail,
    elsewhere: u16,
    to: Option<Start>,
    reason: String,
) -> Result<Plan, Stop> {
    let number = state.epoch.number.max(elsewhere).saturating_add(1);
    if number > MAX_EPOCH {
        return Err(Stop::new(Cause::EpochSpace, format!("epoch {MAX_EPOCH} was the last one")));
    }
    let highest = state.term_base.max(tail.term).max(state.leader.term);
    let term_base = (highest / TERM_STEP + 1).saturating_mul(TERM_STEP);
    Ok(Plan::Rise(Rise { number, to, term_base, reason }))
}

/// The repair that a rise needs: from the oldest kept entry, or from an older repair's start if one is pending.
pub fn repair_of(rise: &Rise, state: &PipelineState, at_ms: u64) -> PendingRepair {
    let oldest = state.ring.oldest();
    let start =
        (oldest.map(|entry| entry.resume.clone()), oldest.map(|entry| entry.low_water.clone()).unwrap_or_default());
    repair_from(rise.number, &rise.reason, start, state, at_ms)
}

/// A repair from a position and the offsets that belong to it (none: from the log's start), or from an older repair's.
pub fn repair_from(
    number: u16,
    reason: &str,
    (from, low_water): (Option<Position>, Vec<i64>),
    state: &PipelineState,
    at_ms: u64,
) -> PendingRepair {
    let mut repair = PendingRepair {
        epoch: number,
        reason: reason.to_owned(),
        from,
        low_water,
        topic_id: state.topic_id.clone(),
        at_ms,
        seen: None,
        seen_at_ms: 0,
    };
    for earlier in &state.pending {
        // A rise inherits the older of both starts: else what the first one had still to mend is forgotten.
        let same_log = earlier.topic_id == repair.topic_id && earlier.low_water.len() == repair.low_water.len();
        if same_log {
            for (low, earlier) in repair.low_water.iter_mut().zip(&earlier.low_water) {
                *low = (*low).min(*earlier);
            }
        } else {
            repair.low_water.clear();
        }
        repair.from = match (repair.from.take(), &earlier.from) {
            (Some(Position::Gtid(ours)), Some(Position::Gtid(theirs))) => Some(Position::Gtid(ours.intersect(theirs))),
            (ours, theirs) if ours == *theirs => ours,
            _ => None,
        };
    }
    repair
}

/// The position where an epoch begins, and its place in the server's files if that is known.
pub fn anchor(start: &Start, server: &ServerIdentity) -> Result<(Position, Option<FilePosition>), Stop> {
    let gtids = server.flavor == Flavor::MySql && server.gtid_mode;
    match start {
        Start::Oldest if gtids => Ok((Position::Gtid(server.gtid_purged.clone()), Some(server.oldest.clone()))),
        Start::Oldest => Ok((Position::File(server.oldest.clone()), Some(server.oldest.clone()))),
        Start::Now if gtids => Ok((Position::Gtid(server.gtid_executed.clone()), None)),
        Start::Now => Ok((Position::File(server.end.clone()), Some(server.end.clone()))),
        Start::Gtid(_) if !gtids => Err(Stop::new(
            Cause::NoGtid,
            "the position is a GTID set, but the source has no MySQL GTIDs (gtid_mode): give FILE:POSITION",
        )),
        Start::Gtid(set) => {
            available(set, server)?;
            Ok((Position::Gtid(set.clone()), None))
        }
        Start::File(at) => {
            if order(at) < order(&server.oldest) {
                return Err(Stop::new(
                    Cause::Purged,
                    format!("position {at} is before {}, the oldest the source has", server.oldest),
                ));
            }
            if order(at) > order(&server.end) {
                return Err(Stop::new(
                    Cause::Config,
                    format!("position {at} is beyond {}, the source's end", server.end),
                ));
            }
            Ok((Position::File(at.clone()), Some(at.clone())))
        }
    }
}

fn order(at: &FilePosition) -> (Option<u64>, u64) {
    (at.file_number(), at.position)
}

/// Whether all transactions after `set` can still be read, and the source knows all of `set`.
fn available(set: &GtidSet, server: &ServerIdentity) -> Result<(), Stop> {
    let lost = server.gtid_purged.subtract(set);
    if !lost.is_empty() {
        return Err(Stop::new(Cause::Purged, format!("the source has purged {lost}, which would be needed")));
    }
    let unknown = set.subtract(&server.gtid_executed);
    if !unknown.is_empty() {
        return Err(Stop::new(Cause::Config, format!("the position names {unknown}, which the source never had")));
    }
    Ok(())
}

/// Whether this server can go on from here under this epoch (steps 1 and 2, without the witness' bytes).
pub fn same_server(state: &PipelineState, carried: &Position, server: &ServerIdentity) -> Result<(), Stop> {
    let same = state.epoch.server == server.server_uuid;
    let elsewhere = || format!("the source is {}, the epoch was begun on {}", server.server_uuid, state.epoch.server);
    match carried {
        Position::File(_) if !same => Err(Stop::new(Cause::NoGtid, elsewhere())),
        _ if !same => Err(Stop::new(Cause::OtherServer, elsewhere())),
        Position::Gtid(_) if !server.gtid_mode => {
            Err(Stop::new(Cause::NoGtid, "the position is a GTID set, but the source's gtid_mode is not ON any more"))
        }
        Position::Gtid(set) => {
            // Ahead comes first: after a reset nothing is purged although everything is gone.
            // What is owned may be in the binlog already, waiting for a semi-synchronous replica: the witness tells
            // whether it is the same transaction.
            let ahead = set.subtract(&server.gtid_executed).subtract(&server.gtid_owned);
            if !ahead.is_empty() {
                return Err(Stop::new(
                    Cause::HistoryRewritten,
                    format!("{ahead} was carried, but the source does not have it any more"),
                ));
            }
            let lost = server.gtid_purged.subtract(set);
            if !lost.is_empty() {
                return Err(Stop::new(
                    Cause::Purged,
                    format!("the source has purged {lost}, which was not carried yet"),
                ));
            }
            Ok(())
        }
        Position::File(at) if order(at) < order(&server.oldest) => {
            Err(Stop::new(Cause::Purged, format!("{at} is before {}, the oldest the source has", server.oldest)))
        }
        Position::File(_) | Position::MariaDb(_) => Ok(()),
    }
}

/// What reading the witness' place gave.
#[derive(Debug)]
pub enum WitnessRead {
    /// The transaction there.
    Bytes(EventBatch),
    /// There is no event at that place, or no such file.
    Gone(String),
}

/// Judges a witness (step 1). `last_known_ms`: wall clock when the witness was certainly there (its commit).
pub fn judge_witness(
    witness: &Witness,
    read: &WitnessRead,
    server: &ServerIdentity,
    last_known_ms: u64,
    now_ms: u64,
) -> Result<(), Stop> {
    let place = format!("{}:{}", witness.file, witness.start);
    let rewritten = |what: String| {
        let name = if witness.gtid.is_empty() { "a transaction" } else { &witness.gtid };
        Err(Stop::new(Cause::HistoryRewritten, format!("{name} was emitted from {place}, where {what}")))
    };
    match read {
        WitnessRead::Bytes(batch) => {
            let (length, crc32) = digest(batch, witness.length)?;
            if length < witness.length {
                rewritten(format!("a transaction of {length} bytes stands instead of {}", witness.length))
            } else if crc32 != witness.crc32 {
                rewritten("other bytes stand now".to_owned())
            } else {
                Ok(())
            }
        }
        WitnessRead::Gone(why) => {
            let number = FilePosition::new(witness.file.clone(), 0).file_number();
            let purged = number < server.oldest.file_number();
            let up_since_ms = now_ms.saturating_sub(server.uptime_s.saturating_mul(1000));
            if purged && last_known_ms > 0 && up_since_ms.saturating_add(CLOCK_MARGIN_MS) < last_known_ms {
                // It has not restarted since it wrote the witness, so it cannot have lost it.
                Ok(())
            } else if purged {
                Err(Stop::new(
                    Cause::Purged,
                    format!("the last emitted transaction ({place}) was purged, and the source restarted since"),
                ))
            } else {
                rewritten(format!("nothing stands now ({why})"))
            }
        }
    }
}

/// How far the clocks of source and deployer may differ before an uptime proves nothing.
const CLOCK_MARGIN_MS: u64 = 60_000;

/// Length and CRC32 of a transaction's counted bytes, up to `limit` bytes (an event that crosses it is left out).
pub fn digest(batch: &EventBatch, limit: u64) -> Result<(u64, u32), Stop> {
    let mut hasher = crc32fast::Hasher::new();
    let mut length = 0u64;
    for event in batch.events() {
        if !crate::binlog::EventHeader::parse(event)?.counts() {
            continue;
        }
        if length + event.len() as u64 > limit {
            break;
        }
        length += event.len() as u64;
        hasher.update(event);
    }
    Ok((length, hasher.finalize()))
}

#[cfg(test)]
#[path = "epoch_tests.rs"]
mod tests;
