//! A key that fails waits with what follows it, and other keys flow: `cargo run -p tidings-example-order-through-failure`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings::{Backoff, Dep, Error, Event, Outcome, Publisher, Received, Service, done, retry};
use tidings_engine::Engine;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "bank.bookings", key = "account")]
struct Booked {
    account: String,
    number: u32,
}

/// Bookings of each account, in the order in which they were handled.
type Ledger = Arc<Mutex<BTreeMap<String, Vec<u32>>>>;

async fn book(
    event: Received<Booked>,
    ledger: Dep<Ledger>,
    failures: Dep<Arc<Mutex<u32>>>,
) -> Outcome<()> {
    let Booked { account, number } = &*event;
    if let Some(left) = failures.lock().ok().filter(|left| **left > 0 && account == "ann") {
        let mut left = left;
        *left -= 1;
        return retry("ann's account is locked");
    }
    println!("{account}: booking {number}");
    if let Ok(mut ledger) = ledger.lock() {
        ledger.entry(account.clone()).or_default().push(*number);
    }
    done(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let ledger = work(&Engine::in_memory().await?).await?;
    println!("in order: {ledger:?}");
    Ok(())
}

async fn work(engine: &Engine) -> Result<BTreeMap<String, Vec<u32>>, Error> {
    let ledger = Ledger::default();
    let backoff = Backoff { first: Duration::from_millis(50), ..Backoff::default() };
    let bank = Service::new("bank").on(book).retry(backoff).with(Arc::clone(&ledger));
    let bank = bank.with(Arc::new(Mutex::new(2_u32))).start(engine).await?;
    let clerk = Publisher::open(engine, "clerk").await?;
    for number in 0..5 {
        for account in ["ann", "bob"] {
            clerk.emit(&Booked { account: account.into(), number }).await?;
        }
    }
    // Bob's bookings are done while Ann's wait; hers come later, and in their order.
    bank.until(|figures| figures.processed == 10).await;
    bank.stop().await?;
    let ledger = ledger.lock().map(|ledger| ledger.clone());
    Ok(ledger.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_account_is_booked_in_order() -> Result<(), Error> {
        let ledger = work(&Engine::in_memory().await?).await?;
        let all: Vec<u32> = (0..5).collect();
        assert_eq!(ledger, BTreeMap::from([("ann".into(), all.clone()), ("bob".into(), all)]));
        Ok(())
    }
}
