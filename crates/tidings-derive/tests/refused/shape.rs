use serde::{Deserialize, Serialize};
use tidings::Shape;

struct Opaque;

#[derive(Shape)]
struct OfOpaque {
    opaque: Opaque,
}

#[derive(Shape)]
struct Generic<T> {
    item: T,
}

#[derive(Shape, Serialize, Deserialize)]
struct Flattened {
    #[serde(flatten)]
    more: std::collections::BTreeMap<String, String>,
}

#[derive(Shape, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[derive(Clone)]
struct Converted {
    text: String,
}

#[derive(Shape)]
struct UnknownWord {
    #[shape(like = String)]
    text: String,
}

impl From<String> for Converted {
    fn from(text: String) -> Self {
        Self { text }
    }
}

impl From<Converted> for String {
    fn from(converted: Converted) -> Self {
        converted.text
    }
}

fn main() {}
