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

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tidings::Running;
use tidings_engine::{Engine, NewTopic, Recourse};
use tokio::task::JoinHandle;

pub use dataset::{Dataset, DatasetError};
pub use reconcile::Reconciliation;

/// How often `until_done` looks whether everything has been handled.
const QUIET_CHECK: Duration = Duration::from_millis(100);

/// How long the services may handle nothing while there is something to handle. A group takes up
/// to 10 s to notice that a member has died.
const STUCK_AFTER: Duration = Duration::from_secs(60);

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
    #[error("the services have handled nothing for {0:?}; their warnings say why")]
    Stuck(Duration),
    /// Stopping the shop tells why.
    #[error("service {0} ended by itself")]
    Ended(String),
    #[error("a record of {topic} cannot be read: {why}")]
    Record { topic: String, why: String },
}

/// The running shop.
#[derive(Debug)]
pub struct Shop {
    engine: Engine,
    dataset: Arc<Dataset>,
    services: Vec<Running>,
    /// None once its end has been awaited.
    till: Option<JoinHandle<Result<(), Error>>>,
    /// Messages that the log held at the start.
    fed: usize,
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
        let till = till::Till::open(engine, dataset.clone()).await?;
        let fed = till.fed();
        let till = tokio::spawn(till.run(options.speed));
        Ok(Self {
            engine: engine.clone(),
            dataset,
            services: running,
            till: Some(till),
            fed,
            opened,
        })
    }

    /// Whether an earlier run had fed the whole file into the log when this one started.
    pub fn was_fed(&self) -> bool {
        self.fed == self.dataset.messages.len()
    }

    /// Waits until the whole file is fed and every service has handled everything, then reconciles.
    pub async fn until_done(&mut self) -> Result<Reconciliation, Error> {
        self.closing_time().await?;
        tokio::select! {
            quiet = self.quiet() => quiet?,
            ended = first_end(&self.services) => return Err(ended),
        }
        let ledger = ledger::Ledger::read(&self.engine).await?;
        Ok(reconcile::reconcile(&self.dataset, &ledger, self.opened.elapsed()))
    }

    /// Waits until every service has handled everything, as long as they get on with it.
    async fn quiet(&self) -> Result<(), Error> {
        let mut last = (self.handled(), Instant::now());
        loop {
            match ledger::is_quiet(&self.engine).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // An engine that comes back within the time for getting on has not stopped the shop.
                Err(Error::Engine(e)) if e.recourse() == Recourse::Retry => {}
                Err(e) => return Err(e),
            }
            let handled = self.handled();
            if handled != last.0 {
                last = (handled, Instant::now());
            } else if last.1.elapsed() > STUCK_AFTER {
                return Err(Error::Stuck(STUCK_AFTER));
            }
            tokio::time::sleep(QUIET_CHECK).await;
        }
    }

    /// Events that the services have handled or passed over.
    fn handled(&self) -> u64 {
        let figures = self.services.iter().map(Running::figures);
        figures.map(|f| f.processed + f.duplicates).sum()
    }

    /// Returns when the till or a service fails; a shop that has sold everything stays open.
    pub async fn until_broken(&mut self) -> Error {
        match self.closing_time().await {
            Err(error) => error,
            Ok(()) => first_end(&self.services).await,
        }
    }

    /// Waits until the till has fed everything.
    async fn closing_time(&mut self) -> Result<(), Error> {
        let Some(till) = &mut self.till else { return Ok(()) };
        let fed = tokio::select! {
            fed = till => fed,
            ended = first_end(&self.services) => return Err(ended),
        };
        self.till = None;
        fed.map_err(|e| Error::Till(e.to_string()))?
    }

    /// Closes the till and lets each service finish what it has begun.
    pub async fn stop(self) -> Result<(), Error> {
        if let Some(till) = self.till {
            till.abort();
        }
        for service in self.services {
            service.stop().await?;
        }
        Ok(())
    }
}

/// The first service that ends by itself.
async fn first_end(services: &[Running]) -> Error {
    let mut ends: Vec<Pin<Box<dyn Future<Output = Error> + Send + '_>>> = Vec::new();
    for service in services {
        ends.push(Box::pin(async move {
            service.until(|_| false).await;
            Error::Ended(service.name().to_owned())
        }));
    }
    let next = |context: &mut std::task::Context<'_>| {
        let ended = ends.iter_mut().find_map(|end| match end.as_mut().poll(context) {
            Poll::Ready(error) => Some(error),
            Poll::Pending => None,
        });
        ended.map_or(Poll::Pending, Poll::Ready)
    };
    poll_fn(next).await
}

async fn create_topics(engine: &Engine) -> Result<(), Error> {
    for (name, partitions) in events::topics::ALL {
        let topic = NewTopic { partitions: Some(partitions), ..NewTopic::kept(name) };
        match engine.create_topic(topic).await {
            Ok(()) | Err(tidings_engine::Error::TopicExists(_)) => {}
            Err(e) => return Err(e.into()),
        }
        engine.can_append(name).await?;
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
