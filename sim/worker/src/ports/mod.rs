//! The engine's four ports over the simulated network, each in a file: what a client library is in production.
//!
//! They do what the libraries do and no more: deadlines, reconnecting, a producer's local queue, a session's pings.
//! They retry nothing that the engine must decide about.

mod consumer;
mod coordinator;
mod index;
mod log;
mod producer;
mod source;

pub use coordinator::RemoteCoordinators;
pub use index::RemoteIndex;
pub use log::RemoteLog;
pub use source::RemoteSource;

use std::time::Duration;

/// Deadline of a short call.
pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(5);
