//! Damage at rest: every bit, every sector's end, every pair of blocks, and bytes that are made up.

use super::*;

/// An entry's length.
fn len(number: u64) -> usize {
    8 + 300 * number as usize
}

/// A small ring whose start has moved and which wraps, with entries 6 to 9 live and the announcement of
/// them in frame 10.
fn small() -> Small {
    let disk = MemoryDisk::new();
    let config = StoreConfig { journal_chunk_bytes: BLOCK, ..tiny() };
    let (mut journal, _) = Journal::open(&disk, &config).unwrap();
    journal.begin().unwrap();
    for number in 1..=9 {
        put(&mut journal, number, len(number));
        if number <= 7 {
            moved(&mut journal, number - 1);
        }
    }
    journal.announce();
    run(&mut journal);
    assert_eq!(journal.ring.used(), (5 * BLOCK, frame::FRAME_BYTES_MAX));
    assert_eq!((journal.ring.prepared(), journal.ring.head()), (6 * BLOCK, 4 * BLOCK));
    let frames = (6..=10).map(|sequence| *journal.ring.frame(sequence).unwrap()).collect();
    Small { disk, frames, control: journal.control.clone(), journal }
}

struct Small {
    disk: MemoryDisk,
    frames: Vec<Placed>,
    control: Control,
    journal: Journal,
}

impl Small {
    fn ring_bytes(&self) -> u64 {
        self.journal.ring.prepared()
    }

    /// The live frame that this byte of the ring belongs to, padding aside.
    fn frame_at(&self, byte: u64) -> Option<usize> {
        self.frames.iter().position(|frame| {
            let entries = if frame.sequence < 10 { 25 + len(frame.sequence) } else { 0 };
            (frame.offset..frame.offset + 64 + entries as u64).contains(&byte)
        })
    }

    /// What must be found when some of the frames are damaged: the entries and the reports.
    fn expected(&self, intact: &[bool]) -> (Vec<u64>, Vec<Fault>) {
        let left = || self.frames.iter().zip(intact).filter(|(_, intact)| **intact);
        let told = left().map(|(frame, _)| frame.tells).max().unwrap_or(0);
        let told = told.max(self.control.durable.sequence);
        let mut next = self.control.start;
        let (mut numbers, mut faults) = (Vec::new(), Vec::new());
        let mut report = |next: Place, until: Place| {
            let (start, end) = (next.offset, until.offset);
            let bytes = match end {
                0 => format!("{start}..{}", self.ring_bytes()),
                end if start < end => format!("{start}..{end}"),
                end => format!("{start}..{} and 0..{end}", self.ring_bytes()),
            };
            let frames = format!("{}..{}", next.sequence, until.sequence);
            faults.push(lost(&frames, start, &bytes));
        };
        for (frame, _) in left() {
            if frame.sequence > next.sequence {
                if next.sequence >= told {
                    break;
                }
                report(next, Place { sequence: frame.sequence.min(told), offset: frame.offset });
                if frame.sequence > told {
                    next.sequence = told;
                    break;
                }
            }
            next = Place { sequence: frame.sequence + 1, offset: frame.offset + frame.bytes };
            if frame.sequence < 10 {
                numbers.push(frame.sequence);
            }
        }
        if next.sequence < told {
            report(next, self.control.durable);
        }
        (numbers, faults)
    }

    /// Opens the journal as it is now and compares; the control file may have reports of its own.
    fn check(&self, disk: &MemoryDisk, intact: &[bool], others: &[Fault], what: &str) {
        let (_, found) = open(disk);
        let (expected, reports) = self.expected(intact);
        assert_eq!(numbers(&found), expected, "{what}");
        assert_eq!(found.damaged, [others, &reports].concat(), "{what}");
        for (entry, number) in found.entries.iter().zip(expected) {
            assert_eq!(entry.bytes, payload(number, len(number)), "{what}");
            assert_eq!((entry.sequence, entry.key), (number, key(1)), "{what}");
        }
    }
}

