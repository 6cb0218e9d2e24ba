use serde::{Deserialize, Serialize};
use tidings::{Event, Outcome, Received, Service, done};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order")]
struct OrderPlaced {
    order: String,
}

async fn no_event(_order: String) -> Outcome<()> {
    done(())
}

async fn returns_no_effects(_event: Received<OrderPlaced>) -> Outcome<u8> {
    done(1)
}

fn main() {
    let _service = Service::new("payment").on(no_event).on(returns_no_effects);
}
