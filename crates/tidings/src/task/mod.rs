//! A task: what a service does with one partition of its input, as a value.
//!
//! Records, ends of attempts, commands and the time go in; what to attempt next and what to commit come out. It
//! calls nobody, reads no clock and is not asynchronous, so a test can take it through any order of events.
//!
//! Invariants:
//! 1. Of a key one record is attempted at a time, in the order of the partition; also after it failed, when
//!    the key waits on the [`shelf`] and what follows joins it there, and after its last attempt, when it
//!    waits for a person. Other keys go on meanwhile. Records without a key have no order.
//! 2. A position that is committed says exactly what is done ([`watermark`]): handled, given up, or on the shelf.
//! 3. What [`Task::commit`] hands out belongs into one transaction with the outputs of the attempts that ended
//!    before it; a task whose commit failed is thrown away and restored from the changelog.
//!
//! Limits: [`limits::BUFFERED_RECORDS_MAX`] records in memory, [`limits::PARKED_BYTES_MAX`] on the shelf.

mod breaker;
mod entry;
mod recent;
mod shelf;
#[cfg(test)]
mod tests;
mod values;
mod waiting;
mod watermark;

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use tidings_engine::{Record, SentRecord, TopicPartition};

use crate::{limits, publisher::record_bytes_of, store::Store};

pub(crate) use breaker::{Breaker, Sign};
pub use breaker::{BreakerOptions, Outage};
pub(crate) use entry::Entry;
pub(crate) use recent::{Input, Recent};
pub(crate) use shelf::{Dead, Parked, Shelf, State};
use watermark::Watermark;

pub use watermark::POSITION_TEXT;

/// What keeps its order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Of(Bytes),
    /// A record without a key is alone.
    At(i64),
}

impl Key {
    pub(crate) fn of(record: &Record) -> Self {
        match &record.key {
            Some(key) => Self::Of(key.clone()),
            None => Self::At(record.offset),
        }
    }
}

/// A record to be attempted.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) record: Record,
    /// Failed attempts so far.
    pub(crate) attempts: u32,
    /// Handlers that are done with it.
    pub(crate) finished: Vec<String>,
    redrives: u32,
    from: From,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Input,
    Shelf,
}

/// What became of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every handler is done with it.
    Done,
    /// It failed, and is tried again when it is due.
    Failed { due_ms: i64 },
    /// It failed for the last time.
    Dead(Dead),
    /// It had no turn at a dependency: that was no attempt, and it is next when it is due.
    Later { due_ms: i64 },
    /// It counts for nothing: the record is next again.
    Again,
}

/// What to commit for a partition.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// Position and metadata, unless they are as committed before.
    pub(crate) position: Option<(i64, Option<String>)>,
    /// What to write into the changelog and into the topics of states.
    pub(crate) changelog: Vec<SentRecord>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Task {
    at: TopicPartition,
    changelog: String,
    watermark: Watermark,
    /// Records of keys that are not on the shelf.
    lanes: HashMap<Key, Lane>,
    /// The first record of each lane that is not being attempted.
    ready: BTreeMap<i64, Key>,
    buffered: usize,
    buffered_bytes: usize,
    shelf: Shelf,
    recent: Recent,
    /// The service's states by key, as name and topic; no topic where the partition has none of its values.
    states: Vec<(String, String)>,
    store: Store,
    /// Values since the last commit: the last one of each key.
    kept: BTreeMap<(usize, Bytes), Option<Bytes>>,
    /// Values that there were none of before, of keys whose attempt goes on.
    made: Vec<(usize, Key)>,
    /// What has awaited a value and is to be tried without it, as it will be on the shelf when its key is free. It is in
    /// the changelog already.
    freed: Vec<(i64, Parked)>,
    /// Since the last commit.
    changes: Vec<Entry>,
    committed: (i64, Option<String>),
    /// Where the control topic is read on.
    control: i64,
    /// Records of a key that failed let those after them pass.
    unordered: bool,
}

/// The records of a key, in order.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Record>,
    busy: bool,
}

impl Task {
    /// A task that goes on where the partition's last owner stopped, as committed; [`Task::restore`] follows.
    pub(crate) fn new(
        at: TopicPartition,
        changelog: &str,
        committed: (i64, Option<String>),
    ) -> Self {
        Self {
            at,
            changelog: changelog.to_owned(),
            watermark: Watermark::at(committed.0, committed.1.as_deref()),
            lanes: HashMap::new(),
            ready: BTreeMap::new(),
            buffered: 0,
            buffered_bytes: 0,
            shelf: Shelf::default(),
            recent: Recent::default(),
            states: Vec::new(),
            store: Store::default(),
            kept: BTreeMap::new(),
            made: Vec::new(),
            freed: Vec::new(),
            changes: Vec::new(),
            committed,
            control: 0,
            unordered: false,
        }
    }

