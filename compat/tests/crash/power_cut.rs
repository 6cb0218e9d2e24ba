//! The power is cut under load: the image of the disk as it is at that moment is all that is left.
//!
//! Controls show that the method can see a loss: a file written without a sync loses what was
//! written, one written with a sync does not; a topic of `tidings.durability=memory` loses records, and
//! transactions that write to such a topic do not stay whole.

use std::fs::File;
use std::io::Write as _;

use tidings_compat::{LoopDisk, Server};

use crate::dice::Dice;
use crate::load::{Load, MIXED, create};
use crate::pipeline::{IN_MEMORY, Pipeline, Workers};
use crate::rounds;

const DISK_MIB: u64 = 512;
const EACH: u64 = 1500;
const PARTITIONS: i32 = 3;
/// Inputs in each partition, of which transactions are made.
const INPUTS: i64 = 300;

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let mut dice = Dice::new("power cut");
    let (mut records, mut lost) = (0, 0);
    for _ in 0..rounds() {
        let disk = LoopDisk::new(DISK_MIB).expect("a disk");
        let mut server = Server::start_below(disk.path()).expect("the server starts");
        create(server.kafka(), "kept", PARTITIONS, &[]);
        create(server.kafka(), "in-memory", PARTITIONS, &IN_MEMORY);
        let mut load = Load::new(server.kafka(), "kept", &MIXED);
        let mut control = Load::new(server.kafka(), "in-memory", &MIXED);
        load.send(EACH);
        control.send(EACH);
        let enough = 1 + dice.below(EACH * MIXED.len() as u64 - 1) as usize;
        assert!(load.acknowledged(enough) && control.acknowledged(1), "nothing is delivered");
        server.freeze().expect("the server stands still");
        let left = disk.after_power_cut().expect("a copy of the disk");
        server.kill().expect("the server ends");

        let after = Server::start_below(left.path()).expect("the server starts on what is left");
        load.check(after.kafka(), PARTITIONS, false);
        records += load.acknowledged_now();
        lost += control.check(after.kafka(), PARTITIONS, true);
    }
    assert!(lost > 0, "a topic in memory lost nothing, so the cut cuts nothing");
    println!(
        "power cut: {} cuts, {records} records acknowledged, 0 lost; of a topic in memory {lost}",
        rounds()
    );
}

#[test]
fn transactions_are_whole_after_a_power_cut() {
    let mut dice = Dice::new("power cut of transactions");
    let (mut all, mut lost) = ([0; 3], 0);
    for _ in 0..rounds() {
        let disk = LoopDisk::new(DISK_MIB).expect("a disk");
        let mut server = Server::start_below(disk.path()).expect("the server starts");
        let kept = Pipeline::new(server.kafka(), "kept", &[], INPUTS);
        let control = Pipeline::new(server.kafka(), "in-memory", &IN_MEMORY, INPUTS);
        let workers = [&kept, &control].map(|pipeline| pipeline.work(server.kafka(), &mut dice));
        let enough = 1 + dice.below(kept.all() - 1);
        assert!(kept.moved(enough) && control.moved(1), "nothing is moved");
        server.freeze().expect("the server stands still");
        let left = disk.after_power_cut().expect("a copy of the disk");
        server.kill().expect("the server ends");
        workers.into_iter().for_each(Workers::abandon);

        let after = Server::start_below(left.path()).expect("the server starts on what is left");
        kept.end_what_is_open(after.kafka());
        assert_eq!(kept.violations_so_far(after.kafka()), Vec::<String>::new());
        control.end_what_is_open(after.kafka());
        lost += control.violations_so_far(after.kafka()).len();
        kept.work(after.kafka(), &mut dice).finish();
        assert_eq!(kept.violations(after.kafka()), Vec::<String>::new());
        for (sum, count) in all.iter_mut().zip(kept.transactions()) {
            *sum += count;
        }
    }
    assert!(lost > 0, "transactions into a topic in memory lost nothing, so the cut cuts nothing");
    let [committed, aborted, unknown] = all;
    println!(
        "power cut of transactions: {} cuts, {committed} committed, {aborted} aborted, {unknown} \
         that nobody was told of; into a topic in memory {lost} violations",
        rounds()
    );
}

#[test]
fn a_power_cut_loses_what_was_not_synced_and_only_that() {
    let disk = LoopDisk::new(64).expect("a disk");
    let write = |name: &str| {
        let mut file = File::create(disk.path().join(name)).expect("a file");
        file.write_all(&[7; 100_000]).expect("written");
        file
    };
    let synced = write("synced");
    synced.sync_all().expect("synced");
    let _unsynced = write("unsynced");
    let left = disk.after_power_cut().expect("a copy of the disk");
    let there = |name: &str| std::fs::read(left.path().join(name)).unwrap_or_default();
    assert_eq!(there("synced"), [7; 100_000]);
    assert_ne!(there("unsynced"), [7; 100_000]);
}
