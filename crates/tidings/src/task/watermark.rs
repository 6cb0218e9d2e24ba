//! Which records of a partition are done: all before a position, and some after it.
//!
//! Handlers of different keys end in any order, and a group's position says only that everything before it
//! is done. What is done after it is written beside the position, in the commit's metadata, so it is part of
//! the same transaction and handed to whoever has the partition next.
//!
//! Limit: at most [`limits::OVERTAKEN_MAX`] records are overtaken by later ones, so that the text fits
//! into Kafka's `offset.metadata.max.bytes` of 4,096 whatever the offsets are.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::limits;

/// What a service writes beside a committed position begins with this; what follows counts in offsets of the
/// partition, and means nothing where offsets are others.
pub const POSITION_TEXT: &str = "done1;";
const FORMAT: &str = "done1";

/// How far a partition is done.
#[derive(Debug)]
pub(crate) struct Watermark {
    /// Delivered and not done.
    open: BTreeSet<i64>,
    /// One past the last offset that was delivered, or passed without a record.
    end: i64,
    /// One past the highest offset that is done.
    done: i64,
    /// The highest offset that was begun.
    begun: i64,
    /// Open records up to `begun`.
    overtaken: usize,
    /// What the last owner had left open below its `done`.
    inherited: Option<Inherited>,
}

/// Below `done` everything is done but these.
#[derive(Debug)]
struct Inherited {
    /// Without those that have been delivered again.
    open: BTreeSet<i64>,
    done: i64,
}

impl Watermark {
    /// As committed: the position, and the text beside it.
    pub(crate) fn at(position: i64, metadata: Option<&str>) -> Self {
        let inherited = metadata.and_then(|text| Inherited::read(position, text));
        let done = inherited.as_ref().map_or(position, |its| its.done);
        let overtaken = inherited.as_ref().map_or(0, |its| its.open.len());
        Self { open: BTreeSet::new(), end: position, done, begun: done - 1, overtaken, inherited }
    }

    /// A record was delivered: true when it is to be handled, false when it was done before.
    pub(crate) fn deliver(&mut self, offset: i64) -> bool {
        self.pass(offset);
        self.end = self.end.max(offset + 1);
        if let Some(its) = &mut self.inherited
            && !its.open.remove(&offset)
        {
            return false;
        }
        self.open.insert(offset)
    }

    /// Everything before that offset has been delivered or has no record: markers, compacted ones.
    pub(crate) fn pass(&mut self, end: i64) {
        self.end = self.end.max(end);
        let Some(its) = &mut self.inherited else { return };
        // What compaction has taken meanwhile will not come.
        while its.open.first().is_some_and(|first| *first < end) {
            its.open.pop_first();
            self.overtaken -= 1;
        }
        if end >= its.done {
            self.inherited = None;
        }
    }

    /// Whether the record may be begun now, however long those before it take. The first one always may.
    pub(crate) fn may_begin(&self, offset: i64) -> bool {
        let passed = || self.open.range(self.begun + 1..=offset).take(limits::OVERTAKEN_MAX + 1);
        let is_first = || self.open.first() == Some(&offset);
        offset <= self.begun
            || self.overtaken + passed().count() <= limits::OVERTAKEN_MAX
            || is_first()
    }

    pub(crate) fn begin(&mut self, offset: i64) {
        if offset > self.begun {
            self.overtaken += self.open.range(self.begun + 1..=offset).count();
            self.begun = offset;
        }
    }

    pub(crate) fn finish(&mut self, offset: i64) {
        if self.open.remove(&offset) && offset <= self.begun {
            self.overtaken -= 1;
        }
        self.done = self.done.max(offset + 1);
    }

    /// Whether the record comes before those that were delivered: the log is not what it was.
    pub(crate) fn is_behind(&self, offset: i64) -> bool {
        offset < self.end
    }

    /// Records that were delivered and are not done.
    pub(crate) fn unfinished(&self) -> usize {
        self.open.len()
    }

    /// The position to commit.
    pub(crate) fn position(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.end)
    }

    /// What to write beside it; none when nothing after it is done.
    pub(crate) fn metadata(&self) -> Option<String> {
        let position = self.position();
        if self.done <= position {
            return None;
        }
        // What was left open and has not been delivered again still is.
        let inherited = self.inherited.iter().flat_map(|its| &its.open);
        let mut open = self.open.range(..self.done).chain(inherited).copied();
        let told: Vec<i64> = open.by_ref().take(limits::OVERTAKEN_MAX).collect();
        // What is done behind so many was put aside when it came, and is found on the shelf when it comes again.
        let done = open.next().unwrap_or(self.done);
        let mut text = format!("{FORMAT};{:x};", done - position);
        let mut last = position;
        for (number, offset) in told.into_iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            let (Ok(()) | Err(_)) = write!(text, "{:x}", offset - last);
            last = offset;
        }
        Some(text)
    }
}

