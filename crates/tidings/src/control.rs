//! Commands about what is dead, as records of a service's control topic, and what became of them.
//!
//! A command is appended once, by whoever gives it; every task of the service reads it, applies it to what it
//! has, and writes how much that was, in one transaction with the effects and with its position in the control
//! topic. So a command is carried out once, whoever sends it and whatever crashes, and the topic, which
//! keeps everything, is the audit: who, when, what, and what became of it.
//!
//! Records are JSON; one partition, so commands have an order. Keys are the command's id.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_engine::{Engine, Error, NewTopic, Record, SentRecord, TopicPartition};

use crate::{
    Id, limits,
    task::{Dead, Input, Task},
    topics::{create_topic, find_topic},
};

/// The suffix of a service's control topic.
const SUFFIX: &str = ".control";

pub(crate) fn control_topic(service: &str) -> String {
    format!("{service}{SUFFIX}")
}

/// Makes it unless it is there: one partition, and it keeps everything.
pub(crate) async fn make_control_topic(engine: &Engine, topic: &str) -> Result<(), Error> {
    if find_topic(engine, topic).await?.is_some() {
        return Ok(());
    }
    create_topic(engine, NewTopic { partitions: Some(1), ..NewTopic::kept(topic) }).await?;
    engine.can_append(topic).await
}

/// Which dead keys are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Selection {
    /// The one whose dead letter has this id.
    Letter(Id),
    /// Those that died of this cause, word for word.
    Cause(String),
    /// All of them.
    All,
}

impl Selection {
    /// Whether it means a dead key with these letters and this cause.
    pub(crate) fn means(&self, letters: &[Id], its_cause: &str) -> bool {
        match self {
            Self::Letter(id) => letters.contains(id),
            Self::Cause(cause) => cause == its_cause,
            Self::All => true,
        }
    }
}

/// What to do with a dead key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Act {
    /// Its first event is handled again, with all its attempts, and then what follows it.
    Redrive {
        /// So many keys a second, in each partition; all at once when not said.
        per_second: Option<u32>,
        /// Also those that were redriven [`limits::REDRIVES_MAX`] times before, and those that await a value of their
        /// key.
        force: bool,
    },
    /// As [`Act::Redrive`], with another value.
    Edit {
        /// What the event says instead; its `ce_checksum` is taken off.
        value: String,
    },
    /// Its first event is given up for good; what follows it is handled.
    Discard,
}

impl Act {
    /// Whether it leaves a key alone that was redriven so often, or that awaits values of these states, and would find
    /// none again.
    pub(crate) fn spares(&self, redrives: u32, awaits: &[String]) -> bool {
        match self {
            Self::Redrive { force: false, .. } => {
                redrives >= limits::REDRIVES_MAX || !awaits.is_empty()
            }
            Self::Edit { .. } => !awaits.is_empty(),
            Self::Redrive { force: true, .. } | Self::Discard => false,
        }
    }
}

/// A command as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) id: Id,
    pub(crate) by: String,
    /// When it was given, in milliseconds since the epoch.
    pub(crate) at_ms: i64,
    pub(crate) of: Selection,
    pub(crate) act: Act,
    /// Only what was dead by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead_by_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What a task did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carried {
    pub(crate) command: Id,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Keys that were redriven or discarded.
    pub(crate) done: u64,
    /// Keys that were left alone: redriven too often, awaiting a value, or edited to more than the changelog takes.
    pub(crate) left: u64,
}

/// A record of the control topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    Command(Command),
    Carried(Carried),
}

impl Entry {
    pub(crate) fn into_record(self, service: &str) -> SentRecord {
        let id = match &self {
            Self::Command(command) => &command.id,
            Self::Carried(carried) => &carried.command,
        };
        let key = Some(id.to_string().into());
        let value = serde_json::to_vec(&self).expect("plain data is JSON");
        let topic = control_topic(service);
        let (partition, value) = (Some(0), Some(value.into()));
        SentRecord { topic, partition, key, value, ..SentRecord::default() }
    }

    /// None for what nobody of Tidings wrote.
    pub(crate) fn from_record(record: &Record) -> Option<Self> {
        serde_json::from_slice(record.value.as_deref()?).ok()
    }
}

