//! Writing messages as segments.
//!
//! Invariants: a byte field, or a piece of one, of [`SPLICED_BYTES_MIN`] bytes or more is handed on as the `Bytes` it
//! came as, never copied; the first error (a null or a length that the version cannot say) makes
//! the whole message fail in [`Writer::finish`], so the generated code stays straight.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::limits::{FRAME_PREFIX_BYTES, SPLICED_BYTES_MIN, STRING_BYTES_MAX};
use crate::{Pieces, Wire};

/// Why a message cannot be written in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("{field} may not be null in version {version}")]
    Null { field: &'static str, version: i16 },
    #[error("{length} bytes or elements are more than a length of this version can say")]
    TooLong { length: usize },
}

/// What has been written so far.
#[derive(Debug)]
pub struct Writer {
    segments: Vec<Bytes>,
    current: BytesMut,
    flexible: bool,
    failed: Option<EncodeError>,
}

impl Writer {
    /// Starts empty; `flexible` as in [`crate::Reader::set_flexible`].
    pub fn new(flexible: bool) -> Self {
        Self { segments: Vec::new(), current: BytesMut::new(), flexible, failed: None }
    }

    /// Starts a frame: room for its length, and not flexible yet.
    pub fn frame() -> Self {
        let mut w = Self::new(false);
        w.current.put_slice(&[0; FRAME_PREFIX_BYTES]);
        w
    }

    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum::<usize>() + self.current.len()
    }

    /// The message as segments in order.
    pub fn finish(mut self) -> Result<Vec<Bytes>, EncodeError> {
        self.cut();
        match self.failed {
            None => Ok(self.segments),
            Some(error) => Err(error),
        }
    }

    /// Ends a frame that [`Writer::frame`] began: its length goes to the front.
    pub fn finish_frame(mut self) -> Result<Vec<Bytes>, EncodeError> {
        let length = self.written() - FRAME_PREFIX_BYTES;
        let prefix = i32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        self.cut();
        if let Some(first) = self.segments.first_mut() {
            let mut bytes = BytesMut::from(std::mem::take(first));
            bytes[..FRAME_PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
            *first = bytes.freeze();
        }
        self.finish()
    }

    fn cut(&mut self) {
        if !self.current.is_empty() {
            self.segments.push(self.current.split().freeze());
        }
    }

    fn fail(&mut self, error: EncodeError) {
        self.failed.get_or_insert(error);
    }

    pub fn bool(&mut self, value: bool) {
        self.i8(i8::from(value));
    }

    pub fn i8(&mut self, value: i8) {
        self.current.put_i8(value);
    }

    pub fn i16(&mut self, value: i16) {
        self.current.put_i16(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.current.put_u16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.current.put_i32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.current.put_i64(value);
    }

    pub fn f64(&mut self, value: f64) {
        self.current.put_f64(value);
    }

    pub fn uuid(&mut self, value: &[u8; 16]) {
        self.current.put_slice(value);
    }

    pub fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.current.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.current.put_u8(value as u8);
    }

    /// A length, where null is -1, or 0 when compact.
    fn length(&mut self, length: Option<usize>, short: bool) {
        let max = if short && !self.flexible { STRING_BYTES_MAX } else { i32::MAX as usize - 1 };
        if let Some(length) = length.filter(|length| *length > max) {
            return self.fail(EncodeError::TooLong { length });
        }
        match (self.flexible, short) {
            (true, _) => self.varint(length.map_or(0, |length| length as u32 + 1)),
            (false, true) => self.i16(length.map_or(-1, |length| length as i16)),
            (false, false) => self.i32(length.map_or(-1, |length| length as i32)),
        }
    }

    pub fn string(&mut self, value: &str) {
        self.nullable_string(Some(value));
    }

    pub fn nullable_string(&mut self, value: Option<&str>) {
        self.length(value.map(str::len), true);
        self.current.put_slice(value.unwrap_or_default().as_bytes());
    }

    pub fn bytes(&mut self, value: &Bytes) {
        self.nullable_bytes(Some(value));
    }

    pub fn nullable_bytes(&mut self, value: Option<&Bytes>) {
        self.length(value.map(Bytes::len), false);
        if let Some(bytes) = value {
            self.put_bytes(bytes);
        }
    }

    pub fn pieces(&mut self, value: &Pieces) {
        self.nullable_pieces(Some(value));
    }

    pub fn nullable_pieces(&mut self, value: Option<&Pieces>) {
        self.length(value.map(Pieces::len), false);
        for piece in value.into_iter().flat_map(Pieces::iter) {
            self.put_bytes(piece);
        }
    }

    /// Long bytes by reference, short ones copied.
    fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() >= SPLICED_BYTES_MIN {
            self.cut();
            self.segments.push(bytes.clone());
        } else {
            self.current.put_slice(bytes);
        }
    }

    pub fn nullable_struct<T: Wire>(&mut self, value: Option<&T>, version: i16) {
        self.i8(if value.is_some() { 1 } else { -1 });
        if let Some(value) = value {
            value.encode(self, version);
        }
    }

    pub fn list<T: Wire>(&mut self, value: &[T], version: i16) {
        self.nullable_list(Some(value), version);
    }

    pub fn nullable_list<T: Wire>(&mut self, value: Option<&[T]>, version: i16) {
        self.length(value.map(<[T]>::len), false);
        for element in value.unwrap_or_default() {
            element.encode(self, version);
        }
    }

    /// The value of a field that may be null in other versions, but not in this one.
    pub fn not_null<'a, T: ?Sized>(
        &mut self,
        value: Option<&'a T>,
        field: &'static str,
        version: i16,
    ) -> Option<&'a T> {
        if value.is_none() {
            self.fail(EncodeError::Null { field, version });
        }
        value
    }

    /// Ends a struct that has no tagged fields to write.
    pub fn no_tags(&mut self) {
        if self.flexible {
            self.varint(0);
        }
    }

    /// Ends a struct with its tagged fields.
    pub fn tags(&mut self, tags: Tags) {
        if !self.flexible {
            return;
        }
        self.varint(tags.count);
        if let Some(error) = tags.fields.failed {
            self.fail(error);
        }
        for segment in tags.fields.segments.iter().chain([&tags.fields.current.freeze()]) {
            self.current.put_slice(segment);
        }
    }
}

