//! What a service has done since it started.

use tokio::sync::watch;

use crate::Outage;

/// Counts since the start of this instance, which only grow; and what is put aside now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events handled for the first time, once per handler; whatever the end: effects or dead letter.
    pub processed: u64,
    /// Events passed over because this service has handled them before.
    pub duplicates: u64,
    /// Output events appended.
    pub emitted: u64,
    /// Events rejected by a handler.
    pub rejected: u64,
    /// Events that a handler wants nothing of because their key has no value ([`OrDrop`](crate::OrDrop)).
    pub dropped: u64,
    /// Attempts after the first, of failed events.
    pub retried: u64,
    /// Times that a handler reported an outage.
    pub outages: u64,
    /// Dead letters appended, for any reason.
    pub dead: u64,
    /// Panics of handlers.
    pub panics: u64,
    /// Times that the service lost its engine or its membership and joined again.
    pub rejoined: u64,
    /// Events that are put aside now: those that failed and wait for their next attempt or for a person, and
    /// those that follow them.
    pub parked: u64,
    /// Keys that wait for a person now.
    pub dead_keys: u64,
}

/// The loop's end of the figures: counts at once, shows after each append.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) now: Figures,
    shown: watch::Sender<Figures>,
    outage: watch::Sender<Option<Outage>>,
}

/// The other end.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) figures: watch::Receiver<Figures>,
    pub(crate) outage: watch::Receiver<Option<Outage>>,
}

impl Counts {
    pub(crate) fn new() -> (Self, Shown) {
        let (shown, figures) = watch::channel(Figures::default());
        let (told, outage) = watch::channel(None);
        (Self { now: Figures::default(), shown, outage: told }, Shown { figures, outage })
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

    pub(crate) fn show(&self) {
        self.shown.send_if_modified(|shown| {
            let changed = *shown != self.now;
            *shown = self.now;
            changed
        });
    }
}
