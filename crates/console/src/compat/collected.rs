//! One look at topics, brokers and groups, for the styles.
//!
//! Bounded by name, so that a series that is there stays: topics until [`COMPAT_PARTITIONS_MAX`] partitions, groups until
//! [`COMPAT_GROUPS_MAX`] or [`COMPAT_POSITIONS_MAX`] positions. Groups are asked for [`COMPAT_GROUPS_AT_ONCE`] at once
//! and for no longer than [`COMPAT_GROUPS_WITHIN`], as a scrape that comes too late is none. Cleanup policies cost a
//! question for each topic: [`COMPAT_POLICIES_PER_LOOK`] are asked for in a look, and kept.

use std::collections::{BTreeMap, VecDeque};

use tidings_engine::{Broker, Engine, Error, GroupDescription, GroupSummary, Placement, Topic};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::limits::{
    COMPAT_GROUPS_AT_ONCE, COMPAT_GROUPS_MAX, COMPAT_GROUPS_WITHIN, COMPAT_PARTITIONS_MAX,
    COMPAT_POLICIES_PER_LOOK, COMPAT_POSITIONS_MAX, GROUP_NAME_SHOWN_BYTES_MAX, SAMPLE_TIMEOUT,
};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) cluster_id: String,
    /// There is only one process, which is every broker and the controller.
    pub(super) is_embedded: bool,
    pub(super) brokers: Vec<Broker>,
    /// By name.
    pub(super) topics: Vec<Topic>,
    /// Where their partitions are.
    placements: BTreeMap<(String, i32), Placement>,
    /// By name.
    pub(super) groups: Vec<Group>,
    pub(super) policies: BTreeMap<String, String>,
    pub(super) topics_left_out: usize,
    pub(super) groups_left_out: usize,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) protocol_type: String,
    pub(super) described: GroupDescription,
}

/// Cleanup policies as they were asked for last, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Policies {
    known: BTreeMap<String, String>,
    /// The topic asked for last; the next look begins after it.
    turn: String,
}

impl Collected {
    pub(super) async fn of(engine: &Engine, policies: &mut Policies) -> Result<Self, Error> {
        let deadline = Instant::now() + SAMPLE_TIMEOUT;
        let late = |_| Error::Unavailable(format!("no answer within {SAMPLE_TIMEOUT:?}"));
        let asked = async {
            let (cluster, topics) = (engine.cluster().await?, engine.topics().await?);
            Ok::<_, Error>((cluster, topics, engine.groups().await?))
        };
        let (cluster, topics, listed) = timeout_at(deadline, asked).await.map_err(late)??;
        let (topics, topics_left_out) = within(topics);
        let (groups, groups_left_out) = groups_of(engine, listed).await?;
        policies.look(engine, &topics).await;
        let placements = cluster.placements.into_iter();
        let placements = placements.map(|at| ((at.topic.clone(), at.partition), at)).collect();
        Ok(Self {
            cluster_id: cluster.id,
            is_embedded: engine.connection().is_none(),
            brokers: cluster.brokers,
            topics,
            placements,
            groups,
            policies: policies.known.clone(),
            topics_left_out,
            groups_left_out,
        })
    }

    pub(super) fn placement(&self, topic: &str, partition: i32) -> Option<&Placement> {
        self.placements.get(&(topic.to_owned(), partition))
    }

    /// Of a topic that is shown.
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        let at = self.topics.binary_search_by(|topic| topic.name.as_str().cmp(name)).ok()?;
        self.topics.get(at)
    }
}

/// The first topics whose partitions are not too many, and how many are left out.
fn within(mut topics: Vec<Topic>) -> (Vec<Topic>, usize) {
    let mut partitions = 0;
    let fit = topics.iter().take_while(|topic| {
        partitions += topic.partitions.len();
        partitions <= COMPAT_PARTITIONS_MAX
    });
    let fit = fit.count();
    let left_out = topics.len() - fit;
    topics.truncate(fit);
    (topics, left_out)
}

