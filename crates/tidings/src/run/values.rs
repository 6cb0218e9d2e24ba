//! Values by key: what a handler returns of them, and the topics that they are in.

use bytes::Bytes;
#[cfg(feature = "disk")]
use tidings_engine::Engine;
use tidings_engine::{NewTopic, TopicPartition};

use super::{Broken, Worker};
#[cfg(feature = "disk")]
use crate::store::disk::{Folder, IN_USE};
use crate::{
    Error,
    keyed::{Change, state_topic},
    limits,
    outcome::Stop,
    publisher::{parts_bytes, record_bytes_max},
    store::{Memory, Store, Values},
    topics::{compacted_configs, create_topic, find_topic},
};

/// A new value of a key, or that it has none any more.
pub(super) struct Value {
    state: usize,
    key: Bytes,
    value: Option<Bytes>,
    /// It had none before.
    is_first: bool,
}

impl Worker {
    /// What a handler keeps of a record's key. Refuses what the state's topic or its memory would not take.
    pub(super) fn values(
        &self,
        at: &TopicPartition,
        record_key: Option<&Bytes>,
        changes: Vec<Change>,
    ) -> Result<Vec<Value>, Stop> {
        let mut values = Vec::with_capacity(changes.len());
        for Change { state, key, value } in changes {
            let keyed = &self.service.wiring.keyed;
            let task = self.task_of(&at.topic, at.partition);
            let (Some(index), Some(task)) = (keyed.index_of(state), task) else {
                return Err(Stop::own(
                    "a value is kept of a state that the service does not declare",
                ));
            };
            let name = &keyed.states[index].name;
            if record_key != Some(&key) {
                return Err(Stop::own(format!(
                    "the {name} of another key than the event's is kept"
                )));
            }
            let most = self.topics.most_in(self.tasks[task].state_topic(index));
            let size = parts_bytes(Some(&key), value.as_ref(), &[]);
            if size > most {
                let key = String::from_utf8_lossy(&key);
                return Err(Stop::own(format!(
                    "the {name} of {key} takes {size} bytes and its topic {most}: raise its \
                     max.message.bytes"
                )));
            }
            if let Some(wanted) = self.tasks[task].store().too_much(index, &key, value.as_deref()) {
                let most = limits::KEYED_BYTES_MAX;
                return Err(Stop::own(format!(
                    "the state {name} would take {wanted} bytes for {at} and may take {most}: forget \
                     what has ended, or spread it over more partitions"
                )));
            }
            let former = self.tasks[task].store().get(index, &key);
            let is_first = former.map_err(|error| Stop::outage(error.to_string()))?.is_none();
            values.push(Value { state: index, key, value, is_first });
        }
        Ok(values)
    }

    /// They are the keys' values from now on, and in the next commit.
    pub(super) fn keep(&mut self, at: &TopicPartition, values: Vec<Value>) {
        let Some(task) = self.task_of(&at.topic, at.partition) else { return };
        for Value { state, key, value, is_first } in values {
            self.pending.count(parts_bytes(Some(&key), value.as_ref(), &[]));
            self.tasks[task].keep(state, key, value, is_first);
        }
    }

    /// The states whose values belong to a partition of this topic, as name and topic.
    pub(super) fn states_of(&self, input: &str) -> Vec<(String, String)> {
        let service = &self.service;
        let is_of = |index: usize| service.keyed_topic(index) == Some(input);
        // A task numbers all states alike; of those of other topics it has no values.
        let topic = |(index, name): (usize, &String)| match is_of(index) {
            true => state_topic(&service.name, name),
            false => String::new(),
        };
        let names = service.wiring.keyed.states.iter().map(|state| &state.name);
        names.enumerate().map(|(index, name)| (name.clone(), topic((index, name)))).collect()
    }

