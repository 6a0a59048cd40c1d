//! Model: leadership and acknowledgement (docs/protocol.md, "Leadership and fencing" and "Into Kafka").
//!
//! Two deployers, one partition, two transactions on a key each; the source may lose the last of them at a failover.
//!
//! | in the model | in the protocol |
//! |---|---|
//! | `candidates`, `czxid` | the ephemeral sequential nodes; the lowest leads |
//! | `term` | `base` + czxid, and the producer's number within it |
//! | `znode` | the one state znode; `fresh` of a deployer = its compare-and-set would match |
//! | `producer_epoch` | what `InitProducerId` raises (mode transactions) |
//! | `Kind::Fence` | the fence record (mode versions) |
//! | `todo`, `sent`, `acked` | what is to be produced, handed to the client, acknowledged without a gap |
//! | `wire`, `adrift` | requests under way: of a deployer that waits for them, of one that gave up |
//!
//! Sessions expire without the deployer's knowledge: it goes on as a zombie until it hears of it. It says nothing of
//! how a lost transaction is found (`history/`) or of deletes (`delivery/`).

mod rules;
mod step;

use crate::explore::{Bound, Claim, Model, Planted, REST_REACHABLE};
use crate::few::Few;
use rules::{PLANTED, Rule};
pub use step::Step;

const ROWS: u8 = 2;
/// More than one ensemble gives out: what `term_base` rises by beyond the highest term found in the log, so that a
/// leader of the lost ensemble that has written nothing yet cannot be above its successor.
const MARGIN: u8 = 10;

const CHECKPOINT: Claim = "the checkpoint never passes a transaction that is not acknowledged (Rule 1)";
const TERMS: Claim = "under transactions no record of a lower term follows one of a higher (Rule 3)";
const DEPOSED: Claim = "a deposed leader changes no state (Rule 1)";
const DOCUMENTS: Claim = "at rest documents equal rows, and the checkpoint is at the end (Rules 1 and 2)";

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Mode {
    Transactions,
    Versions,
}

/// What a record is about: the event of a transaction, a read row of its key, or a fence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum Kind {
    Event(u8),
    Read(u8),
    #[default]
    Fence,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Record {
    kind: Kind,
    /// The row that it shows exists (an event inserts; a read row may find none).
    exists: bool,
    epoch: u8,
    term: Term,
}

