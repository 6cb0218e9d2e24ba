//! The server-side assignors: who gets which partition.
//!
//! Both give every partition of a subscribed topic to exactly one of its subscribers. `uniform` keeps
//! what members have, gives the rest to those with least, and then moves partitions from the most to the
//! least loaded subscribers of a topic while that makes their loads more equal: no more moves than
//! that takes. `range` gives each topic's subscribers, in the order of their instance and member
//! ids, neighbouring partitions, so that partitions of equal numbers of several topics meet.

use std::collections::{BTreeMap, BTreeSet};

use crate::{AssignorName, Partitions, TopicId};

/// A member as an assignor sees it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// The subscribed topics that there are.
    pub(crate) topics: BTreeSet<TopicId>,
    /// The member's present target.
    pub(crate) has: &'a Partitions,
}

/// The target of each candidate, in their order; `counts` has the number of partitions of each topic.
pub(crate) fn assign(
    assignor: AssignorName,
    candidates: &[Candidate<'_>],
    counts: &BTreeMap<TopicId, i32>,
) -> Vec<Partitions> {
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        for topic in candidate.topics.iter().filter(|topic| counts.contains_key(*topic)) {
            subscribers.entry(*topic).or_default().push(place);
        }
    }
    match assignor {
        AssignorName::Uniform => Uniform::new(candidates, counts, &subscribers).assign(),
        AssignorName::Range => range(candidates, counts, subscribers),
    }
}

fn range(
    candidates: &[Candidate<'_>],
    counts: &BTreeMap<TopicId, i32>,
    subscribers: BTreeMap<TopicId, Vec<usize>>,
) -> Vec<Partitions> {
    let mut targets = vec![Partitions::default(); candidates.len()];
    for (topic, mut places) in subscribers {
        // Static members first: their order survives their restarts.
        places.sort_by_key(|place| {
            let candidate = &candidates[*place];
            (candidate.instance_id.is_none(), candidate.instance_id, candidate.id)
        });
        let members = i32::try_from(places.len()).unwrap_or(i32::MAX);
        let (quota, extra) = (counts[&topic] / members, counts[&topic] % members);
        let mut next = 0;
        for (rank, place) in (0..).zip(places) {
            let end = next + quota + i32::from(rank < extra);
            targets[place].extend((next..end).map(|partition| (topic, partition)));
            next = end;
        }
    }
    targets
}

struct Uniform<'a> {
    counts: &'a BTreeMap<TopicId, i32>,
    subscribers: &'a BTreeMap<TopicId, Vec<usize>>,
    targets: Vec<Partitions>,
    loads: Vec<usize>,
    owners: BTreeMap<(TopicId, i32), usize>,
}

