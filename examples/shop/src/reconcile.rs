//! Whether the month adds up: the log's events against each other and against the data file.
//!
//! Reconciled means: the figures that do not depend on who got the last unit equal those computed
//! from the file alone; every order ended, once; each step has exactly the outcome that follows;
//! money balances per customer and units per article; no stock was ever negative; and every event
//! is in its topic once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use tidings::{Envelope, Id};

use crate::Dataset;
use crate::events::{RefundReason, total_pence};
use crate::ledger::Ledger;
use crate::services::order::Book;

/// Problems listed in a reconciliation; the rest are only counted.
const PROBLEMS_LISTED_MAX: usize = 20;

/// The month in figures. Of the first deliveries: invoices = cancellations + placed, placed =
/// malformed + payment_failed + chargeable, dead_letters = malformed + cancellations that match
/// nothing. The fields down to `chargeable_pence` are the same in every run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reconciliation {
    pub lines: usize,
    pub messages: usize,
    pub invoices: usize,
    /// Second deliveries of an invoice.
    pub duplicates: usize,
    pub cancellations: usize,
    pub cancellations_matched: usize,
    pub malformed: usize,
    pub payment_failed: usize,
    /// Orders, among them malformed ones.
    pub placed: usize,
    pub chargeable: usize,
    pub chargeable_pence: i64,
    pub charged_pence: i64,
    pub refunded_pence: i64,
    pub shipped_pence: i64,
    /// Orders that found no stock.
    pub out_of_stock: usize,
    /// Units on the shelves at the beginning.
    pub units_open: i64,
    pub units_shipped: i64,
    pub units_returned: i64,
    /// Units on the shelves at the end.
    pub units_left: i64,
    pub dead_letters: usize,
    pub seconds: f64,
    pub reconciled: bool,
    /// What does not add up; empty when reconciled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

pub(crate) fn reconcile(dataset: &Dataset, ledger: &Ledger, took: Duration) -> Reconciliation {
    let mut audit = Audit::default();
    let mut figures = observed(dataset, ledger);
    figures.seconds = took.as_millis() as f64 / 1000.0;
    audit.compare_with_file(&figures, &expected(dataset));
    audit.check_invoices(dataset, ledger);
    audit.check_outcomes(ledger);
    audit.check_money(ledger);
    figures.units_left = audit.check_units(dataset, ledger);
    audit.check_copies(ledger);
    figures.reconciled = audit.problems.is_empty() && audit.unlisted == 0;
    figures.problems = audit.problems;
    if audit.unlisted > 0 {
        figures.problems.push(format!("and {} more", audit.unlisted));
    }
    figures
}

/// The figures that the log gives.
fn observed(dataset: &Dataset, ledger: &Ledger) -> Reconciliation {
    let distinct: HashSet<&str> = ledger.invoices.iter().map(|i| i.invoice.as_str()).collect();
    let cancellations = distinct.iter().filter(|invoice| invoice.starts_with('C')).count();
    let malformed = ledger
        .dead
        .iter()
        .filter(|d| d.invoice.as_ref().is_some_and(|i| !i.is_cancellation()))
        .count();
    let chargeable = || ledger.placed.iter().filter(|p| p.customer.is_some());
    Reconciliation {
        lines: ledger.invoices.iter().map(|i| i.lines.len()).sum(),
        messages: ledger.invoices.len(),
        invoices: distinct.len(),
        duplicates: ledger.invoices.len() - distinct.len(),
        cancellations,
        cancellations_matched: ledger.cancellations.len(),
        malformed,
        payment_failed: ledger.payments_failed.len(),
        placed: ledger.placed.len() + malformed,
        chargeable: chargeable().count(),
        chargeable_pence: chargeable().map(|p| p.pence).sum(),
        charged_pence: ledger.paid.iter().map(|p| p.pence).sum(),
        refunded_pence: ledger.refunds.iter().map(|r| r.pence).sum(),
        shipped_pence: ledger.shipped.iter().map(|s| s.pence).sum(),
        out_of_stock: ledger.unavailable.len(),
        units_open: dataset.opening_stock().values().sum(),
        units_shipped: ledger.shipped.iter().flat_map(|s| &s.lines).map(|l| l.units).sum(),
        units_returned: ledger.released.iter().flat_map(|r| &r.lines).map(|l| l.units).sum(),
        dead_letters: ledger.dead.len(),
        ..Reconciliation::default()
    }
}

