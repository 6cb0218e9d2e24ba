//! Keys that are put aside: the record that failed, and everything of its key that came after it, in order.
//!
//! Invariants: of a key on the shelf nothing is handled but its first record, one attempt at a time; the first
//! record waits for its time, or is dead and waits for a person; what is on the shelf is in the changelog.
//! When to try again is derived from what is on the shelf; there is no timer beside it.
//!
//! A dead record that awaits a value of its key ([`Dead::awaits`]) is alone: what follows it is not held up, since one of
//! those makes the value.
//!
//! Limit: [`limits::PARKED_BYTES_MAX`] per partition. A partition whose shelf is full is not read on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidings_engine::Record;

use super::{Key, is_same};
use crate::{Id, limits, publisher::record_bytes_of};

/// A record that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) record: Record,
    /// Failed attempts; those of an outage do not count.
    pub(crate) attempts: u32,
    pub(crate) state: State,
    /// The handlers that are done with it.
    pub(crate) finished: Vec<String>,
    /// How often a person has sent it back.
    pub(crate) redrives: u32,
}

/// What the first record of a key waits for. That of others means nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// To be tried when it is time, in milliseconds since the epoch.
    Waiting { due_ms: i64 },
    /// It had its last attempt.
    Dead(Dead),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) since_ms: i64,
    /// How far the control topic had been read: the commands before are not for it.
    pub(crate) control: i64,
    /// Its letters in the dead-letter topic, one for each handler that gave up.
    pub(crate) letters: Vec<Id>,
    pub(crate) cause: String,
    /// The states that its key has no value of, of handlers that wait for one. It is tried again when there is one of
    /// any.
    pub(crate) awaits: Vec<String>,
}

impl Parked {
    pub(super) fn dead(&self) -> Option<&Dead> {
        match &self.state {
            State::Dead(dead) => Some(dead),
            State::Waiting { .. } => None,
        }
    }

    pub(crate) fn awaits(&self) -> &[String] {
        self.dead().map_or(&[], |dead| &dead.awaits)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    records: BTreeMap<i64, Parked>,
    keys: HashMap<Key, BTreeSet<i64>>,
    /// First records that wait and are not being tried, by their time.
    due: BTreeSet<(i64, i64)>,
    /// The same records, by their place.
    waiting: BTreeSet<i64>,
    /// Records that are being tried.
    busy: BTreeSet<i64>,
    bytes: usize,
    dead: usize,
    /// Records that await a value of their key.
    awaiting: BTreeMap<Key, BTreeSet<i64>>,
    /// Each record is a key of its own.
    unordered: bool,
}

impl Shelf {
    pub(crate) fn of(unordered: bool) -> Self {
        Self { unordered, ..Self::default() }
    }

    fn key_of(&self, parked: &Parked) -> Key {
        let is_alone = self.unordered || !parked.awaits().is_empty();
        if is_alone { Key::At(parked.record.offset) } else { Key::of(&parked.record) }
    }

    /// The records of a key that await a value of that state, in order.
    pub(crate) fn awaiting(&self, key: &Key, state: &str) -> Vec<i64> {
        let Some(offsets) = self.awaiting.get(key) else { return Vec::new() };
        let awaits = |offset: &&i64| {
            self.get(**offset).is_some_and(|parked| parked.awaits().iter().any(|its| its == state))
        };
        offsets.iter().filter(awaits).copied().collect()
    }

    /// How many records await a value of their key.
    pub(crate) fn awaiting_any(&self) -> usize {
        self.awaiting.values().map(BTreeSet::len).sum()
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        !self.keys.is_empty() && self.keys.contains_key(key)
    }

    /// Something of the key is being tried.
    pub(crate) fn is_busy(&self, key: &Key) -> bool {
        let offsets = self.keys.get(key);
        offsets.is_some_and(|offsets| offsets.iter().any(|offset| self.busy.contains(offset)))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= limits::PARKED_BYTES_MAX
    }

    /// Records on it.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Keys whose first record is dead.
    pub(crate) fn dead_keys(&self) -> usize {
        self.dead
    }

    pub(crate) fn get(&self, offset: i64) -> Option<&Parked> {
        self.records.get(&offset)
    }

    /// Records that are dead, in order: the first one of its key each, unless keys have no order.
    pub(crate) fn dead(&self) -> impl Iterator<Item = (i64, &Dead)> {
        self.records.iter().filter_map(|(offset, parked)| Some((*offset, parked.dead()?)))
    }

