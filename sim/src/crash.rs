//! Cuts the power at every call that changes the disk and checks what recovery makes of it.
//!
//! For each call of a history: the history is run again with the disk failing from that call on;
//! from the unsynced changes several disks are built (all lost, all kept, subsets, torn writes). Each is
//! opened and held to the model; what it answers must be what it answers when everything unsynced is
//! lost right after opening; it must then take more batches and keep them. The power is cut again
//! inside that recovery or soon after it, up to [`NESTED_MAX`] deep.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tidings_log::{Fate, Unsynced};

use crate::books::Books;
use crate::disk::{Lie, Operation, SimDisk};
use crate::history::{Ended, Owner, Trouble};
use crate::model::Answers;
use crate::random::Random;
use crate::sites::Sites;

/// Power cuts one inside the recovery of the other, the first one included.
pub const NESTED_MAX: usize = 3;
/// Steps after a recovery before everything unsynced is lost again.
const STEPS_AFTER: u64 = 6;

/// Of so many recoveries one is listened to; a backtrace takes as long as several calls.
const LISTENED_ONE_IN: u64 = 50;

/// How the unsynced changes of a crash fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fates {
    AllLost,
    AllKept,
    AnySubset,
    TornSectors,
    TornPages,
    /// Only the process is killed: everything is readable, and what was not synced may be lost later.
    NotYetDecided,
}

/// Each is tried at each call; those with chance in them more than once.
const FATES: [Fates; 8] = [
    Fates::AllLost,
    Fates::AllKept,
    Fates::AnySubset,
    Fates::AnySubset,
    Fates::TornSectors,
    Fates::TornSectors,
    Fates::TornPages,
    Fates::TornPages,
];

/// What was explored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub histories: u64,
    /// Calls at which the power was cut.
    pub cuts: u64,
    /// Disks that were built, recovered and checked.
    pub crash_states: u64,
    /// Of these, with a further cut inside or soon after recovery.
    pub nested: u64,
    /// Runs in which one call failed, and the store went on.
    pub failures: u64,
    /// Calls of the uncut histories, by what they do.
    pub calls: [u64; Operation::ALL.len()],
    /// Of every call and byte of the uncut histories.
    pub trace: u64,
}

impl Figures {
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.cuts += other.cuts;
        self.crash_states += other.crash_states;
        self.nested += other.nested;
        self.failures += other.failures;
        for (sum, more) in self.calls.iter_mut().zip(other.calls) {
            *sum += more;
        }
        self.trace = self.trace.wrapping_add(other.trace);
    }
}

/// A power cut: at which call since the disk was opened, and what became of unsynced changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub call: u64,
    pub fates: Fates,
}

/// A state in which the store broke its word; the seed brings it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub seed: u64,
    /// The call that failed while the power was on.
    pub failed_call: Option<u64>,
    /// One inside the recovery of the other.
    pub cuts: Vec<Cut>,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}", self.seed)?;
        if let Some(call) = self.failed_call {
            write!(f, ", call {call} failed")?;
        }
        for (depth, Cut { call, fates }) in self.cuts.iter().enumerate() {
            let again = if depth == 0 { "power cut" } else { "cut again" };
            write!(f, ", {again} at call {call}, unsynced changes {fates:?}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What a history is explored on.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    pub lie: Option<Lie>,
    /// Notes the calls of uncut histories and of one recovery in [`LISTENED_ONE_IN`].
    pub sites: Option<Arc<Sites>>,
    /// Prints every step; the last ones before a violation tell how it came about.
    pub tells: bool,
}

impl Setting {
    fn disk(&self) -> SimDisk {
        SimDisk::new().lying(self.lie)
    }
}

/// One seed's exploration.
struct Explorer<'a> {
    seed: u64,
    setting: &'a Setting,
    random: Random,
    failed_call: Option<u64>,
    cuts: Vec<Cut>,
    figures: &'a mut Figures,
}

/// Explores every power cut of the history of one seed.
pub fn explore(seed: u64, setting: &Setting, figures: &mut Figures) -> Result<(), Violation> {
    without_panic(seed, || explore_cuts(seed, setting, figures))
}

fn explore_cuts(seed: u64, setting: &Setting, figures: &mut Figures) -> Result<(), Violation> {
    let calls = run_whole(seed, setting, figures)?;
    for call in 0..calls {
        let disk = setting.disk();
        disk.cut_after(call);
        let mut owner = Owner::new(disk.clone(), seed, Books::new(seed), Trouble::None);
        owner.tells = setting.tells;
        let mut explorer = Explorer::new(seed, setting, call, figures);
        if let Err(Ended::Violation(what)) = owner.run() {
            return Err(explorer.violation(what));
        }
        explorer.figures.cuts += 1;
        explorer.crashes(&disk, call, &owner.books, &FATES)?;
        disk.revive();
        explorer.killed(&disk, call, &owner.books)?;
    }
    Ok(())
}

