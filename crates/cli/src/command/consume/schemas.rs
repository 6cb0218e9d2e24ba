//! Keys and values as the schemas of a registry say: `_schemas` of the same cluster, over the same connections.
//!
//! The topic is read when the first record comes that may name a schema, and again for each schema that was not there
//! then. What is not decoded stays the bytes that it is; the first of each kind of reason is told on standard error.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::{Map, Value};
use tidings_decode::{Decoded, Decoder, Part, Refused, SchemaRef, Side};
use tidings_node::Record;
use tidings_terminal::failure::Failure;

use crate::client::{Client, Fetched, Found};
use crate::limits::{SCHEMAS_LOOK_EVERY, SCHEMAS_MISSING_MAX};
use crate::offsets::Point;

const TOPIC: &str = "_schemas";

/// What `--use-schema-registry` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decode {
    Key,
    Value,
    None,
}

/// A record with its key and value as they read, and what is known of them.
#[derive(Debug)]
pub(super) struct Reading<'r> {
    pub(super) record: Cow<'r, Record>,
    pub(super) key: Option<Decoded>,
    pub(super) value: Option<Decoded>,
}

#[derive(Debug)]
pub(super) struct Schemas {
    sides: Vec<Side>,
    decoder: Decoder,
    /// Where the topic is read on; nowhere before it was read.
    next: BTreeMap<i32, i64>,
    looked: Option<Instant>,
    /// What was looked for and not found.
    missing: HashSet<SchemaRef>,
    told: HashSet<(Side, Discriminant<Refused>)>,
    is_unreadable: bool,
}

impl Schemas {
    /// Without a word, keys and values are decoded.
    pub(super) fn of(said: &[Decode]) -> Self {
        let sides = [(Decode::Key, Side::Key), (Decode::Value, Side::Value)];
        let wanted = sides.into_iter().filter(|(word, _)| said.is_empty() || said.contains(word));
        Self {
            sides: wanted.map(|(_, side)| side).collect(),
            decoder: Decoder::default(),
            next: BTreeMap::new(),
            looked: None,
            missing: HashSet::new(),
            told: HashSet::new(),
            is_unreadable: false,
        }
    }

    /// Reads on in the topic where these records name a schema that is not known. One that was not found is looked for
    /// again now and then, as the record may have been there before it.
    pub(super) async fn catch_up(&mut self, client: &mut Client, topic: &str, fetched: &Fetched) {
        let parts = fetched.records.iter().flat_map(|found| {
            self.sides.iter().filter_map(|side| part(topic, &found.record, *side))
        });
        let lacking: HashSet<_> =
            parts.filter_map(|part| self.decoder.lacks(part)).take(SCHEMAS_MISSING_MAX).collect();
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= SCHEMAS_LOOK_EVERY);
        if lacking.is_empty() || !is_due && lacking.is_subset(&self.missing) {
            return;
        }
        self.looked = Some(Instant::now());
        if self.missing.len() >= SCHEMAS_MISSING_MAX {
            self.missing.clear();
        }
        self.missing.extend(lacking);
        if let Err(failure) = self.look(client).await
            && !std::mem::replace(&mut self.is_unreadable, true)
        {
            eprintln!(
                "note: {TOPIC} cannot be read, so what needs it is printed as it is\n{failure}"
            );
        }
    }

    async fn look(&mut self, client: &mut Client) -> Result<(), Failure> {
        if !client.topic_names().await?.iter().any(|name| name == TOPIC) {
            return Ok(());
        }
        let mut leaders = client.leaders(TOPIC, false).await?;
        if self.next.is_empty() {
            let from = BTreeMap::from([(0, Point::Start)]);
            self.next = client.offsets_at(TOPIC, &leaders, &from).await?;
        }
        loop {
            let wait = Duration::ZERO;
            let read = client.fetch(TOPIC, &mut leaders, &mut self.next, wait).await?;
            for Found { record, .. } in &read.records {
                self.decoder.take(record.key.as_deref(), record.value.as_deref());
            }
            if read.at_end {
                return Ok(());
            }
        }
    }

    /// As it was written, where a reason is told or nothing names a schema.
    pub(super) fn read<'r>(
        &mut self,
        topic: &str,
        partition: i32,
        record: &'r Record,
    ) -> Reading<'r> {
        let mut reading = Reading { record: Cow::Borrowed(record), key: None, value: None };
        for &side in &self.sides {
            let decoded = part(topic, record, side).and_then(|part| self.decoder.decode(part));
            let Some(decoded) = decoded else { continue };
            if let Err(refused) = &decoded.json
                && self.told.insert((side, discriminant(refused)))
            {
                let what = name(side);
                let at = format!("{topic}-{partition}@{}", record.offset);
                eprintln!("note: the {what} of {at} is printed as it is: {refused}");
            }
            match side {
                Side::Key => {
                    if let Some(text) = decoded.plain() {
                        reading.record.to_mut().key = Some(text.into_owned().into());
                    }
                    reading.key = Some(decoded);
                }
                Side::Value => {
                    if let Ok(json) = &decoded.json {
                        reading.record.to_mut().value = Some(json.clone().into());
                    }
                    reading.value = Some(decoded);
                }
            }
        }
        reading
    }
}

impl Reading<'_> {
    /// What the JSON of the record says beside its key and value: by which schema each was decoded, or why it was not.
    pub(super) fn insert_into(&self, object: &mut Map<String, Value>) {
        for (side, decoded) in [(Side::Key, &self.key), (Side::Value, &self.value)] {
            let Some(decoded) = decoded else { continue };
            let what = name(side);
            if let Some(id) = decoded.id {
                object.insert(format!("{what}_schema_id"), id.into());
            }
            if let Err(refused) = &decoded.json {
                object.insert(format!("{what}_refused"), refused.to_string().into());
            }
        }
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Key => "key",
        Side::Value => "value",
    }
}

fn part<'a>(topic: &'a str, record: &'a Record, side: Side) -> Option<Part<'a>> {
    let bytes = match side {
        Side::Key => record.key.as_deref()?,
        Side::Value => record.value.as_deref()?,
    };
    let header = record.headers.iter().rfind(|header| header.name == side.header());
    Some(Part { side, topic, bytes, header: header.and_then(|header| header.value.as_deref()) })
}
