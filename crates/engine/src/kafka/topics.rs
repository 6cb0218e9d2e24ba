//! Topics and offsets, without a group.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset as Spec, TopicPartitionList};

use super::native::{self, Making, Place};
use super::refusals::needing_topic;
use super::replication::replication_of;
use super::{Kafka, Looker, asking, refusals};
use crate::limits::{
    CHANGE_LOOK_PAUSE, CHANGE_LOOKS, CHANGE_SEEN_WITHIN, LEADER_LOOK_PAUSE, LEADER_WITHIN,
};
use crate::{
    Config, Error, Isolation, NewTopic, Offset, Operation, Partition, Topic, TopicPartition,
};

/// The cluster's default, of partitions and of replicas.
const DEFAULT: i32 = -1;
/// What brokers keep for themselves.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// First offset and the one after the last, by partition.
pub(super) type Ends = BTreeMap<TopicPartition, (i64, i64)>;

impl Kafka {
    pub(crate) async fn create_topic(&self, topic: NewTopic) -> Result<(), Error> {
        let name = topic.name.clone();
        match self.make_topic(topic, Making::Done).await {
            Ok(()) => self.seen(name).await,
            // Somebody else may have made it a moment ago.
            Err(there @ Error::TopicExists(_)) => self.seen(name).await.and(Err(there)),
            refused => refused,
        }
    }

    /// Waits until a topic is known: who asks next may ask another broker.
    async fn seen(&self, name: String) -> Result<(), Error> {
        let asked = name.clone();
        let partitions = self.ask(move |looker| wait_for(looker, &asked)).await??;
        self.shared.changed.note(&name, partitions);
        Ok(())
    }

    pub(crate) async fn check_topic(&self, topic: NewTopic) -> Result<(), Error> {
        self.make_topic(topic, Making::Checked).await
    }

    async fn make_topic(&self, topic: NewTopic, making: Making) -> Result<(), Error> {
        let NewTopic { name, partitions, configs } = topic;
        if name.is_empty() || partitions.is_some_and(|partitions| partitions < 1) {
            return Err(Error::Invalid(format!("{name:?} with {partitions:?} partitions")));
        }
        let (said, address) = (self.settings().replication, self.settings().brokers.clone());
        let size = (partitions.unwrap_or(DEFAULT), said.unwrap_or(DEFAULT));
        self.ask(move |looker| {
            let made = native::create_topic(looker, &name, size, &configs, making);
            made.map_err(|refused| match refused.code {
                Code::InvalidReplicationFactor => too_few_brokers(&name, said, &address, &refused),
                _ => needing_topic(Operation::Create, &name)(refusals::of(&name, &refused)),
            })
        })
        .await?
    }

    pub(crate) async fn can_append(&self, topic: &str) -> Result<(), Error> {
        let (topic, address) = (topic.to_owned(), self.settings().brokers.clone());
        self.ask(move |looker| {
            let begun = Instant::now();
            loop {
                let replication = replication_of(looker, &topic);
                match replication.map(|replication| replication.why_not_now(&topic)) {
                    Ok(None) => return Ok(()),
                    Ok(Some(why)) if begun.elapsed() >= LEADER_WITHIN => {
                        return Err(Error::Unavailable(format!(
                            "{why} (cluster {address}); start the brokers that are down"
                        )));
                    }
                    // It may have been made a moment ago, and another broker be asked now.
                    Err(Error::UnknownTopic(_)) if begun.elapsed() < CHANGE_SEEN_WITHIN => {}
                    Err(error) => return Err(error),
                    Ok(Some(_)) => {}
                }
                std::thread::sleep(LEADER_LOOK_PAUSE);
            }
        })
        .await?
    }

