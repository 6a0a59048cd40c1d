//! A batch in which each document has one operation: the highest version, ties to the later (protocol §7).
//!
//! Operations that are folded away are kept until the winner's outcome is final: they share it, and if the winner is
//! dead-lettered the next lower one takes its place. Must not send anything.

use indexmap::IndexMap;

use super::document::DocumentKey;
use super::semantics::Operation;
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::version::Version;

/// One operation and the record it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// Version and source; the key stands in the batch.
    pub version: Version,
    /// See [`Operation::source`].
    pub source: Option<bytes::Bytes>,
    /// See [`Operation::insert`].
    pub insert: bool,
    /// Where it comes from.
    pub origin: T,
}

/// All operations on one document: the winner, and those that lost against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain<T> {
    /// The operation to send.
    pub winner: Entry<T>,
    /// The others, in no order.
    pub folded: Vec<Entry<T>>,
}

impl<T> Chain<T> {
    fn push(&mut self, mut entry: Entry<T>) {
        if (entry.version >= self.winner.version) != canary::on(Canary::FoldsToTheOldest) {
            std::mem::swap(&mut entry, &mut self.winner);
        }
        branch::reached(Branch::Folded);
        self.folded.push(entry);
    }

    /// Takes the winner out (it was dead-lettered) and puts the next lower in its place; `Err` gives the winner back
    /// with nothing left.
    pub fn without_winner(mut self) -> (Entry<T>, Option<Self>) {
        // Of equal versions the later came last into `folded`, or was the winner: `max_by_key` takes the last.
        let next = self.folded.iter().enumerate().max_by_key(|(_, entry)| entry.version).map(|(place, _)| place);
        match next {
            Some(place) => {
                let next = self.folded.remove(place);
                let winner = std::mem::replace(&mut self.winner, next);
                (winner, Some(self))
            }
            None => (self.winner, None),
        }
    }

    /// The winner and the folded ones.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        std::iter::once(&self.winner).chain(&self.folded)
    }

    /// Keeps the entries that `keep` accepts; `None` if none is left.
    pub fn retain(mut self, keep: impl Fn(&T) -> bool) -> Option<Self> {
        self.folded.retain(|entry| keep(&entry.origin));
        if keep(&self.winner.origin) { Some(self) } else { self.without_winner().1 }
    }

    fn bytes(&self) -> usize {
        self.winner.source.as_ref().map_or(0, |source| source.len()) + 128
    }
}

/// Documents and their operations, in the order in which the documents first appeared.
#[derive(Debug, Clone)]
pub struct Batch<T> {
    chains: IndexMap<DocumentKey, Chain<T>>,
    bytes: usize,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { chains: IndexMap::new(), bytes: 0 }
    }
}

impl<T> Batch<T> {
    /// Adds an operation. `true` if it met another one of its document.
    pub fn push(&mut self, operation: Operation, origin: T) -> bool {
        let Operation { key, version, source, insert } = operation;
        let entry = Entry { version, source, insert, origin };
        match self.chains.entry(key) {
            indexmap::map::Entry::Occupied(mut known) => {
                let before = known.get().bytes();
                known.get_mut().push(entry);
                self.bytes = self.bytes - before + known.get().bytes();
                true
            }
            indexmap::map::Entry::Vacant(place) => {
                let chain = Chain { winner: entry, folded: Vec::new() };
                self.bytes += chain.bytes();
                place.insert(chain);
                false
            }
        }
    }

    /// How many documents.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// About how many bytes the winners take in a request.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes all chains out.
    pub fn take(&mut self) -> Vec<(DocumentKey, Chain<T>)> {
        self.bytes = 0;
        std::mem::take(&mut self.chains).into_iter().collect()
    }

    /// Keeps what `keep` accepts.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for (key, chain) in self.take() {
            if let Some(chain) = chain.retain(&keep) {
                self.bytes += chain.bytes();
                self.chains.insert(key, chain);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn operation(id: u8, version: u64) -> Operation {
        Operation {
            key: DocumentKey { id: id.to_string(), routing: None },
            version: Version::new(0, 1, version).unwrap(),
            source: Some(bytes::Bytes::from(vec![b'x'; version as usize])),
            insert: false,
        }
    }

    proptest! {
        #[test]
        fn the_highest_version_wins_and_ties_go_to_the_later(
            ops in proptest::collection::vec((0u8..4, 0u64..6), 1..40),
        ) {
            let mut batch = Batch::default();
            // The definition, written down the slow way: (version, arrival), greatest first.
            let mut expected: BTreeMap<String, Vec<(u64, usize)>> = BTreeMap::new();
            for (arrival, &(id, version)) in ops.iter().enumerate() {
                let met = batch.push(operation(id, version), arrival);
                let list = expected.entry(id.to_string()).or_default();
                prop_assert_eq!(met, !list.is_empty());
                list.push((version, arrival));
            }
            let bytes = batch.bytes();
            let chains = batch.take();
            prop_assert_eq!(chains.len(), expected.len());
            let counted: usize = chains.iter().map(|(_, chain)| chain.bytes()).sum();
            prop_assert_eq!(bytes, counted);
            for (key, mut chain) in chains {
                let mut list = expected.remove(&key.id).unwrap();
                list.sort_unstable();
                // Dead-letter one winner after the other: they come in falling order and none is lost.
                loop {
                    let best = list.pop().unwrap();
                    let (winner, rest) = chain.without_winner();
                    prop_assert_eq!(winner.version.offset(), best.0);
                    if list.iter().all(|other| other.0 < best.0) {
                        prop_assert!(winner.origin == best.1 || ops.iter().filter(|op| op.1 == best.0).count() > 1);
                    }
                    match rest {
                        Some(rest) => chain = rest,
                        None => break,
                    }
                }
                prop_assert!(list.is_empty());
            }
        }

        #[test]
        fn what_is_dropped_leaves_the_best_of_the_rest(
            ops in proptest::collection::vec((0u8..3, 0u64..9, any::<bool>()), 1..30),
        ) {
            let mut batch = Batch::default();
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            for &(id, version, keep) in &ops {
                batch.push(operation(id, version), keep);
                if keep {
                    let best = expected.entry(id.to_string()).or_default();
                    *best = (*best).max(version);
                }
            }
            batch.retain(|keep| *keep);
            let left: BTreeMap<String, u64> =
                batch.take().into_iter().map(|(key, chain)| (key.id, chain.winner.version.offset())).collect();
            prop_assert_eq!(left, expected);
        }
    }

    #[test]
    fn a_tie_goes_to_the_later() {
        let mut batch = Batch::default();
        batch.push(operation(1, 5), "first");
        batch.push(operation(1, 5), "second");
        batch.push(operation(1, 4), "lower");
        let (_, chain) = batch.take().remove(0);
        assert_eq!(chain.winner.origin, "second");
        let (_, rest) = chain.without_winner();
        assert_eq!(rest.unwrap().winner.origin, "first");
    }
}
