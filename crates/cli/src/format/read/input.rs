//! A stream of bytes that can be looked at before it is taken.

use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind};

use crate::limits::LINE_BYTES_MAX;

#[derive(Debug)]
pub(crate) struct Input<R> {
    inner: R,
    /// What was looked at, and comes before the rest.
    ahead: VecDeque<u8>,
    /// Bytes that were taken so far.
    taken: u64,
}

impl<R: BufRead> Input<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, ahead: VecDeque::new(), taken: 0 }
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The next byte, which stays; none at the end.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        match self.ahead.front() {
            Some(byte) => Ok(Some(*byte)),
            None => Ok(filled(&mut self.inner)?.first().copied()),
        }
    }

    /// The next byte; none at the end.
    pub(super) fn take(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.skip(1);
        }
        Ok(byte)
    }

    /// Takes bytes that were looked at.
    pub(super) fn skip(&mut self, count: usize) {
        let from_ahead = count.min(self.ahead.len());
        self.ahead.drain(..from_ahead);
        self.inner.consume(count - from_ahead);
        self.taken += count as u64;
    }

    /// What is left of the line, without its end, as far as a field may go; it stays.
    pub(super) fn line(&mut self) -> io::Result<&[u8]> {
        while !self.ahead.contains(&b'\n') && self.ahead.len() <= LINE_BYTES_MAX {
            let bytes = filled(&mut self.inner)?;
            if bytes.is_empty() {
                break;
            }
            let count =
                bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            self.ahead.extend(&bytes[..count]);
            self.inner.consume(count);
        }
        let all: &[u8] = self.ahead.make_contiguous();
        Ok(all.split(|byte| *byte == b'\n').next().unwrap_or_default())
    }
}

fn filled(inner: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match inner.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    inner.fill_buf()
}
