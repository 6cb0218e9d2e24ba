//! Power cuts between any two writes: of a transaction everything is seen or nothing, and everything
//! when its commit was answered.

use std::collections::BTreeMap;

use tidings_broker::log::{Fate, MemoryDisk, StoreConfig, Unsynced};
use tidings_broker::{
    EndTransaction, FetchOffsets, InitTransactions, ListTransactions, NewTopic, Produce,
    ProducerIdentity, Ticket, TopicName, TransactionEnd, TransactionState, TransactionVersion,
    WantedOffsets,
};

use crate::groups::commit;
use crate::rig::{Rig, batch};
use crate::transactions::{add, commit_in, committed_values, end, init, send, transactional};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

const PLACES: [(&str, i32); 3] = [("a", 0), ("a", 1), ("b", 0)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Committed,
    Aborted,
}

struct World {
    rig: Rig,
    dice: Dice,
    version: TransactionVersion,
    next: i64,
    /// Of each transaction, what its producer was told.
    told: BTreeMap<i64, Told>,
}

impl World {
    /// Carries out some of the writes, or all when `ticket` is to be answered.
    fn write(&mut self, ticket: Option<Ticket>) {
        while ticket.is_none_or(|ticket| !self.rig.is_answered(ticket)) {
            if !self.rig.sync() || (ticket.is_none() && self.dice.roll(3) == 0) {
                return;
            }
        }
    }

    /// One transaction of a producer, until the dice say that the power goes.
    fn transaction(&mut self, id: &str) -> bool {
        self.next += 1;
        let number = self.next;
        self.told.insert(number, Told::Nothing);
        let asked = self.rig.submit(init(id));
        self.write(Some(asked));
        let who = self.rig.answer::<InitTransactions>(asked).expect("written");
        let who = who.expect("a healthy disk");
        if !self.fill(id, who, number) {
            return false;
        }
        let ending = match self.dice.roll(3) {
            0 => TransactionEnd::Abort,
            _ => TransactionEnd::Commit,
        };
        let asked = self.rig.submit(end(id, who, ending, self.version));
        if self.dice.roll(6) == 0 {
            self.write(None);
            if !self.rig.is_answered(asked) {
                return false;
            }
        }
        self.write(Some(asked));
        let ended = self.rig.answer::<EndTransaction>(asked).expect("written");
        assert!(ended.is_ok(), "{ended:?}");
        let told = match ending {
            TransactionEnd::Commit => Told::Committed,
            TransactionEnd::Abort => Told::Aborted,
        };
        self.told.insert(number, told);
        self.dice.roll(8) != 0
    }

    fn fill(&mut self, id: &str, who: ProducerIdentity, number: i64) -> bool {
        let adds = self.version == TransactionVersion::Two;
        if !adds {
            let offsets = tidings_broker::AddOffsets {
                transactional_id: id.into(),
                producer_id: who.id,
                epoch: who.epoch,
                version: self.version,
            };
            self.rig.submit(add(id, who, &PLACES));
            self.rig.submit(offsets);
        }
        let value = number.to_string();
        let mut last = None;
        for (topic, partition) in PLACES {
            let batch = transactional(who, 0, &[&value]);
            last = Some(self.rig.submit(send(id, topic, partition, batch, adds)));
            if self.dice.roll(4) == 0 {
                self.write(None);
            }
            if self.dice.roll(20) == 0 {
                return false;
            }
        }
        self.rig.submit(commit_in(id, who, commit("g", 0, number), adds));
        let last = last.expect("there are places");
        self.write(Some(last));
        let sent = self.rig.answer::<Produce>(last).expect("written").remove(0).outcome;
        assert!(sent.is_ok(), "{sent:?}");
        while self.dice.roll(6) == 0 && self.rig.work() {}
        true
    }

