//! How far long work is, on standard error: a bar in a terminal; elsewhere a line now and then for who asks.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Work that is shorter shows nothing.
const SHOWN_AFTER: Duration = Duration::from_millis(500);
const SHOWN_EVERY: Duration = Duration::from_millis(100);
/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR_CHARS: usize = 30;
const CLEAR_LINE: &str = "\r\u{1b}[K";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Gone when the work is done.
    Bar,
    Lines,
    Nothing,
}

/// Of work of a known size; what is counted is up to the caller, bytes beside it are for the rate.
#[derive(Debug)]
pub struct Progress {
    done: u64,
    total: u64,
    bytes: u64,
    begun: Instant,
    next: Instant,
    how: Shown,
    shown: bool,
}

impl Progress {
    /// A bar, and nothing where there is no terminal.
    pub fn of(total: u64) -> Self {
        Self::begin(total, Shown::Nothing, SHOWN_AFTER)
    }

    /// A bar, and lines where there is no terminal.
    pub fn told(total: u64) -> Self {
        Self::begin(total, Shown::Lines, LINE_EVERY)
    }

    fn begin(total: u64, elsewhere: Shown, first: Duration) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let (how, first) = if terminal { (Shown::Bar, SHOWN_AFTER) } else { (elsewhere, first) };
        let begun = Instant::now();
        Self { done: 0, total, bytes: 0, begun, next: begun + first, how, shown: false }
    }

    /// So much more is done, of it so many bytes; `at` says where it is.
    pub fn add(&mut self, done: u64, bytes: u64, at: &str) {
        self.done += done;
        self.bytes += bytes;
        let now = Instant::now();
        if now < self.next || self.how == Shown::Nothing {
            return;
        }
        let pace = pace(self.done, self.total, self.bytes, now - self.begun);
        // A standard error that cannot be written to shows nothing.
        let _unseen = match self.how {
            Shown::Bar => {
                self.next = now + SHOWN_EVERY;
                self.shown = true;
                let bar = bar(self.done, self.total);
                write!(std::io::stderr(), "{CLEAR_LINE}{bar}  {pace}  {at}")
            }
            Shown::Lines | Shown::Nothing => {
                self.next = now + LINE_EVERY;
                let percent = share(self.done, self.total, 100);
                writeln!(std::io::stderr(), "{percent} %  {pace}  {at}")
            }
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _unseen = write!(std::io::stderr(), "{CLEAR_LINE}");
        }
    }
}

/// The part of `whole` that is done.
fn share(done: u64, total: u64, whole: u64) -> u64 {
    done.min(total).saturating_mul(whole).checked_div(total).unwrap_or(whole)
}

fn bar(done: u64, total: u64) -> String {
    let filled = usize::try_from(share(done, total, BAR_CHARS as u64)).unwrap_or(BAR_CHARS);
    let (full, empty) = ("█".repeat(filled), "░".repeat(BAR_CHARS - filled));
    format!("{full}{empty} {:>3} %", share(done, total, 100))
}

/// `12.3 MB/s, 4 min left`.
fn pace(done: u64, total: u64, bytes: u64, took: Duration) -> String {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let kilobytes = bytes / took_ms;
    let rate = format!("{}.{} MB/s", kilobytes / 1000, kilobytes % 1000 / 100);
    let Some(left_ms) = total.saturating_sub(done).saturating_mul(took_ms).checked_div(done) else {
        return rate;
    };
    let left = match left_ms / 1000 {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=7_199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    format!("{rate}, {left} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_never_overflows() {
        let empty = "░".repeat(30);
        let half = format!("{}{}", "█".repeat(15), "░".repeat(15));
        let full = "█".repeat(30);
        assert_eq!(bar(0, 200), format!("{empty}   0 %"));
        assert_eq!(bar(100, 200), format!("{half}  50 %"));
        for (done, total) in [(200, 200), (300, 200), (0, 0)] {
            assert_eq!(bar(done, total), format!("{full} 100 %"));
        }
    }

    #[test]
    fn the_pace_is_said_in_what_people_read() {
        let table = [
            (50, 100, 12_345_000, 1_000, "12.3 MB/s, 1 s left"),
            (1, 601, 0, 1_000, "0.0 MB/s, 10 min left"),
            (1, 10_801, 900_000, 1_000, "0.9 MB/s, 3 h left"),
            (0, 100, 0, 1_000, "0.0 MB/s"),
            (100, 100, 1_000, 0, "1.0 MB/s, 0 s left"),
        ];
        for (done, total, bytes, ms, expected) in table {
            assert_eq!(pace(done, total, bytes, Duration::from_millis(ms)), expected);
        }
    }
}
