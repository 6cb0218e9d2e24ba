//! A handler's effects in the database happen once, together with its outputs in the log.

use sqlx::Sqlite;

use super::*;
use crate::{Error, Inbox, Outcome, Received, Service, Tx, done, outage, reject, retry};

async fn ledger() -> (TempDir, SqlitePool) {
    let (folder, pool) = database().await;
    run(&pool, "CREATE TABLE ledger (booked TEXT NOT NULL, pence INTEGER CHECK (pence >= 0))")
        .await;
    (folder, pool)
}

async fn book(event: Received<OrderPlaced>, mut tx: Tx<Sqlite>) -> Outcome<PaymentCompleted> {
    sqlx::query("INSERT INTO ledger (booked, pence) VALUES (?, ?)")
        .bind(&event.order)
        .bind(event.pence)
        .execute(&mut *tx)
        .await?;
    tokio::task::yield_now().await;
    done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
}

/// Books and says nothing, so the log cannot know that it has.
async fn book_silently(event: Received<OrderPlaced>, tx: Tx<Sqlite>) -> Outcome<()> {
    book(event, tx).await.map(|_| ())
}

async fn service(pool: &SqlitePool) -> Service {
    let inbox = Inbox::open(pool).await.expect("an inbox");
    Service::new("payment").retry(QUICK).with(inbox).on(book)
}

/// The log has lost the service's memory and its positions; the database has not.
async fn forget_what_was_handled(engine: &Engine) {
    engine.delete_topic("payment.changelog").await.expect("deleted");
    deliver_again(engine, "payment").await;
}

async fn booked(pool: &SqlitePool) -> i64 {
    count(pool, "SELECT COUNT(*) FROM ledger").await
}

#[tokio::test]
async fn an_input_that_comes_again_is_not_handled_again() {
    let ((_folder, pool), engine) = (ledger().await, engine(1).await);
    place(&engine, &["a", "bb"]).await;
    for is_again in [false, true] {
        if is_again {
            forget_what_was_handled(&engine).await;
        }
        let inbox = Inbox::open(&pool).await.expect("an inbox");
        let service = Service::new("payment").with(inbox).on(book_silently);
        let running = service.start(&engine).await.expect("started");
        until(&running, |f| f.processed == 2).await;
        running.stop().await.expect("stopped");
        assert_eq!(booked(&pool).await, 2);
    }
    // The same event once more, at another place.
    forget_what_was_handled(&engine).await;
    place(&engine, &["a", "ccc"]).await;
    let inbox = Inbox::open(&pool).await.expect("an inbox");
    let service = Service::new("payment").with(inbox).on(book_silently);
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.processed + f.duplicates == 4).await;
    running.stop().await.expect("stopped");
    assert_eq!(booked(&pool).await, 3);

    let inbox = Inbox::open(&pool).await.expect("an inbox");
    assert_eq!(inbox.forget(Duration::from_secs(3_600)).await.expect("forgotten"), 0);
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM tidings_inbox").await, 3);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(inbox.forget(Duration::ZERO).await.expect("forgotten"), 3);
}

#[tokio::test]
async fn outputs_that_the_log_lacks_are_appended_without_the_handler() {
    let ((_folder, pool), engine) = (ledger().await, engine(1).await);
    place(&engine, &["a"]).await;
    let running = service(&pool).await.start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");
    let first = records(&engine, "payments").await;
    // A log that holds the input at the same place and has lost what came of it.
    engine.delete_topic("payments").await.expect("deleted");
    forget_what_was_handled(&engine).await;
    let running = service(&pool).await.start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");
    let again = records(&engine, "payments").await;
    let known = |record: &Record| (record.header("ce_id").map(str::to_owned), record.value.clone());
    assert_eq!(
        again.iter().map(known).collect::<Vec<_>>(),
        first.iter().map(known).collect::<Vec<_>>()
    );
    assert_eq!(booked(&pool).await, 1);
}

