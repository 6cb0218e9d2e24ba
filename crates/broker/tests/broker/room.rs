//! Produce when the disk does not keep up, or runs out of room.

use tidings_broker::log::{MemoryDisk, StoreConfig};
use tidings_broker::{
    BrokerConfig, DeleteTopics, DiskRoom, Produce, ProduceRefused, Ticket, TopicName, limits,
};

use crate::groups::commit;
use crate::rig::{Rig, batch, config, produce};

const UNFLUSHED_MAX: u64 = 64 << 10;

/// A rig that is congested by a few batches of [`large`].
fn narrow() -> Rig {
    let store = StoreConfig {
        flush_bytes: 16 << 10,
        unflushed_bytes_max: UNFLUSHED_MAX,
        ..StoreConfig::small()
    };
    let mut rig = Rig::with(MemoryDisk::new(), BrokerConfig { store, ..config() });
    rig.topic("a");
    rig.settle();
    rig
}

fn large(name: &str) -> Produce {
    produce("a", 0, batch(&[&name.repeat(20_000)]))
}

fn outcome(rig: &mut Rig, ticket: Ticket) -> Result<i64, ProduceRefused> {
    let answers = rig.answer::<Produce>(ticket).expect("answered");
    answers[0].outcome.clone().map(|at| at.base_offset)
}

/// Produces until requests wait; only writes are carried out. Returns those that wait.
fn until_two_wait(rig: &mut Rig) -> [Ticket; 2] {
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let ticket = rig.submit(large("x"));
        while rig.sync() {}
        if !rig.is_answered(ticket) {
            waiting.push(ticket);
        }
        if let [first, second] = waiting[..] {
            return [first, second];
        }
    }
    panic!("nothing waits although nothing is flushed");
}

#[test]
fn what_the_disk_does_not_keep_up_with_waits_in_order_until_it_does() {
    let mut rig = narrow();
    let [first, second] = until_two_wait(&mut rig);
    assert!(rig.broker.unflushed_bytes() >= UNFLUSHED_MAX);
    rig.call_without_flush(commit("g", 0, 1)).expect("what groups need does not wait");
    rig.settle();
    let (first, second) = (outcome(&mut rig, first).unwrap(), outcome(&mut rig, second).unwrap());
    assert_eq!(second, first + 1);
    assert_eq!(rig.broker.unflushed_bytes().min(UNFLUSHED_MAX), rig.broker.unflushed_bytes());
}

#[test]
fn what_waits_too_long_is_refused_with_what_to_do() {
    let mut rig = narrow();
    let waiting = until_two_wait(&mut rig);
    rig.pass(limits::PRODUCE_WAIT_MAX_MS - 1);
    assert!(waiting.iter().all(|ticket| !rig.is_answered(*ticket)));
    rig.pass(1);
    for ticket in waiting {
        let Err(ProduceRefused::Storage(text)) = outcome(&mut rig, ticket) else {
            panic!("nothing was flushed")
        };
        assert!(text.starts_with("the disk does not keep up: "), "{text}");
        assert!(text.ends_with("send it again, or less at a time"), "{text}");
    }
    rig.settle();
    rig.produce("a", 0, batch(&["after"])).unwrap();
}

