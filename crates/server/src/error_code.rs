//! Kafka's error codes: the one table, and the one place where each refusal gets its code.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tidings_broker::log::RefusalKind;
use tidings_broker::{
    ConsumerTrouble, DeleteRecordsRefused, FeaturesRefused, FetchRefused, FetchSessionRefused,
    GroupRefused, GroupTrouble, ProduceRefused, QuotaRefused, ReassignRefused, TopicRefused,
    TransactionRefused,
};

use crate::limits::{ERROR_TEXT_BYTES_MAX, GROUP_TROUBLE_SAID_EVERY};

/// An error as Kafka's protocol names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    pub code: i16,
    pub name: &'static str,
    /// Whether a client may send the same request again and expect better.
    pub retriable: bool,
    pub meaning: &'static str,
}

macro_rules! error_codes {
    ($($code:literal $name:ident $retry:ident $meaning:literal)+) => {
        impl ErrorCode {
            $(pub const $name: Self = Self {
                code: $code,
                name: stringify!($name),
                retriable: error_codes!($retry),
                meaning: $meaning,
            };)+
            /// Every error that this server answers with, by code.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
    (retry) => { true };
    (final) => { false };
}

error_codes! {
    0 NONE final "no error"
    1 OFFSET_OUT_OF_RANGE final "the offset is not in the partition"
    2 CORRUPT_MESSAGE retry "a batch fails its check, here or on disk"
    3 UNKNOWN_TOPIC_OR_PARTITION retry "there is no such topic or partition"
    5 LEADER_NOT_AVAILABLE retry "the topic that had this name is still being deleted"
    6 NOT_LEADER_OR_FOLLOWER retry "the request says it is from a replica, and there are none"
    9 REPLICA_NOT_AVAILABLE retry "the partition is not on this broker"
    10 MESSAGE_TOO_LARGE final "a batch exceeds the topic's max.message.bytes"
    12 OFFSET_METADATA_TOO_LARGE final "the text of a commit exceeds its limit"
    15 COORDINATOR_NOT_AVAILABLE retry "the memory for groups is used up: ask again later"
    16 NOT_COORDINATOR retry "the disk that keeps groups and transactions is full or failed; the log says what to do"
    17 INVALID_TOPIC_EXCEPTION final "no topic may have this name"
    19 NOT_ENOUGH_REPLICAS retry "the producer's last transaction is still being ended"
    21 INVALID_REQUIRED_ACKS final "acks is none of -1, 0 and 1"
    22 ILLEGAL_GENERATION final "the member speaks of another generation of its group"
    23 INCONSISTENT_GROUP_PROTOCOL final "no protocol in common with the group's members"
    24 INVALID_GROUP_ID final "no group may have this name"
    25 UNKNOWN_MEMBER_ID final "the group has no such member"
    26 INVALID_SESSION_TIMEOUT final "the session timeout is outside what the broker allows"
    27 REBALANCE_IN_PROGRESS final "the group is rebalancing: join again"
    29 TOPIC_AUTHORIZATION_FAILED final "only the broker writes this topic"
    32 INVALID_TIMESTAMP final "a record's timestamp is further from the clock than its topic allows"
    33 UNSUPPORTED_SASL_MECHANISM final "there is no authentication, so no credentials are kept"
    34 ILLEGAL_SASL_STATE final "there is no authentication to begin or to go on with"
    35 UNSUPPORTED_VERSION final "the request, its version or something it asks is not served here"
    36 TOPIC_ALREADY_EXISTS final "there is a topic of this name"
    37 INVALID_PARTITIONS final "this number of partitions is not allowed"
    38 INVALID_REPLICATION_FACTOR final "there are not so many brokers: one node holds one replica"
    39 INVALID_REPLICA_ASSIGNMENT final "the replicas chosen for a partition cannot be"
    40 INVALID_CONFIG final "a configuration has no such name or value"
    42 INVALID_REQUEST final "the request contradicts itself, or asks for what this server does not have"
    44 POLICY_VIOLATION final "the topic's cleanup.policy does not allow it"
    45 OUT_OF_ORDER_SEQUENCE_NUMBER final "an idempotent producer's batch does not follow its last one"
    47 INVALID_PRODUCER_EPOCH final "a newer epoch of the producer exists"
    48 INVALID_TXN_STATE final "the transaction is in no state for this, or the batch is part of none"
    49 INVALID_PRODUCER_ID_MAPPING final "the producer id is not the transactional id's"
    50 INVALID_TRANSACTION_TIMEOUT final "the transaction timeout exceeds transaction.max.timeout.ms"
    51 CONCURRENT_TRANSACTIONS final "the last transaction of this id is still being ended: ask again"
    52 TRANSACTION_COORDINATOR_FENCED final "a newer coordinator has ended the producer's transaction"
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED final "a transactional batch in a request without a transactional id"
    54 SECURITY_DISABLED final "there is no authorizer"
    55 OPERATION_NOT_ATTEMPTED final "another part of the request was refused"
    56 KAFKA_STORAGE_ERROR retry "the disk is full or failed; the text and the log say what to do"
    57 LOG_DIR_NOT_FOUND final "the broker has no such directory"
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED final "tokens need an authenticated client"
    68 NON_EMPTY_GROUP final "the group still has members"
    69 GROUP_ID_NOT_FOUND final "there is no such group"
    70 FETCH_SESSION_ID_NOT_FOUND retry "there is no such fetch session, or no more: begin another"
    71 INVALID_FETCH_SESSION_EPOCH retry "not the next fetch of its session: begin another"
    73 TOPIC_DELETION_DISABLED final "delete.topic.enable is false"
    74 FENCED_LEADER_EPOCH retry "the client's leader epoch is old"
    75 UNKNOWN_LEADER_EPOCH retry "the client's leader epoch is newer than the broker's"
    76 UNSUPPORTED_COMPRESSION_TYPE final "zstd below Produce version 7, or an unknown compression"
    79 MEMBER_ID_REQUIRED final "join again with the member id in the answer"
    81 GROUP_MAX_SIZE_REACHED final "the group takes no more members"
    82 FENCED_INSTANCE_ID final "a newer member has this group.instance.id"
    84 ELECTION_NOT_NEEDED retry "the first replica leads the partition already"
    85 NO_REASSIGNMENT_IN_PROGRESS final "each reassignment ends at once"
    86 GROUP_SUBSCRIBED_TO_TOPIC final "members of the group are subscribed to the topic"
    87 INVALID_RECORD final "a batch breaks a rule of its topic or of the format"
    88 UNSTABLE_OFFSET_COMMIT retry "a transaction that is not decided has committed this offset"
    89 THROTTLING_QUOTA_EXCEEDED retry "the client has created and deleted more partitions than its quota allows"
    90 PRODUCER_FENCED final "a newer producer has this transactional id"
    91 RESOURCE_NOT_FOUND final "the user has no credentials"
    95 INVALID_UPDATE_VERSION final "a feature does not have this level, or it lies the other way"
    100 UNKNOWN_TOPIC_ID retry "no topic has this id"
    102 BROKER_ID_NOT_REGISTERED final "there is no such broker"
    103 INCONSISTENT_TOPIC_ID retry "a topic of a fetch session was deleted and created anew"
    105 TRANSACTIONAL_ID_NOT_FOUND final "the transactional id is not known"
    106 FETCH_SESSION_TOPIC_ID_ERROR retry "a fetch session named topics by ids, then by names, or the reverse"
    110 FENCED_MEMBER_EPOCH final "the member's epoch is not the coordinator's: join again without partitions"
    111 UNRELEASED_INSTANCE_ID final "the member that has this group.instance.id has not left"
    112 UNSUPPORTED_ASSIGNOR final "there is no such server-side assignor"
    113 STALE_MEMBER_EPOCH final "the member's epoch is not the coordinator's: ask again with the right one"
    114 MISMATCHED_ENDPOINT_TYPE final "a broker answers for brokers only"
    115 UNSUPPORTED_ENDPOINT_TYPE final "there are no such endpoints"
    120 TRANSACTION_ABORTABLE final "the partition is not part of the transaction: abort it"
    128 INVALID_REGULAR_EXPRESSION final "the regular expression is not valid"
}

/// A refusal's code and, where a response has room for it, its text.
pub(crate) trait Refusal: std::fmt::Display {
    fn code(&self) -> ErrorCode;

    /// The refusal in words, cut to what a string may hold.
    fn text(&self) -> String {
        let mut text = self.to_string();
        let mut end = text.len().min(ERROR_TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }
}

/// The code of an outcome: [`ErrorCode::NONE`] where nothing was refused.
pub(crate) fn code_of<T, E: Refusal>(outcome: &Result<T, E>) -> i16 {
    outcome.as_ref().err().map_or(ErrorCode::NONE, Refusal::code).code
}

impl Refusal for TopicRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Self::UnknownId => ErrorCode::UNKNOWN_TOPIC_ID,
            Self::Exists => ErrorCode::TOPIC_ALREADY_EXISTS,
            Self::NotYet => ErrorCode::LEADER_NOT_AVAILABLE,
            Self::OverQuota => ErrorCode::THROTTLING_QUOTA_EXCEEDED,
            Self::InvalidName(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            Self::InvalidPartitions(_) => ErrorCode::INVALID_PARTITIONS,
            Self::InvalidReplication(_) => ErrorCode::INVALID_REPLICATION_FACTOR,
            Self::InvalidAssignment(_) => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            Self::InvalidConfig(_) => ErrorCode::INVALID_CONFIG,
            Self::InvalidRequest(_) => ErrorCode::INVALID_REQUEST,
            // As Kafka answers who wants too many partitions at once.
            Self::Full(_) => ErrorCode::POLICY_VIOLATION,
            Self::DeletionDisabled => ErrorCode::TOPIC_DELETION_DISABLED,
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Refusal for ReassignRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Self::NoneInProgress => ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
            Self::InvalidAssignment(_) => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            Self::OtherReplication { .. } => ErrorCode::INVALID_REPLICATION_FACTOR,
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Refusal for FeaturesRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidLevel(_) => ErrorCode::INVALID_UPDATE_VERSION,
            Self::InvalidRequest(_) => ErrorCode::INVALID_REQUEST,
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Refusal for QuotaRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::INVALID_REQUEST,
            Self::UnknownType(_) => ErrorCode::UNSUPPORTED_VERSION,
            Self::Full(_) => ErrorCode::POLICY_VIOLATION,
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Refusal for ProduceRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Self::UnknownId => ErrorCode::UNKNOWN_TOPIC_ID,
            Self::Internal(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            Self::Batch(refused) => match refused.kind {
                RefusalKind::Corrupt => ErrorCode::CORRUPT_MESSAGE,
                RefusalKind::InvalidRecord => ErrorCode::INVALID_RECORD,
                RefusalKind::InvalidTimestamp => ErrorCode::INVALID_TIMESTAMP,
                RefusalKind::UnsupportedCompression => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            },
            Self::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            Self::OutOfOrderSequence(_) => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            Self::StaleEpoch(_) => ErrorCode::INVALID_PRODUCER_EPOCH,
            Self::InvalidTransaction(_) => ErrorCode::INVALID_TXN_STATE,
            Self::NoTransactionalId => ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            Self::Transaction(refused) => batch_code(refused, true),
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Refusal for DeleteRecordsRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Self::Internal(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            Self::Compacted(_) => ErrorCode::POLICY_VIOLATION,
            Self::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Refusal for FetchRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Self::UnknownId => ErrorCode::UNKNOWN_TOPIC_ID,
            Self::InconsistentId => ErrorCode::INCONSISTENT_TOPIC_ID,
            Self::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            Self::FencedEpoch { .. } => ErrorCode::FENCED_LEADER_EPOCH,
            Self::UnknownEpoch { .. } => ErrorCode::UNKNOWN_LEADER_EPOCH,
            Self::Corrupt(_) => ErrorCode::CORRUPT_MESSAGE,
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Refusal for FetchSessionRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            Self::WrongEpoch { .. } => ErrorCode::INVALID_FETCH_SESSION_EPOCH,
            Self::MixedNames => ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
        }
    }
}

impl Refusal for GroupRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidGroup => ErrorCode::INVALID_GROUP_ID,
            Self::UnknownMember => ErrorCode::UNKNOWN_MEMBER_ID,
            Self::IllegalGeneration => ErrorCode::ILLEGAL_GENERATION,
            Self::Rebalancing => ErrorCode::REBALANCE_IN_PROGRESS,
            Self::InconsistentProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
            Self::InvalidSessionTimeout { .. } => ErrorCode::INVALID_SESSION_TIMEOUT,
            Self::MemberIdRequired { .. } => ErrorCode::MEMBER_ID_REQUIRED,
            Self::FencedInstance => ErrorCode::FENCED_INSTANCE_ID,
            Self::Full => ErrorCode::GROUP_MAX_SIZE_REACHED,
            Self::Other(trouble) => match trouble {
                GroupTrouble::UnknownPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                GroupTrouble::UnknownTopicId => ErrorCode::UNKNOWN_TOPIC_ID,
                GroupTrouble::Subscribed => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
                GroupTrouble::UnstableOffset => ErrorCode::UNSTABLE_OFFSET_COMMIT,
                GroupTrouble::MetadataTooLarge => ErrorCode::OFFSET_METADATA_TOO_LARGE,
                GroupTrouble::NotEmpty => ErrorCode::NON_EMPTY_GROUP,
                GroupTrouble::NoRoom => ErrorCode::COORDINATOR_NOT_AVAILABLE,
                GroupTrouble::NotFound => ErrorCode::GROUP_ID_NOT_FOUND,
                GroupTrouble::Consumer(trouble) => consumer_code(trouble),
                // Kafka's mapping: clients die of a storage error here, and of this one ask again.
                GroupTrouble::Storage(text) => {
                    say_storage_trouble(text);
                    ErrorCode::NOT_COORDINATOR
                }
            },
        }
    }
}

