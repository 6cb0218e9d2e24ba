//! Groups: the coordinator's decisions, written to `__consumer_offsets` and answered.
//!
//! Invariants: a commit, a generation's assignments and a deletion are answered when their records
//! are on disk; offsets are shown when they are, so that no client sees one that a crash takes back.

use tidings_coordinator::{Answer, Effect, GroupsConfig, Record, TopicFacts, Waiter};
use tidings_log::{LogId, NewRecord, PartitionLog};

use crate::broker::{Broker, Now, Ticket};
use crate::held::{Mark, Wait};
use crate::topic_name::CONSUMER_OFFSETS;
use crate::topics::distinct;
use crate::{
    CommitOffsets, ConsumerHeartbeat, DeleteGroups, DeleteOffsets, DescribeConsumerGroups,
    DescribedConsumerGroup, FetchOffsets, GroupRefused, GroupTrouble, JoinGroup, NewTopic, Reply,
    SyncGroup, TopicRefused,
};

/// As Kafka configures the topic: the last commit of each group and partition is what counts.
const OFFSETS_TOPIC_CONFIGS: [(&str, &str); 2] =
    [("cleanup.policy", "compact"), ("segment.bytes", "104857600")];

impl Broker {
    /// The log of `__consumer_offsets`, created on first use.
    pub(crate) fn offsets_log(&mut self, now: Now) -> Result<LogId, TopicRefused> {
        self.coordinators_log(now, CONSUMER_OFFSETS, &OFFSETS_TOPIC_CONFIGS)
    }

    /// The log of a coordinator's topic, which is created with these configs if it is not there.
    pub(crate) fn coordinators_log(
        &mut self,
        now: Now,
        name: &str,
        configs: &[(&str, &str)],
    ) -> Result<LogId, TopicRefused> {
        if self.catalog.topic(name).is_none() {
            let own =
                |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
            let new = NewTopic {
                name: name.to_owned(),
                partitions: Some(1),
                configs: configs.iter().map(own).collect(),
                ..NewTopic::default()
            };
            self.create_topic(now, &new, false)?;
        }
        self.catalog.log(name, 0).ok_or(TopicRefused::Unknown)
    }

    /// Sets what holds for groups from now on.
    pub(crate) fn configure_groups(&mut self, config: GroupsConfig) {
        self.groups.configure(config);
    }

    /// Hands the groups what has changed of topics since they were last told.
    pub(crate) fn tell_groups_of_topics(&mut self) {
        for name in self.catalog.take_changed() {
            match self.catalog.topic(&name) {
                Some(topic) => {
                    let facts = TopicFacts { id: topic.id, partitions: topic.partitions };
                    self.groups.topics_mut().put(&name, facts);
                }
                None => self.groups.topics_mut().remove(&name),
            }
        }
    }

    /// Refuses what needs the groups' state when that could not be loaded.
    fn groups_are_loaded(&self) -> Result<(), GroupRefused> {
        match &self.groups_trouble {
            None => Ok(()),
            Some(trouble) => Err(storage(trouble.clone())),
        }
    }

    pub(crate) fn offsets_for_use(&mut self, now: Now) -> Result<LogId, GroupRefused> {
        self.groups_are_loaded()?;
        self.offsets_log(now).map_err(|refused| storage(refused.to_string()))
    }

    /// Appends group records; returns the mark that must be durable before they count.
    fn append_group_records(&mut self, now: Now, records: &[Record]) -> Result<i64, String> {
        let log = self.offsets_log(now).map_err(|refused| refused.to_string())?;
        let encode = |record: &Record| {
            let (key, value) = record.encode();
            NewRecord { timestamp: now.wall_ms, key: Some(key), value, headers: Vec::new() }
        };
        let records: Vec<NewRecord> = records.iter().map(encode).collect();
        self.append_own(now, log, &records)
    }

    /// Appends records that were decided and not applied, and applies them; returns the mark that must
    /// be durable before they count.
    fn keep_group_records(&mut self, now: Now, records: Vec<Record>) -> Result<i64, String> {
        let past = self.append_group_records(now, &records)?;
        for record in records {
            self.groups.apply(now, record);
        }
        Ok(past)
    }

