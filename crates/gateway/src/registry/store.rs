//! The registry's state and its topic: a writer that appends, reads back and folds; any number of them, on one
//! topic.
//!
//! Invariant: the state is the fold of `_schemas` up to `Folded::next`.
//!
//! A write, in order: take over the topic unless this registry wrote last; fold whatever the topic has gained;
//! decide on that; append in a transaction; fold until what was appended is there. Taking over opens the transactional
//! id that all registries of a topic share, which fences the one that had it. So a commit that succeeds says that
//! nobody has written since this one folded, and no two registries give the same id away. One that is fenced takes
//! over and decides anew.
//!
//! From its decision on a write runs in a task of its own: a client that goes away does not let the next write
//! decide before it is known what is in the topic. What others write is folded as it comes.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidings_engine::{
    Engine, Error, NewTopic, Read, ReadLimit, SentRecord, TransactionOptions, TransactionalProducer,
};
use tidings_schema::{Change, Refused, Registry};
use tokio::sync::Mutex;
use tracing::warn;

use super::answer::Trouble;
use crate::limits::{
    BODY_BYTES_MAX, REGISTRY_FOLLOW_PAUSE, REGISTRY_FOLLOW_WAIT, REGISTRY_PAUSE_FIRST,
    REGISTRY_PAUSE_MAX, REGISTRY_READ_BACK_MAX, REGISTRY_READ_RECORDS, REGISTRY_TAKEOVERS_MAX,
};

pub(super) const TOPIC: &str = "_schemas";
/// Whoever holds it is the one who writes to the topic.
const WRITER: &str = "tidings-registry-_schemas";

pub(super) struct Store {
    engine: Engine,
    /// None until this registry takes over, and again when it was fenced.
    writer: Arc<Mutex<Option<TransactionalProducer>>>,
    folded: RwLock<Folded>,
}

#[derive(Default)]
struct Folded {
    registry: Registry,
    /// The first offset that is not folded yet.
    next: i64,
}

/// Why an attempt at a write came to nothing.
enum Failed {
    /// Another registry has taken over.
    Fenced(Error),
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for Failed {
    fn from(trouble: E) -> Self {
        Self::Trouble(trouble.into())
    }
}

/// An error of what only one registry at a time may do.
fn as_writer(error: Error) -> Failed {
    match error {
        Error::Fenced(_) => Failed::Fenced(error),
        error => error.into(),
    }
}

impl Store {
    /// Folds what is there, and follows the topic as long as the store lives.
    pub(super) async fn open(engine: Engine) -> Result<Arc<Self>, Error> {
        let store = Self { engine, writer: Arc::default(), folded: RwLock::default() };
        store.catch_up().await?;
        match store.engine.check_topic(topic()).await {
            Ok(()) | Err(Error::TopicExists(_)) => {}
            // Who may not make it may still read it, or write it when somebody else has made it.
            Err(Error::Denied(why)) => warn!("the registry cannot be written: {why}"),
            Err(e) => return Err(e),
        }
        let store = Arc::new(store);
        tokio::spawn(follow(Arc::downgrade(&store)));
        Ok(store)
    }

    pub(super) fn read(&self) -> impl std::ops::Deref<Target = Registry> + '_ {
        struct State<'s>(RwLockReadGuard<'s, Folded>);
        impl std::ops::Deref for State<'_> {
            type Target = Registry;

