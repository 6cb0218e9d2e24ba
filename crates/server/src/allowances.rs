//! What requests and answers may take of memory, over all connections.
//!
//! - [`RequestBytes`]: frames, from their first byte until their answer has been written.
//! - [`Elements`]: list elements of decoded requests: a small frame can be much memory once decoded,
//!   mapped, answered and encoded.
//! - [`Answers`]: encoded answers whose size the request does not tell, until they have been written,
//!   and answers that a slow reader leaves lying.
//!
//! Invariants: nobody waits for one of them while holding what another waiter needs; while
//! [`Answers`] are short, readers that do not take what they asked for lose their connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tidings_wire::{DecodeError, Problem, Request, RequestHeader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{
    ANSWERS_AT_LENGTH_MAX, ConnectionLimits, ELEMENTS_BEFORE_COUNTING, SHORT_ANSWER_BYTES_MAX,
    SHORT_ANSWERS_SHARE, SHORT_REQUEST_BYTES_MAX,
};

const NEVER_CLOSED: &str = "the semaphores are never closed";

/// All of them; clones share.
#[derive(Clone, Debug)]
pub(crate) struct Allowances {
    pub(crate) requests: RequestBytes,
    pub(crate) elements: Elements,
    pub(crate) answers: Answers,
}

impl Allowances {
    pub(crate) fn new(limits: &ConnectionLimits) -> Self {
        Self {
            requests: RequestBytes::new(limits.request_bytes_in_flight_max),
            elements: Elements {
                all: Arc::new(Semaphore::new(limits.elements_in_flight_max)),
                per_request_max: limits.elements_per_request_max.min(limits.elements_in_flight_max),
            },
            answers: Answers::new(limits.answer_bytes_held_max),
        }
    }
}

/// The bytes of requests that all connections may have in flight.
#[derive(Clone, Debug)]
pub(crate) struct RequestBytes {
    all: Arc<Semaphore>,
    /// One request may be read to its end beyond them.
    beyond: Arc<Semaphore>,
}

impl RequestBytes {
    fn new(bytes_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(bytes_max)), beyond: Arc::new(Semaphore::new(1)) }
    }
}

/// What a request holds of [`RequestBytes`] until it has been answered.
#[derive(Debug, Default)]
pub(crate) struct HeldBytes {
    bytes: Option<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
}

impl HeldBytes {
    /// Waits until so many more bytes fit, or until this is the request that may go beyond.
    pub(crate) async fn grow(&mut self, bytes: usize, all: &RequestBytes) {
        if self.beyond.is_some() {
            return;
        }
        let bytes = u32::try_from(bytes).expect("FRAME_BYTES_MAX fits");
        tokio::select! {
            biased;
            more = Arc::clone(&all.all).acquire_many_owned(bytes) => {
                let more = more.expect(NEVER_CLOSED);
                match &mut self.bytes {
                    Some(held) => held.merge(more),
                    held @ None => *held = Some(more),
                }
            }
            beyond = Arc::clone(&all.beyond).acquire_owned() => {
                self.beyond = Some(beyond.expect(NEVER_CLOSED));
            }
        }
    }
}

/// The list elements of requests that are being answered.
#[derive(Clone, Debug)]
pub(crate) struct Elements {
    all: Arc<Semaphore>,
    per_request_max: usize,
}

/// A decoded request and its share of [`Elements`].
pub(crate) struct Counted<R> {
    pub(crate) header: RequestHeader,
    pub(crate) request: R,
    pub(crate) held: OwnedSemaphorePermit,
}

impl Elements {
    /// Decodes a frame once its elements fit. Nothing decoded is held while it waits: a request with
    /// few elements is decoded to count them and again when its turn comes, one with many when the
    /// most it can have is free.
    pub(crate) async fn decode<R: Request>(&self, frame: Bytes) -> Result<Counted<R>, DecodeError> {
        let few = ELEMENTS_BEFORE_COUNTING.min(self.per_request_max);
        let wanted = match tidings_wire::decode_request_within::<R>(frame.clone(), few) {
            Ok((header, request, elements)) => {
                let all = Arc::clone(&self.all);
                if let Ok(held) = all.try_acquire_many_owned(permits(elements)) {
                    return Ok(Counted { header, request, held });
                }
                elements
            }
            Err(error) if error.problem == Problem::TooMany && few < self.per_request_max => {
                // Every element is at least a byte.
                frame.len().min(self.per_request_max)
            }
            Err(error) => return Err(error),
        };
        let held = Arc::clone(&self.all).acquire_many_owned(permits(wanted)).await;
        let mut held = held.expect(NEVER_CLOSED);
        let (header, request, elements) = tidings_wire::decode_request_within::<R>(frame, wanted)?;
        drop(held.split(held.num_permits().saturating_sub(elements)));
        Ok(Counted { header, request, held })
    }
}

fn permits(count: usize) -> u32 {
    u32::try_from(count).expect("limits.rs proves that the allowances fit")
}

/// Answers whose size the request does not tell: few are worked out at once, and what they hold is
/// counted until their readers have taken them. Short requests and short answers have a part of their
/// own, so that they do not queue up behind long ones.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    short: Class,
    long: Class,
    /// Answers that wait for a place or for memory.
    waiting: Arc<AtomicUsize>,
}

#[derive(Clone, Debug)]
struct Class {
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
}

