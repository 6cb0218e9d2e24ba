//! Which brokers a partition is said to be on.
//!
//! There is one node and one copy of the data. As a test aid the node may be shown as several
//! brokers; then each partition has a list of replicas, all of which are in sync, and the first of
//! them leads. Invariant: what is shown names brokers that there are, each once, at least one.

use crate::{BrokerConfig, TopicRefused};

/// The ids that clients are told of: so many, from the node's own on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brokers {
    first: i32,
    count: i32,
}

impl Brokers {
    pub(crate) fn of(config: &BrokerConfig) -> Self {
        Self { first: config.node_id, count: config.brokers }
    }

    pub(crate) fn contains(self, id: i32) -> bool {
        (self.first..self.first + self.count).contains(&id)
    }

    pub(crate) fn ids(self) -> impl Iterator<Item = i32> {
        self.first..self.first + self.count
    }

    /// What is recorded as it is shown: brokers of another run that there are not now are left out.
    pub(crate) fn shown(self, recorded: &[i32]) -> Vec<i32> {
        let known: Vec<i32> = recorded.iter().copied().filter(|id| self.contains(*id)).collect();
        if known.is_empty() { vec![self.first] } else { known }
    }

    /// The replicas of so many partitions, in turns as Kafka spreads them: leaders and followers
    /// evenly, beginning with the `start`th broker. Empty where there is nothing to choose.
    pub(crate) fn spread(self, start: usize, partitions: i32, replicas: i16) -> Vec<Vec<i32>> {
        if self.count <= 1 {
            return Vec::new();
        }
        let first = i32::try_from(start % self.count.unsigned_abs() as usize).unwrap_or(0);
        let place = |partition: i32, replica: i32| {
            let turn = i64::from(first) + i64::from(partition) + i64::from(replica);
            self.first + i32::try_from(turn % i64::from(self.count)).unwrap_or(0)
        };
        let list = |partition| (0..i32::from(replicas)).map(|r| place(partition, r)).collect();
        (0..partitions).map(list).collect()
    }

    /// How many replicas a topic gets that asked for so many; none: the default, which is one.
    pub(crate) fn replicas(self, wanted: Option<i16>) -> Result<i16, TopicRefused> {
        match wanted {
            None => Ok(1),
            Some(wanted) if wanted < 1 => Err(TopicRefused::InvalidReplication(format!(
                "replication factor {wanted} is not positive; -1 means the broker's default"
            ))),
            Some(wanted) if i32::from(wanted) <= self.count => Ok(wanted),
            Some(wanted) => Err(TopicRefused::InvalidReplication(self.too_many(wanted))),
        }
    }

    fn too_many(self, wanted: i16) -> String {
        match self.count {
            1 => format!(
                "replication factor {wanted} cannot be reached: this is one node, which holds one \
                 replica; use 1 or -1, or for tests start the node with --virtual-brokers {wanted}"
            ),
            count => format!(
                "replication factor {wanted} cannot be reached: there are {count} virtual brokers"
            ),
        }
    }

    /// Checks one partition's replicas as a client chose them.
    pub(crate) fn check(self, replicas: &[i32]) -> Result<(), String> {
        if replicas.is_empty() {
            return Err("a partition is assigned to no replica".to_owned());
        }
        if let Some(unknown) = replicas.iter().find(|id| !self.contains(**id)) {
            return Err(format!(
                "a partition is assigned to broker {unknown}; there is no such broker"
            ));
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("a partition is assigned to broker {} twice", pair[0])),
            None => Ok(()),
        }
    }

    /// The same for partitions of one topic, of which all have as many replicas.
    pub(crate) fn check_all<'a>(
        self,
        replicas: usize,
        lists: impl IntoIterator<Item = &'a Vec<i32>>,
    ) -> Result<(), TopicRefused> {
        for list in lists {
            self.check(list).map_err(TopicRefused::InvalidAssignment)?;
            if list.len() != replicas {
                return Err(TopicRefused::InvalidAssignment(format!(
                    "a partition is assigned to {} replicas, another to {replicas}",
                    list.len()
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Brokers = Brokers { first: 1, count: 3 };
    const ONE: Brokers = Brokers { first: 7, count: 1 };

    #[test]
    fn leaders_and_followers_take_turns() {
        assert_eq!(
            THREE.spread(0, 4, 2),
            [vec![1, 2], vec![2, 3], vec![3, 1], vec![1, 2]].map(Vec::from)
        );
        assert_eq!(THREE.spread(5, 2, 3), [vec![3, 1, 2], vec![1, 2, 3]]);
        assert_eq!(ONE.spread(0, 4, 1), Vec::<Vec<i32>>::new());
    }

    #[test]
    fn what_is_shown_are_brokers_that_there_are() {
        let cases: [(Brokers, &[i32], &[i32]); 5] = [
            (THREE, &[3, 1], &[3, 1]),
            (THREE, &[5, 2], &[2]),
            (THREE, &[9], &[1]),
            (THREE, &[], &[1]),
            (ONE, &[1, 2, 3], &[7]),
        ];
        for (brokers, recorded, expected) in cases {
            assert_eq!(brokers.shown(recorded), expected, "{recorded:?}");
        }
    }

    #[test]
    fn assignments_name_brokers_once() {
        let cases: [(&[i32], Result<(), &str>); 5] = [
            (&[3, 1, 2], Ok(())),
            (&[2], Ok(())),
            (&[], Err("a partition is assigned to no replica")),
            (&[1, 4], Err("a partition is assigned to broker 4; there is no such broker")),
            (&[1, 2, 1], Err("a partition is assigned to broker 1 twice")),
        ];
        for (replicas, expected) in cases {
            assert_eq!(THREE.check(replicas), expected.map_err(str::to_owned), "{replicas:?}");
        }
        assert_eq!(THREE.check_all(2, [&vec![1, 2], &vec![3, 1]]), Ok(()));
        let uneven = THREE.check_all(2, [&vec![1, 2], &vec![3]]).unwrap_err();
        assert_eq!(uneven.to_string(), "a partition is assigned to 1 replicas, another to 2");
    }

    #[test]
    fn as_many_replicas_as_brokers_and_no_more() {
        assert_eq!([None, Some(1), Some(3)].map(|n| THREE.replicas(n)), [Ok(1), Ok(1), Ok(3)]);
        let refused =
            |brokers: Brokers, wanted| brokers.replicas(Some(wanted)).unwrap_err().to_string();
        assert_eq!(
            refused(THREE, 4),
            "replication factor 4 cannot be reached: there are 3 virtual brokers"
        );
        assert_eq!(
            refused(ONE, 3),
            "replication factor 3 cannot be reached: this is one node, which holds one replica; \
             use 1 or -1, or for tests start the node with --virtual-brokers 3"
        );
        for wanted in [0, -2] {
            assert!(refused(THREE, wanted).contains("is not positive"), "{wanted}");
        }
    }
}
