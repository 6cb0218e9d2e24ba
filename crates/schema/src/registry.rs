//! The registry's state, its decisions and its fold.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::definition::{self, Identity};
use crate::{Change, Definition, Reference, Refused, SchemaType, limits};

/// Names one schema text in all subjects; from 1.
pub type SchemaId = i32;

/// A compatibility level. Only [`Level::None`] can be set; the others can be read from a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    #[default]
    None,
    Backward,
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Level {
    /// The level of that name; refused when there is none, or none that this registry checks.
    pub fn named(name: &str) -> Result<Self, Refused> {
        const OTHERS: [&str; 6] = [
            "BACKWARD",
            "BACKWARD_TRANSITIVE",
            "FORWARD",
            "FORWARD_TRANSITIVE",
            "FULL",
            "FULL_TRANSITIVE",
        ];
        let name = name.to_ascii_uppercase();
        if name == "NONE" {
            return Ok(Self::None);
        }
        Err(Refused::invalid_level(if OTHERS.contains(&name.as_str()) {
            format!("Compatibility level {name} is not supported yet by this node: only NONE is")
        } else {
            format!("Invalid compatibility level {name}: only NONE is supported by this node")
        }))
    }
}

/// A schema under its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub kind: SchemaType,
    pub text: String,
    pub references: Vec<Reference>,
}

/// A version of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub id: SchemaId,
    pub deleted: bool,
}

/// A subject's version with its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectVersion<'a> {
    pub subject: &'a str,
    pub version: i32,
    pub id: SchemaId,
    pub schema: &'a Schema,
}

/// Which version of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRef {
    Latest,
    Number(i32),
}

impl VersionRef {
    /// `latest`, `-1` or a number from 1.
    pub fn parse(said: &str) -> Result<Self, Refused> {
        match said {
            "latest" | "-1" => Ok(Self::Latest),
            _ => match said.parse() {
                Ok(number) if number >= 1 => Ok(Self::Number(number)),
                _ => Err(Refused::invalid_version(said)),
            },
        }
    }
}

/// Whether soft-deleted entries are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    #[default]
    Live,
    All,
    OnlyDeleted,
}

impl Listing {
    fn takes(self, deleted: bool) -> bool {
        match self {
            Self::Live => !deleted,
            Self::All => true,
            Self::OnlyDeleted => deleted,
        }
    }
}

/// Where a schema is, or will be once the change has been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub id: SchemaId,
    pub version: i32,
    /// None when it was registered before.
    pub change: Option<Change>,
}

#[derive(Debug, Default)]
struct Subject {
    versions: BTreeMap<i32, Version>,
    level: Option<Level>,
}

/// The state: a fold of [`Change`]s.
#[derive(Debug, Default)]
pub struct Registry {
    subjects: BTreeMap<String, Subject>,
    schemas: BTreeMap<SchemaId, Schema>,
    ids: HashMap<Identity, SchemaId>,
    level: Option<Level>,
    /// Grows only: an id is not given again after its schema was erased.
    last_id: SchemaId,
}

