//! Golden files: the shapes that a program's events have had, held against those that they have.
//!
//! A golden file is JSON in the source tree: each event with each version that it has ever had. A test
//! compares it with the program's events ([`golden!`](crate::golden!)) and fails
//! - when a change makes events unreadable: those in the log for this program, or this program's for
//!   services that run with the former shape. A new version with an upcaster, or a default, is the way out;
//! - when a change is harmless but not in the file: `TIDINGS_GOLDEN=write cargo test` writes it.
//!
//! Writing refuses what is incompatible too. Who means it takes the event out of the file by hand, which a
//! reviewer sees.
//!
//! | change | same version | new version |
//! |---|---|---|
//! | field added that has a default or is optional | write | write |
//! | field added without, removed, renamed, retyped | refused | write, with an upcaster |
//! | variant added | refused, unless `#[serde(other)]` takes it | write |
//! | key, kind | refused | write |
//! | topic, or the event gone | refused | refused |
//!
//! Names of Rust types are not compared, nor is the meaning of a field: pence that become pounds under
//! one name and type go unseen.

use std::{collections::BTreeSet, fmt, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    Kind,
    shape::{EventShape, Mismatch, Reason, Type, mismatches},
};

/// The variable that lets a golden file be written, with [`WRITE`].
const VARIABLE: &str = "TIDINGS_GOLDEN";
const WRITE: &str = "write";

/// Fails the test in which it stands unless these events have the shapes that the golden file says.
///
/// The path is from the crate's folder. What is refused is said in [`golden`](mod@crate::golden). An event that is
/// not in the list is not held to anything.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(tidings::Event, Serialize, Deserialize)]
/// # #[event(topic = "shop.orders", key = "order")]
/// # struct OrderPlaced { order: String }
/// # #[derive(tidings::Event, Serialize, Deserialize)]
/// # #[event(topic = "shop.orders", key = "order")]
/// # struct OrderCancelled { order: String }
/// #[test]
/// # fn ignored() {}
/// fn events_keep_their_shapes() {
///     tidings::golden!("events.golden.json", OrderPlaced, OrderCancelled);
/// }
/// ```
#[macro_export]
macro_rules! golden {
    ($path:literal, $($event:ty),+ $(,)?) => {
        $crate::golden::assert(
            ::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $path),
            &[$(<$event as $crate::Event>::shape()),+],
        )
    };
}

/// What to do with a change that is compatible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Say it.
    Compare,
    /// Write it into the file.
    Write,
}

/// Why a golden file and the events do not agree.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// No file, and it is not to be written.
    #[error("{0} is not there: run with {VARIABLE}={WRITE} and commit it")]
    Absent(String),
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The file is no golden file.
    #[error("{path} is not a golden file: {cause}")]
    Json {
        /// The file.
        path: String,
        /// What serde says.
        #[source]
        cause: serde_json::Error,
    },
    /// Changes that make events unreadable.
    #[error("incompatible with {path}:{}", list(.verdicts))]
    Incompatible {
        /// The file.
        path: String,
        /// The changes.
        verdicts: Vec<Verdict>,
    },
    /// Only harmless changes.
    #[error(
        "compatible with {path}, and not in it: run with {VARIABLE}={WRITE} and commit it:{}",
        list(.verdicts)
    )]
    Outdated {
        /// The file.
        path: String,
        /// The changes.
        verdicts: Vec<Verdict>,
    },
}

fn list(verdicts: &[Verdict]) -> String {
    verdicts.iter().map(|verdict| format!("\n- {verdict}")).collect()
}

/// What a change of an event means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The event's type.
    pub event: String,
    /// What has changed, and for whom that is a difference.
    pub change: String,
    /// Everything that could be read can be read.
    pub compatible: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.event, self.change)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct File {
    events: Vec<Golden>,
}

/// An event as the file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Golden {
    r#type: String,
    topic: String,
    /// From the oldest.
    versions: Vec<Version>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Version {
    version: u32,
    kind: Kind,
    key: String,
    payload: Type,
}

impl Version {
    fn of(shape: &EventShape) -> Self {
        let EventShape { version, kind, key, payload, .. } = shape.clone();
        Self { version, kind, key, payload }
    }
}

/// [`check`] by `TIDINGS_GOLDEN`.
///
/// # Panics
/// When the check finds a difference, with all of them as the message.
#[track_caller]
pub fn assert(path: impl AsRef<Path>, events: &[EventShape]) {
    let write = std::env::var(VARIABLE).is_ok_and(|value| value == WRITE);
    if let Err(error) = check(path, if write { Mode::Write } else { Mode::Compare }, events) {
        panic!("{error}");
    }
}

