//! The map: who writes to which topic, who reads it, and how much, as it was seen.
//!
//! What is drawn comes from what is there: `ce_source` of events that the console has seen, services' reports of their inputs and outputs,
//! groups' positions and assignments. [`flow`] makes of it nodes and edges, [`layers`] gives them places, [`draw`] draws.

mod draw;
mod flow;
mod layers;
pub(super) mod pages;

use std::collections::BTreeMap;

use super::event::EventLine;
use super::observe::is_kept_by_a_service;
use crate::limits::MAP_SIGHTINGS_MAX;

/// Who was seen to write to which topic, and how often: `(topic, source)`.
#[derive(Debug, Default)]
pub(super) struct Sightings(BTreeMap<(String, String), u64>);

impl Sightings {
    pub(super) fn see(&mut self, event: &EventLine) {
        let Some(source) = &event.source else { return };
        // There the source is that of what is kept, not of who keeps it.
        if is_kept_by_a_service(&event.topic) {
            return;
        }
        let at = (event.topic.clone(), source.clone());
        if self.0.len() < MAP_SIGHTINGS_MAX || self.0.contains_key(&at) {
            *self.0.entry(at).or_default() += 1;
        }
    }

    /// Forgets topics that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|(topic, _), _| is_there(topic));
    }

    /// Each with its part of what was seen in its topic.
    pub(super) fn shares(&self) -> Vec<Sighting> {
        let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
        for ((topic, _), count) in &self.0 {
            *totals.entry(topic).or_default() += count;
        }
        let share = |((topic, source), count): (&(String, String), &u64)| Sighting {
            topic: topic.clone(),
            source: source.clone(),
            share: *count as f64 / totals[topic.as_str()].max(1) as f64,
        };
        self.0.iter().map(share).collect()
    }
}

/// A source that was seen to write to a topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sighting {
    pub(crate) topic: String,
    pub(crate) source: String,
    /// Of the events that were seen there.
    pub(crate) share: f64,
}
