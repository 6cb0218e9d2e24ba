//! Configuration of topics and brokers: described, altered, in force at once and after a restart.

use tidings_broker::{
    AlterConfigs, Alteration, ConfigChange, ConfigOp, ConfigResource, ConfigSource,
    ConsumerTrouble, DescribeConfigs, GroupRefused, InitTransactions, ListConfigResources,
    ListTransactions, NewTopic, TopicRefused, TransactionRefused,
};

use crate::groups::{beat, join};
use crate::rig::{Rig, batch};
use crate::transactions::init;

fn topic(name: &str) -> ConfigResource {
    ConfigResource::Topic(name.to_owned())
}

fn broker(id: &str) -> ConfigResource {
    ConfigResource::Broker(id.to_owned())
}

fn group(name: &str) -> ConfigResource {
    ConfigResource::Group(name.to_owned())
}

fn set(name: &str, value: &str) -> Alteration {
    let (name, value) = (name.to_owned(), Some(value.to_owned()));
    Alteration::Change(vec![ConfigChange { name, op: ConfigOp::Set, value }])
}

fn delete(name: &str) -> Alteration {
    let change = ConfigChange { name: name.to_owned(), op: ConfigOp::Delete, value: None };
    Alteration::Change(vec![change])
}

fn alter(
    rig: &mut Rig,
    resource: ConfigResource,
    alteration: Alteration,
) -> Result<(), TopicRefused> {
    let resources = vec![(resource, alteration)];
    rig.call(AlterConfigs { resources, validate_only: false }).remove(0).1
}

fn entry(rig: &mut Rig, resource: ConfigResource, name: &str) -> (Option<String>, ConfigSource) {
    let resources = vec![(resource, Some(vec![name.to_owned()]))];
    let mut configs = rig.call(DescribeConfigs { resources }).remove(0).configs.expect("known");
    assert_eq!(configs.len(), 1, "{name}");
    let entry = configs.remove(0);
    (entry.value, entry.source)
}

fn value(text: &str, source: ConfigSource) -> (Option<String>, ConfigSource) {
    (Some(text.to_owned()), source)
}

#[test]
fn a_change_holds_at_once_and_is_answered_when_it_is_on_disk() {
    let mut rig = Rig::new();
    rig.topic("t");
    let resources = vec![(topic("t"), set("max.message.bytes", "10"))];
    let ticket = rig.submit(AlterConfigs { resources, validate_only: false });
    assert!(!rig.is_answered(ticket), "the record is not on disk");
    let refused = rig.produce("t", 0, batch(&["long"])).unwrap_err();
    assert!(refused.to_string().ends_with("larger than max.message.bytes 10"), "{refused}");
    assert_eq!(rig.answer::<AlterConfigs>(ticket).unwrap(), [(topic("t"), Ok(()))]);
    alter(&mut rig, topic("t"), delete("max.message.bytes")).unwrap();
    assert!(rig.produce("t", 0, batch(&["long"])).is_ok());
}

#[test]
fn a_change_that_changes_nothing_is_answered_at_once() {
    let mut rig = Rig::new();
    rig.topic("t");
    alter(&mut rig, topic("t"), set("retention.ms", "5")).unwrap();
    for alteration in [set("retention.ms", "5"), delete("retention.bytes"), delete("nonsense")] {
        let resources = vec![(topic("t"), alteration)];
        let ticket = rig.submit(AlterConfigs { resources, validate_only: false });
        assert_eq!(rig.answer::<AlterConfigs>(ticket).unwrap()[0].1, Ok(()));
    }
}

