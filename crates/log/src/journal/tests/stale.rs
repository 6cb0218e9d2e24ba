//! Frames that are whole and yet not to be believed: of earlier laps, of dropped ends of earlier
//! openings, of other journals, and copies inside batches.

use super::*;

/// Carries out one write of those that are out and forgets the others, as a crash does.
fn only(writes: &[JournalWrite], survivors: &[usize]) {
    for &at in survivors {
        writes[at].run().unwrap();
    }
}

/// Gathers an entry per number and takes out the write of each.
fn writes_of(journal: &mut Journal, entries: &[(u64, usize)]) -> Vec<JournalWrite> {
    let mut writes = Vec::new();
    for &(number, len) in entries {
        journal.push(key(1), EntryKind::Batch, &[payload(number, len)]);
        writes.push(journal.next_write().unwrap());
    }
    writes
}

#[test]
fn the_dropped_end_of_an_opening_never_comes_back() {
    // With headers.
    const TWO_BLOCKS: usize = BLOCK_BYTES;
    // What the second opening writes before it crashes, and what of it reaches the disk.
    type Case = (&'static [(u64, usize)], &'static [usize], &'static [u64]);
    let table: [Case; 5] = [
        // Nothing: the hole stays.
        (&[], &[], &[1]),
        // The same place and size as the lost one: what follows on disk is of the first opening.
        (&[(22, 8)], &[0], &[1, 22]),
        (&[(22, 8)], &[], &[1]),
        // A hole again, then one whose sequence the first opening used too.
        (&[(22, TWO_BLOCKS), (23, 8)], &[1], &[1]),
        (&[(22, 8), (23, TWO_BLOCKS)], &[0, 1], &[1, 22, 23]),
    ];
    for (second, survivors, expected) in table {
        let disk = MemoryDisk::new();
        let (mut journal, _) = start(&disk);
        put(&mut journal, 1, 8);
        let first = writes_of(&mut journal, &[(2, 8), (3, 8), (4, 8)]);
        only(&first, &[1, 2]);
        let (mut journal, found) = start(&disk);
        assert_eq!((numbers(&found), found.torn_frames), (vec![1], 2));
        only(&writes_of(&mut journal, second), survivors);
        for again in 0..3 {
            let (_, found) = start(&disk);
            assert_eq!(numbers(&found), expected, "{second:?} {survivors:?} {again}");
            assert_eq!(found.damaged, []);
        }
    }
}

#[test]
fn frames_of_earlier_laps_are_not_taken() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    for number in 1..=60 {
        put(&mut journal, number, 8);
        let durable = journal.durable();
        moved(&mut journal, durable);
        let (_, found) = open(&disk);
        assert_eq!((numbers(&found), found.torn_frames), (vec![], 0), "after {number}");
    }
    let before_last = disk.fork();
    put(&mut journal, 61, 8);
    assert_eq!(numbers(&open(&disk).1), [61]);
    assert_eq!(numbers(&open(&before_last).1), []);
    let dump = read_journal(&disk).unwrap();
    let live = |state| dump.frames.iter().filter(|frame| frame.state == state).count();
    assert!(live(FrameState::Old) > 5, "the ring is full of them");
    assert_eq!((live(FrameState::Live), live(FrameState::Torn)), (1, 0));
}

#[test]
fn frames_of_another_journal_are_not_taken() {
    let other = MemoryDisk::new();
    let (mut journal, _) =
        Journal::open(&other, &StoreConfig { journal_seed: 1, ..tiny() }).unwrap();
    journal.begin().unwrap();
    put(&mut journal, 1, 8);
    put(&mut journal, 2, 8);
    let disk = MemoryDisk::new();
    let (journal, _) = start(&disk);
    let ring = journal.ring.file;
    ring.write_at(&other.read_raw(RING_FILE).unwrap(), 0).unwrap();
    let (_, found) = open(&disk);
    assert_eq!((numbers(&found), found.damaged, found.torn_frames), (vec![], vec![], 0));
}

#[test]
fn copies_of_frames_inside_a_batch_are_not_taken() {
    let disk = MemoryDisk::new();
    let config = StoreConfig { write_bytes_max: 64 * BLOCK_BYTES, ..tiny() };
    let (mut journal, _) = Journal::open(&disk, &config).unwrap();
    journal.begin().unwrap();
    for number in 1..=3 {
        put(&mut journal, number, 8);
    }
    let copies = disk.read_raw(RING_FILE).unwrap()[..3 * BLOCK_BYTES].to_vec();
    // Header and entry header go before the payload: the copies begin at a block of the ring.
    let mut batch = vec![0; BLOCK_BYTES - 64 - 25];
    batch.extend_from_slice(&copies);
    let batch = Bytes::from(batch);
    journal.push(key(2), EntryKind::Batch, std::slice::from_ref(&batch));
    run(&mut journal);
    journal.announce();
    run(&mut journal);
    assert_eq!(open(&disk).1.entries[3].bytes, batch);
    let copies_at: Vec<u64> = (4..7).map(|block| block * BLOCK).collect();
    let ring = disk.read_raw(RING_FILE).unwrap();
    for &at in &copies_at {
        assert_eq!(ring[at as usize + 4..][..4], *b"TDJF", "they are where frames could be");
    }
    assert!(disk.flip_bit(RING_FILE, 8 * (3 * BLOCK + 100)));
    let (_, found) = open(&disk);
    assert_eq!(numbers(&found), [1, 2, 3]);
    assert_eq!(found.damaged, [lost("4..5", 3 * BLOCK, "12288..28672")]);
}
