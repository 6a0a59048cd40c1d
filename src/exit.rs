//! What a process ends with: the exit status and its documentation.
//!
//! Causes have their status in the engine's catalogue; here are those that belong to the process itself.

use std::fmt::Write as _;

use towpath_engine::cause::{Cause, Stop};

/// Everything was done.
pub const OK: u8 = 0;
/// The command could not be carried out, for a reason of its own that the message names.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const USAGE: u8 = 2;

/// A second signal ended the process at once (128 + SIGINT, as shells say it).
pub const SIGNALLED: u8 = 130;

/// Why a command ended without having done what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// A named cause.
    Stop(Stop),
    /// The configuration has problems.
    Config(crate::config::Problems),
    /// The command line asks for something that cannot be.
    Usage(String),
    /// Anything else, said in one sentence.
    Other(String),
    /// The command has printed its report already; only the status is left.
    Reported(u8),
}

impl Failure {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Stop(stop) => stop.cause.exit_code(),
            Self::Config(_) | Self::Usage(_) => USAGE,
            Self::Other(_) => FAILED,
            Self::Reported(status) => *status,
        }
    }

    /// The failure as JSON, for `--json`.
    pub fn json(&self) -> Option<serde_json::Value> {
        match self {
            Self::Stop(stop) => Some(serde_json::json!({
                "error": { "cause": stop.cause.name(), "detail": stop.detail, "remedy": stop.cause.remedy() }
            })),
            Self::Config(problems) => Some(serde_json::json!({
                "error": { "cause": Cause::Config.name(), "file": problems.file, "problems": problems.problems }
            })),
            Self::Other(message) | Self::Usage(message) => Some(serde_json::json!({ "error": { "detail": message } })),
            Self::Reported(_) => None,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stop(stop) => {
                write!(f, "error: {} [{}]\nwhat to do: {}", stop.detail, stop.cause, stop.cause.remedy())
            }
            Self::Config(problems) => write!(f, "error: {}", problems.to_string().trim_end()),
            Self::Other(message) | Self::Usage(message) => write!(f, "error: {message}"),
            Self::Reported(_) => Ok(()),
        }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<crate::config::Problems> for Failure {
    fn from(problems: crate::config::Problems) -> Self {
        Self::Config(problems)
    }
}

/// docs/exit-codes.md, from the catalogue of causes.
pub fn document() -> String {
    let mut out = String::from(
        "# Exit statuses\n\n\
         `towpath` ends with one of these. A cause is named in the log, in `/readyz` and in the metrics as it is \
         here.\n\
         When several pipelines or sinks stopped, the status is that of the first cause in this table's order.\n\n\
         This file is made from the catalogue in `engine/src/cause.rs` by `TOWPATH_WRITE_DOCS=1 cargo test \
         --test docs`; a test fails when the two differ.\n\n\
         | status | cause | meaning | what to do |\n|---|---|---|---|\n\
         | 0 | | done, or drained after SIGTERM or SIGINT | |\n\
         | 1 | | the command could not be carried out; the message says why | |\n\
         | 2 | | the command line is wrong | `towpath help` |\n",
    );
    for cause in Cause::ALL {
        let (status, name) = (cause.exit_code(), cause.name());
        // A `String` takes every write.
        let _ = writeln!(out, "| {status} | `{name}` | {} | {} |", cause.meaning(), cause.remedy());
    }
    out.push_str("| 130 | | a second SIGTERM or SIGINT ended it at once, without handing over | |\n");
    out
}