    pub(crate) async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        self.shared.changed.forget(name);
        let name = name.to_owned();
        self.ask(move |looker| {
            let gone = native::delete_topic(looker, &name);
            gone.map_err(|refused| refusals::of(&name, &refused))
                .map_err(needing_topic(Operation::Delete, &name))?;
            wait_until_gone(looker, &name)
        })
        .await?
    }

    pub(crate) async fn configure_topic(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<(), Error> {
        let (name, changes) = (name.to_owned(), changes.to_vec());
        self.ask(move |looker| {
            let changed = native::configure_topic(looker, &name, &changes);
            changed
                .map_err(|refused| refusals::of(&name, &refused))
                .map_err(needing_topic(Operation::AlterConfigs, &name))
        })
        .await?
    }

    pub(crate) async fn grow_topic(&self, name: &str, partitions: i32) -> Result<(), Error> {
        let count = usize::try_from(partitions).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| {
            Error::Invalid(format!("{name}: {partitions} is no number of partitions"))
        })?;
        let grown = name.to_owned();
        self.ask(move |looker| {
            native::grow_topic(looker, &grown, count)
                .map_err(|refused| refusals::of(&grown, &refused))
                .map_err(needing_topic(Operation::Alter, &grown))?;
            until(looker, || Ok(partitions_of(looker, &grown)? >= partitions))
        })
        .await??;
        self.shared.changed.note(name, partitions);
        Ok(())
    }

    pub(crate) async fn topics(&self) -> Result<Vec<Topic>, Error> {
        self.ask(|looker| {
            let metadata = asking::metadata(looker, None)?;
            let counts: BTreeMap<String, i32> = metadata
                .topics()
                .iter()
                .filter(|topic| topic.error().is_none())
                .map(|topic| (topic.name().to_owned(), count(topic.partitions().len())))
                .collect();
            let ends = ends_of(looker, &partitions(&counts), Isolation::All)?;
            Ok(counts.into_iter().map(|(name, count)| to_topic(name, count, &ends)).collect())
        })
        .await?
    }

    pub(crate) async fn topic(&self, name: &str) -> Result<Topic, Error> {
        let at = TopicPartition { topic: name.to_owned(), partition: 0 };
        self.ask_of(at, |looker, TopicPartition { topic: name, .. }| {
            let count = partitions_of(looker, name)?;
            let counts = BTreeMap::from([(name.clone(), count)]);
            let ends = ends_of(looker, &partitions(&counts), Isolation::All)?;
            Ok(to_topic(name.clone(), count, &ends))
        })
        .await
    }

    pub(crate) async fn topic_configs(&self, name: &str) -> Result<Vec<Config>, Error> {
        let at = TopicPartition { topic: name.to_owned(), partition: 0 };
        self.ask_of(at, |looker, TopicPartition { topic: name, .. }| {
            let configs = native::topic_configs(looker, name);
            configs
                .map_err(|refused| refusals::of(name, &refused))
                .map_err(needing_topic(Operation::DescribeConfigs, name))
        })
        .await
    }

    pub(crate) async fn offset(
        &self,
        topic: &str,
        partition: i32,
        at: Offset,
    ) -> Result<i64, Error> {
        let spec = match at {
            Offset::Earliest => Spec::Beginning,
            Offset::Latest => Spec::End,
            Offset::Timestamp(ms) => Spec::Offset(ms.max(0)),
            Offset::At(offset) => return Ok(offset),
        };
        let at = TopicPartition { topic: topic.to_owned(), partition };
        self.ask_of(at, move |looker, at| {
            let committed = Isolation::Committed;
            let found = offset_of(looker, at, spec, committed)?;
            if found >= 0 { Ok(found) } else { offset_of(looker, at, Spec::End, committed) }
        })
        .await
    }

    /// Asks about a partition: again, where a broker does not know one that this engine has made a moment ago.
    pub(super) async fn ask_of<T: Send + 'static>(
        &self,
        at: TopicPartition,
        question: impl Fn(&Looker, &TopicPartition) -> Result<T, Error> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        loop {
            let (question, asked) = (question.clone(), at.clone());
            match self.ask(move |looker| question(looker, &asked)).await? {
                Err(Error::UnknownTopic(_)) if self.shared.changed.lately(&at) => {
                    tokio::time::sleep(CHANGE_LOOK_PAUSE).await;
                }
                answered => return answered,
            }
        }
    }
}

