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
        assert!(journal.has_room(BATCH_BYTES_MAX));
        let sequence = journal.push(key(1), EntryKind::Batch, std::slice::from_ref(&large));
        assert!(!journal.has_room(1), "no more is gathered than that");
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