#[tokio::test]
async fn what_is_not_done_is_rolled_back() {
    async fn unsure(event: Received<OrderPlaced>, mut tx: Tx<Sqlite>) -> Outcome<PaymentCompleted> {
        let insert = sqlx::query("INSERT INTO ledger (booked, pence) VALUES (?, 1)");
        insert.bind(&event.order).execute(&mut *tx).await?;
        match event.order.as_str() {
            "reject" => reject("no"),
            "retry" => retry("not now"),
            "refused" => {
                sqlx::query("INSERT INTO ledger VALUES ('x', -1)").execute(&mut *tx).await?;
                done(PaymentCompleted { order: event.order.clone(), pence: 0 })
            }
            "panic" => panic!("a bug"),
            "large" => done(PaymentCompleted { order: "x".repeat(400_000), pence: 0 }),
            "slow" => {
                tokio::time::sleep(SOON).await;
                done(PaymentCompleted { order: event.order.clone(), pence: 0 })
            }
            "commits" => {
                sqlx::query("ROLLBACK").execute(&mut *tx).await?;
                done(PaymentCompleted { order: event.order.clone(), pence: 0 })
            }
            _ => done(PaymentCompleted { order: event.order.clone(), pence: 0 }),
        }
    }
    let ((_folder, pool), engine) = (ledger().await, engine(1).await);
    let orders = ["reject", "retry", "refused", "panic", "commits", "large", "slow", "good"];
    place(&engine, &orders).await;
    let inbox = Inbox::open(&pool).await.expect("an inbox");
    let service = Service::new("payment").retry(QUICK).with(inbox).on(unsure);
    let by_word = BreakerOptions { keys: usize::MAX, probe: QUICK };
    let service = service.timeout(Duration::from_secs(2)).breaker(by_word);
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.processed == 8).await;
    running.stop().await.expect("stopped");
    let letters = dead_letters(&engine, "payment").await;
    let mut causes: Vec<&str> = letters.iter().map(|letter| letter.cause.as_str()).collect();
    causes.sort_unstable();
    assert!(causes[0].starts_with("1 outputs of 120"), "{causes:?}");
    assert!(causes[1].contains("CHECK constraint failed"), "{causes:?}");
    let expected = [
        "handler unsure has ended its transaction by itself, in SQL",
        "no",
        "not now",
        "the handler panicked: a bug",
        "the handler took longer than 1.5s",
    ];
    assert_eq!(causes[2..], expected);
    assert_eq!(booked(&pool).await, 1);
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM tidings_inbox").await, 1);
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_an_outage() {
    let ((_folder, pool), engine) = (ledger().await, engine(1).await);
    place(&engine, &["a"]).await;
    let service = service(&pool).await;
    let writer = pool.begin_with("BEGIN IMMEDIATE").await.expect("another writer");
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.outages > 1).await;
    writer.rollback().await.expect("rolled back");
    let figures = until(&running, |f| f.emitted == 1).await;
    assert_eq!((figures.dead, figures.retried, booked(&pool).await), (0, 0, 1));
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_database_that_is_gone_while_a_handler_works_is_an_outage() {
    async fn pulls_the_plug(event: Received<OrderPlaced>, mut tx: Tx<Sqlite>) -> Outcome<()> {
        sqlx::query("INSERT INTO ledger VALUES (?, 1)")
            .bind(&event.order)
            .execute(&mut *tx)
            .await?;
        outage("the connection was lost")
    }
    let ((_folder, pool), engine) = (ledger().await, engine(1).await);
    place(&engine, &["a"]).await;
    let inbox = Inbox::open(&pool).await.expect("an inbox");
    let service = Service::new("payment").retry(QUICK).with(inbox).on(pulls_the_plug);
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.outages > 0).await;
    pool.close().await;
    let figures = until(&running, |f| f.outages > 4).await;
    assert_eq!((figures.dead, figures.retried), (0, 0));
    running.stop().await.expect("stopped");
    assert_eq!(engine.group("payment").await.expect("a group").offsets.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_dropped_at_any_moment_books_and_emits_once() {
    const COUNT: i64 = 40;
    for seed in 0..10 {
        let mut random = Seeded(seed);
        let ((_folder, pool), engine) = (ledger().await, engine(2).await);
        let names: Vec<String> = (0..COUNT).map(|n| n.to_string()).collect();
        place(&engine, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for _ in 0..6 {
            let running = service(&pool).await.start(&engine).await.expect("started");
            tokio::time::sleep(Duration::from_millis(random.below(25))).await;
            drop(running);
        }
        let running = service(&pool).await.start(&engine).await.expect("started");
        eventually(async || all_committed(&engine, "payment").await).await;
        running.stop().await.expect("stopped");
        let ids = ids(&engine, "payments").await;
        assert_eq!((ids.len(), ids.values().max()), (40, Some(&1)), "seed {seed}");
        let distinct = count(&pool, "SELECT COUNT(DISTINCT booked) FROM ledger").await;
        assert_eq!((booked(&pool).await, distinct), (COUNT, COUNT), "seed {seed}");
    }
}

#[tokio::test]
async fn a_transaction_needs_an_inbox_and_is_one() {
    async fn two(_: Received<OrderPlaced>, _a: Tx<Sqlite>, _b: Tx<Sqlite>) -> Outcome<()> {
        done(())
    }
    let ((_folder, pool), engine) = (ledger().await, engine(1).await);
    let inbox = Inbox::open(&pool).await.expect("an inbox");
    for (service, problem) in [
        (Service::new("s").on(book), "handler book: Tx<SQLite> needs .with(Inbox<SQLite>)"),
        (Service::new("s").with(inbox).on(two), "handler two: a handler takes one Tx"),
    ] {
        let error = service.start(&engine).await.map(|_| ()).expect_err(problem);
        assert_eq!(error, Error::Wiring { service: "s".into(), problem: problem.into() });
    }
}
