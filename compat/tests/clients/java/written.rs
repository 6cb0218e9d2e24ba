//! A data directory as the binary leaves it after a clean stop, with what a consumer read from it.

use std::path::{Path, PathBuf};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use tidings_compat::Server;

use super::PATIENCE;
use crate::librdkafka::{Item, ReadItem, config_at, producer, read, reader_at, send_all};

/// Small enough that a few megabytes make several segments, the smallest that is taken.
const SEGMENT_BYTES: &str = "1048576";

/// One way of producing.
pub(super) struct Kind {
    pub(super) topic: &'static str,
    pub(super) partitions: i32,
    records: usize,
    value_bytes: usize,
    producer: &'static [(&'static str, &'static str)],
    config: &'static [(&'static str, &'static str)],
}

const IDEMPOTENT: Kind = Kind {
    topic: "plain",
    partitions: 2,
    records: 3000,
    value_bytes: 1500,
    producer: &[("linger.ms", "5"), ("batch.num.messages", "50")],
    config: &[],
};

const fn of_codec(topic: &'static str, producer: &'static [(&'static str, &'static str)]) -> Kind {
    Kind { topic, partitions: 1, producer, ..IDEMPOTENT }
}

pub(super) const KINDS: [Kind; 8] = [
    IDEMPOTENT,
    of_codec("gzip", &[("compression.type", "gzip"), ("linger.ms", "5")]),
    of_codec("snappy", &[("compression.type", "snappy"), ("linger.ms", "5")]),
    of_codec("lz4", &[("compression.type", "lz4"), ("linger.ms", "5")]),
    of_codec("zstd", &[("compression.type", "zstd"), ("linger.ms", "5")]),
    Kind {
        topic: "without-sequences",
        records: 200,
        producer: &[("enable.idempotence", "false"), ("acks", "1")],
        ..IDEMPOTENT
    },
    Kind { topic: "large", partitions: 1, records: 6, value_bytes: 900_000, ..IDEMPOTENT },
    Kind {
        topic: "log-append-time",
        records: 500,
        config: &[("message.timestamp.type", "LogAppendTime")],
        ..IDEMPOTENT
    },
];

/// Values that compress to about half, so that compressed topics have several segments too.
fn items(kind: &Kind) -> Vec<Item> {
    let mut state = 1_u64;
    let mut hex = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    };
    let mut items: Vec<Item> = (0..kind.records)
        .map(|n| {
            let mut value = format!("{n} ");
            while value.len() < kind.value_bytes {
                value.push_str(&hex());
            }
            Item {
                headers: vec![("n".to_owned(), Some(n.to_string())), ("null".to_owned(), None)],
                timestamp: 1_700_000_000_000 + n as i64,
                ..Item::new(format!("k{}", n % 17), value)
            }
        })
        .collect();
    items.push(Item { value: None, ..Item::new("tombstone", "") });
    items.push(Item { key: None, ..Item::new("", "no key") });
    items
}

pub(super) fn create(kafka: &str) {
    let admin: AdminClient<DefaultClientContext> =
        config_at(kafka).create().expect("an admin client");
    let topics: Vec<NewTopic<'_>> = KINDS
        .iter()
        .map(|kind| {
            let topic = NewTopic::new(kind.topic, kind.partitions, TopicReplication::Fixed(1))
                .set("segment.bytes", SEGMENT_BYTES)
                .set("retention.ms", "-1");
            kind.config.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let made = runtime.expect("a runtime").block_on(admin.create_topics(&topics, &options));
    for outcome in made.expect("an answer") {
        outcome.expect("created");
    }
}

/// Everything of a topic, in the order of its offsets within each partition.
pub(super) fn everything(kafka: &str, kind: &Kind) -> Vec<ReadItem> {
    let mut items = read(&reader_at(kafka, kind.topic, kind.partitions), kind.records + 2);
    items.sort_by_key(|item| (item.partition, item.offset));
    items
}

/// A stopped server's data, with the records of each of [`KINDS`].
pub(super) struct Written {
    pub(super) server: Server,
    pub(super) read: Vec<Vec<ReadItem>>,
}

impl Written {
    /// Produces every kind, commits offsets in a group, reads everything back and stops.
    pub(super) fn make() -> Self {
        let mut server = Server::start().expect("the server starts");
        create(server.kafka());
        for kind in &KINDS {
            send_all(&producer(&server, kind.producer), kind.topic, &items(kind));
        }
        commit(server.kafka());
        let read = KINDS.iter().map(|kind| everything(server.kafka(), kind)).collect();
        server.stop().expect("it stops");
        Self { server, read }
    }

    /// The folder of a partition.
    pub(super) fn folder(&self, topic: &str, partition: i32) -> PathBuf {
        self.server.data().join(format!("{topic}-{partition}"))
    }

    /// Every partition folder's files that end so, sorted.
    pub(super) fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = folders(self.server.data())
            .iter()
            .flat_map(|folder| entries(folder))
            .filter(|path| path.to_string_lossy().ends_with(suffix))
            .collect();
        files.sort();
        files
    }
}

/// Offsets 1000 and 500 of `plain` for group `readers`, without members.
fn commit(kafka: &str) {
    let consumer: BaseConsumer =
        config_at(kafka).set("group.id", "readers").create().expect("a consumer");
    let mut offsets = TopicPartitionList::new();
    for (partition, offset) in [(0, 1000), (1, 500)] {
        offsets
            .add_partition_offset("plain", partition, Offset::Offset(offset))
            .expect("an offset");
    }
    consumer.commit(&offsets, CommitMode::Sync).expect("committed");
}

fn folders(data: &Path) -> Vec<PathBuf> {
    entries(data).into_iter().filter(|path| path.is_dir()).collect()
}

pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).expect("a folder");
    listed.map(|entry| entry.expect("an entry").path()).collect()
}
