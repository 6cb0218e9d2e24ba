//! Topics and their configuration.

use std::collections::BTreeSet;

use tidings_broker::log::MemoryDisk;
use tidings_broker::{
    ConfigResource, CreateTopics, DeleteTopics, DescribeConfigs, DescribeTopics, InitProducer,
    NewTopic, ProducerIdentity, TopicAnswer, TopicName, TopicRefused, Topics, limits,
};

use crate::rig::{Rig, batch, config};

fn named(name: &str) -> NewTopic {
    NewTopic { name: name.into(), ..NewTopic::default() }
}

fn describe(rig: &mut Rig, name: &str, auto_create: bool) -> TopicAnswer {
    let topics = Topics::These(vec![TopicName::Name(name.into())]);
    rig.call(DescribeTopics { topics, auto_create }).remove(0)
}

fn delete(rig: &mut Rig, name: &str) -> Result<(String, [u8; 16]), TopicRefused> {
    let topics = vec![TopicName::Name(name.into())];
    rig.call(DeleteTopics { topics }).remove(0).outcome
}

#[test]
fn creation_is_answered_when_it_is_on_disk() {
    let mut rig = Rig::new();
    let topics = vec![named("orders")];
    let ticket = rig.submit(CreateTopics { topics, validate_only: false });
    assert!(!rig.is_answered(ticket));
    assert!(rig.sync());
    let created = rig.answer::<CreateTopics>(ticket).unwrap().remove(0).outcome.unwrap();
    assert_eq!(created.partitions, 2);
    assert_ne!(created.id, [0; 16]);
}

#[test]
fn topics_that_cannot_be_are_refused() {
    let invalid = |kind: fn(String) -> TopicRefused| kind(String::new());
    let assigned = |assignment: &[(i32, &[i32])]| NewTopic {
        assignment: assignment.iter().map(|(p, nodes)| (*p, nodes.to_vec())).collect(),
        ..named("a")
    };
    let configured = |name: &str, value: &str| NewTopic {
        configs: vec![(name.into(), Some(value.into()))],
        ..named("a")
    };
    let too_many = limits::PARTITIONS_PER_TOPIC_MAX + 1;
    let cases = [
        (named("orders"), TopicRefused::Exists),
        (named("a/b"), invalid(TopicRefused::InvalidName)),
        (named("__consumer_offsets"), invalid(TopicRefused::InvalidName)),
        (named("__tidings_catalog"), invalid(TopicRefused::InvalidName)),
        (NewTopic { partitions: Some(0), ..named("a") }, invalid(TopicRefused::InvalidPartitions)),
        (NewTopic { partitions: Some(-2), ..named("a") }, invalid(TopicRefused::InvalidPartitions)),
        (
            NewTopic { partitions: Some(too_many), ..named("a") },
            invalid(TopicRefused::InvalidPartitions),
        ),
        (
            NewTopic { replication: Some(3), ..named("a") },
            invalid(TopicRefused::InvalidReplication),
        ),
        (
            NewTopic { replication: Some(0), ..named("a") },
            invalid(TopicRefused::InvalidReplication),
        ),
        (assigned(&[(0, &[1]), (1, &[2])]), invalid(TopicRefused::InvalidAssignment)),
        (assigned(&[(0, &[1, 2])]), invalid(TopicRefused::InvalidAssignment)),
        (assigned(&[(0, &[])]), invalid(TopicRefused::InvalidAssignment)),
        (assigned(&[(1, &[1])]), invalid(TopicRefused::InvalidAssignment)),
        (assigned(&[(0, &[1]), (0, &[1])]), invalid(TopicRefused::InvalidAssignment)),
        (
            NewTopic { partitions: Some(1), ..assigned(&[(0, &[1])]) },
            invalid(TopicRefused::InvalidRequest),
        ),
        (configured("retention.ms", "-2"), invalid(TopicRefused::InvalidConfig)),
        (configured("cleanup.policy", "keep"), invalid(TopicRefused::InvalidConfig)),
        (configured("no.such", "x"), invalid(TopicRefused::InvalidConfig)),
    ];
    let mut rig = Rig::new();
    rig.topic("orders");
    for (new, expected) in cases {
        let refused = rig.create(new.clone()).expect_err("refused");
        let same = std::mem::discriminant(&refused) == std::mem::discriminant(&expected);
        assert!(same, "{new:?}: {refused:?}");
        assert!(!refused.to_string().is_empty());
    }
    let twice = CreateTopics { topics: vec![named("a"), named("a")], validate_only: false };
    for answer in rig.call(twice) {
        assert!(matches!(answer.outcome, Err(TopicRefused::InvalidRequest(_))));
    }
    let all = rig.call(DescribeTopics { topics: Topics::All, auto_create: false });
    assert_eq!(all.len(), 1, "no refusal left anything behind");
}

