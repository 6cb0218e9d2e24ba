//! Values in memory, counted.

use std::{collections::HashMap, fmt};

use bytes::Bytes;

use crate::limits;

/// The values of a state.
#[derive(Default)]
pub(crate) struct Memory {
    values: HashMap<Bytes, Bytes>,
    bytes: usize,
}

impl Memory {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.values.get(key)
    }

    pub(super) fn too_much(&self, key: &[u8], value: Option<&[u8]>) -> Option<usize> {
        let value = value?;
        let former = self.get(key).map_or(0, |former| bytes_of(key, former));
        let wanted = (self.bytes + bytes_of(key, value)).saturating_sub(former);
        (wanted > limits::KEYED_BYTES_MAX && bytes_of(key, value) > former).then_some(wanted)
    }

    pub(super) fn set(&mut self, key: &Bytes, value: Option<&Bytes>) {
        let former = match value {
            Some(value) => {
                self.bytes += bytes_of(key, value);
                self.values.insert(key.clone(), value.clone())
            }
            None => self.values.remove(key),
        };
        self.bytes -= former.map_or(0, |former| bytes_of(key, &former));
    }
}

fn bytes_of(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + limits::KEYED_OVERHEAD_BYTES
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.values.len();
        f.debug_struct("Memory").field("keys", &keys).field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_what_it_holds_and_says_when_it_is_full() {
        let mut values = Memory::default();
        let (key, large) = (Bytes::from("k"), Bytes::from(vec![b'x'; limits::KEYED_BYTES_MAX / 2]));
        values.set(&key, Some(&"1".into()));
        values.set(&key, Some(&"22".into()));
        assert_eq!(values.bytes, 3 + limits::KEYED_OVERHEAD_BYTES);
        assert_eq!(values.too_much(b"a", Some(&large)), None);
        values.set(&"a".into(), Some(&large));
        assert!(values.too_much(b"b", Some(&large)).is_some());
        assert_eq!(values.too_much(b"a", Some(&large)), None, "it takes the former's place");
        assert_eq!(values.too_much(b"a", None), None);
        values.set(&"a".into(), None);
        values.set(&key, None);
        assert_eq!((values.get(&key), values.bytes), (None, 0));
    }
}
