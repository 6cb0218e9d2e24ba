//! Fields of Kafka's serialization, read from the front and written to the back: the older layout with
//! fixed lengths, and the flexible one (KIP-482) with varints and tagged fields.
//!
//! Every length is checked against what remains; no count reserves memory.

use bytes::{Buf, BufMut, Bytes, BytesMut};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("{what} ends after {have} of {need} bytes")]
    Short { what: &'static str, need: usize, have: usize },
    #[error("{what} is not valid")]
    Invalid { what: &'static str },
    #[error("{what} has version {version}, which this coordinator does not read")]
    Version { what: &'static str, version: i16 },
}

#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    fn invalid(&self) -> RecordError {
        RecordError::Invalid { what: self.what }
    }

    fn take(&mut self, need: usize) -> Result<&'a [u8], RecordError> {
        let Some((front, rest)) = self.rest.split_at_checked(need) else {
            return Err(RecordError::Short { what: self.what, need, have: self.rest.len() });
        };
        self.rest = rest;
        Ok(front)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, RecordError> {
        Ok(self.take(1)?.get_i8())
    }

    pub(crate) fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(self.take(2)?.get_i16())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(self.take(4)?.get_i32())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(self.take(8)?.get_i64())
    }

    pub(crate) fn uuid(&mut self) -> Result<[u8; 16], RecordError> {
        let bytes = self.take(16)?;
        bytes.try_into().map_err(|_| self.invalid())
    }

    pub(crate) fn version(&mut self, wanted: i16) -> Result<(), RecordError> {
        let version = self.i16()?;
        if version == wanted {
            Ok(())
        } else {
            Err(RecordError::Version { what: self.what, version })
        }
    }

    // ---- fixed lengths -------------------------------------------------------------------------

    pub(crate) fn string(&mut self) -> Result<String, RecordError> {
        self.optional_string()?.ok_or_else(|| self.invalid())
    }

    pub(crate) fn optional_string(&mut self) -> Result<Option<String>, RecordError> {
        match self.i16()? {
            -1 => Ok(None),
            length => self.text(i64::from(length)).map(Some),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, RecordError> {
        self.optional_bytes()?.ok_or_else(|| self.invalid())
    }

    pub(crate) fn optional_bytes(&mut self) -> Result<Option<Bytes>, RecordError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| self.invalid())?;
                Ok(Some(Bytes::copy_from_slice(self.take(length)?)))
            }
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        element: impl Fn(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.i32()?;
        if count < 0 {
            return Err(self.invalid());
        }
        (0..count).map(|_| element(self)).collect()
    }

    fn text(&mut self, length: i64) -> Result<String, RecordError> {
        let length = usize::try_from(length).map_err(|_| self.invalid())?;
        let text = std::str::from_utf8(self.take(length)?);
        Ok(text.map_err(|_| self.invalid())?.to_owned())
    }

    // ---- the flexible layout -------------------------------------------------------------------

    pub(crate) fn varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.take(1)?.get_u8();
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(self.invalid());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.invalid())
    }

    pub(crate) fn compact_string(&mut self) -> Result<String, RecordError> {
        self.optional_compact_string()?.ok_or_else(|| self.invalid())
    }

    pub(crate) fn optional_compact_string(&mut self) -> Result<Option<String>, RecordError> {
        match self.varint()? {
            0 => Ok(None),
            length => self.text(i64::from(length) - 1).map(Some),
        }
    }

    pub(crate) fn compact_bytes(&mut self) -> Result<Bytes, RecordError> {
        let length = self.varint()?.checked_sub(1).ok_or_else(|| self.invalid())?;
        let length = usize::try_from(length).map_err(|_| self.invalid())?;
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    pub(crate) fn compact_list<T>(
        &mut self,
        element: impl Fn(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.varint()?.checked_sub(1).ok_or_else(|| self.invalid())?;
        (0..count).map(|_| element(self)).collect()
    }

    /// The tagged fields at the end of a struct: `known` takes those it knows by their number.
    pub(crate) fn tagged(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = usize::try_from(self.varint()?).map_err(|_| self.invalid())?;
            let mut field = Self { rest: self.take(size)?, what: self.what };
            known(tag, &mut field)?;
        }
        Ok(())
    }
}

// ---- writing -----------------------------------------------------------------------------------

pub(crate) fn put_string(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).expect("names are limited to NAME_BYTES_MAX"));
    out.put_slice(text.as_bytes());
}

pub(crate) fn put_optional_string(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.put_i16(-1),
    }
}

pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(i32::try_from(bytes.len()).expect("bytes are limited to GROUP_BYTES_MAX"));
    out.put_slice(bytes);
}

pub(crate) fn put_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

/// A length or count of the flexible layout: one more than it is, as zero is null.
pub(crate) fn put_count(out: &mut BytesMut, count: usize) {
    put_varint(out, u32::try_from(count + 1).expect("counts and lengths are limited"));
}

pub(crate) fn put_compact_string(out: &mut BytesMut, text: &str) {
    put_compact_bytes(out, text.as_bytes());
}

pub(crate) fn put_optional_compact_string(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_compact_string(out, text),
        None => out.put_u8(0),
    }
}

pub(crate) fn put_compact_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

/// The tagged fields at the end of a struct, in the order of their numbers.
pub(crate) fn put_tagged(out: &mut BytesMut, fields: &[(u32, BytesMut)]) {
    put_varint(out, u32::try_from(fields.len()).expect("a handful"));
    for (tag, field) in fields {
        put_varint(out, *tag);
        put_varint(out, u32::try_from(field.len()).expect("fields are limited"));
        out.put_slice(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_read_as_they_were_written_and_none_is_longer_than_32_bits() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX - 1, u32::MAX] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(Reader::new(&out, "varint").varint(), Ok(value));
        }
        let invalid = Err(RecordError::Invalid { what: "varint" });
        assert_eq!(Reader::new(b"\xff\xff\xff\xff\x10", "varint").varint(), invalid);
        assert_eq!(Reader::new(b"\xff\xff\xff\xff\xff\x01", "varint").varint(), invalid);
    }

    #[test]
    fn tagged_fields_that_are_not_known_are_passed_over() {
        let mut out = BytesMut::new();
        let field = |text: &str| BytesMut::from(text.as_bytes());
        put_tagged(&mut out, &[(0, field("abc")), (9, field("de"))]);
        out.put_u8(7);
        let mut from = Reader::new(&out, "fields");
        let mut seen = Vec::new();
        from.tagged(|tag, field| {
            if tag == 9 {
                seen.push(field.i16()?);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!((seen, from.i8()), (vec![i16::from_be_bytes(*b"de")], Ok(7)));
    }
}
