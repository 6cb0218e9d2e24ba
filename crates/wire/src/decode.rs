//! Reading messages from a frame.
//!
//! Invariants: nothing is allocated for a length or count before it has been checked against the
//! bytes that remain; a list of `n` structs needs `n` times the struct's smallest encoding, so what
//! a lying frame can make us allocate stays below a small multiple of its size. Byte fields are
//! slices of the frame and keep it alive; strings are owned. Limits: [`crate::limits`].

use bytes::Bytes;
use thiserror::Error;

use crate::Pieces;
use crate::limits::{ELEMENTS_PER_MESSAGE_MAX, TAGS_PER_MESSAGE_MAX};

/// Where and why a frame could not be read. `at` counts from the start of the frame, after its
/// length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{problem} at byte {at}")]
pub struct DecodeError {
    pub at: usize,
    pub problem: Problem,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("{wanted} bytes wanted, {remaining} remain")]
    Truncated { wanted: usize, remaining: usize },
    #[error("negative length {0}")]
    NegativeLength(i32),
    #[error("null where none is allowed")]
    Null,
    #[error("text is not UTF-8")]
    NotUtf8,
    #[error("varint longer than 32 bits")]
    VarintTooLong,
    #[error("tagged fields not in ascending order")]
    TagOrder,
    #[error("more list elements or tagged fields than one message may have")]
    TooMany,
    #[error("api key {key} version {version} is not known here")]
    Unknown { key: i16, version: i16 },
    #[error("{0} bytes left over")]
    LeftOver(usize),
}

/// What can stand in a list or be a message: read and written by version.
pub trait Wire: Sized {
    /// The smallest encoding in any version; at least 1.
    const BYTES_MIN: usize;
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;
    fn encode(&self, w: &mut crate::Writer, version: i16);
}

/// A position in a frame.
#[derive(Debug)]
pub struct Reader {
    frame: Bytes,
    at: usize,
    /// The frame's end, or that of the tagged field being read.
    end: usize,
    flexible: bool,
    elements_left: usize,
    tags_left: usize,
    /// The least that the elements still to come of the lists being read take up. It is behind
    /// whatever is read now, so a list within an element cannot claim it a second time.
    promised: usize,
}

impl Reader {
    /// Reads from the start of a frame; `flexible` as in [`Reader::set_flexible`].
    pub fn new(frame: Bytes, flexible: bool) -> Self {
        let end = frame.len();
        Self {
            frame,
            at: 0,
            end,
            flexible,
            elements_left: ELEMENTS_PER_MESSAGE_MAX,
            tags_left: TAGS_PER_MESSAGE_MAX,
            promised: 0,
        }
    }

    /// The same with at most so many list elements, if those are fewer than a message may have.
    pub(crate) fn within(frame: Bytes, elements_max: usize) -> Self {
        let elements_left = elements_max.min(ELEMENTS_PER_MESSAGE_MAX);
        Self { elements_left, ..Self::new(frame, false) }
    }

    pub(crate) fn elements_left(&self) -> usize {
        self.elements_left
    }

    /// Whether lengths are compact and structs end in tagged fields (KIP-482).
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// Ends the reading: whatever is left over is an error.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(Problem::LeftOver(left))),
        }
    }

    pub(crate) fn error(&self, problem: Problem) -> DecodeError {
        DecodeError { at: self.at, problem }
    }

    fn truncated(&self, wanted: usize) -> DecodeError {
        self.error(Problem::Truncated { wanted, remaining: self.remaining() })
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = self.frame.get(self.at..self.end).unwrap_or_default();
        let Some(bytes) = rest.first_chunk::<N>() else { return Err(self.truncated(N)) };
        let bytes = *bytes;
        self.at += N;
        Ok(bytes)
    }

    fn span(&mut self, length: usize) -> Result<std::ops::Range<usize>, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        let span = self.at..self.at + length;
        self.at = span.end;
        Ok(span)
    }

    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array_of().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array_of().map(i16::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array_of().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array_of().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array_of().map(i64::from_be_bytes)
    }

    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array_of().map(f64::from_be_bytes)
    }

    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.array_of()
    }

    /// An unsigned varint of at most 32 bits.
    pub fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array_of::<1>()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(Problem::VarintTooLong))
    }

    /// A length that says null with -1, or with 0 when compact.
    fn length(&mut self, short: bool) -> Result<Option<usize>, DecodeError> {
        let length = if self.flexible {
            return Ok(self.varint()?.checked_sub(1).map(|length| length as usize));
        } else if short {
            i32::from(self.i16()?)
        } else {
            self.i32()?
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.error(Problem::NegativeLength(length))),
        }
    }

    fn not_null<T>(&self, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.error(Problem::Null))
    }

    pub fn nullable_string(&mut self) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.length(true)? else { return Ok(None) };
        let span = self.span(length)?;
        let bytes = self.frame.get(span).unwrap_or_default();
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(self.error(Problem::NotUtf8)),
        }
    }

    pub fn string(&mut self) -> Result<String, DecodeError> {
        let value = self.nullable_string()?;
        self.not_null(value)
    }

    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        let span = self.span(length)?;
        Ok(Some(self.frame.slice(span)))
    }

    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let value = self.nullable_bytes()?;
        self.not_null(value)
    }

    pub fn nullable_pieces(&mut self) -> Result<Option<Pieces>, DecodeError> {
        Ok(self.nullable_bytes()?.map(Pieces::from))
    }

    pub fn pieces(&mut self) -> Result<Pieces, DecodeError> {
        Ok(self.bytes()?.into())
    }

    pub fn nullable_list<T: Wire>(&mut self, version: i16) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(false)? else { return Ok(None) };
        let wanted = count.saturating_mul(T::BYTES_MIN);
        if wanted > self.remaining().saturating_sub(self.promised) {
            return Err(self.truncated(wanted));
        }
        let Some(left) = self.elements_left.checked_sub(count) else {
            return Err(self.error(Problem::TooMany));
        };
        self.elements_left = left;
        self.promised += wanted;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            self.promised -= T::BYTES_MIN;
            list.push(T::decode(self, version)?);
        }
        Ok(Some(list))
    }

    /// A struct that may be null: a byte says whether it is there.
    pub fn nullable_struct<T: Wire>(&mut self, version: i16) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { T::decode(self, version).map(Some) }
    }

    pub fn list<T: Wire>(&mut self, version: i16) -> Result<Vec<T>, DecodeError> {
        let value = self.nullable_list(version)?;
        self.not_null(value)
    }

    /// Skips the tagged fields at a struct's end; there are none before flexible versions.
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(false))
    }

    /// Reads the tagged fields at a struct's end: `field` reads the tags it knows and says whether
    /// it did; the others are skipped. A field must fill its size exactly.
    pub fn tags(
        &mut self,
        mut field: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.varint()? as usize;
        let Some(left) = self.tags_left.checked_sub(count) else {
            return Err(self.error(Problem::TooMany));
        };
        self.tags_left = left;
        let mut previous = None;
        for _ in 0..count {
            let tag = self.varint()?;
            if previous.is_some_and(|previous| previous >= tag) {
                return Err(self.error(Problem::TagOrder));
            }
            previous = Some(tag);
            let size = self.varint()? as usize;
            if size > self.remaining() {
                return Err(self.truncated(size));
            }
            let outer = std::mem::replace(&mut self.end, self.at + size);
            let promised = std::mem::take(&mut self.promised);
            if field(self, tag)? {
                if self.remaining() > 0 {
                    return Err(self.error(Problem::LeftOver(self.remaining())));
                }
            } else {
                self.at = self.end;
            }
            self.end = outer;
            self.promised = promised;
        }
        Ok(())
    }
}

