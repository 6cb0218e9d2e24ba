//! What can be seen of a cluster without changing anything.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_engine::{Cluster, Config, Engine, Error, ReadLimit};
use tidings_terminal::failure::Failure;
use tidings_terminal::progress::Progress;

use crate::place::failed;

/// Values by name; none where they may not be seen.
pub(super) type Configs = BTreeMap<String, String>;

#[derive(Debug)]
pub(super) struct Facts {
    pub(super) cluster: Cluster,
    pub(super) brokers: BTreeMap<i32, Configs>,
    /// Of topics that are not the engine's own.
    pub(super) topics: BTreeMap<String, Configs>,
    pub(super) positions: Vec<Position>,
    /// What could not be seen, and why.
    pub(super) unseen: Vec<(String, String)>,
}

/// A group's position, with what has become of the record there.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The records before the partition's beginning that it has not read; they are gone.
    pub(super) lost: i64,
    /// The age of the next record; none when there is none.
    pub(super) waiting_ms: Option<i64>,
}

impl Facts {
    pub(super) async fn gather(engine: &Engine) -> Result<Self, Failure> {
        let cluster = engine.cluster().await;
        let cluster = cluster.map_err(|error| failed("no cluster is there", &error))?;
        let mut facts = Self {
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            positions: Vec::new(),
            unseen: Vec::new(),
            cluster,
        };
        let ids: Vec<i32> = facts.cluster.brokers.iter().map(|broker| broker.id).collect();
        for id in ids {
            let configs = engine.broker_configs(id).await;
            if let Some(configs) = facts.seen(format!("the configuration of broker {id}"), configs)
            {
                facts.brokers.insert(id, by_name(configs));
            }
        }
        facts.look_at_topics(engine).await;
        facts.look_at_groups(engine).await;
        Ok(facts)
    }

    fn seen<T>(&mut self, what: String, outcome: Result<T, Error>) -> Option<T> {
        match outcome {
            Ok(seen) => Some(seen),
            // It has gone since it was listed.
            Err(Error::UnknownTopic(_)) => None,
            Err(error) => {
                self.unseen.push((what, error.to_string()));
                None
            }
        }
    }

    async fn look_at_topics(&mut self, engine: &Engine) {
        let mut names: Vec<String> =
            self.cluster.placements.iter().map(|placement| placement.topic.clone()).collect();
        names.dedup();
        names.retain(|name| !name.starts_with("__"));
        let mut progress = Progress::of(names.len() as u64);
        for name in names {
            let configs = engine.topic_configs(&name).await;
            if let Some(configs) = self.seen(format!("the configuration of {name}"), configs) {
                self.topics.insert(name.clone(), by_name(configs));
            }
            progress.add(1, 0, &name);
        }
    }

    async fn look_at_groups(&mut self, engine: &Engine) {
        let Some(groups) = self.seen("the groups".to_owned(), engine.groups().await) else {
            return;
        };
        let mut progress = Progress::of(groups.len() as u64);
        for group in groups {
            let described = engine.group(&group.name).await;
            let what = format!("group {}", group.name);
            let Some(described) = self.seen(what, described) else { continue };
            for held in described.offsets {
                let Some(committed) = held.committed else { continue };
                let position =
                    position(engine, &group.name, &held.topic, held.partition, committed);
                let what = format!("{}-{}", held.topic, held.partition);
                let position = position.await;
                let seen = self.seen(what, position);
                self.positions.extend(seen);
            }
            progress.add(1, 0, &group.name);
        }
    }
}

async fn position(
    engine: &Engine,
    group: &str,
    topic: &str,
    partition: i32,
    committed: i64,
) -> Result<Position, Error> {
    let limit = ReadLimit { records: 1, bytes: 1, wait: Duration::ZERO };
    let (lost, waiting_ms) = match engine.read(topic, partition, committed, limit).await {
        Ok(read) => {
            let age = |timestamp: i64| now_ms().saturating_sub(timestamp).max(0);
            (0, read.records.first().map(|record| age(record.timestamp)))
        }
        Err(Error::OffsetOutOfRange { wanted, first, .. }) => ((first - wanted).max(0), None),
        Err(error) => return Err(error),
    };
    let (group, topic) = (group.to_owned(), topic.to_owned());
    Ok(Position { group, topic, partition, lost, waiting_ms })
}

fn by_name(configs: Vec<Config>) -> Configs {
    configs.into_iter().filter_map(|config| Some((config.name, config.value?))).collect()
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