impl Class {
    fn new(bytes_max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(ANSWERS_AT_LENGTH_MAX)),
            bytes: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
        }
    }
}

impl Answers {
    fn new(bytes_max: usize) -> Self {
        let short = bytes_max / SHORT_ANSWERS_SHARE;
        Self {
            short: Class::new(short),
            long: Class::new(bytes_max - short),
            waiting: Arc::default(),
        }
    }

    /// Waits for a place among those that are being worked out.
    pub(crate) async fn begin(&self, request_bytes: usize) -> OwnedSemaphorePermit {
        let is_short = request_bytes <= SHORT_REQUEST_BYTES_MAX;
        let class = if is_short { &self.short } else { &self.long };
        let _wanting = self.want();
        Arc::clone(&class.places).acquire_owned().await.expect(NEVER_CLOSED)
    }

    /// Waits until an answer of so many bytes fits; one that is larger than all waits for all.
    pub(crate) async fn hold(&self, bytes: usize) -> OwnedSemaphorePermit {
        let is_short = bytes <= SHORT_ANSWER_BYTES_MAX;
        let class = if is_short { &self.short } else { &self.long };
        let _wanting = self.want();
        let bytes = permits(bytes.min(class.bytes_max));
        Arc::clone(&class.bytes).acquire_many_owned(bytes).await.expect(NEVER_CLOSED)
    }

    /// The same without waiting, for what is left of an answer.
    pub(crate) fn try_hold(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.long.bytes).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }

    /// Whether somebody waits for what others hold.
    pub(crate) fn are_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn want(&self) -> Wanting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Wanting(&self.waiting)
    }
}

struct Wanting<'a>(&'a AtomicUsize);

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tidings_wire::{describe_groups, encode_request};

    use super::*;

    fn allowances(elements: usize, per_request: usize) -> Allowances {
        Allowances::new(&ConnectionLimits {
            elements_in_flight_max: elements,
            elements_per_request_max: per_request,
            answer_bytes_held_max: 4 * SHORT_ANSWER_BYTES_MAX,
            ..ConnectionLimits::default()
        })
    }

    fn naming(groups: usize) -> Bytes {
        let request = describe_groups::Request {
            groups: vec!["g".to_owned(); groups],
            ..describe_groups::Request::default()
        };
        let header = RequestHeader { version: 0, correlation_id: 1, client_id: None };
        Bytes::from(encode_request(&header, &request).unwrap().concat()).slice(4..)
    }

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    fn decode(elements: &Elements, groups: usize) -> Option<Result<usize, Problem>> {
        let counted = now(elements.decode::<describe_groups::Request>(naming(groups)))?;
        Some(counted.map(|counted| counted.held.num_permits()).map_err(|error| error.problem))
    }

    #[test]
    fn a_request_holds_as_many_elements_as_it_has() {
        let many = ELEMENTS_BEFORE_COUNTING + 1;
        let elements = allowances(4 * many, 2 * many).elements;
        for groups in [0, 1, ELEMENTS_BEFORE_COUNTING, many, 2 * many] {
            assert_eq!(decode(&elements, groups), Some(Ok(groups)), "{groups} groups");
        }
        assert_eq!(decode(&elements, 2 * many + 1), Some(Err(Problem::TooMany)));
    }

    #[test]
    fn elements_that_do_not_fit_wait_for_others_to_go() {
        let elements = allowances(10, 10).elements;
        let first = now(elements.decode::<describe_groups::Request>(naming(8))).unwrap().unwrap();
        assert_eq!(first.held.num_permits(), 8);
        assert_eq!(decode(&elements, 2), Some(Ok(2)));
        assert_eq!(decode(&elements, 3), None, "eight are held");
        drop(first);
        assert_eq!(decode(&elements, 3), Some(Ok(3)));
    }

    #[test]
    fn an_answer_waits_for_others_of_its_class() {
        let answers = allowances(1, 1).answers;
        let (short, long) = (SHORT_ANSWER_BYTES_MAX, 3 * SHORT_ANSWER_BYTES_MAX);
        let held = now(answers.hold(2 * short)).unwrap();
        assert!(!answers.are_short());
        {
            let mut waits = pin!(answers.hold(usize::MAX));
            assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert!(answers.are_short());
            assert!(answers.try_hold(1).is_none(), "nobody overtakes");
            assert!(now(answers.hold(short)).is_some(), "unless it is short");
            drop(held);
            let all = now(waits).unwrap();
            assert_eq!(all.num_permits(), long, "the largest answer takes all there is");
        }
        assert!(!answers.are_short());
        assert!(answers.try_hold(long).is_some());
    }

    #[test]
    fn short_requests_do_not_wait_for_the_places_of_long_ones() {
        let answers = allowances(1, 1).answers;
        let long: Vec<_> = (0..ANSWERS_AT_LENGTH_MAX)
            .map(|_| now(answers.begin(SHORT_REQUEST_BYTES_MAX + 1)).unwrap())
            .collect();
        assert!(now(answers.begin(SHORT_REQUEST_BYTES_MAX + 1)).is_none());
        assert!(now(answers.begin(SHORT_REQUEST_BYTES_MAX)).is_some());
        drop(long);
        assert!(now(answers.begin(SHORT_REQUEST_BYTES_MAX + 1)).is_some());
    }
}
