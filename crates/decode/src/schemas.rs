//! What `_schemas` says: the registry's state, and the texts that a schema needs with it.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use tidings_schema::{
    Change, Listing, Reference, Registry, Schema, SchemaId, SchemaType, VersionRef,
};

use crate::framing::{SchemaRef, guid};
use crate::limits::{REFERENCES_MAX, SCHEMA_BYTES_MAX, SCHEMAS_BYTES_MAX};
use crate::{Refused, Used};

/// The latest version of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    pub version: i32,
    pub id: SchemaId,
    pub kind: SchemaType,
    pub text: String,
}

/// A schema with all that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) kind: SchemaType,
    pub(crate) text: String,
    /// By the name under which they are referred to; what others refer to comes before them.
    pub(crate) references: Vec<(String, String)>,
    /// Bytes of all texts.
    pub(crate) bytes: usize,
}

/// The fold of `_schemas`.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    registry: Registry,
    guids: HashMap<[u8; 16], SchemaId>,
    bytes: usize,
}

impl Schemas {
    /// Folds one record; answers whether that changed anything.
    pub(crate) fn take(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
        // What is no record of the registry, the registry warns of.
        let Ok(Some(change)) = Change::from_record(key, value) else { return false };
        let gone = match &change {
            Change::Version { schema, id, .. } if self.registry.schema(*id).is_err() => {
                if self.bytes + schema.len() > SCHEMAS_BYTES_MAX {
                    return false;
                }
                self.bytes += schema.len();
                // Of the two names of a schema, the registry's state knows the id.
                let its = value.and_then(|value| serde_json::from_slice::<WithGuid>(value).ok());
                if let Some(named) = its.and_then(|its| guid(&its.guid?)) {
                    self.guids.insert(named, *id);
                }
                None
            }
            Change::VersionErased { subject, version } => {
                let version = VersionRef::Number(*version);
                let found = self.registry.version(subject, version, Listing::All).ok();
                found.map(|found| (found.id, found.schema.text.len()))
            }
            _ => None,
        };
        self.registry.apply(change);
        if let Some((id, bytes)) = gone.filter(|(id, _)| self.registry.schema(*id).is_err()) {
            self.bytes -= bytes;
            self.guids.retain(|_, its| *its != id);
        }
        true
    }

    pub(crate) fn id(&self, named: SchemaRef) -> Option<SchemaId> {
        match named {
            SchemaRef::Id(id) => SchemaId::try_from(id).ok(),
            SchemaRef::Guid(guid) => self.guids.get(&guid).copied(),
        }
    }

    /// Everywhere a schema is used, sorted.
    pub(crate) fn uses(&self, id: SchemaId) -> Vec<Used> {
        let uses = self.registry.uses(id, Listing::All).unwrap_or_default().into_iter();
        uses.map(|(subject, version)| Used { subject: subject.to_owned(), version }).collect()
    }

    pub(crate) fn latest(&self, subject: &str) -> Option<Latest> {
        let found = self.registry.version(subject, VersionRef::Latest, Listing::Live).ok()?;
        let Schema { kind, text, .. } = found.schema;
        Some(Latest { version: found.version, id: found.id, kind: *kind, text: text.clone() })
    }

    pub(crate) fn kind(&self, id: SchemaId) -> Option<SchemaType> {
        self.registry.schema(id).ok().map(|schema| schema.kind)
    }

    /// None when there is no such schema.
    pub(crate) fn source(&self, id: SchemaId) -> Option<Result<Source, Refused>> {
        let schema = self.registry.schema(id).ok()?;
        Some(self.with_references(schema))
    }

    /// Follows references depth first. Each version is taken once, so a cycle ends where it closes.
    fn with_references(&self, schema: &Schema) -> Result<Source, Refused> {
        enum Step<'a> {
            Into(&'a Reference),
            Done(&'a str, &'a str),
        }
        let (kind, text) = (schema.kind, schema.text.clone());
        let mut source = Source { kind, bytes: text.len(), text, references: Vec::new() };
        let mut seen = HashSet::new();
        let mut steps: Vec<Step<'_>> = schema.references.iter().rev().map(Step::Into).collect();
        while let Some(step) = steps.pop() {
            let reference = match step {
                Step::Into(reference) => reference,
                Step::Done(name, text) => {
                    source.references.push((name.to_owned(), text.to_owned()));
                    continue;
                }
            };
            let Reference { name, subject, version } = reference;
            if !seen.insert((subject, version, name)) {
                continue;
            }
            if seen.len() > REFERENCES_MAX {
                return Err(Refused::TooManyReferences);
            }
            // What is soft-deleted can still be referred to.
            let wanted =
                if *version < 1 { VersionRef::Latest } else { VersionRef::Number(*version) };
            let found =
                self.registry.version(subject, wanted, Listing::All).map_err(|_not_there| {
                    Refused::MissingReference { subject: subject.clone(), version: *version }
                })?;
            source.bytes += found.schema.text.len();
            steps.push(Step::Done(name, &found.schema.text));
            steps.extend(found.schema.references.iter().rev().map(Step::Into));
        }
        if source.bytes > SCHEMA_BYTES_MAX {
            return Err(Refused::SchemaTooLarge(source.bytes));
        }
        Ok(source)
    }
}

/// What newer registries write beside what the registry's state has.
#[derive(Deserialize)]
struct WithGuid {
    guid: Option<String>,
}
