//! Walks a segment from its first byte to its last, over damage too.
//!
//! Every byte ends up in exactly one [`Piece`]: a batch that is as it was written, a batch whose
//! fields outside its checksum are wrong and can be told for certain, or damage.
//!
//! After damage the walk goes on at the next *anchor*: where the damaged batch's length says the next
//! one begins, or a batch that an index entry names, or the end. Between the damage and the anchor bytes
//! are searched for batches, and what is found counts only if whole batches lead from it to the anchor
//! without a byte between: a record's value may hold what looks like a batch, but behind it, still
//! in the same record, comes at least the number of its headers.

use bytes::Bytes;
use tidings_log::format::check_first;
use tidings_log::limits::BATCH_BYTES_MAX;
use tidings_log::{BatchError, BatchHeader, Fault, HEADER_BYTES};

use crate::damage::{Damage, DamageKind};
use crate::limits::SCAN_CHUNK_BYTES;
use crate::source::Source;

const MAGIC: u8 = 2;
const MAGIC_AT: usize = 16;
/// Bytes up to and with the magic: what the checksum does not cover, but for itself.
pub(crate) const UNCOVERED_BYTES: usize = 17;

/// What is known of a segment besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) base_offset: i64,
    /// Every offset is below this: the next segment's base, or the end of the log where it is known.
    pub(crate) until: Option<i64>,
    /// Last offset and position of batches, by the index.
    pub(crate) index: &'a [(i64, u64)],
    /// Leader epochs with the first offset of each; none when nobody knows.
    pub(crate) epochs: Option<&'a [(i32, i64)]>,
}

/// A run of a segment's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Batch {
        header: BatchHeader,
        position: u64,
        bytes: usize,
    },
    /// The checksum holds; what it does not cover is wrong.
    Restorable {
        /// As it must have been.
        header: BatchHeader,
        position: u64,
        bytes: usize,
        what: String,
    },
    Damage {
        from: u64,
        to: u64,
        /// Offsets that were in it: first, and one past the last as far as that can be told.
        offsets: (i64, i64),
        what: String,
    },
}

impl Piece {
    /// Where it begins, and its length.
    pub(crate) fn range(&self) -> (u64, usize) {
        match *self {
            Self::Batch { position, bytes, .. } | Self::Restorable { position, bytes, .. } => {
                (position, bytes)
            }
            Self::Damage { from, to, .. } => {
                (from, usize::try_from(to - from).unwrap_or(usize::MAX))
            }
        }
    }

    /// Of the batch that it is, as it must have been.
    pub(crate) fn header(&self) -> Option<&BatchHeader> {
        match self {
            Self::Batch { header, .. } | Self::Restorable { header, .. } => Some(header),
            Self::Damage { .. } => None,
        }
    }

    /// What is wrong in it.
    pub(crate) fn damage(self, log: &str) -> Option<Damage> {
        let (position, bytes) = self.range();
        let (kind, offsets, what) = match self {
            Self::Batch { .. } => return None,
            Self::Restorable { header, what, .. } => {
                (DamageKind::Field, (header.base_offset, header.last_offset() + 1), what)
            }
            Self::Damage { offsets, what, .. } => (DamageKind::Records, offsets, what),
        };
        let path = log.to_owned();
        let bytes = (position, position + bytes as u64);
        Some(Damage { kind, path, bytes, offsets: Some(offsets), what })
    }
}

/// What a check says of the bytes at a place.
enum Checked {
    Valid(BatchHeader, usize),
    Wrong(BatchError),
}

/// Where a walk is.
pub(crate) struct Walk<'a, 'b> {
    source: &'b mut Source<'a>,
    known: Known<'b>,
    position: u64,
    /// The least offset that the next batch can have.
    expected: i64,
    epoch: Option<i32>,
}

impl<'a, 'b> Walk<'a, 'b> {
    pub(crate) fn new(source: &'b mut Source<'a>, known: Known<'b>) -> Self {
        Self { source, known, position: 0, expected: known.base_offset, epoch: None }
    }

    /// One past the last offset seen.
    pub(crate) fn expected(&self) -> i64 {
        self.expected
    }

    /// The batch that [`Self::next`] returned, as it was written; none for damage.
    pub(crate) fn content(&mut self, piece: &Piece) -> Result<Option<Bytes>, Fault> {
        let Some(header) = piece.header() else { return Ok(None) };
        let (position, len) = piece.range();
        let mut bytes = self.source.bytes(position, len)?.to_vec();
        if let Some(head) = bytes.first_chunk_mut::<UNCOVERED_BYTES>() {
            *head = head_of(header, len);
        }
        Ok(Some(Bytes::from(bytes)))
    }