    /// Gives up the order of a key when one of its records fails.
    pub(crate) fn unordered(mut self, unordered: bool) -> Self {
        self.unordered = unordered;
        self.shelf = Shelf::of(unordered);
        self
    }

    /// Takes in an entry of the changelog, in the log's order.
    pub(crate) fn restore(&mut self, entry: Entry) {
        match entry {
            Entry::Parked(offset, Some(parked)) => self.shelf.put(offset, *parked),
            Entry::Parked(offset, None) => _ = self.shelf.take(offset),
            Entry::Recent(slot, block) => self.recent.restore(slot, &block),
            Entry::Control(next) => self.control = next,
        }
    }

    pub(crate) fn at(&self) -> &TopicPartition {
        &self.at
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    pub(crate) fn recent(&mut self) -> &mut Recent {
        &mut self.recent
    }

    /// The next command to look at.
    pub(crate) fn control(&self) -> i64 {
        self.control
    }

    /// No more records should be delivered until some are done.
    pub(crate) fn is_full(&self) -> bool {
        self.buffered >= limits::BUFFERED_RECORDS_MAX
            || self.buffered_bytes >= limits::BUFFERED_BYTES_MAX
            || self.shelf.is_full()
    }

    /// It has enough records in memory to probe with.
    pub(crate) fn has_enough(&self) -> bool {
        self.buffered >= limits::BATCH_RECORDS_MAX
    }

    /// Something could be attempted now.
    pub(crate) fn has_ready(&self, now_ms: i64, pause_max_ms: i64) -> bool {
        !self.ready.is_empty() || self.due_ms(now_ms, pause_max_ms).is_some_and(|due| due <= now_ms)
    }

    /// Takes the next record of the partition; true when it shows that the partition's log is not the one that was
    /// read before: it was made anew, or has lost its end. Then the attempts that have not ended are to be dropped:
    /// their records are not in the log any more, or on the shelf, and tried again.
    pub(crate) fn deliver(&mut self, record: Record) -> bool {
        let offset = record.offset;
        let is_anew = self.watermark.is_behind(offset);
        if is_anew {
            self.begin_anew(offset);
        }
        if !self.watermark.deliver(offset) {
            return is_anew;
        }
        if let Some(parked) = self.shelf.get(offset) {
            if is_same(&parked.record, &record) {
                // The group was set back.
                self.watermark.finish(offset);
                return is_anew;
            }
            self.make_room(offset);
        }
        let key = Key::of(&record);
        if !self.unordered && self.shelf.has(&key) {
            self.park_behind(record);
            return is_anew;
        }
        self.buffered += 1;
        self.buffered_bytes += record_bytes_of(&record);
        let lane = self.lanes.entry(key.clone()).or_default();
        if lane.waiting.is_empty() && !lane.busy {
            self.ready.insert(offset, key);
        }
        lane.waiting.push_back(record);
        is_anew
    }

    /// Positions of the former log say nothing of this one, and nothing of it is attempted any more.
    fn begin_anew(&mut self, offset: i64) {
        self.watermark = Watermark::at(offset, None);
        self.committed = (-1, None);
        self.lanes.clear();
        self.ready.clear();
        (self.buffered, self.buffered_bytes) = (0, 0);
        self.shelf.nothing_is_tried();
    }

    /// Another record has the place of one on the shelf, which keeps its order, before all that are to come, under a
    /// number of its own; and is tried on, if it is being tried.
    fn make_room(&mut self, offset: i64) {
        let place = self.shelf.free_place(offset);
        let is_busy = self.shelf.is_tried(offset);
        let Some(mut parked) = self.shelf.take(offset) else { return };
        self.change(Entry::Parked(offset, None));
        parked.record.offset = place;
        self.park(place, parked);
        self.shelf.set_busy(place, is_busy);
    }

    /// Up to there the partition has been read; what is not a record is done.
    pub(crate) fn pass(&mut self, end: i64) {
        self.watermark.pass(end);
    }

    /// When something on the shelf is due. A time further away than any pause, or than a slow redrive is spread, is
    /// a clock that was set back: then it is due now.
    pub(crate) fn due_ms(&self, now_ms: i64, pause_max_ms: i64) -> Option<i64> {
        let (due_ms, offset) = self.shelf.next_due()?;
        let is_spread = |parked: &Parked| parked.redrives > 0 && parked.attempts == 0;
        let spread_ms = i64::try_from(limits::REDRIVE_SPREAD_MAX.as_millis()).unwrap_or(i64::MAX);
        let is_spread = self.shelf.get(offset).is_some_and(is_spread);
        let longest = if is_spread { pause_max_ms.max(spread_ms) } else { pause_max_ms };
        Some(if due_ms.saturating_sub(now_ms) > longest { now_ms } else { due_ms })
    }

    /// What to attempt now: what is due on the shelf, then the oldest record whose key is free.
    pub(crate) fn next(&mut self, now_ms: i64, pause_max_ms: i64) -> Option<Work> {
        if self.due_ms(now_ms, pause_max_ms).is_some_and(|due| due <= now_ms) {
            return self.take_due();
        }
        let (&offset, _) = self.ready.first_key_value()?;
        self.take_ready(offset)
    }

    /// The first one after that offset, if there is one, that could be attempted now.
    pub(crate) fn next_after(
        &mut self,
        offset: i64,
        now_ms: i64,
        pause_max_ms: i64,
    ) -> Option<Work> {
        let due = self.due_ms(now_ms, pause_max_ms).filter(|due| *due <= now_ms);
        if due.and(self.shelf.next_due()).is_some_and(|(_, its)| its > offset) {
            return self.take_due();
        }
        let (&next, _) = self.ready.range(offset.saturating_add(1)..).next()?;
        self.take_ready(next)
    }

    fn take_ready(&mut self, offset: i64) -> Option<Work> {
        if !self.watermark.may_begin(offset) {
            return None;
        }
        let key = self.ready.remove(&offset)?;
        let lane = self.lanes.get_mut(&key)?;
        lane.busy = true;
        let record = lane.waiting.pop_front()?;
        self.watermark.begin(offset);
        Some(Work { record, attempts: 0, finished: Vec::new(), redrives: 0, from: From::Input })
    }

    fn take_due(&mut self) -> Option<Work> {
        let (_, offset) = self.shelf.next_due()?;
        self.shelf.set_busy(offset, true);
        let Parked { record, attempts, finished, redrives, .. } = self.shelf.get(offset)?.clone();
        Some(Work { record, attempts, finished, redrives, from: From::Shelf })
    }

    /// An attempt is over.
    pub(crate) fn ended(&mut self, work: Work, ended: Ended) {
        match work.from {
            From::Input => self.ended_input(work, ended),
            From::Shelf => self.ended_shelf(work, ended),
        }
        self.release_made();
    }

    fn ended_input(&mut self, work: Work, ended: Ended) {
        let (offset, key) = (work.record.offset, Key::of(&work.record));
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.busy = false;
        let state = match ended {
            Ended::Again => {
                lane.waiting.push_front(work.record);
                self.ready.insert(offset, key);
                return;
            }
            Ended::Done => None,
            Ended::Failed { due_ms } => Some((State::Waiting { due_ms }, work.attempts + 1)),
            Ended::Later { due_ms } => Some((State::Waiting { due_ms }, work.attempts)),
            Ended::Dead(dead) => Some((State::Dead(dead), work.attempts + 1)),
        };
        self.buffered -= 1;
        self.buffered_bytes -= record_bytes_of(&work.record);
        self.watermark.finish(offset);
        let Some((state, attempts)) = state else { return self.go_on(key) };
        let Work { record, finished, redrives, .. } = work;
        self.park(offset, Parked { record, attempts, state, finished, redrives });
        if self.unordered {
            return self.go_on(key);
        }
        if self.shelf.has(&key) {
            self.park_followers(&key);
        } else {
            // It is alone.
            self.go_on(key);
        }
    }

    /// What waits in memory joins its key on the shelf.
    fn park_followers(&mut self, key: &Key) {
        let Some(lane) = self.lanes.remove(key) else { return };
        if let Some(first) = lane.waiting.front() {
            self.ready.remove(&first.offset);
        }
        self.buffered -= lane.waiting.len();
        for follower in lane.waiting {
            self.buffered_bytes -= record_bytes_of(&follower);
            self.park_behind(follower);
        }
    }

    /// The key's next record is ready.
    fn go_on(&mut self, key: Key) {
        match self.lanes.get(&key).map(|lane| lane.waiting.front().map(|next| next.offset)) {
            Some(Some(next)) => _ = self.ready.insert(next, key),
            Some(None) => _ = self.lanes.remove(&key),
            None => {}
        }
    }

    fn ended_shelf(&mut self, mut work: Work, ended: Ended) {
        // It may have made room meanwhile for another record.
        let Some(offset) = self.shelf.place_of(&work.record) else { return };
        work.record.offset = offset;
        self.shelf.set_busy(offset, false);
        let state = match ended {
            Ended::Done => {
                self.shelf.take(offset);
                self.change(Entry::Parked(offset, None));
                return;
            }
            Ended::Again => return,
            Ended::Later { due_ms } => return self.put_off(work, due_ms),
            Ended::Failed { due_ms } => State::Waiting { due_ms },
            Ended::Dead(dead) => State::Dead(dead),
        };
        let Work { record, attempts, finished, redrives, .. } = work;
        self.park(offset, Parked { record, attempts: attempts + 1, state, finished, redrives });
    }

    /// A record of a key that is on the shelf joins it.
    fn park_behind(&mut self, record: Record) {
        let offset = record.offset;
        self.watermark.finish(offset);
        let state = State::Waiting { due_ms: 0 };
        self.park(offset, Parked { record, attempts: 0, state, finished: Vec::new(), redrives: 0 });
    }

    /// Lets a dead record be attempted again when it is due, and what follows it. False when it is not dead.
    pub(crate) fn redrive(
        &mut self,
        offset: i64,
        due_ms: i64,
        edit: impl FnOnce(&mut Record),
    ) -> bool {
        let Some(parked) = self.shelf.get(offset).filter(|parked| parked.dead().is_some()) else {
            return false;
        };
        let was_alone = !parked.awaits().is_empty();
        let mut parked = parked.clone();
        edit(&mut parked.record);
        let (state, redrives) = (State::Waiting { due_ms }, parked.redrives.saturating_add(1));
        let parked = Parked { attempts: 0, state, redrives, ..parked };
        if was_alone {
            // Its key may be handled just now.
            self.change(Entry::Parked(offset, Some(Box::new(parked.clone()))));
            self.freed.push((offset, parked));
            self.release_made();
        } else {
            self.park(offset, parked);
        }
        true
    }

    /// Gives a dead record up for good, of which these are the inputs; what follows it goes on. False when it is not
    /// dead.
    pub(crate) fn discard(&mut self, offset: i64, inputs: &dyn Fn(&Record) -> Vec<Input>) -> bool {
        let Some(parked) = self.shelf.get(offset).filter(|parked| parked.dead().is_some()) else {
            return false;
        };
        // Where the position cannot say so, as too much before it is open, it comes again.
        for input in inputs(&parked.record) {
            self.recent.finish(input);
        }
        self.shelf.take(offset);
        self.change(Entry::Parked(offset, None));
        true
    }

    /// The control topic was made anew: every command in it is new.
    pub(crate) fn reset_control(&mut self) {
        self.control = 0;
        self.shelf.reset_control();
    }

    /// The commands before this one are carried out, or not for this task.
    pub(crate) fn set_control(&mut self, next: i64) {
        self.control = next;
        self.change(Entry::Control(next));
    }

    fn park(&mut self, offset: i64, parked: Parked) {
        self.shelf.put(offset, parked.clone());
        self.change(Entry::Parked(offset, Some(Box::new(parked))));
    }

    fn change(&mut self, entry: Entry) {
        self.changes.push(entry);
    }

    /// Whether a commit would say anything new.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
            || !self.kept.is_empty()
            || self.recent.has_new()
            || self.watermark.position() != self.committed.0
    }

    /// What to commit, if anything. Attempts that have not ended are not in it.
    pub(crate) fn commit(&mut self) -> Commit {
        let mut changelog = Vec::new();
        let recent = self.recent.blocks();
        let recent = recent.into_iter().map(|(slot, block)| Entry::Recent(slot, block));
        for entry in self.changes.drain(..).chain(recent) {
            changelog.push(entry.into_record(&self.at, &self.changelog));
        }
        for ((state, key), value) in std::mem::take(&mut self.kept) {
            let Some((_, topic)) = self.states.get(state) else { continue };
            let (topic, partition) = (topic.clone(), Some(self.at.partition));
            let key = Some(key);
            changelog.push(SentRecord { topic, partition, key, value, ..SentRecord::default() });
        }
        let position = (self.watermark.position(), self.watermark.metadata());
        let changed = position != self.committed;
        if changed {
            self.committed = position.clone();
        }
        Commit { position: changed.then_some(position), changelog }
    }
}

/// Whether it is the record that was put aside, and not another that has its place.
fn is_same(one: &Record, other: &Record) -> bool {
    one.timestamp == other.timestamp
        && one.key == other.key
        && one.header("ce_id") == other.header("ce_id")
}
