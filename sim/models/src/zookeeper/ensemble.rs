//! The ensemble's state: the tree of nodes, sessions, and transactions on both. No waiting here.

use super::ZooKeeperFault;
use crate::faults::Faults;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use towpath_engine::ports::coordinator::{CoordinatorError, SessionState};

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Znode {
    pub data: Vec<u8>,
    /// Starts at 0 whenever the node is made.
    pub version: i32,
    /// The transaction that made it.
    pub czxid: i64,
    /// The session it goes with.
    pub owner: Option<u64>,
    /// How many children were made: the number of the next sequential one.
    pub made: u64,
}

/// A session, as the ensemble and its client see it.
#[derive(Debug)]
pub(crate) struct Session {
    pub state: watch::Sender<SessionState>,
    /// Since when the ensemble has heard nothing.
    pub silent_since: Option<Instant>,
    /// It lives by its client's pings, not by the client's object.
    pub pings: bool,
    /// The client is away, whether the ensemble is up or not.
    pub away: bool,
    /// The ensemble has given it up (the client may not know yet).
    pub gone: bool,
}

/// One change of the tree.
#[derive(Debug)]
pub(crate) enum Op {
    /// The node exists.
    Check(String),
    /// Makes a node.
    Create { path: String, data: Vec<u8> },
    /// Writes a node that has this version.
    Set { path: String, data: Vec<u8>, version: i32 },
}

/// Why a transaction did nothing: the index of the operation, and whether its node was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub index: usize,
}

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct Ensemble {
    pub zxid: i64,
    pub nodes: BTreeMap<String, Znode>,
    pub sessions: BTreeMap<u64, Session>,
    pub next_session: u64,
    /// Whose sessions they are, where somebody said so.
    pub clients: BTreeMap<u64, String>,
    pub up: bool,
    pub faults: Faults<ZooKeeperFault>,
    pub session_timeout: Duration,
    /// Dropped sessions stay until they expire, as those of killed processes.
    pub drops_linger: bool,
}

impl Ensemble {
    pub fn new(session_timeout: Duration) -> Self {
        Self {
            zxid: 0,
            nodes: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_session: 1,
            clients: BTreeMap::new(),
            up: true,
            faults: Faults::default(),
            session_timeout,
            drops_linger: false,
        }
    }

    fn stamp(&mut self) -> i64 {
        self.zxid += 1;
        self.zxid
    }

