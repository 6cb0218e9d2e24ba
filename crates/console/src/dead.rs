//! Dead letters, counted by cause.
//!
//! A topic holds dead letters by its name: `<service>.dead` as the SDK writes them, `-dlt` and
//! `.DLT` as Spring Kafka does, `-dlq`. The letters may be Spring's, Connect's and Streams' as well. Causes are told apart with their numbers left out, so that "line 3
//! has quantity -1" and "line 9 has quantity -2" are one cause. Bounded by
//! [`DEAD_CAUSES_MAX`](crate::limits::DEAD_CAUSES_MAX) and [`DEAD_KEPT`](crate::limits::DEAD_KEPT).

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use tidings::{DeadKind, DeadLetter};
use tidings_engine::Record;

use super::payload::{Payload, shortened};
use super::quantity::{Count, Moment};
use super::reading::Reading;
use crate::limits::{CAUSE_CHARS_MAX, DEAD_CAUSES_MAX, DEAD_KEPT, LETTER_TEXT_CHARS_MAX};

pub(super) fn is_dead_topic(name: &str) -> bool {
    [".dead", "-dlt", ".DLT", "-dlq"].iter().any(|end| name.ends_with(end))
}

/// A dead letter in a list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DeadLine {
    #[serde(rename = "time_ms")]
    pub(crate) time: Moment,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) r#type: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) attempts: Option<String>,
    pub(crate) cause: String,
    pub(crate) original: Option<Original>,
}

/// Where the letter was before it died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Original {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl DeadLine {
    pub(crate) fn of(reading: &Reading<'_>) -> Self {
        let record = reading.record.as_ref();
        let text = |name| record.header(name).map(|text| shortened(text, CAUSE_CHARS_MAX));
        let (mut original, mut service, mut cause) = (None, None, None);
        if let Some(letter) = DeadLetter::from_record(record) {
            let DeadLetter { topic, partition, offset, .. } = letter;
            original = Some(Original { topic, partition, offset });
            service = letter.service.map(|name| shortened(&name, CAUSE_CHARS_MAX));
            cause = Some(shortened(&letter.cause, CAUSE_CHARS_MAX));
        }
        Self {
            time: Moment(record.timestamp),
            topic: record.topic.to_string(),
            partition: record.partition,
            offset: record.offset,
            key: record.key.as_deref().map(|key| Payload::of(Some(key)).preview()),
            r#type: text("ce_type"),
            service: service.or_else(|| text("tidings-dead-service")),
            kind: text("tidings-dead-kind"),
            attempts: text("tidings-dead-attempts"),
            cause: cause
                .filter(|cause| !cause.is_empty())
                .or_else(|| text("tidings-dead-cause"))
                .unwrap_or_else(|| "no cause was given".to_owned()),
            original,
        }
    }

    /// The type without what precedes its last dot.
    pub(crate) fn short_type(&self) -> &str {
        let name = self.r#type.as_deref().unwrap_or_default();
        name.rsplit('.').next().unwrap_or(name)
    }
}

/// Why a record is a dead letter, on its own page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DeathView {
    pub(crate) cause: String,
    pub(crate) kind: Option<&'static str>,
    /// The name of the error's type.
    pub(crate) exception: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) handler: Option<String>,
    pub(crate) attempts: Option<u32>,
    pub(crate) original: Original,
    /// The value is only at the original position.
    pub(crate) truncated: bool,
}

impl DeathView {
    /// None when the record does not say where it was before.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let letter = DeadLetter::from_record(record)?;
        let text = |text: String| shortened(&text, LETTER_TEXT_CHARS_MAX);
        let DeadLetter { topic, partition, offset, .. } = letter;
        Some(Self {
            cause: text(letter.cause),
            kind: letter.kind.map(DeadKind::as_str),
            exception: letter.exception.map(text),
            service: letter.service.map(text),
            handler: letter.handler.map(text),
            attempts: letter.attempts,
            original: Original { topic, partition, offset },
            truncated: letter.truncated,
        })
    }
}

/// Letters of one topic with one cause.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DeadCause {
    pub(crate) topic: String,
    /// With `#` for numbers.
    pub(crate) cause: String,
    pub(crate) kind: Option<String>,
    pub(crate) count: Count,
    pub(crate) last: DeadLine,
}

/// The fold of all letters read so far.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    causes: HashMap<(String, String), DeadCause>,
    other: i64,
    last: VecDeque<DeadLine>,
}