macro_rules! elements {
    ($($number:ident: $bytes:literal),+) => { $(
        impl Wire for $number {
            const BYTES_MIN: usize = $bytes;
            fn decode(r: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
                r.$number()
            }
            fn encode(&self, w: &mut crate::Writer, _version: i16) {
                w.$number(*self);
            }
        }
    )+ };
}

elements!(i8: 1, i32: 4, i64: 8);

impl Wire for String {
    const BYTES_MIN: usize = 1;
    fn decode(r: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
        r.string()
    }
    fn encode(&self, w: &mut crate::Writer, _version: i16) {
        w.string(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8], flexible: bool) -> Reader {
        Reader::new(Bytes::from_static(bytes), flexible)
    }

    #[test]
    fn varints_end_within_32_bits() {
        for (bytes, expected) in [
            (&[0x00][..], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(Problem::VarintTooLong)),
            (&[0x80, 0x80, 0x80, 0x80, 0x80], Err(Problem::VarintTooLong)),
            (&[0x80], Err(Problem::Truncated { wanted: 1, remaining: 0 })),
        ] {
            assert_eq!(reader(bytes, true).varint().map_err(|e| e.problem), expected, "{bytes:?}");
        }
    }

    #[test]
    fn lengths_are_checked_before_anything_is_allocated() {
        let huge = reader(&[0xff, 0xff, 0xff, 0xff, 0x07], true).list::<String>(0);
        let expected = Problem::Truncated { wanted: 0x7fff_fffe, remaining: 0 };
        assert_eq!(huge, Err(DecodeError { at: 5, problem: expected }));
        let four = reader(&[0, 0, 0, 2, 0, 0, 0, 1], false).list::<i32>(0);
        let expected = Problem::Truncated { wanted: 8, remaining: 4 };
        assert_eq!(four, Err(DecodeError { at: 4, problem: expected }));
        let negative = reader(&[0xff, 0xfe], false).string();
        assert_eq!(negative, Err(DecodeError { at: 2, problem: Problem::NegativeLength(-2) }));
        let null = reader(&[0xff, 0xff], false).string();
        assert_eq!(null, Err(DecodeError { at: 2, problem: Problem::Null }));
    }

    #[test]
    fn unknown_tags_are_skipped_and_known_ones_fill_their_size() {
        let frame = &[2, 0, 1, 7, 5, 2, 9, 9, 0x2a];
        let mut seen = None;
        let mut r = reader(frame, true);
        r.tags(|r, tag| {
            if tag != 0 {
                return Ok(false);
            }
            seen = Some(r.i8()?);
            Ok(true)
        })
        .unwrap();
        assert_eq!((seen, r.i8()), (Some(7), Ok(0x2a)));

        let short = reader(&[1, 0, 1, 7, 7], true).tags(|r, _| r.i16().map(|_| true));
        let expected = Problem::Truncated { wanted: 2, remaining: 1 };
        assert_eq!(short, Err(DecodeError { at: 3, problem: expected }));
        let long = reader(&[1, 0, 2, 7, 7], true).tags(|r, _| r.i8().map(|_| true));
        assert_eq!(long, Err(DecodeError { at: 4, problem: Problem::LeftOver(1) }));
        let twice = reader(&[2, 1, 0, 1, 0], true).skip_tags();
        assert_eq!(twice, Err(DecodeError { at: 4, problem: Problem::TagOrder }));
    }
}
