//! librdkafka's codes as the seam's errors: what the caller can do about each.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::native::Refused;
use crate::Error;

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
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::SecurityDisabled => {
            Error::Denied(format!("{what}: {text}; give the user the permission, or use another"))
        }
        Code::KafkaStorageError => Error::Storage(said()),
        Code::InvalidMessage | Code::BadMessage | Code::BadCompression => Error::Corrupt(said()),
        Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
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
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            Error::Invalid(format!("{what}: {text}; max.message.bytes of the topic is the limit"))
        }
        _ => Error::Unavailable(said()),
    }
}