#[test]
fn a_restart_keeps_what_was_said_of_topics_and_brokers() {
    let mut rig = Rig::new();
    rig.topic("t");
    rig.topic("gone");
    alter(&mut rig, topic("t"), set("retention.ms", "5")).unwrap();
    alter(&mut rig, topic("t"), set("cleanup.policy", "compact")).unwrap();
    alter(&mut rig, topic("gone"), set("retention.ms", "7")).unwrap();
    alter(&mut rig, broker(""), set("num.partitions", "5")).unwrap();
    alter(&mut rig, broker("1"), set("auto.create.topics.enable", "false")).unwrap();
    let topics = vec![tidings_broker::TopicName::Name("gone".to_owned())];
    rig.call(tidings_broker::DeleteTopics { topics }).remove(0).outcome.unwrap();
    let again = rig.topic("gone");
    assert_eq!(again.partitions, 5);

    let mut rig = rig.restart();
    assert_eq!(rig.report.findings, Vec::<String>::new());
    assert_eq!(entry(&mut rig, topic("t"), "retention.ms"), value("5", ConfigSource::Topic));
    let policy = entry(&mut rig, topic("t"), "cleanup.policy");
    assert_eq!(policy, value("compact", ConfigSource::Topic));
    let of_the_former = entry(&mut rig, topic("gone"), "retention.ms");
    assert_eq!(of_the_former, value("604800000", ConfigSource::Default));
    let auto = entry(&mut rig, broker("1"), "auto.create.topics.enable");
    assert_eq!(auto, value("false", ConfigSource::Broker));
    assert_eq!(entry(&mut rig, broker(""), "num.partitions"), value("5", ConfigSource::Cluster));
    assert_eq!(rig.topic("new").partitions, 5);
    let keyless = rig.produce("t", 0, batch(&["no key"])).unwrap_err();
    assert!(keyless.to_string().contains("no key, and the topic is compacted"), "{keyless}");
}

#[test]
fn brokers_say_what_holds_for_topics_that_say_nothing() {
    let mut rig = Rig::new();
    rig.topic("silent");
    let configs = vec![("max.message.bytes".to_owned(), Some("5000".to_owned()))];
    rig.create(NewTopic { name: "says".into(), configs, ..NewTopic::default() }).unwrap();
    alter(&mut rig, broker(""), set("message.max.bytes", "10")).unwrap();
    assert!(rig.produce("silent", 0, batch(&["long"])).is_err());
    assert!(rig.produce("says", 0, batch(&["long"])).is_ok());
    let silent = entry(&mut rig, topic("silent"), "max.message.bytes");
    assert_eq!(silent, value("10", ConfigSource::Cluster));
    alter(&mut rig, broker("1"), set("message.max.bytes", "4000")).unwrap();
    assert!(rig.produce("silent", 0, batch(&["long"])).is_ok());
    alter(&mut rig, broker("1"), Alteration::Replace(Vec::new())).unwrap();
    let silent = entry(&mut rig, topic("silent"), "max.message.bytes");
    assert_eq!(silent, value("10", ConfigSource::Cluster));
}

#[test]
fn refusals_name_what_is_wrong_and_change_nothing() {
    let invalid_config = |text: &str| TopicRefused::InvalidConfig(text.to_owned());
    let invalid_request = |text: &str| TopicRefused::InvalidRequest(text.to_owned());
    let other = |kind: i8| ConfigResource::Other { kind, name: "x".to_owned() };
    let own = "__consumer_offsets is the broker's own topic: its cleanup.policy and \
               tidings.durability cannot change";
    let cases = [
        (topic("missing"), set("retention.ms", "1"), TopicRefused::Unknown),
        (
            topic(""),
            set("retention.ms", "1"),
            invalid_request("Default topic resources are not allowed."),
        ),
        (topic("t"), set("bad.name", "1"), invalid_config("Unknown topic config name: bad.name")),
        (
            topic("t"),
            set("retention.ms", "x"),
            invalid_config(
                "Invalid value x for configuration retention.ms: Not a number of type LONG",
            ),
        ),
        (topic("__consumer_offsets"), set("cleanup.policy", "delete"), invalid_config(own)),
        (topic("__consumer_offsets"), set("tidings.durability", "memory"), invalid_config(own)),
        (
            broker("9"),
            set("log.retention.ms", "1"),
            invalid_request("Unexpected broker id, expected 1 or empty string, but received 9"),
        ),
        (
            broker("one"),
            set("log.retention.ms", "1"),
            invalid_request("Node id must be an integer, but it is: one"),
        ),
        (
            broker("1"),
            set("node.id", "1"),
            invalid_request("Cannot update these configs dynamically: node.id: This node's id."),
        ),
        (
            broker(""),
            set("log.cleaner.min.compaction.lag.ms", "9223372036854775807"),
            invalid_config(
                "conflict topic config setting min.compaction.lag.ms (9223372036854775807) > \
                 max.compaction.lag.ms (5)",
            ),
        ),
        (
            other(8),
            set("kafka", "DEBUG"),
            invalid_request("levels of loggers are said when the node starts"),
        ),
        (other(16), set("interval.ms", "1"), invalid_request("metrics of clients are not taken")),
    ];
    let mut rig = Rig::new();
    rig.topic("t");
    alter(&mut rig, topic("t"), set("max.compaction.lag.ms", "5")).unwrap();
    let all = tidings_broker::TopicName::Name("__consumer_offsets".to_owned());
    let topics = tidings_broker::Topics::These(vec![all]);
    rig.call(tidings_broker::DescribeTopics { topics, auto_create: true });
    let end = rig.disk.files();
    for (resource, alteration, expected) in cases {
        let refused = alter(&mut rig, resource.clone(), alteration);
        assert_eq!(refused, Err(expected), "{resource:?}");
    }
    assert_eq!(rig.disk.files(), end);
    let mut rig = rig.restart();
    assert_eq!(
        entry(&mut rig, broker("1"), "log.cleaner.min.compaction.lag.ms"),
        value("0", ConfigSource::Default)
    );
}

