//! From keys to the last offset of each, in bounded memory.
//!
//! Keys are held as 128-bit hashes: two SipHash-1-3 values of the key, the second with a byte more.
//! A record is dropped wrongly if its key's hash is that of another key with a later record. Among the
//! 3.1 million keys that fit, chance makes such a pair once in 10²⁵ maps (n²/2¹²⁹); Kafka, which does
//! the same with MD5, accepts that too. Who sets out to make one gains nothing: the right to write to a
//! partition already is the right to supersede any key in it.
//!
//! Open addressing with linear steps in a table that doubles up to a given number of places, of which
//! three quarters are used; a place is 24 bytes.

use std::hash::{DefaultHasher, Hasher};

const SLOTS_MIN: usize = 1 << 10;

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: (u64, u64),
    /// -1: free.
    offset: i64,
}

const FREE: Slot = Slot { hash: (0, 0), offset: -1 };

#[derive(Debug)]
pub(super) struct KeyMap {
    /// A power of two of them.
    slots: Vec<Slot>,
    slots_max: usize,
    used: usize,
}

impl KeyMap {
    pub(super) fn new(slots_max: usize) -> Self {
        assert!(slots_max.is_power_of_two(), "the table doubles up to its limit");
        Self { slots: vec![FREE; SLOTS_MIN.min(slots_max)], slots_max, used: 0 }
    }

    /// Notes that `key` is at `offset`, which is later than any noted before; false, and nothing is
    /// noted, when there is no room.
    #[must_use]
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = hash(key);
        let mut at = self.find(hash);
        if self.slots[at].offset < 0 {
            if self.used >= self.slots.len() / 4 * 3 {
                if self.slots.len() >= self.slots_max {
                    return false;
                }
                self.grow();
                at = self.find(hash);
            }
            self.used += 1;
        }
        self.slots[at] = Slot { hash, offset };
        true
    }

    /// The last offset noted for `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<i64> {
        let offset = self.slots[self.find(hash(key))].offset;
        (offset >= 0).then_some(offset)
    }

    /// The place that has `hash`, or the free one where it would go.
    fn find(&self, hash: (u64, u64)) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash.0 as usize & mask;
        while self.slots[at].offset >= 0 && self.slots[at].hash != hash {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let larger = vec![FREE; self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, larger) {
            if slot.offset >= 0 {
                let at = self.find(slot.hash);
                self.slots[at] = slot;
            }
        }
    }
}

fn hash(key: &[u8]) -> (u64, u64) {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    let first = hasher.finish();
    hasher.write(&[0xff]);
    (first, hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_each_key_is_found() {
        let mut map = KeyMap::new(1 << 16);
        for offset in 0..30_000_i64 {
            assert!(map.put(&(offset % 20_000).to_be_bytes(), offset));
        }
        for key in 0..20_000_i64 {
            let last = if key < 10_000 { key + 20_000 } else { key };
            assert_eq!(map.get(&key.to_be_bytes()), Some(last), "{key}");
        }
        assert_eq!(map.get(b""), None);
        assert!(map.put(b"", 30_000));
        assert_eq!(map.get(b""), Some(30_000));
    }

    #[test]
    fn a_full_map_takes_no_new_key_but_later_offsets_of_old_ones() {
        let mut map = KeyMap::new(4);
        let taken: Vec<bool> = (0..5_i64).map(|key| map.put(&[key as u8], key)).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert!(map.put(&[0], 9));
        let found: Vec<Option<i64>> = (0..5).map(|key| map.get(&[key])).collect();
        assert_eq!(found, [Some(9), Some(1), Some(2), None, None]);
    }
}
