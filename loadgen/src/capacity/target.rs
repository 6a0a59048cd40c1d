//! Targets: what is to be carried, on which machines, with which reserve.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use towpath_scenarios::refusal::Refusal;

/// What the file is called in a sentence.
const WHAT: &str = "target";

/// The shipped targets.
pub const SHIPPED: [(&str, &str); 1] = [("billion-orders", include_str!("../../targets/billion-orders.toml"))];

/// One machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its cores.
    pub cores: u32,
    /// How many times the measuring machine's speed a core has.
    pub speed: f64,
    /// Its memory, 10⁹ bytes.
    pub memory_gb: f64,
}

/// Reserves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The share of a machine's cores that may be busy at the peak.
    pub busy: f64,
    /// Machines of each kind that may be lost at the peak.
    pub lost_machines: u32,
    /// The largest shard, 10⁹ bytes.
    pub shard_gb: f64,
    /// Copies of each shard beside the first.
    pub replicas: u32,
    /// Copies of each Kafka partition.
    pub kafka_copies: u32,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// One sentence.
    pub learn: String,
    /// Polls and lists a day.
    pub queries_per_day: f64,
    /// The share of the queries that are polls.
    pub polls: f64,
    /// New orders a day.
    pub orders_per_day: f64,
    /// Transactions and row changes of one order's life.
    pub transactions_per_order: f64,
    /// Row changes of one order's life.
    pub changes_per_order: f64,
    /// The busiest second over the mean one.
    pub peak_factor: f64,
    /// Documents in FULL, and of these the share that is in HOT.
    pub documents: f64,
    /// The share of them in HOT.
    pub hot: f64,
    /// Bytes of one document on disk.
    pub document_bytes: f64,
    /// Bytes of one row change in Kafka.
    pub change_bytes: f64,
    /// The cluster that devices poll.
    pub sounds_on: String,
    /// What each machine is.
    pub machine: Machine,
    /// Reserves.
    pub rules: Rules,
}

impl Target {
    /// Reads a target.
    ///
    /// # Errors
    /// An unknown key, or a number that cannot be.
    pub fn parse(name: &str, text: &str) -> Result<Self, Refusal> {
        let target: Self = toml::from_str(text).map_err(|error| Refusal::of_toml(WHAT, name, text, &error))?;
        let positive = [
            ("peak_factor", target.peak_factor),
            ("documents", target.documents),
            ("document_bytes", target.document_bytes),
            ("change_bytes", target.change_bytes),
            ("machine.speed", target.machine.speed),
            ("machine.cores", f64::from(target.machine.cores)),
            ("rules.busy", target.rules.busy),
            ("rules.shard_gb", target.rules.shard_gb),
        ];
        let wrong = positive.iter().find(|(_, value)| !value.is_finite() || *value <= 0.0).map(|(key, _)| *key);
        let share = [("polls", target.polls), ("hot", target.hot), ("rules.busy", target.rules.busy)];
        let wrong = wrong.or(share.iter().find(|(_, value)| !(0.0..=1.0).contains(value)).map(|(key, _)| *key));
        match wrong {
            Some(key) => Err(Refusal::of(WHAT, name, format!("`{key}` is out of its range"))),
            None => Ok(target),
        }
    }
}

/// A shipped target by its name, or a file by its path.
///
/// # Errors
/// There is none, or it cannot be.
pub fn named(name: &str) -> Result<Target> {
    if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        return Ok(Target::parse(name, text)?);
    }
    let Ok(text) = std::fs::read_to_string(name) else {
        let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        bail!("there is no target `{name}`; shipped: {}. A file is named by its path", names.join(", "));
    };
    Ok(Target::parse(name, &text)?)
}
