//! Earlier checkpoints over the horizon, written as differences so that they stay small.
//!
//! Must not judge which entry is usable: that takes a server's answer.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

use super::document::{PreparedXa, RingEntry, Witness};
use crate::gtid::GtidSet;
use crate::position::Position;

/// How many entries the horizon is divided into.
const STEPS: u32 = 120;

/// Earlier checkpoints, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ring {
    entries: Vec<RingEntry>,
}

impl Ring {
    /// The entries, oldest first.
    pub fn entries(&self) -> &[RingEntry] {
        &self.entries
    }

    /// The oldest entry.
    pub fn oldest(&self) -> Option<&RingEntry> {
        self.entries.first()
    }

    /// Takes in a checkpoint if the newest entry is old enough (`horizon` / 120) or of another epoch, and drops what
    /// lies wholly beyond the horizon: one entry at or before its edge is kept, so that the horizon stays covered.
    /// Returns whether it was taken.
    pub fn push(&mut self, entry: RingEntry, horizon: Duration) -> bool {
        let step = (horizon / STEPS).as_millis() as u64;
        if let Some(last) = self.entries.last()
            && last.epoch == entry.epoch
            && entry.at_ms < last.at_ms.saturating_add(step)
        {
            return false;
        }
        let edge = entry.at_ms.saturating_sub(horizon.as_millis() as u64);
        self.entries.push(entry);
        let beyond = self.entries.iter().skip(1).take_while(|entry| entry.at_ms <= edge).count();
        self.entries.drain(..beyond);
        true
    }

    /// Takes in an entry whatever its age: an anchor, a common point.
    pub fn add(&mut self, entry: RingEntry) {
        self.entries.push(entry);
    }

    /// Keeps the entries that `keep` accepts.
    pub fn retain(&mut self, keep: impl FnMut(&RingEntry) -> bool) {
        self.entries.retain(keep);
    }

    /// Drops what lies above an offset of an epoch: the pipeline goes back there.
    pub fn cut(&mut self, epoch: u16, offset: u64) {
        self.entries.retain(|entry| entry.epoch != epoch || entry.offset <= offset);
    }

    /// Drops every second entry but the oldest and the newest. Returns whether anything was dropped.
    pub fn thin(&mut self) -> bool {
        let before = self.entries.len();
        let last = before.saturating_sub(1);
        let mut index = 0;
        self.entries.retain(|_| {
            let keep = index == 0 || index == last || index % 2 == 0;
            index += 1;
            keep
        });
        self.entries.len() < before
    }
}

/// An entry as it is written: a GTID set as what it adds to and takes from the entry before it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    epoch: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resume: Option<Position>,
    #[serde(default, skip_serializing_if = "GtidSet::is_empty")]
    added: GtidSet,
    #[serde(default, skip_serializing_if = "GtidSet::is_empty")]
    removed: GtidSet,
    offset: u64,
    witness: Witness,
    low_water: Vec<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    prepared: Vec<PreparedXa>,
    at_ms: u64,
}

impl Serialize for Ring {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut previous: Option<&GtidSet> = None;
        serializer.collect_seq(self.entries.iter().map(|entry| {
            let (resume, added, removed) = match (&entry.resume, previous) {
                (Position::Gtid(set), Some(before)) => (None, set.subtract(before), before.subtract(set)),
                (other, _) => (Some(other.clone()), GtidSet::default(), GtidSet::default()),
            };
            previous = match &entry.resume {
                Position::Gtid(set) => Some(set),
                _ => None,
            };
            Written {
                epoch: entry.epoch,
                resume,
                added,
                removed,
                offset: entry.offset,
                witness: entry.witness.clone(),
                low_water: entry.low_water.clone(),
                prepared: entry.prepared.clone(),
                at_ms: entry.at_ms,
            }
        }))
    }
}

impl<'de> Deserialize<'de> for Ring {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut previous: Option<GtidSet> = None;
        let mut entries = Vec::new();
        for written in Vec::<Written>::deserialize(deserializer)? {
            let resume = match (written.resume, previous.take()) {
                (Some(position), _) => position,
                (None, Some(before)) => Position::Gtid(before.subtract(&written.removed).union(&written.added)),
                (None, None) => return Err(serde::de::Error::custom("a ring entry refers to one that is not there")),
            };
            if let Position::Gtid(set) = &resume {
                previous = Some(set.clone());
            }
            entries.push(RingEntry {
                epoch: written.epoch,
                resume,
                offset: written.offset,
                witness: written.witness,
                low_water: written.low_water,
                prepared: written.prepared,
                at_ms: written.at_ms,
            });
        }
        Ok(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn entry(at_ms: u64, set: &str) -> RingEntry {
        RingEntry {
            epoch: 1,
            resume: Position::Gtid(set.parse().unwrap()),
            offset: at_ms,
            witness: Witness {
                file: "b.000001".into(),
                start: 4,
                gtid: String::new(),
                length: 1,
                crc32: 2,
                original_commit_us: 3,
            },
            low_water: vec![at_ms as i64, 0],
            prepared: Vec::new(),
            at_ms,
        }
    }

    #[test]
    fn differences_give_the_same_sets_back() {
        let mut ring = Ring::default();
        let hour = Duration::from_secs(3600);
        for (at, set) in [(0, "1-5"), (40_000, "1-9:12"), (80_000, "1-7:12-13"), (120_000, "1-30")] {
            assert!(ring.push(entry(at, &format!("{UUID}:{set}")), hour));
        }
        let text = serde_json::to_string(&ring).unwrap();
        assert_eq!(text.matches(UUID).count(), 1 + 3 + 1, "one full set and differences: {text}");
        assert_eq!(serde_json::from_str::<Ring>(&text).unwrap(), ring);
    }

    proptest! {
        #[test]
        fn the_horizon_stays_covered(gaps in proptest::collection::vec(1_000u64..90_000, 1..400)) {
            let horizon = Duration::from_secs(3600);
            let mut ring = Ring::default();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                ring.push(entry(now, UUID_SET), horizon);
                let oldest = ring.oldest().unwrap().at_ms;
                prop_assert!(oldest <= now.saturating_sub(3_600_000).max(91_000), "oldest {oldest} at {now}");
                prop_assert!(ring.entries().len() <= STEPS as usize + 2);
            }
        }

        #[test]
        fn thinning_keeps_the_ends(count in 3usize..200) {
            let mut ring = Ring { entries: (0..count as u64).map(|at| entry(at, UUID_SET)).collect() };
            prop_assert!(ring.thin());
            prop_assert_eq!(ring.oldest().unwrap().at_ms, 0);
            prop_assert_eq!(ring.entries().last().unwrap().at_ms, count as u64 - 1);
            prop_assert!(ring.entries().len() <= count / 2 + 2);
        }
    }

    const UUID_SET: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
}
