//! Retries, rejections, outages, panics, timeouts, and bytes that are no events.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use tidings_engine::{Header, SentRecord};

use super::*;
use crate::{
    BreakerOptions, DeadKind, Dep, OutageOn, Outcome, Received, Service, done, outage, reject,
    retry,
};

fn paid(event: &OrderPlaced) -> PaymentCompleted {
    PaymentCompleted { order: event.order.clone(), pence: event.pence }
}

async fn moody(event: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
    match event.order.as_str() {
        "rejected" => reject("card declined"),
        "failing" => retry("no answer"),
        "panicking" => panic!("a bug in {}", event.order),
        "error" => {
            let pence: i64 = "ten".parse()?;
            done(PaymentCompleted { order: event.order.clone(), pence })
        }
        _ => done(paid(&event)),
    }
}

/// Handles the orders with `moody` and returns the letters: order, kind, attempts, cause.
async fn letters_of(orders: &[&str]) -> (Vec<(String, DeadKind, u32, String)>, Figures, Engine) {
    let engine = engine(1).await;
    place(&engine, orders).await;
    let service = Service::new("payment").on(moody).retry(QUICK);
    let running = service.start(&engine).await.expect("started");
    let inputs = orders.len() as u64;
    let figures = until(&running, |f| f.emitted + f.dead == inputs).await;
    running.stop().await.expect("stopped");
    assert!(all_committed(&engine, "payment").await);
    let letters = dead_letters(&engine, "payment").await;
    let story = |l: &DeadLetter| {
        let key = l.key.as_deref().unwrap_or_default();
        let order = String::from_utf8_lossy(key).into_owned();
        (order, l.kind.expect("ours"), l.attempts.expect("ours"), l.cause.clone())
    };
    (letters.iter().map(story).collect(), figures, engine)
}

#[tokio::test]
async fn what_cannot_be_handled_ends_as_a_dead_letter_and_the_rest_flows() {
    for (bad, kind, attempts, cause) in [
        ("rejected", DeadKind::Rejected, 1, "card declined"),
        ("failing", DeadKind::Failed, 3, "no answer"),
        ("panicking", DeadKind::Failed, 3, "the handler panicked: a bug in panicking"),
        ("error", DeadKind::Failed, 3, "invalid digit found in string"),
    ] {
        let (letters, figures, engine) = letters_of(&["a", bad, "b"]).await;
        assert_eq!(letters, [(bad.into(), kind, attempts, cause.into())]);
        let expected = Figures {
            processed: 3,
            parked: u64::from(kind == DeadKind::Failed),
            dead_keys: u64::from(kind == DeadKind::Failed),
            emitted: 2,
            failed: if kind == DeadKind::Failed { 3 } else { 0 },
            dead: 1,
            rejected: u64::from(kind == DeadKind::Rejected),
            retried: u64::from(attempts - 1),
            panics: if bad == "panicking" { 3 } else { 0 },
            ..Figures::default()
        };
        assert_eq!(figures, expected, "{bad}");
        assert_eq!(ids(&engine, "payments").await.len(), 2, "{bad}");
    }
}

#[tokio::test]
async fn a_dead_letter_says_where_it_came_from() {
    let (_, _, engine) = letters_of(&["a", "error"]).await;
    let original = records(&engine, "orders").await.remove(1);
    let letter = dead_letters(&engine, "payment").await.remove(0);
    let expected = DeadLetter {
        id: Some(Id::derived(&[order_id("error").as_str(), "payment", "moody", "dead"])),
        kind: Some(DeadKind::Failed),
        cause: "invalid digit found in string".into(),
        attempts: Some(3),
        service: Some("payment".into()),
        handler: Some("moody".into()),
        causation: Some(order_id("error")),
        topic: "orders".into(),
        partition: 0,
        offset: 1,
        timestamp: Some(original.timestamp),
        exception: Some("core::num::error::ParseIntError".into()),
        stacktrace: Some("invalid digit found in string".into()),
        truncated: false,
        key: original.key.clone(),
        value: original.value.clone(),
        headers: original.headers.clone(),
    };
    assert_eq!(letter, expected);
    let raw = records(&engine, "payment.dead").await.remove(0);
    assert_eq!(raw.header("kafka_dlt-original-consumer-group"), Some("payment"));
    assert_eq!(raw.header("kafka_dlt-original-topic"), Some("orders"));
}

