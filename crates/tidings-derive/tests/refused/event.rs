use serde::{Deserialize, Serialize};
use tidings::Event;

#[derive(Event, Serialize, Deserialize)]
#[event(key = "order")]
struct WithoutTopic {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
struct WithoutAttribute {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop orders", key = "order")]
struct IllegalTopic {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "ordr")]
struct UnknownKey {
    order: String,
    pence: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", version = 0)]
struct VersionZero {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", partition = 3)]
struct UnknownWord {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order")]
enum Enumeration {
    Placed { order: String },
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order")]
struct Generic<T> {
    order: T,
}

#[derive(Serialize, Deserialize)]
struct Keyless;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order")]
struct KeyWithoutText {
    order: Keyless,
}

fn main() {}
