//! Features: what of the protocol is switched on for the whole cluster (KIP-584, KIP-1022).
//!
//! Each feature has the levels that this broker supports and one that is finalized, which clients
//! may rely on. A cluster begins with the levels of the table; a change is a record of the catalog
//! that holds all that was ever said, and counts the epoch. Invariants: what is finalized is
//! supported; the epoch only grows; a change of several features is made whole or not at all.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::Reply;
use crate::broker::{Broker, Now, Ticket};
use crate::catalog::{CATALOG, CatalogRecord};
use crate::held::{Mark, Wait};

/// The consumer group protocol (KIP-848) from level 1 on.
pub const GROUP_VERSION: &str = "group.version";
/// Level 2: each transaction has its own producer epoch (KIP-890, part 2).
pub const TRANSACTION_VERSION: &str = "transaction.version";
const KRAFT_VERSION: &str = "kraft.version";
const METADATA_VERSION: &str = "metadata.version";

/// A feature as this broker knows it. One whose highest level is 0 is shown to nobody.
#[derive(Debug)]
struct Feature {
    name: &'static str,
    min: i16,
    max: i16,
    /// Where a cluster begins that was told nothing.
    initial: i16,
}

const fn feature(name: &'static str, min: i16, max: i16, initial: i16) -> Feature {
    Feature { name, min, max, initial }
}

/// By name. Whoever makes a level work raises `max` and `initial` here, and nowhere else.
const FEATURES: &[Feature] = &[
    feature(GROUP_VERSION, 0, 1, 1),
    // The metadata has one voter, which is this node.
    feature(KRAFT_VERSION, 1, 1, 1),
    // 29 is what Apache Kafka 4.2 calls its metadata; tools translate it into the release.
    feature(METADATA_VERSION, 29, 29, 29),
    feature(TRANSACTION_VERSION, 0, 2, 2),
];

fn find(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

/// What was finalized beyond the table: a fold of the catalog's records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finalized {
    /// Changes so far.
    epoch: i64,
    levels: BTreeMap<String, i16>,
}

impl Finalized {
    fn level(&self, feature: &Feature) -> i16 {
        let said = self.levels.get(feature.name).copied().unwrap_or(feature.initial);
        // Another release may have finalized what this one does not have.
        said.clamp(feature.min, feature.max)
    }

    pub(crate) fn apply(&mut self, epoch: i64, levels: BTreeMap<String, i16>) {
        debug_assert!(epoch > self.epoch, "each change counts");
        *self = Self { epoch, levels };
    }

    /// What a change of features writes; none where everything is at its level already.
    fn decide(
        &self,
        known: &[Feature],
        updates: &[FeatureUpdate],
    ) -> Result<Option<CatalogRecord>, FeaturesRefused> {
        let mut levels = self.levels.clone();
        let mut changed = false;
        for (index, update) in updates.iter().enumerate() {
            if updates.iter().take(index).any(|earlier| earlier.name == update.name) {
                let trouble = format!("{} is named more than once", update.name);
                return Err(FeaturesRefused::InvalidRequest(trouble));
            }
            let feature = update.check(self, known).map_err(FeaturesRefused::InvalidLevel)?;
            if update.level != self.level(feature) {
                levels.insert(update.name.clone(), update.level);
                changed = true;
            }
        }
        let record = CatalogRecord::FeaturesFinalized { epoch: self.epoch + 1, levels };
        Ok(changed.then_some(record))
    }
}

/// Asks for all features with their levels.
#[derive(Clone, Copy, Debug)]
pub struct DescribeFeatures;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Changes of what is finalized, so far.
    pub epoch: i64,
    pub features: Vec<FeatureLevels>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureLevels {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    /// 0: not switched on.
    pub finalized: i16,
}

/// Finalizes other levels.
#[derive(Clone, Debug)]
pub struct UpdateFeatures {
    pub updates: Vec<FeatureUpdate>,
    /// Check only; change nothing.
    pub validate_only: bool,
}

#[derive(Clone, Debug)]
pub struct FeatureUpdate {
    pub name: String,
    pub level: i16,
    pub direction: FeatureDirection,
}

/// Which way a client allows a feature to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureDirection {
    Up,
    /// Down, if nothing is lost by it.
    SafelyDown,
    /// Down, whatever is lost by it.
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FeaturesRefused {
    #[error("{0}")]
    InvalidLevel(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error("{0}")]
    Storage(String),
}

impl FeatureUpdate {
    fn check<'a>(
        &self,
        finalized: &Finalized,
        known: &'a [Feature],
    ) -> Result<&'a Feature, String> {
        let Self { name, level, direction } = self;
        let known = known.iter().find(|feature| feature.name == name && feature.max > 0);
        let Some(feature) = known else {
            return Err(format!("this broker has no feature {name}"));
        };
        let Feature { min, max, .. } = feature;
        if !(min..=max).contains(&level) {
            return Err(format!("level {level} of {name} is not between {min} and {max}"));
        }
        let present = finalized.level(feature);
        if *level < present && *direction == FeatureDirection::Up {
            return Err(format!(
                "{name} is at level {present}: {level} is lower, and only an upgrade is allowed"
            ));
        }
        if *level > present && *direction != FeatureDirection::Up {
            return Err(format!(
                "{name} is at level {present}: {level} is higher, and only a downgrade is allowed"
            ));
        }
        Ok(feature)
    }
}

