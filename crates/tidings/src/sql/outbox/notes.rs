//! What a relay has published last, said in the log itself.
//!
//! A relay's transaction holds records and a note of the rows that they were. Only then are the rows deleted, and only
//! then are the next ones read. So whoever takes over needs the last note alone: its rows may still be there, and
//! are deleted before anything else. The note is read after the transactional id was opened, when
//! nobody can add one any more.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_engine::{
    Engine, Error, NewTopic, Offset, ReadLimit, Record, SentRecord, TransactionOptions,
    TransactionalProducer,
};

use crate::{
    limits,
    topics::{create_topic, find_topic},
};

/// How far back of the end it is looked first; doubled until a note is found.
const LOOK_BACK: i64 = 8;
/// Of one look.
const LOOK: ReadLimit =
    ReadLimit { records: 100, bytes: 1024 * 1024, wait: std::time::Duration::ZERO };
/// Between two looks that find the end not there yet.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// The topic of an outbox's notes, which also is its transactional id.
#[derive(Debug)]
pub(super) struct Notes {
    topic: String,
}

#[derive(Serialize, Deserialize)]
struct Note {
    published: Vec<String>,
}

impl Notes {
    pub(super) fn of(outbox: &str) -> Self {
        Self { topic: format!("tidings.outbox.{outbox}") }
    }

    /// Fences every other relay of this outbox; the rows that were published last.
    pub(super) async fn take_over(
        &self,
        engine: &Engine,
    ) -> Result<(TransactionalProducer, Vec<String>), Error> {
        let config = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let configs = vec![
            config("cleanup.policy", "compact"),
            config("retention.ms", "-1"),
            config("retention.bytes", "-1"),
        ];
        let topic = NewTopic { name: self.topic.clone(), partitions: Some(1), configs };
        if find_topic(engine, &self.topic).await?.is_none() {
            create_topic(engine, topic).await?;
        }
        let options = TransactionOptions { timeout: limits::TRANSACTION_TIMEOUT };
        let producer = engine.transactional_producer(&self.topic, options).await?;
        Ok((producer, self.last(engine).await?))
    }

    pub(super) fn record(&self, ids: &[String]) -> SentRecord {
        let note = Note { published: ids.to_vec() };
        let value = serde_json::to_vec(&note).expect("ids have a JSON form");
        SentRecord {
            topic: self.topic.clone(),
            partition: Some(0),
            key: Some(Bytes::from_static(b"published")),
            value: Some(Bytes::from(value)),
            ..SentRecord::default()
        }
    }

    async fn last(&self, engine: &Engine) -> Result<Vec<String>, Error> {
        let first = engine.offset(&self.topic, 0, Offset::Earliest).await?;
        let end = engine.offset(&self.topic, 0, Offset::Latest).await?;
        let mut back = LOOK_BACK;
        loop {
            let from = end.saturating_sub(back).max(first);
            if let Some(record) = self.last_within(engine, from, end).await? {
                return read(&record);
            }
            if from <= first {
                return Ok(Vec::new());
            }
            back = back.saturating_mul(2);
        }
    }

    async fn last_within(
        &self,
        engine: &Engine,
        from: i64,
        end: i64,
    ) -> Result<Option<Record>, Error> {
        let (mut next, mut last) = (from, None);
        while next < end {
            let read = engine.read(&self.topic, 0, next, LOOK).await?;
            if read.next == next {
                tokio::time::sleep(PAUSE).await;
            }
            next = read.next;
            last = read.records.into_iter().rfind(|record| record.value.is_some()).or(last);
        }
        Ok(last)
    }
}

fn read(record: &Record) -> Result<Vec<String>, Error> {
    let note = serde_json::from_slice::<Note>(record.value.as_deref().unwrap_or_default());
    note.map(|note| note.published).map_err(|error| {
        let Record { topic, offset, .. } = record;
        Error::Corrupt(format!(
            "offset {offset} of topic {topic} is no note of a relay ({error}); something else writes to it"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_note_is_found_behind_markers_and_what_was_aborted() {
        let engine = Engine::in_memory().await.expect("an engine");
        let notes = Notes::of("shop");
        let (_, none) = notes.take_over(&engine).await.expect("taken over");
        assert!(none.is_empty());
        for round in 0..3 {
            let (producer, _) = notes.take_over(&engine).await.expect("taken over");
            let ids = vec![format!("e-{round}"), "same".to_owned()];
            let mut transaction = producer.begin().await.expect("begun");
            transaction.append(vec![notes.record(&ids)]).await.expect("appended");
            transaction.commit().await.expect("committed");
            for _ in 0..20 {
                let mut transaction = producer.begin().await.expect("begun");
                transaction.append(vec![notes.record(&[])]).await.expect("appended");
                transaction.abort().await.expect("aborted");
            }
            let mut left = producer.begin().await.expect("begun");
            left.append(vec![notes.record(&["left".into()])]).await.expect("appended");
            std::mem::forget(left);
            let (_, last) = notes.take_over(&engine).await.expect("taken over");
            assert_eq!(last, ids);
        }
    }
}
