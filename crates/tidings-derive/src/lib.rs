//! `#[derive(Event)]`: the compile-time half of the `tidings` crate; use it through `tidings`.
//!
//! Expands to `impl tidings::Event` and `impl tidings::Effects` for a struct with named fields.
//! Every error points at the token of the user's source that has to change.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::{Data, DeriveInput, Error, Fields, LitInt, LitStr, Result, spanned::Spanned};

/// Longest topic name that Kafka accepts.
const TOPIC_NAME_LENGTH_MAX: usize = 249;

/// Makes a struct an event.
///
/// `#[event(topic = "shop.orders", key = "order")]` is required: the topic that carries the event and
/// the field (any `Display`) whose text is the record's key. `type = "…"` (default: the struct's
/// name) and `version = N` (default: 1) may follow.
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// What `#[event(…)]` says.
struct Attributes {
    topic: LitStr,
    key: LitStr,
    event_type: Option<LitStr>,
    version: u32,
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(input)?;
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "an event cannot be generic: its name stands for one shape",
        ));
    }
    let attributes = attributes(input)?;
    let key = key_field(input, fields, &attributes.key)?;
    let name = &input.ident;
    let span = name.span();
    let event_type =
        attributes.event_type.unwrap_or_else(|| LitStr::new(&name.to_string(), name.span()));
    let Attributes { topic, version, .. } = attributes;
    let key_text = quote_spanned! { key.span()=> ::std::string::ToString::to_string(&self.#key) };
    Ok(quote_spanned! { span=>
        #[automatically_derived]
        impl ::tidings::Event for #name {
            const TYPE: &'static str = #event_type;
            const VERSION: u32 = #version;
            const TOPIC: &'static str = #topic;
            fn key(&self) -> ::std::string::String { #key_text }
        }
        #[automatically_derived]
        impl ::tidings::Effects for #name {
            fn topics(into: &mut ::std::vec::Vec<&'static str>) {
                into.push(<Self as ::tidings::Event>::TOPIC);
            }
            fn emit(self, into: &mut ::tidings::Emissions) { into.event(&self); }
        }
    })
}

fn named_fields(input: &DeriveInput) -> Result<&syn::FieldsNamed> {
    if let Data::Struct(data) = &input.data
        && let Fields::Named(fields) = &data.fields
    {
        return Ok(fields);
    }
    Err(Error::new_spanned(&input.ident, "an event is a struct with named fields"))
}

fn attributes(input: &DeriveInput) -> Result<Attributes> {
    let (mut topic, mut key, mut event_type, mut version) = (None, None, None, 1);
    let mut place = None;
    for attribute in input.attrs.iter().filter(|a| a.path().is_ident("event")) {
        place = Some(attribute.path().span());
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("topic") {
                topic = Some(topic_name(meta.value()?.parse()?)?);
            } else if meta.path.is_ident("key") {
                key = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("type") {
                event_type = Some(not_empty(meta.value()?.parse()?)?);
            } else if meta.path.is_ident("version") {
                version = version_number(&meta.value()?.parse()?)?;
            } else {
                return Err(meta.error("unknown word: known are topic, key, type, version"));
            }
            Ok(())
        })?;
    }
    let place: Span = place.unwrap_or_else(|| input.ident.span());
    let missing = |what: &str| {
        let text = format!("missing {what}: #[event(topic = \"shop.orders\", key = \"order\")]");
        Error::new(place, text)
    };
    Ok(Attributes {
        topic: topic.ok_or_else(|| missing("topic"))?,
        key: key.ok_or_else(|| missing("key"))?,
        event_type,
        version,
    })
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

fn version_number(number: &LitInt) -> Result<u32> {
    match number.base10_parse::<u32>() {
        Ok(0) => Err(Error::new_spanned(number, "versions are counted from 1")),
        other => other,
    }
}

fn key_field(input: &DeriveInput, fields: &syn::FieldsNamed, key: &LitStr) -> Result<syn::Ident> {
    let wanted = key.value();
    let names: Vec<String> =
        fields.named.iter().flat_map(|f| &f.ident).map(ToString::to_string).collect();
    if names.contains(&wanted) {
        return Ok(match wanted.strip_prefix("r#") {
            Some(raw) => syn::Ident::new_raw(raw, key.span()),
            None => format_ident!("{wanted}", span = key.span()),
        });
    }
    let text = format!("`{}` has no field `{wanted}`; it has: {}", input.ident, names.join(", "));
    Err(Error::new_spanned(key, text))
}
