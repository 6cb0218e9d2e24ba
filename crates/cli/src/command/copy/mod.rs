//! `tidings copy`: topics and groups' positions from one log to another, exactly once.
//!
//! 1. Take over: the target's transactional ids of this copy are opened, so whoever copied before is fenced.
//! 2. Read the notes ([`notes`]) and look at both sides; refuse, before anything is changed, what cannot be copied.
//! 3. Make what is not there, with the source's partitions and configuration.
//! 4. Carry each partition from where its notes end to where it ended when the copy began: one transaction
//!    for each step's records and its note ([`carry`]).
//! 5. Set the positions of groups by the notes ([`positions`]).
//! 6. Read both sides again and compare ([`verify`]).
//!
//! Killed anywhere, it can be run again: step 4 is exactly once, every other step may be repeated.
//!
//! Limits: [`COPY_PARTITIONS_AT_ONCE`](crate::limits::COPY_PARTITIONS_AT_ONCE) partitions with
//! [`COPY_STEP_BYTES`](crate::limits::COPY_STEP_BYTES) in each of three places (being read, waiting, being
//! written), which is 96 MiB, and what the engines keep; [`COPY_STEPS_MAX`](crate::limits::COPY_STEPS_MAX) notes,
//! [`COPY_KEYS_MAX`](crate::limits::COPY_KEYS_MAX) keys.

mod carry;
mod cursor;
mod map;
mod notes;
mod plan;
mod positions;
mod report;
mod runs;
mod verify;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_engine::{Engine, Error, Read, ReadLimit};
use tidings_terminal::failure::{Exit, Failure};

use crate::args::Copy;
use crate::limits::{COPY_READ_BYTES, COPY_READ_WITHIN, COPY_STEP_RECORDS_MAX};
use crate::place::{Absent, Place, failed};
use notes::Notes;
use plan::Plan;

/// Both sides, and what notes are between them.
#[derive(Debug)]
struct Sides {
    source: Engine,
    target: Engine,
    notes: Notes,
}

pub(crate) async fn copy(said: Copy) -> Result<ExitCode, Failure> {
    let (from, to) = (Place::of(&said.from), Place::of(&said.to));
    if from == to {
        return Err(Failure::new(Exit::Usage, "source and target are the same log")
            .hint("another --to URL or DIR"));
    }
    let source = from.open(Absent::Refused).await?;
    let target = match open_target(&said, &to).await {
        Ok(target) => target,
        Err(failure) => {
            close(&source).await?;
            return Err(failure);
        }
    };
    let ended = between(&said, source.clone(), target.clone()).await;
    let (of_source, of_target) = (close(&source).await, close(&target).await);
    let code = ended?;
    of_source.and(of_target).map(|()| code)
}

async fn open_target(said: &Copy, to: &Place) -> Result<Engine, Failure> {
    let is_missing = matches!(to, Place::Directory(path) if !path.exists());
    if said.dry_run && is_missing {
        // What is not there and is not to be made is as good as empty.
        return Engine::in_memory().await.map_err(|error| failed("no stand-in", &error));
    }
    to.open(if said.verify_only { Absent::Refused } else { Absent::Made }).await
}

async fn close(engine: &Engine) -> Result<(), Failure> {
    engine.close().await.map_err(|error| failed("the data was not closed cleanly", &error))
}

