//! How fast records are printed at most.

use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::RATE_MAX;

/// So long a record takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(Duration);

impl FromStr for Rate {
    type Err = String;

    fn from_str(said: &str) -> Result<Self, String> {
        let (number, unit) = said.split_once('/').unwrap_or((said, "s"));
        let of = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            _ => return Err("a number for each s, m or h is wanted, such as 10/s".to_owned()),
        };
        let number: u32 =
            number.parse().map_err(|_| "a number is wanted, such as 10/s".to_owned())?;
        match of.checked_div(number) {
            Some(each) if each >= Duration::from_secs(1) / RATE_MAX => Ok(Self(each)),
            Some(_) => Err(format!("at most {RATE_MAX}/s")),
            None => Err("at least one".to_owned()),
        }
    }
}

/// Keeps a rate; without one it never waits.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<Rate>,
    due: Instant,
}

impl Pace {
    pub(super) fn of(rate: Option<Rate>) -> Self {
        Self { rate, due: Instant::now() }
    }

    /// Whether records go out one by one.
    pub(super) fn is_kept(&self) -> bool {
        self.rate.is_some()
    }

    /// Waits until the next record may go. Time in which no record came is not made up for.
    pub(super) async fn wait(&mut self) {
        if let Some(Rate(each)) = self.rate {
            tokio::time::sleep_until(self.due).await;
            self.due = Instant::now().max(self.due) + each;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_for_a_unit_of_time() {
        let milliseconds = |said: &str| said.parse::<Rate>().map(|rate| rate.0.as_millis());
        for (said, wanted) in [("10/s", 100), ("10", 100), ("600/m", 100), ("3600/h", 1000)] {
            assert_eq!(milliseconds(said), Ok(wanted), "{said}");
        }
        for said in ["", "0", "0/s", "x/s", "10/d", "-1/s", "10001/s", "1/s/s"] {
            assert!(milliseconds(said).is_err(), "{said}");
        }
    }
}
