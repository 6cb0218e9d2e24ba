//! The shop: six services sell a gift shop's December 2010, with the till's real duplicates,
//! cancellations and malformed orders.
//!
//! Choreography: `OrderPlaced → PaymentCompleted | PaymentFailed → StockReserved |
//! StockNotAvailable → ShippingScheduled`, with refund and release as compensations; notification
//! and analytics listen. [`Shop::until_done`] waits until every order has ended and checks that
//! money and units balance.

mod dataset;
pub mod events;
mod ledger;
mod reconcile;
mod services;
mod till;

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings::Running;
use tidings_engine::{Engine, NewTopic};
use tokio::task::JoinHandle;

pub use dataset::{Dataset, DatasetError};
pub use reconcile::Reconciliation;

/// How often `until_done` looks whether everything has been handled.
const QUIET_CHECK: Duration = Duration::from_millis(100);

/// How fast the month passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as the log takes it.
    Max,
    /// This many times as fast as the tills wrote it.
    Times(f64),
}

impl Speed {
    /// The month, of which the file tells 31 days, in about two minutes.
    pub const DEFAULT: Self = Self::Times(23_000.0);
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<f64>()) {
            ("max", _) => Ok(Self::Max),
            (_, Ok(times)) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err(format!("{text:?} is neither \"max\" nor a number above 0")),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub speed: Speed,
}

/// Why the shop cannot open or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Engine(#[from] tidings_engine::Error),
    #[error(transparent)]
    Sdk(#[from] tidings::Error),
    #[error("the till stopped: {0}")]
    Till(String),
    #[error("a record of {topic} cannot be read: {why}")]
    Record { topic: String, why: String },
}

/// The running shop.
#[derive(Debug)]
pub struct Shop {
    engine: Engine,
    dataset: Arc<Dataset>,
    services: Vec<Running>,
    till: JoinHandle<Result<(), Error>>,
    opened: Instant,
}

impl Shop {
    /// Makes the topics that are missing, starts the services and lets the till go on where an
    /// earlier run on the same log stopped.
    pub async fn start(engine: &Engine, options: Options) -> Result<Self, Error> {
        let opened = Instant::now();
        let dataset = tokio::task::spawn_blocking(Dataset::load)
            .await
            .map_err(|e| Error::Till(e.to_string()))??;
        let dataset = Arc::new(dataset);
        create_topics(engine).await?;
        let mut running = Vec::new();
        for service in services::all(dataset.opening_stock()) {
            running.push(service.start(engine).await?);
        }
        let till = till::Till { engine: engine.clone(), dataset: dataset.clone() };
        let till = tokio::spawn(till.run(options.speed));
        Ok(Self { engine: engine.clone(), dataset, services: running, till, opened })
    }

    /// Waits until the whole file is fed and every service has handled everything, then reconciles.
    pub async fn until_done(&mut self) -> Result<Reconciliation, Error> {
        (&mut self.till).await.map_err(|e| Error::Till(e.to_string()))??;
        while !ledger::is_quiet(&self.engine).await? {
            tokio::time::sleep(QUIET_CHECK).await;
        }
        let ledger = ledger::Ledger::read(&self.engine).await?;
        Ok(reconcile::reconcile(&self.dataset, &ledger, self.opened.elapsed()))
    }

    /// Closes the till and lets each service finish what it has begun.
    pub async fn stop(self) -> Result<(), Error> {
        self.till.abort();
        for service in self.services {
            service.stop().await?;
        }
        Ok(())
    }
}

async fn create_topics(engine: &Engine) -> Result<(), Error> {
    for (name, partitions) in events::topics::ALL {
        let topic = NewTopic { name: name.into(), partitions: Some(partitions), configs: vec![] };
        match engine.create_topic(topic).await {
            Ok(()) | Err(tidings_engine::Error::TopicExists(_)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_max_or_a_number_above_zero() {
        for (text, speed) in [
            ("max", Some(Speed::Max)),
            ("10", Some(Speed::Times(10.0))),
            ("0.5", Some(Speed::Times(0.5))),
            ("0", None),
            ("-1", None),
            ("inf", None),
            ("NaN", None),
            ("fast", None),
        ] {
            assert_eq!(text.parse().ok(), speed, "{text}");
        }
    }
}
