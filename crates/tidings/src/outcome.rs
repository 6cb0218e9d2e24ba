//! What a handler decides: effects, or one of three ways not to have any.

use std::{error::Error as StdError, time::Duration};

/// What a handler returns: its effects, or why there are none.
pub type Outcome<T> = Result<T, Stop>;

/// Why a handler has no effects. Made by [`reject`], [`retry`], [`outage`], or by `?` on any error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub(crate) kind: StopKind,
    pub(crate) cause: String,
    /// The error's type and the chain of its sources, when there was an error.
    pub(crate) error: Option<(String, String)>,
    pub(crate) panicked: bool,
    /// The state of which the key has no value, where that is the cause.
    pub(crate) awaits: Option<String>,
    /// It lies in the event or in the code: it says nothing of the outside.
    pub(crate) is_own: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopKind {
    Rejected,
    Failed,
    Outage,
    /// Its key has no value, and the handler waits for one.
    Absent,
    /// Its key has no value, and the handler wants none of it.
    Dropped,
    /// It had no turn at a limited dependency, and is to come again after so long.
    TurnedAway {
        after: Duration,
    },
}

impl Stop {
    /// A failed attempt of which no dependency is the cause.
    pub(crate) fn own(cause: impl Into<String>) -> Self {
        Self { is_own: true, ..Self::failed(cause) }
    }

    fn new(kind: StopKind, cause: impl Into<String>) -> Self {
        let (cause, error, awaits) = (cause.into(), None, None);
        Self { kind, cause, error, panicked: false, awaits, is_own: false }
    }

    pub(crate) fn rejected(cause: impl Into<String>) -> Self {
        Self::new(StopKind::Rejected, cause)
    }

    pub(crate) fn failed(cause: impl Into<String>) -> Self {
        Self::new(StopKind::Failed, cause)
    }

    /// Something that it stands on is down.
    pub(crate) fn outage(cause: impl Into<String>) -> Self {
        Self::new(StopKind::Outage, cause)
    }

    pub(crate) fn absent(state: impl Into<String>, cause: impl Into<String>) -> Self {
        let awaits = Some(state.into());
        Self { awaits, is_own: true, ..Self::new(StopKind::Absent, cause) }
    }

    pub(crate) fn dropped() -> Self {
        Self { is_own: true, ..Self::new(StopKind::Dropped, "its key has no value") }
    }

    pub(crate) fn of_panic(cause: String) -> Self {
        Self { panicked: true, ..Self::failed(cause) }
    }

    fn of_error<E: StdError>(kind: StopKind, error: &E) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push_str("\ncaused by: ");
            chain.push_str(&cause.to_string());
            source = cause.source();
        }
        let name = std::any::type_name::<E>().to_owned();
        Self { kind, cause: error.to_string(), error: Some((name, chain)), ..Self::new(kind, "") }
    }

    pub(crate) fn is_turned_away(&self) -> bool {
        matches!(self.kind, StopKind::TurnedAway { .. })
    }

    /// The cause in words.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

/// A failed attempt: tried again after a backoff, a dead letter after the last attempt.
impl<E: StdError> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::of_error(StopKind::Failed, &error)
    }
}

/// The event is handled; these are its effects.
pub fn done<T>(effects: T) -> Outcome<T> {
    Ok(effects)
}

/// A business no: never tried again, a dead letter with this cause.
///
/// Where others have to know of the refusal, return an event that says so instead.
pub fn reject<T>(cause: impl Into<String>) -> Outcome<T> {
    Err(Stop::rejected(cause))
}

/// Not this time: tried again after a backoff, a dead letter after the last attempt.
pub fn retry<T>(cause: impl Into<String>) -> Outcome<T> {
    Err(Stop::failed(cause))
}

/// A dependency is down: nothing is committed or dead-lettered, the event waits until it works.
pub fn outage<T>(cause: impl Into<String>) -> Outcome<T> {
    Err(Stop::outage(cause))
}

/// There is no turn at a dependency: it is no attempt, and comes again.
pub(crate) fn turned_away(cause: String, after: Duration) -> Stop {
    Stop::new(StopKind::TurnedAway { after }, cause)
}

/// Tells an outage from a failure of this event.
pub trait OutageOn<T, E> {
    /// An error of which `is_outage` holds becomes an outage; any other a failed attempt.
    fn outage_on(self, is_outage: impl FnOnce(&E) -> bool) -> Outcome<T>;
}

impl<T, E: StdError> OutageOn<T, E> for Result<T, E> {
    fn outage_on(self, is_outage: impl FnOnce(&E) -> bool) -> Outcome<T> {
        self.map_err(|error| {
            let down = is_outage(&error);
            Stop::of_error(if down { StopKind::Outage } else { StopKind::Failed }, &error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the ledger is closed")]
    struct Closed(#[source] std::num::ParseIntError);

    fn closed() -> Result<(), Closed> {
        Err(Closed("x".parse::<u8>().expect_err("no number")))
    }

    #[test]
    fn a_question_mark_is_a_failed_attempt_with_the_whole_chain() {
        fn handler() -> Outcome<()> {
            closed()?;
            done(())
        }
        let stop = handler().expect_err("closed");
        assert_eq!((stop.kind, stop.cause()), (StopKind::Failed, "the ledger is closed"));
        let (name, chain) = stop.error.expect("an error");
        assert!(name.ends_with("::Closed"), "{name}");
        assert_eq!(chain, "the ledger is closed\ncaused by: invalid digit found in string");
    }

    #[test]
    fn outage_on_asks_the_error() {
        for (down, kind) in [(true, StopKind::Outage), (false, StopKind::Failed)] {
            assert_eq!(closed().outage_on(|_| down).expect_err("closed").kind, kind);
        }
    }
}
