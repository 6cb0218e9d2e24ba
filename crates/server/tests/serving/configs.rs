//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources over the socket.

use tidings_wire::{
    alter_configs, create_topics, describe_configs, incremental_alter_configs, init_producer_id,
    list_config_resources,
};

use crate::client::{Client, Served};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

async fn described(
    client: &mut Client,
    version: i16,
    kind: i8,
    name: &str,
) -> describe_configs::ResourceResponse {
    let resource = describe_configs::Resource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: None,
    };
    let request = describe_configs::Request {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: version >= 3,
    };
    client.call(version, &request).await.results.remove(0)
}

fn find<'a>(
    described: &'a describe_configs::ResourceResponse,
    name: &str,
) -> &'a describe_configs::Config {
    described.configs.iter().find(|config| config.name == name).expect(name)
}

/// Value, source and synonyms as `name=value@source`.
fn shown(config: &describe_configs::Config) -> (Option<&str>, i8, Vec<String>) {
    let synonyms = config.synonyms.iter().map(|synonym| {
        let value = synonym.value.as_deref().unwrap_or("null");
        format!("{}={value}@{}", synonym.name, synonym.source)
    });
    (config.value.as_deref(), config.config_source, synonyms.collect())
}

/// Operation, name, value.
type Change<'a> = (i8, &'a str, Option<&'a str>);

async fn change(
    client: &mut Client,
    kind: i8,
    name: &str,
    changes: &[Change<'_>],
) -> (i16, Option<String>) {
    let change =
        |(config_operation, name, value): &Change<'_>| incremental_alter_configs::AlterableConfig {
            name: (*name).into(),
            config_operation: *config_operation,
            value: value.map(str::to_owned),
        };
    let resource = incremental_alter_configs::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: changes.iter().map(change).collect(),
    };
    let request =
        incremental_alter_configs::Request { resources: vec![resource], validate_only: false };
    let response = client.call(1, &request).await.responses.remove(0);
    assert_eq!((response.resource_type, response.resource_name.as_str()), (kind, name));
    (response.error_code, response.error_message)
}

#[tokio::test]
async fn configs_are_described_with_source_type_and_documentation() {
    let (served, mut client) = Served::with_topic("t").await;
    let node = served.node.node_id().to_string();
    for version in 1..=4 {
        let topic = described(&mut client, version, TOPIC, "t").await;
        assert_eq!((topic.error_code, topic.resource_name.as_str()), (0, "t"));
        let policy = find(&topic, "cleanup.policy");
        let default = vec!["log.cleanup.policy=delete@5".to_owned()];
        assert_eq!(shown(policy), (Some("delete"), 5, default));
        assert_eq!(policy.config_type, if version >= 3 { 7 } else { 0 });
        let documented = topic.configs.iter().filter(|config| config.documentation.is_some());
        assert_eq!(documented.count(), if version >= 3 { topic.configs.len() } else { 0 });
    }
    let broker = described(&mut client, 4, BROKER, &node).await;
    let expected = [
        ("num.partitions", Some("2"), 4, false, false),
        ("node.id", Some(node.as_str()), 4, true, false),
        ("advertised.listeners", Some("PLAINTEXT://broker.test:19092"), 4, true, false),
        ("socket.request.max.bytes", Some("104857600"), 4, true, false),
        ("log.dirs", Some(served.node.log_dir()), 4, true, false),
        ("ssl.keystore.password", None, 5, true, true),
    ];
    for (name, value, source, read_only, sensitive) in expected {
        let config = find(&broker, name);
        assert_eq!((config.value.as_deref(), config.config_source), (value, source), "{name}");
        assert_eq!((config.read_only, config.is_sensitive), (read_only, sensitive), "{name}");
    }
    for (kind, name, code) in [(TOPIC, "missing", 3), (BROKER, "77", 42), (8, "1", 42)] {
        assert_eq!(described(&mut client, 4, kind, name).await.error_code, code, "{kind} {name}");
    }
    served.stop().await;
}

#[tokio::test]
async fn changes_are_shown_with_the_values_below_them() {
    let (served, mut client) = Served::with_topic("t").await;
    let node = served.node.node_id().to_string();
    let steps: [(i8, &str, Change<'_>); 5] = [
        (TOPIC, "t", (0, "retention.ms", Some("1"))),
        (BROKER, &node, (0, "log.retention.ms", Some("2"))),
        (BROKER, "", (0, "log.retention.ms", Some("3"))),
        (TOPIC, "t", (2, "cleanup.policy", Some("compact"))),
        (TOPIC, "t", (3, "cleanup.policy", Some("delete"))),
    ];
    for (kind, name, step) in steps {
        assert_eq!(change(&mut client, kind, name, &[step]).await, (0, None));
    }
    let topic = described(&mut client, 4, TOPIC, "t").await;
    let synonyms = [
        "retention.ms=1@1",
        "log.retention.ms=2@2",
        "log.retention.ms=3@3",
        "log.retention.hours=168@5",
    ];
    let synonyms = synonyms.map(str::to_owned).to_vec();
    assert_eq!(shown(find(&topic, "retention.ms")), (Some("1"), 1, synonyms));
    assert_eq!(find(&topic, "cleanup.policy").value.as_deref(), Some("compact"));
    let cluster = described(&mut client, 4, BROKER, "").await;
    assert_eq!(cluster.configs.len(), 1);
    assert_eq!(shown(&cluster.configs[0]).0, Some("3"));

    assert_eq!(change(&mut client, TOPIC, "t", &[(1, "retention.ms", None)]).await, (0, None));
    let topic = described(&mut client, 4, TOPIC, "t").await;
    assert_eq!(find(&topic, "retention.ms").value.as_deref(), Some("2"));
    served.stop().await;
}

#[tokio::test]
async fn groups_have_configurations_of_their_own() {
    let (served, mut client) = Served::with_topic("t").await;
    let (session, interval) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
    assert_eq!(change(&mut client, GROUP, "g", &[(0, session, Some("50000"))]).await, (0, None));
    let group = described(&mut client, 4, GROUP, "g").await;
    assert_eq!((group.error_code, group.configs.len()), (0, 11));
    let said = vec!["consumer.session.timeout.ms=50000@8".to_owned()];
    assert_eq!(shown(find(&group, session)), (Some("50000"), 8, said));
    let default = vec!["consumer.heartbeat.interval.ms=5000@5".to_owned()];
    assert_eq!(shown(find(&group, interval)), (Some("5000"), 5, default));

    let text = "consumer.session.timeout.ms must be greater than or equal to \
                group.consumer.min.session.timeout.ms";
    let refused = change(&mut client, GROUP, "g", &[(0, session, Some("1"))]).await;
    assert_eq!(refused, (40, Some(text.to_owned())));
    let listed = list_config_resources::Request { resource_types: vec![GROUP] };
    let listed = client.call(1, &listed).await.config_resources;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].resource_type, listed[0].resource_name.as_str()), (GROUP, "g"));
    served.stop().await;
}

