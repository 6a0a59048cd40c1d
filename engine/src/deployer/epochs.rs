//! The current epoch as the adapters may ask for it: read from the pipeline's state each time.
//!
//! Must not write, nor lead: a session of its own that only reads.

use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::Mutex;

use crate::adapter::EpochView;
use crate::ports::coordinator::{Coordinator, CoordinatorFactory};
use crate::state;

/// Reads the epoch from the state that a coordinator keeps. Keeps one session and opens another when it breaks.
pub struct StateEpochs {
    coordinator: Arc<dyn CoordinatorFactory>,
    session: Mutex<Option<Box<dyn Coordinator>>>,
}

impl StateEpochs {
    /// For the state that this coordinator keeps.
    pub fn new(coordinator: Arc<dyn CoordinatorFactory>) -> Self {
        Self { coordinator, session: Mutex::new(None) }
    }
}

#[async_trait]
impl EpochView for StateEpochs {
    async fn read(&self) -> Result<u16, String> {
        let mut session = self.session.lock().await;
        let coordinator = match session.take() {
            Some(coordinator) => coordinator,
            None => self.coordinator.connect().await.map_err(|error| error.to_string())?,
        };
        // A session that fails is dropped: the next call opens another.
        let found = coordinator.read(state::NODE).await.map_err(|error| error.to_string())?;
        *session = Some(coordinator);
        match found {
            None => Ok(0),
            Some((bytes, _)) => state::decode(&bytes).map(|state| state.epoch.number).map_err(|stop| stop.to_string()),
        }
    }
}
