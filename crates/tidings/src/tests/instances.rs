//! Several instances of a service share its partitions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::*;
use crate::{Dep, Outcome, Received, Service, done, outage};

async fn charge(event: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
    done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
}

fn service() -> Service {
    Service::new("payment").on(charge)
}

async fn members(engine: &Engine) -> Vec<usize> {
    let group = engine.group("payment").await.expect("a group");
    let stable = group.state == "Stable";
    group.members.iter().filter(|_| stable).map(|m| m.assignment.len()).collect()
}

#[tokio::test]
async fn instances_share_partitions_and_hand_over_without_duplicates() {
    let engine = engine(4).await;
    let names: Vec<String> = (0..300).map(|n| format!("order-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = service().start(&engine).await.expect("started");
    place(&engine, &names[..100]).await;
    let second = service().start(&engine).await.expect("started");
    place(&engine, &names[50..150]).await;
    eventually(async || members(&engine).await == [2, 2]).await;
    place(&engine, &names[100..250]).await;
    // What is committed is counted a moment later.
    let shares = || [first.figures().emitted, second.figures().emitted];
    eventually(async || shares().iter().sum::<u64>() == 250).await;
    let shares = shares();
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");

    first.stop().await.expect("stopped");
    place(&engine, &names[..300]).await;
    eventually(async || all_committed(&engine, "payment").await).await;
    second.stop().await.expect("stopped");
    let ids = ids(&engine, "payments").await;
    assert_eq!((ids.len(), ids.values().max()), (300, Some(&1)));
}

/// A bank that can be out of order.
type Bank = Arc<AtomicBool>;

async fn bank_charge(event: Received<OrderPlaced>, open: Dep<Bank>) -> Outcome<PaymentCompleted> {
    if !open.load(Ordering::SeqCst) {
        return outage("closed");
    }
    done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
}

#[tokio::test]
async fn a_partition_is_given_away_in_the_middle_of_an_outage() {
    let engine = engine(2).await;
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    place(&engine, &names).await;
    let bank = Bank::default();
    let stuck = Service::new("payment").on_named("charge", bank_charge).with(Arc::clone(&bank));
    let stuck = stuck.breaker(QUICK_PROBES).start(&engine).await.expect("started");
    until(&stuck, |f| f.outages > 3).await;
    let working = service().start(&engine).await.expect("started");
    eventually(async || members(&engine).await == [1, 1]).await;
    until(&working, |f| f.emitted > 0).await;
    bank.store(true, Ordering::SeqCst);
    eventually(async || all_committed(&engine, "payment").await).await;
    let shares = || [stuck.figures().emitted, working.figures().emitted];
    eventually(async || shares().iter().sum::<u64>() == names.len() as u64).await;
    let shares = shares();
    stuck.stop().await.expect("stopped");
    working.stop().await.expect("stopped");
    let ids = ids(&engine, "payments").await;
    assert_eq!((ids.len(), ids.values().max()), (names.len(), Some(&1)));
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

#[tokio::test]
async fn a_partition_is_given_away_in_the_middle_of_a_batch() {
    async fn slow(event: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
    }
    // One batch, and four seconds of work for one instance.
    let engine = engine(2).await;
    let names: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    place(&engine, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let busy = Service::new("payment").on_named("charge", slow).concurrency(1);
    let busy = busy.start(&engine).await.expect("started");
    until(&busy, |f| f.emitted > 0).await;
    let idle = service().start(&engine).await.expect("started");
    until(&idle, |f| f.emitted > 0).await;
    eventually(async || all_committed(&engine, "payment").await).await;
    busy.stop().await.expect("stopped");
    idle.stop().await.expect("stopped");
    let ids = ids(&engine, "payments").await;
    assert_eq!((ids.len(), ids.values().max()), (names.len(), Some(&1)));
}

#[tokio::test]
async fn an_instance_that_was_taken_for_dead_appends_nothing() {
    type Gate = Arc<tokio::sync::Semaphore>;
    async fn gated(
        event: Received<OrderPlaced>,
        gate: Dep<Gate>,
        waiting: Dep<Arc<AtomicUsize>>,
    ) -> Outcome<PaymentCompleted> {
        waiting.fetch_add(1, Ordering::SeqCst);
        gate.acquire().await?.forget();
        done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
    }
    let engine = engine(2).await;
    let names = ["a", "b", "c", "d", "e", "f"];
    place(&engine, &names).await;
    let gate = Gate::new(tokio::sync::Semaphore::new(0));
    let waiting: Arc<AtomicUsize> = Arc::default();
    let service = Service::new("payment").on_named("charge", gated).with(Arc::clone(&gate));
    let service = service.with(Arc::clone(&waiting));
    let running = service.start(&engine).await.expect("started");
    eventually(async || waiting.load(Ordering::SeqCst) == names.len()).await;
    // What whoever is given its partitions does first.
    let id = tidings_engine::TopicPartition { topic: "orders".into(), partition: 0 };
    let (id, options) = (id.transactional_id("payment."), Default::default());
    engine.transactional_producer(&id, options).await.expect("the id");
    gate.add_permits(100);
    until(&running, |f| f.rejoined == 1).await;
    assert_eq!(ids(&engine, "payments").await.len(), 0, "all were handled, none is there");
    eventually(async || all_committed(&engine, "payment").await).await;
    running.stop().await.expect("stopped");
    let ids = ids(&engine, "payments").await;
    assert_eq!((ids.len(), ids.values().max()), (names.len(), Some(&1)));
}
