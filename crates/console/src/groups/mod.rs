//! Consumer groups: how far behind they are, what is odd about them, how that came to be, and setting their positions.
//!
//! What is sampled is in the [`Snapshot`](super::snapshot::Snapshot); a group's own page asks the engine for positions and
//! members. The lag of the last day is kept in a topic of the engine ([`kept`]), so that charts outlive the console.

mod chart;
pub(super) mod health;
pub(super) mod kept;
pub(super) mod pages;
mod reset;
pub(super) mod view;

use serde::{Deserialize, Serialize};

use crate::limits::{LAG_FINE_FOR, LAG_KEPT_FOR};

/// How much of the past a chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Range {
    /// What is kept point by point.
    #[default]
    #[serde(rename = "30m")]
    HalfHour,
    /// All that is kept.
    #[serde(rename = "24h")]
    Day,
}

impl Range {
    pub(crate) const ALL: [Self; 2] = [Self::HalfHour, Self::Day];

    fn ms(self) -> i64 {
        let kept = match self {
            Self::HalfHour => LAG_FINE_FOR,
            Self::Day => LAG_KEPT_FOR,
        };
        i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)
    }

    /// As the URL says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HalfHour => "30m",
            Self::Day => "24h",
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::HalfHour => "half an hour",
            Self::Day => "a day",
        }
    }
}
