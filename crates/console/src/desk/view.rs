//! What the desk shows, for pages and their twins alike.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tidings::{Act, Audited, DeadCause, DeadKey, DeadLetter, Selection};
use tidings_engine::Record;

use super::super::dead::Original;
use super::super::event::RecordView;
use super::super::payload::{Payload, shortened};
use super::super::quantity::{Count, Moment};
use super::super::reading::Reader;
use super::place_of;
use crate::limits::{
    CAUSE_CHARS_MAX, DESK_CAUSES, DESK_COMMANDS, DESK_KEYS, EDIT_SHOWN_CHARS, LETTER_TEXT_CHARS_MAX,
};

/// A service in the list of those that have ever given a key up.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServiceLine {
    pub(crate) service: String,
    /// None when it was not read.
    #[serde(flatten)]
    pub(crate) totals: Option<Totals>,
    /// The most frequent cause.
    pub(crate) most: Option<String>,
    /// Why what it has put aside is not known just now.
    pub(crate) unread: Option<String>,
}

/// What some dead keys amount to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Totals {
    pub(crate) keys: Count,
    /// Their first events, and what waits behind them.
    pub(crate) events: Count,
    pub(crate) causes: Count,
    #[serde(rename = "oldest_ms")]
    pub(crate) oldest: Option<Moment>,
}

impl Totals {
    fn of(causes: &[DeadCause]) -> Self {
        Self {
            keys: Count::of(causes.iter().map(|cause| cause.keys).sum()),
            events: Count::of(causes.iter().map(|cause| cause.events).sum()),
            causes: Count::of(causes.len()),
            oldest: causes.iter().map(|cause| cause.oldest_ms).min().map(Moment),
        }
    }
}

impl ServiceLine {
    pub(super) fn of(service: String, keys: &[DeadKey]) -> Self {
        let causes = DeadCause::of(keys);
        let most = causes.first().map(|most| shortened(&most.cause, CAUSE_CHARS_MAX));
        Self { service, totals: Some(Totals::of(&causes)), most, unread: None }
    }

    pub(super) fn unread(service: String, why: String) -> Self {
        Self { service, totals: None, most: None, unread: Some(why) }
    }
}

/// What one service has put aside, by cause.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServiceView {
    pub(crate) service: String,
    #[serde(flatten)]
    pub(crate) totals: Totals,
    /// Most keys first.
    pub(crate) cause_list: Vec<CauseLine>,
    /// Keys with causes beyond those.
    pub(crate) other_keys: Count,
}

/// Keys that share a cause; the text is whole, as it says which keys a command is for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CauseLine {
    pub(crate) cause: String,
    pub(crate) keys: Count,
    pub(crate) events: Count,
    #[serde(rename = "oldest_ms")]
    pub(crate) oldest: Moment,
    #[serde(rename = "newest_ms")]
    pub(crate) newest: Moment,
}

impl ServiceView {
    pub(super) fn of(service: String, keys: &[DeadKey]) -> Self {
        let causes = DeadCause::of(keys);
        let totals = Totals::of(&causes);
        let others = causes.iter().skip(DESK_CAUSES).map(|cause| cause.keys);
        let other_keys = Count::of(others.sum());
        let lines = causes.into_iter().take(DESK_CAUSES).map(|one| CauseLine {
            cause: one.cause,
            keys: Count::of(one.keys),
            events: Count::of(one.events),
            oldest: Moment(one.oldest_ms),
            newest: Moment(one.newest_ms),
        });
        Self { service, totals, cause_list: lines.collect(), other_keys }
    }
}

/// A page of dead keys, the longest dead first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeysView {
    pub(crate) service: String,
    /// Only keys that died of this.
    pub(crate) cause: Option<String>,
    /// With that cause, or in all.
    pub(crate) total: Count,
    pub(crate) keys: Vec<KeyLine>,
    /// The `after` of the next page.
    pub(crate) next: Option<String>,
    /// The key that is shown in full.
    pub(crate) open: Option<Box<KeyView>>,
}

/// A dead key in a list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeyLine {
    /// The id of its letter, by which commands know it.
    pub(crate) letter: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) r#type: Option<String>,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) cause: String,
    #[serde(rename = "since_ms")]
    pub(crate) since: Moment,
    pub(crate) attempts: u32,
    pub(crate) redrives: u32,
    /// Events of the key that wait behind it.
    pub(crate) followers: Count,
    /// The states that it awaits a value of; then its key is not held up, and it is tried when there is one.
    pub(crate) awaits: Vec<String>,
}

impl KeyLine {
    pub(super) fn of(key: &DeadKey, reader: &Reader) -> Self {
        let record = record_of(key);
        let its_type = record.header("ce_type").map(|text| shortened(text, CAUSE_CHARS_MAX));
        Self {
            letter: key.letters.first().map(ToString::to_string),
            key: (reader.read(&record).record.key.as_deref())
                .map(|bytes| Payload::of(Some(bytes)).preview()),
            r#type: its_type,
            topic: key.topic.clone(),
            partition: key.partition,
            offset: key.offset,
            cause: shortened(&key.cause, CAUSE_CHARS_MAX),
            since: Moment(key.since_ms),
            attempts: key.attempts,
            redrives: key.redrives,
            followers: Count::of(key.followers),
            awaits: key.awaits.clone(),
        }
    }

