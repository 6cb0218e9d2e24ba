//! Expressions of CEL over a record, by the crate `cel`, with a bound on what one may cost.
//!
//! Variables: `key` (text, or null), `value` (what its JSON says, else text, else null), `headers` (a map of texts),
//! `topic`, `partition`, `offset`, `timestamp` (milliseconds since the epoch). The result must be true or false; a field
//! that is not there makes it false.
//!
//! The evaluator cannot be stopped, so what it may do is bounded before it begins:
//! 1. An expression has so many nodes and levels ([`CEL_NODES_MAX`], [`CEL_DEPTH_MAX`]).
//! 2. `map` and `filter` are refused: their lists grow. `exists`, `all` and `exists_one` nest [`CEL_LOOPS_MAX`] deep.
//! 3. Before each record its steps are reckoned: nodes of the expression, times the parts of the JSON for each level of
//!    loops, times how many texts of [`CEL_STEP_BYTES`] the value would be. More than [`CEL_STEPS_MAX`] are not begun.
//! 4. The pattern of `matches` is a text in the expression, compiled once, bounded as other regular expressions.
//!
//! The Pratt parser of the crate counts how deep it is, where the other one takes stack without end.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use cel::extractors::This;
use cel::objects::Key;
use cel::parser::{Expression, PrattParser};
use cel::{Context, Env, ExecutionError, Value as CelValue};
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use tidings_engine::Record;
use tidings_gateway::Trouble;

use super::filter::{Verdict, fits, refused, regex_trouble};
use crate::json_path::Extent;
use crate::limits::{
    CAUSE_CHARS_MAX, CEL_DEPTH_MAX, CEL_LOOPS_MAX, CEL_NODES_MAX, CEL_STEP_BYTES, CEL_STEPS_MAX,
    REGEX_BYTES_MAX,
};
use crate::payload::shortened;

const VARIABLES: [&str; 7] =
    ["key", "value", "headers", "topic", "partition", "offset", "timestamp"];
const HINT: &str = "cel=value.total > 100 && key.startsWith('A'); cel=value.items.exists(i, i.sku == 'A1'); \
                    there are key, value, headers, topic, partition, offset and timestamp";

/// An expression that is bounded. See the [module](self).
pub(super) struct Cel {
    expression: Expression,
    env: Arc<Env>,
    patterns: Arc<HashMap<String, Regex>>,
    nodes: u64,
    loops: u32,
}

impl std::fmt::Debug for Cel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cel").field("nodes", &self.nodes).field("loops", &self.loops).finish()
    }
}

impl Cel {
    pub(super) fn parse(said: &str) -> Result<Self, Trouble> {
        fits("cel", said)?;
        let refused = |why: &str| refused("cel", said, why).hint(HINT);
        if nesting(said) > usize::from(CEL_DEPTH_MAX) {
            return Err(refused(&format!("it nests more than {CEL_DEPTH_MAX} deep")));
        }
        let parser = PrattParser::new()
            .max_recursion_depth(CEL_DEPTH_MAX)
            .max_expression_node_count(CEL_NODES_MAX);
        let expression = parser.parse(said).map_err(|errors| {
            let first = errors.errors.first();
            refused(&first.map_or_else(
                || "it cannot be read".to_owned(),
                |error| format!("{} at {}", error.msg, error.pos.1),
            ))
        })?;
        let mut looked = Looked::default();
        looked.at(&expression, 0).map_err(|why| refused(&why))?;
        if looked.nodes > CEL_NODES_MAX as u64 {
            return Err(refused(&format!("it has more than {CEL_NODES_MAX} parts")));
        }
        let Looked { nodes, loops, patterns, .. } = looked;
        let env = Arc::new(Env::stdlib().with_optional_support(false));
        Ok(Self { expression, env, patterns: Arc::new(patterns), nodes, loops })
    }

