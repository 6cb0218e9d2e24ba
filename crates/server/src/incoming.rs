//! Bytes as they come from a socket.
//!
//! Invariant: there is a buffer only while bytes wait in it or are being taken, so an idle connection
//! holds none. What comes first after a wait is read into memory of the thread and copied: it is a short
//! request mostly, for which a whole buffer would have to be found and given back. Limit:
//! [`READ_BUFFER_BYTES`]; what is longer goes straight to its place.

use std::cell::RefCell;
use std::io::{Error, ErrorKind};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use crate::limits::READ_BUFFER_BYTES;

thread_local! {
    static FIRST: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER_BYTES].into());
}

#[derive(Debug)]
pub(crate) struct Incoming {
    socket: OwnedReadHalf,
    buffer: BytesMut,
}

impl Incoming {
    pub(crate) fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, buffer: BytesMut::new() }
    }

    /// Waits until there are bytes to read; false when the other side has ended.
    pub(crate) async fn wait(&mut self) -> Result<bool, Error> {
        if self.buffer.is_empty() { self.fill().await } else { Ok(true) }
    }

    /// A length, or another number that precedes a frame.
    pub(crate) async fn i32(&mut self) -> Result<i32, Error> {
        while self.buffer.len() < size_of::<i32>() {
            if !self.fill().await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.get_i32())
    }

    /// Appends some bytes to the frame, at most so many; at least one.
    pub(crate) async fn append_to(
        &mut self,
        frame: &mut BytesMut,
        bytes_max: usize,
    ) -> Result<(), Error> {
        if self.buffer.is_empty() && bytes_max >= READ_BUFFER_BYTES {
            let mut socket = (&mut self.socket).take(bytes_max as u64);
            return match socket.read_buf(frame).await? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            };
        }
        if !self.wait().await? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let taken = self.buffer.len().min(bytes_max);
        frame.extend_from_slice(&self.buffer[..taken]);
        self.buffer.advance(taken);
        Ok(())
    }

    /// Takes what has come into the buffer, waiting for it if there is nothing; false at the end.
    async fn fill(&mut self) -> Result<bool, Error> {
        loop {
            let read = if self.buffer.is_empty() { self.first() } else { self.more() };
            match read {
                Ok(read) => return Ok(read > 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.socket.readable().await?;
        }
    }

    fn first(&mut self) -> Result<usize, Error> {
        FIRST.with_borrow_mut(|first| {
            let read = self.socket.try_read(first)?;
            self.buffer = BytesMut::from(&first[..read]);
            Ok(read)
        })
    }

    fn more(&mut self) -> Result<usize, Error> {
        let room = READ_BUFFER_BYTES - self.buffer.len().min(READ_BUFFER_BYTES / 2);
        self.buffer.reserve(room);
        self.socket.try_read_buf(&mut self.buffer)
    }
}
