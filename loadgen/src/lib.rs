//! `cargo load`: order writes and prompt-sound queries at peak, against real services, and a verdict.
//!
//! What happens when is planned in `scenarios`; here it is carried out, measured and reported. Must not plan: the same
//! seed must stand for the same traffic in a simulated run.

pub mod capacity;
pub mod drive;
pub mod guard;
pub mod judge;
mod kafka;
pub mod live;
pub mod meter;
pub mod noise;
pub mod own;
pub mod own_cost;
mod probes;
pub mod processes;
pub mod profiles;
pub mod queries;
pub mod remote;
pub mod report;
mod sampler;
pub mod search;
pub mod target;
mod writes;
