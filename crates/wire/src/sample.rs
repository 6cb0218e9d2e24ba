//! Seeded values of any message: what the tests compare and the fuzzer starts from.

use bytes::Bytes;

use crate::Pieces;

/// Chooses values from a seed; the same seed chooses the same values.
#[derive(Debug)]
pub struct Source {
    state: u64,
}

/// A message or struct with arbitrary values in the fields that a version has.
pub trait Sample: Sized {
    fn sample(source: &mut Source, version: i16) -> Self;
}

/// Elements of a sampled list.
const ELEMENTS_MAX: u64 = 3;
/// Bytes of a sampled text or byte field; beyond [`crate::limits::SPLICED_BYTES_MIN`].
const LENGTHS: [usize; 6] = [0, 1, 5, 126, 127, 2000];

impl Source {
    pub fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(2).wrapping_add(1) }
    }

    /// The next number (xorshift64*).
    pub fn u64(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.u64() >> 16) % end
    }

    pub fn bool(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn i8(&mut self) -> i8 {
        self.i64() as i8
    }

    pub fn i16(&mut self) -> i16 {
        self.i64() as i16
    }

    pub fn u16(&mut self) -> u16 {
        self.i64() as u16
    }

    pub fn i32(&mut self) -> i32 {
        self.i64() as i32
    }

    pub fn i64(&mut self) -> i64 {
        match self.below(4) {
            0 => -1,
            1 => self.below(1000) as i64,
            _ => self.u64() as i64,
        }
    }

    /// A number, because a value that is none is unlike itself.
    pub fn f64(&mut self) -> f64 {
        self.i64() as f64 / 8.0
    }

    pub fn uuid(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.u64().to_be_bytes());
        id[8..].copy_from_slice(&self.u64().to_be_bytes());
        id
    }

    fn length(&mut self) -> usize {
        LENGTHS[self.below(LENGTHS.len() as u64) as usize]
    }

    pub fn string(&mut self) -> String {
        let length = self.length();
        let mut text: String = (0..length).map(|_| (b'a' + self.below(26) as u8) as char).collect();
        if self.below(4) == 0 {
            text.push_str("ü→🦀");
        }
        text
    }

    pub fn bytes(&mut self) -> Bytes {
        let length = self.length();
        (0..length).map(|_| self.u64() as u8).collect()
    }

    /// Bytes in two pieces, either of which may be empty.
    pub fn pieces(&mut self) -> Pieces {
        let mut first = self.bytes();
        let rest = first.split_off(self.below(first.len() as u64 + 1) as usize);
        vec![first, rest].into()
    }

    pub fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(ELEMENTS_MAX + 1);
        (0..count).map(|_| element(self)).collect()
    }

    /// A value, or null one time in four where null is allowed.
    pub fn nullable<T>(&mut self, allowed: bool, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if allowed && self.below(4) == 0 { None } else { Some(value(self)) }
    }
}
