//! What monitoring reads, over the router and on an engine in memory: metrics under the names of other exporters, and
//! objectives.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings::{Event, Outcome, Publisher, Received, Service, done, reject};
use tidings_console::{Addresses, ConsoleOptions, LogAddress, limits};
use tidings_engine::{NewTopic, Polled, SentRecord, SubscribeOptions, TopicPartition};
use tidings_slo::Objectives;

mod shown;

use shown::Shown;

impl Shown {
    async fn following(objectives: Objectives) -> Self {
        let log = LogAddress::Node("127.0.0.1:9092".into());
        let addresses = Addresses { log, ..Addresses::default() };
        Self::with(ConsoleOptions { addresses, objectives, ..ConsoleOptions::default() }).await
    }

    /// A topic of so many partitions with a record in each.
    async fn topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic { partitions: Some(partitions), ..NewTopic::kept(name) };
        self.engine.create_topic(topic).await.unwrap();
        let record = |partition| SentRecord {
            topic: name.into(),
            partition: Some(partition),
            key: Some("k".into()),
            value: Some("v".into()),
            ..SentRecord::default()
        };
        let producer = self.engine.producer().await.unwrap();
        producer.send((0..partitions).map(record).collect()).await.unwrap();
    }
}

/// The samples of a text, each with its value; every family has its help and type before it.
fn samples(text: &str) -> Vec<(&str, &str)> {
    let mut named = "";
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            named = rest.split(' ').next().unwrap();
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(series.split('{').next().unwrap(), named, "{line}");
            samples.push((series, value));
        }
    }
    samples
}

/// Of one topic of two partitions with a record each, of which a group has done the first.
const KAFKA_EXPORTER: &[(&str, &str)] = &[
    ("kafka_brokers", "1"),
    ("kafka_broker_info{id=\"1\",address=\"127.0.0.1:9092\"}", "1"),
    ("kafka_topic_partitions{topic=\"shop.orders\"}", "2"),
    ("kafka_topic_partition_current_offset{topic=\"shop.orders\",partition=\"1\"}", "1"),
    ("kafka_topic_partition_oldest_offset{topic=\"shop.orders\",partition=\"1\"}", "0"),
    ("kafka_topic_partition_leader{topic=\"shop.orders\",partition=\"1\"}", "1"),
    ("kafka_topic_partition_replicas{topic=\"shop.orders\",partition=\"1\"}", "1"),
    ("kafka_topic_partition_in_sync_replica{topic=\"shop.orders\",partition=\"1\"}", "1"),
    ("kafka_topic_partition_leader_is_preferred{topic=\"shop.orders\",partition=\"1\"}", "1"),
    (
        "kafka_topic_partition_under_replicated_partition{topic=\"shop.orders\",partition=\"1\"}",
        "0",
    ),
    (
        "kafka_consumergroup_current_offset{consumergroup=\"payment\",topic=\"shop.orders\",partition=\"0\"}",
        "1",
    ),
    (
        "kafka_consumergroup_lag{consumergroup=\"payment\",topic=\"shop.orders\",partition=\"0\"}",
        "0",
    ),
    (
        "kafka_consumergroup_lag{consumergroup=\"payment\",topic=\"shop.orders\",partition=\"1\"}",
        "-1",
    ),
    (
        "kafka_consumergroup_current_offset_sum{consumergroup=\"payment\",topic=\"shop.orders\"}",
        "1",
    ),
    ("kafka_consumergroup_lag_sum{consumergroup=\"payment\",topic=\"shop.orders\"}", "0"),
    ("kafka_consumergroup_members{consumergroup=\"payment\"}", "1"),
    ("tidings_compat_left_out{what=\"topics\"}", "0"),
    ("tidings_compat_left_out{what=\"groups\"}", "0"),
];

/// The same.
const KMINION: &[(&str, &str)] = &[
    (
        "kminion_kafka_broker_info{broker_id=\"1\",address=\"127.0.0.1\",port=\"9092\",rack_id=\"\",is_controller=\"true\"}",
        "1",
    ),
    (
        "kminion_kafka_topic_info{topic_name=\"shop.orders\",partition_count=\"2\",replication_factor=\"1\",cleanup_policy=\"delete\"}",
        "1",
    ),
    (
        "kminion_kafka_topic_partition_low_water_mark{topic_name=\"shop.orders\",partition_id=\"1\"}",
        "0",
    ),
    (
        "kminion_kafka_topic_partition_high_water_mark{topic_name=\"shop.orders\",partition_id=\"1\"}",
        "1",
    ),
    ("kminion_kafka_topic_low_water_mark_sum{topic_name=\"shop.orders\"}", "0"),
    ("kminion_kafka_topic_high_water_mark_sum{topic_name=\"shop.orders\"}", "2"),
    ("kminion_kafka_consumer_group_members{group_id=\"payment\"}", "1"),
    ("kminion_kafka_consumer_group_empty_members{group_id=\"payment\"}", "0"),
    (
        "kminion_kafka_consumer_group_topic_members{group_id=\"payment\",topic_name=\"shop.orders\"}",
        "1",
    ),
    (
        "kminion_kafka_consumer_group_topic_assigned_partitions{group_id=\"payment\",topic_name=\"shop.orders\"}",
        "2",
    ),
    (
        "kminion_kafka_consumer_group_topic_offset_sum{group_id=\"payment\",topic_name=\"shop.orders\"}",
        "1",
    ),
    (
        "kminion_kafka_consumer_group_topic_partition_lag{group_id=\"payment\",topic_name=\"shop.orders\",partition_id=\"0\"}",
        "0",
    ),
    (
        "kminion_kafka_consumer_group_topic_lag{group_id=\"payment\",topic_name=\"shop.orders\"}",
        "0",
    ),
];

