//! [`Tx`]: a handler's database transaction, begun before the handler and ended by what it decides.
//!
//! 1. The transaction begins, and the input's inbox row is inserted. Where the row is there already, the handler is
//!    not called: the row's outputs are its outcome.
//! 2. The handler has its turn.
//! 3. When it is done, its outputs go into the row and the transaction is committed, before the log's transaction is.
//!    A crash between the two finds the row. On any other outcome the transaction is rolled back.
//!
//! What concerns the database as a whole, before or after the handler, is an outage; so is a failed attempt
//! at whose end the database does not answer. What the database refuses is a failed attempt.
//!
//! The service's timeout is divided ([`Times`]), so that it never passes while the commit is under way: that would be a
//! failed attempt, and a dead letter if it was the last one, of which the effects may be there.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use sqlx::Transaction;
use tidings_engine::Record;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Database, Inbox,
    dialect::{Dialect, Statement},
    inbox::{Entry, Known},
    trouble::is_outage,
};
use crate::{
    Envelope, Extract, OutageOn, Outcome, Scope, Wiring, Work,
    event::Emissions,
    extract::UnitOfWork,
    handler::AnyAttempt,
    limits,
    outcome::{Stop, StopKind, outage},
};

/// A transaction in the user's database, committed when the handler is done and rolled back otherwise.
///
/// It dereferences to the connection, for `sqlx::query(…).execute(&mut *tx)`. What is changed through it
/// happens once for each input, whatever is redelivered, retried or killed, and without a time window. It
/// needs an [`Inbox`] among the service's dependencies. Do not commit or roll back in SQL: that is a failed attempt.
/// Of the service's timeout the handler has three quarters, and the database what is left.
///
/// ```
/// # #[cfg(feature = "postgres")]
/// # mod shop {
/// # use serde::{Deserialize, Serialize};
/// use tidings::{Outcome, Received, Tx, done, sqlx};
///
/// # #[derive(tidings::Event, Serialize, Deserialize)]
/// # #[event(topic = "shop.orders", key = "order")]
/// # pub struct OrderPlaced { pub order: String, pub units: i64 }
/// # #[derive(tidings::Event, Serialize, Deserialize)]
/// # #[event(topic = "shop.stock", key = "order")]
/// # pub struct StockReserved { pub order: String }
/// async fn reserve(event: Received<OrderPlaced>, mut tx: Tx<sqlx::Postgres>) -> Outcome<StockReserved> {
///     let reserve = sqlx::query("UPDATE stock SET units = units - $1").bind(event.units);
///     reserve.execute(&mut *tx).await?;
///     done(StockReserved { order: event.order.clone() })
/// }
/// # }
/// ```
pub struct Tx<Db: Database> {
    /// Taken out of the turn at its first use.
    transaction: OnceLock<Transaction<'static, Db>>,
    turn: Arc<Turn<Db>>,
}

/// What handler and unit of work share.
struct Turn<Db: Database> {
    inbox: Arc<Inbox<Db>>,
    entry: Entry,
    times: Times,
    /// The transaction, unless the handler has it.
    transaction: Mutex<Option<Transaction<'static, Db>>>,
}

impl<Db: Database> Tx<Db> {
    /// The transaction itself, for what asks for one: [`Outbox::add`](crate::Outbox::add) does.
    pub fn transaction(&mut self) -> &mut Transaction<'static, Db> {
        self.taken();
        self.transaction.get_mut().expect("taken in the line above")
    }

    fn taken(&self) -> &Transaction<'static, Db> {
        self.transaction.get_or_init(|| {
            self.turn.take().expect("the transaction has begun before the handler is called")
        })
    }
}

impl<Db: Database> Deref for Tx<Db> {
    type Target = Db::Connection;
    fn deref(&self) -> &Db::Connection {
        self.taken()
    }
}

impl<Db: Database> DerefMut for Tx<Db> {
    fn deref_mut(&mut self) -> &mut Db::Connection {
        self.transaction()
    }
}

impl<Db: Database> Drop for Tx<Db> {
    fn drop(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.turn.put(transaction);
        }
    }
}

impl<Db: Database> fmt::Debug for Tx<Db> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tx").field(&self.turn.entry).finish()
    }
}

impl<Db: Database> Extract for Tx<Db> {
    const IS_WORK: bool = true;

    fn check(wiring: &Wiring) -> Result<(), String> {
        match wiring.dependencies.get::<Inbox<Db>>() {
            Some(_) => Ok(()),
            None => Err(format!("Tx<{0}> needs .with(Inbox<{0}>)", Db::NAME)),
        }
    }

    /// Each attempt holds a connection to its end; of SQLite's, one can write.
    fn at_once(wiring: &Wiring) -> Option<usize> {
        if Db::DIALECT == Dialect::Sqlite {
            return Some(1);
        }
        let inbox = wiring.dependencies.get::<Inbox<Db>>()?;
        usize::try_from(inbox.pool.options().get_max_connections()).ok()
    }

    fn extract(scope: &Scope) -> Outcome<Self> {
        let inbox = scope.wiring.dependencies.get().expect("checked when the service started");
        let entry = Entry {
            service: scope.service.to_owned(),
            handler: scope.handler.to_owned(),
            input: scope.input_id.clone(),
        };
        let times = Times::of(scope.wiring.timeout);
        let turn = Turn { inbox, entry, times, transaction: Mutex::new(None) };
        Ok(Self { transaction: OnceLock::new(), turn: Arc::new(turn) })
    }

