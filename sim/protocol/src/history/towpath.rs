//! What Towpath does in the history model: connect, raise the epoch, repair, stream, write the checkpoint.
//!
//! Producing and its acknowledgement are one step here (`leadership/` takes them apart); the checkpoint is another,
//! so a leader that dies leaves records that no checkpoint knows.

use super::mysql::{MySql, Set, Txn};
use super::{History, Rule};
use crate::few::Few;

/// A record of the log. Its version is (epoch, offset); `shows` is the row in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Record {
    pub epoch: u8,
    pub offset: u8,
    pub key: u8,
    pub shows: Option<Txn>,
    pub read: bool,
    /// Where in the binlog an event was read.
    pub place: u8,
}

/// A transaction that was read at a place, known by its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Witness {
    pub server: u8,
    pub place: u8,
    pub txn: Txn,
}

/// A kept checkpoint: the newest is the checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Kept {
    pub set: Set,
    /// The last transaction of the set in the server's order.
    pub witness: Option<Witness>,
    /// No record of a transaction outside the set, that a repair would have to undo, lies before it in the log.
    pub low_water: u8,
}

/// Reads that are begun and not finished, all in one entry: the older start, the union of what they may have seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pending {
    pub start: u8,
    pub seen: Set,
    pub witness: Option<Witness>,
}

/// The state znode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Znode {
    pub epoch: u8,
    pub server: u8,
    pub anchor: Set,
    pub ring: Few<Kept, 12>,
    pub pending: Option<Pending>,
}

/// The leader's memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Leader {
    pub connected: bool,
    pub carried: Set,
    /// A pending repair of which the rows are not read yet.
    pub to_read: bool,
    /// Read rows to be produced: offset, key, what was read.
    pub todo: Few<(u8, u8, Option<Txn>), 2>,
    /// The transaction that is carried when `todo` is empty.
    pub then: Set,
}

impl Leader {
    /// A new leader knows what the state says.
    pub fn new(znode: &Znode) -> Self {
        let carried = znode.ring.last().map_or(0, |kept| kept.set);
        Leader { connected: false, carried, to_read: false, todo: Few::new(), then: 0 }
    }
}

/// What the steps of Towpath work on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Towpath {
    pub znode: Znode,
    pub log: Few<Record, 32>,
    pub leader: Leader,
}

impl Towpath {
    /// Before the first start.
    pub fn new() -> Self {
        let first = Kept { set: 0, witness: None, low_water: 0 };
        let znode = Znode { epoch: 1, server: 0, anchor: 0, ring: [first].into_iter().collect(), pending: None };
        Towpath { leader: Leader { connected: true, ..Leader::new(&znode) }, znode, log: Few::new() }
    }

    /// What the document of a key shows: the highest version, the later of equals.
    pub fn document(&self, key: u8) -> Option<Txn> {
        let of_key = self.log.iter().filter(|record| record.key == key);
        of_key.max_by_key(|record| (record.epoch, record.offset)).and_then(|record| record.shows)
    }

    /// The newest streamed record of each GTID that differs from what the server has under that GTID.
    fn twins(&self, mysql: &MySql, server: usize) -> Set {
        let mut known: Vec<Txn> = Vec::new();
        for txn in self.log.iter().filter(|record| !record.read).filter_map(|record| record.shows) {
            known.retain(|other| mysql.gtid(*other) != mysql.gtid(txn));
            known.push(txn);
        }
        self.mismatches(mysql, server, &known)
    }

    fn mismatches(&self, mysql: &MySql, server: usize, known: &[Txn]) -> Set {
        let binlog = &mysql.servers[server].binlog;
        let differs = |txn: &&Txn| binlog.iter().any(|own| own != *txn && mysql.gtid(*own) == mysql.gtid(**txn));
        known.iter().filter(differs).fold(0, |set, txn| set | mysql.gtid(*txn))
    }

    /// The highest transaction of this epoch that the log shows.
    fn tail(&self) -> Option<Witness> {
        let streamed = self.log.iter().filter(|record| record.epoch == self.znode.epoch && !record.read);
        let last = streamed.max_by_key(|record| record.offset)?;
        Some(Witness { server: self.znode.server, place: last.place, txn: last.shows? })
    }

    /// The offset in this epoch of the n-th event of the binlog; odd offsets are the boundaries behind events.
    fn offset(&self, mysql: &MySql, n: usize) -> u8 {
        let before = &mysql.servers[usize::from(self.znode.server)].binlog[..=n];
        2 * before.iter().filter(|txn| mysql.gtid(**txn) & self.znode.anchor == 0).count() as u8
    }
}

