//! The deployer on the four models: each rule of the protocol that it keeps, with the fault that would break it.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

mod alternating;
mod between_calls;
mod delivery;
mod detection;
mod failover;
mod fallback;
mod fallback_faults;
mod fencing;
mod harness;
mod late_records;
mod replay;
mod schemas;
mod semi_sync;
mod sinks;
mod state;
mod xa;
