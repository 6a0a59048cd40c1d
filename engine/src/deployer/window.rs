//! The ack window: which transactions have been handed to the log, and how far all of them are acknowledged (Rule 1).
//!
//! Transactions enter in commit order; deliveries come in any order; what leaves is the contiguous acknowledged prefix,
//! whole transactions only. Pure: no clock, no I/O, nothing of what a transaction means.

use crate::canary::{self, Canary};
use std::collections::VecDeque;

/// When a record counts as acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// When it is delivered (`fencing = "versions"`).
    Delivered,
    /// When it is delivered and the log's transaction around it is committed (`fencing = "transactions"`).
    Committed,
}

/// A delivery that the window did not expect: the producer's promise is broken, so rewind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a delivery for record {tag} was reported, which is not outstanding")]
pub struct UnexpectedDelivery {
    /// The record's tag.
    pub tag: u64,
}

#[derive(Debug)]
struct Slot {
    /// Number of the transaction, counted from the window's first.
    transaction: u64,
    bytes: u32,
    delivered: bool,
}

#[derive(Debug)]
struct Entry<E> {
    /// Records produced and not delivered.
    outstanding: u32,
    /// One past the tag of its last record (of the last record before it, if it has none).
    end_tag: u64,
    /// Set when the transaction is complete; without it the prefix cannot pass.
    end: Option<E>,
}

/// The window. `E` is what the caller keeps about a transaction's end.
#[derive(Debug)]
pub struct Window<E> {
    rule: Acknowledged,
    /// The transaction number of `transactions[0]`.
    base_transaction: u64,
    transactions: VecDeque<Entry<E>>,
    /// The tag of `slots[0]`.
    base_tag: u64,
    slots: VecDeque<Slot>,
    outstanding_bytes: usize,
    outstanding: usize,
    /// Records with lower tags are committed.
    committed: u64,
    /// Per partition: (transaction, offset after its last delivered record), transactions rising.
    places: Vec<VecDeque<(u64, i64)>>,
    /// Per partition: the offset after the last record of the acknowledged prefix; -1 without one.
    acknowledged: Vec<i64>,
}

impl<E> Window<E> {
    /// An empty window over so many partitions.
    pub fn new(rule: Acknowledged, partitions: u32) -> Self {
        Self {
            rule,
            base_transaction: 0,
            transactions: VecDeque::new(),
            base_tag: 0,
            slots: VecDeque::new(),
            outstanding_bytes: 0,
            outstanding: 0,
            committed: 0,
            places: (0..partitions).map(|_| VecDeque::new()).collect(),
            acknowledged: vec![-1; partitions as usize],
        }
    }

    /// Opens the next transaction in commit order. The one before must have been closed.
    pub fn begin(&mut self) {
        debug_assert!(self.transactions.back().is_none_or(|last| last.end.is_some()), "transactions do not nest");
        let end_tag = self.next_tag();
        self.transactions.push_back(Entry { outstanding: 0, end_tag, end: None });
    }

    /// Adds a record to the open transaction and gives its tag. Without an open transaction one is opened.
    pub fn record(&mut self, bytes: usize) -> u64 {
        if self.transactions.back().is_none_or(|last| last.end.is_some()) {
            self.begin();
        }
        let tag = self.next_tag();
        let transaction = self.base_transaction + self.transactions.len() as u64 - 1;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.slots.push_back(Slot { transaction, bytes, delivered: false });
        if let Some(open) = self.transactions.back_mut() {
            open.outstanding += 1;
            open.end_tag = tag + 1;
        }
        self.outstanding_bytes += bytes as usize;
        self.outstanding += 1;
        tag
    }

    /// Closes the open transaction.
    pub fn end(&mut self, end: E) {
        if self.transactions.back().is_none_or(|last| last.end.is_some()) {
            self.begin();
        }
        if let Some(open) = self.transactions.back_mut() {
            open.end = Some(end);
        }
    }

