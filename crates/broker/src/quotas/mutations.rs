//! What one request creates and deletes of partitions, under its client's quota (KIP-599).
//!
//! A request of a version that knows the error is refused what it asks from the moment on at which its
//! client's window is used up: the topic that uses it up is still done. What earlier versions ask is done,
//! and slows the client down. Topics that a request creates by naming them are refused alike, as if there
//! were no such topics, and nobody is slowed down for them.

use super::bucket::Buckets;
use super::clients::{Client, Quotas};
use super::entity::QuotaKey;
use crate::TopicRefused;

/// What becomes of a request whose client has used its window up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverQuota {
    Slowed,
    Refused,
}

/// Of the request that is being decided.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mutations {
    /// What the client's window leaves; none where nothing is refused.
    left: Option<f64>,
    made: u32,
    by_naming: bool,
}

impl Mutations {
    /// Refuses once more was made than the window gives.
    pub(crate) fn check(&self) -> Result<(), TopicRefused> {
        match self.left {
            Some(left) if left < f64::from(self.made) => Err(TopicRefused::OverQuota),
            _ => Ok(()),
        }
    }

    pub(crate) fn add(&mut self, partitions: i32) {
        self.made = self.made.saturating_add(partitions.unsigned_abs());
    }
}

impl Quotas {
    pub(super) fn mutations(
        &self,
        buckets: &Buckets,
        client: &Client,
        over: OverQuota,
        now_ms: u64,
    ) -> Mutations {
        let bound = self.of(client, QuotaKey::ControllerMutationRate);
        let bound = bound.filter(|_| over == OverQuota::Refused);
        let left = bound.map(|(rate, id)| buckets.left(&id, rate, now_ms));
        Mutations { left, ..Mutations::default() }
    }

    /// Of a request that creates topics by naming them: Kafka's broker asks its controller for them in a
    /// version that knows the error.
    pub(super) fn mutations_by_naming(
        &self,
        buckets: &Buckets,
        client: &Client,
        now_ms: u64,
    ) -> Mutations {
        let refused = self.mutations(buckets, client, OverQuota::Refused, now_ms);
        Mutations { by_naming: true, ..refused }
    }

    /// Charges what a request has made; the pause is told to one that was refused, too.
    pub(super) fn charge_mutations(
        &self,
        buckets: &mut Buckets,
        client: &Client,
        mutations: Mutations,
        now_ms: u64,
    ) -> u64 {
        let bound = self.of(client, QuotaKey::ControllerMutationRate);
        let pause_ms = bound
            .map_or(0, |(rate, id)| buckets.charge(id, rate, f64::from(mutations.made), now_ms));
        if mutations.by_naming { 0 } else { pause_ms }
    }
}
