//! Ids, chains, redelivery, routing.

use std::sync::{Arc, Mutex};

use tidings_engine::SentRecord;

use super::*;
use crate::{Dep, Either, Envelope, Once, Outcome, Received, Service, decode, done};

async fn charge(event: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
    done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
}

async fn ship(event: Received<PaymentCompleted>) -> Outcome<Shipped> {
    done(Shipped { order: event.order.clone() })
}

#[tokio::test]
async fn outputs_have_derived_ids_and_tell_their_causes() {
    let engine = engine(2).await;
    let payment = Service::new("payment").on(charge).start(&engine).await.expect("started");
    let shipping = Service::new("shipping").on(ship).start(&engine).await.expect("started");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let first = placed("a").traceparent(trace).correlation("basket-7");
    till(&engine).await.publish(vec![first]).await.expect("published");
    until(&shipping, |f| f.emitted == 1).await;

    let envelopes: Vec<Envelope> = {
        let mut envelopes = Vec::new();
        for topic in ["orders", "payments", "shipments"] {
            let records = records(&engine, topic).await;
            assert_eq!(records.len(), 1, "{topic}");
            envelopes.push(Envelope::from_record(&records[0]).expect("an envelope"));
        }
        envelopes
    };
    let payment_id = Id::derived(&[order_id("a").as_str(), "payment", "charge", "0"]);
    let shipped_id = Id::derived(&[payment_id.as_str(), "shipping", "ship", "0"]);
    let told: Vec<_> = envelopes
        .iter()
        .map(|e| (e.source.as_str(), e.id.clone(), e.causation.clone(), e.correlation.clone()))
        .collect();
    let basket = Some(Id::from("basket-7"));
    let expected = [
        ("till", order_id("a"), None, basket.clone()),
        ("payment", payment_id.clone(), Some(order_id("a")), basket.clone()),
        ("shipping", shipped_id, Some(payment_id), basket),
    ];
    assert_eq!(told, expected);
    let traces: Vec<&str> = envelopes.iter().flat_map(|e| e.traceparent.as_deref()).collect();
    assert!(traces.iter().all(|t| t[..36] == trace[..36]), "{traces:?}");
    assert!(traces[0] != traces[1] && traces[1] != traces[2] && traces[0] != trace, "{traces:?}");
    payment.stop().await.expect("stopped");
    shipping.stop().await.expect("stopped");
}

#[tokio::test]
async fn what_says_nothing_of_correlation_and_trace_begins_both() {
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let mut foreign = records(&engine, "orders").await.remove(0);
    let needed = ["ce_specversion", "ce_id", "ce_type", "ce_source"];
    foreign.headers.retain(|header| needed.contains(&&*header.name));
    foreign
        .headers
        .iter_mut()
        .filter(|h| h.name == "ce_id")
        .for_each(|h| h.value = Some("f-1".into()));
    let Record { topic, key, value, headers, .. } = foreign;
    let foreign =
        SentRecord { topic: topic.to_string(), key, value, headers, ..SentRecord::default() };
    engine.producer().await.expect("a producer").send(vec![foreign]).await.expect("appended");
    let payment = Service::new("payment").on(charge).start(&engine).await.expect("started");
    until(&payment, |f| f.emitted == 2).await;
    payment.stop().await.expect("stopped");

    let root = Envelope::from_record(&records(&engine, "orders").await[0]).expect("an envelope");
    assert_eq!((root.correlation, root.causation), (Some(order_id("a")), None));
    let payments = records(&engine, "payments").await;
    let payments = payments.iter().map(|r| Envelope::from_record(r).expect("an envelope"));
    let (mut causes, mut traces) = (Vec::new(), vec![root.traceparent.expect("a trace")]);
    for payment in payments {
        assert_eq!(payment.correlation, payment.causation, "the input's id");
        causes.extend(payment.causation);
        traces.extend(payment.traceparent);
    }
    assert_eq!(causes, [order_id("a"), "f-1".into()]);
    assert_eq!(traces[0][..36], traces[1][..36], "the root's trace goes on");
    assert_ne!(traces[0][..36], traces[2][..36], "the foreign event's is another");
}

#[tokio::test]
async fn an_event_delivered_again_changes_nothing() {
    let engine = engine(2).await;
    let service = || Service::new("payment").on(charge);
    place(&engine, &["a", "b", "a"]).await;
    let running = service().start(&engine).await.expect("started");
    let figures = until(&running, |f| f.processed + f.duplicates == 3).await;
    assert_eq!((figures.processed, figures.duplicates, figures.emitted), (2, 1, 2));
    place(&engine, &["b"]).await;
    until(&running, |f| f.duplicates == 2).await;
    running.stop().await.expect("stopped");
    let before = ids(&engine, "payments").await;
    assert_eq!(before.values().copied().collect::<Vec<u32>>(), [1, 1]);

    deliver_again(&engine, "payment").await;
    let running = service().start(&engine).await.expect("started");
    let figures = until(&running, |f| f.processed + f.duplicates == 4).await;
    assert_eq!((figures.processed, figures.duplicates, figures.emitted), (0, 4, 0));
    running.stop().await.expect("stopped");
    assert_eq!(ids(&engine, "payments").await, before);
    assert!(all_committed(&engine, "payment").await);
}

