//! Watches the engine: once a second it looks at topics, groups, the newest records and the dead
//! letters, and makes a [`Snapshot`].
//!
//! Work per sample is bounded by the constants of [`crate::limits`], whatever there is to look at:
//! what does not fit has its turn in a later sample.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings::REPORTS_TOPIC;
use tidings_engine::{Engine, Error, GroupDescription, Read, ReadLimit, Topic};
use tidings_gateway::Schemas;
use tidings_slo::{Objectives, Tracker};

use super::chart::Spark;
use super::dead::{DeadLetters, DeadLine, is_dead_topic};
use super::event::EventLine;
use super::groups::health::{self, TopicPartition};
use super::groups::kept::HISTORY_TOPIC;
use super::history::{GroupHistory, GroupSample, TopicHistory, TopicSample};
use super::map::Sightings;
use super::quantity::{Behind, Bytes, Count, Moment, Rate};
use super::reading::Reader;
use super::services::view::{self, ServiceLine};
use super::services::{Instance, Services};
use super::slos::Slos;
use super::snapshot::{Dead, GroupLine, Snapshot, TopicLine, Totals};
use super::topics::{Retention, Skew};
use crate::limits::{
    DEAD_PER_SAMPLE, EVENT_PARTITIONS_PER_SAMPLE, EVENT_READ_BYTES, EVENTS_KEPT,
    EVENTS_PER_PARTITION, GROUP_BEHIND_MAX, GROUPS_PER_SAMPLE, RETENTIONS_PER_SAMPLE,
    SAMPLED_TOPICS_MAX, SAMPLES_KEPT, SERVICES_CHARTED_MAX,
};

pub(super) struct Observer {
    engine: Engine,
    schemas: Arc<Schemas>,
    started: Instant,
    topics: BTreeMap<String, TopicHistory>,
    /// How long topics keep records, asked in turns.
    retentions: BTreeMap<String, Retention>,
    /// The topic whose configuration was asked last.
    retention_turn: String,
    groups: BTreeMap<String, WatchedGroup>,
    /// The group described last; the next sample begins after it.
    group_turn: String,
    /// First offset not looked at, by partition.
    seen: BTreeMap<(String, i32), i64>,
    event_turn: (String, i32),
    events: VecDeque<EventLine>,
    sightings: Sightings,
    /// First dead letter not read, by partition.
    dead_next: BTreeMap<(String, i32), i64>,
    dead: DeadLetters,
    services: Services,
    /// Events per second, by service.
    handled: BTreeMap<String, VecDeque<f32>>,
    slos: Tracker,
    /// Records per second of all topics.
    throughput: VecDeque<f32>,
}

#[derive(Default)]
struct WatchedGroup {
    history: GroupHistory,
    line: Option<GroupLine>,
}

impl Observer {
    pub(super) fn new(engine: Engine, schemas: Arc<Schemas>, objectives: Objectives) -> Self {
        Self {
            engine,
            schemas,
            started: Instant::now(),
            topics: BTreeMap::new(),
            retentions: BTreeMap::new(),
            retention_turn: String::new(),
            groups: BTreeMap::new(),
            group_turn: String::new(),
            seen: BTreeMap::new(),
            event_turn: (String::new(), 0),
            events: VecDeque::new(),
            sightings: Sightings::default(),
            dead_next: BTreeMap::new(),
            dead: DeadLetters::default(),
            services: Services::default(),
            handled: BTreeMap::new(),
            slos: Tracker::new(objectives),
            throughput: VecDeque::new(),
        }
    }