#[test]
fn brokers_say_what_holds_for_groups() {
    let mut rig = Rig::new();
    let min = "group.min.session.timeout.ms";
    let member = rig.call(join("g", "")).map(|joined| joined.generation);
    assert_eq!(member, Ok(1));
    alter(&mut rig, broker(""), set(min, "20000")).unwrap();
    let refused = GroupRefused::InvalidSessionTimeout { min_ms: 20_000, max_ms: 1_800_000 };
    assert_eq!(rig.call(join("h", "")).map(|joined| joined.generation), Err(refused.clone()));
    let contradiction = alter(&mut rig, broker("1"), set("group.max.session.timeout.ms", "19999"));
    let text = "group.min.session.timeout.ms (20000) > group.max.session.timeout.ms (19999)";
    assert_eq!(contradiction, Err(TopicRefused::InvalidRequest(text.to_owned())));
    let mut rig = rig.restart();
    assert_eq!(rig.call(join("h", "")).map(|joined| joined.generation), Err(refused));
}

#[test]
fn what_brokers_say_of_the_consumer_protocol_holds_at_once_and_after_a_restart() {
    let mut rig = Rig::new();
    rig.topic("a");
    let cases = [
        ("group.consumer.min.heartbeat.interval.ms", "1000"),
        ("group.consumer.heartbeat.interval.ms", "2000"),
        ("group.consumer.min.session.timeout.ms", "6000"),
        ("group.consumer.session.timeout.ms", "7000"),
        ("group.consumer.max.size", "1"),
        ("group.consumer.assignors", "range"),
    ];
    for (name, text) in cases {
        alter(&mut rig, broker(""), set(name, text)).unwrap();
        assert_eq!(entry(&mut rig, broker(""), name), value(text, ConfigSource::Cluster));
    }
    let check = |rig: &mut Rig, epoch| {
        let beaten = rig.call(beat("m", epoch)).unwrap();
        assert_eq!(beaten.heartbeat_interval_ms, 2000);
        let full = rig.call(beat("n", 0)).unwrap_err();
        assert_eq!(full, GroupRefused::Full);
        let mut uniform = beat("m", beaten.epoch);
        uniform.assignor = Some("uniform".to_owned());
        let unsupported = rig.call(uniform).unwrap_err();
        let trouble = ConsumerTrouble::UnsupportedAssignor("uniform".to_owned());
        assert_eq!(unsupported, trouble.into());
        beaten.epoch
    };
    let epoch = check(&mut rig, 0);
    let mut rig = rig.restart();
    let epoch = check(&mut rig, epoch);
    rig.pass(7_000);
    rig.settle();
    assert_eq!(rig.call(beat("m", epoch)), Err(GroupRefused::UnknownMember));
}

