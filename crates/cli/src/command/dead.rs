//! `tidings dead`: what a service has given up on, by cause, and what becomes of it.
//!
//! Commands are records that the service carries out itself, once; this only writes them and listens for what
//! became of them.

use std::borrow::Cow;
use std::io::Read as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidings::{
    Act, Audited, CommandOutcome, DeadCause, DeadKey, Desk, Error, NewCommand, Selection,
};
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{Answer, Item, show};
use tidings_terminal::table::{Look, left, right, table, visible};

use super::consent::{Decided, decide};
use super::watch::watched;
use crate::args::{Consent, Dead, DeadAct, DeadPlace, Meant};
use crate::place::{Absent, Place, failed};
use crate::settings::nearest;

/// How long to listen for what became of a command.
const PATIENCE: Duration = Duration::from_secs(15);
/// Services that are named where another one is meant.
const NAMED_MAX: usize = 10;
/// Characters of a cause in a table.
const CAUSE_WIDTH: usize = 60;

pub(crate) async fn dead(command: Dead) -> Result<ExitCode, Failure> {
    match command {
        Dead::List { service, keys, watch, place } => {
            let desk = open(&place, &service).await?;
            let view = if keys { View::Keys } else { View::Causes };
            let ask = async || {
                let dead = desk.dead().await.map_err(|error| unread(&service, &error))?;
                Ok(DeadKeys { whose: &service, field: "dead", dead, view })
            };
            watched(watch, place.output, ask).await?;
        }
        Dead::Show { service, letter, place } => {
            let (desk, of) =
                (open(&place, &service).await?, Selection::Letter(letter.clone().into()));
            let meant = desk.meant(&of).await;
            let dead = meant.map_err(|error| unread(&service, &error))?;
            let dead =
                dead.first().ok_or_else(|| nothing(&service, &format!("letter {letter}")))?;
            show(place.output, &Shown(dead))?;
        }
        Dead::Redrive { meant, per_second, force, act } => {
            return command_of(meant, Act::Redrive { per_second, force }, act).await;
        }
        Dead::Edit { service, letter, value, act } => {
            let value = read_value(&value)?;
            let meant = Meant { service, letter: Some(letter), cause: None, all: false };
            return command_of(meant, Act::Edit { value }, act).await;
        }
        Dead::Discard { meant, act } => return command_of(meant, Act::Discard, act).await,
        Dead::Audit { service, place } => {
            let audit = open(&place, &service).await?.audit().await;
            let audit = audit.map_err(|error| unread(&service, &error))?;
            show(place.output, &Audit(audit))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(place: &DeadPlace, service: &str) -> Result<Desk, Failure> {
    let engine = Place::of(&place.engine).open(Absent::Refused).await?;
    let desk = Desk::of(&engine, service);
    if desk.exists().await.map_err(|error| unread(service, &error))? {
        return Ok(desk);
    }
    let services = Desk::services(&engine).await.map_err(|error| unread(service, &error))?;
    Err(no_service(service, &services))
}

fn no_service(said: &str, services: &[String]) -> Failure {
    let near = nearest(said, services.iter().map(String::as_str));
    let hint = match (near, services) {
        (Some(near), _) => near.to_owned(),
        (None, []) => "a service of the SDK makes its topics when it starts".to_owned(),
        (None, services) => {
            format!(
                "one of {}",
                services.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ")
            )
        }
    };
    Failure::new(Exit::NotFound, format!("there is no service {said}"))
        .why(format!("there is no topic {said}.changelog, in which it keeps what it puts aside"))
        .hint(hint)
}

/// Gives a command and tells what became of it; the exit code is 1 when some keys were not heard of.
async fn command_of(meant: Meant, act: Act, how: DeadAct) -> Result<ExitCode, Failure> {
    let Meant { service, letter, cause, all } = meant;
    let of = match (letter, cause, all) {
        (Some(letter), ..) => Selection::Letter(letter.into()),
        (None, Some(cause), _) => Selection::Cause(cause),
        (None, None, _) => Selection::All,
    };
    let desk = open(&how.place, &service).await?;
    let discards = act == Act::Discard;
    let DeadAct { consent, dead_by_ms, by, reason, place } = how;
    let mut command = NewCommand { by: who(by), of, act, dead_by_ms, reason };
    let keys = desk.would(&command).await.map_err(|error| unread(&service, &error))?;
    if keys.is_empty() {
        return Err(nothing(&service, &selected(&command.of)));
    }
    let would = DeadKeys { whose: &service, field: "would", dead: keys, view: View::Keys };
    // Only what is discarded is gone for good.
    let consent = Consent { yes: consent.yes || !discards, ..consent };
    let what = "nothing was discarded";
    if decide(consent, place.output, &would, &service, what)? == Decided::Told {
        return Ok(ExitCode::SUCCESS);
    }
    // What dies while somebody makes up their mind is not among what they were shown.
    command.dead_by_ms = command.dead_by_ms.or(would.dead.iter().map(|key| key.since_ms).max());
    let ungiven = |error: Error| Failure::failed("the command is not given").why(error);
    let given = desk.give(command).await.map_err(ungiven)?;
    let outcome = desk.outcome(&given, PATIENCE).await;
    let outcome = outcome.map_err(|error| {
        let what = format!("command {} is given, and what became of it cannot be read", given.id);
        Failure::failed(what).why(error).hint(format!("tidings dead audit {service}"))
    })?;
    show(place.output, &Given { id: given.id.as_str(), outcome, service: &service })?;
    Ok(if outcome.unheard == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn who(by: Option<String>) -> String {
    by.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "unknown".to_owned())
}

/// A command, and what became of it.
struct Given<'a> {
    id: &'a str,
    outcome: CommandOutcome,
    service: &'a str,
}

impl Answer for Given<'_> {
    fn document(&self) -> Value {
        let CommandOutcome { done, left, unheard } = self.outcome;
        json!({ "command": self.id, "done": done, "left": left, "unheard": unheard })
    }

    fn items(&self) -> Vec<Item> {
        vec![Item::new(self.id, self.document())]
    }

    fn text(&self, _look: Look) -> String {
        told(self.outcome, self.service)
    }
}

fn told(CommandOutcome { done, left, unheard }: CommandOutcome, service: &str) -> String {
    let mut text = format!("{done} {} done\n", keys(done));
    if left > 0 {
        text += &format!(
            "{left} {} left alone: redriven {} times before, or awaiting a value; --force redrives them\n",
            keys(left),
            tidings::limits::REDRIVES_MAX
        );
    }
    if unheard > 0 {
        text += &format!(
            "{unheard} {} not heard of: is {service} running? It carries the command out when it does\n",
            keys(unheard)
        );
    }
    text
}

fn keys(count: u64) -> &'static str {
    if count == 1 { "key" } else { "keys" }
}

fn selected(of: &Selection) -> String {
    match of {
        Selection::Letter(id) => format!("letter {id}"),
        Selection::Cause(cause) => format!("cause {cause:?}"),
        _ => "dead key".to_owned(),
    }
}

fn nothing(service: &str, what: &str) -> Failure {
    Failure::new(Exit::NotFound, format!("{service} has no {what}"))
        .hint(format!("tidings dead list {service} --keys"))
}

fn unread(service: &str, error: &Error) -> Failure {
    match error {
        Error::Engine(error) => {
            failed(format!("what {service} has put aside cannot be read"), error)
        }
        error => Failure::failed(format!("what {service} has put aside cannot be read")).why(error),
    }
}

fn read_value(from: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match from {
        "-" => std::io::stdin().read_to_string(&mut text).map(|_| text),
        path => std::fs::read_to_string(path),
    };
    read.map(|text| text.trim_end_matches('\n').to_owned())
        .map_err(|error| Failure::new(Exit::Usage, format!("{from} cannot be read")).why(error))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Causes,
    Keys,
}

/// Dead keys, under the name that they have in the document.
struct DeadKeys<'a> {
    whose: &'a str,
    field: &'static str,
    dead: Vec<DeadKey>,
    view: View,
}

