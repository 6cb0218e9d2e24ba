//! Transactions: records and a group's positions that count together or not at all.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::limits::TRANSACTION_TIMEOUT;
use crate::{Error, Position, SentRecord, Subscription, TopicPartition};

/// How to be a transactional producer.
#[derive(Clone, Copy, Debug)]
pub struct TransactionOptions {
    /// The engine aborts a transaction that takes longer, and fences its producer.
    pub timeout: Duration,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self { timeout: TRANSACTION_TIMEOUT }
    }
}

/// The holder of a transactional id: begins one transaction after the other.
///
/// Opening it fences whoever held the id before and aborts what that one left. Clones share the id.
/// After [`Error::Fenced`] it is of no use any more: somebody else has the id, or the engine gave up a
/// transaction that took too long.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), tidings_engine::Error> {
/// use tidings_engine::{Engine, NewTopic, SentRecord, TransactionOptions};
///
/// let engine = Engine::in_memory().await?;
/// engine.create_topic(NewTopic { name: "payments".into(), ..NewTopic::default() }).await?;
/// let producer =
///     engine.transactional_producer("payments-1", TransactionOptions::default()).await?;
/// let mut transaction = producer.begin().await?;
/// let payment =
///     SentRecord { topic: "payments".into(), value: Some("9 EUR".into()), ..Default::default() };
/// transaction.append(vec![payment]).await?;
/// transaction.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TransactionalProducer {
    held: Arc<Mutex<Held>>,
    runtime: Handle,
}

/// A transaction that has begun. Dropping it aborts it.
///
/// After an error of [`Transaction::append`] or [`Transaction::commit_offsets`], and after one of them was
/// given up half way, it can only be aborted.
#[derive(Debug)]
pub struct Transaction {
    /// None once it has ended.
    held: Option<OwnedMutexGuard<Held>>,
    runtime: Handle,
}

#[derive(Debug)]
struct Held {
    engine: Transactions,
    /// A transaction is open; of one that was dropped, until it is aborted.
    open: bool,
    /// Why it cannot be committed.
    broken: Option<Error>,
}

#[derive(Debug)]
pub(crate) enum Transactions {
    #[cfg(feature = "embedded")]
    Embedded(crate::embedded::EmbeddedTransactions),
    #[cfg(feature = "kafka")]
    Kafka(crate::kafka::KafkaTransactions),
}

impl TransactionalProducer {
    pub(crate) fn of(engine: Transactions) -> Self {
        let held = Held { engine, open: false, broken: None };
        Self { held: Arc::new(Mutex::new(held)), runtime: Handle::current() }
    }

    /// Begins a transaction; waits until the one before it has ended.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let mut held = Arc::clone(&self.held).lock_owned().await;
        if held.open {
            held.abort().await?;
        }
        held.engine.begin()?;
        held.open = true;
        Ok(Transaction { held: Some(held), runtime: self.runtime.clone() })
    }
}

impl Transaction {
    /// Appends the records in order and returns where each went. Readers of committed records see them
    /// after [`Transaction::commit`], those of everything at some time before. They are on the disk when the commit is.
    pub async fn append(&mut self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        let held = self.usable()?;
        held.begin_step()?;
        let appended = held.engine.append(records).await;
        held.end_step(appended)
    }

    /// Makes positions of the subscription's group part of the transaction, for the member that the
    /// subscription is: [`Error::Fenced`] when the partitions have moved.
    pub async fn commit_offsets(
        &mut self,
        subscription: &Subscription,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let held = self.usable()?;
        held.begin_step()?;
        let committed = held.engine.commit_offsets(subscription, offsets).await;
        held.end_step(committed)
    }

    /// Commits. Readers may see the records a moment later, those of one partition at once.
    ///
    /// An error other than [`Error::Fenced`] and [`Error::Invalid`] leaves open which way it ended; opening
    /// the transactional id anew settles it.
    pub async fn commit(mut self) -> Result<(), Error> {
        if let Some(broken) = self.usable()?.broken.clone() {
            self.abort().await?;
            return Err(broken);
        }
        let Some(mut held) = self.held.take() else { return Ok(()) };
        held.engine.commit().await?;
        held.open = false;
        Ok(())
    }

    /// Aborts: nobody who reads committed records sees any of it.
    pub async fn abort(mut self) -> Result<(), Error> {
        self.usable()?.abort().await?;
        self.held = None;
        Ok(())
    }

    fn usable(&mut self) -> Result<&mut Held, Error> {
        let ended = || Error::Invalid("the transaction has ended".to_owned());
        self.held.as_deref_mut().ok_or_else(ended)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        self.runtime.spawn(async move {
            match held.abort().await {
                // Who has fenced its producer has aborted it.
                Ok(()) | Err(Error::Fenced(_)) => {}
                // Whoever begins the next one aborts it first, and is told why when that fails.
                Err(error) => tracing::warn!(%error, "a dropped transaction was not aborted"),
            }
        });
    }
}

impl Held {
    /// Until the step has ended, it may have been given up half way.
    fn begin_step(&mut self) -> Result<(), Error> {
        let given_up = Error::Invalid("a step of the transaction was given up half way".to_owned());
        self.broken.replace(given_up).map_or(Ok(()), |broken| {
            self.broken = Some(broken.clone());
            Err(broken)
        })
    }

    fn end_step<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        self.broken = outcome.as_ref().err().cloned();
        outcome
    }

    async fn abort(&mut self) -> Result<(), Error> {
        self.engine.abort().await?;
        self.open = false;
        self.broken = None;
        Ok(())
    }
}

impl Transactions {
    fn begin(&mut self) -> Result<(), Error> {
        match self {
            // The coordinator learns of it with the first append.
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => Ok(()),
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.begin(),
        }
    }

    async fn append(&mut self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.append(records).await,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.append(records).await,
        }
    }

    async fn commit_offsets(
        &mut self,
        subscription: &Subscription,
        offsets: &[(TopicPartition, i64, Option<String>)],
    ) -> Result<(), Error> {
        use crate::subscription::Kind;

        match (self, subscription.kind()) {
            #[cfg(feature = "embedded")]
            (Self::Embedded(embedded), Kind::Embedded(subscription)) => {
                embedded.commit_offsets(subscription, offsets).await
            }
            #[cfg(feature = "kafka")]
            (Self::Kafka(kafka), Kind::Kafka(subscription)) => {
                kafka.commit_offsets(subscription, offsets).await
            }
            #[cfg(all(feature = "embedded", feature = "kafka"))]
            _ => Err(Error::Invalid("the subscription is of another engine".to_owned())),
        }
    }

    async fn commit(&mut self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.commit().await,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.commit().await,
        }
    }

    async fn abort(&mut self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.abort().await,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.abort().await,
        }
    }
}
