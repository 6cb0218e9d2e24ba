//! Times as people say them: in a console's fields, in URLs, and after `@` on the command line. In UTC unless they say otherwise.
//!
//! | said | is |
//! |---|---|
//! | `now` | |
//! | `-10m`, `-1h30m`, `2h ago` | so long before now, in `d`, `h`, `m`, `s` and `ms` |
//! | `2026-11-30` | the beginning of the day |
//! | `2026-11-30T08:15`, `2026-11-30 08:15:00.125`, `2026-11-30T08:15:00+01:00` | RFC 3339, of which seconds and the offset may be left out |
//! | `1796077800`, `1796077800000` | seconds (9 or 10 digits) or milliseconds (11 to 15) since 1970 |
//!
//! Now is an argument, so that the reading of a text is a function of values. A time before 1970 is negative here.

use crate::rfc3339;

/// What to suggest to whoever said something else.
pub const EXAMPLES: &str =
    "-10m, 2h ago, 2026-11-30, 2026-11-30T08:15 (in UTC), or milliseconds since 1970";

/// Milliseconds since 1970; none when it is no time.
///
/// ```
/// use tidings::said_time::moment;
///
/// let now_ms = 1_796_077_800_000;
/// assert_eq!(moment("-1h30m", now_ms), Some(now_ms - 5_400_000));
/// assert_eq!(moment("2026-11-30", now_ms), Some(1_795_996_800_000));
/// assert_eq!(moment("yesterday", now_ms), None);
/// ```
pub fn moment(said: &str, now_ms: i64) -> Option<i64> {
    let said = said.trim();
    let before_now = |span: &str| now_ms.checked_sub(duration_ms(span)?);
    if said == "now" {
        return Some(now_ms);
    }
    if let Some(span) = said.strip_prefix('-') {
        return before_now(span);
    }
    if let Some(span) = said.strip_suffix(" ago") {
        return before_now(span.trim_end());
    }
    if said.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = said.parse().ok()?;
        return match said.len() {
            9 | 10 => Some(number * 1_000),
            11..=15 => Some(number),
            _ => None,
        };
    }
    let written = rfc3339::written(said)?;
    Some(written.local_ms - written.offset_ms.unwrap_or(0))
}

/// `1h30m`, `90s`, `250ms`, `2d`: numbers with their units, in milliseconds; none when it is no such text, or too long for them.
pub fn duration_ms(said: &str) -> Option<i64> {
    let mut rest = said;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(unit_ms)?)?;
        rest = tail;
    }
    (!said.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_796_077_800_000;
    const HOUR: i64 = 3_600_000;

    #[test]
    fn moments_are_read_as_people_write_them() {
        for (said, wanted) in [
            ("now", Some(NOW)),
            ("-10m", Some(NOW - 600_000)),
            ("-1h30m", Some(NOW - HOUR * 3 / 2)),
            ("-7d", Some(NOW - 7 * 24 * HOUR)),
            ("-0s", Some(NOW)),
            ("2h ago", Some(NOW - 2 * HOUR)),
            ("1796077800000", Some(NOW)),
            ("1796077800", Some(NOW)),
            ("179607780", Some(179_607_780_000)),
            ("951782400001", Some(951_782_400_001)),
            ("2026-11-30", Some(1_795_996_800_000)),
            (" 2026-11-30T22:30 ", Some(NOW)),
            ("2026-11-30T22:30Z", Some(NOW)),
            ("2026-11-30 22:30:00", Some(NOW)),
            ("2026-11-30t22:30:00.5z", Some(NOW + 500)),
            ("2026-11-30T23:30:00+01:00", Some(NOW)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
        ] {
            assert_eq!(moment(said, NOW), wanted, "{said:?}");
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for said in [
            "",
            "-",
            "ago",
            " ago",
            "yesterday",
            "-1w",
            "-10",
            "+1h",
            "-m",
            "-99999999999999999d",
            "12345",
            "12345678",
            "1796077800000000",
            "2026-02-29",
            "2026-13-01",
            "2026-11-3",
            "2026-11-30T",
            "2026-11-30T08",
            "2026-11-30T24:00",
            "2026-11-30T08:15:61",
            "2026-11-30T08:15.5",
            "2026-11-30T08:15:00.ü",
            "2026-11-30T08:15:00+1",
            "ä026-11-30",
        ] {
            assert_eq!(moment(said, NOW), None, "{said:?}");
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
            assert_eq!(duration_ms(said), wanted, "{said:?}");
        }
    }
}
