//! What stands in a scenario: sources with their deployers, the services and the adapters that they share, and how all
//! of them are called.
//!
//! Must not know how any of it is started.

use serde::{Deserialize, Serialize};

use super::Span;

/// How deletes are kept in the sinks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deletes {
    /// A tombstone document.
    #[default]
    Soft,
    /// A versioned delete.
    Hard,
}

/// How deposed leaders are fenced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fencing {
    /// Kafka transactions.
    #[default]
    Transactions,
    /// Fence records and terms.
    Versions,
}

/// What the servers' binary logs say about the columns of their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowMetadata {
    /// Their names.
    #[default]
    Full,
    /// Only their types: definitions are followed through the statements.
    Minimal,
}

/// Where orders go that leave the database `orders`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// Nowhere: they are deleted.
    #[default]
    None,
    /// To another database of the same server: one binlog carries both halves of the move.
    SameServer,
    /// To a server of its own with deployers and a topic of its own: two binlogs, in whatever order.
    OwnServer,
}

/// One of several sources of the same indexes. Its place in the list is its rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its pipeline's name, its topic's, and the first part of its hosts' names.
    pub name: String,
    /// How long a message is on its way between its hosts (MySQL and deployers) and all others, at least.
    #[serde(default)]
    pub link: Span,
}

/// A source as it stands: a pipeline with hosts of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Its name, and its topic's.
    pub name: String,
    /// Which of two sources' writes wins where a row moved between them: the higher.
    pub rank: u8,
    /// How long a message takes to other hosts, at least; zero: as between all.
    pub link: Span,
    /// Its MySQL servers: the one that is written, then those that follow it.
    pub servers: Vec<String>,
    /// Its deployers.
    pub deployers: Vec<String>,
    /// Whether it holds the database `orders`, which the workload writes.
    pub has_orders: bool,
    /// Whether it holds the database `archive`.
    pub has_archive: bool,
}

impl Pipeline {
    /// The names of its hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &String> {
        self.servers.iter().chain(&self.deployers)
    }
}

/// What stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// Deployer processes of each source: `deployer-1`, `deployer-2`, …
    pub deployers: u32,
    /// Servers that follow each source's `mysql` and that its deployers know: `mysql-2`, …
    pub standbys: u32,
    /// Commits wait until a standby has them (`AFTER_SYNC`), at most ten seconds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub semi_sync: bool,
    /// Adapter processes, each with all sinks: `adapter-1`, …
    pub adapters: u32,
    /// Kafka's brokers. Records are on three of them, or on all.
    pub brokers: u32,
    /// Partitions of each topic.
    pub partitions: u32,
    /// How deposed leaders are fenced.
    pub fencing: Fencing,
    /// How the sinks delete.
    pub deletes: Deletes,
    /// The largest record, bytes; a larger row is a dead letter.
    pub max_record_bytes: u32,
    /// What the binlog says about the columns of its rows.
    pub row_metadata: RowMetadata,
    /// Where orders go that leave; they stay in the sink `full`.
    pub archive: Archive,
    /// Deployers write documents themselves once Kafka is silent for so long; without it they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Span>,
    /// Several sources of the same indexes; empty: one, whose hosts need no first part of a name.
    #[serde(rename = "source", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            deployers: 2,
            standbys: 0,
            semi_sync: false,
            adapters: 2,
            brokers: 1,
            partitions: 3,
            fencing: Fencing::Transactions,
            deletes: Deletes::Soft,
            max_record_bytes: 900_000,
            row_metadata: RowMetadata::Full,
            archive: Archive::None,
            fallback: None,
            sources: Vec::new(),
        }
    }
}

/// The pipeline of a single source, and its topic.
const ORDERS: &str = "orders";
/// The pipeline of an archive with a server of its own, and its topic.
const ARCHIVE: &str = "archive";

impl Topology {
    /// The pipelines, by rank. Without `sources` the first is `orders`, and its hosts' names have no first part.
    pub fn pipelines(&self) -> Vec<Pipeline> {
        let pipeline = |name: &str, rank: usize, prefix: &str, link: Span| Pipeline {
            name: name.to_owned(),
            rank: rank as u8,
            link,
            servers: (1..=self.standbys + 1)
                .map(|n| if n == 1 { format!("{prefix}mysql") } else { format!("{prefix}mysql-{n}") })
                .collect(),
            deployers: (1..=self.deployers).map(|n| format!("{prefix}deployer-{n}")).collect(),
            has_orders: true,
            has_archive: self.archive == Archive::SameServer,
        };
        if !self.sources.is_empty() {
            let one = |(rank, source): (usize, &Source)| {
                pipeline(&source.name, rank, &format!("{}-", source.name), source.link)
            };
            return self.sources.iter().enumerate().map(one).collect();
        }
        let mut pipelines = vec![pipeline(ORDERS, 0, "", Span::ZERO)];
        if self.archive == Archive::OwnServer {
            let cold = pipeline(ARCHIVE, 1, "archive-", Span::ZERO);
            pipelines.push(Pipeline { has_orders: false, has_archive: true, ..cold });
        }
        pipelines
    }

    /// The names of all hosts: MySQL servers, the services that all share, processes.
    pub fn hosts(&self) -> Vec<String> {
        let servers = self.pipelines().into_iter().flat_map(|pipeline| pipeline.servers);
        let services = ["kafka", "zookeeper", "elasticsearch"].map(str::to_owned);
        servers.chain(services).chain(self.processes()).collect()
    }

    /// The names of the MySQL servers of a single source: the one that is written, then those that follow it.
    pub fn servers(&self) -> Vec<String> {
        self.pipelines().into_iter().next().map(|pipeline| pipeline.servers).unwrap_or_default()
    }

    /// The names of deployers and adapters.
    pub fn processes(&self) -> Vec<String> {
        let deployers = self.pipelines().into_iter().flat_map(|pipeline| pipeline.deployers);
        deployers.chain(self.adapters()).collect()
    }

    /// The names of the adapters, which all sources share.
    pub fn adapters(&self) -> impl Iterator<Item = String> + use<> {
        (1..=self.adapters).map(|n| format!("adapter-{n}"))
    }
}
