//! What is committed is published once and in order; what is not, never.

use bytes::Bytes;
use tidings_engine::{SentRecord, TransactionOptions};

use super::*;
use crate::{DatabaseError, Debezium, DebeziumOutbox, Outbox, Relay, Relayed, decode};

/// The orders in a topic, in the order of their partition.
async fn published(engine: &Engine) -> Vec<String> {
    let records = records(engine, "orders").await;
    let event = |record| decode::<OrderPlaced>(record).expect("an order").into_event().order;
    records.iter().map(event).collect()
}

async fn relayed(relay: &Relay, wanted: impl FnMut(&Relayed) -> bool) -> Relayed {
    let waited = tokio::time::timeout(SOON, relay.until(wanted)).await;
    waited.unwrap_or_else(|_| panic!("still {:?}", relay.figures()))
}

#[tokio::test]
async fn what_is_committed_is_published_and_its_rows_are_gone() {
    let ((_folder, pool), engine) = (database().await, engine(1).await);
    let outbox = Outbox::open(&pool, "shop").await.expect("an outbox").source("till");
    for (name, commit) in [("a", true), ("bb", false), ("ccc", true)] {
        let mut tx = pool.begin().await.expect("begun");
        outbox.add(&mut tx, placed(name)).await.expect("added");
        outbox.add(&mut tx, order(&format!("{name}2"))).await.expect("added");
        match commit {
            true => tx.commit().await.expect("committed"),
            false => tx.rollback().await.expect("rolled back"),
        }
    }
    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.published == 4).await;
    relay.stop().await;
    assert_eq!(published(&engine).await, ["a", "a2", "ccc", "ccc2"]);
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM shop").await, 0);
    let first = records(&engine, "orders").await.remove(0);
    let envelope = decode::<OrderPlaced>(&first).expect("an order").envelope().clone();
    assert_eq!((envelope.id, envelope.source.as_str()), (order_id("a"), "till"));
}

#[tokio::test]
async fn one_id_is_one_row_and_what_is_too_large_is_none() {
    let (_folder, pool) = database().await;
    let outbox = Outbox::open(&pool, "shop").await.expect("an outbox");
    let mut tx = pool.begin().await.expect("begun");
    outbox.add(&mut tx, placed("a")).await.expect("added");
    let twice = outbox.add(&mut tx, placed("a")).await;
    assert!(matches!(twice, Err(DatabaseError::Refused(_))), "{twice:?}");
    let large = OrderPlaced { order: "x".repeat(800_000), pence: 1 };
    let large = outbox.add(&mut tx, large).await.expect_err("too large").to_string();
    assert!(large.starts_with("OrderPlaced of 2400"), "{large}");
    let long = outbox.add(&mut tx, placed("b").id("x".repeat(256))).await;
    assert!(matches!(long, Err(DatabaseError::Event(_))), "{long:?}");
    tx.commit().await.expect("committed");
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM shop").await, 1);
    let name = Outbox::open(&pool, "no table").await.expect_err("no name").to_string();
    assert!(name.starts_with("\"no table\" cannot name an outbox"), "{name}");
}

#[tokio::test]
async fn rows_that_were_published_before_a_crash_are_not_published_again() {
    let ((_folder, pool), engine) = (database().await, engine(1).await);
    let outbox = Outbox::open(&pool, "shop").await.expect("an outbox");
    outbox.relay(&engine).stop().await;
    for name in ["a", "bb"] {
        let mut tx = pool.begin().await.expect("begun");
        outbox.add(&mut tx, placed(name)).await.expect("added");
        tx.commit().await.expect("committed");
    }
    // What a relay has done that is killed before it deletes the row of the first.
    let topic = "tidings.outbox.shop";
    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.published == 2).await;
    relay.stop().await;
    let mut tx = pool.begin().await.expect("begun");
    outbox.add(&mut tx, placed("dddd")).await.expect("added");
    outbox.add(&mut tx, placed("eeeee")).await.expect("added");
    tx.commit().await.expect("committed");
    let killed = engine.transactional_producer(topic, TransactionOptions::default()).await;
    let mut transaction = killed.expect("a producer").begin().await.expect("begun");
    let note = SentRecord {
        topic: topic.into(),
        partition: Some(0),
        key: Some(Bytes::from_static(b"published")),
        value: Some(format!("{{\"published\":[\"{}\"]}}", order_id("dddd")).into()),
        ..SentRecord::default()
    };
    transaction.append(vec![note]).await.expect("appended");
    transaction.commit().await.expect("committed");

    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.published == 1).await;
    relay.stop().await;
    assert_eq!(published(&engine).await, ["a", "bb", "eeeee"], "dddd was in the killed one's");
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM shop").await, 0);
}

