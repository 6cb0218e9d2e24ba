//! Topics: make, describe, configure, delete.

use tidings_engine::{Error, NewTopic, Offset};

use crate::stage::{AT_ONCE, Stage, at, texts, to};

fn topic(name: String, partitions: Option<i32>) -> NewTopic {
    NewTopic { name, partitions, configs: Vec::new() }
}

pub async fn created_topics_are_described(stage: Stage) {
    let (b, a) = (stage.topic("b", 3).await, stage.topic("a", 1).await);
    let described = stage.engine.topic(&b).await.unwrap();
    assert_eq!((described.name.as_str(), described.internal), (b.as_str(), false));
    let partitions = described.partitions.iter();
    let partitions: Vec<_> = partitions.map(|p| (p.id, p.start_offset, p.end_offset)).collect();
    assert_eq!(partitions, [(0, 0, 0), (1, 0, 0), (2, 0, 0)]);

    stage.engine.create_topic(topic(stage.name("c"), None)).await.unwrap();
    assert!(!stage.engine.topic(&stage.name("c")).await.unwrap().partitions.is_empty());

    let topics = stage.engine.topics().await.unwrap();
    let ours: Vec<_> =
        topics.into_iter().map(|t| t.name).filter(|n| n.starts_with("created")).collect();
    assert_eq!(ours, [a, b, stage.name("c")]);
}

/// Whichever broker is asked, and whichever leads; also for whoever was told that it is there.
pub async fn a_topic_that_was_just_made_is_there(stage: Stage) {
    const TOPICS: usize = 12;
    let make = |number: usize| {
        let (engine, name) = (stage.engine.clone(), stage.name(&number.to_string()));
        tokio::spawn(async move {
            let made = match engine.create_topic(topic(name.clone(), Some(3))).await {
                Ok(()) => 1,
                Err(Error::TopicExists(_)) => 0,
                Err(error) => panic!("{name}: {error}"),
            };
            for partition in 0..3 {
                let end = engine.offset(&name, partition, Offset::Latest).await;
                assert_eq!(end, Ok(0), "{name}-{partition}");
            }
            let read = engine.read(&name, 2, 0, AT_ONCE).await.unwrap();
            assert_eq!(read.records, []);
            assert_eq!(engine.topic(&name).await.unwrap().partitions.len(), 3);
            engine.topic_configs(&name).await.unwrap();
            made
        })
    };
    let making: Vec<_> = (0..2 * TOPICS).map(|number| make(number / 2)).collect();
    let mut made = 0;
    for one in making {
        made += one.await.unwrap();
    }
    assert_eq!(made, TOPICS, "each is made once");
}

pub async fn a_topic_exists_once(stage: Stage) {
    let name = stage.topic("t", 2).await;
    let again = stage.engine.create_topic(topic(name.clone(), Some(2))).await;
    assert_eq!(again, Err(Error::TopicExists(name)));
}

pub async fn a_topic_is_checked_before_it_is_made(stage: Stage) {
    let wanted = || topic(stage.name("t"), Some(2));
    stage.engine.check_topic(wanted()).await.unwrap();
    let unknown = Error::UnknownTopic(stage.name("t"));
    assert_eq!(stage.engine.topic(&stage.name("t")).await.unwrap_err(), unknown, "only checked");
    assert_eq!(stage.engine.can_append(&stage.name("t")).await, Err(unknown));

    stage.engine.create_topic(wanted()).await.unwrap();
    let there = stage.engine.check_topic(wanted()).await;
    assert_eq!(there, Err(Error::TopicExists(stage.name("t"))));
    stage.engine.can_append(&stage.name("t")).await.unwrap();
    let refused = stage.engine.check_topic(topic("a b".to_owned(), Some(1))).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
}

