//! What a page of a topic, its twin or its stream is asked, read from the URL, which holds all of it.
//!
//! | parameter | meaning |
//! |---|---|
//! | `partition` | only this partition |
//! | `offset` | this offset and those before it; with `partition` |
//! | `since`, `until` | from this time on, before this time: `-10m`, `2010-12-01`, `2010-12-01T08:26`, milliseconds |
//! | `key` | records with this key |
//! | `q` | a text whatever its case, or `/REGEX/`, in key, value or headers |
//! | `json` | `PATH` or `PATH=VALUE`; may be repeated |
//! | `cel` | an expression |
//! | `col` | a JSONPath that becomes a column; may be repeated |
//! | `before` | where the page before this ended: `partition:offset,…` |
//! | `open` | `partition/offset` of a record that is opened in place |
//!
//! What is empty is as good as not said, as forms send all of their fields.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use tidings::said_time;
use tidings_gateway::limits::EVENT_KEY_BYTES_MAX;
use tidings_gateway::{Cursor, Trouble, cursor, url_encoded};

use super::cel::Cel;
use super::filter::{Condition, Filter, refused, text};
use crate::json_path::JsonPath;
use crate::limits::{COLUMNS_MAX, JSON_CONDITIONS_MAX};
use crate::quantity::Moment;

/// Names and values of a URL, which may be repeated.
pub(super) type Pairs = Vec<(String, String)>;

/// The query as pairs, also where there is none.
pub(super) fn pairs(query: Result<Query<Pairs>, QueryRejection>) -> Result<Pairs, Trouble> {
    let Query(pairs) = query?;
    Ok(pairs.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect())
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) partition: Option<i32>,
    pub(super) offset: Option<i64>,
    pub(super) before: Cursor,
    pub(super) open: Option<(i32, i64)>,
    pub(super) filter: Filter,
    pub(super) columns: Vec<JsonPath>,
    /// As it was said, to be said again.
    pub(super) said: Said,
}

impl Asked {
    pub(super) fn parse(pairs: Pairs, now: Moment) -> Result<Self, Trouble> {
        let said = Said(pairs);
        let json = said.all("json").map(Condition::parse).collect::<Result<Vec<_>, _>>()?;
        let columns = said.all("col").map(column).collect::<Result<Vec<_>, _>>()?;
        if json.len() > JSON_CONDITIONS_MAX || columns.len() > COLUMNS_MAX {
            let why = format!("at most {JSON_CONDITIONS_MAX} `json` and {COLUMNS_MAX} `col`");
            return Err(Trouble::bad_request(why));
        }
        let key = said.one("key").map(str::to_owned);
        if key.as_ref().is_some_and(|key| key.len() > EVENT_KEY_BYTES_MAX) {
            let why = format!("`key` has more than {EVENT_KEY_BYTES_MAX} bytes");
            return Err(Trouble::bad_request(why));
        }
        let filter = Filter {
            since: said.one("since").map(|since| time("since", since, now)).transpose()?,
            until: said.one("until").map(|until| time("until", until, now)).transpose()?,
            key,
            text: said.one("q").map(text).transpose()?,
            json,
            cel: said.one("cel").map(Cel::parse).transpose()?,
        };
        Ok(Self {
            partition: said.one("partition").map(|it| number("partition", it)).transpose()?,
            offset: said.one("offset").map(|it| number("offset", it)).transpose()?,
            before: cursor(said.one("before").unwrap_or_default())?,
            open: said.one("open").map(place).transpose()?,
            filter,
            columns,
            said,
        })
    }

    /// Whether it looks for something, rather than browse.
    pub(super) fn searches(&self) -> bool {
        self.filter.looks_inside() || self.filter.key.is_some()
    }

    /// Whether any field of the form is said.
    pub(super) fn narrows(&self) -> bool {
        self.searches()
            || self.filter.since.is_some()
            || self.filter.until.is_some()
            || self.offset.is_some()
    }
}

