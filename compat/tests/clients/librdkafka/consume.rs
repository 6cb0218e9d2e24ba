//! Consuming: groups, commits, offsets by time.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tidings_compat::{Server, eventually};

use super::{Item, PATIENCE, POLL, config, producer, read, read_item, reader, send_all};

fn member(server: &Server, group: &str, topic: &str) -> BaseConsumer {
    let mut config = config(server);
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribed");
    consumer
}

#[test]
fn a_group_resumes_where_it_committed() {
    let server = Server::start().expect("the server starts");
    let producer = producer(&server, &[]);
    let items: Vec<Item> = (0..10).map(|n| Item::new("k", n.to_string())).collect();
    send_all(&producer, "resumed", &items);

    let first = member(&server, "readers", "resumed");
    let four = take(&first, 4);
    assert_eq!(four, ["0", "1", "2", "3"]);
    drop(first);

    let second = member(&server, "readers", "resumed");
    assert_eq!(take(&second, 6), ["4", "5", "6", "7", "8", "9"]);
    let committed = second.committed(PATIENCE).expect("committed offsets");
    let offsets: Vec<Offset> = committed
        .elements()
        .iter()
        .map(TopicPartitionListElem::offset)
        .filter(|offset| *offset != Offset::Invalid)
        .collect();
    assert_eq!(offsets, [Offset::Offset(10)]);
}

/// Reads and commits this many records, one by one.
fn take(consumer: &BaseConsumer, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    let complete = eventually(PATIENCE, || {
        if let Some(message) = consumer.poll(POLL) {
            let message = message.expect("a record");
            values.push(read_item(&message).item.value.expect("a value"));
            consumer.commit_message(&message, CommitMode::Sync).expect("committed");
        }
        (values.len() == count).then_some(())
    });
    assert!(complete.is_some(), "only {values:?} came");
    values
}

#[test]
fn offsets_are_found_by_time() {
    let server = Server::start().expect("the server starts");
    let items: Vec<Item> = (0..10)
        .map(|n| Item { timestamp: 1_000 + n * 10, ..Item::new("k", n.to_string()) })
        .collect();
    send_all(&producer(&server, &[("linger.ms", "0")]), "timed", &items);
    let consumer = reader(&server, "timed", 4);
    let partition = read(&consumer, 10)[0].partition;

    let table = [
        (0, Offset::Offset(0)),
        (1_000, Offset::Offset(0)),
        (1_001, Offset::Offset(1)),
        (1_050, Offset::Offset(5)),
        (1_090, Offset::Offset(9)),
        (1_091, Offset::End),
    ];
    for (time, expected) in table {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset("timed", partition, Offset::Offset(time)).expect("an offset");
        let found = consumer.offsets_for_times(asked, PATIENCE).expect("an answer");
        assert_eq!(found.elements()[0].offset(), expected, "at {time}");
    }
    assert_eq!(
        consumer.fetch_watermarks("timed", partition, PATIENCE).expect("watermarks"),
        (0, 10)
    );
}

#[test]
fn a_waiting_consumer_gets_a_new_record_at_once() {
    let server = Server::start().expect("the server starts");
    let producer = producer(&server, &[("linger.ms", "0")]);
    send_all(&producer, "tailed", &[Item::new("k", "0")]);
    let consumer = reader(&server, "tailed", 4);
    read(&consumer, 1);
    for n in 1..20 {
        send_all(&producer, "tailed", &[Item::new("k", n.to_string())]);
        let message = consumer.poll(PATIENCE).expect("before the deadline").expect("a record");
        assert_eq!(read_item(&message).item.value, Some(n.to_string()));
    }
}
