//! Which records of a partition are final, and how far its offset may move (Rule 1).
//!
//! A record is final when all its operations are. The offset follows the contiguous prefix of final records, and with
//! it the highest term seen *below* it: both are committed together, so that after a restart a record between the
//! offset and a fence is not mistaken for a late one, and a late one behind the fence is not let through.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::ports::log::{Committed, ConsumedRecord};

/// Names a record within one assignment of its partition. After a revocation it names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The partition.
    pub partition: u32,
    /// The assignment: unique in the life of a sink.
    pub assignment: u64,
    /// The record's number in the assignment.
    pub number: u64,
}

/// A record that is not final yet.
#[derive(Debug)]
struct Waiting {
    offset: i64,
    operations: usize,
    term: u64,
    commit_ms: u64,
    bytes: usize,
    record: Option<Arc<ConsumedRecord>>,
}

/// One assigned partition.
#[derive(Debug)]
pub struct Partition {
    /// The assignment.
    pub assignment: u64,
    number: u32,
    waiting: VecDeque<Waiting>,
    /// The number of the first record in `waiting`.
    first: u64,
    /// The highest term seen in any record.
    seen_term: u64,
    /// Where the offset may go, and the term below it.
    next: i64,
    next_term: u64,
    committed: Option<i64>,
    topic_id: String,
    /// Bytes of records that are not final.
    pub bytes: usize,
}

impl Partition {
    /// A partition assigned, read from `next` on; `term` is the highest seen below it.
    pub fn new(number: u32, assignment: u64, next: i64, term: u64, topic_id: String) -> Self {
        Self {
            assignment,
            number,
            waiting: VecDeque::new(),
            first: 0,
            seen_term: term,
            next,
            next_term: term,
            committed: Some(next),
            topic_id,
            bytes: 0,
        }
    }

    /// Takes note of a record's term. `false`: a later record of a lower term, a deposed leader's: it must be dropped.
    pub fn admit(&mut self, term: u64) -> bool {
        self.seen_term = self.seen_term.max(term);
        if term < self.seen_term {
            branch::reached(Branch::LowerTerm);
        }
        term >= self.seen_term
    }

    /// Adds a record with so many operations, in offset order. With none it is final at once.
    pub fn push(&mut self, record: Arc<ConsumedRecord>, operations: usize, commit_ms: u64) -> Token {
        let number = self.first + self.waiting.len() as u64;
        let bytes = record.value.as_ref().map_or(0, Vec::len) + 256;
        self.bytes += bytes;
        self.waiting.push_back(Waiting {
            offset: record.offset,
            operations,
            term: self.seen_term,
            commit_ms,
            bytes,
            record: (operations > 0).then_some(record),
        });
        self.advance();
        Token { partition: self.number, assignment: self.assignment, number }
    }

    /// One more operation of the record is final. Tokens of another assignment are ignored.
    pub fn done(&mut self, token: Token) {
        if token.assignment != self.assignment {
            return;
        }
        let place = token.number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(waiting) = place.and_then(|place| self.waiting.get_mut(place)) {
            waiting.operations = waiting.operations.saturating_sub(1);
            if waiting.operations == 0 {
                waiting.record = None;
            }
            self.advance();
        }
    }

    /// The record behind a token, while it is not final.
    pub fn record(&self, token: Token) -> Option<&Arc<ConsumedRecord>> {
        let place = usize::try_from(token.number.checked_sub(self.first)?).ok()?;
        self.waiting.get(place).filter(|_| token.assignment == self.assignment)?.record.as_ref()
    }

    /// The commit time of the record behind a token, while it is known.
    pub fn commit_ms_of(&self, token: Token) -> Option<u64> {
        let place = usize::try_from(token.number.checked_sub(self.first)?).ok()?;
        self.waiting.get(place).filter(|_| token.assignment == self.assignment).map(|waiting| waiting.commit_ms)
    }

    fn advance(&mut self) {
        while let Some(front) =
            self.waiting.front().filter(|front| front.operations == 0 || canary::on(Canary::CommitBeforeOutcome))
        {
            self.next = front.offset + 1;
            self.next_term = front.term;
            self.bytes -= front.bytes;
            self.first += 1;
            self.waiting.pop_front();
        }
    }

    /// What to commit, if it differs from what was last handed out.
    pub fn to_commit(&mut self) -> Option<Committed> {
        if self.committed == Some(self.next) {
            return None;
        }
        self.committed = Some(self.next);
        Some(Committed { offset: self.next, metadata: Mark { term: self.next_term, topic: &self.topic_id }.to_text() })
    }

