//! `tidings consume`: prints records.
//!
//! Without `-n` and `--follow` it stops at the end of the topic; a range stops at its end in any case. Plain output is
//! the value and a newline, byte for byte; with `--format` it is what the format says ([`crate::format`]); JSON is
//! one line for each record: `topic`, `partition`, `offset`, `timestamp`, `key`, `value`, `headers`. What is not
//! UTF-8 stands under `key_hex`, `value_hex`. Records that a filter leaves out are read all the same.
//!
//! What names a schema of the cluster's registry is filtered and printed as its JSON ([`schemas`]), `--format` excepted: there
//! bytes are meant until `--use-schema-registry` is said, as in rpk.

mod filter;
mod rate;
mod schemas;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};

use serde_json::{Map, Value, json};
use tidings_node::Record;
use tidings_terminal::Form;
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{Item, Reader, piece, write};
use tidings_terminal::table::harmless;

use crate::args::Consume;
use crate::client::{Client, Fetched, Found, TooLarge};
use crate::format::{Shown, Writer};
use crate::limits::FETCH_WAIT;
use crate::offsets::{Offsets, Range};
use crate::time::now_ms;
use filter::Filter;
use rate::Pace;
pub(crate) use rate::Rate;
pub(crate) use schemas::Decode;
use schemas::{Reading, Schemas};

/// What `-o wide` prints.
const WIDE: &str = "%p@%o\\t%d{iso}\\t%k\\t%v\\n";

pub(crate) async fn consume(said: Consume) -> Result<(), Failure> {
    let offsets = Offsets::parse(&said.offset, now_ms())?;
    let filter = Filter::of(&said)?;
    let printed = Printed::of(&said)?;
    let mut client = Client::connect(&said.common.kafka).await?;
    let mut leaders = client.leaders(&said.topic, false).await?;
    let ranges = wanted(&said, &offsets, leaders.len())?;
    let from = ranges.iter().map(|(partition, range)| (*partition, range.from)).collect();
    let mut next = client.offsets_at(&said.topic, &leaders, &from).await?;
    let until = ranges.iter().filter_map(|(partition, range)| Some((*partition, range.until?)));
    let until = until.collect();
    // An offset to stop before may lie ahead, so it is not moved to where the partition ends now.
    let until = client.ends_at(&said.topic, &leaders, &until).await?;
    let waits = said.follow || said.count.is_some();
    let is_decoded = said.format.is_none() || !said.use_schema_registry.is_empty();
    let schemas = match is_decoded || filter.looks_inside() {
        true => Schemas::of(&said.use_schema_registry),
        false => Schemas::of(&[Decode::None]),
    };
    let pace = Pace::of(said.rate);
    let (shown, passed_over) = (0, 0);
    let mut round =
        Round { said: &said, filter, schemas, is_decoded, printed, pace, shown, passed_over };
    loop {
        next.retain(|partition, offset| until.get(partition).is_none_or(|end| *offset < *end));
        if next.is_empty() || round.left() == 0 {
            return round.end();
        }
        let fetched = client.fetch(&said.topic, &mut leaders, &mut next, FETCH_WAIT).await?;
        round.schemas.catch_up(&mut client, &said.topic, &fetched).await;
        if round.show(&fetched, &until).await? == Reader::Gone {
            return Ok(());
        }
        if fetched.at_end && !waits {
            return round.end();
        }
    }
}

/// What of each partition is read.
fn wanted(
    said: &Consume,
    offsets: &Offsets,
    count: usize,
) -> Result<BTreeMap<i32, Range>, Failure> {
    let all: Vec<i32> = (0..).take(count).collect();
    let named = said.partition.iter().copied().chain(offsets.named());
    if let Some(partition) = named.into_iter().find(|partition| !all.contains(partition)) {
        let what = format!("topic {} has no partition {partition}", said.topic);
        return Err(
            Failure::new(Exit::NotFound, what).why(format!("it has {count}, numbered from 0"))
        );
    }
    let chosen = all
        .into_iter()
        .filter(|partition| said.partition.is_empty() || said.partition.contains(partition));
    Ok(chosen.filter_map(|partition| Some((partition, offsets.of(partition)?))).collect())
}

/// How a record is printed.
enum Printed {
    Format(Writer),
    /// For programs.
    Form(Form),
    /// The value, or key and value with this between them.
    Value {
        separator: Option<String>,
        /// Nothing may steer what shows it.
        in_terminal: bool,
    },
}

impl Printed {
    fn of(said: &Consume) -> Result<Self, Failure> {
        let writer = |format: &str| {
            Writer::parse(format).map(Self::Format).map_err(|refused| refused.failure(format))
        };
        match (&said.format, said.common.output) {
            (Some(format), _) => writer(format),
            (None, Form::Wide) if said.key_separator.is_none() => writer(WIDE),
            (None, form) if !form.is_table() => Ok(Self::Form(form)),
            _ => Ok(Self::Value {
                separator: said.key_separator.clone(),
                in_terminal: stdout().is_terminal(),
            }),
        }
    }