/// How many partitions a topic has, asked anew.
pub(super) fn partitions_of(looker: &Looker, name: &str) -> Result<i32, Error> {
    topic_of(looker, name, |topic| count(topic.partitions().len()))
}

/// What the cluster says of a topic, asked anew.
pub(super) fn topic_of<T>(
    looker: &Looker,
    name: &str,
    of: impl FnOnce(&MetadataTopic) -> T,
) -> Result<T, Error> {
    if name.is_empty() || name.contains('\0') {
        return Err(Error::UnknownTopic(name.to_owned()));
    }
    let metadata = asking::metadata(looker, Some(name))?;
    let unknown = || Error::UnknownTopic(name.to_owned());
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    let topic = topic.ok_or_else(unknown)?;
    match topic.error().map(Code::from) {
        None if topic.partitions().is_empty() => Err(unknown()),
        None => Ok(of(topic)),
        // A name that no topic can have.
        Some(Code::InvalidTopic) => Err(unknown()),
        Some(code) => Err(refusals::of_code(name, code)),
    }
}

fn too_few_brokers(
    name: &str,
    replication: Option<i32>,
    address: &str,
    refused: &native::Refused,
) -> Error {
    let wanted = match replication {
        Some(replicas) => format!("replication={replicas}"),
        None => "the cluster's default.replication.factor".to_owned(),
    };
    Error::Invalid(format!(
        "{name}: {wanted} is more than the cluster {address} can do ({}); say another number with \
         replication= of the URL, or start more brokers",
        refused.text
    ))
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}

fn timeout(looker: &Looker) -> std::time::Duration {
    looker.context().request_timeout()
}

/// How many partitions it has, once it is known.
fn wait_for(looker: &Looker, name: &str) -> Result<i32, Error> {
    let partitions = Cell::new(0);
    until(looker, || match partitions_of(looker, name) {
        Ok(count) => {
            partitions.set(count);
            Ok(true)
        }
        Err(Error::UnknownTopic(_) | Error::Unavailable(_)) => Ok(false),
        Err(error) => Err(error),
    })?;
    Ok(partitions.get())
}

fn wait_until_gone(looker: &Looker, name: &str) -> Result<(), Error> {
    until(looker, || match partitions_of(looker, name) {
        Err(Error::UnknownTopic(_)) => Ok(true),
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    })
}

/// What a change has done is seen by every broker a moment later. Any of them may be asked, so it has to be seen
/// a few times in a row; that does not prove that none is behind.
fn until(looker: &Looker, seen: impl Fn() -> Result<bool, Error>) -> Result<(), Error> {
    let deadline = Instant::now() + timeout(looker);
    let mut in_a_row = 0;
    while in_a_row < CHANGE_LOOKS {
        if seen()? {
            in_a_row += 1;
            continue;
        }
        in_a_row = 0;
        if deadline <= Instant::now() {
            return Err(Error::Unavailable("the brokers do not agree yet".to_owned()));
        }
        std::thread::sleep(CHANGE_LOOK_PAUSE);
    }
    Ok(())
}

fn partitions(counts: &BTreeMap<String, i32>) -> Vec<TopicPartition> {
    let of = |(topic, count): (&String, &i32)| {
        let topic = topic.clone();
        (0..*count).map(move |partition| TopicPartition { topic: topic.clone(), partition })
    };
    counts.iter().flat_map(of).collect()
}

/// Both ends of partitions; those that are gone are left out.
pub(super) fn ends_of(
    looker: &Looker,
    partitions: &[TopicPartition],
    isolation: Isolation,
) -> Result<Ends, Error> {
    let listed = |spec| -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            add(&mut list, at, spec)?;
        }
        let places = offsets_by_leaders(looker, &list, isolation);
        let places = places.map_err(|refused| refusals::of("the partitions' offsets", &refused))?;
        let known = |place: Place| {
            let Place { topic, partition, offset, refused, .. } = place;
            match refused {
                None => Some(Ok((TopicPartition { topic, partition }, offset))),
                Some(code) if is_unknown(code) => None,
                Some(code) => {
                    let refused = refusals::of_code(&format!("{topic}-{partition}"), code);
                    Some(Err(needing_topic(Operation::Describe, &topic)(refused)))
                }
            }
        };
        places.into_iter().filter_map(known).collect()
    };
    let (first, next) = (listed(Spec::Beginning)?, listed(Spec::End)?);
    let both = first.into_iter().filter_map(|(at, first)| {
        let next = *next.get(&at)?;
        Some((at, (first, next)))
    });
    Ok(both.collect())
}

