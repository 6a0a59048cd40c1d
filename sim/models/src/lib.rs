//! Executable models of MySQL, Kafka, Elasticsearch and ZooKeeper: strict state machines in memory behind the engine's
//! ports.
//!
//! Each is *less* forgiving than the service it stands for: what the service may do, the model does at once. The
//! conformance suite (`tests/conformance` of the root package) runs the same bodies against the models and the real
//! services; where they differ the model is wrong.
//!
//! Architecture invariant: deterministic. Ordered maps only; no clock but `tokio::time` and the wall clock that is
//! handed in; no entropy, thread, socket or file. Nothing here is linked into the production binary.

pub mod elasticsearch;
pub mod faults;
pub mod kafka;
pub mod mysql;
pub mod orders;
pub mod zookeeper;
