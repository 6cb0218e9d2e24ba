//! What clients make a broker keep is refused beyond what there is room for, and what goes makes room.

use bytes::Bytes;
use tidings_broker::limits::{CONFIG_BYTES, CONFIGS_BYTES, KeptLimits, SAID_OF_BYTES};
use tidings_broker::{
    AddRefused, AlterConfigs, AlterQuotas, Alteration, BrokerConfig, ConfigChange, ConfigOp,
    ConfigResource, ConsumerHeartbeat, CreatePartitions, DeleteTopics, EndTransaction, Fetch,
    FetchInSession, FetchSessionRefused, GroupRefused, GroupTrouble, JoinGroup, MorePartitions,
    NewTopic, QuotaAlteration, QuotaRefused, SessionStep, TopicName, TopicRefused, TransactionEnd,
    TransactionRefused, TransactionVersion,
};
use tidings_coordinator::limits::{
    TRANSACTION_OPEN_BYTES, TRANSACTION_PARTITION_BYTES, TRANSACTION_TOPIC_BYTES,
    TRANSACTIONAL_ID_BYTES,
};

use crate::groups::{beat, commit, join, sync};
use crate::rig::{Rig, config, fetch};
use crate::transactions::{add, end, init};

fn keeping(kept: KeptLimits) -> Rig {
    Rig::with(Rig::new().disk, BrokerConfig { kept, ..config() })
}

fn with_partitions(name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: name.into(), partitions: Some(partitions), ..NewTopic::default() }
}

fn is_full<T>(outcome: &Result<T, TopicRefused>) -> bool {
    matches!(outcome, Err(TopicRefused::Full(_)))
}

#[test]
fn partitions_beyond_what_there_is_room_for_are_refused() {
    let mut rig = keeping(KeptLimits { partitions_max: 4, ..KeptLimits::default() });
    rig.create(with_partitions("a", 3)).expect("there is room");
    assert!(is_full(&rig.create(with_partitions("b", 2))));
    rig.create(with_partitions("b", 1)).expect("there is room");
    let more = MorePartitions { topic: "b".into(), count: 2, assignment: None };
    let grown = CreatePartitions { topics: vec![more], validate_only: false };
    assert!(is_full(&rig.call(grown).remove(0).outcome));
    // What groups and transactions need is there all the same.
    rig.call(commit("g", 0, 1)).expect("a commit is taken");
    rig.call(init("t")).expect("a producer begins");
    rig.call(DeleteTopics { topics: vec![TopicName::Name("b".into())] });
    assert!(is_full(&rig.create(with_partitions("c", 1))), "the broker's own take two");
    rig.call(DeleteTopics { topics: vec![TopicName::Name("a".into())] });
    rig.create(with_partitions("c", 2)).expect("there is room again");
}

#[test]
fn a_node_that_may_hold_fewer_partitions_than_it_does_says_so_and_serves_them() {
    let mut rig = Rig::new();
    rig.create(with_partitions("a", 3)).expect("there is room");
    rig.broker.close().expect("a clean close");
    let kept = KeptLimits { partitions_max: 2, ..KeptLimits::default() };
    let mut rig = Rig::with(rig.disk.clone(), BrokerConfig { kept, ..config() });
    assert_eq!(rig.report.findings, ["memory: 3 partitions are more than 2"]);
    assert!(is_full(&rig.create(with_partitions("b", 1))));
    rig.produce("a", 2, crate::rig::batch(&["x"])).expect("it is served");
}

fn set(name: &str, value: &str) -> Alteration {
    let (name, value) = (name.to_owned(), Some(value.to_owned()));
    Alteration::Change(vec![ConfigChange { name, op: ConfigOp::Set, value }])
}

fn alter(rig: &mut Rig, resource: ConfigResource, said: Alteration) -> Result<(), TopicRefused> {
    let resources = vec![(resource, said)];
    rig.call(AlterConfigs { resources, validate_only: false }).remove(0).1
}

fn quota(rig: &mut Rig, user: &str, rate: Option<f64>) -> Result<(), QuotaRefused> {
    let entity = vec![("user".to_owned(), Some(user.to_owned()))];
    let rates = vec![("producer_byte_rate".to_owned(), rate)];
    let entries = vec![QuotaAlteration { entity, rates }];
    rig.call(AlterQuotas { entries, validate_only: false }).remove(0)
}

#[test]
fn what_is_said_beyond_what_there_is_room_for_is_refused() {
    let most = 3 * (SAID_OF_BYTES + CONFIGS_BYTES + CONFIG_BYTES + 100);
    let mut rig = keeping(KeptLimits { said_bytes_max: most, ..KeptLimits::default() });
    rig.topic("t");
    let topic = || ConfigResource::Topic("t".into());
    let group = |name: &str| ConfigResource::Group(name.to_owned());
    let session = || set("consumer.session.timeout.ms", "50000");
    alter(&mut rig, topic(), set("retention.ms", "1")).expect("there is room");
    alter(&mut rig, group("g"), session()).expect("there is room");
    quota(&mut rig, "u", Some(1.0)).expect("there is room");
    let text = |bytes| "x".repeat(bytes);
    let refused = quota(&mut rig, &text(1000), Some(1.0));
    assert!(matches!(refused, Err(QuotaRefused::Full(_))), "{refused:?}");
    assert!(is_full(&alter(&mut rig, group(&text(500)), session())));
    let replicas = "leader.replication.throttled.replicas";
    let long = |count| vec!["1:1"; count].join(",");
    let new = |count| NewTopic {
        configs: vec![(replicas.to_owned(), Some(long(count)))],
        ..with_partitions("n", 1)
    };
    assert!(is_full(&rig.create(new(1000))));
    // What is said anew takes its own place, and what goes makes room.
    alter(&mut rig, topic(), set("retention.ms", "2")).expect("it is no more than before");
    quota(&mut rig, "u", None).expect("it takes nothing");
    quota(&mut rig, &text(200), Some(1.0)).expect("there is room again");
}

