//! State by key: kept with the commit, there after crashes and moves, and what becomes of events without a value.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tokio::sync::Semaphore;

use super::*;
use crate::{
    Act, CommandOutcome, Dep, Desk, Error, Kept, Keyed, OrCreate, OrDrop, OrPark, Outcome,
    Received, Selection, Service, done, outage, retry, run::Crash,
};

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(topic = "orders", key = "order")]
struct Shelved {
    order: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    pence: i64,
    payments: u64,
}

/// Emits the key's running total.
async fn book(
    event: Received<OrderPlaced>,
    account: Keyed<Account, OrCreate>,
) -> Outcome<(Kept<Account>, PaymentCompleted)> {
    let pence = account.pence + event.pence;
    let kept = account.change(|account| {
        account.pence = pence;
        account.payments += 1;
    });
    done((kept, PaymentCompleted { order: event.order.clone(), pence }))
}

fn service() -> Service {
    Service::new("payment").retry(QUICK).keyed::<Account>("account").on(book)
}

/// A service whose values are in memory, or in that folder.
fn service_in(folder: Option<&Path>) -> Service {
    #[cfg(feature = "disk")]
    if let Some(folder) = folder {
        return service().values_in(folder);
    }
    assert_eq!(folder, None, "there is no other place");
    service()
}

/// A place for values of each kind that there is; the second one is dropped with what it returns.
fn places() -> [Option<tempfile::TempDir>; 2] {
    [None, cfg!(feature = "disk").then(|| tempfile::tempdir().expect("a folder"))]
}

fn paid(order: &str, pence: i64) -> Outgoing {
    Outgoing::new(&OrderPlaced { order: order.into(), pence })
}

async fn publish(engine: &Engine, events: Vec<Outgoing>) {
    till(engine).await.publish(events).await.expect("published");
}

/// The totals emitted of each key, in order.
pub(super) async fn totals(engine: &Engine) -> BTreeMap<String, Vec<i64>> {
    let mut totals: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in records(engine, "payments").await {
        let paid = crate::decode::<PaymentCompleted>(&record).expect("decodes");
        totals.entry(paid.order.clone()).or_default().push(paid.pence);
    }
    totals
}

/// The table in the state's topic: what any client would make of it.
async fn table(engine: &Engine) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    for record in records(engine, "payment.state.account").await {
        let key = text(record.key.as_deref().expect("a key"));
        match &record.value {
            Some(value) => table.insert(key, text(value)),
            None => table.remove(&key),
        };
    }
    table
}

#[tokio::test]
async fn a_key_has_its_value_at_the_next_event_and_after_a_restart() {
    for folder in places() {
        let folder = folder.as_ref().map(tempfile::TempDir::path);
        let engine = engine(2).await;
        for (pence, emitted) in [(&[1, 2][..], 4), (&[3][..], 2), (&[4, 5][..], 4)] {
            let running = service_in(folder).start(&engine).await.expect("started");
            for &pence in pence {
                publish(&engine, vec![paid("a", pence), paid("b", pence * 10)]).await;
            }
            until(&running, |f| f.emitted == emitted).await;
            running.stop().await.expect("stopped");
        }
        let expected = [("a", vec![1, 3, 6, 10, 15]), ("b", vec![10, 30, 60, 100, 150])];
        assert_eq!(totals(&engine).await, expected.map(|(k, v)| (k.to_owned(), v)).into());
        let value = |pence| format!("{{\"pence\":{pence},\"payments\":5}}");
        let expected = [("a", value(15)), ("b", value(150))];
        assert_eq!(table(&engine).await, expected.map(|(k, v)| (k.to_owned(), v)).into());
    }
}

#[tokio::test]
async fn values_are_as_if_there_had_been_no_crash() {
    const COUNT: u64 = 30;
    let mut crashes = 0;
    for seed in 0..40 {
        let folder = places().into_iter().nth((seed % 2) as usize).flatten();
        let folder = folder.as_ref().map(tempfile::TempDir::path);
        let mut random = Seeded(seed);
        let engine = engine(1 + i32::try_from(random.below(3)).expect("small")).await;
        let (mut expected, mut events) = (BTreeMap::<String, Vec<i64>>::new(), Vec::new());
        for _ in 0..COUNT {
            let (key, pence) = (format!("k{}", random.below(4)), 1 + random.below(9) as i64);
            let of = expected.entry(key.clone()).or_default();
            of.push(of.last().copied().unwrap_or_default() + pence);
            events.push(paid(&key, pence));
        }
        while !events.is_empty() {
            let some = 1 + random.below(8).min(events.len() as u64 - 1);
            let rest = events.split_off(usize::try_from(some).expect("small"));
            publish(&engine, std::mem::replace(&mut events, rest)).await;
            let mut service = service_in(folder);
            service.crash = Crash::after(i64::try_from(random.below(6)).expect("small"));
            let running = service.start(&engine).await.expect("started");
            let idle = eventually(async || all_committed(&engine, "payment").await);
            tokio::select! {
                _ = running.until(|_| false) => crashes += 1,
                () = idle => {}
            }
        }
        let running = service_in(folder).start(&engine).await.expect("started");
        eventually(async || all_committed(&engine, "payment").await).await;
        running.stop().await.expect("stopped");
        assert_eq!(totals(&engine).await, expected, "seed {seed}");
        engine.close().await.expect("closed");
    }
    assert!(crashes > 60, "only {crashes} crashes");
}

