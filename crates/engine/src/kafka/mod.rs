//! The seam on a cluster that speaks the Kafka protocol, through librdkafka.
//!
//! One client, the *looker*, asks about topics and offsets, another the coordinators of groups; each producer and each subscription is a
//! client of its own, and reads without a group borrow one of a few readers that are kept. What blocks in
//! librdkafka runs where tokio allows blocking. No type of rdkafka leaves this module.

mod asking;
mod changed;
mod clients;
mod cluster;
mod connecting;
mod context;
mod coordinators;
mod groups;
mod known;
mod lost;
mod native;
mod producer;
mod properties;
mod reader;
mod refusals;
mod replication;
mod secret;
mod sending;
mod subscription;
mod symptom;
mod topics;
mod transactions;
mod url;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use tokio::sync::Notify;

use crate::limits::SERVE_INTERVAL;
use crate::{Connection, Error};
use changed::Changed;
use clients::{client_config, create, watch_of};
use context::Watch;
use coordinators::Coordinators;
use lost::Brokers;
use native::{ConsumerQueue, LastTopic};
pub(crate) use producer::KafkaProducer;
use reader::Readers;
pub(crate) use subscription::KafkaSubscription;
pub(crate) use transactions::KafkaTransactions;
use url::Settings;

/// Asks the cluster, and consumes nothing.
type Looker = BaseConsumer<Watch>;

#[derive(Clone)]
pub(crate) struct Kafka {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    /// How many brokers there were at the beginning.
    brokers: usize,
    alive: Brokers,
    /// None once it is dropped.
    looker: Option<Arc<ConsumerQueue>>,
    coordinators: Coordinators,
    readers: Readers,
    changed: Changed,
    closed: AtomicBool,
}

impl Drop for Shared {
    /// Ending a client waits for its threads, and the last handle may go anywhere.
    fn drop(&mut self) {
        let clients = (self.looker.take(), self.coordinators.take());
        std::thread::spawn(move || drop(clients));
    }
}

/// Without what the clients hold: their configuration has the secrets.
impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("brokers", &self.settings().brokers).finish_non_exhaustive()
    }
}

impl Kafka {
    pub(crate) async fn connect(url: &str) -> Result<Self, Error> {
        let settings = Settings::parse(url)?;
        let watch = watch_of(&settings).that_tells();
        let looker = looker(&settings, watch.clone(), |config| {
            // The one way to learn which versions the brokers offer is librdkafka's log of them.
            config.set("debug", "feature").set_log_level(RDKafkaLogLevel::Debug);
        })?;
        let brokers = connecting::check(&settings, looker.consumer(), &watch).await?;
        let shared = Shared {
            settings,
            brokers: brokers.len(),
            alive: Brokers::of(brokers),
            looker: Some(looker),
            coordinators: Coordinators::default(),
            readers: Readers::default(),
            changed: Changed::default(),
            closed: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn connection(&self) -> Connection {
        let settings = self.settings();
        Connection {
            addresses: settings.brokers.split(',').map(str::to_owned).collect(),
            brokers: self.shared.brokers,
            is_secured: settings.tls.is_some() || settings.sasl.is_some(),
        }
    }

    fn open(&self) -> Result<(), Error> {
        match self.shared.closed.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Error::Unavailable("the engine is closed".to_owned())),
        }
    }

    /// Runs what blocks in librdkafka.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Looker) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.open()?;
        let gone = || Error::Unavailable("the engine is gone".to_owned());
        let looker = Arc::clone(self.shared.looker.as_ref().ok_or_else(gone)?.consumer());
        blocking(move || question(&looker)).await
    }

    /// Another client of the cluster.
    fn client<T: FromClientConfigAndContext<C>, C: rdkafka::ClientContext>(
        &self,
        set: impl FnOnce(&mut ClientConfig),
        context: C,
    ) -> Result<T, Error> {
        self.open()?;
        let mut config = client_config(self.settings())?;
        if let Some(left) = self.shared.alive.left(Instant::now()) {
            config.set("bootstrap.servers", left);
        }
        set(&mut config);
        create(self.settings(), &config, context)
    }

    fn watch(&self) -> Watch {
        watch_of(self.settings())
    }

    #[expect(clippy::unused_async, reason = "other engines wait")]
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.readers.drop_all();
        Ok(())
    }
}

/// Calls what blocks in a thread of its own, which nobody waits for at the end: librdkafka (2.12.1) may keep a call,
/// or the end of a client, for ever, and the end of a runtime waits for its own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let name = "tidings-kafka".to_owned();
    // Whoever has given up waiting does not want to know.
    let started = std::thread::Builder::new().name(name).spawn(move || drop(tell.send(work())));
    started.map_err(|error| Error::Unavailable(format!("no thread for a call: {error}")))?;
    told.await.map_err(|_| Error::Unavailable("a call of librdkafka panicked".to_owned()))
}

/// The same, and no answer after that time is an answer. The call goes on in its thread.
async fn blocking_within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let silent = |_| Error::Unavailable(format!("{what}: no answer within {limit:?}"));
    tokio::time::timeout(limit, blocking(work)).await.map_err(silent)?
}

/// A client that asks, and what serves it.
fn looker(
    settings: &Settings,
    watch: Watch,
    set: impl FnOnce(&mut ClientConfig),
) -> Result<Arc<ConsumerQueue>, Error> {
    let mut config = client_config(settings)?;
    config.set("group.id", QUEUE_GROUP);
    set(&mut config);
    let looker = Arc::new(ConsumerQueue::of(create(settings, &config, watch)?)?);
    tokio::spawn(serve(Arc::downgrade(&looker), looker.bell()));
    Ok(looker)
}

/// Takes what librdkafka tells the looker (errors, log lines, that it wants a token) for as long as there is
/// one.
async fn serve(looker: Weak<ConsumerQueue>, bell: Arc<Notify>) {
    let mut topic = LastTopic::default();
    while let Some(looker) = looker.upgrade() {
        while looker.next(&mut topic).is_some() {}
        if let Some(last) = Arc::into_inner(looker) {
            // Ending a client waits for its threads.
            let (Ok(()) | Err(_)) = blocking(move || drop(last)).await;
            return;
        }
        let (Ok(()) | Err(_)) = tokio::time::timeout(SERVE_INTERVAL, bell.notified()).await;
    }
}

/// librdkafka gives only a consumer with a group a queue of its own; nobody joins this one.
const QUEUE_GROUP: &str = "tidings-readers";
