//! Logical types as JSON.

use prost_reflect::prost_types::Timestamp;

use crate::framing;
use crate::limits::{DECIMAL_BYTES_MAX, DECIMAL_SCALE_MAX};

const DAY_SECONDS: i64 = 86_400;
/// The years 0 to 9999, which RFC 3339 has.
const FIRST_SECOND: i64 = -62_167_219_200;
const LAST_SECOND: i64 = 253_402_300_799;

/// `2026-12-01T09:30:00.123Z`; none outside the years 0 to 9999.
fn rfc3339(time: i64, parts: i64) -> Option<String> {
    let (seconds, rest) = (time.div_euclid(parts), time.rem_euclid(parts));
    if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) {
        return None;
    }
    let nanos = i32::try_from(rest * (1_000_000_000 / parts)).ok()?;
    Some(Timestamp { seconds, nanos }.to_string())
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

pub(super) fn instant(time: i64, parts: i64) -> String {
    rfc3339(time, parts).map_or_else(|| time.to_string(), |text| quoted(&text))
}

/// Without a zone, since it has none.
pub(super) fn local(time: i64, parts: i64) -> String {
    let text = rfc3339(time, parts);
    text.map_or_else(|| time.to_string(), |text| quoted(text.trim_end_matches('Z')))
}

pub(super) fn date(days: i32) -> String {
    let text = rfc3339(i64::from(days) * DAY_SECONDS, 1);
    let date = text.as_deref().and_then(|text| text.split('T').next());
    date.map_or_else(|| days.to_string(), quoted)
}

pub(super) fn time(time: i64, parts: i64) -> String {
    let of_day = (0..DAY_SECONDS * parts).contains(&time).then(|| rfc3339(time, parts)).flatten();
    let clock = of_day.as_deref().and_then(|text| text.trim_end_matches('Z').split('T').nth(1));
    clock.map_or_else(|| time.to_string(), quoted)
}

/// As ISO 8601 writes it: months, days and milliseconds are apart, since none is a number of another.
pub(super) fn duration(bytes: [u8; 12]) -> String {
    let part =
        |at: usize| bytes[at..at + 4].iter().rev().fold(0_u32, |n, b| n << 8 | u32::from(*b));
    let (months, days, millis) = (part(0), part(4), part(8));
    quoted(&format!("P{months}M{days}DT{}.{:03}S", millis / 1_000, millis % 1_000))
}

pub(super) fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::from('"');
    framing::uuid(&mut text, bytes).expect("writing to a string");
    text.push('"');
    text
}

/// A number of big-endian bytes, in two's complement, divided by ten so many times. None when it is too long to be
/// written out.
pub(super) fn decimal(unscaled: &[u8], scale: i64) -> Option<String> {
    if unscaled.len() > DECIMAL_BYTES_MAX {
        return None;
    }
    let negative = unscaled.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude = unscaled.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (sum, more) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (sum, more);
        }
    }
    let mut digits = digits(&magnitude);
    let exponent = match usize::try_from(scale) {
        Ok(scale) if scale <= DECIMAL_SCALE_MAX => {
            if scale > 0 {
                let whole = digits.len().saturating_sub(scale);
                let zeros = "0".repeat((scale + 1).saturating_sub(digits.len()));
                digits = format!("{zeros}{digits}");
                digits.insert(whole.max(1), '.');
            }
            String::new()
        }
        _ => format!("e{}", scale.checked_neg()?),
    };
    let sign = if negative { "-" } else { "" };
    Some(format!("{sign}{digits}{exponent}"))
}

/// Decimal digits of big-endian bytes, nine at a time.
fn digits(bytes: &[u8]) -> String {
    const NINE_DIGITS: u64 = 1_000_000_000;
    let mut rest = bytes.to_vec();
    let mut parts = Vec::new();
    while rest.iter().any(|byte| *byte != 0) {
        let mut remainder = 0_u64;
        for byte in &mut rest {
            let dividend = remainder << 8 | u64::from(*byte);
            // Below 256, as the remainder is below the divisor.
            *byte = (dividend / NINE_DIGITS) as u8;
            remainder = dividend % NINE_DIGITS;
        }
        parts.push(remainder);
    }
    let Some(first) = parts.pop() else { return "0".to_owned() };
    parts.iter().rev().fold(first.to_string(), |text, part| format!("{text}{part:09}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_numbers_with_all_their_digits() {
        let long = [&[0x7f][..], &[0xff; 15]].concat();
        for (unscaled, scale, wanted) in [
            (&[][..], 2, Some("0.00")),
            (&[0], 0, Some("0")),
            (&[0x04, 0xd2], 2, Some("12.34")),
            (&[0xfb, 0x32], 2, Some("-12.30")),
            (&[5], 3, Some("0.005")),
            (&[0xff], 1, Some("-0.1")),
            (&[0x80], 0, Some("-128")),
            (&[1], -3, Some("1e3")),
            (&[7], 1_000, Some("7e-1000")),
            (&[7], i64::MIN, None),
            (&long, 0, Some("170141183460469231731687303715884105727")),
            (&[1; DECIMAL_BYTES_MAX + 1], 0, None),
        ] {
            assert_eq!(decimal(unscaled, scale).as_deref(), wanted, "{unscaled:?} {scale}");
        }
    }

    #[test]
    fn moments_are_rfc_3339_where_it_has_them() {
        for (written, wanted) in [
            (instant(1_796_117_400_123, 1_000), "\"2026-12-01T09:30:00.123Z\""),
            (instant(-1, 1_000_000_000), "\"1969-12-31T23:59:59.999999999Z\""),
            (instant(0, 1_000_000), "\"1970-01-01T00:00:00Z\""),
            (instant(i64::MAX, 1_000), "9223372036854775807"),
            (instant(i64::MIN, 1_000), "-9223372036854775808"),
            (local(1_796_117_400_000, 1_000), "\"2026-12-01T09:30:00\""),
            (date(20_788), "\"2026-12-01\""),
            (date(-1), "\"1969-12-31\""),
            (date(i32::MAX), "2147483647"),
            (time(34_200_001, 1_000), "\"09:30:00.001\""),
            (time(86_400_000, 1_000), "86400000"),
            (time(-1, 1_000_000), "-1"),
            (duration([1, 0, 0, 0, 2, 0, 0, 0, 0xbc, 0x0b, 0, 0]), "\"P1M2DT3.004S\""),
        ] {
            assert_eq!(written, wanted);
        }
    }
}
