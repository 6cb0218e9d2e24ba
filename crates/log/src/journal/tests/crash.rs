//! A crash at every call that changes the disk, with writes out, and again while recovering.

use super::*;
use crate::Fate;

/// SplitMix64: one seed in, the same history out.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % sides
    }

    fn fate(&mut self) -> Fate {
        match self.roll(3) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Torn { sectors: mix(self.0) },
        }
    }
}

/// What must be and what may be in the journal.
#[derive(Default)]
struct Model {
    /// Sequence and number of every entry that may still be found, in order.
    pushed: Vec<(u64, u64)>,
    numbers_given: u64,
    /// Frames below this one are durable.
    durable: u64,
    /// Frames below this one are not needed.
    started: u64,
}

impl Model {
    /// Compares, and goes on from what was found: frames up to `next` that are not released.
    fn check(&mut self, found: &JournalFound, next: u64, what: &str) {
        assert_eq!(found.damaged, [], "{what}");
        assert!(next >= self.durable, "{what}: {next} comes before {}", self.durable);
        self.pushed.retain(|&(sequence, _)| sequence < next);
        let got: Vec<(u64, u64)> =
            found.entries.iter().zip(numbers(found)).map(|(e, n)| (e.sequence, n)).collect();
        for (entry, &(_, number)) in found.entries.iter().zip(&got) {
            assert_eq!(entry.bytes, payload(number, entry.bytes.len()), "{what}");
        }
        assert!(self.pushed.ends_with(&got), "{what}: {got:?} of {:?}", self.pushed);
        let needed = self.pushed.iter().filter(|&&(sequence, _)| sequence >= self.started);
        assert!(needed.count() <= got.len(), "{what}: {got:?} of {:?}", self.pushed);
        self.durable = next;
    }
}

/// A journal at work, until its disk fails.
struct Run<'a> {
    disk: &'a MemoryDisk,
    model: &'a mut Model,
    dice: &'a mut Dice,
    out: Vec<JournalWrite>,
}

