//! JSONPath (RFC 9535) by `serde_json_path`, with a bound on what it may cost.
//!
//! `$.customer.address[0].city`, `items[*].sku`, `$.items[?@.qty > 3]`. The leading `$.` may be left out, and a name may
//! have a hyphen, which RFC 9535 allows in brackets only. The functions `match` and `search` are not
//! there: a regular expression for every node could not be bounded.
//!
//! A query is evaluated at one go, so what it costs is bounded before: a path may visit every node of the JSON, times
//! the depth for each `..`, times the nodes for each `$` in a filter, times two for each comma, as each may only find what
//! another one found already. Limits: [`JSON_PATH_CHARS_MAX`], [`JSON_PATH_NESTING_MAX`], [`JSON_PATH_DESCENTS_MAX`].

use std::fmt;

use serde_json::Value;

use crate::limits::{
    JSON_PATH_CHARS_MAX, JSON_PATH_DESCENTS_MAX, JSON_PATH_NESTING_MAX, JSON_PATH_STEPS_MAX,
};

/// A path into JSON. See the [module](self).
#[derive(Clone, Debug)]
pub struct JsonPath {
    said: String,
    path: serde_json_path::JsonPath,
    descents: u32,
    roots: u32,
    commas: u32,
}

impl PartialEq for JsonPath {
    fn eq(&self, other: &Self) -> bool {
        self.said == other.said
    }
}

impl Eq for JsonPath {}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

/// How much JSON there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) nodes: u64,
    pub(crate) depth: u64,
}

impl Extent {
    pub(crate) fn of(value: &Value) -> Self {
        let parts: Box<dyn Iterator<Item = &Value>> = match value {
            Value::Array(items) => Box::new(items.iter()),
            Value::Object(fields) => Box::new(fields.values()),
            _ => return Self { nodes: 1, depth: 1 },
        };
        let whole = Self { nodes: 1, depth: 1 };
        parts.map(Self::of).fold(whole, |whole, part| Self {
            nodes: whole.nodes + part.nodes,
            depth: whole.depth.max(part.depth + 1),
        })
    }
}

impl JsonPath {
    /// The error says what is wrong, and where.
    pub fn parse(said: &str) -> Result<Self, String> {
        let said = said.trim();
        if said.is_empty() {
            return Err("a path such as $.customer.id is wanted".to_owned());
        }
        if said.chars().count() > JSON_PATH_CHARS_MAX {
            return Err(format!("a path has at most {JSON_PATH_CHARS_MAX} characters"));
        }
        let signs = Signs::of(said);
        if signs.nesting > JSON_PATH_NESTING_MAX {
            return Err(format!("brackets nest at most {JSON_PATH_NESTING_MAX} deep"));
        }
        if signs.descents as usize > JSON_PATH_DESCENTS_MAX {
            return Err(format!("a path has at most {JSON_PATH_DESCENTS_MAX} `..`"));
        }
        let rooted = match said.chars().next() {
            Some('$') => said.to_owned(),
            Some('[') => format!("${said}"),
            _ => format!("$.{said}"),
        };
        let path = serde_json_path::JsonPath::parse(&bracketed(&rooted))
            .map_err(|error| format!("{} at {}", error.message(), error.position() + 1))?;
        let Signs { descents, roots, commas, .. } = signs;
        Ok(Self { said: said.to_owned(), path, descents, roots, commas })
    }

    /// `PATH` or `PATH=VALUE`. What is a path as a whole is one, whatever equals signs are in it.
    pub fn parse_condition(said: &str) -> Result<(Self, Option<&str>), String> {
        let why = match Self::parse(said) {
            Ok(path) => return Ok((path, None)),
            Err(why) => why,
        };
        let places = said.match_indices('=').take(JSON_PATH_CHARS_MAX);
        let mut halves = places.map(|(at, _)| (&said[..at], &said[at + 1..]));
        halves.find_map(|(path, value)| Some((Self::parse(path).ok()?, Some(value)))).ok_or(why)
    }

    /// All values there, whatever it takes.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.path.query(value).all()
    }

    /// All values there; none when it could take more than [`JSON_PATH_STEPS_MAX`].
    pub(crate) fn find_within<'v>(
        &self,
        value: &'v Value,
        extent: Extent,
    ) -> Option<Vec<&'v Value>> {
        (self.steps(extent) <= JSON_PATH_STEPS_MAX).then(|| self.find(value))
    }

    /// The most steps that it could take.
    fn steps(&self, Extent { nodes, depth }: Extent) -> u64 {
        let by_descents = depth.saturating_pow(self.descents);
        let by_roots = nodes.saturating_pow(self.roots.saturating_sub(1));
        let by_commas = 2_u64.saturating_pow(self.commas);
        nodes.saturating_mul(by_descents).saturating_mul(by_roots).saturating_mul(by_commas)
    }
}

/// What tells how much a path may cost; counted in quoted names as well, which makes it no less.
struct Signs {
    nesting: usize,
    descents: u32,
    roots: u32,
    commas: u32,
}