fn consumer_code(trouble: &ConsumerTrouble) -> ErrorCode {
    match trouble {
        ConsumerTrouble::FencedEpoch { .. } => ErrorCode::FENCED_MEMBER_EPOCH,
        ConsumerTrouble::StaleEpoch { .. } => ErrorCode::STALE_MEMBER_EPOCH,
        ConsumerTrouble::UnreleasedInstance { .. } => ErrorCode::UNRELEASED_INSTANCE_ID,
        ConsumerTrouble::UnsupportedAssignor(_) => ErrorCode::UNSUPPORTED_ASSIGNOR,
        ConsumerTrouble::InvalidRegex(_) => ErrorCode::INVALID_REGULAR_EXPRESSION,
        ConsumerTrouble::InvalidRequest(_) => ErrorCode::INVALID_REQUEST,
        ConsumerTrouble::VersionTooOld => ErrorCode::UNSUPPORTED_VERSION,
    }
}

impl Refusal for TransactionRefused {
    fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidRequest(_) => ErrorCode::INVALID_REQUEST,
            Self::InvalidTimeout { .. } => ErrorCode::INVALID_TRANSACTION_TIMEOUT,
            Self::UnknownProducer => ErrorCode::INVALID_PRODUCER_ID_MAPPING,
            Self::Fenced => ErrorCode::PRODUCER_FENCED,
            Self::Concurrent => ErrorCode::CONCURRENT_TRANSACTIONS,
            Self::InvalidState { .. } => ErrorCode::INVALID_TXN_STATE,
            Self::NotAdded => ErrorCode::TRANSACTION_ABORTABLE,
            Self::NotFound => ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
            Self::Full { .. } => ErrorCode::POLICY_VIOLATION,
            // As for groups: clients ask again.
            Self::Storage(text) => {
                say_storage_trouble(text);
                ErrorCode::NOT_COORDINATOR
            }
        }
    }
}

