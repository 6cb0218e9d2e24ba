//! What an owner sees.

use super::*;

#[test]
fn entries_come_back_in_order_with_their_bytes() {
    let disk = MemoryDisk::new();
    let (mut journal, found) = start(&disk);
    assert_eq!((found.entries.len(), found.damaged.len(), found.torn_frames), (0, 0, 0));
    let parts = [Bytes::from_static(b"header"), Bytes::from_static(b"records")];
    assert_eq!(journal.push(key(1), EntryKind::Batch, &parts), 1);
    assert_eq!(journal.push(key(2), EntryKind::StartOffset, &[payload(7, 8)]), 1);
    assert_eq!(journal.gathering(), 1);
    let write = journal.next_write().unwrap();
    assert_eq!(journal.gathering(), 2);
    assert_eq!(&write.bytes[write.entries[0].clone()], b"headerrecords");
    assert_eq!(write.bytes.as_ptr().align_offset(BLOCK_BYTES), 0);
    assert_eq!((write.offset, write.bytes.len()), (0, BLOCK_BYTES));
    write.run().unwrap();
    assert_eq!(journal.durable(), 1);
    journal.write_done(&write, Ok(()));
    assert_eq!(journal.durable(), 2);
    let (_, found) = open(&disk);
    let entries: Vec<_> =
        found.entries.iter().map(|e| (e.sequence, e.key, e.kind, &e.bytes[..])).collect();
    let start_offset = payload(7, 8);
    assert_eq!(
        entries,
        [
            (1, key(1), EntryKind::Batch, &b"headerrecords"[..]),
            (1, key(2), EntryKind::StartOffset, &start_offset[..]),
        ]
    );
    assert_eq!(found.damaged, []);
}

#[test]
fn a_batch_of_the_largest_size_passes_through_a_small_ring() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    let large = Bytes::from(vec![7; BATCH_BYTES_MAX]);
    for _ in 0..2 {
        let durable = journal.durable();
        moved(&mut journal, durable);
        put(&mut journal, 1, 5000);
        assert!(journal.has_room());
        let sequence = journal.push(key(1), EntryKind::Batch, std::slice::from_ref(&large));
        assert!(!journal.has_room(), "no more is gathered than that");
        run(&mut journal);
        assert!(journal.stalled(), "the ring has room for nothing beside it");
        moved(&mut journal, sequence);
        run(&mut journal);
        assert_eq!((journal.stalled(), journal.durable()), (false, sequence + 1));
    }
    let (_, found) = open(&disk);
    assert_eq!(found.entries.len(), 1);
    assert_eq!(found.entries[0].bytes, large);
}

#[test]
fn the_ring_is_gone_round_many_times() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    for number in 1..300 {
        let sequence = put(&mut journal, number, 3000 + 2000 * (number as usize % 5));
        assert_eq!(journal.durable(), sequence + 1);
        moved(&mut journal, sequence.saturating_sub(2));
    }
    assert!(disk.used_bytes() <= 26 * BLOCK, "{}", disk.used_bytes());
    let (_, found) = open(&disk);
    assert_eq!(numbers(&found), [297, 298, 299]);
    assert_eq!(found.damaged, []);
}

