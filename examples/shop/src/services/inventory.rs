//! Keeps the shelves: reserves an order whole or not at all, takes returned units back.
//!
//! Invariant: no article ever holds fewer than zero units. The shelves are a fold of the service's
//! own events over the opening stock; its only input has one partition, so there is one writer.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidings::{Either, Outcome, Received, Service, State, done};

use crate::events::{
    InvoiceLine, PaymentCompleted, ReturnDeclined, ReturnRequested, StockNotAvailable,
    StockReleased, StockReserved, returned_pence,
};

pub(crate) fn service(opening_stock: HashMap<String, i64>) -> Service {
    Service::new("inventory")
        .state(Shelves { units: opening_stock, reserved: HashSet::new() })
        .fold(|shelves: &mut Shelves, reserved: &StockReserved| shelves.take(reserved))
        .fold(|shelves: &mut Shelves, released: &StockReleased| shelves.put_back(released))
        .on(reserve)
        .on(take_back)
}

async fn reserve(
    paid: Received<PaymentCompleted>,
    shelves: State<Shelves>,
) -> Outcome<Either<StockReserved, StockNotAvailable>> {
    if let Some((article, units_wanted, units_left)) = shelves.missing(&paid.lines) {
        return done(Either::Right(StockNotAvailable {
            order: paid.order.clone(),
            account: paid.account.clone(),
            pence: paid.pence,
            article: article.to_owned(),
            units_wanted,
            units_left,
        }));
    }
    done(Either::Left(StockReserved {
        order: paid.order.clone(),
        account: paid.account.clone(),
        country: paid.country.clone(),
        lines: paid.lines.clone(),
        pence: paid.pence,
    }))
}

async fn take_back(
    request: Received<ReturnRequested>,
    shelves: State<Shelves>,
) -> Outcome<Either<StockReleased, ReturnDeclined>> {
    let lines: Vec<_> = request
        .lines
        .iter()
        .filter(|line| shelves.reserved.contains(&line.order))
        .cloned()
        .collect();
    let (cancellation, account) = (request.cancellation.clone(), request.account.clone());
    done(if lines.is_empty() {
        Either::Right(ReturnDeclined { cancellation, account })
    } else {
        Either::Left(StockReleased { cancellation, account, pence: returned_pence(&lines), lines })
    })
}

/// Units per article, and the orders that were reserved.
#[derive(Clone, Debug, Default)]
struct Shelves {
    units: HashMap<String, i64>,
    reserved: HashSet<String>,
}

impl Shelves {
    /// The first article, by name, that the shelves do not hold enough of: wanted and left.
    fn missing<'a>(&self, lines: &'a [InvoiceLine]) -> Option<(&'a str, i64, i64)> {
        let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
        for line in lines {
            *wanted.entry(&line.article).or_default() += line.units;
        }
        wanted.into_iter().find_map(|(article, units)| {
            let left = self.units.get(article).copied().unwrap_or(0);
            (left < units).then_some((article, units, left))
        })
    }

    fn take(&mut self, reserved: &StockReserved) {
        for line in &reserved.lines {
            *self.units.entry(line.article.clone()).or_default() -= line.units;
        }
        self.reserved.insert(reserved.order.clone());
    }

    fn put_back(&mut self, released: &StockReleased) {
        for line in &released.lines {
            *self.units.entry(line.article.clone()).or_default() += line.units;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_reserved_whole_or_not_at_all() {
        let shelves = Shelves {
            units: HashMap::from([("A".into(), 3), ("B".into(), 1)]),
            reserved: HashSet::new(),
        };
        let line = |article: &str, units| InvoiceLine { article: article.into(), units, pence: 1 };
        for (lines, missing) in [
            (vec![line("A", 3), line("B", 1)], None),
            (vec![line("A", 2), line("A", 2)], Some(("A", 4, 3))),
            (vec![line("B", 2), line("A", 4)], Some(("A", 4, 3))),
            (vec![line("C", 1)], Some(("C", 1, 0))),
        ] {
            assert_eq!(shelves.missing(&lines), missing, "{lines:?}");
        }
    }
}
