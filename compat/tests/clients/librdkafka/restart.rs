//! `kill -9` in the middle: what was acknowledged is there, once and in order.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::Producer as _;
use tidings_compat::{Server, eventually};

use super::{Item, PATIENCE, POLL, assert_dense, config, producer, read, read_item, reader, send};

const RECORDS: usize = 20_000;
const KEYS: usize = 16;

/// The values of each key in the order in which they were read.
fn by_key(items: impl IntoIterator<Item = Item>) -> BTreeMap<String, Vec<String>> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in items {
        let key = item.key.expect("every record has a key");
        values.entry(key).or_default().push(item.value.expect("every record has a value"));
    }
    values
}

#[test]
fn an_idempotent_producer_loses_repeats_and_reorders_nothing() {
    let mut server = Server::start().expect("the server starts");
    let producer = producer(&server, &[("linger.ms", "1"), ("batch.num.messages", "100")]);
    let sent: Vec<Item> =
        (0..RECORDS).map(|n| Item::new(format!("k{}", n % KEYS), n.to_string())).collect();

    let (first, second) = sent.split_at(RECORDS / 2);
    for item in first {
        send(&producer, "kept", item);
    }
    let some =
        eventually(PATIENCE, || (producer.context().all().len() > RECORDS / 10).then_some(()));
    assert!(some.is_some(), "nothing is delivered");
    server.kill_and_restart().expect("the server starts again");
    for item in second {
        send(&producer, "kept", item);
    }
    producer.flush(PATIENCE).expect("everything is delivered after the restart");

    let mut acknowledged: Vec<(i32, i64)> =
        producer.context().all().into_iter().map(|report| report.expect("delivered")).collect();
    let read = read(&reader(&server, "kept", 4), RECORDS);
    assert_dense(&read, 4);
    let mut there: Vec<(i32, i64)> =
        read.iter().map(|read| (read.partition, read.offset)).collect();
    acknowledged.sort_unstable();
    there.sort_unstable();
    assert_eq!(acknowledged, there, "every acknowledged place holds a record, and no other does");
    assert_eq!(by_key(read.into_iter().map(|read| read.item)), by_key(sent));
}

#[test]
fn a_group_keeps_its_commits_and_goes_on_after_the_restart() {
    let mut server = Server::start().expect("the server starts");
    let producer = producer(&server, &[]);
    let sent: Vec<Item> =
        (0..200).map(|n| Item::new(format!("k{}", n % KEYS), n.to_string())).collect();
    super::send_all(&producer, "followed", &sent[..100]);

    let mut config = config(&server);
    config.set("group.id", "followers").set("auto.offset.reset", "earliest");
    config.set("enable.auto.commit", "false").set("session.timeout.ms", "6000");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&["followed"]).expect("subscribed");
    let mut followed = follow(&consumer, 100);
    consumer.commit_consumer_state(CommitMode::Sync).expect("committed");

    server.kill_and_restart().expect("the server starts again");
    super::send_all(&producer, "followed", &sent[100..]);
    followed.extend(follow(&consumer, 100));
    assert_eq!(by_key(followed), by_key(sent));
}

/// Polls until this many records have come; what happens to the connection meanwhile is retried.
fn follow(consumer: &BaseConsumer, count: usize) -> Vec<Item> {
    let mut items = Vec::new();
    let complete = eventually(PATIENCE, || {
        if let Some(Ok(message)) = consumer.poll(POLL) {
            items.push(read_item(&message).item);
        }
        (items.len() == count).then_some(())
    });
    assert!(complete.is_some(), "only {} of {count} records came", items.len());
    items
}
