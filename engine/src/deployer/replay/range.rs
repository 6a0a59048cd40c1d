//! Which transactions a replay carries, and the kept point where it begins to read.

use crate::cause::{Cause, Stop};
use crate::format::headers::GTID;
use crate::gtid::{Gtid, GtidSet};
use crate::position::Position;
use crate::state::PipelineState;

/// What a replay carries, of what was carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// Every transaction that is not in this set.
    Gtids(GtidSet),
    /// Every change committed at or after this time, milliseconds since the epoch.
    TimeMs(u64),
}

impl Since {
    /// Whether a record with these headers, of an event of that time, is of the range.
    pub(super) fn takes(&self, headers: &[(&str, &[u8])], event_ms: u64) -> bool {
        match self {
            Self::TimeMs(since) => event_ms >= *since,
            Self::Gtids(set) => {
                let gtid = headers.iter().find(|(name, _)| *name == GTID).map(|(_, value)| *value);
                let gtid = gtid.and_then(|text| std::str::from_utf8(text).ok()?.parse::<Gtid>().ok());
                gtid.is_none_or(|gtid| !set.contains(&gtid))
            }
        }
    }
}

/// The newest kept point that has the whole range behind it: where to resume, and its offset in the epoch.
///
/// # Errors
/// The range begins before the oldest, or the source numbers its transactions otherwise.
pub fn start(state: &PipelineState, since: &Since) -> Result<(Position, u64), Stop> {
    let epoch = &state.epoch;
    // Nothing was carried before the first epoch's anchor, so that it has every range behind it.
    let first = epoch.number <= 1;
    let anchor = (epoch.anchor.resume.clone(), 0, epoch.began_ms);
    let kept = state.ring.entries().iter().filter(|entry| entry.epoch == epoch.number);
    let kept = kept.map(|entry| (entry.resume.clone(), entry.offset, entry.at_ms));
    let mut oldest = None;
    let mut found = first.then(|| (anchor.0.clone(), 0));
    for (resume, offset, at_ms) in std::iter::once(anchor).chain(kept) {
        let before = match (since, &resume) {
            (Since::TimeMs(since), _) => at_ms <= *since,
            (Since::Gtids(set), Position::Gtid(carried)) => carried.is_subset(set),
            (Since::Gtids(_), other) => {
                let detail = format!("the pipeline's position is {other}, which is no GTID set: give a time");
                return Err(Stop::new(Cause::Config, detail));
            }
        };
        oldest.get_or_insert_with(|| format!("{resume} of {} s since the Unix epoch", at_ms / 1000));
        if before && found.as_ref().is_none_or(|(_, other)| *other <= offset) {
            found = Some((resume, offset));
        }
    }
    found.ok_or_else(|| {
        let detail = format!(
            "the range begins before the oldest kept point of epoch {}, {}: go back there by `towpath position set`, \
             which repairs what lies behind it",
            epoch.number,
            oldest.unwrap_or_default()
        );
        Stop::new(Cause::Config, detail)
    })
}
