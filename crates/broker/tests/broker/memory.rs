//! What clients make a broker keep takes no more memory than it is counted as.

use tidings_broker::limits::{
    CONFIG_BYTES, CONFIGS_BYTES, FETCH_SESSION_PARTITION_BYTES, PARTITION_BYTES, SAID_OF_BYTES,
};
use tidings_broker::log::limits::{PRODUCER_BATCHES_MAX, PRODUCER_BYTES};
use tidings_broker::{
    AlterConfigs, AlterQuotas, Alteration, ConfigChange, ConfigOp, ConfigResource,
    ConsumerHeartbeat, Fetch, FetchInSession, FetchPartition, NewTopic, Now, QuotaAlteration,
    SessionStep,
};
use tidings_coordinator::limits::{
    TRANSACTION_OPEN_BYTES, TRANSACTION_PARTITION_BYTES, TRANSACTION_TOPIC_BYTES,
    TRANSACTIONAL_ID_BYTES,
};
use tidings_coordinator::{Coordinator, Effect, TopicFacts, Waiter};

use crate::allocator::held_by;
use crate::groups::{beat, commit, join};
use crate::rig::{Rig, WALL_MS, batch, fetch, sequenced};
use crate::transactions::{add, init};

/// How often each thing is made.
const MANY: usize = 400;

/// A name of a topic, as long as there may be.
fn long(number: usize) -> String {
    format!("{number:0>249}")
}

fn one_partition(name: String) -> NewTopic {
    NewTopic { name, partitions: Some(1), ..NewTopic::default() }
}

/// Bytes that a broker takes when it opens what `fill` has left, beyond what an empty one does.
fn taken_by(fill: impl FnOnce(&mut Rig)) -> usize {
    let opened = |rig: Rig| {
        let disk = rig.restart().disk;
        held_by(move || Rig::on(disk)).0
    };
    let mut filled = Rig::new();
    fill(&mut filled);
    filled.settle();
    let (full, empty) = (opened(filled), opened(Rig::new()));
    full.saturating_sub(empty)
}

/// Neither less than it is, nor much more.
fn assert_counts(what: &str, counted: usize, taken: usize) {
    println!("{what}: {taken} bytes, counted as {counted}");
    assert!(taken <= counted, "{what} takes {taken} bytes, and counts as {counted}");
    assert!(counted <= 3 * taken, "{what} takes {taken} bytes only, and counts as {counted}");
}

#[test]
fn a_partition_takes_what_it_counts_as() {
    let topics = taken_by(|rig| {
        for number in 0..MANY {
            rig.create(one_partition(long(number))).expect("there is room");
            for _ in 0..3 {
                rig.produce(&long(number), 0, batch(&["x"])).expect("there is room");
            }
        }
    });
    assert_counts("a topic with a partition", PARTITION_BYTES, topics / MANY);
    let partitions = taken_by(|rig| {
        let partitions = Some(MANY as i32);
        rig.create(NewTopic { partitions, ..one_partition(long(0)) }).expect("there is room");
    });
    assert!(partitions / MANY <= PARTITION_BYTES, "{partitions}");
}

#[test]
fn a_producer_takes_what_it_counts_as() {
    let producers = taken_by(|rig| {
        rig.create(one_partition("a".to_owned())).expect("there is room");
        for sequence in 0..PRODUCER_BATCHES_MAX as i32 {
            for id in 0..MANY as i64 {
                let sent = sequenced(id, 0, sequence, &["x"]);
                rig.produce("a", 0, sent).expect("it is taken");
            }
        }
    });
    // The log has one, and its last flush; a flush that is under way makes a third.
    assert_counts("a producer", PRODUCER_BYTES, producers / MANY / 2 * 3);
}

#[test]
fn a_transactional_id_takes_what_it_counts_as() {
    let ids = |topics: usize, partitions: i32| {
        let taken = taken_by(|rig| {
            for topic in 0..topics {
                let partitions = Some(partitions);
                let name = format!("topic{topic}");
                rig.create(NewTopic { name, partitions, ..NewTopic::default() }).expect("room");
            }
            for number in 0..MANY {
                let id = format!("{number:0>40}");
                let who = rig.call(init(&id)).expect("there is room");
                for topic in 0..topics {
                    let name = format!("topic{topic}");
                    let all: Vec<_> = (0..partitions).map(|at| (name.as_str(), at)).collect();
                    rig.call(add(&id, who, &all));
                }
            }
        });
        let open = if topics == 0 { 0 } else { TRANSACTION_OPEN_BYTES };
        let counted = TRANSACTIONAL_ID_BYTES + 3 * 40 + open;
        let of_topic = TRANSACTION_TOPIC_BYTES + 6;
        let of_partitions = partitions as usize * TRANSACTION_PARTITION_BYTES;
        (counted + topics * (of_topic + of_partitions), taken / MANY)
    };
    for (topics, partitions) in [(0, 0), (1, 1), (10, 1), (1, 60)] {
        let (counted, taken) = ids(topics, partitions);
        assert_counts(&format!("an id with {topics} × {partitions}"), counted, taken);
    }
}

