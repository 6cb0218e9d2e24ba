//! What is promised: read from `payment: success=99.9%, latency=99%<1s, freshness=off`.
//!
//! A service has what is said of it and, for the rest, what is said of all (`*`, or no name). What nobody says has a
//! default.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// The longest times that a latency can be held to: the bounds of the histogram that services keep, as Prometheus writes
/// them in its label `le`, in seconds.
pub const LATENCY_BOUNDS: [&str; 14] = [
    "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5", "5.0",
    "7.5", "10.0",
];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Success,
    Latency,
    Freshness,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Success, Self::Latency, Self::Freshness];

    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Latency => "latency",
            Self::Freshness => "freshness",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The part that shall be good, more than 0 and less than 1; of latency and freshness also how long something may
/// take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    pub part: f64,
    pub within: Duration,
}

impl Objective {
    /// The part that may be bad.
    pub fn budget(&self) -> f64 {
        1.0 - self.part
    }

    /// The label `le` of the bucket that has all that are in time, and its place among [`LATENCY_BOUNDS`].
    pub fn bound(&self) -> Option<(usize, &'static str)> {
        bound(self.within)
    }
}

fn bound(within: Duration) -> Option<(usize, &'static str)> {
    let is_it =
        |text: &str| text.parse().is_ok_and(|seconds| Duration::from_secs_f64(seconds) == within);
    LATENCY_BOUNDS.into_iter().enumerate().find(|(_, text)| is_it(text))
}

/// What was said of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Off,
    Is(Objective),
}

type Targets = BTreeMap<Kind, Said>;

/// What is promised of every service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objectives {
    of_all: Targets,
    of: BTreeMap<String, Targets>,
}

/// Why what was said is no objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl Objectives {
    /// Adds what is said of one service, or of all. What is said later goes before.
    pub fn say(&mut self, text: &str) -> Result<(), Malformed> {
        let (service, said) = match text.split_once(':') {
            Some((service, said)) => (service.trim(), said),
            None => ("*", text),
        };
        if service.is_empty() {
            return Err(Malformed(format!("{text:?} names no service before its colon")));
        }
        let targets = match service {
            "*" => &mut self.of_all,
            service => self.of.entry(service.to_owned()).or_default(),
        };
        for part in said.split(',') {
            let (kind, said) = parse(part.trim())?;
            targets.insert(kind, said);
        }
        Ok(())
    }

    /// What holds for a service; none when it is switched off.
    pub fn of(&self, service: &str, kind: Kind) -> Option<Objective> {
        let own = self.of.get(service).and_then(|targets| targets.get(&kind));
        match own.or_else(|| self.of_all.get(&kind)) {
            None => Some(default(kind)),
            Some(Said::Off) => None,
            Some(Said::Is(objective)) => Some(*objective),
        }
    }

    /// What holds for services of which nothing of their own is said.
    pub fn of_others(&self, kind: Kind) -> Option<Objective> {
        self.of("", kind)
    }

    /// The services of which something of their own is said.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.of.keys().map(String::as_str)
    }
}

/// What holds where nothing is said, as it would be said.
pub const DEFAULTS: &str = "success=99.9%, latency=99%<5s, freshness=99%<1m";

/// Of whom nobody said anything; [`DEFAULTS`] is the same.
fn default(kind: Kind) -> Objective {
    let (part, seconds) = match kind {
        Kind::Success => (0.999, 0),
        Kind::Latency => (0.99, 5),
        Kind::Freshness => (0.99, 60),
    };
    Objective { part, within: Duration::from_secs(seconds) }
}