fn number<N: std::str::FromStr>(name: &str, said: &str) -> Result<N, Trouble> {
    said.trim()
        .parse()
        .map_err(|_| Trouble::bad_request(format!("`{name}` is {said:?}, no number")))
}

fn time(name: &str, said: &str, now: Moment) -> Result<i64, Trouble> {
    let time = Moment::said(said, now).ok_or_else(|| {
        Trouble::bad_request(format!("`{name}` is {said:?}, no time")).hint(said_time::EXAMPLES)
    })?;
    // No record is older, and to brokers -1 is a name.
    Ok(time.0.max(0))
}

fn column(said: &str) -> Result<JsonPath, Trouble> {
    JsonPath::parse(said).map_err(|why| refused("col", said, &why).hint("col=$.customer.id"))
}

fn place(said: &str) -> Result<(i32, i64), Trouble> {
    let parts = said.split_once('/');
    let parts = parts.and_then(|(p, o)| Some((p.parse().ok()?, o.parse().ok()?)));
    parts.ok_or_else(|| Trouble::bad_request(format!("`open` is {said:?}, not partition/offset")))
}

/// The parameters as they were said.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(Pairs);

impl Said {
    pub(super) fn of(pairs: &Pairs) -> Self {
        Self(pairs.clone())
    }

    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(super) fn all<'s, 'n>(
        &'s self,
        name: &'n str,
    ) -> impl Iterator<Item = &'s str> + use<'s, 'n> {
        self.0.iter().filter(move |(its, _)| its == name).map(|(_, value)| value.as_str())
    }

    /// A parameter's value for a field of the form.
    pub(super) fn field(&self, name: &str) -> &str {
        self.one(name).unwrap_or_default()
    }

    /// A query that says the same but for these: a value replaces, none takes away. Empty, or with `?`.
    pub(super) fn but(&self, changes: &[(&str, Option<&str>)]) -> String {
        let changed: BTreeMap<_, _> = changes.iter().copied().collect();
        let kept = self.0.iter().filter(|(name, _)| !changed.contains_key(name.as_str()));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let new = changes.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let said = kept.chain(new).map(|(name, value)| format!("{name}={}", url_encoded(value)));
        let said = said.collect::<Vec<_>>().join("&");
        if said.is_empty() { said } else { format!("?{said}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(said: &[(&str, &str)]) -> Result<Asked, Trouble> {
        let pairs = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Asked::parse(pairs.collect(), Moment(1_000_000))
    }

    #[test]
    fn a_url_says_all_of_it() {
        let said = [
            ("partition", "2"),
            ("since", "-10s"),
            ("q", "tea & <cake>"),
            ("col", "$.id"),
            ("col", "items[0].sku"),
            ("before", "2:7"),
            ("open", "2/6"),
        ];
        let asked = asked(&said).unwrap();
        assert_eq!((asked.partition, asked.open), (Some(2), Some((2, 6))));
        assert_eq!(asked.filter.since, Some(990_000));
        assert_eq!(asked.before, Cursor::from([(2, 7)]));
        assert_eq!(asked.columns.len(), 2);
        assert_eq!(
            asked.said.but(&[("open", None), ("before", Some("2:3"))]),
            "?partition=2&since=-10s&q=tea%20%26%20%3Ccake%3E&col=%24.id&col=items%5B0%5D.sku&before=2%3A3"
        );
        assert_eq!(Said::default().but(&[("open", None)]), "");
    }

    #[test]
    fn what_is_wrong_says_which_parameter() {
        for (name, value) in [
            ("partition", "x"),
            ("offset", "1.5"),
            ("since", "noon"),
            ("until", "-1y"),
            ("q", "/(/"),
            ("json", "$["),
            ("cel", "nobody"),
            ("col", "$..a..b..c"),
            ("open", "1"),
        ] {
            let trouble = asked(&[(name, value)]).expect_err(name);
            assert_eq!(trouble.status.as_u16(), 400);
            assert!(trouble.detail.contains(&format!("`{name}`")), "{}", trouble.detail);
        }
        assert!(asked(&vec![("col", "a"); COLUMNS_MAX + 1]).is_err());
    }
}
