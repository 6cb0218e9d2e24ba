//! Whether a JSON value is an Avro schema, and its compact text.
//!
//! Checked: type names, the parts each type needs, names and their uniqueness, references to named
//! types (defined before use, namespaces inherited), unions. Not checked: default values and
//! logical types, which Avro lets a reader ignore.
//! Source: Apache Avro 1.12 specification, "Schema Declaration" and "Names".

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::limits::AVRO_NAMES_MAX;

const PRIMITIVES: [&str; 8] =
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// The order in which a schema's attributes are written; others follow in alphabetical order.
const SCHEMA_ORDER: [&str; 8] =
    ["type", "name", "namespace", "doc", "fields", "symbols", "items", "values"];
const FIELD_ORDER: [&str; 6] = ["name", "type", "doc", "default", "order", "aliases"];

/// The schema's compact text, or what is wrong with it.
pub(crate) fn canonical(schema: &Value) -> Result<String, String> {
    let mut names = BTreeSet::new();
    check(schema, None, &mut names)?;
    let mut text = String::new();
    write_schema(schema, &mut text);
    Ok(text)
}

type Names = BTreeSet<String>;

fn check(schema: &Value, space: Option<&str>, names: &mut Names) -> Result<(), String> {
    match schema {
        Value::String(name) => check_type_name(name, space, names),
        Value::Array(branches) => check_union(branches, space, names),
        Value::Object(object) => check_complex(object, space, names),
        other => Err(format!("{other} is not a schema")),
    }
}

fn check_type_name(name: &str, space: Option<&str>, names: &Names) -> Result<(), String> {
    if PRIMITIVES.contains(&name) || names.contains(&full_name(name, space)) || names.contains(name)
    {
        return Ok(());
    }
    Err(format!("undefined name \"{name}\""))
}

fn check_union(branches: &[Value], space: Option<&str>, names: &mut Names) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for branch in branches {
        if branch.is_array() {
            return Err("a union may not hold a union".into());
        }
        check(branch, space, names)?;
        let kind = branch_kind(branch, space);
        if !seen.insert(kind.clone()) {
            return Err(format!("a union may hold {kind} only once"));
        }
    }
    Ok(())
}

/// What must be unique in a union: the full name of named types, the type of all others.
fn branch_kind(branch: &Value, space: Option<&str>) -> String {
    let object = branch.as_object();
    let kind = match object {
        Some(object) => text_of(object, "type").unwrap_or_default(),
        None => branch.as_str().unwrap_or_default(),
    };
    match object.and_then(|object| text_of(object, "name")) {
        Some(name) if ["record", "error", "enum", "fixed"].contains(&kind) => {
            let own = object.and_then(|object| text_of(object, "namespace"));
            full_name(name, own.or(space))
        }
        _ if PRIMITIVES.contains(&kind) || ["array", "map"].contains(&kind) => kind.to_owned(),
        _ => full_name(kind, space),
    }
}

fn check_complex(
    object: &Map<String, Value>,
    space: Option<&str>,
    names: &mut Names,
) -> Result<(), String> {
    let kind = text_of(object, "type").ok_or("a schema object needs a \"type\" that is text")?;
    match kind {
        "record" | "error" => {
            let inner = define(object, space, names)?;
            check_fields(object, inner.as_deref(), names)
        }
        "enum" => {
            define(object, space, names)?;
            check_symbols(object)
        }
        "fixed" => {
            define(object, space, names)?;
            match object.get("size").and_then(Value::as_u64) {
                Some(size) if size <= i32::MAX.unsigned_abs().into() => Ok(()),
                _ => Err("a fixed needs a \"size\" in bytes".into()),
            }
        }
        "array" => check(part(object, kind, "items")?, space, names),
        "map" => check(part(object, kind, "values")?, space, names),
        name => check_type_name(name, space, names),
    }
}

