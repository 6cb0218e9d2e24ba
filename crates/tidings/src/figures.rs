//! What a service has done since it started.

use tokio::sync::watch;

/// Counts since the start of this instance; all only grow.
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
}

/// The loop's end of the figures: counts at once, shows after each append.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) now: Figures,
    shown: watch::Sender<Figures>,
}

impl Counts {
    pub(crate) fn new() -> (Self, watch::Receiver<Figures>) {
        let (shown, seen) = watch::channel(Figures::default());
        (Self { now: Figures::default(), shown }, seen)
    }

    pub(crate) fn show(&self) {
        self.shown.send_if_modified(|shown| {
            let changed = *shown != self.now;
            *shown = self.now;
            changed
        });
    }
}
