//! Every single-bit flip of a small data directory, truncation at every byte, blocks that changed places.
//!
//! Each damaged directory is opened and everything in it is read. What is served must be what was
//! written; what is not served must have been touched by the damage in every copy of it that counts,
//! and be told of: when opening, or when it is read. Offsets are never given again. What no report
//! accompanies answers as if nothing had happened; nor does one bit of the journal's control file change
//! any answer, and what is reported is the slot that it is in.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tidings_log::format::{
    AllClaims, FrameState, JournalDump, JournalEntry, read_claims, read_journal,
};
use tidings_log::{
    Batch, Disk, Fault, LogKey, MemoryDisk, OpenMode, ReadRefused, SECTOR_BYTES, Store, split,
};

use crate::books::{Books, Slot, Stage};
use crate::disk::SimDisk;
use crate::history::{Owner, Stop};
use crate::model::Answers;
use crate::sites::Sites;

/// Sizes of blocks that change places.
const SWAPPED_BYTES: [usize; 2] = [512, 4096];
/// A frame of the journal takes a multiple of this.
const FRAME_ALIGNMENT: usize = 4096;
const RING: &str = "journal/ring";
const CONTROL: &str = "journal/control";
const CHECKPOINT: &str = "checkpoint";
/// What is not served around a damaged length field: up to the next indexed batch.
const BATCHES_BEFORE_INDEXED: usize = 4;

/// Of so many damaged directories the opening of one is listened to.
const LISTENED_ONE_IN: u64 = 100;

/// Bytes of a file.
type Place = (String, Range<usize>);

/// One way to damage a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    Flip { path: String, bit: u64 },
    Truncate { path: String, len: u64 },
    Swap { first: (String, usize), second: (String, usize), bytes: usize },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip { path, bit } => write!(f, "{path}: bit {} of byte {}", bit % 8, bit / 8),
            Self::Truncate { path, len } => write!(f, "{path}: cut to {len} bytes"),
            Self::Swap { first, second, bytes } => write!(
                f,
                "{bytes} bytes swapped: {} at {} with {} at {}",
                first.0, first.1, second.0, second.1
            ),
        }
    }
}

/// What was tried, and how the store met it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damaged {
    pub flips: u64,
    pub truncations: u64,
    pub swaps: u64,
    /// Nothing was lost and nothing said.
    pub harmless: u64,
    /// Something was reported when opening, or refused when read.
    pub detected: u64,
    /// Of these, the store or a log did not open at all.
    pub unopened: u64,
}

impl Damaged {
    pub fn add(&mut self, other: &Self) {
        self.flips += other.flips;
        self.truncations += other.truncations;
        self.swaps += other.swaps;
        self.harmless += other.harmless;
        self.detected += other.detected;
        self.unopened += other.unopened;
    }

    pub fn tried(&self) -> u64 {
        self.flips + self.truncations + self.swaps
    }
}

/// A data directory as its owner left it, with everything it answers.
pub struct Directory {
    disk: MemoryDisk,
    books: Books,
    logs: Vec<Told>,
    files: BTreeMap<String, Vec<u8>>,
    sites: Option<Arc<Sites>>,
}

/// A log of the directory, and where its batches are.
struct Told {
    slot: Slot,
    answers: Answers,
    /// For each batch that is served, by base offset: the bytes, and the place of every copy that an
    /// opening may take it from; damage to all of them may make it unreadable.
    batches: BTreeMap<i64, (Batch, Vec<Place>)>,
}

impl Directory {
    /// What the owner of one seed's history leaves, stopped in one of two ways.
    pub fn new(seed: u64, stop: Stop, sites: Option<&Arc<Sites>>) -> Result<Self, String> {
        let disk = SimDisk::new();
        let mut owner = Owner::small_directory(disk.clone(), seed);
        owner.fill_directory(stop).map_err(|ended| format!("{ended:?}"))?;
        let plain = plain_copy(disk.memory());
        let mut reader = Owner::of_books(SimDisk::over(plain.fork()), owner.books.clone());
        reader.open().map_err(|ended| format!("{ended:?}"))?;
        let answers = reader.ask_all()?;
        let files: BTreeMap<String, Vec<u8>> = plain
            .files()
            .into_iter()
            .map(|path| (path.clone(), plain.read_raw(&path).unwrap_or_default()))
            .collect();
        let said = |fault: Fault| fault.to_string();
        let journal = read_journal(&plain).map_err(said)?;
        let claims = read_claims(&plain).map_err(said)?;
        let placing = Placing { files: &files, claims, journal };
        let live = reader.books.slots.iter().filter(|slot| slot.stage == Stage::Live);
        let logs = live
            .zip(answers)
            .map(|(slot, answers)| Told::new(slot.clone(), answers, &placing))
            .collect();
        Ok(Self { disk: plain, books: reader.books.clone(), logs, files, sites: sites.cloned() })
    }

