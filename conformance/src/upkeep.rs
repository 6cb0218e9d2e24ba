//! What goes by itself: old records, and older ones of a key.

use std::time::Duration;

use bytes::Bytes;
use tidings_engine::{Error, NewTopic, Offset, SentRecord};

use crate::stage::{AT_ONCE, Stage, text, to};

fn topic(name: &str, configs: &[(&str, &str)]) -> NewTopic {
    let configs = configs.iter().map(|(config, value)| (config.to_string(), value.to_string()));
    NewTopic { name: name.to_owned(), partitions: Some(1), configs: configs.collect() }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

pub async fn retention_moves_the_beginning(stage: Stage) {
    let name = stage.name("t");
    let configs = [("segment.bytes", "1048576"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
    stage.engine.create_topic(topic(&name, &configs)).await.unwrap();
    let large = "x".repeat(400_000);
    for n in 0..8 {
        stage.fill(&name, 0, &[&format!("{n} {large}")]).await;
    }
    let changes = [("retention.bytes".to_owned(), Some("1000000".to_owned()))];
    stage.engine.configure_topic(&name, &changes).await.unwrap();
    let first = loop {
        let first = stage.engine.offset(&name, 0, Offset::Earliest).await.unwrap();
        if first > 0 {
            break first;
        }
        pause().await;
    };
    let refused = stage.engine.read(&name, 0, 0, AT_ONCE).await.unwrap_err();
    let Error::OffsetOutOfRange { wanted: 0, first: told, next: 8 } = refused else {
        panic!("{refused:?}")
    };
    assert!(told >= first);
    let records = stage.read_all(&name, 0, told).await;
    assert_eq!(records.first().map(|record| record.offset), Some(told));
    assert_eq!(records.last().map(|record| record.offset), Some(7));

    // A group that had got less far goes on from what is left.
    let mut member = stage.member(&stage.name("g"), &[&name]).await;
    member.received(records.len()).await;
    member.close().await;
}

pub async fn compaction_keeps_the_last_of_each_key_and_every_offset(stage: Stage) {
    let name = stage.name("t");
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "86400000"),
    ];
    stage.engine.create_topic(topic(&name, &configs)).await.unwrap();
    let keyed = |key: &str, value: Option<String>| SentRecord {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(Bytes::from),
        ..to(&name, 0, "")
    };
    let large = "x".repeat(300_000);
    for n in 0..12 {
        let key = ["a", "b", "c"][n % 3];
        stage.send(vec![keyed(key, Some(format!("{n} {large}")))]).await;
    }
    stage.send(vec![keyed("b", None)]).await;
    // Neither the newest segment is compacted, nor does an engine forget at once what it has in memory.
    for _ in 0..40 {
        stage.send(vec![keyed("d", Some(large.clone()))]).await;
    }
    let end = 53;
    let left = loop {
        let records = stage.read_all(&name, 0, 0).await;
        if !records.iter().any(|record| record.offset < 9) {
            break records;
        }
        pause().await;
    };
    let of = |key: &str| {
        let of_key = left.iter().filter(|record| record.key.as_deref() == Some(key.as_bytes()));
        of_key.last().expect("a last one").clone()
    };
    assert_eq!((of("a").offset, of("c").offset), (9, 11));
    assert!(text(&of("a")).starts_with("9 "));
    assert_eq!((of("b").offset, of("b").value), (12, None), "a tombstone");
    // A read that begins where a record was goes on with the next that there is.
    let read = stage.engine.read(&name, 0, 2, AT_ONCE).await.unwrap();
    assert_eq!(read.records.first().map(|record| record.offset), Some(9));
    assert_eq!(read.high_watermark, end);
    assert_eq!(stage.engine.offset(&name, 0, Offset::Latest).await.unwrap(), end);
    // However often what has no records any more is passed.
    for _ in 0..20 {
        let again = stage.read_all(&name, 0, 0).await;
        let first: Vec<i64> = again.iter().map(|record| record.offset).take(3).collect();
        assert_eq!(first, [9, 11, 12]);
    }
}
