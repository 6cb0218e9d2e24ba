//! Limits: of dependencies, so that one that hangs holds up nobody else, and of the input.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::Semaphore;

use super::{metrics::reports, *};
use crate::{Dep, Error, Limited, Limits, Outcome, Received, Report, Service, done};

/// An event in the same topic as the orders.
#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(topic = "orders", key = "order")]
struct OrderSeen {
    order: String,
}

/// A bank that answers as often as it was let.
struct Bank {
    open: Semaphore,
    at_once: AtomicUsize,
    most: AtomicUsize,
}

impl Bank {
    fn hanging() -> Arc<Self> {
        Arc::new(Self::closed())
    }

    fn closed() -> Self {
        let (at_once, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { open: Semaphore::new(0), at_once, most }
    }

    async fn charge(&self) {
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(at_once, Ordering::SeqCst);
        self.open.acquire().await.expect("never closed").forget();
        self.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn charge(
    event: Received<OrderPlaced>,
    bank: Limited<Arc<Bank>>,
) -> Outcome<PaymentCompleted> {
    let bank = bank.turn().await?;
    bank.charge().await;
    done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
}

async fn ship(event: Received<OrderSeen>) -> Outcome<Shipped> {
    done(Shipped { order: event.order.clone() })
}

/// Orders in pairs: one that is charged, one that is shipped.
async fn place_both(engine: &Engine, count: usize) {
    let events = (0..count).flat_map(|n| {
        let seen = OrderSeen { order: format!("seen-{n}") };
        [
            placed(&format!("order-{}", n % (count / 2).max(1))).id(format!("id-{n}")),
            Outgoing::new(&seen),
        ]
    });
    till(engine).await.publish(events.collect()).await.expect("published");
}

#[tokio::test]
async fn a_dependency_that_hangs_holds_up_its_own_handler_only() {
    let engine = engine(1).await;
    let bank = Bank::hanging();
    let service = Service::new("payment")
        .with_limited(Arc::clone(&bank), Limits::new().at_once(3).waiting(2))
        .concurrency(6)
        .on(charge)
        .on(ship)
        .retry(QUICK);
    let running = service.start(&engine).await.expect("started");
    // More than may be overtaken, more than are buffered, two of each key.
    place_both(&engine, 3_000).await;
    until(&running, |f| f.emitted == 3_000).await;
    assert!(records(&engine, "payments").await.is_empty());
    let figures = running.figures();
    assert!(figures.turned_away > 0 && figures.parked > 0, "{figures:?}");
    let bank_now = running.metrics().dependencies.remove(0);
    assert_eq!((bank_now.in_use, bank_now.at_once, bank_now.waiting_at_most), (3, 3, 2));
    assert!(bank_now.turned_away >= figures.turned_away, "{bank_now:?}");
    eventually(async || running.metrics().lag_seconds > 0.0).await;

    bank.open.add_permits(3_000);
    let figures = until(&running, |f| f.emitted == 6_000).await;
    assert_eq!((figures.failed, figures.retried, figures.dead, figures.outages), (0, 0, 0, 0));
    assert_eq!((figures.processed, figures.parked), (6_000, 0));
    eventually(async || running.metrics().lag_seconds == 0.0).await;
    assert_eq!(bank.most.load(Ordering::SeqCst), 3);
    eventually(async || all_committed(&engine, "payment").await).await;
    running.stop().await.expect("stopped");
    // In order of each key, though most of them were put aside.
    let mut last = BTreeMap::new();
    for payment in records(&engine, "payments").await {
        let cause = payment.header("ce_causationid").expect("a cause").to_owned();
        let number: usize = cause.trim_start_matches("id-").parse().expect("a number");
        let before = last.insert(payment.key.clone(), number);
        assert!(before.is_none_or(|before| before < number), "{before:?} {number}");
    }
    assert_eq!(last.len(), 1_500);
}

mod other {
    pub(super) struct Bank;
}

#[tokio::test]
async fn limits_are_in_the_report_and_two_of_one_name_are_told_apart() {
    let engine = engine(1).await;
    let running = Service::new("payment")
        .with_limited(Bank::hanging(), Limits::new().at_once(3).waiting(2))
        .with_limited(other::Bank, Limits::new().at_once(1).waiting(0).per_second(7))
        .with_limited(Bank::closed(), Limits::new().at_once(2))
        .on(ship)
        .start(&engine)
        .await
        .expect("started");
    eventually(async || !reports(&engine).await.is_empty()).await;
    let report = Report::from_record(&reports(&engine).await[0]).expect("a report");
    let said = report.metrics.dependencies.iter();
    let said = said.map(|of| (of.name.as_str(), of.at_once, of.waiting_at_most, of.per_second));
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            ("Arc<Bank>", 3, 2, None),
            ("tidings::tests::limits::other::Bank", 1, 0, Some(7)),
            ("tidings::tests::limits::Bank", 2, 8, None),
        ]
    );
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn calls_that_hang_until_their_time_is_over_do_not_stop_the_others() {
    let engine = engine(1).await;
    let running = Service::new("payment")
        .with_limited(Bank::hanging(), Limits::new())
        .on(charge)
        .on(ship)
        .retry(QUICK)
        .timeout(Duration::from_millis(20))
        .breaker(QUICK_PROBES)
        .start(&engine)
        .await
        .expect("started");
    place(&engine, &["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    until(&running, |f| f.failed > 8).await;
    assert!(running.outage().is_some());
    // The breaker is open, and the first that works closes it.
    for batch in 1..=10 {
        place_both(&engine, 40).await;
        until(&running, |f| f.emitted == batch * 40).await;
    }
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn what_was_turned_away_survives_its_instance_and_counts_no_attempt() {
    let engine = engine(1).await;
    let bank = Bank::hanging();
    let service = |bank: &Arc<Bank>| {
        let limits = Limits::new().at_once(1).waiting(0);
        // One attempt only: a second one would be none.
        let once = Backoff { attempts: 1, ..QUICK };
        Service::new("payment").with_limited(Arc::clone(bank), limits).on(charge).retry(once)
    };
    let running = service(&bank).start(&engine).await.expect("started");
    place(&engine, &["a", "b", "c", "d"]).await;
    until(&running, |f| f.turned_away > 20 && f.parked == 3).await;
    drop(running);
    bank.open.add_permits(4);
    let running = service(&bank).start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 4).await;
    running.stop().await.expect("stopped");
    assert!(dead_letters(&engine, "payment").await.is_empty());
}

#[tokio::test]
async fn a_handler_without_a_turn_hides_no_failure_of_its_neighbour() {
    async fn fail(event: Received<OrderPlaced>) -> Outcome<()> {
        if event.order == "b" {
            return crate::retry("no");
        }
        done(())
    }
    let engine = engine(1).await;
    let bank = Bank::hanging();
    let running = Service::new("payment")
        .with_limited(Arc::clone(&bank), Limits::new().at_once(1).waiting(0))
        .on(charge)
        .on(fail)
        .retry(QUICK)
        .start(&engine)
        .await
        .expect("started");
    place(&engine, &["a"]).await;
    eventually(async || bank.at_once.load(Ordering::SeqCst) == 1).await;
    place(&engine, &["b"]).await;
    let figures = until(&running, |f| f.turned_away > 10).await;
    assert_eq!((figures.retried, figures.dead), (2, 0), "nothing is given up before its turn");
    bank.open.add_permits(2);
    let figures = until(&running, |f| f.dead == 1).await;
    assert_eq!(figures.emitted, 2);
    running.stop().await.expect("stopped");
    let letter = dead_letters(&engine, "payment").await.remove(0);
    assert_eq!((letter.handler.as_deref(), letter.attempts), (Some("fail"), Some(3)));
}

#[tokio::test]
async fn a_probe_that_has_no_turn_leaves_the_breaker_open() {
    async fn refuse(_: Received<OrderSeen>) -> Outcome<()> {
        crate::outage("closed")
    }
    let engine = engine(1).await;
    let bank = Bank::hanging();
    let running = Service::new("payment")
        .with_limited(Arc::clone(&bank), Limits::new().at_once(1).waiting(0))
        .on(charge)
        .on(refuse)
        .breaker(QUICK_PROBES)
        .start(&engine)
        .await
        .expect("started");
    place(&engine, &["a"]).await;
    eventually(async || bank.at_once.load(Ordering::SeqCst) == 1).await;
    till(&engine).await.emit(&OrderSeen { order: "x".into() }).await.expect("published");
    until(&running, |f| f.outages > 0).await;
    place(&engine, &["b", "c"]).await;
    until(&running, |f| f.turned_away > 5).await;
    let outage = running.outage().expect("it waits");
    assert!(outage.probes > 5, "{outage:?}");
    assert_eq!(running.figures().parked, 0, "nothing is put aside during an outage");
    drop(running);
}

#[tokio::test]
async fn limits_that_bound_nothing_keep_a_service_from_starting() {
    let engine = engine(1).await;
    let bank = || Bank::hanging();
    let with = |limits| Service::new("s").on(charge).with_limited(bank(), limits);
    let name = "Arc<Bank>";
    let held = "limited dependencies can hold 16 of the 16 events that are handled at once \
                (Arc<Bank> 16): write .concurrency(17) or let fewer wait";
    for (service, problem) in [
        (
            Service::new("s").on(charge),
            format!("handler charge: Limited<{name}> needs .with_limited({name}, Limits::new())"),
        ),
        (
            Service::new("s").on(charge).with(bank()),
            format!("handler charge: Limited<{name}> needs .with_limited({name}, Limits::new())"),
        ),
        (
            with(Limits::new()).with_limited(bank(), Limits::new()),
            format!("two limited dependencies of type {name}"),
        ),
        (with(Limits::new().at_once(0)), format!("{name}: 0 turns at once are not in 1..=1000")),
        (with(Limits::new().per_second(0)), format!("{name}: no turn in a second: leave it out")),
        (
            with(Limits::new().burst(3)),
            format!("{name}: a burst is of a rate: write .per_second(n)"),
        ),
        (
            with(Limits::new().per_second(1).burst(0)),
            format!("{name}: a burst of 0 lets nothing through"),
        ),
        (with(Limits::new()).concurrency(16), held.into()),
        (
            with(Limits::new().at_once(100).waiting(100)),
            "limited dependencies can hold 200 events (Arc<Bank> 200), and later ones of a partition \
             overtake fewer than 200: let fewer wait"
                .into(),
        ),
        (
            with(Limits::new()).rate(0),
            "a rate of 0 events a second begins none: leave it out".into(),
        ),
    ] {
        let error = service.start(&engine).await.map(|_| ()).expect_err(&problem);
        assert_eq!(error, Error::Wiring { service: "s".into(), problem });
    }
    for service in [
        with(Limits::new()),
        with(Limits::new().at_once(100).waiting(99)),
        with(Limits::new()).concurrency(17),
        with(Limits::new()).concurrency(1),
    ] {
        drop(service.start(&engine).await.expect("started"));
    }
}

/// When each event was begun.
type Times = Arc<Mutex<Vec<Instant>>>;

async fn note(_: Received<OrderPlaced>, times: Dep<Times>) -> Outcome<()> {
    times.lock().expect("no panic").push(Instant::now());
    done(())
}

/// A tenth of a second's worth is begun at once, and the others no earlier than the rate brings them.
fn keep_to_the_rate(times: &Times, begun: Instant, per_second: u32) {
    let times = times.lock().expect("no panic");
    for (number, time) in (1..).zip(times.iter()) {
        let later = u32::saturating_sub(number, per_second / 10);
        let earliest = begun + Duration::from_secs(1) / per_second * later;
        assert!(*time >= earliest, "number {number} came {:?} too early", earliest - *time);
    }
}

#[tokio::test]
async fn no_more_events_are_begun_than_the_rate_lets_through() {
    let engine = engine(2).await;
    let names: Vec<String> = (0..60).map(|n| format!("order-{n}")).collect();
    place(&engine, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let times = Times::default();
    let service = Service::new("payment").with(Arc::clone(&times)).on(note).rate(100);
    let begun = Instant::now();
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.processed == 60).await;
    running.stop().await.expect("stopped");
    keep_to_the_rate(&times, begun, 100);
}

#[tokio::test]
async fn retries_count_into_the_rate() {
    async fn never(_: Received<OrderPlaced>, times: Dep<Times>) -> Outcome<()> {
        times.lock().expect("no panic").push(Instant::now());
        crate::retry("no")
    }
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let times = Times::default();
    let backoff = Backoff { attempts: 30, ..QUICK };
    let service = Service::new("payment").with(Arc::clone(&times)).on(never).rate(50);
    let begun = Instant::now();
    let running = service.retry(backoff).start(&engine).await.expect("started");
    until(&running, |f| f.dead == 1).await;
    running.stop().await.expect("stopped");
    keep_to_the_rate(&times, begun, 50);
}