#[test]
fn a_partition_of_a_fetch_session_takes_what_it_counts_as() {
    let mut rig = Rig::new();
    for number in 0..MANY {
        rig.create(one_partition(long(number))).expect("there is room");
    }
    let part = |number| fetch(&long(number), 0, 0).partitions.remove(0);
    let parts: Vec<FetchPartition> = (0..MANY).map(part).collect();
    let begun = |rig: &mut Rig| {
        let partitions = parts.clone();
        let fetch = Fetch { partitions, max_wait_ms: 0, ..fetch("", 0, 0) };
        let step = SessionStep::Begin { ends: 0 };
        rig.call(FetchInSession { step, by_id: false, fetch, forgotten: Vec::new() })
    };
    let (taken, sessions) = held_by(|| {
        (0..10).map(|_| begun(&mut rig).expect("an answer").session_id).collect::<Vec<_>>()
    });
    assert!(sessions.iter().all(|id| *id != 0));
    assert_counts("a partition", FETCH_SESSION_PARTITION_BYTES, taken / MANY / 10);
}

/// A coordinator, and what it is told.
fn coordinator() -> Coordinator {
    let mut groups = Coordinator::new();
    let facts = TopicFacts { id: [7; 16], partitions: 50 };
    groups.topics_mut().put("a", facts);
    groups
}

const NOW: Now = Now { wall_ms: WALL_MS, mono_ms: 0 };

/// Carries out what was decided, as if there were a log.
fn carry_out(groups: &mut Coordinator) {
    while let Some(effect) = groups.poll() {
        if let Effect::Change(change) = effect {
            groups.accept(NOW, change);
        }
    }
}

fn consume(groups: &mut Coordinator, group: &str, member: &str) {
    let request = ConsumerHeartbeat { group: group.into(), ..beat(member, 0) };
    groups.consumer_heartbeat(NOW, Waiter(1), request, [0; 16]);
    carry_out(groups);
}

#[test]
fn groups_take_what_they_count_as() {
    type Fill = fn(&mut Coordinator, usize);
    let fills: [(&str, Fill); 6] = [
        ("a group of one consumer that has 50 partitions", |groups, number| {
            consume(groups, &format!("{number:0>100}"), "member-of-some-length-or-other");
        }),
        ("one of a hundred consumers of a group", |groups, number| {
            consume(groups, &format!("g{}", number / 100), &format!("member-{number:0>30}"));
        }),
        ("a consumer of topics that there are not", |groups, number| {
            let topics = Some((0..50).map(|topic| format!("{topic:0>60}")).collect());
            let group = format!("g{number}");
            let request = ConsumerHeartbeat { group, topics, ..beat("member", 0) };
            groups.consumer_heartbeat(NOW, Waiter(1), request, [0; 16]);
            carry_out(groups);
        }),
        ("a classic group of one member", |groups, number| {
            let request = join(&format!("{number:0>100}"), "");
            groups.join(NOW, Waiter(1), request, (number as u128).to_be_bytes());
            carry_out(groups);
        }),
        ("a group with an offset", |groups, number| {
            let request = commit(&format!("{number:0>100}"), 0, 1);
            for record in groups.decide_commit(NOW, &request).expect("there is room").records {
                groups.apply(NOW, record);
            }
        }),
        ("an offset that is pending", |groups, number| {
            let request = commit("g", (number % 50) as i32, 1);
            let decided = groups.decide_commit_in_transaction(NOW, &request);
            for record in decided.expect("there is room").records {
                groups.apply_in_transaction(number as i64, record);
            }
        }),
    ];
    for (what, fill) in fills {
        let (taken, groups) = held_by(|| {
            let mut groups = coordinator();
            (0..MANY).for_each(|number| fill(&mut groups, number));
            groups
        });
        assert_counts(what, groups.held_bytes() / MANY, taken / MANY);
    }
}

fn said(name: &str, value: &str) -> Alteration {
    let (name, value) = (name.to_owned(), Some(value.to_owned()));
    Alteration::Change(vec![ConfigChange { name, op: ConfigOp::Set, value }])
}

#[test]
fn what_is_said_takes_what_it_counts_as() {
    let session = "consumer.session.timeout.ms";
    let name = |number: usize| format!("{number:0>100}");
    let groups = taken_by(|rig| {
        let resource = |number| (ConfigResource::Group(name(number)), said(session, "50000"));
        let resources = (0..MANY).map(resource).collect();
        rig.call(AlterConfigs { resources, validate_only: false });
    });
    let configs = |name: &str, value: &str| CONFIGS_BYTES + CONFIG_BYTES + name.len() + value.len();
    let counted = SAID_OF_BYTES + 2 * 100 + configs(session, "50000");
    assert_counts("a group of which something is said", counted, groups / MANY);
    let topics = |said: Vec<(String, Option<String>)>| {
        taken_by(move |rig| {
            for number in 0..MANY {
                let configs = said.clone();
                rig.create(NewTopic { configs, ..one_partition(name(number)) }).expect("room");
            }
        })
    };
    let value = "1000000";
    let with = topics(vec![("retention.ms".to_owned(), Some(value.to_owned()))]);
    let of_config = (with - topics(Vec::new())) / MANY;
    assert_counts("a config of a topic", configs("retention.ms", value), of_config);
    let quotas = taken_by(|rig| {
        let entry = |number| QuotaAlteration {
            entity: vec![
                ("user".to_owned(), Some(name(number))),
                ("client-id".to_owned(), Some(name(number))),
            ],
            rates: vec![("producer_byte_rate".to_owned(), Some(1.0))],
        };
        let entries = (0..MANY).map(entry).collect();
        rig.call(AlterQuotas { entries, validate_only: false });
    });
    let counted = SAID_OF_BYTES + 2 * (13 + 2 * 100);
    assert_counts("a quota", counted, quotas / MANY);
}
