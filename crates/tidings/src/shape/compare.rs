//! What a reader of one shape cannot read of a writer of another.

use std::fmt;

use super::{Enum, Field, Fields, Integer, Tag, Type, Variant};

/// What a reader cannot read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The way to it: `lines[].pence`; empty for the payload itself.
    pub at: String,
    /// What it is.
    pub reason: Reason,
}

/// Why a reader cannot read what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The reader needs the field, the writer does not have it.
    Missing,
    /// The reader needs the field, the writer leaves it out at times.
    Omitted,
    /// The reader takes no field that it does not know.
    Refused,
    /// The reader does not know the variant.
    Variant(String),
    /// The reader does not know the variant by how the writer tells variants apart.
    Tag,
    /// The types differ.
    Type {
        /// What the reader reads.
        read: String,
        /// What the writer writes.
        written: String,
    },
    /// Nothing is known of a type, of the reader or of the writer.
    Unknown(String),
}

/// All that a reader of the one shape cannot read of a writer of the other.
pub fn mismatches(reader: &Type, writer: &Type) -> Vec<Mismatch> {
    let mut found = Vec::new();
    types(reader, writer, "", &mut found);
    found
}

fn types(reader: &Type, writer: &Type, at: &str, found: &mut Vec<Mismatch>) {
    let mut add = |reason| found.push(Mismatch { at: at.to_owned(), reason });
    match (reader, writer) {
        (Type::Unknown(rust), _) | (_, Type::Unknown(rust)) => add(Reason::Unknown(rust.clone())),
        (Type::Anything, _) | (Type::Optional(_), Type::Null) | (Type::Text, Type::Char) => {}
        (Type::Optional(reader), Type::Optional(writer)) => types(reader, writer, at, found),
        (Type::Optional(reader), writer) => types(reader, writer, at, found),
        (Type::List(reader), Type::List(writer)) => {
            types(reader, writer, &format!("{at}[]"), found);
        }
        (Type::List(reader), Type::Tuple(writers)) => {
            for (number, writer) in writers.iter().enumerate() {
                types(reader, writer, &format!("{at}[{number}]"), found);
            }
        }
        (Type::Tuple(readers), Type::Tuple(writers)) if readers.len() == writers.len() => {
            for (number, (reader, writer)) in readers.iter().zip(writers).enumerate() {
                types(reader, writer, &format!("{at}[{number}]"), found);
            }
        }
        (Type::Map(key, value), Type::Map(written_key, written_value)) => {
            types(key, written_key, &format!("{at}{{key}}"), found);
            types(value, written_value, &format!("{at}{{}}"), found);
        }
        (Type::Struct(reader), Type::Struct(writer)) => fields(reader, writer, at, found),
        (Type::Enum(reader), Type::Enum(writer)) => enums(reader, writer, at, found),
        (Type::Integer(reader), Type::Integer(writer)) if reader.holds(*writer) => {}
        (Type::F64, Type::F32 | Type::Integer(_)) | (Type::F32, Type::Integer(_)) => {}
        (reader, writer) if reader == writer => {}
        (reader, writer) => {
            add(Reason::Type { read: reader.to_string(), written: writer.to_string() });
        }
    }
}

