//! A byte field in several pieces, as it lies in memory.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// The bytes of one field, in order; equal when the bytes are, however they are cut.
#[derive(Clone, Default)]
pub struct Pieces(Vec<Bytes>);

impl Pieces {
    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter()
    }

    /// The bytes as one; copies them unless they are.
    pub fn joined(mut self) -> Bytes {
        match self.0.len() {
            0 => Bytes::new(),
            1 => self.0.remove(0),
            _ => {
                let mut joined = BytesMut::with_capacity(self.len());
                self.0.iter().for_each(|piece| joined.extend_from_slice(piece));
                joined.freeze()
            }
        }
    }
}

impl From<Vec<Bytes>> for Pieces {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self(pieces)
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self(vec![bytes])
    }
}

impl IntoIterator for Pieces {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().flatten().eq(other.0.iter().flatten())
    }
}

impl Eq for Pieces {}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clone().joined().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_they_come_to() {
        let cut = Pieces::from(vec![Bytes::from_static(b"ab"), Bytes::new(), "c".into()]);
        let whole = Pieces::from(Bytes::from_static(b"abc"));
        assert_eq!(cut, whole);
        assert_eq!(cut.len(), 3);
        assert_eq!(format!("{cut:?}"), "b\"abc\"");
        assert_eq!(cut.joined(), "abc");
        assert!(Pieces::from(vec![Bytes::new()]).is_empty());
        assert_ne!(whole, Pieces::default());
    }
}
