//! The relay: takes rows out of an outbox and puts them into the log, each once.
//!
//! 1. Lead: a lock of the database, held by the connection through which everything else is done, so a lost connection is a
//!    lost lead. Who does not get it stands by.
//! 2. Take over: open the outbox's transactional id, which fences whoever led before; read the note of what was
//!    published last, and delete those rows ([`super::notes`]).
//! 3. Publish: read the rows that have waited longest; append them and their note in one transaction; delete them. When
//!    none are left, wait until more are told of, or a while.
//!
//! Invariants:
//! - Rows are read only when those of the last note are deleted, so at most one transaction's rows are in the log and
//!   in the table at once, and the last note names them.
//! - After any error everything begins again with step 1: nothing is remembered that a crash would lose.
//!
//! The lock is for peace, not for safety: two that both believe to lead fence each other, and each row still is in one
//! committed transaction. A row that the log can never take (no legal topic, too large) goes to the topic
//! `<outbox>.dead` in the same transaction, so that it holds up no other.

use std::{collections::HashMap, sync::Arc, time::Duration};

use sqlx::{ConnectOptions as _, Connection as _, Pool, pool::PoolOptions};
use tidings_engine::{Engine, Record, SentRecord, TransactionalProducer};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    notes::Notes,
    table::{Row, Table, channel, leader_lock},
};
use crate::{
    Backoff, DeadKind,
    dead_letter::Death,
    limits,
    outcome::Stop,
    publisher::{now_ms, record_bytes, record_bytes_max},
    sql::{
        Database,
        dialect::{Dialect, Statement, text},
    },
    topics::make_topic,
};

/// What a relay has done since it was started, and whether it leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// It is the one that publishes.
    pub leads: bool,
    /// Rows that it has published.
    pub published: u64,
    /// Rows that the log cannot take, now dead letters in `<outbox>.dead`.
    pub dead: u64,
    /// How often database or log failed it, and it began again.
    pub failures: u64,
}

