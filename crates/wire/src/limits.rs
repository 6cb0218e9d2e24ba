//! Limits of the codec, with what each protects.

/// List elements of one message, all lists together: bounds what a frame's structs take in memory
/// to some tens of megabytes (Kafka 4.4 refuses lists of more than a million too).
pub const ELEMENTS_PER_MESSAGE_MAX: usize = 1_000_000;
/// Tagged fields of one message, known or not: bounds the work of skipping them.
pub const TAGS_PER_MESSAGE_MAX: usize = 10_000;
/// Byte fields at least this long become a segment of their own instead of being copied. Below it,
/// one more element of a vectored write costs more than the copy.
pub const SPLICED_BYTES_MIN: usize = 1024;
/// Bytes of a string in a version without compact lengths: its length is an `i16`.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;
/// Bytes of the length that precedes a frame.
pub const FRAME_PREFIX_BYTES: usize = 4;

const _: () = assert!(TAGS_PER_MESSAGE_MAX < ELEMENTS_PER_MESSAGE_MAX);
const _: () = assert!(STRING_BYTES_MAX == 32_767);
