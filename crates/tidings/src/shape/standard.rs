//! The shapes of std's types, and of the few others that events are made of.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::{Field, Fields, Integer, Shape, Type, Within};
use crate::Id;

macro_rules! shapes {
    ($($rust:ty => $shape:expr,)*) => {$(
        impl Shape for $rust {
            fn shape(_: &Within<'_>) -> Type {
                $shape
            }
        }
    )*};
}

shapes! {
    bool => Type::Bool,
    str => Type::Text,
    String => Type::Text,
    char => Type::Char,
    i8 => Type::Integer(Integer::I8),
    i16 => Type::Integer(Integer::I16),
    i32 => Type::Integer(Integer::I32),
    i64 => Type::Integer(Integer::I64),
    i128 => Type::Integer(Integer::I128),
    isize => Type::Integer(Integer::I64),
    u8 => Type::Integer(Integer::U8),
    u16 => Type::Integer(Integer::U16),
    u32 => Type::Integer(Integer::U32),
    u64 => Type::Integer(Integer::U64),
    u128 => Type::Integer(Integer::U128),
    usize => Type::Integer(Integer::U64),
    f32 => Type::F32,
    f64 => Type::F64,
    () => Type::Null,
    serde_json::Value => Type::Anything,
    std::net::IpAddr => Type::Text,
    std::path::PathBuf => Type::Text,
    Duration => Type::Struct(Fields {
        fields: vec![
            Field::new("secs", Type::Integer(Integer::U64)),
            Field::new("nanos", Type::Integer(Integer::U32)),
        ],
        closed: true,
    }),
    uuid::Uuid => Type::Text,
    Id => Type::Text,
}

macro_rules! holders {
    ($($name:ident<$item:ident> => $shape:expr,)*) => {$(
        impl<$item: Shape> Shape for $name<$item> {
            fn shape(within: &Within<'_>) -> Type {
                $shape(Box::new($item::shape(within)))
            }
        }
    )*};
}

holders! {
    Option<T> => Type::Optional,
    Vec<T> => Type::List,
    VecDeque<T> => Type::List,
    BTreeSet<T> => Type::List,
}

impl<T: Shape, S> Shape for HashSet<T, S> {
    fn shape(within: &Within<'_>) -> Type {
        Type::List(Box::new(T::shape(within)))
    }
}

impl<T: Shape + ?Sized> Shape for Box<T> {
    fn shape(within: &Within<'_>) -> Type {
        T::shape(within)
    }
}

impl<T: Shape> Shape for [T] {
    fn shape(within: &Within<'_>) -> Type {
        Type::List(Box::new(T::shape(within)))
    }
}

impl<T: Shape + ToOwned + ?Sized> Shape for Cow<'_, T> {
    fn shape(within: &Within<'_>) -> Type {
        T::shape(within)
    }
}

impl<K: Shape, V: Shape> Shape for BTreeMap<K, V> {
    fn shape(within: &Within<'_>) -> Type {
        Type::Map(Box::new(K::shape(within)), Box::new(V::shape(within)))
    }
}

impl<K: Shape, V: Shape, S> Shape for HashMap<K, V, S> {
    fn shape(within: &Within<'_>) -> Type {
        Type::Map(Box::new(K::shape(within)), Box::new(V::shape(within)))
    }
}

impl<T: Shape, const N: usize> Shape for [T; N] {
    fn shape(within: &Within<'_>) -> Type {
        Type::Tuple(vec![T::shape(within); N])
    }
}