/// The term and the number of the producer within it.
type Term = (u8, u8);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Request {
    record: Record,
    producer_epoch: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Waiting,
    /// Leads, as far as it knows; the fence is next.
    Won,
    /// Only without [`Rule::FenceBeforeTail`].
    Peeked,
    Fenced,
    Written,
    TailRead,
    Leading,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Deployer {
    phase: Phase,
    node: u8,
    /// The term and producer that it believes to lead with.
    term: Term,
    fresh: bool,
    producer_epoch: u8,
    epoch: u8,
    /// Keys that the scan of the log showed, a bit each.
    scanned: u8,
    todo: Few<Record, 4>,
    sent: u8,
    acked: u8,
    failed: bool,
    wire: Few<Request, 2>,
}

impl Deployer {
    fn candidate(node: u8) -> Self {
        Deployer {
            phase: Phase::Waiting,
            node,
            term: (0, 0),
            fresh: false,
            producer_epoch: 0,
            epoch: 0,
            scanned: 0,
            todo: Few::new(),
            sent: 0,
            acked: 0,
            failed: false,
            wire: Few::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Znode {
    base: u8,
    epoch: u8,
    /// The epoch belongs to the server that lost the last transaction.
    after_loss: bool,
    carried: u8,
    pending: bool,
    restored: bool,
}

/// See the head of this file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    mode: Mode,
    lost: bool,
    candidates: Few<(u8, u8), 4>,
    czxid: u8,
    znode: Znode,
    log: Few<Record, 24>,
    producer_epoch: u8,
    deployers: [Deployer; 2],
    adrift: Few<Request, 6>,
    expiries: u8,
    mishaps: u8,
    losses: u8,
    ensembles: u8,
    /// Of all kinds together.
    faults: u8,
    broken: Option<Claim>,
}

/// See the head of this file.
pub struct Leadership {
    bound: Bound,
    without: Option<Rule>,
}

impl Leadership {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// A guarded write: `multi(check(own node), set(state, version))`. True if it was applied.
    fn write(&self, s: &mut State, d: usize, change: impl FnOnce(&mut Znode)) -> bool {
        let own = (s.deployers[d].node, d as u8);
        let node_stands = if self.keeps(Rule::OwnNode) {
            s.candidates.contains(&own)
        } else {
            !s.candidates.is_empty() // a fixed path is there for whoever leads, at version 0 again
        };
        if !node_stands || !s.deployers[d].fresh {
            give_up(s, d);
            return false;
        }
        if s.candidates.first() != Some(&own) {
            s.broken.get_or_insert(DEPOSED);
        }
        change(&mut s.znode);
        s.deployers[1 - d].fresh = false;
        true
    }

    /// Puts a record into the log.
    fn append(&self, s: &mut State, record: Record) {
        if s.mode == Mode::Transactions && s.log.iter().any(|earlier| earlier.term > record.term) {
            s.broken.get_or_insert(TERMS);
        }
        s.log.push(record);
    }

    /// The term that goes into records.
    fn stamp(&self, term: Term) -> Term {
        if self.keeps(Rule::NumberedProducers) { term } else { (term.0, 0) }
    }

    fn fence(&self, s: &mut State, d: usize) {
        match s.mode {
            Mode::Transactions => {
                s.producer_epoch += 1;
                s.deployers[d].producer_epoch = s.producer_epoch;
            }
            Mode::Versions if self.keeps(Rule::FenceRecord) => {
                let (term, epoch) = (self.stamp(s.deployers[d].term), s.deployers[d].epoch);
                self.append(s, Record { kind: Kind::Fence, exists: false, epoch, term });
            }
            Mode::Versions => {}
        }
    }

    /// Connects, decides the epoch, and lists what is to be produced. Nothing that the state does not say is kept.
    fn decide(&self, s: &mut State, d: usize) {
        s.deployers[d].fresh = true;
        let mut znode = s.znode;
        let seen = s.log.iter().map(|record| record.epoch).max().unwrap_or(0);
        if znode.restored {
            let above = if self.keeps(Rule::EpochAboveAll) { seen.max(znode.epoch) + 1 } else { znode.epoch };
            znode = Znode { epoch: above, carried: 0, pending: true, restored: false, ..znode };
            znode.after_loss = s.lost;
        } else if s.lost && !znode.after_loss {
            let carried = znode.carried.min(head(s));
            znode = Znode { epoch: znode.epoch + 1, after_loss: true, carried, pending: true, ..znode };
        }
        if znode != s.znode && !self.write(s, d, |state| *state = znode) {
            return;
        }
        let (head, lost_too) = (head(s), znode.after_loss);
        let deployer = &mut s.deployers[d];
        let term = self.stamp(deployer.term);
        let record = |kind, exists| Record { kind, exists, epoch: znode.epoch, term };
        let mut todo = Few::new();
        if znode.pending {
            let keys = (1..=ROWS).filter(|key| deployer.scanned & (1 << key) != 0);
            todo.extend(keys.map(|key| record(Kind::Read(key), key <= head)));
        }
        // Before the loss is noticed the whole binlog is in the reader's hands.
        let end = if lost_too { head } else { ROWS };
        todo.extend((znode.carried + 1..=end).map(|row| record(Kind::Event(row), true)));
        deployer.todo = todo;
        deployer.epoch = znode.epoch;
        (deployer.sent, deployer.acked, deployer.failed) = (0, 0, false);
        deployer.phase = Phase::Leading;
    }

    /// What the checkpoint would say now.
    fn progress(&self, s: &State, d: usize) -> (u8, bool) {
        let deployer = &s.deployers[d];
        let done = if self.keeps(Rule::CheckpointAfterAck) { deployer.acked } else { deployer.sent };
        let (done, rest) = deployer.todo.split_at(usize::from(done));
        let carried = done.iter().filter_map(|r| if let Kind::Event(row) = r.kind { Some(row) } else { None }).max();
        let reads_left = rest.iter().any(|record| matches!(record.kind, Kind::Read(_)));
        (carried.unwrap_or(0).max(s.znode.carried), s.znode.pending && reads_left)
    }

    /// The oldest request of `d` reaches Kafka, or not, and the answer comes, or not.
    fn answer(&self, s: &mut State, d: usize, stored: bool, answered: bool) {
        let request = s.deployers[d].wire.remove(0);
        if s.mode == Mode::Transactions && request.producer_epoch < s.producer_epoch {
            give_up(s, d); // fenced: drop everything
            return;
        }
        if stored {
            self.append(s, request.record);
        }
        let deployer = &mut s.deployers[d];
        let number = deployer.sent - deployer.wire.len() as u8;
        if !(stored && answered) {
            deployer.failed = true;
        } else if !self.keeps(Rule::ContiguousAck) {
            deployer.acked = number;
        } else if !deployer.failed {
            deployer.acked += 1;
        }
    }
}

fn head(s: &State) -> u8 {
    if s.lost { ROWS - 1 } else { ROWS }
}

/// Drops everything and joins again: what is under way may still arrive. A session that stands is closed.
fn give_up(s: &mut State, d: usize) {
    s.czxid += 1;
    let deployer = std::mem::replace(&mut s.deployers[d], Deployer::candidate(s.czxid));
    s.candidates.retain(|candidate| *candidate != (deployer.node, d as u8));
    s.candidates.push((s.czxid, d as u8));
    s.adrift.extend(deployer.wire.iter().copied());
}

/// The records that adapters apply: under `versions` none of a lower term behind one of a higher.
fn effective(log: &[Record], mode: Mode) -> impl Iterator<Item = &Record> {
    let mut highest = (0, 0);
    log.iter().filter(move |record| {
        highest = highest.max(record.term);
        mode == Mode::Transactions || record.term == highest
    })
}

/// Whether the document of `key` stands: the highest (epoch, offset) decides, the later of equals.
fn document(s: &State, key: u8) -> bool {
    let mut best = ((0, 0), false);
    for record in effective(&s.log, s.mode) {
        let version = match record.kind {
            Kind::Event(row) if row == key => (record.epoch, row),
            Kind::Read(row) if row == key => (record.epoch, 0),
            _ => continue,
        };
        if version >= best.0 {
            best = (version, record.exists);
        }
    }
    best.1
}

impl Model for Leadership {
    type State = State;
    type Step = Step;
    type Rule = Rule;
    const NAME: &'static str = "leadership";
    const CLAIMS: &'static [Claim] = &[CHECKPOINT, TERMS, DEPOSED, DOCUMENTS, REST_REACHABLE];
    const PLANTED: &'static [Planted<Rule>] = PLANTED;

    fn new(bound: Bound, without: Option<Rule>) -> Self {
        Leadership { bound, without }
    }

    fn starts(&self) -> Vec<State> {
        let start = |mode| State {
            mode,
            lost: false,
            candidates: [(1, 0), (2, 1)].into_iter().collect(),
            czxid: 2,
            znode: Znode { base: 0, epoch: 1, after_loss: false, carried: 0, pending: false, restored: false },
            log: Few::new(),
            producer_epoch: 0,
            // Which deployer comes first makes no difference.
            deployers: [Deployer::candidate(1), Deployer::candidate(2)],
            adrift: Few::new(),
            expiries: 1,
            mishaps: 1,
            losses: 1,
            ensembles: 1,
            faults: 2,
            broken: None,
        };
        let small = [start(Mode::Transactions), start(Mode::Versions)];
        // Three faults of all kinds are too many states: three of those that concern fencing alone.
        let large = small.map(|start| State { expiries: 2, losses: 0, ensembles: 0, faults: 3, ..start });
        if self.bound == Bound::Small { small.to_vec() } else { small.into_iter().chain(large).collect() }
    }

    fn steps(&self, s: &State, out: &mut Vec<(Step, State)>) {
        let mut step = |what: Step, change: &dyn Fn(&mut State)| {
            let mut after = *s;
            change(&mut after);
            out.push((what, after));
        };
        for d in 0..2 {
            let deployer = &s.deployers[d];
            let own = (deployer.node, d as u8);
            match deployer.phase {
                Phase::Waiting if s.candidates.first() == Some(&own) => step(Step::Win(d), &|s| {
                    let base = if self.keeps(Rule::TermBase) { s.znode.base } else { 0 };
                    let deployer = &mut s.deployers[d];
                    deployer.term = (base + deployer.node, 1);
                    deployer.epoch = s.znode.epoch;
                    deployer.fresh = true;
                    deployer.phase = Phase::Won;
                }),
                Phase::Won if !self.keeps(Rule::FenceBeforeTail) => step(Step::Peek(d), &|s| {
                    scan(s, d);
                    s.deployers[d].phase = Phase::Peeked;
                }),
                Phase::Won if !self.keeps(Rule::FenceBeforeState) => step(Step::Write(d), &|s| {
                    if self.write(s, d, |_| {}) {
                        s.deployers[d].phase = Phase::Fenced;
                    }
                }),
                Phase::Won | Phase::Peeked => step(Step::Fence(d), &|s| {
                    self.fence(s, d);
                    let deployer = &s.deployers[d];
                    let guarded =
                        self.keeps(Rule::GuardAfterInit) && (self.keeps(Rule::GuardEveryInit) || deployer.term.1 == 1);
                    s.deployers[d].phase = if guarded { Phase::Fenced } else { Phase::Written };
                }),
                Phase::Fenced if !self.keeps(Rule::FenceBeforeState) => step(Step::Fence(d), &|s| {
                    self.fence(s, d);
                    s.deployers[d].phase = Phase::Written;
                }),
                Phase::Fenced => step(Step::Write(d), &|s| {
                    if self.write(s, d, |_| {}) {
                        s.deployers[d].phase = Phase::Written;
                    }
                }),
                Phase::Written if !self.keeps(Rule::FenceBeforeTail) => {
                    step(Step::Decide(d), &|s| self.decide(s, d));
                }
                Phase::Written => step(Step::Tail(d), &|s| {
                    scan(s, d);
                    s.deployers[d].phase = Phase::TailRead;
                }),
                Phase::TailRead => step(Step::Decide(d), &|s| self.decide(s, d)),
                Phase::Leading => {
                    let width = if s.mode == Mode::Versions { 2 } else { 1 };
                    let room = deployer.wire.len() < width && !deployer.failed;
                    if room && usize::from(deployer.sent) < deployer.todo.len() {
                        step(Step::Send(d), &|s| {
                            let deployer = &mut s.deployers[d];
                            let record = deployer.todo[usize::from(deployer.sent)];
                            deployer.wire.push(Request { record, producer_epoch: deployer.producer_epoch });
                            deployer.sent += 1;
                        });
                    }
                    if deployer.failed {
                        step(Step::Restart(d), &|s| {
                            let deployer = &mut s.deployers[d];
                            let wire = std::mem::take(&mut deployer.wire);
                            deployer.term.1 += 1;
                            deployer.phase = Phase::Won;
                            s.adrift.extend(wire.iter().copied());
                        });
                    }
                    let (carried, pending) = self.progress(s, d);
                    if (carried, pending) != (s.znode.carried, s.znode.pending) {
                        step(Step::Checkpoint(d), &|s| {
                            self.write(s, d, |znode| (znode.carried, znode.pending) = (carried, pending));
                        });
                    }
                    let old = s.lost && !s.znode.after_loss;
                    if old && deployer.wire.is_empty() && !deployer.failed {
                        step(Step::Reconnect(d), &|s| s.deployers[d].phase = Phase::Written);
                    }
                }
                Phase::Waiting => {}
            }
            if !deployer.wire.is_empty() {
                step(Step::Arrive(d), &|s| self.answer(s, d, true, true));
                if s.faults.min(s.mishaps) > 0 {
                    step(Step::AnswerLost(d), &|s| {
                        s.faults -= 1;
                        s.mishaps -= 1;
                        self.answer(s, d, true, false);
                    });
                    step(Step::RequestLost(d), &|s| {
                        s.faults -= 1;
                        s.mishaps -= 1;
                        self.answer(s, d, false, false);
                    });
                }
            }
            if !s.candidates.contains(&own) {
                step(Step::Learn(d), &|s| give_up(s, d));
            } else if s.faults.min(s.expiries) > 0 {
                step(Step::Expire(d), &|s| {
                    s.faults -= 1;
                    s.expiries -= 1;
                    s.candidates.retain(|candidate| *candidate != own);
                });
            }
        }
        if let Some(request) = s.adrift.first().copied() {
            step(Step::AdriftVanishes, &|s| {
                s.adrift.remove(0);
            });
            if s.mode == Mode::Versions || request.producer_epoch == s.producer_epoch {
                step(Step::AdriftArrives, &|s| {
                    s.adrift.remove(0);
                    self.append(s, request.record);
                });
            }
        }
        if s.faults.min(s.losses) > 0 {
            step(Step::SourceLoses, &|s| {
                s.faults -= 1;
                s.losses -= 1;
                s.lost = true;
            });
        }
        if s.faults.min(s.ensembles) > 0 {
            step(Step::NewEnsemble, &|s| {
                s.faults -= 1;
                s.ensembles -= 1;
                s.candidates.clear();
                s.czxid = 0;
                let highest = s.log.iter().map(|record| record.term.0).max().unwrap_or(0);
                let base = if self.keeps(Rule::TermMargin) { highest + MARGIN } else { highest };
                s.znode = Znode { base, epoch: 1, after_loss: false, carried: 0, pending: false, restored: true };
                s.deployers.iter_mut().for_each(|deployer| deployer.fresh = false);
            });
        }
    }

    fn is_fault(step: Step) -> bool {
        matches!(
            step,
            Step::Expire(_) | Step::AnswerLost(_) | Step::RequestLost(_) | Step::SourceLoses | Step::NewEnsemble
        )
    }

    fn broken(&self, s: &State) -> Option<Claim> {
        let covered = |row: u8| effective(&s.log, s.mode).any(|record| record.kind == Kind::Event(row));
        let passed = (1..=s.znode.carried.min(head(s))).any(|row| !covered(row));
        s.broken.or(passed.then_some(CHECKPOINT))
    }

    fn broken_at_rest(&self, s: &State) -> Option<Claim> {
        let differs = (1..=ROWS).any(|key| document(s, key) != (key <= head(s)));
        (differs || s.znode.carried != head(s) || s.znode.pending).then_some(DOCUMENTS)
    }

    fn describe(&self, s: &State) -> String {
        let documents: Vec<u8> = (1..=ROWS).filter(|key| document(s, *key)).collect();
        format!("{:?}; rows 1..{}; documents {documents:?}; log {:?}; {:?}", s.mode, head(s), s.log, s.znode)
    }
}

/// Which keys the log shows now.
fn scan(s: &mut State, d: usize) {
    let keys = s.log.iter().fold(0, |keys, record| match record.kind {
        Kind::Event(key) | Kind::Read(key) => keys | 1 << key,
        Kind::Fence => keys,
    });
    s.deployers[d].scanned = keys;
    s.deployers[d].fresh = true;
}
