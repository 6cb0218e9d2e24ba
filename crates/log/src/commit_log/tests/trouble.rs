//! Disks that are full or fail.

use super::*;

fn power() -> FaultKind {
    FaultKind::Io("broken".to_owned())
}

#[test]
fn a_full_disk_refuses_the_append_and_nothing_else_changes() {
    for spare in 0..200 {
        let disk = MemoryDisk::new();
        let (mut log, _) = open_with(&disk, SMALL);
        let batch = |sequence| producer_batch(&["abc", "def"], 0, Some((1, 0, sequence)));
        log.append(&batch(0), NOW).unwrap();
        disk.set_capacity(disk.used_bytes() + spare);
        let mut written = 1;
        let refused = loop {
            match log.append(&batch(written * 2), NOW) {
                Ok(_) => written += 1,
                Err(refused) => break refused,
            }
        };
        let AppendRefused::Fault(fault) = refused else { panic!("{refused}") };
        assert_eq!((fault.kind, log.poisoned()), (FaultKind::NoSpace, None), "{spare}");
        assert_eq!(log.end_offset(), i64::from(written) * 2);
        assert_eq!(texts(&log).len() as i64, log.end_offset());
        sync(&mut log);
        assert_eq!(log.durable_offset(), log.end_offset());

        // A full disk does not keep the log from opening.
        let (reopened, recovered) = open_with(&disk.fork(), SMALL);
        assert_eq!((reopened.end_offset(), recovered.cut_bytes), (log.end_offset(), 0));

        disk.set_capacity(u64::MAX);
        assert!(log.append(&batch(written * 2), NOW).is_ok(), "the same batch again, with room");
        log.close().unwrap();
        let (log, recovered) = open_with(&disk, SMALL);
        assert_eq!(
            (log.end_offset(), recovered),
            (i64::from(written) * 2 + 2, Recovered::default())
        );
        assert_eq!(texts(&log).len() as i64, log.end_offset());
    }
}

#[test]
fn a_full_disk_does_not_stop_recovery_or_close() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open_with(&disk, SMALL);
    for at in 0..10 {
        append(&mut log, &["abc", "def"], at);
    }
    sync(&mut log);
    disk.set_capacity(0);
    log.close().unwrap();
    drop(log);
    for path in disk.files() {
        if path.ends_with("index") {
            disk.remove_file(&path).unwrap();
        }
    }
    let (mut log, recovered) = open_with(&disk, SMALL);
    assert_eq!((recovered.cut_bytes, recovered.damaged), (0, vec![]));
    assert_eq!(texts(&log).len(), 20);
    log.close().unwrap();
}

#[test]
fn a_failed_write_poisons_the_log() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk);
    append(&mut log, &["a"], 0);
    sync(&mut log);
    append(&mut log, &["b"], 0);
    disk.fail_after(0, power());
    let refused = log.append(&batch_of(&["c"], 0), NOW).unwrap_err();
    disk.heal();
    let says = "write t-0/00000000000000000000.log at byte 138: broken";
    assert_eq!(refused.to_string(), says);
    assert_eq!(log.append(&batch_of(&["d"], 0), NOW), Err(refused), "it stays so");
    assert_eq!(log.poisoned().map(ToString::to_string), Some(says.to_owned()));
    assert!(log.sync_begin().is_none());
    assert_eq!(log.close().unwrap_err().to_string(), says);
    assert_eq!(log.durable_offset(), 1);
    assert_eq!(texts_from(&log, 0, 1000).unwrap()[0], "a", "durable data is still read");
    let (log, recovered) = open(&disk);
    assert_eq!((texts(&log).concat(), recovered.cut_bytes), ("ab".to_owned(), 34));
}

#[test]
fn a_failed_sync_poisons_the_log() {
    let disk = MemoryDisk::with_crash_model();
    let (mut log, _) = open(&disk);
    append(&mut log, &["a"], 0);
    sync(&mut log);
    append(&mut log, &["b"], 0);
    disk.fail_syncs();
    sync(&mut log);
    disk.heal();
    assert_eq!((log.durable_offset(), log.end_offset()), (1, 2));
    assert!(log.sync_begin().is_none(), "a sync that failed is never tried again");
    let refused = log.append(&batch_of(&["c"], 0), NOW).unwrap_err();
    assert_eq!(refused.to_string(), "sync t-0/00000000000000000000.log: sync failed");
    let (log, _) = open(&disk.crash(&mut |_| crate::Fate::Lost));
    assert_eq!(texts(&log), ["a"]);
}

