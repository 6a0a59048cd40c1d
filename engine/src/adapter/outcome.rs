//! What an answer of Elasticsearch means for an operation: by the error's *type*, not by its status (protocol §7).
//!
//! Must not act: the flow retries, dead-letters or stops.

use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::ports::index::{IndexError, ItemResult};
use crate::version::Version;

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The document is as the operation wants it.
    Applied,
    /// A higher version is there. `current` is that version where the answer names it.
    Superseded {
        /// The document's version, as the answer tells.
        current: Option<Version>,
    },
    /// The document itself is refused: it will be refused for ever.
    DeadLetter {
        /// `error.type`.
        cause: String,
        /// `error.reason`.
        reason: String,
    },
    /// Send this operation again; the cluster is busy.
    Retry(Stop),
    /// Send it again when the index can be written: somebody must act.
    Blocked(Stop),
}

/// Types that say the document cannot be indexed as it is, whatever happens to the cluster.
const DOCUMENT_FAULTS: &[&str] = &[
    "document_parsing_exception",
    "mapper_parsing_exception",
    "strict_dynamic_mapping_exception",
    "mapper_exception",
    "parsing_exception",
    "x_content_parse_exception",
    "json_parse_exception",
    "max_bytes_length_exceeded_exception",
    "document_too_large_exception",
];

/// Types that say "not now".
const BUSY: &[&str] = &[
    "es_rejected_execution_exception",
    "rejected_execution_exception",
    "circuit_breaking_exception",
    "unavailable_shards_exception",
    "no_shard_available_action_exception",
    "node_closed_exception",
    "node_disconnected_exception",
    "node_not_connected_exception",
    "connect_transport_exception",
    "receive_timeout_transport_exception",
    "process_cluster_event_timeout_exception",
    "timeout_exception",
    "primary_missing_action_exception",
    "shard_not_in_primary_mode_exception",
    "retry_on_primary_exception",
    "retry_on_replica_exception",
    "master_not_discovered_exception",
    "cluster_manager_not_discovered_exception",
];

/// Words of an `illegal_argument_exception` that is the document's own fault: it names a field or a limit of fields.
const FIELD_FAULTS: &[&str] = &["immense term", "Limit of", "field [", "mapper [", "field name", "object mapping"];

/// The outcome of one operation; `delete` says whether it was a (hard) delete.
pub fn classify(result: &ItemResult, delete: bool) -> Outcome {
    let reason = || result.reason.clone().unwrap_or_else(|| "no reason given".into());
    let Some(error) = result.error_type.as_deref() else {
        return match result.status {
            200..=299 => Outcome::Applied,
            // A delete of what was never there: the tombstone of its version is written all the same.
            404 if delete => Outcome::Applied,
            429 | 503 => busy(format!("status {} without an error", result.status)),
            status => blocked(format!("status {status} without an error: {}", reason())),
        };
    };
    let said = || format!("{error} (status {}): {}", result.status, reason());
    if error == "version_conflict_engine_exception" && canary::on(Canary::ConflictRetried) {
        return busy(said());
    }
    if error == "version_conflict_engine_exception" {
        let current = result.reason.as_deref().and_then(current_version);
        return Outcome::Superseded { current };
    }
    if DOCUMENT_FAULTS.contains(&error) {
        return Outcome::DeadLetter { cause: error.to_owned(), reason: reason() };
    }
    if error == "illegal_argument_exception" && FIELD_FAULTS.iter().any(|word| reason().contains(word)) {
        return Outcome::DeadLetter { cause: error.to_owned(), reason: reason() };
    }
    // A block (read-only, flood stage) has a remedy of its own, whatever its status.
    if error == "cluster_block_exception" {
        return blocked(said());
    }
    if matches!(result.status, 429 | 503) && canary::on(Canary::BusyIsApplied) {
        return Outcome::Applied;
    }
    if BUSY.contains(&error) || matches!(result.status, 429 | 503) {
        return busy(said());
    }
    blocked(said())
}

fn busy(detail: String) -> Outcome {
    Outcome::Retry(Stop::new(Cause::SinkUnavailable, detail))
}

fn blocked(detail: String) -> Outcome {
    Outcome::Blocked(Stop::new(Cause::SinkBlocked, detail))
}

/// The version in `…version conflict, current version [123] is higher…`.
fn current_version(reason: &str) -> Option<Version> {
    let rest = &reason[reason.find("current version [")? + "current version [".len()..];
    Version::from_number(rest[..rest.find(']')?].parse().ok()?)
}

/// What the failure of a whole request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Send all of it again.
    Retry(Stop),
    /// The request is too large, or one operation spoils it: send halves. The only operation of a request is refused
    /// for its own sake.
    Halve {
        /// The status as a dead letter's cause (`request_rejected_413`).
        cause: String,
        /// Why.
        reason: String,
    },
}

