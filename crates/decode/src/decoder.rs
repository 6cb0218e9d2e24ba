//! The decoder: schemas as they come, compiled as they are needed.
//!
//! Invariants: a compiled schema that is kept is of the schemas as they are, since whatever changes them forgets all. One schema
//! is compiled at a time, for its memory; whoever needs one that is compiled waits for nobody.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::de::IgnoredAny;
use tidings_schema::{SchemaId, SchemaType};

use crate::avro::Avro;
use crate::framing::{Framed, Places, places};
use crate::limits::{COMPILED_BYTES_MAX, COMPILED_MAX, VALUE_BYTES_MAX};
use crate::protobuf::Protobuf;
use crate::schemas::{Latest, Schemas, Source};
use crate::{Refused, SchemaRef};

/// Which part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Key,
    Value,
}

impl Side {
    /// The header that names its schema, where that does not stand before it.
    pub fn header(self) -> &'static str {
        match self {
            Self::Key => "__key_schema_id",
            Self::Value => "__value_schema_id",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Key => "-key",
            Self::Value => "-value",
        }
    }
}

/// A key or a value, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub side: Side,
    /// Of several subjects with one schema, that of the topic is named.
    pub topic: &'a str,
    pub bytes: &'a [u8],
    /// The last header of the name [`Side::header`].
    pub header: Option<&'a [u8]>,
}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Used {
    pub subject: String,
    pub version: i32,
}

/// A key or value of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// How the record names its schema.
    pub schema: SchemaRef,
    /// None of a schema that the registry does not have.
    pub id: Option<SchemaId>,
    pub kind: Option<SchemaType>,
    pub used: Option<Used>,
    /// The record or message, by its full name.
    pub type_name: Option<String>,
    /// Fields of the outermost message that the schema does not have.
    pub unknown_fields: usize,
    /// The JSON, in one line unless it was written otherwise.
    pub json: Result<String, Refused>,
}

impl Decoded {
    /// The JSON, where it was decoded; of a text, the text.
    pub fn plain(&self) -> Option<Cow<'_, str>> {
        let json = self.json.as_deref().ok()?;
        if json.starts_with('"')
            && let Ok(text) = serde_json::from_str::<String>(json)
        {
            return Some(Cow::Owned(text));
        }
        Some(Cow::Borrowed(json))
    }
}

/// Schemas, and what has been compiled of them. Shared by all who decode.
#[derive(Default)]
pub struct Decoder {
    schemas: RwLock<Schemas>,
    compiled: Mutex<Kept>,
    /// The turn to compile.
    compiling: Mutex<()>,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// A schema that can be used, or why it cannot.
#[derive(Debug)]
struct Compiled {
    kind: SchemaType,
    uses: Vec<Used>,
    bytes: usize,
    form: Result<Form, Refused>,
}

#[derive(Debug)]
enum Form {
    Avro(Avro),
    Protobuf(Protobuf),
    Json,
}

#[derive(Default)]
struct Kept {
    by_id: HashMap<SchemaId, (Arc<Compiled>, u64)>,
    bytes: usize,
    /// Counts uses.
    turn: u64,
    /// Counts changes of the schemas.
    age: u64,
}

impl Decoder {
    /// Takes a record of `_schemas`. Records are taken in their order.
    pub fn take(&self, key: Option<&[u8]>, value: Option<&[u8]>) {
        if self.schemas_mut().take(key, value) {
            self.kept().forget();
        }
    }

    /// Forgets all schemas: the topic begins anew.
    pub fn forget(&self) {
        *self.schemas_mut() = Schemas::default();
        self.kept().forget();
    }

    /// The latest version of a subject that is not deleted.
    pub fn latest(&self, subject: &str) -> Option<Latest> {
        self.schemas().latest(subject)
    }

    /// None of bytes that name no schema. What begins as if it did and is of no known schema is JSON behind its id, or
    /// refused.
    pub fn decode(&self, part: Part<'_>) -> Option<Decoded> {
        let framed = Framed::of(part.bytes, part.header)?;
        let named = self.schemas().id(framed.schema);
        let Some((id, compiled)) = named.and_then(|id| Some((id, self.compiled(id)?))) else {
            return unknown(framed);
        };
        let preferred = format!("{}{}", part.topic, part.side.suffix());
        let uses = &compiled.uses;
        // The newest of the versions that have it.
        let of_topic = uses.partition_point(|used| used.subject <= preferred);
        let of_topic = of_topic.checked_sub(1).map(|at| &uses[at]);
        let of_topic = of_topic.filter(|used| used.subject == preferred);
        let mut decoded = Decoded {
            schema: framed.schema,
            id: Some(id),
            kind: Some(compiled.kind),
            used: of_topic.or(uses.first()).cloned(),
            type_name: None,
            unknown_fields: 0,
            json: Err(Refused::TooLarge(part.bytes.len())),
        };
        if part.bytes.len() <= VALUE_BYTES_MAX {
            decoded.json = match &compiled.form {
                Ok(form) => form.decode(framed, &mut decoded),
                Err(refused) => Err(refused.clone()),
            };
        }
        Some(decoded)
    }

