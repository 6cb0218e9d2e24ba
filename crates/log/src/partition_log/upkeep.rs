//! What of a log retention and compaction look at, and what they do to it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::epochs::Epochs;
use super::handles::Handles;
use super::scan::is_damage;
use super::segment::Segment;
use super::transactions::AbortedTransaction;
use super::{PartitionLog, ProducerCounts, TailFacts};
use crate::compaction::{CompactFacts, CompactPlan, LiveProducers, Outcome, Replacement, plan};
use crate::retention::{Retention, RetentionFacts, SegmentFacts, expired};
use crate::{BatchHeader, LogConfig, LogId};

/// A look at one log: what retention and compaction would do now.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) id: LogId,
    handles: Arc<Handles>,
    segments: Vec<Arc<Segment>>,
    epochs: Arc<Epochs>,
    tail: TailFacts,
    config: LogConfig,
    start_offset: i64,
    cleaned_to: i64,
    limit: i64,
    wall_ms: i64,
    pub(crate) retention: Retention,
    pub(crate) compaction: Option<CompactPlan>,
}

impl Look {
    /// A segment whose timestamps cannot be read for damage is as old as the next one, and the log is not
    /// compacted. Bytes that cannot be had at all end the look.
    pub(crate) fn run(&mut self) {
        let Some((segments, damaged)) = self.facts() else { return };
        let start_offset = self.start_offset;
        let facts = RetentionFacts { segments: &segments, start_offset, limit: self.limit };
        self.retention = expired(facts, &self.config, self.wall_ms);
        if damaged {
            return;
        }
        let facts = CompactFacts {
            segments: &segments,
            start_offset,
            cleaned_to: self.cleaned_to,
            last_stable_offset: self.limit,
        };
        self.compaction = plan(facts, &self.config, self.wall_ms);
    }

    /// Of every segment, and whether one is damaged.
    fn facts(&self) -> Option<(Vec<SegmentFacts>, bool)> {
        let mut facts = Vec::with_capacity(self.segments.len() + 1);
        let mut damaged = false;
        for segment in &self.segments {
            facts.push(match segment.facts(&self.handles, &self.epochs) {
                Err(fault) if is_damage(&fault) => {
                    damaged = true;
                    segment.facts_with_times(-1, -1)
                }
                facts => facts.ok()?,
            });
        }
        // What is in memory belongs to the active segment, which there may be none of yet.
        let tail = &self.tail;
        match facts.last_mut() {
            Some(active) if self.segments.last().is_some_and(|last| !last.sealed) => {
                active.next_offset = tail.end_offset;
                active.bytes += tail.bytes;
                active.max_timestamp = active.max_timestamp.max(tail.max_timestamp);
            }
            _ => facts.push(SegmentFacts {
                base_offset: tail.base_offset,
                next_offset: tail.end_offset,
                bytes: tail.bytes,
                offset_index_bytes: 0,
                time_index_bytes: 0,
                first_timestamp: tail.max_timestamp,
                max_timestamp: tail.max_timestamp,
            }),
        }
        Some((facts, damaged))
    }
}

impl PartitionLog {
    /// Something to run elsewhere that says what is due; none where nothing can be.
    pub(crate) fn look(&self, id: LogId, handles: &Arc<Handles>, wall_ms: i64) -> Option<Look> {
        let tail = self.tail_facts();
        if self.segments.is_empty() && tail.bytes == 0 {
            return None;
        }
        Some(Look {
            id,
            handles: Arc::clone(handles),
            segments: self.segments.clone(),
            epochs: Arc::clone(&self.epochs),
            tail,
            config: self.config,
            start_offset: self.start_offset,
            cleaned_to: self.cleaned_to,
            limit: self.last_stable_offset(),
            wall_ms,
            retention: Retention::Keep,
            compaction: None,
        })
    }

    /// Takes the segments that the durable start offset has passed out of the log.
    pub(crate) fn let_go_of_passed(&mut self) -> Vec<Arc<Segment>> {
        let start = self.durable_start_offset;
        let passed = |segment: &Arc<Segment>| segment.sealed && segment.next_offset <= start;
        let count = self.segments.iter().take_while(|&segment| passed(segment)).count();
        let gone: Vec<Arc<Segment>> = self.segments.drain(..count).collect();
        self.segments_bytes -= gone.iter().map(|segment| segment.size).sum::<u64>();
        if !gone.is_empty() {
            let known = self.aborted.partition_point(|aborted| aborted.last_offset < start);
            self.aborted.drain(..known);
        }
        gone
    }

