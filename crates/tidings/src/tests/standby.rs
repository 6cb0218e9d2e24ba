//! Copies of values by key: a partition that moves to an instance with one is served when its tail has been read, and its
//! values are those that there would be without moves and crashes.

use std::{collections::BTreeMap, path::Path};

use super::{keyed::totals, *};
use crate::{Error, Kept, Keyed, OrCreate, Outcome, Received, Service, done, run::Crash};

/// Emits the key's running total; an order of nothing forgets it.
async fn book(
    event: Received<OrderPlaced>,
    total: Keyed<i64, OrCreate>,
) -> Outcome<(Kept<i64>, PaymentCompleted)> {
    let pence = if event.pence == 0 { 0 } else { *total + event.pence };
    let kept = if event.pence == 0 { total.forget() } else { total.keep(pence) };
    done((kept, PaymentCompleted { order: event.order.clone(), pence }))
}

fn service(folder: &Path) -> Service {
    Service::new("payment").retry(QUICK).keyed::<i64>("total").on(book).values_in(folder)
}

async fn publish(engine: &Engine, orders: impl Iterator<Item = (String, i64)>) {
    let event = |(order, pence)| Outgoing::new(&OrderPlaced { order, pence });
    till(engine).await.publish(orders.map(event).collect()).await.expect("published");
}

async fn idle(engine: &Engine) {
    eventually(async || all_committed(engine, "payment").await).await;
}

/// Two instances have a partition each.
async fn both_have_one(engine: &Engine) {
    eventually(async || {
        let group = engine.group("payment").await.expect("a group");
        let each: Vec<usize> = group.members.iter().map(|m| m.assignment.len()).collect();
        group.state == "Stable" && each == [1, 1]
    })
    .await;
}

#[tokio::test]
async fn a_partition_that_moves_to_a_copy_is_restored_from_its_tail_alone() {
    const KEYS: u64 = 40;
    const FORGOTTEN: u64 = 10;
    let all = |pence: i64| (0..KEYS).map(move |n| (format!("k{n}"), pence));
    for has_copies in [true, false] {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let engine = engine(2).await;
        let start = async |slot: usize| {
            let service = service(folders[slot].path());
            let service = if has_copies { service.standby() } else { service };
            service.start(&engine).await.expect("started")
        };
        let (first, second) = (start(0).await, start(1).await);
        both_have_one(&engine).await;
        publish(&engine, all(5)).await;
        // Two values of one key in one commit would be one record.
        idle(&engine).await;
        publish(&engine, (0..FORGOTTEN).map(|n| (format!("k{n}"), 0))).await;
        idle(&engine).await;
        let written = KEYS + FORGOTTEN;
        let copied = || first.figures().copied + second.figures().copied;
        eventually(async || copied() == if has_copies { written } else { 0 }).await;

        let before = second.figures().processed;
        first.stop().await.expect("stopped");
        publish(&engine, all(2)).await;
        let figures = until(&second, |f| f.processed == before + KEYS).await;
        let own = before;
        let expected = if has_copies { (0, written - own) } else { (written - own, 0) };
        assert_eq!((figures.restored, figures.copied), expected);

        // It was away: what was written meanwhile it reads now, copied or not.
        let first = start(0).await;
        second.stop().await.expect("stopped");
        publish(&engine, all(1)).await;
        let figures = until(&first, |f| f.processed == KEYS).await;
        assert!(has_copies || figures.restored == own + KEYS, "{figures:?}");
        first.stop().await.expect("stopped");
        let of = |n: u64| if n < FORGOTTEN { vec![5, 0, 2, 3] } else { vec![5, 7, 8] };
        let expected = (0..KEYS).map(|n| (format!("k{n}"), of(n))).collect();
        assert_eq!(totals(&engine).await, expected);
        engine.close().await.expect("closed");
    }
}

#[tokio::test]
async fn values_with_copies_are_as_if_nothing_had_crashed_or_moved() {
    const COUNT: u64 = 40;
    for seed in 0..8 {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let mut random = Seeded(seed);
        let engine = engine(1 + i32::try_from(random.below(4)).expect("small")).await;
        let (mut expected, mut orders) = (BTreeMap::<String, Vec<i64>>::new(), Vec::new());
        for _ in 0..COUNT {
            let (key, pence) = (format!("k{}", random.below(6)), random.below(5) as i64);
            let of = expected.entry(key.clone()).or_default();
            of.push(if pence == 0 { 0 } else { of.last().copied().unwrap_or_default() + pence });
            orders.push((key, pence));
        }
        let mut instances: [Option<Running>; 2] = [None, None];
        while !orders.is_empty() {
            let slot = random.below(2) as usize;
            // What was there ends, as in a crash or properly.
            if let Some(running) = instances[slot].take()
                && random.below(2) == 0
            {
                // That it crashed before is what this is about.
                drop(running.stop().await);
            }
            let mut service = service(folders[slot].path()).standby();
            service.crash = Crash::after(i64::try_from(random.below(12)).expect("small"));
            instances[slot] = Some(service.start(&engine).await.expect("started"));
            let some = usize::try_from(1 + random.below(8)).expect("small").min(orders.len());
            publish(&engine, orders.drain(..some)).await;
            let other = &instances[1 - slot];
            let ended = async {
                tokio::join!(instances[slot].as_ref().expect("started").until(|_| false), async {
                    if let Some(other) = other {
                        other.until(|_| false).await;
                    }
                })
            };
            tokio::select! {
                _ = ended => {}
                () = idle(&engine) => {}
            }
        }
        drop(instances);
        let last = service(folders[0].path()).standby().start(&engine).await.expect("started");
        idle(&engine).await;
        last.stop().await.expect("stopped");
        assert_eq!(totals(&engine).await, expected, "seed {seed}");
        engine.close().await.expect("closed");
    }
}

#[tokio::test]
async fn copies_need_values_on_disk() {
    let engine = engine(1).await;
    let without_folder = Service::new("payment").keyed::<i64>("total").on(book).standby();
    let error = without_folder.start(&engine).await.expect_err("refused");
    let Error::Wiring { problem, .. } = error else { panic!("{error}") };
    assert!(problem.contains(".standby() needs .keyed() and .values_in(folder)"), "{problem}");
}
