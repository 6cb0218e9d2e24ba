//! librdkafka's codes as the seam's errors: what the caller can do about each.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::native::Refused;
use crate::{Error, Operation, Permission, Resource};

/// `what` is the thing that was asked about; of a topic or partition, its name alone.
pub(super) fn of(what: &str, refused: &Refused) -> Error {
    // Brokers may say nothing of their own behind the name of the request.
    let says_nothing = refused.text.trim_end().ends_with(':');
    let text = match refused.text.as_str() {
        "" => refused.code.to_string(),
        text if says_nothing => format!("{text} {}", refused.code),
        text => text.to_owned(),
    };
    by_code(what, refused.code, &text)
}

pub(super) fn of_code(what: &str, code: Code) -> Error {
    by_code(what, code, &code.to_string())
}

pub(super) fn of_error(what: &str, error: &KafkaError) -> Error {
    if let KafkaError::Transaction(refused) = error {
        return by_code(what, refused.code(), &refused.string());
    }
    match error.rdkafka_error_code() {
        Some(code) => of_code(what, code),
        None => Error::Invalid(format!("{what}: {error}")),
    }
}

/// What `what` begins with where it is no topic.
pub(super) const GROUP: &str = "group ";
pub(super) const TRANSACTIONAL_ID: &str = "transactional id ";

pub(super) fn denied(operation: Operation, resource: Resource) -> Error {
    Error::Denied(Permission { operation, resource })
}

/// Says of a missing permission which it is, where the broker's answer does not.
pub(super) fn needing(operation: Operation, resource: Resource) -> impl FnOnce(Error) -> Error {
    move |error| match error {
        Error::Denied(_) => denied(operation, resource),
        other => other,
    }
}

/// The same for a topic.
pub(super) fn needing_topic(operation: Operation, name: &str) -> impl FnOnce(Error) -> Error {
    needing(operation, Resource::Topic(name.to_owned()))
}

pub(super) fn is_denial(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}

fn by_code(what: &str, code: Code, text: &str) -> Error {
    let said = || format!("{what}: {text}");
    match code {
        Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicId => Error::UnknownTopic(what.to_owned()),
        Code::TopicAlreadyExists => Error::TopicExists(what.to_owned()),
        Code::UnknownMemberId
        | Code::IllegalGeneration
        | Code::RebalanceInProgress
        | Code::FencedInstanceId
        | Code::StaleMemberEpoch
        | Code::FencedMemberEpoch
        | Code::AssignmentLost
        | Code::ProducerFenced
        | Code::Fenced
        | Code::Fatal
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping
        | Code::UnknownProducerId
        | Code::OutOfOrderSequenceNumber
        | Code::InvalidTransactionalState
        | Code::TransactionCoordinatorFenced => Error::Fenced(said()),
        Code::TopicAuthorizationFailed => {
            denied(Operation::Describe, Resource::Topic(what.to_owned()))
        }
        Code::GroupAuthorizationFailed => {
            let name = what.strip_prefix(GROUP).unwrap_or(what);
            denied(Operation::Read, Resource::Group(name.to_owned()))
        }
        Code::TransactionalIdAuthorizationFailed => {
            let id = what.strip_prefix(TRANSACTIONAL_ID).unwrap_or(what);
            denied(Operation::Write, Resource::TransactionalId(id.to_owned()))
        }
        Code::ClusterAuthorizationFailed => denied(Operation::Describe, Resource::Cluster),
        // It was let in before, and may be again: a token is read anew.
        Code::Authentication | Code::SaslAuthenticationFailed => Error::Unavailable(format!(
            "{what}: {text}; check that the credentials are still valid"
        )),
        Code::KafkaStorageError => Error::Storage(said()),
        Code::InvalidMessage | Code::BadMessage | Code::BadCompression => Error::Corrupt(said()),
        Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicaAssignment
        | Code::InvalidConfig
        | Code::InvalidRequest
        | Code::InvalidArgument
        | Code::PolicyViolation
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::InvalidCommitOffsetSize
        | Code::InvalidGroupId
        | Code::InvalidSessionTimeout
        | Code::InvalidTransactionTimeout
        | Code::InconsistentGroupProtocol
        | Code::OffsetMetadataTooLarge
        | Code::NonEmptyGroup
        | Code::GroupIdNotFound
        | Code::TopicDeletionDisabled
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::State => Error::Invalid(said()),
        Code::InvalidReplicationFactor => Error::Invalid(format!(
            "{what}: {text}; say replication= in the URL with no more than there are brokers"
        )),
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            Error::Invalid(format!("{what}: {text}; max.message.bytes of the topic is the limit"))
        }
        _ => Error::Unavailable(said()),
    }
}
