use serde::{Deserialize, Serialize};
use tidings::{Event, Kept, Keyed, Outcome, Received, Service, done};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order")]
struct OrderPlaced {
    order: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Progress {
    steps: u8,
}

async fn says_nothing_of_a_missing_value(
    _event: Received<OrderPlaced>,
    progress: Keyed<Progress>,
) -> Outcome<Kept<Progress>> {
    done(progress.change(|progress| progress.steps += 1))
}

fn main() {
    let service = Service::new("fulfilment").keyed::<Progress>("progress");
    let _service = service.on(says_nothing_of_a_missing_value);
}
