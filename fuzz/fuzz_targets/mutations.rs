//! Mutations of valid frames of every API: `cargo +nightly fuzz run mutations`.
//!
//! The input is a seed for the frame, then pairs of a place and a byte to write there.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_wire::sample::{Sample, Source};
use tidings_wire::{Request, RequestHeader, decode_request, encode_request};

fn mutate<R: Request + Sample>(seed: u64, edits: &[(u16, u8)]) {
    let mut source = Source::new(seed);
    let span = (R::API.version_max - R::API.version_min + 1) as u64;
    let version = R::API.version_min + source.below(span) as i16;
    let header = RequestHeader { version, correlation_id: 1, client_id: None };
    let request = R::sample(&mut source, version);
    let mut frame = encode_request(&header, &request).expect("samples fit")[..].concat();
    frame.drain(..4);
    for (place, byte) in edits {
        let length = frame.len();
        frame[*place as usize % length] = *byte;
    }
    drop(decode_request::<R>(Bytes::from(frame)));
}

macro_rules! mutate_each {
    ($($api:ident),+) => {
        fn mutate_each(seed: u64, edits: &[(u16, u8)]) {
            $( mutate::<tidings_wire::$api::Request>(seed, edits); )+
        }
    };
}

tidings_wire::every_api!(mutate_each);

fuzz_target!(|input: (u64, Vec<(u16, u8)>)| mutate_each(input.0, &input.1));