impl Inherited {
    /// None for texts of others: everything after the position is then to be handled.
    fn read(position: i64, text: &str) -> Option<Self> {
        let (done, open) = text.strip_prefix(FORMAT)?.strip_prefix(';')?.split_once(';')?;
        let done = position.checked_add(i64::from_str_radix(done, 16).ok()?)?;
        let mut last = position;
        let mut offsets = BTreeSet::new();
        for delta in open.split(',').filter(|delta| !delta.is_empty()) {
            last = last.checked_add(i64::from_str_radix(delta, 16).ok()?)?;
            offsets.insert(last);
        }
        Some(Self { open: offsets, done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_out_of_order_is_handed_on() {
        let mut mark = Watermark::at(100, None);
        for offset in [100, 101, 105, 110, 111] {
            assert!(mark.deliver(offset));
            mark.begin(offset);
        }
        assert_eq!((mark.position(), mark.metadata()), (100, None));
        mark.finish(110);
        mark.finish(101);
        assert_eq!((mark.position(), mark.metadata().as_deref()), (100, Some("done1;b;0,5")));

        let mut heir = Watermark::at(100, mark.metadata().as_deref());
        let again: Vec<i64> = [100, 101, 105, 110, 111, 112]
            .into_iter()
            .filter(|&offset| heir.deliver(offset))
            .collect();
        assert_eq!(again, [100, 105, 111, 112]);
        assert_eq!(heir.metadata(), mark.metadata(), "it is not forgotten before the rest is done");
        let mut early = Watermark::at(100, mark.metadata().as_deref());
        assert!(early.deliver(100) && !early.deliver(101));
        early.finish(100);
        assert_eq!((early.position(), early.metadata().as_deref()), (102, Some("done1;9;3")));
        for offset in again {
            heir.finish(offset);
        }
        assert_eq!((heir.position(), heir.metadata()), (113, None));
    }

    #[test]
    fn what_has_no_record_is_passed() {
        let mut mark = Watermark::at(0, None);
        mark.deliver(3);
        mark.pass(9);
        assert_eq!(mark.position(), 3);
        mark.finish(3);
        assert_eq!((mark.position(), mark.metadata()), (9, None));
    }

    #[test]
    fn the_text_fits_whatever_the_offsets_are() {
        let mut mark = Watermark::at(0, None);
        let far = i64::MAX / 2_000;
        let offsets: Vec<i64> = (0..1_000).map(|n| n * far).collect();
        for &offset in &offsets {
            mark.deliver(offset);
        }
        let mut begun = 0;
        for &offset in &offsets {
            if mark.may_begin(offset) {
                mark.begin(offset);
                begun += 1;
            }
        }
        assert_eq!(begun, limits::OVERTAKEN_MAX);
        mark.finish(offsets[begun - 1]);
        assert!(mark.may_begin(offsets[begun]));
        mark.begin(offsets[begun]);
        mark.finish(offsets[begun]);
        let text = mark.metadata().expect("something is done");
        assert!(text.len() <= 4_096, "{}", text.len());
        // A jump over all of them is as many at once.
        let mut jump = Watermark::at(0, None);
        offsets.iter().for_each(|&offset| _ = jump.deliver(offset));
        assert!(jump.may_begin(offsets[limits::OVERTAKEN_MAX - 1]));
        assert!(!jump.may_begin(offsets[limits::OVERTAKEN_MAX]));
        // Nor do lives add up.
        let mut heir = Watermark::at(0, Some(&text));
        offsets.iter().for_each(|&offset| _ = heir.deliver(offset));
        heir.begin(offsets[begun + 1]);
        assert!(!heir.may_begin(offsets[begun + 2]));
        heir.finish(offsets[0]);
        assert!(heir.may_begin(offsets[begun + 2]));
    }

    #[test]
    fn what_is_put_aside_far_ahead_does_not_make_the_text_long() {
        let mut mark = Watermark::at(0, None);
        (0..2_000).for_each(|offset| _ = mark.deliver(offset));
        mark.begin(7);
        mark.finish(7);
        mark.finish(1_999);
        let text = mark.metadata().expect("something is done");
        assert!(text.len() <= 4_096, "{}", text.len());
        let mut heir = Watermark::at(mark.position(), Some(&text));
        let again = (0..2_000).filter(|offset| heir.deliver(*offset)).collect::<Vec<_>>();
        assert_eq!((again.len(), again.contains(&7)), (1_999, false));
    }

    #[test]
    fn texts_of_others_mean_nothing() {
        for text in ["", "done1", "done1;x;0", "done1;5;y", "done1;7fffffffffffffff;0", "hello"] {
            let mut mark = Watermark::at(7, Some(text));
            assert!(mark.deliver(7) && mark.deliver(8), "{text}");
        }
    }
}
