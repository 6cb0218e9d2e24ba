//! A decision in the making: each record is tried on the group, so that what follows sees it, and all are
//! taken back in the end. They count when the log has them and they are applied.

use super::{ConsumerGroup, ConsumerRecord, Setting};

#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) group: &'a mut ConsumerGroup,
    pub(crate) set: &'a Setting<'a>,
    tried: Vec<ConsumerRecord>,
    /// What takes each back, in the same order.
    undo: Vec<ConsumerRecord>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(group: &'a mut ConsumerGroup, set: &'a Setting<'a>) -> Self {
        Self { group, set, tried: Vec::new(), undo: Vec::new() }
    }

    pub(crate) fn change(&mut self, record: ConsumerRecord) {
        self.undo.push(self.group.before(&record));
        self.group.apply(self.set.now, self.set.session_ms, record.clone());
        self.tried.push(record);
    }

    /// The records; the group is as before.
    pub(crate) fn finish(mut self) -> Vec<ConsumerRecord> {
        self.take_back();
        std::mem::take(&mut self.tried)
    }

    fn take_back(&mut self) {
        while let Some(record) = self.undo.pop() {
            self.group.apply(self.set.now, self.set.session_ms, record);
        }
    }
}

impl Drop for Draft<'_> {
    /// A decision that ends in a refusal leaves the group as before, too.
    fn drop(&mut self) {
        self.take_back();
    }
}
