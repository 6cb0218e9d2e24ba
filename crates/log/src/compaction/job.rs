//! The cleaning of one log, in steps: first the keys of the dirty part, then group after group.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cleaner::{self, Cleaner, Fate, LiveProducers};
use super::key_map::KeyMap;
use super::output::Output;
use super::source::Source;
use super::swap::Replacement;
use super::transactions::Transactions;
use super::{CompactPlan, Figures, Outcome, Step};
use crate::batch::rewrite;
use crate::limits::COMPACTION_STEP_BYTES;
use crate::partition_log::handles::Handles;
use crate::partition_log::transactions::AbortedTransaction;
use crate::retention::SegmentFacts;
use crate::{BatchError, BatchHeader, Fault, FaultKind};

/// The cleaning of one log, in steps.
#[derive(Debug)]
pub(crate) struct CompactJob {
    handles: Arc<Handles>,
    dir: Arc<str>,
    plan: CompactPlan,
    cleaner: Cleaner,
    outcome: Outcome,
    stage: Stage,
    /// Groups that are still to be rewritten.
    groups: VecDeque<Vec<SegmentFacts>>,
    step_bytes: u64,
    /// Bytes that the step at hand may still read.
    budget: u64,
    /// Memory to read into, and to gather bytes in, between uses.
    chunks: (Vec<u8>, Vec<u8>),
}

#[derive(Debug)]
enum Stage {
    Keys(Box<Keys>),
    BetweenGroups,
    Group(Box<Group>),
    Over,
}

/// The gathering of keys.
#[derive(Debug)]
struct Keys {
    left: VecDeque<SegmentFacts>,
    /// The segment being read.
    source: Option<(i64, Source)>,
    transactions: Transactions,
}

/// A group being rewritten.
#[derive(Debug)]
struct Group {
    segments: Vec<SegmentFacts>,
    next_offset: i64,
    /// How many segments have been read.
    read: usize,
    source: Source,
    output: Output,
    /// As they were before the group.
    before: (Transactions, Figures),
}

impl CompactJob {
    /// `aborted` are all aborted transactions that have an offset below `plan.until`; at most three
    /// quarters of `slots_max` keys are remembered.
    pub(crate) fn new(
        handles: Arc<Handles>,
        dir: &Arc<str>,
        plan: CompactPlan,
        aborted: Vec<AbortedTransaction>,
        live: LiveProducers,
        slots_max: usize,
    ) -> Self {
        let dirty = plan.groups.iter().flatten();
        let dirty = dirty.filter(|segment| segment.next_offset > plan.dirty_from);
        let keys = Keys {
            left: dirty.copied().collect(),
            source: None,
            transactions: Transactions::new(aborted.clone()),
        };
        let map = KeyMap::new(slots_max);
        let times = (plan.now_ms, plan.config.delete_retention_ms.max(0));
        Self {
            handles,
            dir: Arc::clone(dir),
            cleaner: Cleaner::new(map, plan.until, aborted, live, times),
            outcome: Outcome { cleaned_to: plan.dirty_from, ..Outcome::default() },
            groups: plan.groups.iter().cloned().collect(),
            plan,
            stage: Stage::Keys(Box::new(keys)),
            step_bytes: COMPACTION_STEP_BYTES,
            budget: 0,
            chunks: (Vec::new(), Vec::new()),
        }
    }

    /// Remembers at most three quarters of `slots_max` keys, and reads `step_bytes` in a step.
    #[cfg(test)]
    pub(super) fn with_limits(mut self, slots_max: usize, step_bytes: u64) -> Self {
        self.cleaner.keys = KeyMap::new(slots_max);
        self.step_bytes = step_bytes;
        self
    }