#[test]
fn a_sync_that_cannot_be_prepared_fails_like_one_that_cannot_be_run() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open_with(&disk, SMALL);
    for at in 0..4 {
        append(&mut log, &["x", "y"], at);
    }
    // The new segment makes a checkpoint due, and its files cannot be made.
    disk.fail_after(0, power());
    let work = log.sync_begin().expect("batches to sync");
    disk.heal();
    log.sync_end(&work, work.run());
    let says = "create t-0/00000000000000000006.index: broken";
    assert_eq!(log.poisoned().map(ToString::to_string), Some(says.to_owned()));
    assert_eq!((log.durable_offset(), log.end_offset()), (0, 8));
}

#[test]
fn a_read_that_fails_is_not_damage() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk);
    append(&mut log, &["a"], 0);
    sync(&mut log);
    disk.fail_reads();
    let Err(ReadRefused::Fault(fault)) = log.read(0, 1, 100) else { panic!("a fault") };
    assert_eq!(fault.kind, FaultKind::Io("read failed".to_owned()));
    let opened = CommitLog::open(Arc::new(disk.clone()), DIR, CONFIG);
    assert!(opened.is_err_and(|fault| fault.kind == FaultKind::Io("read failed".to_owned())));
    disk.heal();
    assert_eq!(texts(&log), ["a"]);
}

/// Each disk call of a short life fails in turn: what was said to be durable stays.
#[test]
fn a_fault_at_any_call_loses_nothing_durable() {
    let live = |disk: &MemoryDisk| -> Result<i64, (i64, Fault)> {
        let opened = CommitLog::open(Arc::new(disk.clone()), DIR, SMALL);
        let (mut log, _) = opened.map_err(|fault| (0, fault))?;
        for at in 0..12 {
            let appended = log.append(&batch_of(&["x"], at), NOW);
            sync(&mut log);
            if let Err(AppendRefused::Fault(fault)) = appended {
                return Err((log.durable_offset(), fault));
            }
        }
        match log.close() {
            Ok(()) => Ok(log.durable_offset()),
            Err(fault) => Err((log.durable_offset(), fault)),
        }
    };
    let whole = MemoryDisk::new();
    assert_eq!(live(&whole), Ok(12));
    for call in 0..whole.calls() {
        for kind in [power(), FaultKind::NoSpace] {
            let disk = MemoryDisk::with_crash_model();
            disk.fail_after(call, kind);
            let durable = match live(&disk) {
                Ok(durable) | Err((durable, _)) => durable,
            };
            let (log, recovered) = open_with(&disk.crash(&mut |_| crate::Fate::Lost), SMALL);
            assert_eq!(recovered.damaged, [], "call {call}");
            assert!(log.end_offset() >= durable, "call {call}: {durable} > {}", log.end_offset());
            assert_eq!(texts(&log).len() as i64, log.end_offset());
        }
    }
}

/// Both batches of a power cut's two sides carry epoch 0; the first was written, not answered, and
/// survived without the checkpoint that names its epoch.
#[test]
fn a_batch_that_outlives_its_epochs_checkpoint_does_not_spoil_what_follows() {
    let disk = MemoryDisk::with_crash_model();
    let (mut log, _) = open(&disk);
    sync(&mut log);
    append(&mut log, &["unanswered"], 1);
    // The checkpoint is written in whole sectors, the batch is not.
    let disk = disk.crash(&mut |unsynced| match unsynced {
        crate::Unsynced::Write { len, .. } if len != crate::SECTOR_BYTES => crate::Fate::Kept,
        _ => crate::Fate::Lost,
    });
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered.damaged, []);
    let before = texts(&log);
    append(&mut log, &["answered"], 2);
    sync(&mut log);
    let (log, recovered) = open(&disk.crash(&mut |_| crate::Fate::Lost));
    assert_eq!(recovered.damaged, []);
    assert_eq!(texts(&log), [before, vec!["answered".to_owned()]].concat());
}
