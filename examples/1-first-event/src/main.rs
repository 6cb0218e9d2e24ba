//! One service, one event: `cargo run -p tidings-example-first-event`.
//!
//! In memory by default. With `-- --data DIR` the log is kept on disk, and a second run finds that
//! the order has been handled already.

use serde::{Deserialize, Serialize};
use tidings::{Error, Event, Id, Outcome, Outgoing, Publisher, Received, Service, done};
use tidings_engine::Engine;

#[derive(Event, Serialize, Deserialize, Debug)]
#[event(topic = "shop.orders", key = "order")]
struct OrderPlaced {
    order: String,
    pence: i64,
}

#[derive(Event, Serialize, Deserialize, Debug)]
#[event(topic = "shop.payments", key = "order")]
struct PaymentCompleted {
    order: String,
    pence: i64,
}

async fn charge(event: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
    println!("charging order {}: {} pence", event.order, event.pence);
    done(PaymentCompleted { order: event.order.clone(), pence: event.pence })
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let engine = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Engine::in_memory().await?,
        ["--data", dir] => Engine::open(dir).await?,
        _ => {
            eprintln!("usage: tidings-example-first-event [--data DIR]");
            std::process::exit(2);
        }
    };
    place_and_charge(&engine).await?;
    Ok(engine.close().await?)
}

async fn place_and_charge(engine: &Engine) -> Result<tidings::Figures, Error> {
    let payment = Service::new("payment").on(charge).start(engine).await?;
    let till = Publisher::open(engine, "till").await?;
    let order = OrderPlaced { order: "536365".into(), pence: 13_912 };
    // The same order always has the same id, so it is charged once, however often it is placed.
    let once = Outgoing::new(&order).id(Id::derived(&["shop", &order.order]));
    till.publish(vec![once.clone(), once]).await?;
    let figures = payment.until(|figures| figures.processed + figures.duplicates >= 2).await;
    println!("charged: {}, known already: {}", figures.processed, figures.duplicates);
    payment.stop().await?;
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_is_charged_once_also_over_two_runs() -> Result<(), Error> {
        let dir = tempfile::tempdir().expect("a directory");
        for charged in [1, 0] {
            let engine = Engine::open(dir.path()).await?;
            let figures = place_and_charge(&engine).await?;
            assert_eq!((figures.processed, figures.duplicates), (charged, 2 - charged));
            engine.close().await?;
        }
        Ok(())
    }
}
