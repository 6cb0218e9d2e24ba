//! Any bytes into every request decoder: `cargo +nightly fuzz run requests`.
//!
//! What decodes is encoded and decoded again, and must come back equal.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidings_wire::{Prefix, Request, decode_request, encode_request};

fn try_as<R: Request + PartialEq + std::fmt::Debug>(frame: &Bytes) {
    let Ok((header, request)) = decode_request::<R>(frame.clone()) else { return };
    let again: Bytes = encode_request(&header, &request).expect("it was decoded").concat().into();
    let decoded = decode_request::<R>(again.slice(4..)).expect("our own encoding");
    assert_eq!(decoded, (header, request));
}

macro_rules! try_each {
    ($($api:ident),+) => {
        fn try_each(frame: &Bytes) {
            $( try_as::<tidings_wire::$api::Request>(frame); )+
        }
    };
}

tidings_wire::every_api!(try_each);

fuzz_target!(|input: &[u8]| {
    let frame = Bytes::copy_from_slice(input);
    if Prefix::decode(&frame).is_ok() {
        try_each(&frame);
    }
});
