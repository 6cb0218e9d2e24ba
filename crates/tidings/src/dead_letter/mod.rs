//! Dead letters: the original record, with headers that say why it was given up.
//!
//! Written are the headers of Spring Kafka, Kafka Connect and Kafka Streams ([`families`]), so tools that
//! know one of them read ours, and `tidings-dead-…` beside them. Read are letters of any of these.
//! Headers of an earlier death are replaced, so a letter does not grow from death to death.

mod families;

use bytes::Bytes;
use tidings_engine::{Header, Record, SentRecord};

use crate::{Id, limits, outcome::Stop, publisher::record_bytes};

const OWN_PREFIX: &str = "tidings-dead-";
const DEAD_ID: &str = "tidings-dead-id";
const KIND: &str = "tidings-dead-kind";
const CAUSE: &str = "tidings-dead-cause";
const ATTEMPTS: &str = "tidings-dead-attempts";
const SERVICE: &str = "tidings-dead-service";
const HANDLER: &str = "tidings-dead-handler";
const CAUSATION: &str = "tidings-dead-causation";
const TRUNCATED: &str = "tidings-dead-truncated";

/// How an event came to be a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadKind {
    /// A handler rejected it.
    Rejected,
    /// Every attempt failed.
    Failed,
    /// It is not the event that it should be.
    Undecodable,
    /// Its key has no value of a state yet; it is handled when there is one.
    Absent,
}

impl DeadKind {
    const ALL: [Self; 4] = [Self::Rejected, Self::Failed, Self::Undecodable, Self::Absent];

    /// As in `tidings-dead-kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Undecodable => "undecodable",
            Self::Absent => "absent",
        }
    }

    /// As Kafka Connect calls where a record failed.
    fn stage(self) -> &'static str {
        match self {
            Self::Rejected | Self::Failed | Self::Absent => "TASK_PUT",
            Self::Undecodable => "VALUE_CONVERTER",
        }
    }

    fn exception(self) -> &'static str {
        match self {
            Self::Rejected => "tidings.Rejected",
            Self::Failed => "tidings.Failed",
            Self::Undecodable => "tidings.Undecodable",
            Self::Absent => "tidings.Absent",
        }
    }
}

/// A dead letter as read from a dead-letter topic.
///
/// Letters of Spring Kafka, of Kafka Connect (with `errors.deadletterqueue.context.headers.enable`) and of
/// Kafka Streams are read as well. What only Tidings writes is optional: they have none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The letter's own id, derived: the same when the same event dies again in the same handler.
    pub id: Option<Id>,
    /// How it died.
    pub kind: Option<DeadKind>,
    /// Why, in words.
    pub cause: String,
    /// How often it was tried; 0 when it could not be decoded.
    pub attempts: Option<u32>,
    /// Where it died: the service, or the consumer group.
    pub service: Option<String>,
    /// The handler; none when no handler was reached.
    pub handler: Option<String>,
    /// The event's id, or one derived from its position when it has none.
    pub causation: Option<Id>,
    /// Where the event came from.
    pub topic: String,
    /// Where the event came from.
    pub partition: i32,
    /// Where the event came from.
    pub offset: i64,
    /// The event's timestamp in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The name of the error's type.
    pub exception: Option<String>,
    /// The chain of causes, or a Java stack trace.
    pub stacktrace: Option<String>,
    /// The value was too large to be copied into the letter; it is at the original position.
    pub truncated: bool,
    /// The event's key.
    pub key: Option<Bytes>,
    /// The event's value.
    pub value: Option<Bytes>,
    /// The event's own headers.
    pub headers: Vec<Header>,
}

impl DeadLetter {
    /// Reads a letter; none when the record does not say where it came from.
    pub fn from_record(record: &Record) -> Option<Self> {
        let text = |name| record.header(name).map(str::to_owned);
        let kind = record.header(KIND);
        let read = families::Read::of(record)?;
        let is_original = |header: &&Header| families::is_original(header);
        Some(Self {
            id: text(DEAD_ID).map(Id::from),
            kind: DeadKind::ALL.into_iter().find(|k| Some(k.as_str()) == kind),
            cause: text(CAUSE).or(read.message).unwrap_or_default(),
            attempts: record.header(ATTEMPTS).and_then(|n| n.parse().ok()),
            service: text(SERVICE).or(read.group),
            handler: text(HANDLER),
            causation: text(CAUSATION).map(Id::from),
            topic: read.topic,
            partition: read.partition,
            offset: read.offset,
            timestamp: read.timestamp,
            exception: read.exception,
            stacktrace: read.stacktrace,
            truncated: record.header(TRUNCATED).is_some(),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.iter().filter(is_original).cloned().collect(),
        })
    }
}

