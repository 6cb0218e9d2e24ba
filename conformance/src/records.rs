//! Reading without a group.

use std::time::Duration;

use bytes::Bytes;
use tidings_engine::{Error, Header, Offset, ReadLimit, SentRecord};

use crate::stage::{AT_ONCE, PATIENT, Stage, offsets, text, texts, to};

pub async fn records_come_back_as_they_were_sent(stage: Stage) {
    let topic = stage.kept_topic("t", 1).await;
    let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let header = |name: &str, value| Header { name: name.to_owned().into(), value };
    let sent = [
        (None, None, vec![]),
        (bytes(""), bytes(""), vec![]),
        (bytes("key"), None, vec![header("h", bytes("v"))]),
        (None, bytes("value"), vec![header("h", None), header("h", bytes("")), header("", None)]),
    ];
    let record = |(n, (key, value, headers)): (i64, &(_, _, Vec<Header>))| SentRecord {
        topic: topic.clone(),
        partition: Some(0),
        key: Option::clone(key),
        value: Option::clone(value),
        headers: headers.clone(),
        timestamp: Some(1_000 + n),
    };
    let positions = stage.send((0..).zip(&sent).map(record).collect()).await;
    assert_eq!(positions.iter().map(|p| p.offset).collect::<Vec<_>>(), [0, 1, 2, 3]);

    let records = stage.read_all(&topic, 0, 0).await;
    let seen: Vec<_> =
        records.iter().map(|r| (r.key.clone(), r.value.clone(), r.headers.clone())).collect();
    assert_eq!(seen, sent);
    for (n, record) in (0..).zip(&records) {
        assert_eq!((&*record.topic, record.partition), (topic.as_str(), 0));
        assert_eq!((record.offset, record.timestamp), (n, 1_000 + n));
    }
}

pub async fn reads_begin_where_they_are_told(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    // Two batches, so that reads begin inside and between them.
    stage.fill(&topic, 0, &["0", "1", "2"]).await;
    stage.fill(&topic, 0, &["3", "4"]).await;
    let limit = |records, bytes| ReadLimit { records, bytes, wait: Duration::ZERO };
    for (from, limit, expected, next) in [
        (0, AT_ONCE, [0, 1, 2, 3, 4].as_slice(), 5),
        (1, AT_ONCE, &[1, 2, 3, 4], 5),
        (4, AT_ONCE, &[4], 5),
        (5, AT_ONCE, &[], 5),
        (0, limit(2, 1 << 20), &[0, 1], 2),
        (2, limit(2, 1 << 20), &[2, 3], 4),
        (1, limit(0, 1 << 20), &[], 1),
    ] {
        let read = stage.engine.read(&topic, 0, from, limit).await.unwrap();
        assert_eq!((offsets(&read).as_slice(), read.next), (expected, next), "{from} {limit:?}");
        assert_eq!(read.high_watermark, 5);
    }
    // However few bytes are asked for, there is progress.
    let read = stage.engine.read(&topic, 0, 0, limit(100, 1)).await.unwrap();
    assert_eq!(read.records.first().map(|r| r.offset), Some(0));
}

pub async fn reads_outside_the_log_are_refused(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    stage.fill(&topic, 0, &["0", "1"]).await;
    for wanted in [3, i64::MAX] {
        let refused = stage.engine.read(&topic, 0, wanted, PATIENT).await.unwrap_err();
        assert_eq!(refused, Error::OffsetOutOfRange { wanted, first: 0, next: 2 });
    }
}

pub async fn a_read_at_the_end_waits_for_the_next_record(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    stage.fill(&topic, 0, &["0"]).await;
    let nothing = stage.engine.read(&topic, 0, 1, AT_ONCE).await.unwrap();
    assert_eq!((nothing.records.len(), nothing.next, nothing.high_watermark), (0, 1, 1));

    let reading = stage.engine.read(&topic, 0, 1, PATIENT);
    let (read, ()) = tokio::join!(reading, stage.fill(&topic, 0, &["1"]));
    let read = read.unwrap();
    assert_eq!((texts(&read.records), read.next), (vec!["1"], 2));
}

pub async fn a_follower_sees_every_record_in_order(stage: Stage) {
    const SENDS: usize = 200;
    let topic = stage.topic("t", 1).await;
    let follow = async {
        let (mut seen, mut next) = (Vec::new(), 0);
        while seen.len() < SENDS {
            let read = stage.engine.read(&topic, 0, next, PATIENT).await.unwrap();
            assert!(!read.records.is_empty(), "woken for nothing");
            seen.extend(read.records.iter().map(|record| text(record).to_owned()));
            next = read.next;
        }
        seen
    };
    let write = async {
        let producer = stage.engine.producer().await.unwrap();
        for n in 0..SENDS {
            producer.send(vec![to(&topic, 0, &n.to_string())]).await.unwrap();
        }
    };
    let (seen, ()) = tokio::join!(follow, write);
    assert_eq!(seen, (0..SENDS).map(|n| n.to_string()).collect::<Vec<_>>());
}

