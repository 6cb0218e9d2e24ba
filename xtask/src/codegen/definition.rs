//! The notation of `messages/*.msg`, read into values. The folder's README describes it.

use anyhow::{Context, Result, bail, ensure};

/// Versions, both ends included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) first: i16,
    pub(super) last: i16,
}

impl Versions {
    /// `4`, `3+` or `1-7`, within `self`.
    fn parse_within(self, text: &str) -> Result<Self> {
        let range = match text.split_once('-') {
            Some((first, last)) => Self { first: first.parse()?, last: last.parse()? },
            None => match text.strip_suffix('+') {
                Some(first) => Self { first: first.parse()?, last: self.last },
                None => Self { first: text.parse()?, last: text.parse()? },
            },
        };
        let inside = self.first <= range.first && range.last <= self.last;
        ensure!(inside && range.first <= range.last, "versions {text} lie outside the API's");
        Ok(range)
    }

    pub(super) fn has(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    /// The condition for being in `self`, when it is known that `version` is in `outer`.
    pub(super) fn condition(self, outer: Self) -> Option<String> {
        let Self { first, last } = self;
        match (first > outer.first, last < outer.last) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {first}")),
            (false, true) => Some(format!("version <= {last}")),
            (true, true) if first == last => Some(format!("version == {first}")),
            (true, true) => Some(format!("({first}..={last}).contains(&version)")),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// `bool` and the numbers: Rust's names are the notation's.
    Scalar(String),
    Uuid,
    String,
    Bytes,
    Pieces,
    Struct(String),
    List(Box<Type>),
}

pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) versions: Versions,
    pub(super) null: Option<Versions>,
    pub(super) tag: Option<u32>,
    pub(super) default: Option<String>,
    pub(super) text: Option<String>,
}

pub(super) struct Struct {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
}

pub(super) struct Api {
    pub(super) module: String,
    pub(super) about: String,
    pub(super) name: String,
    pub(super) key: i16,
    pub(super) versions: Versions,
    pub(super) flexible_since: i16,
    /// `Request`, its structs, `Response`, its structs.
    pub(super) structs: Vec<Struct>,
}

impl Api {
    /// Whether any field is a floating-point number, which rules `Eq` out.
    pub(super) fn has_floats(&self) -> bool {
        let float = Type::Scalar("f64".to_owned());
        self.structs.iter().flat_map(|this| &this.fields).any(|field| field.kind == float)
    }

    pub(super) fn find(&self, name: &str) -> Result<&Struct> {
        let found = self.structs.iter().find(|candidate| candidate.name == name);
        found.with_context(|| format!("struct {name} has no fields anywhere"))
    }
}

pub(super) fn parse(module: String, text: &str) -> Result<Api> {
    let (head, body) = text.split_once("\nrequest\n").context("no line `request`")?;
    let mut about = String::new();
    let mut words = std::collections::HashMap::new();
    for line in head.lines() {
        match line.strip_prefix('#') {
            Some(text) => about += text.trim(),
            None => drop(line.split_once(' ').map(|(word, rest)| words.insert(word, rest.trim()))),
        }
    }
    let word = |name| words.get(name).copied().with_context(|| format!("no line `{name} …`"));
    let (name, key) = word("api")?.split_once(' ').context("`api Name key`")?;
    let all = Versions { first: 0, last: i16::MAX };
    let versions = all.parse_within(word("versions")?)?;
    let flexible = all.parse_within(word("flexible")?)?;
    let (request, response) = body.split_once("\nresponse\n").context("no line `response`")?;
    let mut structs = Vec::new();
    for (name, body) in [("Request", request), ("Response", response)] {
        let lines: Vec<&str> = body.lines().filter(|line| !line.trim().is_empty()).collect();
        parse_struct(name, &lines, 1, versions, &mut structs)?;
    }
    Ok(Api {
        module,
        about,
        name: name.to_owned(),
        key: key.parse()?,
        versions,
        flexible_since: flexible.first,
        structs,
    })
}

/// Reads the fields at `depth`, and the structs below them.
fn parse_struct(
    name: &str,
    lines: &[&str],
    depth: usize,
    versions: Versions,
    structs: &mut Vec<Struct>,
) -> Result<()> {
    ensure!(structs.iter().all(|known| known.name != name), "struct {name} is defined twice");
    let place = structs.len();
    structs.push(Struct { name: name.to_owned(), fields: Vec::new() });
    let indent = |line: &str| (line.len() - line.trim_start().len()) / 4;
    let mut rest = lines;
    while let Some((line, below)) = rest.split_first() {
        ensure!(indent(line) == depth, "indentation of `{}`", line.trim());
        let field = parse_field(line.trim(), versions).with_context(|| format!("`{line}`"))?;
        let nested = below.iter().take_while(|line| indent(line) > depth).count();
        let (inner, after) = below.split_at(nested);
        if !inner.is_empty() {
            let Some(name) = struct_of(&field.kind) else { bail!("`{line}` is no struct") };
            parse_struct(name, inner, depth + 1, versions, structs)?;
        }
        structs[place].fields.push(field);
        rest = after;
    }
    Ok(())
}

pub(super) fn struct_of(kind: &Type) -> Option<&str> {
    match kind {
        Type::Struct(name) => Some(name),
        Type::List(element) => struct_of(element),
        _ => None,
    }
}

fn parse_field(line: &str, all: Versions) -> Result<Field> {
    let (spec, text) = match line.split_once(" -- ") {
        Some((spec, text)) => (spec, Some(text.trim().to_owned())),
        None => (line, None),
    };
    let mut words = spec.split_whitespace().peekable();
    let name = words.next().context("no name")?.to_owned();
    let kind = parse_type(words.next().context("no type")?)?;
    let is_versions = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    let versions = match words.next_if(is_versions) {
        Some(text) => all.parse_within(text)?,
        None => all,
    };
    let mut field = Field { name, kind, versions, null: None, tag: None, default: None, text };
    while let Some(word) = words.next() {
        match word {
            "null" => {
                field.null = Some(match words.next_if(is_versions) {
                    Some(text) => versions.parse_within(text)?,
                    None => versions,
                });
            }
            "tag" => field.tag = Some(words.next().context("tag N")?.parse()?),
            "default" => field.default = Some(words.next().context("default V")?.to_owned()),
            _ => bail!("unknown word `{word}`"),
        }
    }
    Ok(field)
}

fn parse_type(text: &str) -> Result<Type> {
    if let Some(element) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Ok(Type::List(Box::new(parse_type(element)?)));
    }
    Ok(match text {
        "bool" | "i8" | "i16" | "u16" | "i32" | "i64" | "f64" => Type::Scalar(text.to_owned()),
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "pieces" => Type::Pieces,
        _ if text.starts_with(|first: char| first.is_ascii_uppercase()) => {
            Type::Struct(text.to_owned())
        }
        _ => bail!("unknown type `{text}`"),
    })
}
