//! A scenario: what stands, what is done to it, what fails and when, and what is expected. One TOML file each.
//!
//! A scenario does not know whether it runs simulated or on real processes. Nothing here runs anything.

mod checks;
mod duration;
mod fault;
mod parse;
pub mod soak;
pub mod swarm;
mod topology;

pub use duration::Span;
pub use fault::{Fault, FaultKind, Moment, Needs};
pub use parse::{check, parse, take_profile};
pub use topology::{Archive, Deletes, Fencing, Pipeline, RowMetadata, Source, Topology};

use serde::{Deserialize, Serialize};
use towpath_engine::cause::Cause;

use crate::load::{self, Profile};
use crate::oracle::documents::SINKS;

/// What is done to each source: the order workload. What is not about orders' numbers is done to the first one alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    /// Transactions a second at each source, while it lasts.
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
    /// The load profile whose traffic there is instead of `rate`, `orders` and the peak: a shipped one, or a file
    /// beside the scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What the profile's rates and merchants are multiplied by.
    pub profile_scale: f64,
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
            profile: None,
            profile_scale: 1.0,
        }
    }
}

/// What is expected beyond the oracles, each checked when the run ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// At rest at most this long after the last fault ended.
    pub caught_up_within: Option<Span>,
    /// At least so many changes of the lead after the first, of all sources together.
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
    /// While faults go on each committed change is searchable within this. A source's time stands still while its link
    /// is cut.
    pub fresh_within: Option<Span>,
    /// At least so often documents were begun to be written directly.
    pub fallbacks_at_least: Option<u32>,
    /// While faults go on a merchant's device hears of each order within this, unless it rings no more by then.
    pub sound_within: Option<Span>,
    /// At least so many orders are heard.
    pub sounds_at_least: Option<u32>,
    /// Until the last fault ends no deployer holds more bytes than these that it has read and not delivered. Afterwards
    /// its budget is the bound.
    pub in_flight_at_most: Option<u64>,
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
    /// The text of the profile that the workload names, put here by whoever reads files; a file cannot say so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub profile_text: String,
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

impl Scenario {
    /// The profile whose traffic there is.
    ///
    /// # Errors
    /// It cannot be, or not in a simulation.
    pub fn profile(&self) -> Result<Option<Profile>, String> {
        let Some(name) = &self.workload.profile else { return Ok(None) };
        let alone = |_: &str| Err("a simulation reads no curve from a file of its own".to_owned());
        let mut profile = load::parse(name, &self.profile_text, &alone).map_err(|refusal| refusal.to_string())?;
        profile.scale = self.workload.profile_scale;
        Ok(Some(profile))
    }
}

impl Scenario {
    /// One that no file holds: as it would be if its file said nothing more. Drawn ones say so.
    pub fn new(name: String, learn: &str, length: Span) -> Self {
        Self {
            name,
            drawn: false,
            profile_text: String::new(),
            learn: learn.to_owned(),
            length,
            topology: Topology::default(),
            workload: Work::default(),
            faults: Vec::new(),
            expect: Expect::default(),
        }
    }
}

fn minute() -> Span {
    Span::from_millis(60_000)
}

/// The names of the sinks of every scenario.
pub fn sinks() -> impl Iterator<Item = &'static str> {
    SINKS.iter().map(|sink| sink.name)
}
