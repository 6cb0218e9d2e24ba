//! The bytes of fetched batches that callers hold, over all answers.
//!
//! The last batch of an answer carries the count of the whole; it is given back when the caller has
//! let go of it, which for a connection is when the answer has been written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tidings_broker::Fetched;

#[derive(Clone, Debug)]
pub(crate) struct FetchedBytes {
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl FetchedBytes {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { held: Arc::default(), bytes_max }
    }

    /// What may still be held.
    pub(crate) fn left(&self) -> usize {
        self.bytes_max.saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// Counts an answer until its last batch is let go of.
    pub(crate) fn count(&self, fetched: &mut [Fetched]) {
        let batches = fetched.iter_mut().filter_map(|partition| partition.outcome.as_mut().ok());
        let batches = batches.flat_map(|data| &mut data.batches);
        let (mut bytes, mut last) = (0, None);
        for batch in batches {
            bytes += batch.len();
            last = Some(batch);
        }
        if let Some(last) = last {
            self.held.fetch_add(bytes, Ordering::Relaxed);
            let held = Arc::clone(&self.held);
            let counted = Counted { batch: std::mem::take(last), answer_bytes: bytes, held };
            *last = Bytes::from_owner(counted);
        }
    }
}

/// The last batch of an answer, and the bytes of all.
struct Counted {
    batch: Bytes,
    answer_bytes: usize,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.batch
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.fetch_sub(self.answer_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tidings_broker::{FetchRefused, FetchedData, TopicName};

    use super::*;

    fn partition(batches: &[&'static [u8]]) -> Fetched {
        let data = FetchedData {
            high_watermark: 0,
            last_stable_offset: 0,
            log_start_offset: 0,
            batches: batches.iter().map(|batch| Bytes::from_static(batch)).collect(),
            aborted: Vec::new(),
            diverging: None,
        };
        Fetched { topic: TopicName::Name("t".to_owned()), partition: 0, outcome: Ok(data) }
    }

    fn batches(fetched: Vec<Fetched>) -> Vec<Bytes> {
        let outcomes = fetched.into_iter().filter_map(|partition| partition.outcome.ok());
        outcomes.flat_map(|data| data.batches).collect()
    }

    #[test]
    fn an_answer_is_held_until_its_last_batch_goes() {
        let all = FetchedBytes::new(100);
        let refused = Fetched { outcome: Err(FetchRefused::UnknownPartition), ..partition(&[]) };
        let mut answer =
            vec![partition(&[b"abc", b"de"]), refused, partition(&[b"f"]), partition(&[])];
        all.count(&mut answer);
        assert_eq!(all.left(), 94);
        let mut held = batches(answer);
        assert_eq!(held, [&b"abc"[..], b"de", b"f"]);
        let last = held.pop();
        drop(held);
        assert_eq!(all.left(), 94);
        drop(last);
        assert_eq!(all.left(), 100);

        let mut nothing = vec![partition(&[])];
        all.count(&mut nothing);
        assert_eq!(all.left(), 100);
    }
}
