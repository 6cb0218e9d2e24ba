//! Which produce requests are taken at once, which wait, which are refused, for want of room.
//!
//! 1. While the store says that it is congested, they wait until it has flushed; if it cannot, for
//!    there is no room on the disk, they are refused at once.
//! 2. With less free than [`limits::THROTTLE_RESERVES`] times the reserve they are taken at the
//!    pace of a share of what is left above the reserve per second, so that it runs out slowly.
//! 3. What would leave less free than the reserve is refused at once, and everything after it until
//!    [`limits::RESUME_SHARE`] of the reserve is free above it.
//!
//! Invariants: requests are taken in the order in which they came; none waits longer than
//! [`limits::PRODUCE_WAIT_MAX_MS`]. How many may wait, and of how many bytes, is the owner's to
//! bound: each is one of its unanswered requests.

use std::collections::VecDeque;

use tidings_log::FaultKind;

use crate::broker::{Broker, Now, Ticket};
use crate::partition::no_space;
use crate::produce::{Producing, Progress};
use crate::{Produce, limits};

/// Produce requests that wait for room.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    waiting: VecDeque<Waiting>,
    /// When the pace allows the next one, on the monotonic clock.
    next_at_ms: u64,
    /// The first one waits for the store, and not for the pace.
    is_blocked: bool,
    /// The disk was full, and has not enough room since.
    is_full: bool,
}

#[derive(Debug)]
struct Waiting {
    producing: Producing,
    until_ms: u64,
}

/// How much of the disk is left, as far as produce is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskRoom {
    Plenty,
    /// So many bytes are left above the reserve.
    Low(u64),
    None,
}

/// Free bytes with which produce that was refused is taken again.
fn resume_bytes(reserve: u64) -> u64 {
    reserve + reserve / limits::RESUME_SHARE
}

impl DiskRoom {
    fn of(free: u64, reserve: u64) -> Self {
        match free.checked_sub(reserve) {
            None => Self::None,
            Some(_) if free >= reserve.saturating_mul(limits::THROTTLE_RESERVES) => Self::Plenty,
            Some(left) => Self::Low(left),
        }
    }

    /// Milliseconds until the next request after one of so many bytes.
    fn pause_ms(self, bytes: u64) -> u64 {
        match self {
            Self::Plenty | Self::None => 0,
            Self::Low(left) => {
                let per_second = (left / limits::THROTTLE_SHARE).max(1);
                let pause = bytes.saturating_mul(1000) / per_second;
                pause.min(limits::THROTTLE_PAUSE_MAX_MS)
            }
        }
    }
}

impl Admission {
    /// When something about the waiting requests is due by time alone.
    pub(crate) fn next_timeout_ms(&self) -> Option<u64> {
        let until_ms = self.waiting.front()?.until_ms;
        Some(if self.is_blocked { until_ms } else { until_ms.min(self.next_at_ms) })
    }
}

impl Broker {
    pub(crate) fn produce(&mut self, now: Now, ticket: Ticket, request: Produce) {
        let until_ms = now.mono_ms + limits::PRODUCE_WAIT_MAX_MS;
        let producing = Producing::new(ticket, request);
        self.admission.waiting.push_back(Waiting { producing, until_ms });
        self.admit(now);
    }

    /// Takes every waiting request that there is room for, refuses those that waited too long.
    pub(crate) fn admit(&mut self, now: Now) {
        while let Some(mut first) = self.admission.waiting.pop_front() {
            let room = self.disk_room();
            // What does not fit is refused by the rule that wants room.
            let has_room = self.has_room(first.producing.bytes());
            let is_early = has_room && now.mono_ms < self.admission.next_at_ms;
            let store = &self.logs.store;
            self.admission.is_blocked = has_room && store.failed().is_none() && store.congested();
            if !is_early && !self.admission.is_blocked {
                if self.produce_now(now, &mut first.producing) == Progress::Done {
                    // What is refused does not use up anything.
                    let taken = if has_room { first.producing.bytes() } else { 0 };
                    let pause_ms = room.pause_ms(taken);
                    let from = self.admission.next_at_ms.max(now.mono_ms);
                    self.admission.next_at_ms = from + pause_ms;
                    continue;
                }
                self.admission.is_blocked = true;
            }
            if self.admission.is_blocked && self.store_is_full() {
                self.refuse_rest(first.producing, &no_space());
            } else if first.until_ms <= now.mono_ms {
                let trouble = self.overdue(room);
                self.refuse_rest(first.producing, &trouble);
            } else {
                return self.admission.waiting.push_front(first);
            }
        }
    }