#[test]
fn groups_beyond_what_there_is_room_for_are_refused() {
    let kept = KeptLimits { group_bytes_max: 100 << 10, ..KeptLimits::default() };
    let mut rig = keeping(kept);
    rig.create(with_partitions("a", 50)).expect("there is room");
    let request = |number: usize, epoch| ConsumerHeartbeat {
        group: format!("g{number}"),
        ..beat("m", epoch)
    };
    let mut refused_at = None;
    for number in 0..100 {
        match rig.call(request(number, 0)) {
            Ok(_) => {}
            Err(refused) => {
                assert_eq!(refused, GroupRefused::Full);
                refused_at = Some(number);
                break;
            }
        }
    }
    let there = refused_at.expect("the room ends");
    assert!(there > 2, "{there}");
    let classic = JoinGroup {
        protocols: vec![("range".into(), Bytes::from(vec![0; 40_000]))],
        ..join("c", "")
    };
    assert_eq!(rig.call(classic.clone()).map(|_| ()), Err(GroupRefused::Full));
    // Who is there goes on, and is told to ask again when it wants more.
    let more = ConsumerHeartbeat {
        topics: Some((0..200).map(|topic| format!("{topic:0>200}")).collect()),
        ..request(0, 1)
    };
    let no_room = GroupRefused::Other(GroupTrouble::NoRoom);
    assert_eq!(rig.call(more).map(|_| ()), Err(no_room));
    rig.call(request(0, 1)).expect("its heartbeats are taken");
    for number in 0..there {
        rig.call(request(number, -1)).expect("it leaves");
    }
    rig.pass(1_000);
    rig.call(classic).expect("there is room again");
}

#[test]
fn assignments_beyond_what_there_is_room_for_are_to_be_brought_again() {
    let kept = KeptLimits { group_bytes_max: 64 << 10, ..KeptLimits::default() };
    let mut rig = keeping(kept);
    let member = rig.call(join("c", "")).expect("there is room").member_id;
    let large: &'static [u8] = &[0; 100_000];
    let no_room = GroupRefused::Other(GroupTrouble::NoRoom);
    assert_eq!(rig.call(sync("c", &member, large)).map(|_| ()), Err(no_room));
    rig.call(sync("c", &member, b"little")).expect("there is room for it");
}

#[test]
fn transactional_ids_and_partitions_beyond_what_there_is_room_for_are_refused() {
    let id_bytes = TRANSACTIONAL_ID_BYTES + 3;
    let topic_bytes = TRANSACTION_TOPIC_BYTES + 1;
    let limit =
        2 * id_bytes + TRANSACTION_OPEN_BYTES + topic_bytes + 3 * TRANSACTION_PARTITION_BYTES;
    let mut rig = keeping(KeptLimits { transaction_bytes_max: limit, ..KeptLimits::default() });
    rig.create(with_partitions("a", 9)).expect("there is room");
    let what = "bytes of transactional ids and partitions";
    let full = TransactionRefused::Full { limit, what };
    let t = rig.call(init("t")).expect("there is room");
    rig.call(init("u")).expect("there is room");
    let some = [("a", 0), ("a", 1), ("a", 2), ("a", 3)];
    let added = rig.call(add("t", t, &some));
    assert_eq!(added[0].outcome, Err(AddRefused::Transaction(full.clone())));
    assert_eq!(rig.call(add("t", t, &some[..3]))[2].outcome, Ok(()));
    assert_eq!(rig.call(init("v")).map(|_| ()), Err(full));
    let ending: EndTransaction = end("t", t, TransactionEnd::Commit, TransactionVersion::One);
    rig.call(ending).expect("an end is never refused for room");
    rig.call(init("u")).expect("nor is one that is known");
}

#[test]
fn a_fetch_session_beyond_what_there_is_room_for_is_a_full_fetch() {
    let kept = KeptLimits { fetch_session_partitions_max: 3, ..KeptLimits::default() };
    let mut rig = keeping(kept);
    rig.create(with_partitions("a", 9)).expect("there is room");
    let over = |topic: &str, partitions: &[i32]| {
        let part = |at: &i32| fetch(topic, *at, 0).partitions.remove(0);
        Fetch {
            max_wait_ms: 0,
            partitions: partitions.iter().map(part).collect(),
            ..fetch("", 0, 0)
        }
    };
    let mut ask = |step, fetch| {
        let answer = rig.call(FetchInSession { step, by_id: false, fetch, forgotten: Vec::new() });
        answer.map(|fetched| fetched.session_id)
    };
    let begin = || SessionStep::Begin { ends: 0 };
    let id = ask(begin(), over("a", &[0, 1])).expect("an answer");
    assert_ne!(id, 0);
    assert_eq!(ask(begin(), over("a", &[2, 3])), Ok(0), "answered in full");
    // Nor one with a name that no topic can have.
    let name = "x".repeat(250);
    assert_eq!(ask(begin(), over(&name, &[0])), Ok(0));
    let next = SessionStep::Next { id, epoch: 1 };
    assert_eq!(ask(next, over(&name, &[0])), Err(FetchSessionRefused::NotFound(id)));
    assert_ne!(ask(begin(), over("a", &[2, 3])), Ok(0), "its place is free");
}