    /// The type without what precedes its last dot.
    pub(crate) fn short_type(&self) -> &str {
        let name = self.r#type.as_deref().unwrap_or("record");
        name.rsplit('.').next().unwrap_or(name)
    }
}

/// The event that died, as it was in its topic.
fn record_of(key: &DeadKey) -> Record {
    Record {
        topic: key.topic.as_str().into(),
        partition: key.partition,
        offset: key.offset,
        timestamp: key.timestamp,
        key: key.key.clone(),
        value: key.value.clone(),
        headers: key.headers.clone(),
    }
}

/// A page of keys behind a cursor; none when the cursor is not one of ours.
pub(super) fn page<'k>(
    keys: &[&'k DeadKey],
    after: Option<&str>,
) -> Option<(Vec<&'k DeadKey>, Option<String>)> {
    let first = match after {
        None => 0,
        Some(said) => {
            let after = parse_cursor(said)?;
            keys.partition_point(|key| place_of(key) <= after)
        }
    };
    let page: Vec<_> = keys.iter().skip(first).take(DESK_KEYS).copied().collect();
    let more = keys.len() > first + page.len();
    let next = page.last().filter(|_| more).map(|key| {
        let (since_ms, partition, offset, topic) = place_of(key);
        format!("{since_ms}:{partition}:{offset}:{topic}")
    });
    Some((page, next))
}

fn parse_cursor(said: &str) -> Option<(i64, i32, i64, &str)> {
    let mut parts = said.splitn(4, ':');
    let (since_ms, partition) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((since_ms, partition, parts.next()?.parse().ok()?, parts.next()?))
}

/// A dead key with everything that is known of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeyView {
    pub(crate) service: String,
    #[serde(flatten)]
    pub(crate) line: KeyLine,
    /// Whole, with what it was caused by.
    pub(crate) whole_cause: String,
    pub(crate) letters: Vec<String>,
    /// The event.
    pub(crate) record: RecordView,
    /// The value as it is, not cut.
    pub(crate) value: WholeValue,
    /// What its letter says beside that; none when the letter was not found.
    pub(crate) death: Option<Death>,
}

/// What a dead letter says of the death.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Death {
    pub(crate) kind: Option<&'static str>,
    pub(crate) handler: Option<String>,
    pub(crate) exception: Option<String>,
    /// The chain of causes.
    pub(crate) stack: Option<String>,
    /// Where the letter is.
    pub(crate) letter_at: Original,
}

impl Death {
    pub(super) fn of(letter: DeadLetter, at: &Record) -> Self {
        let text = |text: String| text.chars().take(LETTER_TEXT_CHARS_MAX).collect::<String>();
        Self {
            kind: letter.kind.map(tidings::DeadKind::as_str),
            handler: letter.handler.map(text),
            exception: letter.exception.map(text),
            stack: letter.stacktrace.map(text),
            letter_at: Original {
                topic: at.topic.to_string(),
                partition: at.partition,
                offset: at.offset,
            },
        }
    }

    /// The chain, where it says more than the cause.
    pub(crate) fn more(&self, cause: &str) -> Option<&str> {
        self.stack.as_deref().filter(|stack| *stack != cause)
    }
}

impl KeyView {
    pub(super) fn of(service: &str, key: &DeadKey, death: Option<Death>, reader: &Reader) -> Self {
        Self {
            service: service.to_owned(),
            line: KeyLine::of(key, reader),
            whole_cause: key.cause.clone(),
            letters: key.letters.iter().map(ToString::to_string).collect(),
            record: RecordView::of(&record_of(key), reader, None),
            value: WholeValue::of(key.value.as_deref()),
            death,
        }
    }
}

/// All bytes of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "form", content = "text")]
pub(crate) enum WholeValue {
    Null,
    /// As written, not reformatted.
    Json(String),
    Text(String),
    Base64(String),
}

impl WholeValue {
    pub(super) fn of(bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else { return Self::Null };
        match std::str::from_utf8(bytes) {
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
            Ok(text) if is_json(text) => Self::Json(text.to_owned()),
            Ok(text) => Self::Text(text.to_owned()),
        }
    }

    /// What a person may change; none for bytes that are no text.
    pub(crate) fn editable(&self) -> Option<&str> {
        match self {
            Self::Null => Some(""),
            Self::Json(text) | Self::Text(text) => Some(text),
            Self::Base64(_) => None,
        }
    }
}

pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Commands that were given, the last one first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AuditView {
    pub(crate) service: String,
    pub(crate) commands: Vec<CommandLine>,
    /// The `before` of the next, older page.
    pub(crate) older: Option<usize>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct CommandLine {
    pub(crate) id: String,
    pub(crate) by: String,
    #[serde(rename = "at_ms")]
    pub(crate) at: Moment,
    pub(crate) of: Selection,
    pub(crate) act: Act,
    #[serde(rename = "cut_off_ms")]
    pub(crate) cut_off: Option<Moment>,
    pub(crate) reason: Option<String>,
    pub(crate) done: u64,
    pub(crate) left: u64,
}

impl AuditView {
    /// Those before the one of this number, counted from the first that was ever given.
    pub(super) fn of(service: String, audit: Vec<Audited>, before: Option<usize>) -> Self {
        let end = before.unwrap_or(audit.len()).min(audit.len());
        let first = end.saturating_sub(DESK_COMMANDS);
        let page = audit.into_iter().take(end).skip(first);
        let mut commands: Vec<_> = page.map(CommandLine::of).collect();
        commands.reverse();
        Self { service, commands, older: (first > 0).then_some(first) }
    }
}

impl CommandLine {
    fn of(audited: Audited) -> Self {
        let Audited { id, by, at_ms, of, act, dead_by_ms, reason, done, left } = audited;
        let (at, cut_off) = (Moment(at_ms), dead_by_ms.map(Moment));
        let act = match act {
            Act::Edit { value } => Act::Edit { value: shortened(&value, EDIT_SHOWN_CHARS) },
            other => other,
        };
        Self { id: id.to_string(), by, at, of, act, cut_off, reason, done, left }
    }

    pub(crate) fn what(&self) -> String {
        match &self.act {
            Act::Redrive { per_second, force } => {
                let rate = per_second.map(|rate| format!(", {rate} a second")).unwrap_or_default();
                format!("redrive{rate}{}", if *force { ", forced" } else { "" })
            }
            Act::Edit { .. } => "edit".to_owned(),
            Act::Discard => "discard".to_owned(),
            _ => "?".to_owned(),
        }
    }

    pub(crate) fn of_what(&self) -> String {
        match &self.of {
            Selection::Letter(id) => format!("letter {id}"),
            Selection::Cause(cause) => format!("cause {}", shortened(cause, CAUSE_CHARS_MAX)),
            Selection::All => "all dead keys".to_owned(),
            _ => "?".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(since_ms: i64) -> DeadKey {
        DeadKey {
            topic: "orders".into(),
            partition: 0,
            offset: since_ms,
            timestamp: 0,
            key: None,
            value: None,
            headers: Vec::new(),
            letters: Vec::new(),
            cause: "no card".into(),
            since_ms,
            attempts: 3,
            redrives: 0,
            followers: 0,
            awaits: Vec::new(),
        }
    }

    #[test]
    fn pages_of_keys_follow_each_other_without_gap_or_overlap() {
        let count = DESK_KEYS * 2 + 7;
        let keys: Vec<DeadKey> = (0..count).map(|n| key(n as i64 / 2)).collect();
        let keys: Vec<DeadKey> =
            keys.into_iter().zip(0..).map(|(key, offset)| DeadKey { offset, ..key }).collect();
        let all: Vec<&DeadKey> = keys.iter().collect();
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let (page, next) = page(&all, after.as_deref()).expect("a cursor of ours");
            seen.extend(page.iter().map(|key| key.offset));
            pages += 1;
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(pages, 3);
        assert_eq!(seen, (0..count as i64).collect::<Vec<_>>());
        for foreign in ["", "x", "1:2:3", "1:b:3:orders"] {
            assert!(page(&all, Some(foreign)).is_none(), "{foreign:?}");
        }
    }

    fn audited(number: usize, act: Act) -> Audited {
        Audited {
            id: number.to_string().into(),
            by: "ann".into(),
            at_ms: 0,
            of: Selection::All,
            act,
            dead_by_ms: None,
            reason: None,
            done: 0,
            left: 0,
        }
    }

    #[test]
    fn the_audit_is_paged_the_last_command_first_and_bounded() {
        let count = DESK_COMMANDS + 3;
        let all: Vec<_> = (0..count).map(|number| audited(number, Act::Discard)).collect();
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = AuditView::of("payment".into(), all.clone(), before);
            seen.extend(page.commands.iter().map(|command| command.id.clone()));
            match page.older {
                Some(older) => before = Some(older),
                None => break,
            }
        }
        let wanted: Vec<_> = (0..count).rev().map(|number| number.to_string()).collect();
        assert_eq!(seen, wanted);
        let edit = audited(0, Act::Edit { value: "x".repeat(EDIT_SHOWN_CHARS * 2) });
        let page = AuditView::of("payment".into(), vec![edit], Some(99));
        let Act::Edit { value } = &page.commands[0].act else { panic!("{page:?}") };
        assert_eq!(value.chars().count(), EDIT_SHOWN_CHARS + 1, "with an ellipsis");
    }

    #[test]
    fn a_value_is_shown_whole_in_the_form_it_has() {
        for (bytes, wanted) in [
            (None, WholeValue::Null),
            (Some(&b"{\"a\": 1}"[..]), WholeValue::Json("{\"a\": 1}".into())),
            (Some(b"plain"), WholeValue::Text("plain".into())),
            (Some(&[0xff, 0x00]), WholeValue::Base64("/wA=".into())),
        ] {
            assert_eq!(WholeValue::of(bytes), wanted);
        }
    }
}
