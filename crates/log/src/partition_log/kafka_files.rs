//! The text files that Kafka keeps beside a log, so that Kafka and its tools find what they expect.
//!
//! - `leader-epoch-checkpoint` in a log's folder: `0`, the number of entries, and per entry
//!   `epoch offset`, each on a line;
//! - `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint` and
//!   `replication-offset-checkpoint` (high watermarks) in the root: the same with
//!   `topic partition offset`;
//! - `partition.metadata` in a log's folder: `version: 0` and `topic_id: ` with the topic's id.
//!
//! They have no checksum, so nothing of what Tidings knows better is read from them. Limits: reading
//! takes at most [`CHECKPOINT_FILE_BYTES_MAX`].

use std::fmt::Write as _;

use crate::limits::CHECKPOINT_FILE_BYTES_MAX;

pub const LEADER_EPOCHS_FILE: &str = "leader-epoch-checkpoint";
pub const RECOVERY_POINTS_FILE: &str = "recovery-point-offset-checkpoint";
pub const START_OFFSETS_FILE: &str = "log-start-offset-checkpoint";
pub const HIGH_WATERMARKS_FILE: &str = "replication-offset-checkpoint";
pub const METADATA_FILE: &str = "partition.metadata";

const VERSION: &str = "0";
/// Characters of a topic's id in Kafka's notation: 16 bytes in URL-safe base64.
const TOPIC_ID_CHARS: usize = 22;

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the file is no text of at most {CHECKPOINT_FILE_BYTES_MAX} bytes")]
    NoText,
    #[error("version {0:?} is not supported, only 0")]
    Version(String),
    #[error("line {number} is malformed")]
    Line { number: usize },
    #[error("{found} entries where {said} were announced")]
    Count { said: usize, found: usize },
}

/// A line of the files in the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOffset {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

pub(crate) fn encode_leader_epochs(starts: &[(i32, i64)]) -> String {
    let lines = starts.iter().map(|(epoch, offset)| format!("{epoch} {offset}"));
    encode(starts.len(), lines)
}

/// Epochs with the first offset each wrote, as the lines have them.
pub fn decode_leader_epochs(bytes: &[u8]) -> Result<Vec<(i32, i64)>, Unreadable> {
    decode(bytes, |line| {
        let (epoch, offset) = line.split_once(' ')?;
        Some((number(epoch)?, number(offset)?))
    })
}

/// A topic has no spaces in its name.
pub(crate) fn encode_offsets(offsets: &[PartitionOffset]) -> String {
    let lines = offsets.iter().map(|at| format!("{} {} {}", at.topic, at.partition, at.offset));
    encode(offsets.len(), lines)
}

pub fn decode_offsets(bytes: &[u8]) -> Result<Vec<PartitionOffset>, Unreadable> {
    decode(bytes, |line| {
        let mut fields = line.split(' ');
        let (topic, partition, offset) = (fields.next()?, fields.next()?, fields.next()?);
        (fields.next().is_none() && !topic.is_empty()).then_some(())?;
        Some(PartitionOffset {
            topic: topic.to_owned(),
            partition: number(partition)?,
            offset: number(offset)?,
        })
    })
}

/// `topic_id` in Kafka's notation.
#[cfg(test)]
pub(crate) fn encode_metadata(topic_id: &str) -> String {
    format!("version: {VERSION}\ntopic_id: {topic_id}")
}

/// The topic's id, in Kafka's notation.
pub fn decode_metadata(bytes: &[u8]) -> Result<String, Unreadable> {
    let mut lines = text(bytes)?.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("version: "));
    let version = version.ok_or(Unreadable::Line { number: 1 })?;
    if version != VERSION {
        return Err(Unreadable::Version(version.to_owned()));
    }
    let topic_id = lines.next().and_then(|line| line.strip_prefix("topic_id: "));
    topic_id
        .filter(|id| id.len() == TOPIC_ID_CHARS)
        .filter(|id| id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'))
        .map(str::to_owned)
        .ok_or(Unreadable::Line { number: 2 })
}

fn encode(count: usize, lines: impl Iterator<Item = String>) -> String {
    let mut text = format!("{VERSION}\n{count}\n");
    for line in lines {
        writeln!(text, "{line}").expect("writing to a string does not fail");
    }
    text
}