impl Registry {
    /// Folds one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Version { subject, version, id, kind, references, schema, deleted } => {
                self.last_id = self.last_id.max(id);
                self.ids.entry(definition::identity(kind, &schema)).or_insert(id);
                self.schemas.entry(id).or_insert(Schema { kind, text: schema, references });
                let subject = self.subjects.entry(subject).or_default();
                subject.versions.insert(version, Version { id, deleted });
            }
            Change::VersionErased { subject, version } => self.erase(&subject, version),
            Change::SubjectDeleted { subject, version } => {
                if let Some(subject) = self.subjects.get_mut(&subject) {
                    subject.versions.range_mut(..=version).for_each(|(_, v)| v.deleted = true);
                }
            }
            Change::LevelSet { subject: None, level } => self.level = level,
            Change::LevelSet { subject: Some(subject), level } => {
                self.subjects.entry(subject).or_default().level = level;
            }
        }
    }

    /// Takes a version away, and its schema when nothing else uses it.
    fn erase(&mut self, name: &str, version: i32) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let Some(erased) = subject.versions.remove(&version) else { return };
        if subject.versions.is_empty() && subject.level.is_none() {
            self.subjects.remove(name);
        }
        let used = self.subjects.values().flat_map(|s| s.versions.values());
        if !used.into_iter().any(|v| v.id == erased.id)
            && let Some(schema) = self.schemas.remove(&erased.id)
        {
            self.ids.remove(&definition::identity(schema.kind, &schema.text));
        }
    }

    /// Registers a schema under a subject. The same schema again changes nothing.
    pub fn decide_register(
        &self,
        name: &str,
        definition: &Definition,
    ) -> Result<Registered, Refused> {
        if name.is_empty()
            || name.len() > limits::SUBJECT_BYTES_MAX
            || name.chars().any(char::is_control)
        {
            return Err(Refused::invalid_subject(format!(
                "The specified subject '{}' is not a valid.",
                name.escape_debug()
            )));
        }
        let id = self.ids.get(&definition.identity).copied();
        let versions = self.subjects.get(name).map(|s| &s.versions);
        let live = versions.into_iter().flatten().find(|(_, v)| Some(v.id) == id && !v.deleted);
        if let Some((&version, v)) = live {
            return Ok(Registered { id: v.id, version, change: None });
        }
        let last = versions.and_then(|versions| versions.last_key_value()).map_or(0, |(n, _)| *n);
        let (Some(version), Some(id)) =
            (last.checked_add(1), id.or_else(|| self.last_id.checked_add(1)))
        else {
            return Err(Refused::Unprocessable {
                code: 42205,
                why: "there are no more version numbers or ids".into(),
            });
        };
        let change = Change::Version {
            subject: name.to_owned(),
            version,
            id,
            kind: definition.kind,
            references: Vec::new(),
            schema: definition.text.clone(),
            deleted: false,
        };
        Ok(Registered { id, version, change: Some(change) })
    }

    /// Deletes a version: first softly, and then, when `permanent`, for good.
    pub fn decide_delete_version(
        &self,
        name: &str,
        version: VersionRef,
        permanent: bool,
    ) -> Result<(i32, Change), Refused> {
        let versions = self.known(name)?;
        let (number, found) = match version {
            VersionRef::Latest => versions.iter().rfind(|(_, v)| permanent == v.deleted),
            VersionRef::Number(number) => versions.get_key_value(&number),
        }
        .ok_or_else(|| not_found(version))?;
        let (subject, number) = (name.to_owned(), *number);
        match (found.deleted, permanent) {
            (true, false) => Err(Refused::VersionSoftDeleted { subject, version: number }),
            (false, true) => Err(Refused::VersionNotSoftDeleted { subject, version: number }),
            (true, true) => Ok((number, Change::VersionErased { subject, version: number })),
            (false, false) => {
                let schema = &self.schemas[&found.id];
                let change = Change::Version {
                    subject,
                    version: number,
                    id: found.id,
                    kind: schema.kind,
                    references: schema.references.clone(),
                    schema: schema.text.clone(),
                    deleted: true,
                };
                Ok((number, change))
            }
        }
    }

    /// Deletes all versions of a subject: first softly, and then, when `permanent`, for good.
    /// Answers which versions went.
    pub fn decide_delete_subject(
        &self,
        name: &str,
        permanent: bool,
    ) -> Result<(Vec<i32>, Vec<Change>), Refused> {
        let versions = self.known(name)?;
        let live: Vec<i32> = numbers(versions, Listing::Live);
        match (live.last(), permanent) {
            (Some(_), true) => Err(Refused::SubjectNotSoftDeleted(name.to_owned())),
            (None, false) => Err(Refused::SubjectSoftDeleted(name.to_owned())),
            (Some(&version), false) => {
                let change = Change::SubjectDeleted { subject: name.to_owned(), version };
                Ok((live, vec![change]))
            }
            (None, true) => {
                let all = numbers(versions, Listing::All);
                let subject = name.to_owned();
                let changes = all
                    .iter()
                    .map(|&version| Change::VersionErased { subject: subject.clone(), version })
                    .collect();
                Ok((all, changes))
            }
        }
    }

    /// Sets the level of a subject or, without one, of all.
    pub fn decide_level(&self, subject: Option<&str>, level: Level) -> Change {
        Change::LevelSet { subject: subject.map(str::to_owned), level: Some(level) }
    }

    /// Takes a subject's own level away; answers which it was.
    pub fn decide_no_level(&self, name: &str) -> Result<(Level, Change), Refused> {
        let level = self.subject_level(name)?;
        Ok((level, Change::LevelSet { subject: Some(name.to_owned()), level: None }))
    }

    /// The level of all subjects without their own.
    pub fn level(&self) -> Level {
        self.level.unwrap_or_default()
    }

    /// The level of this subject; refused when it has none of its own.
    pub fn subject_level(&self, name: &str) -> Result<Level, Refused> {
        let subject = self.subjects.get(name);
        subject.and_then(|s| s.level).ok_or_else(|| Refused::NoSubjectLevel(name.to_owned()))
    }

    /// Names of subjects, sorted. A subject is deleted when all its versions are.
    pub fn subjects(&self, prefix: &str, listing: Listing) -> Vec<&str> {
        let named = self.subjects.iter().filter(|(name, _)| name.starts_with(prefix));
        named
            .filter(|(_, s)| !s.versions.is_empty())
            .filter(|(_, s)| listing.takes(s.versions.values().all(|v| v.deleted)))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Numbers of a subject's versions, ascending; refused when there is none to list.
    pub fn versions(&self, name: &str, listing: Listing) -> Result<Vec<i32>, Refused> {
        let numbers = numbers(self.known(name)?, listing);
        if numbers.is_empty() {
            Err(Refused::SubjectNotFound(name.to_owned()))
        } else {
            Ok(numbers)
        }
    }

    pub fn version<'a>(
        &'a self,
        name: &'a str,
        version: VersionRef,
        listing: Listing,
    ) -> Result<SubjectVersion<'a>, Refused> {
        let versions = self.known(name)?;
        let listed = || versions.iter().filter(|(_, v)| listing.takes(v.deleted));
        if listed().next().is_none() {
            return Err(Refused::SubjectNotFound(name.to_owned()));
        }
        let found = match version {
            VersionRef::Latest => listed().next_back(),
            VersionRef::Number(number) => listed().find(|(n, _)| **n == number),
        };
        let (number, found) = found.ok_or_else(|| not_found(version))?;
        Ok(self.subject_version(name, *number, *found))
    }

    /// The version under which a subject has this schema.
    pub fn look_up<'a>(
        &'a self,
        name: &'a str,
        definition: &Definition,
        listing: Listing,
    ) -> Result<SubjectVersion<'a>, Refused> {
        let versions = self.known(name)?;
        if !versions.values().any(|v| listing.takes(v.deleted)) {
            return Err(Refused::SubjectNotFound(name.to_owned()));
        }
        let id = self.ids.get(&definition.identity).ok_or(Refused::SchemaNotFound)?;
        let mut found = versions.iter().rev();
        let found = found.find(|(_, v)| v.id == *id && listing.takes(v.deleted));
        let (number, found) = found.ok_or(Refused::SchemaNotFound)?;
        Ok(self.subject_version(name, *number, *found))
    }

    pub fn schema(&self, id: SchemaId) -> Result<&Schema, Refused> {
        self.schemas.get(&id).ok_or(Refused::SchemaNotFound)
    }

    /// Where a schema is used, by subject and version.
    pub fn uses(&self, id: SchemaId, listing: Listing) -> Result<Vec<(&str, i32)>, Refused> {
        self.schema(id)?;
        let all = self.subjects.iter().flat_map(|(name, subject)| {
            subject.versions.iter().map(move |(number, v)| (name.as_str(), *number, v))
        });
        Ok(all
            .filter(|(_, _, v)| v.id == id && listing.takes(v.deleted))
            .map(|(name, number, _)| (name, number))
            .collect())
    }

    /// Subjects in which a schema is used, sorted.
    pub fn subjects_of(&self, id: SchemaId, listing: Listing) -> Result<Vec<&str>, Refused> {
        let uses = self.uses(id, listing)?;
        Ok(uses.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn known(&self, name: &str) -> Result<&BTreeMap<i32, Version>, Refused> {
        match self.subjects.get(name) {
            Some(subject) if !subject.versions.is_empty() => Ok(&subject.versions),
            _ => Err(Refused::SubjectNotFound(name.to_owned())),
        }
    }

    fn subject_version<'a>(
        &'a self,
        subject: &'a str,
        version: i32,
        found: Version,
    ) -> SubjectVersion<'a> {
        SubjectVersion { subject, version, id: found.id, schema: &self.schemas[&found.id] }
    }
}