    pub(super) fn judge(&self, record: &Record, value: Option<&Value>, extent: Extent) -> Verdict {
        let texts = 1 + record.value.as_ref().map_or(0, Bytes::len) / CEL_STEP_BYTES;
        let rounds = extent.nodes.saturating_pow(self.loops).saturating_mul(texts as u64);
        if self.nodes.saturating_mul(rounds) > CEL_STEPS_MAX {
            return Verdict::TooLarge;
        }
        let mut context = Context::with_env(Arc::clone(&self.env));
        let patterns = Arc::clone(&self.patterns);
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            let pattern = patterns.get(pattern.as_str()).ok_or_else(|| {
                ExecutionError::function_error(
                    "matches",
                    "its pattern is no text in the expression",
                )
            })?;
            Ok(pattern.is_match(&text))
        };
        if let Err(error) = context.add_function("matches", matches) {
            return Verdict::Failed(error.to_string());
        }
        for (name, its) in variables(record, value) {
            context.add_variable_from_value(name, its);
        }
        match CelValue::resolve(&self.expression, &context) {
            Ok(CelValue::Bool(true)) => Verdict::Taken,
            Ok(CelValue::Bool(false)) | Err(ExecutionError::NoSuchKey(_)) => Verdict::Left,
            Ok(_) => Verdict::Failed("the expression is neither true nor false".to_owned()),
            Err(error) => Verdict::Failed(shortened(&error.to_string(), CAUSE_CHARS_MAX)),
        }
    }
}

/// How deep brackets nest; those in texts count as well. The parser takes stack for each.
fn nesting(said: &str) -> usize {
    let mut open = 0_usize;
    let deepest = said.chars().map(|sign| {
        match sign {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        open
    });
    deepest.max().unwrap_or(0)
}

fn variables(record: &Record, value: Option<&Value>) -> [(&'static str, CelValue); 7] {
    let text = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => CelValue::from(String::from_utf8_lossy(bytes).into_owned()),
        None => CelValue::Null,
    };
    let headers = record
        .headers
        .iter()
        .rev()
        .map(|header| (Key::from(header.name.to_string()), text(header.value.as_deref())));
    let headers: HashMap<Key, CelValue> = headers.collect();
    [
        ("key", text(record.key.as_deref())),
        ("value", value.map_or_else(|| text(record.value.as_deref()), of_json)),
        ("headers", CelValue::from(headers)),
        ("topic", CelValue::from(record.topic.to_string())),
        ("partition", CelValue::Int(i64::from(record.partition))),
        ("offset", CelValue::Int(record.offset)),
        ("timestamp", CelValue::Int(record.timestamp)),
    ]
}

/// Whole numbers are signed, as literals in an expression are.
fn of_json(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(truth) => CelValue::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => CelValue::Int(number),
            (None, Some(number)) => CelValue::UInt(number),
            (None, None) => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => CelValue::from(text.as_str()),
        Value::Array(items) => CelValue::from(items.iter().map(of_json).collect::<Vec<_>>()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, its)| (Key::from(name.as_str()), of_json(its)));
            CelValue::from(fields.collect::<HashMap<_, _>>())
        }
    }
}

/// What an expression was found to be made of.
#[derive(Default)]
struct Looked {
    nodes: u64,
    loops: u32,
    patterns: HashMap<String, Regex>,
    /// What loops call their items, at this place.
    names: Vec<String>,
}