#[tokio::test]
async fn longer_transactions_are_taken_when_the_broker_is_told_so() {
    const INVALID_TRANSACTION_TIMEOUT: i16 = 50;
    let (served, mut client) = Served::with_topic("t").await;
    let hour = init_producer_id::Request {
        transactional_id: Some("x".into()),
        transaction_timeout_ms: 3_600_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    assert_eq!(client.call(4, &hour).await.error_code, INVALID_TRANSACTION_TIMEOUT);
    let longer = [(0, "transaction.max.timeout.ms", Some("3600000"))];
    assert_eq!(change(&mut client, BROKER, "", &longer).await, (0, None));
    assert_eq!(client.call(4, &hour).await.error_code, 0);
    served.stop().await;
}

#[tokio::test]
async fn a_config_of_a_new_topic_has_a_value() {
    let (served, mut client) = Served::with_topic("t").await;
    let config = create_topics::Config { name: "retention.ms".into(), value: None };
    let new = create_topics::Topic {
        name: "u".into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
        ..Default::default()
    };
    let request = create_topics::Request { topics: vec![new], ..Default::default() };
    let refused = client.call(7, &request).await.topics.remove(0);
    let text = "Null value not supported for topic configs: retention.ms";
    assert_eq!((refused.error_code, refused.error_message.as_deref()), (40, Some(text)));
    served.stop().await;
}

#[tokio::test]
async fn changes_that_are_refused_say_why() {
    let (served, mut client) = Served::with_topic("t").await;
    let cases: [(i8, &str, &[Change<'_>], i16, &str); 6] = [
        (TOPIC, "missing", &[(0, "retention.ms", Some("1"))], 3, "topic does not exist"),
        (
            TOPIC,
            "t",
            &[(2, "retention.ms", Some("1"))],
            40,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            TOPIC,
            "t",
            &[(0, "retention.ms", None)],
            42,
            "Null value not supported for : retention.ms",
        ),
        (
            TOPIC,
            "t",
            &[(0, "retention.ms", Some("1")), (1, "retention.ms", None)],
            42,
            "Error due to duplicate config keys",
        ),
        (TOPIC, "t", &[(7, "retention.ms", None)], 42, "Unknown operation type 7"),
        (
            BROKER,
            "",
            &[(0, "log.retention.ms", Some("x"))],
            42,
            "Invalid value x for configuration log.retention.ms: Not a number of type LONG",
        ),
    ];
    for (kind, name, changes, code, text) in cases {
        let seen = change(&mut client, kind, name, changes).await;
        assert_eq!(seen, (code, Some(text.to_owned())), "{name} {changes:?}");
    }
    served.stop().await;
}

#[tokio::test]
async fn alter_configs_replaces_all_that_was_said() {
    let (served, mut client) = Served::with_topic("t").await;
    for (version, name) in [(0, "retention.ms"), (1, "retention.bytes"), (2, "segment.ms")] {
        let config = alter_configs::AlterableConfig { name: name.into(), value: Some("5".into()) };
        let resource = alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "t".into(),
            configs: vec![config],
        };
        let request = alter_configs::Request { resources: vec![resource], validate_only: false };
        let response = client.call(version, &request).await.responses.remove(0);
        assert_eq!((response.error_code, response.error_message), (0, None));
        let topic = described(&mut client, 4, TOPIC, "t").await;
        let said = topic.configs.iter().filter(|config| config.config_source == 1);
        let said: Vec<_> = said.map(|config| config.name.as_str()).collect();
        assert_eq!(said, [name]);
    }
    served.stop().await;
}

#[tokio::test]
async fn what_has_a_configuration_is_listed_by_type() {
    let (served, mut client) = Served::with_topic("t").await;
    let node = served.node.node_id().to_string();
    let (topic, broker) = ((TOPIC, "t".to_owned()), (BROKER, node));
    let cases = [
        (1, vec![], vec![topic.clone(), broker.clone()], 0),
        (1, vec![TOPIC], vec![topic], 0),
        (1, vec![BROKER, 32], vec![broker], 0),
        (1, vec![99], vec![], 35),
        (0, vec![], vec![], 0),
    ];
    for (version, resource_types, expected, code) in cases {
        let request = list_config_resources::Request { resource_types };
        let response = client.call(version, &request).await;
        let listed = response.config_resources.into_iter();
        let listed: Vec<_> = listed.map(|r| (r.resource_type, r.resource_name)).collect();
        assert_eq!((listed, response.error_code), (expected, code), "{request:?}");
    }
    served.stop().await;
}
