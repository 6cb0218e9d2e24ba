//! The transactional producer of a cluster.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use super::refusals::{TRANSACTIONAL_ID, is_denial};
use super::sending::{Client, Sender};
use super::{Kafka, KafkaSubscription, blocking, blocking_within, refusals};
use crate::limits::TRANSACTION_OPEN_WAIT;
use crate::{Error, Position, SentRecord, TopicPartition};

#[derive(Debug)]
pub(crate) struct KafkaTransactions {
    id: String,
    sender: Arc<Sender>,
    timeout: Duration,
    answer_timeout: Duration,
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
                .set("delivery.timeout.ms", delivery.as_millis().to_string());
        };
        if id.is_empty() || timeout < TIMEOUT_MIN {
            let why = format!("transactional id {id:?} with a timeout of {timeout:?}");
            return Err(Error::Invalid(why));
        }
        let sender = Arc::new(Sender::open(kafka, set)?);
        let opened =
            Self { id: id.to_owned(), sender, timeout, answer_timeout: settings.answer_timeout };
        opened.call(|client| client.init_transactions(TRANSACTION_OPEN_WAIT)).await?;
        Ok(opened)
    }

    pub(crate) fn begin(&self) -> Result<(), Error> {
        self.sender.client().begin_transaction().map_err(|error| self.refused(&error))
    }

    pub(crate) async fn append(&self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        match self.sender.send(records).await {
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
        // librdkafka (2.12.1) may keep a broker that is gone for the group's coordinator, for minutes: whoever is
        // refused here opens the id anew, and so another client that looks for it itself. Now and then it does
        // not keep to the timeout, and waits without end.
        let timeout = (self.answer_timeout * OFFSETS_ANSWERS).min(self.timeout);
        let sender = Arc::clone(&self.sender);
        let what = format!("{TRANSACTIONAL_ID}{}, positions", self.id);
        let send = move || sender.client().send_offsets_to_transaction(&list, &group, timeout);
        let sent = blocking_within(timeout + OFFSETS_GRACE, &what, send);
        sent.await?.map_err(|error| self.refused(&error))
    }

    pub(crate) async fn commit(&self) -> Result<(), Error> {
        let timeout = self.timeout;
        self.call(move |client| client.commit_transaction(timeout)).await
    }

    pub(crate) async fn abort(&self) -> Result<(), Error> {
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
        done.await?.map_err(|error| self.refused(&error))
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
