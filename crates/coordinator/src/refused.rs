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
    #[error("offset metadata is longer than {} bytes", crate::limits::OFFSET_METADATA_BYTES_MAX)]
    MetadataTooLarge,
    #[error("group still has members")]
    NotEmpty,
    #[error("group does not exist")]
    NotFound,
    #[error("{0}")]
    Storage(String),
}
