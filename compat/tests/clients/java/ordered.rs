//! Services on Apache Kafka: order through failure, and the example that changes one URL.

use std::process::Command;

use tidings_compat::{binary, run};
use tidings_engine::Engine;

use super::PATIENCE;
use super::cluster::Cluster;

#[test]
fn order_holds_through_failures_and_crashes_and_the_example_runs() {
    let cluster = Cluster::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let engine = Engine::connect(&cluster.url()).await.expect("the cluster answers");
        crate::order::drill(&engine, 1_000, 100, 10).await;
        engine.close().await.expect("closed");
    });
    let example = binary().expect("the binary").with_file_name("tidings-example-the-same-on-kafka");
    for paid in [100, 0] {
        let mut command = Command::new(&example);
        command.arg(cluster.url());
        let said = run(&mut command, "", PATIENCE).expect("it ends").success().expect("it works");
        assert_eq!(said, [format!("{paid} orders are paid on {}", cluster.url())]);
    }
}