impl Looked {
    /// The error says what is not allowed. `deep` is how many loops are around it.
    fn at(&mut self, expression: &Expression, deep: u32) -> Result<(), String> {
        self.nodes += 1;
        match &expression.expr {
            Expr::Unspecified => Err("a part of it is missing".to_owned()),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => self.at(&select.operand, deep),
            Expr::List(list) => list.elements.iter().try_for_each(|item| self.at(item, deep)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.at(&entry.key, deep)?;
                    self.at(&entry.value, deep)
                }
                EntryExpr::StructField(_) => Err("there are no messages".to_owned()),
            }),
            Expr::Struct(_) => Err("there are no messages".to_owned()),
            Expr::Call(call) => {
                if call.func_name == "matches" {
                    self.pattern(call.args.last().map(|last| &last.expr))?;
                }
                call.target.iter().try_for_each(|target| self.at(target, deep))?;
                call.args.iter().try_for_each(|argument| self.at(argument, deep))
            }
            Expr::Comprehension(every) => {
                if matches!(every.accu_init.expr, Expr::List(_) | Expr::Map(_)) {
                    return Err(
                        "map and filter are not there; exists, all and exists_one are".into()
                    );
                }
                if deep == CEL_LOOPS_MAX {
                    return Err(format!("loops nest at most {CEL_LOOPS_MAX} deep"));
                }
                self.at(&every.iter_range, deep)?;
                self.loops = self.loops.max(deep + 1);
                let outer = self.names.len();
                let names =
                    [Some(&every.iter_var), every.iter_var2.as_ref(), Some(&every.accu_var)];
                self.names.extend(names.into_iter().flatten().cloned());
                let parts = [&every.accu_init, &every.loop_cond, &every.loop_step, &every.result];
                let looked = parts.into_iter().try_for_each(|part| self.at(part, deep + 1));
                self.names.truncate(outer);
                looked
            }
        }
    }

    fn ident(&self, name: &str) -> Result<(), String> {
        if VARIABLES.contains(&name) || self.names.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(format!("there is no {name}"))
    }

    fn pattern(&mut self, said: Option<&Expr>) -> Result<(), String> {
        let Some(Expr::Literal(LiteralValue::String(pattern))) = said else {
            return Err("the pattern of matches must be a text".to_owned());
        };
        let pattern = pattern.inner().to_owned();
        let built = RegexBuilder::new(&pattern)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build();
        let built = built.map_err(|error| format!("{pattern:?}: {}", regex_trouble(&error)))?;
        self.patterns.insert(pattern, built);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tidings_engine::Header;

    use super::*;

    fn judged(expression: &str, value: Option<&str>) -> Verdict {
        let record = Record {
            topic: "orders".into(),
            partition: 3,
            offset: 41,
            timestamp: 1_000,
            key: Some(Bytes::from_static(b"A-7")),
            value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
            headers: vec![Header::text("ce_type", "OrderPlaced"), Header::text("x", "y")],
        };
        let json = value.and_then(|value| serde_json::from_str::<Value>(value).ok());
        let extent = json.as_ref().map_or(Extent { nodes: 1, depth: 1 }, Extent::of);
        let cel = Cel::parse(expression).unwrap_or_else(|no| panic!("{expression}: {}", no.detail));
        cel.judge(&record, json.as_ref(), extent)
    }

    const ORDER: &str = r#"{"total":13.5,"id":7,"who":"Ann","big":18446744073709551615,
        "items":[{"sku":"A1","qty":2,"tags":["x"]},{"sku":"B2","qty":5,"tags":["y","z"]}]}"#;

    #[test]
    fn expressions_judge_records() {
        for (expression, taken) in [
            ("true", true),
            ("value.total > 13.0 && key.startsWith('A')", true),
            ("value.id == 7 && value.id < 8 && value.id > -1", true),
            ("value.total > 13", true),
            ("value.who.matches('^A.n$')", true),
            ("value.who.matches('^B')", false),
            ("value.items.exists(i, i.sku == 'B2' && i.qty > 4)", true),
            ("value.items.all(i, i.qty > 4)", false),
            ("value.items.exists(i, i.tags.exists(t, t == 'z'))", true),
            ("size(value.items) == 2 && value.items[0].sku in ['A1', 'C3']", true),
            ("headers.ce_type == 'OrderPlaced' && headers['x'] == 'y'", true),
            ("has(value.who) && !has(value.nobody)", true),
            ("value.nobody == 1", false),
            ("partition == 3 && offset >= 41 && timestamp == 1000 && topic == 'orders'", true),
            ("value.big > 1u", true),
        ] {
            let wanted = if taken { Verdict::Taken } else { Verdict::Left };
            assert_eq!(judged(expression, Some(ORDER)), wanted, "{expression}");
        }
        assert_eq!(judged("value == null", None), Verdict::Taken);
        assert_eq!(judged("value.contains('plain')", Some("plain text")), Verdict::Taken);
        for expression in ["value.id", "value.who > 3", "1/0 == 1"] {
            assert!(matches!(judged(expression, Some(ORDER)), Verdict::Failed(_)), "{expression}");
        }
    }

    #[test]
    fn what_could_not_be_bounded_is_refused() {
        for (expression, wanted) in [
            ("value.".to_owned(), " at "),
            ("nobody == 1".to_owned(), "there is no nobody"),
            ("value.items.map(i, i.sku) == []".to_owned(), "map and filter are not there"),
            ("size(value.items.filter(i, true)) > 1".to_owned(), "map and filter are not there"),
            ("value.all(a, a.all(b, b.all(c, c > 1)))".to_owned(), "loops nest at most 2 deep"),
            ("key.matches(value.pattern)".to_owned(), "must be a text"),
            ("key.matches('(a{1000}){1000}')".to_owned(), "it needs more than"),
            (format!("{}key{} == 'a'", "(".repeat(200), ")".repeat(200)), "nests more than"),
            (vec!["key == 'a'"; 80].join(" && "), ""),
            (format!("key{}", " + key".repeat(160)), ""),
            ("[".repeat(900), "nests more than"),
            ("!".repeat(900), ""),
        ] {
            let trouble = Cel::parse(&expression).expect_err(&expression);
            assert_eq!(trouble.status.as_u16(), 400, "{expression}");
            assert!(trouble.detail.contains(wanted), "{expression}: {}", trouble.detail);
        }
    }

    #[test]
    fn what_could_take_too_long_is_not_begun() {
        let wide = format!("[{}1]", "1,".repeat(5_000));
        assert_eq!(judged("value.all(a, a == 1)", Some(&wide)), Verdict::Taken);
        let nested = "value.all(a, value.all(b, a == b))";
        assert_eq!(judged(nested, Some(&wide)), Verdict::TooLarge);
        assert_eq!(judged(nested, Some("[1,1,1]")), Verdict::Taken);
    }

    #[test]
    fn the_deepest_expression_fits_on_the_stack_of_a_worker() {
        let chain = format!("key{} != ''", " + key".repeat(CEL_NODES_MAX / 2 - 3));
        let fields = format!("value{} == 1", ".a".repeat(CEL_NODES_MAX - 4));
        let calls = format!("{}value{} == 1", "size([".repeat(10), "])".repeat(10));
        let loops = "value.all(a, value.all(b, true ? a == b || false : (((a != b)))))";
        for expression in [&chain, &fields, &calls, loops] {
            let verdict = judged(expression, Some("[1]"));
            assert_ne!(verdict, Verdict::TooLarge, "{expression}");
        }
        let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
        assert_eq!(judged("value == value", Some(&deep)), Verdict::Taken);
    }

    /// Prints how long the worst that is accepted takes in one record.
    #[test]
    #[ignore = "a measurement: cargo test -p tidings-console --lib worst_expressions -- --ignored --nocapture"]
    fn worst_expressions() {
        let text = "x".repeat(CEL_STEP_BYTES / 2);
        let wide = format!("{{\"t\":\"{text}\",\"l\":[{}1]}}", "1,".repeat(4_000));
        let flat = format!("[{}1]", "1,".repeat(6_000));
        for (expression, value) in [
            ("value.l.all(a, !value.t.contains('xy'))", &wide),
            ("value.l.all(a, !value.t.matches('x*y'))", &wide),
            ("value.l.all(a, value.t + value.t != key)", &wide),
            ("value.all(a, a == 1)", &flat),
            ("value == value", &flat),
        ] {
            let began = Instant::now();
            let verdict = judged(expression, Some(value));
            println!("{expression}: {verdict:?} after {:?}", began.elapsed());
        }
    }
}
