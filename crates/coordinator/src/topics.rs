//! The node's topics as groups need them: ids, names and numbers of partitions, handed in by the
//! owner whenever one changes.

use std::collections::BTreeMap;

/// A topic's UUID.
pub type TopicId = [u8; 16];

/// How a request names a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicName {
    Name(String),
    Id(TopicId),
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for TopicName {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    pub id: TopicId,
    pub partitions: i32,
}

/// Invariant: a name has one id and an id one name.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    by_name: BTreeMap<String, TopicFacts>,
    names: BTreeMap<TopicId, String>,
    version: u64,
}

impl Topics {
    /// The topic is new, or has another id or number of partitions than before.
    pub fn put(&mut self, name: &str, facts: TopicFacts) {
        if let Some(before) = self.by_name.insert(name.to_owned(), facts) {
            self.names.remove(&before.id);
        }
        self.names.insert(facts.id, name.to_owned());
        self.version += 1;
    }

    pub fn remove(&mut self, name: &str) {
        if let Some(before) = self.by_name.remove(name) {
            self.names.remove(&before.id);
            self.version += 1;
        }
    }

    pub fn facts(&self, name: &str) -> Option<TopicFacts> {
        self.by_name.get(name).copied()
    }

    pub fn name_of(&self, id: &TopicId) -> Option<&str> {
        self.names.get(id).map(String::as_str)
    }

    /// The name of a topic that there is, or the name that was asked for.
    pub fn resolve<'a>(&'a self, asked: &'a TopicName) -> Option<&'a str> {
        match asked {
            TopicName::Name(name) => Some(name),
            TopicName::Id(id) => self.name_of(id),
        }
    }

    pub fn has(&self, name: &str, partition: i32) -> bool {
        self.facts(name).is_some_and(|facts| (0..facts.partitions).contains(&partition))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, TopicFacts)> {
        self.by_name.iter().map(|(name, facts)| (name.as_str(), *facts))
    }

    /// Grows with every change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }
}