#[test]
fn settings_of_the_consumer_protocol_do_not_contradict_each_other() {
    let cases = [
        (
            set("group.consumer.session.timeout.ms", "60001"),
            "group.consumer.session.timeout.ms (60001) > group.consumer.max.session.timeout.ms (60000)",
        ),
        (
            set("group.consumer.min.heartbeat.interval.ms", "5001"),
            "group.consumer.min.heartbeat.interval.ms (5001) > group.consumer.heartbeat.interval.ms \
             (5000)",
        ),
        (
            Alteration::Replace(
                [
                    ("group.consumer.heartbeat.interval.ms", "45000"),
                    ("group.consumer.max.heartbeat.interval.ms", "45000"),
                ]
                .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
                .to_vec(),
            ),
            "group.consumer.heartbeat.interval.ms (45000) >= group.consumer.session.timeout.ms (45000)",
        ),
        (set("group.consumer.assignors", ""), "group.consumer.assignors must name an assignor"),
        (
            set("group.consumer.assignors", "sticky"),
            "Invalid value sticky for configuration group.consumer.assignors: String must be one of: \
             range, uniform",
        ),
        (
            set("group.consumer.migration.policy", "never"),
            "Invalid value never for configuration group.consumer.migration.policy: String must be \
             one of: bidirectional, disabled, downgrade, upgrade",
        ),
    ];
    let mut rig = Rig::new();
    for (alteration, text) in cases {
        let refused = alter(&mut rig, broker(""), alteration).unwrap_err();
        assert_eq!(refused, TopicRefused::InvalidRequest(text.to_owned()));
    }
}

#[test]
fn what_brokers_say_of_transactions_holds_at_once_and_after_a_restart() {
    const HOUR_MS: i32 = 3_600_000;
    let mut rig = Rig::new();
    let long = || InitTransactions { timeout_ms: HOUR_MS, ..init("t") };
    let refused = TransactionRefused::InvalidTimeout { max_ms: 900_000 };
    assert_eq!(rig.call(long()), Err(refused));
    alter(&mut rig, broker(""), set("transaction.max.timeout.ms", "3600000")).unwrap();
    rig.call(long()).unwrap();
    let mut rig = rig.restart();
    let longer = InitTransactions { timeout_ms: HOUR_MS + 1, ..init("t") };
    let refused = TransactionRefused::InvalidTimeout { max_ms: HOUR_MS };
    assert_eq!(rig.call(longer), Err(refused));
    rig.call(long()).unwrap();

    let ids = |rig: &mut Rig| {
        let listed = rig.call(ListTransactions::default()).expect("loaded").transactions;
        listed.into_iter().map(|listed| listed.transactional_id).collect::<Vec<_>>()
    };
    rig.pass(60_000);
    assert_eq!(ids(&mut rig), ["t"]);
    alter(&mut rig, broker("1"), set("transactional.id.expiration.ms", "60001")).unwrap();
    rig.pass(1);
    rig.settle();
    assert_eq!(ids(&mut rig), [""; 0], "it counts from the last use");
}

#[test]
fn what_is_said_of_a_group_holds_for_it_alone_at_once_and_after_a_restart() {
    let (session, interval) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
    let mut rig = Rig::new();
    rig.topic("a");
    let other = |epoch| {
        let group = "other".to_owned();
        tidings_broker::ConsumerHeartbeat { group, ..beat("m", epoch) }
    };
    rig.call(beat("m", 0)).unwrap();
    rig.call(other(0)).unwrap();
    let ticket = rig.submit(AlterConfigs {
        resources: vec![(group("new"), set(interval, "6000"))],
        validate_only: false,
    });
    assert!(!rig.is_answered(ticket), "the record is not on disk");
    rig.settle();
    assert_eq!(rig.answer::<AlterConfigs>(ticket).unwrap(), [(group("new"), Ok(()))]);
    alter(&mut rig, group("new"), set(session, "50000")).unwrap();
    alter(&mut rig, group("idle"), set(session, "60000")).unwrap();
    alter(&mut rig, group("idle"), delete(session)).unwrap();
    let check = |rig: &mut Rig| {
        assert_eq!(rig.call(beat("m", 1)).unwrap().heartbeat_interval_ms, 6000);
        assert_eq!(rig.call(other(1)).unwrap().heartbeat_interval_ms, 5000);
        assert_eq!(entry(rig, group("new"), session), value("50000", ConfigSource::Group));
        assert_eq!(entry(rig, group("idle"), session), value("45000", ConfigSource::Default));
        let listed = rig.call(ListConfigResources);
        assert_eq!(listed[2..], [broker("1"), group("new")]);
    };
    check(&mut rig);
    let mut rig = rig.restart();
    check(&mut rig);
    rig.pass(45_000);
    rig.settle();
    assert_eq!(rig.call(other(1)), Err(GroupRefused::UnknownMember));
    assert_eq!(rig.call(beat("m", 1)).map(|beaten| beaten.epoch), Ok(1));
}