    /// Takes the report that a record lies at `offset` of `partition`. A failed delivery is never reported here: its
    /// record
    /// stays outstanding, and the prefix before it.
    pub fn delivered(&mut self, tag: u64, partition: u32, offset: i64) -> Result<(), UnexpectedDelivery> {
        let unexpected = UnexpectedDelivery { tag };
        let index = tag.checked_sub(self.base_tag).ok_or(unexpected)?;
        let slot = usize::try_from(index).ok().and_then(|index| self.slots.get_mut(index)).ok_or(unexpected)?;
        let places = self.places.get_mut(partition as usize).ok_or(unexpected)?;
        if slot.delivered {
            return Err(unexpected);
        }
        slot.delivered = true;
        let transaction = slot.transaction;
        self.outstanding_bytes -= slot.bytes as usize;
        self.outstanding -= 1;
        // Only a canary lets a transaction leave before its last delivery.
        if let Some(entry) = transaction.checked_sub(self.base_transaction) {
            self.transactions[entry as usize].outstanding -= 1;
        }
        // Deliveries of a partition come in order, so this looks at the last place only.
        let at = places.iter().rposition(|&(other, _)| other <= transaction);
        match at {
            Some(at) if places[at].0 == transaction => places[at].1 = places[at].1.max(offset + 1),
            Some(at) => places.insert(at + 1, (transaction, offset + 1)),
            None => places.push_front((transaction, offset + 1)),
        }
        while self.slots.front().is_some_and(|slot| slot.delivered) {
            self.slots.pop_front();
            self.base_tag += 1;
        }
        Ok(())
    }

    /// The tag that the next record will get: the mark to commit through.
    pub fn next_tag(&self) -> u64 {
        self.base_tag + self.slots.len() as u64
    }

    /// All records with tags below `mark` are committed.
    pub fn committed(&mut self, mark: u64) {
        self.committed = self.committed.max(mark);
    }

    /// Takes the contiguous acknowledged prefix out, transaction by transaction. Returns how many.
    pub fn advance(&mut self, mut carried: impl FnMut(E)) -> usize {
        let mut count = 0;
        while let Some(first) = self.transactions.front_mut() {
            let committed = self.rule == Acknowledged::Delivered
                || first.end_tag <= self.committed
                || canary::on(Canary::UncommittedCounts);
            let broken = canary::on(Canary::CheckpointBeforeAck);
            if (first.outstanding > 0 || !committed) && !broken {
                break;
            }
            let Some(end) = first.end.take() else { break };
            self.transactions.pop_front();
            self.base_transaction += 1;
            count += 1;
            carried(end);
        }
        count
    }

    /// Per partition, the offset after the last record of what [`Window::advance`] has taken out; -1 if there was none.
    pub fn acknowledged_offsets(&mut self) -> &[i64] {
        for (places, acknowledged) in self.places.iter_mut().zip(&mut self.acknowledged) {
            while let Some(&(transaction, offset)) = places.front()
                && transaction < self.base_transaction
            {
                *acknowledged = offset.max(*acknowledged);
                places.pop_front();
            }
        }
        &self.acknowledged
    }

    /// Bytes of records that are not delivered.
    pub fn outstanding_bytes(&self) -> usize {
        self.outstanding_bytes
    }