    /// The next piece; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, Fault> {
        if self.position >= self.source.end() {
            return Ok(None);
        }
        let piece = match self.check(self.position)? {
            Checked::Valid(header, bytes) => self.judge(header, bytes)?,
            Checked::Wrong(error) => self.damaged(&error)?,
        };
        match &piece {
            Piece::Batch { header, bytes, .. } | Piece::Restorable { header, bytes, .. } => {
                self.position += *bytes as u64;
                self.expected = header.last_offset().saturating_add(1);
                self.epoch = Some(header.leader_epoch);
            }
            Piece::Damage { to, offsets, .. } => {
                self.position = *to;
                self.expected = self.expected.max(offsets.1);
            }
        }
        Ok(Some(piece))
    }

    fn check(&mut self, position: u64) -> Result<Checked, Fault> {
        let head = self.source.bytes(position, HEADER_BYTES)?;
        let total = BatchHeader::read(head).and_then(|header| header.total_bytes());
        let bytes = self.source.bytes(position, total.unwrap_or(HEADER_BYTES))?;
        Ok(match check_first(bytes) {
            Ok((header, total)) => Checked::Valid(header, total),
            Err(error) => Checked::Wrong(error),
        })
    }

    /// The valid batch at `position`, if there is one.
    fn valid(&mut self, position: u64) -> Result<Option<(BatchHeader, usize)>, Fault> {
        if position >= self.source.end() {
            return Ok(None);
        }
        Ok(match self.check(position)? {
            Checked::Valid(header, bytes) => Some((header, bytes)),
            Checked::Wrong(_) => None,
        })
    }

    /// What a batch is whose checksum holds: its offset and its epoch are not covered.
    fn judge(&mut self, header: BatchHeader, bytes: usize) -> Result<Piece, Fault> {
        let position = self.position;
        if header.base_offset == self.expected && self.epoch_is_right(&header) {
            return Ok(Piece::Batch { header, position, bytes });
        }
        let after = position + bytes as u64;
        let following = self.valid(after)?.map(|(next, _)| next);
        let indexed = self.indexed_at(position);
        // Where the next offset after this batch is at most.
        let bound = match following {
            Some(next) if next.base_offset > self.expected => Some(next.base_offset),
            None if after >= self.source.end() => self.known.until,
            _ => None,
        };
        let last = header.last_offset();
        let fits = header.base_offset >= self.expected
            && self.known.until.is_none_or(|until| last < until)
            && (bound.is_none_or(|bound| last < bound) || indexed == Some(last));
        let span = i64::from(header.last_offset_delta) + 1;
        let right_base = if fits {
            Some(header.base_offset)
        } else if bound == Some(self.expected + span) {
            Some(self.expected)
        } else {
            indexed.map(|last| last + 1 - span).filter(|&base| {
                base >= self.expected && bound.is_none_or(|bound| base + span <= bound)
            })
        };
        let Some(base_offset) = right_base else {
            let offsets = (self.expected, bound.unwrap_or(self.expected + span));
            let what = format!("offset {} where {} is next", header.base_offset, self.expected);
            return Ok(Piece::Damage { from: position, to: after, offsets, what });
        };
        let leader_epoch = self.right_epoch(base_offset, &header, following.as_ref());
        if base_offset == header.base_offset && leader_epoch == header.leader_epoch {
            return Ok(Piece::Batch { header, position, bytes });
        }
        let what = if base_offset == header.base_offset {
            format!("leader epoch {} instead of {leader_epoch}", header.leader_epoch)
        } else {
            format!("offset {} instead of {base_offset}", header.base_offset)
        };
        let header = BatchHeader { base_offset, leader_epoch, ..header };
        Ok(Piece::Restorable { header, position, bytes, what })
    }

    /// Whether the epoch needs no second look.
    fn epoch_is_right(&self, header: &BatchHeader) -> bool {
        let known = self.known.epochs.map(|epochs| epoch_at(epochs, header.base_offset));
        known.unwrap_or(self.epoch) == Some(header.leader_epoch)
    }

    /// The epoch that a batch at `offset` has: what is known, else what fits its neighbours.
    fn right_epoch(
        &self,
        offset: i64,
        header: &BatchHeader,
        following: Option<&BatchHeader>,
    ) -> i32 {
        let stated = header.leader_epoch;
        if let Some(epochs) = self.known.epochs {
            return epoch_at(epochs, offset).unwrap_or(stated);
        }
        let next = following.map(|following| following.leader_epoch);
        let at_least = self.epoch.unwrap_or(-1);
        let at_most = next.unwrap_or(i32::MAX).max(at_least);
        let fits = (at_least..=at_most).contains(&stated);
        if fits { stated } else { self.epoch.or(next).unwrap_or(stated) }
    }

    fn indexed_at(&self, position: u64) -> Option<i64> {
        let found = self.known.index.binary_search_by_key(&position, |&(_, at)| at);
        found.ok().and_then(|number| self.known.index.get(number)).map(|&(last, _)| last)
    }

    /// What lies at a place where no valid batch does.
    fn damaged(&mut self, error: &BatchError) -> Result<Piece, Fault> {
        let from = self.position;
        if let Some(piece) = self.other_magic()? {
            return Ok(piece);
        }
        if let Some(piece) = self.negative_offset()? {
            return Ok(piece);
        }
        let (to, following) = self.resume()?;
        if let Some(piece) = self.other_length(to)? {
            return Ok(piece);
        }
        let last_indexed = self.known.index.last().map_or(self.expected, |&(last, _)| last + 1);
        let until = match following {
            Some(next) => next.base_offset,
            None => self.known.until.unwrap_or(last_indexed.max(self.expected)),
        };
        let what = match self.source.unreadable(from, to) {
            Some(why) => format!("cannot be read: {why}"),
            None => error.to_string(),
        };
        Ok(Piece::Damage { from, to, offsets: (self.expected, until), what })
    }

    /// The batch here if nothing but its magic is wrong.
    fn other_magic(&mut self) -> Result<Option<Piece>, Fault> {
        let position = self.position;
        let head = self.source.bytes(position, HEADER_BYTES)?;
        let Some(magic) = head.get(MAGIC_AT).copied().filter(|&magic| magic != MAGIC) else {
            return Ok(None);
        };
        let total = BatchHeader::read(head).and_then(|header| header.total_bytes());
        let what = format!("magic {} instead of {MAGIC}", magic.cast_signed());
        self.with_head(position, total, what, |head| head[MAGIC_AT] = MAGIC)
    }

    /// The batch here if it is one but for its offset, which is none.
    fn negative_offset(&mut self) -> Result<Option<Piece>, Fault> {
        let (position, expected) = (self.position, self.expected);
        let head = self.source.bytes(position, HEADER_BYTES)?;
        let header = BatchHeader::read(head).filter(|header| header.base_offset < 0);
        let Some(stated) = header.map(|header| header.base_offset) else { return Ok(None) };
        let total = header.and_then(|header| header.total_bytes());
        let placed = self.with_head(position, total, String::new(), |head| {
            head[..8].copy_from_slice(&expected.to_be_bytes());
        })?;
        match placed {
            Some(Piece::Restorable { header, bytes, .. }) => {
                self.judge(BatchHeader { base_offset: stated, ..header }, bytes).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The batch here if it ends at `to` and nothing but its length is wrong.
    fn other_length(&mut self, to: u64) -> Result<Option<Piece>, Fault> {
        let position = self.position;
        let Ok(total) = usize::try_from(to - position) else { return Ok(None) };
        let Ok(length) = i32::try_from(total.saturating_sub(12)) else { return Ok(None) };
        let head = self.source.bytes(position, HEADER_BYTES)?;
        let Some(stated) = BatchHeader::read(head).map(|header| header.batch_length) else {
            return Ok(None);
        };
        let what = format!("batch length {stated} instead of {length}");
        self.with_head(position, Some(total), what, |head| {
            head[8..12].copy_from_slice(&length.to_be_bytes());
        })
    }

    /// The batch of `total` bytes at `position` as it is once `change` has been made to its head.
    fn with_head(
        &mut self,
        position: u64,
        total: Option<usize>,
        what: String,
        change: impl Fn(&mut [u8; UNCOVERED_BYTES]),
    ) -> Result<Option<Piece>, Fault> {
        let Some(total) = total.filter(|&total| total <= BATCH_BYTES_MAX) else {
            return Ok(None);
        };
        let mut bytes = self.source.bytes(position, total)?.to_vec();
        let Some(head) = bytes.first_chunk_mut::<UNCOVERED_BYTES>() else { return Ok(None) };
        change(head);
        let (expected, until) = (self.expected, self.known.until);
        Ok(match check_first(&bytes) {
            Ok((header, bytes))
                if bytes == total
                    && header.base_offset >= expected
                    && until.is_none_or(|until| header.last_offset() < until) =>
            {
                Some(Piece::Restorable { header, position, bytes, what })
            }
            _ => None,
        })
    }

    /// Where batches go on after the damage at hand, with the batch there; the end if nowhere.
    fn resume(&mut self) -> Result<(u64, Option<BatchHeader>), Fault> {
        let (anchor, at_anchor) = self.anchor()?;
        let limit = at_anchor.map(|header| header.base_offset).or(self.known.until);
        let mut from = self.position + 1;
        while from + HEADER_BYTES as u64 <= anchor {
            let mut candidates = Vec::new();
            let window = self.source.bytes(from, SCAN_CHUNK_BYTES)?;
            for (start, bytes) in window.windows(HEADER_BYTES).enumerate() {
                if bytes.get(MAGIC_AT) == Some(&MAGIC)
                    && could_be_batch(bytes, self.expected, limit)
                {
                    candidates.push(from + start as u64);
                }
            }
            let searched = window.len().saturating_sub(HEADER_BYTES - 1).max(1) as u64;
            for candidate in candidates.into_iter().filter(|&candidate| candidate < anchor) {
                if let Some(header) = self.leads_to(candidate, anchor, limit)? {
                    return Ok((candidate, Some(header)));
                }
            }
            from += searched;
        }
        Ok((anchor, at_anchor))
    }

    /// The next place where a batch is sure to begin, with that batch; or the end.
    fn anchor(&mut self) -> Result<(u64, Option<BatchHeader>), Fault> {
        let (from, expected, end) = (self.position, self.expected, self.source.end());
        let head = self.source.bytes(from, HEADER_BYTES)?;
        let stated = BatchHeader::read(head).and_then(|header| header.total_bytes());
        let stated = stated.map(|bytes| from + bytes as u64);
        if let Some(stated) = stated.filter(|&at| at < end)
            && let Some((header, _)) = self.valid(stated)?
            && header.base_offset > expected
            && self.known.until.is_none_or(|until| header.last_offset() < until)
        {
            return Ok((stated, Some(header)));
        }
        let first = self.known.index.partition_point(|&(_, at)| at <= from);
        for &(last, at) in self.known.index.get(first..).unwrap_or_default() {
            if let Some((header, _)) = self.valid(at)?
                && header.last_offset() == last
                && header.base_offset > expected
            {
                return Ok((at, Some(header)));
            }
        }
        Ok((end, None))
    }

    /// The batch at `candidate` if whole batches in order lead from it to `anchor`.
    fn leads_to(
        &mut self,
        candidate: u64,
        anchor: u64,
        limit: Option<i64>,
    ) -> Result<Option<BatchHeader>, Fault> {
        let (mut at, mut expected, mut first) = (candidate, self.expected, None);
        while at < anchor {
            let Some((header, bytes)) = self.valid(at)? else { return Ok(None) };
            let inside = limit.is_none_or(|limit| header.last_offset() < limit);
            if header.base_offset < expected || !inside {
                return Ok(None);
            }
            first = first.or(Some(header));
            expected = header.last_offset() + 1;
            at += bytes as u64;
        }
        Ok(first.filter(|_| at == anchor))
    }
}

/// The epoch that wrote an offset; none when it is older than all that are known.
pub(crate) fn epoch_at(epochs: &[(i32, i64)], offset: i64) -> Option<i32> {
    epochs.iter().rev().find(|&&(_, start)| start <= offset).map(|&(epoch, _)| epoch)
}

/// The first bytes of a batch, with the fields that the checksum does not cover as they must be.
pub(crate) fn head_of(header: &BatchHeader, bytes: usize) -> [u8; UNCOVERED_BYTES] {
    let mut head = [0; UNCOVERED_BYTES];
    head[..8].copy_from_slice(&header.base_offset.to_be_bytes());
    let length = i32::try_from(bytes.saturating_sub(12)).unwrap_or(header.batch_length);
    head[8..12].copy_from_slice(&length.to_be_bytes());
    head[12..16].copy_from_slice(&header.leader_epoch.to_be_bytes());
    head[MAGIC_AT] = MAGIC;
    head
}

/// A cheap look before the checksum is made.
fn could_be_batch(head: &[u8], expected: i64, limit: Option<i64>) -> bool {
    BatchHeader::read(head).is_some_and(|header| {
        header.total_bytes().is_some()
            && header.base_offset >= expected
            && header.last_offset_delta >= 0
            && limit.is_none_or(|limit| header.last_offset() < limit)
    })
}
