//! Benches on the real services: every figure of a table comes from one run on one machine.
//!
//! Must not judge: whether a figure is good enough is for the reader.

pub mod decode;
mod dump;
pub mod failover;
mod filled;
pub mod load;
pub mod peers;
pub mod pipeline;

/// Two decimals are as much as a measurement of seconds can say.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
