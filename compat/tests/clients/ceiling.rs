//! `--memory` holds while clients do their worst all at once: they make topics, producers, transactional
//! ids, groups of both protocols, sessions, configurations and quotas without end, send tiny and huge
//! batches and bombs, and fetch what they do not read; and somebody else is served meanwhile.
//!
//! What the process had at most is the kernel's own figure, `VmHWM`: nothing is missed between samples, and
//! page cache, which a control group would count too, is not in it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidings_compat::Server;
use tidings_log::{BatchBuilder, Compression, NewRecord};
use tidings_wire::{
    add_partitions_to_txn, alter_client_quotas, consumer_group_heartbeat, create_topics, fetch,
    incremental_alter_configs, init_producer_id, join_group, metadata, offset_commit, produce,
    sync_group,
};

use crate::wire::{ask, connect, connect_deaf, frame};

const MEMORY: u64 = 512 << 20;
/// How long everybody goes on, and who has not met its limit goes on for longer.
const TIME: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);
const TOPIC: &str = "attacked";
const PARTITIONS: i32 = 8;

const POLICY_VIOLATION: i16 = 44;
const GROUP_MAX_SIZE_REACHED: i16 = 81;

/// What an attacker goes by.
struct Attack<'a> {
    server: &'a Server,
    begun: Instant,
    /// The code that it is to be answered with in the end.
    limit: Option<i16>,
    answers: Mutex<BTreeMap<i16, u64>>,
}

impl Attack<'_> {
    fn goes_on(&self) -> bool {
        let answers = self.answers.lock().expect("nobody panics with it");
        let has_met = self.limit.is_none_or(|limit| answers.contains_key(&limit));
        self.begun.elapsed() < if has_met { TIME } else { PATIENCE }
    }

    fn note(&self, codes: impl IntoIterator<Item = i16>) {
        let mut answers = self.answers.lock().expect("nobody panics with it");
        codes.into_iter().for_each(|code| *answers.entry(code).or_default() += 1);
    }

    /// Asks this of ever greater numbers; a connection that is closed for what it asks is opened anew.
    fn ask_on(&self, mut with: impl FnMut(&mut TcpStream, usize) -> std::io::Result<Vec<i16>>) {
        let mut stream = connect(self.server);
        for number in 0.. {
            if !self.goes_on() {
                break;
            }
            match with(&mut stream, number) {
                Ok(codes) => self.note(codes),
                Err(_) => stream = connect(self.server),
            }
        }
    }
}

fn long(number: usize, bytes: usize) -> String {
    format!("{number:0>bytes$}")
}

fn make_topics(attack: &Attack<'_>) {
    attack.ask_on(|stream, number| {
        let topic = |index| create_topics::Topic {
            name: long(number * 50 + index, 249),
            num_partitions: 1 + (index % 3) as i32,
            replication_factor: 1,
            ..Default::default()
        };
        let topics = (0..50).map(topic).collect();
        let request = create_topics::Request { topics, timeout_ms: 30_000, ..Default::default() };
        let created = ask(stream, 4, &request)?;
        Ok(created.topics.iter().map(|topic| topic.error_code).collect())
    });
}

