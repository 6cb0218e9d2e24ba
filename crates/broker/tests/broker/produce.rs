//! Produce: what is refused, what is acknowledged, and when.

use bytes::Bytes;
use tidings_broker::log::{BatchRefused, Compression, MemoryDisk, RefusalKind};
use tidings_broker::{
    Acks, BrokerConfig, DeleteTopics, NewTopic, Produce, ProducePartition, ProduceRefused,
    ProducedAt, TopicName,
};

use crate::rig::{Rig, WALL_MS, batch, builder, config, fetch, produce, sequenced};

const ATTRIBUTES_AT: usize = 21;
const CRC_AT: usize = 17;

/// The batch with attribute bits set, and its checksum made right again.
fn with_attributes(bits: u8) -> Bytes {
    let mut bytes = batch(&["x"]).to_vec();
    bytes[ATTRIBUTES_AT + 1] |= bits;
    seal(bytes)
}

fn seal(mut bytes: Vec<u8>) -> Bytes {
    let mut crc = !0u32;
    for byte in &bytes[ATTRIBUTES_AT..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&(!crc).to_be_bytes());
    bytes.into()
}

fn changed(at: usize, value: u8) -> Bytes {
    let mut bytes = batch(&["x"]).to_vec();
    bytes[at] = value;
    bytes.into()
}

#[test]
fn batches_that_break_a_rule_are_refused() {
    use ProduceRefused::{Internal, NoTransactionalId, TooLarge, UnknownPartition};
    use RefusalKind::{Corrupt, InvalidRecord, InvalidTimestamp, UnsupportedCompression};
    let text = String::new;
    let rule = |kind| {
        let (message, records) = (text(), Vec::new());
        ProduceRefused::Batch(BatchRefused { kind, message, records })
    };
    let two = Bytes::from([batch(&["x"]), batch(&["y"])].concat());
    let transactional = builder(&["x"]).producer(5, 0, 0).transactional().build().bytes().clone();
    let cut = batch(&["x"]).slice(..65);
    let huge = "x".repeat(1_048_600);
    let cases = [
        ("no topic", "none", 0, batch(&["x"]), UnknownPartition),
        ("no partition", "a", 2, batch(&["x"]), UnknownPartition),
        ("negative partition", "a", -1, batch(&["x"]), UnknownPartition),
        ("internal topic", "__consumer_offsets", 0, batch(&["x"]), Internal(text())),
        ("nothing", "a", 0, Bytes::new(), rule(InvalidRecord)),
        ("half a header", "a", 0, batch(&["x"]).slice(..30), rule(InvalidRecord)),
        ("cut", "a", 0, cut, rule(InvalidRecord)),
        ("two batches", "a", 0, two, rule(InvalidRecord)),
        ("old magic", "a", 0, changed(16, 1), rule(InvalidRecord)),
        ("flipped byte", "a", 0, changed(65, 0xee), rule(Corrupt)),
        ("control", "a", 0, with_attributes(0x20), rule(InvalidRecord)),
        ("transactional", "a", 0, transactional, NoTransactionalId),
        ("no transaction without a producer", "a", 0, with_attributes(0x10), rule(InvalidRecord)),
        ("log append time", "a", 0, with_attributes(0x08), rule(InvalidTimestamp)),
        ("unknown codec", "a", 0, with_attributes(0x07), rule(UnsupportedCompression)),
        ("no sequence", "a", 0, sequenced(5, 0, -1, &["x"]), rule(InvalidRecord)),
        ("no epoch", "a", 0, sequenced(5, -1, 0, &["x"]), rule(InvalidRecord)),
        ("too large", "a", 0, batch(&[&huge]), TooLarge { size: 0, limit: 0 }),
    ];
    let mut rig = Rig::new();
    rig.topic("a");
    rig.call(crate::groups::commit("creates the offsets topic", 0, 1)).unwrap();
    for (name, topic, partition, bytes, expected) in cases {
        let refused = rig.produce(topic, partition, bytes).expect_err(name);
        let kind = |refused: &ProduceRefused| match refused {
            ProduceRefused::Batch(batch) => Some(batch.kind),
            _ => None,
        };
        let same = std::mem::discriminant(&refused) == std::mem::discriminant(&expected);
        assert!(same && kind(&refused) == kind(&expected), "{name}: {refused:?}");
    }
    assert_eq!(rig.values("a", 0, 0), Vec::<String>::new(), "nothing was appended");
}