impl Command {
    /// Carries it out in one task, which has read the control topic up to `next`; none when it says nothing
    /// to that task, or has been carried out before. What died later is not meant, whatever clocks say. The
    /// changelog takes records of so many bytes; `inputs` are what the service's handlers have of a record.
    pub(crate) fn carry_out(
        &self,
        task: &mut Task,
        (next, now_ms): (i64, i64),
        bytes_max: usize,
        inputs: &dyn Fn(&Record) -> Vec<Input>,
    ) -> Option<Carried> {
        if task.control() >= next {
            return None;
        }
        let is_meant = |dead: &Dead| {
            dead.control < next
                && self.dead_by_ms.is_none_or(|by_ms| dead.since_ms <= by_ms)
                && self.of.means(&dead.letters, &dead.cause)
        };
        let dead = task.shelf().dead().filter(|(_, dead)| is_meant(dead));
        let mut meant: Vec<i64> = dead.map(|(offset, _)| offset).collect();
        meant.sort_unstable();
        if meant.is_empty() {
            return None;
        }
        let TopicPartition { topic, partition } = task.at().clone();
        let mut carried = Carried { command: self.id.clone(), topic, partition, done: 0, left: 0 };
        for offset in meant {
            let Some(parked) = task.shelf().get(offset) else { continue };
            let was_done = match &self.act {
                Act::Discard => task.discard(offset, inputs),
                Act::Edit { value } if value.len() + limits::CHANGELOG_ROOM_BYTES > bytes_max => {
                    false
                }
                act if act.spares(parked.redrives, parked.awaits()) => false,
                Act::Edit { value } => task.redrive(offset, now_ms, |record| {
                    record.value = Some(value.clone().into());
                    record.headers.retain(|header| header.name != crate::envelope::CHECKSUM);
                }),
                Act::Redrive { per_second, .. } => {
                    let due_ms = spread(now_ms, carried.done, *per_second);
                    task.redrive(offset, due_ms, |_| {})
                }
            };
            carried.done += u64::from(was_done);
            carried.left += u64::from(!was_done);
        }
        task.set_control(next);
        Some(carried)
    }
}

