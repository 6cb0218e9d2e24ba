//! Times as people say them, and as layouts show them. All in UTC, on the proleptic Gregorian calendar.
//!
//! `now` is passed in, so that every reading of a text is a function of values.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: i64 = 86_400_000;

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A moment taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) milli: i64,
    /// 0 is Sunday.
    pub(crate) weekday: i64,
    /// Of the year, from 1.
    pub(crate) year_day: i64,
}

impl Civil {
    pub(crate) fn of(time_ms: i64) -> Self {
        let (days, of_day) = (time_ms.div_euclid(DAY_MS), time_ms.rem_euclid(DAY_MS));
        let (year, month, day) = date(days);
        Self {
            year,
            month,
            day,
            hour: of_day / 3_600_000,
            minute: of_day / 60_000 % 60,
            second: of_day / 1000 % 60,
            milli: of_day % 1000,
            weekday: (days + 4).rem_euclid(7),
            year_day: days - days_of(year, 1, 1) + 1,
        }
    }
}

/// `2026-11-30T08:15:00.000Z`.
pub(crate) fn rfc3339(time_ms: i64) -> String {
    let Civil { year, month, day, hour, minute, second, milli, .. } = Civil::of(time_ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// A moment: 13 digits are milliseconds, 9 or 10 digits seconds since the epoch; `YYYY-MM-DD` a day's
/// beginning; RFC 3339; `now`; and `-48h`, which is so long before now.
pub(crate) fn moment(said: &str, now_ms: i64) -> Option<i64> {
    let digits = said.bytes().all(|byte| byte.is_ascii_digit());
    match said.len() {
        13 if digits => return said.parse().ok(),
        9 | 10 if digits => return said.parse::<i64>().ok().map(|seconds| seconds * 1000),
        10 => {
            if let Some(days) = day(said) {
                return Some(days * DAY_MS);
            }
        }
        _ => {}
    }
    if said == "now" {
        return Some(now_ms);
    }
    if let Some(ago) = said.strip_prefix('-') {
        return duration_ms(ago).map(|ago| now_ms.saturating_sub(ago));
    }
    instant(said)
}

/// `1h30m`, `90s`, `250ms`, `2d`: numbers with their units, in milliseconds.
pub(crate) fn duration_ms(said: &str) -> Option<i64> {
    let mut rest = said;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_MS,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(unit_ms)?)?;
        rest = tail;
    }
    (!said.is_empty()).then_some(total)
}

/// RFC 3339 with any fraction and any offset.
fn instant(said: &str) -> Option<i64> {
    let days = day(said.get(..10)?)?;
    let rest = said.get(10..)?.strip_prefix(['T', 't', ' '])?;
    let clock = rest.get(..8)?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let rest = rest.get(8..)?;
    let (milli, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            let shown = fraction.get(..digits.min(3)).filter(|shown| !shown.is_empty())?;
            (format!("{shown:0<3}").parse::<i64>().ok()?, fraction.get(digits..)?)
        }
    };
    let offset_minutes = match zone {
        "Z" | "z" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let [hours, minutes] = numbers(zone.strip_prefix(['+', '-'])?, ':')?;
            (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))?
        }
    };
    let is_clock = hour < 24 && minute < 60 && second <= 60;
    let of_day = ((hour * 60 + minute - offset_minutes) * 60 + second) * 1000 + milli;
    is_clock.then_some(days * DAY_MS + of_day)
}

/// Days since 1970-01-01 of `YYYY-MM-DD`.
fn day(said: &str) -> Option<i64> {
    let (year, rest) = said.split_at_checked(4)?;
    let [year] = numbers_of_width(year, '-', 4)?;
    let [month, day] = numbers(rest.strip_prefix('-')?, '-')?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=last).contains(&day).then(|| days_of(year, month, day))
}

fn numbers<const N: usize>(said: &str, between: char) -> Option<[i64; N]> {
    numbers_of_width(said, between, 2)
}

/// Exactly N numbers of so many digits.
fn numbers_of_width<const N: usize>(said: &str, between: char, width: usize) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = said.split(between);
    for number in &mut numbers {
        let part = parts.next()?;
        let sound = part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = if sound { part.parse().ok()? } else { return None };
    }
    parts.next().is_none().then_some(numbers)
}

/// Days since 1970-01-01. Years begin in March here, so that the leap day comes last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// The inverse of [`days_of`].
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (of_year * 5 + 2) / 153;
    let day = of_year - (march_month * 153 + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_796_077_800_000;

    #[test]
    fn moments_are_read() {
        for (said, wanted) in [
            ("1796077800000", Some(NOW)),
            ("1796077800", Some(NOW)),
            ("179607780", Some(179_607_780_000)),
            ("2026-11-30", Some(1_795_996_800_000)),
            ("2026-11-30T22:30:00Z", Some(NOW)),
            ("2026-11-30T23:30:00+01:00", Some(NOW)),
            ("2026-11-30T22:30:00.5Z", Some(NOW + 500)),
            ("2000-02-29T00:00:00.001Z", Some(951_782_400_001)),
            ("now", Some(NOW)),
            ("-1h30m", Some(NOW - 5_400_000)),
            ("-0s", Some(NOW)),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-11-30T24:00:00Z", None),
            ("2026-11-30T22:30:00", None),
            ("2026-11-30T22:30Z", None),
            ("12345", None),
            ("-", None),
            ("-1w", None),
            ("yesterday", None),
            ("", None),
            ("ä026-11-30", None),
        ] {
            assert_eq!(moment(said, NOW), wanted, "{said}");
        }
    }

    #[test]
    fn durations_are_numbers_with_units() {
        for (said, wanted) in [
            ("250ms", Some(250)),
            ("90s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("2d", Some(172_800_000)),
            ("", None),
            ("5", None),
            ("h", None),
            ("1.5h", None),
            ("9223372036854775807d", None),
        ] {
            assert_eq!(duration_ms(said), wanted, "{said}");
        }
    }

    #[test]
    fn a_moment_is_taken_apart() {
        for time_ms in [0, NOW, -1, 951_782_400_001, 253_402_300_799_999] {
            assert_eq!(moment(&rfc3339(time_ms), 0), Some(time_ms), "{time_ms}");
        }
        let civil = Civil::of(NOW);
        assert_eq!((civil.year, civil.month, civil.day), (2026, 11, 30));
        assert_eq!((civil.weekday, civil.year_day), (1, 334));
    }
}
