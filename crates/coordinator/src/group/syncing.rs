//! Syncing: from the leader's assignments to a generation that everyone works in.

use bytes::Bytes;

use super::{Group, State};
use crate::coordinator::Effects;
use crate::{GroupRefused, Now, SyncGroup, Synced, Waiter, limits};

impl Group {
    pub(crate) fn sync(
        &mut self,
        now: Now,
        waiter: Waiter,
        request: SyncGroup,
        effects: &mut Effects,
    ) -> Result<(), GroupRefused> {
        self.validate(&request.member_id, request.instance_id.as_deref())?;
        self.validate_generation(request.generation)?;
        let differs = |said: &Option<String>, held: &str| said.as_ref().is_some_and(|s| s != held);
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, self.protocol.as_deref().unwrap_or_default())
        {
            return Err(GroupRefused::InconsistentProtocol);
        }
        let id = request.member_id;
        match self.state {
            State::Empty => Err(GroupRefused::UnknownMember),
            State::PreparingRebalance => Err(GroupRefused::Rebalancing),
            State::Stable => {
                let member = self.members.get_mut(&id).expect("validated above");
                member.synced = true;
                member.touch(now.mono_ms);
                let assignment = member.assignment.clone();
                effects.synced(waiter, Ok(self.answer_sync(assignment)));
                Ok(())
            }
            State::CompletingRebalance => {
                let leads = self.leader.as_deref() == Some(&*id);
                if leads {
                    let bytes: usize = request.assignments.iter().map(|(_, a)| a.len()).sum();
                    if bytes > limits::GROUP_BYTES_MAX {
                        return Err(GroupRefused::Full);
                    }
                }
                let member = self.members.get_mut(&id).expect("validated above");
                member.synced = true;
                if let Some(earlier) = member.syncing.replace(waiter) {
                    effects.synced(earlier, Err(GroupRefused::Rebalancing));
                }
                if leads {
                    self.settle(now, request.assignments, effects);
                }
                Ok(())
            }
        }
    }

    fn answer_sync(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment,
        }
    }

    /// The leader's assignments arrived: the generation is recorded and the syncs are answered.
    fn settle(&mut self, now: Now, assignments: Vec<(String, Bytes)>, effects: &mut Effects) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                // A copy: the request's bytes would keep its whole frame.
                member.assignment = Bytes::copy_from_slice(&assignment);
            }
        }
        self.state = State::Stable;
        effects.persist(self.recorded(now));
        let mut answers = Vec::new();
        for member in self.members.values_mut() {
            if let Some(waiter) = member.syncing.take() {
                member.touch(now.mono_ms);
                answers.push((waiter, member.assignment.clone()));
            }
        }
        for (waiter, assignment) in answers {
            effects.synced_once_durable(waiter, self.answer_sync(assignment));
        }
    }

    /// The generation could not be recorded: nobody may work with its assignments.
    pub(crate) fn unsettle(&mut self, now: Now, effects: &mut Effects) {
        if self.state != State::Stable {
            return;
        }
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.rebalance(now, effects);
    }
}