            fn deref(&self) -> &Registry {
                &self.0.registry
            }
        }
        State(self.folded())
    }

    fn folded(&self) -> RwLockReadGuard<'_, Folded> {
        // A fold cannot fail half way: the state behind a poisoned lock is whole.
        self.folded.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on the newest state and makes the changes durable before it answers.
    pub(super) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        decide: impl Fn(&Registry) -> Result<(T, Vec<Change>), Refused> + Send + Sync + 'static,
    ) -> Result<T, Trouble> {
        let mut writer = self.writer.clone().lock_owned().await;
        let store = Arc::clone(self);
        let written = tokio::spawn(async move {
            let mut takeovers = 0;
            loop {
                match store.attempt(&mut writer, &decide).await {
                    Ok(Some(answer)) => return Ok(answer),
                    Ok(None) => {}
                    Err(Failed::Fenced(_)) if takeovers < REGISTRY_TAKEOVERS_MAX => {
                        tokio::time::sleep(pause(takeovers)).await;
                        takeovers += 1;
                    }
                    Err(Failed::Fenced(error)) => return Err(error.into()),
                    Err(Failed::Trouble(trouble)) => return Err(trouble),
                }
            }
        });
        written.await.map_err(|e| Trouble { code: 50001, message: e.to_string() })?
    }

    /// None when it has only taken over, and has to decide on what is there now.
    async fn attempt<T>(
        &self,
        writer: &mut Option<TransactionalProducer>,
        decide: &(impl Fn(&Registry) -> Result<(T, Vec<Change>), Refused> + Sync),
    ) -> Result<Option<T>, Failed> {
        self.catch_up().await?;
        let (answer, changes) = decide(&self.read())?;
        if changes.is_empty() {
            return Ok(Some(answer));
        }
        let Some(holder) = writer.take() else {
            *writer = Some(self.take_over().await.map_err(as_writer)?);
            return Ok(None);
        };
        // Without an end that is known the holder is dropped: the next one settles it.
        let end = self.append(&holder, &changes).await.map_err(as_writer)?;
        *writer = Some(holder);
        self.read_back(end).await?;
        Ok(Some(answer))
    }

    /// From here on nobody else's write succeeds.
    async fn take_over(&self) -> Result<TransactionalProducer, Error> {
        self.create_topic().await?;
        self.engine.transactional_producer(WRITER, TransactionOptions::default()).await
    }

    /// Answers the offset after the last change.
    async fn append(
        &self,
        holder: &TransactionalProducer,
        changes: &[Change],
    ) -> Result<i64, Error> {
        let records = changes.iter().map(|change| {
            let (key, value) = change.to_record();
            SentRecord {
                topic: TOPIC.to_owned(),
                partition: Some(0),
                key: Some(Bytes::from(key)),
                value: value.map(Bytes::from),
                ..SentRecord::default()
            }
        });
        let mut transaction = holder.begin().await?;
        let positions = transaction.append(records.collect()).await?;
        transaction.commit().await?;
        Ok(positions.last().map_or(0, |position| position.offset + 1))
    }

    async fn create_topic(&self) -> Result<(), Error> {
        match self.engine.create_topic(topic()).await {
            Ok(()) | Err(Error::TopicExists(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Folds until this offset is passed: a committed transaction is shown a moment later.
    async fn read_back(&self, end: i64) -> Result<(), Error> {
        let deadline = Instant::now() + REGISTRY_READ_BACK_MAX;
        while self.folded().next < end {
            if deadline <= Instant::now() {
                return Err(Error::Unavailable("what was written is not shown yet".to_owned()));
            }
            self.take(REGISTRY_FOLLOW_WAIT).await?;
        }
        Ok(())
    }

    /// Folds what the topic has gained; answers whether that was anything.
    pub(super) async fn catch_up(&self) -> Result<bool, Error> {
        let before = self.folded().next;
        loop {
            match self.take(Duration::ZERO).await {
                Ok(more) if more => {}
                Ok(_) | Err(Error::UnknownTopic(_)) => return Ok(self.folded().next > before),
                Err(e) => return Err(e),
            }
        }
    }

    /// Folds the next records; answers whether there are more.
    async fn take(&self, wait: Duration) -> Result<bool, Error> {
        let next = self.folded().next;
        let limit = ReadLimit { records: REGISTRY_READ_RECORDS, bytes: BODY_BYTES_MAX, wait };
        let read = self.engine.read(TOPIC, 0, next, limit).await?;
        let more = read.next > next && read.next < read.high_watermark;
        self.fold(&read);
        Ok(more)
    }

    /// Several may have read the same: each offset is folded once, in order.
    fn fold(&self, read: &Read) {
        let mut folded = self.folded.write().unwrap_or_else(PoisonError::into_inner);
        let next = folded.next;
        for record in read.records.iter().filter(|record| record.offset >= next) {
            match Change::from_record(record.key.as_deref(), record.value.as_deref()) {
                Ok(Some(change)) => folded.registry.apply(change),
                Ok(None) => {}
                Err(e) => warn!(offset = record.offset, "{TOPIC}: {e}; passed over"),
            }
        }
        folded.next = next.max(read.next);
    }
}

/// For the registry that has taken over to get its write done. A part of it is chance: two that wait equally
/// long would fence each other for ever.
fn pause(takeovers: u32) -> Duration {
    let longest = (REGISTRY_PAUSE_FIRST * 2_u32.saturating_pow(takeovers)).min(REGISTRY_PAUSE_MAX);
    let chance = RandomState::new().build_hasher().finish();
    let thousandths = (chance % 1000) as u32;
    longest / 2 + longest * thousandths / 2000
}

/// The registry is the whole of it; each record is the last word on its key.
fn topic() -> NewTopic {
    let compacted = ("cleanup.policy".to_owned(), "compact".to_owned());
    let mut topic = NewTopic { partitions: Some(1), ..NewTopic::kept(TOPIC) };
    topic.configs.push(compacted);
    topic
}

/// Folds what others write, until the store is gone.
async fn follow(store: Weak<Store>) {
    while let Some(store) = store.upgrade() {
        if store.take(REGISTRY_FOLLOW_WAIT).await.is_err() {
            // Who asks for a write is told; what is known is answered all the while.
            drop(store);
            tokio::time::sleep(REGISTRY_FOLLOW_PAUSE).await;
        }
    }
}