/// The items are named by their letters, which is what the other commands take.
impl Answer for DeadKeys<'_> {
    fn document(&self) -> Value {
        json!({ self.field: self.dead.iter().map(value).collect::<Vec<_>>() })
    }

    fn items(&self) -> Vec<Item> {
        self.dead.iter().map(|key| Item::new(letter(key), value(key))).collect()
    }

    fn text(&self, look: Look) -> String {
        match self.view {
            _ if self.dead.is_empty() => format!(
                "{0} has no dead keys (letters of what it rejected: tidings consume {0}.dead)\n",
                self.whose
            ),
            View::Causes if !look.wide => by_cause(&self.dead, look),
            View::Causes | View::Keys => by_key(&self.dead, look),
        }
    }
}

struct Shown<'a>(&'a DeadKey);

impl Answer for Shown<'_> {
    fn document(&self) -> Value {
        value(self.0)
    }

    fn items(&self) -> Vec<Item> {
        vec![Item::new(letter(self.0), value(self.0))]
    }

    fn text(&self, _look: Look) -> String {
        shown(self.0)
    }
}

fn letter(key: &DeadKey) -> String {
    key.letters.first().map(ToString::to_string).unwrap_or_default()
}

/// One row for each cause, the one with the most keys first.
fn by_cause(dead: &[DeadKey], look: Look) -> String {
    let row = |one: &DeadCause| {
        [one.keys.to_string(), one.events.to_string(), age(one.oldest_ms), short(&one.cause)]
    };
    let rows: Vec<_> = DeadCause::of(dead).iter().map(row).collect();
    let columns = [right("KEYS"), right("EVENTS"), right("OLDEST"), left("CAUSE")];
    table(columns, &rows, look)
}

