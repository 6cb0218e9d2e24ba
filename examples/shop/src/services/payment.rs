//! Charges orders, gives money back when goods cannot be had or come back.

use tidings::{Either, Once, Outcome, Received, Service, done};

use crate::events::{
    CancellationAccepted, OrderPlaced, PaymentCompleted, PaymentFailed, PaymentRefunded,
    RefundReason, ReturnRequested, StockNotAvailable, StockReleased,
};

pub(crate) fn service() -> Service {
    Service::new("payment").on(charge).on(request_return).on(refund_order).on(refund_return)
}

async fn charge(
    order: Received<OrderPlaced>,
    once: Once,
) -> Outcome<Either<PaymentCompleted, PaymentFailed>> {
    if order.customer.is_none() {
        return done(Either::Right(PaymentFailed {
            order: order.order.clone(),
            account: order.account.clone(),
            why: "no customer to charge".into(),
        }));
    }
    done(Either::Left(PaymentCompleted {
        order: order.order.clone(),
        account: order.account.clone(),
        country: order.country.clone(),
        lines: order.lines.clone(),
        pence: order.pence,
        receipt: once.key(),
    }))
}

async fn request_return(accepted: Received<CancellationAccepted>) -> Outcome<ReturnRequested> {
    done(ReturnRequested {
        cancellation: accepted.cancellation.clone(),
        account: accepted.account.clone(),
        lines: accepted.lines.clone(),
    })
}

async fn refund_order(missing: Received<StockNotAvailable>) -> Outcome<PaymentRefunded> {
    done(PaymentRefunded {
        account: missing.account.clone(),
        pence: missing.pence,
        reason: RefundReason::OutOfStock { order: missing.order.clone() },
    })
}

async fn refund_return(released: Received<StockReleased>) -> Outcome<PaymentRefunded> {
    done(PaymentRefunded {
        account: released.account.clone(),
        pence: released.pence,
        reason: RefundReason::Returned { cancellation: released.cancellation.clone() },
    })
}
