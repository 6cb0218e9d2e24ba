//! Which group must be looked at next. Derived from the groups, never persisted.

use std::collections::{BTreeMap, BTreeSet};

/// At most one moment per group: no later than the group's earliest deadline. A heartbeat only
/// moves a deadline back, so the moment may come early; looking at the group then sets the next.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(u64, String)>,
    by_group: BTreeMap<String, u64>,
}

impl Timers {
    pub(crate) fn set(&mut self, group: &str, at_ms: Option<u64>) {
        if self.by_group.get(group).copied() == at_ms {
            return;
        }
        if let Some((name, old)) = self.by_group.remove_entry(group) {
            self.by_time.remove(&(old, name));
        }
        if let Some(at_ms) = at_ms {
            self.by_group.insert(group.to_owned(), at_ms);
            self.by_time.insert((at_ms, group.to_owned()));
        }
    }

    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes the next group that is due.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<String> {
        if self.next_ms()? > now_ms {
            return None;
        }
        let (_, group) = self.by_time.pop_first()?;
        self.by_group.remove(&group);
        Some(group)
    }
}
