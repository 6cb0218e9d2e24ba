//! How far the readers of an event are with it: handled, put aside, given up, not there yet, and why.
//!
//! Three things tell: the positions of the groups that read its topic, with what services write beside them; the records that
//! a service keeps of what it has put aside (`<service>.changelog`, of which every key says whose it is, in JSON); and dead letters
//! among what was found. What a group has read and left no trace of is taken for handled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tidings::POSITION_TEXT;
use tidings_engine::{Engine, Error, GroupDescription, ReadLimit, Record};
use tidings_gateway::url_encoded;
use tokio::time::timeout;

use super::super::Shared;
use super::super::payload::shortened;
use super::super::quantity::{Count, Moment};
use super::super::snapshot::{GroupLine, Snapshot};
use super::{Found, Spot};
use crate::limits::{
    CAUSE_CHARS_MAX, DESK_READ_TIMEOUT, TRACE_GROUPS_MAX, TRACE_READ_BYTES, TRACE_SHELF_RECORDS,
};

/// A group that reads an event's topic, and how far it is with the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reader {
    pub(crate) group: String,
    #[serde(flatten)]
    pub(crate) standing: Standing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "standing")]
pub(crate) enum Standing {
    Handled,
    /// It has not got there yet.
    Behind {
        /// Records before it.
        before: Count,
        #[serde(flatten)]
        why: Why,
    },
    /// It failed, or follows one that did, and waits for its next attempt.
    Parked {
        attempts: u32,
        /// When the next one is due; none where it follows another event of its key.
        #[serde(rename = "due_ms")]
        due: Option<Moment>,
    },
    /// Its key has no value of these yet; it is handled when there is one.
    Awaits {
        states: Vec<String>,
    },
    /// It had its last attempt, and waits for a person.
    Dead {
        cause: String,
        #[serde(rename = "since_ms")]
        since: Moment,
        letter: Option<String>,
    },
    /// A letter says that it was given up, and it is kept nowhere: rejected, or redriven or discarded since.
    GivenUp {
        cause: String,
        kind: Option<&'static str>,
        letter: Spot,
    },
    /// What the group keeps could not be read.
    Unknown {
        why: String,
    },
}

/// Why a group has not got there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why", content = "detail")]
pub(crate) enum Why {
    /// It is on its way.
    Busy,
    NoMembers,
    /// It commits nothing.
    Stuck,
    /// It takes a dependency for down.
    Breaker(String),
}

impl Reader {
    /// Whether the event has not come further than this.
    pub(crate) fn stops(&self) -> bool {
        self.standing != Standing::Handled
    }

    pub(crate) fn class(&self) -> &'static str {
        match &self.standing {
            Standing::Handled => "good",
            Standing::Dead { .. } | Standing::GivenUp { .. } => "bad",
            Standing::Behind { why: Why::Busy, .. } => "",
            Standing::Behind { .. }
            | Standing::Parked { .. }
            | Standing::Awaits { .. }
            | Standing::Unknown { .. } => "warn",
        }
    }

    /// In a word or two.
    pub(crate) fn word(&self) -> &'static str {
        match &self.standing {
            Standing::Handled => "handled",
            Standing::Behind { .. } => "not there yet",
            Standing::Parked { .. } => "parked",
            Standing::Awaits { .. } => "waits for an instance",
            Standing::Dead { .. } => "dead",
            Standing::GivenUp { kind: Some("rejected"), .. } => "rejected",
            Standing::GivenUp { .. } => "given up",
            Standing::Unknown { .. } => "not known",
        }
    }

    /// What there is to say beyond that.
    pub(crate) fn detail(&self) -> String {
        match &self.standing {
            Standing::Handled => String::new(),
            Standing::Behind { before, why } => {
                let records = if before.0 == 1 { "record" } else { "records" };
                let why = match why {
                    Why::Busy => String::new(),
                    Why::NoMembers => "; nobody is in the group".to_owned(),
                    Why::Stuck => "; the group is stuck".to_owned(),
                    Why::Breaker(cause) => format!("; breaker open: {cause}"),
                };
                format!("{before} {records} before it{why}")
            }
            Standing::Parked { attempts, due: Some(due) } => {
                let attempts = if *attempts == 1 {
                    "1 attempt".into()
                } else {
                    format!("{attempts} attempts")
                };
                format!("{attempts}, the next at {}", due.clock())
            }
            Standing::Parked { due: None, .. } => "behind another event of its key".to_owned(),
            Standing::Awaits { states } => format!("of {}", states.join(", ")),
            Standing::Dead { cause, .. } => cause.clone(),
            Standing::GivenUp { cause, kind: Some("failed"), .. } => {
                format!("{cause} (redriven or discarded since)")
            }
            Standing::GivenUp { cause, .. } => cause.clone(),
            Standing::Unknown { why } => why.clone(),
        }
    }

    /// Where more is to be seen, and something to be done.
    pub(crate) fn href(&self) -> String {
        let group = url_encoded(&self.group);
        match &self.standing {
            Standing::Dead { letter: Some(letter), .. } => {
                format!("/dead/{group}/keys/{}", url_encoded(letter))
            }
            Standing::Dead { .. } => format!("/dead/{group}"),
            Standing::GivenUp { letter, .. } => {
                let Spot { topic, partition, offset } = letter;
                format!("/topics/{}/{partition}/{offset}", url_encoded(topic))
            }
            Standing::Parked { .. } | Standing::Awaits { .. } => format!("/services/{group}"),
            Standing::Behind { why: Why::Breaker(_), .. } => format!("/services/{group}"),
            Standing::Handled | Standing::Behind { .. } | Standing::Unknown { .. } => {
                format!("/groups/{group}")
            }
        }
    }
}