#[test]
fn names_that_are_the_same_in_metrics_collide() {
    let mut rig = Rig::new();
    rig.topic("a.b_c");
    for name in ["a_b_c", "a.b.c", "a_b.c"] {
        let refused = rig.create(named(name)).unwrap_err();
        assert!(matches!(refused, TopicRefused::InvalidName(_)), "{name}: {refused:?}");
    }
    rig.topic("a.b-c");
    delete(&mut rig, "a.b_c").unwrap();
    let mut rig = rig.restart();
    rig.topic("a_b_c");
}

#[test]
fn topics_stay_where_their_deletion_is_disabled() {
    let keeping = tidings_broker::BrokerConfig { delete_topics: false, ..config() };
    let mut rig = Rig::with(MemoryDisk::new(), keeping);
    rig.topic("a");
    assert_eq!(delete(&mut rig, "a"), Err(TopicRefused::DeletionDisabled));
    assert_eq!(delete(&mut rig, "b"), Err(TopicRefused::Unknown));
    assert!(describe(&mut rig, "a", false).topic.is_ok());
}

#[test]
fn defaults_assignments_and_minus_one_give_partitions() {
    let mut rig = Rig::new();
    let cases = [
        (NewTopic { partitions: Some(3), replication: Some(1), ..named("a") }, 3),
        (NewTopic { partitions: Some(-1), replication: Some(-1), ..named("b") }, 2),
        (NewTopic { assignment: vec![(1, vec![1]), (0, vec![1]), (2, vec![1])], ..named("c") }, 3),
    ];
    for (new, expected) in cases {
        assert_eq!(rig.create(new).unwrap().partitions, expected);
    }
}

#[test]
fn validate_only_creates_nothing() {
    let mut rig = Rig::new();
    let request = CreateTopics { topics: vec![named("a")], validate_only: true };
    let ticket = rig.submit(request);
    let checked = rig.answer::<CreateTopics>(ticket).expect("at once").remove(0).outcome.unwrap();
    assert_eq!((checked.id, checked.partitions), ([0; 16], 2));
    assert_eq!(describe(&mut rig, "a", false).topic.unwrap_err(), TopicRefused::Unknown);
}

#[test]
fn asking_for_a_missing_topic_creates_it_only_when_asked_to() {
    let mut rig = Rig::new();
    assert_eq!(describe(&mut rig, "a", false).topic.unwrap_err(), TopicRefused::Unknown);
    let invalid = describe(&mut rig, "a b", true).topic.unwrap_err();
    assert!(matches!(invalid, TopicRefused::InvalidName(_)));
    assert_eq!(describe(&mut rig, "a", true).topic.unwrap().partitions.len(), 2);

    let never = tidings_broker::BrokerConfig { auto_create_topics: false, ..config() };
    let mut rig = Rig::with(MemoryDisk::new(), never);
    assert_eq!(describe(&mut rig, "a", true).topic.unwrap_err(), TopicRefused::Unknown);
}

#[test]
fn asking_for_the_brokers_own_names_leaves_the_catalog_alone() {
    for room in [u64::MAX, 0] {
        let mut rig = Rig::on(MemoryDisk::new());
        let id = rig.topic("a").id;
        rig.disk.set_capacity(rig.disk.used_bytes().saturating_add(room));
        let files = rig.disk.files();
        for name in ["__tidings_catalog", "__tidings_other"] {
            let refused = describe(&mut rig, name, true).topic.unwrap_err();
            assert!(matches!(refused, TopicRefused::InvalidName(_)), "{name}: {refused:?}");
            assert!(delete(&mut rig, name).is_err());
        }
        assert_eq!(rig.disk.files(), files);
        rig.disk.set_capacity(u64::MAX);
        rig.topic("b");
        let mut rig = rig.restart();
        assert_eq!((rig.report.topics, rig.report.findings.len()), (2, 0));
        assert_eq!(describe(&mut rig, "a", false).topic.unwrap().id, id);
    }
}