#[tokio::test]
async fn a_rejection_is_written_once_however_often_it_is_delivered() {
    let (before, _, engine) = letters_of(&["rejected"]).await;
    deliver_again(&engine, "payment").await;
    let service = Service::new("payment").on(moody).retry(QUICK);
    let running = service.start(&engine).await.expect("started");
    let figures = until(&running, |f| f.duplicates == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!((before.len(), figures.dead, figures.rejected), (1, 0, 0));
    assert_eq!(dead_letters(&engine, "payment").await.len(), 1);
}

#[tokio::test]
async fn an_attempt_that_works_in_the_end_leaves_no_letter() {
    async fn third_time(
        event: Received<OrderPlaced>,
        calls: Dep<Arc<AtomicU32>>,
    ) -> Outcome<PaymentCompleted> {
        if calls.fetch_add(1, Ordering::Relaxed) < 2 {
            retry("not yet")
        } else {
            done(paid(&event))
        }
    }
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let calls: Arc<AtomicU32> = Arc::default();
    let service = Service::new("payment").with(calls).on(third_time).retry(QUICK);
    let running = service.start(&engine).await.expect("started");
    let figures = until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!((figures.retried, figures.dead, figures.duplicates), (2, 0, 0));
}

#[derive(Default)]
struct Bank {
    down: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("the bank does not answer")]
struct Unavailable;

async fn bank_charge(
    event: Received<OrderPlaced>,
    bank: Dep<Arc<Bank>>,
) -> Outcome<PaymentCompleted> {
    let answer = if bank.down.load(Ordering::SeqCst) { Err(Unavailable) } else { Ok(()) };
    answer.outage_on(|_| true)?;
    done(paid(&event))
}

#[tokio::test]
async fn an_outage_commits_nothing_and_goes_on_when_it_is_over() {
    let engine = engine(1).await;
    let bank = Arc::new(Bank::default());
    let service =
        Service::new("payment").with(Arc::clone(&bank)).on(bank_charge).breaker(QUICK_PROBES);
    let running = service.start(&engine).await.expect("started");
    place(&engine, &["a", "b"]).await;
    until(&running, |f| f.emitted == 2).await;
    bank.down.store(true, Ordering::SeqCst);
    place(&engine, &["c", "d"]).await;
    // Many times the attempts that a failing event would get.
    let figures = until(&running, |f| f.outages >= 20).await;
    assert_eq!((figures.emitted, figures.dead, figures.retried), (2, 0, 0));
    let outage = running.outage().expect("it waits");
    assert_eq!(outage.cause, "the bank does not answer");
    assert!(outage.probes > 5, "{outage:?}");
    let offsets = engine.group("payment").await.expect("a group").offsets;
    let committed: Vec<_> = offsets.iter().map(|o| (o.committed, o.end_offset)).collect();
    assert_eq!(committed, [(Some(2), 4)]);
    bank.down.store(false, Ordering::SeqCst);
    until(&running, |f| f.emitted == 4).await;
    assert_eq!(running.outage(), None);
    place(&engine, &["e"]).await;
    until(&running, |f| f.emitted == 5).await;
    running.stop().await.expect("stopped");
    assert!(dead_letters(&engine, "payment").await.is_empty());
}

#[tokio::test]
async fn a_service_in_an_outage_can_be_stopped() {
    async fn never(_: Received<OrderPlaced>) -> Outcome<()> {
        outage("for ever")
    }
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let hour = Duration::from_secs(3600);
    let probe = Backoff { first: hour, max: hour, attempts: 1 };
    let service = Service::new("payment").on(never).breaker(BreakerOptions { keys: 5, probe });
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.outages == 1).await;
    let stopped = tokio::time::timeout(SOON, running.stop()).await.expect("soon");
    assert_eq!(stopped, Ok(()));
}

#[tokio::test]
async fn a_handler_that_takes_too_long_has_failed() {
    async fn slow(_: Received<OrderPlaced>) -> Outcome<()> {
        std::future::pending().await
    }
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let service = Service::new("payment").on(slow).retry(QUICK).timeout(Duration::from_millis(5));
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.dead == 1).await;
    running.stop().await.expect("stopped");
    let letter = dead_letters(&engine, "payment").await.remove(0);
    assert_eq!(letter.cause, "the handler took longer than 5ms");
}