#[test]
fn of_a_group_nothing_is_said_that_it_cannot_be_held_to() {
    let invalid_config = |text: &str| TopicRefused::InvalidConfig(text.to_owned());
    let invalid_request = |text: &str| TopicRefused::InvalidRequest(text.to_owned());
    let long = "x".repeat(tidings_broker::limits::CONFIGURED_GROUP_NAME_BYTES_MAX + 1);
    let session = "consumer.session.timeout.ms";
    let cases = [
        ("", set(session, "50000"), invalid_request("Default group resources are not allowed.")),
        (
            long.as_str(),
            set(session, "50000"),
            invalid_request(
                "the name of a group with a configuration has at most 1024 bytes, not 1025",
            ),
        ),
        (
            "g",
            set(session, "70000"),
            invalid_config(
                "consumer.session.timeout.ms must be less than or equal to \
                 group.consumer.max.session.timeout.ms",
            ),
        ),
        (
            "g",
            set("share.isolation.level", "read_committed"),
            invalid_config(
                "Invalid value read_committed for configuration share.isolation.level: Value must \
                 be read_uncommitted: share groups are not served",
            ),
        ),
        ("g", set("segment.ms", "1"), invalid_config("Unknown group config name: segment.ms")),
    ];
    let mut rig = Rig::new();
    for (name, alteration, expected) in cases {
        assert_eq!(alter(&mut rig, group(name), alteration), Err(expected), "{name}");
    }
    assert_eq!(rig.call(ListConfigResources), [broker("1")]);
    let resources = vec![(group(""), None)];
    let nameless = rig.call(DescribeConfigs { resources }).remove(0).configs;
    assert_eq!(nameless, Err(invalid_request("Group name must not be empty")));
    let most = tidings_broker::limits::GROUPS_CONFIGURED_MAX;
    let groups = (0..most).map(|place| (group(&place.to_string()), set(session, "50000")));
    let resources = groups.collect();
    let said = rig.call(AlterConfigs { resources, validate_only: false });
    assert!(said.iter().all(|(_, outcome)| outcome.is_ok()));
    let text = "10000 groups have a configuration of their own, which is the most there may be";
    let full = alter(&mut rig, group("g"), set(session, "50000"));
    assert_eq!(full, Err(invalid_request(text)));
    alter(&mut rig, group("7"), delete(session)).unwrap();
    alter(&mut rig, group("g"), set(session, "50000")).unwrap();
}

#[test]
fn a_resource_named_twice_is_refused_and_the_others_are_not() {
    let mut rig = Rig::new();
    rig.topic("t");
    rig.topic("u");
    let resources = vec![
        (topic("t"), set("retention.ms", "1")),
        (topic("u"), set("retention.ms", "1")),
        (topic("t"), set("retention.ms", "2")),
    ];
    let answers = rig.call(AlterConfigs { resources, validate_only: false });
    let twice = TopicRefused::InvalidRequest("Each resource must appear at most once.".to_owned());
    let outcomes: Vec<_> = answers.into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, [Err(twice.clone()), Ok(()), Err(twice)]);
}

#[test]
fn validate_only_checks_and_changes_nothing() {
    let mut rig = Rig::new();
    rig.topic("t");
    let check = |rig: &mut Rig, value| {
        let resources = vec![(topic("t"), set("retention.ms", value))];
        let ticket = rig.submit(AlterConfigs { resources, validate_only: true });
        rig.answer::<AlterConfigs>(ticket).expect("at once").remove(0).1.is_ok()
    };
    assert_eq!((check(&mut rig, "5"), check(&mut rig, "x")), (true, false));
    let kept = entry(&mut rig, topic("t"), "retention.ms");
    assert_eq!(kept, value("604800000", ConfigSource::Default));
}

#[test]
fn topics_and_this_broker_have_configurations() {
    let mut rig = Rig::new();
    rig.topic("t");
    assert_eq!(rig.call(ListConfigResources), [topic("t"), broker("1")]);
}
