//! Administration: create, describe, delete.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;
use tidings_compat::{Server, eventually};

use super::{Item, PATIENCE, config, producer, send_all};

fn admin(server: &Server) -> AdminClient<DefaultClientContext> {
    config(server).create().expect("an admin client")
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn partitions(server: &Server, topic: &str) -> Option<usize> {
    let consumer: BaseConsumer =
        config(server).set("group.id", "looker").create().expect("a consumer");
    let metadata = consumer.fetch_metadata(None, PATIENCE).expect("metadata");
    let found = metadata.topics().iter().find(|found| found.name() == topic)?;
    Some(found.partitions().len())
}

#[tokio::test]
async fn topics_are_created_described_and_deleted() {
    let server = Server::start().expect("the server starts");
    let admin = admin(&server);
    let topic =
        || NewTopic::new("made", 6, TopicReplication::Fixed(1)).set("max.message.bytes", "2000000");
    let created = admin.create_topics([&topic()], &options()).await.expect("an answer");
    assert_eq!(created, [Ok("made".to_owned())]);
    assert_eq!(partitions(&server, "made"), Some(6));

    let again = admin.create_topics([&topic()], &options()).await.expect("an answer");
    assert_eq!(again, [Err(("made".to_owned(), RDKafkaErrorCode::TopicAlreadyExists))]);

    let asked = [ResourceSpecifier::Topic("made")];
    let described = admin.describe_configs(&asked, &options()).await.expect("an answer");
    let resource = described.into_iter().next().expect("one answer").expect("described");
    let set = resource.get("max.message.bytes").expect("the entry");
    assert_eq!((set.value.as_deref(), set.is_default), (Some("2000000"), false));

    let deleted = admin.delete_topics(&["made"], &options()).await.expect("an answer");
    assert_eq!(deleted, [Ok("made".to_owned())]);
    assert!(
        eventually(PATIENCE, || partitions(&server, "made").is_none().then_some(())).is_some(),
        "the topic is still there"
    );
    let deleted = admin.delete_topics(&["made"], &options()).await.expect("an answer");
    assert_eq!(deleted, [Err(("made".to_owned(), RDKafkaErrorCode::UnknownTopicOrPartition))]);
}

#[tokio::test]
async fn wrong_topics_are_refused_with_their_errors() {
    let server = Server::start().expect("the server starts");
    let admin = admin(&server);
    let table = [
        (
            NewTopic::new("no/slashes", 1, TopicReplication::Fixed(1)),
            RDKafkaErrorCode::InvalidTopic,
        ),
        (
            NewTopic::new("copies", 1, TopicReplication::Fixed(3)),
            RDKafkaErrorCode::InvalidReplicationFactor,
        ),
        (
            NewTopic::new("set", 1, TopicReplication::Fixed(1)).set("no.such.setting", "1"),
            RDKafkaErrorCode::InvalidConfig,
        ),
    ];
    for (topic, expected) in table {
        let answer = admin.create_topics([&topic], &options()).await.expect("an answer");
        assert_eq!(answer, [Err((topic.name.to_owned(), expected))]);
        assert_eq!(partitions(&server, topic.name), None, "{}", topic.name);
    }
}

#[test]
fn groups_are_listed_with_their_members() {
    let server = Server::start().expect("the server starts");
    send_all(&producer(&server, &[]), "read", &[Item::new("k", "v")]);
    let mut config = config(&server);
    config.set("group.id", "readers").set("client.id", "reader-1");
    config.set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&["read"]).expect("subscribed");
    let read = eventually(PATIENCE, || consumer.poll(super::POLL).transpose().expect("a record"));
    assert!(read.is_some(), "the group reads");

    let groups = consumer.fetch_group_list(None, PATIENCE).expect("groups");
    let described: Vec<(String, String, Vec<String>)> = groups
        .groups()
        .iter()
        .map(|group| {
            let members = group.members().iter().map(|m| m.client_id().to_owned()).collect();
            (group.name().to_owned(), group.state().to_owned(), members)
        })
        .collect();
    assert_eq!(
        described,
        [("readers".to_owned(), "Stable".to_owned(), vec!["reader-1".to_owned()])]
    );
}