#[test]
fn the_size_limit_is_the_topics_own() {
    let mut rig = Rig::new();
    let configs = vec![("max.message.bytes".to_owned(), Some("80".to_owned()))];
    rig.create(NewTopic { name: "a".into(), configs, ..NewTopic::default() }).unwrap();
    let fits = batch(&["0123456789"]);
    assert!(fits.len() <= 80, "{}", fits.len());
    rig.produce("a", 0, fits).unwrap();
    let large = batch(&["0123456789012345"]);
    let expected = ProduceRefused::TooLarge { size: large.len(), limit: 80 };
    assert_eq!(rig.produce("a", 0, large), Err(expected));
}

#[test]
fn zstd_needs_a_client_that_says_it_knows_it() {
    let mut rig = Rig::new();
    rig.topic("a");
    let zstd = builder(&["x"]).compression(Compression::Zstd).build().bytes().clone();
    let old = Produce { zstd_allowed: false, ..produce("a", 0, zstd.clone()) };
    let refused = rig.call(old).remove(0).outcome.unwrap_err();
    let ProduceRefused::Batch(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.kind, RefusalKind::UnsupportedCompression);
    rig.produce("a", 0, zstd).unwrap();
    assert_eq!(rig.values("a", 0, 0), ["x"]);
}

#[test]
fn an_acknowledgement_waits_for_the_disk() {
    let mut rig = Rig::new();
    rig.topic("a");
    let first = rig.submit(produce("a", 0, batch(&["x"])));
    let second = rig.submit(produce("a", 0, batch(&["y"])));
    assert!(!rig.is_answered(first) && !rig.is_answered(second));
    assert_eq!(rig.values("a", 0, 0), Vec::<String>::new(), "nor is it shown");

    let out = rig.broker.next_write().expect("something to write");
    let third = rig.submit(produce("a", 0, batch(&["z"])));
    let outcome = out.run();
    rig.broker.write_done(rig.now(), out, outcome);
    rig.pass(0);
    rig.submit(fetch("a", 0, 0));
    assert!(rig.is_answered(first) && rig.is_answered(second));
    assert!(!rig.is_answered(third), "it came after the write had begun");
    assert!(rig.sync());
    let at =
        |base_offset| Ok(ProducedAt { base_offset, log_start_offset: 0, log_append_time_ms: None });
    for (ticket, base) in [(first, 0), (second, 1), (third, 2)] {
        assert_eq!(rig.answer::<Produce>(ticket).unwrap()[0].outcome, at(base));
    }
    assert!(!rig.sync(), "nothing is left to write");
}

#[test]
fn replies_that_become_ready_together_keep_their_order() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.topic("b");
    rig.order.clear();
    let places = [("b", 1), ("a", 0), ("b", 0), ("a", 1), ("b", 1)];
    let tickets =
        places.map(|(topic, partition)| rig.submit(produce(topic, partition, batch(&["x"]))));
    rig.sync();
    assert_eq!(rig.order, tickets);
}

#[test]
fn a_request_over_several_partitions_waits_for_all_and_answers_each() {
    let mut rig = Rig::new();
    rig.topic("a");
    let part = |topic: &str, partition| ProducePartition {
        topic: topic.into(),
        partition,
        batch: batch(&["x"]),
    };
    let partitions = vec![part("a", 0), part("none", 0), part("a", 1)];
    let ticket = rig.submit(Produce { partitions, ..produce("a", 0, Bytes::new()) });
    assert!(!rig.is_answered(ticket));
    rig.sync();
    let answers = rig.answer::<Produce>(ticket).unwrap();
    let places: Vec<_> = answers.iter().map(|a| (a.topic.clone(), a.partition)).collect();
    assert_eq!(places, [("a".into(), 0), ("none".into(), 0), ("a".into(), 1)]);
    let outcomes: Vec<_> = answers.iter().map(|a| a.outcome.is_ok()).collect();
    assert_eq!(outcomes, [true, false, true]);
}

#[test]
fn without_acknowledgement_the_reply_is_there_at_once_and_the_data_later() {
    let mut rig = Rig::new();
    rig.topic("a");
    let request = Produce { acks: Acks::None, ..produce("a", 0, batch(&["x"])) };
    let ticket = rig.submit(request);
    assert!(rig.is_answered(ticket));
    assert_eq!(rig.values("a", 0, 0), Vec::<String>::new());
    assert!(rig.sync());
    assert_eq!(rig.values("a", 0, 0), ["x"]);
}

