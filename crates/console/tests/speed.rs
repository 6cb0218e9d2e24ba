//! How long every page takes at 1,000 topics and 10,000 groups, and how busy the sampler keeps a core.

use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tidings_console::{Console, ConsoleOptions};
use tidings_engine::{Engine, NewTopic, SentRecord, TopicPartition};
use tower::ServiceExt;

const TOPICS: usize = 1_000;
const PARTITIONS: i32 = 4;
const GROUPS: usize = 10_000;

async fn filled() -> Engine {
    let engine = Engine::in_memory().await.unwrap();
    let producer = engine.producer().await.unwrap();
    for n in 0..TOPICS {
        let name = format!("shop.topic-{n:04}");
        let topic = NewTopic { name: name.clone(), partitions: Some(PARTITIONS), configs: vec![] };
        engine.create_topic(topic).await.unwrap();
        let record = |partition| SentRecord {
            topic: name.clone(),
            partition: Some(partition),
            value: Some("{\"order\":536365,\"pence\":13912}".into()),
            ..SentRecord::default()
        };
        let records = (0..PARTITIONS).flat_map(|partition| vec![record(partition); 10]);
        producer.send(records.collect()).await.unwrap();
    }
    for n in 0..GROUPS {
        let topic = format!("shop.topic-{:04}", n % TOPICS);
        let offsets = (0..PARTITIONS).map(|partition| {
            let at = TopicPartition { topic: topic.clone(), partition };
            // Every tenth is behind.
            (at, if n % 10 == 0 { 5 } else { 10 }, None)
        });
        let offsets: Vec<_> = offsets.collect();
        engine.reset_group(&format!("group-{n:05}"), &offsets).await.unwrap();
    }
    engine
}

/// Time that this process has spent on processors.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test --release -p tidings-console --test speed -- --ignored --nocapture"]
async fn every_page_at_1_000_topics_and_10_000_groups() {
    let began = Instant::now();
    let engine = filled().await;
    println!("filled in {:?}", began.elapsed());
    let console = Console::start(engine.clone(), ConsoleOptions::default()).await;
    // Until every group has had its turn.
    for _ in 0..60 {
        console.sampled().await;
    }
    let (before, since) = (processor_time(), Instant::now());
    for _ in 0..5 {
        console.sampled().await;
    }
    let busy = (processor_time() - before).as_secs_f64() / since.elapsed().as_secs_f64();
    println!("sampling keeps {:.0} % of a core busy", busy * 100.0);
    for path in [
        "/",
        "/topics",
        "/topics?q=0042",
        "/topics/shop.topic-0042",
        "/topics/shop.topic-0042?q=order",
        "/topics/shop.topic-0042?open=0/3",
        "/topics/shop.topic-0042/0/3",
        "/topics/shop.topic-0042/produce",
        "/groups",
        "/groups/group-00042",
        "/events",
        "/dead",
        "/metrics",
        "/api/overview",
        "/api/topics",
        "/api/topics/shop.topic-0042",
        "/api/groups",
    ] {
        let mut best = Duration::MAX;
        let (mut bytes, mut status) = (0, 0);
        for _ in 0..5 {
            let began = Instant::now();
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = console.router().oneshot(request).await.unwrap();
            status = response.status().as_u16();
            bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap().len();
            best = best.min(began.elapsed());
        }
        println!("{path}: {status}, {best:?}, {bytes} bytes");
    }
}
