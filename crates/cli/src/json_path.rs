//! A small part of JSONPath (RFC 9535): `$.customer.address[0].city`, `items[*].sku`, `$['a key']`.
//!
//! Names, indices and `*`. Not: slices, filters, `..`, negative indices; they are refused by name.
//! Limit: [`JSON_PATH_STEPS_MAX`] steps.

use serde_json::Value;

use crate::limits::JSON_PATH_STEPS_MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    Any,
}

impl JsonPath {
    /// The error says what is wrong, and where.
    pub(crate) fn parse(said: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = said.strip_prefix('$').unwrap_or(said);
        let mut first = !said.starts_with('$');
        while !rest.is_empty() {
            let at = said.len() - rest.len() + 1;
            let (step, tail) = match (rest.strip_prefix('['), rest.strip_prefix('.')) {
                (Some(inner), _) => bracket(inner, at)?,
                (_, Some(tail)) if tail.starts_with('.') => {
                    return Err(format!("`..` at {at} is not supported"));
                }
                (_, Some(tail)) => name(tail, at)?,
                (None, None) if first => name(rest, at)?,
                (None, None) => return Err(format!("`.` or `[` is wanted at {at}")),
            };
            first = false;
            steps.push(step);
            rest = tail;
        }
        match steps.len() {
            0 if !said.starts_with('$') => Err("a path such as $.customer.id is wanted".to_owned()),
            count if count > JSON_PATH_STEPS_MAX => {
                Err(format!("a path has at most {JSON_PATH_STEPS_MAX} steps"))
            }
            _ => Ok(Self(steps)),
        }
    }

    /// All values there.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        found
    }
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => items.get(*index).into_iter().collect(),
            (Self::Any, Value::Array(items)) => items.iter().collect(),
            (Self::Any, Value::Object(fields)) => fields.values().collect(),
            _ => Vec::new(),
        }
    }
}

/// A name without signs, or `*`.
fn name(rest: &str, at: usize) -> Result<(Step, &str), String> {
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, tail) = rest.split_at(end);
    match name {
        "" => Err(format!("a name is wanted at {at}")),
        "*" => Ok((Step::Any, tail)),
        name => Ok((Step::Field(name.to_owned()), tail)),
    }
}

/// What stands between `[` and `]`.
fn bracket(inner: &str, at: usize) -> Result<(Step, &str), String> {
    let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'));
    if let Some(quote) = quote {
        let (name, tail) = inner[1..]
            .split_once(quote)
            .and_then(|(name, tail)| Some((name, tail.strip_prefix(']')?)))
            .ok_or_else(|| format!("the quoted name at {at} does not end with {quote}]"))?;
        return Ok((Step::Field(name.to_owned()), tail));
    }
    let (said, tail) =
        inner.split_once(']').ok_or_else(|| format!("the `[` at {at} is not closed"))?;
    match said {
        "*" => Ok((Step::Any, tail)),
        said => match said.parse() {
            Ok(index) if !said.starts_with('+') => Ok((Step::Index(index), tail)),
            _ => Err(format!("`[{said}]` at {at}: an index, `*` or a quoted name is wanted")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_values() {
        let value = json!({
            "id": 7,
            "items": [{ "sku": "a" }, { "sku": "b" }],
            "a key": { "x.y": null },
        });
        for (path, wanted) in [
            ("$", vec![value.clone()]),
            ("id", vec![json!(7)]),
            ("$.id", vec![json!(7)]),
            ("items[1].sku", vec![json!("b")]),
            ("$.items[*].sku", vec![json!("a"), json!("b")]),
            ("$['a key'][\"x.y\"]", vec![Value::Null]),
            ("items.*.sku", vec![json!("a"), json!("b")]),
            ("items.sku", vec![]),
            ("items[2]", vec![]),
            ("id.deeper", vec![]),
        ] {
            let found: Vec<Value> =
                JsonPath::parse(path).unwrap().find(&value).into_iter().cloned().collect();
            assert_eq!(found, wanted, "{path}");
        }
    }

    #[test]
    fn what_is_not_supported_is_said_with_its_place() {
        for (path, wanted) in [
            ("", "a path such as $.customer.id is wanted"),
            ("$..a", "`..` at 2 is not supported"),
            ("a.", "a name is wanted at 2"),
            ("a[1", "the `[` at 2 is not closed"),
            ("a[-1]", "`[-1]` at 2: an index, `*` or a quoted name is wanted"),
            ("a[?(@.b)]", "`[?(@.b)]` at 2: an index, `*` or a quoted name is wanted"),
            ("a['b]", "the quoted name at 2 does not end with ']"),
            ("$a", "`.` or `[` is wanted at 2"),
        ] {
            assert_eq!(JsonPath::parse(path), Err(wanted.to_owned()), "{path}");
        }
        let deep = "a.".repeat(JSON_PATH_STEPS_MAX) + "a";
        assert!(JsonPath::parse(&deep).is_err());
        assert!(JsonPath::parse(&deep[2..]).is_ok());
    }
}