#[test]
fn a_repeated_batch_is_answered_with_its_first_offsets_and_only_when_durable() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.produce("a", 0, batch(&["before"])).unwrap();
    let first = rig.submit(produce("a", 0, sequenced(7, 0, 0, &["x", "y"])));
    let again = rig.submit(produce("a", 0, sequenced(7, 0, 0, &["x", "y"])));
    assert!(!rig.is_answered(first) && !rig.is_answered(again));
    rig.sync();
    for ticket in [first, again] {
        assert_eq!(
            rig.answer::<Produce>(ticket).unwrap()[0].outcome.clone().unwrap().base_offset,
            1
        );
    }
    rig.produce("a", 0, sequenced(7, 0, 2, &["z"])).unwrap();
    let late = rig.submit(produce("a", 0, sequenced(7, 0, 0, &["x", "y"])));
    assert!(rig.is_answered(late), "that one has been on disk for long");

    let mut rig = rig.restart();
    let again = rig.produce("a", 0, sequenced(7, 0, 2, &["z"])).unwrap();
    assert_eq!(again.base_offset, 3, "sequences survive a restart");
    let gap = rig.produce("a", 0, sequenced(7, 0, 9, &["z"]));
    assert!(matches!(gap, Err(ProduceRefused::OutOfOrderSequence(_))), "{gap:?}");
    rig.produce("a", 0, sequenced(7, 1, 0, &["w"])).unwrap();
    let stale = rig.produce("a", 0, sequenced(7, 0, 3, &["z"]));
    assert!(matches!(stale, Err(ProduceRefused::StaleEpoch(_))), "{stale:?}");
    assert_eq!(rig.values("a", 0, 0), ["before", "x", "y", "z", "w"]);
}

#[test]
fn a_topic_with_log_append_time_says_when() {
    let mut rig = Rig::new();
    let configs = vec![("message.timestamp.type".to_owned(), Some("LogAppendTime".to_owned()))];
    rig.create(NewTopic { name: "a".into(), configs, ..NewTopic::default() }).unwrap();
    rig.pass(50);
    let at = rig.produce("a", 0, batch(&["x"])).unwrap();
    assert_eq!(at.log_append_time_ms, Some(WALL_MS + 50));
}

#[test]
fn below_the_reserve_produce_is_refused_and_everything_else_works() {
    let mut rig = Rig::new();
    rig.topic("a");
    let unflushed = rig.broker.unflushed_bytes();
    rig.broker.set_free_bytes(rig.now(), unflushed + 999);
    let Err(ProduceRefused::Storage(text)) = rig.produce("a", 0, batch(&["x"])) else {
        panic!("there is no room")
    };
    assert_eq!(
        text,
        "the disk is full: 999 bytes are free and 1000 are kept in reserve; free some space on \
         the data directory's disk, and producing goes on by itself"
    );
    rig.topic("b");
    rig.call(crate::groups::commit("g", 0, 1)).expect("offsets are still committed");
    let unflushed = rig.broker.unflushed_bytes();
    rig.broker.set_free_bytes(rig.now(), unflushed + 1000 + batch(&["x"]).len() as u64);
    rig.produce("a", 0, batch(&["x"])).unwrap();
}

#[test]
fn the_reserve_holds_between_two_looks_at_the_free_space() {
    let disk_reserve_bytes = 64 * 1024;
    let reserving = BrokerConfig { disk_reserve_bytes, ..config() };
    let mut rig = Rig::with(MemoryDisk::new(), reserving);
    rig.topic("a");
    rig.settle();
    let room = disk_reserve_bytes + batch(&["x"]).len() as u64 + rig.broker.unflushed_bytes();
    rig.disk.set_capacity(rig.disk.used_bytes() + room);
    rig.broker.set_free_bytes(rig.now(), room);
    let taken = (0..1000).filter(|_| rig.produce("a", 0, batch(&["x"])).is_ok()).count();
    assert_eq!(taken, 1);
    rig.call(crate::groups::commit("g", 0, 1)).expect("offsets are still committed");
    let topics = vec![TopicName::Name("a".into())];
    rig.call(DeleteTopics { topics }).remove(0).outcome.expect("topics are still deleted");
}