async fn ship(
    event: Received<Shelved>,
    account: Keyed<Account, OrPark>,
) -> Outcome<(Kept<Account>, Shipped)> {
    let order = format!("{} for {}", event.order, account.pence);
    done((account.forget(), Shipped { order }))
}

fn shelved(order: &str) -> Outgoing {
    Outgoing::new(&Shelved { order: order.into() })
}

#[tokio::test]
async fn an_event_that_came_too_early_is_handled_as_soon_as_its_key_has_a_value() {
    for restarts in [false, true] {
        let engine = engine(1).await;
        let start = async || service().on(ship).start(&engine).await.expect("started");
        let mut running = start().await;
        publish(&engine, vec![shelved("a"), paid("b", 5), shelved("b")]).await;
        let figures = until(&running, |f| f.dead_keys == 1 && f.emitted == 2).await;
        assert_eq!((figures.dead, figures.parked), (1, 1));
        let letters = dead_letters(&engine, "payment").await;
        assert_eq!(letters[0].cause, "there is no account of a yet");
        if restarts {
            running.stop().await.expect("stopped");
            running = start().await;
        }
        publish(&engine, vec![paid("a", 7), shelved("a"), paid("a", 1)]).await;
        let figures = until(&running, |f| f.emitted == if restarts { 4 } else { 6 }).await;
        assert_eq!((figures.parked, figures.dead_keys), (0, 0));
        eventually(async || all_committed(&engine, "payment").await).await;
        running.stop().await.expect("stopped");
        let shipped: Vec<String> = records(&engine, "shipments")
            .await
            .iter()
            .map(|record| crate::decode::<Shipped>(record).expect("decodes").order.clone())
            .collect();
        // The early one takes the first value, so the next one comes too early in its turn.
        assert_eq!(shipped, ["b for 5", "a for 7", "a for 1"], "restarts: {restarts}");
        assert_eq!(table(&engine).await, BTreeMap::new());
        engine.close().await.expect("closed");
    }
}

async fn note(
    event: Received<Shelved>,
    account: Keyed<Account, OrDrop>,
) -> Outcome<(Kept<Account>, Shipped)> {
    let order = event.order.clone();
    done((account.change(|account| account.payments = 99), Shipped { order }))
}