#[test]
fn writes_are_as_many_and_as_large_as_allowed() {
    let disk = MemoryDisk::new();
    let config = StoreConfig { journal_chunk_bytes: 64 * BLOCK, ..tiny() };
    let (mut journal, _) = Journal::open(&disk, &config).unwrap();
    journal.begin().unwrap();
    let half = 2 * BLOCK_BYTES / 2 - 100;
    let lens = [half, half, half, 5 * BLOCK_BYTES, 8, 8];
    let sequences: Vec<u64> = (0..)
        .zip(lens)
        .map(|(number, len)| {
            assert!(journal.has_room());
            journal.push(key(1), EntryKind::Batch, &[payload(number, len)])
        })
        .collect();
    assert_eq!(sequences, [1, 1, 2, 3, 4, 4], "two halves fill a write, a large one has its own");
    // Nine blocks of the sixteen that are twice what four writes may hold: what comes now may be larger.
    assert!(journal.has_room());
    let mut writes: Vec<JournalWrite> = std::iter::from_fn(|| journal.next_write()).collect();
    let blocks = |write: &JournalWrite| (write.offset / BLOCK, write.bytes.len() / BLOCK_BYTES);
    let places: Vec<_> = writes.iter().map(blocks).collect();
    assert_eq!(places, [(0, 2), (2, 1), (3, 6), (9, 1)]);
    let entries: Vec<usize> = writes.iter().map(|write| write.entries.len()).collect();
    assert_eq!(entries, [2, 1, 1, 2]);
    assert!(journal.has_room(), "nothing is gathered");
    journal.push(key(1), EntryKind::Batch, &[payload(9, 8)]);
    assert!(journal.next_write().is_none(), "four are out");
    let last = writes.pop().unwrap();
    journal.write_done(&last, Ok(()));
    assert_eq!(journal.durable(), 1, "those before it are not");
    assert_eq!(journal.next_write().unwrap().sequence, 5);
}

#[test]
fn an_idle_journal_tells_once_that_its_last_frames_are_durable() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    let announced = |journal: &mut Journal| {
        journal.announce();
        let write = journal.next_write();
        if let Some(write) = &write {
            write.run().unwrap();
            journal.write_done(write, Ok(()));
        }
        write.map(|write| (write.sequence, write.entries.len()))
    };
    assert_eq!(announced(&mut journal), None, "there is nothing to tell");
    journal.push(key(1), EntryKind::Batch, &[payload(1, 8)]);
    journal.announce();
    let write = journal.next_write().unwrap();
    assert_eq!(write.entries.len(), 1);
    assert_eq!(announced(&mut journal), None, "the write is out");
    write.run().unwrap();
    journal.write_done(&write, Ok(()));
    let silent = disk.fork();
    assert_eq!(announced(&mut journal), Some((2, 0)));
    assert_eq!(announced(&mut journal), None, "it has been told");
    put(&mut journal, 3, 8);
    let durable = journal.durable();
    moved(&mut journal, durable);
    assert_eq!(announced(&mut journal), None, "nothing is left to tell of");

    assert!(silent.flip_bit(RING_FILE, 700));
    let (_, found) = open(&silent);
    assert_eq!((numbers(&found), found.damaged), (vec![], vec![]), "not told from a torn write");
}

#[test]
fn damage_to_the_last_frame_is_told_once_it_was_announced() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    put(&mut journal, 1, 8);
    journal.announce();
    run(&mut journal);
    assert!(disk.flip_bit(RING_FILE, 700));
    let (mut journal, found) = start(&disk);
    assert_eq!((numbers(&found), found.damaged), (vec![], vec![lost("1..2", 0, "0..4096")]));
    // The next opening goes on behind it, and the report stays until the start has moved.
    put(&mut journal, 2, 8);
    let (_, found) = open(&disk);
    assert_eq!((numbers(&found), found.damaged), (vec![2], vec![lost("1..2", 0, "0..4096")]));
    let durable = journal.durable();
    moved(&mut journal, durable - 1);
    let (_, found) = open(&disk);
    assert_eq!((numbers(&found), found.damaged), (vec![2], vec![]));
}

#[test]
fn a_full_disk_stops_the_ring_from_growing_and_nothing_else() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    disk.set_capacity(disk.used_bytes());
    for number in 1..50 {
        let sequence = put(&mut journal, number, 5000);
        assert_eq!(journal.durable(), sequence + 1, "what is prepared needs no room");
        moved(&mut journal, sequence);
    }
    put(&mut journal, 50, 5000);
    put(&mut journal, 51, 5000);
    assert!(journal.stalled() && journal.prepare().is_none());
    assert_eq!(journal.prepare_failed().unwrap().kind, FaultKind::NoSpace);
    assert_eq!(journal.failed(), None);
    disk.set_capacity(u64::MAX);
    run(&mut journal);
    assert!(journal.stalled(), "it is not tried again on its own");
    journal.retry_prepare();
    run(&mut journal);
    assert_eq!((journal.stalled(), journal.durable()), (false, 52));
    assert_eq!(numbers(&open(&disk).1), [49, 50, 51]);
}

