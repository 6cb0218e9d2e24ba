//! What `#[serde(…)]` says of the JSON.
//!
//! What is not understood is kept as a word that makes the shape unknown: serde itself says what is wrong
//! with an attribute, so nothing is an error here.

use syn::{
    Attribute, DeriveInput, Expr, ExprLit, Lit, Meta, Token, parse_quote, punctuated::Punctuated,
};

/// Of a struct or an enum.
#[derive(Default)]
pub(crate) struct Container {
    pub(crate) rename_all: Option<Case>,
    pub(crate) closed: bool,
    pub(crate) default: bool,
    pub(crate) transparent: bool,
    pub(crate) untagged: bool,
    pub(crate) tag: Option<String>,
    pub(crate) content: Option<String>,
    /// The first word that changes the JSON and is not understood.
    pub(crate) strange: Option<String>,
}

/// Of a field or a variant.
#[derive(Default)]
pub(crate) struct Item {
    pub(crate) rename: Option<String>,
    pub(crate) rename_all: Option<Case>,
    pub(crate) aliases: Vec<String>,
    pub(crate) default: bool,
    pub(crate) skip: bool,
    pub(crate) omitted: bool,
    pub(crate) other: bool,
    /// The first word that changes the JSON and is not understood.
    pub(crate) strange: Option<String>,
}

/// serde's cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

pub(crate) fn container(input: &DeriveInput) -> Container {
    let mut read = Container::default();
    for meta in words(&input.attrs) {
        match (name(&meta).as_str(), text(&meta)) {
            ("rename_all", Some(case)) => match Case::named(&case) {
                Some(case) => read.rename_all = Some(case),
                None => read.strange = Some(format!("serde(rename_all = {case:?})")),
            },
            ("deny_unknown_fields", _) => read.closed = true,
            ("default", _) => read.default = true,
            ("transparent", _) => read.transparent = true,
            ("untagged", _) => read.untagged = true,
            ("tag", Some(tag)) => read.tag = Some(tag),
            ("content", Some(content)) => read.content = Some(content),
            ("rename" | "crate" | "bound" | "expecting", _) => {}
            (word, _) => strange(&mut read.strange, word),
        }
    }
    read
}

pub(crate) fn item(attributes: &[Attribute]) -> Item {
    let mut read = Item::default();
    for meta in words(attributes) {
        match (name(&meta).as_str(), text(&meta)) {
            ("rename", Some(name)) => read.rename = Some(name),
            ("rename_all", Some(case)) => match Case::named(&case) {
                Some(case) => read.rename_all = Some(case),
                None => read.strange = Some(format!("serde(rename_all = {case:?})")),
            },
            ("alias", Some(alias)) => read.aliases.push(alias),
            ("default", _) => read.default = true,
            ("skip", _) => read.skip = true,
            ("skip_serializing_if", _) => read.omitted = true,
            ("other", _) => read.other = true,
            ("borrow" | "bound", _) => {}
            (word, _) => strange(&mut read.strange, word),
        }
    }
    read
}

fn words(attributes: &[Attribute]) -> Vec<Meta> {
    let lists = attributes.iter().filter(|a| a.path().is_ident("serde"));
    let parse = |a: &Attribute| a.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let strange = || Punctuated::from_iter([Meta::Path(parse_quote!(unreadable))]);
    lists.flat_map(|a| parse(a).unwrap_or_else(|_| strange())).collect()
}

fn name(meta: &Meta) -> String {
    meta.path().get_ident().map(ToString::to_string).unwrap_or_default()
}

fn text(meta: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = meta else { return None };
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value else { return None };
    Some(text.value())
}

fn strange(found: &mut Option<String>, word: &str) {
    found.get_or_insert_with(|| format!("serde({word})"));
}

impl Case {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return None,
        })
    }

    /// As serde renames a field, which is in snake case.
    pub(crate) fn of_field(self, name: &str) -> String {
        let pascal = || name.split('_').map(capital).collect::<String>();
        match self {
            Self::Lower | Self::Snake => name.to_owned(),
            Self::Upper | Self::ScreamingSnake => name.to_ascii_uppercase(),
            Self::Pascal => pascal(),
            Self::Camel => small(&pascal()),
            Self::Kebab => name.replace('_', "-"),
            Self::ScreamingKebab => name.to_ascii_uppercase().replace('_', "-"),
        }
    }

    /// As serde renames a variant, which is in Pascal case.
    pub(crate) fn of_variant(self, name: &str) -> String {
        match self {
            Self::Pascal => name.to_owned(),
            Self::Lower => name.to_ascii_lowercase(),
            Self::Upper => name.to_ascii_uppercase(),
            Self::Camel => small(name),
            Self::Snake => snake(name),
            Self::ScreamingSnake => snake(name).to_ascii_uppercase(),
            Self::Kebab => snake(name).replace('_', "-"),
            Self::ScreamingKebab => snake(name).to_ascii_uppercase().replace('_', "-"),
        }
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

fn small(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_renamed_as_serde_renames_them() {
        for (case, field, variant) in [
            ("lowercase", "at_ms", "outofstock"),
            ("UPPERCASE", "AT_MS", "OUTOFSTOCK"),
            ("PascalCase", "AtMs", "OutOfStock"),
            ("camelCase", "atMs", "outOfStock"),
            ("snake_case", "at_ms", "out_of_stock"),
            ("SCREAMING_SNAKE_CASE", "AT_MS", "OUT_OF_STOCK"),
            ("kebab-case", "at-ms", "out-of-stock"),
            ("SCREAMING-KEBAB-CASE", "AT-MS", "OUT-OF-STOCK"),
        ] {
            let named = Case::named(case).expect("a case");
            assert_eq!(named.of_field("at_ms"), field, "{case}");
            assert_eq!(named.of_variant("OutOfStock"), variant, "{case}");
        }
        assert_eq!(Case::named("Title Case"), None);
    }
}
