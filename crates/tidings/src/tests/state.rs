//! State is a fold of the service's own outputs.

use super::*;
use crate::{Error, Outcome, Received, Service, State, done};

#[derive(Clone, Debug, Default)]
struct Till {
    pence: i64,
    payments: u64,
}

/// Emits the running total, which only the state knows.
async fn total(event: Received<OrderPlaced>, till: State<Till>) -> Outcome<PaymentCompleted> {
    done(PaymentCompleted { order: event.order.clone(), pence: till.pence + event.pence })
}

fn service() -> Service {
    Service::new("payment").state(Till::default()).on(total).fold(
        |till: &mut Till, paid: &PaymentCompleted| {
            till.pence = paid.pence;
            till.payments += 1;
        },
    )
}

async fn totals(engine: &Engine) -> Vec<i64> {
    let records = records(engine, "payments").await;
    records.iter().map(|r| crate::decode::<PaymentCompleted>(r).expect("decodes").pence).collect()
}

#[tokio::test]
async fn state_is_there_at_the_next_event_and_after_a_restart() {
    let engine = engine(1).await;
    place(&engine, &["a", "bb"]).await;
    for (orders, emitted) in [(&["ccc"][..], 3), (&["dddd", "eeeee"][..], 2)] {
        let running = service().start(&engine).await.expect("started");
        place(&engine, orders).await;
        until(&running, |f| f.emitted == emitted).await;
        running.stop().await.expect("stopped");
    }
    assert_eq!(totals(&engine).await, [1, 3, 6, 10, 15]);
}

#[tokio::test]
async fn events_of_other_sources_are_not_folded() {
    let engine = engine(1).await;
    let foreign = PaymentCompleted { order: "x".into(), pence: 1_000 };
    till(&engine).await.emit(&foreign).await.expect("published");
    let running = service().start(&engine).await.expect("started");
    place(&engine, &["a"]).await;
    until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!(totals(&engine).await, [1_000, 1]);
}

#[tokio::test]
async fn a_state_that_cannot_be_rebuilt_keeps_the_service_from_starting() {
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let running = service().start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");

    mod later {
        #[derive(crate::Event, serde::Serialize, serde::Deserialize)]
        #[event(topic = "payments", key = "order")]
        pub(super) struct PaymentCompleted {
            pub(super) order: String,
            pub(super) currency: String,
        }
    }
    let changed = Service::new("payment").state(Till::default()).on(total).fold(
        |till: &mut Till, paid: &later::PaymentCompleted| {
            till.payments += paid.currency.len() as u64;
        },
    );
    let expected = Error::Fold {
        service: "payment".into(),
        topic: "payments".into(),
        partition: 0,
        offset: 0,
        cause: "missing field `currency` at line 1 column 23".into(),
    };
    assert_eq!(changed.start(&engine).await.map(|_| ()), Err(expected));
}

#[tokio::test]
async fn an_event_that_would_not_read_back_is_never_appended() {
    #[derive(crate::Event, Serialize, Deserialize)]
    #[event(topic = "payments", key = "order")]
    struct OneWay {
        order: String,
        #[serde(rename(serialize = "sum", deserialize = "pence"))]
        pence: i64,
    }
    async fn one_way(event: Received<OrderPlaced>) -> Outcome<OneWay> {
        done(OneWay { order: event.order.clone(), pence: 1 })
    }
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let service = Service::new("payment")
        .state(Till::default())
        .on(one_way)
        .fold(|till: &mut Till, paid: &OneWay| till.pence += paid.pence);
    let running = service.start(&engine).await.expect("started");
    until(&running, |_| false).await;
    let Err(Error::Encode { event_type: "OneWay", cause }) = running.stop().await else {
        panic!("the service should have ended");
    };
    assert!(cause.contains("missing field `pence`"), "{cause}");
    assert!(totals(&engine).await.is_empty());
}

#[tokio::test]
async fn a_fold_that_panics_ends_the_service_and_says_so() {
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let service = Service::new("payment")
        .state(Till::default())
        .on(total)
        .fold(|_: &mut Till, _: &PaymentCompleted| panic!("a bug in a fold"));
    let running = service.start(&engine).await.expect("started");
    until(&running, |_| false).await;
    let died = Error::Died { service: "payment".into(), cause: "a bug in a fold".into() };
    assert_eq!(running.stop().await, Err(died));
    assert!(totals(&engine).await.is_empty());
}

#[tokio::test]
async fn a_deleted_output_topic_is_made_again_and_the_state_is_what_the_log_says() {
    let engine = engine(1).await;
    place(&engine, &["a", "bb"]).await;
    let running = service().start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 2).await;
    engine.delete_topic("payments").await.expect("deleted");
    place(&engine, &["ccc"]).await;
    let figures = until(&running, |f| f.emitted == 3).await;
    running.stop().await.expect("stopped");
    assert!(figures.rejoined > 0);
    // The log says that there were no payments; 6 would be the state before the failure, 9 that of
    // an event folded twice.
    assert_eq!(totals(&engine).await, [3]);
}

#[tokio::test]
async fn an_output_partition_that_cannot_be_opened_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let aside = tempfile::tempdir().expect("a directory");
    let (folder, kept) = (dir.path().join("payments-0"), aside.path().join("payments-0"));
    let engine = engine_in(dir.path()).await;
    place(&engine, &["a"]).await;
    let running = service().start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");
    engine.close().await.expect("closed");

    std::fs::rename(&folder, &kept).expect("renamed");
    std::fs::write(&folder, "in the way").expect("written");
    let engine = engine_in(dir.path()).await;
    let refused = service().start(&engine).await.expect_err("the state cannot be known");
    let Error::Engine(tidings_engine::Error::Storage(text)) = refused else {
        panic!("the disk is to blame: {refused:?}");
    };
    assert!(text.contains("payments-0 could not be opened"), "{text}");
    engine.close().await.expect("closed");

    std::fs::remove_file(&folder).expect("removed");
    std::fs::rename(&kept, &folder).expect("renamed");
    let engine = engine_in(dir.path()).await;
    place(&engine, &["bb"]).await;
    let running = service().start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!(totals(&engine).await, [1, 3]);
}

/// An engine on disk; its topics have one partition.
async fn engine_in(dir: &std::path::Path) -> Engine {
    let engine = Engine::open(dir).await.expect("an engine");
    for name in ["orders", "payments"] {
        let topic = NewTopic { name: name.into(), partitions: Some(1), configs: Vec::new() };
        let made = engine.create_topic(topic).await;
        assert!(matches!(made, Ok(()) | Err(tidings_engine::Error::TopicExists(_))), "{made:?}");
    }
    engine
}
