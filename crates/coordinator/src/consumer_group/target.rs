//! The group epoch and the target assignment: when they must be made anew, and how.

use std::collections::{BTreeMap, BTreeSet};

use super::assignor::{Candidate, assign};
use super::{ConsumerGroup, ConsumerRecord, Draft, GroupEpoch, regex};
use crate::{AssignorName, TopicId, Topics};

impl ConsumerGroup {
    /// The names of the topics that a member subscribes to, by name and by expression.
    pub(super) fn topics_of<'a>(&'a self, id: &str) -> BTreeSet<&'a str> {
        let Some(member) = self.members.get(id) else { return BTreeSet::new() };
        let by_regex = member.about.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        let by_regex = by_regex.into_iter().flat_map(|resolved| &resolved.topics);
        member.about.topics.iter().chain(by_regex).map(String::as_str).collect()
    }

    /// The names of all topics that some member subscribes to.
    pub(crate) fn subscribed_topics(&self) -> BTreeSet<String> {
        let by_name = self.members.values().flat_map(|member| &member.about.topics);
        let by_regex = self.regexes.values().flat_map(|resolved| &resolved.topics);
        by_name.chain(by_regex).cloned().collect()
    }

    /// Differs when a subscribed topic is there, has another id or another number of partitions: FNV-1a
    /// over those that are there; 0 for none.
    fn hash_of_topics(&self, topics: &Topics) -> i64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut any = false;
        for name in self.subscribed_topics() {
            let Some(facts) = topics.facts(&name) else { continue };
            any = true;
            let parts = [name.as_bytes(), &[0], &facts.id, &facts.partitions.to_be_bytes()];
            for byte in parts.concat() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        if any { hash.cast_signed() } else { 0 }
    }

    /// The assignor that most members prefer.
    pub(super) fn assignor(&self, default: AssignorName) -> AssignorName {
        let mut votes: BTreeMap<AssignorName, usize> = BTreeMap::new();
        let named = self.members.values().filter_map(|member| member.about.assignor.as_deref());
        for assignor in named.filter_map(AssignorName::of) {
            *votes.entry(assignor).or_default() += 1;
        }
        let most = votes.values().copied().max();
        votes.into_iter().find(|(_, count)| Some(*count) == most).map_or(default, |(name, _)| name)
    }
}

impl Draft<'_> {
    /// Looks at the expressions anew when topics have changed, and drops those that nobody uses.
    pub(super) fn refresh_regexes(&mut self) {
        let used: BTreeSet<String> =
            self.group.members.values().filter_map(|member| member.about.regex.clone()).collect();
        let known: Vec<String> = self.group.regexes.keys().cloned().collect();
        for regex in known.into_iter().filter(|regex| !used.contains(regex)) {
            self.change(ConsumerRecord::Regex { regex, resolved: None });
        }
        for regex in used {
            // What could be compiled once can be compiled again, unless another version kept it.
            let Ok(resolved) = regex::resolve(&regex, self.set.topics, self.set.now) else {
                continue;
            };
            let before = self.group.regexes.get(&regex);
            if before.is_none_or(|before| before.topics != resolved.topics) {
                self.change(ConsumerRecord::Regex { regex, resolved: Some(resolved) });
            }
        }
    }

    /// Makes the group epoch grow when it must, or when subscribed topics are not what they were.
    pub(super) fn bump_epoch(&mut self, must: bool) {
        let metadata_hash = self.group.hash_of_topics(self.set.topics);
        if must || metadata_hash != self.group.metadata_hash() {
            let epoch = self.group.epoch().saturating_add(1);
            self.change(ConsumerRecord::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
        }
    }

    /// Makes the target anew when the group epoch is ahead of it.
    pub(super) fn update_target(&mut self) {
        let epoch = self.group.epoch();
        if epoch <= self.group.target_epoch() {
            return;
        }
        let (ids, targets) = self.next_targets();
        for (id, partitions) in ids.into_iter().zip(targets) {
            if self.group.targets.get(&id) != Some(&partitions) {
                self.change(ConsumerRecord::Target { id, partitions: Some(partitions) });
            }
        }
        self.change(ConsumerRecord::TargetEpoch(Some(epoch)));
    }

    fn next_targets(&self) -> (Vec<String>, Vec<crate::Partitions>) {
        let group = &*self.group;
        let mut counts: BTreeMap<TopicId, i32> = BTreeMap::new();
        let nothing = crate::Partitions::default();
        let mut candidates = Vec::new();
        for (id, member) in &group.members {
            let mut topics = BTreeSet::new();
            for name in group.topics_of(id) {
                if let Some(facts) = self.set.topics.facts(name) {
                    counts.insert(facts.id, facts.partitions);
                    topics.insert(facts.id);
                }
            }
            let instance_id = member.about.instance_id.as_deref();
            let has = group.targets.get(id).unwrap_or(&nothing);
            candidates.push(Candidate { id, instance_id, topics, has });
        }
        let assignor = group.assignor(self.set.config.default_assignor());
        let targets = assign(assignor, &candidates, &counts);
        (group.members.keys().cloned().collect(), targets)
    }
}
