//! Compaction: of each key the last record stays.
//!
//! [`plan`] says which sealed segments are due, [`CompactJob`] rewrites them group by group into
//! `.cleaned` files, [`Replacement::swap`] puts each group's result in place of its sources,
//! [`finish_swaps`] brings a folder that a crash left in between to one side or the other.
//!
//! How a log's owner uses it, with everything but the first line on a worker:
//!
//! ```text
//! plan(facts, config, now) -> CompactPlan
//! job = CompactJob::new(handles, dir, plan, aborted, live, slots_max)
//! loop job.run():
//!   Step::More                   again, now or after something else
//!   Step::Replaced(replacement)  pin the files of replacement.sources for those who read them;
//!                                replacement.swap(disk);
//!                                owner: installs the new segment in their place; again
//!   Step::Done(outcome)          owner: keeps outcome.cleaned_to with the log's checkpoint
//! ```
//!
//! Invariants:
//! 1. Offsets, order, and every field of a batch that a producer's state rests on stay.
//! 2. Groups are replaced from the oldest on, so a tombstone goes no earlier than the values it hides.
//! 3. A batch of which everything stays is copied byte for byte; records are decoded only as far as
//!    their keys, and not at all above the offset up to which keys are known.
//! 4. Nothing is dropped on the word of bytes that fail a check: a damaged batch ends the job before
//!    its segment, which stays as it is.
//! 5. The last batch of a group stays, if need be without records, so that a cleaned segment says how
//!    far it goes; the next cleaning that has it in the middle of a group takes it.
//!
//! The rules are Kafka's (LogCleaner, KIP-534). Two are stricter: of a live producer all remembered
//! batches stay, not only the last, so that replay remembers as much as before; and the end of a
//! transaction that a live producer's epoch rests on stays whole.

use crate::Fault;

mod cleaner;
mod job;
mod key_map;
mod names;
mod output;
mod plan;
mod source;
mod swap;
mod transactions;

pub(crate) use cleaner::LiveProducers;
pub(crate) use job::CompactJob;
pub(crate) use plan::{CompactFacts, CompactPlan, plan};
pub(crate) use swap::{Replacement, finish_swaps};

/// What a step of a [`CompactJob`] came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// There is more to do.
    More,
    /// A group has been rewritten and is to be swapped in before the next step.
    Replaced(Replacement),
    Done(Outcome),
}

/// What a finished [`CompactJob`] came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The log's new cleaner offset: below it no key has two records.
    pub(crate) cleaned_to: i64,
    /// The damage that ended the job early, and the segment it is in. Cleaning this log again comes to
    /// the same until it is repaired.
    pub(crate) damaged: Option<(i64, Fault)>,
    pub(crate) figures: Figures,
}

/// How much a [`CompactJob`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Of the segments that were rewritten; what was read for its keys only is not counted.
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) records_kept: u64,
    pub(crate) records_dropped: u64,
}

#[cfg(test)]
mod tests;
