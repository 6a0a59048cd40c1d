//! What is loaded: addresses, and the processes whose cost is watched.

use std::collections::BTreeMap;

/// An index behind its alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The cluster's address.
    pub url: String,
    /// The alias.
    pub alias: String,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// `host:port,…`.
    pub brokers: String,
    /// Its name.
    pub name: String,
}

/// Everything that a run needs to know of what it loads.
#[derive(Debug, Clone)]
pub struct Target {
    /// `mysql://user:password@host:port`, with the right to create databases.
    pub mysql: String,
    /// The captured database; the cold one is called the same with `_cold`.
    pub database: String,
    /// `hot`, `full`, `remind`.
    pub indexes: BTreeMap<String, Index>,
    /// Where the records are seen on their way, if that is to be measured.
    pub topic: Option<Topic>,
    /// Names and process ids.
    pub processes: Vec<(String, u32)>,
}

impl Target {
    /// The database that archived orders go to. No pipeline captures it.
    pub fn cold_database(&self) -> String {
        format!("{}_cold", self.database)
    }
}
