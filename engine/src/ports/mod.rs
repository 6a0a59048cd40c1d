//! The four ports: what the engine needs of MySQL, Kafka, Elasticsearch and ZooKeeper, and no more.
//!
//! Each port's documentation states its semantics precisely enough to be a test; `tests/conformance` of the root
//! package runs the same function bodies against the model and against the real service. A model that is kinder
//! than the service is a bug. Every call has a deadline, kept by the implementation, and none retries by itself
//! what the caller must decide about.

pub mod coordinator;
pub mod index;
pub mod log;
pub mod source;
