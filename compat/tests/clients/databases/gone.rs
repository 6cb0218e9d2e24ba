//! The database is gone in the middle of a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidings::{Backoff, DatabaseError, Dep, Outcome, Publisher, Received, Service, Tx, done};
use tokio::sync::Notify;

use super::sql::{Sql, connected, inbox, numbers, outbox, run, served};
use super::{Booked, Sale, engine, events, relayed, until};

/// The handler at work, and the word to go on.
#[derive(Default)]
struct Gate {
    attempts: AtomicU32,
    entered: Notify,
    open: Notify,
}

/// At its first attempt it has written, and waits, while the database is killed.
async fn book<Db: Sql>(
    event: Received<Sale>,
    mut tx: Tx<Db>,
    gate: Dep<Arc<Gate>>,
) -> Outcome<Booked> {
    let insert = format!("INSERT INTO ledger (n) VALUES ({})", event.n);
    Db::run(&mut tx, insert.clone()).await?;
    if gate.attempts.fetch_add(1, Ordering::SeqCst) == 0 {
        gate.entered.notify_one();
        gate.open.notified().await;
        Db::run(&mut tx, insert).await?;
    }
    done(Booked { till: event.till.clone(), n: event.n })
}

/// An outage by name: nothing is committed, no attempt counts as failed, and the event is handled once the database is back.
pub(super) async fn a_killed_server_is_an_outage<Db: Sql>() {
    let (mut server, pool) = served::<Db>().await;
    let engine = engine().await;
    run(&pool, "CREATE TABLE ledger (n BIGINT NOT NULL)").await;
    let till = Publisher::open(&engine, "till").await.expect("a publisher");
    till.emit(&Sale { till: "a".into(), n: 7 }).await.expect("published");
    let gate = Arc::new(Gate::default());
    let once =
        Backoff { first: Duration::from_millis(20), max: Duration::from_millis(100), attempts: 1 };
    let service = Service::new("ledger").retry(once).with(inbox(&pool).await);
    let service = service.with(Arc::clone(&gate)).on(book::<Db>);
    let running = service.start(&engine).await.expect("started");
    gate.entered.notified().await;
    let outbox = outbox(&pool).await;
    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.leads).await;
    let mut tx = pool.begin().await.expect("begun");
    outbox.add(&mut tx, Sale { till: "b".into(), n: 8 }).await.expect("added");

    server.kill();
    let lost = outbox.add(&mut tx, Sale { till: "b".into(), n: 9 }).await;
    assert!(matches!(lost, Err(DatabaseError::Outage(_))), "{lost:?}");
    drop(tx);
    gate.open.notify_one();
    until(&running, |figures| figures.outages > 1).await;
    relayed(&relay, |relayed| relayed.failures > 0).await;

    server.start_again();
    let pool = connected::<Db>(&server.url()).await;
    let figures = until(&running, |figures| figures.emitted == 1).await;
    assert_eq!((figures.dead, figures.retried), (0, 0));
    assert_eq!(numbers(&pool, "SELECT n FROM ledger").await, [7]);
    assert_eq!(events::<Booked>(&engine, "booked").await.len(), 1);

    // What was in a transaction that never was committed is nowhere; the relay leads again.
    let mut tx = pool.begin().await.expect("begun");
    outbox.add(&mut tx, Sale { till: "b".into(), n: 10 }).await.expect("added");
    tx.commit().await.expect("committed");
    relayed(&relay, |relayed| relayed.published == 1).await;
    relay.stop().await;
    running.stop().await.expect("stopped");
    let mut sold: Vec<i64> = events::<Sale>(&engine, "sales").await.iter().map(|s| s.n).collect();
    sold.sort_unstable();
    assert_eq!(sold, [7, 10]);
}

/// A server that answers nothing, which looks like a handler that takes too long.
pub(super) async fn a_frozen_server_is_an_outage<Db: Sql>() {
    let (server, pool) = served::<Db>().await;
    let engine = engine().await;
    run(&pool, "CREATE TABLE ledger (n BIGINT NOT NULL)").await;
    let till = Publisher::open(&engine, "till").await.expect("a publisher");
    till.emit(&Sale { till: "a".into(), n: 7 }).await.expect("published");
    let gate = Arc::new(Gate::default());
    let once =
        Backoff { first: Duration::from_millis(20), max: Duration::from_millis(100), attempts: 1 };
    let service = Service::new("ledger").retry(once).with(inbox(&pool).await);
    let service = service.timeout(Duration::from_secs(2)).with(Arc::clone(&gate)).on(book::<Db>);
    let running = service.start(&engine).await.expect("started");
    gate.entered.notified().await;
    server.tell("-STOP");
    gate.open.notify_one();
    until(&running, |figures| figures.outages > 1).await;
    server.tell("-CONT");
    let figures = until(&running, |figures| figures.emitted == 1).await;
    assert_eq!((figures.dead, figures.retried), (0, 0));
    running.stop().await.expect("stopped");
    assert_eq!(numbers(&pool, "SELECT n FROM ledger").await, [7]);
}
