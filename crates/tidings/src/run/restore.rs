//! What a new owner of a partition reads before it handles anything: the changelog of its tasks, and for a
//! service with states the events that the service itself has written.

use tidings_engine::{NewTopic, Record, TopicPartition, TransactionOptions};

use super::{Broken, Worker, commands::Commands};
use crate::{
    DecodeError, Envelope, Error, Service, limits,
    publisher::record_bytes_max,
    replay::{Tail, Until, read_all},
    state::fold,
    task::{Entry, Task},
    topics::{compacted_configs, create_topic, find_topic, make_topic},
};

impl Worker {
    /// Makes the topics that it writes to if they are missing, learns what they take, and reads what
    /// its states are made of.
    pub(super) async fn take_stock(&mut self) -> Result<(), Broken> {
        self.make_changelog().await?;
        self.make_state_topics().await?;
        #[cfg(feature = "disk")]
        self.open_folder().await?;
        #[cfg(feature = "disk")]
        self.stand_by();
        let written = self.topics.outputs.iter().chain([&self.topics.dead]);
        for topic in written.cloned().collect::<Vec<_>>() {
            make_topic(&self.engine, &topic).await?;
            let bytes = record_bytes_max(&self.engine, &topic).await?;
            self.topics.record_bytes_max.insert(topic, bytes);
        }
        if self.commands.is_none() {
            let commands = Commands::of(&self.engine, &self.topics.control).await?;
            self.commanded = commands.from;
            self.commands = Some(commands);
        }
        let dead = &self.topics.dead;
        let (most, least) = (self.topics.most_in(dead), limits::DEAD_TOPIC_RECORD_BYTES_MIN);
        if most < least {
            let problem = format!(
                "{dead} takes records of {most} bytes, a dead letter may need {least}: raise its \
                 max.message.bytes"
            );
            let service = self.service.name.clone();
            return Err(Broken::Fatal(Error::Wiring { service, problem }));
        }
        self.catch_up(Until::Readable).await
    }

    /// The changelog has a partition for each number of a partition of the input, and takes what they take.
    async fn make_changelog(&mut self) -> Result<(), Broken> {
        let (mut partitions, mut bytes) = (1, 0);
        for topic in &self.topics.inputs {
            let count = self.engine.topic(topic).await?.partitions.len();
            partitions = partitions.max(i32::try_from(count).unwrap_or(i32::MAX));
            bytes = bytes.max(record_bytes_max(&self.engine, topic).await?);
        }
        let name = self.topics.changelog.clone();
        let bytes = bytes.saturating_add(limits::CHANGELOG_ROOM_BYTES).min(i32::MAX as usize);
        let there = match find_topic(&self.engine, &name).await? {
            Some(topic) => topic,
            None => {
                self.tell_of_a_new_changelog().await;
                let mut configs = compacted_configs();
                configs.push(("max.message.bytes".to_owned(), bytes.to_string()));
                let partitions = Some(partitions);
                let topic = NewTopic { name: name.clone(), partitions, configs };
                create_topic(&self.engine, topic).await?;
                self.engine.topic(&name).await?
            }
        };
        if there.partitions.len() < usize::try_from(partitions).unwrap_or_default() {
            self.engine.grow_topic(&name, partitions).await?;
        }
        self.mend_configs(&name, bytes).await?;
        self.topics.record_bytes_max.insert(name.clone(), bytes);
        self.topics.changelog_partitions = partitions;
        self.engine.can_append(&name).await?;
        Ok(())
    }