impl DeadLetters {
    pub(super) fn apply(&mut self, line: DeadLine) {
        let name = (line.topic.clone(), fingerprint(&line.cause));
        if let Some(known) = self.causes.get_mut(&name) {
            known.count.0 += 1;
            known.last = line.clone();
        } else if self.causes.len() < DEAD_CAUSES_MAX {
            let (topic, cause) = name.clone();
            let kind = line.kind.clone();
            let cause = DeadCause { topic, cause, kind, count: Count(1), last: line.clone() };
            self.causes.insert(name, cause);
        } else {
            self.other += 1;
        }
        if self.last.len() >= DEAD_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Forgets a topic that was deleted.
    pub(super) fn forget(&mut self, topic: &str) {
        self.causes.retain(|(of, _), _| of != topic);
        self.last.retain(|line| line.topic != topic);
    }

    /// Causes, most frequent first.
    pub(super) fn causes(&self) -> Vec<DeadCause> {
        let mut causes: Vec<_> = self.causes.values().cloned().collect();
        causes.sort_by(|a, b| (b.count, &a.cause, &a.topic).cmp(&(a.count, &b.cause, &b.topic)));
        causes
    }

    /// Letters that were read.
    pub(super) fn count(&self) -> i64 {
        self.causes.values().map(|cause| cause.count.0).sum::<i64>() + self.other
    }

    /// Letters whose cause is not counted apart.
    pub(super) fn other(&self) -> Count {
        Count(self.other)
    }

    /// The newest letters, newest first.
    pub(super) fn last(&self) -> Vec<DeadLine> {
        let mut last: Vec<_> = self.last.iter().cloned().collect();
        last.sort_by_key(|line| std::cmp::Reverse(line.time));
        last
    }
}

/// The cause with `#` for each number (and for what stands directly beside its digits).
fn fingerprint(cause: &str) -> String {
    let mut out = String::with_capacity(cause.len());
    let mut in_number = false;
    for c in cause.chars() {
        let digit = c.is_ascii_digit();
        let inside = in_number && (c.is_ascii_alphanumeric() || c == '.');
        if digit && !in_number {
            if out.ends_with('-') {
                out.pop();
            }
            out.push('#');
        }
        in_number = digit || inside;
        if !in_number {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_engine::Header;

    use super::*;

    fn letter(topic: &str, offset: i64, cause: &str) -> DeadLine {
        DeadLine::of(&Reading::from(&Record {
            topic: topic.into(),
            partition: 0,
            offset,
            timestamp: offset * 10,
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: vec![Header::text("tidings-dead-cause", cause)],
        }))
    }

    #[test]
    fn numbers_do_not_make_two_causes() {
        for (cause, wanted) in [
            ("line 3 has quantity -12", "line # has quantity #"),
            ("article 85123A: price 0.00", "article #: price #"),
            ("no earlier order", "no earlier order"),
            ("C536379 has nothing to match", "C# has nothing to match"),
            ("at 10:45.", "at #:#"),
        ] {
            assert_eq!(fingerprint(cause), wanted);
        }
    }

    #[test]
    fn letters_are_counted_by_topic_and_cause() {
        let mut dead = DeadLetters::default();
        for (topic, offset, cause) in [
            ("a.dead", 0, "line 1 is bad"),
            ("a.dead", 1, "line 2 is bad"),
            ("a.dead", 2, "refused"),
            ("b.dead", 3, "refused"),
        ] {
            dead.apply(letter(topic, offset, cause));
        }
        let causes = dead.causes();
        let counted: Vec<_> =
            causes.iter().map(|c| (c.topic.as_str(), c.cause.as_str(), c.count.0)).collect();
        let wanted =
            [("a.dead", "line # is bad", 2), ("a.dead", "refused", 1), ("b.dead", "refused", 1)];
        assert_eq!(counted, wanted);
        assert_eq!(causes[0].last.cause, "line 2 is bad");
        assert_eq!(dead.last().iter().map(|l| l.offset).collect::<Vec<_>>(), [3, 2, 1, 0]);
        dead.forget("a.dead");
        assert_eq!(dead.causes().len(), 1);
        assert_eq!(dead.last().len(), 1);
    }

    #[test]
    fn causes_and_letters_are_bounded() {
        let mut dead = DeadLetters::default();
        for i in 0..DEAD_CAUSES_MAX + 5 {
            dead.apply(letter("a.dead", 0, &"x".repeat(i + 1)));
        }
        assert_eq!(dead.causes().len(), DEAD_CAUSES_MAX);
        assert_eq!(dead.other(), Count(5));
        assert_eq!(dead.last().len(), DEAD_KEPT.min(DEAD_CAUSES_MAX + 5));
    }

    #[test]
    fn a_letter_says_where_it_was_whoever_wrote_it() {
        let spring = |name: &str, bytes: &'static [u8]| Header {
            name: format!("kafka_dlt-{name}").into(),
            value: Some(Bytes::from_static(bytes)),
        };
        let text = |name: &'static str, value: &str| Header::text(name, value);
        let of_spring = vec![
            spring("original-topic", b"orders"),
            spring("exception-message", b"boom"),
            spring("original-partition", &[0, 0, 0, 3]),
            spring("original-offset", &[0, 0, 0, 0, 0, 0, 1, 0]),
        ];
        let of_connect = vec![
            text("__connect.errors.topic", "orders"),
            text("__connect.errors.exception.message", "boom"),
            text("__connect.errors.partition", "3"),
            text("__connect.errors.offset", "256"),
        ];
        let of_streams = vec![
            text("__streams.errors.topic", "orders"),
            text("__streams.errors.message", "boom"),
            text("__streams.errors.partition", "3"),
            text("__streams.errors.offset", "256"),
        ];
        for headers in [of_spring, of_connect, of_streams] {
            let mut record = Record {
                topic: "orders-dlt".into(),
                partition: 0,
                offset: 1,
                timestamp: 5,
                key: None,
                value: None,
                headers,
            };
            let line = DeadLine::of(&Reading::from(&record));
            let original = Original { topic: "orders".into(), partition: 3, offset: 256 };
            assert_eq!((line.cause.as_str(), line.original), ("boom", Some(original)));
            record.headers.pop();
            assert_eq!(DeadLine::of(&Reading::from(&record)).original, None);
        }
        for (name, is_one) in [("orders-dlt", true), ("order.dead", true), ("deadline", false)] {
            assert_eq!(is_dead_topic(name), is_one, "{name}");
        }
    }
}