fn corrupt(path: &str, offset: Option<u64>, what: &str) -> Fault {
    let kind = FaultKind::Corrupt(what.to_owned());
    Fault { operation: "read", path: path.to_owned(), offset, kind }
}

#[test]
fn every_flipped_bit_of_the_ring_costs_its_own_frame_and_is_told() {
    let small = small();
    for bit in 0..small.ring_bytes() * 8 {
        assert!(small.disk.flip_bit(RING_FILE, bit));
        let mut intact = [true; 5];
        if let Some(hit) = small.frame_at(bit / 8) {
            intact[hit] = false;
        }
        small.check(&small.disk, &intact, &[], &format!("bit {bit}"));
        assert!(small.disk.flip_bit(RING_FILE, bit));
    }
}

#[test]
fn every_flipped_bit_of_the_control_file_costs_nothing_and_is_told() {
    let small = small();
    for bit in 0..2 * BLOCK * 8 {
        assert!(small.disk.flip_bit(CONTROL_FILE, bit));
        let slot = bit / 8 / BLOCK * BLOCK;
        let report = corrupt(CONTROL_FILE, Some(slot), "slot is damaged");
        let reports = if bit / 8 % BLOCK < 512 { vec![report] } else { Vec::new() };
        small.check(&small.disk, &[true; 5], &reports, &format!("bit {bit}"));
        assert!(small.disk.flip_bit(CONTROL_FILE, bit));
    }
}

#[test]
fn a_flipped_bit_of_a_clean_journal_brings_nothing_back() {
    let mut small = small();
    small.journal.close().unwrap();
    for (file, bits) in [(RING_FILE, small.ring_bytes() * 8), (CONTROL_FILE, 512 * 8)] {
        for bit in 0..bits {
            assert!(small.disk.flip_bit(file, bit));
            let (journal, found) = open(&small.disk);
            let slot = corrupt(CONTROL_FILE, Some(0), "slot is damaged");
            let reports = if file == CONTROL_FILE { vec![slot] } else { Vec::new() };
            assert_eq!((found.entries.len(), found.damaged), (0, reports), "{file} bit {bit}");
            assert_eq!(journal.gathering(), 11);
            assert!(small.disk.flip_bit(file, bit));
        }
    }
}

#[test]
fn a_ring_cut_anywhere_keeps_what_is_left_and_is_told() {
    let small = small();
    for end in (0..small.ring_bytes()).step_by(512) {
        let disk = small.disk.fork();
        assert!(disk.truncate_raw(RING_FILE, end));
        let whole = end / BLOCK * BLOCK;
        let (_, found) = open(&disk);
        let intact: Vec<bool> = small.frames.iter().map(|f| f.offset + f.bytes <= whole).collect();
        let cut = format!("ends at byte {whole} instead of {}", small.ring_bytes());
        assert_eq!(found.damaged[0], corrupt(RING_FILE, Some(whole), &cut), "{end}");
        assert_eq!(numbers(&found), small.expected(&intact).0, "{end}");
    }
}

#[test]
fn swapped_sectors_cost_the_frames_they_are_in() {
    let small = small();
    let ring = small.disk.read_raw(RING_FILE).unwrap();
    let sectors: Vec<&[u8]> = ring.chunks(512).collect();
    for (a, b) in (0..sectors.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let disk = small.disk.fork();
        let file = disk.open(RING_FILE, OpenMode::Existing).unwrap();
        file.write_at(sectors[b], 512 * a as u64).unwrap();
        file.write_at(sectors[a], 512 * b as u64).unwrap();
        let mut intact = [true; 5];
        for sector in [a, b] {
            // A frame begins at a block, so its bytes in a sector begin with the sector.
            if let Some(hit) = small.frame_at(512 * sector as u64)
                && sectors[a] != sectors[b]
            {
                intact[hit] = false;
            }
        }
        small.check(&disk, &intact, &[], &format!("sectors {a} and {b}"));
    }
}

