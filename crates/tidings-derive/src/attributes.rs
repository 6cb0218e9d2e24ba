//! What `#[event(…)]` says.

use proc_macro2::Span;
use quote::format_ident;
use syn::{
    DeriveInput, Error, Ident, LitInt, LitStr, Result, Type, meta::ParseNestedMeta,
    spanned::Spanned,
};

/// Longest topic name that Kafka accepts.
const TOPIC_NAME_LENGTH_MAX: usize = 249;
/// What the topic of a command ends in, after the service's name.
const COMMANDS: &str = ".commands";

pub(crate) struct Attributes {
    pub(crate) topic: LitStr,
    pub(crate) key: LitStr,
    pub(crate) event_type: Option<LitStr>,
    pub(crate) version: u32,
    pub(crate) since: u32,
    /// A variant of `tidings::Kind`.
    pub(crate) kind: Ident,
    /// In the order of versions.
    pub(crate) upcasts: Vec<Upcast>,
}

/// `upcast(from = …, with = …)`.
pub(crate) struct Upcast {
    pub(crate) from: u32,
    pub(crate) with: Type,
}

/// As far as read.
#[derive(Default)]
struct Read {
    place: Option<Span>,
    topic: Option<LitStr>,
    key: Option<LitStr>,
    event_type: Option<LitStr>,
    version: Option<LitInt>,
    since: Option<LitInt>,
    kind: Option<LitStr>,
    upcasts: Vec<(LitInt, Type)>,
}

pub(crate) fn read(input: &DeriveInput) -> Result<Attributes> {
    let mut read = Read::default();
    for attribute in input.attrs.iter().filter(|a| a.path().is_ident("event")) {
        read.place = Some(attribute.path().span());
        attribute.parse_nested_meta(|meta| read.word(&meta))?;
    }
    let place: Span = read.place.unwrap_or_else(|| input.ident.span());
    let missing = |what: &str| {
        let text = format!("missing {what}: #[event(topic = \"shop.orders\", key = \"order\")]");
        Error::new(place, text)
    };
    let topic = read.topic.ok_or_else(|| missing("topic"))?;
    let key = read.key.ok_or_else(|| missing("key"))?;
    let kind = kind(read.kind.as_ref(), &topic)?;
    let version = read.version.as_ref().map_or(Ok(1), version_number)?;
    let upcasts = upcasts(read.upcasts, version)?;
    let since = match &read.since {
        Some(number) => since(number, version, &upcasts)?,
        None => version,
    };
    Ok(Attributes { topic, key, event_type: read.event_type, version, since, kind, upcasts })
}

impl Read {
    fn word(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(word) = meta.path.get_ident().map(ToString::to_string) else {
            return Err(meta.error("unknown word"));
        };
        match word.as_str() {
            "topic" => self.topic = Some(topic_name(meta.value()?.parse()?)?),
            "key" => self.key = Some(meta.value()?.parse()?),
            "type" => self.event_type = Some(not_empty(meta.value()?.parse()?)?),
            "version" => self.version = Some(meta.value()?.parse()?),
            "since" => self.since = Some(meta.value()?.parse()?),
            "kind" => self.kind = Some(meta.value()?.parse()?),
            "upcast" => {
                let upcast = upcast(meta)?;
                self.upcasts.push(upcast);
            }
            _ => {
                return Err(meta.error(
                    "unknown word: known are topic, key, type, kind, version, since, upcast",
                ));
            }
        }
        Ok(())
    }
}

fn upcast(meta: &ParseNestedMeta<'_>) -> Result<(LitInt, Type)> {
    let (mut from, mut with) = (None, None);
    meta.parse_nested_meta(|meta| {
        if meta.path.is_ident("from") {
            from = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("with") {
            with = Some(meta.value()?.parse()?);
        } else {
            return Err(meta.error("unknown word: write upcast(from = 1, with = OrderPlacedV1)"));
        }
        Ok(())
    })?;
    match (from, with) {
        (Some(from), Some(with)) => Ok((from, with)),
        _ => Err(meta.error("an upcaster says both: upcast(from = 1, with = OrderPlacedV1)")),
    }
}

fn topic_name(name: LitStr) -> Result<LitStr> {
    let text = name.value();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > TOPIC_NAME_LENGTH_MAX || !text.chars().all(legal) {
        let rule = "a topic is named with letters, digits, `.`, `_` and `-`, up to 249 of them";
        return Err(Error::new_spanned(&name, rule));
    }
    Ok(name)
}

fn not_empty(text: LitStr) -> Result<LitStr> {
    if text.value().is_empty() {
        return Err(Error::new_spanned(&text, "an event's type cannot be empty"));
    }
    Ok(text)
}

fn kind(kind: Option<&LitStr>, topic: &LitStr) -> Result<Ident> {
    let Some(kind) = kind else { return Ok(format_ident!("Domain")) };
    match kind.value().as_str() {
        "domain" => Ok(format_ident!("Domain")),
        "integration" => Ok(format_ident!("Integration")),
        "command" => {
            let name = topic.value();
            match name.strip_suffix(COMMANDS) {
                Some(service) if !service.is_empty() => Ok(format_ident!("Command")),
                _ => Err(Error::new_spanned(
                    topic,
                    "a command's topic is named after the service that carries it out: \
                     `<service>.commands`",
                )),
            }
        }
        _ => Err(Error::new_spanned(kind, "a kind is \"domain\", \"integration\" or \"command\"")),
    }
}

fn version_number(number: &LitInt) -> Result<u32> {
    match number.base10_parse::<u32>() {
        Ok(0) => Err(Error::new_spanned(number, "versions are counted from 1")),
        other => other,
    }
}

/// In the order of versions, each once, all older than the event.
fn upcasts(read: Vec<(LitInt, Type)>, version: u32) -> Result<Vec<Upcast>> {
    let mut upcasts: Vec<Upcast> = Vec::with_capacity(read.len());
    for (number, with) in read {
        let from = version_number(&number)?;
        if from >= version {
            let text =
                format!("an upcaster is from an older version than {version}, the event's own");
            return Err(Error::new_spanned(&number, text));
        }
        if upcasts.iter().any(|other| other.from == from) {
            let text = format!("two upcasters from version {from}");
            return Err(Error::new_spanned(&number, text));
        }
        upcasts.push(Upcast { from, with });
    }
    upcasts.sort_by_key(|upcast| upcast.from);
    Ok(upcasts)
}

fn since(number: &LitInt, version: u32, upcasts: &[Upcast]) -> Result<u32> {
    let since = version_number(number)?;
    if since > version {
        let text = format!("the shape cannot be newer than {version}, the event's own version");
        return Err(Error::new_spanned(number, text));
    }
    if let Some(Upcast { from, .. }) = upcasts.iter().find(|upcast| upcast.from >= since) {
        let text = format!("version {from} has an upcaster, so it is not read as it is");
        return Err(Error::new_spanned(number, text));
    }
    Ok(since)
}