/// Asks the partitions' leaders, again while one of them is silent, is on its way to another broker or has not
/// heard yet that it leads, as after a topic was made.
fn offsets_by_leaders(
    looker: &Looker,
    list: &TopicPartitionList,
    isolation: Isolation,
) -> Result<Vec<Place>, native::Refused> {
    let deadline = Instant::now() + LEADER_WITHIN;
    loop {
        let places = match native::list_offsets(looker, list, isolation) {
            // Partitions that are there are without a leader for a moment.
            Err(refused)
                if refused.code == Code::NoEnt
                    && Instant::now() < deadline
                    && are_there(looker, list) =>
            {
                std::thread::sleep(CHANGE_LOOK_PAUSE);
                continue;
            }
            answered => answered?,
        };
        let moves = |place: &Place| {
            let (id, refused) = (place.partition, place.refused);
            refused.is_some_and(|code| {
                asking::passes(code) || is_unknown(code) && is_there(looker, &place.topic, id)
            })
        };
        if !places.iter().any(moves) || deadline <= Instant::now() {
            return Ok(places);
        }
        std::thread::sleep(CHANGE_LOOK_PAUSE);
    }
}

fn are_there(looker: &Looker, list: &TopicPartitionList) -> bool {
    list.elements().iter().all(|at| is_there(looker, at.topic(), at.partition()))
}

fn is_there(looker: &Looker, topic: &str, partition: i32) -> bool {
    partitions_of(looker, topic).is_ok_and(|count| (0..count).contains(&partition))
}

fn is_unknown(code: Code) -> bool {
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopic)
}

pub(super) fn add(
    list: &mut TopicPartitionList,
    at: &TopicPartition,
    offset: Spec,
) -> Result<(), Error> {
    let added = list.add_partition_offset(&at.topic, at.partition, offset);
    added.map_err(|error| Error::Invalid(format!("{at}: {error}")))
}

/// librdkafka finds no leaders for a partition that does not exist: then that is the reason.
pub(super) fn unless_unknown(looker: &Looker, at: &TopicPartition, error: Error) -> Error {
    match partitions_of(looker, &at.topic) {
        Ok(count) if (0..count).contains(&at.partition) => error,
        Ok(_) | Err(Error::UnknownTopic(_)) => Error::UnknownTopic(at.to_string()),
        Err(_) => error,
    }
}

fn offset_of(
    looker: &Looker,
    at: &TopicPartition,
    spec: Spec,
    isolation: Isolation,
) -> Result<i64, Error> {
    let unknown = || Error::UnknownTopic(at.to_string());
    if at.partition < 0 || at.topic.contains('\0') {
        return Err(unknown());
    }
    let mut list = TopicPartitionList::with_capacity(1);
    add(&mut list, at, spec)?;
    let places = offsets_by_leaders(looker, &list, isolation)
        .map_err(|refused| unless_unknown(looker, at, refusals::of(&at.to_string(), &refused)))?;
    let place = places.into_iter().next().ok_or_else(unknown)?;
    match place.refused {
        None => Ok(place.offset),
        Some(code) => {
            let refused = refusals::of_code(&at.to_string(), code);
            Err(needing_topic(Operation::Describe, &at.topic)(refused))
        }
    }
}

fn to_topic(name: String, count: i32, ends: &Ends) -> Topic {
    let partition = |id| {
        let at = TopicPartition { topic: name.clone(), partition: id };
        let (start_offset, end_offset) = ends.get(&at).copied().unwrap_or((0, 0));
        Partition { id, start_offset, end_offset, size_bytes: None }
    };
    let partitions = (0..count).map(partition).collect();
    Topic { partitions, internal: INTERNAL.contains(&name.as_str()), name }
}