#[tokio::test]
async fn one_relay_leads_and_another_follows_it() {
    let ((_folder, pool), engine) = (database().await, engine(1).await);
    let outbox = Outbox::open(&pool, "shop").await.expect("an outbox");
    let add = async |name: &str| {
        let mut tx = pool.begin().await.expect("begun");
        outbox.add(&mut tx, placed(name)).await.expect("added");
        tx.commit().await.expect("committed");
    };
    let first = outbox.relay(&engine);
    relayed(&first, |relayed| relayed.leads).await;
    let second = outbox.relay(&engine);
    add("a").await;
    relayed(&first, |relayed| relayed.published == 1).await;
    assert_eq!(second.figures(), Relayed::default());
    drop(first);
    add("bb").await;
    let followed = relayed(&second, |relayed| relayed.published == 1).await;
    assert_eq!(followed, Relayed { leads: true, published: 1, dead: 0, failures: 0 });
    second.stop().await;
    assert_eq!(published(&engine).await, ["a", "bb"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_dropped_at_any_moment_publish_each_event_once_and_in_order() {
    const COUNT: u32 = 60;
    for seed in 0..8 {
        let mut random = Seeded(seed);
        let ((_folder, pool), engine) = (database().await, engine(2).await);
        let outbox = Outbox::open(&pool, "shop").await.expect("an outbox");
        let adding = tokio::spawn({
            let (outbox, pool) = (outbox.clone(), pool.clone());
            async move {
                for n in 0..COUNT {
                    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.expect("begun");
                    let event = OrderPlaced { order: (n % 3).to_string(), pence: n.into() };
                    outbox.add(&mut tx, event).await.expect("added");
                    tx.commit().await.expect("committed");
                }
            }
        });
        while !adding.is_finished() {
            let relay = outbox.relay(&engine);
            tokio::time::sleep(Duration::from_millis(random.below(15))).await;
            drop(relay);
        }
        adding.await.expect("added all");
        let relay = outbox.relay(&engine);
        eventually(async || count(&pool, "SELECT COUNT(*) FROM shop").await == 0).await;
        relay.stop().await;
        let mut of_keys: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for record in records(&engine, "orders").await {
            let event = decode::<OrderPlaced>(&record).expect("an order").into_event();
            of_keys.entry(event.order).or_default().push(event.pence);
        }
        for (key, pence) in of_keys {
            let key: i64 = key.parse().expect("a number");
            let expected: Vec<i64> = (0..i64::from(COUNT)).filter(|n| n % 3 == key).collect();
            assert_eq!(pence, expected, "seed {seed}: key {key}");
        }
    }
}

#[tokio::test]
async fn a_row_that_no_topic_takes_is_a_dead_letter_and_holds_up_no_other() {
    let ((_folder, pool), engine) = (database().await, engine(1).await);
    let outbox = Outbox::open(&pool, "shop").await.expect("an outbox");
    run(
        &pool,
        "INSERT INTO shop (id, topic, event_key, event_type, headers, payload) VALUES \
         ('e-1', 'no topic', x'61', 'T', '[]', x'7b7d'), ('e-2', 'orders', x'61', 'T', 'x', x'7b7d'), \
         ('e-3', 'orders', x'61', 'T', '[]', randomblob(750000))",
    )
    .await;
    let mut tx = pool.begin().await.expect("begun");
    outbox.add(&mut tx, placed("a")).await.expect("added");
    tx.commit().await.expect("committed");
    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.published == 1 && relayed.dead == 3).await;
    relay.stop().await;
    assert_eq!(published(&engine).await, ["a"]);
    let letters = dead_letters(&engine, "shop").await;
    let causes: Vec<&str> = letters.iter().map(|letter| letter.cause.as_str()).collect();
    assert_eq!(causes[0], "\"no topic\" is no name of a topic");
    assert!(causes[1].starts_with("its headers are not those of an event"), "{causes:?}");
    assert!(causes[2].ends_with("exceed the 716800 bytes that topic orders takes"), "{causes:?}");
    assert_eq!(letters[0].causation, Some("e-1".into()));
}

#[tokio::test]
async fn a_relay_whose_database_fails_begins_again() {
    let ((_folder, pool), engine) = (database().await, engine(1).await);
    let outbox = Outbox::open(&pool, "shop").await.expect("an outbox");
    let mut tx = pool.begin().await.expect("begun");
    outbox.add(&mut tx, placed("a")).await.expect("added");
    tx.commit().await.expect("committed");
    run(&pool, "ALTER TABLE shop RENAME TO elsewhere").await;
    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.failures > 1).await;
    run(&pool, "ALTER TABLE elsewhere RENAME TO shop").await;
    relayed(&relay, |relayed| relayed.published == 1).await;
    relay.stop().await;
    assert_eq!(published(&engine).await, ["a"]);
}

#[tokio::test]
async fn a_table_in_debeziums_layout_is_read_and_emptied() {
    let ((_folder, pool), engine) = (database().await, engine(1).await);
    run(
        &pool,
        "CREATE TABLE outboxevent (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, aggregatetype TEXT, \
         aggregateid TEXT, type TEXT, payload TEXT)",
    )
    .await;
    run(
        &pool,
        "INSERT INTO outboxevent (id, aggregatetype, aggregateid, type, payload) VALUES \
         ('e-1', 'Order', '7', 'OrderPlaced', '{\"order\":\"7\",\"pence\":9}'), \
         ('e-2', 'Order', '7', 'OrderGone', NULL)",
    )
    .await;
    let lacking = Debezium::table("outboxevent").order_by("at");
    let lacking = DebeziumOutbox::open(&pool, "java_shop", lacking).await;
    assert!(matches!(lacking, Err(DatabaseError::Refused(_))), "{lacking:?}");
    let table = Debezium::table("outboxevent").order_by("seq");
    let outbox = DebeziumOutbox::open(&pool, "java_shop", table).await.expect("an outbox");
    let relay = outbox.relay(&engine);
    relayed(&relay, |relayed| relayed.published == 2).await;
    relay.stop().await;
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM outboxevent").await, 0);
    let records = records(&engine, "outbox.event.Order").await;
    let event = decode::<OrderPlaced>(&records[0]).expect("an event for services");
    assert_eq!((event.order.as_str(), event.pence), ("7", 9));
    assert_eq!((records[0].header("id"), records[0].header("ce_id")), (Some("e-1"), Some("e-1")));
    assert_eq!((records[1].key.as_deref(), &records[1].value), (Some(&b"7"[..]), &None));
}
