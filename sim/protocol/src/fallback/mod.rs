//! Model: the fallback path (docs/protocol.md, "The fallback path").
//!
//! One sink, two keys, three transactions, one of them perhaps refused by the cluster. Kafka goes down; the leader
//! writes documents directly; it is deposed, the source loses its tail, bulks arrive late; Kafka comes back.
//!
//! | in the model | in the protocol |
//! |---|---|
//! | `position`, `znode.checkpoint` | the Kafka path: produced and acknowledged; written down |
//! | `znode.run` | the run in the state: epoch, start, cursor |
//! | `Journal` | the index of one term in the sink's cluster; `sealed` = write block |
//! | `Writer` | whoever writes documents directly: the leader, and one that was deposed and does not know it |
//! | `bulks` | bulks under way, which land in any order, also after their sender gave them up |
//! | `offset` | n for the n-th transaction behind the anchor, 0 for a repair's read row |
//!
//! Deletes are `delivery/`'s; how a failover is noticed is `history/`'s.

mod rules;
mod step;

use crate::explore::{Bound, Claim, Model, Planted, REST_REACHABLE};
use crate::few::Few;
use rules::{PLANTED, Rule};
pub use step::Step;

const KEYS: u8 = 2;

const DOCUMENTS: Claim = "at rest documents equal rows, but for rows that the cluster refuses (Rule 2)";
const DEAD_LETTERS: Claim = "at rest each refused change that is not lost is a dead letter (Rule 4)";
const ONE_VERSION: Claim = "one epoch and transaction have one version over all writers (Rule 2)";