fn check_fields(
    object: &Map<String, Value>,
    space: Option<&str>,
    names: &mut Names,
) -> Result<(), String> {
    let fields = part(object, "record", "fields")?;
    let fields = fields.as_array().ok_or("a record's \"fields\" are an array")?;
    let mut seen = BTreeSet::new();
    for field in fields {
        let field = field.as_object().ok_or_else(|| format!("{field} is not a field"))?;
        let name = text_of(field, "name").ok_or("a field needs a \"name\"")?;
        check_simple_name(name)?;
        if !seen.insert(name) {
            return Err(format!("field \"{name}\" is there twice"));
        }
        let kind = field.get("type").ok_or_else(|| format!("field \"{name}\" has no \"type\""))?;
        check(kind, space, names).map_err(|why| format!("field \"{name}\": {why}"))?;
        if let Some(order) = field.get("order")
            && !["ascending", "descending", "ignore"].map(Value::from).contains(order)
        {
            return Err(format!("field \"{name}\": {order} is not an order"));
        }
    }
    Ok(())
}

fn check_symbols(object: &Map<String, Value>) -> Result<(), String> {
    let symbols = part(object, "enum", "symbols")?;
    let symbols = symbols.as_array().ok_or("an enum's \"symbols\" are an array")?;
    let mut seen = BTreeSet::new();
    for symbol in symbols {
        let name = symbol.as_str().ok_or_else(|| format!("{symbol} is not a symbol"))?;
        check_simple_name(name)?;
        if !seen.insert(name) {
            return Err(format!("symbol \"{name}\" is there twice"));
        }
    }
    match object.get("default") {
        Some(default) if !symbols.contains(default) => {
            Err(format!("the default {default} is not one of the symbols"))
        }
        _ => Ok(()),
    }
}

/// Enters a named type and returns the namespace that holds inside it.
fn define(
    object: &Map<String, Value>,
    space: Option<&str>,
    names: &mut Names,
) -> Result<Option<String>, String> {
    let name = text_of(object, "name").ok_or_else(|| {
        format!("{} needs a \"name\"", object.get("type").unwrap_or(&Value::Null))
    })?;
    if let Some(space) = object.get("namespace")
        && !space.as_str().is_some_and(|s| s.is_empty() || s.split('.').all(is_simple_name))
    {
        return Err(format!("{space} is not a namespace"));
    }
    let full = full_name(name, text_of(object, "namespace").or(space));
    for piece in full.split('.') {
        check_simple_name(piece)?;
    }
    if PRIMITIVES.contains(&full.as_str()) {
        return Err(format!("\"{full}\" is the name of a primitive type"));
    }
    if names.len() >= AVRO_NAMES_MAX {
        return Err(format!("more than {AVRO_NAMES_MAX} named types"));
    }
    if !names.insert(full.clone()) {
        return Err(format!("\"{full}\" is defined twice"));
    }
    Ok(full.rsplit_once('.').map(|(space, _)| space.to_owned()))
}

fn full_name(name: &str, space: Option<&str>) -> String {
    match space {
        Some(space) if !space.is_empty() && !name.contains('.') => format!("{space}.{name}"),
        _ => name.to_owned(),
    }
}

fn check_simple_name(name: &str) -> Result<(), String> {
    if is_simple_name(name) { Ok(()) } else { Err(format!("\"{name}\" is not a name")) }
}

fn is_simple_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn text_of<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

fn part<'a>(object: &'a Map<String, Value>, kind: &str, name: &str) -> Result<&'a Value, String> {
    object.get(name).ok_or_else(|| format!("\"{kind}\" needs \"{name}\""))
}

fn write_schema(schema: &Value, out: &mut String) {
    match schema {
        Value::Object(object) if object.len() == 1 && text_of(object, "type").is_some() => {
            write_schema(&object["type"], out);
        }
        Value::Object(object) => {
            write_object(object, &SCHEMA_ORDER, out, |name, value, out| match (name, value) {
                ("fields", Value::Array(fields)) => write_array(fields, out, write_field),
                ("items" | "values", value) => write_schema(value, out),
                (_, value) => out.push_str(&value.to_string()),
            });
        }
        Value::Array(branches) => write_array(branches, out, write_schema),
        other => out.push_str(&other.to_string()),
    }
}

fn write_field(field: &Value, out: &mut String) {
    if let Value::Object(field) = field {
        write_object(field, &FIELD_ORDER, out, |name, value, out| {
            if name == "type" {
                write_schema(value, out);
            } else {
                out.push_str(&value.to_string());
            }
        });
    }
}

