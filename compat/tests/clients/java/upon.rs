//! `tidings up --engine` upon Apache Kafka: the same figures as on the embedded log, registries that share a
//! topic, and what is wrong said at the start.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;
use serde_json::{Value, json};
use tidings_compat::{Conversation, binary, eventually, run};
use tidings_engine::{Engine, NewTopic};

use super::PATIENCE;
use super::cluster::Cluster;
use super::secured::Secured;
use crate::http::ask;

/// The figures that depend on who got the last unit, or on the time.
const ITS_OWN: [&str; 7] = [
    "refunded_pence",
    "shipped_pence",
    "out_of_stock",
    "units_shipped",
    "units_returned",
    "units_left",
    "seconds",
];

fn up(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary().expect("the binary"));
    command.arg("up").args(arguments);
    command.args(["--http", "127.0.0.1:0", "--registry", "127.0.0.1:0"]);
    command
}

/// The month's reconciliation, without the figures of one's own.
fn month(arguments: &[&str]) -> BTreeMap<String, Value> {
    let mut command = up(arguments);
    command.args(["--demo", "shop", "--speed", "max", "--until-done"]);
    let said = run(&mut command, "", PATIENCE).expect("it ends").success().expect("it reconciles");
    let figures: BTreeMap<String, Value> =
        serde_json::from_str(said.last().expect("figures")).expect("JSON");
    assert_eq!(figures["reconciled"], true, "{figures:#?}");
    figures.into_iter().filter(|(name, _)| !ITS_OWN.contains(&name.as_str())).collect()
}

/// Standard error of an `up` that does not start.
fn refused(arguments: &[&str]) -> String {
    let ended = run(&mut up(arguments), "", PATIENCE).expect("it ends");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.stdout, Vec::<String>::new(), "it is not ready");
    ended.stderr
}

#[test]
fn the_shop_has_the_same_figures_as_on_the_embedded_log() {
    let cluster = Cluster::start();
    let folder = tempfile::TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("a path in UTF-8");
    let embedded = month(&["--data", data, "--kafka", "127.0.0.1:0"]);
    assert_eq!(month(&["--engine", &cluster.url()]), embedded);
    assert_eq!(
        month(&["--engine", &cluster.url()]),
        embedded,
        "a second start sells nothing again"
    );
    registries_share_a_topic(&cluster);
    the_console_shows_what_the_cluster_holds(&cluster);
}

/// Every schema that is registered, at whichever registry, has an id of its own, and both know it.
fn registries_share_a_topic(cluster: &Cluster) {
    const SCHEMAS: usize = 20;
    let start = || {
        let mut command = up(&["--engine", &cluster.url()]);
        let mut running = Conversation::start(&mut command, PATIENCE).expect("it starts");
        let ready = running.expect("{\"event\":\"ready\"").expect("it is ready");
        let ready: Value = serde_json::from_str(&ready).expect("JSON");
        let address = ready["registry"].as_str().expect("an address");
        (address.trim_start_matches("http://").to_owned(), running)
    };
    let (one, other) = (start(), start());
    let register = |number: usize| {
        let schema = json!({ "type": "fixed", "name": format!("F{number}"), "size": number });
        let body = json!({ "schema": schema.to_string() }).to_string();
        let address = if number.is_multiple_of(2) { &one.0 } else { &other.0 };
        let (status, answer) = ask(address, "POST", "/subjects/s/versions", &body);
        assert_eq!(status, "HTTP/1.1 200 OK", "{answer}");
        let id = serde_json::from_str::<Value>(&answer).expect("JSON")["id"].clone();
        (id.as_i64().expect("an id"), schema)
    };
    let registered: BTreeMap<i64, Value> = thread::scope(|scope| {
        let all: Vec<_> = (0..SCHEMAS).map(|n| scope.spawn(move || register(n))).collect();
        all.into_iter().map(|one| one.join().expect("registered")).collect()
    });
    assert_eq!(registered.len(), SCHEMAS, "an id was given away twice: {registered:?}");
    for (id, schema) in registered {
        for address in [&one.0, &other.0] {
            let (status, found) = ask(address, "GET", &format!("/schemas/ids/{id}/schema"), "");
            assert_eq!(status, "HTTP/1.1 200 OK", "{found}");
            assert_eq!(serde_json::from_str::<Value>(&found).expect("JSON"), schema, "{id}");
        }
    }
}

