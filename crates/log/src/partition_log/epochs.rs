//! Which leader epoch wrote which offsets: each epoch with the first offset it wrote.
//!
//! A batch's checksum does not cover its epoch; this table does. Invariants: epochs and offsets
//! both grow from entry to entry. Limits: the newest [`LEADER_EPOCHS_MAX`] epochs; of older ones it is
//! known only that they are older.

use crate::limits::LEADER_EPOCHS_MAX;

/// What batches carry that were written before their partition had an epoch.
const NO_EPOCH: i32 = -1;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    starts: Vec<(i32, i64)>,
    /// There is nothing to believe yet, so the batches' word is taken.
    learning: bool,
}

impl Epochs {
    /// Of a log whose table is lost: whatever its batches carry is allowed.
    pub(super) fn learning() -> Self {
        Self { starts: Vec::new(), learning: true }
    }

    /// The table that [`Self::starts`] gave; none when the invariants do not hold.
    pub(super) fn restore(starts: Vec<(i32, i64)>) -> Option<Self> {
        let grows = starts.is_sorted_by(|before, after| before.0 < after.0 && before.1 < after.1);
        let begins = starts.first().is_none_or(|&(epoch, offset)| epoch >= NO_EPOCH && offset >= 0);
        let fits = starts.len() <= LEADER_EPOCHS_MAX;
        (grows && begins && fits).then_some(Self { starts, learning: false })
    }

    /// Oldest first.
    pub(super) fn starts(&self) -> &[(i32, i64)] {
        &self.starts
    }

    /// Whether a batch at `offset` may carry `epoch`.
    pub(super) fn allow(&self, offset: i64, epoch: i32) -> bool {
        if self.learning {
            return true;
        }
        match self.starts.iter().rev().find(|&&(_, start)| start <= offset) {
            Some(&(expected, _)) => epoch == expected,
            // Older than what is remembered. Where nothing is remembered nothing was acknowledged:
            // what names a batch's epoch is durable before the batch's answer goes.
            None => self.starts.first().is_some_and(|&(first, _)| epoch < first),
        }
    }

    /// Whether appending at `offset` in `epoch` needs [`Self::begin`] first.
    pub(super) fn differs(&self, offset: i64, epoch: i32) -> bool {
        self.starts.is_empty() || !self.allow(offset, epoch)
    }

    /// From `offset` on, batches carry `epoch`; what contradicts that is forgotten.
    pub(super) fn begin(&mut self, offset: i64, epoch: i32) {
        self.starts.retain(|&(known, start)| known < epoch && start < offset);
        self.starts.push((epoch, offset));
        if self.starts.len() > LEADER_EPOCHS_MAX {
            self.starts.remove(0);
        }
    }

    /// The log ends at `end` now: forgets epochs that begin at or past it; tells whether there were
    /// any.
    pub(super) fn truncate(&mut self, end: i64) -> bool {
        let before = self.starts.len();
        self.starts.retain(|&(_, start)| start < end);
        self.starts.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(starts: &[(i32, i64)]) -> Epochs {
        Epochs::restore(starts.to_vec()).expect("epochs and offsets grow")
    }

    #[test]
    fn epochs_say_what_a_batch_may_carry() {
        let mut epochs = Epochs::default();
        assert!(!epochs.allow(0, 9) && epochs.differs(0, 9));
        epochs.begin(10, 3);
        epochs.begin(20, 5);
        let expected = [
            (10, 3, true),
            (19, 3, true),
            (19, 5, false),
            (20, 5, true),
            (20, 3, false),
            (9, 2, true),
            (9, 3, false),
        ];
        for (offset, epoch, allowed) in expected {
            assert_eq!(epochs.allow(offset, epoch), allowed, "epoch {epoch} at {offset}");
        }
        assert!(!epochs.truncate(21));
        assert!(epochs.truncate(20));
        assert!(epochs.allow(25, 3));
    }

    #[test]
    fn before_anything_is_known_every_epoch_is_allowed() {
        let epochs = Epochs::learning();
        assert!(epochs.allow(0, 2) && epochs.allow(5, 1));
    }

    #[test]
    fn a_new_epoch_forgets_what_contradicts_it() {
        let mut epochs = table(&[(1, 0), (3, 10), (5, 20)]);
        epochs.begin(20, 4);
        assert_eq!(epochs.starts(), [(1, 0), (3, 10), (4, 20)]);
        epochs.begin(30, 3);
        assert_eq!(epochs.starts(), [(1, 0), (3, 30)]);
    }

    #[test]
    fn only_the_newest_epochs_are_remembered() {
        let mut epochs = Epochs::default();
        for epoch in 0..=LEADER_EPOCHS_MAX as i32 {
            epochs.begin(i64::from(epoch) * 10, epoch);
        }
        assert_eq!((epochs.starts().len(), epochs.starts()[0]), (LEADER_EPOCHS_MAX, (1, 10)));
        assert!(epochs.allow(9, 0) && !epochs.allow(9, 1));
    }

    #[test]
    fn tables_that_do_not_grow_are_refused() {
        for starts in [
            vec![(3, 0), (3, 5)],
            vec![(3, 5), (4, 5)],
            vec![(4, 0), (3, 5)],
            vec![(-2, 0)],
            vec![(0, -1)],
            (0..=LEADER_EPOCHS_MAX as i32).map(|epoch| (epoch, i64::from(epoch))).collect(),
        ] {
            assert_eq!(Epochs::restore(starts.clone()), None, "{starts:?}");
        }
    }
}
