//! `tidings produce`: a record for each line of standard input, or for what `--format` says.
//!
//! Records that are there are sent together, so a pipe is fast and a typed line goes at once. Order
//! is kept per partition. The command ends with the input, when everything is durable.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use bytes::Bytes;
use serde_json::json;
use tidings_engine::partition_of;
use tidings_node::{Header, NewRecord};
use tidings_terminal::Form;
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{Item, piece, print};
use tokio::sync::mpsc;

use crate::args::Produce;
use crate::client::{Client, Sent};
use crate::format::{Input as FormatInput, ReadRecord, Reader as FormatReader};
use crate::limits::{BATCH_BYTES_MAX, BATCH_LINES_MAX, LINE_BYTES_MAX, LINES_AHEAD};
use crate::time::now_ms;

/// The lengths and deltas around a record, or a header.
const VARINTS_BYTES_MAX: usize = 36;

pub(crate) async fn produce(said: Produce) -> Result<(), Failure> {
    let reading = Reading::of(&said)?;
    let mut client = Client::connect(&said.common.kafka).await?;
    let mut topics = Topics::default();
    if let Some(topic) = &said.topic {
        topics.learn(&mut client, topic).await?;
    }
    let mut input = read_input(reading);
    let mut turn = 0;
    let mut sent = 0;
    let mut open = true;
    while open {
        let mut taken = Vec::new();
        open = collect(&mut input, &mut taken).await?;
        let mut batches = BTreeMap::<(String, i32), Vec<NewRecord>>::new();
        for read in taken {
            let (topic, partition, record) = meant(&said, read);
            let leaders = topics.learn(&mut client, &topic).await?;
            let count = i32::try_from(leaders.len()).unwrap_or(i32::MAX).max(1);
            let partition = match (partition, &record.key) {
                (Some(partition), _) => partition,
                (None, Some(key)) => partition_of(key, count),
                (None, None) => turn % count,
            };
            batches.entry((topic, partition)).or_default().push(record);
        }
        turn = turn.wrapping_add(1) & i32::MAX;
        for ((topic, partition), records) in batches {
            for batch in cut(&records) {
                let leaders = topics.learn(&mut client, &topic).await?;
                let place = client.produce(&topic, partition, leaders, batch).await?;
                sent += batch.len();
                print(&places(said.common.output, &topic, place, batch.len()))?;
            }
        }
    }
    if said.common.output.is_table() {
        let to = topics.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let to = if to.is_empty() { String::new() } else { format!(" to {to}") };
        eprintln!("sent {sent} record{}{to}", if sent == 1 { "" } else { "s" });
    }
    Ok(())
}

/// Leaders of the partitions of each topic that something goes to.
#[derive(Debug, Default)]
struct Topics(BTreeMap<String, Vec<i32>>);

impl Topics {
    async fn learn(&mut self, client: &mut Client, topic: &str) -> Result<&mut Vec<i32>, Failure> {
        if !self.0.contains_key(topic) {
            let leaders = client.leaders(topic, true).await?;
            self.0.insert(topic.to_owned(), leaders);
        }
        Ok(self.0.get_mut(topic).expect("it was put there just now"))
    }
}

/// How records stand in the input.
#[derive(Debug)]
enum Reading {
    /// One a line, with this between key and value.
    Lines(Option<String>),
    Format(FormatReader),
}

impl Reading {
    fn of(said: &Produce) -> Result<Self, Failure> {
        let Some(format) = &said.format else {
            return Ok(Self::Lines(said.key_separator.clone()));
        };
        let reader = FormatReader::parse(format).map_err(|refused| refused.failure(format))?;
        match (&said.topic, reader.has_topic) {
            (None, false) => Err(Failure::new(Exit::Usage, "the topic is not said")
                .why("neither the arguments nor the format has one")
                .hint("a topic, or %t in the format")),
            (Some(topic), true) => Err(Failure::new(Exit::Usage, "the topic is said twice")
                .why(format!("as {topic}, and as %t in the format"))
                .hint("one of them")),
            _ => Ok(Self::Format(reader)),
        }
    }

