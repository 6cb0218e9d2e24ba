//! What a service's instance says about itself, as a value: [`Metrics`].

use serde::{Deserialize, Serialize};

use crate::{Figures, HandlerFigures};

/// How an instance of a service does: what it has done since it started, how long that took, how far behind it is.
///
/// [`Display`](std::fmt::Display) is Prometheus' text format; several services of one process go into one text with
/// [`exposition`](crate::exposition()). The names, each with its meaning, are in `docs/operations.md`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Metrics {
    /// The service's name.
    pub service: String,
    /// Of all handlers together.
    pub figures: Figures,
    /// Records that are there and not done, in the partitions that this instance has: those it has not read as of its last
    /// fetch, markers of transactions among them, and those it has. What is put aside is [`Figures::parked`].
    pub lag_records: u64,
    /// The age of the oldest record that it has read and not done, by its timestamp; 0 when there is none. One that is put aside and comes
    /// again counts, one that waits for a person does not.
    pub lag_seconds: f64,
    /// It takes its failures for those of a dependency, and handles nothing.
    pub breaker_open: bool,
    /// In the order in which the service has them.
    pub handlers: Vec<HandlerMetrics>,
    /// Those with limits, in the order in which the service was given them.
    pub dependencies: Vec<DependencyMetrics>,
}

/// How an instance uses a dependency with limits ([`Limited`](crate::Limited)): what is so now, and counts since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DependencyMetrics {
    /// The name of its type; with its path where another one has the same.
    pub name: String,
    /// Turns that are taken, also those that wait for the rate.
    pub in_use: u64,
    /// Turns that there are ([`Limits::at_once`](crate::Limits::at_once)).
    pub at_once: u64,
    /// Attempts that wait for a turn.
    pub waiting: u64,
    /// Attempts that may wait ([`Limits::waiting`](crate::Limits::waiting)).
    pub waiting_at_most: u64,
    /// Turns that may begin in a second; none where there is no rate.
    pub per_second: Option<u32>,
    /// Turns that have begun.
    pub turns: u64,
    /// Those of them, or of attempts that have ended meanwhile, that had to wait for the rate.
    pub held_back: u64,
    /// Times that there was no turn: no place to wait, or waited for too long.
    pub turned_away: u64,
}

impl DependencyMetrics {
    /// Adds those of another instance: each has limits of its own. A rate is one of both only.
    pub fn add(&mut self, other: &Self) {
        let rates = self.per_second.zip(other.per_second);
        self.per_second = rates.map(|(one, other)| one.saturating_add(other));
        for (sum, more) in [
            (&mut self.in_use, other.in_use),
            (&mut self.at_once, other.at_once),
            (&mut self.waiting, other.waiting),
            (&mut self.waiting_at_most, other.waiting_at_most),
            (&mut self.turns, other.turns),
            (&mut self.held_back, other.held_back),
            (&mut self.turned_away, other.turned_away),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// How one handler does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HandlerMetrics {
    /// Its name.
    pub name: String,
    /// What it has done.
    #[serde(flatten)]
    pub figures: HandlerFigures,
}