/// Runs the history of one seed again and again, each time with another one of its calls failing once;
/// what was promised before and after that must survive.
pub fn explore_failures(
    seed: u64,
    setting: &Setting,
    figures: &mut Figures,
) -> Result<(), Violation> {
    without_panic(seed, || explore_failing_calls(seed, setting, figures))
}

/// A panic is a violation, told after its message.
fn without_panic(
    seed: u64,
    explore: impl FnOnce() -> Result<(), Violation>,
) -> Result<(), Violation> {
    catch_unwind(AssertUnwindSafe(explore)).unwrap_or_else(|_| {
        let what = "panicked".to_owned();
        Err(Violation { seed, failed_call: None, cuts: Vec::new(), what })
    })
}

fn explore_failing_calls(
    seed: u64,
    setting: &Setting,
    figures: &mut Figures,
) -> Result<(), Violation> {
    let mut unused = Figures::default();
    let calls = run_whole(seed, setting, &mut unused)?;
    for call in 0..calls {
        let disk = setting.disk();
        disk.fail_one_after(call);
        let mut owner = Owner::new(disk.clone(), seed, Books::new(seed), Trouble::OneFailure);
        owner.tells = setting.tells;
        let mut explorer = Explorer::new(seed, setting, call, figures);
        explorer.failed_call = Some(call);
        if let Err(Ended::Violation(what)) = owner.run() {
            return Err(explorer.violation(what));
        }
        explorer.figures.failures += 1;
        let end = disk.calls();
        explorer.crashes(&disk, end, &owner.books, &FATES[..3])?;
    }
    Ok(())
}

/// The history without any trouble; returns how many calls it makes.
pub fn run_whole(seed: u64, setting: &Setting, figures: &mut Figures) -> Result<u64, Violation> {
    let disk = setting.disk();
    if let Some(sites) = &setting.sites {
        disk.listen(Arc::clone(sites));
    }
    let mut owner = Owner::new(disk.clone(), seed, Books::new(seed), Trouble::None);
    owner.tells = setting.tells;
    let violation = |what| Violation { seed, failed_call: None, cuts: Vec::new(), what };
    match owner.run() {
        Ok(()) => {}
        Err(Ended::Violation(what)) => return Err(violation(what)),
        Err(Ended::Power) => return Err(violation("ended without a cause".to_owned())),
    }
    owner.ask_all().map_err(violation)?;
    figures.histories += 1;
    figures.trace = figures.trace.wrapping_add(disk.trace());
    for (sum, more) in figures.calls.iter_mut().zip(disk.counts()) {
        *sum += more;
    }
    Ok(disk.calls())
}

impl<'a> Explorer<'a> {
    fn new(seed: u64, setting: &'a Setting, call: u64, figures: &'a mut Figures) -> Self {
        let random = Random::new(seed ^ (call << 32));
        Self { seed, setting, random, failed_call: None, cuts: Vec::new(), figures }
    }

    fn violation(&self, what: String) -> Violation {
        Violation { seed: self.seed, failed_call: self.failed_call, cuts: self.cuts.clone(), what }
    }

    /// Builds and checks what a cut at `call` may leave of `disk`, each different disk once.
    fn crashes(
        &mut self,
        disk: &SimDisk,
        call: u64,
        books: &Books,
        fates: &[Fates],
    ) -> Result<(), Violation> {
        let mut seen = BTreeSet::new();
        for &fates in fates {
            let (left, chosen) = crash(disk, fates, &mut self.random);
            if !seen.insert(chosen) {
                continue;
            }
            self.cuts.push(Cut { call, fates });
            if self.setting.tells {
                eprintln!("power cuts {:?}", self.cuts);
            }
            self.check(&left, books)?;
            self.cuts.pop();
        }
        Ok(())
    }

    /// The process is killed at `call` and started again; the power is cut only then.
    fn killed(&mut self, disk: &SimDisk, call: u64, books: &Books) -> Result<(), Violation> {
        self.cuts.push(Cut { call, fates: Fates::NotYetDecided });
        self.check_recovery(disk, books)?;
        self.cuts.pop();
        Ok(())
    }

    /// Recovers a disk, checks it, loses what is unsynced, goes on, and cuts the power again.
    fn check(&mut self, left: &SimDisk, books: &Books) -> Result<(), Violation> {
        let recovery_calls = self.check_recovery(&left.fork(), books)?;
        if self.cuts.len() < NESTED_MAX && recovery_calls > 0 {
            self.cut_again(left, books, recovery_calls)?;
        }
        Ok(())
    }

