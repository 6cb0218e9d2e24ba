//! Which inputs a service has finished, as told by its own outputs and dead letters in the log.
//!
//! An input is finished by a handler when an output of it or its dead letter is in the log: what one input
//! brings is in one transaction. Remembered are 16 bytes per input, the most recent
//! [`PROCESSED_IDS_MAX`](crate::limits::PROCESSED_IDS_MAX); an older input that is delivered again is
//! handled again.

use std::collections::{HashSet, VecDeque};

use tidings_engine::Header;

use crate::id::digest;

/// Which output of how many: written beside the envelope.
const OUTPUT: &str = "tidings-output";
/// The handler that produced an output.
pub(crate) const HANDLER: &str = "tidings-handler";

/// One input of one handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Input(u128);

impl Input {
    pub(crate) fn of(input_id: &str, handler: &str) -> Self {
        Self(u128::from_be_bytes(digest(&[input_id, handler])))
    }
}

/// An output's number among the outputs of its input, as a header.
pub(crate) fn ordinal(number: u32, of: u32) -> Header {
    Header::text(OUTPUT, format!("{number}/{of}"))
}

/// The memory of finished inputs.
#[derive(Debug)]
pub(crate) struct Processed {
    inputs: HashSet<Input>,
    /// In the order of first sight; as long as `inputs`.
    order: VecDeque<Input>,
    most: usize,
}

impl Processed {
    pub(crate) fn new(most: usize) -> Self {
        Self { inputs: HashSet::new(), order: VecDeque::new(), most }
    }

    pub(crate) fn is_finished(&self, input: Input) -> bool {
        self.inputs.contains(&input)
    }

    /// The input needs nothing more.
    pub(crate) fn finish(&mut self, input: Input) {
        if !self.inputs.insert(input) {
            return;
        }
        self.order.push_back(input);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.inputs.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_finished_for_one_handler() {
        let mut processed = Processed::new(10);
        let a = Input::of("a", "h");
        assert!(!processed.is_finished(a));
        processed.finish(a);
        assert!(processed.is_finished(a));
        assert!(!processed.is_finished(Input::of("a", "other")));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut processed = Processed::new(3);
        let input = |n: u32| Input::of(&n.to_string(), "h");
        for n in 0..10 {
            processed.finish(input(n));
            processed.finish(input(n));
        }
        let known: Vec<u32> = (0..10).filter(|n| processed.is_finished(input(*n))).collect();
        assert_eq!(known, [7, 8, 9]);
        assert_eq!((processed.inputs.len(), processed.order.len()), (3, 3));
    }
}
