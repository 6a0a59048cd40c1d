//! A paused process: nothing leaves it and nothing reaches it until it goes on, believing what it believed.
//!
//! Its timers run on meanwhile, which a stopped process's do not: it wakes up to more decisions taken in ignorance,
//! not fewer.

use tokio::sync::watch;

/// The gate of one process.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Gate {
    /// Pauses the process, or lets it go on.
    pub fn pause(&self, paused: bool) {
        self.0.send_replace(paused);
    }

    /// Whether it stands still.
    pub fn is_paused(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits while it stands still.
    pub async fn open(&self) {
        let mut paused = self.0.subscribe();
        // The sender lives as long as this gate.
        let _ = paused.wait_for(|paused| !paused).await;
    }
}
