//! A model of a ZooKeeper ensemble: sessions, ephemeral sequential nodes, transactions, watches.
//!
//! The engine sees it through [`towpath_engine::ports::coordinator`]: [`ZooKeeper::factory`] makes sessions on one
//! pipeline's folder. Candidates lie below `election` in it.
//!
//! What matters for fencing is kept exactly: a node that is made anew has version 0 and another czxid; a fresh ensemble
//! counts from 1 again. Not modelled: access lists, quorum, reads of a lagging follower.

mod ensemble;
mod session;

use crate::faults::lock;
use async_trait::async_trait;
use ensemble::Ensemble;
pub use session::ModelSession;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use towpath_engine::ports::coordinator::{Coordinator, CoordinatorError, CoordinatorFactory, SessionState};

/// The folder of the candidates within a pipeline's.
pub(crate) const ELECTION: &str = "election";

/// Ways in which calls can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZooKeeperFault {
    /// A change does not arrive, and nobody knows.
    LostBefore,
    /// A change takes effect and its answer is lost.
    LostAfter,
    /// A read gets no answer.
    ReadLost,
    /// A call is refused.
    Denied,
}

/// A handle to one model ensemble; clones share it.
#[derive(Debug, Clone)]
pub struct ZooKeeper {
    state: Arc<Mutex<Ensemble>>,
    changed: watch::Sender<u64>,
}

impl ZooKeeper {
    /// An empty ensemble with this session timeout.
    pub fn new(session_timeout: Duration) -> Self {
        Self { state: Arc::new(Mutex::new(Ensemble::new(session_timeout))), changed: watch::Sender::new(0) }
    }

