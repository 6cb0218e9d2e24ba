//! Any bytes as request frames: `cargo +nightly fuzz run --fuzz-dir fuzz/targets requests fuzz/corpus/requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| { tidings_fuzz::request(input); });