/// The first groups, described, and how many are left out.
async fn groups_of(
    engine: &Engine,
    mut listed: Vec<GroupSummary>,
) -> Result<(Vec<Group>, usize), Error> {
    let deadline = Instant::now() + COMPAT_GROUPS_WITHIN;
    let all = listed.len();
    listed.retain(|group| group.name.len() <= GROUP_NAME_SHOWN_BYTES_MAX);
    listed.truncate(COMPAT_GROUPS_MAX);
    let mut left_out = all - listed.len();
    let mut waiting = VecDeque::from(listed);
    let mut asking = JoinSet::new();
    let mut groups = Vec::new();
    loop {
        while asking.len() < COMPAT_GROUPS_AT_ONCE
            && let Some(GroupSummary { name, protocol_type, .. }) = waiting.pop_front()
        {
            let engine = engine.clone();
            asking.spawn(async move {
                let described = engine.group(&name).await?;
                Ok::<_, Error>(Group { protocol_type, described })
            });
        }
        match timeout_at(deadline, asking.join_next()).await {
            Ok(Some(Ok(Ok(group)))) => groups.push(group),
            Ok(Some(Ok(Err(error)))) => return Err(error),
            // A panic there is one of the engine's, and said by it.
            Ok(Some(Err(_panicked))) => left_out += 1,
            Ok(None) => break,
            Err(_elapsed) => {
                left_out += asking.len() + waiting.len();
                break;
            }
        }
    }
    groups.retain(|group| group.described.state != "Dead");
    groups.sort_by(|a, b| a.described.name.cmp(&b.described.name));
    let mut positions = 0;
    let fit = groups.iter().take_while(|group| {
        positions += group.described.offsets.len();
        positions <= COMPAT_POSITIONS_MAX
    });
    let fit = fit.count();
    left_out += groups.len() - fit;
    groups.truncate(fit);
    Ok((groups, left_out))
}

impl Policies {
    /// Asks for some in turns, those that are not known first; who may not see one knows none.
    async fn look(&mut self, engine: &Engine, topics: &[Topic]) {
        self.known.retain(|name, _| {
            topics.binary_search_by(|topic| topic.name.as_str().cmp(name)).is_ok()
        });
        let after = topics.partition_point(|topic| topic.name <= self.turn);
        let unknown = topics.iter().filter(|topic| !self.known.contains_key(&topic.name));
        let in_turn = topics[after..].iter().chain(&topics[..after]);
        let names = unknown.chain(in_turn).take(topics.len().min(COMPAT_POLICIES_PER_LOOK));
        let names: Vec<String> = names.map(|topic| topic.name.clone()).collect();
        let deadline = Instant::now() + COMPAT_GROUPS_WITHIN;
        for name in names {
            let Ok(configs) = timeout_at(deadline, engine.topic_configs(&name)).await else {
                return;
            };
            let configs = configs.unwrap_or_default();
            let policy = configs.into_iter().find(|config| config.name == "cleanup.policy");
            if let Some(policy) = policy.and_then(|config| config.value) {
                self.known.insert(name.clone(), policy);
            }
            self.turn = name;
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_engine::Partition;

    use super::*;

    #[test]
    fn topics_are_shown_whole_until_their_partitions_are_too_many() {
        let topic = |name: &str, partitions: usize| {
            let partition = Partition { id: 0, start_offset: 0, end_offset: 0, size_bytes: None };
            let partitions = vec![partition; partitions];
            Topic { name: name.to_owned(), internal: false, partitions }
        };
        for (sizes, shown, left_out) in [
            (vec![], 0, 0),
            (vec![1, COMPAT_PARTITIONS_MAX - 1], 2, 0),
            (vec![2, COMPAT_PARTITIONS_MAX - 1, 1], 1, 2),
        ] {
            let topics = sizes.iter().map(|partitions| topic("t", *partitions)).collect();
            let (topics, out) = within(topics);
            assert_eq!((topics.len(), out), (shown, left_out), "{sizes:?}");
        }
    }
}
