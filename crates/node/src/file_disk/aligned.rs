//! Memory that may go to and from a disk without the page cache between.

use std::ops::{Deref, DerefMut};

use tidings_broker::log::BLOCK_BYTES;

/// Zeroed bytes whose first one is at a multiple of [`BLOCK_BYTES`].
pub(super) struct AlignedBuffer {
    room: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    pub(super) fn zeroed(len: usize) -> Self {
        let room = vec![0; len + BLOCK_BYTES - 1];
        let start = room.as_ptr().align_offset(BLOCK_BYTES);
        Self { room, start, len }
    }

    pub(super) fn holding(bytes: &[u8]) -> Self {
        let mut buffer = Self::zeroed(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.room[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.len]
    }
}

/// Whether `bytes` lie where the kernel takes them from without a copy.
pub(crate) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(BLOCK_BYTES)
}
