//! Several instances of a service share its partitions.

use super::*;
use crate::{Outcome, Received, Service, done, outage};

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
    eventually(async || all_committed(&engine, "payment").await).await;
    let shares = [first.figures().emitted, second.figures().emitted];
    assert_eq!(shares.iter().sum::<u64>(), 250);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");

    first.stop().await.expect("stopped");
    place(&engine, &names[..300]).await;
    eventually(async || all_committed(&engine, "payment").await).await;
    second.stop().await.expect("stopped");
    let ids = ids(&engine, "payments").await;
    assert_eq!((ids.len(), ids.values().max()), (300, Some(&1)));
}

#[tokio::test]
async fn a_partition_is_given_away_in_the_middle_of_an_outage() {
    async fn never(_: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
        outage("for ever")
    }
    let engine = engine(2).await;
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    place(&engine, &names).await;
    let stuck = Service::new("payment").on_named("charge", never).retry(QUICK);
    let stuck = stuck.start(&engine).await.expect("started");
    until(&stuck, |f| f.outages > 3).await;
    let working = service().start(&engine).await.expect("started");
    eventually(async || members(&engine).await == [1, 1]).await;
    until(&working, |f| f.emitted > 0).await;
    stuck.stop().await.expect("stopped");
    eventually(async || all_committed(&engine, "payment").await).await;
    working.stop().await.expect("stopped");
    let ids = ids(&engine, "payments").await;
    assert_eq!((ids.len(), ids.values().max()), (names.len(), Some(&1)));
}
