//! The values by key of one partition of a service's input: in memory, or in a store on disk.
//!
//! Invariants: the truth is the state's topic, of which a store is a copy; a store on disk has nothing that was not
//! committed, and says up to where it has the topic, in the same write as the values. Whatever is in doubt about
//! it (another cluster, too old, ahead of the topic) is answered by reading the topic from its beginning.
//!
//! Limits: [`limits::KEYED_BYTES_MAX`] in memory for each state; on disk, what the disk holds.

#[cfg(feature = "disk")]
pub(crate) mod disk;
mod memory;

use std::fmt;

use bytes::Bytes;
use tidings_engine::Position;

pub(crate) use memory::Memory;

/// A store on disk that does not do what it is asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the values of {at} in {folder}: {cause}")]
pub(crate) struct StoreError {
    pub(crate) at: String,
    pub(crate) folder: String,
    pub(crate) cause: String,
}

/// The values of one state.
#[derive(Debug)]
pub(crate) enum Values {
    /// Values of this state belong to other partitions.
    Elsewhere,
    Memory(Memory),
    #[cfg(feature = "disk")]
    Disk(Box<disk::Disk>),
}

/// The values of one partition, by state and key.
#[derive(Default)]
pub(crate) struct Store {
    states: Vec<Values>,
}

impl Store {
    pub(crate) fn of(states: Vec<Values>) -> Self {
        Self { states }
    }

    pub(crate) fn get(&self, state: usize, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.states.get(state) {
            None | Some(Values::Elsewhere) => Ok(None),
            Some(Values::Memory(memory)) => Ok(memory.get(key).cloned()),
            #[cfg(feature = "disk")]
            Some(Values::Disk(disk)) => disk.get(key),
        }
    }

    /// What the state would take with that value, if that is more than it may.
    pub(crate) fn too_much(&self, state: usize, key: &[u8], value: Option<&[u8]>) -> Option<usize> {
        match self.states.get(state)? {
            Values::Memory(memory) => memory.too_much(key, value),
            _ => None,
        }
    }

    /// Sets a value, or takes it away. On disk it is when it has been [committed](Self::committed).
    pub(crate) fn set(&mut self, state: usize, key: &Bytes, value: Option<&Bytes>) {
        match self.states.get_mut(state) {
            None | Some(Values::Elsewhere) => {}
            Some(Values::Memory(memory)) => memory.set(key, value),
            #[cfg(feature = "disk")]
            Some(Values::Disk(disk)) => disk.set(key, value),
        }
    }

    /// Where a state's topic is to be read from, which ends there.
    pub(crate) fn restores_from(&mut self, state: usize, end: i64) -> Result<i64, StoreError> {
        match self.states.get_mut(state) {
            #[cfg(feature = "disk")]
            Some(Values::Disk(disk)) => disk.restores_from(end),
            _ => {
                let _ = end;
                Ok(0)
            }
        }
    }

    /// Takes in a record of a state's topic, in the log's order. What goes wrong is told at the end.
    pub(crate) fn restore(&mut self, state: usize, key: &Bytes, value: Option<&Bytes>) {
        match self.states.get_mut(state) {
            None | Some(Values::Elsewhere) => {}
            Some(Values::Memory(memory)) => memory.set(key, value),
            #[cfg(feature = "disk")]
            Some(Values::Disk(disk)) => disk.restore(key, value),
        }
    }

    /// Everything before that offset of the state's topic has been taken in.
    pub(crate) fn restored(&mut self, state: usize, next: i64) -> Result<(), StoreError> {
        match self.states.get_mut(state) {
            #[cfg(feature = "disk")]
            Some(Values::Disk(disk)) => disk.restored(next),
            _ => {
                let _ = next;
                Ok(())
            }
        }
    }

    /// What was set is in the log, at these places among others.
    pub(crate) fn committed(&mut self, positions: &[Position]) -> Result<(), StoreError> {
        #[cfg(feature = "disk")]
        for values in &mut self.states {
            if let Values::Disk(disk) = values {
                disk.committed(positions)?;
            }
        }
        let _ = positions;
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.states).finish()
    }
}
