//! The state in the coordinator: every write is one transaction that checks one's own candidate node and the version
//! last seen, and keeps the previous value beside the new one.
//!
//! Must not decide what is written.

use std::sync::Arc;

use crate::branch::{self, Branch};
use crate::cause::{Cause, Stop};
use crate::ports::coordinator::{Candidate, Coordinator, CoordinatorError, NodeVersion, NodeWrite};
use crate::state::{self, PipelineState};

/// Why a write did not happen, or may not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Try again (after a wait): whether it took effect is settled by the next attempt.
    Retry(String),
    /// Somebody else leads, or the session is over: drop everything.
    Lost(String),
    /// It can never succeed.
    Stop(Stop),
}

/// One leader's view of the state's nodes.
pub struct Store {
    coordinator: Arc<dyn Coordinator>,
    candidate: Option<Candidate>,
    /// The state as last read or written, and its version; `None` if the node does not exist.
    current: Option<(Vec<u8>, NodeVersion)>,
    previous: Option<NodeVersion>,
    /// A value whose write had an unknown outcome.
    doubtful: Option<Vec<u8>>,
}

impl Store {
    /// Reads the nodes. `candidate`: whose existence guards every write; `None` only for tools without a leader.
    pub async fn open(
        coordinator: Arc<dyn Coordinator>,
        candidate: Option<Candidate>,
    ) -> Result<Self, CoordinatorError> {
        let current = coordinator.read(state::NODE).await?;
        let previous = coordinator.read(state::PREVIOUS).await?.map(|(_, version)| version);
        Ok(Self { coordinator, candidate, current, previous, doubtful: None })
    }

    /// The state as it was read; `None` if there has never been one.
    pub fn state(&self) -> Result<Option<PipelineState>, Stop> {
        self.current.as_ref().map(|(bytes, _)| state::decode(bytes)).transpose()
    }

    /// The bytes as they were read.
    pub fn raw(&self) -> Option<&[u8]> {
        self.current.as_ref().map(|(bytes, _)| bytes.as_slice())
    }

    /// Writes the state. After `Retry` call it again, with the same or a newer state.
    pub async fn write(&mut self, state: &mut PipelineState) -> Result<(), StoreError> {
        let bytes = state::encode(state).map_err(StoreError::Stop)?;
        self.settle().await?;
        let old = self.current.as_ref().map(|(bytes, version)| (bytes.clone(), *version));
        let mut nodes =
            vec![NodeWrite { node: state::NODE, data: &bytes, expected: old.as_ref().map(|(_, version)| *version) }];
        if let Some((before, _)) = &old {
            nodes.push(NodeWrite { node: state::PREVIOUS, data: before, expected: self.previous });
        }
        match self.coordinator.write(self.candidate.as_ref(), &nodes).await {
            Ok(versions) => {
                self.previous = versions.get(1).copied().or(self.previous);
                let Some(&version) = versions.first() else {
                    return Err(StoreError::Stop(Stop::new(Cause::Internal, "a write returned no version")));
                };
                self.current = Some((bytes, version));
                Ok(())
            }
            Err(CoordinatorError::Unknown(why)) => {
                branch::reached(Branch::StateDoubtful);
                self.doubtful = Some(bytes);
                Err(StoreError::Retry(why))
            }
            Err(error) => Err(store_error(error)),
        }
    }

    /// Finds out what became of a write with an unknown outcome.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let Some(doubtful) = self.doubtful.clone() else { return Ok(()) };
        let found = self.coordinator.read(state::NODE).await.map_err(store_error)?;
        let previous = self.coordinator.read(state::PREVIOUS).await.map_err(store_error)?;
        let untouched = found == self.current;
        let ours = found.as_ref().is_some_and(|(bytes, _)| *bytes == doubtful);
        if !untouched && !ours {
            return Err(StoreError::Lost("the state was changed by another writer".to_owned()));
        }
        if ours {
            branch::reached(Branch::StateOurs);
        }
        self.current = found;
        self.previous = previous.map(|(_, version)| version);
        self.doubtful = None;
        Ok(())
    }
}

fn store_error(error: CoordinatorError) -> StoreError {
    let text = error.to_string();
    match error {
        CoordinatorError::Unknown(_) => StoreError::Retry(text),
        CoordinatorError::Expired | CoordinatorError::NotCandidate | CoordinatorError::Conflict => {
            StoreError::Lost(text)
        }
        CoordinatorError::NoPath(_) | CoordinatorError::Denied(_) => {
            StoreError::Stop(Stop::new(Cause::CoordinatorUnavailable, text))
        }
        CoordinatorError::TooLarge(_) => StoreError::Stop(Stop::new(Cause::Config, text)),
    }
}
