//! `#[derive(Event)]` and `#[derive(Shape)]`: the compile-time half of the `tidings` crate; use them
//! through `tidings`.
//!
//! The first expands to `impl tidings::Event` and `impl tidings::Effects` for a struct with named fields,
//! the second to `impl tidings::shape::Shape` for what events are made of. Every error points at the token
//! of the user's source that has to change.

mod attributes;
mod serde_attributes;
mod shape;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Type, spanned::Spanned};

use attributes::{Attributes, Upcast};

/// Makes a struct an event.
///
/// `#[event(topic = "shop.orders", key = "order")]` is required: the topic that carries the event and
/// the field (any `Display`) whose text is the record's key. These may follow:
/// - `type = "…"`: the event's name; the struct's when not said.
/// - `kind = "domain"`, `"integration"` or `"command"`: what it is for its readers; `"domain"` when not
///   said. A command's topic is `<service>.commands`, after the one service that carries it out.
/// - `version = N`: of the shape; 1 when not said.
/// - `since = N`: the oldest version that this shape reads as it is; `version` when not said.
/// - `upcast(from = N, with = Type)`: version `N` is read as `Type`, which becomes the type of the next
///   upcaster, and in the end this one, by `From`.
///
/// A field may say `#[shape(as = Type)]`: in golden files it has the shape of that type.
#[proc_macro_derive(Event, attributes(event, shape))]
pub fn derive_event(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Gives a struct or an enum the shape that serde's derives give its JSON.
///
/// Understood are serde's `rename`, `rename_all`, `alias`, `default`, `skip`, `skip_serializing_if`,
/// `deny_unknown_fields`, `transparent`, `tag`, `content`, `untagged` and `other`; anything else that changes
/// what is written is refused. A field may say `#[shape(as = Type)]`: it has the shape of that type.
#[proc_macro_derive(Shape, attributes(shape))]
pub fn derive_shape(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    shape::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(input)?;
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "an event cannot be generic: its name stands for one shape",
        ));
    }
    let attributes = attributes::read(input)?;
    let key = key_field(input, fields, &attributes.key)?;
    let name = &input.ident;
    let span = name.span();
    let shape = shape_method(input, fields, &key)?;
    let older = older_shapes(&attributes.upcasts);
    let upcast = upcast_method(&attributes.upcasts);
    let Attributes { topic, event_type, version, since, kind, .. } = attributes;
    let event_type = event_type.unwrap_or_else(|| LitStr::new(&name.to_string(), name.span()));
    let key_text = quote_spanned! { key.span()=> ::std::string::ToString::to_string(&self.#key) };
    Ok(quote_spanned! { span=>
        #[automatically_derived]
        impl ::tidings::Event for #name {
            const TYPE: &'static str = #event_type;
            const VERSION: u32 = #version;
            const SINCE: u32 = #since;
            const TOPIC: &'static str = #topic;
            const KIND: ::tidings::Kind = ::tidings::Kind::#kind;
            fn key(&self) -> ::std::string::String { #key_text }
            #upcast
            #shape
            #older
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

fn key_field(input: &DeriveInput, fields: &syn::FieldsNamed, key: &LitStr) -> Result<Ident> {
    let wanted = key.value();
    let names: Vec<String> =
        fields.named.iter().flat_map(|f| &f.ident).map(ToString::to_string).collect();
    if names.contains(&wanted) {
        return Ok(match wanted.strip_prefix("r#") {
            Some(raw) => Ident::new_raw(raw, key.span()),
            None => format_ident!("{wanted}", span = key.span()),
        });
    }
    let text = format!("`{}` has no field `{wanted}`; it has: {}", input.ident, names.join(", "));
    Err(Error::new_spanned(key, text))
}

/// `Event::payload_shape` and `Event::KEY`.
fn shape_method(
    input: &DeriveInput,
    fields: &syn::FieldsNamed,
    key: &Ident,
) -> Result<TokenStream> {
    let container = serde_attributes::container(input);
    let key_name = fields
        .named
        .iter()
        .find(|field| field.ident.as_ref() == Some(key))
        .map(|field| shape::wire_name(field, &container))
        .unwrap_or_default();
    let payload = shape::event_payload(fields, &container)?;
    let within = shape::within();
    Ok(quote! {
        const KEY: &'static str = #key_name;
        fn payload_shape() -> ::tidings::shape::Type {
            let #within = ::tidings::shape::Within::nothing();
            #within.shape_of::<Self>(|#within| #payload)
        }
    })
}

/// `Event::upcast`: each older version through all that follow it.
fn upcast_method(upcasts: &[Upcast]) -> Option<TokenStream> {
    if upcasts.is_empty() {
        return None;
    }
    let (older, event) = (mixed("older"), mixed("event"));
    let arms = upcasts.iter().enumerate().map(|(number, Upcast { from, with })| {
        let following = upcasts.iter().skip(number + 1);
        let mut sources: Vec<&Type> = vec![with];
        sources.extend(following.map(|upcast| &upcast.with));
        let steps = sources.iter().enumerate().map(|(step, source)| {
            let span = source.span();
            match sources.get(step + 1) {
                Some(next) => quote_spanned! { span=>
                    let #event = <#next as ::std::convert::From<#source>>::from(#event);
                },
                None => quote_spanned! { span=>
                    ::std::result::Result::Ok(<Self as ::std::convert::From<#source>>::from(#event))
                },
            }
        });
        let read = quote_spanned! { with.span()=> #older.read::<#with>()? };
        quote! { #from => { let #event = #read; #(#steps)* } }
    });
    Some(quote! {
        fn upcast(
            #older: &::tidings::Older<'_>,
        ) -> ::std::result::Result<Self, ::tidings::DecodeError> {
            match #older.version() {
                #(#arms)*
                _ => ::std::result::Result::Err(#older.without_upcaster::<Self>()),
            }
        }
    })
}

/// A variable of one hygiene, wherever the tokens around it are from.
pub(crate) fn mixed(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// `Event::older_shapes`.
fn older_shapes(upcasts: &[Upcast]) -> Option<TokenStream> {
    if upcasts.is_empty() {
        return None;
    }
    let within = shape::within();
    let shapes = upcasts.iter().map(|Upcast { from, with }| {
        let shape = shape::probed(with);
        quote! { (#from, #shape) }
    });
    Some(quote! {
        fn older_shapes() -> ::std::vec::Vec<(u32, ::tidings::shape::Type)> {
            let #within = &::tidings::shape::Within::nothing();
            ::std::vec![#(#shapes),*]
        }
    })
}
