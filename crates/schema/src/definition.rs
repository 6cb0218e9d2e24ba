//! A schema as submitted, checked once: a [`Definition`] is valid for its type.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Refused, avro, limits};

/// The language a schema is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchemaType {
    /// What a request or record without a type means.
    #[default]
    Avro,
    Json,
    Protobuf,
}

impl SchemaType {
    pub const ALL: [Self; 3] = [Self::Json, Self::Protobuf, Self::Avro];

    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }

    /// The type of that name; refused when there is none.
    pub fn named(name: &str) -> Result<Self, Refused> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            Refused::invalid_schema(format!("Invalid schema type {name}: use AVRO or JSON"))
        })
    }

    pub fn is_avro(&self) -> bool {
        *self == Self::Avro
    }
}

/// Another subject's version that a schema names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    pub subject: String,
    pub version: i32,
}

/// What makes two schemas the same one.
pub(crate) type Identity = [u8; 32];

/// A schema that is valid for its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub(crate) kind: SchemaType,
    pub(crate) text: String,
    pub(crate) identity: Identity,
}

impl Definition {
    /// Checks a submitted schema. Avro is brought into compact form with Avro's order of
    /// attributes, so `{"type":"string"}` becomes `"string"`; JSON Schema keeps its spelling.
    pub fn parse(kind: SchemaType, text: &str, references: &[Reference]) -> Result<Self, Refused> {
        if text.len() > limits::SCHEMA_BYTES_MAX {
            return Err(Refused::Unprocessable {
                code: 42209,
                why: format!(
                    "the schema has {} bytes, the limit is {}",
                    text.len(),
                    limits::SCHEMA_BYTES_MAX
                ),
            });
        }
        if !references.is_empty() {
            return Err(Refused::invalid_schema(
                "schema references are not supported yet by this node",
            ));
        }
        let text = match kind {
            SchemaType::Protobuf => {
                return Err(Refused::invalid_schema(
                    "schema type PROTOBUF is not supported yet by this node",
                ));
            }
            SchemaType::Avro => avro::canonical(&json(kind, text)?).map_err(|why| {
                Refused::invalid_schema(format!("Invalid schema of type AVRO: {why}"))
            })?,
            SchemaType::Json => {
                let value = json(kind, text)?;
                if !value.is_object() && !value.is_boolean() {
                    return Err(Refused::invalid_schema(
                        "Invalid schema of type JSON: a JSON Schema is an object or a boolean",
                    ));
                }
                text.trim().to_owned()
            }
        };
        let identity = identity(kind, &text);
        Ok(Self { kind, text, identity })
    }
}

fn json(kind: SchemaType, text: &str) -> Result<Value, Refused> {
    serde_json::from_str(text).map_err(|e| {
        Refused::invalid_schema(format!("Invalid schema of type {}: not JSON: {e}", kind.name()))
    })
}

/// The hash of type and text; white space and the order of object keys do not count in Avro and
/// JSON.
pub(crate) fn identity(kind: SchemaType, text: &str) -> Identity {
    let mut hash = Sha256::new();
    hash.update(kind.name());
    hash.update([0]);
    match serde_json::from_str::<Value>(text) {
        // serde_json's map is sorted, so its text does not depend on the order of keys.
        Ok(value) if kind != SchemaType::Protobuf => hash.update(value.to_string()),
        _ => hash.update(text),
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: SchemaType, text: &str) -> Result<Definition, Refused> {
        Definition::parse(kind, text, &[])
    }

    #[test]
    fn the_same_schema_has_one_identity_however_it_is_spelled() {
        for (kind, a, b) in [
            (SchemaType::Avro, r#""string""#, r#"{ "type": "string" }"#),
            (
                SchemaType::Avro,
                r#"{"type":"record","name":"A","fields":[]}"#,
                r#"{"fields": [], "name": "A", "type": "record"}"#,
            ),
            (
                SchemaType::Json,
                r#"{"type":"object","title":"t"}"#,
                r#"{"title":"t", "type":"object"}"#,
            ),
        ] {
            let (a, b) = (parse(kind, a).unwrap(), parse(kind, b).unwrap());
            assert_eq!(a.identity, b.identity);
        }
        let avro = parse(SchemaType::Avro, r#"{"type":"string"}"#).unwrap();
        let json = parse(SchemaType::Json, r#"{"type":"string"}"#).unwrap();
        assert_ne!(avro.identity, json.identity);
        assert_eq!(avro.text, r#""string""#);
        assert_eq!(json.text, r#"{"type":"string"}"#);
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_reason() {
        let long = format!("\"{}\"", "x".repeat(limits::SCHEMA_BYTES_MAX));
        for (kind, text, code, part) in [
            (SchemaType::Avro, "{", 42201, "not JSON"),
            (SchemaType::Json, "]", 42201, "not JSON"),
            (SchemaType::Json, "[]", 42201, "an object or a boolean"),
            (SchemaType::Avro, "\"strin\"", 42201, "strin"),
            (SchemaType::Protobuf, "syntax = \"proto3\";", 42201, "not supported yet by this node"),
            (SchemaType::Avro, long.as_str(), 42209, "the limit is"),
        ] {
            let refused = parse(kind, text).unwrap_err();
            assert_eq!(refused.code(), code, "{text:.20}");
            assert!(refused.to_string().contains(part), "{refused}");
        }
        let reference = Reference { name: "a".into(), subject: "b".into(), version: 1 };
        let refused = Definition::parse(SchemaType::Avro, "\"int\"", &[reference]).unwrap_err();
        assert!(refused.to_string().contains("references are not supported"), "{refused}");
        assert_eq!(SchemaType::named("XML").unwrap_err().code(), 42201);
    }
}
