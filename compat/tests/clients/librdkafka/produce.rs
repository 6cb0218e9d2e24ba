//! Producing: every codec, idempotence, what comes back.

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tidings_compat::Server;

use super::{Item, PATIENCE, assert_dense, config, producer, read, reader, send_all};

#[test]
fn every_codec_round_trips_with_keys_headers_and_times() {
    let server = Server::start().expect("the server starts");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        let mut sent: Vec<Item> = (0..1000)
            .map(|n| Item {
                key: Some(format!("k{}", n % 10)),
                value: Some(format!("{codec} {n} {}", "padding ".repeat(n % 20))),
                headers: vec![("n".into(), Some(n.to_string())), ("null".into(), None)],
                timestamp: 1_291_161_600_000 + n as i64,
            })
            .collect();
        sent.push(Item { value: None, ..Item::new("tombstone", "") });
        sent.push(Item { key: None, ..Item::new("", "no key") });

        let producer = producer(&server, &[("compression.type", codec), ("linger.ms", "50")]);
        send_all(&producer, &topic, &sent);
        let read = read(&reader(&server, &topic, 4), sent.len());
        assert_dense(&read, 4);
        let mut items: Vec<Item> = read.into_iter().map(|read| read.item).collect();
        items.sort();
        sent.sort();
        assert_eq!(items, sent, "{codec}");
    }
}

#[test]
fn acks_0_and_1_and_a_producer_without_idempotence_arrive() {
    let server = Server::start().expect("the server starts");
    for acks in ["0", "1", "all"] {
        let topic = format!("acks-{acks}");
        let sent: Vec<Item> = (0..100).map(|n| Item::new("k", n.to_string())).collect();
        let producer = producer(&server, &[("enable.idempotence", "false"), ("acks", acks)]);
        send_all(&producer, &topic, &sent);
        let items: Vec<Item> =
            read(&reader(&server, &topic, 4), 100).into_iter().map(|read| read.item).collect();
        assert_eq!(items, sent, "acks={acks}");
    }
}

#[test]
fn producing_makes_the_topic_and_reading_does_not() {
    let server = Server::start().expect("the server starts");
    send_all(&producer(&server, &[]), "made", &[Item::new("k", "v")]);

    let consumer: BaseConsumer =
        config(&server).set("group.id", "looker").create().expect("a consumer");
    let metadata = consumer.fetch_metadata(None, PATIENCE).expect("metadata");
    let brokers: Vec<String> =
        metadata.brokers().iter().map(|b| format!("{}:{}", b.host(), b.port())).collect();
    assert_eq!(brokers, [server.kafka()]);
    let topics: Vec<(&str, usize)> = metadata
        .topics()
        .iter()
        .filter(|topic| !topic.name().starts_with("__"))
        .map(|topic| (topic.name(), topic.partitions().len()))
        .collect();
    assert_eq!(topics, [("made", 4)]);
}

#[test]
fn a_record_over_the_topics_limit_is_refused_and_the_rest_goes_on() {
    let server = Server::start().expect("the server starts");
    let producer = producer(&server, &[("message.max.bytes", "5000000"), ("linger.ms", "0")]);
    send_all(&producer, "sized", &[Item::new("k", "before")]);

    super::send(&producer, "sized", &Item::new("k", "x".repeat(3_000_000)));
    rdkafka::producer::Producer::flush(&producer, PATIENCE).expect("every record has its report");
    let refused = rdkafka::producer::Producer::context(&producer).all().remove(1);
    assert_eq!(
        refused.expect_err("too large").rdkafka_error_code(),
        Some(rdkafka::types::RDKafkaErrorCode::MessageSizeTooLarge)
    );

    send_all(&producer, "sized", &[Item::new("k", "after")]);
    let values: Vec<Option<String>> =
        read(&reader(&server, "sized", 4), 2).into_iter().map(|read| read.item.value).collect();
    assert_eq!(values, [Some("before".to_owned()), Some("after".to_owned())]);
}
