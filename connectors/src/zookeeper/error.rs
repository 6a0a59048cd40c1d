//! ZooKeeper's errors in the port's terms. Unsure is `Unknown`: the caller reads before it writes again.

use towpath_engine::ports::coordinator::CoordinatorError;
use zookeeper_client::{Error, MultiWriteError};

/// An error of a single call about `what`.
pub(super) fn classify(err: &Error, what: &str) -> CoordinatorError {
    match err {
        Error::SessionExpired | Error::SessionMoved | Error::ClientClosed => CoordinatorError::Expired,
        Error::NoNode => CoordinatorError::NoPath(what.to_string()),
        Error::NoAuth | Error::AuthFailed | Error::InvalidAcl | Error::QuotaExceeded | Error::BadArguments(_) => {
            CoordinatorError::Denied(format!("{what}: {err}"))
        }
        Error::BadVersion | Error::NodeExists | Error::NotEmpty => CoordinatorError::Conflict,
        other => CoordinatorError::Unknown(format!("{what}: {other}")),
    }
}

/// An error of a guarded write: the first operation is the guard, if there is one.
pub(super) fn of_write(err: MultiWriteError, guarded: bool, folder: &str) -> CoordinatorError {
    match err {
        MultiWriteError::OperationFailed { index: 0, source: Error::NoNode } if guarded => {
            CoordinatorError::NotCandidate
        }
        // Removed, made or changed by somebody else: nothing was written.
        MultiWriteError::OperationFailed { source: Error::NoNode | Error::BadVersion | Error::NodeExists, .. } => {
            CoordinatorError::Conflict
        }
        MultiWriteError::OperationFailed { source, .. } | MultiWriteError::RequestFailed { source } => {
            classify(&source, folder)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_is_told_from_the_state() {
        let failed = |index, source| MultiWriteError::OperationFailed { index, source };
        assert!(matches!(of_write(failed(0, Error::NoNode), true, "/f"), CoordinatorError::NotCandidate));
        assert!(matches!(of_write(failed(0, Error::NoNode), false, "/f"), CoordinatorError::Conflict));
        assert!(matches!(of_write(failed(1, Error::BadVersion), true, "/f"), CoordinatorError::Conflict));
        assert!(matches!(of_write(failed(1, Error::NodeExists), true, "/f"), CoordinatorError::Conflict));
        assert!(matches!(of_write(failed(1, Error::NoAuth), true, "/f"), CoordinatorError::Denied(_)));
    }

    #[test]
    fn a_lost_connection_leaves_the_outcome_unknown() {
        let lost = MultiWriteError::RequestFailed { source: Error::ConnectionLoss };
        assert!(matches!(of_write(lost, true, "/f"), CoordinatorError::Unknown(_)));
        assert!(matches!(classify(&Error::SessionExpired, "/f"), CoordinatorError::Expired));
        assert!(matches!(classify(&Error::NoNode, "/f"), CoordinatorError::NoPath(path) if path == "/f"));
    }
}
