//! Real MySQL, MariaDB, Kafka, ZooKeeper and Elasticsearch as local processes, for people (`cargo stack`) and for
//! tests.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use towpath_stack::Stack;
//! let stack = Stack::builder().mysql().kafka(1).zookeeper(1).es(&["hot"]).start().await?;
//! println!("{} {}", stack.mysql()?.url(), stack.kafka()?.bootstrap());
//! stack.service("kafka-1")?.kill().await?;
//! stack.service("kafka-1")?.start().await?;
//! stack.stop().await
//! # }
//! ```
//!
//! Everything listens on 127.0.0.1 only. What this crate starts it ends by recorded process identity, never by name. It
//! knows
//! nothing of the pipeline.

pub mod bench;
mod builder;
pub mod by_hand;
pub mod demo;
mod details;
mod guard;
pub mod harness;
pub mod install;
pub mod leftovers;
mod native;
pub mod paths;
pub mod ports;
mod probe;
mod process;
pub mod scenario;
mod service;
mod services;
mod stack;

pub use builder::StackBuilder;
pub use details::{Database, Details, KafkaDetails, State};
pub use probe::Probe;
pub use process::{Identity, holder_of_port};
pub use service::{Kind, Launch, Service, Spec};
pub use services::PASSWORD;
pub use stack::{Description, Elasticsearch, Kafka, Mysql, SHARED, Sasl, Stack, Zookeeper};
