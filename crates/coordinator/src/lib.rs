//! Consumer groups of both protocols as state machines without I/O, clock or randomness.
//!
//! [`Coordinator`] takes a member's request with the time it arrived and yields [`Effect`]s: the
//! answers to joins and syncs that had to wait, and the [`Record`]s that must reach the log first.
//! What survives a restart (committed offsets, each generation's members and assignments) is a fold
//! of those records: loading is [`Coordinator::apply`] of every record in order.
//!
//! Invariants: a generation has one leader and one assignment per member; a generation's number only
//! grows; every waiting join and sync is answered exactly once; a commit is accepted only from a
//! member of the current generation, or from outside a group that has no members.
//!
//! [`Transactions`] is the same for transactional ids.
//!
//! Groups whose members assign among themselves are in `group`, those of the consumer protocol (KIP-848),
//! to which the coordinator assigns, in `consumer_group`.
#![forbid(unsafe_code)]

mod config;
mod consumer_group;
mod consumers;
mod coordinator;
mod embedded;
mod group;
pub mod limits;
mod member;
mod memory;
mod offsets;
mod partitions;
mod pending_offsets;
mod reader;
mod record;
mod refused;
mod request;
mod retention;
mod timers;
mod topics;
mod transaction;

/// The `client_host` of members that live in the coordinator's own process. They end with it: when
/// groups are loaded, such members of an earlier process are left out.
pub const IN_PROCESS_HOST: &str = "/in-process";

pub use config::{
    AssignorName, ConsumerGroupsConfig, GroupOverrides, GroupsConfig, MigrationPolicy,
    TransactionsConfig,
};
pub use consumer_group::{
    AboutMember, ClassicMember, ConsumerRecord, CurrentAssignment, GroupEpoch, MemberState,
    ResolvedRegex,
};
pub use coordinator::{Answer, Change, Coordinator, Effect, Now, Waiter};
pub use offsets::{CommitDecision, DeletionDecision};
pub use partitions::Partitions;
pub use reader::RecordError;
pub use record::{Committed, GroupSnapshot, MemberSnapshot, Record};
pub use refused::{ConsumerTrouble, GroupRefused, GroupTrouble};
pub use request::*;
pub use topics::{TopicFacts, TopicId, TopicName, Topics};
pub use transaction::*;
