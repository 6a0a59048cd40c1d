//! Model: adapters and deletes (docs/protocol.md, "Out of Kafka, into sinks" and "Deletes").
//!
//! One partition, one document, two adapters. The log is one of a few short ones, some with a repeated prefix as an
//! at-least-once producer leaves it. Partitions move, adapters go on as zombies, bulks arrive late, twice or never,
//! the cluster refuses one content and forgets what it may forget.
//!
//! | in the model | in the protocol |
//! |---|---|
//! | `log` | versions in read order; the content of a version never differs |
//! | `owner`, `committed` | the consumer group: the partition's owner, the offset |
//! | `Adapter::read`, `done` | fetched up to; final outcomes without a gap up to |
//! | `Batch` | records folded into one operation a document; `left` are the versions still to be tried |
//! | `wire` | bulk operations that may reach the cluster at any time |
//! | `document` | nothing, a tombstone or a body, with its version |
//!
//! It says nothing of how versions come about (`history/`).

mod rules;

use crate::explore::{Bound, Claim, Model, Planted, REST_REACHABLE};
use crate::few::Few;
use rules::{PLANTED, Rule};
use std::fmt;

const DOCUMENT: Claim = "at rest the document is that of the highest version the cluster takes (Rule 2)";
const OUTCOME: Claim = "the offset never passes a record whose outcome is not final (Rule 1)";
const NO_REGRESS: Claim = "the accepted versions of a document never go back (Rule 2)";

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Operation {
    version: u8,
    delete: bool,
}

/// What the cluster holds under the document's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Document {
    Nothing,
    /// A hard delete: only the version, until it is forgotten.
    Deleted(u8),
    /// A soft delete: a document with a mark.
    Tombstone(u8),
    Body(u8),
}

/// Records on the same document, of which one operation at a time is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Batch {
    end: u8,
    sent: Operation,
    left: Few<Operation, 2>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Adapter {
    /// It believes to own the partition.
    owns: bool,
    read: u8,
    done: u8,
    batches: Few<Batch, 2>,
}

/// See the head of this file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    log: Few<Operation, 4>,
    /// The version that the cluster refuses, if any.
    refused: u8,
    owner: u8,
    committed: u8,
    adapters: [Adapter; 2],
    wire: Few<Operation, 8>,
    document: Document,
    /// The highest version accepted so far, kept by the oracle and not by the cluster.
    accepted: u8,
    /// Records (a bit each) with a final outcome.
    outcomes: u8,
    moves: u8,
    crashes: u8,
    doubles: u8,
    timeouts: u8,
    forgets: u8,
    /// Of all kinds together.
    faults: u8,
    broken: Option<Claim>,
}

/// What happens; the number is the adapter's.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Fetch(usize, u8),
    Commit(usize),
    Arrive(usize),
    Release(usize),
    Purge,
    Rebalance,
    Crash(usize),
    Double,
    TimesOut(usize),
    Forget,
    Vanish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Fetch(a, n) => write!(f, "adapter {a} fetches {n} record(s) and sends one operation for them"),
            Step::Commit(a) => write!(f, "adapter {a} commits its offset"),
            Step::Arrive(n) => write!(f, "operation {} of those under way is answered", n + 1),
            Step::Release(a) => write!(f, "adapter {a} hears that it lost the partition, and lets go"),
            Step::Purge => f.write_str("the tombstone is purged"),
            Step::Rebalance => f.write_str("the partition moves to the other adapter"),
            Step::Crash(a) => write!(f, "adapter {a} dies and starts again"),
            Step::Double => f.write_str("an operation under way is doubled by the network"),
            Step::TimesOut(a) => write!(f, "adapter {a}'s bulk times out; it sends it again"),
            Step::Forget => f.write_str("the cluster forgets the version of a delete"),
            Step::Vanish => f.write_str("an operation nobody waits for is lost"),
        }
    }
}

/// See the head of this file.
pub struct Delivery {
    bound: Bound,
    without: Option<Rule>,
}

impl Delivery {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// Folds the next `n` records into one operation and sends it.
    fn fetch(&self, s: &mut State, a: usize, n: u8) {
        let adapter = &mut s.adapters[a];
        let records = &s.log[usize::from(adapter.read)..usize::from(adapter.read + n)];
        adapter.read += n;
        let mut left: Few<Operation, 2> = records.iter().copied().collect();
        if self.keeps(Rule::FoldByVersion) {
            left.sort_by_key(|operation| operation.version);
        }
        let Some(sent) = left.pop() else { return };
        adapter.batches.push(Batch { end: adapter.read, sent, left });
        s.wire.push(sent);
        if !self.keeps(Rule::CommitAfterOutcome) {
            adapter.done = adapter.read;
        }
    }

