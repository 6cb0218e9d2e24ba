//! What a task keeps in its service's changelog: a compacted topic of which the last word on each key counts.
//!
//! Keys are JSON, so that any Kafka tool shows what is there: `["orders",3,"parked",17]` is the record at offset
//! 17 of the input partition `orders-3`, with the record's own value and headers, and beside them what is
//! known of it; `["orders",3,"recent",5]` a block of digests; `["orders",3,"control"]` the position in the control
//! topic. A tombstone says that the record is on the shelf no more. Entries of an input partition are in the
//! changelog's partition of the same number, written by the partition's owner alone.

use bytes::Bytes;
use serde_json::{Value, json};
use tidings_engine::{Header, Record, SentRecord, TopicPartition};

use super::shelf::{Dead, Parked, State};
use crate::Id;

const PREFIX: &str = "tidings-parked-";
const KEY: &str = "tidings-parked-key";
const NULL: &str = "tidings-parked-null";
const TIMESTAMP: &str = "tidings-parked-timestamp";
const ATTEMPTS: &str = "tidings-parked-attempts";
const DUE: &str = "tidings-parked-due";
const DEAD_SINCE: &str = "tidings-parked-dead-since";
const CONTROL: &str = "tidings-parked-control";
const LETTER: &str = "tidings-parked-letter";
const AWAITS: &str = "tidings-parked-awaits";
const CAUSE: &str = "tidings-parked-cause";
const FINISHED: &str = "tidings-parked-finished";
const REDRIVES: &str = "tidings-parked-redrives";

/// One thing that a task keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A record of the input at that offset is on the shelf; or is no more.
    Parked(i64, Option<Box<Parked>>),
    /// A block of finished inputs, by its slot.
    Recent(u32, Bytes),
    /// The commands before this offset of the control topic are carried out.
    Control(i64),
}

impl Entry {
    /// As it is written by the task of that partition.
    pub(crate) fn into_record(self, at: &TopicPartition, changelog: &str) -> SentRecord {
        let TopicPartition { topic, partition } = at;
        let (key, value, headers) = match self {
            Self::Parked(offset, None) => {
                (json!([topic, partition, "parked", offset]), None, vec![])
            }
            Self::Parked(offset, Some(parked)) => {
                let headers = headers_of(&parked);
                let value = parked.record.value.unwrap_or_default();
                (json!([topic, partition, "parked", offset]), Some(value), headers)
            }
            Self::Recent(slot, block) => {
                (json!([topic, partition, "recent", slot]), Some(block), vec![])
            }
            Self::Control(next) => {
                (json!([topic, partition, "control"]), Some(next.to_string().into()), vec![])
            }
        };
        SentRecord {
            topic: changelog.to_owned(),
            partition: Some(*partition),
            key: Some(key.to_string().into()),
            value,
            headers,
            timestamp: None,
        }
    }

    /// Reads one, with the partition whose task wrote it; none for what is nothing that a task writes.
    pub(crate) fn from_record(record: &Record) -> Option<(TopicPartition, Self)> {
        let key: Vec<Value> = serde_json::from_slice(record.key.as_deref()?).ok()?;
        let [topic, partition, kind, rest @ ..] = &key[..] else { return None };
        let topic = topic.as_str()?.to_owned();
        let at = TopicPartition { topic, partition: i32::try_from(partition.as_i64()?).ok()? };
        let entry = match (kind.as_str()?, rest, &record.value) {
            ("parked", [offset], Some(value)) => {
                let offset = offset.as_i64()?;
                Self::Parked(offset, Some(Box::new(parked_of(record, &at, offset, value))))
            }
            ("parked", [offset], None) => Self::Parked(offset.as_i64()?, None),
            ("recent", [slot], Some(block)) => {
                Self::Recent(u32::try_from(slot.as_u64()?).ok()?, block.clone())
            }
            ("control", [], Some(next)) => Self::Control(str::from_utf8(next).ok()?.parse().ok()?),
            _ => return None,
        };
        Some((at, entry))
    }
}

fn headers_of(parked: &Parked) -> Vec<Header> {
    let Parked { record, attempts, state, finished, redrives } = parked;
    let mut headers = record.headers.clone();
    headers.extend(record.key.clone().map(|key| Header { name: KEY.into(), value: Some(key) }));
    if record.value.is_none() {
        headers.push(Header::text(NULL, ""));
    }
    headers.push(Header::text(TIMESTAMP, record.timestamp.to_string()));
    headers.push(Header::text(ATTEMPTS, attempts.to_string()));
    match state {
        State::Waiting { due_ms } => headers.push(Header::text(DUE, due_ms.to_string())),
        State::Dead(dead) => {
            headers.push(Header::text(DEAD_SINCE, dead.since_ms.to_string()));
            headers.push(Header::text(CONTROL, dead.control.to_string()));
            headers.extend(dead.letters.iter().map(|id| Header::text(LETTER, id)));
            headers.push(Header::text(CAUSE, &dead.cause));
            headers.extend(dead.awaits.iter().map(|state| Header::text(AWAITS, state)));
        }
    }
    headers.extend(finished.iter().map(|handler| Header::text(FINISHED, handler)));
    if *redrives > 0 {
        headers.push(Header::text(REDRIVES, redrives.to_string()));
    }
    headers
}