/// The tagged fields of one struct, in ascending order.
#[derive(Debug)]
pub struct Tags {
    count: u32,
    fields: Writer,
}

impl Tags {
    #[expect(
        clippy::new_without_default,
        reason = "an empty set of tags is no default of anything"
    )]
    pub fn new() -> Self {
        Self { count: 0, fields: Writer::new(true) }
    }

    /// Adds a field, written by `value`.
    pub fn field(&mut self, tag: u32, value: impl FnOnce(&mut Writer)) {
        let mut field = Writer::new(true);
        value(&mut field);
        self.count += 1;
        self.fields.varint(tag);
        self.fields.varint(field.written() as u32);
        match field.finish() {
            Ok(segments) => segments.iter().for_each(|bytes| self.fields.current.put_slice(bytes)),
            Err(error) => self.fields.fail(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_byte_fields_are_handed_on_without_a_copy() {
        let batch = Bytes::from(vec![7u8; SPLICED_BYTES_MIN]);
        let mut w = Writer::new(false);
        w.i16(1);
        w.bytes(&batch);
        w.bytes(&Bytes::from_static(b"short"));
        let segments = w.finish().unwrap();
        assert_eq!(segments.len(), 3);
        assert_eq!(segments[1].as_ptr(), batch.as_ptr());
        assert_eq!(&segments[0][..], [0, 1, 0, 0, 4, 0]);
        assert_eq!(&segments[2][..], b"\0\0\0\x05short");
    }

    #[test]
    fn long_pieces_are_handed_on_and_short_ones_gathered() {
        let long = Bytes::from(vec![7u8; SPLICED_BYTES_MIN]);
        let short = Bytes::from_static(b"ab");
        let pieces = vec![short.clone(), short.clone(), long.clone(), short.clone(), short];
        let mut w = Writer::new(false);
        w.pieces(&pieces.into());
        let segments = w.finish().unwrap();
        assert_eq!(segments.len(), 3);
        assert_eq!(&segments[0][..], b"\0\0\x04\x08abab");
        assert_eq!(segments[1].as_ptr(), long.as_ptr());
        assert_eq!(segments[2], "abab");
    }

    #[test]
    fn what_a_version_cannot_say_fails_the_message() {
        let long = "x".repeat(STRING_BYTES_MAX + 1);
        let mut legacy = Writer::new(false);
        legacy.string(&long);
        legacy.i32(1);
        assert_eq!(legacy.finish(), Err(EncodeError::TooLong { length: STRING_BYTES_MAX + 1 }));
        let mut compact = Writer::new(true);
        compact.string(&long);
        assert_eq!(compact.finish().unwrap()[0].len(), 3 + STRING_BYTES_MAX + 1);
        let mut null = Writer::new(false);
        assert_eq!(null.not_null::<str>(None, "name", 3), None);
        assert_eq!(null.finish(), Err(EncodeError::Null { field: "name", version: 3 }));
    }
}