    /// Hands on every record, and in the end what is wrong, as long as they are taken.
    fn all(
        &self,
        mut input: impl BufRead,
        mut take: impl FnMut(Result<ReadRecord, Failure>) -> bool,
    ) {
        let mut each = |read: Result<Option<ReadRecord>, Failure>| {
            let is_sound = read.is_ok();
            read.transpose().is_some_and(|read| take(read) && is_sound)
        };
        match self {
            Self::Lines(separator) => {
                let of_line = |line| of_line(separator.as_deref(), line);
                while each(next_line(&mut input).and_then(|line| line.map(of_line).transpose())) {}
            }
            Self::Format(reader) => {
                let mut input = FormatInput::new(input);
                let mut number = 0;
                let mut next = || {
                    number += 1;
                    reader.next(&mut input, number).and_then(|read| with_topic(read, number))
                };
                while each(next()) {}
            }
        }
    }
}

/// A topic that was read is one.
fn with_topic(read: Option<ReadRecord>, number: u64) -> Result<Option<ReadRecord>, Failure> {
    let topic = read.as_ref().and_then(|read| read.topic.as_ref());
    if topic.is_some_and(Bytes::is_empty) {
        let what = format!("record {number} of the input has no topic");
        return Err(Failure::new(Exit::Usage, what).why("what %t reads is empty"));
    }
    Ok(read)
}

/// For programs, where each record is.
fn places(form: Form, topic: &str, sent: Sent, count: usize) -> String {
    let Sent { partition, base_offset } = sent;
    let told = (base_offset..).take(count).filter_map(|offset| {
        let value = json!({ "topic": topic, "partition": partition, "offset": offset });
        piece(form, &Item::new(format!("{topic}-{partition}@{offset}"), value))
    });
    told.collect()
}

/// Records of standard input, read ahead.
struct Input {
    records: mpsc::Receiver<Result<ReadRecord, Failure>>,
    /// What ended it, until what came before has been sent.
    failed: Option<Failure>,
}

/// Standard input can only be read by blocking, so a thread of its own does it; it ends with the
/// input or with the process.
fn read_input(reading: Reading) -> Input {
    let (sender, records) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        reading.all(io::stdin().lock(), |read| sender.blocking_send(read).is_ok());
    });
    Input { records, failed: None }
}

/// A line without its end; none at the end of the input.
fn next_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let longest = LINE_BYTES_MAX as u64 + 1;
    input
        .take(longest)
        .read_until(b'\n', &mut line)
        .map_err(|e| Failure::failed("standard input cannot be read").why(e))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > LINE_BYTES_MAX {
        return Err(Failure::failed("a line of the input is too long")
            .why(format!("a record holds up to {LINE_BYTES_MAX} bytes here")));
    }
    Ok(Some(line))
}

/// Waits for a record and takes those that are there as well, up to a batch; false at the end. What came before
/// one that cannot be read is sent, and the failure comes with the next call.
async fn collect(input: &mut Input, taken: &mut Vec<ReadRecord>) -> Result<bool, Failure> {
    if let Some(failed) = input.failed.take() {
        return Err(failed);
    }
    let Some(first) = input.records.recv().await else { return Ok(false) };
    let mut read = first?;
    let mut bytes = 0;
    loop {
        bytes += [&read.key, &read.value].into_iter().flatten().map(Bytes::len).sum::<usize>();
        taken.push(read);
        if taken.len() >= BATCH_LINES_MAX || bytes >= BATCH_BYTES_MAX {
            return Ok(true);
        }
        match input.records.try_recv() {
            Ok(Ok(next)) => read = next,
            Ok(Err(failed)) => {
                input.failed = Some(failed);
                return Ok(true);
            }
            Err(_) => return Ok(true),
        }
    }
}