/// The code in an API of the coordinator's that knows PRODUCER_FENCED from this version on.
pub(crate) fn transaction_code(
    refused: &TransactionRefused,
    version: i16,
    fenced_since: i16,
) -> ErrorCode {
    match refused {
        TransactionRefused::Fenced if version < fenced_since => ErrorCode::INVALID_PRODUCER_EPOCH,
        other => other.code(),
    }
}

/// The code where batches are written; `abortable` where the version knows TRANSACTION_ABORTABLE.
pub(crate) fn batch_code(refused: &TransactionRefused, abortable: bool) -> ErrorCode {
    match refused {
        TransactionRefused::Fenced => ErrorCode::INVALID_PRODUCER_EPOCH,
        TransactionRefused::NotAdded if !abortable => ErrorCode::INVALID_TXN_STATE,
        TransactionRefused::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        other => other.code(),
    }
}

/// Tells the operator what no answer about groups has room for.
fn say_storage_trouble(text: &str) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if is_due(&mut said, Instant::now()) {
        tracing::error!("requests to the coordinator are refused: {text}");
    }
}

/// Whether to say it, having said it last at `said`, which then becomes `now`.
fn is_due(said: &mut Option<Instant>, now: Instant) -> bool {
    let due = said.is_none_or(|said| now.duration_since(said) >= GROUP_TROUBLE_SAID_EVERY);
    if due {
        *said = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn groups_that_cannot_be_stored_are_refused_with_what_every_client_retries() {
        let refused = GroupRefused::Other(GroupTrouble::Storage("the disk is full".to_owned()));
        assert_eq!(refused.code(), ErrorCode::NOT_COORDINATOR);
        assert!(refused.code().retriable);
    }

    #[test]
    fn trouble_with_groups_is_said_at_once_and_not_all_the_time() {
        let (mut said, start) = (None, Instant::now());
        let almost = start + GROUP_TROUBLE_SAID_EVERY - Duration::from_millis(1);
        let moments = [start, start, almost, start + GROUP_TROUBLE_SAID_EVERY];
        assert_eq!(moments.map(|now| is_due(&mut said, now)), [true, false, false, true]);
    }

    #[test]
    fn codes_and_names_are_kafkas() {
        for error in ErrorCode::ALL.iter().filter(|error| error.code != 0) {
            let theirs = kafka_protocol::ResponseError::try_from_code(error.code).unwrap();
            let shown = format!("{theirs:?}");
            let words = error.name.split('_');
            let ours: String =
                words.map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
            assert_eq!(shown, ours);
            assert_eq!(theirs.is_retriable(), error.retriable, "{}", error.name);
        }
        assert!(ErrorCode::ALL.is_sorted_by_key(|error| error.code));
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let text = TopicRefused::InvalidName("ü".repeat(ERROR_TEXT_BYTES_MAX)).text();
        assert_eq!(text.chars().count(), ERROR_TEXT_BYTES_MAX / 2);
    }
}
