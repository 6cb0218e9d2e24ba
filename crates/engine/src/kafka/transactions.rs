//! The transactional producer of a cluster.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use super::refusals::{TRANSACTIONAL_ID, is_denial};
use super::sending::{Client, Sender};
use super::{Kafka, KafkaSubscription, blocking, blocking_within, refusals};
use crate::limits::{HELD_UP_AFTER, LOOK_ROUND_PAUSE, OPENINGS_MAX, TRANSACTION_OPEN_WAIT};
use crate::{Error, Position, SentRecord, TopicPartition};

#[derive(Debug)]
pub(crate) struct KafkaTransactions {
    id: String,
    sender: Arc<Sender>,
    timeout: Duration,
    answer_timeout: Duration,
    kafka: Kafka,
    /// The brokers that there were when it was opened.
    there: BTreeSet<i32>,
    /// Its client did not find its way from a broker that is gone.
    given_up: AtomicBool,
}

impl KafkaTransactions {
    pub(crate) async fn open(kafka: &Kafka, id: &str, timeout: Duration) -> Result<Self, Error> {
        let settings = kafka.settings();
        // librdkafka wants each of these below the transaction's.
        let answer = settings.answer_timeout.min(timeout.saturating_sub(SMALLER_BY));
        let delivery = settings.delivery_timeout.min(timeout);
        let set = |config: &mut ClientConfig| {
            config
                .set("transactional.id", id)
                .set("transaction.timeout.ms", timeout.as_millis().to_string())
                .set("socket.timeout.ms", answer.as_millis().to_string())
                .set("metadata.max.age.ms", COORDINATOR_KEPT.as_millis().to_string())
                .set("delivery.timeout.ms", delivery.as_millis().to_string());
        };
        if id.is_empty() || timeout < TIMEOUT_MIN {
            let why = format!("transactional id {id:?} with a timeout of {timeout:?}");
            return Err(Error::Invalid(why));
        }
        let mut openings = 0;
        loop {
            openings += 1;
            let mut opened = Self {
                id: id.to_owned(),
                sender: Arc::new(Sender::open(kafka, set)?),
                timeout,
                answer_timeout: settings.answer_timeout,
                kafka: kafka.clone(),
                there: BTreeSet::new(),
                given_up: AtomicBool::new(false),
            };
            // librdkafka looks for the coordinator twice a second, once a broker is there: this makes it connect.
            opened.there = kafka.who_is_there(opened.sender.client().clone()).await;
            match opened.call(|client| client.init_transactions(TRANSACTION_OPEN_WAIT)).await {
                Ok(()) => return Ok(opened),
                Err(_) if opened.is_given_up() && openings < OPENINGS_MAX => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn begin(&self) -> Result<(), Error> {
        if self.is_given_up() {
            return Err(self.given_up());
        }
        self.sender.client().begin_transaction().map_err(|error| self.refused(&error))
    }

    pub(crate) async fn append(&self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        match self.unless_lost(self.sender.send(records)).await {
            // librdkafka throws away what is queued when the transaction has failed; its own state
            // tells why.
            Err(Error::Unavailable(why)) => Err(self.fatal().unwrap_or(Error::Unavailable(why))),
            sent => sent,
        }
    }

    pub(crate) async fn commit_offsets(
        &self,
        subscription: &KafkaSubscription,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        let (list, group) = subscription.commit_request(offsets)?;
        // Should librdkafka (2.12.1) have asked a broker that it takes for gone a moment later, or keep one for the
        // group's coordinator ([`COORDINATOR_KEPT`]), it does not keep to the timeout either, and waits without
        // end: whoever is refused here opens the id anew, and so another client that looks for it itself.
        let timeout = (self.answer_timeout * OFFSETS_ANSWERS).min(self.timeout);
        let sender = Arc::clone(&self.sender);
        let what = format!("{TRANSACTIONAL_ID}{}, positions", self.id);
        let send = move || sender.client().send_offsets_to_transaction(&list, &group, timeout);
        let sent = blocking_within(timeout + OFFSETS_GRACE, &what, send);
        self.unless_lost(sent).await?.map_err(|error| self.refused(&error))
    }

    pub(crate) async fn commit(&self) -> Result<(), Error> {
        let timeout = self.timeout;
        self.call(move |client| client.commit_transaction(timeout)).await
    }

    pub(crate) async fn abort(&self) -> Result<(), Error> {
        if self.is_given_up() {
            return Err(self.given_up());
        }
        let timeout = self.timeout;
        self.call(move |client| client.abort_transaction(timeout)).await
    }

    /// Calls what blocks, again where librdkafka says that it goes on with what it has begun.
    async fn call(
        &self,
        step: impl Fn(&Client) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), Error> {
        let sender = Arc::clone(&self.sender);
        let done = blocking(move || {
            let mut attempts = 0;
            loop {
                match step(sender.client()) {
                    Err(KafkaError::Transaction(error))
                        if error.is_retriable() && attempts < ATTEMPTS_MAX =>
                    {
                        attempts += 1;
                    }
                    done => return done,
                }
            }
        });
        self.unless_lost(done).await?.map_err(|error| self.refused(&error))
    }

    /// A step of the client, unless it is held up and a broker is gone. librdkafka (2.12.1) stays with a coordinator
    /// that answers: one that is cut off from the others has begun what it cannot end, and says so for ever. Nobody is
    /// given up who is slow while all brokers are there.
    async fn unless_lost<T>(
        &self,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let lost = async {
            tokio::time::sleep(HELD_UP_AFTER).await;
            loop {
                let found = self.kafka.look_round(self.sender.client().clone()).await;
                let found = found.unwrap_or_default();
                if let Some(wait) = self.kafka.way_found_within(&self.there, &found).await {
                    return tokio::time::sleep(wait).await;
                }
                tokio::time::sleep(LOOK_ROUND_PAUSE).await;
            }
        };
        tokio::select! {
            biased;
            done = step => done,
            () = lost => {
                self.given_up.store(true, Ordering::Release);
                let id = &self.id;
                Err(Error::Unavailable(format!(
                    "{TRANSACTIONAL_ID}{id}: held up, and a broker is gone; open it again"
                )))
            }
        }
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    fn given_up(&self) -> Error {
        let id = &self.id;
        Error::Fenced(format!("{TRANSACTIONAL_ID}{id}: its client was given up; open it again"))
    }

    fn refused(&self, error: &KafkaError) -> Error {
        let what = format!("{TRANSACTIONAL_ID}{}", self.id);
        match error {
            KafkaError::Transaction(refused) if is_denial(refused.code()) => {
                refusals::of_error(&what, error)
            }
            // The client is of no use any more, whatever the reason.
            KafkaError::Transaction(refused) if refused.is_fatal() => {
                Error::Fenced(format!("{what}: {}; open it again", refused.string()))
            }
            _ => self.fatal().unwrap_or_else(|| refusals::of_error(&what, error)),
        }
    }

    fn fatal(&self) -> Option<Error> {
        let (code, why) = self.sender.client().client().fatal_error()?;
        if is_denial(code) {
            return Some(refusals::of_code(&format!("{TRANSACTIONAL_ID}{}", self.id), code));
        }
        Some(Error::Fenced(format!("transactional id {}: {why}; open it again", self.id)))
    }
}

/// How long the group's coordinator is remembered between two transactions. librdkafka (2.12.1) gives up the connection
/// to a broker that the others do not name any more, and then waits without end for it to be there again: for as long
/// as it takes it for the coordinator. It forgets coordinators that it has not asked for `metadata.max.age.ms`, once a
/// second. A transaction that a lost broker holds up takes longer than both, as brokers are not taken for lost sooner.
/// Otherwise a transaction that comes after a pause asks once more who the coordinator is.
const COORDINATOR_KEPT: Duration = Duration::from_millis(250);
/// The least timeout of a transaction that librdkafka takes.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// By how much a request's timeout must be below the transaction's.
const SMALLER_BY: Duration = Duration::from_millis(200);
/// How often the group's coordinator may be silent while positions are on their way to it.
const OFFSETS_ANSWERS: u32 = 3;
/// By how much librdkafka may be late with giving that up.
const OFFSETS_GRACE: Duration = Duration::from_secs(1);
/// Attempts at one step, each of which takes up to the transaction's timeout.
const ATTEMPTS_MAX: u32 = 3;
