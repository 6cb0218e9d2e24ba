//! What a service has done since it started, as it is counted and as it is shown.
//!
//! Counting costs an event a few additions and three looks at the clock, of about 25 ns each, and no lock: the loop alone owns the
//! counts ([`Counts`]), plain numbers by handler and for the whole. It shows a copy of them ([`View`]) after each commit and
//! when an outage begins or ends, through a `watch` that readers look at when they like. The copy is 328 bytes for each
//! handler, into memory that is there already. How far behind the service is takes a look at every partition and every attempt, and is
//! looked at every [`limits::BEHIND_EVERY`](crate::limits::BEHIND_EVERY) at most.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    Outage,
    histogram::Histogram,
    outcome::{Stop, StopKind},
};

/// Counts since the start of this instance, which only grow; and what is put aside now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Events handled for the first time, once per handler; whatever the end: effects or dead letter.
    pub processed: u64,
    /// Events passed over because this service has handled them before.
    pub duplicates: u64,
    /// Output events appended.
    pub emitted: u64,
    /// Attempts that failed: `retry`, an error, a panic, a timeout.
    pub failed: u64,
    /// Events rejected by a handler.
    pub rejected: u64,
    /// Events that a handler wants nothing of because their key has no value ([`OrDrop`](crate::OrDrop)).
    pub dropped: u64,
    /// Attempts after the first, of failed events.
    pub retried: u64,
    /// Times that a handler reported an outage.
    pub outages: u64,
    /// Times that a handler had no turn at a [`Limited`](crate::Limited) dependency, and its event was put aside.
    pub turned_away: u64,
    /// Dead letters appended, for any reason.
    pub dead: u64,
    /// Panics of handlers.
    pub panics: u64,
    /// Times that the service lost its engine or its membership and joined again.
    pub rejoined: u64,
    /// Records of the topics of states by key that were read to take partitions over.
    pub restored: u64,
    /// Records of those topics that were read for copies of other instances' partitions (`Service::standby`).
    pub copied: u64,
    /// Offsets that such copies lacked when they were looked at last.
    pub copies_behind: u64,
    /// Events that are put aside now: those that failed and wait for their next attempt or for a person, and
    /// those that follow them.
    pub parked: u64,
    /// Keys that wait for a person now.
    pub dead_keys: u64,
}

/// What one handler has done since the start of this instance; [`Figures`] says what is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandlerFigures {
    /// See [`Figures::processed`].
    pub processed: u64,
    /// See [`Figures::duplicates`].
    pub duplicates: u64,
    /// See [`Figures::emitted`].
    pub emitted: u64,
    /// See [`Figures::failed`].
    pub failed: u64,
    /// See [`Figures::rejected`].
    pub rejected: u64,
    /// See [`Figures::dropped`].
    pub dropped: u64,
    /// See [`Figures::outages`].
    pub outages: u64,
    /// See [`Figures::turned_away`].
    pub turned_away: u64,
    /// See [`Figures::panics`].
    pub panics: u64,
    /// Time from the begin of each attempt to its decision.
    pub processing: Histogram,
    /// Time from when each event happened (`ce_time`, or the record's timestamp) to the commit of its effects.
    pub end_to_end: Histogram,
}

/// What has been delivered, or is known to be there, and is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Without those that are put aside.
    pub(crate) records: u64,
    /// The timestamp of the oldest that was delivered and waits for no person, in milliseconds since the epoch.
    pub(crate) oldest_ms: Option<i64>,
}

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) figures: Figures,
    /// In the order in which the service has them.
    pub(crate) handlers: Vec<HandlerFigures>,
    pub(crate) behind: Behind,
}

/// The loop's end of the figures: counts at once, shows after each append.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) now: Figures,
    pub(crate) handlers: Vec<HandlerFigures>,
    pub(crate) behind: Behind,
    shown: watch::Sender<View>,
    outage: watch::Sender<Option<Outage>>,
}

/// The other end.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) view: watch::Receiver<View>,
    pub(crate) outage: watch::Receiver<Option<Outage>>,
}

/// The number in this file's head.
const _: () = assert!(size_of::<HandlerFigures>() == 328);

impl Counts {
    pub(crate) fn of(handlers: usize) -> (Self, Shown) {
        let (now, behind) = (Figures::default(), Behind::default());
        let handlers = vec![HandlerFigures::default(); handlers];
        let first = View { figures: now, handlers: handlers.clone(), behind };
        let (shown, view) = watch::channel(first);
        let (told, outage) = watch::channel(None);
        (Self { now, handlers, behind, shown, outage: told }, Shown { view, outage })
    }

    pub(crate) fn set_outage(&self, outage: Option<&Outage>) {
        self.outage.send_if_modified(|told| {
            let changed = told.as_ref() != outage;
            if changed {
                *told = outage.cloned();
            }
            changed
        });
    }

    /// An attempt of a handler ended without effects.
    pub(crate) fn stopped(&mut self, handler: usize, stop: &Stop) {
        let (all, its) = (&mut self.now, &mut self.handlers[handler]);
        let (one, other) = match stop.kind {
            StopKind::Failed => (&mut all.failed, &mut its.failed),
            StopKind::Rejected => (&mut all.rejected, &mut its.rejected),
            StopKind::Outage => (&mut all.outages, &mut its.outages),
            StopKind::TurnedAway { .. } => (&mut all.turned_away, &mut its.turned_away),
            StopKind::Dropped => (&mut all.dropped, &mut its.dropped),
            // It is a dead letter, and no failure.
            StopKind::Absent => return,
        };
        (*one, *other) = (*one + 1, *other + 1);
        all.panics += u64::from(stop.panicked);
        its.panics += u64::from(stop.panicked);
    }

    /// What a handler has done is never news without one of the figures.
    pub(crate) fn show(&self) {
        self.shown.send_if_modified(|shown| {
            let changed = shown.figures != self.now || shown.behind != self.behind;
            if changed {
                (shown.figures, shown.behind) = (self.now, self.behind);
                shown.handlers.clone_from(&self.handlers);
            }
            changed
        });
    }
}