    /// What an answer about groups waits for: everything decided so far, on disk.
    pub(crate) fn wait_for_offsets(&self, part: usize) -> Vec<Wait> {
        let Some(log) = self.catalog.log(CONSUMER_OFFSETS, 0) else { return Vec::new() };
        let past = self.logs.log(log).map_or(0, PartitionLog::end_offset);
        let topic = self.catalog.topic(CONSUMER_OFFSETS);
        let settled = topic.and_then(|topic| self.wait_settled(topic, part));
        let unsynced =
            (past > self.logs.durable(log)).then_some(Wait { log, mark: Mark::End, past, part });
        unsynced.into_iter().chain(settled).collect()
    }

    /// Whether the offsets are on disk up to a mark; refused when they never will be.
    pub(crate) fn offsets_are_durable(&self, past: i64) -> Result<bool, String> {
        let Some(id) = self.catalog.log(CONSUMER_OFFSETS, 0) else { return Ok(true) };
        let log = self.logs.readable(id)?;
        match self.logs.trouble(log) {
            _ if log.durable_offset() >= past => Ok(true),
            Some(trouble) => Err(trouble),
            None => Ok(false),
        }
    }

    // ---- membership ----------------------------------------------------------------------------

    pub(crate) fn join_group(&mut self, now: Now, ticket: Ticket, request: JoinGroup) {
        let bytes = self.groups.grows_by_join(&request);
        let admitted = self.offsets_for_use(now).and_then(|_| self.groups.take_memory(now, bytes));
        if let Err(refused) = admitted {
            return self.answer(ticket, Reply::JoinGroup(Err(refused)), &[]);
        }
        let fresh = self.random.bytes();
        self.groups.join(now, Waiter(ticket.0), request, fresh);
        self.carry_out_group_effects(now);
    }

    pub(crate) fn consumer_heartbeat(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: ConsumerHeartbeat,
    ) {
        if let Err(refused) = self.offsets_for_use(now) {
            return self.answer(ticket, Reply::ConsumerHeartbeat(Err(refused)), &[]);
        }
        let fresh = self.random.bytes();
        self.groups.consumer_heartbeat(now, Waiter(ticket.0), request, fresh);
        self.carry_out_group_effects(now);
    }

    pub(crate) fn describe_consumer_groups(
        &self,
        request: DescribeConsumerGroups,
    ) -> Vec<(String, Result<DescribedConsumerGroup, GroupRefused>)> {
        let names = distinct(request.groups, |group| group).into_iter();
        names.map(|name| (name.clone(), self.groups.describe_consumers(&name))).collect()
    }

    pub(crate) fn sync_group(&mut self, now: Now, ticket: Ticket, request: SyncGroup) {
        if let Err(refused) = self.groups_are_loaded() {
            return self.answer(ticket, Reply::SyncGroup(Err(refused)), &[]);
        }
        self.groups.sync(now, Waiter(ticket.0), request);
        self.carry_out_group_effects(now);
    }

    /// Writes what the coordinator wants kept and answers those it has answers for.
    pub(crate) fn carry_out_group_effects(&mut self, now: Now) {
        let mut trouble: Option<String> = None;
        while let Some(effect) = self.groups.poll() {
            match effect {
                Effect::Persist(record) => {
                    trouble = self.append_group_records(now, std::slice::from_ref(&record)).err();
                    if let (Some(_), Record::Group { group, .. }) = (&trouble, record) {
                        self.groups.persist_failed(now, &group);
                    }
                }
                Effect::Change(change) => {
                    trouble = self.append_group_records(now, &change.records).err();
                    if trouble.is_some() {
                        self.groups.persist_failed(now, &change.group);
                    } else {
                        self.groups.accept(now, change);
                    }
                }
                Effect::Answer { waiter, answer, once_durable } => {
                    let failed = trouble.as_ref().filter(|_| once_durable);
                    let failed = failed.map(|trouble| storage(trouble.clone()));
                    let reply = match (answer, failed) {
                        (Answer::Joined(_), Some(refused)) => Reply::JoinGroup(Err(refused)),
                        (Answer::Synced(_), Some(refused)) => Reply::SyncGroup(Err(refused)),
                        (Answer::Beaten(_), Some(refused)) => {
                            Reply::ConsumerHeartbeat(Err(refused))
                        }
                        (Answer::Beaten(result), None) => Reply::ConsumerHeartbeat(result),
                        (Answer::Joined(result), None) => Reply::JoinGroup(result),
                        (Answer::Synced(result), None) => Reply::SyncGroup(result),
                    };
                    let waits = if once_durable { self.wait_for_offsets(0) } else { Vec::new() };
                    self.answer(Ticket(waiter.0), reply, &waits);
                }
            }
        }
    }

