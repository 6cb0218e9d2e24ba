//! Tells customers how their orders ended and when money comes back.

use tidings::{Outcome, Received, Service, done};

use crate::events::{NotificationSent, OrderCancelled, OrderCompleted, PaymentRefunded};

pub(crate) fn service() -> Service {
    Service::new("notification").on(completed).on(cancelled).on(refunded)
}

async fn completed(order: Received<OrderCompleted>) -> Outcome<NotificationSent> {
    notify(&order.account, format!("Order {} is on its way.", order.order))
}

async fn cancelled(order: Received<OrderCancelled>) -> Outcome<NotificationSent> {
    notify(&order.account, format!("Order {} was cancelled: {}.", order.order, order.why))
}

async fn refunded(refund: Received<PaymentRefunded>) -> Outcome<NotificationSent> {
    let (pounds, pence) = (refund.pence / 100, refund.pence % 100);
    notify(&refund.account, format!("£{pounds}.{pence:02} is on its way back to you."))
}

fn notify(account: &str, text: String) -> Outcome<NotificationSent> {
    done(NotificationSent { account: account.to_owned(), text })
}
