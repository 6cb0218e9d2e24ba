//! Values by key: what a handler keeps of its event's key, and events that wait until their key has a value.

use bytes::Bytes;
use tidings_engine::{Position, TopicPartition};

use super::{Key, Parked, State, Task};
use crate::store::{Store, StoreError};

impl Task {
    /// It keeps values of these states, given as name and topic, there.
    pub(crate) fn keeping(mut self, states: Vec<(String, String)>, store: Store) -> Self {
        self.store = store;
        self.states = states;
        self
    }

    /// The topic of a state; empty where the partition has none of its values.
    pub(crate) fn state_topic(&self, state: usize) -> &str {
        self.states.get(state).map_or("", |(_, topic)| topic)
    }

    /// The numbers of its states, and where their values are in the log.
    pub(crate) fn value_partitions(&self) -> Vec<(usize, TopicPartition)> {
        let its = self.states.iter().enumerate().filter(|(_, (_, topic))| !topic.is_empty());
        let place = |(state, (_, topic)): (usize, &(String, String))| {
            (state, TopicPartition { topic: topic.clone(), ..self.at })
        };
        its.map(place).collect()
    }

    /// All has been restored: what awaits a value that is there goes on, and so does what awaits one of a state that
    /// is not kept for this partition any more, which it would await for ever.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        for (offset, awaits) in self.shelf.all_awaiting() {
            let Some(parked) = self.shelf.get(offset) else { continue };
            let mut comes = false;
            for name in &awaits {
                comes |= match (self.kept_here(name), &parked.record.key) {
                    (Some(state), Some(key)) => self.store.get(state, key)?.is_some(),
                    _ => true,
                };
            }
            if comes {
                let (parked, state) = (parked.clone(), State::Waiting { due_ms: 0 });
                self.park(offset, Parked { attempts: 0, state, ..parked });
            }
        }
        Ok(())
    }

    /// The last commit is in the log; these are its places.
    pub(crate) fn committed(&mut self, positions: &[Position]) -> Result<(), StoreError> {
        self.store.committed(positions)
    }

    /// The number of a state of which the partition has values.
    fn kept_here(&self, name: &str) -> Option<usize> {
        self.states.iter().position(|(its, topic)| its == name && !topic.is_empty())
    }

    /// The values by key.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The values by key, to be restored.
    pub(crate) fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// An attempt that ends has made this the key's value, or that it has none; `is_first` where it had none before.
    pub(crate) fn keep(&mut self, state: usize, key: Bytes, value: Option<Bytes>, is_first: bool) {
        self.store.set(state, &key, value.as_ref());
        if is_first && value.is_some() {
            self.made.push((state, Key::Of(key.clone())));
        }
        self.kept.insert((state, key), value);
    }

    /// Lets what awaited the values that were made since go on, and what a person has freed, of keys of which nothing is
    /// being attempted.
    pub(super) fn release_made(&mut self) {
        for (state, key) in std::mem::take(&mut self.made) {
            if self.is_attempted(&key) {
                self.made.push((state, key));
            } else {
                self.release(state, &key);
            }
        }
        for (offset, parked) in std::mem::take(&mut self.freed) {
            let key = Key::of(&parked.record);
            if self.is_attempted(&key) {
                self.freed.push((offset, parked));
            } else if self.shelf.get(offset).is_some_and(|its| !its.awaits().is_empty()) {
                self.shelf.put(offset, parked);
                self.park_followers(&key);
            }
        }
    }

    fn is_attempted(&self, key: &Key) -> bool {
        self.lanes.get(key).is_some_and(|lane| lane.busy) || self.shelf.is_busy(key)
    }

    /// What has awaited a value of that key is next, and what follows it comes after it.
    fn release(&mut self, state: usize, key: &Key) {
        let Some((name, _)) = self.states.get(state) else { return };
        let awaiting = self.shelf.awaiting(key, name);
        if awaiting.is_empty() {
            return;
        }
        for offset in awaiting {
            let Some(parked) = self.shelf.get(offset).cloned() else { continue };
            let state = State::Waiting { due_ms: 0 };
            self.park(offset, Parked { attempts: 0, state, ..parked });
        }
        self.park_followers(key);
    }
}
