//! Subscriptions by regular expression, as RE2 understands it (KIP-848): an expression must match the
//! whole name of a topic, and takes time in proportion to the name.

use std::collections::BTreeSet;

use regex::RegexBuilder;

use super::ResolvedRegex;
use crate::{ConsumerTrouble, GroupRefused, Now, Topics, limits};

/// The topics that an expression stands for at present.
pub(super) fn resolve(
    expression: &str,
    topics: &Topics,
    now: Now,
) -> Result<ResolvedRegex, GroupRefused> {
    let refused = |why: String| GroupRefused::from(ConsumerTrouble::InvalidRegex(why));
    if expression.len() > limits::REGEX_BYTES_MAX {
        return Err(refused(format!("it is longer than {} bytes", limits::REGEX_BYTES_MAX)));
    }
    // By itself first: in parentheses, `a)|(b` would be one.
    let compiled = RegexBuilder::new(expression)
        .size_limit(limits::REGEX_COMPILED_BYTES_MAX)
        .build()
        .and_then(|_| {
            RegexBuilder::new(&format!(r"\A(?:{expression})\z"))
                .size_limit(limits::REGEX_COMPILED_BYTES_MAX)
                .build()
        })
        .map_err(|error| refused(error.to_string()))?;
    let matching = topics.iter().filter(|(name, _)| compiled.is_match(name));
    let matching: BTreeSet<String> = matching.map(|(name, _)| name.to_owned()).collect();
    let version = i64::try_from(topics.version()).unwrap_or(i64::MAX);
    Ok(ResolvedRegex { topics: matching, version, timestamp_ms: now.wall_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GroupTrouble, TopicFacts};

    #[test]
    fn an_expression_matches_whole_names() {
        let mut topics = Topics::default();
        for (number, name) in (1..).zip(["orders", "orders-eu", "bills", "b"]) {
            topics.put(name, TopicFacts { id: [number; 16], partitions: 1 });
        }
        let now = Now { wall_ms: 5, mono_ms: 0 };
        let cases = [
            ("orders", vec!["orders"]),
            ("orders.*", vec!["orders", "orders-eu"]),
            ("b|bills", vec!["b", "bills"]),
            ("(?i)ORDERS(-eu)?", vec!["orders", "orders-eu"]),
            ("order", vec![]),
            ("", vec![]),
        ];
        for (expression, expected) in cases {
            let found = resolve(expression, &topics, now).expect(expression);
            assert_eq!(found.topics.iter().collect::<Vec<_>>(), expected, "{expression}");
        }
        let long = "x".repeat(limits::REGEX_BYTES_MAX + 1);
        for wrong in ["(", "a)|(b", r"(a)\1", "a(?=b)", "(a{1000}){1000}", &long] {
            let refused = resolve(wrong, &topics, now);
            let is_invalid = |refused| {
                matches!(
                    refused,
                    GroupRefused::Other(GroupTrouble::Consumer(ConsumerTrouble::InvalidRegex(_)))
                )
            };
            assert!(refused.is_err_and(is_invalid), "{wrong}");
        }
    }
}
