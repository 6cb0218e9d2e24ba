//! The same service on another engine, by one URL: `cargo run -p tidings-example-the-same-on-kafka -- kafka://127.0.0.1:9092`.
//!
//! `memory:` keeps nothing, a folder is a log of its own, `kafka://HOST:PORT,…` is a cluster of Apache Kafka, or a
//! running `tidings up`.

use serde::{Deserialize, Serialize};
use tidings::{Error, Event, Id, Outcome, Outgoing, Publisher, Received, Service, done};
use tidings_engine::Engine;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "example.orders", key = "order")]
struct OrderPlaced {
    order: String,
    pence: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "example.payments", key = "order")]
struct PaymentCompleted {
    order: String,
    pence: i64,
}

async fn charge(event: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
    done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
}

/// The one line that differs.
async fn engine(url: &str) -> Result<Engine, Error> {
    Ok(match url {
        "memory:" => Engine::in_memory().await?,
        url if url.starts_with("kafka://") => Engine::connect(url).await?,
        folder => Engine::open(folder).await?,
    })
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let engine = engine(&url).await?;
    println!("{} orders are paid on {url}", pay(&engine).await?);
    Ok(engine.close().await?)
}

async fn pay(engine: &Engine) -> Result<u64, Error> {
    let payment = Service::new("example-payment").on(charge).start(engine).await?;
    let till = Publisher::open(engine, "till").await?;
    let orders = (0..100).map(|number| {
        let order = OrderPlaced { order: format!("order-{number}"), pence: 100 + number };
        Outgoing::new(&order).id(Id::derived(&["example", &order.order]))
    });
    till.publish(orders.collect()).await?;
    // In one transaction with its position each, on any engine; known already when it runs again.
    let figures = payment.until(|figures| figures.emitted + figures.duplicates >= 100).await;
    payment.stop().await?;
    Ok(figures.emitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_order_is_paid_once() -> Result<(), Error> {
        assert_eq!(pay(&engine("memory:").await?).await?, 100);
        Ok(())
    }
}
