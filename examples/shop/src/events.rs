//! Everything that is said in the shop. An event is the record of a fact; its topic is named after
//! who says it.
//!
//! All events of one customer share a key, the account, so that each topic keeps a customer's
//! events in order: a cancellation never overtakes the order it cancels.

use serde::{Deserialize, Serialize};
use tidings::{Event, Shape};

pub mod topics {
    //! The shop's topics.

    pub const INVOICES: &str = "shop.invoices";
    pub const ORDERS: &str = "shop.orders";
    pub const PAYMENTS: &str = "shop.payments";
    pub const STOCK: &str = "shop.stock";
    pub const SHIPPING: &str = "shop.shipping";
    pub const NOTIFICATIONS: &str = "shop.notifications";
    pub const SALES: &str = "shop.sales";

    /// Each topic with its partitions. One partition of payments makes one member of the inventory
    /// group the only writer of the shelves: two orders never take the same last unit.
    pub const ALL: [(&str, i32); 7] = [
        (INVOICES, 4),
        (ORDERS, 4),
        (PAYMENTS, 1),
        (STOCK, 4),
        (SHIPPING, 4),
        (NOTIFICATIONS, 4),
        (SALES, 1),
    ];
}

/// A line of an invoice: units of an article at a price each. Negative units take back.
#[derive(Shape, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceLine {
    pub article: String,
    pub units: i64,
    /// Price of one unit.
    pub pence: i64,
}

/// A till's message: one invoice as one export holds it. The same invoice in another export is the
/// same event, delivered again.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.invoices", key = "account")]
pub struct InvoiceReceived {
    pub export: u8,
    pub invoice: String,
    /// The customer, or a name for the one who left none.
    pub account: String,
    pub customer: Option<String>,
    pub country: String,
    /// When it was written, in milliseconds since the epoch.
    pub at_ms: i64,
    pub lines: Vec<InvoiceLine>,
}

impl InvoiceReceived {
    pub fn is_cancellation(&self) -> bool {
        self.invoice.starts_with('C')
    }

    /// The first line that no order may have, counted from 1, with what is wrong with it.
    pub fn malformed_line(&self) -> Option<(usize, &InvoiceLine, &'static str)> {
        self.lines.iter().enumerate().find_map(|(index, line)| {
            let why = match line {
                InvoiceLine { units: ..=0, .. } => "quantity is not positive",
                InvoiceLine { pence: ..=0, .. } => "price is not positive",
                _ => return None,
            };
            Some((index + 1, line, why))
        })
    }

    /// An order that is well formed and has a customer to charge.
    pub fn is_chargeable(&self) -> bool {
        !self.is_cancellation() && self.customer.is_some() && self.malformed_line().is_none()
    }

    pub fn total_pence(&self) -> i64 {
        total_pence(&self.lines)
    }
}

pub fn total_pence(lines: &[InvoiceLine]) -> i64 {
    lines.iter().map(|line| line.units * line.pence).sum()
}

/// Units of an article taken back from an order, at the price paid for them.
#[derive(Shape, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnLine {
    pub order: String,
    pub article: String,
    pub units: i64,
    /// Price paid for one unit.
    pub pence: i64,
}

pub fn returned_pence(lines: &[ReturnLine]) -> i64 {
    lines.iter().map(|line| line.units * line.pence).sum()
}

#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "account")]
pub struct OrderPlaced {
    pub order: String,
    pub account: String,
    pub customer: Option<String>,
    pub country: String,
    pub at_ms: i64,
    pub lines: Vec<InvoiceLine>,
    pub pence: i64,
}

impl OrderPlaced {
    /// The order that a well-formed invoice asks for.
    pub fn of(invoice: &InvoiceReceived) -> Self {
        Self {
            order: invoice.invoice.clone(),
            account: invoice.account.clone(),
            customer: invoice.customer.clone(),
            country: invoice.country.clone(),
            at_ms: invoice.at_ms,
            lines: invoice.lines.clone(),
            pence: invoice.total_pence(),
        }
    }
}

/// A cancellation that names earlier orders of the same customer.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "account")]
pub struct CancellationAccepted {
    pub cancellation: String,
    pub account: String,
    pub lines: Vec<ReturnLine>,
    /// Units asked back that no earlier order holds.
    pub units_unmatched: i64,
}

/// An order's good end.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "account")]
pub struct OrderCompleted {
    pub order: String,
    pub account: String,
}

/// An order's other end.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "account")]
pub struct OrderCancelled {
    pub order: String,
    pub account: String,
    pub why: String,
}

#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.payments", key = "account")]
pub struct PaymentCompleted {
    pub order: String,
    pub account: String,
    pub country: String,
    pub lines: Vec<InvoiceLine>,
    pub pence: i64,
    /// The idempotency key under which the card was charged.
    pub receipt: String,
}

#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.payments", key = "account")]
pub struct PaymentFailed {
    pub order: String,
    pub account: String,
    pub why: String,
}

/// Asks the inventory to take units back; what it takes back will be refunded.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.payments", key = "account")]
pub struct ReturnRequested {
    pub cancellation: String,
    pub account: String,
    pub lines: Vec<ReturnLine>,
}

/// Why money went back.
#[derive(Shape, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundReason {
    OutOfStock { order: String },
    Returned { cancellation: String },
}

#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.payments", key = "account")]
pub struct PaymentRefunded {
    pub account: String,
    pub pence: i64,
    pub reason: RefundReason,
}

#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.stock", key = "account")]
pub struct StockReserved {
    pub order: String,
    pub account: String,
    pub country: String,
    pub lines: Vec<InvoiceLine>,
    pub pence: i64,
}

#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.stock", key = "account")]
pub struct StockNotAvailable {
    pub order: String,
    pub account: String,
    /// What was charged and must go back.
    pub pence: i64,
    pub article: String,
    pub units_wanted: i64,
    pub units_left: i64,
}

/// Units back on the shelf.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.stock", key = "account")]
pub struct StockReleased {
    pub cancellation: String,
    pub account: String,
    pub lines: Vec<ReturnLine>,
    pub pence: i64,
}

/// Nothing to take back: the orders named never left the shelf and are refunded already.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.stock", key = "account")]
pub struct ReturnDeclined {
    pub cancellation: String,
    pub account: String,
}

#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.shipping", key = "account")]
pub struct ShippingScheduled {
    pub order: String,
    pub account: String,
    pub country: String,
    pub lines: Vec<InvoiceLine>,
    pub pence: i64,
}

#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.notifications", key = "account")]
pub struct NotificationSent {
    pub account: String,
    pub text: String,
}

/// What a sale or a refund did to a country's revenue, with the running total.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[event(topic = "shop.sales", key = "country")]
pub struct RevenueChanged {
    pub country: String,
    pub pence: i64,
    pub total_pence: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_keep_their_shapes() {
        tidings::golden!(
            "events.golden.json",
            InvoiceReceived,
            OrderPlaced,
            CancellationAccepted,
            OrderCompleted,
            OrderCancelled,
            PaymentCompleted,
            PaymentFailed,
            ReturnRequested,
            PaymentRefunded,
            StockReserved,
            StockNotAvailable,
            StockReleased,
            ReturnDeclined,
            ShippingScheduled,
            NotificationSent,
            RevenueChanged,
        );
    }
}
