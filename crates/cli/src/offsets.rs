//! Where in a topic to begin and to end, as it is said: rpk's offset syntax, with a list for partitions.
//!
//! ```text
//! start  end  47  +2  -3          a place: the second after the start, the third before the end
//! 10:20  :end  +5:                a range, without its end; what is left out is start or end
//! @-1h  @2026-11-30  @a:b         places in time; an end such as 1h is so long after the beginning
//! 0=5,1=@-1h                      for partitions; others are not read, or as the bare entry says
//! ```

use std::collections::BTreeMap;

use tidings::said_time::{duration_ms, moment};

use tidings_terminal::failure::{Exit, Failure};

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    Start,
    End,
    At(i64),
    /// This many offsets after the start.
    AfterStart(i64),
    /// This many offsets before the end.
    BeforeEnd(i64),
    /// The first record of this time or later, in milliseconds.
    Time(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Point,
    /// The first place that is not read any more.
    pub(crate) until: Option<Point>,
}

/// What is read of each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offsets(Vec<(Option<i32>, Range)>);

impl Offsets {
    pub(crate) fn parse(said: &str, now_ms: i64) -> Result<Self, Failure> {
        let mut ranges: Vec<(Option<i32>, Range)> = Vec::new();
        for entry in said.split(',') {
            let (partition, place) = match entry.split_once('=') {
                None => (None, entry),
                Some((partition, place)) => match partition.parse::<i32>() {
                    Ok(partition) if partition >= 0 => (Some(partition), place),
                    _ => return Err(refused(entry, "before = is the number of a partition")),
                },
            };
            if ranges.iter().any(|(other, _)| *other == partition) {
                return Err(refused(entry, "the same partition is named twice"));
            }
            let range = range(place, now_ms)
                .ok_or_else(|| refused(place, "that is neither a place nor a range"))?;
            ranges.push((partition, range));
        }
        Ok(Self(ranges))
    }

    /// None when the partition is not read.
    pub(crate) fn of(&self, partition: i32) -> Option<Range> {
        let entry = |wanted| self.0.iter().find(|(of, _)| *of == wanted).map(|(_, range)| *range);
        entry(Some(partition)).or_else(|| entry(None))
    }

    /// The places, for a command that takes no ranges, by those partitions that are meant.
    pub(crate) fn points(
        &self,
        partitions: impl Iterator<Item = i32>,
    ) -> Result<BTreeMap<i32, Point>, Failure> {
        let ranges = self.0.iter().map(|(_, range)| range);
        if ranges.into_iter().any(|range| range.until.is_some()) {
            return Err(Failure::new(Exit::Usage, "a range is no place")
                .hint("one place, such as 47, -3, end or @-1h"));
        }
        let all: BTreeMap<i32, Point> =
            partitions.filter_map(|id| Some((id, self.of(id)?.from))).collect();
        match self.named().find(|named| !all.contains_key(named)) {
            None => Ok(all),
            Some(named) => {
                Err(Failure::new(Exit::NotFound, format!("there is no partition {named}")))
            }
        }
    }

    /// The partitions that are named.
    pub(crate) fn named(&self) -> impl Iterator<Item = i32> {
        self.0.iter().filter_map(|(partition, _)| *partition)
    }
}

fn refused(said: &str, why: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{said:?} is no place in a topic")).why(why).hint(
        "start, end, 47, +2, -3, 10:20, :end, @-1h, @2026-11-30, @-2h:-1h, or 0=5,1=end for partitions",
    )
}

fn range(said: &str, now_ms: i64) -> Option<Range> {
    if let Some(times) = said.strip_prefix('@') {
        return times_range(times, now_ms);
    }
    let Some((from, until)) = said.split_once(':') else {
        return Some(Range { from: point(said)?, until: None });
    };
    let from = if from.is_empty() { Point::Start } else { point(from)? };
    let until = if until.is_empty() { Point::End } else { point(until)? };
    Some(Range { from, until: Some(until) })
}

fn point(said: &str) -> Option<Point> {
    let number = |digits: &str| {
        let sound = digits.bytes().all(|byte| byte.is_ascii_digit());
        if sound { digits.parse::<i64>().ok() } else { None }
    };
    match said {
        "start" | "beginning" | "earliest" => Some(Point::Start),
        "end" | "latest" => Some(Point::End),
        _ => match said.split_at_checked(1)? {
            ("+", digits) => number(digits).map(Point::AfterStart),
            ("-", digits) => number(digits).map(Point::BeforeEnd),
            _ => number(said).map(Point::At),
        },
    }
}

