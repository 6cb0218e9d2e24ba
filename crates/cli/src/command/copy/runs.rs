//! Which offsets of a step had a record, relative to the step's first offset.

use serde::{Deserialize, Serialize};

/// How many offsets are passed over, how many follow each other, and so on. Plain when there is nothing to
/// say: the first offset has a record, and no later one is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Runs(Vec<i64>);

impl Runs {
    pub(super) fn are_plain(&self) -> bool {
        self.0.is_empty()
    }

    fn pairs(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.chunks_exact(2).map(|pair| (pair[0], pair[1]))
    }

    /// How many of the step's records are before this offset, and whether it has one itself.
    pub(super) fn place(&self, offset: i64, records: i64) -> (i64, bool) {
        if self.are_plain() {
            return (offset.min(records), offset < records);
        }
        let (mut next, mut records) = (0, 0);
        for (passed, length) in self.pairs() {
            let first = next + passed;
            if offset < first {
                return (records, false);
            }
            if offset < first + length {
                return (records + offset - first, true);
            }
            next = first + length;
            records += length;
        }
        (records, false)
    }
}

impl FromIterator<i64> for Runs {
    /// Of offsets that grow, from 0 on.
    fn from_iter<T: IntoIterator<Item = i64>>(offsets: T) -> Self {
        let mut runs: Vec<i64> = Vec::new();
        let mut next = 0;
        for offset in offsets {
            match runs.last_mut() {
                Some(length) if offset == next => *length += 1,
                _ => runs.extend([offset - next, 1]),
            }
            next = offset + 1;
        }
        let plain = runs.len() == 2 && runs[0] == 0;
        Self(if plain { Vec::new() } else { runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_found_in_their_runs() {
        let check = |offsets: &[i64], noted: &[i64], places: &[(i64, (i64, bool))]| {
            let runs: Runs = offsets.iter().copied().collect();
            let count = i64::try_from(offsets.len()).unwrap();
            assert_eq!(runs.0, noted, "{offsets:?}");
            for (offset, place) in places {
                assert_eq!(runs.place(*offset, count), *place, "{offset} in {offsets:?}");
            }
            for (index, offset) in (0..).zip(offsets) {
                assert_eq!(runs.place(*offset, count), (index, true), "{offset} in {offsets:?}");
            }
        };
        check(&[], &[], &[(0, (0, false)), (5, (0, false))]);
        check(&[0, 1, 2], &[], &[(3, (3, false)), (9, (3, false))]);
        check(&[1, 2], &[1, 2], &[(0, (0, false)), (3, (2, false))]);
        check(&[0, 2, 3, 9], &[0, 1, 1, 2, 5, 1], &[(1, (1, false)), (4, (3, false))]);
        check(&[0, 2], &[0, 1, 1, 1], &[(5, (2, false))]);
    }
}