/// Compares the events with the golden file; writes it if that is wanted and nothing is incompatible.
pub fn check(path: impl AsRef<Path>, mode: Mode, events: &[EventShape]) -> Result<(), GoldenError> {
    let path = path.as_ref();
    let name = || path.display().to_string();
    let file = match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|cause| GoldenError::Json { path: name(), cause })?,
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(GoldenError::File { path: name(), cause });
        }
        Err(_) if mode == Mode::Compare => return Err(GoldenError::Absent(name())),
        Err(_) => File::default(),
    };
    let (compatible, incompatible): (Vec<_>, Vec<_>) =
        compare(&file, events).into_iter().partition(|verdict| verdict.compatible);
    if !incompatible.is_empty() {
        return Err(GoldenError::Incompatible { path: name(), verdicts: incompatible });
    }
    match mode {
        _ if compatible.is_empty() => Ok(()),
        Mode::Compare => Err(GoldenError::Outdated { path: name(), verdicts: compatible }),
        Mode::Write => {
            let text = serde_json::to_string_pretty(&merged(file, events))
                .map_err(|cause| GoldenError::Json { path: name(), cause })?;
            fs::write(path, text + "\n").map_err(|cause| GoldenError::File { path: name(), cause })
        }
    }
}

/// The file with the events as they are.
fn merged(mut file: File, events: &[EventShape]) -> File {
    for shape in events {
        let now = Version::of(shape);
        match file
            .events
            .iter_mut()
            .find(|g| (&g.r#type, &g.topic) == (&shape.r#type, &shape.topic))
        {
            Some(golden) => {
                golden.versions.retain(|version| version.version != now.version);
                golden.versions.push(now);
                golden.versions.sort_by_key(|version| version.version);
            }
            None => file.events.push(Golden {
                r#type: shape.r#type.clone(),
                topic: shape.topic.clone(),
                versions: vec![now],
            }),
        }
    }
    file
}

fn compare(file: &File, events: &[EventShape]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for golden in &file.events {
        let same = |e: &&EventShape| (&e.r#type, &e.topic) == (&golden.r#type, &golden.topic);
        if !events.iter().any(|event| same(&event)) {
            let event = golden.r#type.clone();
            verdicts.push(Verdict { event, change: gone(golden, events), compatible: false });
        }
    }
    let mut seen = BTreeSet::new();
    for event in events {
        let golden = file
            .events
            .iter()
            .find(|golden| (&golden.r#type, &golden.topic) == (&event.r#type, &event.topic));
        let mut changes = Changes { event: &event.r#type, verdicts: Vec::new() };
        if !seen.insert((&event.topic, &event.r#type)) {
            changes.refused(format!("two events of this type in {}", event.topic));
        }
        for change in unknown(event) {
            changes.refused(change);
        }
        match golden {
            _ if !changes.verdicts.is_empty() => {}
            None => changes.harmless(format!("new, with version {}", event.version)),
            Some(golden) => changes.versions(golden, event),
        }
        verdicts.extend(changes.verdicts);
    }
    verdicts
}

fn gone(golden: &Golden, events: &[EventShape]) -> String {
    match events.iter().find(|event| event.r#type == golden.r#type) {
        Some(moved) => format!(
            "the topic is {} and was {}: its readers are there; give the new one another type",
            moved.topic, golden.topic
        ),
        None => format!(
            "not among the events any more: nothing reads what is in {}; take it out of the file \
             when no log holds one",
            golden.topic
        ),
    }
}

/// Where nothing is known of an event's shape, and why.
fn unknown(event: &EventShape) -> Vec<String> {
    let older =
        event.older.iter().map(|(version, shape)| (format!(" in version {version}"), shape));
    let all = std::iter::once((String::new(), &event.payload)).chain(older);
    all.flat_map(|(place, shape)| {
        // A shape reads itself, except where nothing is known.
        mismatches(shape, shape).into_iter().filter_map(move |mismatch| match &mismatch.reason {
            Reason::Unknown(why) => {
                Some(format!("the shape of {}{place} is not known: {why}", mismatch.place()))
            }
            _ => None,
        })
    })
    .collect()
}

/// What is found of one event.
struct Changes<'a> {
    event: &'a str,
    verdicts: Vec<Verdict>,
}

impl Changes<'_> {
    fn add(&mut self, change: String, compatible: bool) {
        let verdict = Verdict { event: self.event.to_owned(), change, compatible };
        if !self.verdicts.contains(&verdict) {
            self.verdicts.push(verdict);
        }
    }

    fn refused(&mut self, change: String) {
        self.add(change, false);
    }

    fn harmless(&mut self, change: String) {
        self.add(change, true);
    }

    fn versions(&mut self, golden: &Golden, event: &EventShape) {
        let newest = golden.versions.last().map_or(0, |version| version.version);
        if event.version < newest {
            self.refused(format!("version {} was {newest}: versions only grow", event.version));
        }
        for former in &golden.versions {
            if former.version == event.version {
                self.same_version(former, event);
            } else if former.version < event.version {
                self.older_version(former, event);
            }
        }
        if event.version > newest {
            self.harmless(format!("version {} is new", event.version));
        }
    }

    /// Programs with the one shape and with the other read each other's events.
    fn same_version(&mut self, former: &Version, event: &EventShape) {
        let version = former.version;
        if former.key != event.key {
            self.refused(format!(
                "the key is `{}` and was `{}`: events of one key would lose their order; needs version {}",
                event.key,
                former.key,
                version + 1
            ));
        }
        if former.kind != event.kind {
            self.refused(format!(
                "the kind is {} and was {}: needs version {}",
                event.kind,
                former.kind,
                version + 1
            ));
        }
        let before = self.verdicts.len();
        let mut places = BTreeSet::new();
        for mismatch in mismatches(&event.payload, &former.payload) {
            places.insert(mismatch.at.clone());
            self.refused(in_the_log(&mismatch, version));
        }
        for mismatch in mismatches(&former.payload, &event.payload) {
            if !places.contains(&mismatch.at) {
                self.refused(for_readers(&mismatch, version));
            }
        }
        if self.verdicts.len() == before && former.payload != event.payload {
            self.harmless(format!(
                "version {version} has another shape, and either reads the other"
            ));
        }
    }

    /// This program reads the events of a former version.
    fn older_version(&mut self, former: &Version, event: &EventShape) {
        let version = former.version;
        let upcaster = event.older.iter().find(|(from, _)| *from == version);
        let reader = match upcaster {
            Some((_, shape)) => shape,
            None if version >= event.since => &event.payload,
            None => {
                return self.refused(format!(
                    "version {version} has no upcaster to {}: write upcast(from = {version}, with = …), or \
                     since = {version} if it is read as it is",
                    event.version
                ));
            }
        };
        for mismatch in mismatches(reader, &former.payload) {
            self.refused(format!("version {version} in the log is not read: {mismatch}"));
        }
    }
}

/// What the new shape cannot read of the former one.
fn in_the_log(mismatch: &Mismatch, version: u32) -> String {
    let at = mismatch.place();
    let next = version + 1;
    match &mismatch.reason {
        Reason::Missing => format!(
            "added field {at} without a default: version {version} in the log does not have it; give it \
             #[serde(default)], or needs version {next} with an upcaster"
        ),
        Reason::Omitted => format!(
            "field {at} has no default any more: version {version} in the log may be without it"
        ),
        Reason::Refused => {
            format!("removed field {at}: version {version} in the log has it, and is refused")
        }
        Reason::Variant(name) => format!(
            "removed variant `{name}` of {at}: version {version} in the log may have it; needs version {next}"
        ),
        Reason::Type { read, written } => format!(
            "{at} is {read} and was {written}: version {version} in the log cannot be read; needs version \
             {next} with an upcaster"
        ),
        Reason::Tag | Reason::Unknown(_) => {
            format!("version {version} in the log is not read: {mismatch}")
        }
    }
}

/// What the former shape cannot read of the new one.
fn for_readers(mismatch: &Mismatch, version: u32) -> String {
    let at = mismatch.place();
    let next = version + 1;
    match &mismatch.reason {
        Reason::Missing => format!(
            "removed field {at}: readers of version {version} cannot do without it; needs version {next} with \
             an upcaster"
        ),
        Reason::Omitted => format!(
            "field {at} is not always written any more: readers of version {version} cannot do without it"
        ),
        Reason::Refused => format!(
            "added field {at}: readers of version {version} refuse it; needs version {next}"
        ),
        Reason::Variant(name) => format!(
            "added variant `{name}` of {at}: readers of version {version} do not know it; needs version {next}"
        ),
        Reason::Type { read, written } => format!(
            "{at} is {written} and was {read}: readers of version {version} cannot read it; needs version {next}"
        ),
        Reason::Tag | Reason::Unknown(_) => {
            format!("readers of version {version} cannot read it: {mismatch}")
        }
    }
}
