//! Model: history, failover and repair (docs/protocol.md, "Connecting to a source").
//!
//! Two servers, two keys, a few transactions; the tail is lost in a failover or a crash, GTIDs are used again, a
//! replica lags or applies in another order, the old primary comes back with its tail; the leader dies at each step.
//!
//! | in the model | in the protocol |
//! |---|---|
//! | `mysql.rs`: `binlog`, `relay` | a server's history and rows; what a replica received and has not applied |
//! | `znode.anchor`, `epoch`, `server` | the epoch record |
//! | `znode.ring` | kept checkpoints with witness and low-water offset; the newest is the checkpoint |
//! | `znode.pending` | the list of repairs and reads begun and not finished |
//! | `Record::offset` | 2n for the n-th event behind the anchor, 2n + 1 for a read row behind it, 0 for repairs |
//! | `leader.carried` | executed set: anchor and all that is acknowledged since |
//!
//! It knows one leader at a time, which fencing grants (`leadership/`), and one log partition.

mod mysql;
mod rules;
mod step;
mod towpath;

use crate::explore::{Bound, Claim, Model, Planted, REST_REACHABLE};
use mysql::{MySql, key_name};
use rules::{PLANTED, Rule};
pub use step::Step;
use towpath::{Leader, Towpath};

const KEYS: u8 = 2;

const DOCUMENTS: Claim = "at rest documents equal the rows of the server that is read (Rule 2)";
const ONE_VERSION: Claim = "one epoch and transaction have one version, and one version one content (Rules 2 and 3)";
const CARRIED: Claim = "at rest all is carried, and no repair is pending (Rule 1)";

/// See the head of this file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    mysql: MySql,
    towpath: Towpath,
    writes: u8,
    losses: u8,
    outages: u8,
    crashes: u8,
    /// Of all kinds together.
    faults: u8,
}

/// See the head of this file.
pub struct History {
    bound: Bound,
    without: Option<Rule>,
}

impl History {
    fn keeps(&self, rule: Rule) -> bool {
        match (rule, self.without) {
            // Who compares every GTID need not look at the witnesses' GTIDs: both are left out together.
            (Rule::CompareEveryGtid, Some(Rule::CompareWitnesses)) => false,
            // Either of the two tells a second rise where the first began: the second bug leaves out both.
            (Rule::PendingInherited, Some(Rule::RiseKeepsLowWater)) => false,
            (_, without) => without != Some(rule),
        }
    }
}

impl Model for History {
    type State = State;
    type Step = Step;
    type Rule = Rule;
    const NAME: &'static str = "history";
    const CLAIMS: &'static [Claim] = &[DOCUMENTS, ONE_VERSION, CARRIED, REST_REACHABLE];
    const PLANTED: &'static [Planted<Rule>] = PLANTED;

    fn new(bound: Bound, without: Option<Rule>) -> Self {
        History { bound, without }
    }

    fn starts(&self) -> Vec<State> {
        let first = State {
            mysql: MySql::new(),
            towpath: Towpath::new(),
            writes: 3,
            losses: 1,
            outages: 2,
            crashes: 1,
            faults: 2,
        };
        let mut starts = vec![first, self.after_two_failovers(first)];
        if self.bound == Bound::Large {
            // A third fault with three transactions is too many states: with two.
            starts.push(State { writes: 2, faults: 3, ..first });
        }
        starts
    }

    fn steps(&self, s: &State, out: &mut Vec<(Step, State)>) {
        let mut step = |what: Step, change: &dyn Fn(&mut State)| {
            let mut after = *s;
            change(&mut after);
            out.push((what, after));
        };
        let (mysql, towpath) = (&s.mysql, &s.towpath);
        self.mysql_steps(s, &mut step);
        for server in 0..2 {
            if self.may_connect(mysql, towpath, server) {
                step(Step::Connect(server as u8), &|s| self.connect(&s.mysql, &mut s.towpath, server));
            }
        }
        let source = &mysql.servers[usize::from(towpath.znode.server)];
        if towpath.leader.connected && source.up {
            if towpath.leader.to_read {
                let start = towpath.znode.pending.as_ref().map_or(0, |pending| pending.start);
                step(Step::Read, &|s| self.read(&s.mysql, &mut s.towpath, start));
            } else {
                let mut after = *s;
                if self.produce(mysql, &mut after.towpath) {
                    step(Step::Produce, &|s| s.towpath = after.towpath);
                }
            }
            if self.may_clear(towpath) {
                step(Step::Clear, &|s| s.towpath.znode.pending = None);
            }
            if towpath.znode.ring.last().map(|kept| kept.set) != Some(towpath.leader.carried) {
                step(Step::Checkpoint, &|s| self.checkpoint(&s.mysql, &mut s.towpath));
            }
        }
        if s.faults.min(s.crashes) > 0 {
            step(Step::LeaderDies, &|s| {
                s.faults -= 1;
                s.crashes -= 1;
                s.towpath.leader = Leader::new(&s.towpath.znode);
            });
        }
    }

