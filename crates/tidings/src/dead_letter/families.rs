//! The headers by which the tools of others know a dead letter: those of Spring Kafka, of Kafka Connect and of
//! Kafka Streams (KIP-1034).
//!
//! A letter has all three, so that whichever tool reads it finds its own; and a letter of any of them is read.
//! Spring's numbers are big-endian bytes, those of the others text.

use bytes::Bytes;
use tidings_engine::{Header, Record};

/// Every header of a family begins like this; `tidings-dead-` are our own.
const PREFIXES: [&str; 4] =
    ["kafka_dlt-", "__connect.errors.", "__streams.errors.", super::OWN_PREFIX];

/// Whether a header is of the event, and not of a death.
pub(super) fn is_original(header: &Header) -> bool {
    !PREFIXES.iter().any(|prefix| header.name.starts_with(prefix))
}

/// What every family says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) group: &'a str,
    pub(super) exception: &'a str,
    pub(super) message: &'a str,
    pub(super) stacktrace: &'a str,
    /// Where it died, by Connect's names of stages.
    pub(super) stage: &'a str,
}

impl Said<'_> {
    pub(super) fn headers(&self) -> Vec<Header> {
        let Said { topic, partition, offset, timestamp, group, .. } = *self;
        let Said { exception, message, stacktrace, stage, .. } = *self;
        let bytes = |name: &str, value: &[u8]| Header {
            name: name.to_owned().into(),
            value: Some(Bytes::copy_from_slice(value)),
        };
        let (partition_text, offset_text) = (partition.to_string(), offset.to_string());
        vec![
            Header::text("kafka_dlt-original-topic", topic),
            bytes("kafka_dlt-original-partition", &partition.to_be_bytes()),
            bytes("kafka_dlt-original-offset", &offset.to_be_bytes()),
            bytes("kafka_dlt-original-timestamp", &timestamp.to_be_bytes()),
            Header::text("kafka_dlt-original-timestamp-type", "CreateTime"),
            Header::text("kafka_dlt-original-consumer-group", group),
            Header::text("kafka_dlt-exception-fqcn", exception),
            Header::text("kafka_dlt-exception-message", message),
            Header::text("kafka_dlt-exception-stacktrace", stacktrace),
            Header::text("__connect.errors.topic", topic),
            Header::text("__connect.errors.partition", &partition_text),
            Header::text("__connect.errors.offset", &offset_text),
            Header::text("__connect.errors.connector.name", group),
            Header::text("__connect.errors.stage", stage),
            Header::text("__connect.errors.exception.class.name", exception),
            Header::text("__connect.errors.exception.message", message),
            Header::text("__connect.errors.exception.stacktrace", stacktrace),
            Header::text("__streams.errors.topic", topic),
            Header::text("__streams.errors.partition", &partition_text),
            Header::text("__streams.errors.offset", &offset_text),
            Header::text("__streams.errors.exception", exception),
            Header::text("__streams.errors.message", message),
            Header::text("__streams.errors.stacktrace", stacktrace),
        ]
    }
}

/// A letter as some family has it; what it does not say is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: Option<i64>,
    pub(super) group: Option<String>,
    pub(super) exception: Option<String>,
    pub(super) message: Option<String>,
    pub(super) stacktrace: Option<String>,
}

impl Read {
    /// None when no family says where the record came from.
    pub(super) fn of(record: &Record) -> Option<Self> {
        spring(record)
            .or_else(|| {
                let group = text(record, "__connect.errors.connector.name");
                let read = texts(record, "__connect.errors.", "exception.")?;
                Some(Self { group, ..read })
            })
            .or_else(|| texts(record, "__streams.errors.", ""))
    }
}

fn spring(record: &Record) -> Option<Read> {
    let text = |name: &str| text(record, &format!("kafka_dlt-{name}"));
    Some(Read {
        topic: text("original-topic")?,
        partition: i32::from_be_bytes(raw(record, "kafka_dlt-original-partition")?),
        offset: i64::from_be_bytes(raw(record, "kafka_dlt-original-offset")?),
        timestamp: raw(record, "kafka_dlt-original-timestamp").map(i64::from_be_bytes),
        group: text("original-consumer-group"),
        exception: text("exception-fqcn"),
        message: text("exception-message"),
        stacktrace: text("exception-stacktrace"),
    })
}

/// The families with text only: Connect has `exception.class.name`, `exception.message` and
/// `exception.stacktrace`, Streams `exception`, `message` and `stacktrace`.
fn texts(record: &Record, prefix: &str, of_exception: &str) -> Option<Read> {
    let text = |name: &str| text(record, &format!("{prefix}{name}"));
    let of = |name: &str| text(&format!("{of_exception}{name}"));
    Some(Read {
        topic: text("topic")?,
        partition: text("partition")?.parse().ok()?,
        offset: text("offset")?.parse().ok()?,
        timestamp: None,
        group: None,
        exception: if of_exception.is_empty() { text("exception") } else { of("class.name") },
        message: of("message"),
        stacktrace: of("stacktrace"),
    })
}

fn text(record: &Record, name: &str) -> Option<String> {
    record.header(name).map(str::to_owned)
}

fn raw<const N: usize>(record: &Record, name: &str) -> Option<[u8; N]> {
    let header = record.headers.iter().find(|h| h.name == name)?;
    header.value.as_deref()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Said = Said {
        topic: "orders",
        partition: 7,
        offset: 9,
        timestamp: 1_291_191_960_000,
        group: "billing",
        exception: "java.lang.IllegalStateException",
        message: "boom",
        stacktrace: "boom\n\tat Billing.java:12",
        stage: "TASK_PUT",
    };

    fn record(headers: Vec<Header>) -> Record {
        let (topic, key, value) = ("billing.dead".into(), None, None);
        Record { topic, partition: 0, offset: 0, timestamp: 1, key, value, headers }
    }

    #[test]
    fn a_letter_of_each_family_is_read_and_so_is_one_of_all() {
        let all = SAID.headers();
        assert!(!all.iter().any(is_original), "{all:?}");
        let told = |timestamp, group: Option<&str>| Read {
            topic: SAID.topic.into(),
            partition: SAID.partition,
            offset: SAID.offset,
            timestamp,
            group: group.map(str::to_owned),
            exception: Some(SAID.exception.into()),
            message: Some(SAID.message.into()),
            stacktrace: Some(SAID.stacktrace.into()),
        };
        let time = Some(SAID.timestamp);
        for (prefix, expected) in [
            ("kafka_dlt-", told(time, Some("billing"))),
            ("__connect.errors.", told(None, Some("billing"))),
            ("__streams.errors.", told(None, None)),
            ("", told(time, Some("billing"))),
        ] {
            let some = all.iter().filter(|h| h.name.starts_with(prefix)).cloned().collect();
            assert_eq!(Read::of(&record(some)), Some(expected), "{prefix}");
        }
    }

    #[test]
    fn what_says_no_place_is_no_letter() {
        for missing in ["topic", "partition", "offset"] {
            let headers = SAID.headers().into_iter().filter(|h| !h.name.ends_with(missing));
            assert_eq!(Read::of(&record(headers.collect())), None, "{missing}");
        }
        let odd = |name: &str| Header::text(name.to_owned(), "seven");
        let topic = |prefix: &str| Header::text(format!("{prefix}topic"), "t");
        for prefix in ["__connect.errors.", "__streams.errors."] {
            let (partition, offset) = (format!("{prefix}partition"), format!("{prefix}offset"));
            let headers = vec![topic(prefix), odd(&partition), odd(&offset)];
            assert_eq!(Read::of(&record(headers)), None, "{prefix}");
        }
    }
}
