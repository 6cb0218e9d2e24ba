//! Waiting for a condition, never for a duration.

use std::thread;
use std::time::{Duration, Instant};

/// Time between two looks at a condition that cannot be awaited.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` finds something; `None` when the deadline passes first.
pub fn eventually<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if started.elapsed() >= deadline {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_what_was_found_or_at_the_deadline() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, Some(3));
        assert_eq!(eventually(Duration::ZERO, || None::<()>), None);
    }
}