    /// Whatever the control topic holds is for all that are dead.
    pub(crate) fn reset_control(&mut self) {
        for parked in self.records.values_mut() {
            if let State::Dead(dead) = &mut parked.state {
                dead.control = 0;
            }
        }
    }

    /// Records of the same key that come after it.
    pub(crate) fn followers(&self, offset: i64) -> usize {
        let key = self.records.get(&offset).map(|parked| self.key_of(parked));
        let offsets = key.and_then(|key| self.keys.get(&key));
        offsets.map_or(0, |offsets| offsets.range(offset + 1..).count())
    }

    /// Puts a record there, or in the place of what was there.
    pub(crate) fn put(&mut self, offset: i64, parked: Parked) {
        let is_busy = self.busy.contains(&offset);
        self.take(offset);
        if is_busy {
            self.busy.insert(offset);
        }
        let key = self.key_of(&parked);
        self.unlist(&key);
        self.bytes += bytes_of(&parked);
        self.keys.entry(key.clone()).or_default().insert(offset);
        if !parked.awaits().is_empty() {
            self.awaiting.entry(Key::of(&parked.record)).or_default().insert(offset);
        }
        self.records.insert(offset, parked);
        self.list(&key);
    }

    /// Takes a record off the shelf.
    pub(crate) fn take(&mut self, offset: i64) -> Option<Parked> {
        let parked = self.records.get(&offset)?;
        let (key, awaited) = (self.key_of(parked), Key::of(&parked.record));
        self.unlist(&key);
        self.busy.remove(&offset);
        let taken = self.records.remove(&offset);
        self.bytes -= taken.as_ref().map_or(0, bytes_of);
        if let Some(offsets) = self.keys.get_mut(&key) {
            offsets.remove(&offset);
            if offsets.is_empty() {
                self.keys.remove(&key);
            }
        }
        if let Some(offsets) = self.awaiting.get_mut(&awaited) {
            offsets.remove(&offset);
            if offsets.is_empty() {
                self.awaiting.remove(&awaited);
            }
        }
        self.list(&key);
        taken
    }

    /// When the next record is due, and which.
    pub(crate) fn next_due(&self) -> Option<(i64, i64)> {
        self.due.first().copied()
    }

    /// The timestamp of the first of those that wait for their time and not for a person.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        Some(self.records.get(self.waiting.first()?)?.record.timestamp)
    }

    /// A record is tried from now on, or no more.
    pub(crate) fn set_busy(&mut self, offset: i64, busy: bool) {
        let Some(parked) = self.records.get(&offset) else { return };
        let key = self.key_of(parked);
        self.unlist(&key);
        if busy {
            self.busy.insert(offset);
        } else {
            self.busy.remove(&offset);
        }
        self.list(&key);
    }

    /// Nothing is being tried any more.
    pub(crate) fn nothing_is_tried(&mut self) {
        for offset in std::mem::take(&mut self.busy) {
            self.set_busy(offset, false);
        }
    }

    /// The record there is being tried.
    pub(crate) fn is_tried(&self, offset: i64) -> bool {
        self.busy.contains(&offset)
    }

    /// Where a record is now, which was taken from here to be tried: another may have its place.
    pub(crate) fn place_of(&self, record: &Record) -> Option<i64> {
        let its = |(_, parked): &(&i64, &Parked)| is_same(&parked.record, record);
        let here = self.records.get_key_value(&record.offset).filter(its);
        let found = here.or_else(|| self.records.range(..0).find(its));
        found.map(|(offset, _)| *offset)
    }

    /// A number before all offsets, for a record whose place is another's.
    pub(crate) fn free_place(&self, offset: i64) -> i64 {
        let mut place = i64::MIN.saturating_add(offset);
        // A log may have been made anew more than once.
        while self.records.contains_key(&place) {
            place += 1;
        }
        place
    }

    /// The records that await a value of their key, each with the names of the states, in order.
    pub(crate) fn all_awaiting(&self) -> Vec<(i64, Vec<String>)> {
        let named = |offset: &i64| Some((*offset, self.get(*offset)?.awaits().to_vec()));
        let mut all: Vec<_> = self.awaiting.values().flatten().filter_map(named).collect();
        all.sort_unstable();
        all
    }

    fn first(&self, key: &Key) -> Option<(i64, &State)> {
        let offset = *self.keys.get(key)?.first()?;
        Some((offset, &self.records.get(&offset)?.state))
    }

