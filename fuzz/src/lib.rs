//! Any bytes into the decoders of what comes from the network and from disk.
//!
//! Each target takes arbitrary bytes, panics on nothing, and checks what holds for all of them: what
//! decodes is encoded and decoded again, and comes back equal. cargo-fuzz runs them with coverage
//! (`cargo +nightly fuzz run --fuzz-dir fuzz/targets requests fuzz/corpus/requests`); `tests/corpus.rs` replays `fuzz/corpus` and its
//! seeded mutations with a stable toolchain.

pub mod corpus;

use std::fmt::Debug;

use bytes::Bytes;
use tidings_coordinator::{Record, TransactionRecord};
use tidings_log::{Batch, BatchHeader, ProducerRules, split};
use tidings_wire::{Prefix, Request, decode_request, decode_response, encode_request};
use tidings_wire::{RequestHeader, encode_response};

/// A target of the fuzzer.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is the folder of its corpus.
    pub name: &'static str,
    /// Takes any bytes; whether they were what the target decodes.
    pub take: fn(&[u8]) -> bool,
}

pub const TARGETS: &[Target] = &[
    Target { name: "requests", take: request },
    Target { name: "responses", take: response },
    Target { name: "batches", take: batches },
    Target { name: "group_records", take: group_record },
    Target { name: "transaction_records", take: transaction_record },
];

fn request_as<R: Request + PartialEq + Debug>(frame: &Bytes) -> bool {
    let Ok((header, request)) = decode_request::<R>(frame.clone()) else { return false };
    let again: Bytes = encode_request(&header, &request).expect("it was decoded").concat().into();
    let decoded = decode_request::<R>(again.slice(4..)).expect("our own encoding");
    assert_eq!(decoded, (header, request));
    true
}

/// A request frame without its length, as its API or as none.
pub fn request(input: &[u8]) -> bool {
    let frame = Bytes::copy_from_slice(input);
    let Ok(prefix) = Prefix::decode(&frame) else { return false };
    macro_rules! by_key {
        ($($api:ident),+) => {
            $( if prefix.key == tidings_wire::$api::API.key {
                return request_as::<tidings_wire::$api::Request>(&frame);
            } )+
        };
    }
    tidings_wire::every_api!(by_key);
    false
}

fn response_as<R: Request>(version: i16, frame: Bytes) -> bool
where
    R::Response: PartialEq + Debug,
{
    let Ok((correlation_id, response)) = decode_response::<R>(version, frame) else { return false };
    let again = encode_response::<R>(version, correlation_id, &response);
    let again: Bytes = again.expect("it was decoded").concat().into();
    let decoded = decode_response::<R>(version, again.slice(4..)).expect("our own encoding");
    assert_eq!(decoded, (correlation_id, response));
    true
}

/// A response frame as our own client reads it, after the key and the version of its request.
pub fn response(input: &[u8]) -> bool {
    let Some((prefix, frame)) = input.split_first_chunk::<4>() else { return false };
    let key = i16::from_be_bytes([prefix[0], prefix[1]]);
    let version = i16::from_be_bytes([prefix[2], prefix[3]]);
    let frame = Bytes::copy_from_slice(frame);
    macro_rules! by_key {
        ($($api:ident),+) => {
            $( if key == tidings_wire::$api::API.key {
                return response_as::<tidings_wire::$api::Request>(version, frame);
            } )+
        };
    }
    tidings_wire::every_api!(by_key);
    false
}

/// Record batches: parsed, judged as a producer's, their records decoded, decompressed ones too.
pub fn batches(input: &[u8]) -> bool {
    let mut parsed = 0;
    for batch in split(Bytes::copy_from_slice(input)) {
        let Ok(batch) = batch else { break };
        parsed += 1;
        if let Ok(records) = batch.records() {
            assert_eq!(records.len(), usize::try_from(batch.header().record_count).unwrap_or(0));
        }
        assert!(batch.header().attributes.control() || batch.end_marker() == Ok(None));
    }
    // A checksum that fits is rare by chance: the records are looked at without it as well.
    if let Some(header) = BatchHeader::read(input)
        && header.total_bytes() == Some(input.len())
    {
        let fits = with_checksum(input);
        if let Ok(batch) = Batch::parse(fits.clone()) {
            drop(batch.records());
            drop(batch.end_marker());
        }
        for compacted in [false, true] {
            let judged = Batch::from_producer(fits.clone(), &rules(compacted));
            if let (Ok(batch), true) = (judged, compacted) {
                assert!(batch.records().is_ok(), "they were decoded to be judged");
            }
        }
    }
    parsed > 0
}

fn rules(compacted: bool) -> ProducerRules {
    ProducerRules {
        now_ms: 1_700_000_000_000,
        compacted,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        zstd: true,
    }
}

/// The checksum of a batch, from its attributes on, put where it belongs.
fn with_checksum(batch: &[u8]) -> Bytes {
    const CHECKSUM: std::ops::Range<usize> = 17..21;
    let mut batch = batch.to_vec();
    let checksum = crc32c::crc32c(batch.get(CHECKSUM.end..).unwrap_or_default());
    if let Some(place) = batch.get_mut(CHECKSUM) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    batch.into()
}

/// A key after its length of two bytes, and a value unless nothing is left.
fn key_and_value(input: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (length, rest) = input.split_first_chunk::<2>()?;
    let (key, value) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((key, (!value.is_empty()).then_some(value)))
}

/// A record of `__consumer_offsets`.
pub fn group_record(input: &[u8]) -> bool {
    let Some((key, value)) = key_and_value(input) else { return false };
    let Ok(Some(record)) = Record::decode(key, value) else { return false };
    let (key, value) = record.encode();
    assert_eq!(Record::decode(&key, value.as_deref()), Ok(Some(record)));
    true
}

/// A record of `__transaction_state`.
pub fn transaction_record(input: &[u8]) -> bool {
    let Some((key, value)) = key_and_value(input) else { return false };
    let Ok(Some(record)) = TransactionRecord::decode(key, value) else { return false };
    let (key, value) = record.encode();
    assert_eq!(TransactionRecord::decode(&key, value.as_deref()), Ok(Some(record)));
    true
}

/// The header of requests that the corpus holds.
fn header(version: i16) -> RequestHeader {
    RequestHeader { version, correlation_id: 1, client_id: Some("fuzz".to_owned()) }
}
