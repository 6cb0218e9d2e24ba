//! `tidings doctor` on a real Apache Kafka: a sound cluster, one with what would hurt, a user that may do
//! nothing, and a node of ours.

use std::process::Command;

use serde_json::Value;
use tidings_compat::{Server, binary};
use tidings_engine::{Engine, NewTopic};

use super::cluster::Cluster;
use super::secured::Secured;

/// The exit code, and the findings that are not content, as `level check: finding`.
fn doctor(url: &str) -> (Option<i32>, Vec<String>, Value) {
    let mut command = Command::new(binary().expect("the binary"));
    let output = command.args(["doctor", "--engine", url, "-o", "json"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer: Value = serde_json::from_slice(&output.stdout).expect(&said);
    let findings = answer["findings"].as_array().expect("a list").iter();
    let bad = findings.filter(|finding| finding["level"] != "ok").map(|finding| {
        let part = |name: &str| finding[name].as_str().expect("text").to_owned();
        assert!(!part("why").is_empty() && !part("try").is_empty(), "{finding}");
        format!("{} {}: {}", part("level"), part("check"), part("finding"))
    });
    (output.status.code(), bad.collect(), answer)
}

fn topic(name: &str, configs: &[(&str, &str)]) -> NewTopic {
    let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    NewTopic { name: name.to_owned(), partitions: Some(1), configs: configs.collect() }
}

/// What the doctor made for its trial is gone again.
async fn assert_nothing_is_left(engine: &Engine) {
    let topics = engine.topics().await.expect("topics");
    let groups = engine.groups().await.expect("groups");
    let names = topics.into_iter().map(|topic| topic.name);
    let names = names.chain(groups.into_iter().map(|group| group.name));
    let left: Vec<String> = names.filter(|name| name.starts_with("tidings.doctor")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_cluster_is_told_what_would_hurt() {
    let cluster = Cluster::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (code, bad, answer) = doctor(&cluster.url());
    assert_eq!((code, bad), (Some(0), Vec::new()), "{answer}");
    let clocks = answer["findings"].as_array().expect("a list").iter();
    assert_eq!(clocks.filter(|finding| finding["check"] == "clocks").count(), 1, "{answer}");

    runtime.block_on(async {
        let engine = Engine::connect(&cluster.url()).await.expect("it answers");
        assert_nothing_is_left(&engine).await;
        let weak = [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
        engine.create_topic(topic("weak", &weak)).await.expect("made");
        engine.create_topic(topic("stiff", &[("min.insync.replicas", "3")])).await.expect("made");
        engine.create_topic(topic("small", &[("max.message.bytes", "1000")])).await.expect("made");
        let single = Engine::connect(&format!("{}?replication=1", cluster.url())).await;
        let single = single.expect("it answers");
        let one = [("min.insync.replicas", "1")];
        single.create_topic(topic("single", &one)).await.expect("made");
    });
    let (code, bad, answer) = doctor(&cluster.url());
    assert_eq!(code, Some(1), "{answer}");
    assert_eq!(
        bad,
        [
            "error replication: topics with one replica",
            "warning min ISR: min.insync.replicas is as many as there are replicas",
            "warning min ISR: min.insync.replicas=1 with several replicas",
            "warning elections: unclean.leader.election.enable=true",
            "warning sizes: batches of less than 1048588 bytes only",
        ],
        "{answer}"
    );
    assert_eq!(answer["findings"][0]["names"][0], "single");
}

#[test]
fn a_user_that_may_nothing_is_told_what_it_lacks() {
    let kafka = Secured::start_without_transactions();
    let (code, bad, answer) = doctor(&kafka.url_of("guest"));
    assert_eq!(code, Some(1), "{answer}");
    let denied = "error permissions: this user may not: make topics".to_owned();
    assert!(bad.contains(&denied), "{bad:?}");
    assert!(
        bad.contains(&"warning unseen: what cannot be seen was not checked".to_owned()),
        "{bad:?}"
    );
    let (code, bad, answer) = doctor(&kafka.url_of("owner"));
    assert_eq!(code, Some(1), "{answer}");
    assert_eq!(
        bad,
        [
            "error own topics: transaction.state.log.replication.factor=3 with 1 brokers",
            "error permissions: it does not work: transactional ids",
            "warning brokers: one broker",
        ],
        "{answer}"
    );
}

#[test]
fn a_node_is_looked_at_as_a_cluster_is() {
    let server = Server::start().expect("the server starts");
    let url = format!("kafka://{}", server.kafka());
    let (code, bad, answer) = doctor(&url);
    assert_eq!((code, bad), (Some(0), vec!["warning brokers: one broker".to_owned()]), "{answer}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        assert_nothing_is_left(&Engine::connect(&url).await.expect("it answers")).await;
    });
}