    fn work(&self) -> Option<Work> {
        Some(Work(self.turn.clone()))
    }
}

/// Until when, from the beginning of an attempt, its parts must be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    begun: Duration,
    handled: Duration,
    ended: Duration,
}

impl Times {
    fn of(timeout: Duration) -> Self {
        Self {
            begun: limits::INBOX_BEGIN_WITHIN.min(timeout / 4),
            handled: timeout * 3 / 4,
            ended: timeout * 15 / 16,
        }
    }
}

impl<Db: Database> UnitOfWork for Turn<Db> {
    fn run(self: Arc<Self>, record: &Record, attempt: AnyAttempt) -> AnyAttempt {
        let place = format!("{}-{}@{}", record.topic, record.partition, record.offset);
        let cause = Envelope::from_record(record);
        Box::pin(async move {
            let (start, times) = (Instant::now(), self.times);
            match timeout(times.begun, self.begin(&place)).await {
                Ok(begun) => match begun.outage_on(|_| true)? {
                    Known::New => {}
                    Known::Handled(outputs) => {
                        return Ok(Emissions { emitted: outputs, ..Emissions::default() });
                    }
                    Known::HalfDone => return Err(self.ended_by_handler()),
                },
                Err(_elapsed) => {
                    let within = times.begun;
                    return outage(format!("the database began no transaction within {within:?}"));
                }
            }
            let took_longer = |_elapsed| {
                Err(Stop::failed(format!("the handler took longer than {:?}", times.handled)))
            };
            let handled = timeout_at(start + times.handled, attempt).await;
            let outcome = handled.unwrap_or_else(took_longer);
            let outcome = outcome.and_then(|outputs| {
                self.entry.fits(&cause?, &outputs.emitted)?;
                Ok(outputs)
            });
            let Some(transaction) = self.take() else {
                return Err(Stop::failed("the handler has ended and its Tx has not"));
            };
            let until = start + times.ended;
            match outcome {
                Ok(outputs) => match timeout_at(until, self.commit(transaction, outputs)).await {
                    Ok(committed) => committed,
                    // It may have been. The next attempt finds the row, or not.
                    Err(_elapsed) => outage("the database did not say that it has committed"),
                },
                Err(stop) => Err(self.roll_back(transaction, stop, until).await),
            }
        })
    }
}

impl<Db: Database> Turn<Db> {
    fn take(&self) -> Option<Transaction<'static, Db>> {
        self.transaction.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, transaction: Transaction<'static, Db>) {
        *self.transaction.lock().unwrap_or_else(PoisonError::into_inner) = Some(transaction);
    }

    /// Before the handler every error is an outage: nothing here depends on the event.
    async fn begin(&self, place: &str) -> Result<Known, sqlx::Error> {
        let pool = &self.inbox.pool;
        let mut transaction = match Db::DIALECT {
            // One that only becomes a writer later may find that others have written since it began.
            Dialect::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await?,
            Dialect::Postgres | Dialect::MySql => pool.begin().await?,
        };
        let known = self.entry.begin::<Db>(&mut transaction, place).await?;
        match known {
            Known::New => self.put(transaction),
            Known::Handled(_) | Known::HalfDone => transaction.rollback().await?,
        }
        Ok(known)
    }

    async fn commit(
        &self,
        mut transaction: Transaction<'static, Db>,
        outputs: Emissions,
    ) -> Outcome<Emissions> {
        let finished = self.entry.finish::<Db>(&mut transaction, &outputs.emitted).await;
        if !finished.outage_on(is_outage)? {
            let until = Instant::now() + self.times.begun;
            return Err(self.roll_back(transaction, self.ended_by_handler(), until).await);
        }
        transaction.commit().await.outage_on(is_outage)?;
        Ok(outputs)
    }

    fn ended_by_handler(&self) -> Stop {
        let Entry { handler, .. } = &self.entry;
        Stop::failed(format!("handler {handler} has ended its transaction by itself, in SQL"))
    }

    /// The handler failed by itself, or because the database is gone: the end of the transaction tells.
    async fn roll_back(
        &self,
        mut transaction: Transaction<'static, Db>,
        mut stop: Stop,
        until: Instant,
    ) -> Stop {
        let ended = timeout_at(until, async move {
            if Db::DIALECT == Dialect::Sqlite {
                // Where the handler has ended its transaction, SQLite would refuse to roll it back, and its
                // connection would stay in it for ever. Otherwise this is refused, and changes nothing.
                let _in_transaction =
                    Db::execute(&mut transaction, Statement::fixed("BEGIN")).await;
            }
            transaction.rollback().await
        });
        let is_gone = match ended.await {
            Ok(Ok(())) => false,
            Ok(Err(error)) => is_outage(&error),
            Err(_elapsed) => true,
        };
        if is_gone && stop.kind == StopKind::Failed {
            stop.kind = StopKind::Outage;
        }
        stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_attempt_are_over_before_its_timeout() {
        for (timeout, begun) in [(45, 10), (8, 2)] {
            let timeout = Duration::from_secs(timeout);
            let times = Times::of(timeout);
            assert_eq!(times.begun, Duration::from_secs(begun));
            assert!(times.begun < times.handled && times.handled < times.ended);
            assert!(times.ended < timeout);
        }
    }
}
