//! What a person asks of the fallback path: a node of its own beside the state, looked at every other second.
//!
//! It is a wish, not a fact: nothing depends on when a leader learns of it. Must not write.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Wish;
use crate::ports::coordinator::Coordinator;

/// The node's name in the pipeline's folder.
pub const NODE: &str = "fallback";

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The node's content, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What is asked for.
    pub wish: Wish,
    /// By whom or why, for a person.
    pub reason: String,
    /// When, wall clock, ms.
    pub at_ms: u64,
}

/// Follows the node while it lives.
pub struct Wishes {
    wish: watch::Receiver<Wish>,
    task: JoinHandle<()>,
}

impl Wishes {
    /// Begins to follow.
    pub fn new(coordinator: Arc<dyn Coordinator>) -> Self {
        let (sender, wish) = watch::channel(Wish::Auto);
        let task = tokio::spawn(async move {
            loop {
                // Without an answer the last wish stands.
                if let Ok(found) = coordinator.read(NODE).await {
                    let order = found.and_then(|(bytes, _)| serde_json::from_slice::<Order>(&bytes).ok());
                    let wish = order.map_or(Wish::Auto, |order| order.wish);
                    sender.send_if_modified(|known| std::mem::replace(known, wish) != wish);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { wish, task }
    }

    /// The wish as it is.
    pub fn now(&self) -> Wish {
        *self.wish.borrow()
    }

    /// The wish, as it changes.
    pub fn follow(&self) -> watch::Receiver<Wish> {
        self.wish.clone()
    }
}

impl Drop for Wishes {
    fn drop(&mut self) {
        self.task.abort();
    }
}
