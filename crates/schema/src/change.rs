//! One change of the registry, as a record of `_schemas` in Confluent's format.

use serde::{Deserialize, Serialize};

use crate::{Level, Reference, SchemaType};

/// What happened. Loading a registry is replaying these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A version was registered, or marked as deleted.
    Version {
        subject: String,
        version: i32,
        id: i32,
        kind: SchemaType,
        references: Vec<Reference>,
        schema: String,
        deleted: bool,
    },
    /// A version was deleted for good.
    VersionErased { subject: String, version: i32 },
    /// All versions of a subject up to this one were marked as deleted.
    SubjectDeleted { subject: String, version: i32 },
    /// The level of a subject, or of all subjects without their own; none takes it away.
    LevelSet { subject: Option<String>, level: Option<Level> },
}

/// A record of `_schemas` that does not have the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record of the registry: {0}")]
pub struct UnreadableChange(String);

#[derive(Serialize, Deserialize)]
#[serde(tag = "keytype", rename_all = "SCREAMING_SNAKE_CASE")]
enum Key {
    Schema {
        subject: String,
        version: i32,
        magic: i32,
    },
    DeleteSubject {
        subject: String,
        magic: i32,
    },
    Config {
        subject: Option<String>,
        magic: i32,
    },
    #[serde(other, skip_serializing)]
    Other,
}

#[derive(Serialize, Deserialize)]
struct VersionValue {
    subject: String,
    version: i32,
    id: i32,
    #[serde(rename = "schemaType", default, skip_serializing_if = "SchemaType::is_avro")]
    kind: SchemaType,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
    schema: String,
    #[serde(default)]
    deleted: bool,
}

#[derive(Serialize, Deserialize)]
struct DeleteSubjectValue {
    subject: String,
    version: i32,
}

#[derive(Serialize, Deserialize)]
struct ConfigValue {
    #[serde(rename = "compatibilityLevel")]
    level: Level,
}

impl Change {
    /// Key and value of the record; no value is a tombstone.
    pub fn to_record(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self.clone() {
            Self::Version { subject, version, id, kind, references, schema, deleted } => (
                bytes(&Key::Schema { subject: subject.clone(), version, magic: 1 }),
                Some(bytes(&VersionValue {
                    subject,
                    version,
                    id,
                    kind,
                    references,
                    schema,
                    deleted,
                })),
            ),
            Self::VersionErased { subject, version } => {
                (bytes(&Key::Schema { subject, version, magic: 1 }), None)
            }
            Self::SubjectDeleted { subject, version } => (
                bytes(&Key::DeleteSubject { subject: subject.clone(), magic: 0 }),
                Some(bytes(&DeleteSubjectValue { subject, version })),
            ),
            Self::LevelSet { subject, level } => (
                bytes(&Key::Config { subject, magic: 0 }),
                level.map(|level| bytes(&ConfigValue { level })),
            ),
        }
    }

    /// The change that a record says; none when it is of a kind that does not concern this
    /// registry (NOOP, MODE, …).
    pub fn from_record(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Option<Self>, UnreadableChange> {
        let key = key.ok_or_else(|| UnreadableChange("it has no key".into()))?;
        Ok(match (read::<Key>(key)?, value) {
            (Key::Schema { subject, version, .. }, None) => {
                Some(Self::VersionErased { subject, version })
            }
            (Key::Schema { .. }, Some(value)) => {
                let VersionValue { subject, version, id, kind, references, schema, deleted } =
                    read(value)?;
                Some(Self::Version { subject, version, id, kind, references, schema, deleted })
            }
            (Key::DeleteSubject { .. }, Some(value)) => {
                let DeleteSubjectValue { subject, version } = read(value)?;
                Some(Self::SubjectDeleted { subject, version })
            }
            (Key::Config { subject, .. }, None) => Some(Self::LevelSet { subject, level: None }),
            (Key::Config { subject, .. }, Some(value)) => {
                let ConfigValue { level } = read(value)?;
                Some(Self::LevelSet { subject, level: Some(level) })
            }
            (Key::DeleteSubject { .. }, None) | (Key::Other, _) => None,
        })
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers always have a JSON form")
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, UnreadableChange> {
    serde_json::from_slice(bytes).map_err(|e| UnreadableChange(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_confluents_format_and_are_read_back() {
        let version = |kind, deleted| Change::Version {
            subject: "s".into(),
            version: 2,
            id: 7,
            kind,
            references: vec![],
            schema: "\"int\"".into(),
            deleted,
        };
        for (change, key, value) in [
            (
                version(SchemaType::Avro, false),
                r#"{"keytype":"SCHEMA","subject":"s","version":2,"magic":1}"#,
                Some(r#"{"subject":"s","version":2,"id":7,"schema":"\"int\"","deleted":false}"#),
            ),
            (
                version(SchemaType::Json, true),
                r#"{"keytype":"SCHEMA","subject":"s","version":2,"magic":1}"#,
                Some(
                    r#"{"subject":"s","version":2,"id":7,"schemaType":"JSON","schema":"\"int\"","deleted":true}"#,
                ),
            ),
            (
                Change::VersionErased { subject: "s".into(), version: 2 },
                r#"{"keytype":"SCHEMA","subject":"s","version":2,"magic":1}"#,
                None,
            ),
            (
                Change::SubjectDeleted { subject: "s".into(), version: 3 },
                r#"{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}"#,
                Some(r#"{"subject":"s","version":3}"#),
            ),
            (
                Change::LevelSet { subject: None, level: Some(Level::None) },
                r#"{"keytype":"CONFIG","subject":null,"magic":0}"#,
                Some(r#"{"compatibilityLevel":"NONE"}"#),
            ),
            (
                Change::LevelSet { subject: Some("s".into()), level: None },
                r#"{"keytype":"CONFIG","subject":"s","magic":0}"#,
                None,
            ),
        ] {
            let (k, v) = change.to_record();
            assert_eq!(std::str::from_utf8(&k).unwrap(), key);
            assert_eq!(v.as_deref().map(|v| std::str::from_utf8(v).unwrap()), value);
            assert_eq!(Change::from_record(Some(&k), v.as_deref()), Ok(Some(change)));
        }
    }

    #[test]
    fn other_kinds_are_passed_over_and_foreign_bytes_are_named() {
        let mode = br#"{"keytype":"MODE","subject":null,"magic":0}"#;
        assert_eq!(Change::from_record(Some(mode), Some(b"{}")), Ok(None));
        let noop = br#"{"keytype":"NOOP","magic":0}"#;
        assert_eq!(Change::from_record(Some(noop), None), Ok(None));
        for (key, value) in [
            (None, None),
            (Some(&b"hello"[..]), None),
            (
                Some(&br#"{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}"#[..]),
                Some(&b"{}"[..]),
            ),
        ] {
            let error = Change::from_record(key, value).unwrap_err();
            assert!(error.to_string().starts_with("not a record of the registry: "), "{error}");
        }
    }
}
