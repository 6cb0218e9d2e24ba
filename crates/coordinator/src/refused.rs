//! What the coordinator refuses, by what the caller can do about it.

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupRefused {
    #[error("invalid group id")]
    InvalidGroup,
    #[error("member is not known to the group")]
    UnknownMember,
    #[error("generation is not the current one")]
    IllegalGeneration,
    #[error("the group is rebalancing")]
    Rebalancing,
    #[error("no protocol in common with the group's members")]
    InconsistentProtocol,
    #[error("session timeout outside {min_ms}..={max_ms} ms")]
    InvalidSessionTimeout { min_ms: i32, max_ms: i32 },
    /// The member must join again with this id (KIP-394).
    #[error("member id required")]
    MemberIdRequired { member_id: String },
    #[error("a newer member holds this group.instance.id")]
    FencedInstance,
    /// A limit on the group's members or on what they carry is reached (see `limits`).
    #[error("the group has its largest number of members")]
    Full,
    #[error("{0}")]
    Other(GroupTrouble),
}

/// The rarer refusals of the group APIs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupTrouble {
    #[error("topic or partition does not exist")]
    UnknownPartition,
    #[error("no topic has this id")]
    UnknownTopicId,
    #[error("the group is subscribed to the topic")]
    Subscribed,
    #[error("a transaction that is not decided has committed another offset")]
    UnstableOffset,
    #[error("offset metadata is longer than {} bytes", crate::limits::OFFSET_METADATA_BYTES_MAX)]
    MetadataTooLarge,
    #[error("group still has members")]
    NotEmpty,
    #[error("group does not exist")]
    NotFound,
    /// All groups together have the memory that they may; the member may ask again.
    #[error("there is no room for more of groups: ask again later")]
    NoRoom,
    #[error("{0}")]
    Storage(String),
    #[error("{0}")]
    Consumer(ConsumerTrouble),
}

/// Refusals of groups of the consumer protocol (KIP-848).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConsumerTrouble {
    /// The member must give up everything and join again.
    #[error("the member's epoch is {known} and not {said}: join again, without partitions")]
    FencedEpoch { said: i32, known: i32 },
    /// The same of a commit or fetch of offsets, which may be repeated with the right epoch.
    #[error("the member's epoch is {known} and not {said}")]
    StaleEpoch { said: i32, known: i32 },
    #[error("the instance id is member {holder}'s, which has not left")]
    UnreleasedInstance { holder: String },
    #[error("there is no assignor {0} here")]
    UnsupportedAssignor(String),
    #[error("the regular expression is not valid: {0}")]
    InvalidRegex(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error("a member of the consumer protocol commits with version 9 or above")]
    VersionTooOld,
}

impl From<ConsumerTrouble> for GroupRefused {
    fn from(trouble: ConsumerTrouble) -> Self {
        Self::Other(GroupTrouble::Consumer(trouble))
    }
}
