//! Takes invoices in: orders and cancellations; refuses what is neither; closes each order once.
//!
//! Its state, the book, is a fold of its own events: what each customer has bought and not yet
//! given back. Cancellations are matched against the book, most recent order first.

use std::collections::HashMap;

use tidings::{Either, Outcome, Received, Service, State, done, reject};

use crate::events::{
    CancellationAccepted, InvoiceReceived, OrderCancelled, OrderCompleted, OrderPlaced,
    PaymentFailed, PaymentRefunded, RefundReason, ReturnLine, ShippingScheduled,
};

pub(crate) fn service() -> Service {
    Service::new("order")
        .state(Book::default())
        .fold(|book: &mut Book, placed: &OrderPlaced| book.enter(placed))
        .fold(|book: &mut Book, accepted: &CancellationAccepted| book.strike(accepted))
        .on(receive)
        .on(payment_failed)
        .on(refunded)
        .on(shipped)
}

async fn receive(
    invoice: Received<InvoiceReceived>,
    book: State<Book>,
) -> Outcome<Either<OrderPlaced, CancellationAccepted>> {
    if invoice.is_cancellation() {
        return match book.cancel(&invoice) {
            Some(accepted) => done(Either::Right(accepted)),
            None => {
                reject("cancellation matches no earlier order of the same customer and article")
            }
        };
    }
    if let Some((number, line, why)) = invoice.malformed_line() {
        return reject(format!(
            "malformed order: {why}, line {number}: {} units of article {} at {} pence",
            line.units, line.article, line.pence
        ));
    }
    done(Either::Left(OrderPlaced::of(&invoice)))
}

async fn payment_failed(failed: Received<PaymentFailed>) -> Outcome<OrderCancelled> {
    done(OrderCancelled {
        order: failed.order.clone(),
        account: failed.account.clone(),
        why: failed.why.clone(),
    })
}

async fn refunded(refund: Received<PaymentRefunded>) -> Outcome<Option<OrderCancelled>> {
    done(match &refund.reason {
        RefundReason::OutOfStock { order } => Some(OrderCancelled {
            order: order.clone(),
            account: refund.account.clone(),
            why: "out of stock".into(),
        }),
        RefundReason::Returned { .. } => None,
    })
}

async fn shipped(shipping: Received<ShippingScheduled>) -> Outcome<OrderCompleted> {
    done(OrderCompleted { order: shipping.order.clone(), account: shipping.account.clone() })
}

/// What each customer bought and has not given back, oldest order first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    bought: HashMap<String, Vec<Bought>>,
}

#[derive(Clone, Debug)]
struct Bought {
    order: String,
    article: String,
    units: i64,
    pence: i64,
}

impl Book {
    fn enter(&mut self, placed: &OrderPlaced) {
        if placed.customer.is_none() {
            return;
        }
        let bought = self.bought.entry(placed.account.clone()).or_default();
        bought.extend(placed.lines.iter().map(|line| Bought {
            order: placed.order.clone(),
            article: line.article.clone(),
            units: line.units,
            pence: line.pence,
        }));
    }

    fn strike(&mut self, accepted: &CancellationAccepted) {
        let Some(bought) = self.bought.get_mut(&accepted.account) else { return };
        for line in &accepted.lines {
            let of_line = |b: &Bought| {
                b.order == line.order && b.article == line.article && b.pence == line.pence
            };
            take_latest(bought, line.units, of_line, |_, _| {});
        }
        bought.retain(|b| b.units > 0);
    }

