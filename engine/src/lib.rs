//! The deterministic library of Towpath: everything between the four ports.
//!
//! What flows: [`ports::BinlogSource`] gives raw event bytes; [`binlog`] splits them into rows; [`format`] writes
//! records; [`deployer`] delivers them to [`ports::EventLog`] and keeps the [`state`] in [`ports::Coordinator`];
//! [`adapter`] reads the records back, turns them into documents and writes them to [`ports::SearchIndex`].
//!
//! Architecture invariant: nothing here opens a socket or a file, reads a clock or entropy, or starts a thread.
//! Time comes from `tokio::time`, the wall clock and randomness from [`env::Env`]. `engine/clippy.toml` enforces it.

// Test code that is shared with integration tests names the crate as they do.
#[cfg(test)]
extern crate self as towpath_engine;

pub mod adapter;
pub mod binlog;
pub mod branch;
pub mod canary;
pub mod cause;
pub mod causes;
pub mod deployer;
pub mod env;
pub mod format;
pub mod gtid;
pub mod metrics;
pub mod ports;
pub mod position;
pub mod routing;
pub mod schema;
pub mod state;
pub mod version;
