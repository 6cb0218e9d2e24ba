//! Producers: order, partitions, limits, concurrency.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidings_engine::{Error, NewTopic, SentRecord};
use tokio::task::JoinSet;

use crate::stage::{Stage, text, texts, to};

pub async fn order_is_kept_per_partition(stage: Stage) {
    let topic = stage.topic("t", 3).await;
    let values: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let records = values.iter().enumerate();
    let records = records.map(|(n, value)| to(&topic, i32::try_from(n % 3).unwrap(), value));
    let positions = stage.send(records.collect()).await;
    for (n, position) in positions.iter().enumerate() {
        let partition = i32::try_from(n % 3).unwrap();
        let offset = i64::try_from(n / 3).unwrap();
        assert_eq!(
            (position.topic.as_str(), position.partition, position.offset),
            (topic.as_str(), partition, offset)
        );
    }
    for partition in 0..3 {
        let read = stage.read_all(&topic, partition, 0).await;
        let first = usize::try_from(partition).unwrap();
        let expected: Vec<_> = values.iter().skip(first).step_by(3).collect();
        assert_eq!(texts(&read), expected);
    }
}

pub async fn keys_choose_partitions_as_kafkas_clients_do(stage: Stage) {
    let topic = stage.topic("t", 4).await;
    // murmur2 of the key without its sign bit, modulo 4; the hashes are those of Kafka's UtilsTest.
    let keys = [
        ("21", 0),
        ("foobar", 2),
        ("a-little-bit-long-string", 0),
        ("a-little-bit-longer-string", 3),
        ("abc", 3),
    ];
    let record = |key: &'static str| SentRecord {
        topic: topic.clone(),
        key: Some(Bytes::from_static(key.as_bytes())),
        ..SentRecord::default()
    };
    let positions = stage.send(keys.iter().map(|(key, _)| record(key)).collect()).await;
    for (position, (key, expected)) in positions.iter().zip(keys) {
        assert_eq!(position.partition, expected, "{key}");
    }
}

pub async fn keyless_records_are_spread(stage: Stage) {
    let topic = stage.topic("t", 4).await;
    let producer = stage.engine.producer().await.unwrap();
    let mut partitions = BTreeSet::new();
    for _ in 0..64 {
        let record = SentRecord { topic: topic.clone(), ..SentRecord::default() };
        partitions.insert(producer.send(vec![record]).await.unwrap()[0].partition);
    }
    assert!(partitions.len() > 1, "all went to {partitions:?}");
}

pub async fn records_beyond_the_limit_are_refused(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let producer = stage.engine.producer().await.unwrap();
    let large = "x".repeat(1_000_000);
    producer.send(vec![to(&topic, 0, &large)]).await.unwrap();
    let refused = producer.send(vec![to(&topic, 0, &large.repeat(2))]).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Invalid(text) if text.contains("max.message.bytes")),
        "{refused}"
    );
    producer.send(vec![to(&topic, 0, "small")]).await.unwrap();
    assert_eq!(texts(&stage.read_all(&topic, 0, 0).await), [large.as_str(), "small"]);
}

pub async fn sends_beyond_a_batch_are_split(stage: Stage) {
    let topic = stage.topic("t", 2).await;
    let value = |n: usize| format!("{n:050000}").repeat(2);
    let partition = |n: usize| i32::from(n.is_multiple_of(4));
    let records = (0..40).map(|n| to(&topic, partition(n), &value(n)));
    let positions = stage.send(records.collect()).await;
    let mut next = [0, 0];
    for (n, position) in positions.iter().enumerate() {
        let next = &mut next[usize::try_from(partition(n)).unwrap()];
        assert_eq!((position.partition, position.offset), (partition(n), *next));
        *next += 1;
    }
    for of in 0..2 {
        let expected: Vec<_> = (0..40).filter(|n| partition(*n) == of).map(value).collect();
        assert_eq!(texts(&stage.read_all(&topic, of, 0).await), expected);
    }
}

pub async fn batches_fit_what_the_topic_takes(stage: Stage) {
    let topic = stage.name("t");
    let configs = vec![("max.message.bytes".to_owned(), "10000".to_owned())];
    let new = NewTopic { name: topic.clone(), partitions: Some(1), configs };
    stage.engine.create_topic(new).await.unwrap();
    let producer = stage.engine.producer().await.unwrap();

    let values: Vec<String> = (0..100).map(|n| format!("{n:01000}")).collect();
    let all = || values.iter().map(|value| to(&topic, 0, value)).collect();
    for send in 0..2 {
        let positions = producer.send(all()).await.unwrap();
        let positions: Vec<_> = positions.iter().map(|p| p.offset).collect();
        assert_eq!(positions, (send * 100..send * 100 + 100).collect::<Vec<_>>());
    }
    let refused = producer.send(vec![to(&topic, 0, &"x".repeat(20_000))]).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    assert_eq!(texts(&stage.read_all(&topic, 0, 100).await), values);
}