    pub fn bytes(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Every damage there is, in a fixed order.
    pub fn damages(&self) -> impl Iterator<Item = Damage> {
        let flips = self.files.iter().flat_map(|(path, bytes)| {
            (0..bytes.len() as u64 * 8).map(|bit| Damage::Flip { path: path.clone(), bit })
        });
        let truncations = self.files.iter().flat_map(|(path, bytes)| {
            (0..bytes.len() as u64).map(|len| Damage::Truncate { path: path.clone(), len })
        });
        flips.chain(truncations).chain(SWAPPED_BYTES.into_iter().flat_map(|size| self.swaps(size)))
    }

    /// Blocks of `bytes` that differ, in pairs.
    fn swaps(&self, bytes: usize) -> Vec<Damage> {
        let mut blocks = Vec::new();
        for (path, content) in &self.files {
            for (number, block) in content.chunks_exact(bytes).enumerate() {
                blocks.push(((path.clone(), number * bytes), block));
            }
        }
        let mut swaps = Vec::new();
        for (at, (first, block)) in blocks.iter().enumerate() {
            for (second, other) in &blocks[at + 1..] {
                if block != other {
                    let (first, second) = (first.clone(), second.clone());
                    swaps.push(Damage::Swap { first, second, bytes });
                }
            }
        }
        swaps
    }

    /// Damages a copy and reads all of it.
    pub fn check(&self, damage: &Damage, figures: &mut Damaged) -> Result<(), String> {
        let disk = self.disk.fork();
        let touched = damage.apply(&disk, &self.files);
        match damage {
            Damage::Flip { .. } => figures.flips += 1,
            Damage::Truncate { .. } => figures.truncations += 1,
            Damage::Swap { .. } => figures.swaps += 1,
        }
        let listened = figures.tried().is_multiple_of(LISTENED_ONE_IN);
        let disk = SimDisk::over(disk);
        if let Some(sites) = self.sites.as_ref().filter(|_| listened) {
            disk.listen(Arc::clone(sites));
        }
        let outcome =
            catch_unwind(AssertUnwindSafe(|| self.open_and_read(&disk, damage, &touched)));
        let met = match outcome {
            Ok(Ok(met)) => met,
            Ok(Err(what)) => return Err(format!("{damage}: {what}")),
            Err(panic) => return Err(format!("{damage}: panicked: {}", message(&panic))),
        };
        match met {
            Met::Harmless => figures.harmless += 1,
            Met::Detected => figures.detected += 1,
            Met::Unopened(why) if matches!(damage, Damage::Flip { .. }) => {
                return Err(format!("{damage}: one bit keeps the node from opening: {why}"));
            }
            Met::Unopened(_) => {
                figures.detected += 1;
                figures.unopened += 1;
            }
        }
        Ok(())
    }

    fn open_and_read(
        &self,
        disk: &SimDisk,
        damage: &Damage,
        touched: &Touched,
    ) -> Result<Met, String> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (mut store, recovered) = match Store::open(disk, self.books.config) {
            Ok(opened) => opened,
            Err(fault) => return Ok(Met::Unopened(fault.to_string())),
        };
        let mut reported = !recovered.damaged.is_empty();
        let control_byte = damage.control_byte();
        if let Some(byte) = control_byte {
            blames_slot_of(byte, &recovered.damaged)?;
        }
        let mut reported_by = Vec::new();
        for told in &self.logs {
            let model = &told.slot.model;
            match store.open_log(told.slot.id, model.key, &model.dir, model.config) {
                Ok(recovered) => reported_by.push(!recovered.damaged.is_empty()),
                Err(fault) => return Ok(Met::Unopened(fault.to_string())),
            }
        }
        match store.begin(false) {
            Ok(orphans) => reported |= !orphans.is_empty(),
            Err(fault) => return Ok(Met::Unopened(fault.to_string())),
        }
        let mut met = if reported { Met::Detected } else { Met::Harmless };
        for (told, reported_by_log) in self.logs.iter().zip(reported_by) {
            // A log in memory may keep more of what it flushed than it must.
            if control_byte.is_some() && !told.slot.model.config.volatile {
                told.answers_as_before(&store)?;
                continue;
            }
            let reported = reported || reported_by_log;
            let moved = self.moved_into(told, touched);
            if told.hold_to(&store, reported, touched, &moved)? || reported {
                met = Met::Detected;
            }
        }
        Ok(met)
    }
}