    fn cut_power(&mut self, seed: u64) {
        let mut dice = Dice(seed | 1);
        let disk = self.rig.disk.crash(&mut |_: Unsynced<'_>| match dice.roll(3) {
            0 => Fate::Lost,
            1 => Fate::Torn { sectors: dice.0 },
            _ => Fate::Kept,
        });
        self.rig = Rig::on(disk);
    }

    fn check(&mut self, seed: u64) {
        let listed = self.rig.call(ListTransactions::default()).expect("loaded");
        for listed in listed.transactions {
            let is_decided = [TransactionState::PrepareCommit, TransactionState::PrepareAbort];
            assert!(!is_decided.contains(&listed.state), "seed {seed}: {listed:?} hangs");
        }
        let mut seen: Vec<Vec<i64>> = Vec::new();
        for (topic, partition) in PLACES {
            let values = committed_values(&mut self.rig, topic, partition);
            seen.push(values.iter().map(|v| v.parse().expect("numbers")).collect());
        }
        assert!(seen.windows(2).all(|two| two[0] == two[1]), "seed {seed}: half seen: {seen:?}");
        for (number, told) in &self.told {
            let is_seen = seen[0].contains(number);
            match told {
                Told::Committed => assert!(is_seen, "seed {seed}: {number} is lost"),
                Told::Aborted => assert!(!is_seen, "seed {seed}: {number} was aborted"),
                Told::Nothing => {}
            }
        }
        let wanted = WantedOffsets::These(vec![(TopicName::Name("a".into()), 0)]);
        let asked = FetchOffsets { group: "g".into(), member: None, wanted };
        let found = self.rig.call(asked).expect("loaded").remove(0).outcome;
        let offset = found.expect("a known topic").map(|held| held.offset);
        assert_eq!(
            offset,
            seen[0].iter().max().copied(),
            "seed {seed}: the offset of the last one that is seen"
        );
    }
}

fn run(seed: u64, version: TransactionVersion) -> usize {
    let mut rig = Rig::on(MemoryDisk::with_crash_model());
    rig.topic("a");
    rig.topic("b");
    let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World { rig, dice, version, next: 0, told: BTreeMap::new() };
    for round in 0..4 {
        for _ in 0..6 {
            if !world.transaction("t") {
                break;
            }
        }
        world.cut_power(seed.wrapping_mul(31) + round);
        // The next producer ends what its predecessor left.
        let asked = world.rig.call(init("t"));
        assert!(asked.is_ok(), "seed {seed}: {asked:?}");
        world.check(seed);
    }
    world.told.values().filter(|told| **told == Told::Committed).count()
}

#[test]
fn a_power_cut_leaves_all_of_a_transaction_or_nothing() {
    for version in [TransactionVersion::One, TransactionVersion::Two] {
        let committed: usize = (1..=150).map(|seed| run(seed, version)).sum();
        assert!(committed > 500, "{committed} transactions are too few to say something");
    }
}

#[test]
fn a_transaction_whose_end_a_log_in_memory_lost_holds_no_reader_back() {
    let mut rig = Rig::on(MemoryDisk::with_crash_model());
    let memory = ("tidings.durability".to_owned(), Some("memory".to_owned()));
    let topic = NewTopic {
        name: "m".to_owned(),
        partitions: Some(1),
        configs: vec![memory],
        ..NewTopic::default()
    };
    rig.create(topic).expect("created");
    let who = rig.call(init("t")).expect("begun");
    rig.call(add("t", who, &[("m", 0)]));
    rig.call(send("t", "m", 0, transactional(who, 0, &["half"]), false));
    // What is in segments by then stays, and nothing else.
    rig.pass(StoreConfig::small().flush_after_ms);
    rig.settle();
    let asked = rig.submit(end("t", who, TransactionEnd::Commit, TransactionVersion::One));
    while !rig.is_answered(asked) {
        assert!(rig.sync(), "the answer waits for the disk alone");
    }
    let mut rig = Rig::on(rig.disk.crash(&mut |_| Fate::Lost));
    rig.produce("m", 0, batch(&["next"])).expect("accepted");
    assert_eq!(committed_values(&mut rig, "m", 0), ["next"]);
    assert_eq!(rig.values("m", 0, 0).first().map(String::as_str), Some("half"), "it was kept");
    let said = &rig.report.findings;
    assert!(said.iter().any(|line| line.contains("that lost its end: aborted")), "{said:?}");
}
