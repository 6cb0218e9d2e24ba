//! The double behaves like a disk, and crashes like one.

use super::*;
use crate::BLOCK_BYTES;

fn written(disk: &MemoryDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.open(path, OpenMode::Create).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn lost(_: Unsynced<'_>) -> Fate {
    Fate::Lost
}

#[test]
fn reads_see_writes_and_gaps_read_as_zeros() {
    let disk = MemoryDisk::new();
    let file = written(&disk, "a", b"hello");
    file.write_at(b"!", 7).unwrap();
    let mut buffer = [9; 16];
    assert_eq!(file.read_at(&mut buffer, 3).unwrap(), 5);
    assert_eq!(&buffer[..5], b"lo\0\0!");
    assert_eq!(file.read_at(&mut buffer, 100).unwrap(), 0);
    file.truncate(2).unwrap();
    assert_eq!(disk.read_raw("a").unwrap(), b"he");
    assert_eq!(disk.used_bytes(), 2);
}

#[test]
fn names_are_listed_renamed_and_removed() {
    let disk = MemoryDisk::new();
    assert_eq!(disk.open("d/a", OpenMode::Create).unwrap_err().kind, FaultKind::NotFound);
    disk.create_dir_all("d/e").unwrap();
    written(&disk, "d/a", b"1");
    written(&disk, "d/b", b"22");
    disk.rename("d/a", "d/b").unwrap();
    let names: Vec<_> = disk.list("d").unwrap().into_iter().map(|e| (e.name, e.is_dir)).collect();
    assert_eq!(names, [("b".to_owned(), false), ("e".to_owned(), true)]);
    assert_eq!(disk.read_raw("d/b").unwrap(), b"1");
    assert_eq!(disk.used_bytes(), 1);
    disk.remove_dir_all("d").unwrap();
    assert_eq!(disk.list("d").unwrap_err().kind, FaultKind::NotFound);
    assert_eq!((disk.files(), disk.used_bytes()), (Vec::new(), 0));
}

#[test]
fn a_crash_keeps_only_what_was_synced() {
    let disk = MemoryDisk::with_crash_model();
    disk.create_dir_all("d").unwrap();
    let file = written(&disk, "d/a", b"synced");
    file.sync().unwrap();
    assert_eq!(disk.crash(&mut lost).files(), Vec::<String>::new(), "no name is durable yet");
    disk.sync_dir("d").unwrap();
    assert_eq!(disk.crash(&mut lost).files(), Vec::<String>::new(), "nor is its directory's");
    disk.sync_dir("").unwrap();
    file.write_at(b"xx", 0).unwrap();
    disk.remove_file("d/a").unwrap();
    assert_eq!(disk.crash(&mut lost).read_raw("d/a").unwrap(), b"synced");
    assert_eq!(disk.fork().files(), Vec::<String>::new());
}

#[test]
fn a_torn_write_keeps_the_chosen_sectors() {
    let disk = MemoryDisk::with_crash_model();
    let file = disk.open("a", OpenMode::Create).unwrap();
    disk.sync_dir("").unwrap();
    file.write_at(&[1; 1500], 0).unwrap();
    file.sync().unwrap();
    file.write_at(&[2; 1000], 500).unwrap();
    let torn = disk.crash(&mut |_| Fate::Torn { sectors: 0b101 });
    let bytes = torn.read_raw("a").unwrap();
    let runs: Vec<(u8, usize)> =
        bytes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
    assert_eq!(runs, [(1, 500), (2, 12), (1, 512), (2, 476)]);
}

#[test]
fn faults_come_when_asked_for_and_end_when_healed() {
    let disk = MemoryDisk::new();
    let file = written(&disk, "a", b"1234");
    disk.fail_after(1, FaultKind::Io("pulled".to_owned()));
    file.write_at(b"ab", 0).unwrap();
    assert_eq!(file.write_at(b"cdef", 0).unwrap_err().to_string(), "write a at byte 0: pulled",);
    assert_eq!(disk.read_raw("a").unwrap(), b"cd34", "half of a failed write");
    disk.heal();
    disk.fail_syncs();
    assert_eq!(file.sync().unwrap_err().to_string(), "sync a: sync failed");
    disk.heal();
    disk.fail_reads();
    assert_eq!(file.read_at(&mut [0], 0).unwrap_err().to_string(), "read a at byte 0: read failed");
    disk.heal();
    assert_eq!(file.sync(), Ok(()));
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = MemoryDisk::new();
    disk.set_capacity(6);
    let file = written(&disk, "a", b"1234");
    assert_eq!(file.write_at(b"5678", 4).unwrap_err().kind, FaultKind::NoSpace);
    assert_eq!(disk.read_raw("a").unwrap(), b"123456");
    assert_eq!(disk.free_bytes().unwrap(), 0);
    file.write_at(b"ab", 0).unwrap();
    file.truncate(3).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 3);
}

#[test]
fn bits_flip_and_files_are_cut_at_rest() {
    let disk = MemoryDisk::new();
    written(&disk, "a", &[0, 0]);
    assert!(disk.flip_bit("a", 9));
    assert!(!disk.flip_bit("a", 16));
    assert_eq!(disk.read_raw("a").unwrap(), [0, 2]);
    assert!(disk.truncate_raw("a", 1));
    assert!(!disk.truncate_raw("a", 2));
    assert_eq!(disk.used_bytes(), 1);
}

#[test]
fn a_durable_write_outlasts_an_older_one_that_failed() {
    let disk = MemoryDisk::with_crash_model();
    let file = disk.open("a", OpenMode::Durable).unwrap();
    disk.sync_dir("").unwrap();
    disk.fail_after(0, FaultKind::Io("once".to_owned()));
    file.write_at(&[1; BLOCK_BYTES], 0).unwrap_err();
    disk.heal();
    file.write_at(&[2; BLOCK_BYTES], 0).unwrap();
    for fate in [Fate::Kept, Fate::Lost, Fate::Torn { sectors: 1 }] {
        let left = disk.crash(&mut |_| fate);
        assert_eq!(left.read_raw("a").unwrap(), [2; BLOCK_BYTES], "{fate:?}");
    }
}
