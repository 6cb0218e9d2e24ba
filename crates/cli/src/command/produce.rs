//! `tidings produce`: a record for each line of standard input.
//!
//! Lines that are there are sent together, so a pipe is fast and a typed line goes at once. Order
//! is kept per partition. The command ends with the input, when everything is durable.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;
use tidings_engine::partition_of;
use tidings_node::{Header, NewRecord};
use tokio::sync::mpsc;

use crate::args::{Form, Produce};
use crate::client::{Client, Sent};
use crate::failure::{Exit, Failure};
use crate::limits::{BATCH_BYTES_MAX, BATCH_LINES_MAX, LINE_BYTES_MAX, LINES_AHEAD};
use crate::output::{json_line, print};

/// The lengths and deltas around a record, or a header.
const VARINTS_BYTES_MAX: usize = 36;

pub(crate) async fn produce(said: Produce) -> Result<(), Failure> {
    let mut client = Client::connect(&said.common.kafka).await?;
    let mut leaders = client.leaders(&said.topic, true).await?;
    let mut lines = read_lines();
    let mut turn = 0;
    let mut sent = 0;
    let mut open = true;
    while open {
        let mut batches = BTreeMap::<i32, Vec<NewRecord>>::new();
        open = collect(&mut lines, |line| {
            let record = record(&said, line)?;
            let count = i32::try_from(leaders.len()).unwrap_or(i32::MAX).max(1);
            let partition = match (said.partition, &record.key) {
                (Some(partition), _) => partition,
                (None, Some(key)) => partition_of(key, count),
                (None, None) => turn % count,
            };
            batches.entry(partition).or_default().push(record);
            Ok(())
        })
        .await?;
        turn = turn.wrapping_add(1) & i32::MAX;
        for (partition, records) in batches {
            for batch in cut(&records) {
                let place = client.produce(&said.topic, partition, &mut leaders, batch).await?;
                sent += batch.len();
                if said.common.output == Form::Json {
                    print(&places(&said.topic, place, batch.len())?)?;
                }
            }
        }
    }
    if said.common.output == Form::Table {
        eprintln!("sent {sent} record{} to {}", if sent == 1 { "" } else { "s" }, said.topic);
    }
    Ok(())
}

/// One line of JSON for each record.
fn places(topic: &str, sent: Sent, count: usize) -> Result<String, Failure> {
    let Sent { partition, base_offset } = sent;
    (base_offset..)
        .take(count)
        .map(|offset| {
            json_line(&json!({ "topic": topic, "partition": partition, "offset": offset }))
        })
        .collect()
}

type Lines = mpsc::Receiver<Result<Vec<u8>, Failure>>;

/// Standard input can only be read by blocking, so a thread of its own does it; it ends with the
/// input or with the process.
fn read_lines() -> Lines {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = next_line(&mut input).transpose() {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    receiver
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

/// Waits for a line and takes those that are there as well, up to a batch; false at the end.
async fn collect(
    lines: &mut Lines,
    mut take: impl FnMut(Vec<u8>) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let Some(first) = lines.recv().await else { return Ok(false) };
    let first = first?;
    let mut bytes = first.len();
    take(first)?;
    for _ in 1..BATCH_LINES_MAX {
        if bytes >= BATCH_BYTES_MAX {
            break;
        }
        let Ok(line) = lines.try_recv() else { break };
        let line = line?;
        bytes += line.len();
        take(line)?;
    }
    Ok(true)
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

fn record(said: &Produce, line: Vec<u8>) -> Result<NewRecord, Failure> {
    let line = Bytes::from(line);
    let (key, value) = match &said.key_separator {
        None => (None, line),
        Some(separator) => {
            let (key, value) = split(&line, separator.as_bytes()).ok_or_else(|| {
                let shown = String::from_utf8_lossy(&line);
                let shown: String = shown.chars().take(60).collect();
                Failure::new(Exit::Usage, format!("a line has no {separator:?}: {shown}"))
                    .hint("another --key-separator, or none to send lines without keys")
            })?;
            (Some(key), value)
        }
    };
    let headers = said.header.iter().map(|(name, value)| Header {
        name: name.clone().into(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    });
    Ok(NewRecord {
        timestamp: now_ms(),
        key,
        value: if value.is_empty() && said.null { None } else { Some(value) },
        headers: headers.collect(),
    })
}

fn split(line: &Bytes, separator: &[u8]) -> Option<(Bytes, Bytes)> {
    let at = line.windows(separator.len().max(1)).position(|window| window == separator)?;
    Some((line.slice(..at), line.slice(at + separator.len()..)))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