impl<'a> Uniform<'a> {
    /// Everyone keeps what it has and still subscribes to.
    fn new(
        candidates: &[Candidate<'_>],
        counts: &'a BTreeMap<TopicId, i32>,
        subscribers: &'a BTreeMap<TopicId, Vec<usize>>,
    ) -> Self {
        let mut uniform = Self {
            counts,
            subscribers,
            targets: vec![Partitions::default(); candidates.len()],
            loads: vec![0; candidates.len()],
            owners: BTreeMap::new(),
        };
        for (place, candidate) in candidates.iter().enumerate() {
            for (topic, partition) in candidate.has.iter() {
                let exists =
                    counts.get(&topic).is_some_and(|count| (0..*count).contains(&partition));
                let free = !uniform.owners.contains_key(&(topic, partition));
                if exists && free && candidate.topics.contains(&topic) {
                    uniform.give(topic, partition, place);
                }
            }
        }
        uniform
    }

    fn assign(mut self) -> Vec<Partitions> {
        // The topics whose subscribers get most each come first, for they leave least choice.
        let mut topics: Vec<TopicId> = self.subscribers.keys().copied().collect();
        topics.sort_by_key(|topic| {
            let members = self.subscribers[topic].len();
            let each = usize::try_from(self.counts[topic]).unwrap_or(0) * 1000 / members;
            (std::cmp::Reverse(each), members, *topic)
        });
        for topic in &topics {
            self.give_what_nobody_has(*topic);
        }
        while topics.iter().fold(0, |moves, topic| moves + self.balance(*topic)) > 0 {}
        self.targets
    }

    fn give(&mut self, topic: TopicId, partition: i32, place: usize) {
        if let Some(before) = self.owners.insert((topic, partition), place) {
            self.targets[before].remove(&topic, partition);
            self.loads[before] -= 1;
        }
        self.targets[place].add(topic, partition);
        self.loads[place] += 1;
    }

    /// The topic's subscribers by their load.
    fn by_load(&self, topic: &TopicId) -> BTreeSet<(usize, usize)> {
        self.subscribers[topic].iter().map(|place| (self.loads[*place], *place)).collect()
    }

    fn give_what_nobody_has(&mut self, topic: TopicId) {
        let mut by_load = self.by_load(&topic);
        for partition in 0..self.counts[&topic] {
            if self.owners.contains_key(&(topic, partition)) {
                continue;
            }
            let (load, place) = by_load.pop_first().expect("a topic here has subscribers");
            self.give(topic, partition, place);
            by_load.insert((load + 1, place));
        }
    }

    /// Moves partitions of one topic while that evens out loads; returns how many.
    fn balance(&mut self, topic: TopicId) -> usize {
        let mut by_load = self.by_load(&topic);
        // Those that have none of the topic left cannot give.
        let mut givers = by_load.clone();
        let mut moves = 0;
        while let (Some(&(least, to)), Some(&(most, from))) = (by_load.first(), givers.last()) {
            if most <= least + 1 {
                break;
            }
            let last = self.owners.range((topic, 0)..=(topic, i32::MAX));
            let has = |(key, owner): (&(TopicId, i32), &usize)| (*owner == from).then_some(key.1);
            let Some(partition) = last.rev().find_map(has) else {
                givers.remove(&(most, from));
                continue;
            };
            self.give(topic, partition, to);
            moves += 1;
            for (load, place) in [(most, from), (least, to)] {
                by_load.remove(&(load, place));
                let could_give = givers.remove(&(load, place));
                by_load.insert((self.loads[place], place));
                if could_give {
                    givers.insert((self.loads[place], place));
                }
            }
        }
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TopicId = [1; 16];
    const B: TopicId = [2; 16];
    const C: TopicId = [3; 16];

    type Held = Vec<(&'static str, Option<&'static str>, Vec<TopicId>, Partitions)>;

    fn run(assignor: AssignorName, members: &Held, counts: &[(TopicId, i32)]) -> Vec<Partitions> {
        let candidates: Vec<_> = members
            .iter()
            .map(|(id, instance_id, topics, has)| Candidate {
                id,
                instance_id: *instance_id,
                topics: topics.iter().copied().collect(),
                has,
            })
            .collect();
        assign(assignor, &candidates, &counts.iter().copied().collect())
    }

    fn member(
        id: &'static str,
        topics: &[TopicId],
        has: &[(TopicId, i32)],
    ) -> (&'static str, Option<&'static str>, Vec<TopicId>, Partitions) {
        (id, None, topics.to_vec(), has.iter().copied().collect())
    }

    fn all(topic: TopicId, numbers: &[i32]) -> Partitions {
        numbers.iter().map(|number| (topic, *number)).collect()
    }

    #[test]
    fn range_gives_neighbours_and_the_same_numbers_of_several_topics_to_one_member() {
        let members = vec![member("m1", &[A, B], &[]), member("m2", &[A, B], &[])];
        let targets = run(AssignorName::Range, &members, &[(A, 3), (B, 3)]);
        let of = |a: &[i32]| a.iter().flat_map(|n| [(A, *n), (B, *n)]).collect::<Partitions>();
        assert_eq!(targets, [of(&[0, 1]), of(&[2])]);
    }

    #[test]
    fn range_puts_static_members_first_by_their_instance() {
        let mut members =
            vec![member("a", &[A], &[]), member("z", &[A], &[]), member("y", &[A], &[])];
        members[1].1 = Some("i2");
        members[2].1 = Some("i1");
        let targets = run(AssignorName::Range, &members, &[(A, 4)]);
        assert_eq!(targets, [all(A, &[3]), all(A, &[2]), all(A, &[0, 1])]);
    }

    #[test]
    fn range_leaves_members_without_when_there_are_too_many() {
        let members = vec![member("m1", &[A], &[]), member("m2", &[A, B], &[])];
        let targets = run(AssignorName::Range, &members, &[(A, 1), (B, 1)]);
        assert_eq!(targets, [all(A, &[0]), all(B, &[0])]);
    }

    #[test]
    fn uniform_moves_no_more_than_a_new_member_needs() {
        let members = vec![
            member("m1", &[A], &[(A, 0), (A, 1), (A, 2)]),
            member("m2", &[A], &[(A, 3), (A, 4), (A, 5)]),
            member("m3", &[A], &[]),
        ];
        let targets = run(AssignorName::Uniform, &members, &[(A, 6)]);
        assert_eq!(targets, [all(A, &[0, 1]), all(A, &[3, 4]), all(A, &[2, 5])]);
    }

    #[test]
    fn uniform_takes_away_what_a_member_no_longer_subscribes_to() {
        let members = vec![member("m1", &[B], &[(A, 0), (B, 0)]), member("m2", &[A], &[])];
        let targets = run(AssignorName::Uniform, &members, &[(A, 1), (B, 1)]);
        assert_eq!(targets, [all(B, &[0]), all(A, &[0])]);
    }

    /// Seeds name runs of random members, subscriptions and former targets.
    #[test]
    fn every_partition_has_one_subscriber_loads_are_even_and_a_second_run_changes_nothing() {
        const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
        for seed in 0..400u64 {
            let mut state = seed;
            let mut roll = |sides: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % sides
            };
            let counts = [A, B, C].map(|topic| (topic, i32::try_from(roll(9)).unwrap() + 1));
            let equal = roll(2) == 0;
            let members: Held = NAMES[..usize::try_from(roll(7)).unwrap() + 1]
                .iter()
                .map(|name| {
                    let mut topics = vec![A, B, C];
                    topics.retain(|_| equal || roll(3) > 0);
                    let has: Vec<_> = counts
                        .iter()
                        .flat_map(|(topic, count)| (0..*count).map(|number| (*topic, number)))
                        .filter(|_| roll(4) == 0)
                        .collect();
                    member(name, &topics, &has)
                })
                .collect();
            for assignor in [AssignorName::Uniform, AssignorName::Range] {
                let targets = run(assignor, &members, &counts);
                check(seed, &members, &counts, &targets);
                let again: Held = members
                    .iter()
                    .zip(&targets)
                    .map(|((id, instance, topics, _), has)| {
                        (*id, *instance, topics.clone(), has.clone())
                    })
                    .collect();
                assert_eq!(run(assignor, &again, &counts), targets, "seed {seed}: {assignor:?}");
                if assignor == AssignorName::Uniform && equal {
                    let loads = targets.iter().map(Partitions::count);
                    let spread = loads.clone().max().unwrap() - loads.min().unwrap();
                    assert!(spread <= 1, "seed {seed}: loads differ by {spread}");
                }
            }
        }
    }

    fn check(seed: u64, members: &Held, counts: &[(TopicId, i32)], targets: &[Partitions]) {
        for (topic, count) in counts {
            let wanted = members.iter().any(|(_, _, topics, _)| topics.contains(topic));
            for number in 0..*count {
                let owners: Vec<_> =
                    (0..members.len()).filter(|at| targets[*at].has(topic, number)).collect();
                assert_eq!(owners.len(), usize::from(wanted), "seed {seed}: {owners:?}");
                assert!(owners.iter().all(|at| members[*at].2.contains(topic)), "seed {seed}");
            }
        }
    }
}
