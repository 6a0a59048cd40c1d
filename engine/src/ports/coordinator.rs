//! Port `Coordinator`: one pipeline's folder in ZooKeeper.

use async_trait::async_trait;
use tokio::sync::watch;

/// The session with the ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Replies arrive.
    Connected,
    /// No reply: the session may be about to expire. Start no effect.
    Disconnected,
    /// The ensemble has given the session up; its candidate node is gone. Drop everything and rejoin.
    Expired,
}

/// One's own candidate node: ephemeral, sequential, with an id of its own in the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node's name within the election folder.
    pub node: String,
    /// The node's creation transaction id: the fencing term, before `term_base`.
    pub czxid: i64,
}

/// A node's data version; starts again at 0 when a node is created anew.
pub type NodeVersion = i32;

/// What the ensemble can refuse or fail with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CoordinatorError {
    /// The connection was lost: the call may or may not have taken effect.
    #[error("ZooKeeper is unavailable (the outcome is unknown): {0}")]
    Unknown(String),
    /// The session has expired.
    #[error("the ZooKeeper session has expired")]
    Expired,
    /// One's own candidate node is gone: somebody else may lead. Nothing was written.
    #[error("this process is no longer a candidate")]
    NotCandidate,
    /// The state has another version than expected. Nothing was written.
    #[error("the state was changed by another writer")]
    Conflict,
    /// The configured root path does not exist and may not be created.
    #[error("the ZooKeeper path does not exist: {0}")]
    NoPath(String),
    /// Authentication or access control.
    #[error("ZooKeeper denies access: {0}")]
    Denied(String),
    /// The value exceeds the ensemble's limit (1 MB).
    #[error("the state is too large for a znode: {0}")]
    TooLarge(String),
}

/// A session with the ensemble, on one pipeline's folder. A new value is made for every session.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// The session's state, as last heard.
    fn session(&self) -> watch::Receiver<SessionState>;

    /// Makes the candidate node. `id` is unique to this candidacy: after an unknown outcome the implementation looks
    /// for
    /// it among the children instead of creating a second one.
    async fn join(&self, id: &str) -> Result<Candidate, CoordinatorError>;

    /// All candidates in order of their sequence numbers: the first leads.
    async fn candidates(&self) -> Result<Vec<Candidate>, CoordinatorError>;

    /// Returns when the set of candidates may differ from `seen` (never misses a change; may return early).
    async fn candidates_changed(&self, seen: &[Candidate]) -> Result<(), CoordinatorError>;

    /// Removes one's candidate node (an orderly handing over).
    async fn resign(&self, candidate: &Candidate) -> Result<(), CoordinatorError>;

    /// The state and its version; `None` if there has never been one. `state` names a node of the folder
    /// (`state`, `previous`).
    async fn read(&self, node: &str) -> Result<Option<(Vec<u8>, NodeVersion)>, CoordinatorError>;

    /// Writes the nodes in one transaction, each guarded by its expected version (`None` = must not exist yet), and all
    /// guarded by the existence of `candidate`'s node (`None` only for tools, with no leader). Returns the new
    /// versions.
    async fn write(
        &self,
        candidate: Option<&Candidate>,
        nodes: &[NodeWrite<'_>],
    ) -> Result<Vec<NodeVersion>, CoordinatorError>;
}

/// One node of a guarded write.
#[derive(Debug, Clone, Copy)]
pub struct NodeWrite<'a> {
    /// The node's name in the pipeline's folder.
    pub node: &'a str,
    /// The new content.
    pub data: &'a [u8],
    /// The version it must have now; `None` creates it.
    pub expected: Option<NodeVersion>,
}

/// Makes sessions. A process keeps one of these and asks for a new session after an expiry.
#[async_trait]
pub trait CoordinatorFactory: Send + Sync {
    /// Opens a session on the pipeline's folder, creating the folder below the configured root if it is absent.
    async fn connect(&self) -> Result<Box<dyn Coordinator>, CoordinatorError>;
}