impl Signs {
    fn of(said: &str) -> Self {
        let count = |sign: &str| u32::try_from(said.matches(sign).count()).unwrap_or(u32::MAX);
        let mut open = 0_usize;
        let mut nesting = 0;
        for sign in said.chars() {
            match sign {
                // Each `!` is read by a call of its own as well.
                '[' | '(' | '!' => open += 1,
                ']' | ')' => open = open.saturating_sub(1),
                _ => {}
            }
            nesting = nesting.max(open);
        }
        Self { nesting, descents: count(".."), roots: count("$"), commas: count(",") }
    }
}

/// Names with hyphens, which RFC 9535 does not have in its shorthand, in brackets: `$.order-id` is `$['order-id']`.
fn bracketed(path: &str) -> String {
    if path.contains(['\'', '"', '\\', '?']) {
        return path.to_owned();
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('.') {
        let (before, dotted) = rest.split_at(at + 1);
        let end = dotted.find(['.', '[']).unwrap_or(dotted.len());
        let (name, tail) = dotted.split_at(end);
        let plain = |c: char| c.is_alphanumeric() || c == '_' || !c.is_ascii();
        let hyphened = name.contains('-') && name.chars().all(|c| plain(c) || c == '-');
        if !hyphened {
            out.push_str(before);
            out.push_str(name);
        } else {
            // The brackets follow both dots of `..`, and replace a single one.
            let descends = at == 0 && out.ends_with('.');
            out.push_str(if descends { before } else { &before[..at] });
            out.push_str(&format!("['{name}']"));
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_values() {
        let value = json!({
            "id": 7,
            "order-id": 9,
            "items": [{ "sku": "a", "qty": 2 }, { "sku": "b", "qty": 5 }],
            "a key": { "x.y": null },
        });
        for (path, wanted) in [
            ("$", vec![value.clone()]),
            ("id", vec![json!(7)]),
            ("$.id", vec![json!(7)]),
            ("items[1].sku", vec![json!("b")]),
            ("items[-1].sku", vec![json!("b")]),
            ("$.items[*].sku", vec![json!("a"), json!("b")]),
            ("$['a key'][\"x.y\"]", vec![Value::Null]),
            ("items.*.sku", vec![json!("a"), json!("b")]),
            ("order-id", vec![json!(9)]),
            ("$.order-id", vec![json!(9)]),
            ("$..sku", vec![json!("a"), json!("b")]),
            ("$.items[?@.qty > 3].sku", vec![json!("b")]),
            ("$[?count(@.*) == 2].sku", vec![]),
            ("items.sku", vec![]),
            ("items[2]", vec![]),
            ("id.deeper", vec![]),
        ] {
            let parsed = JsonPath::parse(path).unwrap_or_else(|why| panic!("{path}: {why}"));
            let found: Vec<Value> = parsed.find(&value).into_iter().cloned().collect();
            assert_eq!(found, wanted, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_place() {
        for path in ["", "a[1", "a['b]", "$a", "a[?(@.b]", "a.", "$[?match(@.a, 'x')]", "a=b"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
        let why = JsonPath::parse("$.a[b]").unwrap_err();
        assert!(why.contains(" at "), "{why}");
        for (path, wanted) in [
            ("$..a..b..c".to_owned(), "at most 2 `..`"),
            ("a".repeat(JSON_PATH_CHARS_MAX + 1), "at most 300 characters"),
            (format!("$[?{}@.a{}]", "(".repeat(40), ")".repeat(40)), "at most 6 deep"),
        ] {
            let why = JsonPath::parse(&path).unwrap_err();
            assert!(why.contains(wanted), "{path}: {why}");
        }
    }

    #[test]
    fn what_could_take_too_long_is_not_begun() {
        let wide = json!((0..20_000).collect::<Vec<_>>());
        let deep = (0..90).fold(json!(1), |inner, _| json!([inner, inner]).take_first());
        for (path, value, wanted) in [
            ("$[*]", &wide, true),
            ("$..*", &wide, true),
            ("$[?@ == $[5]]", &wide, false),
            ("$[0,0][0,0][0,0][0,0][0,0][0,0]", &wide, false),
            ("$..*..*", &deep, true),
        ] {
            let found = JsonPath::parse(path).unwrap().find_within(value, Extent::of(value));
            assert_eq!(found.is_some(), wanted, "{path}");
        }
    }

    trait TakeFirst {
        fn take_first(self) -> Value;
    }

    impl TakeFirst for Value {
        /// An array of its first item, so that depth does not double the size.
        fn take_first(mut self) -> Value {
            self.as_array_mut().expect("an array").truncate(1);
            self
        }
    }

    /// Prints how long the worst that is accepted takes.
    #[test]
    #[ignore = "a measurement: cargo test -p tidings-console --lib worst_paths -- --ignored --nocapture"]
    fn worst_paths() {
        let nested = format!("$[?{}@.a{}]", "(".repeat(5), ")".repeat(5));
        let long = "$[?@.a == 1 || @.b == 2 && !(@.c)]".repeat(8);
        for path in [nested.as_str(), long.as_str(), "$[?(((((1"] {
            let began = Instant::now();
            let parsed = JsonPath::parse(path).is_ok();
            println!("{path}: {parsed}, {:?}", began.elapsed());
        }
    }
}
