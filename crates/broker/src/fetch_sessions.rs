//! Fetch sessions (KIP-227): what each client fetches and what it was told, so that fetches and answers
//! say only what has changed.
//!
//! Of each session it is known which partitions may have *news*: those that came or were changed by
//! the client, whose log moved since they were looked at, that had something left, or failed. A
//! fetch looks at these alone, so one of a thousand quiet partitions costs what an empty one does.
//! Partitions are looked at in turn; one that gave records goes to the end.
//!
//! Invariants: a partition that is not among the news has nothing to tell; every partition with a
//! log is in `readers`; `partitions` counts those of all sessions.
//! Limits: [`SessionLimits`]. Which session goes for another is Kafka's rule, see [`FetchSessions::make_room`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidings_log::LogId;

use crate::limits::{self, KeptLimits};
use crate::{FetchPartition, FetchSessionRefused, TopicId, TopicName};

#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    pub(crate) sessions: usize,
    pub(crate) partitions: usize,
    pub(crate) eviction_ms: u64,
}

impl SessionLimits {
    pub(crate) fn of(kept: &KeptLimits) -> Self {
        Self {
            sessions: limits::FETCH_SESSIONS_MAX,
            partitions: kept.fetch_session_partitions_max,
            eviction_ms: limits::FETCH_SESSION_EVICTION_MS,
        }
    }
}

/// A partition's place in its session.
pub(crate) type Slot = u32;

#[derive(Debug)]
pub(crate) struct FetchSessions {
    limits: SessionLimits,
    sessions: BTreeMap<i32, Session>,
    readers: BTreeMap<LogId, BTreeSet<(i32, Slot)>>,
    /// By the moment of their last fetch.
    by_use: BTreeSet<(u64, i32)>,
    /// By size: those that a larger one may take the place of.
    evictable: BTreeSet<(usize, i32)>,
    partitions: usize,
}

#[derive(Debug)]
pub(crate) struct Session {
    by_id: bool,
    /// Of the next fetch.
    epoch: i32,
    created_ms: u64,
    used_ms: u64,
    /// As it is counted in the sums.
    size: usize,
    slots: Vec<Option<SessionPart>>,
    free: Vec<Slot>,
    index: BTreeMap<(TopicName, i32), Slot>,
    /// Partitions that may have something to tell, by turn.
    news: BTreeMap<u64, Slot>,
    next_turn: u64,
    /// The names that ids stood for when they were last found.
    names: BTreeMap<TopicId, Arc<str>>,
    /// The fetch that waits for data.
    waiting: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct SessionPart {
    pub(crate) wanted: FetchPartition,
    pub(crate) log: Option<LogId>,
    /// High watermark and start offset as the client knows them.
    pub(crate) told: Option<(i64, i64)>,
    turn: u64,
}

/// What a fetch's answer said of a partition, or that it has nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: it is not in the answer, and has no news.
    Nothing,
    /// Records, and where the log is.
    Records { offsets: (i64, i64) },
    /// Where the log is. There is more to be said the next time, or not.
    Offsets { offsets: (i64, i64), more: bool },
    /// Something that is wrong, again each time.
    Wrong,
}

/// A session that has ended, and the fetch that waited in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) id: i32,
    pub(crate) waiting: Option<u64>,
}

impl FetchSessions {
    pub(crate) fn new(limits: SessionLimits) -> Self {
        Self {
            limits,
            sessions: BTreeMap::new(),
            readers: BTreeMap::new(),
            by_use: BTreeSet::new(),
            evictable: BTreeSet::new(),
            partitions: 0,
        }
    }

    pub(crate) fn get(&self, id: i32) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// Begins the session `id`, which must be new, in place of `evicted` if it has to; false when there
    /// is no room for it.
    pub(crate) fn begin(
        &mut self,
        now_ms: u64,
        id: i32,
        by_id: bool,
        parts: Vec<FetchPartition>,
        evicted: &mut Option<Ended>,
    ) -> bool {
        if !parts.iter().all(may_be_kept) {
            return false;
        }
        let mut session = Session::new(now_ms, by_id);
        parts.into_iter().for_each(|part| session.put(part));
        let size = session.len();
        if size == 0 || !self.make_room(now_ms, size, evicted) {
            return false;
        }
        self.sessions.insert(id, session);
        self.touch(now_ms, id);
        true
    }

