//! The conformance suite of the engine's seam against a real Apache Kafka cluster of three brokers.
//!
//! `TIDINGS_BEHAVIOUR` runs those whose names contain it.

use tidings_conformance::Behaviour;
use tidings_engine::Engine;
use tokio::task::JoinSet;

use super::cluster::Cluster;

/// Behaviours that run at once: most of what they do is to wait for the cluster.
const AT_ONCE: usize = 3;

#[test]
fn apache_kafka_behaves_as_every_engine() {
    let cluster = Cluster::start();
    let wanted = std::env::var("TIDINGS_BEHAVIOUR").unwrap_or_default();
    let mut left = tidings_conformance::all();
    left.retain(|behaviour| behaviour.name.contains(&wanted));
    left.reverse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let failures = runtime.block_on(async {
        let (mut running, mut failures) = (JoinSet::new(), Vec::new());
        loop {
            while running.len() < AT_ONCE
                && let Some(behaviour) = left.pop()
            {
                running.spawn(one(cluster.url(), behaviour));
            }
            let Some(ended) = running.join_next().await else { return failures };
            failures.extend(ended.expect("a behaviour's panic is caught"));
        }
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What went wrong, under the behaviour's name.
async fn one(url: String, behaviour: Behaviour) -> Option<String> {
    let engine = Engine::connect(&url).await.expect("the cluster answers");
    let begun = std::time::Instant::now();
    let ended = behaviour.run(engine).await;
    println!("{} {:?} {:?}", behaviour.name, ended, begun.elapsed());
    ended.err().map(|why| format!("{}: {why}", behaviour.name))
}