    /// Takes back segments whose files could not be removed.
    pub(crate) fn take_back(&mut self, segments: Vec<Arc<Segment>>) {
        self.segments_bytes += segments.iter().map(|segment| segment.size).sum::<u64>();
        self.segments.splice(..0, segments);
    }

    /// The last segment takes no more batches from the next flush on.
    pub(crate) fn roll(&mut self) {
        self.roll_due = true;
    }

    /// Whether a checkpoint says that compaction may leave out offsets. If not, the next one will.
    pub(crate) fn may_have_gaps(&mut self) -> bool {
        let recorded = self.sparse && !self.record_due;
        if !self.sparse {
            self.sparse = true;
            self.record_due = true;
        }
        recorded
    }

    pub(crate) fn sealed_segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    pub(crate) fn removed_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.removed)
    }

    /// Aborted transactions that reach below `until`, and the producers that the log remembers.
    pub(crate) fn facts_for_compaction(
        &self,
        until: i64,
    ) -> (Vec<AbortedTransaction>, LiveProducers) {
        let below = |aborted: &&AbortedTransaction| aborted.first_offset < until;
        let aborted = self.aborted.iter().filter(below).copied().collect();
        let mut live = LiveProducers::default();
        for entry in self.producers.entries() {
            let last_offset = (entry.last_offset >= 0).then_some(entry.last_offset);
            live.add(entry.producer_id, entry.epoch, last_offset);
        }
        (aborted, live)
    }

    /// Puts a cleaned segment in place of its sources, as its files already are.
    pub(crate) fn replace(&mut self, replacement: Replacement, handles: &Handles) {
        let Replacement { sources, segment, aborted } = replacement;
        let Some(&first) = sources.first() else { return };
        let at = self.segments.partition_point(|held| held.base_offset < first);
        let range = at..(at + sources.len()).min(self.segments.len());
        for gone in self.segments.splice(range, [Arc::new(segment.clone())]) {
            gone.forget_handles(handles);
        }
        self.segments_bytes = self.segments.iter().map(|segment| segment.size).sum();
        let from = self.aborted.partition_point(|held| held.last_offset < segment.base_offset);
        let to = self.aborted.partition_point(|held| held.last_offset < segment.next_offset);
        self.aborted.splice(from..to, aborted);
    }

    pub(crate) fn cleaned(&mut self, outcome: &Outcome) {
        self.cleaned_to = outcome.cleaned_to;
        self.record_due = true;
    }

    /// The offset after the segment that begins at `base_offset`.
    pub(crate) fn segment_end(&self, base_offset: i64) -> i64 {
        let found = self.segments.iter().find(|segment| segment.base_offset == base_offset);
        found.map_or(base_offset + 1, |segment| segment.next_offset)
    }

    pub(crate) fn expire_producers(&mut self, mono_ms: u64, expiry_ms: i64) {
        self.producers.expire(mono_ms, expiry_ms);
        self.forget_flushed_producers();
    }

    /// How many producers are remembered.
    pub(crate) fn producer_counts(&self) -> ProducerCounts {
        self.producers.counts()
    }

    /// Forgets so many producers without an open transaction, those that wrote longest ago.
    pub(crate) fn forget_producers(&mut self, count: usize) {
        self.producers.forget(count);
        self.forget_flushed_producers();
    }

    pub(crate) fn remembers(&self, producer_id: i64) -> bool {
        self.producers.remembers(producer_id)
    }

    /// Whether the batch would begin a transaction.
    pub(crate) fn opens_transaction(&self, header: &BatchHeader) -> bool {
        header.attributes.transactional()
            && !header.attributes.control()
            && !self.producers.has_open(header.producer_id)
    }

    /// As of the last flush none is remembered that has been forgotten since. Not by their own age, as they
    /// have not seen what is not flushed; and after each flush again, which brings back those it began with.
    pub(super) fn forget_flushed_producers(&mut self) {
        if self.flushed_producers.has_others_than(&self.producers) {
            Arc::make_mut(&mut self.flushed_producers).keep_those_of(&self.producers);
        }
    }

    fn tail_facts(&self) -> TailFacts {
        let batches = self.tail.from(self.flushed_offset);
        let max_timestamp = batches.map(|batch| batch.max_timestamp).max().unwrap_or(-1);
        TailFacts {
            base_offset: self.flushed_offset,
            end_offset: self.end_offset,
            bytes: self.unflushed_bytes,
            max_timestamp,
        }
    }
}
