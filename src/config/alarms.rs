//! `alarms`: when a condition is told, and to whom.

use std::time::Duration;

use towpath_connectors::{Secret, Webhook};

use super::reader::Section;
use crate::alarms::{AlarmConfig, WEBHOOK_DEADLINE};

/// Reads the section; problems are noted there.
pub(super) fn read(section: Section<'_>) -> AlarmConfig {
    let default = AlarmConfig::default();
    let after = section.duration("after", Duration::ZERO..=Duration::from_secs(3600), default.after);
    let lag = section.duration("lag", Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600), default.lag);
    let headers = section.section("headers").map_or_else(Vec::new, |headers| headers.named_strings());
    let headers: Vec<(String, Secret)> =
        headers.into_iter().map(|(name, text)| (name, Secret::new(text.value))).collect();
    let webhook = match section.string("webhook") {
        None => {
            if !headers.is_empty() {
                section.problem("headers", "are for a `webhook`, and there is none");
            }
            None
        }
        Some(url) => match Webhook::new(Secret::new(url.value), &headers, WEBHOOK_DEADLINE) {
            Ok(webhook) => Some(webhook),
            Err(error) => {
                let key = if error.0.contains("header") { "headers" } else { "webhook" };
                section.problem(key, error.to_string());
                None
            }
        },
    };
    section.finish();
    AlarmConfig { after, lag, webhook }
}
