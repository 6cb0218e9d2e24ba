//! What can be asked of the coordinator, and the answers.

use bytes::Bytes;

use crate::{AboutMember, Committed, GroupRefused, GroupTrouble, Partitions, TopicId, TopicName};

#[derive(Clone, Debug)]
pub struct JoinGroup {
    pub group: String,
    /// Empty at first.
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// In the member's order of preference.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a first join must be repeated with the id that the coordinator gave (v4+).
    pub require_known_member_id: bool,
    /// Whether a returning leader understands that it is to assign nothing (v9+, KIP-814).
    pub can_skip_assignment: bool,
}

#[derive(Clone, Debug)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub member_id: String,
    /// Only for the leader: member id, instance id, metadata of the chosen protocol.
    pub members: Vec<(String, Option<String>, Bytes)>,
    /// The leader is told about the members and is to assign nothing.
    pub skip_assignment: bool,
}

#[derive(Clone, Debug)]
pub struct SyncGroup {
    pub group: String,
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// From the leader: member id → assignment.
    pub assignments: Vec<(String, Bytes)>,
}

#[derive(Clone, Debug)]
pub struct Synced {
    pub protocol_type: String,
    pub protocol: String,
    pub assignment: Bytes,
}

#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub group: String,
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
}

#[derive(Clone, Debug)]
pub struct LeaveGroup {
    pub group: String,
    /// Member id (empty to name a static member by instance id alone), instance id.
    pub members: Vec<(String, Option<String>)>,
}

#[derive(Clone, Debug)]
pub struct LeftMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub outcome: Result<(), GroupRefused>,
}

/// A heartbeat of the consumer protocol (KIP-848). What is none has not changed since the last.
#[derive(Clone, Debug)]
pub struct ConsumerHeartbeat {
    pub group: String,
    pub member_id: String,
    /// Whether the member makes its own id (v1+, KIP-1082).
    pub brings_member_id: bool,
    /// 0 to join, -1 to leave, -2 of a static member to leave for a while.
    pub epoch: i32,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub rebalance_timeout_ms: Option<i32>,
    pub topics: Option<Vec<String>>,
    /// Empty: none any more.
    pub regex: Option<String>,
    pub assignor: Option<String>,
    pub owned: Option<Partitions>,
    pub client_id: String,
    pub client_host: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    pub member_id: String,
    pub epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// What the member may own, where that has changed or everything was said.
    pub assignment: Option<Partitions>,
}

#[derive(Clone, Debug)]
pub struct DescribeConsumerGroups {
    pub groups: Vec<String>,
}

/// Topic id, name and partitions.
pub type NamedPartitions = Vec<(TopicId, String, Vec<i32>)>;

#[derive(Clone, Debug)]
pub struct DescribedConsumerGroup {
    pub group: String,
    /// Kafka's name: Empty, Assigning, Reconciling or Stable.
    pub state: &'static str,
    pub epoch: i32,
    pub target_epoch: i32,
    pub assignor: &'static str,
    pub members: Vec<ConsumerMember>,
}

#[derive(Clone, Debug)]
pub struct ConsumerMember {
    pub member_id: String,
    pub epoch: i32,
    pub about: AboutMember,
    pub assigned: NamedPartitions,
    pub target: NamedPartitions,
}

#[derive(Clone, Debug)]
pub struct CommitOffsets {
    pub group: String,
    /// Generation or member epoch; -1 for a commit from outside the group's membership.
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
    /// Whether the client speaks a version that knows member epochs (v9+, KIP-848).
    pub knows_epochs: bool,
    pub partitions: Vec<CommitPartition>,
}

#[derive(Clone, Debug)]
pub struct CommitPartition {
    pub topic: TopicName,
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<String>,
}

#[derive(Clone, Debug)]
pub struct CommittedPartition {
    /// As it was asked for.
    pub topic: TopicName,
    pub partition: i32,
    pub outcome: Result<(), GroupRefused>,
}

#[derive(Clone, Debug)]
pub struct FetchOffsets {
    pub group: String,
    /// The member that asks and its epoch, if it says so (v9+): checked in a group of the consumer
    /// protocol.
    pub member: Option<(String, i32)>,
    pub wanted: WantedOffsets,
}

#[derive(Clone, Debug)]
pub enum WantedOffsets {
    /// Everything the group has committed, by name.
    All,
    /// The same by topic id, without topics that are gone.
    AllById,
    These(Vec<(TopicName, i32)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    pub topic: TopicName,
    pub partition: i32,
    /// None where nothing is committed.
    pub outcome: Result<Option<Committed>, GroupRefused>,
    /// A transaction that is not decided has committed another one (KIP-447).
    pub is_unstable: bool,
}

impl FetchedOffset {
    /// For a client that wants no offset that a transaction may be about to replace.
    #[must_use]
    pub fn stable(mut self) -> Self {
        if self.is_unstable {
            self.outcome = Err(GroupRefused::Other(GroupTrouble::UnstableOffset));
        }
        self
    }
}

/// Deletes single committed offsets (KIP-496).
#[derive(Clone, Debug)]
pub struct DeleteOffsets {
    pub group: String,
    pub partitions: Vec<(String, i32)>,
}

#[derive(Clone, Debug)]
pub struct DeletedOffset {
    pub topic: String,
    pub partition: i32,
    pub outcome: Result<(), GroupRefused>,
}

/// Groups, of the named states and types when any are named (Kafka's names: Empty, Stable, …;
/// classic, consumer).
#[derive(Clone, Debug, Default)]
pub struct ListGroups {
    pub states: Vec<String>,
    pub types: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct ListedGroup {
    pub group: String,
    pub protocol_type: String,
    pub state: &'static str,
    /// Kafka's name of the protocol that the group's members speak.
    pub group_type: &'static str,
}

#[derive(Clone, Debug)]
pub struct DescribeGroups {
    pub groups: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct DescribedGroup {
    pub group: String,
    /// Kafka's name: Dead for a group that is not there.
    pub state: &'static str,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<GroupMember>,
}

#[derive(Clone, Debug)]
pub struct GroupMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Clone, Debug)]
pub struct DeleteGroups {
    pub groups: Vec<String>,
}
