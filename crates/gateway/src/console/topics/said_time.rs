//! A time as a URL says it: `-10m` from now, a date, a date with a time, or milliseconds since the epoch. In UTC.

use crate::console::quantity::{self, Moment};

const DAY_MS: i64 = 86_400_000;

/// None when it is no time.
pub(super) fn parse(said: &str, now: Moment) -> Option<i64> {
    let said = said.trim();
    if said == "now" {
        return Some(now.0);
    }
    if let Some(ago) = said.strip_prefix('-') {
        return now.0.checked_sub(span_ms(ago)?);
    }
    if said.len() > 8 && said.bytes().all(|byte| byte.is_ascii_digit()) {
        return said.parse().ok();
    }
    let (date, clock) = said.split_once(['T', 't', ' ']).unwrap_or((said, ""));
    let days = days_of(date)?;
    days.checked_mul(DAY_MS)?.checked_add(clock_ms(clock)?)
}

/// `90s`, `10m`, `2h`, `7d`.
fn span_ms(said: &str) -> Option<i64> {
    let unit_ms = match said.chars().last()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => DAY_MS,
        _ => return None,
    };
    digits(&said[..said.len() - 1])?.checked_mul(unit_ms)
}

fn digits(said: &str) -> Option<i64> {
    let all = !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| said.parse().ok()).flatten()
}

/// Days since the epoch of `2010-12-01`.
fn days_of(date: &str) -> Option<i64> {
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let days = quantity::days_of(year, month, day);
    // A day that the month does not have comes back as another one.
    let same = Moment(days * DAY_MS).date() == format!("{year:04}-{month:02}-{day:02}");
    same.then_some(days)
}

/// Milliseconds of `08:26`, `08:26:00`, `08:26:00.125`, each with or without `Z`; of nothing, none.
fn clock_ms(said: &str) -> Option<i64> {
    let said = said.strip_suffix(['Z', 'z']).unwrap_or(said);
    if said.is_empty() {
        return Some(0);
    }
    let (whole, fraction) = said.split_once('.').unwrap_or((said, ""));
    let mut parts = whole.split(':').map(digits);
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = match parts.next() {
        Some(seconds) => seconds?,
        None => 0,
    };
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let thousandths = match fraction {
        "" => 0,
        fraction => digits(&format!("{:0<3}", fraction.get(..fraction.len().min(3))?))?,
    };
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000 + thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = Moment(1_291_191_960_123);
        for (said, wanted) in [
            ("now", Some(now.0)),
            ("-10m", Some(now.0 - 600_000)),
            ("-90s", Some(now.0 - 90_000)),
            ("-2h", Some(now.0 - 7_200_000)),
            ("-7d", Some(now.0 - 7 * DAY_MS)),
            ("1291191960123", Some(1_291_191_960_123)),
            ("2010-12-01", Some(1_291_161_600_000)),
            ("2010-12-01T08:26", Some(1_291_191_960_000)),
            ("2010-12-01 08:26:00.123Z", Some(1_291_191_960_123)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2001-02-29", None),
            ("2010-13-01", None),
            ("2010-12-01T25:00", None),
            ("2010-12-01T08", None),
            ("-10", None),
            ("-m", None),
            ("-99999999999999999d", None),
            ("noon", None),
            ("", None),
            ("2010-12-01T08:26:00.ü", None),
        ] {
            assert_eq!(parse(said, now), wanted, "{said:?}");
        }
    }
}