#[test]
fn a_disk_that_was_always_full_has_no_ring_until_there_is_room() {
    let disk = MemoryDisk::new();
    disk.set_capacity(2 * BLOCK);
    let (mut journal, _) = open(&disk);
    journal.begin().unwrap();
    put(&mut journal, 1, 8);
    assert_eq!((journal.stalled(), journal.durable()), (true, 1), "the control file took all");
    assert_eq!(journal.prepare_failed().unwrap().kind, FaultKind::NoSpace);
    disk.set_capacity(6 * BLOCK);
    journal.retry_prepare();
    run(&mut journal);
    assert_eq!((journal.stalled(), journal.durable()), (false, 2));
}

#[test]
fn room_is_free_only_when_the_start_has_moved_durably() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    for number in 1..=3 {
        put(&mut journal, number, 8);
    }
    let used = journal.used_bytes();
    for calls in [0, 1] {
        let mut work = journal.move_start(3);
        assert_eq!(journal.used_bytes(), used, "asked for");
        disk.fail_after(calls, FaultKind::Io("pulled".to_owned()));
        work.run();
        disk.heal();
        assert!(work.outcome.as_ref().unwrap().is_err());
        journal.start_moved(work);
        assert_eq!(journal.used_bytes(), used, "failed after {calls} slots");
        assert_eq!(journal.failed(), None);
    }
    moved(&mut journal, 3);
    assert_eq!(journal.used_bytes().0, BLOCK);
    moved(&mut journal, 1);
    assert_eq!(journal.used_bytes().0, BLOCK, "it never goes back");
    moved(&mut journal, u64::MAX);
    assert_eq!(journal.used_bytes().0, 0);
    put(&mut journal, 4, 8);
    assert_eq!(numbers(&open(&disk).1), [4]);
}

#[test]
fn a_closed_journal_is_empty_until_the_next_entry() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    put(&mut journal, 1, 8);
    put(&mut journal, 2, 8);
    journal.close().unwrap();
    assert_eq!(journal.used_bytes().0, 0);
    for _ in 0..2 {
        let (_, found) = open(&disk);
        assert_eq!((numbers(&found), found.damaged), (vec![], vec![]));
        assert!(read_journal(&disk).unwrap().clean);
    }
    let (mut journal, _) = start(&disk);
    assert!(!read_journal(&disk).unwrap().clean);
    assert_eq!(put(&mut journal, 3, 8), 3);
    assert_eq!(numbers(&open(&disk).1), [3]);
}

#[test]
fn openings_without_number_keep_every_entry() {
    let disk = MemoryDisk::new();
    for number in 1..=3 * crate::limits::JOURNAL_EPOCHS_MAX as u64 {
        let (mut journal, found) = start(&disk);
        assert_eq!(numbers(&found), (1..number).collect::<Vec<_>>());
        assert_eq!(found.damaged, []);
        put(&mut journal, number, 8);
    }
}

#[test]
fn a_ring_that_cannot_be_read_is_not_an_empty_one() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    put(&mut journal, 1, 8);
    disk.fail_reads();
    let fault = Journal::open(&disk, &tiny()).unwrap_err();
    assert_eq!(fault.operation, "read");
    disk.heal();
    assert_eq!(numbers(&open(&disk).1), [1]);
}