#[test]
fn a_question_asked_many_times_is_answered_once() {
    let mut rig = Rig::new();
    rig.topic("a");
    let topics = Topics::These(vec![TopicName::Name("a".into()); 1000]);
    assert_eq!(rig.call(DescribeTopics { topics, auto_create: false }).len(), 1);
    let resources = vec![(ConfigResource::Topic("a".into()), None); 1000];
    assert_eq!(rig.call(DescribeConfigs { resources }).len(), 1);
    let groups = vec!["g".to_owned(); 1000];
    assert_eq!(rig.call(tidings_broker::DescribeGroups { groups }).len(), 1);
}

#[test]
fn topics_are_found_by_id() {
    let mut rig = Rig::new();
    let id = rig.topic("a").id;
    let topics = Topics::These(vec![TopicName::Id(id), TopicName::Id([9; 16])]);
    let answers = rig.call(DescribeTopics { topics, auto_create: true });
    assert_eq!(answers[0].topic.as_ref().unwrap().name, "a");
    assert_eq!(answers[1].topic.as_ref().unwrap_err(), &TopicRefused::UnknownId);
}

#[test]
fn a_restart_keeps_cluster_topics_ids_configs_and_records() {
    let mut rig = Rig::new();
    let cluster = rig.broker.cluster_id().to_owned();
    assert_eq!(cluster.len(), 22);
    let configs = vec![("max.message.bytes".to_owned(), Some("5000".to_owned()))];
    let id = rig.create(NewTopic { configs, ..named("a") }).unwrap().id;
    rig.produce("a", 1, batch(&["x", "y"])).unwrap();
    let mut rig = rig.restart();
    assert_eq!(rig.broker.cluster_id(), cluster);
    assert_eq!((rig.report.topics, rig.report.partitions), (1, 2));
    assert_eq!(rig.report.findings, Vec::<String>::new());
    let topic = describe(&mut rig, "a", false).topic.unwrap();
    assert_eq!((topic.id, topic.internal), (id, false));
    assert_eq!(topic.partitions[1].high_watermark, 2);
    assert!(topic.partitions[1].writable && topic.partitions[1].size_bytes > 0);
    assert_eq!(rig.values("a", 1, 0), ["x", "y"]);
    let resources =
        vec![(ConfigResource::Topic("a".into()), Some(vec!["max.message.bytes".into()]))];
    let entries = rig.call(DescribeConfigs { resources }).remove(0).configs.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].value.as_deref(), Some("5000"));
}

#[test]
fn a_deleted_topic_is_gone_with_its_files_and_its_name_is_free_again() {
    let mut rig = Rig::new();
    let first = rig.topic("a").id;
    rig.produce("a", 0, batch(&["old"])).unwrap();
    let mut rig = rig.restart();
    let topics = vec![TopicName::Name("a".into())];
    let ticket = rig.submit(DeleteTopics { topics });
    assert!(!rig.is_answered(ticket), "the record is not on disk");
    assert!(rig.disk.files().iter().any(|file| file.starts_with("a-0/")), "so the files stay");
    assert_eq!(describe(&mut rig, "a", false).topic.unwrap_err(), TopicRefused::Unknown);
    rig.settle();
    let deleted = rig.answer::<DeleteTopics>(ticket).unwrap().remove(0);
    assert_eq!(deleted.outcome, Ok(("a".to_owned(), first)));
    assert!(!rig.disk.files().iter().any(|file| file.starts_with("a-")));
    assert_eq!(delete(&mut rig, "a"), Err(TopicRefused::Unknown));

    let second = rig.topic("a").id;
    assert_ne!(first, second);
    assert_eq!(rig.values("a", 0, 0), Vec::<String>::new());
    let mut rig = rig.restart();
    assert_eq!(describe(&mut rig, "a", false).topic.unwrap().id, second);
}

#[test]
fn a_name_is_not_free_while_its_deletion_is_under_way() {
    let mut rig = Rig::new();
    rig.topic("a");
    rig.submit(DeleteTopics { topics: vec![TopicName::Name("a".into())] });
    let again = rig.submit(CreateTopics { topics: vec![named("a")], validate_only: false });
    let refused = rig.answer::<CreateTopics>(again).expect("at once").remove(0);
    assert_eq!(refused.outcome.unwrap_err(), TopicRefused::NotYet);
    let topics = Topics::These(vec![TopicName::Name("a".into())]);
    let asked = rig.submit(DescribeTopics { topics, auto_create: true });
    let refused = rig.answer::<DescribeTopics>(asked).expect("at once").remove(0);
    assert_eq!(refused.topic.unwrap_err(), TopicRefused::NotYet);
    rig.settle();
    rig.topic("a");
}

