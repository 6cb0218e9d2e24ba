//! Which values a config takes, and what is said of those it does not.
//!
//! The texts are Kafka's where Kafka has the rule, as tools show and match them.

use super::ConfigKind;
use crate::limits::CONFIG_VALUE_BYTES_MAX;

/// Values that a config takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    Boolean,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Some of these words with commas between; none of them too.
    List(&'static [&'static str]),
    /// A number of this range.
    Range(i64, i64),
    /// -1, or a number of this range.
    UnlessMinusOne(i64, i64),
    /// A fraction, 0 to 1.
    Fraction,
    /// `*`, or pairs of partition and broker as `0:1,1:1`; nothing too.
    Replicas,
    /// Only this, and why.
    Only(&'static str, &'static str),
}

impl Rule {
    /// Why the value of the config is not taken, as one sentence; the value is trimmed.
    pub(super) fn check(&self, name: &str, kind: ConfigKind, value: &str) -> Result<(), String> {
        if value.len() > CONFIG_VALUE_BYTES_MAX {
            let bytes = value.len();
            return Err(format!(
                "Invalid value of {bytes} bytes for configuration {name}: Value must be no longer \
                 than {CONFIG_VALUE_BYTES_MAX} bytes"
            ));
        }
        match self.trouble(kind, value) {
            None => Ok(()),
            Some(trouble) => {
                Err(format!("Invalid value {value} for configuration {name}: {trouble}"))
            }
        }
    }

    fn trouble(&self, kind: ConfigKind, value: &str) -> Option<String> {
        let one_of = |words: &[&str]| format!("String must be one of: {}", words.join(", "));
        let trouble = match *self {
            Self::Boolean if truth(value).is_some() => return None,
            Self::Boolean => "Expected value to be either true or false".to_owned(),
            Self::Words(words) if words.contains(&value) => return None,
            Self::Words(words) => one_of(words),
            Self::List(words) if list(value).all(|word| words.contains(&word)) => return None,
            Self::List(words) => one_of(words),
            Self::Range(min, max) => return out_of_range(kind, value, min, max),
            Self::UnlessMinusOne(..) if value == "-1" => return None,
            Self::UnlessMinusOne(min, max) => return out_of_range(kind, value, min, max),
            Self::Fraction if millionths(value).is_some() => return None,
            Self::Fraction if value.parse::<f64>().is_ok() => {
                "Value must be at least 0 and no more than 1".to_owned()
            }
            Self::Fraction => "Not a number of type DOUBLE".to_owned(),
            Self::Replicas if value == "*" || list(value).all(is_replica) => return None,
            Self::Replicas => {
                "Value must be the literal '*' or a list of partition:broker pairs".to_owned()
            }
            Self::Only(only, _) if value == only => return None,
            Self::Only(only, why) => format!("Value must be {only}: {why}"),
        };
        Some(trouble)
    }
}

fn out_of_range(kind: ConfigKind, value: &str, min: i64, max: i64) -> Option<String> {
    let parsed = value.parse::<i64>().ok().filter(|number| match kind {
        ConfigKind::Int => i32::try_from(*number).is_ok(),
        ConfigKind::Short => i16::try_from(*number).is_ok(),
        _ => true,
    });
    let Some(number) = parsed else {
        let kind = match kind {
            ConfigKind::Int => "INT",
            ConfigKind::Short => "SHORT",
            _ => "LONG",
        };
        return Some(format!("Not a number of type {kind}"));
    };
    if number < min {
        Some(format!("Value must be at least {min}"))
    } else if number > max {
        Some(format!("Value must be no more than {max}"))
    } else {
        None
    }
}

fn is_replica(pair: &str) -> bool {
    let number = |digits: &str| digits.parse::<u32>().is_ok();
    pair.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
}

/// The words of a list; an empty one has none.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// What a boolean says, as Kafka reads it.
pub(super) fn truth(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A fraction between 0 and 1 as a number of millionths.
pub(super) fn millionths(value: &str) -> Option<u32> {
    let fraction = value.parse::<f64>().ok().filter(|fraction| (0.0..=1.0).contains(fraction))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a million"
    )]
    Some((fraction * 1e6).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_kafka_says() {
        use ConfigKind::{Boolean, Double, Int, List, Long, String};
        const POLICY: Rule = Rule::List(&["compact", "delete"]);
        let cases: &[(Rule, ConfigKind, &str, Option<&str>)] = &[
            (Rule::Range(-1, i64::MAX), Long, "-1", None),
            (Rule::Range(-1, i64::MAX), Long, "x", Some("Not a number of type LONG")),
            (Rule::Range(-1, i64::MAX), Long, "-2", Some("Value must be at least -1")),
            (Rule::Range(1, 17), Int, "99", Some("Value must be no more than 17")),
            (Rule::Range(0, i64::MAX), Int, "2147483648", Some("Not a number of type INT")),
            (Rule::UnlessMinusOne(1, 9), Int, "-1", None),
            (Rule::UnlessMinusOne(1, 9), Int, "0", Some("Value must be at least 1")),
            (POLICY, List, "", None),
            (POLICY, List, "delete, compact", None),
            (POLICY, List, "delete,delete", None),
            (POLICY, List, "foo", Some("String must be one of: compact, delete")),
            (Rule::Words(&["a"]), String, "A", Some("String must be one of: a")),
            (Rule::Boolean, Boolean, "TRUE", None),
            (Rule::Boolean, Boolean, "maybe", Some("Expected value to be either true or false")),
            (Rule::Fraction, Double, "0.01", None),
            (Rule::Fraction, Double, "1.5", Some("Value must be at least 0 and no more than 1")),
            (Rule::Fraction, Double, "half", Some("Not a number of type DOUBLE")),
            (Rule::Replicas, List, "*", None),
            (Rule::Replicas, List, "0:1,1:1", None),
            (
                Rule::Replicas,
                List,
                "0-1",
                Some("Value must be the literal '*' or a list of partition:broker pairs"),
            ),
            (Rule::Only("1", "one replica"), Int, "2", Some("Value must be 1: one replica")),
        ];
        for (rule, kind, value, trouble) in cases {
            let expected = match trouble {
                None => Ok(()),
                Some(trouble) => {
                    Err(format!("Invalid value {value} for configuration c: {trouble}"))
                }
            };
            assert_eq!(rule.check("c", *kind, value), expected, "{rule:?}");
        }
    }

    #[test]
    fn a_value_has_a_limit() {
        let value = "1:1,".repeat(CONFIG_VALUE_BYTES_MAX);
        let refused = Rule::Replicas.check("c", ConfigKind::List, &value).unwrap_err();
        assert!(refused.starts_with("Invalid value of 131068 bytes for configuration c"));
    }
}