    /// Returns how many calls the recovery makes.
    fn check_recovery(&mut self, disk: &SimDisk, books: &Books) -> Result<u64, Violation> {
        self.count();
        if let Some(sites) = &self.setting.sites
            && self.random.once_in(LISTENED_ONE_IN)
        {
            disk.listen(Arc::clone(sites));
        }
        let before = disk.calls();
        let mut owner = self.owner(disk, books);
        let answers = self.open_and_ask(&mut owner)?;
        let recovery_calls = disk.calls() - before;

        self.count();
        let survived = disk.crash_without_unsynced();
        let mut after = self.owner(&survived, &owner.books);
        let again = self.open_and_ask(&mut after)?;
        if answers != again {
            let what = format!("served before it was durable: {}", differs(&answers, &again));
            return Err(self.violation(what));
        }
        if self.random.once_in(3) {
            self.go_on(disk, owner)?;
        }
        Ok(recovery_calls)
    }

    /// The recovered store takes more, settles, and keeps it.
    fn go_on(&mut self, disk: &SimDisk, mut owner: Owner) -> Result<(), Violation> {
        self.count();
        let mut outcome = owner.steps(STEPS_AFTER);
        if outcome.is_ok() {
            outcome = owner.settle();
        }
        if let Err(Ended::Violation(what)) = outcome.and_then(|()| owner.note()) {
            return Err(self.violation(format!("going on after recovery: {what}")));
        }
        let survived = disk.crash_without_unsynced();
        let mut after = self.owner(&survived, &owner.books);
        self.open_and_ask(&mut after)?;
        Ok(())
    }

    /// Cuts the power inside the recovery, or a few steps after it.
    fn cut_again(
        &mut self,
        left: &SimDisk,
        books: &Books,
        recovery_calls: u64,
    ) -> Result<(), Violation> {
        let disk = left.fork();
        let call = self.random.below(recovery_calls + recovery_calls / 2 + 1);
        disk.cut_after(call);
        let mut owner = self.owner(&disk, books);
        let outcome = owner.open().and_then(|()| owner.steps(2 * STEPS_AFTER));
        if let Err(Ended::Violation(what)) = outcome {
            return Err(self.violation(format!("cut again at call {call}: {what}")));
        }
        let fates = FATES[self.random.below(FATES.len() as u64) as usize];
        self.crashes(&disk, call, &owner.books, &[fates])
    }

    fn owner(&mut self, disk: &SimDisk, books: &Books) -> Owner {
        let mut owner =
            Owner::new(disk.clone(), self.random.number(), books.clone(), Trouble::None);
        owner.tells = self.setting.tells;
        owner
    }

    fn open_and_ask(&self, owner: &mut Owner) -> Result<Vec<Answers>, Violation> {
        match owner.open() {
            Ok(()) => {}
            Err(Ended::Power) => return Err(self.violation("does not open".to_owned())),
            Err(Ended::Violation(what)) => return Err(self.violation(what)),
        }
        owner.ask_all().map_err(|what| self.violation(what))
    }

    fn count(&mut self) {
        self.figures.crash_states += 1;
        self.figures.nested += u64::from(self.cuts.len() > 1);
    }
}

/// A disk that a power cut may leave, with what was chosen for each unsynced change.
fn crash(disk: &SimDisk, fates: Fates, random: &mut Random) -> (SimDisk, Vec<(bool, u64)>) {
    let mut chosen = Vec::new();
    let left = disk.crash(&mut |unsynced: Unsynced<'_>| {
        let is_write = matches!(unsynced, Unsynced::Write { .. });
        let fate = match fates {
            Fates::AllLost => Fate::Lost,
            Fates::AllKept | Fates::NotYetDecided => Fate::Kept,
            Fates::AnySubset => half(random),
            Fates::TornSectors | Fates::TornPages if !is_write || random.once_in(3) => half(random),
            Fates::TornSectors => Fate::Torn { sectors: random.number() },
            Fates::TornPages => Fate::Torn { sectors: pages(random) },
        };
        chosen.push(match fate {
            Fate::Lost => (false, 0),
            Fate::Kept => (true, u64::MAX),
            Fate::Torn { sectors } => (true, sectors),
        });
        fate
    });
    (left, chosen)
}

fn half(random: &mut Random) -> Fate {
    if random.once_in(2) { Fate::Lost } else { Fate::Kept }
}

/// Sectors that make up whole pages of 4096 bytes.
fn pages(random: &mut Random) -> u64 {
    let chosen = random.number().to_be_bytes();
    u64::from_be_bytes(chosen.map(|byte| if byte & 1 == 1 { 0xff } else { 0 }))
}

/// The first answers that differ, in short.
fn differs(before: &[Answers], after: &[Answers]) -> String {
    let first = before.iter().zip(after).find(|(before, after)| before != after);
    match first {
        None => format!("{} logs, then {}", before.len(), after.len()),
        Some((before, after)) => before.difference(after),
    }
}
