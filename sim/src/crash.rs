//! Cuts the power at every call that changes the disk and checks what recovery makes of it.
//!
//! For each call of a history: the history is run again with the disk failing from that call on;
//! from the unsynced changes several disks are built (all lost, all kept, random subsets, torn
//! writes); each is opened and checked against the model; the power is cut again inside that
//! recovery; and the recovered log must take more batches and keep them through another cut.

use std::sync::Arc;

use tidings_log::{
    AppendAt, Appended, BatchBuilder, CommitLog, Fate, FaultKind, MemoryDisk, NewRecord, Unsynced,
};

use crate::history::{CONFIG, DIR, Ended, Owner, Wrap};
use crate::model::Model;
use crate::random::Random;

/// How the unsynced changes of a crash fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fates {
    AllLost,
    AllKept,
    AnySubset,
    Torn,
}

/// Each is tried at each call; those with chance in them more than once.
const FATES: [Fates; 6] =
    [Fates::AllLost, Fates::AllKept, Fates::AnySubset, Fates::AnySubset, Fates::Torn, Fates::Torn];

/// What was explored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub histories: u64,
    /// Calls at which the power was cut.
    pub cuts: u64,
    /// Disks that were built, recovered and checked.
    pub crash_states: u64,
    /// Of these, with a second cut inside recovery.
    pub nested: u64,
}

/// A state in which the log broke its word; the seed brings it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub seed: u64,
    /// The call that was the first to fail; none when no power was cut.
    pub call: Option<u64>,
    pub fates: Option<Fates>,
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}", self.seed)?;
        if let Some(call) = self.call {
            write!(f, ", power cut at call {call}")?;
        }
        if let Some(fates) = self.fates {
            write!(f, ", unsynced changes {fates:?}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Explores the history of one seed, on the plain disk.
pub fn explore(seed: u64, figures: &mut Figures) -> Result<(), Violation> {
    explore_on(seed, |disk| Arc::new(disk), figures)
}

/// Explores the history of one seed, on a disk that may be broken.
pub fn explore_on(seed: u64, wrap: Wrap, figures: &mut Figures) -> Result<(), Violation> {
    let whole = MemoryDisk::with_crash_model();
    let mut owner = Owner::new(wrap(whole.clone()), seed);
    let violation = |call, fates, what| Violation { seed, call, fates, what };
    match owner.run() {
        Ok(()) => {}
        Err(Ended::Violation(what)) => return Err(violation(None, None, what)),
        Err(Ended::Power) => {
            return Err(violation(None, None, "the log failed without a cause".to_owned()));
        }
    }
    figures.histories += 1;
    for call in 0..whole.calls() {
        let disk = MemoryDisk::with_crash_model();
        disk.fail_after(call, FaultKind::Io("the power is cut".to_owned()));
        let mut owner = Owner::new(wrap(disk.clone()), seed);
        if let Err(Ended::Violation(what)) = owner.run() {
            return Err(violation(Some(call), None, what));
        }
        figures.cuts += 1;
        let mut random = Random::new(seed ^ (call << 32));
        for fates in FATES {
            let left = cut(&disk, fates, &mut random);
            check(&left, &owner.model, wrap, &mut random, figures)
                .map_err(|what| violation(Some(call), Some(fates), what))?;
        }
    }
    Ok(())
}

fn cut(disk: &MemoryDisk, fates: Fates, random: &mut Random) -> MemoryDisk {
    disk.crash(&mut |_: Unsynced<'_>| match fates {
        Fates::AllLost => Fate::Lost,
        Fates::AllKept => Fate::Kept,
        Fates::AnySubset if random.once_in(2) => Fate::Lost,
        Fates::AnySubset => Fate::Kept,
        Fates::Torn => match random.below(4) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Torn { sectors: random.number() },
        },
    })
}

fn check(
    left: &MemoryDisk,
    model: &Model,
    wrap: Wrap,
    random: &mut Random,
    figures: &mut Figures,
) -> Result<(), String> {
    figures.crash_states += 1;
    let disk = left.fork();
    let before = disk.calls();
    recover(&disk, model.clone(), wrap, random)?;
    let calls = disk.calls() - before;

    let disk = left.fork();
    disk.fail_after(random.below(calls.max(1)), FaultKind::Io("cut again".to_owned()));
    if CommitLog::open(wrap(disk.clone()), DIR, CONFIG).is_err() {
        figures.crash_states += 1;
        figures.nested += 1;
        let left = cut(&disk, Fates::Torn, random);
        recover(&left, model.clone(), wrap, random)
            .map_err(|what| format!("{what} (after a second cut inside recovery)"))?;
    }
    Ok(())
}

/// Opens, checks, appends, syncs, loses all that is not synced, and checks again.
fn recover(
    disk: &MemoryDisk,
    mut model: Model,
    wrap: Wrap,
    random: &mut Random,
) -> Result<(), String> {
    let mut log = open_and_check(disk, &mut model, wrap)?;
    let survived = disk.crash(&mut |_| Fate::Lost);
    open_and_check(&survived, &mut model, wrap)
        .map_err(|what| format!("{what} (what recovery found was served before it was durable)"))?;

    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord { timestamp: random.below(1000) as i64, ..NewRecord::default() });
    let batch = builder.build();
    let stored = model.stored(&batch, 9);
    let at = AppendAt { now_ms: 0, leader_epoch: 9, log_append_time: false };
    match log.append(&batch, at) {
        Ok(Appended::Written { base_offset, .. }) if base_offset == model.end_offset => {}
        other => return Err(format!("append after recovery gave {other:?}")),
    }
    model.append(stored);
    if random.once_in(2) {
        log.close().map_err(|fault| fault.to_string())?;
    } else if let Some(work) = log.sync_begin() {
        log.sync_end(&work, work.run());
    }
    model.durable_offset = log.durable_offset();
    if model.durable_offset != model.end_offset {
        return Err(format!("a sync left {} undurable", model.end_offset - model.durable_offset));
    }
    open_and_check(&disk.crash(&mut |_| Fate::Lost), &mut model, wrap)?;
    Ok(())
}

fn open_and_check(disk: &MemoryDisk, model: &mut Model, wrap: Wrap) -> Result<CommitLog, String> {
    let opened = CommitLog::open(wrap(disk.clone()), DIR, CONFIG);
    let (log, recovered) = opened.map_err(|fault| format!("open: {fault}"))?;
    if !recovered.damaged.is_empty() {
        return Err(format!("a power cut was taken for damage: {:?}", recovered.damaged));
    }
    model.check(&log)?;
    Ok(log)
}
