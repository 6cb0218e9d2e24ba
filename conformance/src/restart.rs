//! What an engine with a directory keeps.

use tidings_engine::{Engine, Error, NewTopic};

use crate::stage::{AT_ONCE, Stage, at, texts, to};

async fn write(stage: &Stage) {
    let name = stage.name("t");
    let configs = vec![("max.message.bytes".to_owned(), "12345".to_owned())];
    let topic = NewTopic { name: name.clone(), partitions: Some(2), configs };
    stage.engine.create_topic(topic).await.unwrap();
    stage.fill(&name, 0, &["a", "b", "c"]).await;
    stage.fill(&name, 1, &["d"]).await;
    let mut member = stage.member(&stage.name("g"), &[&name]).await;
    member.received(4).await;
    member.commit(&at(&name, 0), 2, Some("two")).await;
    member.close().await;
}

async fn check(stage: &Stage) {
    let name = stage.name("t");
    let topic = stage.engine.topic(&name).await.unwrap();
    let ends: Vec<_> = topic.partitions.iter().map(|p| (p.start_offset, p.end_offset)).collect();
    assert_eq!(ends, [(0, 3), (0, 1)]);
    let configs = stage.engine.topic_configs(&name).await.unwrap();
    let kept = configs.iter().find(|config| config.name == "max.message.bytes");
    assert_eq!(kept.and_then(|config| config.value.as_deref()), Some("12345"));
    assert_eq!(texts(&stage.read_all(&name, 0, 0).await), ["a", "b", "c"]);

    let mut member = stage.member(&stage.name("g"), &[&name]).await;
    member.assigned(2).await;
    let positions = [(at(&name, 0), 2, Some("two".to_owned())), (at(&name, 1), 0, None)];
    assert_eq!(member.assigned, positions);
    member.received(2).await;
    member.close().await;

    stage.fill(&name, 0, &["e"]).await;
    assert_eq!(texts(&stage.read_all(&name, 0, 0).await), ["a", "b", "c", "e"]);
}

pub async fn everything_survives_a_clean_stop(stage: Stage) {
    write(&stage).await;
    let stage = stage.restarted(async |engine| engine.close().await.unwrap()).await;
    check(&stage).await;
}

pub async fn everything_acknowledged_survives_an_unclean_one(stage: Stage) {
    write(&stage).await;
    // The last handle goes, and with it the threads and the lock; nothing is closed.
    let stage = stage.restarted(async |engine| drop(engine)).await;
    check(&stage).await;
}

pub async fn a_directory_has_one_owner(stage: Stage) {
    let taken = Engine::open(stage.dir()).await.unwrap_err();
    let holder = format!("{} is in use by process {}", stage.dir().display(), std::process::id());
    assert_eq!(taken, Error::Storage(holder));
    stage.engine.close().await.unwrap();
    Engine::open(stage.dir()).await.unwrap();
}

pub async fn a_stopped_engine_says_so(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let producer = stage.engine.producer().await.unwrap();
    let mut member = stage.member(&stage.name("g"), &[&topic]).await;
    member.assigned(1).await;
    stage.engine.close().await.unwrap();
    stage.engine.close().await.unwrap();

    let stopped = Error::Unavailable("the node has stopped".to_owned());
    assert_eq!(stage.engine.topics().await.unwrap_err(), stopped);
    assert_eq!(producer.send(vec![to(&topic, 0, "x")]).await.unwrap_err(), stopped);
    assert_eq!(stage.engine.read(&topic, 0, 0, AT_ONCE).await.unwrap_err(), stopped);
    let poll = member.subscription.poll(1, std::time::Duration::from_secs(30)).await;
    assert_eq!(poll.unwrap_err(), stopped);
}