/// What a service keeps of a record that it has put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shelved {
    Waiting { attempts: u32, due_ms: i64 },
    Dead { cause: String, since_ms: i64, letter: Option<String>, awaits: Vec<String> },
}

impl Shelved {
    fn of(record: &Record) -> Self {
        let text = |name: &str| record.header(&format!("tidings-parked-{name}")).map(str::to_owned);
        let number = |name| text(name).and_then(|text| text.parse::<i64>().ok());
        match number("dead-since") {
            Some(since_ms) => Self::Dead {
                cause: shortened(&text("cause").unwrap_or_default(), CAUSE_CHARS_MAX),
                since_ms,
                letter: text("letter"),
                awaits: texts(record, "tidings-parked-awaits"),
            },
            None => Self::Waiting {
                attempts: u32::try_from(number("attempts").unwrap_or(0)).unwrap_or(0),
                due_ms: number("due").unwrap_or(0),
            },
        }
    }
}

/// The texts of all headers of a name.
fn texts(record: &Record, name: &str) -> Vec<String> {
    let named = record.headers.iter().filter(|header| header.name == name);
    let text = |value: &bytes::Bytes| String::from_utf8_lossy(value).into_owned();
    named.filter_map(|header| header.value.as_ref().map(text)).collect()
}

/// What is known of one event and one reader.
#[derive(Clone, Debug, Default)]
struct Facts<'f> {
    offset: i64,
    /// Where the reader goes on, and what it says beside that.
    committed: Option<i64>,
    text: Option<&'f str>,
    /// An effect of it was found.
    has_effects: bool,
    shelved: Option<&'f Shelved>,
    letter: Option<&'f Found>,
    has_members: bool,
    is_stuck: bool,
    breaker: Option<&'f str>,
}

/// How far a reader is with an event.
fn decide(facts: &Facts) -> Standing {
    match facts.shelved {
        Some(Shelved::Waiting { attempts, due_ms }) => {
            let due = (*due_ms > 0).then_some(Moment(*due_ms));
            return Standing::Parked { attempts: *attempts, due };
        }
        Some(Shelved::Dead { awaits, .. }) if !awaits.is_empty() => {
            return Standing::Awaits { states: awaits.clone() };
        }
        Some(Shelved::Dead { cause, since_ms, letter, .. }) => {
            let (cause, letter) = (cause.clone(), letter.clone());
            return Standing::Dead { cause, since: Moment(*since_ms), letter };
        }
        None => {}
    }
    if let Some((letter, death)) = facts.letter.and_then(|one| Some((one, one.death.as_ref()?)))
        && !(facts.has_effects && death.kind == Some("failed"))
    {
        let cause = shortened(&death.cause, CAUSE_CHARS_MAX);
        return Standing::GivenUp { cause, kind: death.kind, letter: letter.spot() };
    }
    let committed = facts.committed.unwrap_or(0);
    if facts.has_effects || facts.offset < committed || is_done(committed, facts) {
        return Standing::Handled;
    }
    let why = match (facts.breaker, facts.has_members) {
        (Some(cause), _) => Why::Breaker(cause.to_owned()),
        (None, false) => Why::NoMembers,
        (None, true) if facts.is_stuck => Why::Stuck,
        (None, true) => Why::Busy,
    };
    Standing::Behind { before: Count(facts.offset - committed), why }
}