    /// An operation reaches the cluster; whoever waits for it learns the outcome.
    fn arrive(&self, s: &mut State, n: usize) {
        let operation = s.wire.remove(n);
        let refused = operation.version == s.refused && !operation.delete;
        if !refused {
            self.apply(s, operation);
        }
        // Of several that wait for the same operation the first hears; the others' answers come with their own.
        let waiting = |adapter: &Adapter| adapter.batches.iter().position(|batch| batch.sent == operation);
        let Some((a, at)) = (0..2).find_map(|a| waiting(&s.adapters[a]).map(|at| (a, at))) else { return };
        let batch = &mut s.adapters[a].batches[at];
        if let Some(next) = batch.left.pop().filter(|_| refused && self.keeps(Rule::NextLowerOnRefusal)) {
            batch.sent = next;
            s.wire.push(next);
            return;
        }
        let end = batch.end;
        let from = if at == 0 { s.adapters[a].done } else { s.adapters[a].batches[at - 1].end };
        for record in from..end {
            let own = s.log[usize::from(record)];
            let final_ = own == operation || self.superseded(s, own);
            s.outcomes |= u8::from(final_) << record;
        }
        // Outcomes count without a gap: a later batch waits for the earlier ones.
        if at == 0 {
            s.adapters[a].batches.remove(0);
            s.adapters[a].done = s.adapters[a].done.max(end);
        } else {
            s.adapters[a].batches[0].end = end;
            s.adapters[a].batches.remove(at);
        }
    }

    /// The outcome of a record that was not sent itself: refused alone, or not above what was accepted.
    fn superseded(&self, s: &State, operation: Operation) -> bool {
        operation.version <= s.accepted || (operation.version == s.refused && !operation.delete)
    }

    fn apply(&self, s: &mut State, operation: Operation) {
        let Operation { version, delete } = operation;
        let unversioned = delete && !self.keeps(Rule::VersionedDelete);
        let current = match s.document {
            Document::Nothing => 0,
            Document::Deleted(version) | Document::Tombstone(version) | Document::Body(version) => version,
        };
        if version < current && !unversioned {
            return; // superseded
        }
        if version < s.accepted {
            s.broken.get_or_insert(NO_REGRESS);
        }
        s.accepted = s.accepted.max(version);
        s.document = match (delete, self.keeps(Rule::SoftDeletes)) {
            (false, _) => Document::Body(version),
            (true, true) => Document::Tombstone(version),
            (true, false) => Document::Deleted(version),
        };
    }

    /// True if an operation below the tombstone may still be under way, or will be sent again.
    fn writers_live(&self, s: &State, tombstone: u8) -> bool {
        let unread = s.log[usize::from(s.committed)..].iter().any(|operation| operation.version < tombstone);
        let held = s
            .adapters
            .iter()
            .any(|adapter| !adapter.batches.is_empty() || adapter.read < s.log.len() as u8 && adapter.owns);
        unread || held || s.wire.iter().any(|operation| operation.version < tombstone)
    }
}

impl Model for Delivery {
    type State = State;
    type Step = Step;
    type Rule = Rule;
    const NAME: &'static str = "delivery";
    const CLAIMS: &'static [Claim] = &[OUTCOME, NO_REGRESS, DOCUMENT, REST_REACHABLE];
    const PLANTED: &'static [Planted<Rule>] = PLANTED;

    fn new(bound: Bound, without: Option<Rule>) -> Self {
        Delivery { bound, without }
    }

    fn starts(&self) -> Vec<State> {
        let large = u8::from(self.bound == Bound::Large);
        let write = |version| Operation { version, delete: false };
        let delete = |version| Operation { version, delete: true };
        let logs: [&[Operation]; 4] = [
            &[write(1), delete(2)],
            &[write(1), delete(2), write(3)],
            &[write(1), write(2), write(1), write(2)],
            &[write(1), delete(2), write(1), delete(2)],
        ];
        let adapter = Adapter { owns: false, read: 0, done: 0, batches: Few::new() };
        let start = |(log, refused): (&[Operation], u8)| State {
            log: log.iter().copied().collect(),
            refused,
            owner: 0,
            committed: 0,
            adapters: [Adapter { owns: true, ..adapter }, adapter],
            wire: Few::new(),
            document: Document::Nothing,
            accepted: 0,
            outcomes: 0,
            moves: 1,
            crashes: 1,
            doubles: 1,
            timeouts: 1,
            forgets: 1,
            faults: 2 + large,
            broken: None,
        };
        logs.into_iter().flat_map(|log| [(log, 0), (log, 2)]).map(start).collect()
    }

