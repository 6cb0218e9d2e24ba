use serde::{Deserialize, Serialize};
use tidings::{Event, Shape};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", kind = "rumour")]
struct UnknownKind {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", kind = "command")]
struct CommandToNobody {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", version = 2, since = 3)]
struct SinceTheFuture {
    order: String,
}

#[derive(Shape, Deserialize)]
struct OrderPlacedV1 {
    order: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", version = 1, upcast(from = 1, with = OrderPlacedV1))]
struct UpcastFromItself {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", version = 3)]
#[event(upcast(from = 1, with = OrderPlacedV1), upcast(from = 1, with = OrderPlacedV1))]
struct TwoUpcasters {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", version = 2, since = 1)]
#[event(upcast(from = 1, with = OrderPlacedV1))]
struct AsItIsAndUpcast {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", version = 2, upcast(from = 1))]
struct HalfAnUpcaster {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order", version = 2, upcast(from = 1, with = OrderPlacedV1))]
struct NoFrom {
    order: String,
}

fn main() {}
