//! A member of a consumer group.

use std::time::Duration;

#[cfg(feature = "embedded")]
use crate::embedded::EmbeddedSubscription;
#[cfg(feature = "kafka")]
use crate::kafka::KafkaSubscription;
use crate::{Error, Isolation, Record, TopicPartition};

/// Where to begin in a partition for which the group has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record.
    Earliest,
    /// At the end.
    Latest,
}

/// How to be a member.
#[derive(Clone, Debug)]
pub struct SubscribeOptions {
    /// Where nothing is committed.
    pub start: Start,
    /// Silence after which the member is taken for dead.
    pub session_timeout: Duration,
    /// Shown in descriptions of the group.
    pub client_id: String,
    /// Which records are read.
    pub isolation: Isolation,
    /// Fences the former owners of what this member is given: before a partition's position is read,
    /// whoever holds the [transactional id](TopicPartition::transactional_id) of this prefix and the
    /// partition is fenced, and what it left open is aborted. Otherwise the open transaction of a member
    /// that died holds up its successor until it times out.
    pub fences: Option<String>,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            start: Start::Earliest,
            session_timeout: Duration::from_secs(10),
            client_id: "tidings".into(),
            isolation: Isolation::Committed,
            fences: None,
        }
    }
}

/// What a poll brought. A change of assignment comes alone, before any record that follows it.
#[derive(Debug)]
pub enum Polled {
    /// These partitions are now this member's, at these offsets, with the metadata of the commit.
    Assigned(Vec<(TopicPartition, i64, Option<String>)>),
    /// These partitions will be given away when [`Subscription::poll`] is called again: finish and
    /// commit first.
    Revoked(Vec<TopicPartition>),
    /// Records in order per partition; empty when the wait was over.
    Records(Vec<Record>),
}

/// Membership of a group; leaves it when dropped (closing is quicker for the others).
///
/// Heartbeats go on between polls. A member that does not poll for
/// [`crate::limits::REBALANCE_TIMEOUT`] while the group rebalances loses its partitions.
#[derive(Debug)]
pub struct Subscription {
    kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    #[cfg(feature = "embedded")]
    Embedded(Box<EmbeddedSubscription>),
    #[cfg(feature = "kafka")]
    Kafka(Box<KafkaSubscription>),
}

/// The same method of whichever engine it is.
macro_rules! on {
    ($kind:expr, $member:ident => $call:expr) => {
        match $kind {
            #[cfg(feature = "embedded")]
            Kind::Embedded($member) => $call,
            #[cfg(feature = "kafka")]
            Kind::Kafka($member) => $call,
        }
    };
}

impl Subscription {
    pub(crate) fn of(kind: Kind) -> Self {
        Self { kind }
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Waits up to `wait` for up to `max` records or a change of assignment. May be dropped before
    /// it is done: nothing is lost, the next poll goes on.
    pub async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, Error> {
        on!(&mut self.kind, member => member.poll(max, wait).await)
    }

    /// Commits positions (the next offset to process) with a text of up to 4096 bytes each;
    /// durable when this returns. [`Error::Fenced`] when the partitions have moved.
    pub async fn commit(
        &mut self,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        on!(&mut self.kind, member => member.commit(offsets).await)
    }

    /// Stops or starts fetching from partitions, without giving them up. A new assignment starts
    /// with nothing paused.
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        on!(&mut self.kind, member => member.pause(partitions));
    }

    /// Undoes [`Subscription::pause`].
    pub fn resume(&mut self, partitions: &[TopicPartition]) {
        on!(&mut self.kind, member => member.resume(partitions));
    }

    /// Continues from this offset in an assigned partition.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64) {
        on!(&mut self.kind, member => member.seek(partition, offset));
    }

    /// Where the next poll goes on in an assigned partition: after the last record that was polled and the
    /// markers of transactions and aborted records that were passed since. To commit it is to say that
    /// everything before it is done, so that nothing is left to lag behind.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        on!(&self.kind, member => member.position(partition))
    }

    /// Records not yet polled, over all assigned partitions, as of the last fetch.
    pub fn lag(&self) -> i64 {
        on!(&self.kind, member => member.lag())
    }

    /// Leaves the group.
    pub async fn close(self) -> Result<(), Error> {
        on!(self.kind, member => member.close().await)
    }
}