fn fields(reader: &Fields, writer: &Fields, at: &str, found: &mut Vec<Mismatch>) {
    let way = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    for field in &reader.fields {
        let at = way(&field.name);
        let written: Vec<&Field> = writer.fields.iter().filter(|w| field.reads(&w.name)).collect();
        for written in &written {
            types(&field.r#type, &written.r#type, &at, found);
        }
        let reason = if field.may_be_missing() || written.iter().any(|w| !w.omitted) {
            continue;
        } else if written.is_empty() {
            Reason::Missing
        } else {
            Reason::Omitted
        };
        found.push(Mismatch { at, reason });
    }
    let known = |name: &str| reader.fields.iter().any(|field| field.reads(name));
    let unknown = writer.fields.iter().filter(|written| reader.closed && !known(&written.name));
    found.extend(unknown.map(|w| Mismatch { at: way(&w.name), reason: Reason::Refused }));
}

fn enums(reader: &Enum, writer: &Enum, at: &str, found: &mut Vec<Mismatch>) {
    let mut add = |reason| found.push(Mismatch { at: at.to_owned(), reason });
    if reader.tag != writer.tag {
        return add(Reason::Tag);
    }
    if reader.tag == Tag::Untagged {
        // The first that fits is taken, so the variants and their order are the shape.
        let holds = |e: &Enum| e.variants.iter().map(|v| v.holds.clone()).collect::<Vec<_>>();
        if holds(reader) != holds(writer) {
            add(Reason::Tag);
        }
        return;
    }
    for written in &writer.variants {
        match reader.variants.iter().find(|variant| variant.reads(&written.name)) {
            Some(variant) => variants(variant, written, at, found),
            None if reader.open => {}
            None => {
                let reason = Reason::Variant(written.name.clone());
                found.push(Mismatch { at: at.to_owned(), reason });
            }
        }
    }
}

fn variants(reader: &Variant, writer: &Variant, at: &str, found: &mut Vec<Mismatch>) {
    let at = format!("{at}({})", writer.name);
    match (&reader.holds, &writer.holds) {
        (None, None) => {}
        (Some(reader), Some(writer)) => types(reader, writer, &at, found),
        (reader, writer) => {
            let text = |t: &Option<Type>| t.as_ref().map_or("nothing".into(), Type::to_string);
            let reason = Reason::Type { read: text(reader), written: text(writer) };
            found.push(Mismatch { at, reason });
        }
    }
}

impl Variant {
    fn reads(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

impl Integer {
    /// All integers of the other are integers of this one.
    fn holds(self, other: Self) -> bool {
        let (signed, bits) = self.size();
        match other.size() {
            (other_signed, other_bits) if signed == other_signed => other_bits <= bits,
            (false, other_bits) => other_bits < bits,
            (true, _) => false,
        }
    }

    fn size(self) -> (bool, u8) {
        match self {
            Self::I8 => (true, 8),
            Self::I16 => (true, 16),
            Self::I32 => (true, 32),
            Self::I64 => (true, 64),
            Self::I128 => (true, 128),
            Self::U8 => (false, 8),
            Self::U16 => (false, 16),
            Self::U32 => (false, 32),
            Self::U64 => (false, 64),
            Self::U128 => (false, 128),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
        }
    }
}

impl Mismatch {
    /// Where it is, in words.
    pub(crate) fn place(&self) -> String {
        if self.at.is_empty() { "the payload".to_owned() } else { format!("`{}`", self.at) }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.place();
        match &self.reason {
            Reason::Missing => write!(f, "{at} is required and not written"),
            Reason::Omitted => write!(f, "{at} is required and not always written"),
            Reason::Refused => write!(f, "{at} is written and refused as unknown"),
            Reason::Variant(name) => write!(f, "variant `{name}` of {at} is not known"),
            Reason::Tag => write!(f, "{at} tells its variants apart in another way"),
            Reason::Type { read, written } => {
                write!(f, "{at} is written as {written} and read as {read}")
            }
            Reason::Unknown(rust) => write!(f, "the shape of {at} is not known: {rust}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::Value;
    use std::collections::BTreeMap;

    use super::*;
    use crate::shape::{Shape, Within};

    #[derive(tidings_derive::Shape, Serialize, Deserialize)]
    struct One {
        a: String,
    }
    #[derive(tidings_derive::Shape, Serialize, Deserialize)]
    struct Two {
        a: String,
        b: u8,
    }
    #[derive(tidings_derive::Shape, Serialize, Deserialize)]
    struct Lenient {
        a: String,
        #[serde(default)]
        b: u8,
    }
    #[derive(tidings_derive::Shape, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[serde(alias = "a")]
        renamed: Option<String>,
    }
    #[derive(tidings_derive::Shape, Serialize, Deserialize)]
    struct AtTimes {
        a: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        b: Option<u8>,
    }
    #[derive(tidings_derive::Shape, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Why {
        OutOfStock { order: String },
        Returned(u32),
    }
    #[derive(tidings_derive::Shape, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum MoreWhy {
        OutOfStock { order: String, units: i64 },
        Returned(u16),
        Lost,
    }
    #[derive(tidings_derive::Shape, Serialize, Deserialize)]
    #[serde(tag = "why")]
    enum TaggedWhy {
        Lost,
    }
    #[derive(tidings_derive::Shape, Serialize, Deserialize)]
    struct Tree {
        leaves: Vec<Tree>,
    }

    fn shape<T: Shape + ?Sized>() -> Type {
        T::shape(&Within::nothing())
    }

    fn said<Reader: Shape + ?Sized, Writer: Shape + ?Sized>() -> String {
        let found = mismatches(&shape::<Reader>(), &shape::<Writer>());
        found.iter().map(Mismatch::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_can_be_read_is_read() {
        for (found, case) in [
            (said::<i64, u32>(), "a wider integer"),
            (said::<f64, i64>(), "a number"),
            (said::<Option<u8>, u8>(), "an option of what there is"),
            (said::<Option<u8>, ()>(), "null"),
            (said::<Value, Two>(), "anything"),
            (said::<Vec<i64>, [i32; 3]>(), "a list of a tuple"),
            (said::<BTreeMap<String, i64>, BTreeMap<String, u8>>(), "a map"),
            (said::<One, Two>(), "a field more than needed"),
            (said::<Lenient, One>(), "a field with a default"),
            (said::<AtTimes, One>(), "an optional field"),
            (said::<Strict, One>(), "a field by its other name"),
            (said::<Box<Tree>, Tree>(), "a type that holds itself"),
            (said::<Lenient, AtTimes>(), "`b` is written as optional u8 and read as u8"),
        ] {
            let expected = if case.starts_with('`') { case } else { "" };
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (found, expected) in [
            (said::<u32, i64>(), "the payload is written as i64 and read as u32"),
            (said::<u8, Option<u8>>(), "the payload is written as optional u8 and read as u8"),
            (said::<String, Value>(), "the payload is written as any JSON and read as string"),
            (
                said::<(u8, u8), (u8,)>(),
                "the payload is written as tuple of 1 and read as tuple of 2",
            ),
            (said::<Vec<Two>, Vec<One>>(), "`[].b` is required and not written"),
            (said::<Strict, Two>(), "`b` is written and refused as unknown"),
            (said::<Why, MoreWhy>(), "variant `lost` of the payload is not known"),
            (
                said::<MoreWhy, Why>(),
                "`(out_of_stock).units` is required and not written; \
                 `(returned)` is written as u32 and read as u16",
            ),
            (said::<Why, TaggedWhy>(), "the payload tells its variants apart in another way"),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_holds_itself_is_finite() {
        let Type::Struct(tree) = shape::<Tree>() else { panic!("a struct") };
        assert_eq!(tree.fields[0].r#type, Type::List(Box::new(Type::Again(0))));
    }
}