    /// Before a key's records change.
    fn unlist(&mut self, key: &Key) {
        match self.first(key) {
            Some((_, State::Dead(_))) => self.dead -= 1,
            Some((offset, &State::Waiting { due_ms })) => {
                self.due.remove(&(due_ms, offset));
                self.waiting.remove(&offset);
            }
            None => {}
        }
    }

    /// After they have changed.
    fn list(&mut self, key: &Key) {
        match self.first(key) {
            Some((_, State::Dead(_))) => self.dead += 1,
            Some((offset, &State::Waiting { due_ms })) if !self.busy.contains(&offset) => {
                self.due.insert((due_ms, offset));
                self.waiting.insert(offset);
            }
            Some(_) | None => {}
        }
    }
}

fn bytes_of(parked: &Parked) -> usize {
    let cause = match &parked.state {
        State::Dead(dead) => dead.cause.len(),
        State::Waiting { .. } => 0,
    };
    record_bytes_of(&parked.record) + cause + limits::PARKED_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(key: &'static str, offset: i64, state: State) -> Parked {
        let record = Record {
            topic: "orders".into(),
            partition: 3,
            offset,
            timestamp: offset,
            key: Some(key.into()),
            value: Some("{}".into()),
            headers: Vec::new(),
        };
        Parked { record, attempts: 1, state, finished: Vec::new(), redrives: 0 }
    }

    fn waiting(due_ms: i64) -> State {
        State::Waiting { due_ms }
    }

    fn dead() -> State {
        State::Dead(Dead {
            since_ms: 9,
            control: 0,
            letters: vec!["l-1".into()],
            cause: "no".into(),
            awaits: Vec::new(),
        })
    }

    #[test]
    fn only_the_first_of_a_key_is_due_and_not_while_it_is_tried() {
        let mut shelf = Shelf::default();
        for (key, offset, state) in
            [("a", 10, waiting(50)), ("a", 12, waiting(0)), ("b", 11, waiting(40))]
        {
            shelf.put(offset, parked(key, offset, state));
        }
        assert_eq!((shelf.len(), shelf.next_due()), (3, Some((40, 11))));
        assert_eq!(shelf.oldest_ms(), Some(10));
        shelf.set_busy(11, true);
        assert_eq!(shelf.next_due(), Some((50, 10)));
        shelf.put(11, parked("b", 11, waiting(90)));
        assert_eq!(shelf.next_due(), Some((50, 10)), "it is still being tried");
        shelf.set_busy(11, false);
        shelf.take(10).expect("it is there");
        assert_eq!(shelf.next_due(), Some((0, 12)), "the next of its key is due");
        shelf.take(12).expect("it is there");
        assert!(!shelf.has(&Key::Of("a".into())) && shelf.has(&Key::Of("b".into())));
        assert_eq!(shelf.take(12), None);
        shelf.take(11).expect("it is there");
        assert_eq!((shelf.bytes, shelf.len(), shelf.next_due()), (0, 0, None));
        assert_eq!(shelf.oldest_ms(), None);
    }

    #[test]
    fn a_dead_key_waits_for_a_person() {
        let mut shelf = Shelf::default();
        shelf.put(10, parked("a", 10, dead()));
        shelf.put(11, parked("a", 11, waiting(0)));
        assert_eq!((shelf.next_due(), shelf.oldest_ms(), shelf.dead_keys()), (None, None, 1));
        assert_eq!(shelf.dead().map(|(offset, _)| offset).collect::<Vec<_>>(), [10]);
        shelf.put(10, parked("a", 10, waiting(7)));
        assert_eq!((shelf.next_due(), shelf.dead_keys()), (Some((7, 10)), 0));
    }

    #[test]
    fn without_order_each_record_waits_for_itself() {
        let mut shelf = Shelf::of(true);
        shelf.put(10, parked("a", 10, dead()));
        shelf.put(11, parked("a", 11, waiting(7)));
        shelf.put(12, parked("a", 12, dead()));
        assert_eq!((shelf.next_due(), shelf.dead_keys()), (Some((7, 11)), 2));
        assert_eq!(shelf.dead().map(|(offset, _)| offset).collect::<Vec<_>>(), [10, 12]);
        assert_eq!(shelf.followers(10), 0);
    }

    #[test]
    fn a_full_shelf_says_so() {
        let mut shelf = Shelf::default();
        let mut offset = 0;
        while !shelf.is_full() {
            let mut large = parked("a", offset, waiting(0));
            large.record.value = Some(vec![0; 1 << 20].into());
            shelf.put(offset, large);
            offset += 1;
        }
        assert_eq!(offset, 64);
    }
}