/// Whether a service says that a record behind its position is done: `done1;<length>;<open>,…`, hexadecimal; what is open is counted
/// from the one before it, the first from the position.
fn is_done(committed: i64, facts: &Facts) -> bool {
    let read = || -> Option<bool> {
        let text = facts.text?.strip_prefix(POSITION_TEXT)?;
        let (length, open) = text.split_once(';')?;
        let end = committed.checked_add(i64::from_str_radix(length, 16).ok()?)?;
        let (mut at, mut is_open) = (committed, false);
        for step in open.split(',').filter(|step| !step.is_empty()) {
            at = at.checked_add(i64::from_str_radix(step, 16).ok()?)?;
            is_open |= at == facts.offset;
        }
        Some(facts.offset < end && !is_open)
    };
    facts.offset >= committed && read().unwrap_or(false)
}

/// Readers of each of these events, in their order.
pub(super) async fn readers(
    shared: &Shared,
    snapshot: &Snapshot,
    events: &[&Found],
    letters: &[&Found],
) -> Result<Vec<Vec<Reader>>, Error> {
    let topics: BTreeSet<&str> = events.iter().map(|event| event.line.topic.as_str()).collect();
    let reads = |group: &&GroupLine| group.topics.iter().any(|name| topics.contains(name.as_str()));
    let mut readers = vec![Vec::new(); events.len()];
    for line in snapshot.groups.iter().filter(reads).take(TRACE_GROUPS_MAX) {
        let group = shared.engine.group(&line.name).await?;
        let places: BTreeSet<Spot> = events.iter().map(|event| event.spot()).collect();
        let shelf = shelf(shared, snapshot, &line.name, &places).await;
        for (event, readers) in events.iter().zip(&mut readers) {
            if !is_for(snapshot, line, event) {
                continue;
            }
            let standing = match &shelf {
                Err(why) => Standing::Unknown { why: why.clone() },
                Ok(shelf) => {
                    let letter = letters.iter().find(|letter| is_of(letter, event, &line.name));
                    let mut facts = facts_of(snapshot, line, &group, event);
                    facts.shelved = shelf.get(&event.spot());
                    facts.letter = letter.copied();
                    facts.has_effects = events.iter().any(|effect| {
                        effect.causation.is_some()
                            && effect.causation == event.line.id
                            && effect.line.source.as_deref() == Some(line.name.as_str())
                    });
                    decide(&facts)
                }
            };
            readers.push(Reader { group: line.name.clone(), standing });
        }
    }
    Ok(readers)
}

/// Whether a group has to do with an event: it reads the topic, and, where its service says what it handles, that type.
fn is_for(snapshot: &Snapshot, group: &GroupLine, event: &Found) -> bool {
    if !group.topics.contains(&event.line.topic) {
        return false;
    }
    let mut reports =
        snapshot.services.iter().filter(|of| of.report.service == group.name).peekable();
    let Some(its_type) = event.line.r#type.as_deref().filter(|_| reports.peek().is_some()) else {
        return true;
    };
    let mut handlers = reports.flat_map(|of| &of.report.handlers);
    handlers.any(|handler| handler.topic == event.line.topic && handler.event == its_type)
}

/// Whether a letter tells of the death of this event in this service.
fn is_of(letter: &Found, event: &Found, service: &str) -> bool {
    let Some(death) = &letter.death else { return false };
    let was = &death.original;
    let EventPlace { topic, partition, offset } = EventPlace::of(event);
    death.service.as_deref().is_none_or(|name| name == service)
        && (was.topic == topic && was.partition == partition && was.offset == offset)
}

/// Where an event is, borrowed.
struct EventPlace<'e> {
    topic: &'e str,
    partition: i32,
    offset: i64,
}

impl<'e> EventPlace<'e> {
    fn of(event: &'e Found) -> Self {
        let line = &event.line;
        Self { topic: &line.topic, partition: line.partition, offset: line.offset }
    }
}