    /// Whether a session of this size may begin. Where there is no room, the one that was not used for
    /// longest goes if that is long ago, or else the smallest of those that are old, if it is smaller.
    fn make_room(&mut self, now_ms: u64, size: usize, evicted: &mut Option<Ended>) -> bool {
        let fits = |all: &Self| {
            let without = all.partitions + size <= all.limits.partitions;
            all.sessions.len() < all.limits.sessions && without
        };
        if fits(self) {
            return true;
        }
        let stale = self
            .by_use
            .first()
            .filter(|(used_ms, _)| now_ms.saturating_sub(*used_ms) > self.limits.eviction_ms);
        let smaller = self.evictable.first().filter(|(other, _)| *other < size);
        let Some(goes) = stale.map(|(_, id)| *id).or(smaller.map(|(_, id)| *id)) else {
            return false;
        };
        *evicted = self.end(goes);
        fits(self)
    }

    /// Takes up the next fetch of a session: what it changes. Returns the fetch that waited in it, which
    /// this one outdates, and whether anything is left in the session.
    pub(crate) fn resume(
        &mut self,
        now_ms: u64,
        (id, epoch): (i32, i32),
        by_id: bool,
        changed: Vec<FetchPartition>,
        forgotten: &[(TopicName, i32)],
    ) -> Result<Resumed, FetchSessionRefused> {
        let session = self.sessions.get_mut(&id).ok_or(FetchSessionRefused::NotFound(id))?;
        if session.epoch != epoch {
            let expected = session.epoch;
            return Err(FetchSessionRefused::WrongEpoch { expected, got: epoch });
        }
        if session.by_id != by_id {
            return Err(FetchSessionRefused::MixedNames);
        }
        if !changed.iter().all(may_be_kept) {
            // It begins anew, and is answered in full.
            self.end(id);
            return Err(FetchSessionRefused::NotFound(id));
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        changed.into_iter().for_each(|part| session.put(part));
        let gone: Vec<_> = forgotten.iter().filter_map(|key| session.take(key)).collect();
        let (size, counted) = (session.len(), session.size);
        let outdated = session.waiting.take();
        for (slot, part) in gone {
            if let Some(log) = part.log {
                self.forget_reader(log, (id, slot));
            }
        }
        let too_many = self.partitions - counted + size > self.limits.partitions;
        if size == 0 || too_many {
            self.end(id);
            let refused = Err(FetchSessionRefused::NotFound(id));
            return if too_many { refused } else { Ok(Resumed { outdated, ended: true }) };
        }
        self.touch(now_ms, id);
        Ok(Resumed { outdated, ended: false })
    }

    pub(crate) fn end(&mut self, id: i32) -> Option<Ended> {
        let session = self.sessions.remove(&id)?;
        self.by_use.remove(&(session.used_ms, id));
        self.evictable.remove(&(session.size, id));
        self.partitions -= session.size;
        for (slot, part) in (0..).zip(&session.slots) {
            if let Some(log) = part.as_ref().and_then(|part| part.log) {
                self.forget_reader(log, (id, slot));
            }
        }
        Some(Ended { id, waiting: session.waiting })
    }

    fn touch(&mut self, now_ms: u64, id: i32) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        self.by_use.remove(&(session.used_ms, id));
        self.evictable.remove(&(session.size, id));
        self.partitions -= session.size;
        session.used_ms = now_ms;
        session.size = session.len();
        self.partitions += session.size;
        self.by_use.insert((now_ms, id));
        if now_ms.saturating_sub(session.created_ms) > self.limits.eviction_ms {
            self.evictable.insert((session.size, id));
        }
    }

    fn forget_reader(&mut self, log: LogId, reader: (i32, Slot)) {
        if let Some(readers) = self.readers.get_mut(&log) {
            readers.remove(&reader);
            if readers.is_empty() {
                self.readers.remove(&log);
            }
        }
    }

    /// What a log shows has changed, or the log is gone: its readers have news.
    pub(crate) fn note(&mut self, log: LogId) {
        for (id, slot) in self.readers.get(&log).into_iter().flatten() {
            if let Some(session) = self.sessions.get_mut(id) {
                session.has_news(*slot);
            }
        }
    }

    /// [`Self::note`] for all of these; returns the fetches that wait for any of them.
    pub(crate) fn moved(&mut self, logs: &[LogId]) -> BTreeSet<u64> {
        let mut waiting = BTreeSet::new();
        for log in logs {
            self.note(*log);
            let readers = self.readers.get(log).into_iter().flatten();
            waiting.extend(readers.filter_map(|(id, _)| self.sessions.get(id)?.waiting));
        }
        waiting
    }