impl Directory {
    /// Whole batches of other logs that a swap may have put where this log has the same offsets. Kafka's
    /// format does not say to which log a batch belongs, so nothing can tell; docs/guarantees.md names it.
    fn moved_into<'a>(&'a self, told: &Told, touched: &Touched) -> Vec<&'a [u8]> {
        let others = self.logs.iter().filter(|other| other.slot.id != told.slot.id);
        let batches = others.flat_map(|other| other.slot.model.batches.iter());
        let bytes = batches.map(|batch| &batch.bytes()[..]);
        if touched.0.len() > 1 { bytes.collect() } else { Vec::new() }
    }
}

#[derive(Debug)]
enum Met {
    Harmless,
    Detected,
    Unopened(String),
}

/// Ranges of files that the damage changed.
struct Touched(Vec<Place>);

impl Touched {
    fn meets(&self, (other, place): &Place) -> bool {
        self.0.iter().any(|(path, range)| {
            path == other && range.start < place.end && place.start < range.end
        })
    }

    /// Whether there is damage in each of the places.
    fn meets_all(&self, places: &[Place]) -> bool {
        places.iter().all(|place| self.meets(place))
    }

    /// Without the checkpoint nothing says how far a segment goes past its own damage.
    fn is_behind_damage(&self, places: &[Place]) -> bool {
        self.0.iter().any(|(path, _)| path == CHECKPOINT)
            && self.0.iter().any(|(path, range)| {
                places.iter().any(|(other, place)| path == other && range.start < place.start)
            })
    }

    /// A lost frame of the journal does not say whose batches it held, so nothing tells a log that it was
    /// longer when its last batch was in there and nowhere else, or when the frame after it went as well.
    fn has_lost_the_end_of(&self, batches: &BTreeMap<i64, (Batch, Vec<Place>)>) -> bool {
        let is_in_ring = self.0.iter().any(|(path, _)| path == RING);
        let lost = |places: &[Place]| match self.0.len() {
            1 => self.meets_all(places),
            _ => places.iter().any(|place| place.0 == RING && self.meets(place)),
        };
        is_in_ring && batches.last_key_value().is_some_and(|(_, (_, places))| lost(places))
    }

    /// Where a log may end when two places are damaged and a batch that no checkpoint counts is in both: what
    /// follows it in segments is put aside, and no frame may be left that has it.
    fn cuts_from(&self, batches: &BTreeMap<i64, (Batch, Vec<Place>)>) -> Option<i64> {
        let is_uncounted = |places: &[Place]| places.iter().any(|(path, _)| path == RING);
        let lost = batches.iter().find(|(_, (_, places))| {
            is_uncounted(places) && places.len() > 1 && self.meets_all(places)
        });
        lost.map(|(base, _)| *base)
    }

    /// An entry that another batch confirms too makes a look-up by time begin too late;
    /// docs/guarantees.md names the gap.
    fn is_time_index(&self) -> bool {
        self.0.iter().any(|(path, _)| path.ends_with(".timeindex"))
    }

    /// Where the journal begins is not known from what is left, nothing else tells it.
    fn control_is_lost(&self) -> bool {
        self.0.iter().any(|(path, range)| path == CONTROL && range.len() > 1)
    }
}

impl Damage {
    /// The byte of the journal's control file in which the only bit is flipped.
    fn control_byte(&self) -> Option<u64> {
        match self {
            Self::Flip { path, bit } if path == CONTROL => Some(bit / 8),
            _ => None,
        }
    }

