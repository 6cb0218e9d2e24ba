//! The loop by single steps.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_engine::{NewTopic, Record};

use super::*;
use crate::{Event, Outcome, Received};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "orders", key = "order")]
struct OrderPlaced {
    order: String,
}

async fn never(_: Received<OrderPlaced>) -> Outcome<()> {
    std::future::pending().await
}

fn record(offset: i64, key: &'static str) -> Record {
    let event = OrderPlaced { order: key.to_owned() };
    let sent = crate::Outgoing::new(&event).into_record("till").expect("a record");
    Record {
        topic: "orders".into(),
        partition: 0,
        offset,
        timestamp: 0,
        key: Some(Bytes::from(key)),
        value: sent.value,
        headers: sent.headers,
    }
}

/// As on a cluster whose topic was deleted and made again, or has lost its end.
#[tokio::test]
async fn what_is_attempted_of_a_log_that_begins_anew_is_dropped() {
    let engine = Engine::in_memory().await.expect("an engine");
    engine.create_topic(NewTopic::kept("orders")).await.expect("made");
    let service = Service::new("payment").on(never);
    let (counts, _shown) = Counts::of(1);
    let (_stop, stopped) = watch::channel(false);
    let mut worker = Worker::begin(service, engine, counts, stopped).await.expect("begun");
    let at = TopicPartition { topic: "orders".into(), partition: 0 };
    worker.take_over(vec![(at, 7, None)]).await.expect("taken over");
    for (records, attempted) in [
        (vec![record(7, "a"), record(8, "b")], 2),
        (vec![record(9, "c")], 3),
        (vec![record(0, "a")], 1),
    ] {
        worker.take(Polled::Records(records)).await.expect("taken");
        worker.begin_attempts().expect("begun");
        assert_eq!(worker.attempts.len(), attempted);
    }
}
async fn not_now(_: Received<OrderPlaced>) -> Outcome<()> {
    crate::retry("not now")
}

/// While a commit takes its time more becomes due of what failed; were that committed next, and so on, nothing new
/// would be taken.
#[tokio::test]
async fn new_records_are_taken_between_two_commits_of_what_is_tried_again() {
    let engine = Engine::in_memory().await.expect("an engine");
    engine.create_topic(NewTopic::kept("orders")).await.expect("made");
    let till = crate::Publisher::open(&engine, "till").await.expect("a publisher");
    let publish = async |order: &str| {
        let event = crate::Outgoing::new(&OrderPlaced { order: order.to_owned() });
        till.publish(vec![event]).await.expect("published");
    };
    publish("a").await;
    let pause = Duration::from_millis(1);
    let backoff = Backoff { first: pause, max: pause, attempts: u32::MAX };
    let service = Service::new("payment").on(not_now).retry(backoff);
    let (counts, _shown) = Counts::of(1);
    let (_stop, stopped) = watch::channel(false);
    let mut worker = Worker::begin(service, engine.clone(), counts, stopped).await.expect("begun");
    while !worker.is_something_to_commit() {
        worker.step().await.expect("a step");
        worker.begin_attempts().expect("begun");
    }
    let (mut commits, mut taken) = (0, 0);
    publish("b").await;
    // It is tried again before each step.
    while worker.tasks[0].unfinished() + worker.tasks[0].shelf().len() < 2 && commits < 100 {
        while !worker.is_something_to_commit() {
            worker.begin_attempts().expect("begun");
        }
        match worker.step().await.expect("a step") {
            Step::Commit => commits += 1,
            Step::Take => taken += 1,
            Step::Wait => {}
        }
    }
    assert!(taken > 0 && commits < 100, "{commits} commits, {taken} looks for more");
}
