//! The shape of an event: what of a Rust type can be seen in its JSON.
//!
//! A shape says what serde writes and what it needs to read: fields by their names on the wire, their
//! types, what may be missing. Names of Rust types are not in it, as no reader of the log sees them.
//! [`mismatches`] says what a reader of one shape cannot read of a writer of another;
//! [`golden`](mod@crate::golden) holds a program to the shapes that it had before.
//!
//! `#[derive(Event)]` takes the shape of each field whose type has one; [`derive@Shape`] gives one to the
//! structs and enums inside. A type that has none is [`Type::Unknown`], which a golden file refuses.

mod compare;
mod standard;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Kind;
pub use compare::{Mismatch, Reason, mismatches};
/// Derives [`trait@Shape`] from what serde's derives make of a struct or an enum.
pub use tidings_derive::Shape;

/// A type whose JSON has a known shape. Implemented for what std and serde bring, derived for the rest.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings::shape::{Shape, Type, Within};
///
/// #[derive(Shape, Serialize, Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Line { article: String, unit_pence: i64, #[serde(default)] note: String }
///
/// let Type::Struct(line) = Line::shape(&Within::nothing()) else { panic!() };
/// assert_eq!(line.fields[1].name, "unitPence");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no shape",
    label = "its JSON is not known",
    note = "derive `tidings::Shape` for it, or write `#[shape(as = String)]` on the field, naming a type \
            that is written the same"
)]
pub trait Shape {
    /// The shape, inside of the types that `within` names.
    fn shape(within: &Within<'_>) -> Type;
}

/// The named types around a type: where a type that holds itself is seen.
#[derive(Clone, Copy, Debug)]
pub struct Within<'a> {
    outer: Option<(&'static str, &'a Within<'a>)>,
}

impl Within<'_> {
    /// No type around it.
    pub const fn nothing() -> Self {
        Self { outer: None }
    }

    /// The shape of `T`, which `shape` makes; [`Type::Again`] when it is being made already.
    pub fn shape_of<T: ?Sized>(&self, shape: impl FnOnce(&Within<'_>) -> Type) -> Type {
        let name = std::any::type_name::<T>();
        let (mut levels, mut at) = (0, self);
        while let Some((outer, next)) = at.outer {
            if outer == name {
                return Type::Again(levels);
            }
            (levels, at) = (levels + 1, next);
        }
        shape(&Within { outer: Some((name, self)) })
    }
}

/// What JSON a value has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A string.
    #[serde(rename = "string")]
    Text,
    /// A string of one character.
    Char,
    /// An integer of this size.
    Integer(Integer),
    /// A number of 32 bits.
    F32,
    /// A number of 64 bits.
    F64,
    /// `null`.
    Null,
    /// Any JSON.
    Anything,
    /// The type, or `null`; as a field it may be missing.
    Optional(Box<Type>),
    /// An array of any length.
    List(Box<Type>),
    /// An array of so many.
    Tuple(Vec<Type>),
    /// An object with any keys.
    Map(Box<Type>, Box<Type>),
    /// An object with named fields.
    Struct(Fields),
    /// One of several.
    Enum(Enum),
    /// The enclosing named type so many levels up, counted from 0.
    Again(usize),
    /// Nothing is known; why, and what to do.
    Unknown(String),
}

/// Rust's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are named as in Rust")]
pub enum Integer {
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
}

/// The fields of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// In the order of the source; the order means nothing.
    pub fields: Vec<Field>,
    /// A reader refuses fields that it does not know (`deny_unknown_fields`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// As it is written.
    pub name: String,
    /// Other names by which it is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What it holds.
    pub r#type: Type,
    /// A reader has a value for it when it is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// A writer leaves it out at times.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub omitted: bool,
}

impl Field {
    /// A field that is always written and must be there, unless it is an option.
    pub fn new(name: impl Into<String>, r#type: Type) -> Self {
        Self { name: name.into(), aliases: Vec::new(), r#type, default: false, omitted: false }
    }

    /// Reads another name as well.
    #[must_use]
    pub fn alias(mut self, name: impl Into<String>) -> Self {
        self.aliases.push(name.into());
        self
    }

    /// Has a value when it is missing.
    #[must_use]
    pub fn or_default(mut self) -> Self {
        self.default = true;
        self
    }

    /// Is not always written.
    #[must_use]
    pub fn at_times(mut self) -> Self {
        self.omitted = true;
        self
    }

    fn may_be_missing(&self) -> bool {
        self.default || matches!(self.r#type, Type::Optional(_))
    }

    fn reads(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// One of several variants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enum {
    /// How a reader knows which.
    pub tag: Tag,
    /// The variants.
    pub variants: Vec<Variant>,
    /// A reader takes a variant that it does not know (`#[serde(other)]`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

/// How serde says which variant it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tag {
    /// The variant's name is the only key of an object, or the whole value.
    External,
    /// A field of the variant's own object.
    Internal(String),
    /// A field, beside one that holds the variant.
    Adjacent(String, String),
    /// Nothing says it.
    Untagged,
}

/// A variant of an enum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// As it is written.
    pub name: String,
    /// Other names by which it is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What it holds, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<Type>,
}

/// The shape of an event, with what its readers rely on besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventShape {
    /// [`Event::TYPE`](crate::Event::TYPE).
    pub r#type: String,
    /// [`Event::TOPIC`](crate::Event::TOPIC).
    pub topic: String,
    /// [`Event::VERSION`](crate::Event::VERSION).
    pub version: u32,
    /// [`Event::SINCE`](crate::Event::SINCE).
    pub since: u32,
    /// [`Event::KIND`](crate::Event::KIND).
    pub kind: Kind,
    /// The field whose text is the key, as it is written.
    pub key: String,
    /// Of the payload.
    pub payload: Type,
    /// What the upcasters read: a version, and the shape that is expected of it.
    pub older: Vec<(u32, Type)>,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => f.write_str(integer.name()),
            Self::Optional(inner) => write!(f, "optional {inner}"),
            Self::List(inner) => write!(f, "list of {inner}"),
            Self::Map(key, value) => write!(f, "map of {key} to {value}"),
            Self::Tuple(items) => write!(f, "tuple of {}", items.len()),
            Self::Unknown(why) => write!(f, "unknown ({why})"),
            other => f.write_str(match other {
                Self::Bool => "bool",
                Self::Text => "string",
                Self::Char => "char",
                Self::F32 => "f32",
                Self::F64 => "f64",
                Self::Null => "null",
                Self::Struct(_) => "struct",
                Self::Enum(_) => "enum",
                Self::Again(_) => "enclosing type",
                _ => "any JSON",
            }),
        }
    }
}

/// How `#[derive(Event)]` asks a type that may have no shape.
///
/// A method call looks at `&Probe<T>` before `&&Probe<T>`, so the second trait is found only where the
/// first is not implemented.
#[doc(hidden)]
pub mod probe {
    use std::marker::PhantomData;

    use super::{Shape, Type, Within};

    pub struct Probe<T>(pub PhantomData<T>);

    pub trait Known {
        fn shape(&self, within: &Within<'_>, rust: &str) -> Type;
    }

    impl<T: Shape> Known for Probe<T> {
        fn shape(&self, within: &Within<'_>, _: &str) -> Type {
            T::shape(within)
        }
    }

    pub trait Unknown {
        fn shape(&self, within: &Within<'_>, rust: &str) -> Type;
    }

    impl<T> Unknown for &Probe<T> {
        fn shape(&self, _: &Within<'_>, rust: &str) -> Type {
            Type::Unknown(rust.to_owned())
        }
    }
}
