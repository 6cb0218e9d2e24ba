//! How often the log is told of what clients do wrong: whoever sends nonsense in a loop must not fill
//! the operator's disk.
//!
//! Invariant: at most [`LINES_PER_WINDOW_MAX`] lines per [`LINES_WINDOW`]; the first line afterwards
//! says how many were left out.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::limits::{LINES_PER_WINDOW_MAX, LINES_WINDOW};

/// Counts the lines about clients, over all connections.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    window: Mutex<Window>,
}

impl Lines {
    /// Whether one more line may be said; if so, how many were left out before it.
    pub(crate) fn may_say(&self) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.take(Instant::now())
    }
}

#[derive(Debug, Default)]
struct Window {
    begun: Option<Instant>,
    said: u32,
    left_out: u64,
}

impl Window {
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.begun.is_none_or(|begun| now.duration_since(begun) >= LINES_WINDOW) {
            self.begun = Some(now);
            self.said = 0;
        }
        if self.said >= LINES_PER_WINDOW_MAX {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut window = Window::default();
        let start = Instant::now();
        for _ in 0..LINES_PER_WINDOW_MAX {
            assert_eq!(window.take(start), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(window.take(start + LINES_WINDOW - Duration::from_nanos(1)), None);
        }
        assert_eq!(window.take(start + LINES_WINDOW), Some(1000));
        assert_eq!(window.take(start + LINES_WINDOW), Some(0));
    }
}
