//! One member's way to its target: what to give up, what it may have, and what it must wait for.

use std::collections::BTreeSet;

use super::{ConsumerGroup, CurrentAssignment, MemberState};
use crate::{Partitions, TopicId};

/// What a member's next assignment is made from.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) id: &'a str,
    pub(super) target_epoch: i32,
    /// The target, without topics that the member no longer subscribes to.
    pub(super) target: &'a Partitions,
    /// What the member says it owns; none: it did not say, and may own anything.
    pub(super) owned: Option<&'a Partitions>,
    pub(super) subscription_changed: bool,
    pub(super) subscribed: &'a BTreeSet<TopicId>,
}

impl ConsumerGroup {
    /// The member's assignment after this heartbeat.
    pub(super) fn reconcile(&self, step: &Step<'_>) -> CurrentAssignment {
        let current = &self.members[step.id].current;
        match current.state {
            MemberState::Stable if current.epoch != step.target_epoch => self.next(current, step),
            MemberState::Stable if step.subscription_changed => unsubscribed(current, step),
            MemberState::Stable => current.clone(),
            MemberState::Unrevoked if step.still_owns(&current.revoking) => {
                if step.subscription_changed {
                    unsubscribed(current, step)
                } else {
                    current.clone()
                }
            }
            MemberState::Unrevoked | MemberState::Unreleased | MemberState::Unknown => {
                self.next(current, step)
            }
        }
    }

    fn next(&self, current: &CurrentAssignment, step: &Step<'_>) -> CurrentAssignment {
        let (has, target) = (&current.assigned, step.target);
        let mut assigned = has.filtered(|topic, partition| target.has(topic, partition));
        let revoking = has.filtered(|topic, partition| !target.has(topic, partition));
        if !revoking.is_empty() && step.still_owns(&revoking) {
            let (state, epoch) = (MemberState::Unrevoked, current.epoch);
            return CurrentAssignment { epoch, previous_epoch: epoch, state, assigned, revoking };
        }
        let wanted = target.filtered(|topic, partition| !assigned.has(topic, partition));
        let free = wanted.filtered(|topic, partition| self.is_free_for(*topic, partition, step.id));
        let all_free = free.count() == wanted.count();
        assigned.extend(free.iter());
        CurrentAssignment {
            epoch: step.target_epoch,
            previous_epoch: current.epoch,
            state: if all_free { MemberState::Stable } else { MemberState::Unreleased },
            assigned,
            revoking: Partitions::default(),
        }
    }
}

/// The assignment without topics that the member has just unsubscribed from.
fn unsubscribed(current: &CurrentAssignment, step: &Step<'_>) -> CurrentAssignment {
    let keeps = |topic: &TopicId, _: i32| step.subscribed.contains(topic);
    let assigned = current.assigned.filtered(keeps);
    if assigned == current.assigned {
        return current.clone();
    }
    let mut revoking = current.revoking.clone();
    revoking.extend(current.assigned.filtered(|topic, partition| !keeps(topic, partition)).iter());
    if step.still_owns(&revoking) {
        let state = MemberState::Unrevoked;
        CurrentAssignment { state, assigned, revoking, ..current.clone() }
    } else {
        CurrentAssignment { assigned, ..current.clone() }
    }
}

impl Step<'_> {
    fn still_owns(&self, revoking: &Partitions) -> bool {
        self.owned.is_none_or(|owned| owned.intersects(revoking))
    }
}