    /// The units that earlier orders of the customer hold, most recent first; none when not one.
    pub(crate) fn cancel(&self, invoice: &InvoiceReceived) -> Option<CancellationAccepted> {
        let mut bought = self.bought.get(&invoice.account)?.clone();
        let mut lines = Vec::new();
        let mut units_unmatched = 0;
        for asked in &invoice.lines {
            let wanted = asked.units.min(0).abs();
            let of_article = |b: &Bought| b.article == asked.article;
            units_unmatched += take_latest(&mut bought, wanted, of_article, |held, units| {
                lines.push(ReturnLine {
                    order: held.order.clone(),
                    article: held.article.clone(),
                    units,
                    pence: held.pence,
                });
            });
        }
        (!lines.is_empty()).then(|| CancellationAccepted {
            cancellation: invoice.invoice.clone(),
            account: invoice.account.clone(),
            lines,
            units_unmatched,
        })
    }

    /// Takes an invoice in as the service does, without the service: what reconciliation expects.
    pub(crate) fn take(&mut self, invoice: &InvoiceReceived) -> Option<CancellationAccepted> {
        if invoice.is_cancellation() {
            let accepted = self.cancel(invoice)?;
            self.strike(&accepted);
            return Some(accepted);
        }
        if invoice.is_chargeable() {
            self.enter(&OrderPlaced::of(invoice));
        }
        None
    }
}

/// Takes units from what matches, most recent first, and tells of each taking. Returns how many
/// are still wanted when there is no more.
fn take_latest(
    bought: &mut [Bought],
    mut wanted: i64,
    matches: impl Fn(&Bought) -> bool,
    mut taken: impl FnMut(&Bought, i64),
) -> i64 {
    for held in bought.iter_mut().rev().filter(|held| matches(held)) {
        let units = wanted.min(held.units);
        if units > 0 {
            taken(held, units);
            held.units -= units;
            wanted -= units;
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::InvoiceLine;

    fn invoice(number: &str, lines: &[(&str, i64, i64)]) -> InvoiceReceived {
        InvoiceReceived {
            export: 1,
            invoice: number.into(),
            account: "17850".into(),
            customer: Some("17850".into()),
            country: "France".into(),
            at_ms: 0,
            lines: lines
                .iter()
                .map(|&(article, units, pence)| InvoiceLine {
                    article: article.into(),
                    units,
                    pence,
                })
                .collect(),
        }
    }

    fn matched(book: &mut Book, number: &str, lines: &[(&str, i64, i64)]) -> Option<String> {
        let accepted = book.take(&invoice(number, lines))?;
        let lines = accepted.lines.iter();
        let lines: Vec<_> = lines
            .map(|l| format!("{}x{}@{} of {}", l.units, l.article, l.pence, l.order))
            .collect();
        Some(format!("{} +{}", lines.join(", "), accepted.units_unmatched))
    }

    #[test]
    fn cancellations_match_the_most_recent_orders_first() {
        let mut book = Book::default();
        assert_eq!(matched(&mut book, "C0", &[("A", -1, 100)]), None, "nothing bought yet");
        book.take(&invoice("1", &[("A", 5, 100), ("B", 1, 50)]));
        book.take(&invoice("2", &[("A", 2, 90)]));
        for (number, asked, expected) in [
            ("C1", ("A", -1, 0), Some("1xA@90 of 2 +0")),
            ("C2", ("A", -3, 0), Some("1xA@90 of 2, 2xA@100 of 1 +0")),
            ("C3", ("B", -2, 0), Some("1xB@50 of 1 +1")),
            ("C4", ("B", -1, 0), None),
            ("C5", ("C", -1, 0), None),
            ("C6", ("A", 4, 0), None),
            ("C7", ("A", -9, 0), Some("3xA@100 of 1 +6")),
            ("C8", ("A", -1, 0), None),
        ] {
            assert_eq!(matched(&mut book, number, &[asked]).as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn what_cannot_be_charged_cannot_be_cancelled() {
        let mut book = Book::default();
        book.take(&InvoiceReceived { customer: None, ..invoice("1", &[("A", 5, 100)]) });
        book.take(&invoice("2", &[("A", 5, 100), ("B", 0, 100)]));
        assert_eq!(matched(&mut book, "C1", &[("A", -1, 0)]), None);
    }
}
