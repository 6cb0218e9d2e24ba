//! Instants as text, by [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339), and the calendar behind it: what `ce_time` carries
//! and what consoles and tools show. An instant is a number of milliseconds since 1970-01-01 00:00 UTC, without leap seconds.
//!
//! Written in UTC, read with any offset and any fraction, of which milliseconds are kept; a leap second reads as the second after it.
//! Days are counted on the proleptic Gregorian calendar. No clock is read and no time zone is known here.
//!
//! ```
//! use tidings::rfc3339::{self, Civil};
//!
//! assert_eq!(rfc3339::format(1_291_191_960_125), "2010-12-01T08:26:00.125Z");
//! assert_eq!(rfc3339::parse("2010-12-01T09:26:00.125+01:00"), Some(1_291_191_960_125));
//! assert_eq!(rfc3339::day_ms(2010, 12, 1), Some(1_291_161_600_000));
//! assert_eq!(Civil::of(1_291_191_960_125).weekday, 3); // a Wednesday
//! ```

const DAY_MS: i64 = 86_400_000;

/// An instant taken apart, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year 0 is the one before year 1.
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    /// Up to 23.
    pub hour: i64,
    /// Up to 59.
    pub minute: i64,
    /// Up to 59.
    pub second: i64,
    /// Up to 999.
    pub milli: i64,
    /// 0 is Sunday.
    pub weekday: i64,
    /// Day of the year, from 1.
    pub year_day: i64,
}

impl Civil {
    /// Of any instant, also of one that RFC 3339 has no year for.
    pub fn of(time_ms: i64) -> Self {
        let (days, of_day) = (time_ms.div_euclid(DAY_MS), time_ms.rem_euclid(DAY_MS));
        let (year, month, day) = date(days);
        Self {
            year,
            month,
            day,
            hour: of_day / 3_600_000,
            minute: of_day / 60_000 % 60,
            second: of_day / 1_000 % 60,
            milli: of_day % 1_000,
            weekday: (days + 4).rem_euclid(7),
            year_day: days - days_of(year, 1, 1) + 1,
        }
    }
}

/// `2010-12-01T08:26:00.000Z`. Years outside of 0 to 9999 have a sign or more digits, and are not read back.
pub fn format(time_ms: i64) -> String {
    let Civil { year, month, day, hour, minute, second, milli, .. } = Civil::of(time_ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The beginning of a day; none when there is no such day, or its year is not one of 0 to 9999.
pub fn day_ms(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_day = (0..=9_999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=month_days(year, month)).contains(&day);
    is_day.then(|| days_of(year, month, day) * DAY_MS)
}

/// None when the text is no RFC 3339 instant of the years 0000 to 9999. A blank may stand for the `T`.
pub fn parse(text: &str) -> Option<i64> {
    let written = written(text)?;
    let offset_ms = written.offset_ms.filter(|_| written.has_seconds)?;
    Some(written.local_ms - offset_ms)
}

/// What begins like an instant, and may say less of it: a day, a time without seconds or without an offset.
pub(crate) struct Written {
    /// By the clocks of where it was written.
    pub(crate) local_ms: i64,
    /// How far these are ahead of UTC.
    pub(crate) offset_ms: Option<i64>,
    has_seconds: bool,
}

pub(crate) fn written(text: &str) -> Option<Written> {
    let mut rest = Rest(text);
    let year = rest.number(4)?;
    rest.one_of("-")?;
    let month = rest.number(2)?;
    rest.one_of("-")?;
    let day_ms = day_ms(year, month, rest.number(2)?)?;
    if rest.0.is_empty() {
        return Some(Written { local_ms: day_ms, offset_ms: None, has_seconds: false });
    }
    rest.one_of("Tt ")?;
    let hour = rest.number(2)?;
    rest.one_of(":")?;
    let minute = rest.number(2)?;
    let has_seconds = rest.one_of(":").is_some();
    let (second, milli) = if has_seconds { (rest.number(2)?, rest.fraction()?) } else { (0, 0) };
    let offset_ms = rest.offset()?;
    let is_clock = hour < 24 && minute < 60 && second <= 60 && rest.0.is_empty();
    let local_ms = day_ms + ((hour * 60 + minute) * 60 + second) * 1_000 + milli;
    is_clock.then_some(Written { local_ms, offset_ms, has_seconds })
}

/// What is not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    /// Of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
    }

    fn one_of(&mut self, signs: &str) -> Option<char> {
        let sign = self.0.chars().next().filter(|sign| signs.contains(*sign))?;
        self.0 = &self.0[sign.len_utf8()..];
        Some(sign)
    }

    /// Milliseconds of `.125` or of nothing.
    fn fraction(&mut self) -> Option<i64> {
        if self.one_of(".").is_none() {
            return Some(0);
        }
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, rest) = self.0.split_at(digits);
        self.0 = rest;
        let kept = fraction.get(..digits.min(3)).filter(|kept| !kept.is_empty())?;
        format!("{kept:0<3}").parse().ok()
    }

    /// `Z` or `+01:00` as milliseconds, or none where nothing is said.
    fn offset(&mut self) -> Option<Option<i64>> {
        let ahead = match self.one_of("Zz+-") {
            None => return Some(None),
            Some('+') => 1,
            Some('-') => -1,
            Some(_) => return Some(Some(0)),
        };
        let hours = self.number(2)?;
        self.one_of(":")?;
        let minutes = self.number(2)?;
        (hours < 24 && minutes < 60).then_some(Some(ahead * (hours * 60 + minutes) * 60_000))
    }
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
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

    #[test]
    fn instants_read_and_write() {
        for (time_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_291_191_960_000, "2010-12-01T08:26:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format(time_ms), text);
            assert_eq!(parse(text), Some(time_ms), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        for day in -146_097..146_097 {
            let (year, month, of_month) = date(day);
            assert_eq!(days_of(year, month, of_month), day);
        }
    }

    #[test]
    fn an_instant_is_taken_apart() {
        let civil = Civil::of(951_782_400_001);
        assert_eq!((civil.year, civil.month, civil.day), (2000, 2, 29));
        assert_eq!((civil.hour, civil.milli, civil.weekday, civil.year_day), (0, 1, 2, 60));
        let last = Civil::of(-1);
        assert_eq!((last.year, last.month, last.day, last.second), (1969, 12, 31, 59));
        for any in [i64::MIN, i64::MAX] {
            assert!(format(any).ends_with('Z'));
        }
    }

    #[test]
    fn a_day_that_its_month_does_not_have_is_none() {
        for ((year, month, day), expected) in [
            ((1970, 1, 1), Some(0)),
            ((2000, 2, 29), Some(951_782_400_000)),
            ((1900, 2, 29), None),
            ((2001, 2, 29), None),
            ((2001, 4, 31), None),
            ((2001, 0, 1), None),
            ((2001, 13, 1), None),
            ((2001, 1, 0), None),
            ((10_000, 1, 1), None),
            ((-1, 1, 1), None),
        ] {
            assert_eq!(day_ms(year, month, day), expected, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn other_spellings_read() {
        for (text, expected) in [
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1969-12-31t18:30:00.5-05:30", Some(500)),
            ("1970-01-01 00:00:00.123456789z", Some(123)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000)),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "1970",
            "1970-13-01T00:00:00Z",
            "1970-02-29T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00Z",
            "1970-01-01",
            "1970-01-01T00:00:00Zulu",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+1:00",
            "1970-01-01T00:00:00+24:00",
            "+970-01-01T00:00:00Z",
            "1970-01-01T00:00:00é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
