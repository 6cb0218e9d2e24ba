//! Fields of Kafka's serialization, read from the front and written to the back.
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

    pub(crate) fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(self.take(2)?.get_i16())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(self.take(4)?.get_i32())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(self.take(8)?.get_i64())
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
        let length = usize::try_from(self.i32()?).map_err(|_| self.invalid())?;
        Ok(Bytes::copy_from_slice(self.take(length)?))
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