    /// Whether the store waits for room on the disk, and not only for its turn.
    fn store_is_full(&self) -> bool {
        let fault = self.logs.store.flush_fault();
        fault.is_some_and(|fault| fault.kind == FaultKind::NoSpace)
    }

    /// What is left of the disk for produce.
    pub fn disk_room(&self) -> DiskRoom {
        if self.admission.is_full {
            return DiskRoom::None;
        }
        DiskRoom::of(self.free_bytes, self.config.disk_reserve_bytes)
    }

    /// Whether so many bytes leave the reserve, and the disk has not just been full.
    fn has_room(&self, bytes: u64) -> bool {
        let left = self.free_bytes.saturating_sub(bytes);
        !self.admission.is_full && left >= self.config.disk_reserve_bytes
    }

    /// Whether there is room for so many bytes; or what to tell.
    pub(crate) fn check_room(&mut self, bytes: u64) -> Result<(), String> {
        if self.has_room(bytes) {
            return Ok(());
        }
        let (free, reserve) = (self.free_bytes, self.config.disk_reserve_bytes);
        self.admission.is_full |= free < resume_bytes(reserve);
        Err(below_reserve(free, reserve))
    }

    /// Tells the broker how much room the disk has; until told again it counts what it takes. It
    /// refuses what would not leave its reserve.
    pub fn set_free_bytes(&mut self, now: Now, free: u64) {
        self.free_bytes = free.saturating_sub(self.logs.store.unwritten_bytes());
        self.admission.is_full &= self.free_bytes < resume_bytes(self.config.disk_reserve_bytes);
        self.admit(now);
    }

    /// What to tell a client whose request waited too long.
    fn overdue(&self, room: DiskRoom) -> String {
        let waited = limits::PRODUCE_WAIT_MAX_MS / 1000;
        match room {
            DiskRoom::Low(left) => format!(
                "the disk is nearly full: {left} bytes are left above the reserve, and this waited \
                 {waited} s for its turn; free some space on the data directory's disk"
            ),
            DiskRoom::Plenty | DiskRoom::None => format!(
                "the disk does not keep up: {} bytes wait to be written to segments, and this \
                 waited {waited} s for its turn; send it again, or less at a time",
                self.logs.store.unflushed_bytes()
            ),
        }
    }
}

fn below_reserve(free: u64, reserve: u64) -> String {
    format!(
        "the disk is full: {free} bytes are free and {reserve} are kept in reserve; free some \
         space on the data directory's disk, and producing goes on by itself"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_slows_with_what_is_left() {
        const MIB: u64 = 1 << 20;
        let reserve = 64 * MIB;
        let cases = [
            (200 * MIB, DiskRoom::Plenty, 0),
            (128 * MIB, DiskRoom::Plenty, 0),
            (127 * MIB, DiskRoom::Low(63 * MIB), 126),
            (72 * MIB, DiskRoom::Low(8 * MIB), 1000),
            (64 * MIB, DiskRoom::Low(0), 1000),
            (64 * MIB - 1, DiskRoom::None, 0),
        ];
        for (free, room, pause_ms) in cases {
            assert_eq!(DiskRoom::of(free, reserve), room, "{free} bytes free");
            assert_eq!(room.pause_ms(MIB), pause_ms, "{free} bytes free");
        }
    }
}
