//! The structured log: text for people, JSON for machines, both by the same filter.
//!
//! Levels: ERROR needs an engineer; WARN may need one if it stays; INFO is one line per change of state, with its
//! cause; DEBUG and TRACE are for those who work on Towpath. Secrets never get here: their types hide them.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Reads a filter such as `info` or `info,towpath_engine=debug`.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    let known = ["error", "warn", "info", "debug", "trace", "off"];
    let plain = !level.contains(['=', ',']);
    if plain && !known.contains(&level.to_ascii_lowercase().as_str()) {
        return Err(format!("\"{level}\" is not one of error, warn, info, debug, trace"));
    }
    // The client libraries' own chatter stays out unless it is asked for by name.
    let quiet = format!("{level},rdkafka=warn,librdkafka=warn,zookeeper_client=warn,hyper=warn,h2=warn,reqwest=warn");
    let directives = if plain { quiet } else { level.to_owned() };
    EnvFilter::try_new(directives).map_err(|error| format!("\"{level}\" is not a log filter: {error}"))
}

/// Starts logging to standard error. Called once, before anything is logged; a second call changes nothing.
pub fn start(log: &Log) -> Result<(), String> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&log.level)?).with_writer(std::io::stderr);
    let outcome = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
    };
    // Only fails when a logger exists already, as in tests that share a process.
    drop(outcome);
    Ok(())
}