/// Every block of a ring in turn: the frames in use and the place of the next one cannot be done without.
#[test]
fn only_a_block_that_may_hold_something_acknowledged_must_be_readable() {
    let disk = MemoryDisk::new();
    let (mut journal, _) = start(&disk);
    for number in 1..=3 {
        put(&mut journal, number, 5000);
    }
    let next = journal.ring.head() / BLOCK;
    let blocks = journal.ring.prepared() / BLOCK;
    assert_eq!((next, blocks), (6, 12));
    for block in 0..blocks {
        let disk = disk.fork();
        disk.fail_reads_of(RING_FILE, block);
        let unread = Fault {
            operation: "read",
            path: RING_FILE.to_owned(),
            offset: Some(block * BLOCK),
            kind: FaultKind::Io("read failed".to_owned()),
        };
        if block <= next {
            assert!(
                matches!(Journal::open(&disk, &tiny()).unwrap_err().kind, FaultKind::Io(_)),
                "block {block}"
            );
            disk.heal();
            assert_eq!(numbers(&open(&disk).1), [1, 2, 3], "block {block}, readable again");
            continue;
        }
        assert_eq!(
            read_journal(&disk).unwrap().faults,
            std::slice::from_ref(&unread),
            "block {block}"
        );
        let (mut journal, found) = start(&disk);
        assert_eq!((numbers(&found), found.damaged), (vec![1, 2, 3], vec![unread]), "{block}");
        put(&mut journal, 4, 8);
        disk.heal();
        assert_eq!(numbers(&open(&disk).1), [1, 2, 3, 4], "block {block}");
        // What is acknowledged and missing may be in the block.
        assert!(disk.flip_bit(RING_FILE, 8 * 100));
        disk.fail_reads_of(RING_FILE, block);
        assert!(Journal::open(&disk, &tiny()).is_err(), "block {block} with a frame missing");
    }
}

#[test]
fn tools_see_every_frame_and_change_nothing() {
    let disk = MemoryDisk::new();
    assert_eq!(read_journal(&disk).unwrap_err().kind, FaultKind::NotFound);
    let (mut journal, _) = start(&disk);
    put(&mut journal, 70, 100);
    moved(&mut journal, 2);
    put(&mut journal, 71, 5000);
    journal.push(key(2), EntryKind::StartOffset, &[payload(72, 8)]);
    journal.next_write().unwrap();
    put(&mut journal, 73, 8);
    let calls = disk.calls();
    let dump = read_journal(&disk).unwrap();
    assert_eq!(disk.calls(), calls);
    let batch = |offset, bytes| vec![JournalEntry::Batch { key: key(1), offset, bytes }];
    let frame = |sequence, block: u64, len, state, entries| JournalFrame {
        sequence,
        epoch: 1,
        offset: block * BLOCK,
        len,
        durable: sequence.min(3),
        state,
        entries,
    };
    assert_eq!(
        dump,
        JournalDump {
            journal: journal.control.journal,
            epoch: 1,
            start: 2,
            next: 3,
            clean: false,
            ring_bytes: journal.ring.prepared(),
            frames: vec![
                frame(1, 0, 189, FrameState::Old, batch(70, 100)),
                frame(2, 1, 5089, FrameState::Live, batch(71, 5000)),
                frame(4, 4, 97, FrameState::Torn, batch(73, 8)),
            ],
            faults: vec![],
        }
    );
}

#[test]
fn a_frame_goes_where_it_fits_whole() {
    // Prepared blocks, head, frames in use as first and last block (none: no frame), blocks wanted, place.
    type Case = (u64, u64, Option<u64>, u64, Option<u64>);
    let table: [Case; 12] = [
        (8, 0, None, 8, Some(0)),
        (8, 0, None, 9, None),
        (8, 5, None, 3, Some(5)),
        (8, 5, None, 4, Some(0)),
        (8, 8, None, 8, Some(0)),
        (8, 5, Some(2), 3, Some(5)),
        (8, 6, Some(3), 3, Some(0)),
        (8, 6, Some(3), 4, None),
        (8, 6, Some(0), 3, None),
        (8, 2, Some(5), 3, Some(2)),
        (8, 2, Some(5), 4, None),
        (8, 5, Some(5), 1, None),
    ];
    for (prepared, head, tail, bytes, expected) in table {
        let file = MemoryDisk::new().open("ring", OpenMode::Create).unwrap();
        let frames = tail.map(|block| Placed {
            sequence: 1,
            offset: block * BLOCK,
            bytes: BLOCK,
            crc: 0,
            previous: 0,
            tells: 1,
            written: true,
        });
        let frames = frames.into_iter().collect();
        let ring = Ring::new(file, &tiny(), prepared * BLOCK, head * BLOCK, frames);
        let place = ring.place(bytes * BLOCK).map(|offset| offset / BLOCK);
        assert_eq!(place, expected, "{prepared} {head} {tail:?} {bytes}");
    }
}