#[tokio::test]
async fn topics_and_groups_have_the_names_of_other_exporters() {
    let shown = Shown::following(Objectives::default()).await;
    shown.topic("shop.orders", 2).await;
    let options = SubscribeOptions::default();
    let mut subscription =
        shown.engine.subscribe("payment", &["shop.orders".to_owned()], options).await.unwrap();
    loop {
        if let Polled::Records(records) =
            subscription.poll(10, Duration::from_secs(10)).await.unwrap()
            && records.iter().any(|record| record.partition == 0)
        {
            break;
        }
    }
    let at = TopicPartition { topic: "shop.orders".into(), partition: 0 };
    subscription.commit(&[(at, 1, None)]).await.unwrap();

    let (status, text) = shown.get("/metrics/compat?style=kafka_exporter").await;
    assert_eq!(status, 200);
    let found = samples(&text);
    for expected in KAFKA_EXPORTER {
        assert!(found.contains(expected), "{expected:?} in {text}");
    }

    let (status, text) = shown.get("/metrics/compat?style=kminion").await;
    assert_eq!(status, 200);
    let found = samples(&text);
    for expected in KMINION {
        assert!(found.contains(expected), "{expected:?} in {text}");
    }
    for start in [
        "kminion_kafka_cluster_info{cluster_version=\"",
        "kminion_kafka_consumer_group_info{group_id=\"payment\",protocol=\"",
        "kminion_kafka_broker_log_dir_size_total_bytes{broker_id=\"1\",",
        "kminion_kafka_topic_log_dir_size_total_bytes{topic_name=\"shop.orders\"}",
        "kminion_exporter_up{version=\"",
    ] {
        assert!(found.iter().any(|(series, _)| series.starts_with(start)), "{start} in {text}");
    }
    subscription.close().await.unwrap();
}

#[tokio::test]
async fn a_style_that_is_none_is_refused_with_those_that_are() {
    let shown = Shown::following(Objectives::default()).await;
    for path in ["/metrics/compat", "/metrics/compat?style=burrow"] {
        let (status, body) = shown.get(path).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, problem["status"].as_u64()), (400, Some(400)), "{path}");
        for style in ["kafka_exporter", "kminion"] {
            assert!(problem["detail"].as_str().unwrap().contains(style), "{body}");
        }
    }
}

#[tokio::test]
async fn what_there_is_no_room_for_is_counted() {
    let shown = Shown::following(Objectives::default()).await;
    let partitions = i32::try_from(limits::COMPAT_PARTITIONS_MAX).unwrap() - 50;
    for (name, partitions) in [("a", partitions), ("b", 100), ("c", 1)] {
        let topic = NewTopic { partitions: Some(partitions), ..NewTopic::kept(name) };
        shown.engine.create_topic(topic).await.unwrap();
    }
    let (status, text) = shown.get("/metrics/compat?style=kafka_exporter").await;
    assert_eq!(status, 200);
    assert!(text.contains("# left out: 2 topics and 0 groups"), "it is told");
    let found = samples(&text);
    assert!(found.contains(&("tidings_compat_left_out{what=\"topics\"}", "2")));
    assert!(!text.contains("topic=\"b\"") && text.contains("topic=\"a\""), "whole topics, by name");
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "orders", key = "order")]
struct OrderPlaced {
    order: String,
}

async fn place(event: Received<OrderPlaced>) -> Outcome<()> {
    if event.order == "bad" { reject("no such thing") } else { done(()) }
}

#[tokio::test]
async fn objectives_are_followed_from_what_services_report() {
    let mut objectives = Objectives::default();
    objectives.say("order: success=90%, freshness=off").unwrap();
    let shown = Shown::following(objectives).await;
    shown.console.sampled().await;
    assert_eq!(shown.json("/api/slos").await["slos"], serde_json::json!([]));
    let running = Service::new("order").on(place).start(&shown.engine).await.unwrap();
    let publisher = Publisher::open(&shown.engine, "till").await.unwrap();
    let order = |name: &str| tidings::Outgoing::new(&OrderPlaced { order: name.to_owned() });
    let mut orders: Vec<_> = (0..3).map(|n| order(&format!("o-{n}"))).collect();
    orders.push(order("bad"));
    publisher.publish(orders).await.unwrap();
    let found = loop {
        shown.console.sampled().await;
        let found = shown.json("/api/slos?service=order").await;
        if found["slos"][0]["bad"] == 1 {
            break found;
        }
    };
    let slos = found["slos"].as_array().unwrap();
    let names: Vec<&str> = slos.iter().map(|slo| slo["slo"].as_str().unwrap()).collect();
    assert_eq!(names, ["success", "latency"], "the worst first, and freshness is off");
    assert_eq!((&slos[0]["objective"], &slos[0]["good"]), (&0.9.into(), &3.into()));
    assert_eq!(slos[0]["windows"][0]["window"], "5m");
    assert_eq!(slos[0]["windows"][0]["error_ratio"], 0.25);
    assert_eq!(slos[0]["state"], "ticket", "2.5 times the budget, in all windows");
    let (status, page) = shown.get("/slos").await;
    assert_eq!(status, 200);
    for part in ["90 % of events end without a dead letter", ">2.5<", "1 burning"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(shown.json("/api/slos?service=mail").await["slos"], serde_json::json!([]));
    running.stop().await.unwrap();
}
