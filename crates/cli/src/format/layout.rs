//! Layouts of times: `strftime[%F %T]`, and Go's `go[2006-01-02 15:04:05]`. Always UTC.

use std::fmt::Write as _;

use tidings::rfc3339::Civil;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A layout, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Year,
    /// Two digits.
    ShortYear,
    Month,
    /// Without a leading zero.
    BareMonth,
    MonthName,
    ShortMonthName,
    Day,
    BareDay,
    /// A blank instead of a leading zero.
    BlankDay,
    YearDay,
    DayName,
    ShortDayName,
    Hour,
    /// From 1 to 12.
    HalfHour,
    BareHalfHour,
    Minute,
    BareMinute,
    Second,
    BareSecond,
    /// So many digits.
    Fraction(usize),
    /// AM or PM.
    Half,
    LowHalf,
    Seconds,
    Zone(&'static str),
}

/// Longer ones first where one begins with another.
const GO: &[(&str, Part)] = &[
    ("January", Part::MonthName),
    ("Jan", Part::ShortMonthName),
    ("Monday", Part::DayName),
    ("Mon", Part::ShortDayName),
    ("MST", Part::Zone("UTC")),
    ("2006", Part::Year),
    ("Z07:00", Part::Zone("Z")),
    ("Z0700", Part::Zone("Z")),
    ("-07:00", Part::Zone("+00:00")),
    ("-0700", Part::Zone("+0000")),
    (".000000000", Part::Fraction(9)),
    (".000000", Part::Fraction(6)),
    (".000", Part::Fraction(3)),
    ("002", Part::YearDay),
    ("01", Part::Month),
    ("02", Part::Day),
    ("03", Part::HalfHour),
    ("04", Part::Minute),
    ("05", Part::Second),
    ("06", Part::ShortYear),
    ("15", Part::Hour),
    ("_2", Part::BlankDay),
    ("PM", Part::Half),
    ("pm", Part::LowHalf),
    ("1", Part::BareMonth),
    ("2", Part::BareDay),
    ("3", Part::BareHalfHour),
    ("4", Part::BareMinute),
    ("5", Part::BareSecond),
];

impl Layout {
    /// Whatever is not a piece of Go's moment is text.
    pub(super) fn go(pattern: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = pattern;
        'rest: while let Some(first) = rest.chars().next() {
            for (piece, part) in GO {
                if let Some(tail) = rest.strip_prefix(piece) {
                    if let Part::Fraction(_) = part {
                        text(&mut parts, '.');
                    }
                    parts.push(part.clone());
                    rest = tail;
                    continue 'rest;
                }
            }
            text(&mut parts, first);
            rest = &rest[first.len_utf8()..];
        }
        Self(parts)
    }

    /// The error names the conversion that is not known.
    pub(super) fn strftime(pattern: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text(&mut parts, c);
                continue;
            }
            match chars.next() {
                Some('F') => parts.extend(Self::strftime("%Y-%m-%d")?.0),
                Some('T') => parts.extend(Self::strftime("%H:%M:%S")?.0),
                Some('R') => parts.extend(Self::strftime("%H:%M")?.0),
                Some('D') => parts.extend(Self::strftime("%m/%d/%y")?.0),
                Some('%') => text(&mut parts, '%'),
                Some('n') => text(&mut parts, '\n'),
                Some('t') => text(&mut parts, '\t'),
                Some(conversion) => {
                    let part = conversion_of(conversion);
                    parts.push(part.ok_or_else(|| format!("%{conversion} is no conversion"))?);
                }
                None => return Err("nothing follows the last %".to_owned()),
            }
        }
        Ok(Self(parts))
    }

    pub(super) fn write(&self, time_ms: i64, out: &mut Vec<u8>) {
        let civil = Civil::of(time_ms);
        let mut text = String::new();
        for part in &self.0 {
            part.write(&civil, time_ms, &mut text);
        }
        out.extend_from_slice(text.as_bytes());
    }
}

fn text(parts: &mut Vec<Part>, c: char) {
    match parts.last_mut() {
        Some(Part::Text(before)) => before.push(c),
        _ => parts.push(Part::Text(c.to_string())),
    }
}

