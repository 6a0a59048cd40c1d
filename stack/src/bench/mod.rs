//! Benches on the real services: every figure of a table comes from one run on one machine.
//!
//! Must not judge: whether a figure is good enough is for the reader.

pub mod load;
pub mod pipeline;
