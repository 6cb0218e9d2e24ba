//! `#[derive(Shape)]`, and the shape of an event's payload.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{
    Data, DataEnum, DeriveInput, Error, Field, Fields, FieldsNamed, FieldsUnnamed, Ident, Result,
    Type, Variant, ext::IdentExt as _, spanned::Spanned,
};

use crate::serde_attributes::{self, Case, Container};

/// Of a field's type.
#[derive(Clone, Copy)]
enum Ask {
    /// It must have a shape.
    Required,
    /// It may have one.
    Probed,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a generic type's shape is not derived: implement `tidings::shape::Shape` for it",
        ));
    }
    let container = serde_attributes::container(input);
    if let Some(word) = &container.strange {
        let text = format!("{word} is not understood: implement `tidings::shape::Shape` by hand");
        return Err(Error::new_spanned(&input.ident, text));
    }
    let shape = match &input.data {
        Data::Struct(_) if container.tag.is_some() => {
            return Err(Error::new_spanned(&input.ident, "serde(tag) is understood of enums only"));
        }
        Data::Struct(data) => of_struct(&data.fields, &container)?,
        Data::Enum(data) => of_enum(data, &container)?,
        Data::Union(_) => return Err(Error::new_spanned(&input.ident, "a union has no JSON")),
    };
    let (name, within) = (&input.ident, within());
    Ok(quote_spanned! { name.span()=>
        #[automatically_derived]
        impl ::tidings::shape::Shape for #name {
            #[allow(clippy::redundant_closure, reason = "most shapes are more than a call")]
            fn shape(#within: &::tidings::shape::Within<'_>) -> ::tidings::shape::Type {
                #within.shape_of::<Self>(|#within| #shape)
            }
        }
    })
}