    /// Reads about [`COMPACTION_STEP_BYTES`] and does what goes with them. After a fault the job is
    /// over, and nothing that it left has a name that counts.
    pub(crate) fn run(&mut self) -> Result<Step, Fault> {
        self.budget = self.step_bytes;
        while self.budget > 0 {
            // A fault leaves the job over.
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Keys(keys) => self.stage = self.gather(keys)?,
                Stage::BetweenGroups => self.stage = self.next_group()?,
                Stage::Group(mut group) => match self.rewrite(&mut group) {
                    Ok(true) => {
                        self.stage = Stage::BetweenGroups;
                        if let Some(replacement) = self.finish(*group)? {
                            return Ok(Step::Replaced(replacement));
                        }
                    }
                    Ok(false) => self.stage = Stage::Group(group),
                    Err(fault) => {
                        self.give_up(*group, fault)?;
                        self.stage = Stage::BetweenGroups;
                    }
                },
                Stage::Over => return Ok(Step::Done(self.outcome.clone())),
            }
        }
        Ok(Step::More)
    }

    /// Reads keys until all are known, or as many as there is room for, or the budget is used up.
    fn gather(&mut self, mut keys: Box<Keys>) -> Result<Stage, Fault> {
        while self.budget > 0 {
            let (base_offset, mut source) = match keys.source.take() {
                Some(source) => source,
                None => match keys.left.pop_front() {
                    Some(segment) => (segment.base_offset, self.open(&segment)?),
                    None => return Ok(Stage::BetweenGroups),
                },
            };
            let known_until = match source.next() {
                Ok(Some((header, bytes))) => {
                    self.budget = self.budget.saturating_sub(bytes.len() as u64);
                    self.note_keys(&mut keys.transactions, &header, bytes)
                }
                Ok(None) => {
                    self.chunks.0 = source.take_chunk();
                    continue;
                }
                Err(fault) if is_damage(&fault) => {
                    self.outcome.damaged = Some((base_offset, fault));
                    Some(base_offset)
                }
                Err(fault) => return Err(fault),
            };
            if let Some(known_until) = known_until {
                self.chunks.0 = source.take_chunk();
                self.stop_at(known_until);
                return Ok(Stage::BetweenGroups);
            }
            keys.source = Some((base_offset, source));
        }
        Ok(Stage::Keys(keys))
    }

    /// Notes the keys of a batch; when there is no room for one, returns its offset.
    fn note_keys(
        &mut self,
        transactions: &mut Transactions,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Option<i64> {
        if header.attributes.control() {
            transactions.control(header, cleaner::ending(header, bytes));
            return None;
        }
        if transactions.data(header) || header.last_offset() < self.plan.dirty_from {
            return None;
        }
        // What cannot be read is kept as it is, so its keys need not be known.
        let payload = rewrite::payload(header, bytes).ok()?;
        for record in rewrite::raw_records(header, &payload).map_while(Result::ok) {
            let Some(key) = record.key else { continue };
            if record.offset >= self.plan.dirty_from && !self.cleaner.keys.put(key, record.offset) {
                return Some(record.offset);
            }
        }
        None
    }

    /// Leaves segments at or past `known_until` as they are.
    fn stop_at(&mut self, known_until: i64) {
        self.cleaner.keys_until = known_until;
        for group in &mut self.groups {
            group.retain(|segment| segment.base_offset < known_until);
        }
        self.groups.retain(|group| !group.is_empty());
    }

    fn next_group(&mut self) -> Result<Stage, Fault> {
        let Some(segments) = self.groups.pop_front() else {
            let known = self.cleaner.keys_until;
            let sound = self.outcome.damaged.as_ref().map_or(known, |&(base, _)| base.min(known));
            self.outcome.cleaned_to = sound.max(self.plan.dirty_from);
            return Ok(Stage::Over);
        };
        let Some((first, last)) = segments.first().zip(segments.last()) else {
            return Ok(Stage::BetweenGroups);
        };
        let source = self.open(first)?;
        let buffer = std::mem::take(&mut self.chunks.1);
        let mut output =
            Output::new(&self.handles, &self.dir, first.base_offset, &self.plan.config, buffer);
        if segments.len() > 1 {
            output.diverge(self.handles.disk(), &**source.file())?;
        }
        let next_offset = last.next_offset;
        let before = (self.cleaner.transactions.clone(), self.outcome.figures);
        let group = Group { segments, next_offset, read: 0, source, output, before };
        Ok(Stage::Group(Box::new(group)))
    }

    /// Rewrites until the group has been read, or the budget is used up; tells which.
    fn rewrite(&mut self, group: &mut Group) -> Result<bool, Fault> {
        let Group { segments, next_offset, read, source, output, .. } = group;
        let figures = &mut self.outcome.figures;
        while self.budget > 0 {
            let file = Arc::clone(source.file());
            let Some((header, bytes)) = source.next()? else {
                *read += 1;
                let Some(segment) = segments.get(*read) else { return Ok(true) };
                *source =
                    Source::open(self.handles.disk(), &self.dir, segment, source.take_chunk())?;
                continue;
            };
            self.budget = self.budget.saturating_sub(bytes.len() as u64);
            figures.bytes_read += bytes.len() as u64;
            let last = header.last_offset() + 1 >= *next_offset;
            let cleaned = self.cleaner.clean(&header, bytes, last, figures, output.buffer());
            let (fate, aborted) = cleaned.map_err(|error| grown(file.path(), &error))?;
            if fate != Fate::Whole {
                output.diverge(self.handles.disk(), &*file)?;
            }
            match fate {
                Fate::Gone => {}
                Fate::Whole => output.same(&header, bytes)?,
                Fate::Changed(header) => output.changed(&header)?,
            }
            if let Some(aborted) = aborted {
                output.aborted(aborted);
            }
        }
        Ok(false)
    }

    fn finish(&mut self, mut group: Group) -> Result<Option<Replacement>, Fault> {
        self.chunks.0 = group.source.take_chunk();
        let finished = group.output.finish(self.handles.disk(), group.next_offset)?;
        self.outcome.figures.bytes_written += finished.written;
        self.chunks.1 = finished.buffer;
        let Some((segment, aborted)) = finished.segment else { return Ok(None) };
        let sources = group.segments.iter().map(|segment| segment.base_offset).collect();
        Ok(Some(Replacement { sources, segment, aborted }))
    }

    /// Takes back a group. When the segment it is being read from is damaged, those before it are
    /// rewritten anew without it and what follows is left; any other fault comes back.
    fn give_up(&mut self, group: Group, fault: Fault) -> Result<(), Fault> {
        group.output.discard(self.handles.disk());
        if !is_damage(&fault) {
            return Err(fault);
        }
        self.groups.clear();
        (self.cleaner.transactions, self.outcome.figures) = group.before;
        if let Some((damaged, sound)) = group.segments[..=group.read].split_last() {
            self.outcome.damaged = Some((damaged.base_offset, fault));
            self.groups.push_back(sound.to_vec());
        }
        Ok(())
    }

    fn open(&mut self, segment: &SegmentFacts) -> Result<Source, Fault> {
        Source::open(self.handles.disk(), &self.dir, segment, std::mem::take(&mut self.chunks.0))
    }
}

fn is_damage(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Corrupt(_))
}

fn grown(path: &str, error: &BatchError) -> Fault {
    let kind = FaultKind::Io(format!("a batch with fewer records {error}"));
    Fault { operation: "compact", path: path.to_owned(), offset: None, kind }
}
