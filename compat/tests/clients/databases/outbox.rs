//! An outbox in a real server: order of commits, late commits, the lead, Debezium's layout.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidings::sqlx::Pool;
use tidings::{Debezium, DebeziumOutbox, Outbox, Relayed};

use super::server::Kind;
use super::sql::{Sql, begin, numbers, outbox, run, served};
use super::{Sale, engine, events, records, relayed};

/// Transactions of each of the writers.
const EACH: i64 = 40;
const WRITERS: i64 = 6;
const TILLS: i64 = 2;

async fn add<Db: Sql>(pool: &Pool<Db>, outbox: &Outbox<Db>, till: &str, n: i64) {
    let mut tx = pool.begin().await.expect("begun");
    outbox.add(&mut tx, Sale { till: till.to_owned(), n }).await.expect("added");
    tx.commit().await.expect("committed");
}

/// Writers that add to the same keys at once. Each takes a number while it has the lane of its key, so
/// numbers of a key are in the order of the commits.
pub(super) async fn order_is_that_of_commits<Db: Sql>() {
    let (_server, pool) = served::<Db>().await;
    let (engine, outbox) = (engine().await, outbox(&pool).await);
    let number = match Db::SERVER {
        Kind::Postgres => "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        Kind::MariaDb => "BIGINT AUTO_INCREMENT PRIMARY KEY",
        Kind::Sqlite => "INTEGER PRIMARY KEY AUTOINCREMENT",
    };
    run(&pool, &format!("CREATE TABLE commits (number {number}, till BIGINT, n BIGINT)")).await;
    let relay = outbox.relay(&engine);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (pool, outbox) = (pool.clone(), outbox.clone());
        writers.spawn(async move {
            for n in (0..EACH).map(|n| writer * EACH + n) {
                let till = n % TILLS;
                let mut tx = begin(&pool).await.expect("begun");
                outbox.add(&mut tx, Sale { till: till.to_string(), n }).await.expect("added");
                tokio::time::sleep(Duration::from_micros(300 * (n as u64 % 4))).await;
                let insert = format!("INSERT INTO commits (till, n) VALUES ({till}, {n})");
                Db::run(&mut tx, insert).await.expect("inserted");
                match n % 10 {
                    9 => tx.rollback().await.expect("rolled back"),
                    _ => tx.commit().await.expect("committed"),
                }
            }
        });
    }
    writers.join_all().await;
    let committed = numbers(&pool, "SELECT n FROM commits").await.len() as u64;
    relayed(&relay, |relayed| relayed.published == committed).await;
    relay.stop().await;
    let mut of_tills: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for sale in events::<Sale>(&engine, "sales").await {
        of_tills.entry(sale.till).or_default().push(sale.n);
    }
    for till in 0..TILLS {
        let select = format!("SELECT n FROM commits WHERE till = {till} ORDER BY number");
        assert_eq!(of_tills[&till.to_string()], numbers(&pool, &select).await, "till {till}");
    }
    assert!(numbers(&pool, "SELECT seq FROM shop").await.is_empty(), "rows are left");
}

/// A transaction that commits after later ones were published is not passed over.
pub(super) async fn a_late_commit_is_published<Db: Sql>() {
    let (_server, pool) = served::<Db>().await;
    let (engine, outbox) = (engine().await, outbox(&pool).await);
    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.leads).await;
    let mut late = pool.begin().await.expect("begun");
    outbox.add(&mut late, Sale { till: "late".into(), n: 0 }).await.expect("added");
    add(&pool, &outbox, "soon", 1).await;
    relayed(&relay, |relayed| relayed.published == 1).await;
    late.commit().await.expect("committed");
    let committed = Instant::now();
    relayed(&relay, |relayed| relayed.published == 2).await;
    println!("published {:?} after its commit", committed.elapsed());
    let others = outbox.clone().unordered().polled();
    add(&pool, &others, "late", 2).await;
    relayed(&relay, |relayed| relayed.published == 3).await;
    relay.stop().await;
    assert_eq!(events::<Sale>(&engine, "sales").await.len(), 3);
}

