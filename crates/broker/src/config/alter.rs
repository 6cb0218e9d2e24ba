//! What is said of a resource after a client's alteration (KIP-133, KIP-339).
//!
//! Pure: what was said and the alteration in, what is said out; whether the values are allowed is the
//! tables' to say afterwards.

use std::collections::BTreeSet;

use super::broker_row::{ASSIGNORS, Live, Value};
use super::broker_table::broker_config;
use super::rule::list;
use super::topic_table::topic_config;
use super::{ConfigKind, Said};
use crate::{ConfigResource, TopicRefused};

/// How a client alters one resource.
#[derive(Clone, Debug)]
pub enum Alteration {
    /// These are all that is said from now on; what is not named goes back to its default.
    Replace(Vec<(String, Option<String>)>),
    /// Each of these, and nothing else, changes.
    Change(Vec<ConfigChange>),
}

#[derive(Clone, Debug)]
pub struct ConfigChange {
    pub name: String,
    pub op: ConfigOp,
    pub value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOp {
    Set,
    /// Back to the default.
    Delete,
    /// Adds words to a list, those that are not in it.
    Append,
    /// Takes words out of a list, those that are in it.
    Subtract,
}

impl Alteration {
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Replace(configs) => configs.iter().map(|(name, _)| name.as_str()).collect(),
            Self::Change(changes) => changes.iter().map(|change| change.name.as_str()).collect(),
        }
    }
}

/// What is said of the resource after the alteration.
pub(crate) fn altered(
    resource: &ConfigResource,
    said: &Said,
    alteration: &Alteration,
) -> Result<Said, TopicRefused> {
    let names = alteration.names();
    if names.iter().collect::<BTreeSet<_>>().len() != names.len() {
        return Err(TopicRefused::InvalidRequest("Error due to duplicate config keys".to_owned()));
    }
    match alteration {
        Alteration::Replace(configs) => {
            let said = configs.iter().map(|(name, value)| Ok((name.clone(), given(name, value)?)));
            said.collect()
        }
        Alteration::Change(changes) => {
            let mut said = said.clone();
            for change in changes {
                apply(resource, &mut said, change)?;
            }
            Ok(said)
        }
    }
}

fn apply(
    resource: &ConfigResource,
    said: &mut Said,
    change: &ConfigChange,
) -> Result<(), TopicRefused> {
    let ConfigChange { name, op, value } = change;
    match op {
        ConfigOp::Set => {
            said.insert(name.clone(), given(name, value)?);
        }
        ConfigOp::Delete => {
            said.remove(name);
        }
        ConfigOp::Append | ConfigOp::Subtract => {
            let value = given(name, value)?;
            let Some(default) = default_list(resource, name) else {
                return Err(TopicRefused::InvalidConfig(format!(
                    "Can't {} to key {name} because its type is not LIST.",
                    if *op == ConfigOp::Append { "APPEND" } else { "SUBTRACT" }
                )));
            };
            let before = said.get(name).map_or(default, String::as_str);
            let mut words: Vec<&str> = list(before).collect();
            for word in list(&value) {
                match op {
                    ConfigOp::Append if !words.contains(&word) => words.push(word),
                    ConfigOp::Append => {}
                    _ => words.retain(|kept| *kept != word),
                }
            }
            let words = words.join(",");
            said.insert(name.clone(), words);
        }
    }
    Ok(())
}

fn given(name: &str, value: &Option<String>) -> Result<String, TopicRefused> {
    let value = value.as_ref().map(|value| value.trim().to_owned());
    value.ok_or_else(|| {
        TopicRefused::InvalidRequest(format!("Null value not supported for : {name}"))
    })
}

/// The list that a config is when nothing is said of it; none for what is not a list. Groups have none.
fn default_list(resource: &ConfigResource, name: &str) -> Option<&'static str> {
    let topic = match resource {
        ConfigResource::Topic(_) => topic_config(name)?,
        ConfigResource::Broker(_) => match broker_config(name)?.value {
            Value::Live(Live::OfTopics(config)) => config,
            Value::Live(Live::Assignors) => return Some(ASSIGNORS),
            _ => return None,
        },
        _ => return None,
    };
    (topic.kind == ConfigKind::List).then_some(topic.default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pairs: &[(&str, &str)]) -> Said {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_operation_changes_one_config() {
        use ConfigOp::{Append, Delete, Set, Subtract};
        const POLICY: &str = "cleanup.policy";
        const MS: &str = "retention.ms";
        type Case<'a> = (
            &'a [(&'a str, &'a str)],
            &'a str,
            ConfigOp,
            Option<&'a str>,
            Result<&'a str, &'a str>,
        );
        let cases: &[Case<'_>] = &[
            (&[], MS, Set, Some(" 5 "), Ok("5")),
            (&[(MS, "4")], MS, Set, Some("5"), Ok("5")),
            (&[(MS, "4")], MS, Delete, None, Ok("")),
            (&[], MS, Delete, Some("x"), Ok("")),
            (&[], "nonsense", Delete, None, Ok("")),
            (&[], POLICY, Append, Some("compact"), Ok("delete,compact")),
            (&[(POLICY, "compact")], POLICY, Append, Some("compact"), Ok("compact")),
            (&[(POLICY, "delete,compact")], POLICY, Subtract, Some("delete"), Ok("compact")),
            (&[(POLICY, "compact")], POLICY, Subtract, Some("delete"), Ok("compact")),
            (&[], POLICY, Subtract, Some("delete"), Ok("")),
            (
                &[],
                MS,
                Append,
                Some("5"),
                Err("Can't APPEND to key retention.ms because its type is not LIST."),
            ),
            (
                &[],
                "nonsense",
                Subtract,
                Some("5"),
                Err("Can't SUBTRACT to key nonsense because its type is not LIST."),
            ),
            (&[], MS, Set, None, Err("Null value not supported for : retention.ms")),
        ];
        let topic = ConfigResource::Topic("t".to_owned());
        for (before, name, op, value, expected) in cases {
            let name = (*name).to_owned();
            let change =
                ConfigChange { name: name.clone(), op: *op, value: value.map(str::to_owned) };
            let after = altered(&topic, &text(before), &Alteration::Change(vec![change]));
            let seen = after.map(|said| said.get(&name).cloned().unwrap_or_default());
            let seen = seen.map_err(|refused| refused.to_string());
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(seen, expected, "{before:?} {name} {op:?} {value:?}");
        }
    }

    #[test]
    fn a_replacement_forgets_what_it_does_not_name() {
        let broker = ConfigResource::Broker(String::new());
        let new = Alteration::Replace(vec![("log.retention.ms".to_owned(), Some("1".to_owned()))]);
        let after = altered(&broker, &text(&[("num.partitions", "3")]), &new).unwrap();
        assert_eq!(after, text(&[("log.retention.ms", "1")]));
    }

    #[test]
    fn a_config_named_twice_is_refused() {
        let twice = vec![("retention.ms".to_owned(), Some("1".to_owned())); 2];
        let topic = ConfigResource::Topic("t".to_owned());
        let refused = altered(&topic, &Said::new(), &Alteration::Replace(twice)).unwrap_err();
        let expected = "Error due to duplicate config keys".to_owned();
        assert_eq!(refused, TopicRefused::InvalidRequest(expected));
    }
}
