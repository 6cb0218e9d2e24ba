//! Power cuts: whatever was answered is there afterwards, whatever the disk did with the rest.

use std::collections::{BTreeMap, BTreeSet};

use tidings_broker::log::{Fate, MemoryDisk, Unsynced};
use tidings_broker::{
    CreateTopics, DeleteTopics, DescribeTopics, InitProducer, NewTopic, Produce, Ticket, TopicName,
    Topics,
};

use crate::groups::{all_of, commit};
use crate::rig::{Rig, batch, produce};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

enum Sent {
    Record { topic: &'static str, value: String },
    Commit { offset: i64 },
    Producer,
    Create { topic: &'static str },
    Delete { topic: &'static str },
}

/// What clients were told.
#[derive(Default)]
struct Told {
    records: BTreeMap<(&'static str, i64), String>,
    committed: i64,
    producers: Vec<i64>,
    /// Topic → whether it is there; missing while a change is under way.
    topics: BTreeMap<&'static str, bool>,
}

const TOPICS: [&str; 3] = ["a", "b", "c"];

struct World {
    rig: Rig,
    dice: Dice,
    sent: Vec<(Ticket, Sent)>,
    told: Told,
    next: i64,
}

impl World {
    fn act(&mut self) {
        let topic = TOPICS[usize::try_from(self.dice.roll(3)).unwrap()];
        let named = || vec![TopicName::Name(topic.into())];
        self.next += 1;
        match self.dice.roll(10) {
            0..=3 => {
                let value = format!("{topic}-{}", self.next);
                let ticket = self.rig.submit(produce(topic, 0, batch(&[&value])));
                self.sent.push((ticket, Sent::Record { topic, value }));
            }
            4 => {
                let ticket = self.rig.submit(commit("g", 0, self.next));
                self.sent.push((ticket, Sent::Commit { offset: self.next }));
            }
            5 => {
                let ticket = self.rig.submit(InitProducer { resume: None });
                self.sent.push((ticket, Sent::Producer));
            }
            6 | 7 => {
                self.told.topics.remove(topic);
                let topics = vec![NewTopic { name: topic.into(), ..NewTopic::default() }];
                let ticket = self.rig.submit(CreateTopics { topics, validate_only: false });
                self.sent.push((ticket, Sent::Create { topic }));
            }
            8 if topic != "a" => {
                self.told.topics.remove(topic);
                self.told.records.retain(|(of, _), _| *of != topic);
                let ticket = self.rig.submit(DeleteTopics { topics: named() });
                self.sent.push((ticket, Sent::Delete { topic }));
            }
            _ => {
                let worked = self.dice.roll(2) == 0 && self.rig.work();
                if !worked {
                    self.rig.sync();
                }
            }
        }
        self.listen();
    }

    fn listen(&mut self) {
        let deleting: BTreeSet<&str> = self
            .sent
            .iter()
            .filter_map(|(_, sent)| match sent {
                Sent::Delete { topic } => Some(*topic),
                _ => None,
            })
            .collect();
        let mut rest = Vec::new();
        for (ticket, sent) in std::mem::take(&mut self.sent) {
            if !self.rig.is_answered(ticket) {
                rest.push((ticket, sent));
                continue;
            }
            match sent {
                Sent::Record { topic, value } => {
                    let answer = self.rig.answer::<Produce>(ticket).unwrap().remove(0);
                    if let Ok(at) = answer.outcome {
                        self.told.records.insert((topic, at.base_offset), value);
                    }
                }
                Sent::Commit { offset } => {
                    let answer = self.rig.answer::<tidings_broker::CommitOffsets>(ticket).unwrap();
                    if answer.is_ok_and(|parts| parts[0].outcome.is_ok()) {
                        self.told.committed = offset;
                    }
                }
                Sent::Producer => {
                    let given = self.rig.answer::<InitProducer>(ticket).unwrap();
                    self.told.producers.push(given.unwrap().id);
                }
                Sent::Create { topic } => {
                    let created = self.rig.answer::<CreateTopics>(ticket).unwrap();
                    // It may be on its way out again.
                    if created[0].outcome.is_ok() && !deleting.contains(topic) {
                        self.told.topics.insert(topic, true);
                    }
                }
                Sent::Delete { topic } => {
                    if self.rig.answer::<DeleteTopics>(ticket).unwrap()[0].outcome.is_ok() {
                        self.told.topics.insert(topic, false);
                    }
                }
            }
        }
        self.sent = rest;
    }

    /// The node as it starts after a power cut that treats unsynced changes as the dice will.
    fn cut_power(&mut self, seed: u64) {
        let mut dice = Dice(seed | 1);
        let disk = self.rig.disk.crash(&mut |_: Unsynced<'_>| match dice.roll(3) {
            0 => Fate::Lost,
            1 => Fate::Torn { sectors: dice.0 },
            _ => Fate::Kept,
        });
        self.sent.clear();
        self.rig = Rig::on(disk);
        for finding in &self.rig.report.findings {
            let expected = [": cut ", ": rebuilt ", ": removed, ", "; kept as "];
            assert!(expected.iter().any(|part| finding.contains(part)), "seed {seed}: {finding}");
        }
    }

    fn check(&mut self, seed: u64) {
        let all = self.rig.call(DescribeTopics { topics: Topics::All, auto_create: false });
        let there: Vec<String> = all.into_iter().map(|t| t.topic.unwrap().name).collect();
        for (topic, expected) in &self.told.topics {
            let is_there = there.iter().any(|name| name == topic);
            assert_eq!(is_there, *expected, "seed {seed}: topic {topic}");
        }
        for ((topic, offset), value) in &self.told.records {
            let found = self.rig.values(topic, 0, *offset);
            assert_eq!(found.first(), Some(value), "seed {seed}: {topic} at {offset}");
        }
        let asked = all_of("g");
        let committed = self
            .rig
            .call(asked)
            .unwrap()
            .pop()
            .map_or(-1, |found| found.outcome.unwrap().unwrap().offset);
        assert!(committed >= self.told.committed, "seed {seed}: {committed}");
        let fresh = self.rig.call(InitProducer { resume: None }).unwrap().id;
        assert!(!self.told.producers.contains(&fresh), "seed {seed}: producer {fresh} again");
        self.told.producers.push(fresh);
    }
}

fn run(seed: u64) {
    let mut rig = Rig::on(MemoryDisk::with_crash_model());
    rig.topic("a");
    let told = Told { committed: -1, ..Told::default() };
    let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World { rig, dice, sent: Vec::new(), told, next: 0 };
    for round in 0..4 {
        for _ in 0..25 {
            world.act();
        }
        world.cut_power(seed.wrapping_mul(31) + round);
        world.check(seed);
    }
}

#[test]
fn what_was_answered_survives_every_power_cut() {
    for seed in 1..=400 {
        run(seed);
    }
}
