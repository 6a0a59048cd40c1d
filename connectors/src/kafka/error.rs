//! librdkafka's errors in the port's terms.
//!
//! Unsure is `Failed`: the caller then opens a new producer and rewinds, which is always safe.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use towpath_engine::ports::log::LogError;

/// An error of a question or of consuming.
pub(super) fn classify(err: &KafkaError) -> LogError {
    match code(err) {
        Some(code) => by_code(code, err.to_string()),
        None => LogError::Failed(err.to_string()),
    }
}

/// The code within an error, also where the library's own accessor leaves it out.
pub(super) fn code(err: &KafkaError) -> Option<Code> {
    match err {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// By code, with the text to show.
pub(super) fn by_code(code: Code, text: String) -> LogError {
    if is_fenced(code) {
        return LogError::Fenced(text);
    }
    match code {
        Code::QueueFull => LogError::QueueFull,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => LogError::TooLarge(text),
        Code::AutoOffsetReset | Code::OffsetOutOfRange => LogError::OutOfRange(text),
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic
        | Code::PolicyViolation
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => LogError::Topic(text),
        // Wrong credentials stay wrong, but so does a broker that comes up: the caller retries and shows the text.
        code if is_unavailable(code) => LogError::Unavailable(text),
        _ => LogError::Failed(text),
    }
}

/// A newer producer of the same transactional id has taken over.
pub(super) fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::TransactionCoordinatorFenced
    )
}

fn is_unavailable(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::WaitingForCoordinator
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::SSL
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            | Code::NotEnoughReplicas
            | Code::UnstableOffsetCommit
            | Code::ThrottlingQuotaExceeded
    )
}

/// The group has moved on without this member: its commit is void.
pub(super) fn is_stale_member(code: Code) -> bool {
    matches!(
        code,
        Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::RebalanceInProgress
            | Code::FencedInstanceId
            | Code::StaleMemberEpoch
            | Code::FencedMemberEpoch
            | Code::AssignmentLost
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: Code) -> LogError {
        by_code(code, "text".into())
    }

    #[test]
    fn fenced_is_told_from_retriable_and_from_unknown() {
        for code in [Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch] {
            assert!(matches!(class(code), LogError::Fenced(_)), "{code:?}");
        }
        for code in [Code::AllBrokersDown, Code::OperationTimedOut, Code::NotCoordinator, Code::SSL] {
            assert!(matches!(class(code), LogError::Unavailable(_)), "{code:?}");
        }
        for code in [Code::PurgeInflight, Code::Fatal, Code::State, Code::OutOfOrderSequenceNumber] {
            assert!(matches!(class(code), LogError::Failed(_)), "{code:?}");
        }
    }

    #[test]
    fn topics_offsets_and_sizes_have_their_own_names() {
        assert!(matches!(class(Code::UnknownTopicOrPartition), LogError::Topic(_)));
        assert!(matches!(class(Code::TopicAuthorizationFailed), LogError::Topic(_)));
        assert!(matches!(class(Code::AutoOffsetReset), LogError::OutOfRange(_)));
        assert!(matches!(class(Code::MessageSizeTooLarge), LogError::TooLarge(_)));
        assert!(matches!(class(Code::QueueFull), LogError::QueueFull));
        let admin = KafkaError::AdminOp(Code::PolicyViolation);
        assert!(matches!(classify(&admin), LogError::Topic(_)));
    }

    #[test]
    fn a_commit_of_a_generation_that_is_over_is_stale() {
        assert!(is_stale_member(Code::IllegalGeneration) && is_stale_member(Code::UnknownMemberId));
        assert!(!is_stale_member(Code::OperationTimedOut));
    }
}
