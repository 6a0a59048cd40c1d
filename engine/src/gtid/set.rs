//! The algebra of GTID sets on sorted, disjoint, never adjacent intervals.
//!
//! Adding the next transaction of a source is a look-up in a tree of a few entries and one addition.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Gtid, GtidError, Tag, Uuid, text};

/// Both ends included; sorted, disjoint, and never adjacent (those are merged).
type Intervals = Vec<Interval>;
type Interval = (u64, u64);

/// A set of GTIDs. Equal sets compare equal however they were made, and print the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct GtidSet {
    /// No entry is empty.
    sources: BTreeMap<(Uuid, Tag), Intervals>,
}

impl GtidSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one transaction; `false` if it was there.
    pub fn insert(&mut self, gtid: Gtid) -> bool {
        let intervals = self.sources.entry((gtid.source, gtid.tag)).or_default();
        // The usual case: the source's next transaction.
        if let Some(last) = intervals.last_mut()
            && gtid.number == last.1.wrapping_add(1)
        {
            last.1 = gtid.number;
            return true;
        }
        if contains(intervals, gtid.number) {
            return false;
        }
        add(intervals, gtid.number, gtid.number);
        true
    }

    /// Adds `first..=last` of a source; does nothing if `last < first`.
    pub fn insert_interval(&mut self, source: Uuid, tag: Tag, first: u64, last: u64) {
        if first <= last {
            add(self.sources.entry((source, tag)).or_default(), first, last);
        }
    }

    /// Whether the transaction is in the set.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.sources.get(&(gtid.source, gtid.tag)).is_some_and(|intervals| contains(intervals, gtid.number))
    }

    /// Whether every transaction of `other` is in this set.
    pub fn contains_all(&self, other: &GtidSet) -> bool {
        other.sources.iter().all(|(source, theirs)| {
            let ours = self.sources.get(source).map_or(&[][..], Vec::as_slice);
            theirs.iter().all(|&(first, last)| {
                // The one interval of ours that can hold `first`.
                let at = ours.partition_point(|&(_, end)| end < first);
                ours.get(at).is_some_and(|&(start, end)| start <= first && last <= end)
            })
        })
    }

    /// Whether every transaction of this set is in `other`.
    pub fn is_subset(&self, other: &GtidSet) -> bool {
        other.contains_all(self)
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &GtidSet) {
        for (&source, intervals) in &other.sources {
            let ours = self.sources.entry(source).or_default();
            for &(first, last) in intervals {
                add(ours, first, last);
            }
        }
    }

    /// What is in either.
    pub fn union(&self, other: &GtidSet) -> GtidSet {
        let mut result = self.clone();
        result.add(other);
        result
    }

    /// What is in this set but not in `other`.
    pub fn subtract(&self, other: &GtidSet) -> GtidSet {
        self.combine(other, true, subtract)
    }

    /// What is in both.
    pub fn intersect(&self, other: &GtidSet) -> GtidSet {
        self.combine(other, false, intersect)
    }

    fn combine(&self, other: &GtidSet, keep_alone: bool, with: fn(&[Interval], &[Interval]) -> Intervals) -> GtidSet {
        let mut result = GtidSet::default();
        for (&source, ours) in &self.sources {
            let intervals = match other.sources.get(&source) {
                Some(theirs) => with(ours, theirs),
                None if keep_alone => ours.clone(),
                None => continue,
            };
            if !intervals.is_empty() {
                result.sources.insert(source, intervals);
            }
        }
        result
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// How many transactions are in it.
    pub fn count(&self) -> u128 {
        self.sources.values().flatten().map(|&(first, last)| u128::from(last - first) + 1).sum()
    }

    /// The sources with their intervals (both ends included, sorted, disjoint), in order of UUID, then tag.
    pub fn sources(&self) -> impl Iterator<Item = (Uuid, Tag, &[(u64, u64)])> + '_ {
        self.sources.iter().map(|(&(source, tag), intervals)| (source, tag, intervals.as_slice()))
    }

    /// The highest number of a source; 0 if it has none.
    pub fn last_number(&self, source: Uuid, tag: Tag) -> u64 {
        self.sources.get(&(source, tag)).and_then(|intervals| intervals.last()).map_or(0, |&(_, last)| last)
    }
}

fn contains(intervals: &[(u64, u64)], number: u64) -> bool {
    let at = intervals.partition_point(|&(_, end)| end < number);
    intervals.get(at).is_some_and(|&(start, _)| start <= number)
}

fn add(intervals: &mut Intervals, first: u64, last: u64) {
    // All that overlap or touch first..=last lie in from..to.
    let from = intervals.partition_point(|&(_, end)| end.saturating_add(1) < first);
    let to = intervals.partition_point(|&(start, _)| start <= last.saturating_add(1));
    if from < to {
        let merged = (first.min(intervals[from].0), last.max(intervals[to - 1].1));
        intervals.splice(from..to, [merged]);
    } else {
        intervals.insert(from, (first, last));
    }
}

fn subtract(ours: &[(u64, u64)], theirs: &[(u64, u64)]) -> Intervals {
    let mut result = Intervals::new();
    let mut from = 0;
    for &(mut first, last) in ours {
        while from < theirs.len() && theirs[from].1 < first {
            from += 1;
        }
        let mut covered = false;
        for &(start, end) in theirs[from..].iter().take_while(|&&(start, _)| start <= last) {
            if first < start {
                result.push((first, start - 1));
            }
            if end >= last {
                covered = true;
                break;
            }
            first = first.max(end + 1);
        }
        if !covered {
            result.push((first, last));
        }
    }
    result
}

fn intersect(ours: &[(u64, u64)], theirs: &[(u64, u64)]) -> Intervals {
    let mut result = Intervals::new();
    let (mut left, mut right) = (0, 0);
    while let (Some(&(a, b)), Some(&(c, d))) = (ours.get(left), theirs.get(right)) {
        if a.max(c) <= b.min(d) {
            result.push((a.max(c), b.min(d)));
        }
        if b < d {
            left += 1;
        } else {
            right += 1;
        }
    }
    result
}

impl FromIterator<Gtid> for GtidSet {
    fn from_iter<I: IntoIterator<Item = Gtid>>(gtids: I) -> Self {
        let mut set = Self::default();
        for gtid in gtids {
            set.insert(gtid);
        }
        set
    }
}

impl FromStr for GtidSet {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        text::set(text)
    }
}

impl fmt::Display for GtidSet {
    /// As the server prints it, on one line: a UUID once, its untagged intervals first, then those of each tag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut previous = None;
        for (&(source, tag), intervals) in &self.sources {
            if previous != Some(source) {
                write!(f, "{}{source}", if previous.is_some() { "," } else { "" })?;
                previous = Some(source);
            }
            if !tag.is_none() {
                write!(f, ":{}", tag.as_str())?;
            }
            for &(first, last) in intervals {
                write!(f, ":{first}")?;
                if last > first {
                    write!(f, "-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl Serialize for GtidSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GtidSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
