//! Sends out what is reserved.

use tidings::{Outcome, Received, Service, done};

use crate::events::{ShippingScheduled, StockReserved};

pub(crate) fn service() -> Service {
    Service::new("shipping").on(schedule)
}

async fn schedule(reserved: Received<StockReserved>) -> Outcome<ShippingScheduled> {
    done(ShippingScheduled {
        order: reserved.order.clone(),
        account: reserved.account.clone(),
        country: reserved.country.clone(),
        lines: reserved.lines.clone(),
        pence: reserved.pence,
    })
}