/// The id of what has none: derived from where it is.
pub(crate) fn position_id(topic: &str, partition: i32, offset: i64) -> Id {
    Id::derived(&["record", topic, &partition.to_string(), &offset.to_string()])
}

/// An event being given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death<'a> {
    pub(crate) record: &'a Record,
    pub(crate) service: &'a str,
    /// None when no handler was reached.
    pub(crate) handler: Option<&'a str>,
    /// The event's id, if it could be read.
    pub(crate) event_id: Option<&'a Id>,
    pub(crate) kind: DeadKind,
    pub(crate) stop: &'a Stop,
    pub(crate) attempts: u32,
}

impl Death<'_> {
    /// The letter that says so, in at most so many bytes.
    pub(crate) fn letter(&self, topic: &str, bytes_max: usize) -> SentRecord {
        let mut letter = SentRecord {
            topic: topic.to_owned(),
            partition: None,
            key: self.record.key.clone(),
            value: self.record.value.clone(),
            headers: self.headers(true),
            timestamp: None,
        };
        let too_large = |letter: &SentRecord| record_bytes(letter) > bytes_max;
        if too_large(&letter) {
            letter.value = None;
            letter.headers.push(Header::text(TRUNCATED, "value"));
        }
        if too_large(&letter) {
            letter.key = None;
            letter.headers = self.headers(false);
            letter.headers.push(Header::text(TRUNCATED, "key, value and headers"));
        }
        letter
    }

    /// The letter's own id.
    pub(crate) fn id(&self) -> Id {
        let Record { topic, partition, offset, .. } = self.record;
        let position = position_id(topic, *partition, *offset);
        let known_by = match self.kind {
            DeadKind::Undecodable => &position,
            DeadKind::Rejected | DeadKind::Failed | DeadKind::Absent => {
                self.event_id.unwrap_or(&position)
            }
        };
        let handler = self.handler.unwrap_or_default();
        Id::derived(&[known_by.as_str(), self.service, handler, "dead"])
    }

    fn headers(&self, with_original: bool) -> Vec<Header> {
        let Record { topic, partition, offset, timestamp, headers, .. } = self.record;
        let position = position_id(topic, *partition, *offset);
        let cause = cut(&self.stop.cause);
        let (exception, chain) = match &self.stop.error {
            Some((name, chain)) => (name.as_str(), cut(chain)),
            None => (self.kind.exception(), cause),
        };
        let said = families::Said {
            topic,
            partition: *partition,
            offset: *offset,
            timestamp: *timestamp,
            group: self.service,
            exception,
            message: cause,
            stacktrace: chain,
            stage: self.kind.stage(),
        };
        let original = headers.iter().filter(|h| with_original && families::is_original(h));
        let mut all: Vec<Header> = original.cloned().collect();
        all.extend(said.headers());
        all.extend([
            Header::text(DEAD_ID, self.id()),
            Header::text(KIND, self.kind.as_str()),
            Header::text(CAUSE, cause),
            Header::text(ATTEMPTS, self.attempts.to_string()),
            Header::text(SERVICE, self.service),
            Header::text(CAUSATION, self.event_id.unwrap_or(&position)),
        ]);
        all.extend(self.handler.map(|name| Header::text(HANDLER, name)));
        all
    }
}