    fn change<T>(&self, act: impl FnOnce(&mut Ensemble) -> T) -> T {
        let result = act(&mut lock(&self.state));
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// Makes a path, as an operator does.
    pub fn create_path(&self, path: &str) {
        self.change(|ensemble| ensemble.create_all(path));
    }

    /// Makes sessions on `root/pipeline`. The root must exist ([`ZooKeeper::create_path`]), the rest is created.
    pub fn factory(&self, root: &str, pipeline: &str) -> ZooKeeperFactory {
        ZooKeeperFactory { zookeeper: self.clone(), root: root.trim_end_matches('/').into(), pipeline: pipeline.into() }
    }

    /// A node's data and version.
    pub fn node(&self, path: &str) -> Option<(Vec<u8>, i32)> {
        lock(&self.state).nodes.get(path).map(|node| (node.data.clone(), node.version))
    }

    /// Writes a node whatever its version, as an operator does.
    pub fn set_node(&self, path: &str, data: &[u8]) {
        self.change(|ensemble| {
            ensemble.create_all(path);
            if let Some(node) = ensemble.nodes.get_mut(path) {
                node.data = data.to_vec();
                node.version += 1;
            }
        });
    }

    /// Removes a node and all below it.
    pub fn delete_path(&self, path: &str) {
        self.change(|ensemble| {
            let below = format!("{path}/");
            let paths: Vec<String> =
                ensemble.nodes.keys().filter(|name| *name == path || name.starts_with(&below)).cloned().collect();
            paths.iter().for_each(|path| {
                ensemble.delete(path);
            });
        });
    }

    /// The sessions that the ensemble holds, oldest first.
    pub fn sessions(&self) -> Vec<u64> {
        let ensemble = lock(&self.state);
        ensemble.sessions.iter().filter(|(_, session)| !session.gone).map(|(id, _)| *id).collect()
    }

    /// The session that owns a node.
    pub fn owner(&self, path: &str) -> Option<u64> {
        lock(&self.state).nodes.get(path).and_then(|node| node.owner)
    }

    /// A session's connection breaks; unless it comes back in time, the ensemble gives the session up.
    pub fn disconnect(&self, session: u64) {
        self.change(|ensemble| ensemble.disconnect(session));
    }

    /// The session's client reaches the ensemble again: connected, or expired.
    pub fn reconnect(&self, session: u64) {
        self.change(|ensemble| ensemble.reconnect(session));
    }

    /// The session's client is heard of (a ping): silence counts from now, and so it ends when nothing more comes.
    pub fn heard(&self, session: u64) -> SessionState {
        self.change(|ensemble| ensemble.heard(session))
    }

    /// Says whose session it is, for [`ZooKeeper::sessions_of`].
    pub fn name_session(&self, session: u64, client: &str) {
        self.change(|ensemble| ensemble.clients.insert(session, client.to_owned()));
    }

    /// The sessions of a client that the ensemble holds.
    pub fn sessions_of(&self, client: &str) -> Vec<u64> {
        let ensemble = lock(&self.state);
        let held = |id: &u64| ensemble.sessions.get(id).is_some_and(|session| !session.gone);
        ensemble.clients.iter().filter(|(id, name)| *name == client && held(id)).map(|(id, _)| *id).collect()
    }

    /// The ensemble gives a session up at once. The client hears of it at its next call; if `told`, now.
    pub fn expire(&self, session: u64, told: bool) {
        self.change(|ensemble| {
            ensemble.give_up(session);
            if let Some(session) = ensemble.sessions.get(&session).filter(|_| told) {
                session.state.send_replace(SessionState::Expired);
            }
        });
    }

    /// No quorum: all sessions are disconnected, none expires.
    pub fn stop(&self) {
        self.change(Ensemble::stop);
    }

    /// The quorum is back; sessions get their whole timeout again, and reconnect.
    pub fn start(&self) {
        self.change(Ensemble::start);
    }

    /// Another, empty ensemble stands at the same address: all is gone, transaction ids start again.
    pub fn replace_with_fresh(&self) {
        self.change(|ensemble| {
            ensemble.nodes.clear();
            ensemble.zxid = 0;
            ensemble.sessions.values_mut().for_each(|session| {
                session.gone = true;
                session.state.send_replace(SessionState::Expired);
            });
        });
    }

    /// Whether dropped sessions stay until they expire (killed processes) instead of ending at once.
    pub fn drops_linger(&self, linger: bool) {
        self.change(|ensemble| ensemble.drops_linger = linger);
    }

    /// Makes the next `times` calls fail so.
    pub fn fail_next(&self, fault: ZooKeeperFault, times: u32) {
        self.change(|ensemble| ensemble.faults.plan(fault, times));
    }

    /// Forgets the planned faults that have not fired.
    pub fn clear_faults(&self) {
        self.change(|ensemble| ensemble.faults.clear());
    }

    /// The client (see [`ZooKeeper::name_session`]) whose candidate comes first in the election of a folder.
    pub fn first_candidate(&self, folder: &str) -> Option<String> {
        let ensemble = lock(&self.state);
        let children = ensemble.children(&format!("{folder}/{ELECTION}"));
        let first = children.into_iter().min_by_key(|(name, _)| session::sequence(name))?;
        first.1.owner.and_then(|owner| ensemble.clients.get(&owner).cloned())
    }

    /// How many planned faults have fired.
    pub fn faults_fired(&self) -> u64 {
        lock(&self.state).faults.fired()
    }
}

/// Makes sessions on one pipeline's folder.
#[derive(Debug, Clone)]
pub struct ZooKeeperFactory {
    zookeeper: ZooKeeper,
    root: String,
    pipeline: String,
}

impl ZooKeeperFactory {
    /// Opens a session.
    ///
    /// # Errors
    /// As [`CoordinatorFactory::connect`].
    pub async fn open(&self) -> Result<ModelSession, CoordinatorError> {
        let folder = format!("{}/{}", self.root, self.pipeline);
        let session = self.zookeeper.change(|ensemble| {
            if !ensemble.up {
                return Err(CoordinatorError::Unknown("none of the ensemble's servers answers".into()));
            }
            ensemble.sweep();
            if ensemble.faults.take(|fault| fault == ZooKeeperFault::Denied).is_some() {
                return Err(CoordinatorError::Denied(folder.clone()));
            }
            if !self.root.is_empty() && !ensemble.nodes.contains_key(&self.root) {
                return Err(CoordinatorError::NoPath(self.root.clone()));
            }
            ensemble.create_all(&format!("{folder}/{ELECTION}"));
            Ok(ensemble.open())
        })?;
        Ok(ModelSession::new(self.zookeeper.clone(), folder, session))
    }
}

#[async_trait]
impl CoordinatorFactory for ZooKeeperFactory {
    async fn connect(&self) -> Result<Box<dyn Coordinator>, CoordinatorError> {
        Ok(Box::new(self.open().await?))
    }
}