#[test]
fn the_brokers_own_topics_cannot_be_deleted() {
    let mut rig = Rig::new();
    let own = describe(&mut rig, "__consumer_offsets", true).topic.unwrap();
    assert_eq!((own.internal, own.partitions.len()), (true, 1));
    let refused = delete(&mut rig, "__consumer_offsets");
    assert!(matches!(refused, Err(TopicRefused::InvalidRequest(_))));
    assert_eq!(rig.restart().report.topics, 0, "it is no client's topic");
}

#[test]
fn configs_are_described_for_topics_and_this_broker_only() {
    let mut rig = Rig::new();
    rig.topic("a");
    let resources = [
        ConfigResource::Topic("a".into()),
        ConfigResource::Broker("1".into()),
        ConfigResource::Broker(String::new()),
        ConfigResource::Broker("2".into()),
        ConfigResource::Topic("b".into()),
        ConfigResource::Other { kind: 8, name: "1".into() },
    ];
    let resources = resources.map(|resource| (resource, None)).to_vec();
    let answers = rig.call(DescribeConfigs { resources });
    let counts: Vec<_> = answers
        .iter()
        .map(|a| a.configs.as_ref().map(Vec::len).map_err(ToString::to_string))
        .collect();
    assert_eq!(counts[0], Ok(34));
    assert_eq!(counts[1], Ok(320));
    assert_eq!(counts[2], Ok(0));
    assert_eq!(
        counts[3],
        Err("Unexpected broker id, expected 1 or empty string, but received 2".into())
    );
    assert_eq!(counts[4], Err("topic does not exist".into()));
    assert_eq!(counts[5], Err("levels of loggers are said when the node starts".into()));
    let broker = answers[1].configs.as_ref().unwrap();
    let names: BTreeSet<_> = broker.iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), broker.len(), "no name twice");
    assert_eq!(broker.iter().filter(|entry| !entry.read_only).count(), 47);
}

#[test]
fn producer_ids_are_never_given_out_twice() {
    let mut rig = Rig::new();
    let first = rig.submit(InitProducer { resume: None });
    assert!(!rig.is_answered(first), "the block is not on disk");
    let second = rig.submit(InitProducer { resume: None });
    rig.settle();
    let mut seen = BTreeSet::new();
    seen.insert(rig.answer::<InitProducer>(first).unwrap().unwrap().id);
    seen.insert(rig.answer::<InitProducer>(second).unwrap().unwrap().id);
    for _ in 0..limits::PRODUCER_ID_BLOCK {
        seen.insert(rig.call(InitProducer { resume: None }).unwrap().id);
    }
    let mut rig = rig.restart();
    for _ in 0..3 {
        seen.insert(rig.call(InitProducer { resume: None }).unwrap().id);
    }
    let given = usize::try_from(limits::PRODUCER_ID_BLOCK).unwrap() + 5;
    assert_eq!((seen.len(), seen.first()), (given, Some(&0)));
}

#[test]
fn a_producer_that_resumes_gets_its_next_epoch() {
    let mut rig = Rig::new();
    let Ok(ProducerIdentity { id, epoch: 0 }) = rig.call(InitProducer { resume: None }) else {
        panic!("a new id begins with epoch 0")
    };
    let cases = [
        (Some((id, 0)), ProducerIdentity { id, epoch: 1 }),
        (Some((id, 41)), ProducerIdentity { id, epoch: 42 }),
        (Some((id, i16::MAX - 1)), ProducerIdentity { id: id + 1, epoch: 0 }),
        (Some((id, i16::MAX)), ProducerIdentity { id: id + 2, epoch: 0 }),
        (Some((id, -1)), ProducerIdentity { id: id + 3, epoch: 0 }),
        (Some((999_999, 0)), ProducerIdentity { id: id + 4, epoch: 0 }),
        (Some((-1, -1)), ProducerIdentity { id: id + 5, epoch: 0 }),
    ];
    for (resume, expected) in cases {
        assert_eq!(rig.call(InitProducer { resume }), Ok(expected), "{resume:?}");
    }
}