    /// A topic that deletes would lose what a service keeps there, and one that takes less than that many bytes would not take it.
    pub(super) async fn mend_configs(&self, name: &str, bytes: usize) -> Result<(), Broken> {
        let held = self.engine.topic_configs(name).await?;
        let value = |name: &str| {
            let config = held.iter().find(|config| config.name == name);
            config.and_then(|config| config.value.clone()).unwrap_or_default()
        };
        let mut changes = Vec::new();
        if value("cleanup.policy") != "compact" {
            changes.push(("cleanup.policy".to_owned(), Some("compact".to_owned())));
        }
        if value("max.message.bytes").parse::<usize>().is_ok_and(|held| held < bytes) {
            changes.push(("max.message.bytes".to_owned(), Some(bytes.to_string())));
        }
        if changes.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            topic = name,
            ?changes,
            "the topic must have them, for what the service keeps there"
        );
        Ok(self.engine.configure_topic(name, &changes).await?)
    }

    /// A group that has positions had a changelog, unless the service is older than these.
    async fn tell_of_a_new_changelog(&self) {
        let group = self.engine.group(&self.service.name).await;
        if group.is_ok_and(|group| group.offsets.iter().any(|at| at.committed.is_some())) {
            let (service, topic) = (&self.service.name, &self.topics.changelog);
            tracing::error!(%service, %topic, "is not there, and made anew: what was put aside is gone");
        }
    }

    /// Makes these partitions its own.
    pub(super) async fn take_over(
        &mut self,
        partitions: Vec<(TopicPartition, i64, Option<String>)>,
    ) -> Result<(), Broken> {
        let most = partitions.iter().map(|(at, ..)| at.partition).max();
        if most.is_some_and(|most| most >= self.topics.changelog_partitions) {
            self.make_changelog().await?;
            self.make_state_topics().await?;
        }
        let mut new = Vec::with_capacity(partitions.len());
        for (at, offset, metadata) in partitions {
            let states = self.states_of(&at.topic);
            let store = self.store_of(&at, &states).await?;
            let task = Task::new(at, &self.topics.changelog, (offset, metadata));
            new.push(task.keeping(states, store).unordered(self.service.unordered));
        }
        self.counts.now.restored += self.restore(&mut new).await?;
        self.carry_out_all(&mut new).await?;
        self.tasks.extend(new);
        self.tasks.sort_by(|one, other| one.at().cmp(other.at()));
        self.turn = 0;
        self.show_shelves();
        self.own().await?;
        self.catch_up(Until::Settled).await
    }

    /// Takes the transactional id of what it was given.
    async fn own(&mut self) -> Result<(), Broken> {
        let prefix = self.transactional_prefix();
        let id = self.tasks.iter().map(|task| task.at().transactional_id(&prefix)).next();
        let options = TransactionOptions { timeout: limits::TRANSACTION_TIMEOUT };
        self.producer = match id {
            Some(id) => Some(self.engine.transactional_producer(&id, options).await?),
            None => None,
        };
        Ok(())
    }

    /// Reads the tasks' entries of the changelog and their values by key; how many records of values there were.
    async fn restore(&self, tasks: &mut [Task]) -> Result<u64, Broken> {
        let mut numbers: Vec<i32> = tasks.iter().map(|task| task.at().partition).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let topic = &self.topics.changelog;
        let place = |partition| TopicPartition { topic: topic.clone(), partition };
        let partitions: Vec<TopicPartition> = numbers.into_iter().map(place).collect();
        let restore = |record: Record| {
            let Some((at, entry)) = Entry::from_record(&record) else { return };
            if let Some(task) = tasks.iter_mut().find(|task| *task.at() == at) {
                task.restore(entry);
            }
        };
        read_all(&self.engine, &partitions, restore).await?;
        let mut restored = 0;
        for task in tasks {
            for (state, at) in task.value_partitions() {
                let mut reading = Tail::of(&self.engine, &at, Until::Settled).await?;
                reading.begin(task.store_mut().restores_from(state, reading.end())?);
                while let Some(record) = reading.next(&self.engine).await? {
                    restored += 1;
                    if let Some(key) = &record.key {
                        task.store_mut().restore(state, key, record.value.as_ref());
                    }
                }
                task.store_mut().restored(state, reading.end())?;
            }
            task.settle()?;
        }
        Ok(restored)
    }

    /// Reads what this service has written and this instance has not seen, for its states.
    pub(super) async fn catch_up(&mut self, until: Until) -> Result<(), Broken> {
        if !self.service.has_states() {
            return Ok(());
        }
        let mut reading = self.replay.reading(&self.engine, &self.topics.outputs, until).await?;
        while let Some(record) = reading.next().await? {
            if let Ok(envelope) = Envelope::from_record(&record)
                && envelope.source == self.service.name
            {
                fold_read(&mut self.service, &record, &envelope).map_err(Broken::Fatal)?;
            }
        }
        Ok(())
    }
}

/// Folds an event as read from the log.
fn fold_read(service: &mut Service, record: &Record, envelope: &Envelope) -> Result<(), Error> {
    let name = (&*record.topic, envelope.r#type.as_str());
    let folded: Result<(), DecodeError> = match envelope.payload(record) {
        Ok(payload) => fold(service, name, envelope.version, payload),
        Err(error) => Err(error),
    };
    folded.map_err(|error| Error::Fold {
        service: service.name.clone(),
        topic: record.topic.to_string(),
        partition: record.partition,
        offset: record.offset,
        cause: error.to_string(),
    })
}