pub async fn a_fresh_producer_keeps_the_order_where_large_batches_are_refused(stage: Stage) {
    let topic = stage.name("t");
    let new = |bytes: &str| NewTopic {
        name: topic.clone(),
        partitions: Some(2),
        configs: vec![("max.message.bytes".to_owned(), bytes.to_owned())],
    };
    let values: Vec<String> = (0..14).map(|n| format!("{n:050000}").repeat(2)).collect();
    let all = |partition| values.iter().map(|value| to(&topic, partition, value)).collect();
    stage.engine.create_topic(new("600000")).await.unwrap();
    stage.engine.producer().await.unwrap().send(all(0)).await.unwrap();
    assert_eq!(texts(&stage.read_all(&topic, 0, 0).await), values);

    // The producer's knowledge of the topic may be old.
    stage.engine.delete_topic(&topic).await.unwrap();
    stage.engine.create_topic(new("1048588")).await.unwrap();
    let producer = stage.engine.producer().await.unwrap();
    producer.send(vec![to(&topic, 0, "small")]).await.unwrap();
    stage.engine.delete_topic(&topic).await.unwrap();
    stage.engine.create_topic(new("600000")).await.unwrap();
    producer.send(all(1)).await.unwrap();
    assert_eq!(texts(&stage.read_all(&topic, 1, 0).await), values);
}

pub async fn concurrent_senders_keep_their_own_order(stage: Stage) {
    const SENDERS: usize = 8;
    const SENDS: usize = 50;
    let topic = stage.topic("t", 2).await;
    let shared = stage.engine.producer().await.unwrap();
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        // Half of them share one producer, the others have their own.
        let own = stage.engine.producer().await.unwrap();
        let producer = if sender % 2 == 0 { shared.clone() } else { own };
        let topic = topic.clone();
        senders.spawn(async move {
            for n in 0..SENDS {
                let both = [0, 1].map(|partition| to(&topic, partition, &format!("{sender} {n}")));
                producer.send(both.to_vec()).await.unwrap();
            }
        });
    }
    senders.join_all().await;
    for partition in 0..2 {
        let mut next = [0; SENDERS];
        let records = stage.read_all(&topic, partition, 0).await;
        for record in &records {
            let (sender, n) = text(record).split_once(' ').unwrap();
            let next = &mut next[sender.parse::<usize>().unwrap()];
            assert_eq!(n.parse::<usize>().unwrap(), *next, "sender {sender}");
            *next += 1;
        }
        assert_eq!(next, [SENDS; SENDERS]);
    }
}

pub async fn dropped_sends_leave_no_gap_and_no_copy(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let producer = stage.engine.producer().await.unwrap();
    for n in 0..100 {
        let mut send = Box::pin(producer.send(vec![to(&topic, 0, &n.to_string())]));
        // Polled a few times, so that some are dropped before and some after they were submitted.
        for _ in 0..n % 10 {
            tokio::select! {
                biased;
                sent = &mut send => { sent.unwrap(); break; }
                () = tokio::task::yield_now() => {}
            }
        }
    }
    producer.send(vec![to(&topic, 0, "1000")]).await.unwrap();
    let records = stage.read_all(&topic, 0, 0).await;
    let seen: Vec<i64> = records.iter().map(|record| text(record).parse().unwrap()).collect();
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    assert_eq!(seen.last(), Some(&1000));
}

pub async fn a_producer_takes_more_than_its_queue_holds(stage: Stage) {
    // More than a client's queue in bytes (64 MiB of a cluster's producer), less than a test's patience.
    const RECORDS: usize = 90;
    let topic = stage.topic("t", 2).await;
    let producer = stage.engine.producer().await.unwrap();
    let value = Bytes::from(vec![b'x'; 900_000]);
    let mut senders = JoinSet::new();
    for n in 0..RECORDS {
        let (producer, topic, value) = (producer.clone(), topic.clone(), value.clone());
        let record = SentRecord { value: Some(value), ..to(&topic, i32::from(n % 2 == 0), "") };
        senders.spawn(async move { producer.send(vec![record]).await.unwrap() });
    }
    assert_eq!(senders.join_all().await.len(), RECORDS);
    let ends = stage.engine.topic(&topic).await.unwrap().partitions;
    assert_eq!(ends.iter().map(|partition| partition.end_offset).sum::<i64>(), 90);
}
