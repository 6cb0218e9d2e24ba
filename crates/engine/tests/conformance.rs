//! The conformance suite on the embedded node: in memory, on disk, and through its own Kafka port.

#[cfg(feature = "kafka")]
mod served;

use tidings_conformance::Stage;
use tidings_engine::Engine;
use tidings_node::{MemoryDisk, Node, NodeConfig};

/// Retention and compaction look at logs all the time, and little is kept in memory, so that what they do can
/// be awaited.
fn config() -> NodeConfig {
    let mut config = NodeConfig::in_memory();
    config.store.retention_check_ms = 50;
    config.store.flush_after_ms = 50;
    config
}

fn in_memory(behaviour: &'static str) -> Stage {
    let disk = std::sync::Arc::new(MemoryDisk::default());
    let (node, _) = Node::start(disk, config()).expect("a node in memory");
    Stage::on(Engine::embedded(node), behaviour)
}

fn on_disk(behaviour: &'static str) -> Stage {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let opened = Node::open(dir.path(), config());
    let (node, _) = opened.expect("a node on disk");
    Stage::in_directory(Engine::embedded(node), behaviour, dir)
}

macro_rules! tests {
    ($engine:expr => $($module:ident { $($behaviour:ident),+ $(,)? })+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let stage = $engine(stringify!($behaviour));
                tidings_conformance::within(
                    tidings_conformance::$module::$behaviour(stage)
                ).await;
            }
        )+)+
    };
}

mod memory {
    macro_rules! all {
        ($($behaviours:tt)+) => { tests! { crate::in_memory => $($behaviours)+ } };
    }
    tidings_conformance::behaviours!(all);
    tidings_conformance::cutting_behaviours!(all);
}

mod disk {
    macro_rules! all {
        ($($behaviours:tt)+) => { tests! { crate::on_disk => $($behaviours)+ } };
    }
    tidings_conformance::behaviours!(all);
    tidings_conformance::cutting_behaviours!(all);
    tidings_conformance::durable_behaviours!(all);
}

#[cfg(feature = "kafka")]
mod kafka_port {
    macro_rules! all {
        ($($module:ident { $($behaviour:ident),+ $(,)? })+) => {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    let served = crate::served::Served::start().await;
                    let engine = served.connect().await;
                    let stage = tidings_conformance::Stage::on(engine, stringify!($behaviour));
                    tidings_conformance::within(
                        tidings_conformance::$module::$behaviour(stage)
                    ).await;
                    served.stop().await;
                }
            )+)+
        };
    }
    tidings_conformance::behaviours!(all);
}