/// An empty file has no entries: Kafka makes it before it has any.
fn decode<T>(bytes: &[u8], entry_of: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Unreadable> {
    let mut lines = text(bytes)?.lines().zip(1..);
    let Some((version, _)) = lines.next() else {
        return Ok(Vec::new());
    };
    if version != VERSION {
        return Err(Unreadable::Version(version.to_owned()));
    }
    let (said, _) = lines.next().ok_or(Unreadable::Line { number: 2 })?;
    let said: usize = number(said).ok_or(Unreadable::Line { number: 2 })?;
    let mut entries = Vec::new();
    for (line, number) in lines {
        entries.push(entry_of(line).ok_or(Unreadable::Line { number })?);
    }
    if entries.len() != said {
        return Err(Unreadable::Count { said, found: entries.len() });
    }
    Ok(entries)
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    let text = bytes.get(..bytes.len().min(CHECKPOINT_FILE_BYTES_MAX + 1)).unwrap_or_default();
    if text.len() > CHECKPOINT_FILE_BYTES_MAX {
        return Err(Unreadable::NoText);
    }
    std::str::from_utf8(text).map_err(|_| Unreadable::NoText)
}

/// A number that is not negative.
fn number<T: std::str::FromStr + PartialOrd + Default>(digits: &str) -> Option<T> {
    digits.parse().ok().filter(|number| *number >= T::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(topic: &str, partition: i32, offset: i64) -> PartitionOffset {
        PartitionOffset { topic: topic.to_owned(), partition, offset }
    }

    /// The texts are what Kafka 4.2.0 wrote for these values.
    #[test]
    fn the_formats_are_kafkas() {
        let epochs = [(0, 0), (4, 77)];
        assert_eq!(encode_leader_epochs(&epochs), "0\n2\n0 0\n4 77\n");
        assert_eq!(decode_leader_epochs(b"0\n2\n0 0\n4 77\n"), Ok(epochs.to_vec()));

        let offsets = [at("a.b_c", 0, 0), at("orders", 3, 159)];
        assert_eq!(encode_offsets(&offsets), "0\n2\na.b_c 0 0\norders 3 159\n");
        assert_eq!(decode_offsets(b"0\n2\na.b_c 0 0\norders 3 159\n"), Ok(offsets.to_vec()));

        let metadata = "version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4P_w";
        assert_eq!(encode_metadata("AQIDBAUGBwgJCgsMDQ4P_w"), metadata);
        assert_eq!(decode_metadata(metadata.as_bytes()).as_deref(), Ok("AQIDBAUGBwgJCgsMDQ4P_w"));
    }

    #[test]
    fn without_entries_there_are_two_lines_or_none() {
        assert_eq!(encode_leader_epochs(&[]), "0\n0\n");
        assert_eq!(decode_leader_epochs(b"0\n0\n"), Ok(vec![]));
        assert_eq!(decode_leader_epochs(b""), Ok(vec![]));
    }

    #[test]
    fn what_is_not_such_a_file_is_refused() {
        let line = |number| Unreadable::Line { number };
        let huge = vec![b'0'; CHECKPOINT_FILE_BYTES_MAX + 1];
        let table: [(&[u8], Unreadable); 12] = [
            (b"1\n0\n", Unreadable::Version("1".to_owned())),
            (b"\xff", Unreadable::NoText),
            (&huge, Unreadable::NoText),
            (b"0\n", line(2)),
            (b"0\n-1\n", line(2)),
            (b"0\n2\na 0 0\n", Unreadable::Count { said: 2, found: 1 }),
            (b"0\n18446744073709551615\n", Unreadable::Count { said: usize::MAX, found: 0 }),
            (b"0\n1\na 0\n", line(3)),
            (b"0\n2\na 0 0\nb 0 0 0\n", line(4)),
            (b"0\n1\na 0 -1\n", line(3)),
            (b"0\n1\na 2147483648 0\n", line(3)),
            (b"0\n1\n 0 0\n", line(3)),
        ];
        for (bytes, expected) in table {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
            assert_eq!(decode_offsets(bytes), Err(expected), "{shown}");
        }
        for bytes in [&b"0\n1\n4\n"[..], b"0\n1\n4 7 7\n", b"0\n1\nx 7\n", b"0\n1\n-4 7\n"] {
            assert_eq!(decode_leader_epochs(bytes), Err(line(3)));
        }
    }

    #[test]
    fn metadata_without_a_topics_id_is_refused() {
        let table: [(&str, Unreadable); 5] = [
            ("", Unreadable::Line { number: 1 }),
            ("version: 1\ntopic_id: AQIDBAUGBwgJCgsMDQ4P_w", Unreadable::Version("1".to_owned())),
            ("version: 0", Unreadable::Line { number: 2 }),
            ("version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4P", Unreadable::Line { number: 2 }),
            ("version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4P/w", Unreadable::Line { number: 2 }),
        ];
        for (text, expected) in table {
            assert_eq!(decode_metadata(text.as_bytes()), Err(expected), "{text}");
        }
    }
}
