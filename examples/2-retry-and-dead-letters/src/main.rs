//! What fails is tried again, then waits for you: `cargo run -p tidings-example-retry-and-dead-letters`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings::{
    Act, Backoff, Dep, Desk, Error, Event, Outcome, Publisher, Received, Selection, Service, done,
    reject, retry,
};
use tidings_engine::Engine;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order")]
struct OrderPlaced {
    order: String,
    pence: i64,
}

/// A bank that refuses a card until somebody has called it, and is slow to wake up.
#[derive(Default)]
struct Bank {
    calls: AtomicU32,
    limit: AtomicU32,
}

async fn charge(event: Received<OrderPlaced>, bank: Dep<Arc<Bank>>) -> Outcome<()> {
    if event.pence <= 0 {
        // A decision: never tried again, a dead letter with this cause.
        return reject("nothing to charge");
    }
    if bank.calls.fetch_add(1, Ordering::SeqCst) < 2 {
        // A failure: tried again after a pause, as any error of `?`, a panic and a timeout are.
        return retry("the bank did not answer");
    }
    if event.pence > i64::from(bank.limit.load(Ordering::SeqCst)) {
        return retry("the card's limit is too low");
    }
    println!("charged order {}: {} pence", event.order, event.pence);
    done(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    print!("{}", sell(&Engine::in_memory().await?).await?);
    Ok(())
}

async fn sell(engine: &Engine) -> Result<String, Error> {
    let bank = Arc::new(Bank { limit: AtomicU32::new(1_000), ..Bank::default() });
    let backoff = Backoff { first: Duration::from_millis(10), attempts: 4, ..Backoff::default() };
    let payment = Service::new("payment").on(charge).with(Arc::clone(&bank)).retry(backoff);
    let payment = payment.start(engine).await?;
    let till = Publisher::open(engine, "till").await?;
    for (order, pence) in [("536365", 999), ("536366", 0), ("536367", 5_000)] {
        till.emit(&OrderPlaced { order: order.into(), pence }).await?;
    }
    payment.until(|figures| figures.dead == 2 && figures.parked == 1).await;

    // The same on the command line: tidings dead list payment; tidings dead redrive payment --all
    let desk = Desk::of(engine, "payment");
    let mut told = String::new();
    for dead in desk.dead().await? {
        told += &format!("{}, tried {} times: {}\n", dead.topic, dead.attempts, dead.cause);
    }
    bank.limit.store(10_000, Ordering::SeqCst);
    let again = Act::Redrive { per_second: None, force: false };
    desk.command("the shop's owner", Selection::All, again).await?;
    let figures = payment.until(|figures| figures.parked == 0).await;
    payment.stop().await?;
    Ok(format!("{told}{} handled, {} retried\n", figures.processed, figures.retried))
}

#[cfg(test)]
mod tests;