    /// The schema that it names and nobody knows: whoever feeds the decoder may look for it before decoding.
    pub fn lacks(&self, part: Part<'_>) -> Option<SchemaRef> {
        let schema = Framed::of(part.bytes, part.header)?.schema;
        let schemas = self.schemas();
        let known = schemas.id(schema).is_some_and(|id| schemas.kind(id).is_some());
        (!known && schema != NO_ID).then_some(schema)
    }

    /// None when there is no such schema.
    fn compiled(&self, id: SchemaId) -> Option<Arc<Compiled>> {
        if let Some(compiled) = self.kept().get(id) {
            return Some(compiled);
        }
        let _turn = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let age = {
            let mut kept = self.kept();
            if let Some(compiled) = kept.get(id) {
                return Some(compiled);
            }
            kept.age
        };
        let (source, uses) = {
            let schemas = self.schemas();
            (schemas.source(id)?, schemas.uses(id))
        };
        let kind = source.as_ref().map_or_else(|_| self.kind(id), |source| source.kind);
        let bytes = source.as_ref().map_or(0, |source| source.bytes);
        let form = source.and_then(|source| Form::of(&source));
        let compiled = Arc::new(Compiled { kind, uses, bytes, form });
        self.kept().keep(id, &compiled, age);
        Some(compiled)
    }

    fn kind(&self, id: SchemaId) -> SchemaType {
        self.schemas().kind(id).unwrap_or_default()
    }

    // Folding and keeping cannot fail half way: what is behind a poisoned lock is whole.
    fn schemas(&self) -> RwLockReadGuard<'_, Schemas> {
        self.schemas.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn schemas_mut(&self) -> RwLockWriteGuard<'_, Schemas> {
        self.schemas.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registries count from one: what begins with five zeros is a number, such as a key of eight bytes.
const NO_ID: SchemaRef = SchemaRef::Id(0);

/// Of a schema that nobody knows; none where the bytes were not meant to name one, as far as can be told.
fn unknown(framed: Framed<'_>) -> Option<Decoded> {
    let is_before = framed.places == Places::Before;
    if is_before && (framed.schema == NO_ID || matches!(framed.schema, SchemaRef::Guid(_))) {
        return None;
    }
    let json = json(framed.rest).filter(|json| json.trim_start().starts_with(['{', '[']));
    Some(Decoded {
        schema: framed.schema,
        id: None,
        kind: None,
        used: None,
        type_name: None,
        unknown_fields: 0,
        json: json
            .map(str::to_owned)
            .ok_or_else(|| Refused::UnknownSchema(framed.schema.to_string())),
    })
}

fn json(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok().filter(|_| bytes.len() <= VALUE_BYTES_MAX)?;
    serde_json::from_str::<IgnoredAny>(text).is_ok().then_some(text)
}

impl Form {
    fn of(source: &Source) -> Result<Self, Refused> {
        match source.kind {
            SchemaType::Avro => Avro::compile(source).map(Self::Avro),
            SchemaType::Protobuf => Protobuf::compile(source).map(Self::Protobuf),
            SchemaType::Json => Ok(Self::Json),
        }
    }

    fn decode(&self, framed: Framed<'_>, decoded: &mut Decoded) -> Result<String, Refused> {
        match self {
            Self::Avro(avro) => {
                decoded.type_name = avro.type_name().map(str::to_owned);
                avro.decode(framed.rest)
            }
            Self::Protobuf(protobuf) => {
                let (places, rest) = match framed.places {
                    Places::InHeader(header) => (places(header)?.0, framed.rest),
                    Places::Before => places(framed.rest)?,
                };
                let message = protobuf.decode(&places, rest)?;
                decoded.type_name = Some(message.type_name);
                decoded.unknown_fields = message.unknown_fields;
                message.json
            }
            Self::Json => json(framed.rest)
                .map(str::to_owned)
                .ok_or_else(|| Refused::Malformed { at: None, why: "they are no JSON".to_owned() }),
        }
    }
}

impl Kept {
    fn get(&mut self, id: SchemaId) -> Option<Arc<Compiled>> {
        self.turn += 1;
        let (compiled, used) = self.by_id.get_mut(&id)?;
        *used = self.turn;
        Some(Arc::clone(compiled))
    }

    /// Keeps what was compiled at this age, and lets go what was used longest ago.
    fn keep(&mut self, id: SchemaId, compiled: &Arc<Compiled>, age: u64) {
        if age != self.age || self.by_id.contains_key(&id) {
            return;
        }
        while self.by_id.len() >= COMPILED_MAX
            || (self.bytes + compiled.bytes > COMPILED_BYTES_MAX && !self.by_id.is_empty())
        {
            let oldest = self.by_id.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            let gone = oldest.and_then(|id| self.by_id.remove(&id));
            self.bytes -= gone.map_or(0, |(gone, _)| gone.bytes);
        }
        self.turn += 1;
        self.bytes += compiled.bytes;
        self.by_id.insert(id, (Arc::clone(compiled), self.turn));
    }

    fn forget(&mut self) {
        *self = Self { age: self.age + 1, ..Self::default() };
    }
}