impl History {
    /// True if the leader may connect to `server` now.
    pub fn may_connect(&self, mysql: &MySql, t: &Towpath, server: usize) -> bool {
        let current = usize::from(t.znode.server);
        if t.leader.connected || !mysql.servers[server].up {
            return false;
        }
        if server == current {
            return true;
        }
        // A replica that lacks what was carried is behind, not short.
        let behind = mysql.is_replica(server) && t.leader.carried & !mysql.executed(server) != 0;
        let waits = behind && self.keeps(Rule::WaitWhileBehind);
        !waits && !mysql.servers[current].up
    }

    /// Connecting, always in the same order (docs/protocol.md).
    pub fn connect(&self, mysql: &MySql, t: &mut Towpath, server: usize) {
        let binlog = &mysql.servers[server].binlog;
        let executed = mysql.executed(server);
        let holds = |witness: Option<Witness>| {
            witness.is_none_or(|witness| {
                // Its place is known on the server where it was read; elsewhere only what it was.
                let anywhere = usize::from(witness.server) != server || !self.keeps(Rule::WitnessPlace);
                let there = binlog.get(usize::from(witness.place)) == Some(&witness.txn);
                there || (anywhere && binlog.contains(&witness.txn))
            })
        };
        t.leader.connected = true;
        t.leader.todo.clear();
        t.leader.then = 0;
        let newest = t.znode.ring.last().and_then(|kept| kept.witness);
        let of_pending = t.znode.pending.as_ref().and_then(|pending| pending.witness);
        if server == usize::from(t.znode.server) {
            let mut witnesses = vec![newest];
            if self.keeps(Rule::WitnessOfTail) {
                witnesses.extend([t.tail(), of_pending.filter(|_| self.keeps(Rule::WitnessOfReads))]);
            }
            let whole = witnesses.into_iter().all(holds);
            if whole || !self.keeps(Rule::Witness) {
                t.leader.to_read = t.znode.pending.is_some();
                return;
            }
            // History was rewritten. A witness that was read on another server, in another order, proves no set here:
            // the common point is the newest entry that this server has whole, and under the same GTIDs.
            let all = self.keeps(Rule::CommonPointCompared);
            let (twins, lacks) = if all { (t.twins(mysql, server), !executed) } else { (0, 0) };
            let fits = |kept: &Kept| holds(kept.witness) && kept.set & (lacks | twins) == 0;
            let common = t.znode.ring.iter().rposition(fits).unwrap_or(0);
            let anchor = t.znode.ring[common].set;
            self.rise(mysql, t, server, anchor, twins);
            return;
        }
        let twins = if self.keeps(Rule::CompareEveryGtid) {
            t.twins(mysql, server)
        } else if self.keeps(Rule::CompareWitnesses) {
            let witnesses = t.znode.ring.iter().filter_map(|kept| kept.witness).chain(t.tail());
            let known: Vec<Txn> = witnesses.map(|witness| witness.txn).collect();
            t.mismatches(mysql, server, &known)
        } else {
            0
        };
        let carried = t.leader.carried;
        let anchor = if twins != 0 {
            usable(t, mysql, server, twins).set
        } else if !self.keeps(Rule::AnchorIsIntersection) {
            carried
        } else {
            carried & executed
        };
        self.rise(mysql, t, server, anchor, twins);
    }

    /// The epoch rises: anchor, resume set and the pending repair in one compare-and-set.
    fn rise(&self, mysql: &MySql, t: &mut Towpath, server: usize, anchor: Set, twins: Set) {
        let usable = usable(t, mysql, server, twins);
        let mut start = usable.low_water;
        if let Some(pending) = t.znode.pending.as_ref().filter(|_| self.keeps(Rule::PendingInherited)) {
            start = start.min(pending.start);
        }
        let lost = t.leader.carried & !mysql.executed(server) != 0;
        let old_epoch = t.znode.epoch;
        t.znode.ring.retain(|kept| kept.set & !usable.set == 0);
        let witness = witness(mysql, server, anchor);
        // The entry of the rise keeps the repair's start: a second rise finds it without the pending entry, too.
        let kept = self.keeps(Rule::RiseKeepsLowWater);
        let low_water = if kept { start } else { t.log.len() as u8 };
        t.znode.ring.push(Kept { set: anchor, witness, low_water });
        t.znode.epoch = old_epoch + 1;
        t.znode.server = server as u8;
        t.znode.anchor = anchor;
        t.leader.carried = anchor;
        t.leader.to_read = lost || self.keeps(Rule::RepairAlways);
        let marked = t.leader.to_read && self.keeps(Rule::RepairPending);
        t.znode.pending = marked.then(|| Pending {
            start,
            seen: mysql.executed(server),
            witness: self::witness(mysql, server, Set::MAX),
        });
        if t.leader.to_read && !marked {
            self.read(mysql, t, start); // known to nobody but this leader
        }
    }

