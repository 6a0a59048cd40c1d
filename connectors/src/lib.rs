//! The four ports of `towpath-engine` on the real services, one folder per client library.
//!
//! | folder | port | client library |
//! |---|---|---|
//! | [`mysql`] | `BinlogSource` | `mysql_async` |
//! | [`kafka`] | `EventLog` | `rdkafka` (librdkafka) |
//! | [`elasticsearch`] | `SearchIndex` | `elasticsearch` |
//! | [`zookeeper`] | `Coordinator` | `zookeeper-client` |
//! | `webhook.rs` | none: notices of alarms | `reqwest` |
//!
//! Architecture invariants: only this crate knows a client library, and no type of one appears in its public API, so
//! that each can be left by rewriting its folder. Nothing here decides about delivery: calls have a deadline, errors
//! are classified into the port's terms, and nothing is retried that the engine must decide about. librdkafka and the
//! ZooKeeper client start threads: neither the engine nor the models may ever depend on this crate.

pub mod elasticsearch;
pub mod kafka;
pub mod mysql;
pub mod zookeeper;

mod secret;
mod webhook;

pub use elasticsearch::{ElasticsearchConfig, ElasticsearchIndex};
pub use kafka::{KafkaConfig, KafkaLog};
pub use mysql::{MySqlSource, SourceConfig, TlsMode};
pub use secret::Secret;
pub use webhook::Webhook;
pub use zookeeper::{ZooKeeperConfig, ZooKeeperFactory};

/// A configuration that a client cannot be made from. One sentence that names the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
