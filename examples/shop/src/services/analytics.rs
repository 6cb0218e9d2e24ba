//! Keeps the revenue of each country as goods go out.

use std::collections::HashMap;

use tidings::{Outcome, Received, Service, State, done};

use crate::events::{RevenueChanged, ShippingScheduled};

/// Pence per country.
type Revenue = HashMap<String, i64>;

pub(crate) fn service() -> Service {
    Service::new("analytics")
        .state(Revenue::new())
        .fold(|revenue: &mut Revenue, changed: &RevenueChanged| {
            revenue.insert(changed.country.clone(), changed.total_pence);
        })
        .on(sold)
}

async fn sold(
    shipping: Received<ShippingScheduled>,
    revenue: State<Revenue>,
) -> Outcome<RevenueChanged> {
    let before = revenue.get(&shipping.country).copied().unwrap_or(0);
    done(RevenueChanged {
        country: shipping.country.clone(),
        pence: shipping.pence,
        total_pence: before + shipping.pence,
    })
}
