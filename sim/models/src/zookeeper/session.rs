//! The port `Coordinator` on the model ensemble: one session.

use super::ensemble::{Ensemble, Op};
use super::{ELECTION, ZooKeeper, ZooKeeperFault};
use crate::faults::lock;
use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use towpath_engine::ports::coordinator::{
    Candidate, Coordinator, CoordinatorError, NodeVersion, NodeWrite, SessionState,
};

/// The server's `jute.maxbuffer` (1 MB less one byte), less what surrounds the data in a packet.
const MAX_BYTES: usize = 0xf_ffff - 8192;

/// One session.
#[derive(Debug)]
pub struct ModelSession {
    zookeeper: ZooKeeper,
    folder: String,
    id: u64,
    state: watch::Receiver<SessionState>,
}

impl ModelSession {
    /// The session's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn new(zookeeper: ZooKeeper, folder: String, id: u64) -> Self {
        let state = lock(&zookeeper.state).sessions.get(&id).map(|session| session.state.subscribe());
        // The session was opened a moment ago, so there is one; a closed channel would read as connected for ever.
        let state = state.unwrap_or_else(|| watch::channel(SessionState::Expired).1);
        Self { zookeeper, folder, id, state }
    }

    fn election(&self) -> String {
        format!("{}/{ELECTION}", self.folder)
    }

    fn read<T>(&self, act: impl FnOnce(&Ensemble) -> Result<T, CoordinatorError>) -> Result<T, CoordinatorError> {
        let mut ensemble = lock(&self.zookeeper.state);
        let swept = ensemble.sweep();
        let result = ensemble.check(self.id).and_then(|()| {
            match ensemble.faults.take(|fault| fault == ZooKeeperFault::ReadLost) {
                Some(_) => Err(CoordinatorError::Unknown("the connection was lost".into())),
                None => act(&ensemble),
            }
        });
        drop(ensemble);
        if swept {
            self.zookeeper.changed.send_modify(|n| *n += 1);
        }
        result
    }

    /// A change: perhaps lost on its way there or back.
    fn write_to<T>(
        &self,
        act: impl FnOnce(&mut Ensemble) -> Result<T, CoordinatorError>,
    ) -> Result<T, CoordinatorError> {
        self.zookeeper.change(|ensemble| {
            ensemble.check(self.id)?;
            let lost = || CoordinatorError::Unknown("the connection was lost".into());
            let fault = ensemble.faults.take(|fault| fault != ZooKeeperFault::ReadLost);
            match fault {
                Some(ZooKeeperFault::LostBefore) => Err(lost()),
                Some(ZooKeeperFault::Denied) => Err(CoordinatorError::Denied(self.folder.clone())),
                Some(_) => act(ensemble).and(Err(lost())),
                None => act(ensemble),
            }
        })
    }
}

/// The number behind a sequential name's last dash.
pub(crate) fn sequence(name: &str) -> Option<u64> {
    name.rsplit('-').next().and_then(|digits| digits.parse().ok())
}

/// The id within a candidate's name.
fn id_of(name: &str) -> Option<&str> {
    name.strip_prefix("c-").and_then(|rest| rest.rsplit_once('-')).map(|(id, _)| id)
}

fn candidates(ensemble: &Ensemble, folder: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> =
        ensemble.children(folder).into_iter().map(|(node, znode)| Candidate { node, czxid: znode.czxid }).collect();
    found.sort_by_key(|candidate| sequence(&candidate.node));
    found
}

#[async_trait]
impl Coordinator for ModelSession {
    fn session(&self) -> watch::Receiver<SessionState> {
        self.state.clone()
    }

    async fn join(&self, id: &str) -> Result<Candidate, CoordinatorError> {
        let folder = self.election();
        let own = |ensemble: &Ensemble| {
            let children = ensemble.children(&folder);
            let mine = children.into_iter().find(|(name, node)| id_of(name) == Some(id) && node.owner == Some(self.id));
            Ok(mine.map(|(node, znode)| Candidate { node, czxid: znode.czxid }))
        };
        if let Some(candidate) = self.read(own)? {
            return Ok(candidate);
        }
        self.write_to(|ensemble| {
            let number = ensemble.nodes.get(&folder).map(|node| node.made);
            let number = number.ok_or_else(|| CoordinatorError::NoPath(folder.clone()))?;
            let node = format!("c-{id}-{number:010}");
            let czxid = ensemble.create(&format!("{folder}/{node}"), Vec::new(), Some(self.id));
            Ok(Candidate { node, czxid })
        })
    }

    async fn candidates(&self) -> Result<Vec<Candidate>, CoordinatorError> {
        self.read(|ensemble| Ok(candidates(ensemble, &self.election())))
    }

    async fn candidates_changed(&self, seen: &[Candidate]) -> Result<(), CoordinatorError> {
        let mut changed = self.zookeeper.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let now = self.read(|ensemble| Ok(candidates(ensemble, &self.election())));
            match now {
                Ok(now) if now == seen => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error),
            }
            // A silent session is given up by time alone: nobody announces it.
            let expiry = lock(&self.zookeeper.state).next_expiry();
            let wait = changed.changed();
            match expiry {
                Some(at) => {
                    let _ = timeout_at(at.max(Instant::now()), wait).await;
                }
                None => {
                    if wait.await.is_err() {
                        return Err(CoordinatorError::Unknown("the ensemble is gone".into()));
                    }
                }
            }
        }
    }

    async fn resign(&self, candidate: &Candidate) -> Result<(), CoordinatorError> {
        let path = format!("{}/{}", self.election(), candidate.node);
        self.write_to(|ensemble| {
            ensemble.delete(&path);
            Ok(())
        })
    }

    async fn read(&self, node: &str) -> Result<Option<(Vec<u8>, NodeVersion)>, CoordinatorError> {
        let path = format!("{}/{node}", self.folder);
        ModelSession::read(self, |ensemble| Ok(ensemble.nodes.get(&path).map(|node| (node.data.clone(), node.version))))
    }

    async fn write(
        &self,
        candidate: Option<&Candidate>,
        nodes: &[NodeWrite<'_>],
    ) -> Result<Vec<NodeVersion>, CoordinatorError> {
        let size: usize = nodes.iter().map(|write| write.data.len()).sum();
        if size > MAX_BYTES {
            return Err(CoordinatorError::TooLarge(format!("{size} bytes, at most {MAX_BYTES} fit")));
        }
        let mut ops: Vec<Op> = Vec::with_capacity(nodes.len() + 1);
        ops.extend(candidate.map(|candidate| Op::Check(format!("{}/{}", self.election(), candidate.node))));
        ops.extend(nodes.iter().map(|write| {
            let (path, data) = (format!("{}/{}", self.folder, write.node), write.data.to_vec());
            match write.expected {
                Some(version) => Op::Set { path, data, version },
                None => Op::Create { path, data },
            }
        }));
        let guards = usize::from(candidate.is_some());
        self.write_to(|ensemble| match ensemble.multi(&ops) {
            Ok(versions) => Ok(versions.into_iter().skip(guards).collect()),
            Err(refused) if refused.index < guards => Err(CoordinatorError::NotCandidate),
            Err(_) => Err(CoordinatorError::Conflict),
        })
    }
}

impl Drop for ModelSession {
    fn drop(&mut self) {
        self.zookeeper.change(|ensemble| {
            if ensemble.drops_linger {
                ensemble.disconnect(self.id);
            } else {
                ensemble.give_up(self.id);
                ensemble.sessions.remove(&self.id);
            }
        });
    }
}
