//! The six services. Each is a consumer group of its own and knows the others only by their events.

mod analytics;
mod inventory;
mod notification;
pub(crate) mod order;
mod payment;
mod shipping;

use std::collections::HashMap;

use tidings::Service;

use crate::events::topics;

/// A service's name and the topics it listens to.
pub(crate) const LISTENS: [(&str, &[&str]); 6] = [
    ("order", &[topics::INVOICES, topics::PAYMENTS, topics::SHIPPING]),
    ("payment", &[topics::ORDERS, topics::STOCK]),
    ("inventory", &[topics::PAYMENTS]),
    ("shipping", &[topics::STOCK]),
    ("notification", &[topics::ORDERS, topics::PAYMENTS]),
    ("analytics", &[topics::SHIPPING]),
];

/// All six, ready to start.
pub(crate) fn all(opening_stock: HashMap<String, i64>) -> Vec<Service> {
    vec![
        order::service(),
        payment::service(),
        inventory::service(opening_stock),
        shipping::service(),
        notification::service(),
        analytics::service(),
    ]
}