/// A relay at work. Dropping it ends it at once, as a crash would: the next one goes on.
///
/// ```
/// # #[cfg(feature = "mysql")]
/// # async fn relay(outbox: tidings::Outbox<tidings::sqlx::MySql>, engine: &tidings_engine::Engine) {
/// let relay = outbox.relay(engine);
/// let relayed = relay.until(|relayed| relayed.leads).await;
/// println!("leads; {} rows published, {} dead", relayed.published, relayed.dead);
/// relay.stop().await;
/// # }
/// ```
#[derive(Debug)]
pub struct Relay {
    stop: watch::Sender<bool>,
    figures: watch::Receiver<Relayed>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Publishes what it has in hand, then lets go of the lead.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "a relay had died");
        }
    }

    /// What it has done so far.
    pub fn figures(&self) -> Relayed {
        *self.figures.borrow()
    }

    /// Waits until the figures are as wanted, and returns them; also when the relay has ended.
    pub async fn until(&self, wanted: impl FnMut(&Relayed) -> bool) -> Relayed {
        let mut figures = self.figures.clone();
        match figures.wait_for(wanted).await {
            Ok(figures) => *figures,
            Err(_ended) => self.figures(),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn start<Db: Database>(
    pool: &Pool<Db>,
    engine: &Engine,
    name: &str,
    table: Arc<Table>,
    is_told: bool,
) -> Relay {
    let (stop, stopped) = watch::channel(false);
    let (counts, figures) = watch::channel(Relayed::default());
    let worker = Worker::<Db> {
        pool: pool.clone(),
        engine: engine.clone(),
        name: name.to_owned(),
        notes: Notes::of(name),
        table,
        is_told,
        counts,
        stopped,
    };
    Relay { stop, figures, task: tokio::spawn(worker.run()) }
}

struct Worker<Db: Database> {
    pool: Pool<Db>,
    engine: Engine,
    name: String,
    notes: Notes,
    table: Arc<Table>,
    is_told: bool,
    counts: watch::Sender<Relayed>,
    stopped: watch::Receiver<bool>,
}

/// Why a lead ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Engine(#[from] tidings_engine::Error),
}

/// What a leader has for as long as it leads.
struct Lead<Db: Database> {
    connection: Db::Connection,
    listener: Option<Db::Listener>,
    producer: TransactionalProducer,
    /// The largest record that each topic takes; a topic is made before it is here.
    topics: HashMap<String, usize>,
}

impl<Db: Database> Worker<Db> {
    async fn run(mut self) {
        let backoff = Backoff {
            first: limits::RESUBSCRIBE_FIRST,
            max: limits::RESUBSCRIBE_MAX,
            attempts: u32::MAX,
        };
        let mut failures = 0;
        while !*self.stopped.borrow() {
            let before = self.counts.borrow().published;
            let ended = self.serve().await;
            self.counts.send_if_modified(|figures| std::mem::take(&mut figures.leads));
            let Err(error) = ended else { continue };
            if self.counts.borrow().published > before {
                failures = 0;
            }
            failures += 1;
            let pause = backoff.pause(failures);
            tracing::warn!(outbox = %self.name, %error, ?pause, "the relay begins again");
            self.counts.send_modify(|figures| figures.failures += 1);
            self.rest(pause).await;
        }
    }

    /// Stands by while another leads; leads until it is told to stop, or something breaks.
    async fn serve(&mut self) -> Result<(), Broken> {
        let mut connection: Db::Connection = self.pool.connect_options().connect().await?;
        while !self.lock(&mut connection).await? {
            self.rest(limits::OUTBOX_STAND_BY).await;
            if *self.stopped.borrow() {
                return Ok(connection.close().await?);
            }
        }
        let listener = match self.is_told {
            true => self.listen().await?,
            false => None,
        };
        let (producer, published) = self.notes.take_over(&self.engine).await?;
        let mut lead = Lead { connection, listener, producer, topics: HashMap::new() };
        self.delete(&mut lead, &published).await?;
        tracing::info!(outbox = %self.name, "the relay leads");
        self.counts.send_modify(|figures| figures.leads = true);
        while !*self.stopped.borrow() {
            let select = self.table.select();
            let rows = Db::fetch(&mut lead.connection, select, limits::OUTBOX_BYTES_MAX).await?;
            if rows.is_empty() {
                self.wait(&mut lead).await?;
                continue;
            }
            let rows: Vec<Row> = rows.iter().map(|cells| self.table.row(cells)).collect();
            let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
            let (published, dead) = self.publish(&mut lead, rows, &ids).await?;
            self.delete(&mut lead, &ids).await?;
            self.counts.send_modify(|figures| {
                figures.published += published;
                figures.dead += dead;
            });
        }
        lead.connection.close().await?;
        Ok(())
    }

    /// Listens on a connection that the user's pool does not lack.
    async fn listen(&self) -> Result<Option<Db::Listener>, sqlx::Error> {
        let own = PoolOptions::<Db>::new().max_connections(1);
        let own = own.connect_lazy_with((*self.pool.connect_options()).clone());
        Db::listen(&own, &channel(&self.name)).await
    }

    /// One transaction; how many of the rows are in their topics, and how many among the dead letters.
    async fn publish(
        &self,
        lead: &mut Lead<Db>,
        rows: Vec<Row>,
        ids: &[String],
    ) -> Result<(u64, u64), Broken> {
        let (mut published, mut dead) = (0, 0);
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            match self.flaw(lead, &row).await? {
                None => {
                    published += 1;
                    records.push(row.record);
                }
                Some(flaw) => {
                    tracing::error!(outbox = %self.name, id = row.id, flaw, "a row is a dead letter");
                    dead += 1;
                    records.push(self.letter(lead, row, flaw).await?);
                }
            }
        }
        let mut transaction = lead.producer.begin().await?;
        for part in parts(records) {
            transaction.append(part).await?;
        }
        transaction.append(vec![self.notes.record(ids)]).await?;
        transaction.commit().await?;
        Ok((published, dead))
    }

    async fn delete(&self, lead: &mut Lead<Db>, ids: &[String]) -> Result<(), Broken> {
        if !ids.is_empty() {
            Db::execute(&mut lead.connection, self.table.delete(ids)).await?;
        }
        Ok(())
    }

    /// Why the log can never take the row.
    async fn flaw(&self, lead: &mut Lead<Db>, row: &Row) -> Result<Option<String>, Broken> {
        if row.flaw.is_some() {
            return Ok(row.flaw.clone());
        }
        let topic = &row.record.topic;
        if !is_legal_topic(topic) {
            return Ok(Some(format!("{topic:?} is no name of a topic")));
        }
        let (bytes, most) = (record_bytes(&row.record), self.most_in(lead, topic).await?);
        let most = most.min(limits::INPUT_OUTPUT_BYTES_MAX);
        Ok((bytes > most)
            .then(|| format!("{bytes} bytes exceed the {most} bytes that topic {topic} takes")))
    }

    /// The largest record that a topic takes; the topic is made unless it is there.
    async fn most_in(&self, lead: &mut Lead<Db>, topic: &str) -> Result<usize, Broken> {
        if let Some(most) = lead.topics.get(topic) {
            return Ok(*most);
        }
        make_topic(&self.engine, topic).await?;
        let most = record_bytes_max(&self.engine, topic).await?;
        lead.topics.insert(topic.to_owned(), most);
        Ok(most)
    }

    async fn letter(
        &self,
        lead: &mut Lead<Db>,
        row: Row,
        flaw: String,
    ) -> Result<SentRecord, Broken> {
        let dead_topic = format!("{}.dead", self.name);
        let most = self.most_in(lead, &dead_topic).await?;
        let SentRecord { topic, key, value, headers, .. } = row.record;
        // It never was in the log: no partition, no offset.
        let record = Record {
            topic: topic.into(),
            partition: -1,
            offset: -1,
            timestamp: now_ms(),
            key,
            value,
            headers,
        };
        let death = Death {
            record: &record,
            service: &self.name,
            handler: None,
            event_id: Some(&row.id.as_str().into()),
            kind: DeadKind::Rejected,
            stop: &Stop::rejected(flaw),
            attempts: 0,
        };
        Ok(death.letter(&dead_topic, most.min(limits::DEAD_LETTER_BYTES_MAX)))
    }

    /// Until something is told, or it is time to look again.
    async fn wait(&mut self, lead: &mut Lead<Db>) -> Result<(), Broken> {
        let Some(listener) = &mut lead.listener else {
            self.rest(limits::OUTBOX_POLL).await;
            return Ok(());
        };
        tokio::select! {
            heard = Db::heard(listener) => Ok(heard?),
            () = self.rest(limits::OUTBOX_POLL_TOLD) => Ok(()),
        }
    }

    /// Sleeps, unless told to stop. Who started it and let go of it without a word has aborted it.
    async fn rest(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.stopped.wait_for(|stop| *stop) => {}
        }
    }

    /// Whether the lock that elects the leader is this connection's now.
    async fn lock(&self, connection: &mut Db::Connection) -> Result<bool, sqlx::Error> {
        let lock = leader_lock(&self.name);
        match Db::DIALECT {
            Dialect::Postgres => {
                let sql = "SELECT CAST(pg_try_advisory_lock(?) AS TEXT)";
                is_said::<Db>(connection, Statement::fixed(sql).int(lock), "true").await
            }
            Dialect::MySql => {
                // Deleting by key then locks no gaps between keys, where others insert.
                let sql = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
                Db::execute(connection, Statement::fixed(sql)).await?;
                // Such a lock is the whole server's, and the name is this database's.
                let sql =
                    "SELECT CAST(GET_LOCK(CONCAT(?, MD5(COALESCE(DATABASE(), ''))), 0) AS CHAR)";
                let get = Statement::fixed(sql).text(format!("tidings {lock:016x} "));
                is_said::<Db>(connection, get, "1").await
            }
            Dialect::Sqlite => self.lock_file(connection).await,
        }
    }

    /// SQLite locks files, so the lock is a small database beside the user's: in the exclusive mode what has
    /// been written once stays locked until the connection, or its process, ends.
    async fn lock_file(&self, connection: &mut Db::Connection) -> Result<bool, sqlx::Error> {
        let asked = Statement::fixed("SELECT name, file FROM pragma_database_list");
        let rows = Db::fetch(connection, asked, usize::MAX).await?;
        let file_of = |wanted: &str| {
            let row = rows.iter().find(|row| text(row.first()) == wanted);
            row.map(|row| text(row.get(1)))
        };
        if file_of("leader").is_none() {
            let file = file_of("main").unwrap_or_default();
            if file.is_empty() {
                // In memory, so of this process alone; whoever else relays here is fenced.
                return Ok(true);
            }
            let beside = format!("{file}-{}-leader", self.name);
            let attach = Statement::fixed("ATTACH DATABASE ? AS leader").text(beside);
            Db::execute(connection, attach).await?;
        }
        for sql in [
            "PRAGMA busy_timeout = 0",
            "PRAGMA leader.locking_mode = EXCLUSIVE",
            "CREATE TABLE IF NOT EXISTS leader.held (one INTEGER PRIMARY KEY, since TEXT)",
            "INSERT OR REPLACE INTO leader.held VALUES (1, datetime('now') || random())",
        ] {
            match Db::fetch(connection, Statement::once(sql), usize::MAX).await {
                Ok(_) => {}
                Err(sqlx::Error::Database(error))
                    if error.code().is_some_and(|code| code == "5") =>
                {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Db::fetch(connection, Statement::once("PRAGMA busy_timeout = 5000"), usize::MAX).await?;
        Ok(true)
    }
}

async fn is_said<Db: Database>(
    connection: &mut Db::Connection,
    asked: Statement,
    wanted: &str,
) -> Result<bool, sqlx::Error> {
    let rows = Db::fetch(connection, asked, usize::MAX).await?;
    Ok(rows.first().is_some_and(|row| text(row.first()) == wanted))
}

/// Kafka's rule for a topic's name.
fn is_legal_topic(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 249 && name.chars().all(legal) && name != "." && name != ".."
}

/// Records in order, as much at once as one append takes.
fn parts(records: Vec<SentRecord>) -> Vec<Vec<SentRecord>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for record in records {
        let more = record_bytes(&record);
        if bytes + more > limits::INPUT_OUTPUT_BYTES_MAX && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        parts.last_mut().expect("it begins with one").push(record);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_order_and_stay_below_the_limit() {
        let record = |bytes: usize| SentRecord {
            value: Some(vec![0; bytes].into()),
            ..SentRecord::default()
        };
        let half = limits::INPUT_OUTPUT_BYTES_MAX / 2;
        let lengths = |bytes: &[usize]| {
            let records = bytes.iter().map(|bytes| record(*bytes)).collect();
            parts(records).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[1, 2, 3]), [3]);
        assert_eq!(lengths(&[half, half, half]), [1, 1, 1]);
        assert_eq!(lengths(&[half, 10, half, 10]), [2, 2]);
    }

    #[test]
    fn topics_are_named_as_kafka_has_them() {
        for (name, expected) in
            [("outbox.event.Order", true), ("", false), ("a b", false), ("..", false)]
        {
            assert_eq!(is_legal_topic(name), expected, "{name:?}");
        }
        assert!(!is_legal_topic(&"x".repeat(250)));
    }
}