pub async fn impossible_topics_are_refused(stage: Stage) {
    let names = ["", ".", "..", "a b", "a/b", "ü", &"x".repeat(250)];
    for name in names {
        let refused = stage.engine.create_topic(topic(name.to_owned(), Some(1))).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{name:?}: {refused:?}");
    }
    for partitions in [0, -5, 1_000_000] {
        let name = stage.name("t");
        let refused = stage.engine.create_topic(topic(name, Some(partitions))).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{partitions}: {refused:?}");
    }
    for (config, value) in [("no.such.config", "1"), ("max.message.bytes", "many")] {
        let configs = vec![(config.to_owned(), value.to_owned())];
        let wanted = NewTopic { name: stage.name("t"), partitions: None, configs };
        let refused = stage.engine.create_topic(wanted).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{config}: {refused:?}");
    }
    let unknown = Error::UnknownTopic(stage.name("t"));
    assert_eq!(stage.engine.topic(&stage.name("t")).await.unwrap_err(), unknown);
}

pub async fn deleted_topics_are_gone_with_their_records(stage: Stage) {
    let name = stage.topic("t", 1).await;
    stage.fill(&name, 0, &["a", "b"]).await;
    stage.engine.delete_topic(&name).await.unwrap();
    assert_eq!(stage.engine.topic(&name).await.unwrap_err(), Error::UnknownTopic(name.clone()));

    stage.topic("t", 1).await;
    assert_eq!(stage.read_all(&name, 0, 0).await, []);
    stage.fill(&name, 0, &["c"]).await;
    assert_eq!(texts(&stage.read_all(&name, 0, 0).await), ["c"]);
}

pub async fn configurations_are_kept(stage: Stage) {
    let name = stage.name("t");
    let configs = vec![("max.message.bytes".to_owned(), "12345".to_owned())];
    stage
        .engine
        .create_topic(NewTopic { name: name.clone(), partitions: Some(1), configs })
        .await
        .unwrap();
    let configs = stage.engine.topic_configs(&name).await.unwrap();
    let value = |wanted: &str| {
        let config = configs.iter().find(|config| config.name == wanted);
        config.map(|config| (config.value.as_deref(), config.is_default))
    };
    assert_eq!(value("max.message.bytes"), Some((Some("12345"), false)));
    assert_eq!(value("cleanup.policy"), Some((Some("delete"), true)));
}

pub async fn an_engine_shows_its_brokers_and_where_partitions_are(stage: Stage) {
    let name = stage.topic("t", 3).await;
    let cluster = stage.engine.cluster().await.unwrap();
    assert_eq!(stage.engine.cluster().await.unwrap().id, cluster.id);
    assert!(!cluster.id.is_empty());
    let ids: Vec<i32> = cluster.brokers.iter().map(|broker| broker.id).collect();
    let placed = cluster.placements.iter().filter(|placement| placement.topic == name);
    let placed: Vec<_> = placed.collect();
    assert_eq!(placed.iter().map(|placement| placement.partition).collect::<Vec<_>>(), [0, 1, 2]);
    for placement in placed {
        let leader = placement.leader.unwrap();
        assert!(placement.replicas.contains(&leader), "{placement:?}");
        assert!(placement.in_sync.contains(&leader), "{placement:?}");
        assert!(placement.replicas.iter().all(|id| ids.contains(id)), "{placement:?} {ids:?}");
    }
    for id in ids {
        let configs = stage.engine.broker_configs(id).await.unwrap();
        let own = configs.iter().find(|config| config.name == "offsets.retention.minutes");
        assert!(own.is_some_and(|config| config.value.is_some()), "{own:?}");
    }
}