impl Broker {
    /// The finalized level of [`TRANSACTION_VERSION`].
    pub fn transaction_version(&self) -> i16 {
        self.feature_level(TRANSACTION_VERSION)
    }

    /// The finalized level of [`GROUP_VERSION`].
    pub fn group_version(&self) -> i16 {
        self.feature_level(GROUP_VERSION)
    }

    fn feature_level(&self, name: &str) -> i16 {
        find(name).map_or(0, |feature| self.catalog.features.level(feature))
    }

    pub(crate) fn describe_features(&self) -> Features {
        let shown = FEATURES.iter().filter(|feature| feature.max > 0);
        let levels = shown.map(|feature| FeatureLevels {
            name: feature.name,
            min: feature.min,
            max: feature.max,
            finalized: self.catalog.features.level(feature),
        });
        Features { epoch: self.catalog.features.epoch, features: levels.collect() }
    }

    pub(crate) fn update_features(&mut self, now: Now, ticket: Ticket, request: &UpdateFeatures) {
        let outcome = self.finalize(now, request);
        let past = *outcome.as_ref().unwrap_or(&None);
        let wait = past.map(|past| Wait { log: CATALOG, mark: Mark::End, past, part: 0 });
        let reply = Reply::UpdateFeatures(outcome.map(|_| ()));
        self.answer(ticket, reply, wait.as_slice());
    }

    /// Changes what is finalized; returns how far the catalog must be durable for it, where anything
    /// was to be changed.
    fn finalize(
        &mut self,
        now: Now,
        request: &UpdateFeatures,
    ) -> Result<Option<i64>, FeaturesRefused> {
        let Some(record) = self.catalog.features.decide(FEATURES, &request.updates)? else {
            return Ok(None);
        };
        if request.validate_only {
            return Ok(None);
        }
        let past = self.append_catalog(now, &record).map_err(FeaturesRefused::Storage)?;
        self.catalog.apply(record);
        Ok(Some(past))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(name: &str, level: i16, direction: FeatureDirection) -> FeatureUpdate {
        FeatureUpdate { name: name.to_owned(), level, direction }
    }

    const KNOWN: &[Feature] =
        &[feature("hidden", 0, 0, 0), feature("one", 1, 1, 1), feature("three", 0, 3, 1)];

    fn finalized(epoch: i64, level: i16) -> Finalized {
        Finalized { epoch, levels: [("three".to_owned(), level)].into() }
    }

    fn written(epoch: i64, level: i16) -> Result<Option<CatalogRecord>, String> {
        let Finalized { epoch, levels } = finalized(epoch, level);
        Ok(Some(CatalogRecord::FeaturesFinalized { epoch, levels }))
    }

    #[test]
    fn a_level_moves_only_the_way_that_is_allowed() {
        use FeatureDirection::{Down, SafelyDown, Up};
        let lower = "three is at level 2: 1 is lower, and only an upgrade is allowed";
        let higher = "three is at level 2: 3 is higher, and only a downgrade is allowed";
        let beyond = "level 4 of three is not between 0 and 3";
        let refused = |why: &str| Err(why.to_owned());
        let cases = [
            (update("three", 3, Up), written(8, 3)),
            (update("three", 1, SafelyDown), written(8, 1)),
            (update("three", 0, Down), written(8, 0)),
            (update("three", 2, Up), Ok(None)),
            (update("three", 2, Down), Ok(None)),
            (update("one", 1, Up), Ok(None)),
            (update("three", 1, Up), refused(lower)),
            (update("three", 3, Down), refused(higher)),
            (update("three", 3, SafelyDown), refused(higher)),
            (update("three", 4, Up), refused(beyond)),
            (update("one", 0, Down), refused("level 0 of one is not between 1 and 1")),
            (update("three", -1, Down), refused("level -1 of three is not between 0 and 3")),
            (update("hidden", 0, Up), refused("this broker has no feature hidden")),
            (update("no.such", 1, Up), refused("this broker has no feature no.such")),
        ];
        for (update, expected) in cases {
            let shown = format!("{update:?}");
            let decided = finalized(7, 2).decide(KNOWN, &[update]);
            assert_eq!(decided.map_err(|refused| refused.to_string()), expected, "{shown}");
        }
    }

    #[test]
    fn several_features_change_together_or_not_at_all() {
        let three = update("three", 3, FeatureDirection::Up);
        let unknown = update("no.such", 1, FeatureDirection::Up);
        let refused = finalized(7, 2).decide(KNOWN, &[three.clone(), unknown]).unwrap_err();
        assert!(matches!(refused, FeaturesRefused::InvalidLevel(_)));
        let twice = finalized(7, 2).decide(KNOWN, &[three.clone(), three]).unwrap_err();
        assert_eq!(
            twice,
            FeaturesRefused::InvalidRequest("three is named more than once".to_owned())
        );
    }

    #[test]
    fn levels_are_those_of_the_table_until_others_are_finalized() {
        let three = &KNOWN[2];
        assert_eq!(Finalized::default().level(three), 1);
        // 9 and -1 are levels of another release.
        assert_eq!([0, 2, 9, -1].map(|level| finalized(1, level).level(three)), [0, 2, 3, 0]);
    }

    #[test]
    fn the_table_is_sorted_and_consistent() {
        assert!(FEATURES.is_sorted_by_key(|feature| feature.name));
        for feature in FEATURES {
            assert!((feature.min..=feature.max).contains(&feature.initial), "{}", feature.name);
        }
    }
}