pub async fn times_lead_to_offsets(stage: Stage) {
    let topic = stage.kept_topic("t", 2).await;
    for (n, timestamp) in [1_000, 2_000, 2_000, 3_000].into_iter().enumerate() {
        let record = to(&topic, 0, &n.to_string());
        stage.send(vec![SentRecord { timestamp: Some(timestamp), ..record }]).await;
    }
    for (place, expected) in [
        (Offset::Earliest, 0),
        (Offset::Latest, 4),
        (Offset::At(2), 2),
        (Offset::Timestamp(0), 0),
        (Offset::Timestamp(1_000), 0),
        (Offset::Timestamp(1_001), 1),
        (Offset::Timestamp(2_000), 1),
        (Offset::Timestamp(2_500), 3),
        (Offset::Timestamp(3_001), 4),
    ] {
        assert_eq!(stage.engine.offset(&topic, 0, place).await.unwrap(), expected, "{place:?}");
    }
    for place in [Offset::Earliest, Offset::Latest, Offset::Timestamp(5)] {
        assert_eq!(stage.engine.offset(&topic, 1, place).await.unwrap(), 0, "{place:?} when empty");
    }
}

pub async fn headers_of_any_bytes_come_back(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let every_byte = Bytes::from((0..=u8::MAX).collect::<Vec<_>>());
    let headers = vec![
        Header { name: "ünïcode".into(), value: Some(every_byte.clone()) },
        Header { name: "empty".into(), value: Some(Bytes::new()) },
        Header::text("long", "x".repeat(10_000)),
    ];
    let record = SentRecord {
        key: Some(every_byte.clone()),
        value: Some(every_byte.clone()),
        headers: headers.clone(),
        ..to(&topic, 0, "")
    };
    stage.send(vec![record]).await;
    let records = stage.read_all(&topic, 0, 0).await;
    assert_eq!(records[0].headers, headers);
    assert_eq!(
        (&records[0].key, &records[0].value),
        (&Some(every_byte.clone()), &Some(every_byte))
    );
}

pub async fn reads_go_on_beside_each_other(stage: Stage) {
    const PARTITIONS: i32 = 6;
    let topic = stage.topic("t", PARTITIONS).await;
    let values: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    for partition in 0..PARTITIONS {
        stage.send(values.iter().map(|value| to(&topic, partition, value)).collect()).await;
    }
    let one = ReadLimit { records: 7, ..AT_ONCE };
    // By turns, so that each read begins where another partition's has been.
    let mut next = vec![0; usize::try_from(PARTITIONS).unwrap()];
    let mut seen = vec![Vec::new(); next.len()];
    while next.iter().any(|next| *next < 30) {
        for partition in 0..PARTITIONS {
            let index = usize::try_from(partition).unwrap();
            let read = stage.engine.read(&topic, partition, next[index], one).await.unwrap();
            seen[index].extend(read.records.iter().map(|record| text(record).to_owned()));
            next[index] = read.next;
        }
    }
    assert_eq!(seen, vec![values.clone(); next.len()]);
    let mut reads = tokio::task::JoinSet::new();
    for partition in 0..PARTITIONS {
        let (engine, topic) = (stage.engine.clone(), topic.clone());
        reads.spawn(async move { engine.read(&topic, partition, 0, PATIENT).await.unwrap() });
    }
    for read in reads.join_all().await {
        assert_eq!(texts(&read.records)[0], "0");
    }
}

pub async fn a_wait_is_as_long_as_it_was_told(stage: Stage) {
    const WAIT: Duration = Duration::from_millis(200);
    let topic = stage.topic("t", 1).await;
    stage.fill(&topic, 0, &["a"]).await;
    let begun = std::time::Instant::now();
    let read = stage.engine.read(&topic, 0, 1, ReadLimit { wait: WAIT, ..AT_ONCE }).await.unwrap();
    assert_eq!((read.records.len(), read.next), (0, 1));
    assert!(begun.elapsed() >= WAIT, "{:?}", begun.elapsed());

    let mut member = stage.member(&stage.name("g"), &[&topic]).await;
    member.received(1).await;
    let begun = std::time::Instant::now();
    match member.subscription.poll(1, WAIT).await.unwrap() {
        tidings_engine::Polled::Records(records) => assert_eq!(records, []),
        change => panic!("{change:?}"),
    }
    assert!(begun.elapsed() >= WAIT, "{:?}", begun.elapsed());
    member.close().await;
}

pub async fn large_records_come_back(stage: Stage) {
    let name = stage.name("t");
    let configs = vec![("max.message.bytes".to_owned(), "10000000".to_owned())];
    let new = tidings_engine::NewTopic { name: name.clone(), partitions: Some(1), configs };
    stage.engine.create_topic(new).await.unwrap();
    let sizes = [5_000_000, 10, 3_000_000, 9_900_000, 0];
    let value = |size: usize| Some(Bytes::from(vec![b'x'; size]));
    let sent = sizes.map(|size| SentRecord { value: value(size), ..to(&name, 0, "") });
    stage.send(sent.to_vec()).await;
    let records = stage.read_all(&name, 0, 0).await;
    let seen: Vec<_> = records.iter().map(|r| r.value.as_ref().map_or(0, Bytes::len)).collect();
    assert_eq!(seen, sizes);
    let mut member = stage.member(&stage.name("g"), &[&name]).await;
    member.received(sizes.len()).await;
    member.close().await;
}