fn request_of(partition: i32, batch: Bytes) -> produce::Request {
    let data = produce::PartitionData { index: partition, records: Some(batch) };
    produce::Request {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![produce::TopicData {
            name: TOPIC.to_owned(),
            partition_data: vec![data],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn batch_of(builder: BatchBuilder, value_bytes: usize) -> Bytes {
    let mut builder = builder;
    let value = Some(Bytes::from(vec![0; value_bytes]));
    builder.push(&NewRecord { key: Some(Bytes::from_static(b"k")), value, ..NewRecord::default() });
    builder.build().bytes().clone()
}

fn send(stream: &mut TcpStream, partition: i32, batch: Bytes) -> std::io::Result<Vec<i16>> {
    let stored = ask(stream, 7, &request_of(partition, batch))?;
    Ok(vec![stored.responses[0].partition_responses[0].error_code])
}

/// Each batch has a producer of its own, and is tiny.
fn make_producers(attack: &Attack<'_>) {
    attack.ask_on(|stream, number| {
        let producer = BatchBuilder::new().producer(number as i64, 0, 0);
        send(stream, (number % PARTITIONS as usize) as i32, batch_of(producer, 1))
    });
}

fn produce_much(attack: &Attack<'_>) {
    attack.ask_on(|stream, number| {
        let batch = batch_of(BatchBuilder::new(), 4 << 20);
        send(stream, (number % PARTITIONS as usize) as i32, batch)
    });
}

/// The topic is compacted, so that records are looked at.
fn send_bombs(attack: &Attack<'_>) {
    let bombs = [Compression::Zstd, Compression::Gzip]
        .map(|codec| batch_of(BatchBuilder::new().compression(codec), 200 << 20));
    attack.ask_on(|stream, number| {
        // Each keeps the node busy; the others are to have their turns.
        thread::sleep(Duration::from_millis(200));
        send(stream, 0, bombs[number % bombs.len()].clone())
    });
}

fn make_transactions(attack: &Attack<'_>) {
    attack.ask_on(|stream, number| {
        let id = long(number, 10_000);
        let request = init_producer_id::Request {
            transactional_id: Some(id.clone()),
            transaction_timeout_ms: 900_000,
            ..Default::default()
        };
        let begun = ask(stream, 4, &request)?;
        let topic = add_partitions_to_txn::AddPartitionsToTxnTopic {
            name: TOPIC.to_owned(),
            partitions: (0..PARTITIONS).collect(),
        };
        let request = add_partitions_to_txn::Request {
            v3_and_below_transactional_id: id,
            v3_and_below_producer_id: begun.producer_id,
            v3_and_below_producer_epoch: begun.producer_epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let added = ask(stream, 3, &request)?;
        let added = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
        Ok(vec![begun.error_code, added.partition_error_code])
    });
}

/// Members with much metadata, and what their leaders assign.
fn make_classic_groups(attack: &Attack<'_>) {
    attack.ask_on(|stream, number| {
        let protocol = join_group::Protocol {
            name: "range".to_owned(),
            metadata: Bytes::from(vec![1; 100_000]),
        };
        let request = join_group::Request {
            group_id: long(number, 1_000),
            session_timeout_ms: 1_800_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let joined = ask(stream, 3, &request)?;
        let assignment = sync_group::Assignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from(vec![1; 200_000]),
        };
        let sync = sync_group::Request {
            group_id: request.group_id,
            generation_id: joined.generation_id,
            member_id: joined.member_id,
            assignments: vec![assignment],
            ..Default::default()
        };
        Ok(vec![joined.error_code, ask(stream, 2, &sync)?.error_code])
    });
}

fn make_consumer_groups(attack: &Attack<'_>) {
    attack.ask_on(|stream, number| {
        let mut topics: Vec<String> = (0..20).map(|topic| long(topic, 200)).collect();
        topics.push(TOPIC.to_owned());
        let request = consumer_group_heartbeat::Request {
            group_id: long(number / 10, 100),
            member_id: long(number, 36),
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(topics),
            subscribed_topic_regex: None,
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        Ok(vec![ask(stream, 1, &request)?.error_code])
    });
}

fn commit_offsets(attack: &Attack<'_>) {
    attack.ask_on(|stream, number| {
        let partition = |index| offset_commit::Partition {
            partition_index: index,
            committed_metadata: Some("x".repeat(4_000)),
            ..Default::default()
        };
        let topic = offset_commit::Topic {
            name: TOPIC.to_owned(),
            partitions: (0..PARTITIONS).map(partition).collect(),
            ..Default::default()
        };
        let request = offset_commit::Request {
            group_id: format!("simple-{number}"),
            topics: vec![topic],
            ..Default::default()
        };
        Ok(vec![ask(stream, 6, &request)?.topics[0].partitions[0].error_code])
    });
}

/// Whole fetches of everything that begin a session each.
fn open_sessions(attack: &Attack<'_>) {
    attack.ask_on(|stream, _| {
        let request = fetch_of(0, 1, (0..60).map(|number| long(number, 249)));
        Ok(vec![ask(stream, 7, &request)?.error_code])
    });
}

fn fetch_of(epoch: i32, max_bytes: i32, topics: impl Iterator<Item = String>) -> fetch::Request {
    let topic = |topic: String| fetch::Topic {
        topic,
        partitions: (0..PARTITIONS)
            .map(|partition| fetch::Partition {
                partition,
                partition_max_bytes: i32::MAX,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    fetch::Request {
        max_wait_ms: 1,
        max_bytes,
        session_epoch: epoch,
        topics: topics.map(topic).collect(),
        ..Default::default()
    }
}

/// Fetches of everything that nobody reads, on ever new connections.
fn fetch_unread(attack: &Attack<'_>) {
    let request = frame(11, &fetch_of(-1, i32::MAX, [TOPIC.to_owned()].into_iter()));
    let mut deaf = Vec::new();
    while attack.goes_on() && deaf.len() < 800 {
        let mut stream = connect_deaf(attack.server);
        for _ in 0..4 {
            // What the server has no room for it does not take.
            let _held_back = stream.write_all(&request);
        }
        deaf.push(stream);
    }
    while attack.goes_on() {
        thread::sleep(Duration::from_millis(50));
    }
}

fn say_configs_and_quotas(attack: &Attack<'_>) {
    attack.ask_on(|stream, number| {
        let config = incremental_alter_configs::AlterableConfig {
            name: "consumer.session.timeout.ms".to_owned(),
            value: Some("50000".to_owned()),
            ..Default::default()
        };
        let resource = incremental_alter_configs::AlterConfigsResource {
            resource_type: 32,
            resource_name: long(number, 1_000),
            configs: vec![config],
        };
        let said =
            incremental_alter_configs::Request { resources: vec![resource], ..Default::default() };
        let named = alter_client_quotas::EntityData {
            entity_type: "client-id".to_owned(),
            entity_name: Some(long(number, 10_000)),
        };
        let rate = alter_client_quotas::OpData {
            key: "producer_byte_rate".to_owned(),
            value: 1e9,
            remove: false,
        };
        let entry = alter_client_quotas::EntryData { entity: vec![named], ops: vec![rate] };
        let quotas = alter_client_quotas::Request { entries: vec![entry], ..Default::default() };
        Ok(vec![
            ask(stream, 0, &said)?.responses[0].error_code,
            ask(stream, 0, &quotas)?.entries[0].error_code,
        ])
    });
}

fn create_topic(server: &Server) {
    let config = |name: &str, value: &str| create_topics::Config {
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let topic = create_topics::Topic {
        name: TOPIC.to_owned(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        configs: vec![config("max.message.bytes", "16777216"), config("cleanup.policy", "compact")],
        ..Default::default()
    };
    let request =
        create_topics::Request { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let created = ask(&mut connect(server), 4, &request).expect("an answer");
    assert_eq!(created.topics[0].error_code, 0);
}

/// Asks and sends as an honest client would; how often it was served.
fn serve_neighbour(attack: &Attack<'_>) -> u64 {
    let mut stream = connect(attack.server);
    let mut served = 0;
    let asked = metadata::Request {
        topics: Some(vec![metadata::RequestTopic {
            name: Some(TOPIC.to_owned()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    while attack.goes_on() {
        let answer = ask(&mut stream, 4, &asked).expect("the neighbour is served");
        assert_eq!(answer.topics[0].partitions.len(), PARTITIONS as usize);
        let codes = send(&mut stream, 7, batch_of(BatchBuilder::new(), 100));
        assert_eq!(codes.expect("the neighbour is served"), [0]);
        served += 1;
    }
    served
}

#[test]
fn memory_stays_within_what_was_said_whatever_clients_do_together() {
    type Attacker = fn(&Attack<'_>);
    /// Each with a code that it must have met: its limit was reached.
    const ATTACKERS: [(&str, Attacker, Option<i16>); 12] = [
        ("topics", make_topics, Some(POLICY_VIOLATION)),
        ("producers", make_producers, None),
        ("much", produce_much, None),
        ("much again", produce_much, None),
        ("bombs", send_bombs, None),
        ("transactions", make_transactions, Some(POLICY_VIOLATION)),
        ("classic groups", make_classic_groups, Some(GROUP_MAX_SIZE_REACHED)),
        ("consumer groups", make_consumer_groups, Some(GROUP_MAX_SIZE_REACHED)),
        ("offsets", commit_offsets, Some(GROUP_MAX_SIZE_REACHED)),
        ("sessions", open_sessions, None),
        ("unread fetches", fetch_unread, None),
        ("configs and quotas", say_configs_and_quotas, Some(POLICY_VIOLATION)),
    ];
    let server = Server::start_with(&["--memory", "512MiB"]).expect("the server starts");
    create_topic(&server);
    let begun = Instant::now();
    let attack = |limit| Attack { server: &server, begun, limit, answers: Mutex::default() };
    let (met, served) = thread::scope(|scope| {
        let attackers = ATTACKERS.map(|(name, attacker, limit)| {
            let running = scope.spawn(move || {
                let attack = attack(limit);
                attacker(&attack);
                attack.answers.into_inner().expect("nobody panics with it")
            });
            (name, limit, running)
        });
        let served = serve_neighbour(&attack(None));
        let met = attackers.map(|(name, limit, running)| {
            (name, limit, running.join().expect("the server serves on"))
        });
        (met, served)
    });
    let most = server.memory("VmHWM").expect("it runs");
    for (name, _, answers) in &met {
        println!("{name}: answers by code {answers:?}");
    }
    println!(
        "at most {} MiB of {}; a neighbour was served {served} times",
        most >> 20,
        MEMORY >> 20
    );
    for (name, limit, answers) in &met {
        assert!(limit.is_none_or(|limit| answers.contains_key(&limit)), "{name}: {answers:?}");
    }
    assert!(most <= MEMORY, "{} MiB", most >> 20);
    assert!(served > 0);
}
