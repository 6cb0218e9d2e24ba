//! Random requests, many of them senseless: the broker answers each exactly once and lives on.

use bytes::Bytes;
use tidings_broker::log::MemoryDisk;
use tidings_broker::{
    Acks, AddOffsets, CommitOffsets, CommitPartition, ConfigResource, CreateTopics, DeleteGroups,
    DeleteRecords, DeleteRecordsPartition, DeleteTopics, DescribeConfigs, DescribeGroups,
    DescribeProducers, DescribeTopics, Fetch, FetchOffsets, FetchPartition, Heartbeat,
    InitProducer, InitTransactions, Isolation, JoinGroup, LeaveGroup, ListGroups, ListOffsets,
    ListOffsetsPartition, ListTransactions, NewTopic, OffsetSpec, Produce, ProducePartition,
    ProduceTransaction, ProducerIdentity, SyncGroup, Ticket, TopicName, Topics, TransactionEnd,
    TransactionVersion, WantedOffsets, WriteMarker, WriteMarkers,
};

use crate::groups::commit;
use crate::rig::{Rig, batch, sequenced};
use crate::transactions::{add, commit_in, end, init, transactional};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        (self.0 >> 33) % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.roll(u64::try_from(from.len()).unwrap());
        from[usize::try_from(index).unwrap()].clone()
    }

    fn name(&mut self) -> String {
        self.pick(&["a", "b", "c", "", "..", "__consumer_offsets", "x y", "a"]).to_owned()
    }

    fn number(&mut self) -> i64 {
        self.pick(&[0, 1, 2, 3, -1, -2, 7, i64::MAX, i64::MIN, 1 << 40])
    }

    fn int(&mut self) -> i32 {
        self.pick(&[0, 1, 2, -1, 5, i32::MAX, i32::MIN])
    }

    fn size(&mut self) -> usize {
        self.pick(&[0, 1, 100, 1 << 20, usize::MAX])
    }

    fn transaction(&mut self) -> Option<ProduceTransaction> {
        let adds = self.roll(2) == 0;
        (self.roll(3) == 0).then(|| ProduceTransaction { transactional_id: self.name(), adds })
    }

    fn epoch(&mut self) -> Option<i32> {
        self.pick(&[None, Some(0), Some(-1), Some(4)])
    }

    fn batch(&mut self) -> Bytes {
        let good = match self.roll(4) {
            0 => sequenced(self.number(), self.pick(&[0, 1, -1]), self.int(), &["x"]),
            1 => transactional(ProducerIdentity { id: self.number(), epoch: 0 }, 0, &["x"]),
            _ => batch(&["some", "records"]),
        };
        match self.roll(4) {
            0 => {
                let mut bad = good.to_vec();
                let at = usize::try_from(self.roll(u64::try_from(bad.len()).unwrap())).unwrap();
                bad[at] ^= u8::try_from(self.roll(255) + 1).unwrap();
                bad.into()
            }
            1 => good.slice(..usize::try_from(self.roll(61)).unwrap()),
            _ => good,
        }
    }
}

fn send(rig: &mut Rig, dice: &mut Dice, members: &[String]) -> Ticket {
    let topic = dice.name();
    match dice.roll(18) {
        0 | 1 => rig.submit(Produce {
            acks: dice.pick(&[Acks::None, Acks::Durable]),
            transaction: dice.transaction(),
            zstd_allowed: dice.roll(2) == 0,
            partitions: vec![ProducePartition {
                topic: topic.into(),
                partition: dice.int(),
                batch: dice.batch(),
            }],
        }),
        2 | 3 => rig.submit(Fetch {
            isolation: dice.pick(&[Isolation::Uncommitted, Isolation::Committed]),
            max_wait_ms: dice.pick(&[0, 10, u32::MAX]),
            min_bytes: dice.size(),
            max_bytes: dice.size(),
            partitions: vec![FetchPartition {
                topic: topic.into(),
                partition: dice.int(),
                offset: dice.number(),
                max_bytes: dice.size(),
                current_leader_epoch: dice.epoch(),
                last_fetched_epoch: None,
            }],
        }),
        4 => {
            let partitions = dice.pick(&[None, Some(1), Some(0), Some(-1), Some(i32::MAX)]);
            let new = NewTopic { name: topic, partitions, ..NewTopic::default() };
            let validate_only = dice.roll(3) == 0;
            rig.submit(CreateTopics { topics: vec![new], validate_only })
        }
        5 => rig.submit(DeleteTopics { topics: vec![TopicName::Name(topic)] }),
        6 => {
            let topics = dice.pick(&[Topics::All, Topics::These(vec![TopicName::Name(topic)])]);
            rig.submit(DescribeTopics { topics, auto_create: dice.roll(2) == 0 })
        }
        7 => rig.submit(ListOffsets {
            isolation: dice.pick(&[Isolation::Uncommitted, Isolation::Committed]),
            partitions: vec![ListOffsetsPartition {
                topic,
                partition: dice.int(),
                at: dice.pick(&[
                    OffsetSpec::Latest,
                    OffsetSpec::MaxTimestamp,
                    OffsetSpec::Timestamp(5),
                ]),
                current_leader_epoch: dice.epoch(),
            }],
        }),
        8 => rig.submit(DeleteRecords {
            partitions: vec![DeleteRecordsPartition {
                topic,
                partition: dice.int(),
                before: dice.pick(&[None, Some(0), Some(1), Some(-3), Some(i64::MAX)]),
            }],
        }),
        9 => rig.submit(InitProducer {
            resume: dice.pick(&[None, Some((0, 0)), Some((-5, i16::MAX))]),
        }),
        10 | 11 => send_about_transactions(rig, dice, topic),
        _ => send_to_group(rig, dice, members, topic),
    }
}