macro_rules! tuples {
    ($($($item:ident)+;)*) => {$(
        impl<$($item: Shape),+> Shape for ($($item,)+) {
            fn shape(within: &Within<'_>) -> Type {
                Type::Tuple(vec![$($item::shape(within)),+])
            }
        }
    )*};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::Value;

    use super::*;
    use crate::shape::{Enum, Tag};

    /// Whether a value is of a shape; apart from the code that compares shapes.
    fn fits(shape: &Type, value: &Value) -> bool {
        let text = |text: &str| Value::from(text);
        match (shape, value) {
            (Type::Anything, _) | (Type::Bool, Value::Bool(_)) | (Type::Text, Value::String(_)) => {
                true
            }
            (Type::Char, Value::String(text)) => text.chars().count() == 1,
            (Type::Integer(_), Value::Number(number)) => number.is_i64() || number.is_u64(),
            (Type::F32 | Type::F64, Value::Number(number)) => number.is_f64(),
            (Type::Null | Type::Optional(_), Value::Null) => true,
            (Type::Optional(inner), value) => fits(inner, value),
            (Type::List(item), Value::Array(items)) => items.iter().all(|value| fits(item, value)),
            (Type::Tuple(shapes), Value::Array(items)) => {
                shapes.len() == items.len() && shapes.iter().zip(items).all(|(s, v)| fits(s, v))
            }
            (Type::Map(key, value), Value::Object(object)) => object.iter().all(|(k, v)| {
                let key_fits = match **key {
                    Type::Integer(_) => k.parse::<i128>().is_ok(),
                    _ => fits(key, &text(k)),
                };
                key_fits && fits(value, v)
            }),
            (Type::Struct(Fields { fields, .. }), Value::Object(object)) => {
                object.keys().all(|name| fields.iter().any(|field| field.name == *name))
                    && fields.iter().all(|field| match object.get(&field.name) {
                        Some(value) => fits(&field.r#type, value),
                        None => field.omitted,
                    })
            }
            (Type::Enum(shape), value) => fits_variant(shape, value),
            _ => false,
        }
    }

    fn fits_variant(shape: &Enum, value: &Value) -> bool {
        shape.variants.iter().any(|variant| {
            let name = Value::from(variant.name.as_str());
            match (&shape.tag, &variant.holds, value) {
                (Tag::External, None, value) => *value == name,
                (Tag::External, Some(holds), Value::Object(object)) => {
                    object.len() == 1 && object.get(&variant.name).is_some_and(|v| fits(holds, v))
                }
                (Tag::Internal(tag), holds, Value::Object(object)) => {
                    let mut object = object.clone();
                    let tagged = object.remove(tag) == Some(name);
                    let rest = Value::Object(object);
                    tagged && holds.as_ref().is_none_or(|holds| fits(holds, &rest))
                }
                (Tag::Adjacent(tag, content), holds, Value::Object(object)) => {
                    let held = object.get(content);
                    object.get(tag) == Some(&name)
                        && match (holds, held) {
                            (Some(holds), Some(held)) => fits(holds, held),
                            (holds, held) => holds.is_none() && held.is_none(),
                        }
                }
                (Tag::Untagged, Some(holds), value) => fits(holds, value),
                (Tag::Untagged, None, value) => value.is_null(),
                _ => false,
            }
        })
    }

    fn check<T: Shape + Serialize>(value: &T) {
        let shape = T::shape(&Within::nothing());
        let json = serde_json::to_value(value).expect("JSON");
        assert!(fits(&shape, &json), "{json} is not {shape:?}");
    }

    #[test]
    fn the_shapes_of_std_are_what_serde_writes() {
        check(&(true, 'x', "x".to_owned(), -1i8));
        check(&(1u64, i64::MIN, 1.5f32, 1.5f64));
        check(&(Some(1u8), None::<u8>, (), vec![1u8, 2]));
        check(&([1u8; 3], BTreeSet::from([1u8]), VecDeque::from([1u8]), HashSet::from([1u8])));
        check(&(BTreeMap::from([(1u8, "x".to_owned())]), HashMap::from([("k".to_owned(), 1)])));
        check(&(Duration::from_millis(1500), std::net::IpAddr::from([127, 0, 0, 1])));
        check(&(Box::new(1u8), Cow::Borrowed("x"), std::path::PathBuf::from("/tmp")));
        check(&(Id::from("e-1"), serde_json::json!({ "any": [1, null] }), (1u8,)));
    }

    #[derive(tidings_derive::Shape, Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Renamed {
        at_ms: i64,
        #[serde(rename = "by")]
        paid_by: Newtype,
        #[serde(skip)]
        _skipped: Option<std::time::Instant>,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        r#type: Pair,
        #[serde(serialize_with = "as_text")]
        #[shape(as = String)]
        number: u64,
    }

    fn as_text<S: serde::Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    #[derive(tidings_derive::Shape, Serialize)]
    struct Newtype(String);

    #[derive(tidings_derive::Shape, Serialize)]
    struct Pair(u8, u8);

    #[derive(tidings_derive::Shape, Serialize)]
    struct Nothing;

    #[derive(tidings_derive::Shape, Serialize)]
    #[serde(transparent)]
    struct Transparent {
        only: Vec<u8>,
    }

    macro_rules! variants {
        ($name:ident $(#[$attribute:meta])*) => {
            #[derive(tidings_derive::Shape, Serialize)]
            $(#[$attribute])*
            #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
            enum $name {
                NoneAtAll,
                One(Renamed),
                #[serde(rename_all = "kebab-case")]
                Named { at_ms: u8 },
            }

            impl $name {
                fn all() -> Vec<Self> {
                    vec![Self::NoneAtAll, Self::One(renamed()), Self::Named { at_ms: 1 }]
                }
            }
        };
    }
    variants!(External);
    variants!(Internal #[serde(tag = "kind")]);
    variants!(Adjacent #[serde(tag = "kind", content = "held")]);
    variants!(Untagged #[serde(untagged)]);

    fn renamed() -> Renamed {
        Renamed {
            at_ms: 1,
            paid_by: Newtype("card".into()),
            _skipped: None,
            note: None,
            r#type: Pair(1, 2),
            number: 7,
        }
    }

    #[test]
    fn derived_shapes_are_what_serde_writes() {
        check(&renamed());
        check(&Renamed { note: Some("x".into()), ..renamed() });
        check(&(Nothing, Transparent { only: vec![1] }, Newtype("x".into()), Pair(1, 2)));
        check(&External::all());
        check(&Internal::all());
        check(&Adjacent::all());
        check(&Untagged::all());
    }
}
