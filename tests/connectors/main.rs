//! The connectors on the real services: each promise of a port that only a service can show, and each refusal.
//!
//! What the models must show too stands in the conformance suite.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod elasticsearch;
mod kafka;
mod mysql;
mod services;
mod zookeeper;
