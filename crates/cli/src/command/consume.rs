//! `tidings consume`: prints records.
//!
//! Without `-n` and `--follow` it stops at the end of the topic. Plain output is the value and a
//! newline, byte for byte; JSON is one line for each record: `topic`, `partition`, `offset`,
//! `timestamp`, `key`, `value`, `headers`. What is not UTF-8 stands under `key_hex`, `value_hex`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use tidings_node::Record;

use crate::args::{Consume, Form};
use crate::client::{Client, Place};
use crate::failure::{Exit, Failure};
use crate::limits::FETCH_WAIT;
use crate::output::{Reader, json_line, write};

pub(crate) async fn consume(said: Consume) -> Result<(), Failure> {
    let place = place(&said.offset)?;
    let mut client = Client::connect(&said.common.kafka).await?;
    let mut leaders = client.leaders(&said.topic, false).await?;
    let partitions = wanted(&said, leaders.len())?;
    let mut next = client.offsets_at(&said.topic, &leaders, &partitions, place).await?;
    let waits = said.follow || said.count.is_some();
    let mut left = said.count.unwrap_or(u64::MAX);
    while left > 0 {
        let fetched = client.fetch(&said.topic, &mut leaders, &mut next, FETCH_WAIT).await?;
        let mut out = Vec::new();
        for (partition, record) in &fetched.records {
            if left == 0 {
                break;
            }
            left -= 1;
            show(&said, *partition, record, &mut out)?;
        }
        if !out.is_empty() && write(&out)? == Reader::Gone {
            return Ok(());
        }
        if fetched.at_end && !waits {
            return Ok(());
        }
    }
    Ok(())
}

fn place(said: &str) -> Result<Place, Failure> {
    match (said, said.parse::<i64>()) {
        ("start" | "beginning" | "earliest", _) => Ok(Place::Start),
        ("end" | "latest", _) => Ok(Place::End),
        (_, Ok(offset)) if offset >= 0 && !said.starts_with('-') => Ok(Place::At(offset)),
        (_, Ok(last)) if last != i64::MIN => Ok(Place::Last(-last)),
        _ => Err(Failure::new(Exit::Usage, format!("{said:?} is no place in a topic"))
            .hint("--offset start, end, a number, or -N for the last N records")),
    }
}

fn wanted(said: &Consume, count: usize) -> Result<Vec<i32>, Failure> {
    let all: Vec<i32> = (0..).take(count).collect();
    match said.partition {
        None => Ok(all),
        Some(partition) if all.contains(&partition) => Ok(vec![partition]),
        Some(partition) => Err(Failure::new(
            Exit::NotFound,
            format!("topic {} has no partition {partition}", said.topic),
        )
        .why(format!("it has {count}, numbered from 0"))),
    }
}

fn show(said: &Consume, partition: i32, record: &Record, out: &mut Vec<u8>) -> Result<(), Failure> {
    if said.common.output == Form::Json {
        out.extend(json_line(&record_json(&said.topic, partition, record))?.bytes());
        return Ok(());
    }
    if let Some(separator) = &said.key_separator {
        out.extend_from_slice(record.key.as_deref().unwrap_or_default());
        out.extend_from_slice(separator.as_bytes());
    }
    out.extend_from_slice(record.value.as_deref().unwrap_or_default());
    out.push(b'\n');
    Ok(())
}

pub(super) fn record_json(topic: &str, partition: i32, record: &Record) -> Value {
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
    object.into()
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
    fn a_place_is_a_name_or_a_number() {
        for (said, wanted) in [
            ("start", Some(Place::Start)),
            ("latest", Some(Place::End)),
            ("0", Some(Place::At(0))),
            ("42", Some(Place::At(42))),
            ("-5", Some(Place::Last(5))),
            ("-0", Some(Place::Last(0))),
            ("middle", None),
            ("-9223372036854775808", None),
        ] {
            assert_eq!(place(said).ok(), wanted, "{said}");
        }
        assert_eq!(place("middle").unwrap_err().exit, Exit::Usage);
    }

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
        assert_eq!(record_json("t", 2, &record), wanted);
    }
}