    fn steps(&self, s: &State, out: &mut Vec<(Step, State)>) {
        let mut step = |what: Step, change: &dyn Fn(&mut State)| {
            let mut after = *s;
            change(&mut after);
            out.push((what, after));
        };
        for a in 0..2 {
            let adapter = &s.adapters[a];
            let owner = usize::from(s.owner) == a;
            // No two batches in flight share a document, and there is one document.
            let width = if self.keeps(Rule::OneBatchADocument) { 1 } else { 2 };
            if adapter.owns && adapter.batches.len() < width {
                for n in 1..=(s.log.len() as u8 - adapter.read).min(2) {
                    step(Step::Fetch(a, n), &|s| self.fetch(s, a, n));
                }
            }
            let accepted = owner || !self.keeps(Rule::GenerationChecked);
            if adapter.owns && accepted && adapter.done != s.committed && (adapter.done > s.committed || !owner) {
                step(Step::Commit(a), &|s| s.committed = s.adapters[a].done);
            }
            let waits = !adapter.batches.is_empty() && self.keeps(Rule::AwaitOnRevoke);
            if adapter.owns && !owner && !waits {
                step(Step::Release(a), &|s| {
                    if !self.keeps(Rule::AwaitOnRevoke) {
                        s.committed = s.committed.max(s.adapters[a].read);
                    }
                    s.adapters[a] = Adapter { owns: false, read: 0, done: 0, batches: Few::new() };
                });
            }
            // The other takes over from the committed offset, whether the old owner let go or not.
            if !adapter.owns && owner {
                step(Step::Release(a), &|s| {
                    let from = s.committed;
                    s.adapters[a] = Adapter { owns: true, read: from, done: from, batches: Few::new() };
                });
            }
            if s.faults.min(s.crashes) > 0 && adapter.owns {
                step(Step::Crash(a), &|s| {
                    s.faults -= 1;
                    s.crashes -= 1;
                    s.adapters[a] = Adapter { owns: false, read: 0, done: 0, batches: Few::new() };
                });
            }
            if s.faults.min(s.timeouts) > 0 && !adapter.batches.is_empty() {
                step(Step::TimesOut(a), &|s| {
                    s.faults -= 1;
                    s.timeouts -= 1;
                    s.wire.push(s.adapters[a].batches[0].sent);
                });
            }
        }
        for n in 0..s.wire.len() {
            step(Step::Arrive(n), &|s| self.arrive(s, n));
        }
        if let Some(first) = s.wire.first() {
            let waited = s.adapters.iter().any(|adapter| adapter.batches.iter().any(|batch| batch.sent == *first));
            if !waited {
                step(Step::Vanish, &|s| {
                    s.wire.remove(0);
                });
            }
            if s.faults.min(s.doubles) > 0 {
                step(Step::Double, &|s| {
                    s.faults -= 1;
                    s.doubles -= 1;
                    s.wire.push(s.wire[0]);
                });
            }
        }
        let gone = |s: &mut State| {
            s.faults -= 1;
            s.forgets -= 1;
            s.document = Document::Nothing;
        };
        let purge = match s.document {
            Document::Tombstone(version) => !self.keeps(Rule::PurgeAfterWriters) || !self.writers_live(s, version),
            // A purge that was decided on before the document came back.
            Document::Body(version) if !self.keeps(Rule::PurgeAtVersion) => {
                s.log.iter().any(|operation| operation.delete && operation.version < version)
            }
            _ => false,
        };
        if purge && s.faults.min(s.forgets) > 0 {
            step(Step::Purge, &gone);
        }
        if matches!(s.document, Document::Deleted(_)) && s.faults.min(s.forgets) > 0 {
            step(Step::Forget, &gone);
        }
        if s.faults.min(s.moves) > 0 {
            step(Step::Rebalance, &|s| {
                s.faults -= 1;
                s.moves -= 1;
                s.owner = 1 - s.owner;
            });
        }
    }

    fn is_fault(step: Step) -> bool {
        matches!(step, Step::Purge | Step::Rebalance | Step::Crash(_) | Step::Double | Step::TimesOut(_) | Step::Forget)
    }

    fn broken(&self, s: &State) -> Option<Claim> {
        let passed = (0..s.committed).any(|record| s.outcomes & (1 << record) == 0);
        s.broken.or(passed.then_some(OUTCOME))
    }

    fn broken_at_rest(&self, s: &State) -> Option<Claim> {
        let taken = s.log.iter().filter(|operation| operation.delete || operation.version != s.refused);
        let last = taken.max_by_key(|operation| operation.version)?;
        let body = matches!(s.document, Document::Body(version) if version == last.version);
        let none = !matches!(s.document, Document::Body(_));
        let right = if last.delete { none } else { body };
        (!right || usize::from(s.committed) != s.log.len()).then_some(DOCUMENT)
    }

    fn describe(&self, s: &State) -> String {
        let log = s.log.iter().map(|o| format!("{}{}", if o.delete { "delete " } else { "write " }, o.version));
        let log: Vec<String> = log.collect();
        let refused = if s.refused > 0 { format!(" (content {} is refused)", s.refused) } else { String::new() };
        format!("log [{}]{refused}; committed {}; document {:?}", log.join(", "), s.committed, s.document)
    }
}