    fn apply(&self, disk: &MemoryDisk, files: &BTreeMap<String, Vec<u8>>) -> Touched {
        match self {
            Self::Flip { path, bit } => {
                disk.flip_bit(path, *bit);
                let byte = (bit / 8) as usize;
                Touched(vec![(path.clone(), byte..byte + 1)])
            }
            Self::Truncate { path, len } => {
                disk.truncate_raw(path, *len);
                Touched(vec![(path.clone(), *len as usize..files[path].len())])
            }
            Self::Swap { first, second, bytes } => {
                for (to, from) in [(first, second), (second, first)] {
                    let block = &files[&from.0][from.1..from.1 + bytes];
                    let file = disk.open(&to.0, OpenMode::Existing).expect("it is in the copy");
                    file.write_at(block, to.1 as u64).expect("memory takes it");
                }
                let place = |(path, at): &(String, usize)| (path.clone(), *at..at + bytes);
                Touched(vec![place(first), place(second)])
            }
        }
    }
}

/// A slot of the control file is all that one bit of it may cost.
fn blames_slot_of(byte: u64, damaged: &[Fault]) -> Result<(), String> {
    let is_slot = |fault: &Fault| {
        fault.path == CONTROL
            && fault.offset.is_some_and(|at| (at..at + SECTOR_BYTES).contains(&byte))
    };
    match damaged.iter().find(|fault| !is_slot(fault)) {
        Some(fault) => Err(format!("one bit of a slot costs more than the slot: {fault}")),
        None => Ok(()),
    }
}

impl Told {
    fn new(slot: Slot, answers: Answers, placing: &Placing<'_>) -> Self {
        let mut batches = BTreeMap::new();
        for bytes in &answers.read {
            let batch = Batch::parse(bytes.clone()).expect("it was checked when it was read");
            let places = placing.places_of(&batch, &slot.model.dir, slot.model.key);
            batches.insert(batch.header().base_offset, (batch, places));
        }
        Self { slot, answers, batches }
    }

    fn answers_as_before(&self, store: &Store) -> Result<(), String> {
        let dir = &self.slot.model.dir;
        let log = store.log(self.slot.id).ok_or_else(|| format!("{dir}: is not open"))?;
        let answers = Answers::ask(store, self.slot.id, log)?;
        if answers != self.answers {
            let differs = self.answers.difference(&answers);
            return Err(format!("{dir}: answers differently: {differs}"));
        }
        Ok(())
    }

    /// Whether anything was refused; an error if something is served or lost that must not be.
    fn hold_to(
        &self,
        store: &Store,
        reported: bool,
        touched: &Touched,
        moved: &[&[u8]],
    ) -> Result<bool, String> {
        let model = &self.slot.model;
        let said = |what: String| format!("{}: {what}", model.dir);
        let log = store.log(self.slot.id).ok_or_else(|| said("is not open".to_owned()))?;
        let untold =
            touched.has_lost_the_end_of(&self.batches) && (reported || touched.0.len() > 1);
        if untold && !reported {
            // The last frame went together with the one that says it was durable: a torn tail.
            self.read_what_is_left(store, log.start_offset(), moved)?;
            return Ok(false);
        }
        let cuts_from = touched.cuts_from(&self.batches);
        if log.end_offset() < self.answers.end && !untold && cuts_from.is_none() {
            let (end, was) = (log.end_offset(), self.answers.end);
            return Err(said(format!("offsets from {end} to {was} would be given again")));
        }
        if !reported && let Ok(answers) = Answers::ask(store, self.slot.id, log) {
            let gap = touched.is_time_index() && answers.agrees_but_for_times(&self.answers)
                || answers.read.iter().any(|read| moved.contains(&&read[..]));
            if answers != self.answers && !gap {
                let differs = self.answers.difference(&answers);
                return Err(said(format!("answers differently and reports nothing: {differs}")));
            }
            return Ok(false);
        }
        let (served, refused) = self.read_what_is_left(store, log.start_offset(), moved)?;
        if !refused && !reported {
            return Err(said("does not answer, but refuses no read".to_owned()));
        }
        for (base, (_, places)) in &self.batches {
            let may_be_lost = touched.meets_all(places)
                || cuts_from.is_some_and(|from| *base >= from)
                || reported && touched.control_is_lost()
                || reported && touched.is_behind_damage(places);
            if !served.contains(base) && !may_be_lost {
                return Err(said(format!("batch {base} is lost, but is at {places:?}")));
            }
        }
        Ok(refused)
    }