fn send_to_group(rig: &mut Rig, dice: &mut Dice, members: &[String], topic: String) -> Ticket {
    let group = dice.pick(&["g", "h", ""]).to_owned();
    let member_id =
        if members.is_empty() || dice.roll(4) == 0 { dice.name() } else { dice.pick(members) };
    let instance_id = dice.pick(&[None, None, Some("i".to_owned())]);
    match dice.roll(8) {
        0 | 1 => rig.submit(JoinGroup {
            group,
            member_id,
            instance_id,
            client_id: "c".repeat(usize::try_from(dice.roll(400)).unwrap()),
            client_host: String::new(),
            session_timeout_ms: dice.pick(&[6_000, 10_000, 0, i32::MAX]),
            rebalance_timeout_ms: dice.int(),
            protocol_type: "consumer".into(),
            protocols: vec![(dice.pick(&["range", "sticky"]).into(), Bytes::new())],
            require_known_member_id: dice.roll(2) == 0,
            can_skip_assignment: dice.pick(&[true, false]),
        }),
        2 => rig.submit(SyncGroup {
            group,
            generation: dice.int(),
            assignments: vec![(member_id.clone(), Bytes::from_static(b"x"))],
            member_id,
            instance_id,
            protocol_type: None,
            protocol: None,
        }),
        3 => rig.submit(Heartbeat { group, generation: dice.int(), member_id, instance_id }),
        4 => rig.submit(LeaveGroup { group, members: vec![(member_id, instance_id)] }),
        5 => rig.submit(CommitOffsets {
            group,
            generation: dice.int(),
            member_id,
            instance_id,
            knows_epochs: dice.pick(&[true, false]),
            partitions: vec![CommitPartition {
                topic: TopicName::Name(topic),
                partition: dice.int(),
                offset: dice.number(),
                leader_epoch: dice.int(),
                metadata: None,
            }],
        }),
        6 => rig.submit(FetchOffsets {
            group,
            member: None,
            wanted: dice.pick(&[
                WantedOffsets::All,
                WantedOffsets::AllById,
                WantedOffsets::These(vec![(TopicName::Name(topic), 0)]),
            ]),
        }),
        _ => match dice.roll(4) {
            0 => rig.submit(ListGroups::default()),
            1 => rig.submit(DescribeGroups { groups: vec![group] }),
            2 => rig.submit(DeleteGroups { groups: vec![group] }),
            _ => rig
                .submit(DescribeConfigs { resources: vec![(ConfigResource::Topic(topic), None)] }),
        },
    }
}

fn send_about_transactions(rig: &mut Rig, dice: &mut Dice, topic: String) -> Ticket {
    let who = ProducerIdentity { id: dice.number(), epoch: dice.pick(&[0, 1, 2, -1]) };
    let id = dice.name();
    let version = dice.pick(&[TransactionVersion::One, TransactionVersion::Two]);
    let ending = dice.pick(&[TransactionEnd::Commit, TransactionEnd::Abort]);
    let partition = dice.int();
    match dice.roll(9) {
        0 | 1 => rig.submit(InitTransactions {
            timeout_ms: dice.pick(&[60_000, 60_000, 0, i32::MAX]),
            expected: dice.pick(&[None, Some((0, 0)), Some((-5, i16::MAX))]),
            ..init(&id)
        }),
        2 => rig.submit(add(&id, who, &[(&topic, partition)])),
        3 => rig.submit(AddOffsets {
            transactional_id: id,
            producer_id: who.id,
            epoch: who.epoch,
            version,
        }),
        4 => rig.submit(end(&id, who, ending, version)),
        5 => {
            let commit = commit("g", partition, dice.number());
            rig.submit(commit_in(&id, who, commit, dice.roll(2) == 0))
        }
        6 => {
            let (producer_id, epoch) = (who.id, who.epoch);
            let coordinator_epoch = dice.int();
            let end = ending;
            let marker =
                WriteMarker { producer_id, epoch, end, coordinator_epoch, topic, partition };
            rig.submit(WriteMarkers { markers: vec![marker] })
        }
        7 => rig.submit(ListTransactions { producer_ids: vec![who.id], ..Default::default() }),
        _ => rig.submit(DescribeProducers { partitions: vec![(topic, partition)] }),
    }
}

#[test]
fn every_request_is_answered_once_however_senseless() {
    for seed in 0..60 {
        let (mut rig, mut dice) = (Rig::on(MemoryDisk::new()), Dice(seed));
        let mut sent = Vec::new();
        let mut members = Vec::new();
        for _ in 0..250 {
            let ticket = send(&mut rig, &mut dice, &members);
            sent.push(ticket);
            members.extend(rig.member_id_in(ticket));
            match dice.roll(6) {
                0 => rig.settle(),
                1 => rig.pass(500),
                _ => {}
            }
        }
        rig.settle();
        // Longer than any wait of a fetch, a join or a sync.
        rig.pass(10_000_000);
        rig.settle();
        let unanswered = sent.iter().filter(|ticket| !rig.order.contains(ticket)).count();
        assert_eq!(unanswered, 0, "seed {seed}");
        assert_eq!(rig.order.len(), sent.len(), "seed {seed}");
        rig.restart();
    }
}
