//! What a user may not do is refused with the permission that it takes; what a topic cannot do, with what to
//! change.

use bytes::Bytes;
use tidings_compat::{Finished, run};
use tidings_engine::{
    Engine, Error, Isolation, NewTopic, Operation, Permission, ReadLimit, Resource, SentRecord,
    SubscribeOptions, TransactionOptions,
};

use super::broker::{Secured, Way};
use crate::java::{PATIENCE, java};

#[test]
fn a_missing_permission_is_named() {
    let kafka = Secured::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let owner = engine(&kafka, "owner").await;
        for name in ["hidden", "seen", "readable"] {
            owner.create_topic(topic(name)).await.expect("the owner may");
            owner.producer().await.unwrap().send(vec![record(name)]).await.expect("acknowledged");
        }
        allow(&kafka, &["--operation", "Describe", "--topic", "seen"]);
        allow(&kafka, &["--operation", "Read", "--topic", "readable"]);
        allow(&kafka, &["--operation", "Read", "--group", "joined"]);
        let guest = engine(&kafka, "guest").await;
        topics_are_told(&guest).await;
        records_are_told(&guest).await;
        groups_are_told(&guest).await;
        let opened = guest.transactional_producer("tx", TransactionOptions::default()).await;
        let id = Resource::TransactionalId("tx".into());
        assert_denied(&opened.expect_err("a guest may not"), Operation::Write, id);
    });
}

async fn topics_are_told(guest: &Engine) {
    let of = |name: &str| Resource::Topic(name.to_owned());
    let refused = guest.create_topic(topic("new")).await.expect_err("a guest may not");
    assert_denied(&refused, Operation::Create, of("new"));
    let refused = guest.topic("hidden").await.expect_err("a guest may not");
    assert_denied(&refused, Operation::Describe, of("hidden"));
    let refused = guest.delete_topic("seen").await.expect_err("a guest may not");
    assert_denied(&refused, Operation::Delete, of("seen"));
    let refused = guest.grow_topic("seen", 2).await.expect_err("a guest may not");
    assert_denied(&refused, Operation::Alter, of("seen"));
    let changes = [("retention.ms".to_owned(), Some("1000".to_owned()))];
    let refused = guest.configure_topic("seen", &changes).await.expect_err("a guest may not");
    assert_denied(&refused, Operation::AlterConfigs, of("seen"));
    let refused = guest.topic_configs("seen").await.expect_err("a guest may not");
    assert_denied(&refused, Operation::DescribeConfigs, of("seen"));
}

async fn records_are_told(guest: &Engine) {
    for name in ["hidden", "seen"] {
        let producer = guest.producer().await.expect("a producer");
        let refused = producer.send(vec![record(name)]).await.expect_err("a guest may not");
        assert_denied(&refused, Operation::Write, Resource::Topic(name.to_owned()));
    }
    let limit = ReadLimit { records: 1, bytes: 1 << 20, wait: PATIENCE };
    let read = guest.read_isolated("readable", 0, 0, limit, Isolation::All).await;
    assert_eq!(read.expect("a guest may").records.len(), 1);
    let read = guest.read_isolated("seen", 0, 0, limit, Isolation::All).await;
    let seen = Resource::Topic("seen".into());
    assert_denied(&read.expect_err("a guest may not"), Operation::Read, seen);
}

async fn groups_are_told(guest: &Engine) {
    let refused = joins(guest, "strange", "readable").await;
    assert_denied(&refused, Operation::Read, Resource::Group("strange".into()));
    let refused = joins(guest, "joined", "seen").await;
    assert_denied(&refused, Operation::Read, Resource::Topic("seen".into()));
    let refused = guest.group("strange").await.expect_err("a guest may not");
    assert_denied(&refused, Operation::Describe, Resource::Group("strange".into()));
    let refused = guest.delete_group("joined").await.expect_err("a guest may not");
    assert_denied(&refused, Operation::Delete, Resource::Group("joined".into()));
}

/// Until it is refused.
async fn joins(guest: &Engine, group: &str, topic: &str) -> Error {
    let topics = [topic.to_owned()];
    let options = SubscribeOptions::default();
    let mut member = match guest.subscribe(group, &topics, options).await {
        Ok(member) => member,
        Err(refused) => return refused,
    };
    let polls = async {
        loop {
            if let Err(refused) = member.poll(1, PATIENCE).await {
                return refused;
            }
        }
    };
    tokio::time::timeout(PATIENCE, polls).await.expect("it is refused")
}

#[test]
fn too_few_replicas_are_told_before_the_first_record() {
    let kafka = Secured::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = kafka.url(Way::Open, "replication=3&connect_timeout=60s");
        let three = Engine::connect(&url).await.expect("it is open");
        let refused = three.create_topic(topic("t")).await.expect_err("there is one broker");
        let told = refused.to_string();
        assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
        assert!(
            told.starts_with("t: ") && told.contains("say another number with replication="),
            "{told}"
        );

        let owner = engine(&kafka, "owner").await;
        let configs = vec![("min.insync.replicas".to_owned(), "2".to_owned())];
        owner.create_topic(NewTopic { configs, ..topic("t") }).await.expect("Kafka takes it");
        let producer = owner.producer().await.expect("a producer");
        let refused = producer.send(vec![record("t")]).await.expect_err("it can never be");
        let told = refused.to_string();
        assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
        assert!(told.starts_with("t-0 has 1 of the 2 replicas"), "{told}");
    });
}

async fn engine(kafka: &Secured, user: &str) -> Engine {
    Engine::connect(&kafka.url_of(user)).await.expect("the password")
}

/// Gives the guest a permission, with Kafka's own tool.
fn allow(kafka: &Secured, what: &[&str]) {
    let mut command = java("org.apache.kafka.tools.AclCommand");
    command.args(["--bootstrap-server", kafka.plan().address(Way::Open), "--add"]);
    command.args(["--allow-principal", "User:guest"]).args(what);
    run(&mut command, "", PATIENCE).and_then(Finished::success).expect("the ACL is made");
}

fn assert_denied(refused: &Error, operation: Operation, resource: Resource) {
    assert_eq!(*refused, Error::Denied(Permission { operation, resource }));
}

fn topic(name: &str) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions: Some(1), configs: Vec::new() }
}

fn record(topic: &str) -> SentRecord {
    SentRecord {
        topic: topic.to_owned(),
        value: Some(Bytes::from_static(b"value")),
        ..SentRecord::default()
    }
}