fn numbers(versions: &BTreeMap<i32, Version>, listing: Listing) -> Vec<i32> {
    versions.iter().filter(|(_, v)| listing.takes(v.deleted)).map(|(n, _)| *n).collect()
}

fn not_found(version: VersionRef) -> Refused {
    Refused::VersionNotFound(match version {
        VersionRef::Latest => "latest".into(),
        VersionRef::Number(number) => number.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn avro(text: &str) -> Definition {
        Definition::parse(SchemaType::Avro, text, &[]).unwrap()
    }

    /// Registers and applies; answers (id, version).
    fn register(registry: &mut Registry, subject: &str, text: &str) -> (i32, i32) {
        let registered = registry.decide_register(subject, &avro(text)).unwrap();
        if let Some(change) = registered.change {
            registry.apply(change);
        }
        (registered.id, registered.version)
    }

    fn delete_version(
        registry: &mut Registry,
        subject: &str,
        version: VersionRef,
        permanent: bool,
    ) -> Result<i32, u32> {
        let (number, change) = registry
            .decide_delete_version(subject, version, permanent)
            .map_err(|refused| refused.code())?;
        registry.apply(change);
        Ok(number)
    }

    fn delete_subject(
        registry: &mut Registry,
        subject: &str,
        permanent: bool,
    ) -> Result<Vec<i32>, u32> {
        let (numbers, changes) =
            registry.decide_delete_subject(subject, permanent).map_err(|r| r.code())?;
        changes.into_iter().for_each(|change| registry.apply(change));
        Ok(numbers)
    }

    #[test]
    fn a_schema_has_one_id_in_all_subjects_and_registering_again_changes_nothing() {
        let mut registry = Registry::default();
        assert_eq!(register(&mut registry, "a", "\"int\""), (1, 1));
        assert_eq!(register(&mut registry, "a", "\"long\""), (2, 2));
        assert_eq!(register(&mut registry, "b", r#"{"type":"long"}"#), (2, 1));
        let again = registry.decide_register("a", &avro("\"int\"")).unwrap();
        assert_eq!(again, Registered { id: 1, version: 1, change: None });
        assert_eq!(registry.uses(2, Listing::Live), Ok(vec![("a", 2), ("b", 1)]));
        assert_eq!(registry.subjects_of(2, Listing::Live), Ok(vec!["a", "b"]));
        assert_eq!(registry.subjects("", Listing::Live), ["a", "b"]);
        assert_eq!(registry.subjects("b", Listing::Live), ["b"]);
        let latest = registry.version("a", VersionRef::Latest, Listing::Live).unwrap();
        assert_eq!((latest.version, latest.id, latest.schema.text.as_str()), (2, 2, "\"long\""));
        let found = registry.look_up("b", &avro("\"long\""), Listing::Live).unwrap();
        assert_eq!((found.version, found.id), (1, 2));
    }

    #[test]
    fn deletion_is_soft_first_and_then_for_good() {
        let mut registry = Registry::default();
        register(&mut registry, "a", "\"int\"");
        register(&mut registry, "a", "\"long\"");
        let one = VersionRef::Number(1);
        assert_eq!(delete_version(&mut registry, "a", one, true), Err(40407));
        assert_eq!(delete_version(&mut registry, "a", one, false), Ok(1));
        assert_eq!(delete_version(&mut registry, "a", one, false), Err(40406));
        assert_eq!(registry.versions("a", Listing::Live), Ok(vec![2]));
        assert_eq!(registry.versions("a", Listing::All), Ok(vec![1, 2]));
        assert_eq!(registry.versions("a", Listing::OnlyDeleted), Ok(vec![1]));
        assert_eq!(registry.schema(1).unwrap().text, "\"int\"", "ids outlive a soft deletion");
        assert_eq!(delete_version(&mut registry, "a", one, true), Ok(1));
        assert_eq!(registry.schema(1), Err(Refused::SchemaNotFound));

        assert_eq!(delete_subject(&mut registry, "a", true), Err(40405));
        assert_eq!(delete_subject(&mut registry, "a", false), Ok(vec![2]));
        assert_eq!(delete_subject(&mut registry, "a", false), Err(40404));
        assert_eq!(registry.subjects("", Listing::Live), Vec::<&str>::new());
        assert_eq!(registry.subjects("", Listing::OnlyDeleted), ["a"]);
        assert_eq!(register(&mut registry, "a", "\"long\""), (2, 3), "numbers are not used again");
        assert_eq!(delete_subject(&mut registry, "a", false), Ok(vec![3]));
        assert_eq!(delete_subject(&mut registry, "a", true), Ok(vec![2, 3]));
        assert_eq!(delete_subject(&mut registry, "a", true), Err(40401));
        assert_eq!(register(&mut registry, "a", "\"int\""), (3, 1), "ids are not used again");
    }

    #[test]
    fn what_is_not_there_has_its_own_code() {
        let mut registry = Registry::default();
        register(&mut registry, "a", "\"int\"");
        let version = |name, version| {
            registry.version(name, version, Listing::Live).map(|v| v.id).map_err(|r| r.code())
        };
        assert_eq!(version("a", VersionRef::Number(1)), Ok(1));
        assert_eq!(version("a", VersionRef::Number(2)), Err(40402));
        assert_eq!(version("b", VersionRef::Latest), Err(40401));
        let look_up = |name, text: &str| {
            registry.look_up(name, &avro(text), Listing::Live).map(|v| v.id).map_err(|r| r.code())
        };
        assert_eq!(look_up("a", "\"int\""), Ok(1));
        assert_eq!(look_up("a", "\"long\""), Err(40403));
        assert_eq!(look_up("b", "\"int\""), Err(40401));
        assert_eq!(registry.schema(9).map_err(|r| r.code()), Err(40403));
        for (said, meant) in [
            ("latest", Ok(VersionRef::Latest)),
            ("-1", Ok(VersionRef::Latest)),
            ("7", Ok(VersionRef::Number(7))),
            ("0", Err(42202)),
            ("2147483648", Err(42202)),
            ("one", Err(42202)),
        ] {
            assert_eq!(VersionRef::parse(said).map_err(|r| r.code()), meant, "{said}");
        }
        for name in ["", "a\nb", &"x".repeat(limits::SUBJECT_BYTES_MAX + 1)] {
            let refused = registry.decide_register(name, &avro("\"int\"")).unwrap_err();
            assert_eq!(refused.code(), 42208);
        }
    }

    #[test]
    fn only_the_level_none_can_be_set() {
        let mut registry = Registry::default();
        assert_eq!(registry.level(), Level::None);
        assert_eq!(registry.subject_level("a").map_err(|r| r.code()), Err(40408));
        registry.apply(registry.decide_level(Some("a"), Level::None));
        assert_eq!(registry.subject_level("a"), Ok(Level::None));
        assert_eq!(
            registry.subjects("", Listing::All),
            Vec::<&str>::new(),
            "a level is no subject"
        );
        let (level, change) = registry.decide_no_level("a").unwrap();
        assert_eq!(level, Level::None);
        registry.apply(change);
        assert_eq!(registry.subject_level("a").map_err(|r| r.code()), Err(40408));
        for (name, part) in [("BACKWARD", "not supported yet"), ("SIDEWAYS", "Invalid")] {
            let refused = Level::named(name).unwrap_err();
            assert_eq!(refused.code(), 42203);
            assert!(refused.to_string().contains(part), "{refused}");
        }
    }

    #[test]
    fn replaying_the_records_gives_the_same_registry() {
        let mut registry = Registry::default();
        let mut records = Vec::new();
        let mut run = |registry: &mut Registry, changes: Vec<Change>| {
            for change in changes {
                records.push(change.to_record());
                registry.apply(change);
            }
        };
        for (subject, text) in [("a", "\"int\""), ("a", "\"long\""), ("b", "\"int\"")] {
            let registered = registry.decide_register(subject, &avro(text)).unwrap();
            run(&mut registry, registered.change.into_iter().collect());
        }
        let (_, change) = registry.decide_delete_version("a", VersionRef::Latest, false).unwrap();
        run(&mut registry, vec![change]);
        let (_, changes) = registry.decide_delete_subject("b", false).unwrap();
        run(&mut registry, changes);
        let (_, changes) = registry.decide_delete_subject("b", true).unwrap();
        run(&mut registry, changes);

        let mut replayed = Registry::default();
        for (key, value) in &records {
            let change = Change::from_record(Some(key), value.as_deref()).unwrap().unwrap();
            replayed.apply(change);
        }
        assert_eq!(format!("{:?}", replayed.subjects), format!("{:?}", registry.subjects));
        assert_eq!(replayed.schemas, registry.schemas);
        assert_eq!(replayed.ids, registry.ids);
        assert_eq!(replayed.last_id, registry.last_id);
    }
}
