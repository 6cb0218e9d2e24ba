//! Standard output, where a reader that has gone away is not an error.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Whether anybody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    There,
    Gone,
}

pub(crate) fn write(bytes: &[u8]) -> Result<Reader, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(e) => Err(Failure::failed("standard output cannot be written").why(e)),
    }
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes()).map(|_whether_or_not_read| ())
}

/// One line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value);
    text.map(|text| text + "\n").map_err(|e| Failure::failed("the answer has no JSON form").why(e))
}

pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&json_line(value)?)
}
