//! The inputs that a task has finished last, so that an event that is in its input twice is handled once.
//!
//! They are written with each commit as one block of digests, into one of [`limits::RECENT_SLOTS`]: the
//! compacted changelog keeps the last block of each, and never grows. A block holds
//! [`limits::RECENT_BLOCK_MIN`] to [`limits::RECENT_BLOCK_MAX`] inputs, so that many times the slots are remembered; an
//! older one that comes again is handled again.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits;

const DIGEST_BYTES: usize = 16;

/// One input of one handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Input(u128);

impl Input {
    pub(crate) fn of(input_id: &str, handler: &str) -> Self {
        Self(u128::from_be_bytes(crate::id::digest(&[input_id, handler])))
    }
}

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// The number of the block of each.
    inputs: HashMap<Input, u32>,
    /// The block that each slot holds, with its number.
    slots: HashMap<u32, (u32, Vec<Input>)>,
    /// Finished and in no block.
    new: Vec<Input>,
    next: u32,
}

impl Recent {
    pub(crate) fn has(&self, input: Input) -> bool {
        self.inputs.contains_key(&input)
    }

    pub(crate) fn finish(&mut self, input: Input) {
        if self.inputs.insert(input, self.next).is_none() {
            self.new.push(input);
        }
    }

    pub(crate) fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// The blocks that say what was finished since the last time, with their slots. A block that is small is
    /// written again with more in it.
    pub(crate) fn blocks(&mut self) -> Vec<(u32, Bytes)> {
        let mut blocks = Vec::new();
        let mut new = std::mem::take(&mut self.new).into_iter().peekable();
        while new.peek().is_some() {
            let slot = self.next % limits::RECENT_SLOTS;
            let mut inputs = match self.slots.remove(&slot) {
                Some((order, inputs)) if order == self.next => inputs,
                Some((_, old)) => {
                    self.forget(&old);
                    Vec::new()
                }
                None => Vec::new(),
            };
            let order = self.next;
            for input in new.by_ref().take(limits::RECENT_BLOCK_MAX - inputs.len()) {
                self.inputs.insert(input, order);
                inputs.push(input);
            }
            let mut block = BytesMut::with_capacity(8 + inputs.len() * DIGEST_BYTES);
            // The order of blocks: the newest is known from them alone.
            block.put_u64(u64::from(order));
            for input in &inputs {
                block.put_u128(input.0);
            }
            if inputs.len() >= limits::RECENT_BLOCK_MIN {
                self.next = order.wrapping_add(1);
            }
            self.slots.insert(slot, (order, inputs));
            blocks.push((slot, block.freeze()));
        }
        blocks
    }

    /// A block as read from the changelog.
    pub(crate) fn restore(&mut self, slot: u32, block: &[u8]) {
        let Some((order, digests)) = block.split_first_chunk::<8>() else { return };
        let Ok(order) = u32::try_from(u64::from_be_bytes(*order)) else { return };
        let digests = digests.chunks_exact(DIGEST_BYTES).filter_map(|one| one.try_into().ok());
        let inputs: Vec<Input> = digests.map(|one| Input(u128::from_be_bytes(one))).collect();
        if let Some((_, old)) = self.slots.remove(&slot) {
            self.forget(&old);
        }
        self.inputs.extend(inputs.iter().map(|input| (*input, order)));
        let is_full = inputs.len() >= limits::RECENT_BLOCK_MIN;
        self.next = self.next.max(order.wrapping_add(u32::from(is_full)));
        self.slots.insert(slot, (order, inputs));
    }

    fn forget(&mut self, inputs: &[Input]) {
        for input in inputs {
            self.inputs.remove(input);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(n: u32) -> Input {
        Input::of(&n.to_string(), "h")
    }

    #[test]
    fn an_input_is_finished_for_one_handler() {
        let mut recent = Recent::default();
        assert!(!recent.has(input(1)));
        recent.finish(input(1));
        assert!(recent.has(input(1)));
        assert!(!recent.has(Input::of("1", "other")));
    }

    #[test]
    fn the_oldest_blocks_are_forgotten_here_and_in_the_changelog() {
        let mut recent = Recent::default();
        let mut changelog = HashMap::new();
        let least = u32::try_from(limits::RECENT_BLOCK_MIN).expect("small");
        // Two commits for each block, and three blocks more than there are slots.
        let count = least * (limits::RECENT_SLOTS + 3);
        for n in 0..count {
            recent.finish(input(n));
            recent.finish(input(n));
            if (n + 1) % (least / 2) == 0 {
                changelog.extend(recent.blocks());
            }
        }
        assert_eq!(recent.blocks(), []);
        assert_eq!(changelog.len(), limits::RECENT_SLOTS as usize);
        let mut restored = Recent::default();
        for (slot, block) in &changelog {
            restored.restore(*slot, block);
        }
        for n in 0..count {
            let is_known = n >= 3 * least;
            assert_eq!((recent.has(input(n)), restored.has(input(n))), (is_known, is_known), "{n}");
        }
        assert_eq!(restored.next, recent.next);
        restored.restore(0, b"short");
    }

    #[test]
    fn many_at_once_go_into_several_blocks() {
        let mut recent = Recent::default();
        let most = u32::try_from(limits::RECENT_BLOCK_MAX).expect("small");
        for n in 0..=most {
            recent.finish(input(n));
        }
        let blocks = recent.blocks();
        let sizes: Vec<usize> = blocks.iter().map(|(_, block)| block.len()).collect();
        assert_eq!(sizes, [8 + 16 * limits::RECENT_BLOCK_MAX, 24]);
        let mut restored = Recent::default();
        for (slot, block) in &blocks {
            restored.restore(*slot, block);
        }
        assert!((0..=most).all(|n| restored.has(input(n))));
        restored.finish(input(most + 1));
        assert_eq!(restored.blocks()[0].0, blocks[1].0, "a small block is filled up");
    }
}
