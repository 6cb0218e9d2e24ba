//! A service that ends at any point between handling, append and commit.

use std::collections::BTreeSet;

use super::*;
use crate::{Outcome, Received, Service, State, done, reject, run::Crash};

#[derive(Clone, Debug, Default)]
struct Seen(BTreeSet<String>);

/// Pays and ships; every fifth order is rejected. Breaks when it sees an order a second time.
async fn fulfil(
    event: Received<OrderPlaced>,
    seen: State<Seen>,
) -> Outcome<(PaymentCompleted, Shipped)> {
    let order = event.order.clone();
    tokio::task::yield_now().await;
    if seen.0.contains(&order) {
        return reject(format!("{order} a second time"));
    }
    if event.pence % 5 == 0 {
        return reject("every fifth");
    }
    done((PaymentCompleted { order: order.clone(), pence: event.pence }, Shipped { order }))
}

fn service(crash: Crash) -> Service {
    let mut service = Service::new("payment").state(Seen::default()).on(fulfil).fold(
        |seen: &mut Seen, shipped: &Shipped| {
            assert!(seen.0.insert(shipped.order.clone()), "{} is folded twice", shipped.order);
        },
    );
    service.crash = crash;
    service
}

/// Orders named 0..count; some come twice.
fn orders(random: &mut Seeded, count: u64) -> Vec<Outgoing> {
    let mut events = Vec::new();
    for n in 0..count {
        let event = OrderPlaced { order: n.to_string(), pence: i64::try_from(n).expect("small") };
        let event = Outgoing::new(&event).id(order_id(&n.to_string()));
        events.push(event.clone());
        if random.below(4) == 0 {
            events.push(event);
        }
    }
    events
}

/// Every order has ended once, in the topics and in a state rebuilt from them.
async fn check(engine: &Engine, count: u64, seed: u64) {
    let rejected = count.div_ceil(5);
    for topic in ["payments", "shipments"] {
        let ids = ids(engine, topic).await;
        let found = (ids.len() as u64, ids.values().max());
        assert_eq!(found, (count - rejected, Some(&1)), "seed {seed}: {topic}");
    }
    let letters = dead_letters(engine, "payment").await;
    let causes: BTreeSet<&str> = letters.iter().map(|l| l.cause.as_str()).collect();
    assert_eq!(causes, BTreeSet::from(["every fifth"]), "seed {seed}");
    assert_eq!(letters.len() as u64, rejected, "seed {seed}");
}

#[tokio::test]
async fn a_crash_between_any_two_steps_leaves_every_output_once() {
    const COUNT: u64 = 20;
    let mut crashes = 0;
    for seed in 0..60 {
        let mut random = Seeded(seed);
        let engine = engine(1 + i32::try_from(random.below(3)).expect("small")).await;
        let till = till(&engine).await;
        let mut events = orders(&mut random, COUNT);
        while !events.is_empty() {
            let some = 1 + random.below(8).min(events.len() as u64 - 1);
            let rest = events.split_off(usize::try_from(some).expect("small"));
            till.publish(std::mem::replace(&mut events, rest)).await.expect("published");
            let points = i64::try_from(random.below(6)).expect("small");
            let running = service(Crash::after(points)).start(&engine).await.expect("started");
            // Ends by itself at its crash point; with no more to do it passes no more points.
            let idle = eventually(async || all_committed(&engine, "payment").await);
            tokio::select! {
                _ = running.until(|_| false) => crashes += 1,
                () = idle => {}
            }
        }
        let running = service(Crash::never()).start(&engine).await.expect("started");
        eventually(async || all_committed(&engine, "payment").await).await;
        running.stop().await.expect("stopped");
        check(&engine, COUNT, seed).await;
        engine.close().await.expect("closed");
    }
    assert!(crashes > 100, "only {crashes} crashes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_dropped_at_any_moment_leaves_every_output_once() {
    const COUNT: u64 = 60;
    for seed in 100..120 {
        let mut random = Seeded(seed);
        let engine = engine(2).await;
        let events = orders(&mut random, COUNT);
        till(&engine).await.publish(events).await.expect("published");
        for _ in 0..6 {
            let running = service(Crash::never()).start(&engine).await.expect("started");
            for _ in 0..random.below(400) {
                tokio::task::yield_now().await;
            }
            drop(running);
        }
        let running = service(Crash::never()).start(&engine).await.expect("started");
        eventually(async || all_committed(&engine, "payment").await).await;
        running.stop().await.expect("stopped");
        check(&engine, COUNT, seed).await;
        engine.close().await.expect("closed");
    }
}