    /// The partition's log was found.
    pub(crate) fn found(&mut self, id: i32, slot: Slot, log: Option<LogId>, name: Option<&str>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(part) = session.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let before = std::mem::replace(&mut part.log, log);
        if let (TopicName::Id(topic), Some(name)) = (&part.wanted.topic, name)
            && session.names.get(topic).is_none_or(|known| **known != *name)
        {
            session.names.insert(*topic, Arc::from(name));
        }
        if let Some(before) = before {
            self.forget_reader(before, (id, slot));
        }
        if let Some(log) = log {
            self.readers.entry(log).or_default().insert((id, slot));
        }
    }

    /// What an answer said.
    pub(crate) fn tell(&mut self, id: i32, told: &[(Slot, Told)]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for (slot, told) in told {
            session.tell(*slot, *told);
        }
    }

    /// A fetch of the session waits, or waits no more.
    pub(crate) fn set_waiting(&mut self, id: i32, waiting: Option<u64>) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.waiting = waiting;
        }
    }
}

/// Whether a partition's topic has a name that a topic can have; others are no matter of memory.
fn may_be_kept(part: &FetchPartition) -> bool {
    match &part.topic {
        TopicName::Name(name) => name.len() <= limits::TOPIC_NAME_BYTES_MAX,
        TopicName::Id(_) => true,
    }
}

/// What the next fetch of a session found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resumed {
    pub(crate) outdated: Option<u64>,
    /// No partitions are left, and so no session.
    pub(crate) ended: bool,
}

impl Session {
    fn new(now_ms: u64, by_id: bool) -> Self {
        Self {
            by_id,
            epoch: 1,
            created_ms: now_ms,
            used_ms: now_ms,
            size: 0,
            slots: Vec::new(),
            free: Vec::new(),
            index: BTreeMap::new(),
            news: BTreeMap::new(),
            next_turn: 0,
            names: BTreeMap::new(),
            waiting: None,
        }
    }

    fn len(&self) -> usize {
        self.index.len()
    }

    /// The partitions that may have something to tell, in turn.
    pub(crate) fn news(&self) -> impl Iterator<Item = (Slot, &SessionPart)> {
        self.news.values().filter_map(|slot| Some((*slot, self.part(*slot)?)))
    }

    fn part(&self, slot: Slot) -> Option<&SessionPart> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The name that a topic's id stood for when it was last found.
    pub(crate) fn name_of(&self, topic: &TopicId) -> Option<&str> {
        self.names.get(topic).map(|name| &**name)
    }

    /// Adds a partition, or changes what is wanted of it.
    fn put(&mut self, wanted: FetchPartition) {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(slot) = self.index.get(&key).copied() {
            if let Some(part) = &mut self.slots[slot as usize] {
                part.wanted = wanted;
            }
            return self.has_news(slot);
        }
        let turn = self.turn();
        let part = Some(SessionPart { wanted, log: None, told: None, turn });
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = part;
                slot
            }
            None => {
                self.slots.push(part);
                Slot::try_from(self.slots.len() - 1).expect("a request has fewer partitions")
            }
        };
        self.index.insert(key, slot);
        self.news.insert(turn, slot);
    }

    fn take(&mut self, key: &(TopicName, i32)) -> Option<(Slot, SessionPart)> {
        let slot = self.index.remove(key)?;
        let part = self.slots[slot as usize].take()?;
        self.news.remove(&part.turn);
        self.free.push(slot);
        Some((slot, part))
    }

    fn turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    fn has_news(&mut self, slot: Slot) {
        if let Some(turn) = self.part(slot).map(|part| part.turn) {
            self.news.insert(turn, slot);
        }
    }

    fn tell(&mut self, slot: Slot, told: Told) {
        let last = self.turn();
        let Some(part) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        match told {
            Told::Nothing => {
                self.news.remove(&part.turn);
            }
            Told::Records { offsets } => {
                part.told = Some(offsets);
                self.news.remove(&part.turn);
                part.turn = last;
                self.news.insert(last, slot);
            }
            Told::Offsets { offsets, more } => {
                part.told = Some(offsets);
                if !more {
                    self.news.remove(&part.turn);
                }
            }
            Told::Wrong => part.told = None,
        }
    }
}
