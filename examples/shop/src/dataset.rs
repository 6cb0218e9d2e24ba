//! The month as the shop's tills exported it: one message per invoice and export.
//!
//! Invariants: lines keep the file's order; a message holds all lines of one invoice within one
//! export; the second export begins where the invoice date steps back by days. Money is integer
//! pence, rounded half up from the file's decimal prices.

use std::collections::{HashMap, HashSet};

use tidings::rfc3339;

use crate::events::{InvoiceLine, InvoiceReceived};

const FILE: &[u8] = include_bytes!("../data/online-retail-2010-12.csv.xz");

/// A step back in time that only the start of another export explains.
const EXPORT_STEP_BACK_MS: i64 = 24 * 60 * 60 * 1000;

/// Why the data file cannot be read: it is not the file that was shipped.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("the data file does not decompress: {0}")]
    Compression(String),
    #[error("row {row}: {why}")]
    Row { row: usize, why: String },
}

/// The month in the order in which the tills delivered it.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub messages: Vec<InvoiceReceived>,
}

impl Dataset {
    /// Reads the file that is compiled in.
    pub fn load() -> Result<Self, DatasetError> {
        let mut csv = Vec::new();
        lzma_rs::xz_decompress(&mut &FILE[..], &mut csv)
            .map_err(|e| DatasetError::Compression(e.to_string()))?;
        Self::parse(&csv)
    }

    fn parse(csv: &[u8]) -> Result<Self, DatasetError> {
        let mut messages: Vec<InvoiceReceived> = Vec::new();
        let mut place: HashMap<(u8, String), usize> = HashMap::new();
        let mut export = 1;
        let mut previous_at = i64::MIN;
        for (index, row) in csv::Reader::from_reader(csv).records().enumerate() {
            let bad = |why: String| DatasetError::Row { row: index + 2, why };
            let row = row.map_err(|e| bad(e.to_string()))?;
            let field = |i: usize| row.get(i).unwrap_or_default();
            let at_ms = parse_date(field(4)).ok_or_else(|| bad(format!("date {}", field(4))))?;
            if at_ms < previous_at.saturating_sub(EXPORT_STEP_BACK_MS) {
                export += 1;
            }
            previous_at = at_ms;
            let units = field(3).parse().map_err(|_| bad(format!("quantity {:?}", field(3))))?;
            let pence =
                parse_pence(field(5)).ok_or_else(|| bad(format!("price {:?}", field(5))))?;
            let line = InvoiceLine { article: field(1).to_owned(), units, pence };
            let invoice = field(0);
            let at = *place.entry((export, invoice.to_owned())).or_insert_with(|| {
                let customer = field(6).split('.').next().filter(|c| !c.is_empty());
                messages.push(InvoiceReceived {
                    export,
                    invoice: invoice.to_owned(),
                    account: customer.map_or_else(|| format!("guest-{invoice}"), str::to_owned),
                    customer: customer.map(str::to_owned),
                    country: field(7).to_owned(),
                    at_ms,
                    lines: Vec::new(),
                });
                messages.len() - 1
            });
            messages[at].lines.push(line);
        }
        Ok(Self { messages })
    }

    /// The first delivery of each invoice.
    pub fn first_deliveries(&self) -> impl Iterator<Item = &InvoiceReceived> {
        let mut seen = HashSet::new();
        self.messages.iter().filter(move |m| seen.insert(&m.invoice))
    }

    /// Units on the shelf when the month begins: 90 % of what chargeable orders will ask of each
    /// article, rounded down.
    pub fn opening_stock(&self) -> HashMap<String, i64> {
        let mut demand: HashMap<String, i64> = HashMap::new();
        for order in self.first_deliveries().filter(|m| m.is_chargeable()) {
            for line in &order.lines {
                *demand.entry(line.article.clone()).or_default() += line.units;
            }
        }
        demand.values_mut().for_each(|units| *units = *units * 9 / 10);
        demand
    }
}

/// `M/D/YYYY H:MM` as milliseconds since the epoch, read as UTC.
fn parse_date(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let mut date = date.split('/').map(|n| n.parse::<i64>().ok());
    let (month, day, year) = (date.next()??, date.next()??, date.next()??);
    let (hour, minute) = time.split_once(':')?;
    let minutes = hour.parse::<i64>().ok()? * 60 + minute.parse::<i64>().ok()?;
    Some(rfc3339::day_ms(year, month, day)? + minutes * 60_000)
}

/// A decimal amount of pounds as pence, rounded half away from zero.
fn parse_pence(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (pounds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digit = |i: usize| fraction.as_bytes().get(i).map_or(0, |b| i64::from(b - b'0'));
    let pence = pounds.parse::<i64>().ok()?.checked_mul(100)?
        + digit(0) * 10
        + digit(1)
        + i64::from(digit(2) >= 5);
    Some(if negative { -pence } else { pence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pence_are_rounded_to_the_penny() {
        for (text, pence) in [
            ("2.55", Some(255)),
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("13541.33", Some(1_354_133)),
            ("0.125", Some(13)),
            ("0.124", Some(12)),
            ("-1.5", Some(-150)),
            ("1,5", None),
            ("", None),
        ] {
            assert_eq!(parse_pence(text), pence, "{text:?}");
        }
    }

    #[test]
    fn dates_are_read_month_first() {
        for (text, ms) in [
            ("1/1/1970 0:00", Some(0)),
            ("12/1/2010 8:26", Some(1_291_191_960_000)),
            ("2/29/2012 0:01", Some(1_330_473_660_000)),
            ("2010-12-01", None),
        ] {
            assert_eq!(parse_date(text), ms, "{text:?}");
        }
    }

    #[test]
    fn the_file_holds_two_overlapping_exports() {
        let dataset = Dataset::load().unwrap();
        let lines: usize = dataset.messages.iter().map(|m| m.lines.len()).sum();
        assert_eq!((lines, dataset.messages.len()), (65_004, 3_113));
        assert_eq!(dataset.first_deliveries().count(), 2_025);
        assert_eq!(dataset.first_deliveries().filter(|m| m.is_cancellation()).count(), 326);
        assert!(dataset.messages.is_sorted_by_key(|m| m.export));
        assert_eq!(dataset.messages.last().unwrap().export, 2);
    }

    #[test]
    fn an_invoice_has_the_same_lines_in_both_exports() {
        let dataset = Dataset::load().unwrap();
        let sorted = |message: &InvoiceReceived| {
            let mut lines = message.lines.clone();
            lines.sort_by(|a, b| {
                (&a.article, a.units, a.pence).cmp(&(&b.article, b.units, b.pence))
            });
            lines
        };
        let mut first: HashMap<&str, &InvoiceReceived> = HashMap::new();
        for message in &dataset.messages {
            let known = *first.entry(&message.invoice).or_insert(message);
            assert_eq!(sorted(known), sorted(message), "{}", message.invoice);
            assert_eq!(known.customer, message.customer, "{}", message.invoice);
        }
    }
}
