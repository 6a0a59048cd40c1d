//! One simulated run a process: the production engine and the models as hosts under turmoil, from a seed.
//!
//! `wire` is the network between them, `ports` the engine's ports over it, `world` what stands, `application` what is
//! written, `faults` what is done to it all, `observe` what the oracles are shown, `run` the course of a run,
//! `fingerprint` what says where two runs part.
//!
//! Architecture invariant: equal seed, equal bytes. No real clock, entropy, thread or socket; ordered maps only. What
//! is linked here must not start threads of its own (no librdkafka, no OpenSSL).

pub mod application;
pub mod cli;
pub mod faults;
pub mod fingerprint;
pub mod observe;
pub mod ports;
pub mod run;
pub mod wire;
pub mod world;

pub use run::{Options, Outcome, run};