/// One of `success=99.9%`, `latency=99%<1s`, `freshness=off`.
fn parse(text: &str) -> Result<(Kind, Said), Malformed> {
    let form = "success=99.9%, latency=99%<1s or freshness=99%<1m, or off instead of a number";
    let wrong = |why: String| Malformed(format!("{why}; {form}"));
    let unread = || wrong(format!("{text:?} is no objective"));
    let (name, said) = text.split_once('=').ok_or_else(unread)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name.trim());
    let kind =
        kind.ok_or_else(|| wrong(format!("{:?} is nothing that is measured", name.trim())))?;
    let said = said.trim();
    if said == "off" {
        return Ok((kind, Said::Off));
    }
    let (part, within) = match said.split_once('<') {
        Some((part, within)) => (part.trim(), Some(within.trim())),
        None => (said, None),
    };
    let number = part.strip_suffix('%').unwrap_or(part).trim().parse::<f64>().ok();
    let number = number.filter(|number| *number > 0.0 && *number < 100.0);
    let number = number.ok_or_else(|| {
        wrong(format!("{part:?} is no part of 100 %, more than 0 and less than 100"))
    })?;
    let within = match (kind, within) {
        (Kind::Success, None) => Duration::ZERO,
        (Kind::Success, Some(_)) => return Err(wrong("success has no time".to_owned())),
        (_, None) => return Err(wrong(format!("{kind} does not say within which time"))),
        (_, Some(within)) => duration(within)
            .ok_or_else(|| wrong(format!("{within:?} is no time such as 250ms, 5s, 1m")))?,
    };
    if kind == Kind::Latency && bound(within).is_none() {
        let bounds = LATENCY_BOUNDS.map(|bound| bound.trim_end_matches(".0")).join(", ");
        return Err(Malformed(format!(
            "latency is counted within {bounds} s, and not within {within:?}"
        )));
    }
    Ok((kind, Said::Is(Objective { part: number / 100.0, within })))
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    // Whole milliseconds, so that 0.075 s is 75 ms.
    let ms = (number.parse::<f64>().ok()? * seconds * 1000.0).round();
    let is_sound = (1.0..=7.0 * 24.0 * 3600.0 * 1000.0).contains(&ms);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    is_sound.then(|| Duration::from_millis(ms as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(texts: &[&str]) -> Result<Objectives, String> {
        let mut objectives = Objectives::default();
        for text in texts {
            objectives.say(text).map_err(|malformed| malformed.to_string())?;
        }
        Ok(objectives)
    }

    #[test]
    fn a_service_has_its_own_then_what_holds_for_all_then_the_default() {
        let objectives = said(&[
            "success=99%, freshness=off",
            "payment: latency=99.5% < 250ms, freshness=90%<2h",
            "mail:success=off",
        ])
        .unwrap();
        for (service, kind, expected) in [
            ("order", Kind::Success, Some((0.99, 0))),
            ("order", Kind::Latency, Some((0.99, 5_000))),
            ("order", Kind::Freshness, None),
            ("payment", Kind::Success, Some((0.99, 0))),
            ("payment", Kind::Latency, Some((0.995, 250))),
            ("payment", Kind::Freshness, Some((0.9, 7_200_000))),
            ("mail", Kind::Success, None),
        ] {
            let found = objectives.of(service, kind);
            let found = found.map(|of| (of.part, of.within.as_millis()));
            assert_eq!(found, expected, "{service} {kind}");
        }
        assert_eq!(objectives.services().collect::<Vec<_>>(), ["mail", "payment"]);
    }

    #[test]
    fn the_defaults_are_what_they_are_said_to_be() {
        let (said, unsaid) = (said(&[DEFAULTS]).unwrap(), Objectives::default());
        for kind in Kind::ALL {
            let of = |objectives: &Objectives| {
                let objective = objectives.of_others(kind).unwrap();
                (format!("{:.9}", objective.part), objective.within)
            };
            assert_eq!(of(&said), of(&unsaid), "{kind}");
        }
    }

    #[test]
    fn what_is_no_objective_is_refused_with_the_form() {
        for (text, why) in [
            ("", "is no objective"),
            ("speed=9%", "nothing that is measured"),
            ("success=100%", "less than 100"),
            ("success=0", "more than 0"),
            ("success=nan", "no part of 100 %"),
            ("success=99%<1s", "has no time"),
            ("latency=99%", "within which time"),
            ("latency=99%<1.2s", "0.005, 0.01"),
            ("freshness=99%<soon", "is no time"),
            (": success=99%", "names no service"),
        ] {
            let refused = said(&[text]).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn latencies_have_the_bounds_that_services_count_by() {
        let mut metrics = tidings::Metrics::default();
        metrics.handlers.push(tidings::HandlerMetrics::default());
        let text = tidings::exposition(&[("", &metrics)]);
        let buckets = text
            .lines()
            .filter(|line| line.starts_with("tidings_service_end_to_end_seconds_bucket"));
        let bounds = buckets.filter_map(|line| line.split("le=\"").nth(1)?.split('"').next());
        let bounds: Vec<&str> = bounds.filter(|bound| *bound != "+Inf").collect();
        assert_eq!(bounds, LATENCY_BOUNDS);
    }
}
