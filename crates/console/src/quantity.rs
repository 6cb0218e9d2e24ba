//! Numbers as people read them; in JSON they stay numbers.

use std::fmt;

use serde::Serialize;
use tidings::rfc3339::Civil;
use tidings::said_time;

/// A number of things: `12,345`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Count(pub(crate) i64);

impl Count {
    pub(crate) fn of(number: usize) -> Self {
        Self(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.unsigned_abs().to_string();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A size in bytes, decimal: `1.2 MB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        let mut amount = self.0 as f64 / 1000.0;
        let mut unit = 0;
        while amount >= 999.5 && unit + 1 < UNITS.len() {
            amount /= 1000.0;
            unit += 1;
        }
        let places = usize::from(amount < 99.95);
        write!(f, "{amount:.places$} {}", UNITS[unit])
    }
}

/// Something per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub(crate) struct Rate(pub(crate) f64);

impl Rate {
    pub(crate) fn is_zero(self) -> bool {
        self.0 < 0.05
    }

    /// The rate as bytes per second.
    pub(crate) fn bytes(self) -> Bytes {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        Bytes(self.0 as u64)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        if self.0 < 9.95 {
            return write!(f, "{:.1}", self.0);
        }
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        Count(self.0.round() as i64).fmt(f)
    }
}

/// Milliseconds since the epoch, shown in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    /// What somebody says; see [`said_time`].
    pub(crate) fn said(text: &str, now: Self) -> Option<Self> {
        said_time::moment(text, now.0).map(Self)
    }

    /// `08:26:00.125`.
    pub(crate) fn clock(self) -> String {
        let Civil { hour, minute, second, milli, .. } = Civil::of(self.0);
        format!("{hour:02}:{minute:02}:{second:02}.{milli:03}")
    }

    /// `2010-12-01 08:26`.
    pub(crate) fn clock_minutes(self) -> String {
        let clock = self.clock();
        format!("{} {}", self.date(), &clock[..5])
    }

    /// `2010-12-01`.
    pub(crate) fn date(self) -> String {
        let Civil { year, month, day, .. } = Civil::of(self.0);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// As a form's field for date and time takes it: `2026-12-01T08:26:00`.
    pub(crate) fn field(self) -> String {
        let clock = self.clock();
        format!("{}T{}", self.date(), &clock[..8])
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.date(), self.clock())
    }
}

/// A number of seconds, in one or two units: `3 min 20 s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Span(pub(crate) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, large, small) = match self.0 {
            s if s < 60 => return write!(f, "{s} s"),
            s if s < 3_600 => ((s / 60, s % 60), "min", "s"),
            s if s < 86_400 => ((s / 3_600, s % 3_600 / 60), "h", "min"),
            s => ((s / 86_400, s % 86_400 / 3_600), "d", "h"),
        };
        match value {
            (more, 0) => write!(f, "{more} {large}"),
            (more, rest) => write!(f, "{more} {large} {rest} {small}"),
        }
    }
}

/// How long ago the oldest record was written that a group has not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Behind {
    pub(crate) seconds: u64,
    /// It was written before the history begins.
    pub(crate) at_least: bool,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.at_least { "> " } else { "" };
        match self.seconds {
            s if s < 100 => write!(f, "{more}{s} s"),
            s => write!(f, "{more}{} min", s / 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (shown, wanted) in [
            (Count(0).to_string(), "0"),
            (Count(999).to_string(), "999"),
            (Count(1000).to_string(), "1,000"),
            (Count(-1_234_567).to_string(), "-1,234,567"),
            (Bytes(999).to_string(), "999 B"),
            (Bytes(1_000).to_string(), "1.0 kB"),
            (Bytes(99_900).to_string(), "99.9 kB"),
            (Bytes(123_456).to_string(), "123 kB"),
            (Bytes(999_600).to_string(), "1.0 MB"),
            (Bytes(u64::MAX).to_string(), "18447 PB"),
            (Rate(0.04).to_string(), "0"),
            (Rate(0.4).to_string(), "0.4"),
            (Rate(12.4).to_string(), "12"),
            (Rate(123_456.7).to_string(), "123,457"),
            (Behind { seconds: 7, at_least: false }.to_string(), "7 s"),
            (Behind { seconds: 125, at_least: true }.to_string(), "> 2 min"),
        ] {
            assert_eq!(shown, wanted);
        }
    }

    #[test]
    fn spans_have_one_or_two_units() {
        for (seconds, wanted) in [
            (0, "0 s"),
            (59, "59 s"),
            (200, "3 min 20 s"),
            (3_600, "1 h"),
            (7_260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(Span(seconds).to_string(), wanted);
        }
    }

    #[test]
    fn moments_are_shown_in_utc() {
        for (ms, wanted) in [
            (0, "1970-01-01 00:00:00.000"),
            (1_291_191_960_123, "2010-12-01 08:26:00.123"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (-1, "1969-12-31 23:59:59.999"),
        ] {
            assert_eq!(Moment(ms).to_string(), wanted);
        }
        assert_eq!(Moment(1_291_191_960_123).field(), "2010-12-01T08:26:00");
    }
}
