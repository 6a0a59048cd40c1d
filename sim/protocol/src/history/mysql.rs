//! The two servers of the history model: binlogs, replication, promotion, crashes that lose the tail.
//!
//! A transaction is its content (`Txn`, never used twice); its GTID may be used twice. Bits of a [`Set`] are GTIDs.

use crate::few::Few;
use std::fmt;

/// A transaction by what it wrote: two of them are never the same, whatever their GTID.
pub type Txn = u8;
/// A GTID set: bit `4 * server + n`.
pub type Set = u8;

/// What is known of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Info {
    /// Its GTID, as one bit.
    pub gtid: Set,
    /// The key whose row it writes.
    pub key: u8,
}

/// A server: its binlog, which is also its rows, and what it received as a replica and has not applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Server {
    pub binlog: Few<Txn, 4>,
    pub relay: Few<Txn, 4>,
    pub up: bool,
}

/// Both servers; the other of `primary` replicates from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MySql {
    pub txns: Few<Info, 4>,
    pub servers: [Server; 2],
    pub primary: usize,
}

impl MySql {
    /// Two empty servers; server 0 is the primary.
    pub fn new() -> Self {
        let server = Server { binlog: Few::new(), relay: Few::new(), up: true };
        MySql { txns: Few::new(), servers: [server; 2], primary: 0 }
    }

    pub fn gtid(&self, txn: Txn) -> Set {
        self.txns[usize::from(txn)].gtid
    }

    pub fn key(&self, txn: Txn) -> u8 {
        self.txns[usize::from(txn)].key
    }

    /// The GTID set of transactions.
    pub fn set(&self, txns: &[Txn]) -> Set {
        txns.iter().fold(0, |set, txn| set | self.gtid(*txn))
    }

    /// `gtid_executed`.
    pub fn executed(&self, server: usize) -> Set {
        self.set(&self.servers[server].binlog)
    }

    /// The row of a key: the last transaction that wrote it.
    pub fn row(&self, server: usize, key: u8) -> Option<Txn> {
        self.servers[server].binlog.iter().rev().copied().find(|txn| self.key(*txn) == key)
    }

    /// True while the server follows a primary, or has received what it has not applied.
    pub fn is_replica(&self, server: usize) -> bool {
        server != self.primary
    }

    /// The primary commits; its own numbers go on above the highest that its history shows.
    pub fn commit(&mut self, key: u8) {
        let own = self.executed(self.primary) >> (4 * self.primary) & 0xf;
        let number = 8 - own.leading_zeros() as usize;
        self.txns.push(Info { gtid: 1 << (4 * self.primary + number), key });
        let txn = self.txns.len() as Txn - 1;
        self.servers[self.primary].binlog.push(txn);
    }

    /// What the replica would receive next: it skips the GTIDs that it has, whatever they stand for.
    pub fn next_to_receive(&self) -> Option<Txn> {
        let replica = 1 - self.primary;
        let has = self.executed(replica) | self.set(&self.servers[replica].relay);
        let both_up = self.servers.iter().all(|server| server.up);
        let binlog = &self.servers[self.primary].binlog;
        binlog.iter().copied().find(|txn| both_up && self.gtid(*txn) & has == 0)
    }

    /// What a server may apply next of its relay log: independent transactions in any order.
    pub fn applicable(&self, server: usize) -> Vec<usize> {
        let relay = &self.servers[server].relay;
        let first_of_key = |n: &usize| !relay[..*n].iter().any(|txn| self.key(*txn) == self.key(relay[*n]));
        (0..relay.len()).filter(|n| self.servers[server].up && first_of_key(n)).collect()
    }
}

impl fmt::Display for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, server) in self.servers.iter().enumerate() {
            let binlog: Vec<String> = server.binlog.iter().map(|txn| self.name(*txn)).collect();
            write!(f, "server {number} [{}]; ", binlog.join(" "))?;
        }
        Ok(())
    }
}

impl MySql {
    /// `t2=0:1/b`: the third transaction, GTID 0:1, on key b.
    fn name(&self, txn: Txn) -> String {
        let bit = self.gtid(txn).trailing_zeros();
        format!("t{txn}={}:{}/{}", bit / 4, bit % 4 + 1, key_name(self.key(txn)))
    }
}

/// Keys have letters, so that they are not taken for transactions.
pub fn key_name(key: u8) -> char {
    char::from(b'a' + key)
}