/// The beginning of a text, up to the limit of a header.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(limits::CAUSE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn original() -> Record {
        Record {
            topic: "shop.orders".into(),
            partition: 3,
            offset: 42,
            timestamp: 1_291_191_960_000,
            key: Some("536365".into()),
            value: Some("{}".into()),
            headers: vec![Header::text("ce_id", "e-1"), Header::text("kafka_dlt-old", "x")],
        }
    }

    fn delivered(sent: SentRecord) -> Record {
        let SentRecord { topic, key, value, headers, .. } = sent;
        Record { topic: topic.into(), partition: 0, offset: 0, timestamp: 1, key, value, headers }
    }

    fn death<'a>(record: &'a Record, stop: &'a Stop, id: Option<&'a Id>) -> Death<'a> {
        let (kind, handler) = match id {
            Some(_) => (DeadKind::Rejected, Some("charge")),
            None => (DeadKind::Undecodable, None),
        };
        Death { record, service: "payment", handler, event_id: id, kind, stop, attempts: 1 }
    }

    #[test]
    fn a_letter_tells_the_whole_story_and_keeps_the_original() {
        let (record, stop, id) = (original(), Stop::rejected("no card"), Id::from("e-1"));
        let letter = delivered(
            death(&record, &stop, Some(&id)).letter("payment.dead", limits::DEAD_LETTER_BYTES_MAX),
        );
        assert_eq!(&*letter.topic, "payment.dead");
        let bytes = |name: &str| {
            letter.headers.iter().find(|h| h.name == name).and_then(|h| h.value.clone())
        };
        assert_eq!(bytes("kafka_dlt-original-partition").as_deref(), Some(&[0, 0, 0, 3][..]));
        assert_eq!(
            bytes("kafka_dlt-original-offset").as_deref(),
            Some(&[0, 0, 0, 0, 0, 0, 0, 42][..])
        );
        assert_eq!(letter.header("kafka_dlt-original-timestamp-type"), Some("CreateTime"));
        assert_eq!(letter.header("kafka_dlt-exception-message"), Some("no card"));
        assert_eq!(letter.header("kafka_dlt-old"), None);
        let expected = DeadLetter {
            id: Some(Id::derived(&["e-1", "payment", "charge", "dead"])),
            kind: Some(DeadKind::Rejected),
            cause: "no card".into(),
            attempts: Some(1),
            service: Some("payment".into()),
            handler: Some("charge".into()),
            causation: Some(id),
            topic: "shop.orders".into(),
            partition: 3,
            offset: 42,
            timestamp: Some(1_291_191_960_000),
            exception: Some("tidings.Rejected".into()),
            stacktrace: Some("no card".into()),
            truncated: false,
            key: record.key,
            value: record.value,
            headers: vec![Header::text("ce_id", "e-1")],
        };
        assert_eq!(DeadLetter::from_record(&letter), Some(expected));
    }

    #[test]
    fn a_record_without_id_is_known_by_its_position() {
        let (record, stop) = (original(), Stop::failed("no id"));
        let letter = delivered(
            death(&record, &stop, None).letter("payment.dead", limits::DEAD_LETTER_BYTES_MAX),
        );
        let letter = DeadLetter::from_record(&letter).expect("a letter");
        let position = position_id("shop.orders", 3, 42);
        assert_eq!((letter.causation.as_ref(), letter.handler.as_ref()), (Some(&position), None));
    }

    #[test]
    fn a_letter_of_spring_is_read() {
        let header = |name: &'static str, value: &[u8]| Header {
            name: name.into(),
            value: Some(Bytes::copy_from_slice(value)),
        };
        let record = Record {
            headers: vec![
                header("kafka_dlt-original-topic", b"orders"),
                header("kafka_dlt-original-partition", &7i32.to_be_bytes()),
                header("kafka_dlt-original-offset", &9i64.to_be_bytes()),
                header("kafka_dlt-original-consumer-group", b"billing"),
                header("kafka_dlt-exception-fqcn", b"java.lang.IllegalStateException"),
                header("kafka_dlt-exception-message", b"boom"),
            ],
            ..original()
        };
        let letter = DeadLetter::from_record(&record).expect("a letter");
        assert_eq!((letter.topic.as_str(), letter.partition, letter.offset), ("orders", 7, 9));
        assert_eq!((letter.cause.as_str(), letter.service.as_deref()), ("boom", Some("billing")));
        assert_eq!((letter.kind, letter.attempts), (None, None));
        assert_eq!(DeadLetter::from_record(&original()), None);
    }

    #[test]
    fn what_is_too_large_for_a_letter_is_left_at_its_position() {
        let (stop, id) = (Stop::rejected("é".repeat(limits::CAUSE_BYTES_MAX)), Id::from("e-1"));
        let huge = || Some(Bytes::from(vec![0; limits::DEAD_LETTER_BYTES_MAX]));
        for (record, kept) in [
            (Record { value: huge(), ..original() }, (true, 1)),
            (Record { key: huge(), ..original() }, (false, 0)),
        ] {
            let letter = death(&record, &stop, Some(&id))
                .letter("payment.dead", limits::DEAD_LETTER_BYTES_MAX);
            assert!(record_bytes(&letter) < limits::DEAD_LETTER_BYTES_MAX);
            let letter = DeadLetter::from_record(&delivered(letter)).expect("a letter");
            assert!(letter.truncated);
            assert_eq!((letter.key.is_some(), letter.headers.len()), kept);
            assert_eq!(letter.value, None);
            assert_eq!(letter.cause.len(), limits::CAUSE_BYTES_MAX);
        }
    }
}
