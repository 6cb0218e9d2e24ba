//! `tidings dead` against a node with a service on it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings::{Backoff, Dep, Event, Outcome, Publisher, Received, Running, Service, done, retry};
use tidings_engine::Engine;

use crate::node::{Node, tidings as command};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "orders", key = "order")]
struct OrderPlaced {
    order: String,
    pence: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "payments", key = "order")]
struct Paid {
    order: String,
    pence: i64,
}

async fn charge(event: Received<OrderPlaced>, open: Dep<Arc<AtomicBool>>) -> Outcome<Paid> {
    if event.pence > 100 && !open.load(Ordering::SeqCst) {
        return retry("the amount is not allowed");
    }
    done(Paid { order: event.order.clone(), pence: event.pence })
}

async fn service(engine: &Engine, open: &Arc<AtomicBool>) -> Running {
    let quick =
        Backoff { first: Duration::from_millis(1), max: Duration::from_millis(2), attempts: 2 };
    let service = Service::new("payment").on(charge).with(Arc::clone(open)).retry(quick);
    service.start(engine).await.unwrap()
}

/// What the command says, and its exit code.
fn dead(node: &Node, arguments: &[&str]) -> (String, Option<i32>) {
    let url = format!("kafka://{}", node.kafka);
    let mut all = vec!["dead"];
    all.extend(arguments);
    all.extend(["--engine", &url]);
    let output = command(&all).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.code())
}

fn answer(node: &Node, arguments: &[&str]) -> Value {
    let (said, code) = dead(node, &[arguments, &["-o", "json"]].concat());
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap()
}

/// A service with three dead keys of four, and what wakes it.
struct Stage {
    node: Node,
    runtime: tokio::runtime::Runtime,
    engine: Engine,
    running: Running,
    open: Arc<AtomicBool>,
    data: tempfile::TempDir,
}

fn stage() -> Stage {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let open = Arc::new(AtomicBool::new(false));
    let (engine, running) = runtime.block_on(async {
        let engine = Engine::connect(&format!("kafka://{}", node.kafka)).await.unwrap();
        let running = service(&engine, &open).await;
        let till = Publisher::open(&engine, "till").await.unwrap();
        for (order, pence) in [("a", 500), ("b", 10), ("a", 1), ("c", 600), ("d", 5), ("e", 700)] {
            till.emit(&OrderPlaced { order: order.into(), pence }).await.unwrap();
            // Something works between what fails, or it would be taken for an outage.
            till.emit(&OrderPlaced { order: "well".into(), pence: 1 }).await.unwrap();
        }
        while running.figures().dead_keys < 3 {
            till.emit(&OrderPlaced { order: "well".into(), pence: 1 }).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (engine, running)
    });
    Stage { node, runtime, engine, running, open, data }
}

/// The dead keys by name, each with its letter's id.
fn letter(node: &Node, key: &str) -> String {
    let keys = answer(node, &["list", "payment"]);
    let its = keys["dead"].as_array().unwrap().iter().find(|dead| dead["key"] == key).unwrap();
    its["letters"][0].as_str().unwrap().to_owned()
}

#[test]
fn what_is_dead_is_listed_and_shown() {
    let Stage { node, .. } = &stage();
    let (listed, _) = dead(node, &["list", "payment"]);
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (row[0], row[1], row[4..].join(" ").as_str()),
        ("3", "4", "the amount is not allowed"),
        "{listed}"
    );
    let (shown, _) = dead(node, &["show", "payment", &letter(node, "a")]);
    for part in [
        "key        a\n",
        "behind it  1\n",
        "ce_type: OrderPlaced\n",
        "{\"order\":\"a\",\"pence\":500}\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let would = answer(node, &["redrive", "payment", "--all", "--dry-run"]);
    assert_eq!(would["would"].as_array().unwrap().len(), 3);
    let (said, code) = dead(node, &["redrive", "payment"]);
    assert_eq!(code, Some(2), "{said}");
    let one = letter(node, "a");
    let (names, _) = dead(node, &["list", "payment", "-o", "name"]);
    assert!(names.lines().count() == 3 && names.lines().any(|name| name == one), "{names}");
    let (wide, _) = dead(node, &["list", "payment", "-o", "wide"]);
    assert!(wide.starts_with("KEY  BEHIND") && wide.contains(&one), "{wide}");
    let (said, code) = dead(node, &["discard", "payment", "--letter", &one]);
    assert!(code == Some(2) && said.contains("try:   --yes to do it"), "{said}");
    assert_eq!(answer(node, &["list", "payment"])["dead"].as_array().unwrap().len(), 3);
}

#[test]
fn what_is_dead_is_redriven_edited_and_discarded() {
    let Stage { node, runtime, engine, running, open, data } = stage();
    let (one, other) = (letter(&node, "a"), letter(&node, "c"));
    let mended = data.path().join("mended.json");
    std::fs::write(&mended, "{\"order\":\"a\",\"pence\":50}\n").unwrap();
    let edited = answer(
        &node,
        &["edit", "payment", "--letter", &one, "--value", mended.to_str().unwrap(), "--by", "ann"],
    );
    assert_eq!((&edited["done"], &edited["unheard"]), (&1.into(), &0.into()));
    assert_eq!(
        dead(&node, &["discard", "payment", "--letter", &other, "--yes"]),
        ("1 key done\n".into(), Some(0))
    );
    open.store(true, Ordering::SeqCst);
    assert_eq!(
        dead(&node, &["redrive", "payment", "--cause", "the amount is not allowed"]),
        ("1 key done\n".into(), Some(0))
    );
    runtime.block_on(async {
        running.until(|figures| figures.parked == 0).await;
        running.stop().await.unwrap();
        engine.close().await.unwrap();
    });
    assert_eq!(dead(&node, &["list", "payment"]), ("payment has no dead keys (letters of what it rejected: tidings consume payment.dead)\n".into(), Some(0)));
    let (said, code) = dead(&node, &["redrive", "payment", "--all"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.starts_with("error: payment has no dead key\n"), "{said}");
    let (audit, _) = dead(&node, &["audit", "payment"]);
    assert_eq!(audit.lines().count(), 4, "{audit}");
    assert!(
        audit.contains(" ann ")
            && audit.contains(" discard ")
            && audit.contains("cause \"the amount"),
        "{audit}"
    );
}
