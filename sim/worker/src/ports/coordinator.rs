//! Port `Coordinator` over the network: a session kept alive by pings, as ZooKeeper's clients do.
//!
//! A client pings at a third of the timeout and calls itself disconnected after two thirds without an answer; the
//! ensemble gives a session up that it has not heard of for the whole of it.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use towpath_engine::ports::coordinator::{
    Candidate, Coordinator, CoordinatorError, CoordinatorFactory, NodeVersion, NodeWrite, SessionState,
};
use towpath_models::zookeeper::{ModelSession, ZooKeeper, ZooKeeperFactory};

use super::CALL_WITHIN;
use crate::wire::{Link, Lost};

/// The ensemble's host looks up from waiting for a change this often.
const SLICE: Duration = Duration::from_secs(1);
/// A client that lost its server tries again this often.
const RECONNECT: Duration = Duration::from_millis(300);

/// Makes sessions behind the network.
pub struct RemoteCoordinators {
    link: Link,
    zookeeper: ZooKeeper,
    factory: ZooKeeperFactory,
    timeout: Duration,
}

impl RemoteCoordinators {
    /// Sessions with this timeout on the folder of `factory`, reached through `link`.
    pub fn new(link: Link, zookeeper: ZooKeeper, factory: ZooKeeperFactory, timeout: Duration) -> Self {
        Self { link, zookeeper, factory, timeout }
    }
}

fn unknown(lost: Lost) -> CoordinatorError {
    CoordinatorError::Unknown(lost.to_string())
}

#[async_trait]
impl CoordinatorFactory for RemoteCoordinators {
    async fn connect(&self) -> Result<Box<dyn Coordinator>, CoordinatorError> {
        let link = self.link.separate();
        let (factory, zookeeper, host) = (self.factory.clone(), self.zookeeper.clone(), link.host().to_owned());
        let work = move || async move {
            let session = factory.open().await?;
            zookeeper.name_session(session.id(), &host);
            zookeeper.heard(session.id());
            Ok(Arc::new(session))
        };
        let session = link.call("coordinator.connect", CALL_WITHIN, work).await.map_err(unknown)??;
        let (state, seen) = watch::channel(SessionState::Connected);
        let pings = tokio::spawn(ping(link.clone(), self.zookeeper.clone(), session.id(), self.timeout, state));
        Ok(Box::new(RemoteSession { link, session, seen, pings }))
    }
}

/// Keeps the session alive and says what the client knows of it.
async fn ping(link: Link, zookeeper: ZooKeeper, session: u64, timeout: Duration, state: watch::Sender<SessionState>) {
    loop {
        let asked = zookeeper.clone();
        let work = move || async move { asked.heard(session) };
        let answer = link.call("coordinator.ping", timeout / 3, work).await;
        // A process that stands still learns nothing.
        link.gate().open().await;
        let (now, wait) = match answer {
            Ok(SessionState::Connected) => (SessionState::Connected, timeout / 3),
            Ok(SessionState::Expired) => (SessionState::Expired, timeout),
            Ok(SessionState::Disconnected) | Err(_) => (SessionState::Disconnected, RECONNECT),
        };
        state.send_if_modified(|state| std::mem::replace(state, now) != now);
        if now == SessionState::Expired {
            // Held open: a closed channel would read as the last state for ever, and that is this one.
            state.closed().await;
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

struct RemoteSession {
    link: Link,
    session: Arc<ModelSession>,
    seen: watch::Receiver<SessionState>,
    pings: JoinHandle<()>,
}

impl RemoteSession {
    async fn call<T, F>(
        &self,
        name: &'static str,
        work: impl FnOnce(Arc<ModelSession>) -> F + Send + 'static,
    ) -> Result<T, CoordinatorError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CoordinatorError>> + Send + 'static,
    {
        match *self.seen.borrow() {
            SessionState::Connected => {}
            SessionState::Disconnected => return Err(CoordinatorError::Unknown("not connected".into())),
            SessionState::Expired => return Err(CoordinatorError::Expired),
        }
        let session = Arc::clone(&self.session);
        self.link.call(name, CALL_WITHIN, move || work(session)).await.map_err(unknown)?
    }
}

#[async_trait]
impl Coordinator for RemoteSession {
    fn session(&self) -> watch::Receiver<SessionState> {
        self.seen.clone()
    }

    async fn join(&self, id: &str) -> Result<Candidate, CoordinatorError> {
        let id = id.to_owned();
        self.call("coordinator.join", |session| async move { session.join(&id).await }).await
    }

    async fn candidates(&self) -> Result<Vec<Candidate>, CoordinatorError> {
        self.call("coordinator.candidates", |session| async move { session.candidates().await }).await
    }

    async fn candidates_changed(&self, seen: &[Candidate]) -> Result<(), CoordinatorError> {
        loop {
            let seen = seen.to_vec();
            let work = |session: Arc<ModelSession>| async move {
                let waited = tokio::time::timeout(SLICE, session.candidates_changed(&seen)).await;
                waited.map_or(Ok(false), |result| result.map(|()| true))
            };
            if self.call("coordinator.watch", work).await? {
                return Ok(());
            }
        }
    }

    async fn resign(&self, candidate: &Candidate) -> Result<(), CoordinatorError> {
        let candidate = candidate.clone();
        self.call("coordinator.resign", |session| async move { session.resign(&candidate).await }).await
    }

    async fn read(&self, node: &str) -> Result<Option<(Vec<u8>, NodeVersion)>, CoordinatorError> {
        let node = node.to_owned();
        let work = |session: Arc<ModelSession>| async move { Coordinator::read(session.as_ref(), &node).await };
        self.call("coordinator.read", work).await
    }

    async fn write(
        &self,
        candidate: Option<&Candidate>,
        nodes: &[NodeWrite<'_>],
    ) -> Result<Vec<NodeVersion>, CoordinatorError> {
        let candidate = candidate.cloned();
        let nodes: Vec<(String, Vec<u8>, Option<NodeVersion>)> =
            nodes.iter().map(|write| (write.node.to_owned(), write.data.to_vec(), write.expected)).collect();
        let work = |session: Arc<ModelSession>| async move {
            let nodes: Vec<NodeWrite<'_>> =
                nodes.iter().map(|(node, data, expected)| NodeWrite { node, data, expected: *expected }).collect();
            session.write(candidate.as_ref(), &nodes).await
        };
        self.call("coordinator.write", work).await
    }
}

impl Drop for RemoteSession {
    fn drop(&mut self) {
        self.pings.abort();
    }
}
