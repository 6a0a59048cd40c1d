//! The version of a row change: `rank(2) ‖ epoch(13) ‖ offset(48)` (protocol §1).
//!
//! Must not know where an epoch or an offset comes from.

use std::fmt;

/// Bits of the offset within an epoch: 281 TB of binlog.
pub const OFFSET_BITS: u32 = 48;
/// Bits of the epoch number.
pub const EPOCH_BITS: u32 = 13;
/// The highest epoch a version can carry.
pub const MAX_EPOCH: u16 = (1 << EPOCH_BITS) - 1;
/// The highest offset a version can carry.
pub const MAX_OFFSET: u64 = (1 << OFFSET_BITS) - 1;
/// The highest rank a version can carry.
pub const MAX_RANK: u8 = 3;

/// A positive 64-bit version for `version_type=external_gte`. Greater wins, equal overwrites.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// Packs the parts; `None` if one is out of its range.
    pub fn new(rank: u8, epoch: u16, offset: u64) -> Option<Self> {
        (rank <= MAX_RANK && epoch <= MAX_EPOCH && offset <= MAX_OFFSET)
            .then(|| Self((u64::from(rank) << (EPOCH_BITS + OFFSET_BITS)) | (u64::from(epoch) << OFFSET_BITS) | offset))
    }

    /// From the number an index reports; `None` if it is not one of ours (negative).
    pub fn from_number(number: i64) -> Option<Self> {
        u64::try_from(number).ok().map(Self)
    }

    /// The number that goes on the wire, always in `0..=2^63-1`.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The source's place in the order in which rows move (hot 0, cold 1).
    pub fn rank(self) -> u8 {
        (self.0 >> (EPOCH_BITS + OFFSET_BITS)) as u8
    }

    /// The epoch's number.
    pub fn epoch(self) -> u16 {
        ((self.0 >> OFFSET_BITS) & u64::from(MAX_EPOCH)) as u16
    }

    /// The offset within the epoch: the event's first byte plus the row's index in the event.
    pub fn offset(self) -> u64 {
        self.0 & MAX_OFFSET
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version(rank {}, epoch {}, offset {})", self.rank(), self.epoch(), self.offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_and_the_number_is_positive() {
        let version = Version::new(3, MAX_EPOCH, MAX_OFFSET).unwrap();
        assert_eq!(version.number(), i64::MAX as u64);
        assert_eq!((version.rank(), version.epoch(), version.offset()), (3, MAX_EPOCH, MAX_OFFSET));
    }

    #[test]
    fn rank_beats_epoch_and_epoch_beats_offset() {
        let v = |r, e, o| Version::new(r, e, o).unwrap();
        assert!(v(1, 0, 0) > v(0, MAX_EPOCH, MAX_OFFSET));
        assert!(v(0, 2, 0) > v(0, 1, MAX_OFFSET));
    }

    #[test]
    fn out_of_range_parts_are_refused() {
        assert!(Version::new(4, 0, 0).is_none());
        assert!(Version::new(0, MAX_EPOCH + 1, 0).is_none());
        assert!(Version::new(0, 0, MAX_OFFSET + 1).is_none());
    }
}
