//! Every way in: a topic is made, written and read in a group, and a transaction ends.

use bytes::Bytes;
use tidings_engine::{Engine, NewTopic, Polled, SentRecord, SubscribeOptions, TransactionOptions};
use tokio::task::JoinSet;

use super::super::VARIABLE;
use super::super::broker::{Secured, Way};
use super::write_secrets;
use crate::java::PATIENCE;

#[test]
fn every_way_in_works() {
    let kafka = Secured::start();
    write_secrets(&kafka);
    let ways = [
        (Way::Encrypted, "ca=$/ca.pem".to_owned()),
        (Way::Mutual, "ca=$/ca.pem&cert=$/client.pem&key=$/client.key".to_owned()),
        (
            Way::Mutual,
            "ca=$/ca.pem&cert=$/client.pem&key=$/client.locked&key_password_file=$/key-password"
                .to_owned(),
        ),
        (Way::Passwords, password("plain")),
        (Way::Passwords, password("scram-sha-256")),
        (Way::Passwords, password("SCRAM-SHA-512")),
        (
            Way::Passwords,
            format!("ca=$/ca.pem&sasl=scram-sha-512&user=packaged&password_env={VARIABLE}"),
        ),
        (Way::Unencrypted, "sasl=plain&user=owner&password_file=$/owner".to_owned()),
        (Way::Tokens, "ca=$/ca.pem&sasl=oauthbearer&password_file=$/token".to_owned()),
    ];
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut all = JoinSet::new();
        for (number, (way, parameters)) in ways.into_iter().enumerate() {
            let url = kafka.url(way, &format!("{parameters}&connect_timeout=60s"));
            all.spawn(async move {
                let engine = Engine::connect(&url).await;
                let engine = engine.unwrap_or_else(|error| panic!("{parameters}: {error}"));
                works(engine, &format!("way-{number}")).await;
            });
        }
        while let Some(ended) = all.join_next().await {
            ended.expect("it works");
        }
    });
}

fn password(mechanism: &str) -> String {
    format!("ca=$/ca.pem&sasl={mechanism}&user=owner&password_file=$/owner")
}

/// What one who is let in can do.
async fn works(engine: Engine, topic: &str) {
    let new = NewTopic { name: topic.to_owned(), partitions: Some(1), configs: Vec::new() };
    engine.create_topic(new).await.expect("a topic is made");
    let producer = engine.producer().await.expect("a producer");
    producer.send(vec![record(topic, "plain")]).await.expect("a record is acknowledged");
    let topics = [topic.to_owned()];
    let options = SubscribeOptions::default();
    let mut member = engine.subscribe(topic, &topics, options).await.expect("a member");
    let transactions = engine.transactional_producer(topic, TransactionOptions::default()).await;
    let transactions = transactions.expect("a transactional producer");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let polled = member.poll(10, PATIENCE).await.expect("the group goes on");
        let Polled::Records(records) = polled else { continue };
        if seen.is_empty() && !records.is_empty() {
            let mut transaction = transactions.begin().await.expect("begun");
            transaction.append(vec![record(topic, "committed")]).await.expect("appended");
            transaction.commit().await.expect("committed");
        }
        seen.extend(records.into_iter().filter_map(|record| record.value));
    }
    assert_eq!(seen, ["plain", "committed"], "{topic}");
    member.close().await.expect("it leaves");
    engine.close().await.expect("closed");
}

fn record(topic: &str, value: &str) -> SentRecord {
    SentRecord {
        topic: topic.to_owned(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..SentRecord::default()
    }
}