fn facts_of<'f>(
    snapshot: &'f Snapshot,
    line: &GroupLine,
    group: &'f GroupDescription,
    event: &Found,
) -> Facts<'f> {
    let EventPlace { topic, partition, offset } = EventPlace::of(event);
    let mut offsets = group.offsets.iter();
    let position = offsets.find(|at| at.topic == topic && at.partition == partition);
    let mut reports = snapshot.services.iter().filter(|of| of.report.service == line.name);
    Facts {
        offset,
        committed: position.and_then(|at| at.committed),
        text: position.and_then(|at| at.metadata.as_deref()),
        has_members: !group.members.is_empty(),
        is_stuck: line.stuck,
        breaker: reports.find_map(|of| Some(of.report.outage.as_ref()?.cause.as_str())),
        ..Facts::default()
    }
}

/// What a service keeps of these places; nothing where it keeps nothing. Or why it cannot be read.
async fn shelf(
    shared: &Shared,
    snapshot: &Snapshot,
    service: &str,
    places: &BTreeSet<Spot>,
) -> Result<BTreeMap<Spot, Shelved>, String> {
    let changelog = format!("{service}.changelog");
    if !snapshot.topics.iter().any(|topic| topic.name == changelog) {
        return Ok(BTreeMap::new());
    }
    let read = async {
        // The semaphore is never closed.
        let _turn = shared.desk_reads.acquire().await;
        let mut shelf = BTreeMap::new();
        let partitions: BTreeSet<i32> = places.iter().map(|spot| spot.partition).collect();
        let topic = shared.engine.topic(&changelog).await?;
        for partition in topic.partitions.iter().filter(|p| partitions.contains(&p.id)) {
            let at = (changelog.as_str(), partition.id);
            read_shelf(&shared.engine, at, partition.start_offset, places, &mut shelf).await?;
        }
        Ok::<_, Error>(shelf)
    };
    match timeout(DESK_READ_TIMEOUT, read).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("reading {changelog} took longer than {DESK_READ_TIMEOUT:?}")),
    }
}

async fn read_shelf(
    engine: &Engine,
    (topic, partition): (&str, i32),
    start: i64,
    places: &BTreeSet<Spot>,
    shelf: &mut BTreeMap<Spot, Shelved>,
) -> Result<(), Error> {
    let (mut next, mut room) = (start, TRACE_SHELF_RECORDS);
    while room > 0 {
        let limit = ReadLimit { records: room, bytes: TRACE_READ_BYTES, wait: Duration::ZERO };
        let read = match engine.read(topic, partition, next, limit).await {
            Ok(read) => read,
            Err(Error::OffsetOutOfRange { first, .. }) if first > next => {
                next = first;
                continue;
            }
            Err(Error::UnknownTopic(_) | Error::OffsetOutOfRange { .. }) => break,
            Err(error) => return Err(error),
        };
        for record in &read.records {
            let Some(spot) = parked_at(record).filter(|spot| places.contains(spot)) else {
                continue;
            };
            match record.value {
                Some(_) => _ = shelf.insert(spot, Shelved::of(record)),
                None => _ = shelf.remove(&spot),
            }
        }
        if read.next <= next {
            break;
        }
        room = room.saturating_sub(read.records.len());
        next = read.next;
    }
    Ok(())
}

/// Where the record is that an entry of a changelog is about: its key is `["orders",3,"parked",17]`.
fn parked_at(record: &Record) -> Option<Spot> {
    let key = record.key.as_deref()?;
    let (topic, partition, kind, offset): (String, i32, String, i64) =
        serde_json::from_slice(key).ok()?;
    (kind == "parked").then_some(Spot { topic, partition, offset })
}

#[cfg(test)]
mod tests {
    use tidings_engine::Header;

    use super::*;
    use crate::reading::Reading;

