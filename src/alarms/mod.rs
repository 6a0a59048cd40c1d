//! Alarms: the named conditions that a person must hear of, each visible in the log, as a metric, in `/readyz`, and
//! delivered to a webhook.
//!
//! | file | what it does |
//! |---|---|
//! | [`catalogue`] | which alarms there are, how severe, what to do: one place, also for docs/alarms.md |
//! | [`conditions`] | what holds now, from what deployers, sinks and metrics say |
//! | [`state`] | since when, and when that is told: no alarm for a moment's trouble, no flapping |
//! | [`notice`] | the body that a webhook gets |
//! | [`delivery`] | sends what changed, again until it is taken |
//! | [`watch`] | the loop over all of it |
//!
//! Must decide nothing about delivery of rows: an alarm is a consequence, never a cause.

pub mod catalogue;
pub mod conditions;
pub mod delivery;
pub mod notice;
pub mod state;
pub mod watch;

use std::time::Duration;

use towpath_connectors::Webhook;

/// The section `alarms` of the configuration.
#[derive(Debug, Clone)]
pub struct AlarmConfig {
    /// A condition that may pass by itself is told when it has held for so long; one that has passed is told as
    /// resolved when it has stayed away for so long.
    pub after: Duration,
    /// A lag above this is the alarm `lagging`.
    pub lag: Duration,
    /// Who is told; `None` = log, metrics and `/readyz` alone.
    pub webhook: Option<Webhook>,
}

impl Default for AlarmConfig {
    fn default() -> Self {
        Self { after: Duration::from_secs(30), lag: Duration::from_secs(60), webhook: None }
    }
}

/// The deadline of one request to the webhook.
pub const WEBHOOK_DEADLINE: Duration = Duration::from_secs(10);
