//! Workloads and oracles: what is done to a source, and whether what arrived is right. Pure functions, shared by demo,
//! simulation and real runs.
//!
//! Architecture invariant: no I/O, no clock, no entropy but the seed; an oracle shares no conversion with the pipeline
//! that it judges.

pub mod calendar;
pub mod load;
pub mod oracle;
pub mod refusal;
pub mod scenario;
pub mod summary;
pub mod workload;