fn by_key(dead: &[DeadKey], look: Look) -> String {
    let row = |key: &DeadKey| {
        let place = format!("{}-{}@{}", key.topic, key.partition, key.offset);
        [
            text_of(key.key.as_deref()),
            key.followers.to_string(),
            age(key.since_ms),
            place,
            letter(key),
            short(&key.cause),
        ]
    };
    let rows: Vec<_> = dead.iter().map(row).collect();
    let columns = [
        left("KEY"),
        right("BEHIND"),
        right("DEAD FOR"),
        left("EVENT"),
        left("LETTER"),
        left("CAUSE"),
    ];
    table(columns, &rows, look)
}

fn shown(key: &DeadKey) -> String {
    let mut text = format!(
        "key        {}\nevent      {}-{}@{}\ncause      {}\ndead for   {}\nattempts   {}\nredrives   {}\nbehind it  {}\n",
        visible(&text_of(key.key.as_deref())),
        key.topic,
        key.partition,
        key.offset,
        lines_of(&key.cause).join("\n           "),
        age(key.since_ms),
        key.attempts,
        key.redrives,
        key.followers
    );
    for state in &key.awaits {
        text += &format!("awaits     a value of the state {}\n", visible(state));
    }
    for letter in &key.letters {
        text += &format!("letter     {letter}\n");
    }
    text.push('\n');
    for header in &key.headers {
        let value = text_of(header.value.as_deref());
        text += &format!("{}: {}\n", visible(&header.name), visible(&value));
    }
    text += &format!("\n{}\n", lines_of(&text_of(key.value.as_deref())).join("\n"));
    text
}

fn value(key: &DeadKey) -> Value {
    let headers: Vec<_> = key
        .headers
        .iter()
        .map(|header| json!({ "name": header.name, "value": text_of(header.value.as_deref()) }))
        .collect();
    json!({
        "key": key.key.as_deref().map(|bytes| text_of(Some(bytes))),
        "topic": key.topic,
        "partition": key.partition,
        "offset": key.offset,
        "cause": key.cause,
        "since_ms": key.since_ms,
        "attempts": key.attempts,
        "redrives": key.redrives,
        "followers": key.followers,
        "awaits": key.awaits,
        "letters": key.letters.iter().map(tidings::Id::as_str).collect::<Vec<_>>(),
        "value": key.value.as_deref().map(|bytes| text_of(Some(bytes))),
        "headers": headers,
    })
}

struct Audit(Vec<Audited>);

impl Answer for Audit {
    fn document(&self) -> Value {
        json!({ "commands": self.0.iter().map(audited).collect::<Vec<_>>() })
    }

    fn items(&self) -> Vec<Item> {
        self.0.iter().map(|one| Item::new(one.id.as_str(), audited(one))).collect()
    }

    fn text(&self, look: Look) -> String {
        audit_table(&self.0, look)
    }
}

fn audit_table(audit: &[Audited], look: Look) -> String {
    let row = |one: &Audited| {
        let act = match &one.act {
            Act::Redrive { force: true, .. } => "redrive --force",
            Act::Redrive { .. } => "redrive",
            Act::Edit { .. } => "edit",
            Act::Discard => "discard",
            _ => "?",
        };
        [
            one.at(),
            one.by.clone(),
            act.to_owned(),
            selected(&one.of),
            one.done.to_string(),
            one.left.to_string(),
            one.id.to_string(),
        ]
    };
    let rows: Vec<_> = audit.iter().map(row).collect();
    let columns = [
        left("AT"),
        left("BY"),
        left("WHAT"),
        left("OF"),
        right("DONE"),
        right("LEFT"),
        left("COMMAND").wide(),
    ];
    table(columns, &rows, look)
}

fn audited(one: &Audited) -> Value {
    let Audited { id, by, at_ms, of, act, dead_by_ms, reason, done, left } = one;
    json!({
        "id": id.as_str(), "by": by, "at_ms": at_ms, "of": of, "act": act, "dead_by_ms": dead_by_ms,
        "reason": reason, "done": done, "left": left,
    })
}

/// A text's lines, for a terminal.
fn lines_of(text: &str) -> Vec<Cow<'_, str>> {
    text.lines().map(visible).collect()
}

fn text_of(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// The first line of a cause, cut.
fn short(cause: &str) -> String {
    let line = cause.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(CAUSE_WIDTH).collect();
    if cut.len() < cause.len() { format!("{cut}…") } else { cut }
}

/// How long ago, in the largest unit that fits.
fn age(since_ms: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = Duration::from_millis(u64::try_from(since_ms).unwrap_or_default());
    let seconds = now.saturating_sub(since).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_cut_to_its_first_line() {
        assert_eq!(short("no card"), "no card");
        assert_eq!(short("no card\ncaused by: x"), "no card…");
        assert_eq!(short(&"é".repeat(100)).chars().count(), CAUSE_WIDTH + 1);
    }

    #[test]
    fn what_became_of_a_command_is_told() {
        let outcome = CommandOutcome { done: 1, left: 2, unheard: 3 };
        assert_eq!(
            told(outcome, "payment"),
            "1 key done\n2 keys left alone: redriven 3 times before, or awaiting a value; --force redrives them\n\
             3 keys not heard of: is payment running? It carries the command out when it does\n"
        );
    }
}
