//! The demo: an order workload through the whole pipeline, every document compared with its row at the end.
//!
//! Embedded, it runs the production engine on the models of the four services in this one process; with `--stack` it
//! starts the same on the real services, as another process. Must not decide what is right: the oracle does.

pub mod args;
pub mod embedded;
pub mod stack;

pub use args::{Args, Sabotage};
pub use towpath_scenarios::summary::{Freshness, Summary};