    #[test]
    fn how_far_a_reader_is_follows_from_what_is_known() {
        let waiting = Shelved::Waiting { attempts: 2, due_ms: 77 };
        let follower = Shelved::Waiting { attempts: 0, due_ms: 0 };
        let dead = |awaits: &[&str]| Shelved::Dead {
            cause: "no card".into(),
            since_ms: 5,
            letter: Some("l-1".into()),
            awaits: awaits.iter().map(|state| (*state).to_owned()).collect(),
        };
        let (buried, awaiting) = (dead(&[]), dead(&["account", "card"]));
        let at = |committed: i64| Facts {
            offset: 10,
            committed: Some(committed),
            has_members: true,
            ..Facts::default()
        };
        let behind = |before, why| Standing::Behind { before: Count(before), why };
        for (facts, wanted) in [
            (at(11), Standing::Handled),
            (at(10), behind(0, Why::Busy)),
            (at(3), behind(7, Why::Busy)),
            (Facts { committed: None, ..at(0) }, behind(10, Why::Busy)),
            (Facts { has_members: false, ..at(3) }, behind(7, Why::NoMembers)),
            (Facts { is_stuck: true, ..at(3) }, behind(7, Why::Stuck)),
            (
                Facts { breaker: Some("closed"), has_members: false, ..at(3) },
                behind(7, Why::Breaker("closed".into())),
            ),
            // Done, though the position is before it.
            (Facts { text: Some("done1;b;0,5"), ..at(3) }, Standing::Handled),
            (Facts { text: Some("done1;b;0,7"), ..at(3) }, behind(7, Why::Busy)),
            (Facts { text: Some("done1;7;0"), ..at(3) }, behind(7, Why::Busy)),
            (Facts { text: Some("hello"), ..at(3) }, behind(7, Why::Busy)),
            (Facts { has_effects: true, ..at(3) }, Standing::Handled),
            // What is put aside is, whatever else is done.
            (
                Facts { shelved: Some(&waiting), has_effects: true, ..at(11) },
                Standing::Parked { attempts: 2, due: Some(Moment(77)) },
            ),
            (
                Facts { shelved: Some(&follower), ..at(11) },
                Standing::Parked { attempts: 0, due: None },
            ),
            (
                Facts { shelved: Some(&buried), ..at(11) },
                Standing::Dead {
                    cause: "no card".into(),
                    since: Moment(5),
                    letter: Some("l-1".into()),
                },
            ),
            (
                Facts { shelved: Some(&awaiting), ..at(11) },
                Standing::Awaits { states: vec!["account".into(), "card".into()] },
            ),
        ] {
            assert_eq!(decide(&facts), wanted, "{facts:?}");
        }
    }

    #[test]
    fn a_letter_without_a_shelf_is_the_end_unless_it_went_on() {
        let letter = |kind: &str| {
            let headers = [
                ("ce_id", "e-1"),
                ("tidings-dead-kind", kind),
                ("tidings-dead-cause", "no stock"),
                ("tidings-dead-service", "inventory"),
                ("__connect.errors.topic", "orders"),
                ("__connect.errors.partition", "3"),
                ("__connect.errors.offset", "17"),
            ];
            Found::of(&Reading::from(&Record {
                topic: "inventory.dead".into(),
                partition: 0,
                offset: 1,
                timestamp: 5,
                key: None,
                value: None,
                headers: headers.map(|(name, text)| Header::text(name, text)).to_vec(),
            }))
        };
        for (kind, has_effects, word) in [
            ("rejected", false, "rejected"),
            ("failed", false, "given up"),
            ("failed", true, "handled"),
            // Another handler of the service may have made effects.
            ("rejected", true, "rejected"),
        ] {
            let letter = letter(kind);
            let facts = Facts {
                offset: 17,
                committed: Some(20),
                has_effects,
                letter: Some(&letter),
                ..Facts::default()
            };
            let reader = Reader { group: "inventory".into(), standing: decide(&facts) };
            assert_eq!(reader.word(), word, "{kind}");
        }
        let mut event = super::super::life::tests::event(17, "e-1", "c", "");
        (event.line.topic, event.line.partition) = ("orders".into(), 3);
        assert!(is_of(&letter("failed"), &event, "inventory"));
        assert!(!is_of(&letter("failed"), &event, "payment"));
        event.line.offset = 18;
        assert!(!is_of(&letter("failed"), &event, "inventory"));
    }

    #[test]
    fn the_keys_of_a_changelog_say_whose_they_are() {
        let record = |key: &str| Record {
            topic: "pay.changelog".into(),
            partition: 3,
            offset: 0,
            timestamp: 0,
            key: Some(key.to_owned().into()),
            value: None,
            headers: Vec::new(),
        };
        for (key, wanted) in [
            (r#"["orders",3,"parked",17]"#, Some("orders/3/17")),
            (r#"["orders",3,"recent",5]"#, None),
            (r#"["orders",3,"control"]"#, None),
            ("{}", None),
        ] {
            let spot = parked_at(&record(key)).map(|spot| spot.to_string());
            assert_eq!(spot.as_deref(), wanted, "{key}");
        }
    }
}
