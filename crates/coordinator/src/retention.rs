//! Retention of committed offsets (`offsets.retention.minutes`), by Apache Kafka's rule (KIP-211).
//!
//! 1. A group of no protocol type (offsets committed from outside only): an offset goes when its commit
//!    is older than the retention.
//! 2. A classic group without members: everything goes when it has been without for the retention.
//! 3. A stable classic group of consumers, and a group of the consumer protocol: an offset in a topic
//!    that no member subscribes to goes when its commit is older than the retention.
//! 4. All others keep everything.
//!
//! The groups are swept in the order of their names, at most `GROUPS_PER_SWEEP` and
//! `EXPIRIES_PER_SWEEP` tombstones at a time; when all have been looked at, the next sweep begins after
//! `retention_check_ms`. Where a sweep stands is not kept: after a restart it begins anew.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::consumer_group::ConsumerGroup;
use crate::coordinator::Coordinator;
use crate::embedded::{self, CONSUMER};
use crate::group::{Group, State};
use crate::offsets::tombstone;
use crate::{Now, Record, limits};

/// Where the sweep stands.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    next_ms: u64,
    /// The last group that was looked at, in the middle of a sweep.
    after: Option<String>,
}

impl Sweep {
    pub(crate) fn next_ms(&self) -> u64 {
        self.next_ms
    }
}

impl Coordinator {
    /// The tombstones of the next few expired offsets when it is time to look; to be appended and
    /// applied.
    pub fn decide_expiry(&mut self, now: Now) -> Vec<Record> {
        if now.mono_ms < self.sweep.next_ms {
            return Vec::new();
        }
        let mut records = Vec::new();
        let from = match self.sweep.after.take() {
            Some(name) => Bound::Excluded(name),
            None => Bound::Unbounded,
        };
        let retention_ms = self.config().offsets_retention_ms;
        let mut seen = 0;
        let mut reached = None;
        for (name, group) in self.groups_from(from) {
            let consumers = self.consumer_group(name);
            let subscribed = consumers.map(ConsumerGroup::subscribed_topics);
            let rule = match subscribed {
                Some(topics) => Some(ExpiryRule::Unsubscribed(topics)),
                None => group.expiry_rule(),
            };
            if let Some(rule) = rule {
                group.expire(now, retention_ms, &rule, &mut records);
            }
            seen += 1;
            if seen >= limits::GROUPS_PER_SWEEP || records.len() >= limits::EXPIRIES_PER_SWEEP {
                reached = Some(name.clone());
                break;
            }
        }
        // It would not come back with the commit of its transaction.
        records.retain(|record| !self.pending.touches(record));
        let pause = if reached.is_some() {
            limits::SWEEP_PAUSE_MS
        } else {
            self.config().retention_check_ms.max(limits::SWEEP_PAUSE_MS)
        };
        self.sweep = Sweep { next_ms: now.mono_ms + pause, after: reached };
        records
    }
}

impl Group {
    fn expire(&self, now: Now, retention_ms: i64, rule: &ExpiryRule, records: &mut Vec<Record>) {
        let due = |since_ms: i64| now.wall_ms.saturating_sub(since_ms) >= retention_ms;
        for ((topic, partition), held) in &self.offsets {
            let since_ms = match rule {
                ExpiryRule::Emptied { at_ms } => *at_ms,
                ExpiryRule::Committed => held.commit_timestamp_ms,
                ExpiryRule::Unsubscribed(topics) if topics.contains(topic) => continue,
                ExpiryRule::Unsubscribed(_) => held.commit_timestamp_ms,
            };
            if due(since_ms) {
                records.push(tombstone(&self.name, topic, *partition));
            }
        }
    }

    fn expiry_rule(&self) -> Option<ExpiryRule> {
        match self.state {
            _ if self.offsets.is_empty() => None,
            _ if self.protocol_type.is_empty() => Some(ExpiryRule::Committed),
            State::Empty => Some(
                self.state_since_wall_ms
                    .map_or(ExpiryRule::Committed, |at_ms| ExpiryRule::Emptied { at_ms }),
            ),
            State::Stable => self.subscribed_topics().map(ExpiryRule::Unsubscribed),
            State::PreparingRebalance | State::CompletingRebalance => None,
        }
    }

    /// The topics that the group's consumers subscribe to; none where that is not known.
    pub(crate) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type != CONSUMER {
            return None;
        }
        let protocol = self.protocol.as_deref();
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            // Members of other kinds may say "consumer" and mean something else.
            topics.extend(embedded::subscribed_topics(&member.metadata(protocol?)).ok()?);
        }
        Some(topics)
    }
}

/// From when an offset's time counts.
enum ExpiryRule {
    Committed,
    Emptied {
        at_ms: i64,
    },
    /// From the commit, in topics other than these.
    Unsubscribed(BTreeSet<String>),
}