fn parked_of(record: &Record, at: &TopicPartition, offset: i64, value: &Bytes) -> Parked {
    let number = |name| record.header(name).and_then(|text| text.parse::<i64>().ok());
    let count = |name| u32::try_from(number(name).unwrap_or_default()).unwrap_or_default();
    let own = record.headers.iter().filter(|header| header.name.starts_with(PREFIX));
    let texts = |name: &str| -> Vec<String> {
        let named = own.clone().filter(|header| header.name == name);
        let text =
            |header: &Header| String::from_utf8_lossy(header.value.as_deref()?).into_owned().into();
        named.filter_map(text).collect()
    };
    let state = match number(DEAD_SINCE) {
        Some(since_ms) => State::Dead(Dead {
            since_ms,
            control: number(CONTROL).unwrap_or_default(),
            letters: texts(LETTER).into_iter().map(Id::from).collect(),
            cause: texts(CAUSE).pop().unwrap_or_default(),
            awaits: texts(AWAITS),
        }),
        None => State::Waiting { due_ms: number(DUE).unwrap_or_default() },
    };
    let is_null = record.headers.iter().any(|header| header.name == NULL);
    let key = own.clone().find(|header| header.name == KEY);
    let headers = record.headers.iter().filter(|header| !header.name.starts_with(PREFIX));
    Parked {
        record: Record {
            topic: at.topic.as_str().into(),
            partition: at.partition,
            offset,
            timestamp: number(TIMESTAMP).unwrap_or(record.timestamp),
            key: key.and_then(|header| header.value.clone()),
            value: (!is_null).then(|| value.clone()),
            headers: headers.cloned().collect(),
        },
        attempts: count(ATTEMPTS),
        state,
        finished: texts(FINISHED),
        redrives: count(REDRIVES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> TopicPartition {
        TopicPartition { topic: "shop.orders".into(), partition: 3 }
    }

    fn original() -> Record {
        Record {
            topic: "shop.orders".into(),
            partition: 3,
            offset: 17,
            timestamp: 1_291_191_960_000,
            key: Some("536365".into()),
            value: Some("{}".into()),
            headers: vec![Header::text("ce_id", "e-1"), Header { name: "raw".into(), value: None }],
        }
    }

    fn written(sent: SentRecord) -> Record {
        let SentRecord { topic, partition, key, value, headers, .. } = sent;
        let partition = partition.expect("it names its partition");
        Record { topic: topic.into(), partition, offset: 0, timestamp: 1, key, value, headers }
    }

    #[test]
    fn what_is_written_reads_back() {
        let waiting = State::Waiting { due_ms: 77 };
        let dead = State::Dead(Dead {
            since_ms: 1_700_000_000_000,
            control: 41,
            letters: vec!["l-1".into(), "l-2".into()],
            cause: "no card, no goods".into(),
            awaits: vec!["account".into(), "card".into()],
        });
        let parked = |record: Record, state: &State| {
            let (finished, redrives) = (vec!["charge".to_owned(), "note".to_owned()], 2);
            Entry::Parked(
                17,
                Some(Box::new(Parked {
                    record,
                    attempts: 3,
                    state: state.clone(),
                    finished,
                    redrives,
                })),
            )
        };
        let bare = Record { key: None, value: None, headers: vec![], ..original() };
        for (entry, key) in [
            (parked(original(), &waiting), r#"["shop.orders",3,"parked",17]"#),
            (parked(original(), &dead), r#"["shop.orders",3,"parked",17]"#),
            (parked(bare, &dead), r#"["shop.orders",3,"parked",17]"#),
            (Entry::Parked(17, None), r#"["shop.orders",3,"parked",17]"#),
            (Entry::Recent(9, "digests".into()), r#"["shop.orders",3,"recent",9]"#),
            (Entry::Control(12), r#"["shop.orders",3,"control"]"#),
        ] {
            let record = written(entry.clone().into_record(&at(), "payment.changelog"));
            assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
            assert_eq!((&*record.topic, record.partition), ("payment.changelog", 3));
            assert_eq!(
                record.value.is_none(),
                entry == Entry::Parked(17, None),
                "no other tombstone"
            );
            assert_eq!(Entry::from_record(&record), Some((at(), entry)));
        }
    }

    #[test]
    fn what_nobody_writes_is_nothing() {
        for key in [
            "",
            "{}",
            "[]",
            r#"["t",0]"#,
            r#"["t",0,"parked"]"#,
            r#"["t",0,"x",1]"#,
            r#"[0,"t","control"]"#,
        ] {
            let record = Record { key: Some(key.into()), ..original() };
            assert_eq!(Entry::from_record(&record), None, "{key}");
        }
    }
}