/// One leads; when it is gone another does, and nothing is published twice.
pub(super) async fn one_relay_leads<Db: Sql>() {
    let (_server, pool) = served::<Db>().await;
    let (engine, outbox) = (engine().await, outbox(&pool).await);
    let first = outbox.relay(&engine);
    relayed(&first, |relayed| relayed.leads).await;
    let second = outbox.relay(&engine);
    add(&pool, &outbox, "a", 1).await;
    relayed(&first, |relayed| relayed.published == 1).await;
    assert_eq!(second.figures(), Relayed::default());
    drop(first);
    add(&pool, &outbox, "a", 2).await;
    relayed(&second, |relayed| relayed.published == 1).await;
    second.stop().await;
    let published: Vec<i64> =
        events::<Sale>(&engine, "sales").await.iter().map(|sale| sale.n).collect();
    assert_eq!(published, [1, 2]);
}

/// A table that another program writes, with its columns of these types.
pub(super) async fn debeziums_layout<Db: Sql>(id: &str, hex_id: &str, payload: &str) {
    let (_server, pool) = served::<Db>().await;
    let engine = engine().await;
    run(
        &pool,
        &format!(
            "CREATE TABLE outboxevent (seq BIGINT PRIMARY KEY, id {id} UNIQUE, \
             aggregatetype VARCHAR(255), aggregateid VARCHAR(255), type VARCHAR(255), \
             payload {payload})"
        ),
    )
    .await;
    let uuid = |n: u32| format!("0190c3a0-0000-7000-8000-00000000000{n}");
    for n in 0..3 {
        let id = hex_id.replace("UUID", &uuid(n)).replace("HEX", &uuid(n).replace('-', ""));
        let value = match n {
            2 => "NULL".to_owned(),
            _ => format!("'{{\"till\": \"7\", \"n\": {n}}}'"),
        };
        let insert =
            format!("INSERT INTO outboxevent VALUES ({n}, {id}, 'Sale', '7', 'Sale', {value})");
        run(&pool, &insert).await;
    }
    let table = Debezium::table("outboxevent").order_by("seq");
    let outbox = DebeziumOutbox::open(&pool, "java_shop", table).await.expect("an outbox");
    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.published == 3).await;
    relay.stop().await;
    assert!(numbers(&pool, "SELECT seq FROM outboxevent").await.is_empty(), "rows are left");
    let records = records(&engine, "outbox.event.Sale").await;
    for (n, record) in records.iter().take(2).enumerate() {
        let said = record.header("id").expect("an id").replace('-', "");
        assert_eq!(said, uuid(n as u32).replace('-', ""));
        let sale = tidings::decode::<Sale>(record).expect("an event for services");
        assert_eq!(*sale, Sale { till: "7".into(), n: n as i64 });
    }
    assert_eq!((records.len(), &records[2].value), (3, &None));
}

/// Says how many events a second are added and published, in transactions of a hundred.
pub(super) async fn how_fast_it_is<Db: Sql>() {
    const TRANSACTIONS: i64 = 200;
    const EVENTS: i64 = 100;
    let (_server, pool) = served::<Db>().await;
    let (engine, outbox) = (engine().await, outbox(&pool).await);
    let begun = Instant::now();
    for transaction in 0..TRANSACTIONS {
        let mut tx = pool.begin().await.expect("begun");
        for n in 0..EVENTS {
            let sale = Sale { till: n.to_string(), n: transaction };
            outbox.add(&mut tx, sale).await.expect("added");
        }
        tx.commit().await.expect("committed");
    }
    let (all, added) = ((TRANSACTIONS * EVENTS) as u64, begun.elapsed());
    let begun = Instant::now();
    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.published == all).await;
    let published = begun.elapsed();
    relay.stop().await;
    let per_second = |took: Duration| all * 1000 / took.as_millis() as u64;
    println!("{} events/s added, {} published", per_second(added), per_second(published));
}