/// The figures that every run must give, from the file alone.
fn expected(dataset: &Dataset) -> Reconciliation {
    let mut book = Book::default();
    let mut figures = Reconciliation {
        lines: dataset.messages.iter().map(|m| m.lines.len()).sum(),
        messages: dataset.messages.len(),
        ..Reconciliation::default()
    };
    for invoice in dataset.first_deliveries() {
        figures.invoices += 1;
        let matched = book.take(invoice).is_some();
        if invoice.is_cancellation() {
            figures.cancellations += 1;
            figures.cancellations_matched += usize::from(matched);
            continue;
        }
        figures.placed += 1;
        if invoice.malformed_line().is_some() {
            figures.malformed += 1;
        } else if invoice.customer.is_none() {
            figures.payment_failed += 1;
        } else {
            figures.chargeable += 1;
            figures.chargeable_pence += invoice.total_pence();
        }
    }
    figures.duplicates = figures.messages - figures.invoices;
    figures.dead_letters =
        figures.malformed + figures.cancellations - figures.cancellations_matched;
    figures
}

/// Collects what does not add up.
#[derive(Default)]
struct Audit {
    problems: Vec<String>,
    unlisted: usize,
}

impl Audit {
    fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_LISTED_MAX {
            self.problems.push(text);
        } else {
            self.unlisted += 1;
        }
    }

    fn equal<T: Copy + PartialEq + std::fmt::Display>(&mut self, what: &str, got: T, want: T) {
        if got != want {
            self.problem(format!("{what}: {got} where {want} is right"));
        }
    }

    fn compare_with_file(&mut self, got: &Reconciliation, want: &Reconciliation) {
        self.equal("lines", got.lines, want.lines);
        self.equal("messages", got.messages, want.messages);
        self.equal("invoices", got.invoices, want.invoices);
        self.equal("duplicates", got.duplicates, want.duplicates);
        self.equal("cancellations", got.cancellations, want.cancellations);
        self.equal("cancellations_matched", got.cancellations_matched, want.cancellations_matched);
        self.equal("malformed", got.malformed, want.malformed);
        self.equal("payment_failed", got.payment_failed, want.payment_failed);
        self.equal("placed", got.placed, want.placed);
        self.equal("chargeable", got.chargeable, want.chargeable);
        self.equal("chargeable_pence", got.chargeable_pence, want.chargeable_pence);
        self.equal("dead_letters", got.dead_letters, want.dead_letters);
    }

    /// Each message of the file is in the log as often as the tills delivered it.
    fn check_invoices(&mut self, dataset: &Dataset, ledger: &Ledger) {
        let fed = dataset.messages.iter().map(|m| (m.invoice.as_str(), m.export));
        let logged = ledger.invoices.iter().map(|m| (m.invoice.as_str(), m.export));
        self.same("message", "delivered", counts(fed), "in the log", counts(logged));
    }

    /// Each step has exactly one of the outcomes that may follow it.
    fn check_outcomes(&mut self, ledger: &Ledger) {
        let orders = counts(ledger.placed.iter().map(|e| e.order.as_str()));
        let ended = counts(
            (ledger.completed.iter().map(|e| e.order.as_str()))
                .chain(ledger.cancelled.iter().map(|e| e.order.as_str())),
        );
        self.same("order", "placed", orders.clone(), "ended", ended);
        let answered = counts(
            (ledger.paid.iter().map(|e| e.order.as_str()))
                .chain(ledger.payments_failed.iter().map(|e| e.order.as_str())),
        );
        self.same("order", "placed", orders, "answered by payment", answered);
        let paid = counts(ledger.paid.iter().map(|e| e.order.as_str()));
        let stocked = counts(
            (ledger.reserved.iter().map(|e| e.order.as_str()))
                .chain(ledger.unavailable.iter().map(|e| e.order.as_str())),
        );
        self.same("order", "paid", paid, "answered by inventory", stocked);
        let reserved = counts(ledger.reserved.iter().map(|e| (e.order.as_str(), e.pence)));
        let shipped = counts(ledger.shipped.iter().map(|e| (e.order.as_str(), e.pence)));
        self.same("order", "reserved", reserved, "shipped", shipped.clone());
        let completed = ledger.completed.iter().map(|e| e.order.as_str());
        let shipped = counts(shipped.into_keys().map(|(order, _)| order));
        self.same("order", "shipped", shipped, "completed", counts(completed));
        self.check_cancellations(ledger);
        self.check_refunds(ledger);
    }

    fn check_cancellations(&mut self, ledger: &Ledger) {
        let accepted = counts(ledger.cancellations.iter().map(|e| e.cancellation.as_str()));
        let requested = counts(ledger.returns.iter().map(|e| e.cancellation.as_str()));
        let answered = counts(
            (ledger.released.iter().map(|e| e.cancellation.as_str()))
                .chain(ledger.declined.iter().map(|e| e.cancellation.as_str())),
        );
        self.same("cancellation", "accepted", accepted, "requested", requested.clone());
        self.same("cancellation", "requested", requested, "answered", answered);
    }

    fn check_refunds(&mut self, ledger: &Ledger) {
        let owed = counts(
            (ledger.unavailable.iter().map(|e| (e.order.as_str(), e.pence)))
                .chain(ledger.released.iter().map(|e| (e.cancellation.as_str(), e.pence))),
        );
        let refunded = counts(ledger.refunds.iter().map(|e| match &e.reason {
            RefundReason::OutOfStock { order } => (order.as_str(), e.pence),
            RefundReason::Returned { cancellation } => (cancellation.as_str(), e.pence),
        }));
        self.same("refund", "owed", owed, "paid", refunded);
        let told = ledger.completed.len() + ledger.cancelled.len() + ledger.refunds.len();
        self.equal("notifications", ledger.notifications.len(), told);
        self.equal("sales", ledger.revenue.len(), ledger.shipped.len());
    }

    /// Per customer: charged = shipped + refunded for want of stock; and what went back for
    /// returned goods never exceeds what was shipped. Per country: revenue = shipped.
    fn check_money(&mut self, ledger: &Ledger) {
        let mut balance: BTreeMap<&str, i64> = BTreeMap::new();
        let mut kept: BTreeMap<&str, i64> = BTreeMap::new();
        for paid in &ledger.paid {
            self.equal("charge", paid.pence, total_pence(&paid.lines));
            *balance.entry(&paid.account).or_default() += paid.pence;
        }
        for shipped in &ledger.shipped {
            *balance.entry(&shipped.account).or_default() -= shipped.pence;
            *kept.entry(&shipped.account).or_default() += shipped.pence;
        }
        for refund in &ledger.refunds {
            match &refund.reason {
                RefundReason::OutOfStock { .. } => {
                    *balance.entry(&refund.account).or_default() -= refund.pence;
                }
                RefundReason::Returned { .. } => {
                    *kept.entry(&refund.account).or_default() -= refund.pence;
                }
            }
        }
        for (account, pence) in balance.into_iter().filter(|(_, pence)| *pence != 0) {
            self.problem(format!("account {account}: {pence} pence are unaccounted for"));
        }
        for (account, pence) in kept.into_iter().filter(|(_, pence)| *pence < 0) {
            self.problem(format!("account {account}: {} pence too much went back", -pence));
        }
        let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
        ledger.shipped.iter().for_each(|s| *sold.entry(&s.country).or_default() += s.pence);
        for revenue in &ledger.revenue {
            *sold.entry(&revenue.country).or_default() -= revenue.pence;
        }
        for (country, pence) in sold.into_iter().filter(|(_, pence)| *pence != 0) {
            self.problem(format!("country {country}: revenue is off by {pence} pence"));
        }
    }

    /// Walks the shelves through the log and returns the units left. Stock events of different
    /// accounts lie in different partitions; the inventory's one loop said them one after the
    /// other, so their times order them, and within a millisecond the inputs that caused them do.
    fn check_units(&mut self, dataset: &Dataset, ledger: &Ledger) -> i64 {
        let mut inputs: HashMap<&Id, i64> = HashMap::new();
        for paid in &ledger.paid {
            inputs.insert(&paid.envelope().id, paid.position().2);
        }
        for request in &ledger.returns {
            inputs.insert(&request.envelope().id, request.position().2);
        }
        let when = |said: &Envelope| {
            let cause = said.causation.as_ref().and_then(|cause| inputs.get(cause));
            (said.time_ms, cause.copied())
        };
        let mut moves = Vec::new();
        for reserved in &ledger.reserved {
            let at = when(reserved.envelope());
            moves.extend(reserved.lines.iter().map(|l| (at, l.article.as_str(), -l.units)));
        }
        for released in &ledger.released {
            let at = when(released.envelope());
            moves.extend(released.lines.iter().map(|l| (at, l.article.as_str(), l.units)));
        }
        moves.sort_by_key(|(at, ..)| *at);
        let mut shelves = dataset.opening_stock();
        for ((_, cause), article, units) in moves {
            if cause.is_none() {
                self.problem(format!("article {article}: {units} units moved without a cause"));
            }
            let left = shelves.entry(article.to_owned()).or_default();
            *left += units;
            if *left < 0 {
                self.problem(format!("article {article}: {left} units on the shelf"));
            }
        }
        let mut shipped: HashMap<&str, i64> = HashMap::new();
        for line in ledger.reserved.iter().flat_map(|e| &e.lines) {
            *shipped.entry(&line.article).or_default() += line.units;
        }
        for line in ledger.shipped.iter().flat_map(|e| &e.lines) {
            *shipped.entry(&line.article).or_default() -= line.units;
        }
        for (article, units) in shipped.into_iter().filter(|(_, units)| *units != 0) {
            self.problem(format!("article {article}: {units} units reserved and not shipped"));
        }
        shelves.values().sum()
    }

    /// Every event is in its topic once, every dead letter too.
    fn check_copies(&mut self, ledger: &Ledger) {
        for ((topic, id), copies) in ledger.copies.iter().filter(|(_, copies)| **copies != 1) {
            self.problem(format!("event {id} is {copies} times in {topic}"));
        }
        for (id, copies) in counts(ledger.dead.iter().map(|d| d.id.as_str())) {
            if copies != 1 {
                self.problem(format!("dead letter {id} is there {copies} times"));
            }
        }
    }

    /// Reports each key whose counts differ.
    fn same<K: Ord + std::fmt::Debug>(
        &mut self,
        what: &str,
        left: &str,
        mut wanted: BTreeMap<K, usize>,
        right: &str,
        got: BTreeMap<K, usize>,
    ) {
        for (key, count) in got {
            let want = wanted.remove(&key).unwrap_or(0);
            if count != want {
                self.problem(format!("{what} {key:?}: {left} {want} times, {right} {count} times"));
            }
        }
        for (key, want) in wanted {
            self.problem(format!("{what} {key:?}: {left} {want} times, {right} never"));
        }
    }
}

fn counts<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_alone_gives_the_figures_that_every_run_must_give() {
        let figures = expected(&Dataset::load().unwrap());
        // Counted by an independent script over the same file.
        assert_eq!((figures.lines, figures.messages, figures.duplicates), (65_004, 3_113, 1_088));
        assert_eq!((figures.invoices, figures.placed), (2_025, 1_699));
        assert_eq!((figures.cancellations, figures.cancellations_matched), (326, 149));
        assert_eq!((figures.malformed, figures.payment_failed), (149, 153));
        assert_eq!((figures.chargeable, figures.chargeable_pence), (1_397, 57_133_291));
        assert_eq!(figures.dead_letters, 326);
        assert_eq!(figures.invoices, figures.cancellations + figures.placed);
        assert_eq!(figures.placed, figures.malformed + figures.payment_failed + figures.chargeable);
        assert_eq!(
            figures.dead_letters,
            figures.malformed + figures.cancellations - figures.cancellations_matched
        );
    }
}
