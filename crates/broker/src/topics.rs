//! Topics: described, created, deleted.
//!
//! Creation: 1. the logs are opened, of which nothing is on disk; 2. the catalog's record is
//! appended and applied; 3. the answer goes when the record is on disk. What a crash before that
//! leaves belongs to no topic, and the next start removes it.
//!
//! Deletion: 1. the catalog's record is appended and applied, the topic is gone for clients; 2.
//! once the record is on disk, and what was writing to the folders has ended, they are removed by a
//! job; 3. the offsets that groups committed there are forgotten; 4. once that is on disk the answer
//! goes and the name is free again. What fails of 2 and 3 is answered so, and tried again before the
//! name is given to another topic.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use tidings_log::{Disk, Fault, FaultKind, LogId};

use crate::broker::{Broker, Now, Ticket};
use crate::catalog::{CATALOG, Topic, log_key};
use crate::config::TopicSettings;
use crate::held::{Mark, Wait};
use crate::jobs::Removing;
use crate::partition::{Partition, storage_trouble};
use crate::placement::Brokers;
use crate::quotas::Mutations;
use crate::topic_name::{self, CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::{
    CreateTopics, CreatedTopic, DeleteTopics, DeletedTopic, DescribeTopics, NewTopic,
    PartitionDescription, Reply, TopicAnswer, TopicCreation, TopicDescription, TopicId, TopicName,
    TopicRefused, Topics, limits,
};

/// What a new topic is to be like.
struct Shape {
    partitions: i32,
    replicas: i16,
    /// The brokers of each partition; empty where there is only one.
    assignment: Vec<Vec<i32>>,
}

/// A deletion under way.
#[derive(Debug)]
pub(crate) struct Removal {
    /// Whose folders are to go.
    partitions: i32,
    /// The works of the store that may write to the folders are those before this mark.
    works: u64,
    step: RemovalStep,
    /// The mark in `__consumer_offsets` that makes it durable that the offsets are forgotten, once
    /// they are.
    forgotten: Option<i64>,
    /// What its answer waits for.
    done: LogId,
}

#[derive(Debug)]
enum RemovalStep {
    /// Until the catalog is durable up to here and nothing writes to the folders any more.
    Recorded { past: i64 },
    /// Until the folders are gone.
    Clearing,
    /// Until `__consumer_offsets` is durable up to here.
    Forgotten { past: i64 },
    /// Something could not be removed; tried again when the name is wanted.
    Stuck { trouble: String },
}

impl Broker {
    pub(crate) fn describe_topics(&mut self, now: Now, ticket: Ticket, request: DescribeTopics) {
        let asked = match request.topics {
            Topics::These(asked) => asked,
            Topics::All => {
                self.catalog.topics().map(|topic| TopicName::Name(topic.name.clone())).collect()
            }
        };
        let mut answers = Vec::new();
        let mut waits = Vec::new();
        for asked in distinct(asked, |asked| asked) {
            let topic = self.describe_topic(now, &asked, request.auto_create);
            if let Ok(described) = &topic {
                let topic = self.catalog.topic(&described.name);
                waits.extend(topic.and_then(|topic| self.wait_settled(topic, answers.len())));
            }
            answers.push(TopicAnswer { asked, topic });
        }
        self.answer(ticket, Reply::DescribeTopics(answers), &waits);
    }

    fn describe_topic(
        &mut self,
        now: Now,
        asked: &TopicName,
        auto_create: bool,
    ) -> Result<TopicDescription, TopicRefused> {
        let name = match asked {
            TopicName::Name(name) => name.clone(),
            TopicName::Id(id) => {
                self.catalog.name_of(id).ok_or(TopicRefused::UnknownId)?.to_owned()
            }
        };
        if self.catalog.topic(&name).is_none() {
            topic_name::check(&name)?;
            if !(auto_create && self.catalog.brokers.auto_create_topics(&self.config)) {
                return Err(TopicRefused::Unknown);
            }
            self.create_by_naming(now, &name).map_err(|refused| match refused {
                // The client asks again.
                TopicRefused::OverQuota => TopicRefused::Unknown,
                refused => refused,
            })?;
        }
        let topic = self.catalog.topic(&name).ok_or(TopicRefused::Unknown)?;
        let describe = |(partition, log)| PartitionDescription {
            replicas: self.replicas_of(topic, partition),
            ..self.logs.describe(log)
        };
        let partitions: Vec<PartitionDescription> = topic.logs().map(describe).collect();
        Ok(TopicDescription { name, id: topic.id, internal: topic.internal, partitions })
    }

    fn create_by_naming(&mut self, now: Now, name: &str) -> Result<(), TopicRefused> {
        if name == CONSUMER_OFFSETS {
            self.offsets_log(now)?;
        } else if name == TRANSACTION_STATE {
            self.transactions_log(now)?;
        } else {
            let new = NewTopic { name: name.to_owned(), ..NewTopic::default() };
            let created = self.create_topic(now, &new, false)?;
            self.count_mutations(created.partitions);
        }
        Ok(())
    }

    /// The wait until a topic's creation is on disk with all its partitions, if it is not yet.
    pub(crate) fn wait_settled(&self, topic: &Topic, part: usize) -> Option<Wait> {
        let newest = topic.log(topic.partitions - 1)?;
        let past = self.logs.get(newest)?.settles_at;
        let settled = past <= self.logs.durable(CATALOG);
        (!settled).then_some(Wait { log: CATALOG, mark: Mark::End, past, part })
    }

    // ---- creation ------------------------------------------------------------------------------

    pub(crate) fn create_topics(&mut self, now: Now, ticket: Ticket, request: &CreateTopics) {
        let mut times_named: BTreeMap<&str, usize> = BTreeMap::new();
        for new in &request.topics {
            *times_named.entry(&new.name).or_default() += 1;
        }
        let mut answers = Vec::new();
        let mut waits = Vec::new();
        for new in &request.topics {
            let outcome = if times_named[new.name.as_str()] > 1 {
                Err(TopicRefused::InvalidRequest(format!("{} is named more than once", new.name)))
            } else if topic_name::is_coordinators(&new.name) {
                Err(topic_name::reserved(&new.name))
            } else {
                self.create_topic(now, new, request.validate_only)
            };
            if let Ok(created) = &outcome
                && !request.validate_only
            {
                self.count_mutations(created.partitions);
                let topic = self.catalog.topic(&new.name);
                waits.extend(topic.and_then(|topic| self.wait_settled(topic, answers.len())));
            }
            answers.push(CreatedTopic { name: new.name.clone(), outcome });
        }
        self.answer(ticket, Reply::CreateTopics(answers), &waits);
    }

    /// Checks and, unless only that is wanted, creates; its record is then on its way to the disk.
    /// Of the broker's own names only those of the coordinators' logs are ones of topics.
    pub(crate) fn create_topic(
        &mut self,
        now: Now,
        new: &NewTopic,
        validate_only: bool,
    ) -> Result<TopicCreation, TopicRefused> {
        topic_name::check(&new.name)?;
        if topic_name::is_internal(&new.name) && !topic_name::is_coordinators(&new.name) {
            return Err(topic_name::reserved(&new.name));
        }
        let Shape { partitions, replicas, assignment } = self.wanted_shape(new)?;
        let settings = TopicSettings::parse(&new.configs, &self.catalog.brokers)?;
        settings.check_replicas(usize::try_from(replicas).unwrap_or(0))?;
        let id = self.fresh_topic_id();
        let record =
            self.catalog.decide_create(&new.name, id, partitions, assignment, &settings)?;
        self.may_reuse_name(now, &new.name)?;
        let configs = settings.describe(&self.catalog.brokers);
        if validate_only {
            return Ok(TopicCreation { id: [0; 16], partitions, replicas, configs });
        }
        self.check_mutations()?;
        let opened = self.open_new_logs(&new.name, id, 0..partitions, &settings)?;
        let past = self.record_with_logs(now, record, &opened)?;
        self.partitions_opened(&new.name, 0..partitions, &opened, past);
        Ok(TopicCreation { id, partitions, replicas, configs })
    }

    /// Refuses to create or delete partitions when the client's quota does not allow it.
    pub(crate) fn check_mutations(&self) -> Result<(), TopicRefused> {
        self.mutations.as_ref().map_or(Ok(()), Mutations::check)
    }

    pub(crate) fn count_mutations(&mut self, partitions: i32) {
        if let Some(mutations) = &mut self.mutations {
            mutations.add(partitions);
        }
    }

    /// Takes note of new partitions that count once the catalog is durable up to `past`.
    pub(crate) fn partitions_opened(
        &mut self,
        topic: &str,
        partitions: Range<i32>,
        opened: &[LogId],
        past: i64,
    ) {
        for (index, log) in partitions.zip(opened.iter().copied()) {
            debug_assert_eq!(self.catalog.log(topic, index), Some(log));
            self.unsettled.insert(log);
            let folder = topic_name::folder(topic, index);
            self.logs.by_id.insert(log, Partition::new(folder, past, self.catalog.leader_epoch));
        }
    }

    /// Opens the logs of partitions that the catalog does not have yet, as those it will have.
    pub(crate) fn open_new_logs(
        &mut self,
        name: &str,
        topic: TopicId,
        partitions: Range<i32>,
        settings: &TopicSettings,
    ) -> Result<Vec<LogId>, TopicRefused> {
        let mut opened = Vec::new();
        for (index, log) in partitions.zip((self.catalog.next_log()..).map(LogId)) {
            let (key, folder) = (log_key(&topic, index), topic_name::folder(name, index));
            if let Err(fault) = self.logs.store.open_log(log, key, &folder, settings.log) {
                opened.into_iter().for_each(|log| self.logs.store.remove_log(log));
                return Err(TopicRefused::Storage(storage_trouble(&fault)));
            }
            opened.push(log);
        }
        Ok(opened)
    }

    fn fresh_topic_id(&mut self) -> [u8; 16] {
        loop {
            let id = self.random.uuid();
            if !self.catalog.has_id(&id) {
                return id;
            }
        }
    }

    /// How many partitions and replicas a new topic is to have, and where.
    fn wanted_shape(&self, new: &NewTopic) -> Result<Shape, TopicRefused> {
        let asked = new.partitions.filter(|count| *count != -1);
        let replicas = new.replication.filter(|count| *count != -1);
        if !new.assignment.is_empty() {
            if asked.is_some() || replicas.is_some() {
                return Err(TopicRefused::InvalidRequest(
                    "a replica assignment leaves partitions and replication factor unsaid".into(),
                ));
            }
            return self.assigned_shape(&new.assignment);
        }
        let partitions =
            asked.unwrap_or_else(|| self.catalog.brokers.default_partitions(&self.config));
        let replicas = self.brokers().replicas(replicas)?;
        // More are refused with the reason where the room for them is known.
        let placed = partitions.min(limits::PARTITIONS_PER_TOPIC_MAX);
        let start = self.catalog.partitions_in_all();
        let assignment = self.brokers().spread(start, placed, replicas);
        Ok(Shape { partitions, replicas, assignment })
    }

    fn assigned_shape(&self, assignment: &[(i32, Vec<i32>)]) -> Result<Shape, TopicRefused> {
        let by_index: BTreeMap<i32, &Vec<i32>> =
            assignment.iter().map(|(index, replicas)| (*index, replicas)).collect();
        let partitions = i32::try_from(assignment.len()).unwrap_or(i32::MAX);
        if by_index.len() != assignment.len() || !by_index.keys().copied().eq(0..partitions) {
            return Err(TopicRefused::InvalidAssignment(
                "a replica assignment names each partition from 0 on once".into(),
            ));
        }
        let replicas = by_index.first_key_value().map_or(0, |(_, replicas)| replicas.len());
        self.brokers().check_all(replicas, by_index.values().copied())?;
        let one = self.config.brokers == 1;
        Ok(Shape {
            partitions,
            replicas: i16::try_from(replicas).unwrap_or(i16::MAX),
            assignment: if one { Vec::new() } else { by_index.into_values().cloned().collect() },
        })
    }

    pub(crate) fn brokers(&self) -> Brokers {
        Brokers::of(&self.config)
    }

    /// The catalog's new durable offset makes some partitions count: returns them.
    pub(crate) fn settle_topics(&mut self) -> Vec<LogId> {
        let unsettled = self.unsettled.iter().copied();
        let settled: Vec<LogId> = unsettled.filter(|id| self.logs.is_settled(*id)).collect();
        for id in &settled {
            self.unsettled.remove(id);
        }
        settled
    }

    // ---- deletion ------------------------------------------------------------------------------

    pub(crate) fn delete_topics(&mut self, now: Now, ticket: Ticket, request: DeleteTopics) {
        let mut answers = Vec::new();
        let mut waits = Vec::new();
        for asked in request.topics {
            let outcome = self.delete_topic(now, &asked);
            if let Ok((_, _, done)) = outcome {
                waits.push(Wait { log: done, mark: Mark::End, past: 1, part: answers.len() });
            }
            let outcome = outcome.map(|(name, id, _)| (name, id));
            answers.push(DeletedTopic { asked, outcome });
        }
        self.answer(ticket, Reply::DeleteTopics(answers), &waits);
    }

    fn delete_topic(
        &mut self,
        now: Now,
        asked: &TopicName,
    ) -> Result<(String, [u8; 16], LogId), TopicRefused> {
        let name = match asked {
            TopicName::Name(name) => name.clone(),
            TopicName::Id(id) => {
                self.catalog.name_of(id).ok_or(TopicRefused::UnknownId)?.to_owned()
            }
        };
        let record = self.catalog.decide_delete(&name)?;
        if !self.config.delete_topics {
            return Err(TopicRefused::DeletionDisabled);
        }
        self.check_mutations()?;
        let past = self.append_catalog(now, &record).map_err(TopicRefused::Storage)?;
        let topic = self.catalog.topic(&name).expect("decided above").clone();
        self.count_mutations(topic.partitions);
        self.catalog.apply(record);
        let mut gone = Vec::new();
        for (_, log) in topic.logs() {
            self.logs.by_id.remove(&log);
            self.logs.store.remove_log(log);
            self.unsettled.remove(&log);
            self.held.fail(log, "the topic has been deleted");
            gone.push(log);
        }
        self.wake_fetches(now, &gone);
        let done = self.catalog.fresh_log();
        let id = topic.id;
        let removal = Removal {
            partitions: topic.partitions,
            works: self.jobs.mark(),
            step: RemovalStep::Recorded { past },
            forgotten: None,
            done,
        };
        self.removals.insert(name.clone(), removal);
        Ok((name, id, done))
    }

    /// Offsets were found in a topic that is gone: the rest of its deletion.
    pub(crate) fn finish_deletion(&mut self, now: Now, name: &str) -> Result<(), String> {
        let done = self.catalog.fresh_log();
        let mut removal =
            Removal { partitions: 0, works: 0, step: RemovalStep::Clearing, forgotten: None, done };
        self.forget_what_is_left(now, name, &mut removal);
        let outcome = match &removal.step {
            RemovalStep::Stuck { trouble } => Err(trouble.clone()),
            _ => Ok(()),
        };
        self.keep_unless_finished(name.to_owned(), removal);
        outcome
    }

    /// Takes every deletion as far as the disk allows.
    pub(crate) fn carry_on_removals(&mut self, now: Now) {
        if self.removals.is_empty() {
            return;
        }
        let catalog_durable = self.logs.durable(CATALOG);
        for (name, mut removal) in std::mem::take(&mut self.removals) {
            if matches!(removal.step, RemovalStep::Recorded { past } if past <= catalog_durable)
                && self.jobs.have_ended_before(removal.works)
            {
                self.clear_folders(now, &name, &mut removal);
            }
            self.keep_unless_finished(name, removal);
        }
    }

    fn keep_unless_finished(&mut self, name: String, mut removal: Removal) {
        if !self.is_finished(&mut removal) {
            self.removals.insert(name, removal);
        }
    }

    /// Whether nothing of the topic is left; tells those who wait for it, or for its failure.
    fn is_finished(&mut self, removal: &mut Removal) -> bool {
        if let RemovalStep::Forgotten { past } = removal.step {
            match self.offsets_are_durable(past) {
                Ok(true) => {
                    self.held.release(removal.done, Mark::End, 1);
                    return true;
                }
                Ok(false) => {}
                Err(trouble) => removal.step = RemovalStep::Stuck { trouble },
            }
        }
        if let RemovalStep::Stuck { trouble } = &removal.step {
            self.held.fail(removal.done, trouble);
        }
        false
    }

    /// Has the folders removed; those who removed none before forget the offsets at once.
    fn clear_folders(&mut self, now: Now, name: &str, removal: &mut Removal) {
        removal.step = RemovalStep::Clearing;
        if removal.partitions == 0 {
            return self.forget_what_is_left(now, name, removal);
        }
        let folders = (0..removal.partitions).map(|index| topic_name::folder(name, index));
        let disk = Arc::clone(&self.disk);
        self.jobs.remove(Removing::new(name.to_owned(), disk, folders.collect()));
    }

    /// A job that [`Self::clear_folders`] made has ended.
    pub(crate) fn folders_removed(&mut self, now: Now, name: &str, outcome: Result<(), Fault>) {
        let Some(mut removal) = self.removals.remove(name) else { return };
        match outcome {
            Ok(()) => {
                removal.partitions = 0;
                self.forget_what_is_left(now, name, &mut removal);
            }
            Err(fault) => removal.step = RemovalStep::Stuck { trouble: fault.to_string() },
        }
        self.keep_unless_finished(name.to_owned(), removal);
    }

    /// Forgets the offsets, or says in the removal what is in the way.
    fn forget_what_is_left(&mut self, now: Now, name: &str, removal: &mut Removal) {
        let forgotten = match removal.forgotten {
            Some(past) => Ok(past),
            None => self.forget_offsets(now, name),
        };
        removal.step = match forgotten {
            Ok(past) => {
                removal.forgotten = Some(past);
                RemovalStep::Forgotten { past }
            }
            Err(trouble) => RemovalStep::Stuck { trouble },
        };
    }

    /// A name is free again when nothing of its former topic is left on disk, offsets included.
    fn may_reuse_name(&mut self, now: Now, name: &str) -> Result<(), TopicRefused> {
        let Some(mut removal) = self.removals.remove(name) else { return Ok(()) };
        if matches!(removal.step, RemovalStep::Stuck { .. }) {
            self.clear_folders(now, name, &mut removal);
        }
        if self.is_finished(&mut removal) {
            return Ok(());
        }
        let refused = match &removal.step {
            RemovalStep::Stuck { trouble } => TopicRefused::Storage(trouble.clone()),
            _ => TopicRefused::NotYet,
        };
        self.removals.insert(name.to_owned(), removal);
        Err(refused)
    }

    pub(crate) fn fail_removals(&mut self, trouble: &str) {
        for removal in self.removals.values() {
            if matches!(removal.step, RemovalStep::Recorded { .. }) {
                self.held.fail(removal.done, trouble);
            }
        }
    }
}

/// The questions without repetitions, as Kafka answers them: an answer may be ten thousand times the
/// size of its question.
pub(crate) fn distinct<T, K: Ord + Clone>(questions: Vec<T>, key: impl Fn(&T) -> &K) -> Vec<T> {
    let mut seen = BTreeSet::new();
    questions.into_iter().filter(|question| seen.insert(key(question).clone())).collect()
}

/// Removes a partition's folder, if it is there. Its files go first and for good, so that none can
/// come back, after a crash, in a folder of the same name made later.
pub(crate) fn remove_folder(disk: &dyn Disk, folder: &str) -> Result<(), Fault> {
    let entries = match disk.list(folder) {
        Err(fault) if fault.kind == FaultKind::NotFound => return Ok(()),
        listed => listed?,
    };
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        disk.remove_file(&format!("{folder}/{}", entry.name))?;
    }
    disk.sync_dir(folder)?;
    disk.remove_dir_all(folder)
}