#[test]
fn swapped_blocks_cost_the_frames_they_are_in() {
    let small = small();
    let ring = small.disk.read_raw(RING_FILE).unwrap();
    let blocks: Vec<&[u8]> = ring.chunks(BLOCK_BYTES).collect();
    for (a, b) in (0..blocks.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let disk = small.disk.fork();
        let file = disk.open(RING_FILE, OpenMode::Existing).unwrap();
        file.write_at(blocks[b], BLOCK * a as u64).unwrap();
        file.write_at(blocks[a], BLOCK * b as u64).unwrap();
        let at = |frame: &Placed| (frame.offset / BLOCK) as usize;
        let intact: Vec<bool> =
            small.frames.iter().map(|frame| ![a, b].contains(&at(frame))).collect();
        small.check(&disk, &intact, &[], &format!("blocks {a} and {b}"));
    }
}

#[test]
fn a_lost_control_file_is_made_up_from_the_frames_and_told() {
    let small = small();
    let zeros = |disk: &MemoryDisk| {
        let file = disk.open(CONTROL_FILE, OpenMode::Existing).unwrap();
        file.write_at(&[0; 2 * BLOCK_BYTES], 0).unwrap();
    };
    let missing = |disk: &MemoryDisk| disk.remove_file(CONTROL_FILE).unwrap();
    let damaged = |disk: &MemoryDisk| {
        assert!(disk.flip_bit(CONTROL_FILE, 100) && disk.flip_bit(CONTROL_FILE, 8 * BLOCK));
    };
    let slots = [0, BLOCK].map(|at| corrupt(CONTROL_FILE, Some(at), "slot is damaged"));
    type Damage<'a> = &'a dyn Fn(&MemoryDisk);
    let table: [(Damage<'_>, &[Fault]); 3] = [(&zeros, &[]), (&missing, &[]), (&damaged, &slots)];
    for (damage, reports) in table {
        let disk = small.disk.fork();
        damage(&disk);
        // Frame 5 has not been written over.
        let taken = "no readable slot; the ring's frames from 5 on are taken";
        let expected = [reports, &[corrupt(CONTROL_FILE, None, taken)]].concat();
        let (mut journal, found) = open(&disk);
        assert_eq!((numbers(&found), found.damaged), (vec![5, 6, 7, 8, 9], expected));
        journal.begin().unwrap();
        moved(&mut journal, 6);
        put(&mut journal, 11, 8);
        let (journal, found) = open(&disk);
        assert_eq!((numbers(&found), found.damaged), (vec![6, 7, 8, 9, 11], vec![]));
        assert_eq!(journal.control.epoch(), 2);
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let small = small();
    let mut slot = small.disk.read_raw(CONTROL_FILE).unwrap()[..512].to_vec();
    slot[9] = 2;
    let crc = crc32c::crc32c(&slot[4..]);
    slot[..4].copy_from_slice(&crc.to_be_bytes());
    small.disk.open(CONTROL_FILE, OpenMode::Existing).unwrap().write_at(&slot, 0).unwrap();
    let fault = Journal::open(&small.disk, &tiny()).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "read journal/control at byte 0: corrupt: format version 2 is not known here"
    );
}

#[test]
fn made_up_frames_with_a_right_checksum_are_not_taken() {
    let small = small();
    // Frame 11 as it would be, with one entry of 8 bytes, and then not quite.
    let header = FrameHeader { durable: 10, ..small.journal.header(4 * BLOCK) };
    let mut gathered = Gathered::default();
    gathered.add(key(1), EntryKind::Batch, &[payload(11, 8)], 8);
    let good = header.seal(&gathered).bytes;
    let table: [(&str, usize, &[u8]); 14] = [
        ("as it would be", 4, b"TDJF"),
        ("magic", 4, b"TDJG"),
        ("format version", 8, &[0, 2]),
        ("no length", 12, &[0; 4]),
        ("length of the header less one", 12, &[0, 0, 0, 63]),
        ("length past the ring", 12, &[0, 0, 0x20, 1]),
        ("the largest length", 12, &[0xff; 4]),
        ("journal", 16, &[0; 8]),
        ("epoch", 24, &[0xff; 8]),
        ("sequence", 32, &[0xff; 8]),
        ("offset", 40, &[0; 8]),
        ("durable past itself", 48, &[0xff; 8]),
        ("entries", 60, &[0xff; 4]),
        ("entry length", 64 + 21, &[0xff; 4]),
    ];
    for (what, at, bytes) in table {
        let mut block = good.to_vec();
        block[at..at + bytes.len()].copy_from_slice(bytes);
        let len = u32::from_be_bytes(block[12..16].try_into().unwrap()) as usize;
        let end = len.clamp(4, block.len());
        let crc = crc32c::crc32c(&block[4..end]);
        block[..4].copy_from_slice(&crc.to_be_bytes());
        let disk = small.disk.fork();
        let file = disk.open(RING_FILE, OpenMode::Existing).unwrap();
        file.write_at(&block, 4 * BLOCK).unwrap();
        let (_, found) = open(&disk);
        let expected: &[u64] =
            if what == "as it would be" { &[6, 7, 8, 9, 11] } else { &[6, 7, 8, 9] };
        assert_eq!((numbers(&found).as_slice(), found.damaged), (expected, vec![]), "{what}");
    }
}

#[test]
fn made_up_control_files_with_a_right_checksum_do_no_harm() {
    let small = small();
    let far = Place { sequence: 1 << 40, offset: 1 << 40 };
    let odd = Place { sequence: 6, offset: 5 * BLOCK + 1 };
    let past = Place { sequence: u64::MAX, offset: u64::MAX };
    let control = || Control { revision: 1 << 40, ..small.control.clone() };
    let table = [
        (Control { start: far, durable: far, ..control() }, true),
        (Control { ring_bytes: u64::MAX, ..control() }, true),
        (Control { epochs: vec![(1 << 40, 1 << 40)], ..control() }, true),
        (Control { start: odd, ..control() }, false),
        (Control { start: past, durable: past, ..control() }, false),
        (Control { durable: past, ..control() }, false),
        (Control { start: far, ..control() }, false),
        (Control { epochs: Vec::new(), ..control() }, false),
        (Control { epochs: vec![(2, 1), (1, 2)], ..control() }, false),
        (Control { epochs: vec![(u64::MAX, u64::MAX)], ..control() }, false),
    ];
    for (control, believed) in table {
        let disk = small.disk.fork();
        control.write(&disk.open(CONTROL_FILE, OpenMode::Durable).unwrap()).unwrap();
        let read = Control::read(&*disk.open(CONTROL_FILE, OpenMode::Existing).unwrap()).unwrap();
        assert_eq!(read.control.is_some(), believed, "{control:?}");
        let (mut journal, found) = open(&disk);
        assert!([5, 6, 7, 8, 9].ends_with(&numbers(&found)), "{control:?}");
        journal.begin().unwrap();
        let durable = journal.durable();
        moved(&mut journal, durable);
        put(&mut journal, 99, 8);
        assert!(numbers(&open(&disk).1).ends_with(&[99]), "{control:?}");
    }
}

#[test]
fn noise_is_never_taken_for_anything() {
    let small = small();
    let ring = small.disk.read_raw(RING_FILE).unwrap();
    let control = small.disk.read_raw(CONTROL_FILE).unwrap();
    for seed in 0..2000_u64 {
        let disk = small.disk.fork();
        let mut roll = mix(seed);
        for (path, bytes) in [(RING_FILE, &ring), (CONTROL_FILE, &control)] {
            let file = disk.open(path, OpenMode::Existing).unwrap();
            let mut noise = bytes.clone();
            for _ in 0..roll % 200 {
                roll = mix(roll);
                let at = (roll >> 8) as usize % noise.len();
                noise[at] = roll as u8;
            }
            file.write_at(&noise, 0).unwrap();
        }
        let (_, found) = open(&disk);
        let got = numbers(&found);
        assert!(got.is_sorted() && got.iter().all(|&number| number <= 9), "seed {seed}: {got:?}");
        for (entry, number) in found.entries.iter().zip(got) {
            assert_eq!(entry.bytes, payload(number, len(number)), "seed {seed}");
        }
    }
}
