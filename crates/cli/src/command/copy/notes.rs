//! What a copy notes at its target: which topics it has made, and step by step which offsets became which.
//!
//! The notes of all copies from one source are records of the topic `tidings.copy.<id of the source>`. A step's
//! note and its records are one transaction, so either both are there or neither is. The copy holds
//! [`COPY_PARTITIONS_AT_ONCE`] transactional ids; whoever begins opens all of them and only then reads the notes:
//! nobody before it can add to them any more.
//!
//! Note: `{"made":T}`, `{"making":T}` (notes of T before it do not count: it was not there), or `{"step":{…}}`:
//! the records of a partition from `source[0]` to before `source[1]` stand at `target[0]` to before
//! `target[1]`, one after the other. `runs` are the source's offsets that had a record: how many are passed over,
//! how many follow each other, and so on; none when they begin with `source[0]` and have no hole.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_engine::{
    Engine, Error, NewTopic, Offset, ReadLimit, SentRecord, TopicPartition, TransactionOptions,
    TransactionalProducer,
};
use tidings_terminal::failure::Failure;

use super::runs::Runs;
use super::{limit, within};
use crate::limits::{
    COPY_PARTITIONS_AT_ONCE, COPY_STEP_RECORDS_MAX, COPY_STEPS_MAX, COPY_TRANSACTION_TIMEOUT,
};
use crate::place::failed;

/// Names of topics that are a copy's own, and are never copied.
pub(super) const NOTES_PREFIX: &str = "tidings.copy.";

/// A record takes a million bytes; a run is two numbers of up to 19 digits with their commas.
const _: () = assert!(COPY_STEP_RECORDS_MAX * 40 < 1_000_000);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note {
    Making(String),
    Made(String),
    Step(Noted),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) source: (i64, i64),
    pub(super) target: (i64, i64),
    #[serde(default, skip_serializing_if = "Runs::are_plain")]
    pub(super) runs: Runs,
}

/// A step as it is remembered; the runs of one with holes are read again when they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) source: (i64, i64),
    pub(super) target: (i64, i64),
    /// The offset of the note when it has runs.
    pub(super) runs_at: Option<i64>,
}

/// What has been noted so far.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    /// Topics that this copy makes, and whether they are configured.
    pub(super) made: BTreeMap<String, Made>,
    pub(super) steps: BTreeMap<TopicPartition, Vec<Step>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Begun,
    Whole,
}

#[derive(Debug)]
pub(super) struct Notes {
    target: Engine,
    pub(super) topic: String,
}

impl Note {
    pub(super) fn to_record(&self, topic: &str) -> SentRecord {
        let key = match self {
            Self::Making(of) | Self::Made(of) => of.clone(),
            Self::Step(step) => format!("{}-{}", step.topic, step.partition),
        };
        let value = serde_json::to_vec(self).expect("names and numbers have a JSON form");
        SentRecord {
            topic: topic.to_owned(),
            partition: Some(0),
            key: Some(Bytes::from(key)),
            value: Some(Bytes::from(value)),
            ..SentRecord::default()
        }
    }
}

impl Noticed {
    fn apply(&mut self, note: Note, at: i64) {
        match note {
            Note::Making(topic) => {
                self.steps.retain(|of, _| of.topic != topic);
                self.made.insert(topic, Made::Begun);
            }
            Note::Made(topic) => {
                self.made.insert(topic, Made::Whole);
            }
            Note::Step(Noted { topic, partition, source, target, runs }) => {
                let runs_at = (!runs.are_plain()).then_some(at);
                let steps = self.steps.entry(TopicPartition { topic, partition }).or_default();
                steps.push(Step { source, target, runs_at });
            }
        }
    }
}

impl Notes {
    pub(super) fn of(target: &Engine, source_id: &str) -> Self {
        Self { target: target.clone(), topic: format!("{NOTES_PREFIX}{source_id}") }
    }

    /// Fences every other copy from this source: nothing of them is added after this.
    pub(super) async fn take_over(&self) -> Result<Vec<TransactionalProducer>, Failure> {
        let made = NewTopic { partitions: Some(1), ..NewTopic::kept(&self.topic) };
        match self.target.create_topic(made).await {
            Ok(()) | Err(Error::TopicExists(_)) => {}
            Err(error) => return Err(failed(format!("topic {} is not made", self.topic), &error)),
        }
        let mut producers = Vec::with_capacity(COPY_PARTITIONS_AT_ONCE);
        for number in 0..COPY_PARTITIONS_AT_ONCE {
            let id = format!("{}.{number}", self.topic);
            let options = TransactionOptions { timeout: COPY_TRANSACTION_TIMEOUT };
            let producer = self.target.transactional_producer(&id, options).await;
            let what = || format!("the target gives no transactional id {id}");
            producers.push(producer.map_err(|error| failed(what(), &error))?);
        }
        Ok(producers)
    }