impl Run<'_> {
    /// Opens and does so many things; an error is the disk's. What is out is left in doubt.
    fn go(&mut self, steps: u64, what: &str) -> Result<(), Fault> {
        let (mut journal, found) = Journal::open(self.disk, &tiny())?;
        self.model.check(&found, journal.gathering(), what);
        journal.begin()?;
        for _ in 0..steps {
            self.step(&mut journal)?;
            self.model.durable = self.model.durable.max(journal.durable());
        }
        Ok(())
    }

    fn step(&mut self, journal: &mut Journal) -> Result<(), Fault> {
        match self.dice.roll(10) {
            0..3 if journal.has_room() => self.push(journal),
            3..5 => {
                if let Some(write) = journal.next_write() {
                    self.out.push(write);
                }
            }
            5..8 if !self.out.is_empty() => {
                let at = self.dice.roll(self.out.len() as u64) as usize;
                let write = self.out.swap_remove(at);
                let outcome = write.run();
                journal.write_done(&write, outcome.clone());
                return outcome;
            }
            8 => {
                let below = journal.durable();
                let start = below - self.dice.roll(4).min(below);
                self.model.started = self.model.started.max(start);
                let mut work = journal.move_start(start);
                work.run();
                let outcome = work.outcome.clone().unwrap();
                journal.start_moved(work);
                return outcome;
            }
            9 => journal.announce(),
            _ => {
                if let Some(mut work) = journal.prepare() {
                    work.run();
                    let outcome = work.outcome.clone().unwrap();
                    journal.prepared(work);
                    return outcome;
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, journal: &mut Journal) {
        for _ in 0..=self.dice.roll(2) {
            self.model.numbers_given += 1;
            let number = self.model.numbers_given;
            let len = 8 + self.dice.roll(3 * BLOCK) as usize;
            let sequence = journal.push(key(1), EntryKind::Batch, &[payload(number, len)]);
            self.model.pushed.push((sequence, number));
        }
    }

    /// The disk after a power cut, in which every write that was out is lost, there, or torn.
    fn cut(self) -> MemoryDisk {
        self.disk.heal();
        for write in &self.out {
            let file = self.disk.open(RING_FILE, OpenMode::Existing).unwrap();
            file.write_at(&write.bytes, write.offset).unwrap();
        }
        self.disk.crash(&mut |_| self.dice.fate())
    }
}

/// One history: three lives, each ended by the disk failing at some call, then a check. The calls that
/// the first life may use are given, those of the others are diced.
fn history(seed: u64, calls: u64) -> bool {
    let mut dice = Dice(seed);
    let mut model = Model { started: 1, ..Model::default() };
    let mut disk = MemoryDisk::with_crash_model();
    let mut ended = false;
    for life in 0..4 {
        let what = format!("seed {seed}, calls {calls}, life {life}");
        match life {
            0 => disk.fail_after(calls, FaultKind::Io("pulled".to_owned())),
            _ => disk.fail_after(dice.roll(40), FaultKind::Io("pulled".to_owned())),
        }
        let mut run = Run { disk: &disk, model: &mut model, dice: &mut dice, out: Vec::new() };
        let outcome = run.go(60, &what);
        ended |= life == 0 && outcome.is_ok();
        disk = run.cut();
    }
    let (journal, found) = start(&disk);
    model.check(&found, journal.gathering(), &format!("seed {seed}, calls {calls}, at the end"));
    ended
}

#[test]
fn a_crash_at_any_call_loses_nothing_durable_and_invents_nothing() {
    let mut histories = 0;
    for seed in 0..200 {
        for calls in 0.. {
            histories += 1;
            if history(seed * 1000 + calls, calls) {
                break;
            }
        }
    }
    assert!(histories > 5000, "{histories} is too few to mean anything");
}

/// Every order of `0..n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(n - 1);
    let places = shorter.iter().flat_map(|order| {
        (0..n).map(move |at| {
            let mut order = order.clone();
            order.insert(at, n - 1);
            order
        })
    });
    places.collect()
}

/// The frames of a lap that lie where the next writes go, three writes of one, two and one blocks out.
fn three_writes_out(disk: &MemoryDisk) -> (Journal, Vec<JournalWrite>) {
    let (mut journal, _) = start(disk);
    for number in 1..=9 {
        put(&mut journal, number, 8);
    }
    moved(&mut journal, 9);
    let mut writes = Vec::new();
    for (number, len) in [(10, 8), (11, 5000), (12, 8)] {
        journal.push(key(1), EntryKind::Batch, &[payload(number, len)]);
        writes.push(journal.next_write().unwrap());
    }
    (journal, writes)
}

#[test]
fn whatever_order_writes_end_in_the_durable_prefix_is_what_a_crash_leaves() {
    let fates = [Fate::Lost, Fate::Kept, Fate::Torn { sectors: 1 }, Fate::Torn { sectors: !1 }];
    let mut states = 0;
    for order in orders(3) {
        for completed in 0..=3 {
            for fate in 0..fates.len().pow(3 - completed as u32) {
                let disk = MemoryDisk::with_crash_model();
                let (mut journal, writes) = three_writes_out(&disk);
                for &at in &order[..completed] {
                    writes[at].run().unwrap();
                    journal.write_done(&writes[at], Ok(()));
                }
                let done = |at: usize| order[..completed].contains(&at);
                let prefix = (0..3).take_while(|&at| done(at)).count() as u64;
                assert_eq!(journal.durable(), 10 + prefix);
                let mut left = fate;
                let mut whole = [true; 3];
                for at in (0..3).filter(|&at| !done(at)) {
                    let file = disk.open(RING_FILE, OpenMode::Existing).unwrap();
                    file.write_at(&writes[at].bytes, writes[at].offset).unwrap();
                    // One block's first sector is all there is of a small frame.
                    whole[at] = match fates[left % fates.len()] {
                        Fate::Kept => true,
                        Fate::Torn { sectors: 1 } => writes[at].bytes.len() == BLOCK_BYTES,
                        _ => false,
                    };
                    left /= fates.len();
                }
                let mut left = fate;
                let after = disk.crash(&mut |_| {
                    let fate = fates[left % fates.len()];
                    left /= fates.len();
                    fate
                });
                let run = whole.iter().take_while(|&&whole| whole).count();
                let (_, found) = open(&after);
                let expected: Vec<u64> = (9..10 + run as u64).collect();
                assert_eq!(numbers(&found), expected, "{order:?} {completed} {fate}");
                assert_eq!(found.damaged, []);
                let torn = whole[run..].iter().filter(|&&whole| whole).count() as u64;
                assert_eq!(found.torn_frames, torn);
                states += 1;
            }
        }
    }
    assert_eq!(states, 6 * (64 + 16 + 4 + 1));
}

#[test]
fn nothing_is_durable_after_a_failed_write() {
    let disk = MemoryDisk::with_crash_model();
    let (mut journal, writes) = three_writes_out(&disk);
    let pulled = Fault {
        operation: "write",
        path: RING_FILE.to_owned(),
        offset: Some(0),
        kind: FaultKind::Io("pulled".to_owned()),
    };
    journal.write_done(&writes[1], Err(pulled.clone()));
    for at in [0, 2] {
        writes[at].run().unwrap();
        journal.write_done(&writes[at], Ok(()));
    }
    journal.push(key(1), EntryKind::Batch, &[payload(13, 8)]);
    journal.announce();
    assert!(journal.next_write().is_none() && journal.prepare().is_none());
    assert_eq!((journal.durable(), journal.failed()), (10, Some(&pulled)));
    journal.close().unwrap();
    let (_, found) = open(&disk);
    assert_eq!((numbers(&found), found.torn_frames), (vec![9, 10], 1), "what the disk has");
}