    /// Records that are not delivered.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Transactions that have not left: complete or not.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether every transaction that entered has left.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One step of a history; numbers choose among what is possible.
    #[derive(Debug, Clone)]
    enum Step {
        Record { partition: u32, bytes: usize },
        End,
        Deliver(usize),
        Commit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u32..3, 1usize..500).prop_map(|(partition, bytes)| Step::Record { partition, bytes }),
            3 => Just(Step::End),
            6 => any::<usize>().prop_map(Step::Deliver),
            1 => Just(Step::Commit),
        ]
    }

    /// The same in the plainest terms: every record with its transaction, kept for ever.
    #[derive(Default)]
    struct Plain {
        records: Vec<(u64, u64, u32, bool, bool)>,
        transaction: u64,
        carried: u64,
        offsets: [i64; 3],
        low: [i64; 3],
    }

    fn run(rule: Acknowledged, steps: Vec<Step>) {
        let mut window = Window::new(rule, 3);
        let mut plain = Plain { low: [-1; 3], ..Plain::default() };
        let mut last_of = std::collections::BTreeMap::new();
        for step in steps {
            match step {
                Step::Record { partition, bytes } => {
                    let tag = window.record(bytes);
                    plain.records.push((tag, plain.transaction, partition, false, false));
                }
                Step::End => {
                    window.end(plain.transaction);
                    plain.transaction += 1;
                }
                Step::Deliver(choice) => {
                    let waiting: Vec<usize> = (0..plain.records.len()).filter(|&at| !plain.records[at].3).collect();
                    if waiting.is_empty() {
                        continue;
                    }
                    let record = &mut plain.records[waiting[choice % waiting.len()]];
                    record.3 = true;
                    let offset = plain.offsets[record.2 as usize];
                    plain.offsets[record.2 as usize] += 1;
                    let last = last_of.entry((record.1, record.2)).or_insert(-1);
                    *last = offset.max(*last);
                    assert_eq!(window.delivered(record.0, record.2, offset), Ok(()));
                    assert!(window.delivered(record.0, record.2, offset).is_err(), "a second report is noticed");
                }
                // A log commits only what it has flushed.
                Step::Commit if plain.records.iter().all(|record| record.3) => {
                    window.committed(window.next_tag());
                    plain.records.iter_mut().for_each(|record| record.4 = true);
                }
                Step::Commit => {}
            }
            window.advance(|transaction| {
                assert_eq!(transaction, plain.carried, "in commit order, none skipped");
                plain.carried += 1;
                for record in plain.records.iter().filter(|record| record.1 == transaction) {
                    assert!(record.3, "the prefix passed an undelivered record");
                    assert!(rule == Acknowledged::Delivered || record.4, "the prefix passed an uncommitted record");
                }
            });
            assert!(plain.carried <= plain.transaction, "the prefix passed an open transaction");
            // Nothing more could have left.
            let blocked = plain.carried == plain.transaction
                || plain.records.iter().any(|record| {
                    record.1 <= plain.carried && !(record.3 && (rule == Acknowledged::Delivered || record.4))
                });
            assert!(blocked, "an acknowledged transaction stayed");
            for partition in 0..3u32 {
                for transaction in 0..plain.carried {
                    let last = last_of.get(&(transaction, partition)).map_or(-1, |last| last + 1);
                    plain.low[partition as usize] = plain.low[partition as usize].max(last);
                }
            }
            assert_eq!(window.acknowledged_offsets(), plain.low);
            let undelivered = plain.records.iter().filter(|record| !record.3).count();
            assert_eq!(window.outstanding(), undelivered);
            assert_eq!(window.outstanding_bytes() == 0, undelivered == 0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(36_000))]

        #[test]
        fn the_prefix_never_passes_what_is_not_acknowledged(
            committed in any::<bool>(),
            steps in proptest::collection::vec(step(), 1..60),
        ) {
            run(if committed { Acknowledged::Committed } else { Acknowledged::Delivered }, steps);
        }
    }

    #[test]
    fn empty_transactions_wait_for_the_one_before() {
        let mut window = Window::new(Acknowledged::Delivered, 1);
        let tag = window.record(10);
        window.end("full");
        window.begin();
        window.end("empty");
        assert_eq!(window.advance(|_| ()), 0);
        window.delivered(tag, 0, 5).unwrap();
        let mut out = Vec::new();
        assert_eq!(window.advance(|end| out.push(end)), 2);
        assert_eq!((out, window.acknowledged_offsets()), (vec!["full", "empty"], &[6][..]));
    }

    #[test]
    fn an_unknown_tag_or_partition_is_refused() {
        let mut window = Window::<()>::new(Acknowledged::Delivered, 1);
        assert!(window.delivered(0, 0, 0).is_err());
        let tag = window.record(1);
        assert!(window.delivered(tag, 7, 0).is_err());
        assert!(window.delivered(tag + 1, 0, 0).is_err());
        assert_eq!(window.outstanding(), 1);
    }
}