pub async fn unknown_topics_are_refused_everywhere(stage: Stage) {
    let engine = &stage.engine;
    let name = stage.name("missing");
    let unknown = Error::UnknownTopic(name.clone());
    assert_eq!(engine.topic(&name).await.unwrap_err(), unknown);
    assert_eq!(engine.delete_topic(&name).await.unwrap_err(), unknown);
    assert_eq!(engine.topic_configs(&name).await.unwrap_err(), unknown);
    let producer = engine.producer().await.unwrap();
    assert_eq!(producer.send(vec![to(&name, 0, "x")]).await.unwrap_err(), unknown);

    let partition = Error::UnknownTopic(format!("{name}-0"));
    assert_eq!(engine.read(&name, 0, 0, AT_ONCE).await.unwrap_err(), partition);
    assert_eq!(engine.offset(&name, 0, Offset::Latest).await.unwrap_err(), partition);

    let short = stage.topic("short", 2).await;
    for partition in [-1, 2] {
        let unknown = Error::UnknownTopic(format!("{short}-{partition}"));
        let sent = producer.send(vec![to(&short, partition, "x")]).await;
        assert_eq!(sent.unwrap_err(), unknown);
        assert_eq!(engine.read(&short, partition, 0, AT_ONCE).await.unwrap_err(), unknown);
        let offset = engine.offset(&short, partition, Offset::Earliest).await;
        assert_eq!(offset.unwrap_err(), unknown);
    }
    // A refused send leaves the producer as good as new.
    assert_eq!(producer.send(vec![to(&short, 1, "x")]).await.unwrap()[0].offset, 0);
}

pub async fn configurations_change_one_by_one(stage: Stage) {
    let name = stage.topic("t", 1).await;
    let value = async |wanted: &str| {
        let configs = stage.engine.topic_configs(&name).await.unwrap();
        configs.into_iter().find(|config| config.name == wanted).and_then(|config| config.value)
    };
    // The brokers of a cluster see a change a moment later.
    let becomes = async |config: &str, expected: Option<&str>| {
        while value(config).await.as_deref() != expected {
            tokio::task::yield_now().await;
        }
    };
    let default = value("max.message.bytes").await;
    let change = async |config: &str, value: Option<&str>| {
        let changes = [(config.to_owned(), value.map(str::to_owned))];
        stage.engine.configure_topic(&name, &changes).await
    };
    change("max.message.bytes", Some("12345")).await.unwrap();
    becomes("max.message.bytes", Some("12345")).await;
    change("retention.ms", Some("60000")).await.unwrap();
    becomes("retention.ms", Some("60000")).await;
    assert_eq!(value("max.message.bytes").await.as_deref(), Some("12345"), "the other stays");
    change("max.message.bytes", None).await.unwrap();
    becomes("max.message.bytes", default.as_deref()).await;
    assert_eq!(value("retention.ms").await.as_deref(), Some("60000"), "the other stays");
    for (config, value) in [("no.such.config", "1"), ("retention.ms", "soon")] {
        let refused = change(config, Some(value)).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{config}: {refused:?}");
    }
    let missing = stage.name("missing");
    let changes = [("retention.ms".to_owned(), Some("1".to_owned()))];
    let refused = stage.engine.configure_topic(&missing, &changes).await.unwrap_err();
    assert_eq!(refused, Error::UnknownTopic(missing));
}

pub async fn topics_grow(stage: Stage) {
    let name = stage.topic("t", 1).await;
    stage.fill(&name, 0, &["a"]).await;
    let mut member = stage.member(&stage.name("g"), &[&name]).await;
    member.received(1).await;
    member.commit(&at(&name, 0), 1, None).await;
    stage.engine.grow_topic(&name, 3).await.unwrap();
    while stage.engine.topic(&name).await.unwrap().partitions.len() != 3 {
        tokio::task::yield_now().await;
    }
    stage.fill(&name, 2, &["b"]).await;
    member.assigned(3).await;
    member.received(2).await;
    member.close().await;
    for partitions in [-1, 0, 2, 3] {
        let refused = stage.engine.grow_topic(&name, partitions).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{partitions}: {refused:?}");
    }
    let missing = stage.name("missing");
    let refused = stage.engine.grow_topic(&missing, 2).await.unwrap_err();
    assert_eq!(refused, Error::UnknownTopic(missing));
}
