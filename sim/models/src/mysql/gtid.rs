//! The model server's own GTID sets: intervals by source, their text and their binary form in PREVIOUS_GTIDS.
//!
//! Shares no code with the engine's `gtid`, so that a mistake there cannot hide here.

use std::collections::BTreeMap;
use std::fmt;

/// Intervals by `uuid` (or `uuid:tag`), both ends included, sorted, disjoint and not touching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gtids(BTreeMap<String, Vec<(u64, u64)>>);

impl Gtids {
    /// Reads `uuid[:tag]:1-3:5[:tag:…],uuid:…`; spaces and line breaks are allowed. `None` if it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut fields = part.split(':').map(str::trim);
            let uuid = fields.next()?.to_ascii_lowercase();
            let mut source = uuid.clone();
            for field in fields {
                if field.starts_with(|c: char| c.is_ascii_digit()) {
                    let (first, last) = field.split_once('-').unwrap_or((field, field));
                    set.add_interval(&source, first.trim().parse().ok()?, last.trim().parse().ok()?);
                } else {
                    source = format!("{uuid}:{}", field.to_ascii_lowercase());
                }
            }
        }
        Some(set)
    }

    /// Adds the transactions `first..=last` of a source.
    pub fn add_interval(&mut self, source: &str, first: u64, last: u64) {
        if first == 0 || last < first {
            return;
        }
        let old = self.0.entry(source.to_string()).or_default();
        let (mut first, mut last) = (first, last);
        let mut merged = Vec::with_capacity(old.len() + 1);
        for &(a, b) in old.iter() {
            if b.saturating_add(1) < first || last.saturating_add(1) < a {
                merged.push((a, b));
            } else {
                first = first.min(a);
                last = last.max(b);
            }
        }
        merged.push((first, last));
        merged.sort_unstable();
        *old = merged;
    }

    /// Adds one transaction.
    pub fn add(&mut self, source: &str, number: u64) {
        self.add_interval(source, number, number);
    }

    /// Whether it holds this transaction.
    pub fn contains(&self, source: &str, number: u64) -> bool {
        self.0.get(source).is_some_and(|spans| spans.iter().any(|&(a, b)| a <= number && number <= b))
    }

    /// Whether every transaction of `self` is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.keys().all(|source| self.is_subset_for(other, source))
    }

    /// The same for the transactions of one source.
    pub fn is_subset_for(&self, other: &Self, source: &str) -> bool {
        let theirs = other.0.get(source).map(Vec::as_slice).unwrap_or_default();
        self.0.get(source).is_none_or(|spans| spans.iter().all(|&(a, b)| theirs.iter().any(|&(c, d)| c <= a && b <= d)))
    }

    /// The highest number of a source; 0 without any.
    pub fn highest(&self, source: &str) -> u64 {
        self.0.get(source).and_then(|spans| spans.last()).map_or(0, |&(_, last)| last)
    }

    /// The sources named.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The body of PREVIOUS_GTIDS (untagged format): count, then uuid, count of intervals, each [start, end) in
    /// little-endian 64-bit numbers.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = (self.0.len() as u64).to_le_bytes().to_vec();
        for (source, spans) in &self.0 {
            out.extend_from_slice(&uuid_bytes(source));
            out.extend_from_slice(&(spans.len() as u64).to_le_bytes());
            for &(first, last) in spans {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&(last + 1).to_le_bytes());
            }
        }
        out
    }
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (source, spans)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(source)?;
            for &(first, last) in spans {
                if first == last { write!(f, ":{first}")? } else { write!(f, ":{first}-{last}")? }
            }
        }
        Ok(())
    }
}

/// The 16 bytes of a uuid's text; what is not hexadecimal counts as zero (a configuration's uuid is checked before).
pub(crate) fn uuid_bytes(uuid: &str) -> [u8; 16] {
    let mut out = [0u8; 16];
    let digits = uuid.bytes().filter_map(|byte| (byte as char).to_digit(16));
    for (index, digit) in digits.take(32).enumerate() {
        out[index / 2] |= (digit as u8) << (if index % 2 == 0 { 4 } else { 0 });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_merge_and_print() {
        let mut set = Gtids::default();
        for n in [1, 2, 3, 7, 5, 6] {
            set.add("u", n);
        }
        assert_eq!(set.to_string(), "u:1-3:5-7");
        assert!(set.contains("u", 6) && !set.contains("u", 4));
        assert_eq!(Gtids::parse(" u:1-3:5-7 ,\nv:9").unwrap().to_string(), "u:1-3:5-7,v:9");
    }

    #[test]
    fn subset_is_per_source() {
        let a = Gtids::parse("u:1-3,v:1").unwrap();
        let b = Gtids::parse("u:1-9").unwrap();
        assert!(!a.is_subset(&b) && a.is_subset_for(&b, "u") && !a.is_subset_for(&b, "v"));
    }
}