#[test]
fn a_disk_that_is_full_under_a_flush_loses_nothing_and_is_taken_up_again() {
    let mut rig = narrow();
    rig.disk.set_capacity(rig.disk.used_bytes());
    let mut taken = 0;
    let refused = loop {
        let ticket = rig.submit(large("x"));
        rig.settle();
        match outcome(&mut rig, ticket) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(taken > 1, "the journal has room of its own");
    let ProduceRefused::Storage(text) = refused else { panic!("{refused:?}") };
    assert!(text.starts_with("the disk is full: no space is left for this write"), "{text}");
    assert_eq!(rig.values("a", 0, 0).len(), taken, "all that was taken is served");
    rig.disk.set_capacity(u64::MAX);
    // The flush is tried again within seconds.
    for _ in 0..5 {
        rig.pass(1000);
        rig.settle();
    }
    rig.call(large("x")).remove(0).outcome.expect("there is room again");
    assert_eq!(rig.values("a", 0, 0).len(), taken + 1);
    let mut rig = rig.restart();
    assert_eq!(rig.values("a", 0, 0).len(), taken + 1);
}

#[test]
fn a_disk_that_is_nearly_full_slows_produce_down() {
    let disk_reserve_bytes = 1 << 20;
    let mut rig = Rig::with(MemoryDisk::new(), BrokerConfig { disk_reserve_bytes, ..config() });
    rig.topic("a");
    rig.settle();
    let left = 400 << 10;
    let free = disk_reserve_bytes + left + rig.broker.unflushed_bytes();
    rig.broker.set_free_bytes(rig.now(), free);
    assert_eq!(rig.broker.disk_room(), DiskRoom::Low(left));
    let first = rig.submit(large("x"));
    let second = rig.submit(large("y"));
    rig.settle();
    assert!(rig.is_answered(first) && !rig.is_answered(second));
    // 20 kB at an eighth of 400 KiB per second.
    rig.pass(380);
    rig.settle();
    assert!(!rig.is_answered(second));
    rig.pass(40);
    rig.settle();
    assert_eq!((outcome(&mut rig, first), outcome(&mut rig, second)), (Ok(0), Ok(1)));
}

#[test]
fn a_disk_that_was_full_takes_nothing_until_more_than_the_reserve_is_free() {
    let reserve = 1 << 20;
    let config = BrokerConfig { disk_reserve_bytes: reserve, ..config() };
    let mut rig = Rig::with(MemoryDisk::new(), config);
    rig.topic("a");
    rig.settle();
    let resume = reserve + reserve / limits::RESUME_SHARE;
    let free = |rig: &mut Rig, free| {
        let unwritten = rig.broker.unflushed_bytes();
        rig.broker.set_free_bytes(rig.now(), free + unwritten);
        rig.pass(limits::PRODUCE_WAIT_MAX_MS);
    };
    // One that is too large for what is left keeps no others out.
    free(&mut rig, resume);
    rig.call(large(&"x".repeat(10))).remove(0).outcome.expect_err("it does not fit");
    rig.produce("a", 0, batch(&["fits"])).unwrap();
    free(&mut rig, reserve);
    rig.produce("a", 0, batch(&["x"])).unwrap_err();
    free(&mut rig, resume - 1);
    assert_eq!(rig.broker.disk_room(), DiskRoom::None);
    rig.produce("a", 0, batch(&["x"])).unwrap_err();
    free(&mut rig, resume);
    rig.produce("a", 0, batch(&["x"])).unwrap();
}

#[test]
fn what_waits_is_refused_at_once_when_the_reserve_is_reached() {
    let mut rig = narrow();
    let waiting = until_two_wait(&mut rig);
    rig.broker.set_free_bytes(rig.now(), 999);
    rig.pass(0);
    rig.settle();
    for ticket in waiting {
        let Err(ProduceRefused::Storage(text)) = outcome(&mut rig, ticket) else {
            panic!("there is no room")
        };
        assert!(text.starts_with("the disk is full: "), "{text}");
    }
}

#[test]
fn a_node_starts_on_a_full_disk_serves_reads_and_refuses_produce() {
    let mut rig = Rig::on(MemoryDisk::new());
    rig.topic("a");
    rig.produce("a", 0, batch(&["kept"])).unwrap();
    // As after a crash: what was accepted is in the journal alone.
    let disk = rig.disk.fork();
    disk.set_capacity(disk.used_bytes());
    let mut rig = Rig::on(disk);
    assert_eq!(rig.report.findings, Vec::<String>::new());
    assert_eq!(rig.values("a", 0, 0), ["kept"]);
    let Err(ProduceRefused::Storage(text)) = rig.produce("a", 0, batch(&["x"])) else {
        panic!("there is no room")
    };
    assert!(text.starts_with("the disk is full: 0 bytes are free"), "{text}");
    let topics = vec![TopicName::Name("a".into())];
    rig.call(DeleteTopics { topics }).remove(0).outcome.expect("topics are still deleted");
}
