//! How far long work is, on a terminal's standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Work that is shorter shows nothing.
const SHOWN_AFTER: Duration = Duration::from_millis(500);
const SHOWN_EVERY: Duration = Duration::from_millis(100);
const BAR_CHARS: usize = 30;
const CLEAR_LINE: &str = "\r\u{1b}[K";

/// A bar for so many bytes; it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    done: u64,
    total: u64,
    next: Instant,
    shows: bool,
    shown: bool,
}

impl Progress {
    pub(super) fn of(total: u64) -> Self {
        let shows = std::io::stderr().is_terminal();
        Self { done: 0, total, next: Instant::now() + SHOWN_AFTER, shows, shown: false }
    }

    pub(super) fn add(&mut self, bytes: u64, at: &str) {
        self.done += bytes;
        if self.shows && Instant::now() >= self.next {
            self.next = Instant::now() + SHOWN_EVERY;
            self.shown = true;
            // A terminal that cannot be written to shows no bar.
            let _unseen =
                write!(std::io::stderr(), "{CLEAR_LINE}{}", bar(self.done, self.total, at));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _unseen = write!(std::io::stderr(), "{CLEAR_LINE}");
        }
    }
}

fn bar(done: u64, total: u64, at: &str) -> String {
    let share =
        |whole: u64| done.min(total).saturating_mul(whole).checked_div(total).unwrap_or(whole);
    let filled = usize::try_from(share(BAR_CHARS as u64)).unwrap_or(BAR_CHARS);
    let (full, empty) = ("█".repeat(filled), "░".repeat(BAR_CHARS - filled));
    format!("{full}{empty} {:>3} %  {at}", share(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_never_overflows() {
        let empty = "░".repeat(30);
        let half = format!("{}{}", "█".repeat(15), "░".repeat(15));
        let full = "█".repeat(30);
        assert_eq!(bar(0, 200, "t-0"), format!("{empty}   0 %  t-0"));
        assert_eq!(bar(100, 200, "t-0"), format!("{half}  50 %  t-0"));
        for (done, total) in [(200, 200), (300, 200), (0, 0)] {
            assert_eq!(bar(done, total, "t-0"), format!("{full} 100 %  t-0"));
        }
    }
}