#[tokio::test]
async fn a_handler_that_panics_before_its_first_await_has_failed_too() {
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let handler = |event: Received<OrderPlaced>| {
        assert!(event.order != "a", "not this one");
        std::future::ready(done(()))
    };
    let service = Service::new("payment").on_named("early", handler).retry(QUICK);
    let running = service.start(&engine).await.expect("started");
    let figures = until(&running, |f| f.dead == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!(figures.panics, 3);
}

#[tokio::test]
async fn one_handler_failing_does_not_keep_the_other_from_its_effects() {
    async fn ship(event: Received<OrderPlaced>) -> Outcome<Shipped> {
        done(Shipped { order: event.order.clone() })
    }
    let engine = engine(1).await;
    place(&engine, &["failing"]).await;
    let service = Service::new("payment").on(ship).on(moody).retry(QUICK);
    let running = service.start(&engine).await.expect("started");
    let figures = until(&running, |f| f.dead == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!((figures.emitted, figures.duplicates, figures.processed), (1, 0, 2));
    assert_eq!(ids(&engine, "shipments").await.len(), 1);
}

#[tokio::test]
async fn outputs_too_large_for_a_batch_are_a_failure() {
    async fn explode(event: Received<OrderPlaced>) -> Outcome<Vec<Shipped>> {
        let order = format!("{}{}", event.order, "x".repeat(100_000));
        done(vec![Shipped { order }; 8])
    }
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let service = Service::new("payment").on(explode).retry(QUICK);
    let running = service.start(&engine).await.expect("started");
    let figures = until(&running, |f| f.dead == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!(figures.emitted, 0);
    let letter = dead_letters(&engine, "payment").await.remove(0);
    assert!(letter.cause.starts_with("8 outputs of 24"), "{}", letter.cause);
}

/// A topic that takes batches of so many bytes.
async fn small_topic(engine: &Engine, name: &str, bytes: usize) {
    let configs = vec![("max.message.bytes".to_owned(), bytes.to_string())];
    let topic = NewTopic { name: name.into(), partitions: Some(1), configs };
    engine.create_topic(topic).await.expect("a topic");
}

#[tokio::test]
async fn an_output_that_its_topic_does_not_take_is_a_failure_and_the_rest_flows() {
    #[derive(crate::Event, Serialize, Deserialize)]
    #[event(topic = "parcels", key = "order")]
    struct Packed {
        order: String,
        paper: String,
    }
    async fn pack(event: Received<OrderPlaced>) -> Outcome<Packed> {
        let bytes = event.order.parse()?;
        done(Packed { order: event.order.clone(), paper: "x".repeat(bytes) })
    }
    let engine = engine(1).await;
    small_topic(&engine, "parcels", 2_000).await;
    // Every size around the limit: each order ends as a parcel or as a letter.
    let orders: Vec<String> = (1_000..2_000).step_by(5).map(|bytes| bytes.to_string()).collect();
    let orders: Vec<&str> = orders.iter().map(String::as_str).collect();
    place(&engine, &orders).await;
    let service = Service::new("packing").on(pack).retry(QUICK);
    let running = service.start(&engine).await.expect("started");
    let figures = until(&running, |f| f.dead + f.emitted == 200).await;
    running.stop().await.expect("stopped");
    assert_eq!(figures.rejoined, 0);
    let letters = dead_letters(&engine, "packing").await;
    let mut ended: Vec<&str> = Vec::new();
    let packed = records(&engine, "parcels").await;
    ended.extend(packed.iter().map(|r| r.header("ce_subject").expect("a subject")));
    assert!(ended.contains(&"1000"));
    for letter in &letters {
        ended.push(str::from_utf8(letter.key.as_deref().expect("a key")).expect("text"));
        let expected = "exceeds the 1939 bytes that max.message.bytes of parcels leaves a record";
        assert!(letter.cause.ends_with(expected), "{}", letter.cause);
    }
    ended.sort_unstable();
    assert_eq!(ended, orders);
}

#[tokio::test]
async fn a_letter_is_cut_to_what_the_dead_letter_topic_takes() {
    let engine = engine(1).await;
    small_topic(&engine, "payment.dead", 100_000).await;
    let running = Service::new("payment")
        .on_named("never", |_: Received<OrderPlaced>| std::future::ready(reject::<()>("no")))
        .start(&engine)
        .await
        .expect("started");
    place(&engine, &["a", &"x".repeat(60_000)]).await;
    let figures = until(&running, |f| f.dead == 2).await;
    running.stop().await.expect("stopped");
    assert_eq!(figures.rejoined, 0);
    let letters = dead_letters(&engine, "payment").await;
    assert_eq!(letters.iter().map(|l| l.truncated).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_dead_letter_topic_that_takes_no_letter_keeps_the_service_from_starting() {
    let engine = engine(1).await;
    small_topic(&engine, "payment.dead", 10_000).await;
    let refused = Service::new("payment").on(moody).start(&engine).await.expect_err("too small");
    let problem = "payment.dead takes records of 9939 bytes, a dead letter may need 65536: raise \
                   its max.message.bytes";
    let service = "payment".to_owned();
    assert_eq!(refused, crate::Error::Wiring { service, problem: problem.into() });
}

#[tokio::test]
async fn a_deleted_dead_letter_topic_is_made_again() {
    let engine = engine(1).await;
    let running = Service::new("payment").on(moody).start(&engine).await.expect("started");
    engine.delete_topic("payment.dead").await.expect("deleted");
    place(&engine, &["rejected"]).await;
    until(&running, |f| f.dead == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!(dead_letters(&engine, "payment").await.len(), 1);
}

/// Records that claim the id of an order and are none, each under a key of its own, or those after the first would
/// wait behind it.
async fn no_events() -> Vec<SentRecord> {
    let elsewhere = engine(1).await;
    place(&elsewhere, &["a"]).await;
    let good = records(&elsewhere, "orders").await.remove(0);
    let sent = |edit: &dyn Fn(&mut SentRecord)| {
        let Record { topic, key, value, headers, .. } = good.clone();
        let mut record =
            SentRecord { topic: topic.to_string(), key, value, headers, ..SentRecord::default() };
        edit(&mut record);
        record
    };
    let set = |name: &'static str, value: &'static str| {
        move |record: &mut SentRecord| {
            record.headers.retain(|h| h.name != name);
            record.headers.push(Header::text(name, value));
        }
    };
    let forged = |value: &'static [u8]| {
        move |record: &mut SentRecord| {
            record.value = Some(value.into());
            record.headers.retain(|h| h.name != "ce_checksum");
        }
    };
    let bad = vec![
        sent(&|r| r.headers.clear()),
        sent(&|r| r.value = Some("{\"order\":\"a\",\"pence\":-1}".into())),
        sent(&forged(b"{")),
        sent(&|r| r.value = None),
        sent(&set("ce_dataversion", "2")),
        sent(&set("content-type", "text/plain")),
        sent(&|r| r.key = None),
        sent(&forged(br#"{"order":"a","pounds":1}"#)),
        sent(&forged(&[0xff, 0x00])),
        sent(&set("ce_dataversion", "0")),
        sent(&set("ce_kind", "rumour")),
    ];
    let keyed = bad.into_iter().enumerate().map(|(number, record)| {
        let key = record.key.map(|_| format!("bad-{number}").into());
        SentRecord { key, ..record }
    });
    keyed.collect()
}

#[tokio::test]
async fn records_that_are_no_events_are_dead_letters_with_the_cause() {
    let (engine, bad) = (engine(1).await, no_events().await);
    let count = bad.len() as u64;
    engine.producer().await.expect("a producer").send(bad).await.expect("appended");
    // All of them claim the id of this event, which is no reason to take it for a duplicate.
    place(&engine, &["a"]).await;
    let service = || Service::new("payment").on(moody);
    let running = service().start(&engine).await.expect("started");
    let figures = until(&running, |f| f.dead == count && f.emitted == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!((figures.processed, figures.duplicates, figures.retried), (1, 0, 0));
    let mut letters = dead_letters(&engine, "payment").await;
    letters.sort_by_key(|letter| letter.offset);
    assert!(letters.iter().all(|l| (l.kind, l.attempts) == (Some(DeadKind::Undecodable), Some(0))));
    let causes: Vec<&str> = letters.iter().map(|l| l.cause.as_str()).collect();
    assert_eq!(causes[0], "header ce_specversion is missing or not UTF-8");
    assert!(causes[1].starts_with("checksum is "), "{}", causes[1]);
    assert_eq!(causes[2], "EOF while parsing an object at line 1 column 1");
    assert_eq!(causes[3], "the record has no value");
    assert_eq!(causes[4], "version 2 is newer than 1, the newest known here");
    assert_eq!(
        causes[5..],
        [
            "content type \"text/plain\" is not application/json",
            "the record has no key, OrderPlaced is keyed by `order`",
            "missing field `pence` at line 1 column 24",
            "expected value at line 1 column 1",
            "version 0 has no upcaster to 1, the version known here",
            "header ce_kind is \"rumour\"",
        ]
    );

    deliver_again(&engine, "payment").await;
    let running = service().start(&engine).await.expect("started");
    let figures = until(&running, |f| f.duplicates == 1 && f.parked == count).await;
    eventually(async || all_committed(&engine, "payment").await).await;
    running.stop().await.expect("stopped");
    assert_eq!((figures.dead, figures.emitted), (0, 0));
    assert_eq!(dead_letters(&engine, "payment").await.len() as u64, count);
}
