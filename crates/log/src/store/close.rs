//! Running everything here and now, and closing.

use super::work::Job;
use super::{Moment, Store, kafka};
use crate::{Fault, FaultKind};

impl Store {
    /// Runs writes and flushes here and now until everything appended is durable. What cannot become so
    /// stays as it is: see [`Self::failed`] and [`Self::flush_fault`].
    pub fn settle(&mut self, now: Moment) {
        self.try_again();
        loop {
            while let Some(write) = self.next_write() {
                let outcome = write.run();
                self.write_done(write, outcome);
            }
            let stuck = self.pushed.is_empty() || self.failed().is_some();
            if stuck || !self.run_flush(now) {
                return;
            }
        }
    }

    /// What a fault has put off is due now.
    fn try_again(&mut self) {
        self.flushing.retry_ms = 0;
        self.flushing.prepare_retry_ms = 0;
    }

    /// Runs the next work of flushing; tells whether there was some that got further.
    fn run_flush(&mut self, now: Moment) -> bool {
        loop {
            if let Some(mut work) = self.next_flush(now) {
                let is_round = matches!(work.job, Job::Round(_));
                let is_prepare = matches!(work.job, Job::Prepare(_));
                let start_failed = self.flushing.start_failed;
                let before = self.flushing.fault.take();
                work.run();
                self.work_done(now, work);
                if is_prepare && self.journal.prepare_failed().is_some() {
                    // It is not tried again at this moment, and flushing may do without.
                    self.flushing.fault = before;
                    continue;
                }
                let went_well = self.flushing.fault.is_none();
                let start_moved = start_failed && !self.flushing.start_failed;
                if went_well && !is_round && !start_moved {
                    self.flushing.fault = before;
                }
                return went_well;
            }
            if !self.flush_has_more() {
                return false;
            }
        }
    }

    /// Makes everything durable and puts it into segments, here and now, as far as the disk lets it:
    /// what it does not stays in the journal.
    pub fn flush_now(&mut self, now: Moment) {
        self.settle(now);
        self.flushing.urgent = true;
        while self.run_flush(now) {
            self.settle(now);
        }
        self.flushing.urgent = false;
    }

    /// Flushes everything, writes the checkpoint and Kafka's checkpoint files. Needs that no write and no
    /// work is out. A fault, a full disk for one, means that some of it stays in the journal, where the
    /// next opening finds it. [`FaultKind::Lost`] means more: a log that skips the journal could not be
    /// flushed, and what it had in memory only is gone.
    pub fn close(&mut self) -> Result<(), Fault> {
        assert!(!self.flush_is_out() && !self.upkeep_is_out(), "closed when no work is out");
        let now = Moment { wall_ms: 0, mono_ms: u64::MAX / 2 };
        // The clean mark tells more than an idle journal's announcement.
        self.flushing.idle_since_ms = None;
        self.flush_now(now);
        // Idle by now, the journal may have had something to say.
        self.settle(now);
        if let Some(fault) = self.journal.failed() {
            return Err(fault.clone());
        }
        self.begun = false;
        let all_in_segments = self.dirty.is_empty()
            && self.flushing.holds_nothing()
            && self.unopened.first_sequence().is_none()
            && self.pushed.is_empty()
            && !self.journal.stalled();
        let lost = self.lost_by_closing();
        // The mark tells the next opening that nothing was lost.
        if all_in_segments && lost.is_none() {
            self.journal.close()?;
            if let Some(checkpoint) = self.checkpoint.as_ref().filter(|_| self.flushing.kafka_stale)
            {
                // Older ones cost nothing here.
                drop(kafka::write(self.handles.disk(), checkpoint));
            }
        }
        if let Some(lost) = lost {
            return Err(lost);
        }
        match self.flush_fault().filter(|_| !all_in_segments) {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    fn lost_by_closing(&self) -> Option<Fault> {
        let mut losses = self.logs.values().filter_map(|log| Some((log, log.only_in_memory()?)));
        let (log, lost) = losses.next()?;
        let kind = FaultKind::Lost { first: lost.start, end: lost.end, others: losses.count() };
        Some(Fault { operation: "close", path: log.dir().to_string(), offset: None, kind })
    }
}