/// A search, an event's life, and the names that other exporters use.
fn the_console_shows_what_the_cluster_holds(cluster: &Cluster) {
    let mut command = up(&["--engine", &cluster.url()]);
    let mut running = Conversation::start(&mut command, PATIENCE).expect("it starts");
    let ready = running.expect("{\"event\":\"ready\"").expect("it is ready");
    let ready: Value = serde_json::from_str(&ready).expect("JSON");
    let console = ready["http"].as_str().expect("an address").trim_start_matches("http://");
    let get = |path: &str| {
        let (status, body) = ask(console, "GET", path, "");
        assert_eq!(status, "HTTP/1.1 200 OK", "{path}: {body}");
        body
    };

    let search = get("/api/topics/shop.orders/search?json=$.country&col=$.country");
    let told = |line: &str| Some(serde_json::from_str(line.strip_prefix("data: ")?).expect("JSON"));
    let told: Vec<Value> = search.lines().filter_map(told).collect();
    let looked = &told.last().expect("an end")["looked"];
    assert_eq!(looked["failed"], 0, "{looked}");
    let order = told.iter().find(|record| record["type"] == "OrderPlaced").expect("an order");

    let correlation = order["correlation"].as_str().expect("events of a life say so");
    let life: Value =
        serde_json::from_str(&get(&format!("/api/trace?q={correlation}"))).expect("JSON");
    let events = life["life"]["event_list"].as_array().expect("events");
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).expect("an event");
    assert_eq!(of("OrderPlaced")["id"], order["id"]);
    assert_eq!(of("OrderPlaced")["causation"], of("InvoiceReceived")["id"]);
    let readers = of("OrderPlaced")["readers"].as_array().expect("readers");
    assert!(readers.iter().any(|reader| reader["group"] == "payment"), "{readers:?}");

    let of_partition = |style: &str, metric: &str| {
        let path = format!("/metrics/compat?style={style}");
        let has = eventually(PATIENCE, || {
            get(&path).lines().any(|line| line.starts_with(metric)).then_some(())
        });
        has.expect(metric);
    };
    of_partition("kafka_exporter", "kafka_consumergroup_lag{consumergroup=\"payment\"");
    of_partition("kminion", "kminion_kafka_consumer_group_topic_lag{group_id=\"payment\"");
}

#[test]
fn what_a_cluster_cannot_do_is_said_at_the_start() {
    let mut cluster = Cluster::start();
    let url = cluster.url();
    let said = refused(&["--engine", &format!("{url}?replication=5")]);
    assert!(said.contains("replication=5 is more than the cluster 127.0.0.1:"), "{said}");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let topic = NewTopic { partitions: Some(4), ..NewTopic::kept("shop.orders") };
    runtime.block_on(async {
        let engine = Engine::connect(&url).await.expect("the cluster answers");
        engine.create_topic(topic).await.expect("made");
        let all = [("min.insync.replicas".to_owned(), Some("3".to_owned()))];
        engine.configure_topic("shop.orders", &all).await.expect("configured");
    });
    cluster.kill(0);
    let said = refused(&["--engine", &url, "--demo", "shop"]);
    for part in [
        "takes no records: 2 of its 3 replicas are in sync and min.insync.replicas wants 3",
        &format!("cluster {}", url.trim_start_matches("kafka://")),
        "start the brokers that are down",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_wrong_password_is_said_with_the_address() {
    let kafka = Secured::start();
    let url = kafka.url_of("guest").replace("user=guest", "user=owner");
    let address = url.trim_start_matches("kafka://").split('?').next().expect("an address");
    let said = refused(&["--engine", &url]);
    let what = format!("error: the credentials are not accepted at {address}\nwhy:   ");
    assert!(said.contains(&what), "{said}");
    assert!(said.contains("\ntry:   check user=owner and "), "{said}");
    assert!(!said.contains("hunter"), "{said}");
}

#[test]
fn brokers_that_are_too_old_are_said_with_what_they_lack() {
    let cluster = MockCluster::new(1).expect("brokers that librdkafka plays");
    let old = cluster.apiversion(RDKafkaApiKey::TxnOffsetCommit, Some(0), Some(2));
    old.expect("the brokers say what they are told");
    let address = cluster.bootstrap_servers();
    let said = refused(&["--engine", &format!("kafka://{address}")]);
    assert!(said.contains(&format!("error: the brokers are too old at {address}\n")), "{said}");
    assert!(said.contains("TxnOffsetCommit 3") && said.contains("2.5 or later"), "{said}");
}