/// The records in pieces that each fit a batch; a record that fits none goes alone, for the broker
/// to judge.
fn cut(records: &[NewRecord]) -> Vec<&[NewRecord]> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, record) in records.iter().enumerate() {
        let size = size_of(record);
        if at > from && bytes + size > BATCH_BYTES_MAX {
            batches.push(&records[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    batches.push(&records[from..]);
    batches
}

/// At most what the record takes in a batch, uncompressed.
fn size_of(record: &NewRecord) -> usize {
    let text = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter();
    let headers: usize = headers.map(|h| h.name.len() + text(&h.value) + VARINTS_BYTES_MAX).sum();
    text(&record.key) + text(&record.value) + headers + VARINTS_BYTES_MAX
}

fn of_line(separator: Option<&str>, line: Vec<u8>) -> Result<ReadRecord, Failure> {
    let line = Bytes::from(line);
    let Some(separator) = separator else {
        return Ok(ReadRecord { value: Some(line), ..ReadRecord::default() });
    };
    let (key, value) = split(&line, separator.as_bytes()).ok_or_else(|| {
        let shown = String::from_utf8_lossy(&line);
        let shown: String = shown.chars().take(60).collect();
        Failure::new(Exit::Usage, format!("a line has no {separator:?}: {shown}"))
            .hint("another --key-separator, or none to send lines without keys")
    })?;
    Ok(ReadRecord { key: Some(key), value: Some(value), ..ReadRecord::default() })
}

/// Where what was read goes, with what the arguments say of it. The record's own partition and headers come first.
fn meant(said: &Produce, read: ReadRecord) -> (String, Option<i32>, NewRecord) {
    let ReadRecord { topic, partition, timestamp, key, value, headers } = read;
    let topic = match topic {
        None => said.topic.clone().unwrap_or_default(),
        Some(topic) => String::from_utf8_lossy(&topic).into_owned(),
    };
    let all = said.header.iter().map(|(name, value)| Header {
        name: name.clone().into(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    });
    let value = value.unwrap_or_default();
    let record = NewRecord {
        timestamp: timestamp.unwrap_or_else(now_ms),
        key,
        value: if value.is_empty() && said.null { None } else { Some(value) },
        headers: headers.into_iter().chain(all).collect(),
    };
    (topic, partition.or(said.partition), record)
}

fn split(line: &Bytes, separator: &[u8]) -> Option<(Bytes, Bytes)> {
    let at = line.windows(separator.len().max(1)).position(|window| window == separator)?;
    Some((line.slice(..at), line.slice(at + separator.len()..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_a_newline_or_the_input() {
        for (input, wanted) in [
            (&b""[..], vec![]),
            (b"a\nb", vec![&b"a"[..], b"b"]),
            (b"a\n\nb\n", vec![b"a", b"", b"b"]),
        ] {
            let mut input = input;
            let mut lines = Vec::new();
            while let Some(line) = next_line(&mut input).unwrap() {
                lines.push(line);
            }
            assert_eq!(lines, wanted);
        }
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert!(next_line(&mut &long[..]).is_err());
        assert_eq!(next_line(&mut &long[1..]).unwrap().unwrap().len(), LINE_BYTES_MAX);
    }

    #[test]
    fn batches_hold_what_brokers_take() {
        let record = |bytes: usize| NewRecord {
            value: Some(Bytes::from(vec![b'x'; bytes])),
            ..NewRecord::default()
        };
        let kib = |sizes: &[usize]| sizes.iter().map(|kib| record(kib << 10)).collect::<Vec<_>>();
        for (sizes, wanted) in [
            (&[1][..], &[1][..]),
            (&[300, 900], &[1, 1]),
            (&[200, 200, 200, 200], &[2, 2]),
            (&[900, 1, 1, 900, 1], &[1, 2, 1, 1]),
        ] {
            let records = kib(sizes);
            let lengths: Vec<_> = cut(&records).iter().map(|batch| batch.len()).collect();
            assert_eq!(lengths, wanted, "{sizes:?}");
        }
    }

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        for (line, separator, wanted) in [
            ("k:v:w", ":", Some(("k", "v:w"))),
            ("k::v", "::", Some(("k", "v"))),
            (":v", ":", Some(("", "v"))),
            ("k:", ":", Some(("k", ""))),
            ("kv", ":", None),
            ("", ":", None),
            ("kv", "", None),
        ] {
            let parts = split(&Bytes::from(line), separator.as_bytes());
            let wanted = wanted.map(|(k, v)| (Bytes::from(k), Bytes::from(v)));
            assert_eq!(parts, wanted, "{line} at {separator}");
        }
    }
}