    /// What has been noted about these topics; nothing when nothing was ever copied.
    pub(super) async fn read(&self, topics: &HashSet<String>) -> Result<Noticed, Failure> {
        let unread = |error| failed(format!("topic {} cannot be read", self.topic), &error);
        let mut noticed = Noticed::default();
        let end = match self.target.offset(&self.topic, 0, Offset::Latest).await {
            Err(Error::UnknownTopic(_)) => return Ok(noticed),
            end => end.map_err(unread)?,
        };
        let mut next =
            self.target.offset(&self.topic, 0, Offset::Earliest).await.map_err(unread)?;
        let mut steps = 0;
        while next < end {
            let read = within(&self.target, &self.topic, 0, next, limit()).await?;
            for record in read.records {
                let note = self.note(record.value.as_deref(), record.offset)?;
                let (Note::Making(topic) | Note::Made(topic)) = &note else {
                    let Note::Step(step) = &note else { continue };
                    if topics.contains(&step.topic) {
                        steps += 1;
                        if steps > COPY_STEPS_MAX {
                            return Err(too_many_steps());
                        }
                        noticed.apply(note, record.offset);
                    }
                    continue;
                };
                if topics.contains(topic) {
                    noticed.apply(note, record.offset);
                }
            }
            next = read.next;
        }
        Ok(noticed)
    }

    /// The runs of a step that has some.
    pub(super) async fn runs(&self, at: i64) -> Result<Runs, Failure> {
        let limit = ReadLimit { records: 1, ..limit() };
        let read = within(&self.target, &self.topic, 0, at, limit).await?;
        let record = read.records.into_iter().find(|record| record.offset == at);
        match self.note(record.and_then(|record| record.value).as_deref(), at)? {
            Note::Step(step) => Ok(step.runs),
            _ => Err(self.broken(at)),
        }
    }

    fn note(&self, value: Option<&[u8]>, at: i64) -> Result<Note, Failure> {
        let note = value.map(serde_json::from_slice);
        note.and_then(Result::ok).ok_or_else(|| self.broken(at))
    }

    fn broken(&self, at: i64) -> Failure {
        Failure::failed(format!("offset {at} of topic {} is no note of a copy", self.topic))
            .why("something else has written to it")
            .hint("delete that topic and the copied ones at the target, and copy again")
    }

    pub(super) async fn write(
        &self,
        producer: &TransactionalProducer,
        note: &Note,
    ) -> Result<(), Error> {
        let mut transaction = producer.begin().await?;
        transaction.append(vec![note.to_record(&self.topic)]).await?;
        transaction.commit().await
    }
}

fn too_many_steps() -> Failure {
    Failure::failed(format!("the copy has more than {COPY_STEPS_MAX} steps"))
        .why("what is remembered of each takes memory")
        .hint("fewer topics at once, with --topic PATTERN")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(topic: &str, source: (i64, i64), runs: Runs) -> Note {
        let target = (source.0 + 7, source.1 + 7);
        Note::Step(Noted { topic: topic.to_owned(), partition: 0, source, target, runs })
    }

    #[test]
    fn notes_have_a_form_that_later_versions_can_read() {
        let table = [
            (Note::Making("t".to_owned()), r#"{"making":"t"}"#),
            (Note::Made("t".to_owned()), r#"{"made":"t"}"#),
            (
                step("t", (0, 3), Runs::default()),
                r#"{"step":{"topic":"t","partition":0,"source":[0,3],"target":[7,10]}}"#,
            ),
            (
                step("t", (0, 9), [4, 8].into_iter().collect()),
                r#"{"step":{"topic":"t","partition":0,"source":[0,9],"target":[7,16],"runs":[4,1,3,1]}}"#,
            ),
        ];
        for (note, text) in table {
            let record = note.to_record("tidings.copy.x");
            assert_eq!(record.value.as_deref(), Some(text.as_bytes()));
            assert_eq!(serde_json::from_str::<Note>(text).unwrap(), note);
        }
    }

    #[test]
    fn steps_of_a_topic_that_was_made_again_do_not_count() {
        let mut noticed = Noticed::default();
        noticed.apply(Note::Making("t".to_owned()), 0);
        noticed.apply(Note::Made("t".to_owned()), 1);
        noticed.apply(step("t", (0, 3), Runs::default()), 2);
        noticed.apply(step("u", (0, 3), Runs::default()), 3);
        assert_eq!(noticed.made["t"], Made::Whole);
        noticed.apply(Note::Making("t".to_owned()), 4);
        assert_eq!(noticed.made["t"], Made::Begun);
        let left: Vec<String> = noticed.steps.keys().map(ToString::to_string).collect();
        assert_eq!(left, ["u-0"]);
    }
}
