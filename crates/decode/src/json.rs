//! JSON that is written piece by piece and does not grow beyond [`JSON_BYTES_MAX`].

use std::io;

use crate::Refused;
use crate::limits::JSON_BYTES_MAX;

#[derive(Debug, Default)]
pub(crate) struct Json(Vec<u8>);

impl Json {
    pub(crate) fn raw(&mut self, text: &str) -> Result<(), Refused> {
        if self.0.len() + text.len() > JSON_BYTES_MAX {
            return Err(Refused::JsonTooLong);
        }
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), Refused> {
        // Strings can always be written, so what fails is the limit.
        serde_json::to_writer(self, text).map_err(|_limit| Refused::JsonTooLong)
    }

    /// JSON has no numbers for what is not finite: those are texts, as in Protobuf's mapping.
    pub(crate) fn float(
        &mut self,
        number: f64,
        shortest: impl FnOnce() -> String,
    ) -> Result<(), Refused> {
        match number {
            _ if number.is_nan() => self.raw("\"NaN\""),
            f64::INFINITY => self.raw("\"Infinity\""),
            f64::NEG_INFINITY => self.raw("\"-Infinity\""),
            _ => self.raw(&shortest()),
        }
    }

    /// `"0x00ff"`.
    pub(crate) fn hex(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        if self.0.len() + 2 * bytes.len() + 4 > JSON_BYTES_MAX {
            return Err(Refused::JsonTooLong);
        }
        self.0.extend_from_slice(b"\"0x");
        for byte in bytes {
            let digits = [byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)]);
            self.0.extend_from_slice(&digits);
        }
        self.0.push(b'"');
        Ok(())
    }

    pub(crate) fn finish(self) -> String {
        String::from_utf8(self.0).unwrap_or_default()
    }
}

impl io::Write for &mut Json {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > JSON_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
