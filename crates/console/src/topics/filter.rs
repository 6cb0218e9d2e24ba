//! Which records are meant: a key, a time, a text or regular expression, JSONPath, CEL. All of them must hold.
//!
//! Whatever a record holds, one judgement is bounded: a text is searched in linear time in so many bytes, and JSON that
//! is too large, or could take too many steps, is not looked into, which the verdict says. Limits:
//! [`FILTER_CHARS_MAX`], [`FILTERED_TEXT_BYTES_MAX`], [`FILTERED_JSON_BYTES_MAX`], and those of paths and of CEL.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;
use tidings_engine::Record;
use tidings_gateway::Trouble;

use super::cel::Cel;
use crate::json_path::{Extent, JsonPath};
use crate::limits::{
    FILTER_CHARS_MAX, FILTERED_JSON_BYTES_MAX, FILTERED_TEXT_BYTES_MAX, REGEX_BYTES_MAX,
};

/// What a record is asked for. The default takes all.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Not before, and before: milliseconds since the epoch.
    pub(super) since: Option<i64>,
    pub(super) until: Option<i64>,
    pub(super) key: Option<String>,
    pub(super) text: Option<Regex>,
    pub(super) json: Vec<Condition>,
    pub(super) cel: Option<Cel>,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    Left,
    /// It could not be told: its JSON is too large, or would take too many steps.
    TooLarge,
    /// The expression does not fit the record, for this reason.
    Failed(String),
}

impl Filter {
    /// Whether it has to look into records.
    pub(super) fn looks_inside(&self) -> bool {
        self.text.is_some() || !self.json.is_empty() || self.cel.is_some()
    }

    pub(super) fn judge(&self, record: &Record) -> Verdict {
        let time = record.timestamp;
        let in_time = self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time < until);
        let key = record.key.as_deref();
        let by_key = self.key.as_ref().is_none_or(|wanted| key == Some(wanted.as_bytes()));
        if !in_time || !by_key || self.text.as_ref().is_some_and(|text| !mentions(record, text)) {
            return Verdict::Left;
        }
        if self.json.is_empty() && self.cel.is_none() {
            return Verdict::Taken;
        }
        let bytes = record.value.as_deref();
        if bytes.is_some_and(|bytes| bytes.len() > FILTERED_JSON_BYTES_MAX) {
            return Verdict::TooLarge;
        }
        let value = bytes.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        let extent = value.as_ref().map_or(Extent { nodes: 1, depth: 1 }, Extent::of);
        for condition in &self.json {
            match value.as_ref().map(|value| condition.holds(value, extent)) {
                Some(Some(true)) => {}
                Some(None) => return Verdict::TooLarge,
                Some(Some(false)) | None => return Verdict::Left,
            }
        }
        match &self.cel {
            Some(cel) => cel.judge(record, value.as_ref(), extent),
            None => Verdict::Taken,
        }
    }
}

fn mentions(record: &Record, text: &Regex) -> bool {
    let head = |bytes: &[u8]| text.is_match(&bytes[..bytes.len().min(FILTERED_TEXT_BYTES_MAX)]);
    let headers = record.headers.iter().filter_map(|header| header.value.as_deref());
    record.key.as_deref().into_iter().chain(record.value.as_deref()).chain(headers).any(head)
}

/// A text as it stands, whatever its case; between slashes a regular expression.
pub(super) fn text(said: &str) -> Result<Regex, Trouble> {
    fits("q", said)?;
    let between = said.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let pattern = between.map_or_else(|| regex::escape(said), str::to_owned);
    let built = RegexBuilder::new(&pattern)
        .case_insensitive(between.is_none())
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build();
    built.map_err(|error| {
        refused("q", said, &regex_trouble(&error))
            .hint("q=TEXT for a text as it stands, q=/REGEX/ for a regular expression")
    })
}

/// Why an expression cannot be compiled, in one clause.
pub(super) fn regex_trouble(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("it needs more than {limit} bytes"),
        // The text of the expression comes first, over several lines.
        other => other.to_string().lines().last().unwrap_or_default().trim().to_owned(),
    }
}

pub(super) fn fits(name: &str, said: &str) -> Result<(), Trouble> {
    let chars = said.chars().count();
    if chars <= FILTER_CHARS_MAX {
        return Ok(());
    }
    let why = format!("`{name}` has {chars} characters, and at most {FILTER_CHARS_MAX}");
    Err(Trouble::bad_request(why))
}

pub(super) fn refused(name: &str, said: &str, why: &str) -> Trouble {
    Trouble::bad_request(format!("`{name}` is {said:?}: {why}"))
        .titled("The filter is not understood")
}

/// A path that must find something, or find this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    path: JsonPath,
    wanted: Option<String>,
}

impl Condition {
    pub(super) fn parse(said: &str) -> Result<Self, Trouble> {
        fits("json", said)?;
        let (path, wanted) = JsonPath::parse_condition(said).map_err(|why| {
            refused("json", said, &why)
                .hint("json=$.customer.id, json=$.items[*].sku=A1, json=$.items[?@.qty > 3]")
        })?;
        Ok(Self { path, wanted: wanted.map(|wanted| wanted.trim().to_owned()) })
    }