    // ---- offsets -------------------------------------------------------------------------------

    pub(crate) fn commit_offsets(&mut self, now: Now, ticket: Ticket, request: &CommitOffsets) {
        let answer = self.offsets_for_use(now).and_then(|_| {
            let decision = self.groups.decide_commit(now, request)?;
            self.groups.take_memory(now, self.groups.grows_by(request))?;
            self.keep_group_records(now, decision.records).map_err(storage)?;
            self.groups.heard_from(now, &request.group, &request.member_id);
            Ok(decision.answers)
        });
        let waits = if answer.is_ok() { self.wait_for_offsets(0) } else { Vec::new() };
        self.answer(ticket, Reply::CommitOffsets(answer), &waits);
    }

    pub(crate) fn fetch_offsets(&mut self, ticket: Ticket, request: &FetchOffsets) {
        let answer = self.groups_are_loaded().and_then(|()| self.groups.committed(request));
        let waits = if answer.is_ok() { self.wait_for_offsets(0) } else { Vec::new() };
        self.answer(ticket, Reply::FetchOffsets(answer), &waits);
    }

    /// Forgets every offset committed in a topic; returns the mark that makes it durable.
    pub(crate) fn forget_offsets(&mut self, now: Now, topic: &str) -> Result<i64, String> {
        self.groups_are_loaded().map_err(|refused| refused.to_string())?;
        let records = self.groups.decide_forget_topic(topic);
        if records.is_empty() {
            return Ok(0);
        }
        self.keep_group_records(now, records)
    }

    pub(crate) fn delete_offsets(&mut self, now: Now, ticket: Ticket, request: &DeleteOffsets) {
        let answer = self.groups_are_loaded().and_then(|()| {
            let decision = self.groups.decide_delete_offsets(request)?;
            if !decision.records.is_empty() {
                self.keep_group_records(now, decision.records).map_err(storage)?;
            }
            Ok(decision.answers)
        });
        let waits = if answer.is_ok() { self.wait_for_offsets(0) } else { Vec::new() };
        self.answer(ticket, Reply::DeleteOffsets(answer), &waits);
    }

    /// Takes away what retention no longer keeps. What cannot be written stays until the next search.
    pub(crate) fn expire_offsets(&mut self, now: Now) {
        let records = self.groups.decide_expiry(now);
        if !records.is_empty() && self.groups_are_loaded().is_ok() {
            // The failure is the log's, which says so to everyone who appends.
            let _later = self.keep_group_records(now, records);
        }
    }

    // ---- deletion ------------------------------------------------------------------------------

    pub(crate) fn delete_groups(&mut self, now: Now, ticket: Ticket, request: DeleteGroups) {
        let mut answers = Vec::new();
        let mut waits = Vec::new();
        for group in request.groups {
            let outcome = self.delete_group(now, &group);
            if outcome.is_ok() {
                waits.extend(self.wait_for_offsets(answers.len()));
            }
            answers.push((group, outcome));
        }
        self.answer(ticket, Reply::DeleteGroups(answers), &waits);
    }

    fn delete_group(&mut self, now: Now, group: &str) -> Result<(), GroupRefused> {
        self.groups_are_loaded()?;
        let records = self.groups.decide_delete(now, group)?;
        self.keep_group_records(now, records).map_err(storage)?;
        Ok(())
    }
}

fn storage(trouble: String) -> GroupRefused {
    GroupRefused::Other(GroupTrouble::Storage(trouble))
}