    /// Reads the rows of every key in the log from the start on, and says in the state what they may have shown.
    pub fn read(&self, mysql: &MySql, t: &mut Towpath, start: u8) {
        let server = usize::from(t.znode.server);
        let mut keys: Vec<u8> = t.log[usize::from(start)..].iter().map(|record| record.key).collect();
        keys.sort_unstable();
        keys.dedup();
        t.leader.todo = keys.into_iter().map(|key| (0, key, mysql.row(server, key))).collect();
        t.leader.to_read = false;
        t.leader.then = 0;
        self.note_read(mysql, t, start);
    }

    /// A read is on the pending list before it is produced.
    fn note_read(&self, mysql: &MySql, t: &mut Towpath, start: u8) {
        let server = usize::from(t.znode.server);
        let seen = mysql.executed(server);
        if !self.keeps(Rule::ReadsPending) || (t.znode.pending.is_none() && !self.keeps(Rule::RepairPending)) {
            return;
        }
        let before = t.znode.pending.take();
        let start = before.as_ref().map_or(start, |pending| pending.start.min(start));
        let seen = before.map_or(seen, |pending| pending.seen | seen);
        t.znode.pending = Some(Pending { start, seen, witness: witness(mysql, server, Set::MAX) });
    }

    /// Produces the next read row, or the next transaction; false if there is neither.
    pub fn produce(&self, mysql: &MySql, t: &mut Towpath) -> bool {
        let epoch = t.znode.epoch;
        if !t.leader.todo.is_empty() {
            let (offset, key, shows) = t.leader.todo.remove(0);
            t.log.push(Record { epoch, offset, key, shows, read: true, place: 0 });
            if t.leader.todo.is_empty() {
                t.leader.carried |= std::mem::take(&mut t.leader.then);
            }
            return true;
        }
        let server = usize::from(t.znode.server);
        let binlog = &mysql.servers[server].binlog;
        let Some(n) = binlog.iter().position(|txn| mysql.gtid(*txn) & t.leader.carried == 0) else { return false };
        let (txn, offset) = (binlog[n], t.offset(mysql, n));
        let start = t.log.len() as u8;
        let key = mysql.key(txn);
        t.log.push(Record { epoch, offset, key, shows: Some(txn), read: false, place: n as u8 });
        let out_of_order = binlog[n..].iter().any(|later| mysql.gtid(*later) & t.znode.anchor != 0);
        if out_of_order && self.keeps(Rule::ReadOutOfOrder) {
            t.leader.todo.push((offset + 1, key, mysql.row(server, key)));
            t.leader.then = mysql.gtid(txn);
            self.note_read(mysql, t, start);
        } else {
            t.leader.carried |= mysql.gtid(txn);
        }
        true
    }

    /// True if pending reads are acknowledged and all that they may have shown is carried.
    pub fn may_clear(&self, t: &Towpath) -> bool {
        let idle = t.leader.connected && !t.leader.to_read && t.leader.todo.is_empty();
        idle && t
            .znode
            .pending
            .as_ref()
            .is_some_and(|pending| pending.seen & !t.leader.carried == 0 || !self.keeps(Rule::PendingUntilCarried))
    }

    /// Writes the checkpoint as a new ring entry.
    pub fn checkpoint(&self, mysql: &MySql, t: &mut Towpath) {
        let carried = t.leader.carried;
        let passed = t.znode.pending.is_none()
            && t.log.iter().all(|record| {
                let txn = record.shows.filter(|_| record.epoch == t.znode.epoch && !record.read);
                txn.is_none_or(|txn| mysql.gtid(txn) & carried != 0)
            });
        let before = t.znode.ring.last().map_or(0, |kept| kept.low_water);
        let end = t.log.len() as u8;
        let low_water = if passed || !self.keeps(Rule::LowWater) { end } else { before };
        let witness = witness(mysql, usize::from(t.znode.server), carried);
        t.znode.ring.push(Kept { set: carried, witness, low_water });
    }
}

/// The newest ring entry that the server's history contains.
fn usable(t: &Towpath, mysql: &MySql, server: usize, twins: Set) -> Kept {
    let executed = mysql.executed(server);
    let binlog = &mysql.servers[server].binlog;
    let fits = |kept: &&Kept| {
        kept.set & !executed == 0
            && kept.set & twins == 0
            && kept.witness.is_none_or(|witness| binlog.contains(&witness.txn))
    };
    // The first entry is the empty set, which every history contains.
    t.znode.ring.iter().rev().find(fits).copied().unwrap_or(t.znode.ring[0])
}

/// The last transaction of `set` in the server's order.
fn witness(mysql: &MySql, server: usize, set: Set) -> Option<Witness> {
    let binlog = &mysql.servers[server].binlog;
    let place = binlog.iter().rposition(|txn| mysql.gtid(*txn) & set != 0)?;
    Some(Witness { server: server as u8, place: place as u8, txn: binlog[place] })
}