/// Times contain colons themselves, so every one of them may be the one between two.
fn times_range(said: &str, now_ms: i64) -> Option<Range> {
    if let Some(from) = time_point(said, now_ms) {
        return Some(Range { from, until: None });
    }
    said.match_indices(':').find_map(|(at, _)| {
        let (from, until) = (&said[..at], &said[at + 1..]);
        let from = if from.is_empty() { Point::Start } else { time_point(from, now_ms)? };
        let until = match (until, from) {
            ("", _) => Point::End,
            (_, Point::Time(from)) if duration_ms(until).is_some() => {
                Point::Time(from.saturating_add(duration_ms(until)?))
            }
            _ => time_point(until, now_ms)?,
        };
        Some(Range { from, until: Some(until) })
    })
}

fn time_point(said: &str, now_ms: i64) -> Option<Point> {
    match said {
        "start" => Some(Point::Start),
        "end" => Some(Point::End),
        // The brokers read a negative time as a place of its own: -1 is the end.
        _ => moment(said, now_ms).map(|time_ms| Point::Time(time_ms.max(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_796_077_800_000;
    const HOUR: i64 = 3_600_000;
    /// The beginning of 2026-11-30.
    const DAY: i64 = 1_795_996_800_000;

    #[test]
    fn places_and_ranges_are_read_as_rpk_reads_them() {
        use Point::{AfterStart, At, BeforeEnd, End, Start, Time};
        for (said, from, until) in [
            ("start", Start, None),
            ("latest", End, None),
            ("0", At(0), None),
            ("47", At(47), None),
            ("+2", AfterStart(2), None),
            ("-3", BeforeEnd(3), None),
            ("-0", BeforeEnd(0), None),
            (":end", Start, Some(End)),
            (":7", Start, Some(At(7))),
            ("7:", At(7), Some(End)),
            ("10:20", At(10), Some(At(20))),
            ("+1:-1", AfterStart(1), Some(BeforeEnd(1))),
            ("@1796077800000", Time(NOW), None),
            ("@-1h", Time(NOW - HOUR), None),
            ("@2026-11-30", Time(DAY), None),
            ("@2026-11-30:1h", Time(DAY), Some(Time(DAY + HOUR))),
            ("@-48h:-24h", Time(NOW - 48 * HOUR), Some(Time(NOW - 24 * HOUR))),
            ("@-1m:end", Time(NOW - 60_000), Some(End)),
            ("@2026-11-30T00:00:00Z:2026-11-30T01:00:00Z", Time(DAY), Some(Time(DAY + HOUR))),
            ("@:-1h", Start, Some(Time(NOW - HOUR))),
            ("@2026-11-30T00:00", Time(DAY), None),
            ("@2026-11-30T00:00:1h", Time(DAY), Some(Time(DAY + HOUR))),
            ("@1h ago", Time(NOW - HOUR), None),
        ] {
            let offsets = Offsets::parse(said, NOW).unwrap();
            assert_eq!(offsets.of(3), Some(Range { from, until }), "{said}");
        }
    }

    #[test]
    fn a_time_before_1970_is_the_first_that_a_record_may_have() {
        for said in ["@1969-12-31T23:59:59.999Z", "@-30000d", "@1960-01-01"] {
            let from = Offsets::parse(said, NOW).unwrap().of(0).unwrap().from;
            assert_eq!(from, Point::Time(0), "{said}");
        }
    }

    #[test]
    fn partitions_have_places_of_their_own() {
        let offsets = Offsets::parse("0=5,1=@-1h", NOW).unwrap();
        assert_eq!(offsets.of(0), Some(Range { from: Point::At(5), until: None }));
        assert_eq!(offsets.of(1).unwrap().from, Point::Time(NOW - HOUR));
        assert_eq!(offsets.of(2), None);
        assert_eq!(offsets.named().collect::<Vec<_>>(), [0, 1]);
        let offsets = Offsets::parse("start,1=5:9", NOW).unwrap();
        assert_eq!(offsets.of(0).unwrap().from, Point::Start);
        assert_eq!(offsets.of(1).unwrap().until, Some(Point::At(9)));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for said in [
            "",
            "middle",
            "--1",
            "+",
            "1.5",
            "@",
            "@never",
            "@-1h:never",
            "x=1",
            "-1=2",
            "0=1,0=2",
            "1,2",
            "9223372036854775808",
            "-9223372036854775808",
            "1:2:3",
        ] {
            assert_eq!(Offsets::parse(said, NOW).unwrap_err().exit, Exit::Usage, "{said}");
        }
    }
}
