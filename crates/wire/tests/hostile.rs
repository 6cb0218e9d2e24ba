//! No bytes make a request decoder panic, or allocate more than a small multiple of their number.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use proptest::prelude::*;
use tidings_wire::sample::{Sample, Source};
use tidings_wire::{Problem, Request, RequestHeader};

/// Bytes allocated per byte of a frame, at most. The worst struct is a topic whose offsets are
/// fetched: 64 bytes from 2.
const MULTIPLE_MAX: usize = 32;
/// What a decoder may allocate whatever it is given.
const CONSTANT_BYTES: usize = 256;

/// Counts what this thread holds beyond what it held when counting began, at its peak.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

#[expect(unsafe_code, reason = "a global allocator cannot be written without; it only forwards")]
// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes held at once while `work` runs, and what it returned.
fn peak_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    HELD.set(0);
    PEAK.set(0);
    let value = work();
    (PEAK.get().unsigned_abs(), value)
}

fn decode<R: Request>(frame: &Bytes) -> Result<(), Problem> {
    let frame = frame.clone();
    let length = frame.len();
    let (peak, outcome) = peak_of(|| {
        tidings_wire::decode_request::<R>(frame).map(|_| ()).map_err(|error| {
            assert!(error.at <= length, "{error} lies outside the frame");
            error.problem
        })
    });
    let allowed = CONSTANT_BYTES + MULTIPLE_MAX * length;
    assert!(peak <= allowed, "{}: {peak} bytes held for {length}", R::API.name);
    outcome
}

/// A frame of `R` with this body.
fn with_body<R: Request>(version: i16, body: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    frame.extend_from_slice(&R::API.key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 7, 0xff, 0xff]);
    if R::API.flexible(version) {
        frame.push(0);
    }
    frame.extend_from_slice(body);
    frame.into()
}

fn each_version<R: Request>(body: &[u8]) {
    for version in R::API.version_min..=R::API.version_max {
        let _either_way_is_fine = decode::<R>(&with_body::<R>(version, body));
    }
}

fn valid<R: Request + Sample>(seed: u64) -> (i16, Vec<u8>) {
    let mut source = Source::new(seed);
    let versions = (R::API.version_max - R::API.version_min + 1) as u64;
    let version = R::API.version_min + source.below(versions) as i16;
    let header = RequestHeader { version, correlation_id: 1, client_id: None };
    let request = R::sample(&mut source, version);
    let frame = tidings_wire::encode_request(&header, &request).unwrap().concat();
    (version, frame[4..].to_vec())
}

/// A change to a frame: what to do, where (a share of the frame), and with which byte.
type Mutation = (u8, u16, u8);

fn mutate(frame: &mut Vec<u8>, (kind, place, byte): Mutation) {
    if frame.is_empty() {
        return;
    }
    let at = place as usize * frame.len() / (u16::MAX as usize + 1);
    match kind % 4 {
        0 => frame[at] = byte,
        1 => frame[at] ^= 1 << (byte % 8),
        2 => frame.truncate(at),
        _ => frame.insert(at, byte),
    }
}

macro_rules! hostile_tests {
    ($($api:ident),+) => {
        fn each_decoder(body: &[u8]) {
            $( each_version::<tidings_wire::$api::Request>(body); )+
        }

        fn each_mutant(seed: u64, mutations: &[Mutation]) {
            $( {
                let (_, mut frame) = valid::<tidings_wire::$api::Request>(seed);
                assert_eq!(decode::<tidings_wire::$api::Request>(&frame.clone().into()), Ok(()));
                mutations.iter().for_each(|mutation| mutate(&mut frame, *mutation));
                let _either_way_is_fine =
                    decode::<tidings_wire::$api::Request>(&frame.into());
            } )+
        }

        /// Every frame cut short is refused at every length; bytes behind the last field are not
        /// looked at.
        #[test]
        fn a_frame_is_at_least_its_whole_length_or_an_error() {
            for seed in 0..20 {
                $( {
                    type R = tidings_wire::$api::Request;
                    let (_, frame) = valid::<R>(seed);
                    for end in 0..frame.len() {
                        let cut = decode::<R>(&Bytes::copy_from_slice(&frame[..end]));
                        assert!(cut.is_err(), "{} cut at {end} of {}", stringify!($api), frame.len());
                    }
                    let longer = [&frame[..], &[0]].concat();
                    assert_eq!(decode::<R>(&longer.into()), Ok(()));
                } )+
            }
        }
    };
}

tidings_wire::every_api!(hostile_tests);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn arbitrary_bytes_are_refused_or_read(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        each_decoder(&body);
    }

    #[test]
    fn mutated_frames_are_refused_or_read(
        seed in any::<u64>(),
        mutations in proptest::collection::vec(any::<Mutation>(), 1..8),
    ) {
        each_mutant(seed, &mutations);
    }
}

/// Bodies that repeat one byte reach the densest lists: 0 and 1 are empty and null elements.
#[test]
fn the_densest_lists_stay_within_the_multiple() {
    for length in [1usize, 1000, 60_000] {
        for filler in [0u8, 1, 2, 3] {
            for count in [&[0xff, 0xff, 0x03][..], &[0, 0, 0x40, 0], &[1, 0xff, 0x7f]] {
                let mut body = count.to_vec();
                body.resize(body.len() + length, filler);
                each_decoder(&body);
                body.splice(0..0, [1]);
                each_decoder(&body);
            }
        }
    }
}

/// A list within a list claims only what the outer list's elements leave over.
#[test]
fn nested_lists_do_not_claim_the_same_bytes_twice() {
    let mut body = vec![101, 1];
    for version in [8, 9] {
        if version == 9 {
            body.extend_from_slice(&[0, 0, 0, 0, 0]);
        }
        let mut nested = body.clone();
        nested.push(121);
        nested.resize(320, 0);
        let frame = with_body::<tidings_wire::offset_fetch::Request>(version, &nested);
        let problem = decode::<tidings_wire::offset_fetch::Request>(&frame).unwrap_err();
        assert!(matches!(problem, Problem::Truncated { wanted: 240, .. }), "{problem:?}");
    }
}

/// The frame that makes the oracle's decoder ask for 154 GB.
#[test]
fn a_count_of_two_billion_in_five_bytes_allocates_nothing() {
    let frame = with_body::<tidings_wire::metadata::Request>(12, &[0xff, 0xff, 0xff, 0xff, 0x07]);
    let (peak, outcome) =
        peak_of(|| tidings_wire::decode_request::<tidings_wire::metadata::Request>(frame));
    let problem = outcome.unwrap_err().problem;
    assert!(matches!(problem, Problem::Truncated { wanted, remaining: 0 } if wanted > 1 << 30));
    assert_eq!(peak, 0);
}

#[test]
fn lists_beyond_the_element_limit_are_refused() {
    let count = tidings_wire::limits::ELEMENTS_PER_MESSAGE_MAX as i32 + 1;
    let mut body = count.to_be_bytes().to_vec();
    body.resize(body.len() + 2 * count as usize, 0);
    let frame = with_body::<tidings_wire::describe_groups::Request>(0, &body);
    assert_eq!(decode::<tidings_wire::describe_groups::Request>(&frame), Err(Problem::TooMany));
}