type Txn = u8;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Info {
    key: u8,
    refused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Write {
    epoch: u8,
    offset: u8,
    key: u8,
    /// The row that it shows, by the transaction that wrote it.
    shows: Option<Txn>,
    read: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Run {
    epoch: u8,
    anchor: u8,
    /// Indices into the history: done by the run is what lies between.
    start: u8,
    cursor: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Journal {
    made: bool,
    sealed: bool,
    /// A bit for each key.
    keys: u8,
    /// A bit for each transaction that was refused and has no outcome yet.
    unresolved: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Fresh,
    Journalled,
    Sent,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Writer {
    journal: u8,
    epoch: u8,
    anchor: u8,
    next: u8,
    phase: Phase,
    /// What it reads, if that is no longer the history of the source.
    old: Option<Few<Txn, 4>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Bulk {
    journal: u8,
    write: Write,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Znode {
    epoch: u8,
    anchor: u8,
    checkpoint: u8,
    run: Option<Run>,
    /// Keys still to be repaired in the documents and in the log, a bit each.
    repair_documents: u8,
    repair_log: u8,
}

/// See the head of this file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    txns: Few<Info, 4>,
    history: Few<Txn, 4>,
    /// The source failed over, and the leader has not raised the epoch yet.
    cut: bool,
    kafka: bool,
    znode: Znode,
    log: Few<Write, 16>,
    position: u8,
    leader: Option<Writer>,
    zombie: Option<Writer>,
    journals: Few<Journal, 4>,
    bulks: Few<Bulk, 6>,
    taken: u8,
    /// Transactions whose outcome the adapter has, without a gap: the sink's position.
    indexed: u8,
    documents: [Write; KEYS as usize],
    dead_letters: u8,
    commits: u8,
    refusals: u8,
    outages: u8,
    losses: u8,
    deposals: u8,
    timeouts: u8,
    /// Of all kinds together, Kafka's outages apart.
    faults: u8,
}

impl State {
    fn writer(&self, zombie: bool) -> Option<Writer> {
        if zombie { self.zombie } else { self.leader }
    }

    fn set_writer(&mut self, zombie: bool, writer: Option<Writer>) {
        if zombie {
            self.zombie = writer;
        } else {
            self.leader = writer;
        }
    }
}

/// See the head of this file.
pub struct Fallback {
    bound: Bound,
    without: Option<Rule>,
}

impl Fallback {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// The epoch rises: all cursors return to the one new anchor, and the repair is pending in the same write.
    fn rise(&self, s: &mut State) {
        let common = s.history.len() as u8 - (s.history.len() as u8).min(since_loss(s));
        let anchor = s.position.min(common);
        let mut keys = s.log.iter().fold(0, |keys, write| keys | 1 << write.key);
        if self.keeps(Rule::RepairJournalled) {
            keys |= s.journals.iter().fold(0, |keys, journal| keys | journal.keys);
        }
        s.cut = false;
        s.position = anchor;
        s.indexed = s.indexed.min(anchor);
        let epoch = s.znode.epoch + 1;
        let own = |cursor: u8| if self.keeps(Rule::OneAnchor) { anchor } else { cursor.min(common) };
        if let Some(leader) = &mut s.leader {
            let from = own(leader.next);
            *leader = Writer { epoch, anchor: from, next: from, phase: Phase::Fresh, old: None, ..*leader };
        }
        let run = s.leader.map(|leader| Run { epoch, anchor: leader.anchor, start: leader.next, cursor: leader.next });
        let repair_documents = if run.is_some() { keys } else { 0 };
        s.znode = Znode { epoch, anchor, checkpoint: anchor, run, repair_documents, repair_log: keys };
    }

    /// Another leads: it makes and seals every journal that the state names, then reads them.
    fn depose(&self, s: &mut State) {
        if s.leader.is_some() {
            s.zombie = s.leader;
        }
        if self.keeps(Rule::Seal) {
            for journal in s.journals.iter_mut().filter(|journal| journal.made || self.keeps(Rule::SealUnmade)) {
                journal.sealed = true;
            }
        }
        s.position = s.znode.checkpoint;
        s.leader = None;
        if let Some(run) = s.znode.run.filter(|_| !s.kafka) {
            self.begin(s, run);
        }
    }

    /// The run and the journal that it will use are named in the state before the journal is made.
    fn begin(&self, s: &mut State, run: Run) {
        s.journals.push(Journal::default());
        s.znode.run = Some(run);
        let journal = s.journals.len() as u8 - 1;
        let Run { epoch, anchor, cursor, .. } = run;
        s.leader = Some(Writer { journal, epoch, anchor, next: cursor, phase: Phase::Fresh, old: None });
    }

    /// Writes a journal entry; false if the journal is sealed.
    fn journal(&self, s: &mut State, journal: u8, key: u8) -> bool {
        let journal = &mut s.journals[usize::from(journal)];
        journal.made = true;
        journal.keys |= if journal.sealed { 0 } else { 1 << key };
        !journal.sealed
    }

    fn land(&self, s: &mut State, n: usize) {
        let bulk = s.bulks.remove(n);
        apply(s, bulk.write);
        let zombie = s.zombie.is_some_and(|writer| writer.journal == bulk.journal);
        let Some(mut writer) = s.writer(zombie) else { return };
        let waited = writer.journal == bulk.journal && writer.phase == Phase::Sent;
        if !waited || bulk.write.offset != writer.next + 1 - writer.anchor || bulk.write.epoch != writer.epoch {
            return; // nobody waits for it any more
        }
        writer.phase = Phase::Fresh;
        writer.next += 1;
        let written = self.keeps(Rule::JournalFirst) || self.journal(s, bulk.journal, bulk.write.key);
        if refused(s, bulk.write) && self.keeps(Rule::DeadLetterUnresolved) {
            let txn = bulk.write.shows.unwrap_or(0);
            s.journals[usize::from(bulk.journal)].unresolved |= 1 << txn;
        }
        s.set_writer(zombie, written.then_some(writer));
    }

    /// The adapter's next record: skipped if the run did it already, else applied, or a dead letter.
    fn take(&self, s: &mut State) {
        let write = s.log[usize::from(s.taken)];
        s.taken += 1;
        let unresolved = s.journals.iter().fold(0, |all, journal| all | journal.unresolved);
        let done = s.znode.run.is_some_and(|run| {
            let above = !self.keeps(Rule::LowerBound) || write.offset > run.start - run.anchor;
            let epoch = write.epoch == run.epoch || !self.keeps(Rule::SkipSameEpochOnly);
            above && epoch && write.offset <= run.cursor - run.anchor
        });
        let streamed = !write.read || !self.keeps(Rule::NeverSkipReads);
        let open = write.shows.is_some_and(|txn| unresolved & (1 << txn) != 0);
        if !(done && streamed && self.keeps(Rule::Skip)) || open {
            apply(s, write);
            if refused(s, write) && !write.read {
                s.dead_letters |= 1 << write.shows.unwrap_or(0);
            }
        }
        if !write.read && write.epoch == s.znode.epoch && write.offset + s.znode.anchor == s.indexed + 1 {
            s.indexed += 1;
        }
    }

    fn writer_steps(&self, s: &State, zombie: bool, step: &mut OnStep<'_>) {
        let Some(writer) = s.writer(zombie) else { return };
        let history = writer.old.unwrap_or(s.history);
        let set = move |s: &mut State, writer| s.set_writer(zombie, writer);
        let may = zombie || (!s.kafka && !s.cut && s.znode.repair_documents == 0);
        let next = history.get(usize::from(writer.next)).copied();
        if let Some(txn) = next.filter(|_| may) {
            let key = s.txns[usize::from(txn)].key;
            if writer.phase == Phase::Fresh && self.keeps(Rule::JournalFirst) {
                step(Step::Journal(zombie), &|s| {
                    let written = self.journal(s, writer.journal, key);
                    // Who cannot write its journal was succeeded, and ends.
                    set(s, written.then_some(Writer { phase: Phase::Journalled, ..writer }));
                });
            } else if writer.phase != Phase::Sent {
                step(Step::Send(zombie), &|s| {
                    let offset = writer.next + 1 - writer.anchor;
                    let write = Write { epoch: writer.epoch, offset, key, shows: Some(txn), read: false };
                    s.bulks.push(Bulk { journal: writer.journal, write });
                    set(s, Some(Writer { phase: Phase::Sent, ..writer }));
                    if let Some(run) = s.znode.run.as_mut().filter(|_| !zombie && !self.keeps(Rule::CursorAfterOutcome))
                    {
                        run.cursor = writer.next + 1;
                    }
                });
            }
        }
        if writer.phase == Phase::Sent && s.faults.min(s.timeouts) > 0 {
            step(Step::BulkTimesOut(zombie), &|s| {
                s.faults -= 1;
                s.timeouts -= 1;
                set(s, Some(Writer { phase: Phase::Journalled, ..writer }));
            });
        }
    }
}

/// Takes a step and what it changes.
type OnStep<'a> = dyn FnMut(Step, &dyn Fn(&mut State)) + 'a;

/// How many transactions were committed since the tail was lost: those that the old server never had.
fn since_loss(s: &State) -> u8 {
    let ids = &s.history;
    // Ids are given in order: the gap is where the lost one was.
    let gap = (0..ids.len()).position(|n| usize::from(ids[n]) != n);
    gap.map_or(0, |gap| (ids.len() - gap) as u8)
}

fn refused(s: &State, write: Write) -> bool {
    write.shows.is_some_and(|txn| s.txns[usize::from(txn)].refused)
}

/// A versioned write: equal or higher versions win; the cluster may refuse the content.
fn apply(s: &mut State, write: Write) {
    let document = s.documents[usize::from(write.key)];
    if !refused(s, write) && (write.epoch, write.offset) >= (document.epoch, document.offset) {
        s.documents[usize::from(write.key)] = write;
    }
}

fn row(s: &State, key: u8) -> Option<Txn> {
    s.history.iter().rev().copied().find(|txn| s.txns[usize::from(*txn)].key == key)
}

impl Model for Fallback {
    type State = State;
    type Step = Step;
    type Rule = Rule;
    const NAME: &'static str = "fallback";
    const CLAIMS: &'static [Claim] = &[DOCUMENTS, DEAD_LETTERS, ONE_VERSION, REST_REACHABLE];
    const PLANTED: &'static [Planted<Rule>] = PLANTED;

    fn new(bound: Bound, without: Option<Rule>) -> Self {
        Fallback { bound, without }
    }

    fn starts(&self) -> Vec<State> {
        let znode = Znode { epoch: 1, anchor: 0, checkpoint: 0, run: None, repair_documents: 0, repair_log: 0 };
        let many_faults = State {
            txns: Few::new(),
            history: Few::new(),
            cut: false,
            kafka: true,
            znode,
            log: Few::new(),
            position: 0,
            leader: None,
            zombie: None,
            journals: Few::new(),
            bulks: Few::new(),
            taken: 0,
            indexed: 0,
            documents: [Write::default(); 2],
            dead_letters: 0,
            commits: 2,
            refusals: 1,
            outages: 1,
            losses: 1,
            deposals: 1,
            timeouts: 1,
            faults: 2,
        };
        // A third transaction, and fewer kinds of fault.
        let many_changes = State { commits: 3, deposals: 0, timeouts: 0, ..many_faults };
        let mut starts = vec![many_faults, many_changes];
        if self.bound == Bound::Large {
            // Loss, deposal and timeout together.
            starts.push(State { refusals: 0, faults: 3, ..many_faults });
        }
        starts
    }

    fn steps(&self, s: &State, out: &mut Vec<(Step, State)>) {
        let mut step = |what: Step, change: &dyn Fn(&mut State)| {
            let mut after = *s;
            change(&mut after);
            out.push((what, after));
        };
        self.faults(s, &mut step);
        if s.cut {
            step(Step::Rise, &|s| self.rise(s));
        }
        if !s.kafka {
            step(Step::KafkaUp, &|s| s.kafka = true);
            if s.leader.is_none() && !s.cut {
                // The sink's position may lie before the anchor; a cursor of this epoch does not.
                let position = s.indexed.max(s.znode.anchor);
                let both = [s.znode.checkpoint, position];
                let starts = if position < s.znode.checkpoint { &both[..] } else { &both[..1] };
                for start in starts.iter().copied() {
                    let (epoch, anchor) = (s.znode.epoch, s.znode.anchor);
                    let run = Run { epoch, anchor, start, cursor: start };
                    step(Step::StartRun(start != s.znode.checkpoint), &|s| self.begin(s, run));
                }
            }
            if s.leader.is_some() && !s.cut && s.znode.repair_documents != 0 {
                step(Step::RepairDocument, &|s| {
                    let key = s.znode.repair_documents.trailing_zeros() as u8;
                    s.znode.repair_documents &= !(1 << key);
                    apply(s, Write { epoch: s.znode.epoch, offset: 0, key, shows: row(s, key), read: true });
                });
            }
        } else {
            if !s.cut && s.znode.repair_log != 0 {
                step(Step::ProduceRead, &|s| {
                    let key = s.znode.repair_log.trailing_zeros() as u8;
                    s.znode.repair_log &= !(1 << key);
                    s.log.push(Write { epoch: s.znode.epoch, offset: 0, key, shows: row(s, key), read: true });
                });
            } else if let Some(txn) = s.history.get(usize::from(s.position)).copied().filter(|_| !s.cut) {
                step(Step::Produce, &|s| {
                    let (epoch, offset) = (s.znode.epoch, s.position + 1 - s.znode.anchor);
                    let key = s.txns[usize::from(txn)].key;
                    s.log.push(Write { epoch, offset, key, shows: Some(txn), read: false });
                    s.position += 1;
                });
            }
            if s.position != s.znode.checkpoint {
                step(Step::Checkpoint, &|s| s.znode.checkpoint = s.position);
            }
            if usize::from(s.taken) < s.log.len() {
                step(Step::Adapter, &|s| self.take(s));
            }
            if s.leader.is_some_and(|leader| leader.phase != Phase::Sent) {
                step(Step::EndRun, &|s| s.leader = None);
            }
        }
        for zombie in [false, true] {
            self.writer_steps(s, zombie, &mut step);
        }
        if s.zombie.is_some() {
            step(Step::ZombieEnds, &|s| s.zombie = None);
        }
        for n in 0..s.bulks.len() {
            step(Step::Land(n as u8 + 1), &|s| self.land(s, n));
        }
        if let (Some(leader), Some(run)) = (s.leader, s.znode.run)
            && leader.next > run.cursor
            && !s.cut
        {
            step(Step::NoteCursor, &|s| s.znode.run = Some(Run { cursor: leader.next, ..run }));
        }
    }

    fn is_fault(step: Step) -> bool {
        matches!(step, Step::Commit(..) | Step::KafkaDown | Step::LosesTail | Step::LeaderDies | Step::BulkTimesOut(_))
    }

    fn broken(&self, s: &State) -> Option<Claim> {
        let under_way = s.bulks.iter().map(|bulk| bulk.write);
        let writes = s.log.iter().copied().chain(under_way).chain(s.documents);
        let streamed: Few<Write, 24> = writes.filter(|write| !write.read && write.shows.is_some()).collect();
        let two = |a: &Write, b: &Write| a.epoch == b.epoch && (a.shows == b.shows) != (a.offset == b.offset);
        let clash = streamed.iter().enumerate().any(|(n, a)| streamed[..n].iter().any(|b| two(a, b)));
        clash.then_some(ONE_VERSION)
    }

    fn broken_at_rest(&self, s: &State) -> Option<Claim> {
        let is_refused = |txn: Txn| s.txns[usize::from(txn)].refused;
        let differs = |key: &u8| {
            let row = row(s, *key);
            !row.is_some_and(is_refused) && s.documents[usize::from(*key)].shows != row
        };
        if (0..KEYS).any(|key| differs(&key)) {
            return Some(DOCUMENTS);
        }
        let silent = |txn: &Txn| is_refused(*txn) && s.dead_letters & (1 << txn) == 0;
        s.history.iter().any(silent).then_some(DEAD_LETTERS)
    }

    fn describe(&self, s: &State) -> String {
        let show = |txn: Option<u8>| txn.map_or("none".to_owned(), |txn| format!("t{txn}"));
        let keys = (0..KEYS).map(|key| {
            let name = char::from(b'a' + key);
            format!("{name}: row {}, document {}", show(row(s, key)), show(s.documents[usize::from(key)].shows))
        });
        let keys: Vec<String> = keys.collect();
        format!("{}; epoch {}, {:?}, dead letters {:b}", keys.join("; "), s.znode.epoch, s.znode.run, s.dead_letters)
    }
}

impl Fallback {
    fn faults(&self, s: &State, step: &mut OnStep<'_>) {
        if s.commits > 0 {
            for key in 0..if s.txns.is_empty() { 1 } else { KEYS } {
                let kinds: &[bool] = if s.faults.min(s.refusals) > 0 { &[false, true] } else { &[false] };
                for refused in kinds.iter().copied() {
                    step(Step::Commit(key, refused), &|s| {
                        s.commits -= 1;
                        s.faults -= u8::from(refused);
                        s.refusals -= u8::from(refused);
                        s.history.push(s.txns.len() as u8);
                        s.txns.push(Info { key, refused });
                    });
                }
            }
        }
        if s.outages > 0 && s.kafka {
            step(Step::KafkaDown, &|s| {
                s.outages -= 1;
                s.kafka = false;
            });
        }
        if s.faults.min(s.losses) > 0 && !s.history.is_empty() {
            step(Step::LosesTail, &|s| {
                s.faults -= 1;
                s.losses -= 1;
                let old = s.history;
                s.history.pop();
                s.cut = true;
                // Whoever reads has the old server's history until it connects anew.
                for writer in [&mut s.leader, &mut s.zombie].into_iter().flatten() {
                    writer.old = Some(old);
                }
            });
        }
        if s.faults.min(s.deposals) > 0 {
            step(Step::LeaderDies, &|s| {
                s.faults -= 1;
                s.deposals -= 1;
                self.depose(s);
            });
        }
    }
}