/// When the key of that number is due.
fn spread(now_ms: i64, number: u64, per_second: Option<u32>) -> i64 {
    let Some(per_second) = per_second.filter(|rate| *rate > 0) else { return now_ms };
    let after = Duration::from_secs(number) / per_second;
    let after = after.min(limits::REDRIVE_SPREAD_MAX);
    now_ms.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Ended;

    fn task(causes: &[&str]) -> Task {
        let at = TopicPartition { topic: "orders".into(), partition: 0 };
        let mut task = Task::new(at, "payment.changelog", (0, None));
        for (offset, cause) in (0..).zip(causes) {
            task.deliver(Record {
                topic: "orders".into(),
                partition: 0,
                offset,
                timestamp: 0,
                key: Some(offset.to_string().into()),
                value: Some("{}".into()),
                headers: vec![tidings_engine::Header::text("ce_checksum", "x")],
            });
            let work = task.next(0, 0).expect("it is ready");
            let letters = vec![Id::from(format!("l-{offset}"))];
            task.ended(
                work,
                Ended::Dead(Dead {
                    since_ms: offset * 100,
                    control: offset * 10,
                    letters,
                    cause: (*cause).into(),
                    awaits: Vec::new(),
                }),
            );
        }
        task
    }

    fn command(of: Selection, act: Act) -> Command {
        let (id, by) = ("c-1".into(), "ann".into());
        Command { id, by, at_ms: 5, of, act, dead_by_ms: None, reason: None }
    }

    const BYTES: usize = 1 << 20;
    const NONE: fn(&Record) -> Vec<Input> = |_| Vec::new();
    const REDRIVE: Act = Act::Redrive { per_second: None, force: false };

    #[test]
    fn a_command_does_what_it_says_to_whom_it_says_once() {
        // They died when the control topic had been read up to 0, 10 and 20.
        for (of, next, done) in [
            (Selection::All, 21, vec![0, 1, 2]),
            (Selection::All, 20, vec![0, 1]),
            (Selection::Cause("no card".into()), 21, vec![0, 2]),
            (Selection::Letter("l-1".into()), 21, vec![1]),
            (Selection::Letter("l-9".into()), 21, vec![]),
        ] {
            let mut task = task(&["no card", "no stock", "no card"]);
            let command = command(of.clone(), REDRIVE);
            let carried = command.carry_out(&mut task, (next, 100), BYTES, &NONE);
            let count = done.len() as u64;
            assert_eq!(
                carried.map(|carried| (carried.done, carried.left)),
                (count > 0).then_some((count, 0)),
                "{of:?}"
            );
            let mut ready = Vec::new();
            while let Some(work) = task.next(100, 0) {
                ready.push(work.record.offset);
                let dead = Dead {
                    since_ms: 0,
                    control: 0,
                    letters: vec![],
                    cause: "no card".into(),
                    awaits: Vec::new(),
                };
                task.ended(work, Ended::Dead(dead));
            }
            assert_eq!(ready, done, "{of:?}");
            if count > 0 {
                assert_eq!(
                    command.carry_out(&mut task, (next, 100), BYTES, &NONE),
                    None,
                    "it is carried out once"
                );
            }
        }
    }

    #[test]
    fn what_died_after_the_cut_off_is_left_dead() {
        // They died at 0, 100 and 200.
        for (dead_by_ms, done) in
            [(Some(-1), None), (Some(0), Some(1)), (Some(199), Some(2)), (None, Some(3))]
        {
            let command = Command { dead_by_ms, ..command(Selection::All, REDRIVE) };
            let carried = command.carry_out(&mut task(&["a", "b", "c"]), (21, 300), BYTES, &NONE);
            assert_eq!(carried.map(|carried| carried.done), done, "{dead_by_ms:?}");
        }
    }

    #[test]
    fn commands_without_a_reason_read_back_as_those_of_before() {
        let written = r#"{"command":{"id":"c-1","by":"ann","at_ms":5,"of":"all","act":"discard"}}"#;
        let entry = Entry::Command(command(Selection::All, Act::Discard));
        assert_eq!(serde_json::to_string(&entry).expect("plain data"), written);
        assert_eq!(serde_json::from_str::<Entry>(written).expect("it is one"), entry);
    }

    #[test]
    fn what_was_redriven_too_often_needs_force() {
        let mut task = task(&["no card"]);
        let mut next = 0;
        let mut again = |task: &mut Task, force| {
            next += 1;
            let act = Act::Redrive { per_second: None, force };
            let carried = command(Selection::All, act).carry_out(task, (next, 0), BYTES, &NONE);
            if let Some(work) = task.next(0, 0) {
                let dead = Dead {
                    since_ms: 0,
                    control: 0,
                    letters: vec![],
                    cause: "no card".into(),
                    awaits: Vec::new(),
                };
                task.ended(work, Ended::Dead(dead));
            }
            carried.map(|carried| (carried.done, carried.left))
        };
        for _ in 0..limits::REDRIVES_MAX {
            assert_eq!(again(&mut task, false), Some((1, 0)));
        }
        assert_eq!(again(&mut task, false), Some((0, 1)));
        assert_eq!(again(&mut task, true), Some((1, 0)));
    }

    #[test]
    fn a_rate_spreads_and_an_edit_says_something_else() {
        let mut slow = task(&["a", "b", "c"]);
        let act = Act::Redrive { per_second: Some(2), force: false };
        command(Selection::All, act)
            .carry_out(&mut slow, (21, 1_000), BYTES, &NONE)
            .expect("it is meant");
        let due: Vec<i64> = [1_000, 1_500, 2_000]
            .into_iter()
            .map(|now_ms| slow.next(now_ms, 0).expect("it is due").record.offset)
            .collect();
        assert_eq!(due, [0, 1, 2]);

        let mut edited = task(&["a"]);
        let act = Act::Edit { value: "{\"pence\":1}".into() };
        command(Selection::All, act)
            .carry_out(&mut edited, (1, 0), BYTES, &NONE)
            .expect("it is meant");
        let record = edited.next(0, 0).expect("it is due").record;
        assert_eq!(
            (record.value.as_deref(), record.headers.len()),
            (Some(&b"{\"pence\":1}"[..]), 0)
        );
    }

    #[test]
    fn entries_read_back() {
        let of = Selection::Cause("no card".into());
        for entry in [
            Entry::Command(Command {
                dead_by_ms: Some(7),
                reason: Some("the card reader is mended".into()),
                ..command(of, Act::Edit { value: "{}".into() })
            }),
            Entry::Carried(Carried {
                command: "c-1".into(),
                topic: "orders".into(),
                partition: 3,
                done: 2,
                left: 1,
            }),
        ] {
            let SentRecord { topic, key, value, headers, .. } =
                entry.clone().into_record("payment");
            assert_eq!(topic, "payment.control");
            let (topic, timestamp) = (topic.into(), 0);
            let record = Record { topic, partition: 0, offset: 0, timestamp, key, value, headers };
            assert_eq!(Entry::from_record(&record), Some(entry));
        }
    }
}