async fn between(said: &Copy, source: Engine, target: Engine) -> Result<ExitCode, Failure> {
    let id = async |engine: &Engine| {
        let cluster = engine.cluster().await;
        cluster.map(|cluster| cluster.id).map_err(|error| failed("no cluster is there", &error))
    };
    let source_id = id(&source).await?;
    if id(&target).await? == source_id {
        return Err(Failure::new(Exit::Usage, "source and target are the same log")
            .why(format!("both have the id {source_id}"))
            .hint("another target; a directory that was copied file by file keeps its id"));
    }
    let notes = Notes::of(&target, &source_id);
    let sides = Arc::new(Sides { source, target, notes });
    let names = plan::selected(&sides.source, &said.topic).await?;
    let topics: HashSet<String> = names.iter().cloned().collect();
    if said.verify_only {
        return only_verify(said, &sides, &topics).await;
    }
    if said.dry_run {
        let noticed = sides.notes.read(&topics).await?;
        let plan = Plan::of(&sides, &names, noticed).await?;
        report::plan(said, &plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    let begun = Instant::now();
    let producers = sides.notes.take_over().await?;
    let noticed = sides.notes.read(&topics).await?;
    let plan = Plan::of(&sides, &names, noticed).await?;
    let configs = plan.make(&sides, &producers[0]).await?;
    let carried = carry::carry(&sides, &plan, producers).await?;
    let took = begun.elapsed();
    let noticed = sides.notes.read(&topics).await?;
    let groups = positions::set(&sides, &noticed, &topics, &said.group).await?;
    let verdicts = verify::verify(&sides, &noticed).await?;
    report::copied(said, &report::Copied { carried, took, configs, groups, verdicts })
}

async fn only_verify(
    said: &Copy,
    sides: &Arc<Sides>,
    topics: &HashSet<String>,
) -> Result<ExitCode, Failure> {
    let noticed = sides.notes.read(topics).await?;
    if noticed.steps.is_empty() {
        let what = format!("nothing of {} has been copied to {}", said.from, said.to);
        return Err(Failure::new(Exit::NotFound, what)
            .why(format!("the target has no notes of it in {}", sides.notes.topic))
            .hint("without --verify-only it is copied, and verified"));
    }
    let verdicts = verify::verify(sides, &noticed).await?;
    report::verified(said, &verdicts)
}

/// As much as one step of a read takes.
fn limit() -> ReadLimit {
    ReadLimit { records: COPY_STEP_RECORDS_MAX, bytes: COPY_READ_BYTES, wait: Duration::ZERO }
}

/// Reads where something is known to be: what comes has records, or goes on further. What retention takes
/// meanwhile is passed over.
async fn within(
    engine: &Engine,
    topic: &str,
    partition: i32,
    from: i64,
    limit: ReadLimit,
) -> Result<Read, Failure> {
    let deadline = Instant::now() + COPY_READ_WITHIN;
    loop {
        match engine.read(topic, partition, from, limit).await {
            Ok(read) if read.next > from => return Ok(read),
            Err(Error::OffsetOutOfRange { first, next, .. }) if first > from => {
                return Ok(Read { records: Vec::new(), next: first, high_watermark: next });
            }
            Ok(_) if Instant::now() < deadline => tokio::time::sleep(READ_PAUSE).await,
            Ok(_) => {
                return Err(Failure::failed(format!(
                    "{topic}-{partition}: nothing comes from offset {from}, where there was more"
                ))
                .hint("run it again: it goes on where it was"));
            }
            Err(error) => {
                let what = format!("{topic}-{partition} cannot be read at offset {from}");
                return Err(again(failed(what, &error), &error));
            }
        }
    }
}

/// Between two reads where something should be.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// With what to try, where trying again may help.
fn again(failure: Failure, error: &Error) -> Failure {
    match error {
        Error::Fenced(_) => {
            failure.hint("another copy from this source has begun; let one of them run")
        }
        Error::Unavailable(_) | Error::Storage(_) => {
            failure.hint("run it again: it goes on where it was")
        }
        _ => failure,
    }
}

/// Whether a name is meant by one of the patterns, in which `*` is any text; all are by none.
fn is_meant(name: &str, patterns: &[String]) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(name, pattern))
}

fn matches(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| matches(&rest[at..], after))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_with_any_text_at_its_stars() {
        let table = [
            ("orders", "orders", true),
            ("orders", "order", false),
            ("orders", "*", true),
            ("orders", "ord*", true),
            ("orders", "*ers", true),
            ("orders", "o*d*s", true),
            ("orders", "o*x*s", false),
            ("orders.eu", "orders.*", true),
            ("orders", "orders.*", false),
            ("größe", "gr*e", true),
        ];
        for (name, pattern, expected) in table {
            assert_eq!(matches(name, pattern), expected, "{name} {pattern}");
        }
        assert!(is_meant("anything", &[]));
    }
}