fn write_array(values: &[Value], out: &mut String, each: fn(&Value, &mut String)) {
    out.push('[');
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        each(value, out);
    }
    out.push(']');
}

fn write_object(
    object: &Map<String, Value>,
    order: &[&str],
    out: &mut String,
    each: fn(&str, &Value, &mut String),
) {
    let known = order.iter().filter_map(|name| object.get_key_value(*name));
    let rest = object.iter().filter(|(name, _)| !order.contains(&name.as_str()));
    out.push('{');
    for (i, (name, value)) in known.chain(rest).enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(name.as_str()).to_string());
        out.push(':');
        each(name, value, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_text(text: &str) -> Result<String, String> {
        canonical(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn valid_schemas_are_written_compactly_in_avros_order() {
        for (said, written) in [
            (r#""long""#, r#""long""#),
            (r#"{"type": "bytes"}"#, r#""bytes""#),
            (r#"{"logicalType":"date", "type":"int"}"#, r#"{"type":"int","logicalType":"date"}"#),
            (r#"[ "null", {"type":"string"} ]"#, r#"["null","string"]"#),
            (r#"{"items":{"type":"int"},"type":"array"}"#, r#"{"type":"array","items":"int"}"#),
            (
                r#"{"fields":[{"type":{"type":"string"},"name":"a","default":"x"}],
                    "type":"record","namespace":"n.m","name":"R"}"#,
                r#"{"type":"record","name":"R","namespace":"n.m","fields":[{"name":"a","type":"string","default":"x"}]}"#,
            ),
            (
                r#"{"type":"record","name":"n.Tree","fields":[
                    {"name":"left","type":["null","Tree"]},{"name":"right","type":["null","n.Tree"]}]}"#,
                r#"{"type":"record","name":"n.Tree","fields":[{"name":"left","type":["null","Tree"]},{"name":"right","type":["null","n.Tree"]}]}"#,
            ),
            (
                r#"{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}"#,
                r#"{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}"#,
            ),
        ] {
            assert_eq!(canonical_text(said).as_deref(), Ok(written));
            assert_eq!(canonical_text(written).as_deref(), Ok(written), "a fixed point");
        }
    }

    #[test]
    fn invalid_schemas_say_what_is_wrong() {
        for (said, why) in [
            ("1", "1 is not a schema"),
            (r#""Foo""#, r#"undefined name "Foo""#),
            ("{}", "a schema object needs a \"type\" that is text"),
            (r#"{"type":"record","fields":[]}"#, r#""record" needs a "name""#),
            (r#"{"type":"record","name":"R"}"#, r#""record" needs "fields""#),
            (r#"{"type":"record","name":"1R","fields":[]}"#, r#""1R" is not a name"#),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a","type":"strin"}]}"#,
                r#"field "a": undefined name "strin""#,
            ),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a"}]}"#,
                r#"field "a" has no "type""#,
            ),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
                r#"field "a" is there twice"#,
            ),
            (r#"{"type":"enum","name":"E"}"#, r#""enum" needs "symbols""#),
            (r#"{"type":"enum","name":"E","symbols":["A","A"]}"#, r#"symbol "A" is there twice"#),
            (
                r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#,
                r#"the default "B" is not one of the symbols"#,
            ),
            (r#"{"type":"fixed","name":"F","size":-1}"#, "a fixed needs a \"size\" in bytes"),
            (r#"{"type":"array"}"#, r#""array" needs "items""#),
            (r#"{"type":"map"}"#, r#""map" needs "values""#),
            (r#"["int",["long"]]"#, "a union may not hold a union"),
            (r#"["int","int"]"#, "a union may hold int only once"),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"fixed","name":"R","size":1}}]}"#,
                r#"field "a": "R" is defined twice"#,
            ),
            (
                r#"{"type":"fixed","name":"int","size":1}"#,
                r#""int" is the name of a primitive type"#,
            ),
        ] {
            assert_eq!(canonical_text(said), Err(why.to_owned()), "{said}");
        }
    }
}
