//! Which inputs a service has finished, as told by its own outputs and dead letters in the log.
//!
//! An input is finished by a handler when every output of it (their number is in each output's
//! headers) or its dead letter is in the log. Remembered are 16 bytes per input, the most recent
//! [`PROCESSED_IDS_MAX`](crate::limits::PROCESSED_IDS_MAX); an older input that is delivered again is
//! handled again.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use tidings_engine::Header;

use crate::id::digest;

/// Which output of how many: written beside the envelope.
pub(crate) const OUTPUT: &str = "tidings-output";
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

/// An output's number among the outputs of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ordinal {
    pub(crate) number: u32,
    pub(crate) of: u32,
}

impl Ordinal {
    pub(crate) fn header(self) -> Header {
        Header::text(OUTPUT, format!("{}/{}", self.number, self.of))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, of) = text.split_once('/')?;
        let ordinal = Self { number: number.parse().ok()?, of: of.parse().ok()? };
        (ordinal.number < ordinal.of).then_some(ordinal)
    }
}

/// How far an input has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing of it is in the log.
    New,
    /// These outputs are in the log, others are not: the process ended between two partitions.
    Partly(Vec<u32>),
    /// All of it is in the log.
    Finished,
}

/// The memory of finished inputs.
#[derive(Debug)]
pub(crate) struct Processed {
    inputs: HashMap<Input, Progress>,
    /// In the order of first sight; as long as `inputs`.
    order: VecDeque<Input>,
    most: usize,
}

impl Processed {
    pub(crate) fn new(most: usize) -> Self {
        Self { inputs: HashMap::new(), order: VecDeque::new(), most }
    }

    pub(crate) fn progress(&self, input: Input) -> Progress {
        self.inputs.get(&input).cloned().unwrap_or(Progress::New)
    }

    /// The input needs nothing more.
    pub(crate) fn finish(&mut self, input: Input) {
        *self.entry(input) = Progress::Finished;
    }

    /// One output of the input is in the log.
    pub(crate) fn output(&mut self, input: Input, ordinal: Ordinal) {
        let progress = self.entry(input);
        let seen = match progress {
            Progress::Finished => return,
            Progress::New => Vec::new(),
            Progress::Partly(seen) => std::mem::take(seen),
        };
        let mut seen = seen;
        if !seen.contains(&ordinal.number) {
            seen.push(ordinal.number);
        }
        *progress = if seen.len() as u64 >= u64::from(ordinal.of) {
            Progress::Finished
        } else {
            Progress::Partly(seen)
        };
    }

    fn entry(&mut self, input: Input) -> &mut Progress {
        if !self.inputs.contains_key(&input) {
            if self.inputs.len() >= self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.inputs.remove(&oldest);
            }
            self.order.push_back(input);
        }
        match self.inputs.entry(input) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Progress::New),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordinal(number: u32, of: u32) -> Ordinal {
        Ordinal { number, of }
    }

    #[test]
    fn an_input_is_finished_by_all_outputs_or_a_dead_letter() {
        let mut processed = Processed::new(10);
        let (a, b) = (Input::of("a", "h"), Input::of("b", "h"));
        assert_eq!(processed.progress(a), Progress::New);
        processed.output(a, ordinal(2, 3));
        processed.output(a, ordinal(2, 3));
        assert_eq!(processed.progress(a), Progress::Partly(vec![2]));
        processed.output(a, ordinal(0, 3));
        processed.output(a, ordinal(1, 3));
        assert_eq!(processed.progress(a), Progress::Finished);
        processed.output(a, ordinal(0, 9));
        assert_eq!(processed.progress(a), Progress::Finished);
        processed.finish(b);
        assert_eq!(processed.progress(b), Progress::Finished);
        assert_eq!(processed.progress(Input::of("a", "other")), Progress::New);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut processed = Processed::new(3);
        let input = |n: u32| Input::of(&n.to_string(), "h");
        for n in 0..10 {
            processed.finish(input(n));
            processed.finish(input(n));
        }
        let known: Vec<u32> =
            (0..10).filter(|n| processed.progress(input(*n)) == Progress::Finished).collect();
        assert_eq!(known, [7, 8, 9]);
        assert_eq!((processed.inputs.len(), processed.order.len()), (3, 3));
    }

    #[test]
    fn ordinals_read_what_they_write() {
        for text in ["0/1", "41/42"] {
            let header = Ordinal::parse(text).expect("an ordinal").header();
            assert_eq!(header, Header::text(OUTPUT, text));
        }
        for text in ["", "1", "1/1", "-1/2", "a/b"] {
            assert_eq!(Ordinal::parse(text), None, "{text}");
        }
    }
}