    /// Where the values of a partition's task are.
    pub(super) async fn store_of(
        &self,
        at: &TopicPartition,
        states: &[(String, String)],
    ) -> Result<Store, Broken> {
        let mut values = Vec::with_capacity(states.len());
        for (_, topic) in states {
            values.push(match topic.is_empty() {
                true => Values::Elsewhere,
                false => self.values_of(TopicPartition { topic: topic.clone(), ..*at }).await?,
            });
        }
        Ok(Store::of(values))
    }

    #[cfg(not(feature = "disk"))]
    async fn values_of(&self, _: TopicPartition) -> Result<Values, Broken> {
        Ok(Values::Memory(Memory::default()))
    }

    #[cfg(feature = "disk")]
    async fn values_of(&self, at: TopicPartition) -> Result<Values, Broken> {
        let Some(folder) = &self.folder else { return Ok(Values::Memory(Memory::default())) };
        let kept_ms = tombstones_ms(&self.engine, &at.topic).await?;
        Ok(Values::Disk(Box::new(folder.values(&at, kept_ms)?)))
    }

    /// Opens the folder of values by key, if the service has one.
    #[cfg(feature = "disk")]
    pub(super) async fn open_folder(&mut self) -> Result<(), Broken> {
        if let (Some(folder), None) = (&self.service.values_in, &self.folder) {
            let cluster = self.engine.cluster().await?.id;
            let give_up = std::time::Instant::now() + limits::STORE_FREE_WITHIN;
            let opened = loop {
                match Folder::open(folder, cluster.clone()) {
                    // An instance that was here may be letting go of it.
                    Err(error) if error.cause == IN_USE && std::time::Instant::now() < give_up => {
                        tokio::time::sleep(limits::STORE_FREE_PAUSE).await;
                    }
                    opened => break opened,
                }
            };
            let opened = opened.map_err(|error| {
                let (service, problem) = (self.service.name.clone(), error.to_string());
                Broken::Fatal(Error::Wiring { service, problem })
            })?;
            self.folder = Some(std::sync::Arc::new(opened));
        }
        Ok(())
    }

    /// Makes the topics of states that are missing, each with as many partitions as the topic of its events.
    pub(super) async fn make_state_topics(&mut self) -> Result<(), Broken> {
        for index in 0..self.service.wiring.keyed.states.len() {
            let Some(input) = self.service.keyed_topic(index) else { continue };
            let partitions = self.engine.topic(input).await?.partitions.len();
            let state = &self.service.wiring.keyed.states[index].name;
            let name = state_topic(&self.service.name, state);
            let there = match find_topic(&self.engine, &name).await? {
                Some(topic) => topic.partitions.len(),
                None => {
                    let count = i32::try_from(partitions).unwrap_or(i32::MAX);
                    let (partitions, configs) = (Some(count), compacted_configs());
                    let topic = NewTopic { name: name.clone(), partitions, configs };
                    create_topic(&self.engine, topic).await?;
                    self.engine.topic(&name).await?.partitions.len()
                }
            };
            if there != partitions {
                let problem = format!(
                    "{name} has {there} partitions and {input} has {partitions}: keys are in other \
                     partitions than their values; give the state a new name, or rebuild {name}"
                );
                let service = self.service.name.clone();
                return Err(Broken::Fatal(Error::Wiring { service, problem }));
            }
            self.mend_configs(&name, 0).await?;
            let bytes = record_bytes_max(&self.engine, &name).await?;
            self.engine.can_append(&name).await?;
            self.topics.record_bytes_max.insert(name, bytes);
        }
        Ok(())
    }
}

/// How long a topic keeps tombstones at least.
#[cfg(feature = "disk")]
pub(super) async fn tombstones_ms(
    engine: &Engine,
    topic: &str,
) -> Result<i64, tidings_engine::Error> {
    let configs = engine.topic_configs(topic).await?;
    let kept = configs.iter().find(|config| config.name == "delete.retention.ms");
    let kept_ms = kept.and_then(|config| config.value.as_deref()?.parse().ok());
    Ok(kept_ms.unwrap_or_default())
}