#[tokio::test]
async fn an_event_that_nobody_wants_without_a_value_is_counted() {
    let engine = engine(1).await;
    let running = service().on(note).start(&engine).await.expect("started");
    publish(&engine, vec![shelved("a"), paid("a", 5), shelved("a")]).await;
    let figures = until(&running, |f| f.processed == 3).await;
    assert_eq!((figures.dropped, figures.emitted, figures.dead), (1, 2, 0));
    running.stop().await.expect("stopped");
    let expected = BTreeMap::from([("a".to_owned(), r#"{"pence":5,"payments":99}"#.to_owned())]);
    assert_eq!(table(&engine).await, expected);
}

async fn refuse(_: Received<OrderPlaced>) -> Outcome<()> {
    outage("the bank is closed")
}

#[tokio::test]
async fn an_event_that_is_dropped_says_nothing_of_a_dependency_that_is_down() {
    let engine = engine(1).await;
    let service = Service::new("payment").keyed::<Account>("account").breaker(QUICK_PROBES);
    let running = service.on(note).on(refuse).start(&engine).await.expect("started");
    publish(&engine, vec![paid("a", 1)]).await;
    until(&running, |f| f.outages >= 5).await;
    let before = running.outage().expect("it waits");
    publish(&engine, vec![shelved("b")]).await;
    until(&running, |f| f.dropped == 1).await;
    let outages = running.figures().outages;
    until(&running, |f| f.outages >= outages + 3).await;
    let after = running.outage().expect("it still waits");
    assert!(after.since_ms == before.since_ms && after.probes > before.probes, "{after:?}");
    running.stop().await.expect("stopped");
}

/// As `book`; of "a" as soon as it may.
async fn book_when_let(
    event: Received<OrderPlaced>,
    account: Keyed<Account, OrCreate>,
    gate: Dep<Arc<Semaphore>>,
) -> Outcome<(Kept<Account>, PaymentCompleted)> {
    if event.order == "a" {
        gate.acquire().await.expect("never closed").forget();
    }
    book(event, account).await
}

#[tokio::test]
async fn a_log_made_anew_under_a_running_service_leaves_one_at_a_time_at_a_value() {
    let engine = engine(1).await;
    let gate = Arc::new(Semaphore::new(2));
    let service = Service::new("payment").keyed::<Account>("account").with(Arc::clone(&gate));
    let running = service.on(book_when_let).start(&engine).await.expect("started");
    publish(&engine, vec![paid("a", 1), paid("a", 2), paid("a", 4), paid("a", 8)]).await;
    until(&running, |f| f.emitted == 2).await;
    // The third one is being handled when its log goes away, and never ends.
    engine.delete_topic("orders").await.expect("deleted");
    let orders = NewTopic { name: "orders".into(), partitions: Some(1), configs: Vec::new() };
    engine.create_topic(orders).await.expect("made anew");
    publish(&engine, vec![paid("a", 16), paid("b", 1)]).await;
    until(&running, |f| f.emitted == 3).await;
    gate.add_permits(10);
    until(&running, |f| f.emitted == 4).await;
    publish(&engine, vec![paid("a", 32)]).await;
    until(&running, |f| f.emitted == 5).await;
    running.stop().await.expect("stopped");
    let expected = [("a", vec![1, 3, 19, 51]), ("b", vec![1])];
    assert_eq!(totals(&engine).await, expected.map(|(k, v)| (k.to_owned(), v)).into());
}

async fn book_or_fail(
    event: Received<OrderPlaced>,
    account: Keyed<Account, OrCreate>,
) -> Outcome<(Kept<Account>, PaymentCompleted)> {
    if event.pence == 0 {
        return retry("there is nothing to book");
    }
    book(event, account).await
}

#[tokio::test]
async fn a_command_is_for_what_is_dead_behind_an_event_that_waits_no_more_as_its_state_is_gone() {
    let engine = engine(1).await;
    let start = async |state: &'static str| {
        let service = Service::new("payment").keyed::<Account>(state).on(book_or_fail).on(ship);
        service.retry(QUICK).start(&engine).await.expect("started")
    };
    let running = start("account").await;
    publish(&engine, vec![shelved("a"), paid("a", 0)]).await;
    until(&running, |f| f.dead_keys == 2).await;
    running.stop().await.expect("stopped");

    let desk = Desk::of(&engine, "payment");
    let dead = desk.dead().await.expect("read");
    let awaits: Vec<&[String]> = dead.iter().map(|key| &key.awaits[..]).collect();
    assert_eq!(awaits, [&["account".to_owned()][..], &[]]);
    let of = Selection::Letter(dead[1].letters[0].clone());
    let given = desk.command("ann", of, Act::Discard).await.expect("given");
    let running = start("money").await;
    let outcome = desk.outcome(&given, SOON).await;
    assert_eq!(outcome, Ok(CommandOutcome { done: 1, left: 0, unheard: 0 }));
    until(&running, |f| f.dead == 1 && f.dead_keys == 1).await;
    let dead = desk.dead().await.expect("read");
    assert_eq!(dead[0].awaits, ["money"]);

    // It is left alone, unless a person insists.
    for (force, left) in [(false, 1), (true, 0)] {
        let act = Act::Redrive { per_second: None, force };
        let given = desk.command("ann", Selection::All, act).await.expect("given");
        let outcome = desk.outcome(&given, SOON).await;
        assert_eq!(outcome, Ok(CommandOutcome { done: 1 - left, left, unheard: 0 }));
    }
    until(&running, |f| f.dead == 2 && f.dead_keys == 1).await;
    publish(&engine, vec![paid("a", 3)]).await;
    until(&running, |f| f.emitted == 2 && f.parked == 0).await;
    running.stop().await.expect("stopped");
}

/// What it keeps does not fit, or is of a key of its own; by the amount.
async fn odd(
    event: Received<OrderPlaced>,
    account: Keyed<String, OrCreate>,
) -> Outcome<Option<Kept<String>>> {
    match event.pence {
        0 => done(None),
        pence => done(Some(account.keep("x".repeat(usize::try_from(pence).expect("small"))))),
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_kept_or_read_is_a_failure_of_its_event() {
    let engine = engine(1).await;
    let odd = || Service::new("payment").retry(QUICK).keyed::<String>("account").on(odd);
    let running = odd().start(&engine).await.expect("started");
    let keyless = tidings_engine::SentRecord {
        key: None,
        ..paid("c", 0).into_record("till").expect("a record")
    };
    engine.producer().await.expect("a producer").send(vec![keyless]).await.expect("appended");
    publish(&engine, vec![paid("a", 2_000_000), paid("b", 3)]).await;
    until(&running, |f| f.dead_keys == 2).await;
    running.stop().await.expect("stopped");
    let unreadable = tidings_engine::SentRecord {
        topic: "payment.state.account".into(),
        partition: Some(0),
        key: Some("b".into()),
        value: Some("7".into()),
        ..tidings_engine::SentRecord::default()
    };
    engine.producer().await.expect("a producer").send(vec![unreadable]).await.expect("appended");
    let running = odd().start(&engine).await.expect("started");
    publish(&engine, vec![paid("b", 0)]).await;
    until(&running, |f| f.dead_keys == 3).await;
    running.stop().await.expect("stopped");
    let mut causes: Vec<String> =
        dead_letters(&engine, "payment").await.into_iter().map(|letter| letter.cause).collect();
    causes.sort();
    let [too_large, unreadable, keyless] = &causes[..] else { panic!("{causes:?}") };
    assert!(
        too_large.starts_with("the account of a takes 2000035 bytes and its topic "),
        "{too_large}"
    );
    assert_eq!(keyless, "the record has no key, OrderPlaced is keyed by `order`");
    assert!(unreadable.starts_with("the account of b does not read: invalid type"), "{unreadable}");
}

async fn of_payments(_: Received<PaymentCompleted>, _: Keyed<Account, OrCreate>) -> Outcome<()> {
    done(())
}

async fn plain(_: Received<OrderPlaced>) -> Outcome<()> {
    done(())
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused_at_start() {
    let engine = engine(1).await;
    let new = || Service::new("payment");
    for (service, problem) in [
        (new().on(book), "Keyed<Account, _> needs .keyed::<Account>(\"name\")"),
        (new().keyed::<Account>("account").on(plain), "no handler asks for Keyed<"),
        (service().on(of_payments), "handlers of orders and of payments ask for the state account"),
        (service().unordered(), "a state by key needs the order of its key"),
        (service().keyed::<Account>("other"), "two states by key of type"),
    ] {
        let Err(Error::Wiring { problem: said, .. }) = service.start(&engine).await else {
            panic!("{problem} is not said");
        };
        assert!(said.contains(problem), "{said}");
    }
}

#[tokio::test]
async fn keys_that_have_moved_away_from_their_values_stop_the_service() {
    let engine = engine(1).await;
    let running = service().start(&engine).await.expect("started");
    publish(&engine, vec![paid("a", 5)]).await;
    until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");
    engine.grow_topic("orders", 2).await.expect("grown");
    let Err(Error::Wiring { problem, .. }) = service().start(&engine).await else {
        panic!("keys are apart from their values");
    };
    assert!(
        problem.starts_with("payment.state.account has 1 partitions and orders has 2"),
        "{problem}"
    );
}

#[tokio::test]
async fn two_instances_hand_the_values_over() {
    for [one, other] in [[None, None], [places()[1].take(), places()[1].take()]] {
        let [one, other] = [&one, &other].map(|it| it.as_ref().map(tempfile::TempDir::path));
        let engine = engine(3).await;
        let keys: Vec<String> = (0..12).map(|n| format!("k{n}")).collect();
        let round = async || {
            publish(&engine, keys.iter().map(|key| paid(key, 1)).collect()).await;
            eventually(async || all_committed(&engine, "payment").await).await;
        };
        let first = service_in(one).start(&engine).await.expect("started");
        round().await;
        let second = service_in(other).start(&engine).await.expect("started");
        round().await;
        first.stop().await.expect("stopped");
        round().await;
        // It finds what it had of them before, and the other one's values.
        let first = service_in(one).start(&engine).await.expect("started");
        round().await;
        second.stop().await.expect("stopped");
        round().await;
        first.stop().await.expect("stopped");
        let expected = keys.into_iter().map(|key| (key, vec![1, 2, 3, 4, 5])).collect();
        assert_eq!(totals(&engine).await, expected);
    }
}

#[cfg(feature = "disk")]
#[tokio::test]
async fn a_folder_of_values_is_not_given_to_two_instances() {
    let (engine, folder) = (engine(2).await, tempfile::tempdir().expect("a folder"));
    let start = async || service().values_in(folder.path()).start(&engine).await;
    let running = start().await.expect("started");
    let Err(Error::Wiring { problem, .. }) = start().await else { panic!("both have the folder") };
    assert!(problem.ends_with("give each one of its own"), "{problem}");
    running.stop().await.expect("stopped");
    start().await.expect("started").stop().await.expect("stopped");
}