    /// Makes a node and those above it that are missing.
    pub fn create_all(&mut self, path: &str) {
        let mut at = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at = format!("{at}/{part}");
            if !self.nodes.contains_key(&at) {
                self.create(&at, Vec::new(), None);
            }
        }
    }

    /// Makes a node; the caller has seen that it does not exist.
    pub fn create(&mut self, path: &str, data: Vec<u8>, owner: Option<u64>) -> i64 {
        let czxid = self.stamp();
        self.insert(path, data, owner, czxid);
        czxid
    }

    fn insert(&mut self, path: &str, data: Vec<u8>, owner: Option<u64>, czxid: i64) {
        if let Some(parent) = path.rsplit_once('/').and_then(|(parent, _)| self.nodes.get_mut(parent)) {
            parent.made += 1;
        }
        self.nodes.insert(path.to_string(), Znode { data, version: 0, czxid, owner, made: 0 });
    }

    /// Removes a node; whether it was there.
    pub fn delete(&mut self, path: &str) -> bool {
        let found = self.nodes.remove(path).is_some();
        if found {
            self.stamp();
        }
        found
    }

    /// Names and nodes directly below a path.
    pub fn children(&self, path: &str) -> Vec<(String, &Znode)> {
        let prefix = format!("{path}/");
        let below = self.nodes.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        below
            .filter(|(name, _)| !name[prefix.len()..].contains('/'))
            .map(|(name, node)| (name[prefix.len()..].to_string(), node))
            .collect()
    }

    /// All operations or none, under one transaction id; the nodes' new versions (0 for checks and creations).
    pub fn multi(&mut self, ops: &[Op]) -> Result<Vec<i32>, Refused> {
        let before = self.nodes.clone();
        let zxid = self.zxid + 1;
        let mut versions = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate() {
            match self.one(op, zxid) {
                Some(version) => versions.push(version),
                None => {
                    self.nodes = before;
                    return Err(Refused { index });
                }
            }
        }
        self.zxid = zxid;
        Ok(versions)
    }

    fn one(&mut self, op: &Op, zxid: i64) -> Option<i32> {
        match op {
            Op::Check(path) => self.nodes.contains_key(path).then_some(0),
            Op::Create { path, data } => {
                let parent = path.rsplit_once('/').map(|(parent, _)| parent)?;
                if self.nodes.contains_key(path) || !self.nodes.contains_key(parent) {
                    return None;
                }
                self.insert(path, data.clone(), None, zxid);
                Some(0)
            }
            Op::Set { path, data, version } => {
                let node = self.nodes.get_mut(path).filter(|node| node.version == *version)?;
                node.data.clone_from(data);
                node.version += 1;
                Some(node.version)
            }
        }
    }

    /// A new session.
    pub fn open(&mut self) -> u64 {
        let id = self.next_session;
        self.next_session += 1;
        self.stamp();
        let state = watch::Sender::new(SessionState::Connected);
        self.sessions.insert(id, Session { state, silent_since: None, pings: false, away: false, gone: false });
        id
    }

    /// The ensemble gives a session up: its ephemeral nodes go.
    pub fn give_up(&mut self, id: u64) {
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.gone) {
            session.gone = true;
            self.stamp();
            self.nodes.retain(|_, node| node.owner != Some(id));
        }
    }

    /// Gives up the sessions that have been silent for too long. An ensemble that is down counts no time.
    pub fn sweep(&mut self) -> bool {
        if !self.up {
            return false;
        }
        let timeout = self.session_timeout;
        let late = |s: &Session| !s.gone && s.silent_since.is_some_and(|since| since.elapsed() >= timeout);
        let ids: Vec<u64> = self.sessions.iter().filter(|(_, s)| late(s)).map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| self.give_up(*id));
        !ids.is_empty()
    }

    /// When the next session will be given up.
    pub fn next_expiry(&self) -> Option<Instant> {
        let silent = self.sessions.values().filter(|session| !session.gone).filter_map(|session| session.silent_since);
        silent.min().map(|since| since + self.session_timeout)
    }

    /// No quorum: every connection breaks.
    pub fn stop(&mut self) {
        self.up = false;
        let ids: Vec<u64> = self.sessions.keys().copied().collect();
        ids.into_iter().for_each(|id| self.interrupt(id));
    }

    /// The quorum is back: every session gets its whole timeout again, and the clients that are there reconnect.
    pub fn start(&mut self) {
        self.up = true;
        // The time without a quorum does not count.
        self.sessions.values_mut().for_each(|session| session.silent_since = None);
        let ids: Vec<u64> = self.sessions.keys().copied().collect();
        for id in ids {
            if self.sessions.get(&id).is_some_and(|session| !session.away) {
                self.reconnect(id);
            }
            if let Some(session) = self.sessions.get_mut(&id) {
                session.silent_since = (session.pings || session.away).then(Instant::now);
            }
        }
    }

    /// The client's connection breaks, and it is away until it reconnects.
    pub fn disconnect(&mut self, id: u64) {
        self.interrupt(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.away = true;
        }
    }

    fn interrupt(&mut self, id: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.silent_since.get_or_insert_with(Instant::now);
            if *session.state.borrow() == SessionState::Connected {
                session.state.send_replace(SessionState::Disconnected);
            }
        }
    }

    /// The client finds a server again, and learns what became of its session.
    pub fn reconnect(&mut self, id: u64) {
        self.sweep();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.away = false;
            let state = if session.gone { SessionState::Expired } else { SessionState::Connected };
            if !session.gone {
                session.silent_since = None;
            }
            session.state.send_replace(state);
        }
    }

    /// A ping: what it answers, and from when silence counts.
    pub fn heard(&mut self, id: u64) -> SessionState {
        self.sweep();
        let up = self.up;
        let Some(session) = self.sessions.get_mut(&id) else { return SessionState::Expired };
        if session.gone {
            session.state.send_replace(SessionState::Expired);
            return SessionState::Expired;
        }
        if !up {
            return SessionState::Disconnected;
        }
        session.silent_since = Some(Instant::now());
        (session.pings, session.away) = (true, false);
        session
            .state
            .send_if_modified(|state| std::mem::replace(state, SessionState::Connected) != SessionState::Connected);
        SessionState::Connected
    }

    /// What a call of a session meets first.
    pub fn check(&mut self, id: u64) -> Result<(), CoordinatorError> {
        self.sweep();
        let Some(session) = self.sessions.get(&id) else { return Err(CoordinatorError::Expired) };
        let state = *session.state.borrow();
        if state == SessionState::Expired {
            return Err(CoordinatorError::Expired);
        }
        if !self.up || state == SessionState::Disconnected {
            return Err(CoordinatorError::Unknown("not connected".into()));
        }
        if session.gone {
            // Given up while it seemed connected (an operator's doing): the next call learns it.
            session.state.send_replace(SessionState::Expired);
            return Err(CoordinatorError::Expired);
        }
        Ok(())
    }
}
