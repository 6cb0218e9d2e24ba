//! The store keeps its word through power cuts, and the checker notices when a disk breaks its own.

use std::collections::BTreeSet;

use tidings_sim::crash::{Figures, Setting, explore, explore_failures};
use tidings_sim::damage::{Damage, Damaged, Directory};
use tidings_sim::disk::Lie;
use tidings_sim::history::Stop;

#[test]
fn no_power_cut_makes_the_store_break_its_word() {
    let mut figures = Figures::default();
    for seed in 1..=2 {
        if let Err(violation) = explore(seed, &Setting::default(), &mut figures) {
            panic!("{violation}");
        }
    }
    assert!(figures.crash_states > 2_000 && figures.nested > 500, "{figures:?}");
}

#[test]
fn no_failed_call_makes_the_store_break_its_word() {
    let mut figures = Figures::default();
    if let Err(violation) = explore_failures(3, &Setting::default(), &mut figures) {
        panic!("{violation}");
    }
    assert!(figures.failures > 20 && figures.crash_states > 100, "{figures:?}");
}

#[test]
fn a_seed_explores_the_same_states_twice() {
    let run = |seed| {
        let mut figures = Figures::default();
        explore(seed, &Setting::default(), &mut figures).expect("the seed is sound");
        figures
    };
    let first = run(5);
    assert_eq!(first, run(5));
    assert_ne!(first.trace, run(6).trace);
}

#[test]
fn broken_disks_are_caught() {
    let table = [
        ("file syncs do nothing", Lie::FileSyncs),
        ("folder syncs do nothing", Lie::DirSyncs),
        ("checkpoint syncs do nothing", Lie::CheckpointSyncs),
        ("durable writes are not durable", Lie::DurableWrites),
        ("writes lose a bit", Lie::LastByte),
    ];
    for (name, lie) in table {
        let mut figures = Figures::default();
        let setting = Setting { lie: Some(lie), ..Setting::default() };
        let caught = (1..=20).find_map(|seed| explore(seed, &setting, &mut figures).err());
        let violation = caught.unwrap_or_else(|| panic!("{name}: not caught in {figures:?}"));
        println!("{name}: {violation}");
    }
}

#[test]
fn damage_to_every_kind_of_file_is_detected_or_harmless() {
    let directory =
        Directory::new(1, Stop::Unclean, None).expect("an undamaged directory is sound");
    let mut figures = Damaged::default();
    let mut kinds = BTreeSet::new();
    for damage in directory.damages().step_by(997) {
        directory.check(&damage, &mut figures).unwrap_or_else(|what| panic!("{what}"));
        if let Damage::Flip { path, .. } = &damage {
            kinds.insert(path.rsplit(['.', '/']).next().unwrap_or(path).to_owned());
        }
    }
    assert!(figures.detected > 10 && figures.harmless > 10, "{figures:?}");
    for kind in ["ring", "control", "checkpoint", "log"] {
        assert!(kinds.contains(kind), "no {kind} among {kinds:?}");
    }
}
