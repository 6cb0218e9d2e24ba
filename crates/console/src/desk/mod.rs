//! The desk by HTTP: what services of the SDK have put aside, and commands about it.
//!
//! A page and its JSON twin are made of the same values, and those come from [`tidings::Desk`], as the
//! command line's do. Every look reads the service's changelog, so looks are few at once
//! ([`DESK_READS_MAX`](crate::limits::DESK_READS_MAX)) and end after a while
//! ([`DESK_READ_TIMEOUT`]). Commands are records that the service carries out itself, once; an answer
//! that has not heard of it in time says so, and the command stands.

pub(super) mod api;
mod command;
pub(super) mod pages;
mod view;

use std::time::Duration;

use tidings::{CommandOutcome, DeadKey, DeadLetter, Desk, Error, Given, Id, NewCommand};
use tidings_engine::{Engine, Offset, ReadLimit, Record, partition_of};
use tidings_gateway::Trouble;
use tokio::time::timeout;

use super::Shared;
use crate::limits::{
    COMMAND_PATIENCE, DESK_READ_TIMEOUT, EVENT_READ_BYTES, LETTER_CLOCK_SKEW, LETTER_SCAN_BYTES,
    LETTER_SCAN_RECORDS,
};

/// The desk of a service that there is, or was.
async fn desk(shared: &Shared, service: &str) -> Result<Desk, Trouble> {
    let desk = Desk::of(&shared.engine, service);
    if desk.exists().await? {
        return Ok(desk);
    }
    Err(Trouble::not_found(format!("no service {service} keeps keys here: it has no changelog"))
        .titled("There is no such service")
        .hint("GET /api/dead lists the services that have"))
}

/// A look, when it has its turn, and no longer than it may take.
async fn look<T>(
    shared: &Shared,
    look: impl Future<Output = Result<T, Error>>,
) -> Result<T, Trouble> {
    let turn = async {
        // The semaphore is never closed.
        let _turn = shared.desk_reads.acquire().await;
        look.await
    };
    match timeout(DESK_READ_TIMEOUT, turn).await {
        Ok(looked) => Ok(looked?),
        Err(_elapsed) => Err(Trouble::unavailable(format!(
            "reading what the service has put aside took longer than {DESK_READ_TIMEOUT:?}"
        ))
        .hint("try again; tidings dead list SERVICE has no such limit")),
    }
}

/// All dead keys, the longest dead first; the order is that of cursors.
async fn dead_keys(shared: &Shared, desk: &Desk) -> Result<Vec<DeadKey>, Trouble> {
    let mut keys = look(shared, desk.dead()).await?;
    keys.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
    Ok(keys)
}

/// Where a key is among others.
fn place_of(key: &DeadKey) -> (i64, i32, i64, &str) {
    (key.since_ms, key.partition, key.offset, &key.topic)
}

/// Gives a command and waits a while for what becomes of it.
async fn give(
    shared: &Shared,
    desk: &Desk,
    command: NewCommand,
) -> Result<(Given, CommandOutcome), Trouble> {
    // Told to try again, somebody would give it twice.
    let given = look(shared, desk.give(command)).await.map_err(|trouble| {
        trouble.hint("look into the audit before it is given again: it may have been given")
    })?;
    let outcome = desk.outcome(&given, COMMAND_PATIENCE).await.map_err(|error| {
        Trouble::from(error).hint("the command is given: the audit tells what becomes of it")
    })?;
    Ok((given, outcome))
}

/// The letter of this id, and where it is; none when it is not there any more, or not among so many
/// records after the death. Letters have the keys of their events, so it is in the key's partition.
async fn letter(
    engine: &Engine,
    service: &str,
    id: &Id,
    dead: &DeadKey,
) -> Result<Option<(DeadLetter, Record)>, tidings_engine::Error> {
    let name = format!("{service}.dead");
    let topic = match engine.topic(&name).await {
        Ok(topic) => topic,
        Err(tidings_engine::Error::UnknownTopic(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let skew_ms = i64::try_from(LETTER_CLOCK_SKEW.as_millis()).unwrap_or(i64::MAX);
    let from = Offset::Timestamp(dead.since_ms.saturating_sub(skew_ms));
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let its = dead.key.as_deref().map(|key| partition_of(key, count));
    let (mut left, mut bytes_left) = (LETTER_SCAN_RECORDS, LETTER_SCAN_BYTES);
    for partition in topic.partitions.iter().filter(|one| its.is_none_or(|its| its == one.id)) {
        let mut next = engine.offset(&name, partition.id, from).await?;
        while next < partition.end_offset && left > 0 && bytes_left > 0 {
            let limit = ReadLimit { records: left, bytes: EVENT_READ_BYTES, wait: Duration::ZERO };
            let read = engine.read(&name, partition.id, next, limit).await?;
            if read.next <= next {
                break;
            }
            next = read.next;
            left = left.saturating_sub(read.records.len());
            for record in read.records {
                let bytes = record.value.as_ref().map_or(0, |value| value.len());
                bytes_left = bytes_left.saturating_sub(bytes);
                let letter = DeadLetter::from_record(&record);
                if let Some(letter) = letter.filter(|letter| letter.id.as_ref() == Some(id)) {
                    return Ok(Some((letter, record)));
                }
            }
        }
    }
    Ok(None)
}
