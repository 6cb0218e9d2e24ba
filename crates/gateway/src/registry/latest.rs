//! The latest schema of a subject, for who has no registry at hand: what `_schemas` says, read from its beginning.

use std::time::Duration;

use tidings_engine::{Engine, Error, ReadLimit};
use tidings_schema::{Change, Listing, Registry, SchemaType, VersionRef};

use crate::limits::{BODY_BYTES_MAX, REGISTRY_READ_RECORDS, SCHEMA_LOOK_READS};

pub(crate) struct Latest {
    pub(crate) version: i32,
    pub(crate) id: i32,
    /// AVRO, JSON or PROTOBUF.
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

/// None when the subject has none, or when there is more than [`SCHEMA_LOOK_READS`] reads find.
pub(crate) async fn latest_schema(engine: &Engine, subject: &str) -> Result<Option<Latest>, Error> {
    let mut registry = Registry::default();
    let mut next = match engine.offset("_schemas", 0, tidings_engine::Offset::Earliest).await {
        Ok(first) => first,
        Err(Error::UnknownTopic(_) | Error::Denied(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    for _ in 0..SCHEMA_LOOK_READS {
        let wait = Duration::ZERO;
        let limit = ReadLimit { records: REGISTRY_READ_RECORDS, bytes: BODY_BYTES_MAX, wait };
        let read = engine.read("_schemas", 0, next, limit).await?;
        for record in &read.records {
            let change = Change::from_record(record.key.as_deref(), record.value.as_deref());
            // What the registry passes over, it warns of.
            if let Ok(Some(change)) = change {
                registry.apply(change);
            }
        }
        if read.next <= next || read.next >= read.high_watermark {
            return Ok(of(&registry, subject));
        }
        next = read.next;
    }
    Ok(None)
}

fn of(registry: &Registry, subject: &str) -> Option<Latest> {
    let found = registry.version(subject, VersionRef::Latest, Listing::Live).ok()?;
    let kind: SchemaType = found.schema.kind;
    let (version, id) = (found.version, found.id);
    Some(Latest { version, id, kind: kind.name(), text: found.schema.text.clone() })
}