/// The payload of an event: what is not understood is unknown, not refused.
pub(crate) fn event_payload(fields: &FieldsNamed, container: &Container) -> Result<TokenStream> {
    let strange = match (&container.strange, container.tag.is_some(), container.transparent) {
        (Some(word), ..) => Some(word.clone()),
        (None, true, _) => Some("serde(tag)".to_owned()),
        (None, _, true) => Some("serde(transparent)".to_owned()),
        _ => None,
    };
    if let Some(word) = strange {
        let text = format!("{word}: implement `tidings::Event` by hand");
        return Ok(unknown(&text));
    }
    let fields = named(fields, container, container.rename_all, Ask::Probed)?;
    Ok(quote! { ::tidings::shape::Type::Struct(#fields) })
}

/// The name of a field in the JSON.
pub(crate) fn wire_name(field: &Field, container: &Container) -> String {
    let read = serde_attributes::item(&field.attrs);
    let name = field.ident.as_ref().map(|ident| ident.unraw().to_string()).unwrap_or_default();
    read.rename.unwrap_or_else(|| renamed(&name, container.rename_all))
}

/// The shape of a type that may have none.
pub(crate) fn probed(rust: &Type) -> TokenStream {
    let within = within();
    let text = format!(
        "{}: derive `tidings::Shape` for it, or write #[shape(as = …)] on the field",
        rust.to_token_stream()
    );
    quote_spanned! { rust.span()=> {
        #[allow(unused_imports, reason = "one of the two is used")]
        use ::tidings::shape::probe::{Known as _, Unknown as _};
        (&::tidings::shape::probe::Probe::<#rust>(::std::marker::PhantomData)).shape(#within, #text)
    } }
}

fn of_struct(fields: &Fields, container: &Container) -> Result<TokenStream> {
    match fields {
        Fields::Named(all) if container.transparent => match all.named.first() {
            Some(only) => of_type(only, Ask::Required),
            None => Ok(null()),
        },
        Fields::Named(all) => {
            let fields = named(all, container, container.rename_all, Ask::Required)?;
            Ok(quote! { ::tidings::shape::Type::Struct(#fields) })
        }
        Fields::Unnamed(all) => unnamed(all),
        Fields::Unit => Ok(null()),
    }
}

/// `Fields` of named fields.
fn named(
    fields: &FieldsNamed,
    container: &Container,
    rename_all: Option<Case>,
    ask: Ask,
) -> Result<TokenStream> {
    let mut all = Vec::new();
    for field in &fields.named {
        let read = serde_attributes::item(&field.attrs);
        if read.skip {
            continue;
        }
        let name = field.ident.as_ref().map(|ident| ident.unraw().to_string()).unwrap_or_default();
        let name = read.rename.unwrap_or_else(|| renamed(&name, rename_all));
        let remedy = match read.strange.as_deref() {
            None => None,
            Some("serde(with)" | "serde(serialize_with)" | "serde(deserialize_with)") => {
                shape_as(field)?.is_none().then_some("write #[shape(as = …)] on the field")
            }
            Some("serde(flatten)") => Some("write the fields out"),
            Some(_) => Some("what it does to the JSON is not understood"),
        };
        let shape = match (read.strange.zip(remedy), ask) {
            (None, ask) => of_type(field, ask)?,
            (Some((word, remedy)), Ask::Probed) => unknown(&format!("{word}: {remedy}")),
            (Some((word, remedy)), Ask::Required) => {
                let text = format!("{word} has no shape: {remedy}");
                return Err(Error::new_spanned(&field.ident, text));
            }
        };
        let aliases = &read.aliases;
        let default = (read.default || container.default).then(|| quote! { .or_default() });
        let omitted = read.omitted.then(|| quote! { .at_times() });
        all.push(quote! {
            ::tidings::shape::Field::new(#name, #shape)#(.alias(#aliases))* #default #omitted
        });
    }
    let closed = container.closed;
    Ok(quote! {
        ::tidings::shape::Fields { fields: ::std::vec![#(#all),*], closed: #closed }
    })
}

/// One is written as itself, several as an array.
fn unnamed(fields: &FieldsUnnamed) -> Result<TokenStream> {
    let all: Vec<TokenStream> =
        fields.unnamed.iter().map(|f| of_type(f, Ask::Required)).collect::<Result<_>>()?;
    Ok(match &all[..] {
        [only] => only.clone(),
        several => quote! { ::tidings::shape::Type::Tuple(::std::vec![#(#several),*]) },
    })
}

fn of_enum(data: &DataEnum, container: &Container) -> Result<TokenStream> {
    let (mut variants, mut open) = (Vec::new(), false);
    for variant in &data.variants {
        let read = serde_attributes::item(&variant.attrs);
        if let Some(word) = &read.strange {
            let text =
                format!("{word} is not understood: implement `tidings::shape::Shape` by hand");
            return Err(Error::new_spanned(&variant.ident, text));
        }
        open |= read.other;
        if !read.skip {
            variants.push(of_variant(variant, &read, container)?);
        }
    }
    let tag = match (&container.tag, &container.content) {
        _ if container.untagged => quote! { Untagged },
        (Some(tag), Some(content)) => quote! { Adjacent(#tag.into(), #content.into()) },
        (Some(tag), None) => quote! { Internal(#tag.into()) },
        _ => quote! { External },
    };
    Ok(quote! {
        ::tidings::shape::Type::Enum(::tidings::shape::Enum {
            tag: ::tidings::shape::Tag::#tag,
            variants: ::std::vec![#(#variants),*],
            open: #open,
        })
    })
}

fn of_variant(
    variant: &Variant,
    read: &serde_attributes::Item,
    container: &Container,
) -> Result<TokenStream> {
    let name = variant.ident.unraw().to_string();
    let name = read.rename.clone().unwrap_or_else(|| match container.rename_all {
        Some(case) => case.of_variant(&name),
        None => name,
    });
    let holds = match &variant.fields {
        Fields::Named(all) => {
            let fields = named(all, container, read.rename_all, Ask::Required)?;
            Some(quote! { ::tidings::shape::Type::Struct(#fields) })
        }
        Fields::Unnamed(all) => Some(unnamed(all)?),
        Fields::Unit => None,
    };
    let holds = match holds {
        Some(shape) => quote! { ::std::option::Option::Some(#shape) },
        None => quote! { ::std::option::Option::None },
    };
    let aliases = &read.aliases;
    Ok(quote! {
        ::tidings::shape::Variant {
            name: #name.into(),
            aliases: ::std::vec![#(#aliases.into()),*],
            holds: #holds,
        }
    })
}

fn of_type(field: &Field, ask: Ask) -> Result<TokenStream> {
    let (rust, ask) = match shape_as(field)? {
        Some(rust) => (rust, Ask::Required),
        None => (field.ty.clone(), ask),
    };
    let within = within();
    Ok(match ask {
        Ask::Probed => probed(&rust),
        Ask::Required => quote_spanned! { rust.span()=>
            <#rust as ::tidings::shape::Shape>::shape(#within)
        },
    })
}

/// `#[shape(as = Type)]`.
fn shape_as(field: &Field) -> Result<Option<Type>> {
    let mut found = None;
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("shape")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("as") {
                return Err(meta.error("unknown word: write #[shape(as = String)]"));
            }
            found = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    Ok(found)
}

fn renamed(name: &str, case: Option<Case>) -> String {
    case.map_or_else(|| name.to_owned(), |case| case.of_field(name))
}

/// The variable that every shape has.
pub(crate) fn within() -> Ident {
    crate::mixed("within")
}

fn unknown(text: &str) -> TokenStream {
    quote! { ::tidings::shape::Type::Unknown(::std::string::String::from(#text)) }
}

fn null() -> TokenStream {
    quote! { ::tidings::shape::Type::Null }
}