/// The outcome of a request that failed as a whole.
pub fn classify_request(error: &IndexError) -> RequestOutcome {
    let cause = match error {
        IndexError::Rejected { status, reason } => {
            return RequestOutcome::Halve { cause: format!("request_rejected_{status}"), reason: reason.clone() };
        }
        IndexError::Unavailable(_) | IndexError::NotElasticsearch(_) => Cause::SinkUnavailable,
        IndexError::Denied { .. } | IndexError::Other { .. } => Cause::SinkBlocked,
    };
    RequestOutcome::Retry(Stop::new(cause, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(status: u16, error: &str, reason: &str) -> ItemResult {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ItemResult { status, error_type: text(error), reason: text(reason) }
    }

    fn short(outcome: &Outcome) -> String {
        match outcome {
            Outcome::Applied => "applied".into(),
            Outcome::Superseded { current } => format!("superseded {:?}", current.map(Version::number)),
            Outcome::DeadLetter { cause, .. } => format!("dead {cause}"),
            Outcome::Retry(stop) => format!("retry {}", stop.cause),
            Outcome::Blocked(stop) => format!("blocked {}", stop.cause),
        }
    }

    /// Every row of protocol §7's table. `d` marks rows for deletes.
    #[test]
    fn every_outcome_of_the_protocol() {
        let conflict = "version_conflict_engine_exception";
        let gte = "[7]: version conflict, current version [42] is higher than the one provided [41]";
        for (delete, status, error, reason, expected) in [
            (false, 200, "", "", "applied"),
            (false, 201, "", "", "applied"),
            (true, 200, "", "", "applied"),
            (true, 404, "", "", "applied"),
            (false, 404, "", "", "blocked sink-blocked"),
            (false, 409, conflict, gte, "superseded Some(42)"),
            (true, 409, conflict, gte, "superseded Some(42)"),
            (false, 409, conflict, "something else", "superseded None"),
            (false, 409, "resource_already_exists_exception", "", "blocked sink-blocked"),
            (false, 400, "document_parsing_exception", "x", "dead document_parsing_exception"),
            (false, 400, "mapper_parsing_exception", "x", "dead mapper_parsing_exception"),
            (false, 400, "strict_dynamic_mapping_exception", "x", "dead strict_dynamic_mapping_exception"),
            (
                false,
                400,
                "illegal_argument_exception",
                "Document contains at least one immense term in field=\"a\"",
                "dead illegal_argument_exception",
            ),
            (
                false,
                400,
                "illegal_argument_exception",
                "Limit of total fields [1000] has been exceeded",
                "dead illegal_argument_exception",
            ),
            (
                false,
                400,
                "illegal_argument_exception",
                "no write index is defined for alias [hot]",
                "blocked sink-blocked",
            ),
            (false, 429, "es_rejected_execution_exception", "queue full", "retry sink-unavailable"),
            (false, 429, "", "", "retry sink-unavailable"),
            (false, 503, "unavailable_shards_exception", "", "retry sink-unavailable"),
            (false, 503, "unheard_of_exception", "", "retry sink-unavailable"),
            (false, 500, "receive_timeout_transport_exception", "", "retry sink-unavailable"),
            (
                false,
                403,
                "cluster_block_exception",
                "index [hot-v1] blocked by: [FORBIDDEN/8/index write (api)]",
                "blocked sink-blocked",
            ),
            (
                false,
                429,
                "cluster_block_exception",
                "disk usage exceeded flood-stage watermark",
                "blocked sink-blocked",
            ),
            (false, 404, "index_not_found_exception", "no such index [hot-v1]", "blocked sink-blocked"),
            (true, 404, "index_not_found_exception", "no such index [hot-v1]", "blocked sink-blocked"),
            (false, 400, "index_closed_exception", "closed", "blocked sink-blocked"),
            (false, 401, "security_exception", "missing authentication", "blocked sink-blocked"),
            (false, 500, "null_pointer_exception", "", "blocked sink-blocked"),
            (false, 400, "unheard_of_exception", "", "blocked sink-blocked"),
        ] {
            assert_eq!(
                short(&classify(&item(status, error, reason), delete)),
                expected,
                "{delete} {status} {error} {reason}"
            );
        }
    }

    #[test]
    fn requests_that_fail_as_a_whole() {
        let text = || "x".to_owned();
        for (error, expected) in [
            (IndexError::Unavailable(text()), Some(Cause::SinkUnavailable)),
            (IndexError::NotElasticsearch(text()), Some(Cause::SinkUnavailable)),
            (IndexError::Denied { status: 401, reason: text() }, Some(Cause::SinkBlocked)),
            (IndexError::Denied { status: 403, reason: text() }, Some(Cause::SinkBlocked)),
            (IndexError::Other { status: 404, reason: text() }, Some(Cause::SinkBlocked)),
            (IndexError::Rejected { status: 400, reason: text() }, None),
            (IndexError::Rejected { status: 413, reason: text() }, None),
        ] {
            let cause = match classify_request(&error) {
                RequestOutcome::Retry(stop) => Some(stop.cause),
                RequestOutcome::Halve { .. } => None,
            };
            assert_eq!(cause, expected, "{error}");
        }
    }
}