    /// Looks at everything once.
    pub(super) async fn sample(&mut self) -> Result<Snapshot, Error> {
        let topics = self.engine.topics().await?;
        self.forget_deleted(&topics);
        self.sample_topics(&topics);
        self.read_retentions(&topics).await?;
        self.sample_groups().await?;
        self.read_events(&topics).await?;
        let unread = self.read_dead(&topics).await?;
        self.services.read(&self.engine, &topics, now()).await?;
        let topic_lines: Vec<_> = topics.iter().map(|topic| self.topic_line(topic)).collect();
        let groups: Vec<_> = self.groups.values().filter_map(|g| g.line.clone()).collect();
        let dead = self.dead_lines(unread);
        let totals = self.totals(&topic_lines, &groups, dead.total);
        let services = self.services.lately(now());
        let service_lines = self.service_lines(&services, &topics);
        let elapsed = self.started.elapsed();
        let reports: Vec<_> = services.iter().map(|of| Arc::clone(&of.report)).collect();
        self.slos.look(elapsed, now().0, &reports);
        let (lines, untracked) = (self.slos.lines(elapsed), self.slos.untracked());
        let mut snapshot = Snapshot {
            time: now(),
            problems: Vec::new(),
            totals,
            topics: topic_lines,
            groups,
            events: self.events.iter().rev().cloned().collect(),
            dead,
            sightings: self.sightings.shares(),
            services,
            service_lines,
            slos: Slos { lines, untracked },
        };
        snapshot.problems = snapshot.find_problems();
        Ok(snapshot)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn forget_deleted(&mut self, topics: &[Topic]) {
        let there = |name: &str| topics.binary_search_by(|t| t.name.as_str().cmp(name)).is_ok();
        let gone: Vec<_> = self.topics.keys().filter(|name| !there(name)).cloned().collect();
        for name in gone {
            self.topics.remove(&name);
            self.dead.forget(&name);
        }
        self.retentions.retain(|topic, _| there(topic));
        self.seen.retain(|(topic, _), _| there(topic));
        self.sightings.retain(there);
        self.dead_next.retain(|(topic, _), _| there(topic));
    }

    fn sample_topics(&mut self, topics: &[Topic]) {
        let at_ms = self.elapsed_ms();
        for topic in topics {
            let room = self.topics.len() < SAMPLED_TOPICS_MAX;
            if room || self.topics.contains_key(&topic.name) {
                let ends = topic.partitions.iter().map(|p| p.end_offset).collect();
                let bytes = size_of(topic);
                let history = self.topics.entry(topic.name.clone()).or_default();
                history.push(TopicSample { at_ms, ends, bytes });
            }
        }
    }

    fn topic_line(&self, topic: &Topic) -> TopicLine {
        let history = self.topics.get(&topic.name);
        let records: Vec<i64> =
            topic.partitions.iter().map(|p| p.end_offset - p.start_offset).collect();
        let gains = history.and_then(TopicHistory::gains);
        TopicLine {
            name: topic.name.clone(),
            internal: topic.internal || topic.name.starts_with('_') || is_of_tidings(&topic.name),
            dead_letters: is_dead_topic(&topic.name),
            partitions: Count::of(topic.partitions.len()),
            records: Count(records.iter().sum()),
            bytes: size_of(topic).map(Bytes),
            records_per_second: history.map(TopicHistory::records_rate).unwrap_or_default(),
            bytes_per_second: history.and_then(TopicHistory::bytes_rate),
            retention: self.retentions.get(&topic.name).cloned(),
            skew: gains.and_then(|gains| Skew::of(&gains)).or_else(|| Skew::of(&records)),
            spark: Spark::new(history.map(TopicHistory::records_rates).unwrap_or_default()),
        }
    }

    async fn read_retentions(&mut self, topics: &[Topic]) -> Result<(), Error> {
        let after = topics.partition_point(|topic| topic.name <= self.retention_turn);
        let turn = topics[after..].iter().chain(&topics[..after]).take(RETENTIONS_PER_SAMPLE);
        for topic in turn {
            self.retention_turn.clone_from(&topic.name);
            match self.engine.topic_configs(&topic.name).await {
                Ok(configs) => {
                    self.retentions.insert(topic.name.clone(), Retention::of(&configs));
                }
                // It has gone meanwhile, or is not for this user to know.
                Err(Error::UnknownTopic(_) | Error::Denied(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn sample_groups(&mut self) -> Result<(), Error> {
        let listed = self.engine.groups().await?;
        self.groups.retain(|name, _| {
            listed.binary_search_by(|group| group.name.as_str().cmp(name)).is_ok()
        });
        let after = listed.partition_point(|group| group.name <= self.group_turn);
        let turn = listed[after..].iter().chain(&listed[..after]).take(GROUPS_PER_SAMPLE);
        for group in turn {
            let described = self.engine.group(&group.name).await?;
            self.group_turn.clone_from(&group.name);
            self.take_group(&described);
        }
        Ok(())
    }

    fn take_group(&mut self, described: &GroupDescription) {
        let at_ms = self.elapsed_ms();
        let committed = described.offsets.iter().filter_map(|o| o.committed).sum();
        let lag = described.offsets.iter().map(|o| o.lag).sum();
        let mut behind_at: Vec<_> = described
            .offsets
            .iter()
            .filter_map(|o| {
                Some((TopicPartition::of(&o.topic, o.partition), o.lag, self.behind(o)?))
            })
            .collect();
        let behind = behind_at.iter().map(|(_, _, behind)| *behind).max();
        behind_at.sort_by_key(|(_, lag, _)| std::cmp::Reverse(*lag));
        let behind_at = behind_at.into_iter().take(GROUP_BEHIND_MAX);
        let behind_at = behind_at.map(|(at, _, behind)| (at, behind)).collect();
        let watched = self.groups.entry(described.name.clone()).or_default();
        watched.history.push(GroupSample { at_ms, committed, lag });
        watched.line = Some(GroupLine {
            name: described.name.clone(),
            state: described.state.clone(),
            members: Count::of(described.members.len()),
            lag: Count(lag),
            behind,
            trend: watched.history.trend(),
            drain: watched.history.drain(),
            stuck: watched.history.stuck(),
            hot: health::hot(&described.offsets),
            idle_members: Count::of(health::idle(described).count()),
            topics: health::topics(described),
            committed: Count(committed),
            behind_at,
            committed_per_second: watched.history.committed_rate(),
            spark: Spark::new(watched.history.lags()),
        });
    }

    fn behind(&self, position: &tidings_engine::GroupOffset) -> Option<Behind> {
        let history = self.topics.get(&position.topic)?;
        let partition = usize::try_from(position.partition).ok()?;
        history.written_ago(partition, position.committed.filter(|_| position.lag > 0)?)
    }

    /// Reads the newest records of partitions that have gained some.
    async fn read_events(&mut self, topics: &[Topic]) -> Result<(), Error> {
        let partitions = topics
            .iter()
            .filter(|topic| shows_events(topic))
            .flat_map(|topic| topic.partitions.iter().map(|p| ((topic.name.clone(), p.id), *p)));
        let mut gained: Vec<_> = partitions
            .filter(|(name, p)| {
                self.seen.get(name).copied().unwrap_or(p.start_offset) < p.end_offset
            })
            .collect();
        let after = gained.partition_point(|(name, _)| *name <= self.event_turn);
        gained.rotate_left(after);
        let mut records = Vec::new();
        for (name, partition) in gained.into_iter().take(EVENT_PARTITIONS_PER_SAMPLE) {
            let seen = self.seen.get(&name).copied().unwrap_or(partition.start_offset);
            let from = seen.max(partition.end_offset - EVENTS_PER_PARTITION);
            let limit = limit(EVENTS_PER_PARTITION.unsigned_abs() as usize);
            let read = self.read(&name.0, name.1, from, limit).await?;
            records.extend(read.into_iter().flat_map(|read| read.records));
            self.seen.insert(name.clone(), partition.end_offset);
            self.event_turn = name;
        }
        let mut lines = self.reader().await.each(records, EventLine::of).await?;
        lines.sort_by(|a, b| (a.time, &a.topic, a.offset).cmp(&(b.time, &b.topic, b.offset)));
        lines.iter().for_each(|line| self.sightings.see(line));
        self.events.extend(lines);
        self.events.drain(..self.events.len().saturating_sub(EVENTS_KEPT));
        Ok(())
    }

    /// Reads on in the dead-letter topics; answers how many letters are still unread.
    async fn read_dead(&mut self, topics: &[Topic]) -> Result<i64, Error> {
        let reader = self.reader().await;
        let mut room = DEAD_PER_SAMPLE;
        let mut unread = 0;
        for topic in topics.iter().filter(|topic| is_dead_topic(&topic.name)) {
            for partition in &topic.partitions {
                let name = (topic.name.clone(), partition.id);
                let mut next =
                    self.dead_next.get(&name).copied().unwrap_or(0).max(partition.start_offset);
                while next < partition.end_offset && room > 0 {
                    let read = self.read(&name.0, name.1, next, limit(room)).await?;
                    // Markers of transactions are passed by, and are no letters.
                    let Some(read) = read.filter(|read| read.next > next) else { break };
                    next = read.next;
                    room = room.saturating_sub(read.records.len());
                    let lines = reader.each(read.records, DeadLine::of).await?;
                    lines.into_iter().for_each(|line| self.dead.apply(line));
                }
                unread += (partition.end_offset - next).max(0);
                self.dead_next.insert(name, next);
            }
        }
        Ok(unread)
    }

    async fn reader(&self) -> Reader {
        Reader::of_list(self.schemas.current().await)
    }

    /// What is there from an offset on; none where the partition has moved on or gone in the meantime,
    /// or where its bytes are damaged.
    async fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        limit: ReadLimit,
    ) -> Result<Option<Read>, Error> {
        match self.engine.read(topic, partition, from, limit).await {
            Ok(read) => Ok(Some(read)),
            Err(Error::UnknownTopic(_) | Error::OffsetOutOfRange { .. } | Error::Corrupt(_)) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn service_lines(&mut self, services: &[Instance], topics: &[Topic]) -> Vec<ServiceLine> {
        let names = topics.iter().map(|topic| topic.name.as_str());
        let mut lines = view::lines(services, names);
        let mut handled = BTreeMap::new();
        for line in lines.iter_mut().take(SERVICES_CHARTED_MAX) {
            let mut rates = self.handled.remove(&line.name).unwrap_or_default();
            if rates.len() >= SAMPLES_KEPT {
                rates.pop_front();
            }
            #[expect(clippy::cast_possible_truncation, reason = "for a chart of a few pixels")]
            rates.push_back(line.processed_per_second.0 as f32);
            line.spark = Spark::new(rates.iter().copied().collect());
            handled.insert(line.name.clone(), rates);
        }
        self.handled = handled;
        lines
    }

    fn dead_lines(&self, unread: i64) -> Dead {
        Dead {
            total: Count(self.dead.count() + unread),
            unread: Count(unread),
            causes: self.dead.causes(),
            other: self.dead.other(),
            last: self.dead.last(),
        }
    }

    fn totals(&mut self, topics: &[TopicLine], groups: &[GroupLine], dead: Count) -> Totals {
        let own = || topics.iter().filter(|topic| !topic.internal);
        let sizes = topics.iter().any(|topic| topic.bytes.is_some());
        let records_per_second = Rate(own().map(|t| t.records_per_second.0).sum());
        if self.throughput.len() >= SAMPLES_KEPT {
            self.throughput.pop_front();
        }
        #[expect(clippy::cast_possible_truncation, reason = "for a chart of a few pixels")]
        self.throughput.push_back(records_per_second.0 as f32);
        Totals {
            topics: Count::of(own().count()),
            partitions: Count(own().map(|t| t.partitions.0).sum()),
            records: Count(own().map(|t| t.records.0).sum()),
            // Of a cluster without topics of its users nothing else says that sizes are not known.
            bytes: sizes.then(|| Bytes(own().filter_map(|t| t.bytes).map(|b| b.0).sum())),
            records_per_second,
            bytes_per_second: sizes
                .then(|| Rate(own().filter_map(|t| t.bytes_per_second).map(|r| r.0).sum())),
            groups: Count::of(groups.len()),
            lag: Count(groups.iter().map(|g| g.lag.0).sum()),
            dead_letters: dead,
            spark: Spark::new(self.throughput.iter().copied().collect()),
        }
    }
}

/// Bytes on disk; none where the engine cannot say.
pub(super) fn size_of(topic: &Topic) -> Option<u64> {
    topic.partitions.iter().map(|partition| partition.size_bytes).sum()
}

/// What services and consoles tell each other.
pub(super) fn is_of_tidings(topic: &str) -> bool {
    matches!(topic, REPORTS_TOPIC | HISTORY_TOPIC)
}

/// What a service keeps for itself: its shelf, its values by key, commands to it.
pub(super) fn is_kept_by_a_service(topic: &str) -> bool {
    [".changelog", ".control"].iter().any(|end| topic.ends_with(end)) || topic.contains(".state.")
}

fn shows_events(topic: &Topic) -> bool {
    !topic.internal
        && !topic.name.starts_with('_')
        && !is_dead_topic(&topic.name)
        && !is_of_tidings(&topic.name)
}

fn limit(records: usize) -> ReadLimit {
    ReadLimit { records, bytes: EVENT_READ_BYTES, wait: Duration::ZERO }
}

pub(crate) fn now() -> Moment {
    Moment(tidings_gateway::now_ms())
}
