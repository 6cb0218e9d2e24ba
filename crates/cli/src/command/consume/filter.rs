//! Which records are meant. Every condition must hold; of several keys, one.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;
use tidings_console::JsonPath;
use tidings_node::Record;
use tidings_terminal::failure::{Exit, Failure};

use crate::args::Consume;
use crate::limits::GREP_BYTES_MAX;

#[derive(Clone, Debug)]
pub(super) struct Filter {
    keys: Vec<String>,
    grep: Option<Regex>,
    headers: Vec<(String, String)>,
    json: Vec<(JsonPath, String)>,
}

impl Filter {
    pub(super) fn of(said: &Consume) -> Result<Self, Failure> {
        Ok(Self {
            keys: said.key.clone(),
            grep: said.grep.as_deref().map(grep).transpose()?,
            headers: said.header.clone(),
            json: said
                .json
                .iter()
                .map(|(path, value)| json(path, value))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether keys or values matter to it.
    pub(super) fn looks_inside(&self) -> bool {
        !self.keys.is_empty() || self.grep.is_some() || !self.json.is_empty()
    }

    pub(super) fn takes(&self, record: &Record) -> bool {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let by_key =
            self.keys.is_empty() || self.keys.iter().any(|wanted| Some(wanted.as_bytes()) == key);
        by_key
            && self.headers.iter().all(|wanted| has_header(record, wanted))
            && self.grep.as_ref().is_none_or(|grep| {
                [key, value].into_iter().flatten().any(|bytes| grep.is_match(bytes))
            })
            && self.has_json(value)
    }

    fn has_json(&self, value: Option<&[u8]>) -> bool {
        if self.json.is_empty() {
            return true;
        }
        let Ok(value) = serde_json::from_slice::<Value>(value.unwrap_or_default()) else {
            return false;
        };
        self.json
            .iter()
            .all(|(path, wanted)| path.find(&value).into_iter().any(|found| is(found, wanted)))
    }
}

/// A text is that text; all else is meant when it is the same JSON.
fn is(found: &Value, wanted: &str) -> bool {
    match found {
        Value::String(text) => text == wanted,
        other => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| *other == wanted),
    }
}

fn has_header(record: &Record, (name, wanted): &(String, String)) -> bool {
    record
        .headers
        .iter()
        .any(|header| header.name == *name && header.value.as_deref() == Some(wanted.as_bytes()))
}

/// What stands between slashes is a regular expression, all else a text.
fn grep(said: &str) -> Result<Regex, Failure> {
    let between = said.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let expression = between.map_or_else(|| regex::escape(said), str::to_owned);
    let built = RegexBuilder::new(&expression)
        .size_limit(GREP_BYTES_MAX)
        .dfa_size_limit(GREP_BYTES_MAX)
        .build();
    built.map_err(|error| {
        let why = match error {
            regex::Error::CompiledTooBig(limit) => format!("it needs more than {limit} bytes"),
            // The text of the expression comes first, over several lines.
            other => other.to_string().lines().last().unwrap_or_default().trim().to_owned(),
        };
        Failure::new(Exit::Usage, format!("--grep {said} cannot be searched for"))
            .why(why)
            .hint("--grep TEXT for a text as it stands, --grep /REGEX/ for a regular expression")
    })
}

fn json(path: &str, value: &str) -> Result<(JsonPath, String), Failure> {
    let parsed = JsonPath::parse(path).map_err(|why| {
        Failure::new(Exit::Usage, format!("{path:?} is no path into JSON"))
            .why(why)
            .hint("--json '$.customer.id=7', --json 'items[*].sku=A1'")
    });
    Ok((parsed?, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clap::Parser as _;
    use tidings_node::Header;

    use super::*;
    use crate::args::{Arguments, Command};

    fn filter(arguments: &[&str]) -> Result<Filter, Failure> {
        let all = ["tidings", "consume", "t"].iter().chain(arguments);
        let Command::Consume(said) = Arguments::try_parse_from(all).unwrap().command else {
            panic!("it is consume");
        };
        Filter::of(&said)
    }

    #[test]
    fn a_record_is_meant_when_every_condition_holds() {
        let record = Record {
            offset: 0,
            timestamp: 0,
            key: Some(Bytes::from_static(b"k1")),
            value: Some(Bytes::from_static(
                b"{\"id\": 7, \"who\": \"a.b\", \"tags\": [\"x\", \"y\"], \"no\": null}",
            )),
            headers: vec![Header { name: "from".into(), value: Some(Bytes::from_static(b"test")) }],
        };
        for (arguments, wanted) in [
            (&[][..], true),
            (&["--key", "k1"], true),
            (&["--key", "k2", "--key", "k1"], true),
            (&["--key", "k"], false),
            (&["--grep", "a.b"], true),
            (&["--grep", "a.c"], false),
            (&["--grep", "a,b"], false),
            (&["--grep", "/a.b/"], true),
            (&["--grep", "/^k\\d$/"], true),
            (&["--grep", "/^K/"], false),
            (&["--grep", "/(?i)^K/"], true),
            (&["--header", "from=test"], true),
            (&["--header", "from=tes"], false),
            (&["--header", "to=test"], false),
            (&["--json", "$.id=7"], true),
            (&["--json", "$.id=7.5"], false),
            (&["--json", "who=a.b"], true),
            (&["--json", "tags[*]=y"], true),
            (&["--json", "tags=[\"x\",\"y\"]"], true),
            (&["--json", "no=null"], true),
            (&["--json", "missing=null"], false),
            (&["--json", "id=7", "--json", "who=x"], false),
            (&["--key", "k1", "--grep", "nothing"], false),
        ] {
            assert_eq!(filter(arguments).unwrap().takes(&record), wanted, "{arguments:?}");
        }
        let bare = Record { key: None, value: None, headers: Vec::new(), ..record };
        for arguments in [&["--key", ""], &["--grep", "x"], &["--json", "a=null"]] {
            assert!(!filter(arguments).unwrap().takes(&bare), "{arguments:?}");
        }
    }

    #[test]
    fn what_cannot_be_searched_for_is_refused() {
        for arguments in [["--grep", "/(/"], ["--grep", "/a{1000}{1000}/"], ["--json", "a[=1"]] {
            assert_eq!(filter(&arguments).unwrap_err().exit, Exit::Usage, "{arguments:?}");
        }
    }
}