    fn print(&self, shown: &Shown<'_>, reading: &Reading<'_>, out: &mut Vec<u8>) {
        let Shown { topic, partition, record, .. } = *shown;
        match self {
            Self::Format(writer) => writer.write(shown, out),
            Self::Form(form) => {
                let name = format!("{topic}-{partition}@{}", record.offset);
                let mut object = record_json(topic, partition, record);
                reading.insert_into(&mut object);
                let item = Item::new(name, object.into());
                out.extend(piece(*form, &item).unwrap_or_default().bytes());
            }
            Self::Value { separator, in_terminal } => {
                let begun = out.len();
                if let Some(separator) = separator {
                    out.extend_from_slice(record.key.as_deref().unwrap_or_default());
                    out.extend_from_slice(separator.as_bytes());
                }
                out.extend_from_slice(record.value.as_deref().unwrap_or_default());
                out.push(b'\n');
                if *in_terminal {
                    let shown = harmless(&out[begun..]);
                    out.truncate(begun);
                    out.extend_from_slice(shown.as_bytes());
                }
            }
        }
    }
}

/// What goes on from one round of fetching to the next.
struct Round<'a> {
    said: &'a Consume,
    filter: Filter,
    schemas: Schemas,
    /// Whether what is printed is what was decoded, or the bytes.
    is_decoded: bool,
    printed: Printed,
    pace: Pace,
    shown: u64,
    /// Batches.
    passed_over: u64,
}

impl Round<'_> {
    /// Nothing that was meant to be printed is left out in silence.
    fn end(&self) -> Result<(), Failure> {
        let batches = match self.passed_over {
            0 => return Ok(()),
            1 => "a batch".to_owned(),
            more => format!("{more} batches"),
        };
        let what = format!("{batches} of {} could not be read, and all else was", self.said.topic);
        Err(Failure::failed(what).hint("a Kafka client of another kind may have no such limit"))
    }

    fn pass_over(&mut self, fetched: &Fetched, until: &BTreeMap<i32, i64>) {
        for TooLarge { partition, first, last, limit } in &fetched.too_large {
            if until.get(partition).is_some_and(|end| first >= end) {
                continue;
            }
            self.passed_over += 1;
            let topic = &self.said.topic;
            eprintln!(
                "note: {topic}-{partition}@{first} to {last} is passed over: \
                 a batch that decompresses to more than {limit} bytes"
            );
        }
    }

    fn left(&self) -> u64 {
        self.said.count.unwrap_or(u64::MAX).saturating_sub(self.shown)
    }

    /// Prints what is wanted of these records: all at once, or one by one where a rate is kept.
    async fn show(
        &mut self,
        fetched: &Fetched,
        until: &BTreeMap<i32, i64>,
    ) -> Result<Reader, Failure> {
        self.pass_over(fetched, until);
        let mut out = Vec::new();
        for Found { partition, record, batch } in &fetched.records {
            if until.get(partition).is_some_and(|end| record.offset >= *end) {
                continue;
            }
            if self.left() == 0 {
                break;
            }
            let reading = self.schemas.read(&self.said.topic, *partition, record);
            if !self.filter.takes(&reading.record) {
                continue;
            }
            self.shown += 1;
            let shown = Shown {
                topic: &self.said.topic,
                partition: *partition,
                record: if self.is_decoded { &reading.record } else { record },
                batch,
                edges: fetched.edges.get(partition).copied().unwrap_or_default(),
                count: self.shown,
            };
            self.printed.print(&shown, &reading, &mut out);
            if self.pace.is_kept() {
                self.pace.wait().await;
                if write(&std::mem::take(&mut out))? == Reader::Gone {
                    return Ok(Reader::Gone);
                }
            }
        }
        if out.is_empty() { Ok(Reader::There) } else { write(&out) }
    }
}

pub(in crate::command) fn record_json(
    topic: &str,
    partition: i32,
    record: &Record,
) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("topic".into(), topic.into());
    object.insert("partition".into(), partition.into());
    object.insert("offset".into(), record.offset.into());
    object.insert("timestamp".into(), record.timestamp.into());
    insert(&mut object, "key", record.key.as_deref());
    insert(&mut object, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|header| {
        let mut object = Map::from_iter([("name".to_owned(), json!(header.name))]);
        insert(&mut object, "value", header.value.as_deref());
        Value::from(object)
    });
    object.insert("headers".into(), headers.collect());
    object
}

fn insert(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => object.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => object.insert(name.to_owned(), text.into()),
        Some((bytes, Err(_))) => {
            let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").expect("writing to a string");
                hex
            });
            object.insert(format!("{name}_hex"), hex.into())
        }
    };
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_node::Header;

    use super::*;

    #[test]
    fn json_shows_text_as_text_and_the_rest_in_hexadecimal() {
        let record = Record {
            offset: 7,
            timestamp: 1000,
            key: Some(Bytes::from_static(b"\xff\x00")),
            value: None,
            headers: vec![Header { name: "h".into(), value: Some(Bytes::from_static(b"x")) }],
        };
        let wanted = json!({
            "topic": "t", "partition": 2, "offset": 7, "timestamp": 1000, "key_hex": "ff00",
            "value": null, "headers": [{ "name": "h", "value": "x" }],
        });
        assert_eq!(Value::from(record_json("t", 2, &record)), wanted);
    }
}
