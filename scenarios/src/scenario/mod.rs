//! A scenario: what stands, what is done to it, what fails and when, and what is expected. One TOML file each.
//!
//! A scenario does not know whether it runs simulated or on real processes. Nothing here runs anything.

mod duration;
mod fault;
mod parse;
pub mod soak;
pub mod swarm;

pub use duration::Span;
pub use fault::{Fault, FaultKind, Moment, Needs};
pub use parse::{check, parse};

use serde::{Deserialize, Serialize};
use towpath_engine::cause::Cause;

use crate::oracle::documents::SINKS;

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

/// What stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// Deployer processes: `deployer-1`, `deployer-2`, …
    pub deployers: u32,
    /// Servers that follow `mysql` and that deployers know: `mysql-2`, …
    pub standbys: u32,
    /// Adapter processes, each with all sinks: `adapter-1`, …
    pub adapters: u32,
    /// Partitions of the topic.
    pub partitions: u32,
    /// How deposed leaders are fenced.
    pub fencing: Fencing,
    /// How the sinks delete.
    pub deletes: Deletes,
    /// The largest record, bytes; a larger row is a dead letter.
    pub max_record_bytes: u32,
    /// What the binlog says about the columns of its rows.
    pub row_metadata: RowMetadata,
    /// Orders that leave move to the database `archive`, and stay in the sink `full`.
    pub archive: bool,
    /// Deployers write documents themselves once Kafka is silent for so long; without it they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Span>,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            deployers: 2,
            standbys: 0,
            adapters: 2,
            partitions: 3,
            fencing: Fencing::Transactions,
            deletes: Deletes::Soft,
            max_record_bytes: 900_000,
            row_metadata: RowMetadata::Full,
            archive: false,
            fallback: None,
        }
    }
}

impl Topology {
    /// The names of all hosts, services first.
    pub fn hosts(&self) -> Vec<String> {
        let services = ["kafka", "zookeeper", "elasticsearch"].map(str::to_owned);
        self.sources().into_iter().chain(services).chain(self.processes()).collect()
    }

    /// The names of the MySQL servers: the source, then those that follow it.
    pub fn sources(&self) -> Vec<String> {
        let standbys = (1..=self.standbys).map(|n| format!("mysql-{}", n + 1));
        std::iter::once("mysql".to_owned()).chain(standbys).collect()
    }

    /// The names of deployers and adapters.
    pub fn processes(&self) -> Vec<String> {
        let deployers = (1..=self.deployers).map(|n| format!("deployer-{n}"));
        deployers.chain((1..=self.adapters).map(|n| format!("adapter-{n}"))).collect()
    }
}

/// What is done to the source: the order workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    /// Transactions a second, while it lasts.
    pub rate: u32,
    /// The most transactions in all; the length of the run may end it sooner.
    pub transactions: u32,
    /// Orders that come in all.
    pub orders: u32,
    /// Row changes of one huge transaction, halfway; 0 = none.
    pub huge_rows: u32,
    /// Bytes of one remark that no record can hold, halfway; 0 = none.
    pub poison_bytes: u32,
    /// From here on, for [`Work::peak_for`], the rate is multiplied by [`Work::peak_times`].
    pub peak_at: Span,
    /// How long the peak lasts.
    pub peak_for: Span,
    /// How high the peak is.
    pub peak_times: u32,
    /// XA transactions that begin every second beside the others.
    pub xa_per_second: u32,
    /// Now and then, about so far apart, `ALTER TABLE` moves, adds or drops a column; 0 = never.
    pub columns_move_every: Span,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            rate: 20,
            transactions: 100_000,
            orders: 100_000,
            huge_rows: 0,
            poison_bytes: 0,
            peak_at: Span::ZERO,
            peak_for: Span::ZERO,
            peak_times: 1,
            xa_per_second: 0,
            columns_move_every: Span::ZERO,
        }
    }
}

/// What is expected beyond the oracles, each checked when the run ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// At rest at most this long after the last fault ended.
    pub caught_up_within: Option<Span>,
    /// At least so many changes of the lead after the first.
    pub takeovers_at_least: Option<u32>,
    /// Without a leader at most this long at a time.
    pub leaderless_at_most: Option<Span>,
    /// Deployers do not go on but name this cause; then nothing comes to rest and the run ends with it.
    pub stops_with: Option<Cause>,
    /// At least so many epochs after the first.
    pub epochs_at_least: Option<u32>,
    /// Exactly so many rows among the dead letters of the deployers.
    pub dead_letters: Option<u32>,
    /// At least so many row changes arrive in the log.
    pub changes_at_least: Option<u32>,
    /// While faults go on each committed change is searchable within this.
    pub fresh_within: Option<Span>,
    /// At least so often documents were begun to be written directly.
    pub fallbacks_at_least: Option<u32>,
}

/// A scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without suffix.
    #[serde(default)]
    pub name: String,
    /// Whether it was drawn from a seed; a file cannot say so. A drawn fault may wait for a moment that never comes.
    #[serde(default)]
    pub drawn: bool,
    /// What a user learns from it: one sentence.
    pub learn: String,
    /// How long the safety phase lasts.
    #[serde(default = "minute")]
    pub length: Span,
    /// What stands.
    #[serde(default)]
    pub topology: Topology,
    /// What is done.
    #[serde(default)]
    pub workload: Work,
    /// What fails.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// What is expected.
    #[serde(default)]
    pub expect: Expect,
}

fn minute() -> Span {
    Span::from_millis(60_000)
}

/// The names of the sinks of every scenario.
pub fn sinks() -> impl Iterator<Item = &'static str> {
    SINKS.iter().map(|sink| sink.name)
}