    /// None when it would take too long to tell.
    fn holds(&self, value: &Value, extent: Extent) -> Option<bool> {
        let found = self.path.find_within(value, extent)?;
        Some(match &self.wanted {
            None => !found.is_empty(),
            Some(wanted) => found.into_iter().any(|found| is(found, wanted)),
        })
    }
}

/// A text is that text; all else is meant when it is the same JSON.
fn is(found: &Value, wanted: &str) -> bool {
    match found {
        Value::String(text) => text == wanted,
        other => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| *other == wanted),
    }
}

#[cfg(test)]
mod tests {
    use tidings_engine::Header;

    use super::*;

    fn record(key: &str, value: &str) -> Record {
        Record {
            topic: "orders".into(),
            partition: 3,
            offset: 41,
            timestamp: 1_000,
            key: Some(key.to_owned().into()),
            value: Some(value.to_owned().into()),
            headers: vec![Header::text("ce_type", "OrderPlaced")],
        }
    }

    const ORDER: &str =
        r#"{"id":7,"who":"Ann","items":[{"sku":"A1","qty":2},{"sku":"B2","qty":5}]}"#;

    #[test]
    fn every_condition_must_hold() {
        let record = record("536365", ORDER);
        let json = |said: &str| vec![Condition::parse(said).unwrap()];
        let by_text = |said: &str| Filter { text: Some(text(said).unwrap()), ..Filter::default() };
        for (what, filter, taken) in [
            ("nothing", Filter::default(), true),
            ("since", Filter { since: Some(1_000), ..Filter::default() }, true),
            ("since later", Filter { since: Some(1_001), ..Filter::default() }, false),
            ("until", Filter { until: Some(1_001), ..Filter::default() }, true),
            ("until then", Filter { until: Some(1_000), ..Filter::default() }, false),
            ("key", Filter { key: Some("536365".into()), ..Filter::default() }, true),
            ("part of a key", Filter { key: Some("5363".into()), ..Filter::default() }, false),
            ("text", by_text("ann"), true),
            ("text of a key", by_text("5363"), true),
            ("text of a header", by_text("orderplaced"), true),
            ("other text", by_text("bob"), false),
            ("regex", by_text(r"/B\d/"), true),
            ("regex with its case", by_text("/ann/"), false),
            ("path", Filter { json: json("$.items[?@.qty > 4]"), ..Filter::default() }, true),
            ("path to nothing", Filter { json: json("$.price"), ..Filter::default() }, false),
            ("path and number", Filter { json: json("id=7"), ..Filter::default() }, true),
            (
                "path and text",
                Filter { json: json("$.items[*].sku = B2"), ..Filter::default() },
                true,
            ),
            ("path and other", Filter { json: json("$.who=Bob"), ..Filter::default() }, false),
            (
                "filter and value",
                Filter { json: json("$.items[?@.qty == 5].sku=B2"), ..Filter::default() },
                true,
            ),
        ] {
            let verdict = filter.judge(&record);
            assert_eq!(verdict, if taken { Verdict::Taken } else { Verdict::Left }, "{what}");
        }
    }

    #[test]
    fn what_is_no_json_is_left_and_what_is_too_large_is_said() {
        let wants = |said: &str| Filter {
            json: vec![Condition::parse(said).unwrap()],
            ..Filter::default()
        };
        let path = wants("$.id");
        for (value, wanted) in [
            ("no JSON".to_owned(), Verdict::Left),
            (String::new(), Verdict::Left),
            ("7".to_owned(), Verdict::Left),
            ("[".repeat(100_000), Verdict::Left),
            (format!("[{}1]", "1,".repeat(FILTERED_JSON_BYTES_MAX / 2)), Verdict::TooLarge),
        ] {
            assert_eq!(path.judge(&record("k", &value)), wanted, "{value:.20}");
        }
        let slow = wants("$[?@ == $[7]]");
        let wide = format!("[{}1]", "1,".repeat(10_000));
        assert_eq!(slow.judge(&record("k", &wide)), Verdict::TooLarge);
        let mut tombstone = record("k", "");
        tombstone.value = None;
        assert_eq!(path.judge(&tombstone), Verdict::Left);
    }

    #[test]
    fn bombs_are_refused_with_a_reason() {
        for (said, wanted) in [
            ("/(a{1000}){1000}/".to_owned(), "it needs more than"),
            ("/(/".to_owned(), "unclosed group"),
            ("x".repeat(FILTER_CHARS_MAX + 1), "characters, and at most"),
        ] {
            let trouble = text(&said).expect_err(&said);
            assert_eq!(trouble.status.as_u16(), 400);
            assert!(trouble.detail.contains(wanted), "{}", trouble.detail);
        }
        // What makes other engines exponential is linear here.
        let hard = text("/(a+)+$/").unwrap();
        assert!(!mentions(&record("k", &format!("{}b", "a".repeat(1_000_000))), &hard));
        assert!(Condition::parse("$[=").is_err());
    }
}