    fn is_fault(step: Step) -> bool {
        matches!(step, Step::Commit(_) | Step::LosesTail | Step::Down(_) | Step::LeaderDies)
    }

    fn broken(&self, s: &State) -> Option<Claim> {
        let streamed: Vec<_> = s.towpath.log.iter().filter(|record| !record.read).collect();
        let clash = streamed.iter().enumerate().any(|(n, a)| {
            streamed[..n].iter().any(|b| a.epoch == b.epoch && (a.offset == b.offset) != (a.shows == b.shows))
        });
        clash.then_some(ONE_VERSION)
    }

    fn broken_at_rest(&self, s: &State) -> Option<Claim> {
        let server = usize::from(s.towpath.znode.server);
        if (0..KEYS).any(|key| s.towpath.document(key) != s.mysql.row(server, key)) {
            return Some(DOCUMENTS);
        }
        let left = s.mysql.executed(server) & !s.towpath.leader.carried != 0;
        (left || s.towpath.znode.pending.is_some()).then_some(CARRIED)
    }

    fn describe(&self, s: &State) -> String {
        let show = |txn: Option<u8>| txn.map_or("none".to_owned(), |txn| format!("t{txn}"));
        let keys = (0..KEYS).map(|key| {
            let row = s.mysql.row(usize::from(s.towpath.znode.server), key);
            format!("{}: row {}, document {}", key_name(key), show(row), show(s.towpath.document(key)))
        });
        let keys: Vec<String> = keys.collect();
        let reading = s.towpath.znode.server;
        format!("{}reading server {reading} in epoch {}; {}", s.mysql, s.towpath.znode.epoch, keys.join("; "))
    }
}

/// Takes a step and what it changes.
type OnStep<'a> = dyn FnMut(Step, &dyn Fn(&mut State)) + 'a;

impl History {
    /// Two independent transactions, applied in another order by the replica, and both servers read in turn: a start
    /// of its own, because the way to it uses up the faults.
    fn after_two_failovers(&self, mut s: State) -> State {
        s.mysql.commit(0);
        s.mysql.commit(1);
        s.mysql.servers[1].binlog = [1, 0].into_iter().collect();
        while self.produce(&s.mysql, &mut s.towpath) {}
        self.checkpoint(&s.mysql, &mut s.towpath);
        for server in [1, 0] {
            self.connect(&s.mysql, &mut s.towpath, server);
            let start = s.towpath.znode.pending.as_ref().map_or(0, |pending| pending.start);
            self.read(&s.mysql, &mut s.towpath, start);
            while self.produce(&s.mysql, &mut s.towpath) {}
            s.towpath.znode.pending = None;
        }
        State { writes: 1, outages: 0, ..s }
    }

    fn mysql_steps(&self, s: &State, step: &mut OnStep<'_>) {
        let mysql = &s.mysql;
        let (primary, replica) = (mysql.primary, 1 - mysql.primary);
        if s.writes > 0 && mysql.servers[primary].up {
            // Which key is called `a` makes no difference: the first transaction is on it.
            for key in 0..if mysql.txns.is_empty() { 1 } else { KEYS } {
                step(Step::Commit(key), &|s| {
                    s.writes -= 1;
                    s.mysql.commit(key);
                });
            }
        }
        if let Some(txn) = mysql.next_to_receive() {
            step(Step::Receive(txn), &|s| s.mysql.servers[replica].relay.push(txn));
        }
        for n in mysql.applicable(replica) {
            step(Step::Apply(mysql.servers[replica].relay[n]), &|s| {
                let server = &mut s.mysql.servers[replica];
                let txn = server.relay.remove(n);
                server.binlog.push(txn);
            });
        }
        if s.faults.min(s.losses) > 0 && mysql.servers[primary].up && !mysql.servers[primary].binlog.is_empty() {
            step(Step::LosesTail, &|s| {
                s.faults -= 1;
                s.losses -= 1;
                s.mysql.servers[primary].binlog.pop();
                s.disconnect(primary);
            });
        }
        for server in 0..2 {
            if !mysql.servers[server].up {
                step(Step::Up(server as u8), &|s| s.mysql.servers[server].up = true);
            } else if s.faults.min(s.outages) > 0 && mysql.servers[1 - server].up {
                step(Step::Down(server as u8), &|s| {
                    s.faults -= 1;
                    s.outages -= 1;
                    s.mysql.servers[server].up = false;
                    s.disconnect(server);
                });
            }
        }
        // Whoever promotes lets the replica apply what it received.
        if !mysql.servers[primary].up && mysql.servers[replica].relay.is_empty() {
            step(Step::Promote(replica as u8), &|s| s.mysql.primary = replica);
        }
    }
}

impl State {
    fn disconnect(&mut self, server: usize) {
        if usize::from(self.towpath.znode.server) == server {
            self.towpath.leader.connected = false;
        }
    }
}