    /// Base offsets of all batches that are served, read past what is refused.
    fn read_what_is_left(
        &self,
        store: &Store,
        start: i64,
        moved: &[&[u8]],
    ) -> Result<(Vec<i64>, bool), String> {
        let mut served = Vec::new();
        let mut refused = false;
        let mut from = start;
        while from < self.answers.end {
            let next = from + 1;
            match store.read_now(self.slot.id, from, i64::MAX, 1) {
                Ok(pieces) if pieces.is_empty() => from = next,
                Ok(pieces) => {
                    for batch in pieces.into_iter().flat_map(split) {
                        let batch = batch.map_err(|error| format!("read returned {error}"))?;
                        self.is_as_written(&batch, moved)?;
                        served.push(batch.header().base_offset);
                        from = next.max(batch.last_offset() + 1);
                    }
                }
                Err(ReadRefused::OutOfRange { .. }) => from = next,
                Err(ReadRefused::Fault(_)) => {
                    refused = true;
                    from = next;
                }
            }
        }
        Ok((served, refused))
    }

    fn is_as_written(&self, batch: &Batch, moved: &[&[u8]]) -> Result<(), String> {
        let base = batch.header().base_offset;
        let served_before = self.batches.get(&base).map(|(batch, _)| batch.bytes());
        let appended = self.slot.model.batches.iter().find(|b| b.header().base_offset == base);
        if served_before == Some(batch.bytes())
            || appended.is_some_and(|appended| appended.bytes() == batch.bytes())
            || moved.contains(&&batch.bytes()[..])
        {
            return Ok(());
        }
        Err(format!("{}: batch {base} is not what was written", self.slot.model.dir))
    }
}

/// What tells where in an undamaged directory the copies of a batch are.
struct Placing<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    claims: AllClaims,
    journal: JournalDump,
}

impl Placing<'_> {
    /// The copies that an opening may take: in segments from a few batches before it on (the damage to a
    /// length hides those after it), and, of what no checkpoint counts as in segments, in live frames.
    fn places_of(&self, batch: &Batch, dir: &str, log: LogKey) -> Vec<Place> {
        let mut places = Vec::new();
        for (path, content) in self.files {
            let is_segment = path.starts_with(&format!("{dir}/")) && path.ends_with(".log");
            if is_segment && let Some(at) = position(content, batch.bytes()) {
                let from = starts_before(content, at);
                places.push((path.clone(), from..at + batch.bytes().len()));
            }
        }
        let base_offset = batch.header().base_offset;
        let claims = self.claims.by_folder.get(dir);
        if claims.is_some_and(|claims| base_offset < claims.recovery_offset) {
            return places;
        }
        let is_of_it = |entry: &JournalEntry| {
            matches!(entry, JournalEntry::Batch { key, offset, .. }
                if (*key, *offset) == (log, base_offset))
        };
        let live = self.journal.frames.iter().filter(|frame| frame.state == FrameState::Live);
        places.extend(live.filter(|frame| frame.entries.iter().any(is_of_it)).map(|frame| {
            let start = frame.offset as usize;
            let end = start + (frame.len as usize).next_multiple_of(FRAME_ALIGNMENT);
            (RING.to_owned(), start..end)
        }));
        places
    }
}

fn position(content: &[u8], wanted: &[u8]) -> Option<usize> {
    content.windows(wanted.len()).position(|window| window == wanted)
}

/// Where the batches begin that stand a few before the one at `at`.
fn starts_before(content: &[u8], at: usize) -> usize {
    let mut starts = Vec::new();
    let mut position = 0;
    for batch in split(bytes::Bytes::copy_from_slice(&content[..at])).map_while(Result::ok) {
        starts.push(position);
        position += batch.bytes().len();
    }
    let first = starts.len().saturating_sub(BATCHES_BEFORE_INDEXED);
    starts.get(first).copied().unwrap_or(at)
}

/// A copy without the crash model, which costs less to copy again.
fn plain_copy(disk: &MemoryDisk) -> MemoryDisk {
    let copy = MemoryDisk::new();
    for path in disk.files() {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        copy.create_dir_all(dir).expect("memory takes it");
        let file = copy.open(&path, OpenMode::Create).expect("memory takes it");
        file.write_at(&disk.read_raw(&path).unwrap_or_default(), 0).expect("memory takes it");
    }
    copy
}

fn message(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