#[tokio::test]
async fn the_same_id_is_another_input_for_another_handler() {
    async fn note(event: Received<OrderPlaced>) -> Outcome<Shipped> {
        done(Shipped { order: event.order.clone() })
    }
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let service = Service::new("payment").on(charge).on(note).on(ship);
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 3).await;
    running.stop().await.expect("stopped");
    assert_eq!(ids(&engine, "payments").await.len(), 1);
    assert_eq!(ids(&engine, "shipments").await.len(), 2);
}

#[tokio::test]
async fn types_without_handler_are_passed_over() {
    #[derive(Event, Serialize, Deserialize)]
    #[event(topic = "orders", key = "order")]
    struct OrderCancelled {
        order: String,
    }
    let engine = engine(1).await;
    let till = till(&engine).await;
    till.emit(&OrderCancelled { order: "a".into() }).await.expect("published");
    place(&engine, &["a"]).await;
    let running = Service::new("payment").on(charge).start(&engine).await.expect("started");
    let figures = until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");
    assert_eq!((figures.processed, figures.dead), (1, 0));
    assert!(all_committed(&engine, "payment").await);
}

#[tokio::test]
async fn effects_of_every_shape_arrive_numbered() {
    async fn all(
        event: Received<OrderPlaced>,
    ) -> Outcome<(Vec<Shipped>, Either<PaymentCompleted, Shipped>, Option<Shipped>)> {
        let shipped = |n: u32| Shipped { order: format!("{}-{n}", event.order) };
        done((vec![shipped(0), shipped(1)], Either::Right(shipped(2)), None))
    }
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let running = Service::new("payment").on(all).start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 3).await;
    running.stop().await.expect("stopped");
    let records = records(&engine, "shipments").await;
    let arrived: Vec<_> = records
        .iter()
        .map(|r| (r.header("ce_subject"), r.header("tidings-output"), r.header("ce_id")))
        .collect();
    let id = |n: &str| Id::derived(&[order_id("a").as_str(), "payment", "all", n]).to_string();
    let (zero, one, two) = (id("0"), id("1"), id("2"));
    let expected = [
        (Some("a-0"), Some("0/3"), Some(zero.as_str())),
        (Some("a-1"), Some("1/3"), Some(one.as_str())),
        (Some("a-2"), Some("2/3"), Some(two.as_str())),
    ];
    assert_eq!(arrived, expected);
}

#[tokio::test]
async fn extractors_give_what_was_registered_and_a_key_that_stays() {
    type Keys = Mutex<Vec<String>>;
    async fn twice(_: Received<OrderPlaced>, once: Once, keys: Dep<Arc<Keys>>) -> Outcome<()> {
        let mut keys = keys.lock().expect("not poisoned");
        keys.push(once.key());
        if keys.len() == 1 { crate::retry("not yet") } else { done(()) }
    }
    let engine = engine(1).await;
    place(&engine, &["a", "b"]).await;
    let keys: Arc<Keys> = Arc::default();
    let service = Service::new("payment").with(Arc::clone(&keys)).on(twice).retry(QUICK);
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.processed == 2).await;
    running.stop().await.expect("stopped");
    let key =
        |order| Id::derived(&["once", order_id(order).as_str(), "payment", "twice"]).to_string();
    assert_eq!(*keys.lock().expect("not poisoned"), [key("a"), key("a"), key("b")]);
}

#[tokio::test]
async fn a_publisher_makes_topics_and_says_where_events_went() {
    #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
    #[event(topic = "new-topic", key = "n")]
    struct Counted {
        n: u32,
    }
    let engine = engine(1).await;
    let events = (0..3).map(|n| Outgoing::new(&Counted { n }).header("x", "y").time_ms(1000));
    let positions = till(&engine).await.publish(events.collect()).await.expect("published");
    assert_eq!(positions.len(), 3);
    let records = records(&engine, "new-topic").await;
    assert_eq!(records.len(), 3);
    for (n, position) in (0..).zip(&positions) {
        let at = |r: &&Record| (r.partition, r.offset) == (position.partition, position.offset);
        let record = records.iter().find(at).expect("a record");
        assert_eq!(*decode::<Counted>(record).expect("decodes"), Counted { n });
        assert_eq!(record.header("x"), Some("y"));
        assert_eq!(record.header("ce_time"), Some("1970-01-01T00:00:01.000Z"));
    }
}

#[tokio::test]
async fn more_than_a_batch_holds_goes_in_several() {
    let engine = engine(1).await;
    let large = "x".repeat(300 * 1024);
    let events: Vec<Outgoing> = (0..5)
        .map(|n| {
            let event = Shipped { order: format!("{n}{large}") };
            Outgoing::new(&event).id(n.to_string())
        })
        .collect();
    let positions = till(&engine).await.publish(events).await.expect("published");
    assert_eq!(positions.iter().map(|p| p.offset).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}
