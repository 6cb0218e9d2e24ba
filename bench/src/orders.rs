//! The work of services that are measured: of each order a payment.

use serde::{Deserialize, Serialize};
use tidings::{Event, Outcome, Outgoing, Publisher, Received, done};
use tidings_engine::{Engine, NewTopic};

pub(crate) const PARTITIONS: i32 = 2;
pub(crate) const KEYS: u64 = 1_000;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "orders", key = "key")]
pub(crate) struct Order {
    pub(crate) key: String,
    pub(crate) number: u64,
    /// Microseconds since the measurement began.
    pub(crate) at: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "payments", key = "key")]
pub(crate) struct Payment {
    pub(crate) key: String,
    pub(crate) number: u64,
}

pub(crate) async fn pay(event: Received<Order>) -> Outcome<Payment> {
    done(Payment { key: event.key.clone(), number: event.number })
}

pub(crate) fn order(number: u64, at: u64) -> Outgoing {
    order_of(number, KEYS, at)
}

/// As the former, of so many keys.
pub(crate) fn order_of(number: u64, keys: u64, at: u64) -> Outgoing {
    let key = format!("key-{}", number % keys);
    Outgoing::new(&Order { key, number, at })
}

pub(crate) async fn make_topics(engine: &Engine) -> anyhow::Result<()> {
    for name in ["orders", "payments"] {
        let topic = NewTopic { partitions: Some(PARTITIONS), ..NewTopic::kept(name) };
        engine.create_topic(topic).await?;
    }
    Ok(())
}

/// Makes the topics and publishes so many orders, which are thousands.
pub(crate) async fn fill(engine: &Engine, count: u64) -> anyhow::Result<()> {
    make_topics(engine).await?;
    fill_keys(engine, count, KEYS).await
}

/// Publishes so many orders, which are thousands, of so many keys.
pub(crate) async fn fill_keys(engine: &Engine, count: u64, keys: u64) -> anyhow::Result<()> {
    let till = Publisher::open(engine, "till").await?;
    for first in (0..count).step_by(1_000) {
        let orders = (first..first + 1_000).map(|number| order_of(number, keys, 0));
        till.publish(orders.collect()).await?;
    }
    Ok(())
}