fn conversion_of(letter: char) -> Option<Part> {
    Some(match letter {
        'Y' => Part::Year,
        'y' => Part::ShortYear,
        'm' => Part::Month,
        'B' => Part::MonthName,
        'b' | 'h' => Part::ShortMonthName,
        'd' => Part::Day,
        'e' => Part::BlankDay,
        'j' => Part::YearDay,
        'A' => Part::DayName,
        'a' => Part::ShortDayName,
        'H' => Part::Hour,
        'I' => Part::HalfHour,
        'M' => Part::Minute,
        'S' => Part::Second,
        'L' => Part::Fraction(3),
        'f' => Part::Fraction(6),
        'N' => Part::Fraction(9),
        'p' => Part::Half,
        's' => Part::Seconds,
        'z' => Part::Zone("+0000"),
        'Z' => Part::Zone("UTC"),
        _ => return None,
    })
}

impl Part {
    fn write(&self, civil: &Civil, time_ms: i64, out: &mut String) {
        let name = |names: &[&'static str], at: i64| {
            usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or("?")
        };
        let short = |name: &'static str| &name[..3];
        let half_hour = (civil.hour + 11) % 12 + 1;
        let half = if civil.hour < 12 { "AM" } else { "PM" };
        let written = match self {
            Self::Text(text) => write!(out, "{text}"),
            Self::Year => write!(out, "{:04}", civil.year),
            Self::ShortYear => write!(out, "{:02}", civil.year.rem_euclid(100)),
            Self::Month => write!(out, "{:02}", civil.month),
            Self::BareMonth => write!(out, "{}", civil.month),
            Self::MonthName => write!(out, "{}", name(&MONTHS, civil.month - 1)),
            Self::ShortMonthName => write!(out, "{}", short(name(&MONTHS, civil.month - 1))),
            Self::Day => write!(out, "{:02}", civil.day),
            Self::BareDay => write!(out, "{}", civil.day),
            Self::BlankDay => write!(out, "{:2}", civil.day),
            Self::YearDay => write!(out, "{:03}", civil.year_day),
            Self::DayName => write!(out, "{}", name(&DAYS, civil.weekday)),
            Self::ShortDayName => write!(out, "{}", short(name(&DAYS, civil.weekday))),
            Self::Hour => write!(out, "{:02}", civil.hour),
            Self::HalfHour => write!(out, "{half_hour:02}"),
            Self::BareHalfHour => write!(out, "{half_hour}"),
            Self::Minute => write!(out, "{:02}", civil.minute),
            Self::BareMinute => write!(out, "{}", civil.minute),
            Self::Second => write!(out, "{:02}", civil.second),
            Self::BareSecond => write!(out, "{}", civil.second),
            Self::Fraction(digits) => {
                write!(out, "{}", &format!("{:03}000000", civil.milli)[..*digits])
            }
            Self::Half => write!(out, "{half}"),
            Self::LowHalf => write!(out, "{}", half.to_lowercase()),
            Self::Seconds => write!(out, "{}", time_ms.div_euclid(1000)),
            Self::Zone(zone) => write!(out, "{zone}"),
        };
        written.expect("writing to a string");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-03T14:05:09.070Z, a Tuesday.
    const TIME: i64 = 1_793_714_709_070;

    fn written(layout: &Layout) -> String {
        let mut out = Vec::new();
        layout.write(TIME, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn gos_moment_is_a_layout() {
        for (pattern, wanted) in [
            ("2006-01-02T15:04:05Z07:00", "2026-11-03T14:05:09Z"),
            ("2006-01-02 15:04:05.000", "2026-11-03 14:05:09.070"),
            ("Mon Jan _2 15:04:05 MST 2006", "Tue Nov  3 14:05:09 UTC 2026"),
            ("Monday, 02-Jan-06 15:04:05 -0700", "Tuesday, 03-Nov-26 14:05:09 +0000"),
            ("3:04PM 1/2", "2:05PM 11/3"),
            ("", ""),
        ] {
            assert_eq!(written(&Layout::go(pattern)), wanted, "{pattern}");
        }
    }

    #[test]
    fn strftime_has_its_conversions() {
        for (pattern, wanted) in [
            ("%F %T", "2026-11-03 14:05:09"),
            ("%T.%L %z", "14:05:09.070 +0000"),
            ("%a %e %B, %I:%M %p", "Tue  3 November, 02:05 PM"),
            ("%j %y %s %% %f", "307 26 1793714709 % 070000"),
        ] {
            assert_eq!(written(&Layout::strftime(pattern).unwrap()), wanted, "{pattern}");
        }
        assert_eq!(Layout::strftime("%F %Q"), Err("%Q is no conversion".to_owned()));
        assert!(Layout::strftime("%").is_err());
    }
}
