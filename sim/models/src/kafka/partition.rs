//! One partition: records and transaction markers at their offsets, and what a reader of committed records sees.

use std::collections::{BTreeSet, VecDeque};
use towpath_engine::ports::log::ConsumedRecord;

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Committed,
    Aborted,
}

/// Transactions whose records are not shown; all others are committed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hidden {
    /// Neither committed nor aborted yet.
    pub open: BTreeSet<u64>,
    /// Aborted.
    pub aborted: BTreeSet<u64>,
}

/// Something that takes an offset.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// A record; in a transaction, its number.
    Record { record: ConsumedRecord, transaction: Option<u64> },
    /// The end of a transaction in this partition.
    Marker,
}

/// A partition's log.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartitionLog {
    /// The first offset kept.
    pub start: i64,
    entries: VecDeque<Entry>,
}

impl PartitionLog {
    /// The next offset to be written: the high-water mark.
    pub fn end(&self) -> i64 {
        self.start + self.entries.len() as i64
    }

    /// Appends and returns the offset.
    pub fn append(&mut self, mut entry: Entry) -> i64 {
        let offset = self.end();
        if let Entry::Record { record, .. } = &mut entry {
            record.offset = offset;
        }
        self.entries.push_back(entry);
        offset
    }

    /// Retention: offsets below `start` go.
    pub fn truncate_before(&mut self, start: i64) {
        while self.start < start && self.entries.pop_front().is_some() {
            self.start += 1;
        }
    }

    /// Committed records from `from` below `to`, at most `max`, and the next offset to read.
    pub fn read(&self, hidden: &Hidden, from: i64, to: i64, max: usize) -> (Vec<ConsumedRecord>, i64) {
        let to = to.min(self.stable_end(hidden, from));
        let mut records = Vec::new();
        let mut next = from;
        while next < to && records.len() < max {
            if let Some(Entry::Record { record, transaction }) = self.entries.get((next - self.start) as usize)
                && transaction.is_none_or(|number| !hidden.aborted.contains(&number))
            {
                records.push(record.clone());
            }
            next += 1;
        }
        (records, next)
    }

    /// The last stable offset at or behind `from`: nothing from there on is shown while the transaction that has a
    /// record there is open.
    fn stable_end(&self, hidden: &Hidden, from: i64) -> i64 {
        if hidden.open.is_empty() {
            return self.end();
        }
        let skip = (from - self.start).max(0) as usize;
        let is_open = |entry: &Entry| match entry {
            Entry::Record { transaction: Some(number), .. } => hidden.open.contains(number),
            _ => false,
        };
        let found = self.entries.iter().skip(skip).position(is_open);
        found.map_or(self.end(), |index| self.start + (skip + index) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(transaction: Option<u64>) -> Entry {
        let record =
            ConsumedRecord { partition: 0, offset: 0, key: None, value: None, headers: Vec::new(), timestamp_ms: 0 };
        Entry::Record { record, transaction }
    }

    #[test]
    fn open_transactions_hold_readers_back_and_aborted_ones_are_passed_over() {
        let mut log = PartitionLog::default();
        for entry in [record(None), record(Some(1)), record(None)] {
            log.append(entry);
        }
        let mut hidden = Hidden::default();
        hidden.open.insert(1);
        assert_eq!(log.read(&hidden, 0, 9, 9).1, 1);
        hidden.open.remove(&1);
        hidden.aborted.insert(1);
        log.append(Entry::Marker);
        let (records, next) = log.read(&hidden, 0, 9, 9);
        assert_eq!((records.iter().map(|r| r.offset).collect::<Vec<_>>(), next), (vec![0, 2], 4));
        log.truncate_before(2);
        assert_eq!((log.start, log.end()), (2, 4));
    }
}
