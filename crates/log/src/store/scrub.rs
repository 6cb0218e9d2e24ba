//! The scrubber: reads what lies in segments again, at a bounded rate, and reports what is not as it
//! was written. It goes round all logs, a piece at a time.

use std::sync::Arc;

use super::read::Rots;
use super::{LogId, Moment, Store};
use crate::limits::SCRUB_STEP_BYTES;
use crate::partition_log::handles::Handles;
use crate::partition_log::scrub::{Scrub, ScrubAt};

/// Where the scrubber is.
#[derive(Debug, Default)]
pub(super) struct Scrubbing {
    at: Option<(LogId, ScrubAt)>,
    /// Not before.
    next_ms: u64,
}

/// A piece to read again.
#[derive(Debug)]
pub(super) struct ScrubJob {
    id: LogId,
    handles: Arc<Handles>,
    scrub: Scrub,
    rots: Arc<Rots>,
}

impl ScrubJob {
    pub(super) fn run(&mut self) {
        for (offsets, fault) in self.scrub.run(&self.handles, SCRUB_STEP_BYTES) {
            self.rots.report(self.id, offsets, &fault);
        }
    }
}

impl Store {
    /// The next piece; none when it is not time, or no log has any.
    pub(super) fn next_scrub(&mut self, now: Moment) -> Option<ScrubJob> {
        let due =
            self.config.scrub_bytes_per_second > 0 && now.mono_ms >= self.upkeep.scrubbing.next_ms;
        if !due {
            return None;
        }
        let (from, mut at) = match self.upkeep.scrubbing.at {
            Some((id, at)) => (id, at),
            None => (LogId(0), ScrubAt::default()),
        };
        for (&id, log) in self.logs.range(from..).take(crate::limits::PLAN_LOGS_PER_STEP) {
            if id != from {
                at = ScrubAt::default();
            }
            if let Some(scrub) = log.scrub(at) {
                self.upkeep.scrubbing.at = Some((id, at));
                let (handles, rots) = (Arc::clone(&self.handles), Arc::clone(&self.rots));
                return Some(ScrubJob { id, handles, scrub, rots });
            }
            self.upkeep.scrubbing.at = Some((LogId(id.0.saturating_add(1)), ScrubAt::default()));
        }
        // The round is over, or goes on after a breath.
        let last = self.logs.keys().next_back().copied();
        if last.is_none_or(|last| self.upkeep.scrubbing.at.is_none_or(|(id, _)| id > last)) {
            self.upkeep.scrubbing.at = None;
        }
        self.upkeep.scrubbing.next_ms = now.mono_ms + 1000;
        None
    }

    pub(super) fn scrubbed(&mut self, now: Moment, job: &ScrubJob) {
        let scrubbing = &mut self.upkeep.scrubbing;
        let read = job.scrub.bytes_read();
        scrubbing.at = Some((job.id, job.scrub.at()));
        let rate = self.config.scrub_bytes_per_second.max(1);
        scrubbing.next_ms = now.mono_ms + (read * 1000).div_ceil(rate).max(1);
    }

    pub(super) fn scrub_due_ms(&self) -> Option<u64> {
        let some = self.config.scrub_bytes_per_second > 0 && !self.logs.is_empty();
        some.then_some(self.upkeep.scrubbing.next_ms)
    }
}