    /// Where the offset may go.
    #[cfg(test)]
    pub fn to_commit_now(&self) -> i64 {
        self.next
    }

    /// What was handed out was not written: hand it out again.
    pub fn commit_failed(&mut self) {
        self.committed = None;
    }

    /// Whether every record is final.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Commit time of the oldest record that is not final.
    pub fn oldest_commit_ms(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.commit_ms)
    }
}

/// What is committed beside an offset: `t1 <term> <topic id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'a> {
    /// The highest term below the offset.
    pub term: u64,
    /// The topic's id; empty where the client does not tell it.
    pub topic: &'a str,
}

impl<'a> Mark<'a> {
    /// The text to commit.
    pub fn to_text(self) -> String {
        format!("t1 {} {}", self.term, self.topic)
    }

    /// Reads it back; `None` if it is not one (another tool has set the offset).
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.strip_prefix("t1 ")?.splitn(2, ' ');
        Some(Self { term: words.next()?.parse().ok()?, topic: words.next().unwrap_or("") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(offset: i64) -> Arc<ConsumedRecord> {
        let value = Some(vec![0; 10]);
        Arc::new(ConsumedRecord { partition: 3, offset, key: None, value, headers: Vec::new(), timestamp_ms: 0 })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn the_offset_never_passes_a_record_that_is_not_final(
            steps in proptest::collection::vec((0usize..3, 1i64..3, 0u64..3), 1..30),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 100),
        ) {
            let mut partition = Partition::new(3, 1, 100, 5, String::new());
            let (mut offset, mut term) = (100, 5);
            // (offset, term below the next, operations still open)
            let mut model: Vec<(i64, u64, usize)> = Vec::new();
            let mut open: Vec<(Token, usize)> = Vec::new();
            for (place, &(operations, gap, rise)) in steps.iter().enumerate() {
                term += rise;
                prop_assert!(partition.admit(term));
                let token = partition.push(record(offset), operations, 0);
                model.push((offset, term, operations));
                open.extend(std::iter::repeat_n((token, place), operations));
                offset += gap;
            }
            let mut order = order.into_iter();
            loop {
                let final_prefix = model.iter().take_while(|(_, _, left)| *left == 0).last();
                let expected = final_prefix.map_or((100, 5), |&(offset, term, _)| (offset + 1, term));
                prop_assert_eq!((partition.next, partition.next_term), expected);
                prop_assert_eq!(partition.is_idle(), open.is_empty());
                if open.is_empty() { break }
                let (token, place) = open.swap_remove(order.next().map_or(0, |index| index.index(open.len())));
                prop_assert!(partition.record(token).is_some());
                partition.done(token);
                model[place].2 -= 1;
            }
            prop_assert_eq!(partition.bytes, 0);
        }
    }

    #[test]
    fn the_committed_term_is_the_one_below_the_offset() {
        let mut partition = Partition::new(3, 1, 100, 5, "id".into());
        assert!(partition.to_commit().is_none());
        let first = partition.push(record(100), 1, 0);
        assert!(partition.admit(9), "the fence of a new leader");
        partition.push(record(101), 0, 0);
        assert!(!partition.admit(5), "a late record");
        assert!(partition.to_commit().is_none(), "record 100 is open");
        partition.done(first);
        let committed = partition.to_commit().unwrap();
        assert_eq!((committed.offset, Mark::parse(&committed.metadata).unwrap().term), (102, 9));
        partition.commit_failed();
        assert!(partition.to_commit().is_some());

        // With only the records before the fence final, the older term is committed.
        let mut partition = Partition::new(3, 2, 100, 5, "id".into());
        partition.push(record(100), 0, 0);
        assert!(partition.admit(9));
        partition.push(record(101), 1, 0);
        assert_eq!(partition.to_commit().unwrap().metadata, "t1 5 id");
    }

    #[test]
    fn outcomes_of_an_earlier_assignment_change_nothing() {
        let mut old = Partition::new(3, 1, 100, 0, String::new());
        let token = old.push(record(100), 1, 0);
        let mut new = Partition::new(3, 2, 100, 0, String::new());
        new.push(record(100), 1, 0);
        new.done(token);
        assert!(!new.is_idle());
        assert!(new.record(token).is_none());
    }

    #[test]
    fn marks_round_trip_and_others_are_not_marks() {
        for mark in [Mark { term: 7, topic: "a b" }, Mark { term: u64::MAX, topic: "" }] {
            assert_eq!(Mark::parse(&mark.to_text()), Some(mark));
        }
        for other in ["", "t1", "t1 x", "t2 7 a", "console"] {
            assert_eq!(Mark::parse(other), None);
        }
    }
}
